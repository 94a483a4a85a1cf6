//! `upcase-judge`: arguments, a judge from the library, reports, an exit code.

mod cli;

use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use cli::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use upcase::client::host_and_port;
use upcase::conformance::report::{Format, Judged, Report, Role, Verdict, text};
use upcase::conformance::selection::Selection;
use upcase::conformance::vectors::{self, End, Vector};
use upcase::conformance::{About, NotPassed, ServerJudge, judge_all};

/// Judge an implementation of the UPCASE protocol, in any language, by the conformance suite.
#[derive(Parser)]
#[command(
    name = env!("CARGO_BIN_NAME"),
    version,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  upcase-judge server localhost:9000                      the server that listens there
  upcase-judge server localhost:9000 proc TRIM-1          an area and a clause, to begin with
  upcase-judge server --list cap                          what the area requires, in words
  upcase-judge server localhost:9000 --report report.xml  for a CI server

Each judge has a help of its own, such as upcase-judge server --help."
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Server(Server),
}

/// Judge a server.
///
/// The server must be running. A word after its address chooses vectors: an area (proc), a clause of
/// SPEC.md (TRIM-1) or the ID of a vector (proc.hello). Without a word, all vectors are chosen.
#[derive(Args)]
#[command(after_long_help = JUDGING)]
struct Server {
    /// The server's name or IP address, and its port
    #[arg(value_name = "HOST:PORT", required_unless_present = "list")]
    address: Option<String>,

    /// What to judge; all without it
    #[arg(value_name = "AREA|CLAUSE|ID")]
    chosen: Vec<String>,

    #[command(flatten)]
    options: Options,
}

/// What the help of both judges says.
const JUDGING: &str = "\
Failures are shown in groups with the same cause, large groups first, with one example of each. A
vector of a SHOULD clause counts as others do; list it with --known-failing if there is a reason.

A file for --known-failing has one ID a line; # begins a comment. A listed vector that fails does not
count, and one that passes is a failure, so that the list stays true.

A report's format follows from the end of its name: .xml is JUnit, .json is as
src/conformance/report/schema.json explains it, .tap is TAP 14, .html is a page to read.

Exit codes:
  0  all that was chosen passed, or failed as known; at least one vector was judged
  1  a vector failed, was not judged, or passed although it is listed as failing; or there is no
     implementation to judge, or a report cannot be written
  2  wrong usage";

#[derive(Args)]
struct Options {
    /// Only list what would be judged: ID, level, clauses and requirement
    #[arg(long)]
    list: bool,

    /// Leave these out: an area, a clause or an ID
    #[arg(long, value_name = "AREA|CLAUSE|ID")]
    skip: Vec<String>,

    /// How many vectors are judged at the same time
    #[arg(long, value_name = "NUMBER", default_value = "16")]
    jobs: NonZeroUsize,

    /// The deadline that the implementation promises, if it is less than 10
    #[arg(long, value_name = "SECONDS", value_parser = deadline)]
    deadline: Option<Duration>,

    /// A file of vectors that do not pass yet
    #[arg(long, value_name = "FILE")]
    known_failing: Option<PathBuf>,

    /// What reports call the implementation
    #[arg(long)]
    name: Option<String>,

    /// Also write a report; the end of its name chooses the format
    #[arg(long, value_name = "FILE.{xml,json,tap,html}", value_parser = output)]
    report: Vec<Output>,
}

/// A file for a report.
#[derive(Clone)]
struct Output {
    file: PathBuf,
    format: Format,
}

fn output(file: &str) -> Result<Output, String> {
    let file = PathBuf::from(file);
    let format = Format::of(&file)?;
    Ok(Output { file, format })
}

fn deadline(text: &str) -> Result<Duration, String> {
    let most = Duration::from_secs(10);
    let time = cli::seconds(text, most)
        .ok()
        .filter(|time| time.as_secs() >= 2);
    time.ok_or_else(|| "not a number of seconds from 2 to 10 (SPEC TIME-1, TIME-6)".into())
}

fn main() -> ExitCode {
    cli::run(|arguments: &Arguments| match &arguments.task {
        Task::Server(server) => server.judge(),
    })
}

impl Server {
    fn judge(&self) -> Result<ExitCode, Failure> {
        let suite = vectors::suite();
        let mut chosen = self.chosen.clone();
        let mut server = self.address.as_deref();
        if self.options.list
            && let Some(word) = server.take_if(|word| !word.contains(':'))
        {
            chosen.insert(0, word.into()); // only to list, no server is needed
        }
        let address = server.map(|named| {
            let address = host_and_port(named).map_err(|error| format!("'{named}' is {error}"));
            address
                .map(|address| (named, address))
                .map_err(Failure::Usage)
        });
        let address = address.transpose()?;
        let judging = Judging {
            options: &self.options,
            about: Vector::about,
            is_slow: |vector: &Vector| vector.expect.end != End::Fin,
        };
        let plan = judging.plan(&suite.vectors, chosen)?;
        let Some((named, address)) = address.filter(|_| !self.options.list) else {
            return judging.list(&plan);
        };
        let outputs = self.options.outputs()?;
        let mut judge = ServerJudge::find(address).map_err(|error| format!("{named}: {error}"))?;
        if let Some(deadline) = self.options.deadline {
            // A second more, as long as the server may take to accept a connection (SPEC TIME-8).
            judge.timeout = deadline + Duration::from_secs(1);
        }
        let report = Report {
            judged: Role::Server,
            implementation: self.options.name.as_deref().unwrap_or(named).into(),
            suite: suite.suite.clone(),
            spec: suite.spec.clone(),
            unicode: suite.unicode.clone(),
            results: Vec::new(),
        };
        judging.run(plan, report, outputs, |vector| judge.judge(vector))
    }
}

