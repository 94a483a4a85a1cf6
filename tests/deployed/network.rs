//! A bad network between client and server: every reply comes whole, or there is an error that says what to do.
//!
//! Both ends are real: `upcase-client` here, and `upcase-server` on another machine. Each machine has a device whose
//! packets socat hands to this program, which simulates the network between them.

use std::fmt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use libtest_mimic::Trial;
use upcase::process;

use crate::common::command::succeeds;
use crate::common::process::without_variables;
use crate::common::server::Server;
use crate::common::trials::{Need, trial};
use crate::common::wait::wait_until;

use super::load::{Failed, Seen};
use super::needs::SOCAT;
use super::place::{Machine, PLACE, sh};
use super::service::Service;

pub fn trials() -> Vec<Trial> {
    let needs = [&PLACE, &SOCAT, &TUN];
    vec![
        trial(replies_are_whole_with_delay, needs),
        trial(replies_are_whole_with_loss, needs),
        trial(replies_are_whole_at_64_kilobits, needs),
        trial(replies_are_whole_in_packets_of_576_bytes, needs),
        trial(replies_are_whole_with_all_of_it, needs),
        trial(each_lost_packet_is_sent_again, needs),
        trial(route_cures_a_network_that_drops_large_packets, needs),
        trial(dead_network_is_an_error_with_advice, needs),
    ]
}

static TUN: Need = Need::new("/dev/net/tun", || {
    succeeds(&["ip", "tuntap", "add", "probe", "mode", "tun"])
        && succeeds(&["ip", "link", "delete", "probe"])
});

const DELAY: Duration = Duration::from_millis(200);
const SMALL: usize = 576;

fn replies_are_whole_with_delay() {
    let network = Network::start(Quality {
        delay: DELAY,
        ..Quality::GOOD
    });
    let seen = network.exchanges(4);
    assert_eq!(seen.errors, []);
}

fn replies_are_whole_with_loss() {
    let network = Network::start(Quality::GOOD);
    network.loses(one_of_ten());
    let seen = network.exchanges(4);
    assert_mostly_whole(&seen);
    assert!(network.traffic().lost > 0);
}

fn replies_are_whole_at_64_kilobits() {
    let network = Network::start(Quality {
        bits_per_second: Some(64_000),
        ..Quality::GOOD
    });
    let seen = network.exchanges(4);
    assert_eq!(seen.errors, []);
}

fn replies_are_whole_in_packets_of_576_bytes() {
    let network = Network::start(Quality {
        mtu: SMALL,
        ..Quality::GOOD
    });
    let seen = network.exchanges(4);
    assert_eq!(seen.errors, []);
    assert_eq!(network.traffic().largest, SMALL);
}

fn replies_are_whole_with_all_of_it() {
    let network = Network::start(Quality {
        delay: DELAY,
        bits_per_second: Some(64_000),
        mtu: SMALL,
    });
    network.loses(one_of_ten());
    let seen = network.exchanges(4);
    assert_mostly_whole(&seen);
    let traffic = network.traffic();
    assert!(traffic.lost > 0 && traffic.largest <= SMALL);
}

/// About how many small packets an exchange takes.
const POSITIONS: u64 = 14;

fn each_lost_packet_is_sent_again() {
    let network = Network::start(Quality {
        mtu: SMALL,
        ..Quality::GOOD
    });
    let mut seen = Seen::default();
    for position in 1..=POSITIONS {
        network.loses(move |packet| packet.number == position);
        network
            .quality
            .exchange(&mut seen, &message(1023, 1), TIMEOUT);
    }
    println!("one packet lost: {seen}; {}", network.traffic());
    assert_eq!(seen.errors, []);
    assert!(network.traffic().lost >= 8);
}

