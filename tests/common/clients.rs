//! A test for each vector for clients.

use std::env::{self, VarError};
use std::ffi::OsString;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use libtest_mimic::{Completion, Failed, Trial};
use upcase::conformance::client_vectors::{ClientVector, Expectation, suite};
use upcase::conformance::{ClientJudge, NotPassed};

use super::command_line;

/// The variable that names another client: its command line.
pub const CLIENT: &str = "UPCASE_CLIENT";

/// Whether the variable names another client.
pub fn is_named() -> bool {
    env::var_os(CLIENT).is_some()
}

/// The judge of the client that the variable names, or else of this project's client.
///
/// # Errors
/// The client cannot be judged at all.
fn judge() -> Result<ClientJudge, String> {
    let judge = match env::var(CLIENT) {
        Ok(named) => {
            let words = shlex::split(&named).filter(|words| !words.is_empty());
            let words = words.ok_or_else(|| not_a_command_line(&named))?;
            ClientJudge::new(words.into_iter().map(OsString::from).collect())
        }
        Err(VarError::NotUnicode(named)) => {
            return Err(not_a_command_line(&named.to_string_lossy()));
        }
        Err(VarError::NotPresent) => own(),
    };
    match judge.judge(&suite().vectors[0]) {
        Err(NotPassed::NotJudged(reason)) => Err(reason),
        _ => Ok(judge),
    }
}

fn not_a_command_line(named: &str) -> String {
    format!(
        "{CLIENT}={named:?} is not a command line; set it to a client's, such as 'python3 client.py \
         {{host}} {{port}}', or unset it to judge this project's client"
    )
}

/// The judge of this project's client. Its deadline is short, so that the tests are too.
fn own() -> ClientJudge {
    let options = ["--raw", "--timeout", "3", "--connect", "{address}"];
    let mut command = vec![cargo_bin!("upcase-client").into()];
    command.extend(options.map(OsString::from));
    let mut judge = ClientJudge::new(command);
    judge.deadline = Duration::from_secs(3);
    judge
}

/// Whether the client may take until its deadline for `vector`.
fn is_slow(vector: &ClientVector) -> bool {
    vector.expect == Expectation::Error || vector.host.addresses().len() > 1
}

/// A test for each vector, the slow ones first. Without what a vector needs of the machine, it is
/// ignored.
pub fn trials() -> Vec<Trial> {
    static JUDGE: LazyLock<Result<ClientJudge, String>> = LazyLock::new(judge);
    let (mut vectors, quick): (Vec<_>, Vec<_>) = suite().vectors.iter().partition(|v| is_slow(v));
    vectors.extend(quick);
    let trial = |vector: &'static ClientVector| {
        command_line::test(&vector.id, || match JUDGE.as_ref()?.judge(vector) {
            Ok(()) => Ok(Completion::Completed),
            Err(NotPassed::NotJudged(reason)) => Ok(Completion::ignored_with(reason)),
            Err(violation) => {
                let named = env::var(CLIENT).map(|named| format!("{CLIENT}={named:?} "));
                let named = named.unwrap_or_default();
                let id = &vector.id;
                let again = format!("{named}cargo test --test conformance -- --exact {id}");
                Err(Failed::from(format!("{violation}\n    again    {again}")))
            }
        })
    };
    vectors.into_iter().map(trial).collect()
}

/// Tests of the program that runs these, when it judges another client.
pub fn runner_trials() -> Vec<Trial> {
    let not_a_command_line = || {
        for named in ["", " ", "client '"] {
            fails(named, "message.hello", "is not a command line; set it to")?;
        }
        Ok(())
    };
    vec![
        Trial::test("runner.client-that-is-missing-fails", || {
            fails(
                "/no/such/client",
                "message.hello",
                "this machine cannot start \"/no/such/client\"",
            )
        }),
        Trial::test("runner.client-that-was-not-judged-fails", || {
            fails("true", "no-such-vector", "was not judged at all")
        }),
        Trial::test(
            "runner.client-without-a-command-line-is-explained",
            not_a_command_line,
        ),
        Trial::test("runner.wrong-client-is-shown-with-the-cause", || {
            let text = "message.hello (CLIENT-1, CLIENT-10): the client exits with 0, and has sent nothing";
            fails("true", "message.", text)?;
            fails(
                "true",
                "message.",
                "again    UPCASE_CLIENT=\"true\" cargo test",
            )
        }),
    ]
}

/// Runs this program with another client. It must fail, and print the text.
fn fails(client: &str, filter: &str, text: &str) -> Result<(), Failed> {
    let output = Command::new(env::current_exe()?)
        .arg(filter)
        .env(CLIENT, client)
        .output()?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    if output.status.success() || !printed.contains(text) {
        return Err(format!("{}, without {text:?}:\n{printed}", output.status).into());
    }
    Ok(())
}
