//! The programs for Windows, run by Wine: the server passes the whole suite, the client the vectors that have
//! no reset, and Ctrl-C stops the server.
//!
//! Wine is not Windows. CONTRIBUTING.md lists what it cannot show.

mod common {
    pub mod command;
    pub mod command_line;
    pub mod connection;
    pub mod listener;
    pub mod process;
    pub mod server;
    pub mod stop;
    pub mod suite;
    pub mod target;
    pub mod terminal;
    pub mod trials;
    pub mod wait;
}

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::LazyLock;

use common::command::succeeds;
use common::process::without_variables;
use common::server::Server;
use common::stop::stop_listening;
use common::suite::suite_passes;
use common::target::{build, is_installed};
use common::terminal::terminal;
use common::trials::{self, Need, trial};
use rustix::process::Signal;
use upcase::conformance::client_vectors::{self, ClientVector, Step};
use upcase::conformance::{ClientJudge, NotPassed, judge_all};

fn main() -> ExitCode {
    let needs = [&WINE, &LINKER, &TARGET];
    let trials = vec![
        trial(server_passes_the_suite, needs),
        trial(client_and_server_understand_each_other, needs),
        trial(client_passes_its_vectors, needs),
        trial(server_prints_its_transcript, needs),
        trial(ctrl_c_lets_exchanges_end, needs),
        trial(second_ctrl_c_ends_at_once, needs),
        trial(closed_streams_are_errors, needs),
        trial(console_takes_only_unicode, needs),
    ];
    // One after another, because all programs share one process of Wine.
    trials::run(1, trials)
}

static WINE: Need = Need::new("wine", || wine().is_some());
static LINKER: Need = Need::new("a linker for Windows (MinGW-w64)", || {
    succeeds(&[COMPILER, "--version"])
});
static TARGET: Need = Need::new("the Rust target x86_64-pc-windows-gnu", || {
    is_installed(SYSTEM)
});

/// The system that the programs are built for.
const SYSTEM: &str = "x86_64-pc-windows-gnu";

/// A C compiler for that system.
const COMPILER: &str = "x86_64-w64-mingw32-gcc";

/// How many vectors are judged at once.
const JOBS: usize = 16;

/// A library that the standard library of Rust needs, and older versions of Wine lack.
const RANDOM: &str = r"
#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    return RtlGenRandom(data, (ULONG)length);
}
";

/// The program that runs programs for Windows of 64 bits. Debian does not put it on the path.
fn wine() -> Option<&'static str> {
    let mut names = ["wine64", "/usr/lib/wine/wine64", "wine"].into_iter();
    names.find(|name| succeeds(&[name, "--version"]))
}

/// The folder of the programs, which is also the home of Wine's configuration.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let options = ["--bins", "--no-default-features", "--features=cli"];
    let folder = build(SYSTEM, "wine", &options).join("debug");
    let mut compile = Command::new(COMPILER);
    compile.args(["-shared", "-x", "c", "-", "-ladvapi32", "-o"]);
    compile.arg(folder.join("bcryptprimitives.dll"));
    let mut compiler = compile.stdin(Stdio::piped()).spawn().unwrap();
    let mut source = compiler.stdin.take().unwrap();
    source.write_all(RANDOM.as_bytes()).unwrap();
    drop(source);
    assert!(compiler.wait().unwrap().success());
    // The first run creates the configuration.
    fs::create_dir_all(folder.join("home")).unwrap();
    done(by_wine(&folder, "upcase-server").arg("--version"));
    folder
});

#[track_caller]
fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    output
}

/// The command that runs `program` of this `folder`.
fn by_wine(folder: &Path, program: &str) -> Command {
    let mut command = Command::new(wine().unwrap());
    command.arg(folder.join(program).with_extension("exe"));
    command.stdin(Stdio::null());
    without_variables(&mut command).envs(variables(folder));
    command
}

