//! The contenders: the servers that are compared, each in a process of its own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use upcase::deadline::Timed;
use upcase::exchange::Exchange;
use upcase::log::{self, Format, Log};
use upcase::server::{self, Ended, Server, Service};
use upcase::{LIMIT, process};

use super::REQUEST;

/// The time-out of a connection. It is long enough to hold all stalled peers at once.
const TIMEOUT: Duration = Duration::from_secs(9);

/// More connections than there are file descriptors for.
const MAX_CONNECTIONS: usize = 100_000;

/// A thread takes four memory mappings, and Linux allows a process about 65,000.
const MAX_THREADS: usize = 15_000;

/// A server that is compared.
pub struct Contender {
    pub name: &'static str,
    /// Serves the listener. It may return and serve in other threads.
    serve: fn(TcpListener),
    /// Whether it implements the protocol. If not, it sends back what it has read, and holds no
    /// stalled peer.
    pub is_upcase: bool,
}

/// The numbers of the contenders that the aims compare.
pub const THIS: usize = 0;
pub const TOKIO: usize = 3;

/// All contenders. The others are compared with the first.
pub const CONTENDERS: [Contender; 6] = [
    Contender {
        name: "this server",
        serve: |listener| run(listener, &process),
        is_upcase: true,
    },
    Contender {
        name: "this server, with a transcript",
        serve: |listener| logging(listener, Format::Transcript),
        is_upcase: true,
    },
    Contender {
        name: "this server, with a JSON log",
        serve: |listener| logging(listener, Format::Json),
        is_upcase: true,
    },
    Contender {
        name: "tokio",
        serve: asynchronous,
        is_upcase: true,
    },
    Contender {
        name: "a thread for each connection",
        serve: thread_per_connection,
        is_upcase: true,
    },
    Contender {
        name: "bare accept, read, write, close",
        serve: bare,
        is_upcase: false,
    },
];

impl Contender {
    /// Returns its reply to [`REQUEST`].
    pub fn reply(&self) -> Vec<u8> {
        if self.is_upcase {
            process(REQUEST)
        } else {
            REQUEST.to_vec()
        }
    }
}

/// Runs contender `number` in this process: prints the port and the process ID, and serves until
/// standard input ends.
pub fn run_as(number: usize) {
    let any = (Ipv4Addr::UNSPECIFIED, 0).into();
    let listener = server::listen(any).expect("a port is free");
    let address = listener.local_addr().expect("the listener has an address");
    let serve = CONTENDERS[number].serve;
    thread::spawn(move || serve(listener));
    let mut out = io::stdout();
    writeln!(out, "{} {}", address.port(), std::process::id())
        .expect("the benchmark reads the line");
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

fn run(listener: TcpListener, service: &dyn Service) {
    let most = NonZeroUsize::new(MAX_CONNECTIONS).expect("more than 0");
    let server = Server::new([listener], TIMEOUT, most).expect("the server starts");
    server.run(service).expect("the server runs");
}

/// Replies and logs as `upcase-server` does.
struct Console(Log);

impl Service for Console {
    fn answer(&self, peer: SocketAddr, request: &[u8]) -> Vec<u8> {
        self.0.request(peer, request);
        process(request)
    }

    fn on_end(&self, connection: &Ended<'_>) {
        self.0.connection(connection);
    }
}

fn logging(listener: TcpListener, format: Format) {
    let (log, writer, warnings) = log::channel(format);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("serving.{format:?}.log"));
    let out = File::create(path).expect("the log file is created");
    thread::spawn(|| writer.run(out));
    thread::spawn(|| warnings.run("the log of serving", io::stderr()));
    run(listener, &Console(log));
}

/// Serves each connection in a task of tokio, on its default runtime of several threads.
fn asynchronous(listener: TcpListener) {
    listener
        .set_nonblocking(true)
        .expect("the listener can be non-blocking");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the runtime starts");
    runtime.block_on(async move {
        let listener =
            tokio::net::TcpListener::from_std(listener).expect("tokio accepts the listener");
        let places = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
        loop {
            let place = Arc::clone(&places)
                .acquire_owned()
                .await
                .expect("the semaphore is open");
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            tokio::spawn(async move {
                let _ = tokio::time::timeout(TIMEOUT, exchange(stream)).await;
                drop(place);
            });
        }
    });
}

async fn exchange(mut stream: tokio::net::TcpStream) -> io::Result<()> {
    let mut buffer = [0; LIMIT];
    let mut length = 0;
    let request = loop {
        let count = stream.read(&mut buffer[length..]).await?;
        let end = buffer[length..][..count].iter().position(|b| *b == b'\n');
        if let Some(end) = end {
            break &buffer[..=length + end];
        }
        length += count;
        if count == 0 || length == LIMIT {
            break &buffer[..length];
        }
    };
    stream.write_all(&process(request)).await?;
    stream.shutdown().await?;
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Serves each connection in a new thread. If there are too many threads, it closes the connection.
#[expect(clippy::needless_pass_by_value)] // the type is that of the other contenders
fn thread_per_connection(listener: TcpListener) {
    let places = Arc::new(());
    for stream in listener.incoming().flatten() {
        let place = Arc::clone(&places);
        if Arc::strong_count(&places) > MAX_THREADS {
            continue;
        }
        let deadline = Instant::now() + TIMEOUT;
        thread::spawn(move || {
            let _ = Exchange::new().advance(&mut Timed::new(&stream, deadline), process);
            drop((stream, place));
        });
    }
}

/// Shows the limit of the machine: no protocol, no deadline, no half-close.
fn bare(listener: TcpListener) {
    let listener = Arc::new(listener);
    for _ in 0..8 * thread::available_parallelism().map_or(1, NonZeroUsize::get) {
        let listener = Arc::clone(&listener);
        thread::spawn(move || {
            let mut buffer = [0; LIMIT];
            while let Ok((mut stream, _)) = listener.accept() {
                let _ = stream
                    .read(&mut buffer)
                    .and_then(|count| stream.write(&buffer[..count]));
            }
        });
    }
}
