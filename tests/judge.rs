//! `upcase-judge` does what its help says, with right and wrong implementations.

mod common {
    pub mod command;
    pub mod command_line;
    pub mod in_process;
    pub mod nowhere;
    pub mod process;
    pub mod program;
    pub mod terminal;
    pub mod trials;
}

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use assert_cmd::assert::Assert;
use assert_cmd::cargo::{cargo_bin, cargo_bin_cmd};
use common::command::succeeds;
use common::in_process::{InProcess, serve};
use common::nowhere::nowhere;
use common::process::Process;
use common::program::Program;
use common::terminal::terminal;
use common::trials::{self, Need, trial};
use predicates::prelude::*;
use predicates::str::{contains, ends_with, is_empty, is_match, starts_with};
use upcase::conformance::client_vectors::{self, ClientVector};
use upcase::conformance::report::{Judged, Report, Role, Verdict};
use upcase::conformance::vectors::suite;
use upcase::process;

fn main() -> ExitCode {
    let trials = vec![
        trial(right_server_passes, []),
        trial(wrong_server_fails_by_causes, []),
        trial(wrong_protocol_is_shown_by_what_came, []),
        trial(silent_server_is_given_up_early, []),
        trial(slow_server_is_judged_by_few_exchanges, []),
        trial(areas_clauses_and_ids_choose, []),
        trial(listing_needs_no_server, []),
        trial(unknown_words_are_wrong_usage, []),
        trial(nothing_left_to_judge_fails, []),
        trial(known_failures_do_not_count, []),
        trial(unexpected_pass_is_a_failure, []),
        trial(list_of_known_failures_is_checked, []),
        trial(absent_server_is_shown_with_its_addresses, []),
        trial(what_is_not_an_address_is_wrong_usage, []),
        trial(server_is_found_at_any_address_of_its_name, []),
        trial(jobs_limit_what_is_judged_at_once, []),
        trial(results_are_in_the_order_of_the_suite, []),
        trial(deadlines_out_of_range_are_wrong_usage, []),
        trial(unknown_endings_of_reports_are_wrong_usage, []),
        trial(unwritable_report_fails_before_judging, []),
        trial(json_report_has_all_results, []),
        trial(junit_report_agrees_with_the_exit_code, []),
        trial(junit_report_fits_its_schema, [&XMLLINT]),
        trial(tap_report_agrees_with_the_exit_code, [&PROVE]),
        trial(terminal_gets_a_bar_and_no_lines, []),
        trial(unwritable_output_fails, []),
        trial(right_client_passes, []),
        trial(wrong_client_fails_by_causes, []),
        trial(vectors_for_clients_are_chosen_by_the_same_words, []),
        trial(client_that_cannot_start_is_not_judged, []),
        trial(client_without_a_command_is_wrong_usage, []),
        trial(html_report_is_a_page, []),
        trial(several_reports_make_one_page, []),
        trial(what_is_not_a_report_is_refused, []),
        trial(help_teaches_every_task, []),
    ];
    trials::run(4, trials)
}

static XMLLINT: Need = Need::new("xmllint", || succeeds(&["xmllint", "--version"]));
static PROVE: Need = Need::new("prove", || succeeds(&["prove", "--version"]));

/// Areas that are judged quickly.
const QUICK: [&str; 3] = ["proc", "trim", "upper"];

/// A vector that a server for ASCII alone does not pass.
const BEYOND_ASCII: &str = "upper.greek";

/// The judge with these arguments, to its end.
fn judge<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Assert {
    cargo_bin_cmd!("upcase-judge").args(arguments).assert()
}

/// Judges a server.
fn judge_server(server: &InProcess, arguments: &[&str]) -> Assert {
    let address = server.address.to_string();
    judge(["server", &address].iter().chain(arguments))
}

fn right() -> InProcess {
    serve(upcase::process).unwrap()
}

