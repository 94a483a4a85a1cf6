//! The log in a file and in a pipe, and the questions that an operator asks of it. The tests of the journal are in
//! systemd.rs.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use libtest_mimic::Trial;
use serde_json::Value;
use upcase::client;

use crate::common::command::succeeds;
use crate::common::missing;
use crate::common::native::server_command;
use crate::common::process::{PATIENCE, Process};
use crate::common::server::Server;
use crate::common::trials::trial;
use crate::common::wait::wait_until;

use super::load::{Load, exchange};
use super::needs::{JQ, LOGROTATE};
use super::place::{Machine, PLACE, PUBLIC, install, recipe, sh, written};
use super::service::end_of;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(logrotate_keeps_lines_whole, [&PLACE, &LOGROTATE]),
        trial(logrotate_needs_appending, [&PLACE, &LOGROTATE]),
        trial(pipe_gives_a_program_every_line, [&PLACE]),
        trial(program_that_ends_costs_lines_and_no_reply, [&PLACE]),
        trial(program_that_does_not_read_costs_no_reply, [&PLACE]),
        trial(jq_answers_three_questions, [&PLACE, &JQ]),
        trial(full_disk_costs_lines_until_there_is_room, [&PLACE]),
    ]
}

/// The log, as the recipes for logrotate have it.
const LOG: &str = "/var/log/upcase.log";

/// Removes the log of another test.
#[track_caller]
fn without_log() {
    sh(&format!("rm -f {LOG}*"));
}

/// Starts a server whose JSON log goes to `stdout`, and waits until it answers.
#[track_caller]
fn start(stdout: Stdio) -> Server {
    let mut command = server_command(&[]);
    command.args([
        "--bind",
        &PUBLIC.to_string(),
        "--timeout",
        "3",
        "--log",
        "json",
    ]);
    let server = Server::spawn(command, stdout, Stdio::piped());
    wait_until("the server answers", || {
        client::exchange(PUBLIC, b"hello", PATIENCE).is_ok()
    });
    server.ready(&format!("{{\"listening\":\"{PUBLIC}\"}}"))
}

/// Starts a server whose log is appended to the file (`>>`), or overwrites it (`>`).
#[track_caller]
fn start_with_file(is_appended: bool) -> Server {
    let mut options = File::options();
    options.create(true).write(true);
    let options = if is_appended {
        options.append(true)
    } else {
        options.truncate(true)
    };
    start(options.open(LOG).expect("a file").into())
}

/// Starts `program` at the other end of a pipe.
#[track_caller]
fn start_with_pipe(program: &mut Command) -> (Server, Process) {
    let mut process = Process(program.stdin(Stdio::piped()).spawn().expect("it starts"));
    let pipe = process.0.stdin.take().expect("a pipe");
    (start(pipe.into()), process)
}

/// The objects in these lines, and the number of lines that are none.
fn objects(lines: &str) -> (Vec<Value>, usize) {
    let all: Vec<_> = lines.lines().map(serde_json::from_str).collect();
    let count = all.len();
    let objects: Vec<_> = all.into_iter().flatten().collect();
    let torn = count - objects.len();
    (objects, torn)
}

/// How many of these objects are about connections.
fn connections(objects: &[Value]) -> u64 {
    let lines = objects
        .iter()
        .filter(|object| object["outcome"].is_string());
    lines.count().try_into().unwrap()
}

/// The number `name` in the totals, which are the last object.
#[track_caller]
fn total(objects: &[Value], name: &str) -> u64 {
    let totals = &objects.last().expect("a line")["totals"];
    totals[name].as_u64().unwrap_or_else(|| panic!("{totals}"))
}

/// Rotates the log by the recipe, whatever its size.
fn rotate() {
    install("logrotate.conf", "/etc/logrotate.d/upcase");
    sh("logrotate --force --state /run/logrotate.state /etc/logrotate.d/upcase");
}

