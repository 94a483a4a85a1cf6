//! The process of a contender, as the benchmark starts and observes it.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::ClockId;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use super::contenders::{CONTENDERS, Contender};
use super::exchange::exchange;

/// The time between two looks at a process.
const INTERVAL: Duration = Duration::from_millis(1);

/// A number is settled if this many looks in a row find no change.
const LOOKS: u32 = 20;

/// How long to wait for a state of a process. It is longer than the time-out of a connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running contender. Its process ends when this is dropped.
pub struct Server {
    pub contender: &'static Contender,
    pub port: u16,
    child: Child,
    pid: Pid,
    /// How many file descriptors it has without connections.
    idle: usize,
}

impl Server {
    /// Starts contender `number`, and makes a first exchange with it.
    pub fn start(number: usize) -> Self {
        let program = env::current_exe().expect("this program has a path");
        Self::start_by(&mut Command::new(program), number)
    }

    /// Does the same by `command`, which runs this program and still lacks its arguments.
    pub fn start_by(command: &mut Command, number: usize) -> Self {
        command.args(["--contender", &number.to_string()]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().expect("the process starts");
        let out = child.stdout.take().expect("the output is piped");
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .expect("the contender prints a line");
        let (port, pid) = line
            .trim_end()
            .split_once(' ')
            .expect("a port and a process ID");
        let mut server = Self {
            contender: &CONTENDERS[number],
            port: port.parse().expect("a port"),
            child,
            pid: Pid::from_raw(pid.parse().expect("a process ID")).expect("not 0"),
            idle: 0,
        };
        exchange(server.port, 0).expect("the server replies");
        server.idle = server.settled_descriptors();
        server
    }

    /// Ends its process without killing it, so that a program that traces it can report.
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("the process is a child");
    }

    /// Returns the processor time of all its threads, including those that have ended.
    pub fn processor_time(&self) -> Duration {
        let pid = nix::unistd::Pid::from_raw(self.pid.as_raw_pid());
        let clock = ClockId::pid_cpu_clock_id(pid).expect("the process runs");
        clock.now().expect("the process runs").into()
    }

    /// Returns its resident memory, in KiB.
    pub fn resident(&self) -> u32 {
        self.status("VmRSS:")
    }

    /// Returns the number of its threads.
    pub fn threads(&self) -> u32 {
        self.status("Threads:")
    }

    /// Returns how many connections it holds.
    pub fn held(&self) -> usize {
        self.descriptors().saturating_sub(self.idle)
    }

    /// Waits until it holds `count` connections, at most until `deadline`. Returns whether it does.
    pub fn wait_for_held(&self, count: usize, deadline: Instant) -> bool {
        while self.held() < count {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(INTERVAL);
        }
        true
    }

    /// Waits until it holds no connection.
    pub fn wait_until_idle(&self) {
        self.wait_for(|| self.held() == 0);
    }

    /// Suspends all its threads.
    pub fn suspend(&self) {
        kill_process(self.pid, Signal::STOP).expect("the process runs");
        self.wait_for(|| self.is_suspended());
    }

    /// Resumes its threads.
    pub fn resume(&self) {
        kill_process(self.pid, Signal::CONT).expect("the process runs");
    }

    fn is_suspended(&self) -> bool {
        let threads = fs::read_dir(self.path("task")).expect("the process runs");
        let mut stats = threads.map(|thread| {
            let path = thread.expect("a thread").path().join("stat");
            fs::read_to_string(path).unwrap_or_default() // the thread has ended
        });
        // T: stopped by a signal; t: stopped by a tracer.
        stats.all(|stat| stat.contains(") T ") || stat.contains(") t "))
    }

    fn wait_for(&self, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            let name = self.contender.name;
            assert!(
                Instant::now() < deadline,
                "{name} is not idle or suspended in time"
            );
            thread::sleep(INTERVAL);
        }
    }

    /// Waits until the number of its file descriptors has settled, and returns it.
    fn settled_descriptors(&self) -> usize {
        let (mut count, mut looks) = (self.descriptors(), 0);
        while looks < LOOKS {
            thread::sleep(INTERVAL);
            let before = std::mem::replace(&mut count, self.descriptors());
            looks = if count == before { looks + 1 } else { 0 };
        }
        count
    }

    fn descriptors(&self) -> usize {
        let path = self.path("fd");
        // Since Linux 6.2, the size of this folder is the number of its entries.
        match fs::metadata(&path).expect("the process runs").len() {
            0 => fs::read_dir(path).expect("the process runs").count(),
            count => usize::try_from(count).expect("a count fits into a usize"),
        }
    }

    fn status(&self, name: &str) -> u32 {
        let status = fs::read_to_string(self.path("status")).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|n| n.parse().ok()).expect("a number")
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // The process may have ended, because its standard input was closed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Raises the limit of file descriptors to its maximum. Returns how many connections a process can
/// then have.
pub fn raise_limit() -> usize {
    /// File descriptors for other purposes.
    const OTHERS: u64 = 100;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let descriptors = current.map_or(u64::MAX, |current| current.saturating_sub(OTHERS));
    usize::try_from(descriptors).unwrap_or(usize::MAX)
}