/// A server that maps ASCII alone.
fn wrong() -> InProcess {
    serve(|request| upcase::clip(request).to_ascii_uppercase()).unwrap()
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

/// A file of this test for a run of the judge.
fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("judge");
    fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// A list of known failures.
fn known(name: &str, text: &str) -> String {
    let file = file(name);
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The report, in the format of `ending`, of a server for ASCII. One of two failures is known, and one
/// vector passes although it is known to fail.
fn mixed_report(name: &str) -> String {
    let file = file(name);
    let known = known(
        &format!("{name}.known"),
        &format!("{BEYOND_ASCII}\nproc.hello"),
    );
    let vectors = ["proc", BEYOND_ASCII, "upper.cyrillic"];
    let path = file.to_str().unwrap();
    let options = [
        "--known-failing",
        &known,
        "--report",
        path,
        "--name",
        "mine",
    ];
    judge_server(&wrong(), &[&vectors[..], &options].concat()).code(1);
    fs::read_to_string(file).unwrap()
}

/// The same without anything unexpected.
fn good_report(name: &str) -> String {
    let file = file(name);
    let known = known(&format!("{name}.known"), BEYOND_ASCII);
    let path = file.to_str().unwrap();
    let options = ["--known-failing", &known, "--report", path];
    judge_server(
        &wrong(),
        &[&["proc.hello", BEYOND_ASCII][..], &options].concat(),
    )
    .success();
    fs::read_to_string(file).unwrap()
}

fn right_server_passes() {
    let mut command = Command::new(cargo_bin!("upcase-server"));
    command.args(["--bind", "127.0.0.1:0", "--timeout", "2", "--quiet"]);
    let server = Program::start(&mut command);
    let suite = suite();
    let title = format!(
        "UPCASE suite {} (SPEC {}, Unicode {}) judges the server {}\n",
        suite.suite, suite.spec, suite.unicode, server.address
    );
    let chosen = suite.vectors.iter().filter(|vector| {
        let (area, _) = vector.id.split_once('.').unwrap();
        QUICK.contains(&area)
    });
    let count = chosen.count();
    let address = server.address.to_string();
    judge(["server", &address].iter().chain(&QUICK))
        .success()
        .stdout(starts_with(title))
        .stdout(contains("\nproc.hello: passed\n"))
        .stdout(ends_with(format!(
            "\n{count} vectors: {count} passed, 0 failed\n"
        )))
        .stderr(is_empty());
}

fn wrong_server_fails_by_causes() {
    let assert = judge_server(&wrong(), &["proc", "upper"]).code(1);
    let printed = stdout(&assert);
    let assert = assert.stdout(contains("\nproc.hello: passed\n"));
    let assert = assert.stdout(contains(format!("\n{BEYOND_ASCII}: failed\n")));
    // The largest cause is the first. It has an example with all details, and the IDs of the others.
    let clause = upcase::conformance::clauses::clause("UPPER-1").unwrap();
    let first = "\n1. UPPER-1: the bytes are wrong (";
    let assert = assert
        .stdout(contains(first))
        .stdout(contains(format!(
            " vectors)\n   {clause}\n   upper.two-bytes (MUST, UPPER-1)\n     does     Sends "
        )))
        .stdout(contains("\n     must     The reply is "));
    let assert = [
        "sent     b'",
        "expected b'ÇÃO'",
        "received b'çãO'",
        "differs  offset 1: expected 87, received a7",
        "ended    by an orderly end",
    ]
    .iter()
    .fold(assert, |assert, detail| {
        assert.stdout(contains(format!("\n     {detail}")))
    });
    assert.stdout(is_match(r"\n\d+ vectors: \d+ passed, \d+ failed by \d+ causes\n$").unwrap());
    let counts = printed.lines().filter_map(|line| {
        let (_, count) = line.split_once(": the bytes are wrong (")?;
        count.split(' ').next()?.parse().ok()
    });
    let counts: Vec<usize> = counts.collect();
    assert!(
        counts.len() > 2 && counts.is_sorted_by(|a, b| a >= b),
        "{printed}"
    );
    let ids = printed.split("\n1. ").nth(1).unwrap();
    let total: usize = counts.iter().sum();
    let named = suite().vectors.iter().filter(|vector| {
        let mut words = ids.split_whitespace();
        words.any(|word| word == vector.id)
    });
    assert_eq!(named.count(), total, "{printed}");
}

/// What a server of another protocol sends is shown. It does not keep vectors from being judged.
fn wrong_protocol_is_shown_by_what_came() {
    let server = serve(|_| b"SSH-2.0".to_vec()).unwrap();
    judge_server(&server, &["proc"])
        .code(1)
        .stdout(contains(". PROC-1: the bytes are wrong ("))
        .stdout(contains(
            "\n     expected b'HELLO'\n     received b'SSH-2.0'\n",
        ))
        .stdout(contains("not judged").not());
}

/// A server that accepts connections and never replies fails a few vectors. By the others it is not
/// judged, and that is said.
fn silent_server_is_given_up_early() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    judge(["server", &address, "proc", "trim", "cap"])
        .code(1)
        .stdout(contains(
            ". REPLY-1: the request is complete, but the server sends nothing (",
        ))
        .stdout(contains(
            "not judged: the server is too slow for a simple exchange, and failed at least ",
        ))
        .stdout(contains(" 0 passed, "));
}

/// A vector of 42 exchanges would take long with a server that needs 1.1 s for each.
fn slow_server_is_judged_by_few_exchanges() {
    let server = serve(|request| {
        thread::sleep(Duration::from_millis(1100));
        process(request)
    });
    judge_server(&server.unwrap(), &["proc.hello", "proc.lengths"])
        .code(1)
        .stdout(contains("not judged: the server needs "))
        .stdout(contains("2 vectors: 1 passed, 0 failed, 1 not judged\n"));
}

/// The IDs that are listed for these arguments.
fn listed(arguments: &[&str]) -> Vec<String> {
    let assert = judge(["server", "--list"].iter().chain(arguments)).success();
    let ids = stdout(&assert);
    let ids = ids
        .lines()
        .map(|line| line.split(' ').next().unwrap().to_owned());
    ids.collect()
}

fn areas_clauses_and_ids_choose() {
    let ids = |chosen: &dyn Fn(&str, &[String]) -> bool| {
        let vectors = suite().vectors.iter();
        let vectors = vectors.filter(|vector| chosen(&vector.id, &vector.clauses));
        vectors.map(|vector| vector.id.clone()).collect::<Vec<_>>()
    };
    let has = |clauses: &[String], clause: &str| clauses.iter().any(|id| id == clause);
    assert_eq!(listed(&[]), ids(&|_, _| true));
    assert_eq!(listed(&["cap"]), ids(&|id, _| id.starts_with("cap.")));
    assert_eq!(listed(&["CAP-2"]), ids(&|_, clauses| has(clauses, "CAP-2")));
    assert_eq!(listed(&["trim.space"]), ["trim.space"]);
    assert_eq!(
        listed(&["TRIM-1", "proc", "trim.space"]),
        ids(&|id, clauses| has(clauses, "TRIM-1") || id.starts_with("proc."))
    );
    assert_eq!(
        listed(&["cap", "--skip", "CAP-2", "--skip", "cap.1023-and-lf"]),
        ids(&|id, clauses| id.starts_with("cap.")
            && !has(clauses, "CAP-2")
            && id != "cap.1023-and-lf")
    );
    assert_eq!(
        listed(&["--skip", "cap"]),
        ids(&|id, _| !id.starts_with("cap."))
    );
}

fn listing_needs_no_server() {
    let (_socket, nowhere) = nowhere();
    let vector = &suite().vectors[0];
    let line = format!(
        "{}  MUST    {}: {}\n",
        vector.id,
        vector.clauses.join(", "),
        vector.requirement
    );
    for arguments in [
        &["--list", &vector.id][..],
        &[&vector.id, "--list"],
        &["--list", &nowhere.to_string(), &vector.id],
    ] {
        let assert = judge(["server"].iter().chain(arguments)).success();
        assert.stdout(line.clone());
    }
}

fn unknown_words_are_wrong_usage() {
    let server = right();
    let words = [
        &["trimm"][..],
        &["TRIM"],
        &["trim."],
        &["TRIM-99"],
        &["proc", "trim.no"],
        &["--skip", "x"],
    ];
    for arguments in words {
        let word = arguments[arguments.len() - 1];
        judge_server(&server, arguments)
            .code(2)
            .stdout(is_empty())
            .stderr(starts_with(format!(
                "upcase-judge: '{word}' is no area (proc, trim, cap, "
            )))
            .stderr(contains("see --list"));
    }
    assert_eq!(server.accepted.load(Ordering::SeqCst), 0);
}

fn nothing_left_to_judge_fails() {
    let server = right();
    judge_server(&server, &["trim", "--skip", "trim"])
        .code(1)
        .stderr(contains("no vector is left"));
    assert_eq!(server.accepted.load(Ordering::SeqCst), 0);
}

fn known_failures_do_not_count() {
    let list = known(
        "known",
        &format!("# Later.\n\n  {BEYOND_ASCII} # Greek\nupper.cyrillic\n"),
    );
    judge_server(
        &wrong(),
        &["proc.hello", BEYOND_ASCII, "--known-failing", &list],
    )
    .success()
    .stdout(contains("2 vectors: 1 passed, 0 failed, 1 known to fail\n"))
    .stdout(contains("\n1. ").not());
    judge_server(&wrong(), &["proc.hello", BEYOND_ASCII])
        .code(1)
        .stdout(contains("2 vectors: 1 passed, 1 failed by 1 cause\n"));
}

fn unexpected_pass_is_a_failure() {
    let list = known("passing", BEYOND_ASCII);
    judge_server(
        &right(),
        &["proc.hello", BEYOND_ASCII, "--known-failing", &list],
    )
    .code(1)
    .stdout(contains(
        "1. it passed, but is listed as known to fail: remove it from the list (1 vector)\n",
    ))
    .stdout(contains(BEYOND_ASCII))
    .stdout(contains(
        "2 vectors: 1 passed, 0 failed, 1 passed unexpectedly\n",
    ));
}

fn list_of_known_failures_is_checked() {
    let server = right();
    let list = known("unknown", "proc.hello\nproc.goodbye\n");
    judge_server(&server, &["--known-failing", &list])
        .code(2)
        .stderr(contains("no vector has the ID 'proc.goodbye'; remove it"));
    let absent = file("absent");
    judge_server(&server, &["--known-failing", absent.to_str().unwrap()])
        .code(2)
        .stderr(contains("absent: "));
    assert_eq!(server.accepted.load(Ordering::SeqCst), 0);
}

fn absent_server_is_shown_with_its_addresses() {
    let (_socket, nowhere) = nowhere();
    let named = format!("localhost:{}", nowhere.port());
    judge(["server", &named])
        .code(1)
        .stdout(is_empty())
        .stderr(starts_with(format!(
            "upcase-judge: {named}: no server accepts a connection"
        )))
        .stderr(contains(format!("\n  {nowhere}: Connection refused")));
    judge(["server", "no-such-host.invalid:9"])
        .code(1)
        .stderr(contains(
            "no-such-host.invalid:9: the name has no address: ",
        ));
}

fn what_is_not_an_address_is_wrong_usage() {
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
        judge(["server", named]).code(2).stderr(contains(
            "is not HOST:PORT, such as localhost:8080 or [::1]:8080",
        ));
    }
    judge(["server"]).code(2).stderr(contains("<HOST:PORT>"));
}

