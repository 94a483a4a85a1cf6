//! Right implementations in other languages, which share no code with this one, pass the suite;
//! and so does the server that the documentation of `upcase::exchange` shows.

mod judging;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use judging::side_by_side;
use upcase::conformance::server_judge::{Judge, suite};

/// A server that ends with the value.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Judges `tests/peers/FILE`, run by `interpreter`, if that is installed.
fn passes(interpreter: &str, file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(file);
    // A free port, and a short deadline so that the test is too.
    let started = Command::new(interpreter)
        .arg(path)
        .args(["0", "2"])
        .stdout(Stdio::piped())
        .spawn();
    let Ok(child) = started else {
        eprintln!("{interpreter} is not installed: {file} was not judged");
        return;
    };
    let mut peer = Peer(child);
    let mut ready = String::new();
    BufReader::new(peer.0.stdout.take().unwrap())
        .read_line(&mut ready)
        .unwrap();
    let address = ready
        .trim_end()
        .strip_prefix("Servidor rodando em ")
        .and_then(|a| a.parse().ok());
    passes_at(address.unwrap_or_else(|| panic!("{file} says {ready:?}")));
}

/// Judges the server at `address`.
#[track_caller]
fn passes_at(address: SocketAddr) {
    let judge = Judge::new(address);
    let judged = side_by_side(&suite().vectors, |vector| judge.judge(vector));
    let failures: Vec<_> = judged
        .into_iter()
        .filter_map(|(_, judged)| judged.err())
        .collect();
    assert!(
        failures.is_empty(),
        "{} failures, such as {}",
        failures.len(),
        failures[0]
    );
}

#[test]
fn the_python_server_passes() {
    passes("python3", "upcase.py");
}

#[test]
fn the_javascript_server_passes() {
    passes("node", "upcase.mjs");
}

/// The very file that the documentation includes.
mod documented {
    include!("peers/threads.rs");

    /// Starts it on a free port, with a short deadline.
    pub fn start() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener, Duration::from_secs(2)));
        address
    }
}

#[test]
fn the_documented_server_passes() {
    passes_at(documented::start());
}

#[test]
fn each_is_under_sixty_lines() {
    for entry in Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .read_dir()
        .unwrap()
    {
        let path = entry.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 60, "{} has {lines} lines", path.display());
    }
}
