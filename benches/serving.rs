//! How fast the server serves, beside what its users would take instead.
//!
//! All contenders run in this process, each at a listener of its own, and take turns: in each
//! round every one of them gets the same load for the same time. What is compared is the ratio
//! within a round, and what is quoted is the median over the rounds; so whatever else the machine
//! does in a round meets them all.
//!
//! The load is closed: each client connects, sends a line, reads to the end of the stream, closes,
//! and begins again. The clients take their share of the same processors.

mod chart;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use upcase::log::{self, Log};
use upcase::server::{BACKLOG, Duplex, Server, Service, exchange};
use upcase::{BUFFER, LIMIT, process, process_into};

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: usize = 10_000;
const CLIENTS: [usize; 4] = [1, 16, 256, 1000];
const REQUEST: &[u8] = "  Olá, servidor!\n".as_bytes();

/// Compare the server with others, at 1, 16, 256 and 1000 clients.
#[derive(Parser)]
struct Arguments {
    /// How many times the contenders take turns
    #[arg(long, default_value_t = 9)]
    rounds: usize,

    /// How long each is under load in a round, in milliseconds
    #[arg(long, default_value_t = 500)]
    millis: u64,

    /// Draw the ratios to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// What Cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// A server, by its name.
struct Contender {
    name: &'static str,
    start: fn(TcpListener),
    /// Whether it answers with what was sent.
    echoes: bool,
}

/// The first is what the others are compared with.
const CONTENDERS: [Contender; 5] = [
    Contender {
        name: "this server",
        start: |listener| serve(listener, None),
        echoes: false,
    },
    Contender {
        name: "this server, with its log",
        start: |listener| {
            let (log, writer) = log::channel();
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("serving.log");
            let out = File::create(path).expect("a file for the log");
            thread::spawn(move || writer.run(out, io::stderr()));
            serve(listener, Some(log));
        },
        echoes: false,
    },
    Contender {
        name: "tokio",
        start: asynchronous,
        echoes: false,
    },
    Contender {
        name: "a thread for each connection",
        start: thread_per_connection,
        echoes: false,
    },
    Contender {
        name: "bare accept, read, write, close",
        start: bare,
        echoes: true,
    },
];

/// As the program does it.
struct Console(Option<Log>);

impl Service for Console {
    fn answer<'r>(&self, peer: IpAddr, request: &[u8], room: &'r mut [u8; BUFFER]) -> &'r [u8] {
        if let Some(log) = &self.0 {
            log.request(peer, request);
        }
        process_into(request, room)
    }
}

fn serve(listener: TcpListener, log: Option<Log>) {
    let most = NonZeroUsize::new(MAX_CONNECTIONS).expect("more than 0");
    let server = Server::new(listener, TIMEOUT, most).expect("a server");
    server.run(&Console(log)).expect("threads");
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
                let _ = tokio::time::timeout(TIMEOUT, exchange_of_tasks(stream)).await;
                drop(place);
            });
        }
    });
}

async fn exchange_of_tasks(mut stream: tokio::net::TcpStream) -> io::Result<()> {
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
    stream
        .write_all(process_into(request, &mut [0; BUFFER]))
        .await?;
    stream.shutdown().await?;
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// The same exchange in a thread that is started for it.
#[expect(clippy::needless_pass_by_value)] // as the others
fn thread_per_connection(listener: TcpListener) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            exchange(&mut Blocking(stream), process_into)
        });
    }
}