fn server_is_found_at_any_address_of_its_name() {
    let server = right(); // only at 127.0.0.1, and localhost may also be ::1
    let named = format!("localhost:{}", server.address.port());
    judge(["server", &named, "proc.hello"])
        .success()
        .stdout(contains(format!("judges the server {named}\n")));
}

fn jobs_limit_what_is_judged_at_once() {
    let most = |jobs| {
        let server = serve(|request| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            upcase::process(request)
        })
        .unwrap();
        judge_server(&server, &["trim", "--jobs", jobs]).success();
        server.most.load(Ordering::SeqCst)
    };
    // Beside a vector, there may be two connections by which the judge found the server. They end with empty requests.
    let alone = most("1");
    assert!(alone < 4, "{alone}");
    let many = most("16");
    assert!(many > alone, "{many}");
    judge_server(&right(), &["--jobs", "0"]).code(2);
}

fn results_are_in_the_order_of_the_suite() {
    let file = file("order.json");
    let arguments = ["frame", "proc", "trim", "--report", file.to_str().unwrap()];
    judge_server(&right(), &arguments).success();
    let ids: Vec<_> = read(&file)
        .results
        .into_iter()
        .map(|judged| judged.id)
        .collect();
    assert_eq!(ids, listed(&["frame", "proc", "trim"]));
}

