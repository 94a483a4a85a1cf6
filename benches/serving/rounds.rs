//! Rounds, in each of which every contender has one turn, and statistics over them.

use upcase_benches::median;

use super::contenders::CONTENDERS;

/// The measurements of each contender in each round.
pub struct Rounds<T>(Vec<Vec<T>>);

impl<T> Rounds<T> {
    /// Calls `measure` with the number of every contender, in each of `rounds` rounds. One more
    /// round at the beginning is a warm-up and is not counted.
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

    /// Returns the median of a contender's figures.
    pub fn median(&self, contender: usize, figure: impl Fn(&T) -> f64) -> f64 {
        median(self.0[contender].iter().map(figure))
    }

    /// Returns the median, over the rounds, of the ratio of a contender's figure to another's in
    /// the same round.
    pub fn ratio(&self, contender: usize, other: usize, figure: impl Fn(&T) -> f64) -> f64 {
        let rounds = self.0[contender].iter().zip(&self.0[other]);
        median(rounds.map(|(one, other)| figure(one) / figure(other)))
    }

    /// Returns the sum of a contender's figures.
    pub fn sum(&self, contender: usize, figure: impl Fn(&T) -> f64) -> f64 {
        self.0[contender].iter().map(figure).sum()
    }

    /// Returns the largest of a contender's figures.
    pub fn most(&self, contender: usize, figure: impl Fn(&T) -> f64) -> f64 {
        self.0[contender].iter().map(figure).fold(0.0, f64::max)
    }
}
