//! Judges a server and a client by every vector. Each vector is a test.
//!
//! `cargo test --test conformance` judges this project's server and client. With
//! `UPCASE_SERVER=HOST:PORT` in the environment it judges the server that runs there and no client, and
//! with `UPCASE_CLIENT=COMMAND` the client with this command line and no server, in whatever language.
//!
//! The judge decides which vectors run at the same time.

mod common {
    pub mod clients;
    pub mod command_line;
    pub mod in_process;
    pub mod nowhere;
    pub mod process;
    pub mod program;
}

use std::env::{self, VarError};
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use clap::Parser;
use common::clients;
use common::command_line::{self, CommandLine};
use common::in_process::{serve, serve_only};
use common::nowhere::nowhere;
use common::program::Program;
use libtest_mimic::{Completion, Failed, Trial};
use upcase::client::host_and_port;
use upcase::conformance::ServerJudge;
use upcase::conformance::vectors::{Vector, suite};
use upcase::exchange::Exchange;

/// The variable that names another server.
const SERVER: &str = "UPCASE_SERVER";

/// The judge of the server, if a test needs it.
static JUDGE: OnceLock<ServerJudge> = OnceLock::new();

fn main() -> ExitCode {
    match run() {
        Ok(exit_code) => exit_code,
        Err(reason) => {
            // Unlike eprintln!, this does not panic if standard error is closed.
            let _ = writeln!(io::stderr(), "conformance: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let named = match env::var(SERVER) {
        Ok(named) => Some(named),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(_)) => return Err(format!("{SERVER} is not HOST:PORT")),
    };
    let is_of_client = named.is_none() && clients::is_named();
    let mut trials = if is_of_client {
        Vec::new()
    } else {
        vector_trials()
    };
    if named.is_none() {
        trials.extend(clients::trials());
    }
    if named.is_none() && !is_of_client {
        trials.extend(runner_trials());
        trials.extend(clients::runner_trials());
        trials.extend(command_line_trials());
    }
    let command_line = CommandLine::parse();
    let run = |trials| {
        let conclusion = command_line.run(16, trials);
        conclusion.map_or(ExitCode::FAILURE, |conclusion| conclusion.exit_code())
    };
    if command_line.arguments.list {
        return Ok(run(trials));
    }
    if is_of_client {
        let chosen = trials.iter().any(|trial| command_line.chooses(trial));
        let none = "no vector has such a name, so the client was not judged at all";
        return chosen.then(|| run(trials)).ok_or(none.into());
    }

    if let Some(named) = &named
        && !trials.iter().any(|trial| command_line.chooses(trial))
    {
        return Err(format!(
            "no vector has such a name, so {named} was not judged at all"
        ));
    }
    let own;
    let judge = if let Some(named) = &named {
        find(named)?
    } else {
        own = start_server();
        ServerJudge::new(own.address)
    };
    JUDGE.get_or_init(|| judge);
    Ok(run(trials))
}

/// Starts this project's server. Its deadline is short, so that the tests are too.
fn start_server() -> Program {
    let mut command = Command::new(cargo_bin!("upcase-server"));
    command.args(["--bind", "127.0.0.1:0", "--timeout", "2", "--quiet"]);
    Program::start(&mut command)
}

/// A judge of the server at `named`.
fn find(named: &str) -> Result<ServerJudge, String> {
    let address = host_and_port(named).map_err(|error| {
        format!(
            "{SERVER}={named:?} is {error}; set it to a server's, or unset it to judge this project's \
             server"
        )
    })?;
    ServerJudge::find(address).map_err(|error| format!("{SERVER}={named}: {error}"))
}

/// A test for each vector, in the order in which all are judged soonest.
fn vector_trials() -> Vec<Trial> {
    let mut vectors: Vec<_> = suite().vectors.iter().collect();
    vectors.sort_by_key(|vector| ServerJudge::order(vector));
    let trial = |vector: &'static Vector| {
        command_line::test(&vector.id, || {
            let judge = JUDGE.get().expect("it was set before the tests");
            let judged = judge.judge(vector).map(|()| Completion::Completed);
            judged.map_err(|reason| {
                let named = env::var(SERVER).map(|named| format!("{SERVER}={named} "));
                let named = named.unwrap_or_default();
                let command = format!(
                    "{named}cargo test --test conformance -- --exact {}",
                    vector.id
                );
                Failed::from(format!("{reason}\n    again    {command}"))
            })
        })
    };
    vectors.into_iter().map(trial).collect()
}

