//! Servers that are right and odd are not blamed.
//!
//! The *controls* are the zoo's counterpart. Each keeps SPEC.md in an unusual way, which the clause
//! beside it allows, and each passes all vectors. With `--ignored` each is judged 20 times, while two
//! threads keep the processors busy.

mod common {
    pub mod command;
    pub mod command_line;
    pub mod process;
    pub mod program;
    pub mod trials;
}

mod oddities {
    pub mod connection;
    pub mod listening;
    pub mod servers;
}

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::hint;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use common::trials::{self, trial};
use oddities::servers::{self, Control};
use upcase::conformance::clauses::clause;
use upcase::conformance::vectors::{Vector, suite};
use upcase::conformance::{NotPassed, ServerJudge, judge_all};

/// The vectors by which a control cannot always be judged, because the judge may come too late.
const MAY_BE_NOT_JUDGED: &[(&str, &str)] = &[];

/// The most exchanges of a vector by which a slow control is judged if there is no time for all.
const FEW: usize = 12;

fn main() -> ExitCode {
    let mut controls: Vec<_> = servers::all().collect();
    controls.sort_by_key(|control| !control.is_slow);
    let once = controls.iter().map(|control| {
        let name = format!("passes_{}", control.name);
        trials::named(&name, || passes_once(control), control.need)
    });
    let often = controls.iter().map(|control| {
        let name = format!("passes_20_times_{}", control.name);
        trials::named(&name, || passes_20_times(control), control.need).with_ignored_flag(true)
    });
    let clauses = trial(every_control_is_allowed_by_a_clause, []);
    trials::run(8, once.chain([clauses]).chain(often).collect())
}

fn every_control_is_allowed_by_a_clause() {
    for control in servers::all() {
        let (ids, _) = control.allowed_by.split_once(": ").expect("IDs");
        for id in ids.split(", ") {
            assert!(clause(id).is_some(), "{}: {id}", control.name);
        }
    }
}

/// How many exchanges the judge makes for `vector`, one after another.
fn exchanges(vector: &Vector) -> usize {
    vector.exchanges().count() * vector.repeat
}

fn passes_once(control: &Control) {
    let vectors = suite().vectors.iter();
    let vectors = vectors.filter(|vector| !control.is_slow || exchanges(vector) <= FEW);
    let running = (control.start)();
    let blame = blame(control, running.address, vectors.collect());
    assert!(blame.is_empty(), "{}\n{blame}", control.allowed_by);
}

fn passes_20_times(control: &Control) {
    let _busy = BusyLoops::shared();
    let running = (control.start)();
    let mut all = String::new();
    for time in 1..=20 {
        let blame = blame(control, running.address, suite().vectors.iter().collect());
        if !blame.is_empty() {
            let _ = writeln!(all, "time {time}:\n{blame}");
        }
    }
    assert!(all.is_empty(), "{}\n{all}", control.allowed_by);
}

/// How many vectors are judged at once.
const JOBS: usize = 16;

/// What the judge says against `control`, by these vectors.
fn blame(control: &Control, address: SocketAddr, mut vectors: Vec<&Vector>) -> String {
    vectors.sort_by_key(|vector| (ServerJudge::order(vector), Reverse(exchanges(vector))));
    let judge = ServerJudge::new(address);
    let blame = |vector: &&Vector| match judge.judge(vector) {
        Err(NotPassed::NotJudged(_)) if may_be_not_judged(control, vector) => None,
        judged => Some(format!("{}: {}\n", vector.id, judged.err()?)),
    };
    let blame = judge_all(&vectors, JOBS, blame, |_| {});
    blame.into_iter().flatten().collect()
}

fn may_be_not_judged(control: &Control, vector: &Vector) -> bool {
    MAY_BE_NOT_JUDGED.contains(&(control.name, &vector.id))
}

/// Two threads that keep the processors busy until this is dropped.
struct BusyLoops(Arc<AtomicBool>);

impl BusyLoops {
    /// The loops that all who want them share.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<BusyLoops>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().expect("no panic");
        shared.upgrade().unwrap_or_else(|| {
            let busy = Arc::new(Self::start());
            *shared = Arc::downgrade(&busy);
            busy
        })
    }

    fn start() -> Self {
        let is_over = Arc::<AtomicBool>::default();
        for _ in 0..2 {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        Self(is_over)
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
