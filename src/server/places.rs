//! The places of one event loop: what it holds at once, each until its deadline.
//!
//! There is no clock here, and nothing is known of what is held.

use std::collections::{BTreeSet, TryReserveError};
use std::time::Instant;

/// How many places have their memory from the start.
const FIRST: usize = 64;

/// At most so many values, each at a place with a number, and with a deadline.
pub(super) struct Places<T> {
    most: usize,
    held: Vec<Option<(Instant, T)>>,
    /// The numbers below `held.len()` that are not taken.
    free: Vec<usize>,
    /// The deadlines of all that is held, with its number.
    deadlines: BTreeSet<(Instant, usize)>,
}

impl<T> Places<T> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            held: Vec::with_capacity(most.min(FIRST)),
            free: Vec::with_capacity(most.min(FIRST)),
            deadlines: BTreeSet::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.deadlines.len() >= self.most
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    /// Makes sure that there is memory for one more value, which is not given back before the end.
    pub(super) fn reserve(&mut self) -> Result<(), TryReserveError> {
        if self.free.is_empty() {
            self.held.try_reserve(1)?;
            self.free.try_reserve(self.held.capacity())?;
        }
        Ok(())
    }

    /// Holds `value` until it is removed. Its place.
    pub(super) fn insert(&mut self, deadline: Instant, value: T) -> usize {
        let place = self.free.pop().unwrap_or(self.held.len());
        if place == self.held.len() {
            self.held.push(None);
        }
        self.held[place] = Some((deadline, value));
        self.deadlines.insert((deadline, place));
        place
    }

    /// What is held at `place`, if anything is.
    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        let (_, value) = self.held.get_mut(place)?.as_mut()?;
        Some(value)
    }

    /// Drops what is held at `place`.
    pub(super) fn remove(&mut self, place: usize) {
        if let Some((deadline, _)) = self.held.get(place).and_then(Option::as_ref) {
            self.deadlines.remove(&(*deadline, place));
            self.held[place] = None;
            self.free.push(place);
        }
    }

    /// The place whose deadline is the next.
    pub(super) fn next(&self) -> Option<(Instant, usize)> {
        self.deadlines.first().copied()
    }
}
