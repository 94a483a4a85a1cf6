//! What packages are made of: the manual pages and completions that the programs make of their own
//! arguments.

mod common {
    pub mod command;
    pub mod command_line;
    pub mod process;
    pub mod program;
    pub mod trials;
}

use std::path::Path;
use std::process::{Command, ExitCode};

use assert_cmd::cargo::cargo_bin;
use common::command::succeeds;
use common::process::PATIENCE;
use common::program::Program;
use common::trials::{self, Need, trial};

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
    ];
    trials::run(2, trials)
}

static MAN: Need = Need::new("man", || succeeds(&["man", "--version"]));
static BASH: Need = Need::new("bash", || succeeds(&["bash", "--version"]));
static ZSH: Need = Need::new("zsh", || succeeds(&["zsh", "--version"]));
static FISH: Need = Need::new("fish", || succeeds(&["fish", "--version"]));

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
