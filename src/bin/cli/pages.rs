//! What a package installs beside a program: its manual page, and completions for shells. The program
//! makes them of its own arguments, so that they cannot differ from its help.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use upcase::escape;

/// What is asked for, if the command line is `--generate` and one more word.
///
/// clap does not know this option: its help would list it, and would ask for other arguments.
pub(crate) fn asked_for() -> Option<OsString> {
    let mut words = env::args_os().skip(1);
    let is_asked_for = words.next()? == "--generate";
    let kind = words.next()?;
    (is_asked_for && words.next().is_none()).then_some(kind)
}

/// The page or the completion of this `kind` for the program with this `command` line.
///
/// # Errors
/// If there is no such kind.
pub(crate) fn generate(mut command: Command, kind: &OsStr) -> Result<Vec<u8>, String> {
    let shell = match kind.to_str() {
        Some("man") => {
            command.build();
            return Ok(page(&command).into_bytes());
        }
        Some("bash") => Shell::Bash,
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        Some("powershell") => Shell::PowerShell,
        _ => {
            let kind = escape::text(kind.as_encoded_bytes());
            return Err(format!(
                "'{kind}' cannot be generated; choose man, bash, zsh, fish or powershell"
            ));
        }
    };
    let name = command.get_name().to_owned();
    let mut completion = Vec::new();
    clap_complete::generate(shell, &mut command, &name, &mut completion);
    if shell == Shell::Bash {
        // In a name with a hyphen, clap_complete 4.6 writes the cases of tasks in another way than the
        // values that it compares with them. Then no option of a task would be completed.
        let text = String::from_utf8_lossy(&completion);
        let (wrong, right) = (name.replace('-', "__subcmd__"), name.replace('-', "__"));
        completion = text.replace(&wrong, &right).into_bytes();
    }
    Ok(completion)
}

/// The manual page of a program. The page has all tasks of a program that has several.
fn page(command: &Command) -> String {
    let tasks: Vec<_> = command.get_subcommands().collect();
    let mut roff = Roff::new();
    let source = format!(
        "{} {}",
        env!("CARGO_PKG_NAME"),
        command.get_version().unwrap_or_default()
    );
    // The third is the date. Without one, a page depends only on the source.
    let title = [command.get_name(), "1", "\"\"", &source, "\"\""];
    roff.control("TH", title);
    roff.control("SH", ["NAME"]);
    let about = command.get_about().map(ToString::to_string);
    let name = command.get_name();
    roff.text([roman(format!("{name} - {}", about.unwrap_or_default()))]);
    roff.control("SH", ["SYNOPSIS"]);
    if tasks.is_empty() {
        synopsis(&mut roff, command);
    }
    for (at, task) in tasks.iter().enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        synopsis(&mut roff, task);
    }
    roff.control("SH", ["DESCRIPTION"]);
    description(&mut roff, command);
    let mut page = roff.render();
    page.push_str(&options(command));
    for task in &tasks {
        let mut roff = Roff::new();
        roff.control("SH", [task.get_bin_name().unwrap_or_default()]);
        description(&mut roff, task);
        page.push_str(without_preamble(&roff.render()));
        page.push_str(&options(task).replacen(".SH OPTIONS", ".SS Options", 1));
    }
    page.push_str(&last_sections(&tasks, command));
    in_ascii(&page)
}

/// The usage that the help shows.
fn synopsis(roff: &mut Roff, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    roff.text([bold(name), roman(usage.trim_start_matches(name))]);
}

fn description(roff: &mut Roff, command: &Command) {
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    for (at, paragraph) in about.split("\n\n").enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph)]);
    }
}

fn options(command: &Command) -> String {
    let mut section = Vec::new();
    let written = Man::new(command.clone()).render_options_section(&mut section);
    debug_assert!(written.is_ok(), "a vector takes everything");
    without_preamble(&String::from_utf8_lossy(&section)).into()
}

/// The headings of the last sections, and what begins the paragraphs in the help that belong there.
const LAST_SECTIONS: [(&str, &str); 3] = [
    ("NOTES", ""),
    ("EXIT STATUS", "Exit codes:"),
    ("EXAMPLES", "Examples:"),
];

/// What the help of the `tasks` and of the program itself says after the options.
fn last_sections(tasks: &[&Command], command: &Command) -> String {
    let mut texts = Vec::new();
    for command in tasks.iter().copied().chain([command]) {
        let text = command.get_after_long_help().or(command.get_after_help());
        let text = text.map(ToString::to_string).unwrap_or_default();
        // Tasks share texts.
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    let paragraphs = texts.iter().flat_map(|text| text.split("\n\n"));
    let mut sections = LAST_SECTIONS.map(|(heading, _)| (heading, Vec::new()));
    for paragraph in paragraphs.filter(|paragraph| !paragraph.is_empty()) {
        // The first begins every paragraph, so the others are tried before it.
        let places = LAST_SECTIONS.iter().enumerate().rev();
        let mut places =
            places.filter_map(|(at, (_, start))| Some((at, paragraph.strip_prefix(start)?)));
        if let Some((at, rest)) = places.next() {
            sections[at].1.push(rest.trim_start_matches('\n'));
        }
    }
    let mut roff = Roff::new();
    for (heading, paragraphs) in sections {
        if !paragraphs.is_empty() {
            roff.control("SH", [heading]);
        }
        for (at, text) in paragraphs.into_iter().enumerate() {
            if at > 0 {
                roff.control("PP", []);
            }
            paragraph(&mut roff, text);
        }
    }
    without_preamble(&roff.render()).into()
}

/// A paragraph of a help. A line there with two spaces before it has a term, two spaces or more, and an
/// explanation, which a line with more spaces before it continues.
fn paragraph(roff: &mut Roff, text: &str) {
    for line in text.lines() {
        let content = line.trim_start();
        let entry = content.split_once("  ");
        match (line.len() - content.len(), entry) {
            (2, Some((term, explanation))) => {
                roff.control("TP", []);
                roff.text([bold(term)]);
                roff.text([roman(explanation.trim_start())]);
            }
            _ => {
                roff.text([roman(content)]);
            }
        }
    }
}

/// The page `section` without the definition that each begins with; a page needs it once.
fn without_preamble(section: &str) -> &str {
    let preamble = Roff::new().render();
    section.strip_prefix(&preamble).unwrap_or(section)
}

/// The page with other characters than those of ASCII by their numbers, so that it looks the same
/// whatever encoding the reader's programs expect.
fn in_ascii(page: &str) -> String {
    let mut ascii = String::new();
    for c in page.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            let number = u32::from(c);
            let _ = write!(ascii, "\\[u{number:04X}]");
        }
    }
    ascii
}
