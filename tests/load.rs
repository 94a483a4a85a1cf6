//! `upcase-server` keeps serving under load, attack and the faults of the system: what README
//! promises to whoever leaves it on an open port. Real sockets, on this machine alone; the faults
//! are real ones where they can be had, and injected where not.

mod programs;

use std::cell::Cell;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use programs::{PATIENCE, Peer, Server};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit, setrlimit};
use upcase::server::Accept;

/// Held for writing by each test that measures time, and for reading by the others.
static TURNS: RwLock<()> = RwLock::new(());

fn alone() -> RwLockWriteGuard<'static, ()> {
    TURNS.write().unwrap_or_else(PoisonError::into_inner)
}

fn beside_others() -> RwLockReadGuard<'static, ()> {
    TURNS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Judges at most three times, and is content with the first success: what else the machine does
/// is no fault of the server's.
fn thrice(judge: impl Fn() -> Result<(), String>) {
    let failed: Vec<String> = (0..3).map_while(|_| judge().err()).collect();
    assert!(failed.len() < 3, "{failed:#?}");
}

/// A number of the kernel's on `process`, as `VmRSS` in KiB, or `Threads`.
fn status(server: &Server, field: &str) -> u64 {
    let path = format!("/proc/{}/status", server.pid().as_raw_nonzero());
    number(&fs::read_to_string(path).unwrap(), field)
}

fn number(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let value = line.unwrap().trim_start_matches(':').trim();
    value.trim_end_matches(" kB").parse().unwrap()
}