fn logrotate_keeps_lines_whole() {
    const ROTATIONS: usize = 8;
    const GROWN: usize = 100_000;
    without_log();
    let server = start_with_file(true);
    let load = Load::start(2, PUBLIC, PATIENCE);
    for _ in 0..ROTATIONS {
        let size = || fs::read(LOG).expect("the log").len();
        wait_until("the log has grown", || size() > GROWN);
        rotate();
    }
    let seen = load.stop();
    server.stop();
    seen.assert_nothing_lost();
    let rotated = sh(&format!("zcat -f {LOG}.*"));
    assert!(
        rotated.len() > ROTATIONS * GROWN,
        "what was written before a rotation is there"
    );
    let (mut all, torn) = objects(&rotated);
    let (last, torn_in_last) = objects(&fs::read_to_string(LOG).unwrap());
    let count = total(&last, "connections");
    assert_eq!(total(&last, "missing"), 0);
    all.extend(last);
    let lines = connections(&all);
    println!("{ROTATIONS} rotations: {lines} lines and {torn} torn ones of {count} connections");
    assert!(
        torn <= ROTATIONS,
        "only the last line of a copy can be torn"
    );
    assert!(torn_in_last <= 1, "only the line in which it was emptied");
    assert!(lines <= count);
}

fn logrotate_needs_appending() {
    for is_appended in [true, false] {
        without_log();
        let server = start_with_file(is_appended);
        exchange(PUBLIC, 100);
        let length = || fs::read(LOG).unwrap().len();
        wait_until("the lines are there", || length() > 10_000);
        let before = length();
        rotate();
        exchange(PUBLIC, 1);
        wait_until("the next line is there", || length() > 0);
        server.stop();
        let log = fs::read(LOG).unwrap();
        let nuls = log.iter().take_while(|byte| **byte == 0).count();
        if is_appended {
            assert_eq!(nuls, 0);
        } else {
            println!("with >: {nuls} NUL bytes before the first line");
            assert!(nuls >= before);
        }
    }
}

fn pipe_gives_a_program_every_line() {
    without_log();
    let (server, mut program) = start_with_pipe(Command::new("tee").arg(LOG).stdout(Stdio::null()));
    exchange(PUBLIC, 300);
    server.stop();
    // The program ends with its input.
    assert!(end_of(&mut program).expect("it ends").success());
    let (objects, torn) = objects(&fs::read_to_string(LOG).unwrap());
    assert_eq!(torn, 0);
    assert_eq!(total(&objects, "missing"), 0);
    assert_eq!(connections(&objects), total(&objects, "connections"));
}

/// How many connections are missing from the log, as these warnings say. The others are about errors of the log.
#[track_caller]
fn missing(mut warnings: Vec<String>) -> u64 {
    warnings.retain(|line| !line.contains("cannot write the log"));
    missing::missing(&warnings).try_into().unwrap()
}

fn program_that_ends_costs_lines_and_no_reply() {
    without_log();
    let first = File::create(LOG).unwrap();
    let head = &mut Command::new("head");
    let (server, mut program) = start_with_pipe(head.args(["--lines=1"]).stdout(first));
    assert!(end_of(&mut program).expect("it ends").success());
    exchange(PUBLIC, 300);
    let (_, warnings) = server.stop();
    let written = fs::read_to_string(LOG).unwrap();
    assert!(written.contains("listening"), "{written}");
    let cause = &warnings[0];
    assert!(cause.contains("cannot write the log"), "{cause}");
    assert!(missing(warnings) >= 300);
}

fn program_that_does_not_read_costs_no_reply() {
    // More than the pipe and the server's queue hold.
    const EXCHANGES: usize = 6000;
    let (server, program) = start_with_pipe(Command::new("sleep").arg("1000"));
    exchange(PUBLIC, EXCHANGES);
    let (_, warnings) = server.stop();
    drop(program);
    let missing = missing(warnings);
    println!("{missing} of {EXCHANGES} lines are missing");
    assert!(missing > EXCHANGES as u64 / 2);
}

/// What jq answers to the question in the recipe `name`, of the log in a file.
#[track_caller]
fn ask(name: &str) -> String {
    let folder = recipe(name);
    let folder = folder.parent().expect("a folder").display();
    let answer = sh(&format!("cd {folder}; {}", written(name, LOG)));
    println!("{name}:\n{answer}");
    answer
}

/// The sum of the numbers that follow `name` in the lines of `answer`.
#[track_caller]
pub fn sum(answer: &str, name: &str) -> u64 {
    let numbers = answer.lines().map(|line| {
        let (_, rest) = line.split_once(name).expect("the name");
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().expect("a number")
    });
    numbers.sum()
}

