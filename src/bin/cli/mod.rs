//! What the binaries share: from arguments to an exit code, numbers of seconds, standard streams.

mod pages;
#[cfg(feature = "cli")]
pub(crate) mod standard;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind::{DisplayHelp, DisplayVersion, UnknownArgument};
use upcase::escape;
#[cfg(feature = "cli")]
use upcase::platform;

/// Why a program fails.
pub(crate) enum Failure {
    /// The arguments are wrong. The exit code is 2.
    Usage(String),
    /// Something else. The exit code is 1.
    Other(String),
}

impl From<String> for Failure {
    fn from(problem: String) -> Self {
        Self::Other(problem)
    }
}

/// Runs `program` with the arguments of the command line. If it fails, the error goes to standard
/// error as one line.
pub(crate) fn run<A: Parser, F: Into<Failure>>(program: fn(&A) -> Result<ExitCode, F>) -> ExitCode {
    let outcome = match pages::asked_for() {
        Some(kind) => generate::<A>(&kind),
        None => match A::try_parse() {
            Ok(arguments) => program(&arguments).map_err(F::into),
            Err(error) => match wrong_usage::<A>(&error) {
                Some(problem) => Err(Failure::Usage(problem)),
                None => print(|| error.print()).map_err(Failure::Other),
            },
        },
    };
    outcome.unwrap_or_else(|failure| {
        let (problem, exit_code) = match failure {
            Failure::Usage(problem) => (problem, ExitCode::from(2)),
            Failure::Other(problem) => (problem, ExitCode::FAILURE),
        };
        report::<A>(problem);
        exit_code
    })
}

/// Prints a manual page or a completion.
fn generate<A: Parser>(kind: &OsStr) -> Result<ExitCode, Failure> {
    let generated = pages::generate(A::command(), kind).map_err(Failure::Usage)?;
    let print = print(|| {
        let mut out = io::stdout();
        out.write_all(&generated)?;
        out.flush()
    });
    print.map_err(Failure::Other)
}

/// Prints what `--help`, `--version` or `--generate` asks for.
fn print(write: impl FnOnce() -> io::Result<()>) -> Result<ExitCode, String> {
    match check_stdout().and_then(|()| write()) {
        // The reader has closed the pipe because it has read enough, as in `--help | head -1`.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}"))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Fails if standard output is not open for writing.
fn check_stdout() -> io::Result<()> {
    #[cfg(feature = "cli")]
    let mut out = standard::open(1, platform::standard_output)?;
    #[cfg(not(feature = "cli"))]
    let mut out = io::stdout();
    out.write(&[]).map(drop)
}

/// What is wrong with the command line. `None` if clap stopped to print help.
fn wrong_usage<A: Parser>(error: &clap::Error) -> Option<String> {
    match mistaken_for_letters(error) {
        Some(word) => Some(not_an_option::<A>(&word)),
        None => error.use_stderr().then(|| in_one_line(error)),
    }
}

/// The word of the command line that clap has taken for several options of one letter: `-hello` for
/// `-h` and others. No option here is meant to be written so.
fn mistaken_for_letters(error: &clap::Error) -> Option<OsString> {
    let is_by_letter = matches!(error.kind(), DisplayHelp | DisplayVersion | UnknownArgument);
    let words = env::args_os().skip(1).take_while(|word| word != "--");
    let mut mistaken = words.filter(|word| {
        let word = word.to_string_lossy();
        word.starts_with('-') && !word.starts_with("--") && word.chars().count() > 2
    });
    mistaken.next().filter(|_| is_by_letter)
}

/// What is wrong with `word`, and how to pass it to a program that takes words.
fn not_an_option<A: Parser>(word: &OsString) -> String {
    let takes_words = A::command().get_positionals().next().is_some();
    let word = escape::text(word.as_encoded_bytes());
    let cure = if takes_words {
        "; to send it as text, write -- before it"
    } else {
        ""
    };
    format!("'{word}' is not an option{cure}; see --help")
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
