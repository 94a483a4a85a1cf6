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
use serde_json::json;
use upcase::conformance::client_vectors::{self, ClientVector};
use upcase::conformance::report::html::html;
use upcase::conformance::report::{Judged, Report, Role, Verdict};
use upcase::conformance::vectors::{self, Vector};
use upcase::conformance::{About, Detail, NotPassed, Violation};

fn main() -> ExitCode {
    let trials = vec![
        trial(every_vector_is_one_row, [&CHROMIUM]),
        trial(page_filters_by_keyboard, [&CHROMIUM]),
        trial(failure_opens_by_keyboard, [&CHROMIUM]),
        trial(cause_leads_to_its_vectors, [&CHROMIUM]),
        trial(page_fits_a_phone, [&CHROMIUM]),
        trial(text_is_readable_in_light_and_dark, [&CHROMIUM]),
        trial(page_loads_nothing_and_has_no_error, [&CHROMIUM]),
        trial(policy_forbids_scripts_and_hosts, [&CHROMIUM]),
        trial(markup_in_reports_is_text, [&CHROMIUM]),
        trial(verdicts_are_heard_as_words, [&CHROMIUM]),
        trial(printed_page_has_its_failures_open, [&CHROMIUM]),
        trial(descriptions_are_not_repeated, []),
        trial(rows_are_in_the_order_of_the_suite, []),
        trial(violated_clause_does_not_move_a_vector, []),
        trial(known_failures_and_unexpected_passes_are_marked, []),
        trial(page_without_reports_says_so, []),
    ];
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
        3 => about.id.len().is_multiple_of(9),
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
        let abouts = vectors::suite().vectors.iter().map(Vector::about);
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
            .map(ClientVector::about);
        report(Role::Client, 3 * number, name, abouts)
    };
    let servers = servers.into_iter().enumerate().map(server);
    servers
        .chain(clients.into_iter().enumerate().map(client))
        .collect()
}

/// The page of all reports.
static PAGE: LazyLock<PathBuf> = LazyLock::new(|| page_of("page.html", &reports()));

/// The page of these reports, as a file of this name.
fn page_of(name: &str, reports: &[Report]) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&file, html(reports)).unwrap();
    file
}

/// An expression of JavaScript for what is seen of the elements, as a list of texts.
fn seen(elements: &str) -> String {
    let elements = format!("[...document.querySelectorAll({elements:?})]");
    format!("{elements}.filter(e => e.checkVisibility()).map(e => e.innerText.trim())")
}

/// The IDs of the servers' vectors that are seen.
fn seen_vectors(browser: &mut Browser) -> Vec<String> {
    let ids = browser.evaluate(&seen("#servers .vector th"));
    let ids = ids.as_array().unwrap().iter();
    ids.map(|id| id.as_str().unwrap().replace(" SHOULD", ""))
        .collect()
}

/// The IDs of the servers' vectors for which the verdicts are such, in the order of the suite.
fn vectors_with(are: impl Fn(&[Verdict]) -> bool) -> Vec<String> {
    let reports = reports();
    let servers = reports
        .iter()
        .filter(|report| report.judged == Role::Server);
    let verdicts = |id: &str| {
        let results = servers.clone().flat_map(|report| &report.results);
        let results = results.filter(|judged| judged.id == id);
        results.map(|judged| judged.verdict).collect::<Vec<_>>()
    };
    let ids = vectors::suite().vectors.iter().map(|vector| &vector.id);
    ids.filter(|id| are(&verdicts(id))).cloned().collect()
}

/// Presses Tab until an element that fits the selector has the focus.
#[track_caller]
fn tab_to(browser: &mut Browser, selector: &str) {
    for _ in 0..50 {
        browser.press("Tab");
        if browser.evaluate(&format!("document.activeElement.matches({selector:?})")) == true {
            return;
        }
    }
    panic!("50 times Tab does not lead to {selector}");
}

