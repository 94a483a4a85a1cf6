//! What the two binaries share: arguments or one line of error; seconds.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// The arguments; or, where they are wrong, one line on standard error and exit code 2.
/// `--help` and `--version` print and exit with 0.
pub(crate) fn arguments<A: Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        if !error.use_stderr() {
            return match error.print() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail::<A>(format_args!("cannot write to standard output: {error}")),
            };
        }
        // Of clap's paragraphs those before the usage say what is wrong, and what to do about it.
        let text = error.to_string();
        let said = |part: &&str| !part.starts_with("Usage:") && !part.starts_with("For more");
        let parts: Vec<&str> = text.split("\n\n").map(str::trim).filter(said).collect();
        let what = parts.join("; ").replace('\n', " ");
        say::<A>(format_args!(
            "{}; see --help",
            what.trim_start_matches("error: ")
        ));
        ExitCode::from(2)
    })
}

/// Says on standard error what went wrong. The exit code 1.
pub(crate) fn fail<A: Parser>(what: impl Display) -> ExitCode {
    say::<A>(what);
    ExitCode::FAILURE
}

fn say<A: Parser>(what: impl Display) {
    // Unlike eprintln!, no panic where standard error is closed.
    let _ = writeln!(io::stderr(), "{}: {what}", A::command().get_name());
}

/// A time-out as it is written on the command line: seconds, more than 0 and, if `most` is given,
/// at most that; fractions are allowed.
pub(crate) fn seconds(text: &str, most: Duration) -> Result<Duration, String> {
    let wanted = format!(
        "a number of seconds, more than 0 and at most {}",
        most.as_secs()
    );
    let seconds: f64 = text.parse().map_err(|_| format!("not {wanted}"))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() && time <= most => Ok(time),
        _ => Err(format!("not {wanted}")),
    }
}
