//! The judge of clients is tested: it finds every fault that is planted in a client, and none in a
//! right one. `faults/clients.rs` has them all.
//!
//! This program is also each of these clients: `--as NAME HOST PORT`.

mod common {
    pub mod command_line;
}

mod faults {
    pub mod clients;
}

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::command_line::{self, CommandLine};
use faults::clients::{self, Client, Fault};
use libtest_mimic::{Completion, Failed};
use upcase::conformance::client_vectors::{ClientVector, suite};
use upcase::conformance::{ClientJudge, NotPassed, judge_all};

/// What tells this program to be a client.
const AS: &str = "--as";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [first, name, host, port] = &arguments[..]
        && first == AS
    {
        let port = port.parse().expect("a port");
        return client(name).run(host, port).into();
    }
    let wrong = clients::wrong().map(|fault| {
        let name = format!("catches client that {}", fault.name);
        command_line::test(&name, || is_caught(fault))
    });
    let right = clients::RIGHTS.iter().map(|(name, _)| {
        let test = format!("passes client that {name}");
        command_line::test(&test, || passes(name))
    });
    let others: [(&str, fn()); 2] = [
        ("every_vector_catches_a_wrong_client", every_vector_catches),
        ("every_name_is_of_one_client", every_name_is_of_one_client),
    ];
    let others = others.into_iter().map(|(name, run)| {
        command_line::test(name, move || {
            run();
            Ok(Completion::Completed)
        })
    });
    // The right ones take longest.
    let trials = right.chain(wrong).chain(others).collect();
    // Most of the time is spent waiting.
    let conclusion = CommandLine::parse().run(8, trials);
    conclusion.map_or(ExitCode::FAILURE, |conclusion| conclusion.exit_code())
}

/// The client of this name.
fn client(name: &str) -> Client {
    let mut wrong = clients::wrong().filter(|fault| fault.name == name);
    let mut right = clients::RIGHTS.iter().filter(|(right, _)| *right == name);
    let client = wrong.next().map(|fault| fault.client);
    client.unwrap_or_else(|| right.next().expect("a client of this name").1)
}

/// A judge of the client of this name, which is told that the client promises this deadline.
fn judge(name: &str, deadline: Duration) -> ClientJudge {
    let this = env::current_exe().expect("the path of this program");
    let mut command = vec![this.into_os_string()];
    command.extend([AS, name, "{host}", "{port}"].map(OsString::from));
    let mut judge = ClientJudge::new(command);
    judge.deadline = deadline;
    judge
}

/// A vector that needs what this machine lacks does not count.
fn is_caught(fault: &Fault) -> Result<Completion, Failed> {
    let aims: Vec<_> = fault.caught_by.iter().map(|id| vector(id)).collect();
    let judge = judge(fault.name, clients::DEADLINE);
    let mut reason = None;
    let results = judge_all(&aims, aims.len(), |vector| judge.judge(vector), |_| {});
    for (vector, result) in aims.into_iter().zip(results) {
        match result {
            Err(NotPassed::Violation(_)) => {}
            Err(NotPassed::NotJudged(why)) => reason = Some(why),
            Ok(()) => return Err(format!("{} does not catch it", vector.id).into()),
        }
    }
    Ok(reason.map_or(Completion::Completed, Completion::ignored_with))
}

fn passes(name: &str) -> Result<Completion, Failed> {
    // A promise that it keeps on a busy machine too.
    let judge = judge(name, clients::DEADLINE * 2);
    let results = judge_all(&suite().vectors, 4, |vector| judge.judge(vector), |_| {});
    let mut violations = results.into_iter().filter_map(|result| match result {
        Err(NotPassed::Violation(violation)) => Some(violation),
        _ => None,
    });
    violations
        .next()
        .map_or(Ok(Completion::Completed), |first| {
            let more = violations.count();
            Err(format!("{first}\n    and {more} more violations").into())
        })
}

fn vector(id: &str) -> &'static ClientVector {
    let mut vectors = suite().vectors.iter();
    let vector = vectors.find(|vector| vector.id == id);
    vector.unwrap_or_else(|| panic!("there is no vector {id}"))
}

fn every_vector_catches() {
    let catching: BTreeSet<_> = clients::wrong().flat_map(|fault| fault.caught_by).collect();
    let idle = suite().vectors.iter().map(|vector| &*vector.id);
    let idle: Vec<_> = idle.filter(|id| !catching.contains(id)).collect();
    assert!(idle.is_empty(), "{idle:?}");
}

fn every_name_is_of_one_client() {
    let right = clients::RIGHTS.iter().map(|(name, _)| *name);
    let names: Vec<_> = clients::wrong()
        .map(|fault| fault.name)
        .chain(right)
        .collect();
    let unique: BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "{names:?}");
}
