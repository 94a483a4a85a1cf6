//! A connection of a world, with both of its ends. What its peer will do is random.

use std::collections::VecDeque;
use std::time::Instant;

use upcase::server::event_loop::Interest;

use super::dice::Dice;

/// What a peer does next.
pub enum Act {
    Send(Vec<u8>),
    HalfClose,
    Reset,
}

/// A connection, with both of its ends.
pub struct Connection {
    pub acts: VecDeque<Act>,
    /// The first bytes that the peer has sent, as many as a request may have.
    pub sent: Vec<u8>,
    /// When its request was complete, and when its side ended, orderly or by a reset.
    pub complete: Option<Instant>,
    pub ended: Option<Instant>,
    /// How many bytes the network holds for the peer before it takes them.
    pub window: usize,
    /// When it entered the queue, was accepted, and was closed by the server.
    pub queued: Option<Instant>,
    pub accepted: Option<Instant>,
    pub closed: Option<Instant>,
    /// What the server can read.
    pub inbox: VecDeque<u8>,
    pub has_ended: bool,
    pub was_reset: bool,
    /// What the server has written, and how many bytes of it the peer has not taken.
    pub written: Vec<u8>,
    pub in_flight: usize,
    pub half_closed: bool,
    /// The loop that watches it, the place, and the interest.
    pub watched: Option<(usize, usize, Interest)>,
    /// The loop that holds it; the last turn in which it was read, and how often.
    pub holder: usize,
    pub reads: (usize, usize),
}

impl Connection {
    /// A connection whose peer is of a random kind.
    pub fn new(dice: &mut Dice) -> Self {
        let mut acts = VecDeque::new();
        let mut line = vec![b'a'; dice.below(40)];
        if dice.once_in(6) {
            line = "\u{390}".repeat(dice.below(512)).into_bytes();
        }
        if dice.once_in(8) {
            line = vec![b'b'; 1_020 + dice.below(8)];
        }
        match dice.below(8) {
            0 => {}
            1 => line.push(b' '), // no LF: the end, or nothing
            _ => line.push(b'\n'),
        }
        let pieces = 1 + dice.below(4);
        for piece in line.chunks(line.len().div_ceil(pieces).max(1)) {
            acts.push_back(Act::Send(piece.to_vec()));
        }
        if dice.once_in(20) {
            let flood = vec![b'x'; dice.below(400_000)];
            acts.extend(flood.chunks(7_000).map(|part| Act::Send(part.to_vec())));
        }
        match dice.below(10) {
            0 => {}
            1 => acts.insert(dice.below(acts.len() + 1), Act::Reset),
            _ => acts.push_back(Act::HalfClose),
        }
        if let Some(reset) = acts.iter().position(|act| matches!(act, Act::Reset)) {
            acts.truncate(reset + 1);
        }
        Self {
            acts,
            sent: Vec::new(),
            complete: None,
            ended: None,
            window: [64, 1_000, 100_000][dice.below(3)],
            queued: None,
            accepted: None,
            closed: None,
            inbox: VecDeque::new(),
            has_ended: false,
            was_reset: false,
            written: Vec::new(),
            in_flight: 0,
            half_closed: false,
            watched: None,
            holder: 0,
            reads: (0, 0),
        }
    }
}
