//! Chooses vectors by the words of a person: areas, clauses and IDs.

use super::violation::About;

/// Which vectors are chosen.
#[derive(Clone, Debug)]
pub struct Selection {
    chosen: Vec<String>,
    skipped: Vec<String>,
}

impl Selection {
    /// The vectors that one of `chosen` names, or all of `suite` if there is none; without those that one
    /// of `skipped` names. A word names a vector if it is its ID, its area (the part of the ID before the
    /// dot), or one of its clauses.
    ///
    /// # Errors
    /// What is wrong with a word that names no vector of `suite`, on one line.
    pub fn new<'a>(
        suite: impl IntoIterator<Item = About<'a>>,
        chosen: &[impl AsRef<str>],
        skipped: &[impl AsRef<str>],
    ) -> Result<Self, String> {
        let suite: Vec<_> = suite.into_iter().collect();
        let check = |word: &str| {
            let is_known = suite.iter().any(|about| names(word, about));
            is_known
                .then(|| word.to_owned())
                .ok_or_else(|| unknown(word, &suite))
        };
        let chosen = chosen.iter().map(|word| check(word.as_ref()));
        let skipped = skipped.iter().map(|word| check(word.as_ref()));
        Ok(Self {
            chosen: chosen.collect::<Result<_, _>>()?,
            skipped: skipped.collect::<Result<_, _>>()?,
        })
    }

    /// Whether this vector is chosen.
    #[must_use]
    pub fn chooses(&self, about: &About<'_>) -> bool {
        let has = |words: &[String]| words.iter().any(|word| names(word, about));
        (self.chosen.is_empty() || has(&self.chosen)) && !has(&self.skipped)
    }
}

/// The area in the ID of a vector: the part before the dot.
#[must_use]
pub fn area(id: &str) -> &str {
    id.split_once('.').map_or(id, |(area, _)| area)
}

fn names(word: &str, about: &About<'_>) -> bool {
    word == about.id || word == area(about.id) || about.clauses.iter().any(|clause| clause == word)
}

fn unknown(word: &str, suite: &[About<'_>]) -> String {
    let mut areas: Vec<_> = suite.iter().map(|about| area(about.id)).collect();
    areas.dedup();
    let example = suite.first();
    format!(
        "'{word}' is no area ({}), no clause that a vector judges, such as {}, and no ID of a vector, such \
         as {}; see --list",
        areas.join(", "),
        example.map_or("PROC-1", |about| &about.clauses[0]),
        example.map_or("proc.hello", |about| about.id),
    )
}

/// The IDs in a `list` of vectors that do not pass yet, one a line. `#` begins a comment.
///
/// # Errors
/// What is wrong with an ID that no vector of `suite` has, on one line.
pub fn known_to_fail<'a>(
    list: &str,
    suite: impl IntoIterator<Item = About<'a>>,
) -> Result<Vec<String>, String> {
    let suite: Vec<_> = suite.into_iter().map(|about| about.id).collect();
    let ids = list
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    let check = |id: &str| {
        let is_known = suite.contains(&id);
        is_known
            .then(|| id.to_owned())
            .ok_or_else(|| format!("no vector has the ID '{id}'; remove it"))
    };
    ids.filter(|id| !id.is_empty()).map(check).collect()
}
