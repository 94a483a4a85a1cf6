//! Tests that need what a machine may lack. Without it they are reported as ignored, with the reason.

use std::any::type_name;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::Parser;
use libtest_mimic::{Completion, Trial};

use super::command_line::{self, CommandLine};

/// What a test needs of the machine.
pub struct Need {
    what: &'static str,
    is_met: LazyLock<bool>,
}

impl Need {
    /// A need for `what`. `is_met` is called at most once.
    pub const fn new(what: &'static str, is_met: fn() -> bool) -> Self {
        let is_met = LazyLock::new(is_met);
        Self { what, is_met }
    }
}

/// The function `test` as a test of its name, which is ignored if a need is not met.
pub fn trial<const NEEDS: usize, T: FnOnce() + Send + 'static>(
    test: T,
    needs: [&'static Need; NEEDS],
) -> Trial {
    let path = type_name::<T>();
    let (_, name) = path.rsplit_once("::").unwrap_or(("", path));
    named(name, test, needs)
}

/// The test `name`, which is ignored if a need is not met.
pub fn named(
    name: &str,
    test: impl FnOnce() + Send + 'static,
    needs: impl IntoIterator<Item = &'static Need> + Send + 'static,
) -> Trial {
    command_line::test(name, move || {
        if let Some(need) = needs.into_iter().find(|need| !*need.is_met) {
            return Ok(Completion::ignored_with(format!("needs {}", need.what)));
        }
        test();
        Ok(Completion::Completed)
    })
}

/// Runs the chosen tests in this order, `threads` at once if the command line does not say otherwise.
pub fn run(threads: usize, trials: Vec<Trial>) -> ExitCode {
    let conclusion = CommandLine::parse().run(threads, trials);
    conclusion.map_or(ExitCode::FAILURE, |conclusion| conclusion.exit_code())
}