impl Options {
    /// Opens the files for the reports, so that it fails early if it does.
    fn outputs(&self) -> Result<Vec<(&Output, File)>, String> {
        let open =
            |output: &'_ Output| File::create(&output.file).map_err(|error| output.problem(&error));
        self.report
            .iter()
            .map(|output| Ok((output, open(output)?)))
            .collect()
    }
}

impl Output {
    fn problem(&self, error: &io::Error) -> String {
        format!("cannot write the report {}: {error}", self.file.display())
    }
}

/// How the vectors of a suite are judged.
struct Judging<'a, V> {
    options: &'a Options,
    about: fn(&V) -> About<'_>,
    /// Whether a vector takes so long that it should begin early.
    is_slow: fn(&V) -> bool,
}

/// What is judged.
struct Plan<'a, V> {
    vectors: Vec<&'a V>,
    /// The IDs of vectors that do not pass yet.
    known_failing: Vec<String>,
}

impl<V: Sync> Judging<'_, V> {
    fn plan<'v>(&self, suite: &'v [V], chosen: Vec<String>) -> Result<Plan<'v, V>, Failure> {
        let about = || suite.iter().map(|vector| (self.about)(vector));
        let selection = Selection::new(about(), chosen, self.options.skip.clone());
        let selection = selection.map_err(Failure::Usage)?;
        let mut known_failing = Vec::new();
        if let Some(file) = &self.options.known_failing {
            let problem = |problem| Failure::Usage(format!("{}: {problem}", file.display()));
            let text = fs::read_to_string(file).map_err(|error| problem(error.to_string()))?;
            let lines = text
                .lines()
                .map(|line| line.split('#').next().unwrap_or_default().trim());
            for id in lines.filter(|id| !id.is_empty()) {
                if !about().any(|about| about.id == id) {
                    return Err(problem(format!("no vector has the ID '{id}'; remove it")));
                }
                known_failing.push(id.to_owned());
            }
        }
        let chosen = suite
            .iter()
            .filter(|vector| selection.chooses(&(self.about)(vector)));
        let vectors: Vec<_> = chosen.collect();
        if vectors.is_empty() {
            let problem = "no vector is left, so nothing would be judged; skip less";
            return Err(Failure::Other(problem.into()));
        }
        Ok(Plan {
            vectors,
            known_failing,
        })
    }

    fn list(&self, plan: &Plan<V>) -> Result<ExitCode, Failure> {
        let about = || plan.vectors.iter().map(|vector| (self.about)(vector));
        let width = about()
            .map(|about| about.id.len())
            .max()
            .unwrap_or_default();
        let line = |about: About<'_>| {
            let (id, level, clauses) = (about.id, about.level, about.clauses.join(", "));
            format!("{id:width$}  {level:6}  {clauses}: {}\n", about.requirement)
        };
        let mut out = Out::default();
        about().for_each(|about| out.print(&line(about)));
        out.end()?;
        Ok(ExitCode::SUCCESS)
    }

    fn run(
        &self,
        plan: Plan<V>,
        mut report: Report,
        outputs: Vec<(&Output, File)>,
        judge: impl Fn(&V) -> Result<(), NotPassed> + Sync,
    ) -> Result<ExitCode, Failure> {
        let mut out = Out::default();
        out.print(&text::title(&report));
        let mut progress = Progress::new(plan.vectors.len());
        let order: Vec<_> = plan
            .vectors
            .iter()
            .map(|vector| (self.about)(vector).id.to_owned())
            .collect();
        let mut vectors = plan.vectors;
        vectors.sort_by_key(|vector| !(self.is_slow)(vector));
        let judge = |vector: &&V| {
            let mut judged = Judged::by((self.about)(vector), || judge(vector));
            judged.known_to_fail = plan.known_failing.contains(&judged.id);
            judged
        };
        let on_result = |judged: &Judged| progress.show(judged, &mut out);
        report.results = judge_all(&vectors, self.options.jobs, judge, on_result);
        report
            .results
            .sort_by_key(|judged| order.iter().position(|id| *id == judged.id));
        progress.end();
        out.print(&text::text(&report));
        for (output, mut file) in outputs {
            let written = file.write_all(output.format.show(&report).as_bytes());
            written.map_err(|error| output.problem(&error))?;
        }
        out.end()?;
        Ok(if report.is_good() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Standard output, with the first error.
#[derive(Default)]
struct Out(Option<io::Error>);

impl Out {
    fn print(&mut self, text: &str) {
        if self.0.is_none() {
            let mut stdout = io::stdout();
            let printed = stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush());
            self.0 = printed.err();
        }
    }

    /// Fails if something could not be printed, unless the reader has closed the pipe because it has read
    /// enough.
    fn end(self) -> Result<(), String> {
        match self.0 {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(format!("cannot write to standard output: {error}"))
            }
            _ => Ok(()),
        }
    }
}

/// Shows the results as they come: a bar on a terminal, lines elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    unexpected: usize,
}

impl Progress {
    fn new(count: usize) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:40} {pos} of {len}{msg}");
            let bar = ProgressBar::new(count as u64);
            bar.with_style(style.expect("a template"))
        });
        Self { bar, unexpected: 0 }
    }

    fn show(&mut self, judged: &Judged, out: &mut Out) {
        self.unexpected += usize::from(judged.is_unexpected());
        let Some(bar) = &self.bar else {
            let verdict = match judged.verdict {
                Verdict::Passed => "passed",
                Verdict::Failed => "failed",
                Verdict::NotJudged => "not judged",
            };
            return out.print(&format!("{}: {verdict}\n", judged.id));
        };
        if self.unexpected > 0 {
            bar.set_message(format!(", {} failed", self.unexpected));
        }
        bar.inc(1);
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
