//! Correct implementations in other languages, which share no code with this crate, agree with the
//! vectors. So does the server in the documentation of `upcase::exchange`.

mod common {
    pub mod command;
    pub mod command_line;
    pub mod process;
    pub mod program;
    pub mod side_by_side;
    pub mod trials;
}

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use common::command::succeeds;
use common::program::Program;
use common::side_by_side::side_by_side;
use common::trials::{self, Need, trial};
use upcase::conformance::ServerJudge;
use upcase::conformance::vectors::suite;

fn main() -> ExitCode {
    let trials = vec![
        trial(python_server_conforms, [&PYTHON]),
        trial(javascript_server_conforms, [&NODE]),
        trial(documented_server_conforms, []),
        trial(every_server_is_under_sixty_lines, []),
        trial(second_oracle_agrees_with_every_vector, [&NODE]),
    ];
    trials::run(2, trials)
}

static PYTHON: Need = Need::new("python3", || succeeds(&["python3", "--version"]));
static NODE: Need = Need::new("node", || succeeds(&["node", "--version"]));

/// A path in the folder `tests`.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

fn python_server_conforms() {
    program_conforms("python3", "peers/upcase.py");
}

fn javascript_server_conforms() {
    program_conforms("node", "peers/upcase.mjs");
}

/// Judges the server in `file`, which `interpreter` runs.
#[track_caller]
fn program_conforms(interpreter: &str, file: &str) {
    let mut command = Command::new(interpreter);
    // A free port; and a short deadline, so that the test is short too.
    let program = Program::start(command.arg(path(file)).args(["0", "2"]));
    conforms(program.address);
}

/// The file that the documentation includes.
mod documented {
    include!("peers/threads.rs");

    /// Starts the server on a free port, with a short deadline.
    pub fn start() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener, Duration::from_secs(2)));
        address
    }
}

fn documented_server_conforms() {
    conforms(documented::start());
}

/// Judges the server at `address`.
#[track_caller]
fn conforms(address: SocketAddr) {
    let judge = ServerJudge::new(address);
    let judged = side_by_side(&suite().vectors, |vector| judge.judge(vector));
    let violations = judged.into_iter().filter_map(|(_, judged)| judged.err());
    let violations: Vec<_> = violations.collect();
    if let Some(first) = violations.first() {
        panic!("{} violations, such as {first}", violations.len());
    }
}

fn every_server_is_under_sixty_lines() {
    for entry in fs::read_dir(path("peers")).unwrap() {
        let path = entry.unwrap().path();
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 60, "{} has {lines} lines", path.display());
    }
}

/// The oracle computes every reply from the steps, and shares no code with this crate.
fn second_oracle_agrees_with_every_vector() {
    let mut command = Command::new("node");
    let output = command.arg(path("vectors/oracle.mjs")).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains(" 0 disagree"), "{stdout}");
}