fn dead_network_is_an_error_with_advice() {
    let connecting = "cannot connect to 198.51.100.2:8080: connection timed out; a time-out can mean a firewall, or a \
                      machine that is off or busy; check that a server runs there, or name another with --connect \
                      HOST:PORT";
    let reading = "198.51.100.2:8080: timed out while waiting for the reply; the server may be busy or far away: try \
                   again, or allow more with --timeout SECONDS";
    let mut from_request = false;
    let mut from_reply = false;
    let mut parts = 0;
    let deaths: [(&str, Loses, &str); 3] = [
        ("from the start", Box::new(|_| true), connecting),
        (
            "from the request",
            Box::new(move |packet| {
                from_request |= packet.payload() > 0;
                from_request
            }),
            reading,
        ),
        (
            "after a part of the reply",
            Box::new(move |packet| {
                parts += usize::from(packet.to_client && packet.payload() > 0);
                from_reply |= parts > 1;
                from_reply
            }),
            reading,
        ),
    ];
    for (when, loses, error) in deaths {
        // A new one: TCP goes on to send what a client has left behind.
        let network = Network::start(Quality {
            mtu: SMALL,
            ..Quality::GOOD
        });
        network.loses(loses);
        let mut seen = Seen::default();
        network
            .quality
            .exchange(&mut seen, &message(1023, 1), SHORT);
        let failed = seen.errors.pop().expect("an error");
        println!("dead {when}: after {:.1?}: {}", failed.took, failed.error);
        assert_eq!(failed.error, format!("upcase-client: {error}\n"));
        assert!(failed.took >= SHORT);
        // The network works again.
        network.loses(|_| false);
        network
            .quality
            .exchange(&mut seen, &message(1023, 2), TIMEOUT);
        assert_eq!((seen.times.len(), &seen.errors[..]), (1, &[][..]));
    }
}

fn route_cures_a_network_that_drops_large_packets() {
    // It drops them silently, as a tunnel does behind a firewall that drops ICMP.
    let network = Network::start(Quality::GOOD);
    network.loses(|packet| packet.bytes.len() > SMALL);
    let mut seen = Seen::default();
    network
        .quality
        .exchange(&mut seen, &message(500, 1), TIMEOUT);
    network
        .quality
        .exchange(&mut seen, &message(1023, 2), SHORT);
    assert_eq!((seen.times.len(), seen.errors.len()), (1, 1));
    // On the server's machine alone.
    sh("ip -n far route change 198.51.100.0/24 dev tun0 mtu 576 advmss 536");
    network
        .quality
        .exchange(&mut seen, &message(1023, 3), TIMEOUT);
    println!("{seen}; {}", network.traffic());
    assert_eq!((seen.times.len(), seen.errors.len()), (2, 1));
}

/// One packet of ten is lost, by a fixed seed.
fn one_of_ten() -> impl FnMut(&Packet) -> bool + Send + 'static {
    // SplitMix64
    let mut state = 2_u64;
    move |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).is_multiple_of(10)
    }
}

/// Every error has been looked at. There may be some, because the server's deadline can come first.
#[track_caller]
fn assert_mostly_whole(seen: &Seen) {
    assert!(
        seen.times.len() > 3 * seen.errors.len(),
        "{seen}: {:?}",
        seen.errors
    );
}

/// How long a client waits. Only a broken one waits so long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client waits if there will be no reply.
const SHORT: Duration = Duration::from_secs(2);

/// The sizes of the messages: at the edges of what a packet of 576 bytes holds, and of what a request holds.
const SIZES: [usize; 6] = [1, 522, 523, 524, 1022, 1023];

/// A message of `size` bytes.
fn message(size: usize, number: usize) -> String {
    let mut message = (number % 10).to_string();
    while message.len() + 'ß'.len_utf8() <= size {
        message.push('ß');
    }
    while message.len() < size {
        message.push('x');
    }
    message
}

/// What a network does to every packet.
#[derive(Clone, Copy)]
struct Quality {
    /// How late a packet comes, in each direction.
    delay: Duration,
    /// How fast packets leave, in each direction.
    bits_per_second: Option<u32>,
    /// The largest packet.
    mtu: usize,
}

impl Quality {
    const GOOD: Self = Self {
        delay: Duration::ZERO,
        bits_per_second: None,
        mtu: 1500,
    };

    /// How long this number of bytes takes to leave.
    fn time_of(&self, bytes: usize) -> Duration {
        let bits = u32::try_from(8 * bytes).expect("a few");
        self.bits_per_second
            .map_or(Duration::ZERO, |rate| Duration::from_secs(1) * bits / rate)
    }

