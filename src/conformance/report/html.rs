//! Reports as one HTML page: implementations in columns, clauses and vectors in rows.
//!
//! The page is a single file without a script. `html/page.html` is its template, and `html/page.css`
//! its style, which filters the rows by the state of radio buttons.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::ops::BitOr;

use askama::Template;
use askama::filters::{Escaper, Html};

use super::{Judged, Report, Role, Verdict};
use crate::conformance::clauses::clause;
use crate::conformance::client_vectors::{self, ClientVector};
use crate::conformance::reference::is_in_hex;
use crate::conformance::selection::area;
use crate::conformance::vectors::{self, Vector};
use crate::conformance::violation::{About, Detail, Level};

/// The page. Reports of servers and of clients have sections of their own. A vector that several reports of
/// a section have is one row.
///
/// # Panics
/// Never: a String takes the whole page.
#[must_use]
pub fn html(reports: &[Report]) -> String {
    let sections = [Role::Server, Role::Client].map(|role| Section::new(role, reports));
    let page = Page {
        sections: (sections.into_iter())
            .filter(|section| !section.columns.is_empty())
            .collect(),
    };
    page.render().expect("a String takes it")
}

/// Writes a text as HTML. Characters that cannot be seen, or that reorder others, are written as their code
/// points (as SPEC LOG-3 chooses them): the text is of others.
#[derive(Clone, Copy)]
struct Visible;

impl Escaper for Visible {
    fn write_escaped_str<W: Write>(&self, mut to: W, text: &str) -> fmt::Result {
        for c in text.chars() {
            if is_in_hex(c) {
                write!(to, "{}", c.escape_unicode())?;
            } else {
                Html.write_escaped_char(&mut to, c)?;
            }
        }
        Ok(())
    }
}

#[derive(Template)]
#[template(path = "page.html", config = "src/conformance/report/html/askama.toml")]
struct Page<'a> {
    sections: Vec<Section<'a>>,
}

/// The implementations with one role.
struct Section<'a> {
    name: &'static str,
    columns: Vec<Column<'a>>,
    areas: Vec<Group<'a, Group<'a, Row<'a>>>>,
    /// The number of a vector's row.
    numbers: HashMap<&'a str, usize>,
}

/// One implementation.
struct Column<'a> {
    report: &'a Report,
    tally: Tally,
    causes: Vec<Vec<&'a Judged>>,
}

/// An area with its clauses, or a clause with its vectors.
struct Group<'a, T> {
    name: &'a str,
    parts: Vec<T>,
    marks: Marks,
    /// One for each column.
    tallies: Vec<Tally>,
}

/// One vector.
struct Row<'a> {
    /// What the vector says about itself, from one of the reports.
    about: &'a Judged,
    /// What each report found; `None` if the vector was not chosen.
    cells: Vec<Option<&'a Judged>>,
}

/// How many of some vectors have each verdict.
#[derive(Clone, Copy, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    not_judged: usize,
    known_to_fail: usize,
}

/// What the filter can ask for. It shows as classes.
#[derive(Clone, Copy, Default)]
struct Marks {
    failed: bool,
    differs: bool,
    not_judged: bool,
}

impl Page<'_> {
    /// The numbers of areas that occur in a section.
    fn area_numbers(&self) -> std::ops::Range<usize> {
        let most = self.sections.iter().map(|section| section.areas.len());
        0..most.max().unwrap_or_default()
    }
}

