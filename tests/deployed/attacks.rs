//! Attacks from one address, as a well-behaved client with another address sees them. Each test measures the
//! client at rest first, and then beside the attack. A table of both follows the tests.
//!
//! The tool slowhttptest is not used. It sends whole lines. This server replies to them, and so the tool gives up.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use socket2::Socket;

use crate::common::command::succeeds;
use crate::common::process::Process;
use crate::common::server::Server;
use crate::common::trials::{Need, trial};
use crate::common::wait::wait_until;

use super::balancer::{self, Haproxy, replicas_with};
use super::load::{Failed, Seen};
use super::needs::{DESCRIPTORS, HAPROXY};
use super::place::{Machine, PLACE, PUBLIC, connect_from, recipe, sh};
use super::service::end_of;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            five_thousand_half_requests_delay_nobody,
            [&PLACE, &DESCRIPTORS],
        ),
        trial(a_thousand_drips_delay_nobody, [&PLACE, &DESCRIPTORS]),
        trial(a_flood_of_resets_delays_nobody, [&PLACE]),
        trial(a_flood_of_megabytes_delays_nobody, [&PLACE]),
        trial(more_stalls_than_places_delay_others, [&PLACE]),
        trial(
            nftables_limits_the_stalls_of_an_address,
            [&PLACE, &NFTABLES],
        ),
        trial(haproxy_limits_the_stalls_of_an_address, [&PLACE, &HAPROXY]),
        trial(nftables_counts_addresses_and_networks, [&PLACE, &NFTABLES]),
        trial(
            nftables_forgets_connections_soon,
            [&PLACE, &NFTABLES, &CONNTRACK],
        ),
        trial(second_load_of_nftables_changes_nothing, [&PLACE, &NFTABLES]),
    ]
}

static NFTABLES: Need = Need::new("nft", || succeeds(&["nft", "list", "ruleset"]));

static CONNTRACK: Need = Need::new("a list of connections from the kernel", || {
    Path::new(CONNECTIONS).exists()
});

/// The connections that the kernel tracks.
const CONNECTIONS: &str = "/proc/net/nf_conntrack";

/// The attacker's address.
pub const ATTACKER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);

/// Threads that attack until they are told to stop.
struct Attack {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// What was done so far, in connections or bytes.
    count: Arc<AtomicUsize>,
}