/// Waits until `condition` holds.
#[track_caller]
fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How long one client waits for its reply.
fn latency(server: &Server) -> Duration {
    let start = Instant::now();
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    start.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// SPEC: TIME-1, TIME-3
#[test]
fn ten_thousand_stalled_peers_delay_nobody_and_fit_into_128_megabytes() {
    const PEERS: usize = 10_000;
    let _turn = alone();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let room = limit.maximum.is_none_or(|most| most >= PEERS as u64 + 100);
    if !room {
        eprintln!("this machine gives a process {limit:?} descriptors: nothing was tested");
        return;
    }
    let idle = Server::start(&["--quiet"]);
    assert!(
        status(&idle, "VmRSS") <= 8 * 1024,
        "{} KiB",
        status(&idle, "VmRSS")
    );
    thrice(|| {
        let server = Server::start(&["--quiet", "--timeout", "10"]);
        let mut stalled: Vec<Peer> = Vec::with_capacity(PEERS);
        for _ in 0..PEERS {
            let mut peer = server.connect();
            peer.send(b"x");
            stalled.push(peer);
        }
        // As many as the bound; so one makes room.
        stalled.pop().unwrap().reset();
        until("all are held", || {
            status(&server, "Threads") >= PEERS as u64
        });
        let (mut free, mut loaded): (Vec<_>, Vec<_>) =
            (0..50).map(|_| (latency(&idle), latency(&server))).unzip();
        let threads = status(&server, "Threads");
        let resident = status(&server, "VmRSS");
        let worst = *loaded.iter().max().unwrap();
        let (free, loaded) = (median(&mut free), median(&mut loaded));
        eprintln!(
            "{PEERS} stalled: {threads} threads, {resident} KiB; median {loaded:?} beside \
             {free:?} of an idle server, worst {worst:?}"
        );
        if resident > 128 * 1024 || loaded > 2 * free || worst > Duration::from_millis(250) {
            return Err(format!(
                "{resident} KiB; {loaded:?}, {free:?} idle; worst {worst:?}"
            ));
        }
        for peer in &mut stalled {
            assert_eq!(peer.reply(), b"", "gone at its deadline");
        }
        until("the workers give way again", || {
            status(&server, "Threads") < 100
        });
        assert_eq!(server.stop(), (vec![], vec![]));
        Ok(())
    });
}

/// All threads of a process and how often each has been given the processor, if all of them sleep.
fn asleep(server: &Server) -> Option<Vec<(PathBuf, u64)>> {
    let tasks = format!("/proc/{}/task", server.pid().as_raw_nonzero());
    let mut switches = Vec::new();
    for task in fs::read_dir(tasks).unwrap() {
        let task = task.unwrap().path();
        let status = fs::read_to_string(task.join("status")).ok()?;
        if !status.contains("State:\tS") {
            return None;
        }
        let count = number(&status, "voluntary_ctxt_switches")
            + number(&status, "nonvoluntary_ctxt_switches");
        switches.push((task, count));
    }
    switches.sort();
    Some(switches)
}

#[test]
fn an_idle_server_wakes_no_thread() {
    let _turn = alone();
    let server = Server::start(&[]);
    // Some workers, and a log that has written.
    let mut held: Vec<Peer> = (0..100).map(|_| server.connect()).collect();
    for peer in &mut held {
        peer.send(b"x\n");
        assert_eq!(peer.reply(), b"X");
        assert_eq!(server.line(), "Recebido de 127.0.0.1:");
        assert_eq!(server.line(), "b'x'");
    }
    drop(held);
    until("a second in which no thread is given the processor", || {
        let before = asleep(&server);
        thread::sleep(Duration::from_secs(1));
        before.is_some() && before == asleep(&server)
    });
}

#[test]
fn a_burst_leaves_as_many_workers_as_are_enough_and_hardly_more() {
    let _turn = alone();
    let server = Server::start(&["--quiet"]);
    let enough = 8 * thread::available_parallelism().unwrap().get();
    for _ in 0..5 {
        // Each of them stalls, and has a worker of its own in the end.
        let held: Vec<Peer> = (0..20 * enough).map(|_| server.connect()).collect();
        until("a worker for each", || {
            status(&server, "Threads") >= held.len() as u64
        });
        drop(held);
        // Who has served one looks whether to go.
        until("few workers", || {
            latency(&server);
            status(&server, "Threads") <= 2 * enough as u64
        });
        for _ in 0..2 * enough {
            latency(&server);
        }
        until("all of them asleep", || asleep(&server).is_some());
        let threads = status(&server, "Threads");
        assert!(threads >= enough as u64, "{threads} are left");
    }
}

/// The least that a client waits who has to send its SYN again, less some.
const SOON: Duration = Duration::from_millis(900);

#[test]
fn two_thousand_clients_at_once_wait_for_no_retransmission() {
    let _turn = alone();
    let queue: usize = fs::read_to_string("/proc/sys/net/core/somaxconn")
        .map_or(0, |text| text.trim().parse().unwrap());
    if queue < 2000 {
        eprintln!("this kernel queues {queue} connections at most: nothing was tested");
        return;
    }
    thrice(|| {
        let server = Server::start(&["--quiet", "--timeout", "10"]);
        // Stopped, it accepts none: that all of them get in is the queue's doing.
        server.signal(Signal::STOP);
        let mut peers = Vec::new();
        for _ in 0..2000 {
            let stream = TcpStream::connect_timeout(&server.target(), SOON);
            let mut peer = Peer::over(stream.map_err(|error| format!("connecting: {error}"))?);
            peer.send(b"hello\n");
            peers.push(peer);
        }
        server.signal(Signal::CONT);
        let start = Instant::now();
        for peer in &mut peers {
            assert_eq!(peer.reply(), b"HELLO");
        }
        let last = start.elapsed();
        eprintln!("2,000 at once: the last reply after {last:?}");
        drop(peers);
        assert_eq!(server.stop(), (vec![], vec![]));
        (last <= SOON).then_some(()).ok_or(format!("{last:?}"))
    });
}

/// SPEC: TIME-1
#[test]
fn a_flood_that_never_ends_is_cut_at_the_deadline() {
    let _turn = beside_others();
    let server = Server::start(&["--timeout", "0.5"]);
    let mut peer = server.connect();
    peer.send(b"hello\n");
    let end = Instant::now() + PATIENCE;
    // The reply is never read, and more than any buffer holds is sent.
    while peer.0.write(&[b'x'; 4096]).is_ok() {
        assert!(Instant::now() < end, "the connection goes on and on");
    }
    drop(peer);
    assert_eq!(
        server.stop().0,
        ["Recebido de 127.0.0.1:", "b'hello'"],
        "a flood is no request"
    );
}

/// The faults of `accept` that go by, with the least time that some attempts may take: all but a
/// peer's going wait for the system to recover.
const FAULTS: [(Errno, Duration); 6] = [
    (Errno::MFILE, Duration::from_millis(50)),
    (Errno::NFILE, Duration::from_millis(50)),
    (Errno::NOBUFS, Duration::from_millis(50)),
    (Errno::NOMEM, Duration::from_millis(50)),
    (Errno::INTR, Duration::from_millis(50)),
    (Errno::CONNABORTED, Duration::from_micros(500)),
];

/// A listener that fails with an error for as long as it is set.
#[derive(Debug, Clone)]
struct Faulty(Arc<Faults>);

#[derive(Debug)]
struct Faults {
    listener: TcpListener,
    /// The system's number of the error, or 0.
    error: AtomicI32,
    attempts: AtomicUsize,
}

impl Accept for Faulty {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.listener.local_addr()
    }

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self.0.error.load(Ordering::SeqCst) {
            0 => self.0.listener.accept(),
            error => {
                self.0.attempts.fetch_add(1, Ordering::SeqCst);
                Err(io::Error::from_raw_os_error(error))
            }
        }
    }
}

