//! The clauses of SPEC.md, as data.

use std::sync::LazyLock;

/// A clause of SPEC.md: a paragraph that opens with its ID in bold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// The ID, such as `CAP-2`.
    pub id: &'static str,
    /// The text of the clause, on one line.
    pub text: String,
}

/// Every clause, in the order of the document.
#[must_use]
pub fn clauses() -> &'static [Clause] {
    static CLAUSES: LazyLock<Vec<Clause>> = LazyLock::new(|| {
        let paragraphs = include_str!("../../SPEC.md").split("\n\n");
        paragraphs.filter_map(clause_in).collect()
    });
    &CLAUSES
}

fn clause_in(paragraph: &'static str) -> Option<Clause> {
    let (id, text) = paragraph
        .trim_start()
        .strip_prefix("**")?
        .split_once(".** ")?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(Clause { id, text })
}

/// The text of the clause with this ID.
#[must_use]
pub fn clause(id: &str) -> Option<&'static str> {
    let clause = clauses().iter().find(|clause| clause.id == id);
    clause.map(|clause| clause.text.as_str())
}