impl Attack {
    /// Starts this number of `threads`. Each has a state of its own, which it passes to `round` again and again. `round`
    /// returns how much it did.
    fn start<S: Send + 'static>(
        threads: usize,
        state: impl Fn() -> S,
        round: impl Fn(&mut S) -> usize + Copy + Send + 'static,
    ) -> Self {
        let (is_over, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let thread = |_| {
            let (is_over, count) = (Arc::clone(&is_over), Arc::clone(&count));
            let mut state = state();
            thread::spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    count.fetch_add(round(&mut state), Ordering::SeqCst);
                }
            })
        };
        let threads = (0..threads).map(thread).collect();
        Self {
            is_over,
            threads,
            count,
        }
    }

    /// Waits until as much as `more` is done from now on.
    #[track_caller]
    fn does(&self, more: usize) {
        let before = self.count.load(Ordering::SeqCst);
        wait_until("the attack is under way", || {
            self.count.load(Ordering::SeqCst) >= before + more
        });
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Gives this machine the attacker's address too.
#[track_caller]
pub fn add_attacker() {
    sh(&format!("ip address replace {ATTACKER}/32 dev br0"));
}

/// A server, with the attacker's address beside it.
#[track_caller]
fn server(options: &[&str]) -> Server {
    server_at(&PUBLIC.to_string(), options)
}

/// The same, which listens on `bind`.
#[track_caller]
fn server_at(bind: &str, options: &[&str]) -> Server {
    add_attacker();
    Server::start_at(bind, &[&["--quiet"], options].concat())
}

/// A connection of the attacker.
fn connect() -> io::Result<TcpStream> {
    connect_from(ATTACKER.into(), PUBLIC)
}

/// What the well-behaved client sees in a time. It waits at most `timeout` for a reply.
fn client(address: SocketAddr, time: Duration, timeout: Duration) -> Seen {
    let (mut seen, began_at) = (Seen::default(), Instant::now());
    while began_at.elapsed() < time {
        seen.exchange(address, b" hello ", timeout);
    }
    seen
}

/// How long the client is measured at rest.
const REST: Duration = Duration::from_secs(1);

/// How long it is measured under attack.
const ATTACK: Duration = Duration::from_secs(2);

/// How long the client waits where nobody may be delayed. A client that waits longer is an alarm in
/// tests/deploy/README.md.
const SOON: Duration = Duration::from_secs(2);

/// How long it waits where others are delayed: until many stalled connections before its own are at their deadline.
const LATE: Duration = Duration::from_secs(10);

/// The most medians at rest that a median exchange may take: the attacker takes its share of the processors.
const DELAYED: f64 = 5.0;

/// How many times a client that is delayed is measured. Other programs can keep the processor busy, but not every time.
const TIMES: usize = 3;

/// The rows of the table.
static TABLE: Mutex<Vec<[String; 5]>> = Mutex::new(Vec::new());

/// Prints the table of the attacks that were measured, if there are any.
pub fn print_table() {
    let rows = TABLE.lock().unwrap();
    if rows.is_empty() {
        return;
    }
    let header = ["attack", "median at rest", "median", "worst", "ratio"].map(str::to_owned);
    for [attack, at_rest, median, worst, ratio] in iter::once(&header).chain(&*rows) {
        let line = format!("{attack:<32}{at_rest:>16}{median:>12}{worst:>12}{ratio:>8}");
        // It fails if nobody reads it.
        let _ = writeln!(io::stdout(), "{line}");
    }
}

/// Measures a client of the server at `address`, at rest and then beside the attack that `start` starts. Returns the
/// attack, the median time of an exchange beside it as a multiple of the median at rest, and the exchanges that had no
/// reply within `timeout`.
#[track_caller]
fn measure<A>(
    address: SocketAddr,
    name: &str,
    timeout: Duration,
    start: impl FnOnce() -> A,
) -> (A, f64, Vec<Failed>) {
    let rest = client(address, REST, timeout);
    let attack = start();
    let seen = client(address, ATTACK, timeout);
    let ratio = seen.median().as_secs_f64() / rest.median().as_secs_f64();
    let times = [rest.median(), seen.median(), seen.worst()];
    let [at_rest, median, worst] = times.map(|time| format!("{time:.1?}"));
    let row = [name.into(), at_rest, median, worst, format!("{ratio:.1}")];
    TABLE.lock().unwrap().push(row);
    let seen = Seen::of_all(vec![rest, seen]);
    assert_eq!(seen.wrong.first(), None);
    // Only a late reply can be the fault of a busy machine.
    let early = seen.errors.iter().find(|failed| failed.took < timeout);
    assert_eq!(early, None);
    (attack, ratio, seen.errors)
}

/// The same, where nobody may be delayed. Returns the attack.
#[track_caller]
pub fn delays_nobody<A>(address: SocketAddr, name: &str, start: impl Fn() -> A) -> A {
    for _ in 0..TIMES {
        let (attack, ratio, errors) = measure(address, name, SOON, &start);
        if ratio < DELAYED && errors.is_empty() {
            return attack;
        }
        println!("{name}: {ratio:.1}, {errors:?}");
    }
    panic!("{name}: a client is delayed each time");
}

/// The same, where others are delayed.
#[track_caller]
fn delays_others<A>(address: SocketAddr, name: &str, start: impl FnOnce() -> A) {
    let (_attack, ratio, errors) = measure(address, name, LATE, start);
    assert_eq!(errors, []);
    assert!(ratio > DELAYED, "{ratio}");
}

/// An attack that goes on delays nobody. It does as much as `least` before the measurement, and again after it.
#[track_caller]
fn flood_delays_nobody(name: &str, least: usize, start: impl Fn() -> Attack) {
    let _server = server(&[]);
    let attack = delays_nobody(PUBLIC, name, || {
        let attack = start();
        attack.does(least);
        attack
    });
    attack.does(least);
}

/// Connections that each have sent `bytes` and then wait.
fn stalled(count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let stall = |_| {
        let mut stream = connect().expect("a connection");
        stream.write_all(bytes).expect("the socket has room");
        stream.set_nonblocking(true).expect("a socket");
        stream
    };
    (0..count).map(stall).collect()
}

/// How many of the attacker's connections the server holds. It has read what they sent.
#[track_caller]
fn held() -> usize {
    let open = sh(&format!(
        "ss -Htn state established src {PUBLIC} dst {ATTACKER}"
    ));
    // The first field is the number of bytes that are not read.
    open.lines().filter(|line| line.starts_with("0 ")).count()
}

fn five_thousand_half_requests_delay_nobody() {
    const STALLED: usize = 5_000;
    // The longest time-out: it holds them until the client is measured.
    let _server = server(&["--timeout", "10"]);
    let _stalled = delays_nobody(PUBLIC, "5,000 half requests", || {
        let stalled = stalled(STALLED, b"hel");
        wait_until("the server holds all", || held() == STALLED);
        stalled
    });
    assert_eq!(held(), STALLED);
}

fn a_thousand_drips_delay_nobody() {
    const DRIPS: usize = 1_000;
    let drip = |connections: &mut Vec<TcpStream>| {
        thread::sleep(Duration::from_millis(100));
        connections.retain_mut(|stream| stream.write_all(b"e").is_ok());
        let dripped = connections.len();
        // The server closes them at their deadline.
        connections.extend(stalled(DRIPS - dripped, b"h"));
        dripped
    };
    flood_delays_nobody("1,000 drips", DRIPS, || Attack::start(1, Vec::new, drip));
}

fn a_flood_of_resets_delays_nobody() {
    let exchange = |(): &mut ()| {
        let Ok(mut stream) = connect() else { return 0 };
        let _ = stream.write_all(b"hello\n");
        let closes_by_reset = Socket::from(stream).set_linger(Some(Duration::ZERO));
        usize::from(closes_by_reset.is_ok())
    };
    flood_delays_nobody("a flood of resets", 1_000, || {
        Attack::start(2, || (), exchange)
    });
}

fn a_flood_of_megabytes_delays_nobody() {
    let write = |stream: &mut Option<TcpStream>| {
        if stream.is_none() {
            *stream = connect().ok();
        }
        let written = stream.as_mut().map(|stream| stream.write(&[b'a'; 1 << 14]));
        if let Some(Ok(count)) = written {
            return count;
        }
        // The server closes it at its deadline.
        *stream = None;
        0
    };
    flood_delays_nobody("a flood of megabytes", 10_000_000, || {
        Attack::start(2, || None, write)
    });
}

/// A server with fewer places than the attacker's connections.
const FEW_PLACES: [&str; 4] = ["--max-connections", "200", "--timeout", "1"];

/// Keeps `count` connections open: each that ends is opened again. Waits until there are `least`.
fn stalls(count: usize, least: usize) -> Attack {
    const THREADS: usize = 4;
    let stall = move |stalled: &mut Vec<TcpStream>| {
        stalled.retain_mut(|stream| {
            let read = stream.read(&mut [0; 16]);
            read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        });
        thread::sleep(Duration::from_millis(10));
        let before = stalled.len();
        let more = iter::from_fn(|| {
            let stream = connect().ok()?;
            stream.set_nonblocking(true).ok()?;
            Some(stream)
        });
        stalled.extend(more.take(count / THREADS - before));
        stalled.len() - before
    };
    let attack = Attack::start(THREADS, Vec::new, stall);
    attack.does(least);
    attack
}

/// Without a limit a client waits until stalled connections are at their deadline.
fn more_stalls_than_places_delay_others() {
    let _server = server(&FEW_PLACES);
    delays_others(PUBLIC, "more stalls than places", || stalls(400, 400));
}

fn nftables_limits_the_stalls_of_an_address() {
    let _server = server(&FEW_PLACES);
    let attack_and_limit = delays_nobody(PUBLIC, "stalls limited by nftables", || {
        let limit = Limit::set();
        (stalls(400, LIMIT), limit) // in the order of their end
    });
    attack_and_limit.0.does(LIMIT);
}

/// The servers together have fewer places than the attacker has connections, but more than `HAProxy` allows an address.
fn haproxy_limits_the_stalls_of_an_address() {
    add_attacker();
    let _replicas = replicas_with(&["--max-connections", "100", "--timeout", "1"]);
    {
        // Without health checks, which would fail too.
        let _haproxy = Haproxy::start_after(
            "sed -i '/sc0_conn_cur gt/d; /default-server check/d' /etc/haproxy/haproxy.cfg",
        );
        delays_others(PUBLIC, "more stalls, through HAProxy", || stalls(800, 800));
    }
    let _haproxy = Haproxy::start_after("");
    let is_full = || {
        wait_until("the attacker has as many as it may", || {
            let open = Haproxy::stat("FRONTEND", "scur");
            open.parse::<usize>().expect("a number") >= balancer::LIMIT
        });
    };
    let _attack = delays_nobody(PUBLIC, "stalls limited by HAProxy", || {
        let attack = stalls(800, balancer::LIMIT);
        is_full();
        attack
    });
    is_full();
}

/// No other test connects from these addresses while rules are set. When there are no rules any more, the kernel keeps
/// the connections of that time as open, and a new connection from the same address and port would not count as new.
fn nftables_counts_addresses_and_networks() {
    sh("
        ip address replace 192.0.2.67/32 dev br0
        ip address replace 2001:db8::66/128 dev br0 nodad
        ip address replace 2001:db8:0:1::1/128 dev br0 nodad
    ");
    counts(
        ["192.0.2.67", "192.0.2.67"],
        "192.0.2.67",
        PUBLIC.ip(),
        8080,
    );
    let other = "2001:db8:0:1::1".parse().unwrap();
    counts(["2001:db8::66", "2001:db8::1"], "2001:db8::", other, 8443);
}

/// Expects that two addresses share one limit at `port`, listed as `name`, and that the `other` has its own.
#[track_caller]
fn counts(addresses: [&str; 2], name: &str, other: IpAddr, port: u16) {
    let addresses = addresses.map(|text| text.parse().unwrap());
    let _server = server_at(&format!("[::]:{port}"), &[]);
    let _limit = Limit::set();
    let open = |from: IpAddr| connect_from(from, SocketAddr::new(other, port));
    let of_both = addresses.into_iter().cycle().take(LIMIT);
    let _held: Vec<_> = of_both
        .map(|from| open(from).expect("a connection"))
        .collect();
    for from in addresses {
        let refused = open(from).expect_err("one connection too many").kind();
        assert_eq!(refused, ErrorKind::ConnectionRefused, "{from}");
    }
    open(other).expect("a connection of another address");
    // A proxy on the same machine has no limit.
    let loopback: IpAddr = match other {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let server = SocketAddr::new(loopback, port);
    let _of_a_proxy: Vec<_> = (0..=LIMIT)
        .map(|_| connect_from(loopback, server).expect("a connection"))
        .collect();
    let listed = sh("nft list table inet upcase");
    let counted = format!("{name} ct count over {LIMIT}");
    assert!(listed.contains(&counted), "{listed}");
    let mut counters = listed.lines().filter(|line| line.contains("counter"));
    let has_counted = counters.any(|rule| !rule.contains("counter packets 0 "));
    assert!(has_counted, "{listed}");
}

/// The clients are on another machine: on this one, the entry of a connection is complete before the rules see it.
fn nftables_forgets_connections_soon() {
    let _server = server(&["--timeout", "10"]);
    let _limit = Limit::set();
    let machine = Machine::new("client", "192.0.2.23");
    // The seconds until an entry in this state is forgotten.
    let seconds = |state: &str| {
        let mut seconds = None;
        wait_until(state, || {
            let connections = fs::read_to_string(CONNECTIONS).expect("it is there");
            let mut lines = connections.lines();
            let line = lines.find(|line| line.contains(machine.address) && line.contains(state));
            // Before it are two protocols, each with its number.
            seconds = line.map(|line| line.split_whitespace().nth(4).expect("a field").to_owned());
            seconds.is_some()
        });
        seconds
            .expect("it was found a moment ago")
            .parse::<u32>()
            .expect("a number")
    };
    let script = "exec 3<>/dev/tcp/192.0.2.1/8080; cat <&3";
    let mut stalled = Process(
        machine
            .command("bash")
            .args(["-c", script])
            .spawn()
            .expect("a shell"),
    );
    assert!(seconds("ESTABLISHED") <= 60);
    // The server closes it at its deadline.
    assert!(end_of(&mut stalled).expect("it ends").success());
    assert!(seconds("TIME_WAIT") <= 5);
}

fn second_load_of_nftables_changes_nothing() {
    let _limit = Limit::set();
    let rules = || sh("nft list table inet upcase");
    let once = rules();
    let _limit = Limit::set();
    assert_eq!(rules(), once);
}

/// How many connections nftables.conf allows an address.
const LIMIT: usize = 100;

/// The rules of nftables.conf, which are removed on drop.
struct Limit;

impl Limit {
    #[track_caller]
    fn set() -> Self {
        sh(&format!("nft -f {}", recipe("nftables.conf").display()));
        Self
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = succeeds(&["nft", "delete", "table", "inet", "upcase"]);
    }
}