/// A listener that is not where it says.
#[derive(Debug)]
struct Misplaced(TcpListener, SocketAddr);

impl Accept for Misplaced {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.1)
    }

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept()
    }
}

/// SPEC: TIME-5
#[test]
fn a_server_that_cannot_connect_to_itself_ends_with_whoever_connects_after_the_deadline() {
    let _turn = beside_others();
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let listener = TcpListener::bind(any).unwrap();
    let address = listener.local_addr().unwrap();
    // Bound, so that it is nobody else's, and not listening, so that it refuses.
    let nowhere = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    nowhere.bind(&any.into()).unwrap();
    let listener = Misplaced(listener, nowhere.local_addr().unwrap().as_socket().unwrap());
    let timeout = Duration::from_millis(100);
    let server = upcase::server::Server::new(listener, timeout, NonZeroUsize::MIN).unwrap();
    let server = Arc::new(server);
    let (running, stopping) = (Arc::clone(&server), server);
    let running = thread::spawn(move || running.run(&upcase::process_into));
    let stopping = thread::spawn(move || stopping.stop());
    until("it ends", || {
        drop(TcpStream::connect(address));
        running.is_finished()
    });
    running.join().unwrap().unwrap();
    stopping.join().unwrap();
}

/// Stops a server when it is dropped, also by a test that fails.
struct Stopping<'a>(&'a upcase::server::Server);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// How many workers meet the fault.
const WORKERS: usize = 40;

/// SPEC: TIME-4
#[test]
fn faults_of_accept_are_waited_out_without_a_spin_and_no_worker_is_lost() {
    let _turn = beside_others();
    for (errno, least) in FAULTS {
        let faulty = Faulty(Arc::new(Faults {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            error: AtomicI32::new(0),
            attempts: AtomicUsize::new(0),
        }));
        let Faults {
            error, attempts, ..
        } = &*faulty.0;
        let most = NonZeroUsize::new(WORKERS).unwrap();
        let timeout = Duration::from_secs(10);
        let server = upcase::server::Server::new(faulty.clone(), timeout, most).unwrap();
        let occupy = || -> Vec<Peer> {
            let start = || {
                let mut peer = Peer::connect(server.address());
                peer.send(b"x");
                peer
            };
            let mut held: Vec<_> = (0..WORKERS).map(|_| start()).collect();
            // Answered, and not let go: every worker is at work with one of them.
            for peer in &mut held {
                peer.send(b"\n");
                assert_eq!(peer.reply(), b"X");
            }
            held
        };
        thread::scope(|scope| {
            let serving = scope.spawn(|| server.run(&upcase::process_into));
            let stopping = Stopping(&server);
            let held = occupy();
            error.store(errno.raw_os_error(), Ordering::SeqCst);
            drop(held);
            let mut waiting = Peer::connect(server.address());
            waiting.send(b"waiting\n");
            // Each has tried once, and from now on it is one at a time.
            until("each worker has tried", || {
                attempts.load(Ordering::SeqCst) >= WORKERS
            });
            let (start, before) = (Instant::now(), attempts.load(Ordering::SeqCst));
            until("they try again", || {
                attempts.load(Ordering::SeqCst) >= before + 10
            });
            // Sleeping takes no less than it is told to; counted are nine pauses or more.
            let (took, count) = (start.elapsed(), attempts.load(Ordering::SeqCst) - before);
            let count = u32::try_from(count).unwrap();
            assert!(
                took >= least * (count - 1),
                "{errno}: {count} attempts in {took:?}"
            );
            error.store(0, Ordering::SeqCst);
            assert_eq!(waiting.reply(), b"WAITING", "{errno}");
            drop(waiting);
            drop(occupy());
            drop(stopping);
            serving.join().unwrap().unwrap();
        });
    }
}