fn every_vector_is_one_row() {
    let mut browser = Browser::open(&PAGE, 1280);
    let mut ids = seen_vectors(&mut browser);
    let mut suite = vectors_with(|_| true);
    ids.sort();
    suite.sort();
    assert_eq!(ids, suite);
    let clients = browser.evaluate("document.querySelectorAll('#clients .vector').length");
    assert_eq!(clients, client_vectors::suite().vectors.len());
    let cells = |section| {
        format!("[...document.querySelectorAll('#{section} .vector')].map(e => e.cells.length)")
    };
    for (section, columns) in [("servers", 6), ("clients", 3)] {
        let cells = browser.evaluate(&cells(section));
        assert!(
            cells
                .as_array()
                .unwrap()
                .iter()
                .all(|count| *count == columns),
            "{cells}"
        );
    }
}

fn page_filters_by_keyboard() {
    let mut browser = Browser::open(&PAGE, 1280);
    let sort = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    tab_to(&mut browser, "#servers .show input");
    for expected in [
        vectors_with(|found| found.contains(&Verdict::Failed)),
        vectors_with(|found| found.iter().any(|verdict| *verdict != found[0])),
        vectors_with(|found| found.contains(&Verdict::NotJudged)),
    ] {
        browser.press("ArrowRight");
        assert!(!expected.is_empty());
        assert_eq!(sort(seen_vectors(&mut browser)), sort(expected));
    }
    browser.press("ArrowLeft");
    browser.press("ArrowLeft");
    browser.press("Tab");
    for area in ["proc.", "trim.", "cap."] {
        browser.press("ArrowRight");
        let mut failed = vectors_with(|found| found.contains(&Verdict::Failed));
        failed.retain(|id| id.starts_with(area));
        assert_eq!(sort(seen_vectors(&mut browser)), sort(failed));
        let areas = browser.evaluate(&seen("#servers .area th"));
        assert_eq!(areas, json!([area.trim_end_matches('.')]));
    }
    // The clients have a filter of their own.
    let clients = browser.evaluate(&seen("#clients .vector th"));
    assert_eq!(
        clients.as_array().unwrap().len(),
        client_vectors::suite().vectors.len()
    );
}

fn failure_opens_by_keyboard() {
    let mut browser = Browser::open(&PAGE, 1280);
    tab_to(&mut browser, "#servers .show input");
    browser.press("ArrowRight");
    tab_to(&mut browser, ".more summary");
    let labels = |browser: &mut Browser| browser.evaluate(&seen(".more dt"));
    assert_eq!(labels(&mut browser), json!([]));
    browser.press("Enter");
    let expected = ["sent", "expected", "received", "differs", "ended"];
    assert_eq!(labels(&mut browser), json!(expected));
    let shown = browser.evaluate(&seen(".more [open]"));
    let shown = shown[0].as_str().unwrap();
    let vector = vectors_with(|found| found.contains(&Verdict::Failed));
    let vector = vectors::suite()
        .vectors
        .iter()
        .find(|known| known.id == vector[0])
        .unwrap();
    for text in [
        &vector.requirement,
        &vector.description,
        "the bytes are wrong",
    ] {
        assert!(shown.contains(text), "{text} is not in {shown}");
    }
}

fn cause_leads_to_its_vectors() {
    let mut browser = Browser::open(&PAGE, 1280);
    browser.evaluate("document.querySelector('#servers .areas [value=\"0\"]').click()");
    tab_to(&mut browser, ".causes summary");
    browser.press("Enter");
    tab_to(&mut browser, ".causes a");
    let link = browser.evaluate("document.activeElement.innerText");
    assert!(
        !seen_vectors(&mut browser)
            .iter()
            .any(|id| link == id.as_str()),
        "{link}"
    );
    browser.press("Enter");
    assert!(
        seen_vectors(&mut browser)
            .iter()
            .any(|id| link == id.as_str()),
        "{link}"
    );
    let opened = browser.evaluate("document.querySelector(':target').closest('details').open");
    assert_eq!(opened, true);
}

fn page_fits_a_phone() {
    let many = [reports(), reports(), reports()].concat();
    let many = page_of("many.html", &many);
    for page in [&PAGE, &many] {
        let mut browser = Browser::open(page, 360);
        browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)");
        let widths = browser.evaluate("[innerWidth, document.documentElement.scrollWidth]");
        assert_eq!(widths, json!([360, 360]), "{}", page.display());
    }
}