impl<'a> Section<'a> {
    fn new(role: Role, reports: &'a [Report]) -> Self {
        let reports: Vec<_> = (reports.iter())
            .filter(|report| report.judged == role)
            .collect();
        let mut rows = Vec::<Row<'a>>::new();
        let mut places = HashMap::new();
        for (column, report) in reports.iter().enumerate() {
            for judged in &report.results {
                let place = *places.entry(judged.id.as_str()).or_insert_with(|| {
                    rows.push(Row {
                        about: judged,
                        cells: vec![None; reports.len()],
                    });
                    rows.len() - 1
                });
                rows[place].cells[column].get_or_insert(judged);
            }
        }
        // A report may have a part of the suite only, so that the first does not know every place.
        let suite = suite(role);
        let place = |row: &Row<'_>| suite.iter().position(|vector| vector.id == row.about.id);
        rows.sort_by_cached_key(|row| place(row).unwrap_or(suite.len()));
        // A failure names the violated clause first, so that it does not tell the main one.
        let main_clause = |row: &Row<'a>| {
            let own = place(row).map_or(row.about.clauses.as_slice(), |at| suite[at].clauses);
            own.first().map(String::as_str).unwrap_or_default()
        };
        let areas = grouped(rows, |row| area(&row.about.id));
        let areas = areas.into_iter().map(|(name, rows)| {
            let clauses = grouped(rows, main_clause);
            let clauses = clauses.into_iter();
            Group::new(
                name,
                clauses.map(|(id, rows)| Group::new(id, rows)).collect(),
            )
        });
        let areas: Vec<Group<_>> = areas.collect();
        let rows = (areas.iter()).flat_map(|area| area.parts.iter().flat_map(|part| &part.parts));
        let numbers = (0..)
            .zip(rows)
            .map(|(number, row)| (row.about.id.as_str(), number));
        Self {
            name: match role {
                Role::Server => "server",
                Role::Client => "client",
            },
            columns: reports.into_iter().map(Column::new).collect(),
            numbers: numbers.collect(),
            areas,
        }
    }

    fn title(&self) -> &'static str {
        match self.name {
            "server" => "Servers",
            _ => "Clients",
        }
    }

    fn rows(&self) -> impl Iterator<Item = &Row<'a>> {
        let clauses = self.areas.iter().flat_map(|area| &area.parts);
        clauses.flat_map(|clause| &clause.parts)
    }

    /// What the filter can show: its value in the style, its name, and how many rows it shows.
    fn filters(&self) -> Vec<(&'static str, &'static str, usize)> {
        let count = |has: fn(Marks) -> bool| self.rows().filter(|row| has(row.marks())).count();
        let mut filters = vec![
            ("all", "All", count(|_| true)),
            ("failed", "Failures", count(|marks| marks.failed)),
            ("differs", "Differences", count(|marks| marks.differs)),
            ("not-judged", "Not judged", count(|marks| marks.not_judged)),
        ];
        if self.columns.len() == 1 {
            filters.retain(|(value, ..)| *value != "differs");
        }
        filters
    }

    /// The anchor of a vector's row.
    fn anchor(&self, id: &str) -> String {
        format!("{}-{}", self.name, self.numbers[id])
    }

    /// What the reports say about the suite, without repetition.
    fn versions(&self) -> Vec<String> {
        let mut versions: Vec<_> = self.columns.iter().map(Column::versions).collect();
        versions.sort();
        versions.dedup();
        versions
    }
}

impl<'a> Column<'a> {
    fn new(report: &'a Report) -> Self {
        Self {
            report,
            tally: Tally::of(&report.results),
            causes: report.causes(),
        }
    }

    fn versions(&self) -> String {
        let Report {
            suite,
            spec,
            unicode,
            ..
        } = self.report;
        format!("suite {suite}, SPEC {spec}, Unicode {unicode}")
    }
}

/// A row or a group of rows.
trait Part {
    fn marks(&self) -> Marks;
    fn tallies(&self) -> Vec<Tally>;
}

impl Part for Row<'_> {
    fn marks(&self) -> Marks {
        let cells = self.cells.iter().flatten();
        let has = |verdict| cells.clone().any(|judged| judged.verdict == verdict);
        Marks {
            failed: cells.clone().any(|judged| {
                judged.verdict == Verdict::Failed
                    || judged.verdict == Verdict::Passed && judged.is_unexpected()
            }),
            differs: cells
                .clone()
                .any(|judged| judged.verdict != self.about.verdict),
            not_judged: has(Verdict::NotJudged),
        }
    }

    fn tallies(&self) -> Vec<Tally> {
        self.cells.iter().map(|cell| Tally::of(*cell)).collect()
    }
}

impl<T> Part for Group<'_, T> {
    fn marks(&self) -> Marks {
        self.marks
    }

    fn tallies(&self) -> Vec<Tally> {
        self.tallies.clone()
    }
}