/// `strace` that becomes the server and injects, or None where there is none.
fn injecting(faults: &[&str], transcript: &Path) -> Option<Command> {
    let mut trial = Command::new("strace");
    let trial = trial.args(["-qq", "-o", "/dev/null", "true"]).status();
    if !trial.is_ok_and(|status| status.success()) {
        eprintln!("no strace that works on this machine: nothing was tested");
        return None;
    }
    let mut command = Command::new("strace");
    // -D: the tracer is the grandchild, and the server the child.
    command.args(["-D", "-f", "-qq", "-ttt", "-e", "signal=none", "-o"]);
    command.arg(transcript);
    for fault in faults {
        command.args(["-e", &format!("inject={fault}")]);
    }
    Some(command)
}

/// A path for a file of one test.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// SPEC: TIME-4
#[test]
fn faults_that_the_kernel_reports_cost_nobody_a_reply_and_one_line() {
    let _turn = beside_others();
    thread::scope(|scope| {
        for (errno, _) in FAULTS {
            scope.spawn(move || {
                let name = format!("{errno:?}");
                let name = name.trim_start_matches("Errno::");
                let transcript = scratch(&format!("accept-{name}"));
                // Of each thread, the first call and the third.
                let fault = format!("accept4:error={}:when=1..3+2", errno_name(errno));
                let Some(command) = injecting(&[&fault], &transcript) else {
                    return;
                };
                let server = Server::start_by(command, &[]);
                for _ in 0..20 {
                    assert_eq!(server.reply_to(b"hello\n"), b"HELLO", "{errno}");
                }
                let (_, stderr) = server.stop();
                let calls = fs::read_to_string(&transcript).unwrap();
                let injected = calls.lines().filter(|l| l.contains("(INJECTED)")).count();
                assert!(injected > 1, "{errno}: {calls}");
                let silent = matches!(errno, Errno::INTR | Errno::CONNABORTED);
                let complaints: Vec<_> = stderr
                    .iter()
                    .filter(|line| line.contains("serving is hampered, and goes on: "))
                    .collect();
                assert_eq!(complaints.len(), usize::from(!silent), "{stderr:?}");
            });
        }
    });
}

/// The name that strace knows an error by.
fn errno_name(errno: Errno) -> &'static str {
    match errno {
        Errno::MFILE => "EMFILE",
        Errno::NFILE => "ENFILE",
        Errno::NOBUFS => "ENOBUFS",
        Errno::NOMEM => "ENOMEM",
        Errno::INTR => "EINTR",
        _ => "ECONNABORTED",
    }
}

/// SPEC: TIME-4
#[test]
fn threads_that_cannot_be_started_leave_those_who_serve() {
    let _turn = beside_others();
    let server = Server::start(&["--timeout", "1"]);
    // Threads have their memory when they have worked.
    assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    let size = Cell::new(0);
    until("its size stays", || {
        thread::sleep(Duration::from_millis(50));
        let before = size.replace(status(&server, "VmSize"));
        before == size.get()
    });
    // Room for what serving takes, and not for another stack.
    let room = (size.get() + 128) * 1024;
    let limit = Rlimit {
        current: Some(room),
        maximum: None,
    };
    prlimit(Some(server.pid()), Resource::As, limit).unwrap();
    let mut stalled = server.connect();
    stalled.send(b"never");
    for _ in 0..10 {
        assert_eq!(server.reply_to(b"hello\n"), b"HELLO");
    }
    let (stdout, stderr) = server.stop();
    assert_eq!(stdout.len(), 2 * 11);
    let said = stderr.first().expect("the operator is told");
    assert!(
        said.contains("serving is hampered, and goes on: "),
        "{said}"
    );
    // Once, and a count in the end; the test may take longer than the interval of complaints.
    let hampered = stderr.iter().filter(|line| line.contains("hampered"));
    assert!(hampered.count() <= 4, "{stderr:?}");
}

