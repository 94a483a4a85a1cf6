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

use std::fmt::Write as _;
use std::hint;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use common::trials::{self, trial};
use oddities::servers::{self, Control};
use upcase::conformance::clauses::clause;
use upcase::conformance::vectors::{Other, Step, Vector, suite};
use upcase::conformance::{NotPassed, ServerJudge};

/// The vectors by which a control cannot always be judged, because the judge may come too late.
const MAY_BE_NOT_JUDGED: &[(&str, &str)] = &[];

fn main() -> ExitCode {
    let once = servers::all().map(|control| {
        let name = format!("passes_{}", control.name);
        trials::named(&name, || passes(control, 1), control.need)
    });
    let often = servers::all().map(|control| {
        let name = format!("passes_20_times_{}", control.name);
        let test = || {
            let _busy = BusyLoops::shared();
            passes(control, 20);
        };
        trials::named(&name, test, control.need).with_ignored_flag(true)
    });
    let clauses = trial(every_control_is_allowed_by_a_clause, []);
    trials::run(16, once.chain([clauses]).chain(often).collect())
}

fn every_control_is_allowed_by_a_clause() {
    for control in servers::all() {
        let (ids, _) = control.allowed_by.split_once(": ").expect("IDs");
        for id in ids.split(", ") {
            assert!(clause(id).is_some(), "{}: {id}", control.name);
        }
    }
}

/// Judges `control` by all vectors, so many times.
fn passes(control: &Control, times: usize) {
    let running = (control.start)();
    let judge = ServerJudge::new(running.address);
    let mut text = String::new();
    for time in 1..=times {
        for (vector, judged) in judge_all(&judge) {
            let pair = (control.name, &*vector.id);
            let why = match judged {
                Ok(()) => continue,
                Err(NotPassed::NotJudged(_)) if MAY_BE_NOT_JUDGED.contains(&pair) => continue,
                Err(why) => why,
            };
            let _ = writeln!(text, "time {time} of {times}, {}: {why}", vector.id);
        }
    }
    assert!(text.is_empty(), "{}\n{text}", control.allowed_by);
}

/// How many vectors are judged at once: with what they open, fewer connections than the least maximum
/// (SPEC TIME-7).
const JOBS: usize = 16;

/// The results of all vectors: of those that allow it side by side, and then of each of the others.
fn judge_all(judge: &ServerJudge) -> Vec<(&'static Vector, Result<(), NotPassed>)> {
    let (alone, others): (Vec<_>, Vec<_>) =
        suite().vectors.iter().partition(|vector| is_alone(vector));
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while let Some(vector) = others.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let at = std::time::Instant::now();
                    let judged = judge.judge(vector);
                    if std::env::var_os("T").is_some() {
                        eprintln!("{:?} {}", at.elapsed(), vector.id);
                    }
                    results.lock().expect("no panic").push((*vector, judged));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no panic");
    results.extend(alone.iter().map(|vector| (*vector, judge.judge(vector))));
    results
}

fn is_alone(vector: &Vector) -> bool {
    let is_crowd = |step: &Step| {
        matches!(
            step,
            Step::Other {
                other: Other::Stall { .. },
                ..
            }
        )
    };
    vector.alone || vector.steps.iter().any(is_crowd)
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
