//! The command line of tests that have a main function of their own: that of libtest, with any number
//! of filters.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind};

use clap::Parser;
use libtest_mimic::{Arguments, Conclusion, Trial};

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
    /// The tests that are chosen.
    pub fn choose(&self, mut trials: Vec<Trial>) -> Vec<Trial> {
        let filters = self.arguments.filter.iter().chain(&self.more);
        let filters: Vec<&String> = filters.collect();
        trials.retain(|trial| {
            let is_meant = |filter: &&String| {
                if self.arguments.exact {
                    trial.name() == *filter
                } else {
                    trial.name().contains(*filter)
                }
            };
            let skips = Arguments {
                filter: None,
                ..self.arguments.clone()
            };
            (filters.is_empty() || filters.iter().any(is_meant)) && !skips.is_filtered_out(trial)
        });
        trials
    }

    /// Runs the tests in this order, `threads` at once if the command line does not say otherwise.
    /// `None` if nobody reads the output.
    pub fn run(&self, threads: usize, trials: Vec<Trial>) -> Option<Conclusion> {
        let mut arguments = Arguments {
            filter: None,
            bench: false, // otherwise no test would run
            ..self.arguments.clone()
        };
        arguments.test_threads.get_or_insert(threads);
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !is_broken_pipe(panic.payload()) {
                report(panic);
            }
        }));
        let run = || libtest_mimic::run(&arguments, trials);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(conclusion) => Some(conclusion),
            Err(panic) if is_broken_pipe(&*panic) => None,
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Whether a panic came because nobody reads the output, for example after `| head`.
fn is_broken_pipe(panic: &(dyn Any + Send)) -> bool {
    let text = panic.downcast_ref::<String>();
    text.is_some_and(|text| text.contains("BrokenPipe") || text.contains("Broken pipe"))
}