#[test]
fn a_thread_that_the_start_needs_and_cannot_have_is_one_line_that_says_how_to_mend_it() {
    let _turn = beside_others();
    // For the signals, the log, and the first worker.
    for call in 1..=3 {
        let transcript = scratch(&format!("clone-{call}"));
        let fault = format!("clone3:error=EAGAIN:when={call}");
        let Some(mut command) = injecting(&[&fault], &transcript) else {
            return;
        };
        command.arg(assert_cmd::cargo::cargo_bin!("upcase-server"));
        let output = command.args(["--bind", "127.0.0.1:0"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{call}: {stderr}");
        assert!(stderr.contains("cannot start a thread: "), "{stderr}");
        assert!(stderr.contains("ulimit -u"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

/// SPEC: TIME-5
#[test]
fn a_signal_stops_the_server_from_the_moment_in_which_it_is_caught() {
    let _turn = beside_others();
    // What the signals are to be told through comes a while later.
    let delay = "socketpair:delay_exit=100000";
    let Some(command) = injecting(&[delay], &scratch("signals")) else {
        return;
    };
    let server = Server::spawn_by(command, &[]);
    until("SIGTERM is caught, and SIGINT before it", || {
        let path = format!("/proc/{}/status", server.pid().as_raw_nonzero());
        let status = fs::read_to_string(path).unwrap();
        let mut lines = status.lines();
        let caught = lines.find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
        status.starts_with("Name:\tupcase-server\n") && caught & 1 << 14 != 0
    });
    server.signal(Signal::INT);
    let (status, _, stderr) = server.wait();
    assert_eq!(status.code(), Some(0), "{stderr:?}");
}

/// SPEC: TIME-4
#[test]
fn a_descriptor_limit_that_falls_below_what_is_in_use_is_waited_out() {
    let _turn = beside_others();
    let server = Server::start(&["--timeout", "2"]);
    let descriptors = format!("/proc/{}/fd", server.pid().as_raw_nonzero());
    let idle = fs::read_dir(descriptors).unwrap().count() as u64;
    let mut held: Vec<Peer> = (0..20).map(|_| server.connect()).collect();
    for peer in &mut held {
        peer.send(b"x\n");
        assert_eq!(peer.reply(), b"X");
    }
    // Enough for a few, and all in use by those who have not closed yet.
    let limit = Rlimit {
        current: Some(idle + 4),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    prlimit(Some(server.pid()), Resource::Nofile, limit).unwrap();
    // Those who wait have a descriptor set aside; who comes then finds none.
    let mut late: Vec<Peer> = (0..100).map(|_| server.connect()).collect();
    for peer in &mut late {
        peer.send(b"late\n");
    }
    let said = server.error_line();
    assert!(
        said.contains("serving is hampered, and goes on: "),
        "{said}"
    );
    drop(held);
    for mut peer in late {
        assert_eq!(peer.reply(), b"LATE");
    }
    let (_, stderr) = server.stop();
    let rest = stderr.iter().filter(|line| !line.contains("not printed"));
    assert_eq!(rest.count(), 0, "{stderr:?}");
}

/// `listener` as the socket that systemd hands to the server.
fn handing_over(socket: OwnedFd, count: u32) -> Command {
    let script =
        format!("exec 3<&0 4<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS={count} exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::from(socket));
    command
}

#[test]
fn a_listener_that_is_handed_over_is_served_with_those_who_came_before_the_start() {
    let _turn = beside_others();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut early = Peer::connect(address);
    early.send(b"early\n");
    let server = Server::start_by(handing_over(listener.into(), 1), &[]);
    assert_eq!(server.address(), address);
    assert_eq!(early.reply(), b"EARLY");
    drop(early);
    assert_eq!(server.reply_to(b"late\n"), b"LATE");
    let (_, stderr) = server.stop();
    assert!(stderr.is_empty(), "{stderr:?}");
}

#[test]
fn a_socket_that_cannot_be_served_is_refused_in_one_line() {
    let _turn = beside_others();
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    bound.bind(&any.into()).unwrap();
    let datagrams = std::net::UdpSocket::bind(any).unwrap();
    let file = fs::File::open("/dev/null").unwrap();
    let listener = TcpListener::bind(any).unwrap();
    for (socket, count, says) in [
        (bound.into(), 1, "it does not listen"),
        (datagrams.into(), 1, "not a valid tcp socket"),
        (file.into(), 1, "is not a socket"),
        (listener.into(), 2, "2 sockets were handed over"),
    ] {
        let mut command = handing_over(socket, count);
        let server = command.arg(assert_cmd::cargo::cargo_bin!("upcase-server"));
        let output = server.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(output.stdout.is_empty());
        assert!(stderr.contains(says), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}