fn jq_answers_three_questions() {
    without_log();
    let server = start_with_file(true);
    // Each client has an address of its own.
    let quick = Machine::new("quick", "192.0.2.20");
    let slow = Machine::new("slow", "192.0.2.21");
    let never = Machine::new("never", "192.0.2.22");
    let script = format!(
        "
        for _ in $(seq 300); do echo ping; done |
            xargs -n 1 {} --connect {PUBLIC} --raw",
        cargo_bin!("upcase-client").display()
    );
    let shell = |machine: &Machine, script: &str| {
        let mut command = machine.command("bash");
        Process(
            command
                .args(["-euc", script])
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        )
    };
    let open = "exec 3<>/dev/tcp/192.0.2.1/8080";
    let mut clients = [
        shell(&quick, &script),
        // It takes more than a second to send its line.
        shell(
            &slow,
            &format!("{open}; printf he >&3; sleep 1.1; echo llo >&3; cat <&3"),
        ),
        // One sends no line feed, another sends nothing.
        shell(&never, &format!("{open}; printf nev >&3; cat <&3")),
        shell(&never, &format!("{open}; cat <&3")),
        shell(&slow, &format!("{open}; printf slo >&3; cat <&3")),
    ];
    for client in &mut clients {
        end_of(client).expect("it ends");
    }
    // This one comes in another second.
    exchange(PUBLIC, 1);
    // A cut line does no harm.
    File::options()
        .append(true)
        .open(LOG)
        .unwrap()
        .write_all(b"{\"time\":\"20\n")
        .unwrap();
    server.stop();

    let answer = ask("slow.jq");
    let mut lines: Vec<_> = answer.lines().collect();
    // Both have a connection that ended at its deadline.
    lines[..2].sort_unstable();
    for (line, address) in lines.iter().zip(["192.0.2.21", "192.0.2.22"]) {
        let longest = line.strip_prefix(address).and_then(|rest| {
            let rest = rest.strip_prefix(" longest ")?;
            rest.strip_suffix(" s, a second or more 2, all 2")
        });
        let longest: f64 = longest.expect(&answer).parse().expect("seconds");
        assert!(longest >= 3.0, "{answer}");
    }
    assert!(
        answer.contains("192.0.2.20 longest") && answer.contains(", all 300"),
        "{answer}"
    );

    let answer = ask("unfinished.jq");
    let lines: Vec<_> = answer.lines().collect();
    let expected = "192.0.2.22 unfinished 2, sent nothing 1, last b'";
    assert!(lines[0].starts_with(expected), "{answer}");
    let expected = "192.0.2.21 unfinished 1, sent nothing 0, last b'slo'";
    assert_eq!(lines[1..], [expected], "{answer}");

    let answer = ask("rate.jq");
    let (objects, _) = objects(&fs::read_to_string(LOG).unwrap());
    assert_eq!(sum(&answer, "connections "), total(&objects, "connections"));
    assert_eq!(sum(&answer, "replied "), total(&objects, "replied"));
    assert!(answer.lines().count() > 1, "{answer}");
    assert!(answer.lines().is_sorted(), "{answer}");
}

/// A small disk for the log, which is unmounted on drop.
struct Disk;

impl Disk {
    fn mount() -> Self {
        sh("mount -t tmpfs -o size=64k log /var/log");
        Self
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = succeeds(&["umount", "--lazy", "/var/log"]);
    }
}

fn full_disk_costs_lines_until_there_is_room() {
    without_log();
    let _disk = Disk::mount();
    let other = "/var/log/other";
    fs::write(other, vec![0; 32 * 1024]).unwrap();
    let server = start_with_file(true);
    exchange(PUBLIC, 500);
    let warning = server.stderr.next_line();
    assert!(
        warning.contains("cannot write the log; the server continues: No space left"),
        "{warning}"
    );
    // The end of the full disk.
    fs::remove_file(other).unwrap();
    let before = fs::metadata(LOG).unwrap().len();
    wait_until("the log goes on", || {
        exchange(PUBLIC, 1);
        fs::metadata(LOG).unwrap().len() > before
    });
    let (_, warnings) = server.stop();
    let (objects, torn) = objects(&fs::read_to_string(LOG).unwrap());
    let missing_in_log = total(&objects, "missing");
    let lines = connections(&objects);
    println!("{missing_in_log} lines missing, {lines} there, {torn} torn");
    assert!(torn <= 1);
    assert!(missing_in_log > 0);
    assert_eq!(lines + missing_in_log, total(&objects, "connections"));
    assert_eq!(missing(warnings), missing_in_log);
}