/// What Wine is told by the environment.
fn variables(folder: &Path) -> [(&'static str, OsString); 6] {
    [
        // It puts links to folders there.
        ("HOME", folder.join("home").into()),
        // It asks for nothing, neither on a display nor for parts that these programs do not need.
        ("DISPLAY", OsString::new()),
        ("WINEDLLOVERRIDES", "mscoree,mshtml=".into()),
        ("WINEPREFIX", folder.join("home").into()),
        ("WINEDEBUG", "-all".into()), // no messages of its own
        ("LC_ALL", "C.UTF-8".into()), // in which arguments are passed
    ]
}

fn start_server(options: &[&str]) -> Server {
    let mut command = by_wine(&FOLDER, "upcase-server");
    command.args(["--bind", "127.0.0.1:0"]).args(options);
    Server::start_by(command)
}

fn server_passes_the_suite() {
    let server = start_server(&["--timeout", "5", "--log", "none"]);
    suite_passes(server.address());
    server.signal(Signal::INT);
    let (status, _, stderr) = server.wait();
    assert_eq!((status.code(), stderr), (Some(0), Vec::new()));
}

/// Wine reports an end of the stream instead of a reset, so a client cannot tell them apart.
fn has_reset(vector: &ClientVector) -> bool {
    vector.steps.iter().any(|step| matches!(step, Step::Reset))
}

fn client_passes_its_vectors() {
    let folder = &*FOLDER;
    let mut command: Vec<OsString> = vec!["env".into()];
    for (name, value) in variables(folder) {
        let mut assignment = OsString::from(name);
        assignment.push("=");
        assignment.push(value);
        command.push(assignment);
    }
    command.push(wine().unwrap().into());
    command.push(folder.join("upcase-client.exe").into());
    command.extend(["--raw", "--connect", "{address}"].map(OsString::from));
    let judge = ClientJudge::new(command);
    let vectors = client_vectors::suite().vectors.iter();
    let vectors: Vec<_> = vectors.filter(|vector| !has_reset(vector)).collect();
    let judged = judge_all(&vectors, JOBS, |vector| judge.judge(vector), |_| {});
    let failed = vectors.iter().zip(judged);
    let failed = failed.filter_map(|(vector, judged)| match judged {
        // Not every machine has IPv6 or can name a server.
        Err(NotPassed::NotJudged(_)) if vector.id.starts_with("address.") => None,
        judged => Some((&vector.id, judged.err()?)),
    });
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn client_and_server_understand_each_other() {
    let server = start_server(&[]);
    let mut client = by_wine(&FOLDER, "upcase-client");
    client.args(["--check", "--connect", &server.address().to_string()]);
    let output = done(client.args(["Olá,", "servidor!"]));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        printed,
        "Sent:     Olá, servidor!\nReceived: OLÁ, SERVIDOR!\n"
    );
}

fn server_prints_its_transcript() {
    let server = start_server(&[]);
    assert_eq!(server.reply_to("olá\n".as_bytes()), "OLÁ".as_bytes());
    assert_eq!(server.stdout.next_line(), "Recebido de 127.0.0.1:");
    assert_eq!(server.stdout.next_line(), "b'olá'");
}

/// SPEC TIME-5. Wine passes SIGINT on as Ctrl-C.
fn ctrl_c_lets_exchanges_end() {
    let server = start_server(&[]);
    let mut client = server.connect();
    client.send(b"under ");
    assert_eq!(server.reply_to(b"is accepted\n"), b"IS ACCEPTED");
    stop_listening(&server, Signal::INT);
    client.send(b"way\n");
    assert_eq!(client.reply(), b"UNDER WAY");
    drop(client);
    let (status, _, stderr) = server.wait();
    assert_eq!((status.code(), stderr), (Some(0), Vec::new()));
}

fn second_ctrl_c_ends_at_once() {
    let server = start_server(&["--timeout", "10"]);
    let mut client = server.connect();
    client.send(b"stays");
    assert_eq!(server.reply_to(b"is accepted\n"), b"IS ACCEPTED");
    stop_listening(&server, Signal::INT);
    server.signal(Signal::INT);
    let (status, ..) = server.wait();
    assert_eq!(status.code(), Some(130));
    drop(client);
}

fn closed_streams_are_errors() {
    let server = start_server(&[]);
    for (redirection, problem) in [
        (">&-", "cannot write the reply to standard output: "),
        ("<&-", "cannot read the message from standard input: "),
    ] {
        let mut client = Command::new("sh");
        client.envs(variables(&FOLDER)).args(["-c"]);
        client.arg(format!("exec \"$@\" {redirection}")).arg("sh");
        client.arg(wine().unwrap());
        client.arg(FOLDER.join("upcase-client.exe"));
        client.args(["--raw", "--connect", &server.address().to_string()]);
        if redirection == ">&-" {
            client.arg("hello").stdin(Stdio::null());
        }
        let output = client.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.starts_with(&format!("upcase-client: {problem}")),
            "{stderr}"
        );
    }
}

/// A console cannot show ill-formed bytes. They are not lost in silence.
fn console_takes_only_unicode() {
    let server = start_server(&[]);
    let (_user, console) = terminal();
    let mut client = by_wine(&FOLDER, "upcase-client");
    client.args(["--raw", "--connect", &server.address().to_string()]);
    client
        .stdin(Stdio::piped())
        .stdout(console)
        .stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    client
        .stdin
        .take()
        .unwrap()
        .write_all(b"stra\xe1e")
        .unwrap();
    let output = client.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let problem = "upcase-client: cannot write the reply to standard output: ";
    assert!(stderr.starts_with(problem), "{stderr}");
}
