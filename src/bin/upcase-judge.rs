//! `upcase-judge`: arguments, a judge from the library, reports, an exit code.

mod cli;
mod judging;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use cli::Failure;
use judging::{AnyVector, Options, Plan};
use upcase::client::host_and_port;
use upcase::conformance::report::{Report, Role};
use upcase::conformance::vectors::{self, End, Vector};
use upcase::conformance::{About, ServerJudge};

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

Each task has a help of its own, such as upcase-judge server --help."
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Server(Server),
}

/// Judge a server, which must be running.
///
/// A word after its address chooses vectors: an area (proc), a clause of SPEC.md (TRIM-1) or the ID of
/// a vector (proc.hello). Without a word, all vectors are chosen.
#[derive(Args)]
#[command(after_long_help = judging::HELP)]
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

fn main() -> ExitCode {
    cli::run(|arguments: &Arguments| match &arguments.task {
        Task::Server(server) => server.judge(),
    })
}

impl AnyVector for Vector {
    fn about(&self) -> About<'_> {
        self.about()
    }

    fn is_slow(&self) -> bool {
        self.expect.end != End::Fin
    }
}

impl Server {
    fn judge(&self) -> Result<ExitCode, Failure> {
        let mut named = self.address.as_deref();
        // Only to list, no server is needed. Then the first word chooses, too.
        let first = named.take_if(|word| self.options.list && !word.contains(':'));
        let chosen = first
            .into_iter()
            .chain(self.chosen.iter().map(String::as_str));
        let chosen: Vec<_> = chosen.collect();
        let address = named.map(|named| {
            let address = host_and_port(named).map_err(|error| format!("'{named}' is {error}"));
            address.map(|address| (named, address))
        });
        let address = address.transpose().map_err(Failure::Usage)?;
        let suite = vectors::suite();
        let plan = Plan::new(&self.options, &suite.vectors, &chosen)?;
        let Some((named, address)) = address.filter(|_| !self.options.list) else {
            return plan.list();
        };
        let files = plan.files()?;
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
        plan.run(report, files, |vector| judge.judge(vector))
    }
}
