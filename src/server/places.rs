//! The places of one event loop: a bounded number of values, each with a deadline.
//!
//! There is no clock here, and the values are opaque. All time-outs are equal, so the deadlines form
//! a queue in the order of insertion. The queue links the places, and needs no other memory.

use std::collections::TryReserveError;
use std::time::Instant;

/// How many places are allocated at the start.
const FIRST: usize = 64;

/// At most `most` values. Each has a place, which has a number, and a deadline.
pub(super) struct Places<T> {
    most: usize,
    count: usize,
    slots: Vec<Place<T>>,
    /// The numbers of the free places.
    free: Vec<usize>,
    /// The ends of the queue of the taken places.
    oldest: Option<usize>,
    newest: Option<usize>,
}

struct Place<T> {
    deadline: Instant,
    value: Option<T>,
    /// The neighbours in the queue.
    older: Option<usize>,
    newer: Option<usize>,
}

impl<T> Places<T> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            count: 0,
            slots: Vec::with_capacity(most.min(FIRST)),
            free: Vec::with_capacity(most.min(FIRST)),
            oldest: None,
            newest: None,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= self.most
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Allocates memory for one more value. It is kept until the end.
    pub(super) fn reserve(&mut self) -> Result<(), TryReserveError> {
        if self.free.is_empty() {
            self.slots.try_reserve(1)?;
            self.free.try_reserve(self.slots.capacity())?;
        }
        Ok(())
    }

    /// Keeps `value` until it is removed. Its `deadline` must not be before that of any other value.
    /// Returns the number of its place.
    pub(super) fn insert(&mut self, deadline: Instant, value: T) -> usize {
        let taken = Place {
            deadline,
            value: Some(value),
            older: self.newest,
            newer: None,
        };
        let number = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(number) {
            Some(place) => *place = taken,
            None => self.slots.push(taken),
        }
        match self.newest.replace(number) {
            Some(older) => self.slots[older].newer = Some(number),
            None => self.oldest = Some(number),
        }
        self.count += 1;
        number
    }

    /// The value at this place and its deadline; `None` if the place is free.
    pub(super) fn get_mut(&mut self, number: usize) -> Option<(Instant, &mut T)> {
        let place = self.slots.get_mut(number)?;
        Some((place.deadline, place.value.as_mut()?))
    }

    /// Removes the value at this place, and returns it; `None` if the place is free.
    pub(super) fn remove(&mut self, number: usize) -> Option<T> {
        let place = self.slots.get_mut(number)?;
        let value = place.value.take()?;
        let (older, newer) = (place.older, place.newer);
        match older {
            Some(older) => self.slots[older].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.slots[newer].older = older,
            None => self.newest = older,
        }
        self.free.push(number);
        self.count -= 1;
        Some(value)
    }

    /// The next deadline, and the place that has it.
    pub(super) fn next(&self) -> Option<(Instant, usize)> {
        self.oldest
            .map(|oldest| (self.slots[oldest].deadline, oldest))
    }
}
