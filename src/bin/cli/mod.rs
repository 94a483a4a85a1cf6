//! What the binaries share: from arguments to an exit code, and numbers of seconds.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Runs `program` with the arguments of the command line. If it fails, the error goes to standard
/// error as one line, and the exit code is 1; for wrong arguments it is 2.
pub(crate) fn run<A: Parser>(program: fn(&A) -> Result<ExitCode, String>) -> ExitCode {
    let outcome = match A::try_parse() {
        Ok(arguments) => program(&arguments),
        Err(error) if error.use_stderr() => {
            report::<A>(in_one_line(&error));
            return ExitCode::from(2);
        }
        // --help or --version
        Err(help) => help
            .print()
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| format!("cannot write to standard output: {error}")),
    };
    outcome.unwrap_or_else(|failure| {
        report::<A>(failure);
        ExitCode::FAILURE
    })
}

/// Writes one line to standard error, with the program's name.
pub(crate) fn report<A: Parser>(message: impl Display) {
    // Unlike eprintln!, this does not panic if standard error is closed.
    let _ = writeln!(io::stderr(), "{}: {message}", A::command().get_name());
}

/// The paragraphs of clap's message before the usage: what is wrong, and what may be meant.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let usage = |part: &&str| part.starts_with("Usage:") || part.starts_with("For more");
    let parts = text.split("\n\n").map(str::trim);
    let problem: Vec<&str> = parts.filter(|part| !usage(part)).collect();
    let problem = problem.join("; ").replace('\n', " ");
    format!("{}; see --help", problem.trim_start_matches("error: "))
}

/// A time-out from the command line: a number of seconds, more than 0 and at most `most`. Fractions
/// are allowed.
pub(crate) fn seconds(text: &str, most: Duration) -> Result<Duration, String> {
    let time = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match time {
        Some(time) if !time.is_zero() && time <= most => Ok(time),
        _ => {
            let most = most.as_secs();
            Err(format!(
                "not a number of seconds, more than 0 and at most {most}"
            ))
        }
    }
}
