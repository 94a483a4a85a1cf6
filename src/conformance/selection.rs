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
        chosen: Vec<String>,
        skipped: Vec<String>,
    ) -> Result<Self, String> {
        let suite: Vec<_> = suite.into_iter().collect();
        for word in chosen.iter().chain(&skipped) {
            if !suite.iter().any(|about| names(word, about)) {
                let mut areas: Vec<_> = suite.iter().map(|about| area(about.id)).collect();
                areas.dedup();
                return Err(format!(
                    "'{word}' is no area ({}), no clause that a vector judges, such as {}, and no ID of a \
                     vector, such as {}; see --list",
                    areas.join(", "),
                    suite[0].clauses[0],
                    suite[0].id
                ));
            }
        }
        Ok(Self { chosen, skipped })
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