fn deadlines_out_of_range_are_wrong_usage() {
    for deadline in ["0", "1.9", "10.1", "-3", "x", "NaN"] {
        judge_server(&right(), &[&format!("--deadline={deadline}")])
            .code(2)
            .stderr(contains(
                "not a number of seconds, at least 2 and at most 10",
            ));
    }
    for deadline in ["2", "4.5", "10"] {
        judge_server(&right(), &["--deadline", deadline, "proc.hello"]).success();
    }
}

fn unknown_endings_of_reports_are_wrong_usage() {
    let server = right();
    for name in ["report", "report.txt", "xml", ".xml"] {
        judge_server(&server, &["--report", name])
            .code(2)
            .stderr(contains("use .xml, .json, .tap or .html"));
    }
    assert_eq!(server.accepted.load(Ordering::SeqCst), 0);
}

fn unwritable_report_fails_before_judging() {
    let server = right();
    let file = file("no-such-folder/report.xml");
    judge_server(&server, &["proc", "--report", file.to_str().unwrap()])
        .code(1)
        .stdout(is_empty())
        .stderr(contains("cannot write the report "));
    assert_eq!(server.accepted.load(Ordering::SeqCst), 0);
}

fn read(file: &Path) -> Report {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn json_report_has_all_results() {
    let text = mixed_report("mixed.json");
    let report: Report = serde_json::from_str(&text).unwrap();
    let suite = suite();
    assert_eq!(report.judged, Role::Server);
    assert_eq!(report.implementation, "mine");
    assert_eq!(
        [&report.suite, &report.spec, &report.unicode],
        [&suite.suite, &suite.spec, &suite.unicode]
    );
    assert_eq!(
        report.results.len(),
        listed(&["proc", BEYOND_ASCII, "upper.cyrillic"]).len()
    );
    let find = |id: &str| {
        report
            .results
            .iter()
            .find(|judged| judged.id == id)
            .unwrap()
    };
    let verdict = |judged: &Judged| {
        (
            judged.verdict,
            judged.known_to_fail,
            judged.reason.is_some(),
        )
    };
    assert_eq!(verdict(find("proc.hello")), (Verdict::Passed, true, false));
    assert_eq!(
        verdict(find("proc.original-session")),
        (Verdict::Failed, false, true)
    );
    assert_eq!(verdict(find(BEYOND_ASCII)), (Verdict::Failed, true, true));
    assert_eq!(
        verdict(find("proc.cut-then-trim")),
        (Verdict::Passed, false, false)
    );
    let labels = &find(BEYOND_ASCII).details;
    let labels: Vec<_> = labels.iter().map(|detail| detail.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "does", "must", "sent", "expected", "received", "differs", "ended"
        ]
    );
}

