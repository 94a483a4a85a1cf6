//! What packages are made of: the manual pages and completions that the programs make of their own
//! arguments, and the image of a container with static programs. `.ci/deb` builds and checks the package
//! for Debian.

mod common {
    pub mod command;
    pub mod command_line;
    pub mod process;
    pub mod program;
    pub mod suite;
    pub mod target;
    pub mod trials;
    pub mod wait;
}

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode, Stdio};
use std::sync::LazyLock;

use assert_cmd::cargo::cargo_bin;
use common::command::succeeds;
use common::process::{Lines, PATIENCE, Process, ready_address, without_variables};
use common::program::Program;
use common::suite::suite_passes;
use common::target::{build, is_installed};
use common::trials::{self, Need, trial};
use common::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};

fn main() -> ExitCode {
    let trials = vec![
        trial(each_program_generates_each_kind, []),
        trial(unknown_kind_is_wrong_usage, []),
        trial(generating_does_not_show_in_the_help, []),
        trial(client_still_sends_these_words, []),
        trial(page_names_every_option_and_task, []),
        trial(man_reads_each_page_without_a_warning, [&MAN]),
        trial(bash_reads_each_completion, [&BASH]),
        trial(zsh_reads_each_completion, [&ZSH]),
        trial(fish_reads_each_completion, [&FISH]),
        trial(bash_completes_an_option_of_a_task, [&BASH]),
        trial(fish_completes_an_option_of_a_task, [&FISH]),
        trial(static_programs_need_no_interpreter, [&TARGET]),
        trial(image_passes_the_suite, [&TARGET, &CONTAINER]),
        trial(
            image_listens_at_the_port_that_it_exposes,
            [&TARGET, &CONTAINER],
        ),
    ];
    trials::run(2, trials)
}

static MAN: Need = Need::new("man", || succeeds(&["man", "--version"]));
static BASH: Need = Need::new("bash", || succeeds(&["bash", "--version"]));
static ZSH: Need = Need::new("zsh", || succeeds(&["zsh", "--version"]));
static FISH: Need = Need::new("fish", || succeeds(&["fish", "--version"]));

static TARGET: Need = Need::new(
    "the Rust target x86_64-unknown-linux-musl, on such a processor",
    || cfg!(target_arch = "x86_64") && is_installed(TRIPLE),
);
static CONTAINER: Need = Need::new("unshare --map-user --pid --net --root", || {
    let command = [&CONTAINED[..], &["--net", "--root=/", "true"]].concat();
    succeeds(&command)
});

/// The target whose programs are static.
const TRIPLE: &str = "x86_64-unknown-linux-musl";

/// What starts a program as process 1, and nobody's. The rights of an administrator are not needed.
const CONTAINED: [&str; 6] = [
    "unshare",
    "--map-user=65534",
    "--map-group=65534",
    "--pid",
    "--fork",
    "--kill-child",
];

const PROGRAMS: [&str; 3] = ["upcase-server", "upcase-client", "upcase-judge"];

/// The tasks of `upcase-judge`.
const TASKS: [&str; 3] = ["server", "client", "report"];

fn path_of(program: &str) -> &'static Path {
    match program {
        "upcase-server" => cargo_bin!("upcase-server"),
        "upcase-client" => cargo_bin!("upcase-client"),
        "upcase-judge" => cargo_bin!("upcase-judge"),
        _ => panic!("not a program: {program}"),
    }
}

fn command(program: &str, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(path_of(program));
    command.args(arguments).timeout(PATIENCE);
    command
}

/// What `program` prints for these arguments, which is all that it does.
#[track_caller]
fn print(program: &str, arguments: &[&str]) -> String {
    let done = command(program, arguments).assert().success().stderr("");
    String::from_utf8(done.get_output().stdout.clone()).expect("text")
}

fn each_program_generates_each_kind() {
    for program in PROGRAMS {
        for kind in ["man", "bash", "zsh", "fish", "powershell"] {
            let generated = print(program, &["--generate", kind]);
            assert!(generated.contains(program), "{program} {kind}: {generated}");
        }
    }
}

fn unknown_kind_is_wrong_usage() {
    for program in PROGRAMS {
        let done = command(program, &["--generate", "pdf"]).assert();
        done.code(2).stdout("").stderr(format!(
            "{program}: 'pdf' cannot be generated; choose man, bash, zsh, fish or powershell\n"
        ));
    }
}

fn generating_does_not_show_in_the_help() {
    for program in PROGRAMS {
        for help in ["-h", "--help"] {
            let help = print(program, &[help]);
            assert!(!help.contains("generate"), "{help}");
        }
    }
}

fn client_still_sends_these_words() {
    let mut server = Command::new(cargo_bin!("upcase-server"));
    let server = Program::start(server.args(["--bind", "127.0.0.1:0"]));
    let address = server.address.to_string();
    let send = |message: &[&str]| {
        let arguments = [&["--connect", &address, "--raw"], message].concat();
        print("upcase-client", &arguments)
    };
    assert_eq!(send(&["generate", "man"]), "GENERATE MAN");
    assert_eq!(send(&["--", "--generate", "man"]), "--GENERATE MAN");
}

