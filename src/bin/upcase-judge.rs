//! `upcase-judge`: arguments, a judge from the library, reports, an exit code.

mod cli;
mod judging;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use cli::Failure;
use judging::{AnyVector, Options, Plan};
use upcase::client::host_and_port;
use upcase::conformance::client_vectors::{self, ClientVector};
use upcase::conformance::report::html::html;
use upcase::conformance::report::{Report, Role};
use upcase::conformance::vectors::{self, Vector};
use upcase::conformance::{About, ClientJudge, ServerJudge};

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
  upcase-judge client -- python3 client.py                a client that reads the message as its input
  upcase-judge report a.json b.json --html all.html       implementations side by side

Each task has a help of its own, such as upcase-judge server --help."
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Server(Server),
    Client(Client),
    Report(Join),
}

/// Judge a server, which must be running.
///
/// A word after its address chooses vectors: an area (proc), a clause of SPEC.md (TRIM-1) or the ID of
/// a vector (proc.hello). Without a word, all vectors are chosen.
#[derive(Args)]
#[command(
    after_long_help = judging::HELP,
    override_usage = "upcase-judge server [OPTIONS] HOST:PORT [AREA|CLAUSE|ID]..."
)]
struct Server {
    /// The server's name or IP address, and its port
    #[arg(value_name = "HOST:PORT", required_unless_present = "list")]
    address: Option<String>,

    /// What to judge; all without it
    #[arg(value_name = "AREA|CLAUSE|ID")]
    chosen: Vec<String>,

    /// The deadline that the server promises for each connection (SPEC TIME-1, TIME-6)
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "10", value_parser = server_deadline)]
    deadline: Duration,

    #[command(flatten)]
    options: Options,
}

/// Judge a client, which is started for each vector.
///
/// In COMMAND, {host} and {port} stand for the server to connect to, and {address} for both as HOST:PORT.
/// If none of them is there, the host and the port are added as two arguments. The message is standard
/// input, all of it, without a line feed added; or {message} stands for it. The client writes the bytes of the reply to standard output, nothing else,
/// and ends with exit code 0. If there is no reply, it says why on standard error, and ends with another
/// exit code.
///
/// A word before -- chooses vectors: an area, a clause of SPEC.md or the ID of a vector. Without a word, all
/// vectors are chosen. What an argument cannot hold, such as a zero byte, is not judged with {message}.
#[derive(Args)]
#[command(
    after_long_help = judging::HELP,
    override_usage = "upcase-judge client [OPTIONS] [AREA|CLAUSE|ID]... -- COMMAND..."
)]
struct Client {
    /// What to judge; all without it
    #[arg(value_name = "AREA|CLAUSE|ID")]
    chosen: Vec<String>,

    /// The deadline that the client promises for a whole exchange (SPEC CLIENT-8)
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "10", value_parser = client_deadline)]
    deadline: Duration,

    #[command(flatten)]
    options: Options,

    /// The program and its arguments; no shell reads them
    #[arg(last = true, required_unless_present = "list")]
    command: Vec<OsString>,
}

/// Show several implementations side by side, on one page.
#[derive(Args)]
struct Join {
    /// Reports of servers and clients, from --report FILE.json
    #[arg(required = true, value_name = "FILE.json")]
    reports: Vec<PathBuf>,

    /// The page to write: one file, without a script or another host
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

fn server_deadline(text: &str) -> Result<Duration, String> {
    let time = cli::seconds(text, Duration::from_secs(10)).ok();
    let time = time.filter(|time| *time >= Duration::from_secs(2));
    time.ok_or_else(|| "not a number of seconds, at least 2 and at most 10".into())
}

fn client_deadline(text: &str) -> Result<Duration, String> {
    cli::seconds(text, Duration::from_secs(3600))
}

fn main() -> ExitCode {
    cli::run(|arguments: &Arguments| match &arguments.task {
        Task::Server(server) => server.judge(),
        Task::Client(client) => client.judge(),
        Task::Report(join) => join.join(),
    })
}

impl Join {
    fn join(&self) -> Result<ExitCode, Failure> {
        let reports = self.reports.iter().map(|file| {
            let read = fs::read(file).map_err(|error| error.to_string());
            let report = read.and_then(|bytes| {
                let report = serde_json::from_slice(&bytes);
                report.map_err(|error| format!("this is not a report of upcase-judge: {error}"))
            });
            report.map_err(|problem| format!("{}: {problem}", file.display()))
        });
        let reports: Vec<Report> = reports.collect::<Result<_, _>>()?;
        let written = fs::write(&self.html, html(&reports));
        written.map_err(|error| format!("cannot write {}: {error}", self.html.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl AnyVector for Vector {
    fn about(&self) -> About<'_> {
        self.about()
    }

    fn order(&self) -> impl Ord {
        ServerJudge::order(self)
    }
}

impl AnyVector for ClientVector {
    fn about(&self) -> About<'_> {
        self.about()
    }

    fn order(&self) -> impl Ord {
        self.expect != client_vectors::Expectation::Error
    }
}

impl Client {
    fn judge(&self) -> Result<ExitCode, Failure> {
        let suite = client_vectors::suite();
        let chosen: Vec<_> = self.chosen.iter().map(String::as_str).collect();
        let plan = Plan::new(&self.options, &suite.vectors, &chosen)?;
        if self.options.list {
            return plan.list();
        }
        let files = plan.files()?;
        let words = self.command.iter().map(|word| word.to_string_lossy());
        let command_line = words.collect::<Vec<_>>().join(" ");
        let report = Report {
            judged: Role::Client,
            implementation: self.options.name.clone().unwrap_or(command_line),
            suite: suite.suite.clone(),
            spec: suite.spec.clone(),
            unicode: suite.unicode.clone(),
            results: Vec::new(),
        };
        let mut judge = ClientJudge::new(self.command.clone());
        judge.deadline = self.deadline;
        plan.run(report, files, |vector| judge.judge(vector))
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
        judge.deadline = self.deadline;
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