impl<'a, T: Part> Group<'a, T> {
    fn new(name: &'a str, parts: Vec<T>) -> Self {
        let marks = parts
            .iter()
            .map(Part::marks)
            .fold(Marks::default(), BitOr::bitor);
        let mut tallies = parts.first().map(Part::tallies).unwrap_or_default();
        for part in parts.iter().skip(1) {
            for (tally, more) in tallies.iter_mut().zip(part.tallies()) {
                tally.add(more);
            }
        }
        Self {
            name,
            parts,
            marks,
            tallies,
        }
    }

    /// The text of the clause that this is, if it is one.
    fn text(&self) -> &'static str {
        clause(self.name).unwrap_or_default()
    }
}

/// The vectors for a role, in order.
fn suite(role: Role) -> Vec<About<'static>> {
    match role {
        Role::Server => vectors::suite().vectors.iter().map(Vector::about).collect(),
        Role::Client => (client_vectors::suite().vectors.iter())
            .map(ClientVector::about)
            .collect(),
    }
}

/// `rows` in groups with the same key, in the order in which the keys occur.
fn grouped<'a>(
    rows: Vec<Row<'a>>,
    key: impl Fn(&Row<'a>) -> &'a str,
) -> Vec<(&'a str, Vec<Row<'a>>)> {
    let mut groups = Vec::<(&str, Vec<_>)>::new();
    for row in rows {
        let key = key(&row);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    groups
}

impl Tally {
    fn of<'a>(results: impl IntoIterator<Item = &'a Judged>) -> Self {
        let mut tally = Self::default();
        for judged in results {
            match judged.verdict {
                Verdict::Passed => tally.passed += 1,
                Verdict::Failed => tally.failed += 1,
                Verdict::NotJudged => tally.not_judged += 1,
            }
            tally.known_to_fail += usize::from(judged.known_to_fail);
        }
        tally
    }

    fn add(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.not_judged += more.not_judged;
        self.known_to_fail += more.known_to_fail;
    }

    fn all(self) -> usize {
        self.passed + self.failed + self.not_judged
    }

    /// The number of each verdict, its class and its word.
    fn parts(self) -> [(usize, &'static str, &'static str); 3] {
        [
            (self.passed, "passed", "passed"),
            (self.failed, "failed", "failed"),
            (self.not_judged, "not-judged", "not judged"),
        ]
    }

    /// The class of a cell that shows it.
    fn class(self) -> &'static str {
        match self {
            Self { failed: 1.., .. } => "failed",
            Self {
                not_judged: 1.., ..
            } => "not-judged",
            Self { passed: 1.., .. } => "passed",
            _ => "absent",
        }
    }
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            failed: self.failed | other.failed,
            differs: self.differs | other.differs,
            not_judged: self.not_judged | other.not_judged,
        }
    }
}

/// As the classes `f`, `d` and `n` of the style.
impl fmt::Display for Marks {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (has, class) in [
            (self.failed, " f"),
            (self.differs, " d"),
            (self.not_judged, " n"),
        ] {
            to.write_str(if has { class } else { "" })?;
        }
        Ok(())
    }
}

impl Judged {
    fn class(&self) -> &'static str {
        match self.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::NotJudged => "not-judged",
        }
    }

    /// The verdict in words.
    fn word(&self) -> &'static str {
        match self.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::NotJudged => "not judged",
        }
    }

    /// Why it did not pass, or that it passed unexpectedly.
    fn cause(&self) -> &str {
        self.reason.as_deref().unwrap_or_else(|| self.problem())
    }

    /// The clause that a failure violates.
    fn violated(&self) -> Option<&str> {
        let first = self.clauses.first().map(String::as_str);
        first.filter(|_| self.verdict == Verdict::Failed)
    }

    /// The details, except those that repeat what the vector says `about` itself.
    fn evidence<'a>(&'a self, about: &'a Self) -> impl Iterator<Item = &'a Detail> {
        let is_known =
            |detail: &Detail| detail.text == about.description || detail.text == about.requirement;
        self.details.iter().filter(move |detail| !is_known(detail))
    }
}