fn junit_report_agrees_with_the_exit_code() {
    let report = quick_junit::Report::deserialize_from_str(&mixed_report("parsed.xml")).unwrap();
    assert_eq!(report.name.unwrap().as_str(), "mine");
    let suites: Vec<_> = report
        .test_suites
        .iter()
        .map(|suite| suite.name.as_str())
        .collect();
    assert_eq!(suites, ["proc", "upper"]);
    assert_eq!((report.failures, report.errors), (3, 0)); // two that fail and one that passes
    let upper = &report.test_suites[1];
    assert_eq!((upper.tests, upper.skipped, upper.failures), (2, 1, 1));
    let quick_junit::TestCaseStatus::NonSuccess {
        message,
        ty,
        description,
        ..
    } = &upper.test_cases[1].status
    else {
        panic!("{:?}", upper.test_cases[1]);
    };
    assert_eq!(upper.test_cases[1].name.as_str(), "upper.cyrillic");
    assert_eq!(message.as_ref().unwrap().as_str(), "the bytes are wrong");
    assert_eq!(ty.as_ref().unwrap().as_str(), "UPPER-1");
    assert!(
        description
            .as_ref()
            .unwrap()
            .as_str()
            .contains("\nexpected b'")
    );

    let report = quick_junit::Report::deserialize_from_str(&good_report("good.xml")).unwrap();
    assert_eq!((report.tests, report.failures, report.errors), (2, 0, 0));
}

fn junit_report_fits_its_schema() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema/junit.xsd");
    for (report, name) in [
        (mixed_report as fn(&str) -> _, "mixed.xml"),
        (good_report, "fits.xml"),
    ] {
        report(name);
        let mut xmllint = assert_cmd::Command::new("xmllint");
        let xmllint = xmllint
            .arg("--noout")
            .arg("--schema")
            .arg(&schema)
            .arg(file(name));
        xmllint.assert().success();
    }
}

