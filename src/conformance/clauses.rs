//! The clauses of SPEC.md, as data.

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
pub fn clauses() -> Vec<Clause> {
    let paragraphs = include_str!("../../SPEC.md").split("\n\n");
    paragraphs
        .filter_map(|paragraph| {
            paragraph
                .trim_start()
                .strip_prefix("**")?
                .split_once(".** ")
        })
        .map(|(id, text)| Clause {
            id,
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
        })
        .collect()
}

/// The text of the clause with this ID.
#[must_use]
pub fn clause(id: &str) -> Option<String> {
    let clause = clauses().into_iter().find(|clause| clause.id == id);
    clause.map(|clause| clause.text)
}
