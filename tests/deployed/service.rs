//! A program of a recipe, such as a proxy, as a child process.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use upcase::conformance::ServerJudge;

use crate::common::process::Process;
use crate::common::wait::{holds_in_time, wait_until};

/// A running program, which is killed on drop. Its output is shown if the test fails.
pub struct Service {
    pub process: Process,
    /// Where its output goes.
    pub output: PathBuf,
}

impl Service {
    /// Starts `command`. It does not wait.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let output = PathBuf::from(format!("/run/output-{number}"));
        let file = File::create(&output).expect("a file for the output");
        let errors = file.try_clone().expect("another descriptor");
        let command = command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let process = Process(command.spawn().expect("the program starts"));
        Self { process, output }
    }

    /// Waits until a server answers at `address` through this program.
    #[track_caller]
    pub fn serves(mut self, address: SocketAddr) -> Self {
        // Each probe has a judge of its own, which remembers nothing.
        self.wait("it serves", || ServerJudge::new(address).probe().is_ok());
        self
    }

    /// Waits until `condition` holds, or the program has ended.
    #[track_caller]
    pub fn wait(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let mut ended = None;
        wait_until(what, || {
            ended = self.process.0.try_wait().expect("it is a child");
            ended.is_some() || condition()
        });
        assert!(ended.is_none(), "the program has ended: {ended:?}");
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        let output = fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&output).into_owned()
    }
}

/// Waits until `process` has ended by itself. `None` if it has not.
pub fn end_of(process: &mut Process) -> Option<ExitStatus> {
    let mut status = None;
    holds_in_time(|| {
        status = process.0.try_wait().expect("it is a child");
        status.is_some()
    });
    status
}

impl Drop for Service {
    fn drop(&mut self) {
        if thread::panicking() {
            let printed = self.printed();
            let lines: Vec<_> = printed.lines().take(20).collect();
            let lines = lines.join("\n");
            let _ = writeln!(io::stderr(), "the program's output begins:\n{lines}");
        }
    }
}
