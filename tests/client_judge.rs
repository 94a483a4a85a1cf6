//! The judge of clients is fair, and no client can harm it. `tests/clients.rs` shows what it catches.

use std::ffi::OsString;
use std::time::Duration;

use upcase::conformance::client_vectors::{ClientVector, suite};
use upcase::conformance::{ClientJudge, NotPassed};

fn vector(id: &str) -> &'static ClientVector {
    let mut vectors = suite().vectors.iter();
    vectors.find(|vector| vector.id == id).expect("a vector")
}

fn judge(command: &[&str]) -> ClientJudge {
    let words = command.iter().map(OsString::from);
    let mut judge = ClientJudge::new(words.collect());
    judge.deadline = Duration::from_millis(500);
    judge
}

/// Why a client that is a script of the shell did not pass the vector.
#[track_caller]
fn problem(id: &str, script: &str) -> String {
    match judge(&["sh", "-c", script]).judge(vector(id)) {
        Err(NotPassed::Violation(violation)) => violation.problem,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn not_judged(id: &str, command: &[&str]) -> String {
    match judge(command).judge(vector(id)) {
        Err(NotPassed::NotJudged(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_program_is_not_judged() {
    let reason = not_judged("message.hello", &["/no/such/client"]);
    assert!(
        reason.contains("cannot start \"/no/such/client\""),
        "{reason}"
    );
    let reason = not_judged("address.name", &["/no/such/client"]);
    assert!(reason.starts_with("this machine cannot"), "{reason}");
    assert_eq!(reason.lines().count(), 1, "{reason}");
}

#[test]
fn empty_command_line_is_not_judged() {
    let reason = not_judged("message.hello", &[]);
    assert!(reason.contains("name a program"), "{reason}");
}

#[test]
fn message_that_an_argument_cannot_hold_is_not_judged() {
    let reason = not_judged("message.nul", &["true", "{message}"]);
    assert!(reason.contains("without {message}"), "{reason}");
}

#[test]
fn short_deadline_is_not_judged_by_a_slow_server() {
    let reason = not_judged("end.late", &["true"]);
    assert!(
        reason.contains("500ms") && reason.contains("3s"),
        "{reason}"
    );
}

/// The words that a client gets, written to standard error.
#[track_caller]
fn words_of(id: &str, words: &[&str]) -> String {
    let command = [
        &["sh", "-c", "printf '<%s>' \"$@\" >&2; exit 1", "sh"],
        words,
    ]
    .concat();
    match judge(&command).judge(vector(id)) {
        Err(NotPassed::Violation(violation)) => {
            let mut details = violation.details.into_iter();
            let stderr = details.find(|detail| detail.label == "stderr");
            stderr.expect("a detail").text
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn host_and_port_are_added_if_no_word_has_them() {
    let words = words_of("message.hello", &["-x"]);
    assert!(words.starts_with("b'<-x><127.0.0.1><"), "{words}");
}

#[test]
fn words_are_filled_once() {
    // The message has the text "{host}".
    let words = words_of("message.escapes", &["--to={address}", "{message}"]);
    assert!(words.starts_with("b'<--to=127.0.0.1:"), "{words}");
    assert!(words.ends_with("{host}>'"), "{words}");
}

#[test]
fn endless_output_ends_with_the_clients_time() {
    let endless = problem("message.hello", "exec yes");
    assert_eq!(endless, "the client does not connect in time");
}

#[test]
fn unread_standard_input_does_not_block() {
    let idle = problem("refuse.100000-bytes", "exec sleep 60");
    assert_eq!(idle, "the client has not ended by its deadline");
}

#[test]
fn process_left_behind_does_not_block() {
    let left = problem("refuse.lf-within", "sleep 5 & exit 1");
    assert_eq!(left, "the client gives no reason on standard error");
}

#[test]
fn death_by_signal_is_not_a_refusal() {
    let killed = problem("refuse.lf-within", "echo no >&2; kill -9 $$");
    assert_eq!(killed, "the client was ended by a signal");
}

#[test]
fn refusal_needs_a_reason_and_a_code_and_no_output() {
    for (script, expected) in [
        ("exit 1", "the client gives no reason on standard error"),
        (
            "echo no >&2",
            "the client exits with 0, although there is no reply",
        ),
        (
            "echo no; echo no >&2; exit 1",
            "the client writes to standard output, although there is no reply",
        ),
    ] {
        assert_eq!(problem("refuse.lf-within", script), expected);
    }
    let refuses = judge(&["sh", "-c", "echo no >&2; exit 1"]);
    assert_eq!(refuses.judge(vector("refuse.lf-within")), Ok(()));
}

#[test]
fn violation_shows_how_to_find_the_cause() {
    let judge = judge(&["sh", "-c", "echo some reason >&2; exit 3"]);
    let Err(NotPassed::Violation(violation)) = judge.judge(vector("message.hello")) else {
        panic!("it passes");
    };
    let shown = violation.to_string();
    for text in [
        "message.hello (CLIENT-1, CLIENT-10): the client refuses a message that it must send",
        "message  b'hello'",
        "stderr   b'some reason'",
        "exit status: 3",
        "connects 0 times",
        "command  sh -c",
    ] {
        assert!(shown.contains(text), "no {text:?} in:\n{shown}");
    }
}

#[test]
fn several_clients_are_judged_at_the_same_time() {
    let judge = judge(&["sh", "-c", "echo no >&2; exit 1"]);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(judge.judge(vector("refuse.lf-within")), Ok(())));
        }
    });
}

#[test]
fn client_that_hangs_each_time_is_run_once() {
    let file = std::env::temp_dir().join(format!("upcase-runs-{}", std::process::id()));
    let script = format!("echo >> {}; exec sleep 60", file.display());
    let judge = judge(&["sh", "-c", &script]);
    let judge_one = || {
        let judged = judge.judge(vector("message.hello"));
        assert!(matches!(judged, Err(NotPassed::Violation(_))), "{judged:?}");
    };
    let runs = || std::fs::read(&file).expect("the runs").len();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(judge_one);
        }
    });
    assert_eq!(runs(), 5 * 3);
    judge_one();
    assert_eq!(runs(), 5 * 3 + 1);
    std::fs::remove_file(&file).expect("removed");
}

/// The list of hosts is the client's alone.
#[test]
fn hosts_of_this_machine_stay_as_they_are() {
    let read = || std::fs::read("/etc/hosts").unwrap_or_default();
    let before = read();
    let _ = judge(&["true"]).judge(vector("address.name"));
    assert_eq!(read(), before);
}
