//! A contender's process, seen from outside.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use super::contenders::{CONTENDERS, Contender};
use super::exchange::exchange;

/// What `/proc` counts processor time in.
const TICK: Duration = Duration::from_millis(10);

/// How long to wait between two looks at a process.
const LOOK: Duration = Duration::from_millis(1);

/// How many looks that show the same are enough.
const LOOKS: u32 = 20;

/// How long a process may take to come to rest. Longer than it may hold anybody.
const PATIENCE: Duration = Duration::from_secs(20);

/// A contender that runs. It ends with this.
pub struct Server {
    pub contender: &'static Contender,
    pub port: u16,
    child: Child,
    pid: Pid,
    /// How many descriptors it has when it holds nobody.
    idle: usize,
}

impl Server {
    /// Starts contender `number`, and lets it answer for the first time.
    pub fn start(number: usize) -> Self {
        let program = env::current_exe().expect("this program");
        Self::start_by(&mut Command::new(program), number)
    }

    /// The same, by a `command` that lacks this program's arguments.
    pub fn start_by(command: &mut Command, number: usize) -> Self {
        command.args(["--contender", &number.to_string()]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().expect("a process");
        let out = child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("a line");
        let (port, pid) = line.trim_end().split_once(' ').expect("a port and an ID");
        let mut server = Self {
            contender: &CONTENDERS[number],
            port: port.parse().expect("a port"),
            child,
            pid: Pid::from_raw(pid.parse().expect("an ID")).expect("not 0"),
            idle: 0,
        };
        exchange(server.port, 0).expect("a reply");
        server.idle = server.settled_descriptors();
        server
    }

    /// Ends it in peace: what watches it can report.
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("it is a child");
    }

    /// The processor time that all its threads have taken, those that have ended too.
    pub fn processor_time(&self) -> Duration {
        let stat = self.read("stat");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let ticks = fields.split(' ').skip(11).take(2); // utime and stime
        let ticks = ticks.map(|ticks| ticks.parse::<u32>().expect("a number"));
        TICK * ticks.sum::<u32>()
    }

    /// The memory that it occupies, in KiB.
    pub fn resident(&self) -> u32 {
        self.status("VmRSS:")
    }

    pub fn threads(&self) -> u32 {
        self.status("Threads:")
    }

    /// How many connections it holds.
    pub fn held(&self) -> usize {
        self.descriptors().saturating_sub(self.idle)
    }

    /// Waits until it holds so many connections, at most until `deadline`. Whether it does.
    pub fn wait_for_held(&self, count: usize, deadline: Instant) -> bool {
        while self.held() < count {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(LOOK);
        }
        true
    }

    /// Waits until it holds nobody.
    pub fn wait_for_rest(&self) {
        self.wait_for(|| self.held() == 0);
    }

    /// Stops all its threads.
    pub fn freeze(&self) {
        kill_process(self.pid, Signal::STOP).expect("it runs");
        self.wait_for(|| self.is_frozen());
    }

    /// Lets its threads go on.
    pub fn thaw(&self) {
        kill_process(self.pid, Signal::CONT).expect("it runs");
    }

    fn is_frozen(&self) -> bool {
        let threads = fs::read_dir(self.path("task")).expect("it runs");
        let mut stats = threads.map(|thread| {
            let path = thread.expect("a thread").path().join("stat");
            fs::read_to_string(path).unwrap_or_default() // it has ended
        });
        // Stopped, or stopped by who traces it.
        stats.all(|stat| stat.contains(") T ") || stat.contains(") t "))
    }

    fn wait_for(&self, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            let name = self.contender.name;
            assert!(Instant::now() < deadline, "{name} does not come to rest");
            thread::sleep(LOOK);
        }
    }

    /// The number of its descriptors, when it has stayed the same for some time.
    fn settled_descriptors(&self) -> usize {
        let (mut count, mut looks) = (self.descriptors(), 0);
        while looks < LOOKS {
            thread::sleep(LOOK);
            let before = std::mem::replace(&mut count, self.descriptors());
            looks = if count == before { looks + 1 } else { 0 };
        }
        count
    }

    fn descriptors(&self) -> usize {
        let path = self.path("fd");
        // Linux tells the number as a size since version 6.2.
        match fs::metadata(&path).expect("it runs").len() {
            0 => fs::read_dir(path).expect("it runs").count(),
            count => usize::try_from(count).expect("a small number"),
        }
    }

    fn status(&self, name: &str) -> u32 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|n| n.parse().ok()).expect("a number")
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).expect("it runs")
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It may have ended by that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Raises the limit of descriptors as far as it goes. How many connections a process can have then.
pub fn raise_limit() -> usize {
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