    /// Makes one exchange by `upcase-client`: its reply is whole, or its error says what to do.
    #[track_caller]
    fn exchange(self, seen: &mut Seen, message: &str, timeout: Duration) {
        let began_at = Instant::now();
        let mut client = Command::new(cargo_bin!("upcase-client"));
        client.args(["--connect", "198.51.100.2:8080", "--raw", "--timeout"]);
        client.arg(timeout.as_secs().to_string()).arg(message);
        let output = client.output().expect("the client starts");
        let took = began_at.elapsed();
        let error = String::from_utf8(output.stderr).expect("text");
        if output.status.success() {
            let reply = process(message.as_bytes());
            assert_eq!((&output.stdout, &*error), (&reply, ""));
            let bytes = self.time_of(message.len()) + self.time_of(reply.len());
            // Twice there and back, once to connect.
            assert!(took >= 4 * self.delay + bytes, "the network is too good");
            seen.times.push(took);
        } else {
            assert_eq!(
                (output.status.code(), &output.stdout[..]),
                (Some(1), &b""[..])
            );
            let advice = ["try again", "check that a server runs there"];
            assert!(
                advice.iter().any(|advice| error.contains(advice)),
                "{error}"
            );
            seen.errors.push(Failed {
                began_at,
                took,
                error,
            });
        }
    }
}

/// A packet of IPv4.
struct Packet<'a> {
    /// How many have come since the network was told what it loses, with this one.
    number: u64,
    to_client: bool,
    bytes: &'a [u8],
}

impl Packet<'_> {
    /// How many bytes it carries for TCP.
    fn payload(&self) -> usize {
        let ip = usize::from(self.bytes[0] & 15) * 4;
        let tcp = self
            .bytes
            .get(ip + 12)
            .map_or(0, |byte| usize::from(byte >> 4) * 4);
        self.bytes.len().saturating_sub(ip + tcp)
    }
}

/// Whether a packet is lost.
type Loses = Box<dyn FnMut(&Packet) -> bool + Send>;

/// What the network saw.
#[derive(Clone, Copy, Default)]
struct Traffic {
    packets: u64,
    lost: u64,
    largest: usize,
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            packets,
            lost,
            largest,
        } = self;
        write!(
            f,
            "{packets} packets of at most {largest} bytes, {lost} lost"
        )
    }
}

/// What the threads of a network share.
struct Shared {
    is_over: AtomicBool,
    state: Mutex<State>,
}

struct State {
    traffic: Traffic,
    /// How many packets have come since `loses` was set.
    number: u64,
    loses: Loses,
}

impl Shared {
    /// Whether the network loses a packet that comes now.
    fn loses(&self, to_client: bool, bytes: &[u8]) -> bool {
        let mut state = self.state.lock().unwrap();
        state.number += 1;
        let number = state.number;
        let is_lost = (state.loses)(&Packet {
            number,
            to_client,
            bytes,
        });
        let traffic = &mut state.traffic;
        traffic.packets += 1;
        traffic.lost += u64::from(is_lost);
        traffic.largest = traffic.largest.max(bytes.len());
        is_lost
    }
}

/// A network between this machine, 198.51.100.1, and another, 198.51.100.2, with a server there.
struct Network {
    quality: Quality,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    _server: Server,
    _devices: [Service; 2],
    _far: Machine,
}

