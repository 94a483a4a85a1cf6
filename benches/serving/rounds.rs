//! Contenders that take turns, and what is to be said of many rounds.

use super::contenders::CONTENDERS;

/// What was measured, of each contender in each round.
pub struct Rounds<T>(Vec<Vec<T>>);

impl<T> Rounds<T> {
    /// Measures every contender, by its number, in each of so many rounds. There is one more at
    /// the beginning, which warms up and is not counted.
    pub fn take(rounds: usize, mut measure: impl FnMut(usize) -> T) -> Self {
        let count = CONTENDERS.len();
        let mut taken: Vec<Vec<T>> = (0..count).map(|_| Vec::new()).collect();
        for round in 0..=rounds {
            for turn in 0..count {
                let contender = (turn + round) % count;
                let measured = measure(contender);
                if round > 0 {
                    taken[contender].push(measured);
                }
            }
        }
        Self(taken)
    }

    /// The median of a contender's figures.
    pub fn median(&self, contender: usize, figure: impl Fn(&T) -> f64) -> f64 {
        median(self.0[contender].iter().map(figure))
    }

    /// The median over the rounds of a contender's figure as a ratio to another's in the same
    /// round.
    pub fn ratio(&self, contender: usize, other: usize, figure: impl Fn(&T) -> f64) -> f64 {
        let rounds = self.0[contender].iter().zip(&self.0[other]);
        median(rounds.map(|(one, other)| figure(one) / figure(other)))
    }

    pub fn sum(&self, contender: usize, figure: impl Fn(&T) -> f64) -> f64 {
        self.0[contender].iter().map(figure).sum()
    }

    pub fn most(&self, contender: usize, figure: impl Fn(&T) -> f64) -> f64 {
        self.0[contender].iter().map(figure).fold(0.0, f64::max)
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
