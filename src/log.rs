//! The server's transcript (SPEC LOG-1, LOG-2, LOG-4), and what it has to complain of.
//!
//! Whoever writes to a pipe that nobody reads waits for ever, so those who serve clients do not
//! write: they leave an entry in a bounded queue, or count it as dropped where the queue is
//! full, and one thread of its own writes ([`Writer::run`]). No thread is started here; whoever
//! owns the program starts it.

use std::io::{self, ErrorKind, Write};
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::clip;
use crate::render::literal;

/// How many entries wait at most for the writer. At about 1 KiB each this bounds the memory that
/// a stuck output costs.
const QUEUE: usize = 4096;

/// How many more entries are written with the first, so that a busy log costs few system calls.
const BATCH: usize = 256;

/// How long entries gather before the next are written: to be woken for each would cost more than
/// writing them.
const GATHER: Duration = Duration::from_millis(1);

/// The least time between two complaints: a fault that repeats shall not fill a disk.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);

enum Entry {
    Ready(SocketAddr),
    Request(IpAddr, Vec<u8>),
    Complaint(String),
}

/// How many requests were noted that are neither written nor reported as missing; it can be asked
/// when the [`Log`] is gone.
#[derive(Clone, Default)]
pub struct Missing(Arc<Counts>);

#[derive(Default)]
struct Counts {
    /// Left in the queue, and not written yet.
    queued: AtomicU64,
    /// Given up, and not reported yet.
    dropped: AtomicU64,
}

impl Missing {
    /// The number of requests at this moment.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.queued.load(Ordering::Relaxed) + self.0.dropped.load(Ordering::Relaxed)
    }
}

/// The near end of the transcript: takes entries and never waits.
#[derive(Clone)]
pub struct Log {
    queue: SyncSender<Entry>,
    missing: Missing,
}

/// The far end of the transcript: writes what the [`Log`] takes.
pub struct Writer {
    queue: Receiver<Entry>,
    missing: Missing,
}

/// A transcript, of two ends.
#[must_use]
pub fn channel() -> (Log, Writer) {
    let (sender, receiver) = sync_channel(QUEUE);
    let missing = Missing::default();
    let log = Log {
        queue: sender,
        missing: missing.clone(),
    };
    let writer = Writer {
        queue: receiver,
        missing,
    };
    (log, writer)
}

impl Log {
    /// Notes that the server is ready at `address` (SPEC LOG-1).
    pub fn ready(&self, address: SocketAddr) {
        self.put(Entry::Ready(address));
    }

