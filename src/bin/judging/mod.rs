//! Judges by the chosen vectors of a suite, shows the results as they come, and writes reports.

mod progress;

use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use upcase::conformance::report::{Format, Judged, Report, text};
use upcase::conformance::selection::{Selection, known_to_fail};
use upcase::conformance::{About, NotPassed, judge_all};

use crate::cli::Failure;
use progress::{Output, Progress};

/// What the help of both judges says.
pub(crate) const HELP: &str = "\
Failures are shown in groups with the same cause, large groups first, with one example of each. A
vector of a SHOULD clause counts as others do; list it with --known-failing if there is a reason.
What this machine cannot judge can be left out with --skip.

A file for --known-failing has one ID a line; # begins a comment. A listed vector that fails does
not count, and one that passes is a failure, so that the list stays true.

A report's format follows from the end of its name: .xml is JUnit, .json is as
src/conformance/report/schema.json explains it, .tap is TAP 14, .html is a page to read.

Exit codes:
  0  all that was chosen passed, or failed as known; at least one vector was judged
  1  a vector failed, was not judged, or passed although it is listed as failing; or there is no
     implementation to judge, or a report cannot be written
  2  wrong usage";

/// What both judges take.
#[derive(Args)]
pub(crate) struct Options {
    /// Only list what would be judged: ID, level, clauses and requirement
    #[arg(long)]
    pub list: bool,

    /// Leave these out: an area, a clause or an ID
    #[arg(long, value_name = "AREA|CLAUSE|ID")]
    skip: Vec<String>,

    /// How many vectors are judged at the same time
    #[arg(long, value_name = "NUMBER", default_value = "16")]
    jobs: NonZeroUsize,

    /// A file of vectors that do not pass yet
    #[arg(long, value_name = "FILE")]
    known_failing: Option<PathBuf>,

    /// What reports call the implementation
    #[arg(long)]
    pub name: Option<String>,

    /// Also write a report; the end of its name chooses the format
    #[arg(long, value_name = "FILE.{xml,json,tap,html}", value_parser = target)]
    report: Vec<Target>,
}

/// A file for a report.
#[derive(Clone)]
struct Target {
    file: PathBuf,
    format: Format,
}

fn target(file: &str) -> Result<Target, String> {
    let file = PathBuf::from(file);
    let format = Format::of(&file)?;
    Ok(Target { file, format })
}

/// A vector of one of the suites.
pub(crate) trait AnyVector: Sync {
    /// What it says about itself.
    fn about(&self) -> About<'_>;

    /// Where it stands in the order by which all are judged soonest.
    fn order(&self) -> impl Ord;
}

/// The vectors that are judged, and how.
pub(crate) struct Plan<'a, V> {
    options: &'a Options,
    vectors: Vec<&'a V>,
    known_to_fail: Vec<String>,
}

impl<'a, V: AnyVector> Plan<'a, V> {
    /// The vectors of `suite` that the words `chosen` and the `options` choose.
    pub fn new(options: &'a Options, suite: &'a [V], chosen: &[&str]) -> Result<Self, Failure> {
        let about = suite.iter().map(AnyVector::about);
        let selection = Selection::new(about.clone(), chosen, &options.skip);
        let selection = selection.map_err(Failure::Usage)?;
        let known_to_fail = match &options.known_failing {
            None => Vec::new(),
            Some(file) => fs::read_to_string(file)
                .map_err(|error| error.to_string())
                .and_then(|list| known_to_fail(&list, about))
                .map_err(|problem| Failure::Usage(format!("{}: {problem}", file.display())))?,
        };
        let vectors = suite.iter();
        let vectors = vectors.filter(|vector| selection.chooses(&vector.about()));
        let plan = Self {
            options,
            vectors: vectors.collect(),
            known_to_fail,
        };
        match plan.vectors[..] {
            [] => Err("no vector is left, so nothing would be judged; skip less".to_owned())?,
            _ => Ok(plan),
        }
    }

    /// Prints the vectors.
    pub fn list(&self) -> Result<ExitCode, Failure> {
        let about = self.vectors.iter().map(|vector| vector.about());
        let width = about.clone().map(|about| about.id.len()).max();
        let width = width.unwrap_or_default();
        let mut output = Output::default();
        for about in about {
            let (id, level, clauses) = (about.id, about.level, about.clauses.join(", "));
            let requirement = about.requirement;
            output.print(&format!(
                "{id:width$}  {level:6}  {clauses}: {requirement}\n"
            ));
        }
        output.end()?;
        Ok(ExitCode::SUCCESS)
    }

    /// Opens the files for the reports. This comes before the judging, so that it fails early.
    pub fn files(&self) -> Result<Vec<File>, Failure> {
        let targets = self.options.report.iter();
        let open =
            |target: &Target| File::create(&target.file).map_err(|error| target.fails(&error));
        Ok(targets.map(open).collect::<Result<_, _>>()?)
    }

    /// Judges, and completes the `report`.
    pub fn run(
        mut self,
        mut report: Report,
        files: Vec<File>,
        judge: impl Fn(&V) -> Result<(), NotPassed> + Sync,
    ) -> Result<ExitCode, Failure> {
        let mut output = Output::default();
        output.print(&text::title(&report));
        let order: Vec<_> = self
            .vectors
            .iter()
            .map(|vector| vector.about().id)
            .collect();
        self.vectors.sort_by(|a, b| a.order().cmp(&b.order()));
        let judge = |vector: &&V| {
            let mut judged = Judged::by(vector.about(), || judge(vector));
            judged.known_to_fail = self.known_to_fail.contains(&judged.id);
            judged
        };
        let mut progress = Progress::new(self.vectors.len());
        report.results = judge_all(&self.vectors, self.options.jobs.get(), judge, |judged| {
            progress.show(judged, &mut output);
        });
        progress.end();
        let place = |judged: &Judged| order.iter().position(|id| *id == judged.id);
        report.results.sort_by_key(place);
        output.print(&text::text(&report));
        for (target, mut file) in self.options.report.iter().zip(files) {
            let written = file.write_all(target.format.show(&report).as_bytes());
            written.map_err(|error| target.fails(&error))?;
        }
        output.end()?;
        Ok(if report.is_good() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

impl Target {
    fn fails(&self, error: &io::Error) -> String {
        format!("cannot write the report {}: {error}", self.file.display())
    }
}