/// The options in the help of `program`, and of its tasks.
fn options(program: &str) -> Vec<String> {
    let mut helps = vec![print(program, &["--help"])];
    if program == "upcase-judge" {
        helps.extend(TASKS.map(|task| print(program, &[task, "--help"])));
    }
    let words = helps.iter().flat_map(|help| help.split_whitespace());
    let options = words.filter(|word| word.starts_with("--") && word.len() > 2);
    let end = |c: char| c != '-' && !c.is_ascii_lowercase();
    let options = options.map(|option| option.trim_end_matches(end).to_owned());
    options.collect()
}

/// Checks that a manual page, as text, has all that the help of `program` has.
#[track_caller]
fn check_page(program: &str, page: &str) {
    let options = options(program);
    assert!(options.len() > 3, "{options:?}");
    for option in options {
        assert!(page.contains(&option), "{option}: {page}");
    }
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "NOTES",
        "EXIT STATUS",
        "EXAMPLES",
    ] {
        assert!(page.contains(section), "{section}: {page}");
    }
    if program == "upcase-judge" {
        for task in TASKS {
            assert!(
                page.contains(&format!("{program} {task}")),
                "{task}: {page}"
            );
        }
    }
}

fn page_names_every_option_and_task() {
    for program in PROGRAMS {
        let page = print(program, &["--generate", "man"]);
        check_page(program, &page.replace(r"\-", "-"));
    }
}

fn man_reads_each_page_without_a_warning() {
    for program in PROGRAMS {
        let mut man = assert_cmd::Command::new("man");
        let man = man.args(["--warnings", "--encoding=UTF-8", "--local-file", "-"]);
        let man = man.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80");
        let man = man.env_remove("MANOPT").env("MANROFFOPT", "-rHY=0");
        let page = print(program, &["--generate", "man"]);
        let done = man.write_stdin(page).timeout(PATIENCE).assert();
        let done = done.success().stderr("");
        let page = String::from_utf8(done.get_output().stdout.clone()).expect("text");
        // A line may end within an option.
        let page = page.replace("\u{2010}\n", "");
        check_page(program, &page);
        if program == "upcase-client" {
            assert!(page.contains("'Olá, servidor!'"), "{page}");
        }
    }
}

/// Checks that `shell` finds no mistake in the completions of its `kind`.
#[track_caller]
fn check_syntax(shell: &str) {
    for program in PROGRAMS {
        let completion = print(program, &["--generate", shell]);
        let mut shell = assert_cmd::Command::new(shell);
        let shell = shell.args(["-n", "/dev/stdin"]).write_stdin(completion);
        shell.timeout(PATIENCE).assert().success().stderr("");
    }
}

fn bash_reads_each_completion() {
    check_syntax("bash");
}

fn zsh_reads_each_completion() {
    check_syntax("zsh");
}

fn fish_reads_each_completion() {
    check_syntax("fish");
}

/// What a `script` of `shell` prints, with the completion of `upcase-judge` as standard input.
#[track_caller]
fn complete(shell: &str, script: &str) -> String {
    let completion = print("upcase-judge", &["--generate", shell]);
    let mut shell = assert_cmd::Command::new(shell);
    let shell = shell.args(["-c", script]).write_stdin(completion);
    let done = shell.timeout(PATIENCE).assert().success().stderr("");
    String::from_utf8(done.get_output().stdout.clone()).expect("text")
}