fn tap_report_agrees_with_the_exit_code() {
    // Older parsers know only version 13, which version 14 is compatible with.
    let parse = |report: &str, name: &str| {
        let report = report.strip_prefix("TAP version 14\n").unwrap();
        let file = file(name);
        fs::write(&file, format!("TAP version 13\n{report}")).unwrap();
        let mut prove = assert_cmd::Command::new("prove");
        prove
            .args(["--verbose", "--exec", "cat"])
            .arg(file)
            .assert()
    };
    let report = mixed_report("mixed.tap");
    let count = listed(&["proc", BEYOND_ASCII, "upper.cyrillic"]).len();
    parse(&report, "mixed-13.tap")
        .failure()
        .stdout(contains(format!("Failed 3/{count} subtests")));
    parse(&good_report("good.tap"), "good-13.tap").success();
    for part in [
        "\nok 3 - proc.cut-then-trim\n",
        "\nnot ok 1 - proc.hello\n  ---\n  message: \"it passed, but is listed",
        &format!(" - {BEYOND_ASCII} # TODO known to fail\n  ---\n"),
        "\n  message: \"the bytes are wrong\"\n  clauses:\n    - \"UPPER-1\"\n  details:\n    - \"does\": \"Sends ",
        "\n  ...\n",
    ] {
        assert!(report.contains(part), "{part:?} is not in {report}");
    }
}

fn terminal_gets_a_bar_and_no_lines() {
    let server = wrong();
    let (user, program) = terminal();
    let mut command = Command::new(cargo_bin!("upcase-judge"));
    command.args(["server", &server.address.to_string(), "proc", "upper"]);
    command
        .env("TERM", "xterm")
        .stdout(Stdio::piped())
        .stderr(program);
    let mut child = Process(command.spawn().unwrap());
    drop(command);
    let mut printed = String::new();
    child
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut printed)
        .unwrap();
    child.0.wait().unwrap();
    // A terminal without a program at its other end is at its end, which is an error on Linux.
    let mut shown = Vec::new();
    let _ = File::from(user).read_to_end(&mut shown);
    let shown = String::from_utf8_lossy(&shown);
    let count = listed(&["proc", "upper"]).len();
    assert!(shown.contains(&format!(" of {count}")), "{shown:?}");
    assert!(!printed.contains("proc.hello: passed"), "{printed}");
    assert!(
        printed.contains("\n1. UPPER-1: the bytes are wrong"),
        "{printed}"
    );
}

fn unwritable_output_fails() {
    let server = right();
    for arguments in [
        &["server", "--list"][..],
        &["server", &server.address.to_string(), "proc"],
    ] {
        let mut command = Command::new(cargo_bin!("upcase-judge"));
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = command
            .args(arguments)
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{problem}");
        assert!(
            problem.starts_with("upcase-judge: cannot write to standard output: "),
            "{problem}"
        );
    }
    // Who closes a pipe has read enough.
    let mut command = Command::new("sh");
    command
        .args(["-c", "\"$0\" server --list | head -1"])
        .arg(cargo_bin!("upcase-judge"));
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
}

/// Judges a client.
fn judge_client(arguments: &[&str], command: &[&str]) -> Assert {
    let arguments = ["client"].iter().chain(arguments).chain(&["--"]);
    judge(arguments.chain(command))
}

fn right_client_passes() {
    let client = cargo_bin!("upcase-client").to_str().unwrap();
    let client = [client, "--raw", "--timeout", "3", "--connect", "{address}"];
    let file = file("client.json");
    let options = [
        "message",
        "refuse",
        "--deadline",
        "3",
        "--report",
        file.to_str().unwrap(),
    ];
    let (title, suite) = (client.join(" "), client_vectors::suite());
    let title = format!(
        "UPCASE suite {} (SPEC {}, Unicode {}) judges the client {title}\n",
        suite.suite, suite.spec, suite.unicode
    );
    let assert = judge_client(&options, &client).success();
    assert
        .stdout(starts_with(title))
        .stdout(contains("\nmessage.hello: passed\n"));
    let report = read(&file);
    assert_eq!(
        (report.judged, report.implementation),
        (Role::Client, client.join(" "))
    );
    let chosen = suite
        .vectors
        .iter()
        .filter(|vector| vector.id.starts_with("message.") || vector.id.starts_with("refuse."));
    let judged = report.results.iter().map(|judged| &judged.id);
    assert!(judged.eq(chosen.map(|vector| &vector.id)));
}

fn wrong_client_fails_by_causes() {
    judge_client(&["message", "--name", "true"], &["true"])
        .code(1)
        .stdout(contains("judges the client true\n"))
        .stdout(contains("\n1. CLIENT-1: "))
        .stdout(contains(" 0 passed, "));
}