/// The contrast of a text that WCAG 2 asks for at level AA.
const CONTRAST: f64 = 4.5;

fn text_is_readable_in_light_and_dark() {
    let mut browser = Browser::open(&PAGE, 1280);
    browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)");
    let mut papers = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        papers.push(browser.evaluate("getComputedStyle(document.documentElement).backgroundColor"));
        let contrasts = browser.evaluate(
            r"(() => {
                const numbers = color => color.match(/[\d.]+/g).map(Number);
                const light = color => {
                    const [r, g, b] = numbers(color).map(value => {
                        value /= 255;
                        return value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
                    });
                    return .2126 * r + .7152 * g + .0722 * b + .05;
                };
                const paper = element => {
                    const color = getComputedStyle(element).backgroundColor;
                    return numbers(color)[3] === 0 ? paper(element.parentElement) : color;
                };
                const found = {};
                for (const element of document.querySelectorAll('body *')) {
                    const isText = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
                    if (!isText || !element.checkVisibility()) continue;
                    const [ink, ground] = [getComputedStyle(element).color, paper(element)];
                    const [dark, bright] = [light(ink), light(ground)].sort((a, b) => a - b);
                    found[ink + ' on ' + ground] = bright / dark;
                }
                return found;
            })()",
        );
        let contrasts = contrasts.as_object().unwrap();
        assert!(contrasts.len() > 5, "{contrasts:?}");
        for (colors, contrast) in contrasts {
            assert!(
                contrast.as_f64().unwrap() >= CONTRAST,
                "{scheme}: {colors}: {contrast}"
            );
        }
    }
    assert_ne!(papers[0], papers[1]);
}

fn page_loads_nothing_and_has_no_error() {
    let mut browser = Browser::open(&PAGE, 1280);
    browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)");
    let of = |method: &'static str| {
        browser
            .events
            .iter()
            .filter(move |event| event["method"] == method)
    };
    let requests = of("Network.requestWillBeSent");
    let urls: Vec<_> = requests
        .map(|event| &event["params"]["request"]["url"])
        .collect();
    assert_eq!(urls, [&format!("file://{}", PAGE.display())]);
    for method in [
        "Log.entryAdded",
        "Runtime.consoleAPICalled",
        "Runtime.exceptionThrown",
    ] {
        assert_eq!(of(method).next(), None);
    }
    let elsewhere =
        "[...document.querySelectorAll('script, form, [src], [href]:not([href^=\"#\"])')].length";
    assert_eq!(browser.evaluate(elsewhere), 0);
    let handlers = "[...document.querySelectorAll('*')].filter(e => e.getAttributeNames()\
        .some(name => name.startsWith('on'))).length";
    assert_eq!(browser.evaluate(handlers), 0);
}

fn policy_forbids_scripts_and_hosts() {
    let mut browser = Browser::open(&PAGE, 1280);
    let url = format!("file://{}", PAGE.with_file_name("none.png").display());
    browser.evaluate(&format!(
        "window.blocked = new Promise(done => {{
            const blocked = [];
            document.addEventListener('securitypolicyviolation', event => {{
                blocked.push(event.effectiveDirective);
                if (blocked.length == 2) done(blocked.sort());
            }});
            document.body.append(Object.assign(document.createElement('img'), {{src: '{url}'}}));
            document.body.append(Object.assign(document.createElement('script'), {{text: 'window.x = 1'}}));
        }}); 0"
    ));
    let blocked = browser.evaluate("blocked");
    assert_eq!(blocked, json!(["img-src", "script-src-elem"]));
    assert_eq!(browser.evaluate("typeof x"), "undefined");
}