fn bash_completes_an_option_of_a_task() {
    let script = r#"
        source /dev/stdin
        words=$(complete -p upcase-judge)
        function=${words#*-F }
        COMP_WORDS=(upcase-judge server --kn) COMP_CWORD=2
        "${function%% *}" upcase-judge --kn server
        echo "${COMPREPLY[@]}"
    "#;
    assert_eq!(complete("bash", script), "--known-failing\n");
}

fn fish_completes_an_option_of_a_task() {
    let script = "source -; complete --do-complete 'upcase-judge server --kn'";
    let words = complete("fish", script);
    assert!(words.starts_with("--known-failing\t"), "{words}");
}

/// The folder of the static programs. The command of tests/deploy/Containerfile builds them.
static STATIC: LazyLock<PathBuf> =
    LazyLock::new(|| build(TRIPLE, "static", &["--release"]).join("release"));

/// The number of `bytes` from `start` on, as an ELF file has it.
fn number(file: &[u8], start: usize, bytes: usize) -> usize {
    let bytes = file[start..start + bytes].iter().rev();
    bytes.fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn static_programs_need_no_interpreter() {
    const INTERPRETER: usize = 3;
    for program in PROGRAMS {
        let file = fs::read(STATIC.join(program)).expect("the program");
        assert!(file.starts_with(b"\x7fELF\x02\x01"), "{program}");
        let headers = number(&file, 32, 8);
        let (size, count) = (number(&file, 54, 2), number(&file, 56, 2));
        let types = (0..count).map(|index| number(&file, headers + index * size, 4));
        let types: Vec<usize> = types.collect();
        assert!(types.contains(&1), "{program}: {types:?}");
        assert!(!types.contains(&INTERPRETER), "{program}: {types:?}");
        let _ = writeln!(io::stdout(), "{program}: {} bytes, static", file.len());
    }
}

/// The lines of tests/deploy/Containerfile: an instruction, and the rest of the line.
fn instructions() -> Vec<(&'static str, &'static str)> {
    let file = include_str!("deploy/Containerfile");
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.map(|line| line.split_once(' ').expect("an instruction"));
    lines.collect()
}

/// The rest of the one line with `instruction`.
#[track_caller]
fn the_one(instruction: &str) -> &'static str {
    let lines = instructions().into_iter();
    let mut found = lines.filter_map(|(name, rest)| (name == instruction).then_some(rest));
    let rest = found.next().expect("the instruction");
    assert_eq!(found.next(), None, "{instruction}");
    rest
}

/// The words of a command that no shell reads.
#[track_caller]
fn words(command: &str) -> Vec<String> {
    serde_json::from_str(command).expect("a list of words")
}

/// The files of the image, as the instructions lay them out. They are removed on drop.
struct Image(PathBuf);

impl Image {
    #[track_caller]
    fn new(name: &str) -> Self {
        let name = format!("image-{name}-{}", process::id());
        let image = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        fs::create_dir(&image.0).expect("a new folder");
        assert_eq!(the_one("FROM"), "scratch");
        for (_, files) in instructions().iter().filter(|(name, _)| *name == "COPY") {
            let (from, to) = files.split_once(' ').expect("a source and a destination");
            let folder = format!("target/{TRIPLE}/release/");
            let from = from
                .strip_prefix(&folder)
                .expect("a program that was built");
            let to = image
                .0
                .join(to.strip_prefix('/').expect("an absolute path"));
            fs::copy(STATIC.join(from), to).expect("a copy");
        }
        image
    }

    /// A `command` of the image with the namespaces of a container, and `options` of unshare.
    fn command(&self, options: &[&str], command: &[String]) -> Command {
        assert_eq!(the_one("USER"), "65534:65534", "CONTAINED has this user");
        let mut contained = Command::new(CONTAINED[0]);
        contained.args(&CONTAINED[1..]).args(options);
        contained.arg(format!("--root={}", self.0.display()));
        contained.args(command);
        without_variables(&mut contained);
        contained
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server in a container, which is killed on drop.
struct Container {
    process: Process,
    /// Read on, so that the server can write.
    _stdout: Lines,
    address: SocketAddr,
}

impl Container {
    /// Starts `command`, and waits until the server is ready.
    #[track_caller]
    fn start(mut command: Command) -> Self {
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut process = Process(started.expect("unshare starts"));
        let stdout = Lines::of(process.0.stdout.take().expect("a pipe"));
        let address = ready_address(&stdout.next_line());
        Self {
            process,
            _stdout: stdout,
            address,
        }
    }

    /// Sends SIGTERM to the server, which is process 1 of its namespace, and expects exit code 0.
    #[track_caller]
    fn stop(mut self) {
        let parent = self.process.0.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let child: i32 = children.unwrap().trim().parse().expect("one child");
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        assert!(ids.is_some_and(|ids| ids.ends_with("\t1")), "{ids:?}");
        kill_process(Pid::from_raw(child).unwrap(), Signal::TERM).unwrap();
        let mut ended = None;
        wait_until("the server has stopped", || {
            // unshare ends as the server does.
            ended = self.process.0.try_wait().expect("it is a child");
            ended.is_some()
        });
        assert_eq!(ended.and_then(|status| status.code()), Some(0));
    }
}

fn image_passes_the_suite() {
    let image = Image::new("suite");
    let mut command = words(the_one("ENTRYPOINT"));
    // An engine appends words in this way, too. The deadline is short, so that the test is.
    command.extend(["--bind", "127.0.0.1:0", "--timeout", "3", "--quiet"].map(String::from));
    let server = Container::start(image.command(&[], &command));
    suite_passes(server.address);

    let check = the_one("HEALTHCHECK").strip_prefix("CMD ");
    let mut check = words(check.expect("a command"));
    let exposed = format!("127.0.0.1:{}", the_one("EXPOSE"));
    let address = check.iter_mut().find(|word| **word == exposed);
    *address.expect("the server's address") = server.address.to_string();
    let check = || {
        let check = image.command(&[], &check);
        assert_cmd::Command::from_std(check)
            .timeout(PATIENCE)
            .assert()
    };
    check().code(0);
    server.stop();
    check().code(1);
}

fn image_listens_at_the_port_that_it_exposes() {
    let image = Image::new("port");
    let command = image.command(&["--net"], &words(the_one("ENTRYPOINT")));
    let server = Container::start(command);
    let address = server.address;
    assert!(address.ip().is_unspecified(), "{address}");
    assert_eq!(address.port().to_string(), the_one("EXPOSE"));
    server.stop();
}