/// Tests of this program, which run when it judges this project's server.
fn runner_trials() -> Vec<Trial> {
    vec![
        Trial::test("runner.absent-server-fails", || {
            let (_socket, nowhere) = nowhere();
            let texts = [
                "conformance: UPCASE_SERVER=",
                "no server accepts",
                "refused",
            ];
            fails(nowhere, "", &texts)
        }),
        Trial::test("runner.missing-route-is-shown-at-its-address", || {
            // No machine can connect to the address of all machines.
            fails("255.255.255.255:9", "", &["\n  255.255.255.255:9: "])
        }),
        Trial::test("runner.wrong-server-is-judged", || {
            let server = serve(|_| b"SSH-2.0".to_vec())?.address;
            let texts = [
                "proc.hello (PROC-1): the bytes are wrong",
                "received b'SSH-2.0'",
            ];
            fails(server, "proc.", &texts)
        }),
        Trial::test("runner.server-that-was-not-judged-fails", || {
            let server = serve(upcase::process)?.address;
            fails(server, "no-such-vector", &["was not judged at all"])
        }),
        Trial::test("runner.what-is-not-an-address-is-explained", || {
            for named in [
                "",
                " ",
                "localhost",
                "localhost:0",
                "localhost: 9000",
                "local\thost:9000",
                ":9000",
                "::1",
                "::1:9000",
                "http://localhost:9000/",
            ] {
                let texts = ["is not HOST:PORT", "such as localhost:8080", "unset it"];
                fails(named, "", &texts)?;
            }
            Ok(())
        }),
        #[cfg(unix)]
        Trial::test(
            "runner.lack-of-descriptors-is-not-the-servers-fault",
            || {
                let server = serve(upcase::process)?.address;
                let output = Command::new("sh")
                    .args(["-c", "ulimit -n 20 && exec \"$0\" \"$@\""])
                    .arg(env::current_exe()?)
                    .args(["--exact", "time.forty-at-once"])
                    .env(SERVER, server.to_string())
                    .output()?;
                let printed = String::from_utf8(output.stdout)?;
                let blames = "not judged: this machine cannot connect";
                if !printed.contains(blames)
                    || !printed.contains("ulimit -n")
                    || printed.contains("TIME-")
                {
                    return Err(printed.into());
                }
                Ok(())
            },
        ),
        Trial::test("runner.server-that-dies-fails", || {
            let server = serve_only(10, upcase::process)?.address;
            let texts = [
                "not judged: the server does not serve a simple exchange, after ",
                " connections: the server does not accept a connection",
            ];
            fails(server, "trim.", &texts)
        }),
        Trial::test("runner.violation-shows-the-cause", || {
            let server = serve(|request| upcase::clip(request).to_ascii_uppercase())?.address;
            let texts = [
                "upper.latin-1-last (UPPER-1): the bytes are wrong",
                "UPPER-1: Each well-formed character MUST become its full uppercase mapping",
                "sent     b'",
                "expected b'",
                "received b'",
                "differs  offset 0: expected c5, received c3",
                "ended    by an orderly end of the stream (FIN)",
                &format!("UPCASE_SERVER={server} cargo test --test conformance -- --exact upper."),
            ];
            fails(server, "upper.latin-1-last", &texts)
        }),
    ]
}

