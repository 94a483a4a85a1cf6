//! The command line of tests that have a main function of their own: that of libtest, with any number
//! of filters; and how such tests end if nobody reads their results.

use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use libtest_mimic::{Arguments, Completion, Conclusion, Failed, Trial};

/// Whether the results can no longer be written.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// The command line.
#[derive(Parser)]
#[command(disable_version_flag = true)]
pub struct CommandLine {
    #[command(flatten)]
    pub arguments: Arguments,
    /// More filters; a test runs if one of them matches its name
    #[arg(value_name = "FILTER")]
    more: Vec<String>,
}

impl CommandLine {
    /// Whether `trial` is chosen: by no filter, or by one of several.
    pub fn chooses(&self, trial: &Trial) -> bool {
        let more = self.more.iter().cloned().map(Some);
        let mut filters = [self.arguments.filter.clone()].into_iter().chain(more);
        filters.any(|filter| {
            let arguments = Arguments {
                filter,
                ..self.arguments.clone()
            };
            !arguments.is_filtered_out(trial)
        })
    }

    /// Runs the chosen tests in this order, `threads` at once if the command line does not say
    /// otherwise. `None` if the results cannot be written.
    pub fn run(&self, threads: usize, trials: Vec<Trial>) -> Option<Conclusion> {
        // libtest-mimic knows one filter. So the tests that are not chosen are skipped by name.
        let others = trials.iter().filter(|trial| !self.chooses(trial));
        let mut arguments = Arguments {
            filter: None,
            exact: true,
            skip: others.map(|trial| trial.name().into()).collect(),
            bench: false, // otherwise no test would run
            ..self.arguments.clone()
        };
        arguments.test_threads.get_or_insert(threads);
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if is_of_printer(panic) {
                let why = panic.payload().downcast_ref::<String>();
                lose(why.map_or("", String::as_str));
            } else {
                report(panic);
            }
        }));
        let run = || libtest_mimic::run(&arguments, trials);
        catch_unwind(AssertUnwindSafe(run))
            .map_err(|panic| {
                if !IS_LOST.load(Ordering::SeqCst) {
                    resume_unwind(panic);
                }
            })
            .ok()
    }
}

/// The test `run`, which is left out if its result would be lost.
pub fn test(
    name: &str,
    run: impl FnOnce() -> Result<Completion, Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, || {
        if IS_LOST.load(Ordering::SeqCst) {
            return Ok(Completion::ignored());
        }
        run()
    })
}

/// Whether libtest-mimic panics. It does so if it cannot write; the panics of tests come from elsewhere.
fn is_of_printer(panic: &PanicHookInfo<'_>) -> bool {
    let location = panic.location();
    location.is_some_and(|location| location.file().contains("libtest-mimic"))
}

/// Leaves out the tests that have not begun. Whoever closes a pipe, as `| head` does, knows why.
fn lose(why: &str) {
    IS_LOST.store(true, Ordering::SeqCst);
    if !why.contains("BrokenPipe") {
        let _ = writeln!(io::stderr(), "the results cannot be written: {why}");
    }
}
