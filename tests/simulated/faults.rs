//! Faults of the event loop, and a copy of this package in which they are planted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::dice::SEED;

/// A fault, and how it is planted: in a file of the server, one text is replaced by another.
pub type Fault = (
    &'static str,
    &'static [(&'static str, &'static str, &'static str)],
);

const LOOP: &str = "event_loop.rs";
const PLACES: &str = "places.rs";

pub const FAULTS: &[Fault] = &[
    (
        "ignores that a connection is queued",
        &[(
            LOOP,
            "Event::Queued => self.may_be_queued = true,",
            "Event::Queued => {}",
        )],
    ),
    (
        "forgets a peer that sends endlessly",
        &[(LOOP, "self.unfinished.push(place);", "")],
    ),
    (
        "waits only to read",
        &[(
            LOOP,
            "Next::Write(_) => Interest::Writable,",
            "Next::Write(_) => Interest::Readable,",
        )],
    ),
    ("does not free a place", &[(PLACES, "self.count -= 1;", "")]),
    (
        "renews a deadline",
        &[
            (
                LOOP,
                "Event::Ready(place) => ready.push(place),",
                "Event::Ready(place) => {
                    self.places.renew(place, world.now() + self.timeout);
                    ready.push(place);
                }",
            ),
            (
                PLACES,
                "    /// Removes the value at this place,",
                "    pub(super) fn renew(&mut self, number: usize, deadline: Instant) {
                     self.slots[number].deadline = deadline;
                 }

                 /// Removes the value at this place,",
            ),
        ],
    ),
    (
        "gives the longest deadline no margin",
        &[(
            LOOP,
            "timeout: timeout.min(MAX_TIMEOUT.saturating_sub(MARGIN)),",
            "timeout,",
        )],
    ),
    (
        "closes late at a deadline",
        &[(
            LOOP,
            "if deadline <= now => {",
            "if deadline < now - MARGIN => {",
        )],
    ),
    (
        "reports a deadline as a reset",
        &[(
            LOOP,
            "Cause::Deadline => Outcome::TimedOut,",
            "Cause::Deadline => Outcome::Reset,",
        )],
    ),
    (
        "reports a reply that was not sent whole",
        &[(
            LOOP,
            "_ if exchange.has_replied() && !request.is_empty() => Outcome::Replied,",
            "_ if exchange.next() != Next::Read => Outcome::Replied,",
        )],
    ),
    (
        "leaves queued connections at the stop",
        &[(
            LOOP,
            "let is_queue_empty = !self.may_be_queued",
            "let is_queue_empty = true",
        )],
    ),
    (
        "replies after the deadline",
        &[(LOOP, "if deadline <= world.now() {", "if false {")],
    ),
    (
        "reads twice as often from a peer that sends endlessly",
        &[(LOOP, "ready.dedup();", "")],
    ),
    (
        "keeps the port open after a stop while it is full",
        &[(
            LOOP,
            "|| self.places.is_full() && world.has_queued().is_ok_and(|queued| !queued)",
            "",
        )],
    ),
    (
        "gives late connections a whole deadline",
        &[(LOOP, "deadline = deadline.min(stopping.end);", "")],
    ),
    (
        "reads from one peer without a limit",
        &[(LOOP, "reads_left: READS,", "reads_left: usize::MAX,")],
    ),
    (
        "accepts without a limit",
        &[(LOOP, "for _ in 0..ACCEPTS {", "for _ in 0..usize::MAX {")],
    ),
    (
        "holds one connection too many",
        &[(PLACES, "self.count >= self.most", "self.count > self.most")],
    ),
    (
        "retries at once when the system has no descriptors",
        &[(LOOP, "self.pause = Some(world.now() + PAUSE);", "continue;")],
    ),
    (
        "treats an aborted connection as an empty queue",
        &[(
            LOOP,
            "kind if has_gone(kind) => {}",
            "kind if has_gone(kind) => self.may_be_queued = false,",
        )],
    ),
    (
        "does not read right after accepting",
        &[(
            LOOP,
            "        self.advance(place, world, service);
    }

    fn stop(",
            "    }

    fn stop(",
        )],
    ),
];

/// The manifest of the copy: the library and the test `simulation`, with only the dependencies that they need.
const MANIFEST: &str = r#"
    [package]
    name = "upcase"
    version = "0.0.0"
    edition = "2024"
    autobins = false
    [features]
    std = []
    conformance = ["std", "dep:serde", "dep:serde_json", "dep:socket2"]
    server = ["std", "dep:mio", "dep:rustix", "dep:socket2"]
    [dependencies]
    mio = { version = "1.2", default-features = false, features = ["net", "os-poll"], optional = true }
    rustix = { version = "1.1", features = ["net"], optional = true }
    serde = { version = "1", features = ["derive"], optional = true }
    serde_json = { version = "1", optional = true }
    socket2 = { version = "0.6", features = ["all"], optional = true }
    [dev-dependencies]
    proptest = { version = "1.12", default-features = false, features = ["std"] }
    [profile.test]
    opt-level = 1
    [workspace]
"#;

/// A copy of this package, reduced to what the worlds need.
pub struct PackageCopy {
    package: &'static Path,
    folder: PathBuf,
}

impl PackageCopy {
    pub fn new() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
        let _ = fs::remove_dir_all(&folder);
        for part in [
            "src",
            "tests/peers",
            "tests/simulated",
            "tests/unicode",
            "tests/vectors",
        ] {
            copy_folder(&package.join(part), &folder.join(part));
        }
        for file in ["README.md", "SPEC.md", "Cargo.lock", "tests/simulation.rs"] {
            fs::copy(package.join(file), folder.join(file)).unwrap();
        }
        fs::write(folder.join("Cargo.toml"), MANIFEST).unwrap();
        Self { package, folder }
    }

    /// Runs the worlds until one fails. Returns the line about that, or `None` if every world passes.
    ///
    /// # Panics
    ///
    /// If the copy cannot be compiled, or the run ends without a result.
    pub fn failing_world(&self) -> Option<String> {
        let output = Command::new(env!("CARGO"))
            .args(["test", "--features", "server,conformance"])
            .args(["--test", "simulation", "worlds"])
            .current_dir(&self.folder)
            .env_remove(SEED)
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .output()
            .expect("cargo starts");
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        // Cargo's exit code is the same if it could not compile.
        assert!(out.contains("running 1 test"), "no test ran: {err}");
        let mut lines = out.lines();
        let failing = lines
            .find(|line| line.starts_with("seed "))
            .map(str::to_owned);
        let is_success = output.status.success();
        assert_eq!(is_success, failing.is_none(), "no result: {out}{err}");
        failing
    }

    /// Plants the fault, calls `run`, and removes the fault.
    pub fn with<T>(&self, (fault, plants): &Fault, run: impl FnOnce() -> T) -> T {
        let path = |file: &str| Path::new("src/server").join(file);
        for (file, old, new) in *plants {
            let path = self.folder.join(path(file));
            let source = fs::read_to_string(&path).unwrap();
            let places = source.matches(old).count();
            assert_eq!(places, 1, "{fault}: where to plant {old:?}");
            fs::write(&path, source.replace(old, new)).unwrap();
        }
        let result = run();
        for (file, ..) in *plants {
            fs::copy(self.package.join(path(file)), self.folder.join(path(file))).unwrap();
        }
        result
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}