impl Network {
    #[track_caller]
    fn start(quality: Quality) -> Self {
        let far = Machine::new("far", "192.0.2.21");
        sh("rm -rf /run/network; mkdir /run/network");
        // The network's sockets are there before socat sends to them.
        let ends = ["near", "far"].map(|end| Arc::new(socket(end)));
        let devices = [
            device(Command::new("socat"), "near", "198.51.100.1"),
            device(far.command("socat"), "far", "198.51.100.2"),
        ];
        for ip in ["ip", "ip -n far"] {
            wait_until("the device is up", || {
                succeeds(&[
                    "sh",
                    "-c",
                    &format!("{ip} address show | grep -q 198.51.100"),
                ])
            });
            sh(&format!("{ip} link set tun0 mtu {}", quality.mtu));
        }
        let shared = Arc::new(Shared {
            is_over: AtomicBool::new(false),
            state: Mutex::new(State {
                traffic: Traffic::default(),
                number: 0,
                loses: Box::new(|_| false),
            }),
        });
        let mut threads = Vec::new();
        for to_client in [false, true] {
            let [near, far] = ends.clone();
            let (from, to, name) = if to_client {
                (far, near, "near")
            } else {
                (near, far, "far")
            };
            let (sender, receiver) = channel();
            let shared = Arc::clone(&shared);
            threads.push(thread::spawn(move || {
                take(&from, to_client, quality, &shared, &sender);
            }));
            threads.push(thread::spawn(move || deliver(&receiver, &to, name)));
        }
        let mut command = far.command(cargo_bin!("upcase-server"));
        command.args(["--bind", "198.51.100.2:8080", "--quiet"]);
        // The longest. With the default, a request that is lost three times comes too late.
        command.args(["--timeout", "10"]);
        without_variables(&mut command);
        Self {
            quality,
            shared,
            threads,
            _server: Server::start_by(command),
            _devices: devices,
            _far: far,
        }
    }

    /// Says which packets are lost from now on.
    fn loses(&self, loses: impl FnMut(&Packet) -> bool + Send + 'static) {
        let mut state = self.shared.state.lock().unwrap();
        state.loses = Box::new(loses);
        state.number = 0;
    }

    /// What the network has seen.
    fn traffic(&self) -> Traffic {
        self.shared.state.lock().unwrap().traffic
    }

    /// Makes exchanges with messages of all sizes, by this number of `clients` at once.
    #[track_caller]
    fn exchanges(&self, clients: usize) -> Seen {
        let quality = self.quality;
        let client = move |number| {
            let mut seen = Seen::default();
            for size in SIZES {
                quality.exchange(&mut seen, &message(size, number), TIMEOUT);
            }
            seen
        };
        let mut all = Seen::default();
        thread::scope(|scope| {
            let clients: Vec<_> = (0..clients)
                .map(|number| scope.spawn(move || client(number)))
                .collect();
            for client in clients {
                let seen = client.join();
                all.add(seen.expect("every reply is whole, or an error says what to do"));
            }
        });
        println!("{all}; {}", self.traffic());
        for failed in &all.errors {
            println!("after {:.1?}: {}", failed.took, failed.error);
        }
        all
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The network's socket at this end.
fn socket(end: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind(format!("/run/network/of-{end}")).expect("a new socket");
    let is_over_is_seen = Some(Duration::from_millis(50));
    socket
        .set_read_timeout(is_over_is_seen)
        .expect("a time-out");
    socket
}

/// Runs socat, which makes the device of this end of the network.
fn device(mut socat: Command, end: &str, address: &str) -> Service {
    socat.arg(format!("TUN:{address}/24,tun-name=tun0,iff-no-pi,up"));
    socat.arg(format!(
        "UNIX-SENDTO:/run/network/of-{end},bind=/run/network/to-{end}"
    ));
    Service::start(&mut socat)
}

/// Takes packets from one end, until the network is over. Those that are not lost go to `deliver`, with the time at
/// which they arrive.
fn take(
    from: &UnixDatagram,
    to_client: bool,
    quality: Quality,
    shared: &Shared,
    deliver: &Sender<(Instant, Vec<u8>)>,
) {
    let mut free_at = Instant::now();
    let mut buffer = [0; 2048];
    while !shared.is_over.load(Ordering::SeqCst) {
        let Ok(length) = from.recv(&mut buffer) else {
            continue;
        };
        let packet = &buffer[..length];
        let is_ipv4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
        if !is_ipv4 || shared.loses(to_client, packet) {
            continue;
        }
        free_at = free_at.max(Instant::now()) + quality.time_of(length);
        let _ = deliver.send((free_at + quality.delay, packet.to_vec()));
    }
}

/// Delivers packets to an end, each at its time.
fn deliver(packets: &Receiver<(Instant, Vec<u8>)>, to: &UnixDatagram, end: &str) {
    for (at, packet) in packets {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        let _ = to.send_to(&packet, format!("/run/network/to-{end}"));
    }
}
