//! Correct implementations in other languages, which share no code with this crate, agree with the
//! vectors. So does the server in the documentation of `upcase::exchange`. The original server and
//! client do not: SPEC section 8 says why.

mod common {
    pub mod command;
    pub mod command_line;
    pub mod process;
    pub mod program;
    pub mod trials;
}

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use common::command::succeeds;
use common::program::Program;
use common::trials::{self, Need, trial};
use upcase::conformance::client_vectors;
use upcase::conformance::vectors::{Vector, suite};
use upcase::conformance::{ClientJudge, NotPassed, ServerJudge, judge_all};

fn main() -> ExitCode {
    let trials = vec![
        trial(python_server_conforms, [&PYTHON]),
        trial(javascript_server_conforms, [&NODE]),
        trial(documented_server_conforms, []),
        trial(python_client_conforms, [&PYTHON]),
        trial(javascript_client_conforms, [&NODE]),
        trial(every_peer_is_under_sixty_lines, []),
        trial(original_server_fails_where_the_protocol_deviates, [&PYTHON]),
        trial(original_client_fails_where_the_protocol_deviates, [&PYTHON]),
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
    let vectors = &suite().vectors;
    let judge = |vector: &Vector| judge.judge(vector);
    has_no_violation(judge_all(vectors, vectors.len(), judge, |_| {}));
}

#[track_caller]
fn has_no_violation(results: Vec<Result<(), NotPassed>>) {
    let violations: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    if let Some(first) = violations.first() {
        panic!("{} violations, such as {first}", violations.len());
    }
}

fn python_client_conforms() {
    client_conforms("python3", "peers/client.py");
}

fn javascript_client_conforms() {
    client_conforms("node", "peers/client.mjs");
}

/// Judges the client in `file`, which `interpreter` runs.
#[track_caller]
fn client_conforms(interpreter: &str, file: &str) {
    // A deadline that is short, so that the test is too, and a promise that it keeps on a busy machine.
    let judge = client_judge(interpreter, file, &["{host}", "{port}", "3"]);
    let vectors = &client_vectors::suite().vectors;
    // More interpreters at the same time make each other late.
    let mut results = judge_all(vectors, 4, |vector| judge.judge(vector), |_| {});
    // What cannot be set up on this machine.
    results.retain(|result| !matches!(result, Err(NotPassed::NotJudged(_))));
    assert!(results.len() > vectors.len() / 2);
    has_no_violation(results);
}

/// A judge of the client in `file`, which `interpreter` runs.
fn client_judge(interpreter: &str, file: &str, arguments: &[&str]) -> ClientJudge {
    let mut command = vec![interpreter.into(), path(file).into_os_string()];
    command.extend(arguments.iter().map(OsString::from));
    let mut judge = ClientJudge::new(command);
    judge.deadline = Duration::from_secs(6);
    judge
}

fn every_peer_is_under_sixty_lines() {
    for entry in fs::read_dir(path("peers")).unwrap() {
        let path = entry.unwrap().path();
        // Python may have left a folder there.
        if path.is_file() {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines < 60, "{} has {lines} lines", path.display());
        }
    }
}

fn original_server_fails_where_the_protocol_deviates() {
    let mut command = Command::new("python3");
    let script = path("original/server.py");
    let program = Program::start(command.arg("-u").arg(script).args(["127.0.0.1", "0"]));
    let judge = ServerJudge::new(program.address);
    let judge = |id: &str| {
        let mut vectors = suite().vectors.iter();
        judge.judge(vectors.find(|vector| vector.id == id).unwrap())
    };
    assert_eq!(judge("proc.hello"), Ok(()));
    fails("DEV-1", &judge("frame.lf-first"));
    fails("DEV-2", &judge("proc.original-session"));
    fails("DEV-3", &judge("cap.cut-2-bytes-after-1"));
    fails("DEV-5", &judge("surplus.one-megabyte"));
}

/// The original prints a transcript, and the judge wants the reply alone. So that it is judged by what
/// it does and not by how it prints that, an adapter leaves out what is printed around the reply.
fn original_client_fails_where_the_protocol_deviates() {
    let arguments = ["{host}", "{port}", "{message}"];
    let judge = client_judge("python3", "original/adapter.py", &arguments);
    let judge = |id: &str| {
        let mut vectors = client_vectors::suite().vectors.iter();
        judge.judge(vectors.find(|vector| vector.id == id).unwrap())
    };
    assert_eq!(judge("message.original-session"), Ok(()));
    fails("DEV-7", &judge("receive.in-two-segments"));
    fails("DEV-7", &judge("receive.ill-formed"));
    fails("DEV-8", &judge("refuse.lf-within"));
    fails("DEV-8", &judge("refuse.1024-bytes"));
    fails("DEV-8", &judge("refuse.grows-to-1025-bytes"));
}

#[track_caller]
fn fails(deviation: &str, result: &Result<(), NotPassed>) {
    assert!(
        matches!(result, Err(NotPassed::Violation(_))),
        "{deviation}: {result:?}"
    );
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