fn markup_in_reports_is_text() {
    let mut browser = Browser::open(&PAGE, 1280);
    let name = HOSTILE.replace('\u{202e}', "\\u{202e}");
    let title = browser.evaluate("document.title");
    assert!(title.as_str().unwrap().contains(&name), "{title}");
    assert_eq!(
        browser.evaluate("document.querySelectorAll('h3 bdi')[3].textContent"),
        name
    );
    browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)");
    let received = browser.evaluate(&seen(".more dl div:nth-child(3) dd"));
    assert!(
        received[0].as_str().unwrap().ends_with(&name),
        "{}",
        received[0]
    );
    let reordering = r"/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(document.documentElement.outerHTML)";
    assert_eq!(browser.evaluate(reordering), false);
}

fn verdicts_are_heard_as_words() {
    let mut browser = Browser::open(&PAGE, 360);
    let tree = browser.command("Accessibility.getFullAXTree", &json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    let names = |role: &'static str| {
        let nodes = nodes
            .iter()
            .filter(move |node| node["role"]["value"] == role);
        nodes.map(|node| {
            node["name"]["value"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
    };
    for verdict in [
        "passed",
        "failed",
        "not judged",
        "not chosen",
        "9 of 9 passed",
    ] {
        assert!(names("cell").any(|name| name == verdict), "{verdict}");
    }
    assert!(names("columnheader").any(|name| name == "2 localhost:9123"));
    assert!(names("rowheader").any(|name| name == "proc.hello"));
    assert!(names("table").any(|name| name == "What each server does by each clause and vector"));
}

fn printed_page_has_its_failures_open() {
    let mut browser = Browser::start(1280);
    browser.command("Emulation.setEmulatedMedia", &json!({"media": "print"}));
    browser.show(&PAGE);
    assert_eq!(browser.evaluate(&seen(".filter")), json!([]));
    let failures = "[...document.querySelectorAll('.more.f .finding')]";
    let hidden = format!("{failures}.filter(e => !e.checkVisibility()).length");
    assert_eq!(browser.evaluate(&hidden), 0);
    assert_ne!(browser.evaluate(&format!("{failures}.length")), 0);
}

fn descriptions_are_not_repeated() {
    let page = html(&reports());
    let servers = vectors::suite().vectors.iter().map(Vector::about);
    let clients = client_vectors::suite()
        .vectors
        .iter()
        .map(ClientVector::about);
    let abouts: Vec<_> = servers.chain(clients).collect();
    for about in &abouts {
        let same = |other: &&About<'_>| other.description.contains(about.description);
        let text = about
            .description
            .replace('&', "&#38;")
            .replace('\'', "&#39;");
        let (found, expected) = (
            page.matches(&text).count(),
            abouts.iter().filter(same).count(),
        );
        assert_eq!(found, expected, "{text}");
    }
}

fn rows_are_in_the_order_of_the_suite() {
    let reports = reports();
    let page = html(&[reports[4].clone(), reports[0].clone()]);
    let place = |id: &str| page.find(&format!("<th scope=\"row\">{id}</th>")).unwrap();
    assert!(place("proc.hello") < place("trim.tab"));
}

fn violated_clause_does_not_move_a_vector() {
    let mut report = reports().swap_remove(0);
    let first = &mut report.results[0];
    assert_eq!(
        (first.id.as_str(), first.clauses[0].as_str()),
        ("proc.hello", "PROC-1")
    );
    first.verdict = Verdict::Failed;
    first.clauses.insert(0, "REPLY-1".into());
    let page = html(&[report]);
    let (before, _) = page.split_once("proc.hello</th>").unwrap();
    let (_, clause) = before.rsplit_once("<th scope=\"rowgroup\">").unwrap();
    assert!(clause.starts_with("PROC-1<"), "{clause}");
}

fn known_failures_and_unexpected_passes_are_marked() {
    let mut report = reports().remove(1);
    for judged in &mut report.results {
        judged.known_to_fail = judged.id == "cap.1023-and-lf" || judged.id == "proc.hello";
    }
    let page = html(&[report]);
    assert!(page.contains("failed (known)"));
    assert!(page.contains("passed (known)"));
    assert!(page.contains("listed as known to fail"));
}

fn page_without_reports_says_so() {
    assert!(html(&[]).contains("There is no report."));
}
