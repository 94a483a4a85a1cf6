//! Counts the system calls of a server per exchange, with `strace`. Each request has arrived before
//! the server runs.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::REQUEST;
use super::child::Server;
use super::contenders::CONTENDERS;
use super::exchange::connect;

/// How often the server is suspended.
const BATCHES: u32 = 4;

/// How many clients connect and send each time.
const CLIENTS: u32 = 500;

/// Counts and prints the system calls per exchange of each contender. Returns the counts, or `None`
/// if `strace` does not work here.
pub fn compare() -> Option<Vec<f64>> {
    println!(
        "\nsystem calls of the server per exchange: {CLIENTS} clients connect and send while the \
         server is suspended, {BATCHES} times"
    );
    if !can_trace() {
        println!("not measured: strace does not work here");
        return None;
    }
    let compared = CONTENDERS.iter().enumerate().map(|(number, contender)| {
        let calls = f64::from(count(number, CLIENTS)) - f64::from(count(number, 0));
        let calls = calls / f64::from(BATCHES * CLIENTS);
        println!("{:32}{calls:>12.2}", contender.name);
        calls
    });
    Some(compared.collect())
}

/// Returns a command that runs `strace` and counts the calls of all threads.
fn strace() -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-qq", "-U", "calls,name", "-o"]);
    strace.arg(report());
    strace
}

/// Returns the path of the report of `strace`.
fn report() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("serving.strace")
}

fn can_trace() -> bool {
    let mut trial = strace();
    let trial = trial
        .arg("true")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    trial.status().is_ok_and(|status| status.success())
}

/// Runs contender `number` under `strace`. Each time that it is suspended, `clients` clients
/// connect and send. Returns the number of all its system calls.
fn count(number: usize, clients: u32) -> u32 {
    let program = env::current_exe().expect("this program has a path");
    let server = Server::start_by(strace().arg(program), number);
    for _ in 0..BATCHES {
        server.suspend();
        let sent: Vec<TcpStream> = (0..clients).map(|_| send(server.port)).collect();
        server.resume();
        let wanted = server.contender.reply();
        for mut stream in &sent {
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).expect("the server replies");
            assert_eq!(reply, wanted, "the reply of {}", server.contender.name);
        }
        drop(sent);
        server.wait_until_idle();
    }
    server.end();
    let report = fs::read_to_string(report()).expect("strace writes a report");
    let total = report.lines().find_map(|line| line.strip_suffix("total"));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.expect("the report has a total")
}

fn send(port: u16) -> TcpStream {
    let mut stream = connect(port, 0).expect("the client connects");
    stream.write_all(REQUEST).expect("the request is sent");
    stream
}