    /// Notes a `request` from `peer` (SPEC LOG-2).
    pub fn request(&self, peer: IpAddr, request: &[u8]) {
        // Counted first, so that the writer never takes off what is not on the count yet.
        self.missing.0.queued.fetch_add(1, Ordering::Relaxed);
        if !self.put(Entry::Request(peer, clip(request).to_vec())) {
            self.missing.0.dropped.fetch_add(1, Ordering::Relaxed);
            self.missing.0.queued.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes something that the operator should know, as one line without a line feed. Of many
    /// complaints one is printed every five seconds, with the number of those that were not.
    pub fn complain(&self, complaint: String) {
        // Where the queue is full, the operator has the greater trouble to hear of.
        self.put(Entry::Complaint(complaint));
    }

    /// The count of requests that are not in the log.
    #[must_use]
    pub fn missing(&self) -> Missing {
        self.missing.clone()
    }

    fn put(&self, entry: Entry) -> bool {
        self.queue.try_send(entry).is_ok()
    }
}

impl Writer {
    /// Writes entries to `out`, and complaints to `err`, until every [`Log`] is gone and nothing
    /// is left. Failing to write stops neither this nor the server: the requests concerned are
    /// counted, and the count is reported to `err` when writing goes on, or at the end
    /// (SPEC LOG-4).
    pub fn run(self, out: impl Write, err: impl Write) {
        let mut lines = Lines {
            out,
            trouble: None,
            failing: false,
            torn: false,
        };
        let mut errors = Errors {
            err,
            last: None,
            unsaid: 0,
        };
        loop {
            // What may not be said yet is said in time, though no entry comes any more.
            let first = if self.has_more_to_say(&lines, &errors) {
                self.queue.recv_timeout(errors.silence())
            } else {
                self.queue.recv().map_err(RecvTimeoutError::from)
            };
            match first {
                Ok(first) => self.write(first, &mut lines, &mut errors),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if errors.silence().is_zero() {
                self.report(&mut lines, &mut errors);
            }
            thread::sleep(GATHER);
        }
        lines.failing = false; // as it was, or for ever
        while self.has_more_to_say(&lines, &errors) {
            self.report(&mut lines, &mut errors);
        }
    }

    /// Writes `first`, and what else has gathered.
    fn write(&self, first: Entry, out: &mut Lines<impl Write>, errors: &mut Errors<impl Write>) {
        let mut lines = Vec::new();
        // Where in them each request ends.
        let mut requests = Vec::new();
        for entry in iter::once(first).chain(self.queue.try_iter().take(BATCH)) {
            match entry {
                Entry::Ready(address) => {
                    lines.extend(format!("Servidor rodando em {address}\n").bytes());
                }
                Entry::Request(peer, request) => {
                    let (peer, request) = (peer.to_canonical(), literal(&request));
                    lines.extend(format!("Recebido de {peer}:\n{request}\n").bytes());
                    requests.push(lines.len());
                }
                Entry::Complaint(complaint) => errors.complain(&complaint),
            }
        }
        if lines.is_empty() {
            return; // and nobody knows whether writing would fail
        }
        let written = out.write(&lines);
        let lost = requests.iter().filter(|end| **end > written).count();
        let Counts { queued, dropped } = &*self.missing.0;
        // In this order, for the count never to be too low.
        dropped.fetch_add(lost as u64, Ordering::Relaxed);
        queued.fetch_sub(requests.len() as u64, Ordering::Relaxed);
    }

    /// Says one thing: why writing fails; or, when it goes on, how many requests are missing; or
    /// how many complaints there were beside the last.
    fn report(&self, lines: &mut Lines<impl Write>, errors: &mut Errors<impl Write>) {
        if let Some(error) = lines.trouble.take() {
            errors.say(&format!("cannot write the log, serving goes on: {error}"));
        } else if self.has_missing(lines) {
            let missing = self.missing.0.dropped.swap(0, Ordering::Relaxed);
            errors.say(&format!("{missing} requests are missing from the log"));
        } else if errors.unsaid > 0 {
            let unsaid = std::mem::take(&mut errors.unsaid);
            errors.say(&format!("{unsaid} more complaints were not printed"));
        }
    }

    /// Whether [`report`](Self::report) would say something.
    fn has_more_to_say<W>(&self, lines: &Lines<W>, errors: &Errors<impl Write>) -> bool {
        lines.trouble.is_some() || self.has_missing(lines) || errors.unsaid > 0
    }

    fn has_missing<W>(&self, lines: &Lines<W>) -> bool {
        !lines.failing && self.missing.0.dropped.load(Ordering::Relaxed) > 0
    }
}

/// The transcript itself.
struct Lines<W> {
    out: W,
    /// Why writing fails, until it is said.
    trouble: Option<io::Error>,
    /// Whether writing failed the last time.
    failing: bool,
    /// Whether it stopped in the middle of a line, which the next shall not run into.
    torn: bool,
}

impl<W: Write> Lines<W> {
    /// Writes as much of `lines` as can be: how many bytes, as far as is known.
    fn write(&mut self, lines: &[u8]) -> usize {
        let mut written = 0;
        match self.try_write(lines, &mut written) {
            Ok(()) => self.failing = false,
            Err(_) if self.failing => {}
            Err(error) => (self.failing, self.trouble) = (true, Some(error)),
        }
        written
    }

    fn try_write(&mut self, lines: &[u8], written: &mut usize) -> io::Result<()> {
        if self.torn {
            self.out.write_all(b"\n")?;
            self.torn = false;
        }
        while *written < lines.len() {
            match self.out.write(&lines[*written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    *written += count;
                    self.torn = lines[*written - 1] != b'\n';
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // What an output keeps to itself and cannot get rid of may be all of it.
        self.out.flush().inspect_err(|_| *written = 0)
    }
}

/// Standard error. That it cannot be written to is the one thing there is nobody left to tell.
struct Errors<W> {
    err: W,
    last: Option<Instant>,
    unsaid: u64,
}

impl<W: Write> Errors<W> {
    /// How long nothing may be said yet.
    fn silence(&self) -> Duration {
        let past = self.last.map_or(COMPLAINT_INTERVAL, |last| last.elapsed());
        COMPLAINT_INTERVAL.saturating_sub(past)
    }

    /// Says `complaint`, unless the last one was less than [`COMPLAINT_INTERVAL`] ago.
    fn complain(&mut self, complaint: &str) {
        if self.silence().is_zero() {
            self.say(complaint);
        } else {
            self.unsaid += 1;
        }
    }

    fn say(&mut self, line: &str) {
        let more = match std::mem::take(&mut self.unsaid) {
            0 => String::new(),
            unsaid => format!(" ({unsaid} more complaints were not printed)"),
        };
        let _ = self
            .err
            .write_all(format!("upcase-server: {line}{more}\n").as_bytes());
        self.last = Some(Instant::now());
    }
}
