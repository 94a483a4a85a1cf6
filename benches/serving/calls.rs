//! The system calls that a server makes for an exchange whose bytes are there, counted by `strace`.

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

/// How often the server is stopped, for so many clients each time.
const BATCHES: u32 = 4;
const CLIENTS: u32 = 500;

/// Counts the calls of each contender for an exchange, and prints them. Nothing is counted where
/// there is no `strace` that can.
pub fn compare() -> Option<Vec<f64>> {
    println!(
        "\nsystem calls of the server for an exchange: {CLIENTS} clients connect and send while \
         the server is stopped, {BATCHES} times"
    );
    if !can_trace() {
        println!("not measured: there is no strace that works");
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

/// `strace` that counts the calls of all threads.
fn strace() -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-qq", "-U", "calls,name", "-o"]);
    strace.arg(report());
    strace
}

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

/// All calls of a contender's life, in which the server is stopped for so many `clients`, again and
/// again.
fn count(number: usize, clients: u32) -> u32 {
    let program = env::current_exe().expect("this program");
    let server = Server::start_by(strace().arg(program), number);
    for _ in 0..BATCHES {
        server.freeze();
        let sent: Vec<TcpStream> = (0..clients).map(|_| send(server.port)).collect();
        server.thaw();
        let wanted = server.contender.reply();
        for mut stream in &sent {
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).expect("a reply");
            assert_eq!(reply, wanted, "the reply of {}", server.contender.name);
        }
        drop(sent);
        server.wait_for_rest();
    }
    server.end();
    let report = fs::read_to_string(report()).expect("a report");
    let total = report.lines().find_map(|line| line.strip_suffix("total"));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.expect("a total")
}

fn send(port: u16) -> TcpStream {
    let mut stream = connect(port, 0).expect("a connection");
    stream.write_all(REQUEST).expect("to send a request");
    stream
}