struct Blocking(TcpStream);

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Blocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Duplex for Blocking {
    fn half_close(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
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

/// What one contender did in one round.
struct Measured {
    per_second: f64,
    median: Duration,
    centile_99: Duration,
    worst: Duration,
}

/// Puts `clients` at once on the server at `port`, for that `time`.
fn load(port: u16, clients: usize, time: Duration, wanted: &'static [u8]) -> Measured {
    let ready = Arc::new(Barrier::new(clients + 1));
    let over = Arc::new(AtomicBool::new(false));
    let client = |number| {
        let (ready, over) = (Arc::clone(&ready), Arc::clone(&over));
        let address = SocketAddr::new(home(number), port);
        let work = move || {
            let mut exchanges = Vec::new();
            let mut reply = Vec::new();
            ready.wait();
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                reply.clear();
                let mut stream = TcpStream::connect(address).expect("a connection");
                stream.write_all(REQUEST).expect("to send a request");
                stream.read_to_end(&mut reply).expect("a reply");
                drop(stream);
                exchanges.push((start, Instant::now()));
                assert_eq!(reply, wanted);
            }
            exchanges
        };
        let thread = thread::Builder::new().stack_size(128 * 1024);
        thread.spawn(work).expect("a thread for each client")
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    ready.wait();
    thread::sleep(time);
    over.store(true, Ordering::Relaxed);
    let exchanges = clients
        .into_iter()
        .flat_map(|c| c.join().expect("a client"));
    let exchanges: Vec<(Instant, Instant)> = exchanges.collect();
    let first = exchanges.iter().map(|(start, _)| *start).min();
    let last = exchanges.iter().map(|(_, end)| *end).max();
    let took = last.expect("an exchange") - first.expect("an exchange");
    let mut latencies: Vec<Duration> = exchanges.iter().map(|(start, end)| *end - *start).collect();
    latencies.sort_unstable();
    #[expect(clippy::cast_precision_loss)]
    let per_second = latencies.len() as f64 / took.as_secs_f64();
    Measured {
        per_second,
        median: latencies[latencies.len() / 2],
        centile_99: latencies[latencies.len() * 99 / 100],
        worst: latencies[latencies.len() - 1],
    }
}

/// An address of this machine for each client to reach the server at. With one for all, a port
/// would come round again before the kernel is done with its last connection, and its client would
/// wait a second for that.
fn home(client: usize) -> IpAddr {
    let low = u32::try_from(client + 1).expect("few clients");
    Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + low).into()
}

fn median<T: PartialOrd + Copy>(values: impl IntoIterator<Item = T>) -> T {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    values[values.len() / 2]
}

/// A listener with the queue that the program has.
fn listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
    socket.bind(&any.into()).expect("a free port");
    socket.listen(BACKLOG).expect("a listener");
    socket.into()
}

fn main() {
    let arguments = Arguments::parse();
    let ports = CONTENDERS.each_ref().map(|contender| {
        let listener = listener();
        let address = listener.local_addr().expect("an address");
        thread::spawn(|| (contender.start)(listener));
        address.port()
    });
    let reply: &'static [u8] = process(REQUEST).leak();
    let mut ratios = Vec::new();
    for clients in CLIENTS {
        let mut rounds: Vec<Vec<Measured>> = Vec::new();
        // The first round warms up, and is not counted.
        for round in 0..=arguments.rounds {
            let time = Duration::from_millis(arguments.millis);
            let mut measured: Vec<(usize, Measured)> = (0..CONTENDERS.len())
                .map(|turn| (turn + round) % CONTENDERS.len())
                .map(|i| {
                    let wanted = if CONTENDERS[i].echoes { REQUEST } else { reply };
                    (i, load(ports[i], clients, time, wanted))
                })
                .collect();
            measured.sort_by_key(|(i, _)| *i);
            if round > 0 {
                rounds.push(measured.into_iter().map(|(_, measured)| measured).collect());
            }
        }
        println!("\n{clients} clients");
        println!(
            "{:32} {:>10} {:>7} {:>9} {:>9} {:>9}",
            "", "requests/s", "ratio", "median", "99 %", "worst"
        );
        let mut row = Vec::new();
        for (i, contender) in CONTENDERS.iter().enumerate() {
            let of = |f: fn(&Measured) -> Duration| median(rounds.iter().map(|r| f(&r[i])));
            let worst = rounds.iter().map(|round| round[i].worst).max();
            let ratio = median(rounds.iter().map(|r| r[i].per_second / r[0].per_second));
            println!(
                "{:32} {:>10.0} {ratio:>7.2} {:>6.2} ms {:>6.2} ms {:>6.1} ms",
                contender.name,
                median(rounds.iter().map(|round| round[i].per_second)),
                of(|m| m.median).as_secs_f64() * 1e3,
                of(|m| m.centile_99).as_secs_f64() * 1e3,
                worst.expect("a round").as_secs_f64() * 1e3,
            );
            row.push(ratio);
        }
        ratios.push((format!("{clients} clients"), row));
    }
    if let Some(path) = arguments.svg {
        let names = CONTENDERS.each_ref().map(|contender| contender.name);
        let title = "Requests a second, as a ratio to this server (more is better)";
        chart::draw(&path, title, &names, &ratios, 2.0).expect("to draw");
    }
}
