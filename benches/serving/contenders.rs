//! The servers that are compared, and the process that one of them runs in.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use upcase::deadline::Timed;
use upcase::exchange::Exchange;
use upcase::server::{BACKLOG, Server, Service};
use upcase::transcript::{self, Log};
use upcase::{LIMIT, process};

use super::REQUEST;

/// Long enough for all who stall to be held at once.
const TIMEOUT: Duration = Duration::from_secs(9);

/// More than there can be descriptors for.
const MAX_CONNECTIONS: usize = 100_000;

/// A thread takes four mappings of memory, of which Linux lets a process have about 65,000.
const MAX_THREADS: usize = 15_000;

/// A server, by its name.
pub struct Contender {
    pub name: &'static str,
    /// Starts to serve; may return or not.
    serve: fn(TcpListener),
    /// Whether it keeps to the protocol. If not, it answers with what was sent, and holds nobody
    /// who stalls.
    pub is_upcase: bool,
}

/// The numbers of those that the aims are about.
pub const THIS: usize = 0;
pub const TOKIO: usize = 2;

/// The first is what the others are compared with.
pub const CONTENDERS: [Contender; 5] = [
    Contender {
        name: "this server",
        serve: |listener| run(listener, &process),
        is_upcase: true,
    },
    Contender {
        name: "this server, with its log",
        serve: logging,
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
    /// What it answers to [`REQUEST`].
    pub fn reply(&self) -> Vec<u8> {
        if self.is_upcase {
            process(REQUEST)
        } else {
            REQUEST.to_vec()
        }
    }
}

/// The life of a contender's process: it prints its port and its process ID, and serves until its
/// standard input ends.
pub fn live(number: usize) {
    let listener = listener();
    let address = listener.local_addr().expect("an address");
    let serve = CONTENDERS[number].serve;
    thread::spawn(move || serve(listener));
    let mut out = io::stdout();
    writeln!(out, "{} {}", address.port(), std::process::id()).expect("a reader");
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

/// A listener with the queue that the program has.
fn listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
    socket.bind(&any.into()).expect("a free port");
    socket.listen(BACKLOG).expect("a listener");
    socket.into()
}

fn run(listener: TcpListener, service: &dyn Service) {
    let most = NonZeroUsize::new(MAX_CONNECTIONS).expect("more than 0");
    let server = Server::new(listener, TIMEOUT, most).expect("a server");
    server.run(service).expect("threads");
}

/// As the program does it.
struct Console(Log);

impl Service for Console {
    fn answer(&self, peer: IpAddr, request: &[u8]) -> Vec<u8> {
        self.0.request(peer, request);
        process(request)
    }
}

fn logging(listener: TcpListener) {
    let (log, transcript, complaints) = transcript::channel();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("serving.log");
    let out = File::create(path).expect("a file for the log");
    thread::spawn(|| transcript.run(out));
    thread::spawn(|| complaints.run("the log of serving", io::stderr()));
    run(listener, &Console(log));
}

/// The same exchange as tasks of tokio's, with its usual runtime.
fn asynchronous(listener: TcpListener) {
    listener.set_nonblocking(true).expect("a socket of tokio's");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener of tokio's");
        let places = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("open");
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

/// The same exchange in a thread that is started for it, or none where there are too many.
#[expect(clippy::needless_pass_by_value)] // as the others
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

/// What the machine can do at all: no protocol, no deadline, no care for how a connection ends.
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
