//! The HTML page of reports does in a browser what a reader needs, without a script.

mod common {
    pub mod browser;
    pub mod command;
    pub mod command_line;
    pub mod trials;
}

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

use common::browser::Browser;
use common::command::succeeds;
use common::trials::{self, Need, trial};
use upcase::conformance::report::html::html;
use upcase::conformance::report::{Judged, Report, Role};
use upcase::conformance::{About, Detail, NotPassed, Violation, client_vectors, vectors};

fn main() -> ExitCode {
    let trials = vec![trial(page_shows_every_vector_once, [&CHROMIUM])];
    trials::run(2, trials)
}

static CHROMIUM: Need = Need::new("chromium", || succeeds(&["chromium", "--version"]));

/// A name that is markup, ends an attribute, and reorders what follows.
const HOSTILE: &str =
    "</title><script>document.title='pwned'</script>\" onclick='x' \u{202e}resrever";

/// What the implementation with this number does with a vector.
fn found(number: usize, about: &About<'_>) -> Result<(), NotPassed> {
    let area = about.id.split('.').next().unwrap();
    let fails = match number {
        1 => area == "upper" && about.clauses[0] != "UPPER-4" || about.clauses[0] == "CAP-2",
        2 => area == "surplus",
        3 => about.id.len() % 9 == 0,
        _ => false,
    };
    if number == 3 && area == "time" {
        return Err(NotPassed::NotJudged("the server had failed before".into()));
    }
    if !fails {
        return Ok(());
    }
    let detail = |label: &str, text: &str| Detail {
        label: label.into(),
        text: text.into(),
    };
    Err(NotPassed::Violation(Violation {
        rule: about.id.into(),
        clauses: about.clauses.into(),
        problem: match area {
            "surplus" => {
                "the client cannot send all bytes, although it is too early for a deadline".into()
            }
            _ => "the bytes are wrong".into(),
        },
        details: vec![
            detail("does", about.description),
            detail("must", about.requirement),
            detail(
                "sent",
                "b'ol\u{e1}, servidor!\\x0a'…b'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' (1025 bytes)",
            ),
            detail("expected", "b'OL\u{c1}, SERVIDOR!'"),
            detail("received", &format!("b'OL\u{e1}, SERVIDOR!' {HOSTILE}")),
            detail("differs", "offset 2: expected c3 81, received c3 a1"),
            detail(
                "ended",
                "by an orderly end of the stream (FIN), 84.5µs after the connection was opened",
            ),
        ],
    }))
}

fn report<'a>(
    role: Role,
    number: usize,
    name: &str,
    abouts: impl Iterator<Item = About<'a>>,
) -> Report {
    let results = abouts.map(|about| Judged::by(about, || found(number, &about)));
    let suite = vectors::suite();
    Report {
        judged: role,
        implementation: name.into(),
        suite: suite.suite.clone(),
        spec: suite.spec.clone(),
        unicode: suite.unicode.clone(),
        results: results.collect(),
    }
}

/// Five servers and two clients. The last server was judged by one area alone.
fn reports() -> Vec<Report> {
    let servers = [
        "upcase-server",
        "localhost:9123",
        "upcase.py",
        HOSTILE,
        "partly",
    ];
    let server = |(number, name): (usize, &str)| {
        let abouts = vectors::suite().vectors.iter().map(|vector| vector.about());
        let abouts = abouts.filter(|about| number < 4 || about.id.starts_with("trim."));
        report(Role::Server, number, name, abouts)
    };
    let clients = [
        "upcase-client",
        "python3 /home/someone/projects/upcase/client.py {host} {port}",
    ];
    let client = |(number, name): (usize, &str)| {
        let abouts = client_vectors::suite()
            .vectors
            .iter()
            .map(|vector| vector.about());
        report(Role::Client, 3 * number, name, abouts)
    };
    let servers = servers.into_iter().enumerate().map(server);
    servers
        .chain(clients.into_iter().enumerate().map(client))
        .collect()
}

/// The page of all reports.
static PAGE: LazyLock<PathBuf> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.html");
    fs::write(&file, html(&reports())).unwrap();
    file
});

fn page_shows_every_vector_once() {
    let mut browser = Browser::open(&PAGE, 1280);
    let rows = browser.evaluate("document.querySelectorAll('tr.vector').length");
    assert_eq!(
        rows,
        vectors::suite().vectors.len() + client_vectors::suite().vectors.len()
    );
}