/// Tests of this program's filters and of its output.
fn command_line_trials() -> Vec<Trial> {
    vec![
        Trial::test("runner.several-filters-choose-several-groups", || {
            let output = Command::new(env::current_exe()?)
                .args(["--list", "trim.", "cap.", "--skip", "cap.cut"])
                .output()?;
            let listed = String::from_utf8(output.stdout)?;
            let is_chosen = |id: &str| listed.lines().any(|line| line == format!("{id}: test"));
            let chosen = ["trim.space", "cap.1023-and-lf", "proc.hello"].map(is_chosen);
            if chosen != [true, true, false] || listed.contains("cap.cut") {
                return Err(listed.into());
            }
            Ok(())
        }),
        Trial::test("runner.tests-that-no-filter-chooses-are-counted", || {
            let server = serve(upcase::process)?.address;
            let output = Command::new(env::current_exe()?)
                .args(["--exact", "trim.space", "cap.1023-and-lf"])
                .env(SERVER, server.to_string())
                .output()?;
            let printed = String::from_utf8(output.stdout)?;
            let others = suite().count - 2;
            let counts =
                format!("2 passed; 0 failed; 0 ignored; 0 measured; {others} filtered out");
            if !printed.contains(&counts) {
                return Err(printed.into());
            }
            Ok(())
        }),
        Trial::test("runner.nothing-is-judged-for-nobody", || {
            let (slow, count) = serve_slowly()?;
            let mut runner = Command::new(env::current_exe()?)
                .args(["cap.", "trim.", "upper."])
                .env(SERVER, slow.to_string())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let stdout = BufReader::new(runner.stdout.take().expect("a pipe"));
            let mut lines = stdout.lines().map_while(Result::ok);
            let begins = lines.any(|line| line.starts_with("running"));
            drop(lines);
            let output = runner.wait_with_output()?;
            let printed = String::from_utf8(output.stderr)?;
            let all = suite().vectors.iter().filter(|vector| {
                ["cap.", "trim.", "upper."]
                    .iter()
                    .any(|area| vector.id.contains(area))
            });
            let is_whole = count.load(Ordering::SeqCst) >= all.count();
            if !begins || is_whole || output.status.code() != Some(1) || !printed.is_empty() {
                return Err(format!("{begins}, {is_whole}, {}: {printed}", output.status).into());
            }
            Ok(())
        }),
        #[cfg(target_os = "linux")]
        Trial::test("runner.results-that-cannot-be-written-fail", || {
            let full = || std::fs::File::options().write(true).open("/dev/full");
            let output = Command::new(env::current_exe()?)
                .arg("--list")
                .stdout(full()?)
                .output()?;
            let printed = String::from_utf8(output.stderr)?;
            let line = "the results cannot be written: ";
            let is_line = printed.starts_with(line) && printed.lines().count() == 1;
            if output.status.code() != Some(1) || !is_line {
                return Err(format!("{}: {printed}", output.status).into());
            }
            // Without standard error either, at least the exit code tells.
            let mut runner = Command::new(env::current_exe()?);
            let status = runner.env(SERVER, "").stderr(full()?).status()?;
            if status.code() != Some(1) {
                return Err(status.to_string().into());
            }
            Ok(())
        }),
    ]
}

/// Runs this program with another server. It must fail, and print the texts.
fn fails(server: impl Display, filter: &str, texts: &[&str]) -> Result<(), Failed> {
    let output = Command::new(env::current_exe()?)
        .arg(filter)
        .env(SERVER, server.to_string())
        .output()?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    let missing: Vec<_> = texts
        .iter()
        .filter(|text| !printed.contains(**text))
        .collect();
    if output.status.success() || !missing.is_empty() {
        return Err(format!("{}, without {missing:?}:\n{printed}", output.status).into());
    }
    Ok(())
}

/// Serves, but waits before each connection. Also returns the number of connections.
fn serve_slowly() -> io::Result<(SocketAddr, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::sleep(Duration::from_millis(50));
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = Exchange::new().advance(&mut stream, upcase::process);
        }
    });
    Ok((address, count))
}
