//! How many connections the judge has at once, so that it never needs more than a right server serves.

use std::sync::{Condvar, Mutex};

/// As many connections as the judge has at once. A server serves at least 40 (SPEC TIME-7), but it may
/// still hold some that the judge has closed.
pub(super) const ALL: usize = 32;

/// Hands out the right to have connections, in the order in which they are asked for.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Held by the one that waits next.
    turn: Mutex<()>,
    used: Mutex<usize>,
    freed: Condvar,
}

/// The right to have some connections. It ends on drop.
pub(super) struct Places<'a> {
    room: &'a Room,
    count: usize,
}

impl Room {
    /// Waits for `count` places, at most [`ALL`].
    pub fn take(&self, count: usize) -> Places<'_> {
        let _turn = self.turn.lock().expect("nobody panics with it");
        let used = self.used.lock().expect("nobody panics with it");
        let is_full = |used: &mut usize| *used + count > ALL;
        let used = self.freed.wait_while(used, is_full);
        *used.expect("nobody panics with it") += count;
        Places { room: self, count }
    }
}

impl Drop for Places<'_> {
    fn drop(&mut self) {
        *self.room.used.lock().expect("nobody panics with it") -= self.count;
        self.room.freed.notify_all();
    }
}