fn vectors_for_clients_are_chosen_by_the_same_words() {
    let list = |words: &[&str]| {
        let assert = judge(["client", "--list"].iter().chain(words)).success();
        stdout(&assert).lines().count()
    };
    let count = |chosen: &dyn Fn(&ClientVector) -> bool| {
        let vectors = client_vectors::suite().vectors.iter();
        vectors.filter(|vector| chosen(vector)).count()
    };
    let has = |vector: &ClientVector| vector.clauses.iter().any(|id| id == "CLIENT-4");
    assert_eq!(list(&[]), count(&|_| true));
    assert_eq!(list(&["CLIENT-4"]), count(&has));
    assert_eq!(
        list(&["refuse", "--skip", "refuse.lf-first"]),
        count(&|vector| { vector.id.starts_with("refuse.") && vector.id != "refuse.lf-first" })
    );
    judge(["client", "--list", "proc"])
        .code(2)
        .stderr(contains("'proc' is no area (message, "));
}

fn client_that_cannot_start_is_not_judged() {
    judge_client(&["message.hello", "message.empty"], &["/no/such/client"])
        .code(1)
        .stdout(contains("1. not judged: "))
        .stdout(contains("/no/such/client"))
        .stdout(ends_with("2 vectors: 0 passed, 0 failed, 2 not judged\n"));
}

fn client_without_a_command_is_wrong_usage() {
    for arguments in [
        &["client"][..],
        &["client", "message"],
        &["client", "message", "--"],
    ] {
        judge(arguments).code(2).stderr(contains("<COMMAND>"));
    }
}

fn html_report_is_a_page() {
    let page = mixed_report("mixed.html");
    for part in ["<!doctype html>", "mine", BEYOND_ASCII, "UPPER-1"] {
        assert!(page.contains(part), "{part} is not in the page");
    }
}

fn several_reports_make_one_page() {
    let [right_one, wrong_one, page] = ["right.json", "wrong.json", "both.html"].map(file);
    for (server, file, name) in [
        (right(), &right_one, "right one"),
        (wrong(), &wrong_one, "wrong one"),
    ] {
        let options = ["proc", "--name", name, "--report", file.to_str().unwrap()];
        judge_server(&server, &options);
    }
    cargo_bin_cmd!("upcase-judge")
        .arg("report")
        .args([&right_one, &wrong_one])
        .arg("--html")
        .arg(&page)
        .assert()
        .success()
        .stdout(is_empty());
    let page = fs::read_to_string(page).unwrap();
    for part in ["right one", "wrong one", "proc.hello"] {
        assert!(page.contains(part), "{part} is not in the page");
    }
}

fn what_is_not_a_report_is_refused() {
    let page = file("none.html");
    let (none, absent) = (known("none.json", "{}"), file("absent.json"));
    for (report, problem) in [
        (
            Path::new(&none),
            "none.json: this is not a report of upcase-judge: missing field",
        ),
        (&absent, "absent.json: "),
    ] {
        let mut command = cargo_bin_cmd!("upcase-judge");
        command.arg("report").arg(report).arg("--html").arg(&page);
        command.assert().code(1).stderr(contains(problem));
    }
    assert!(!page.exists());
    judge(["report", &none])
        .code(2)
        .stderr(contains("--html <FILE>"));
    judge(["report", "--html", "page.html"])
        .code(2)
        .stderr(contains("<FILE.json>"));
}

fn help_teaches_every_task() {
    let help = |arguments: &[&str]| judge(arguments.iter().chain(&["--help"])).success();
    help(&[]).stdout(contains("upcase-judge server localhost:9000"));
    let mut server = help(&["server"]);
    for part in [
        "--list",
        "--skip",
        "--jobs",
        "--deadline",
        "--known-failing",
        "--name",
        "--report",
        "HOST:PORT",
        "AREA|CLAUSE|ID",
        "Exit codes:",
        "JUnit",
        "TAP 14",
        "src/conformance/report/schema.json",
    ] {
        server = server.stdout(contains(part));
    }
    let mut client = help(&["client"]);
    for part in [
        "client [OPTIONS] [AREA|CLAUSE|ID]... -- COMMAND...",
        "{host}",
        "{port}",
        "{address}",
        "{message}",
        "standard input",
        "Exit codes:",
    ] {
        client = client.stdout(contains(part));
    }
}
