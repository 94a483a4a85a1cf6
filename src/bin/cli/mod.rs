//! What the two binaries share: from arguments to an exit code, and seconds.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Runs `program` with the arguments of the command line. What it fails with is said in one line
/// on standard error, with exit code 1; wrong arguments likewise, with exit code 2.
pub(crate) fn run<A: Parser>(program: fn(&A) -> Result<ExitCode, String>) -> ExitCode {
    let outcome = match A::try_parse() {
        Ok(arguments) => program(&arguments),
        Err(error) if error.use_stderr() => {
            say::<A>(in_one_line(&error));
            return ExitCode::from(2);
        }
        // --help or --version
        Err(help) => help
            .print()
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| format!("cannot write to standard output: {error}")),
    };
    outcome.unwrap_or_else(|failure| {
        say::<A>(failure);
        ExitCode::FAILURE
    })
}

/// Says something on standard error, in one line with the program's name.
pub(crate) fn say<A: Parser>(what: impl Display) {
    // Unlike eprintln!, no panic where standard error is closed.
    let _ = writeln!(io::stderr(), "{}: {what}", A::command().get_name());
}

/// Of clap's paragraphs those before the usage, which say what is wrong and what may be meant.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let usage = |part: &&str| part.starts_with("Usage:") || part.starts_with("For more");
    let parts = text.split("\n\n").map(str::trim);
    let said: Vec<&str> = parts.filter(|part| !usage(part)).collect();
    let said = said.join("; ").replace('\n', " ");
    format!("{}; see --help", said.trim_start_matches("error: "))
}

/// A time-out as it is written on the command line: seconds, more than 0 and at most `most`;
/// fractions are allowed.
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
