//! What is printed while vectors are judged.

use std::io::{self, ErrorKind, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use upcase::conformance::report::{Judged, Verdict};

/// Standard output, with its first error.
#[derive(Default)]
pub(super) struct Output(Option<io::Error>);

impl Output {
    pub fn print(&mut self, text: &str) {
        if self.0.is_none() {
            let mut stdout = io::stdout();
            let printed = stdout.write_all(text.as_bytes());
            self.0 = printed.and_then(|()| stdout.flush()).err();
        }
    }

    /// Fails if something could not be printed, unless the reader has closed the pipe because it has read
    /// enough.
    pub fn end(self) -> Result<(), String> {
        match self.0 {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(format!("cannot write to standard output: {error}"))
            }
            _ => Ok(()),
        }
    }
}

/// The results as they come: a bar if standard error is a terminal, and otherwise lines.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    failed: usize,
}

impl Progress {
    pub fn new(count: usize) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:40} {pos} of {len}{msg}");
            let bar = ProgressBar::new(count as u64);
            bar.with_style(style.expect("a template"))
        });
        Self { bar, failed: 0 }
    }

    pub fn show(&mut self, judged: &Judged, output: &mut Output) {
        let Some(bar) = &self.bar else {
            let verdict = match judged.verdict {
                Verdict::Passed => "passed",
                Verdict::Failed => "failed",
                Verdict::NotJudged => "not judged",
            };
            return output.print(&format!("{}: {verdict}\n", judged.id));
        };
        if judged.is_unexpected() {
            self.failed += 1;
            bar.set_message(format!(", {} failed", self.failed));
        }
        bar.inc(1);
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
