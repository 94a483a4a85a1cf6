//! The server's log and its warnings (SPEC section 6).
//!
//! A write to a pipe that nobody reads can block, so the threads that serve clients do not write.
//! They put an entry into a bounded queue; if the queue is full, they count it as dropped. Two other
//! threads write: one the log ([`Writer::run`]), one the warnings ([`Warnings::run`]), so that a
//! blocked output does not delay the other. The program starts both threads.
//!
//! - `transcript`, `json`: how the entries look, in two formats.

mod json;
mod transcript;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::LIMIT;
use crate::server::{Ended, Outcome};

/// How many entries the queue holds. At about 1 KiB each, this bounds the memory that a blocked
/// output costs.
const QUEUE: usize = 4096;

/// How many bytes are collected for one write, so that a busy log makes few system calls.
const BATCH: usize = 64 * 1024;

/// The maximum length of an entry in bytes: five for each byte of a request and a reply in JSON, and
/// some more.
const ENTRY: usize = 5 * 2 * LIMIT + 512;

/// How long entries are collected after a write. To wake the thread for each would cost more than to
/// write it.
const GATHER: Duration = Duration::from_millis(1);

/// The minimum time between two warnings, so that a repeated error does not fill a disk.
const WARNING_INTERVAL: Duration = Duration::from_secs(5);

/// What the log shows, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The address, then two lines for each request of a byte or more (SPEC LOG-1, LOG-2).
    Transcript,
    /// One JSON object for the address, for each connection when it ends, and for the totals (SPEC
    /// LOG-6).
    Json,
    /// The address, as in the transcript, and nothing else.
    None,
}

enum Entry {
    Ready(SocketAddr),
    Request(SocketAddr, Vec<u8>),
    Connection(Record),
    /// This writes nothing. It wakes the writer.
    Close,
}

/// A connection that has ended.
struct Record {
    peer: SocketAddr,
    accepted: SystemTime,
    duration: Duration,
    outcome: Outcome,
    request: Vec<u8>,
}

/// The end of the log that takes entries and warnings. It never waits.
#[derive(Clone)]
pub struct Log {
    queue: SyncSender<Entry>,
    shared: Arc<Shared>,
}

/// The end that writes the log.
pub struct Writer {
    queue: Receiver<Entry>,
    shared: Arc<Shared>,
}

/// The end that writes the warnings.
pub struct Warnings(Arc<Shared>);

/// The state that the ends share.
struct Shared {
    format: Format,
    /// Requests, or in JSON connections, that are in the queue or being written.
    queued: AtomicU64,
    /// Those that were dropped and are not reported yet, and all that were dropped.
    dropped: AtomicU64,
    all_dropped: AtomicU64,
    /// How many connections had each outcome.
    outcomes: [AtomicU64; Outcome::ALL.len()],
    is_closed: AtomicBool,
    pending: Mutex<Pending>,
    /// There is a change in `pending`.
    changed: Condvar,
}

/// The warnings that are not written yet.
#[derive(Default)]
struct Pending {
    warning: Option<String>,
    /// How many more warnings there were, whose text is not kept.
    others: u64,
    /// Why writing the log fails, if that is not reported yet.
    write_error: Option<io::Error>,
    /// Whether the last write of the log failed.
    is_failing: bool,
    /// Whether less than [`WARNING_INTERVAL`] has passed since the last warning.
    is_silent: bool,
    is_finishing: bool,
}

/// A log of this format, with its three ends.
#[must_use]
pub fn channel(format: Format) -> (Log, Writer, Warnings) {
    let (sender, receiver) = sync_channel(QUEUE);
    let shared = Arc::new(Shared {
        format,
        queued: AtomicU64::default(),
        dropped: AtomicU64::default(),
        all_dropped: AtomicU64::default(),
        outcomes: Default::default(),
        is_closed: AtomicBool::default(),
        pending: Mutex::default(),
        changed: Condvar::default(),
    });
    let log = Log {
        queue: sender,
        shared: Arc::clone(&shared),
    };
    let writer = Writer {
        queue: receiver,
        shared: Arc::clone(&shared),
    };
    (log, writer, Warnings(shared))
}

impl Log {
    /// Records that the server is ready at `address` (SPEC LOG-1).
    pub fn ready(&self, address: SocketAddr) {
        let _ = self.queue.try_send(Entry::Ready(address));
    }

    /// Records a `request` from `peer` for the transcript (SPEC LOG-2).
    pub fn request(&self, peer: SocketAddr, request: &[u8]) {
        if self.shared.format == Format::Transcript && !request.is_empty() {
            self.record(request, |request| Entry::Request(peer, request));
        }
    }

    /// Records a connection that has just ended, for the JSON log (SPEC LOG-6).
    pub fn connection(&self, ended: &Ended<'_>) {
        let Ended {
            peer,
            request,
            outcome,
            duration,
        } = *ended;
        if self.shared.format == Format::Json {
            self.shared.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
            let now = SystemTime::now();
            self.record(request, |request| {
                Entry::Connection(Record {
                    peer,
                    accepted: now.checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
                    duration,
                    outcome,
                    request,
                })
            });
        }
    }

    /// Queues the entry that `entry` makes of a copy of `request`, or counts it as dropped.
    fn record(&self, request: &[u8], entry: impl FnOnce(Vec<u8>) -> Entry) {
        // Counted first, so that the writer never subtracts a request that is not counted yet.
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        let mut copy = Vec::new();
        let queued = copy.try_reserve_exact(request.len()).is_ok() && {
            copy.extend_from_slice(request);
            self.queue.try_send(entry(copy)).is_ok()
        };
        if !queued {
            self.shared.count_dropped(1);
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Records a warning for the operator: one line, without a line feed. At most one warning is
    /// written every five seconds, with the number of those that were not.
    pub fn warn(&self, warning: String) {
        let mut pending = self.shared.pending();
        if pending.warning.is_none() && !pending.is_silent {
            pending.warning = Some(warning);
        } else {
            pending.others += 1;
        }
        self.shared.changed.notify_all();
    }

    /// The number of recorded requests or connections that are at this moment neither written nor
    /// reported as missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let Shared {
            queued, dropped, ..
        } = &*self.shared;
        queued.load(Ordering::Relaxed) + dropped.load(Ordering::Relaxed)
    }

    /// Closes the log. The writer ends when everything that was recorded is written.
    pub fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        // If the queue is full, the writer is awake.
        let _ = self.queue.try_send(Entry::Close);
    }

    /// Ends the warnings. What is not written now counts as missing. That count and all pending
    /// warnings are written before the end.
    pub fn finish(&self) {
        self.shared.pending().is_finishing = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// A poisoned lock is fine: no panic can interrupt an update under it.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts requests or connections as dropped.
    fn count_dropped(&self, count: u64) {
        self.all_dropped.fetch_add(count, Ordering::Relaxed);
        if count > 0 && self.dropped.fetch_add(count, Ordering::Relaxed) == 0 {
            drop(self.pending()); // the other thread is not between its check and its wait
            self.changed.notify_all();
        }
    }

    /// The next line to write, if there is one: a warning; or why writing the log fails; or,
    /// when it works again, how much is missing.
    fn next_line(&self, pending: &mut Pending) -> Option<String> {
        let line = if let Some(warning) = pending.warning.take() {
            Some(warning)
        } else if let Some(error) = pending.write_error.take() {
            Some(format!(
                "cannot write the log; the server continues: {error}"
            ))
        } else if !pending.is_failing && self.dropped.load(Ordering::Relaxed) > 0 {
            let missing = self.dropped.swap(0, Ordering::Relaxed);
            let what = match self.format {
                Format::Json => "connections",
                Format::Transcript | Format::None => "requests",
            };
            Some(format!("{missing} {what} are missing from the log"))
        } else {
            None
        };
        let others = match std::mem::take(&mut pending.others) {
            0 => return line,
            others => format!("{others} more warnings were not printed"),
        };
        Some(line.map_or(others.clone(), |line| format!("{line} ({others})")))
    }

    /// The totals of the JSON log.
    fn totals(&self) -> BTreeMap<&'static str, u64> {
        let outcomes = Outcome::ALL.map(|outcome| {
            let count = &self.outcomes[outcome as usize];
            (outcome.name(), count.load(Ordering::Relaxed))
        });
        let connections = outcomes.iter().map(|(_, count)| count).sum();
        let missing = self.all_dropped.load(Ordering::Relaxed);
        let mut totals = BTreeMap::from(outcomes);
        totals.extend([("connections", connections), ("missing", missing)]);
        totals
    }
}

impl Writer {
    /// Writes entries to `out` until the [`Log`] is closed or dropped and no entry is left, and then
    /// the totals of a JSON log. A failed write stops neither this nor the server: what is missing is
    /// counted (SPEC LOG-4).
    pub fn run(self, out: impl Write) {
        let mut lines = Lines {
            out,
            is_torn: false,
        };
        // All memory is allocated now, so that no allocation can fail later.
        let mut batch = Vec::with_capacity(BATCH + ENTRY);
        let mut ends = Vec::with_capacity(QUEUE);
        while let Some(first) = self.next() {
            let mut next = Some(first);
            while let Some(entry) = next {
                self.append(&entry, &mut batch, &mut ends);
                if batch.len() >= BATCH || ends.len() >= QUEUE {
                    self.write(&mut lines, &mut batch, &mut ends);
                }
                next = self.queue.try_recv().ok();
            }
            self.write(&mut lines, &mut batch, &mut ends);
            thread::sleep(GATHER);
        }
        if self.shared.format == Format::Json {
            let _ = json::totals(&mut batch, &self.shared.totals());
            self.write(&mut lines, &mut batch, &mut ends);
        }
    }

    /// Appends the lines of `entry` to `batch`, and the offset of the end of a request or connection
    /// to `ends`.
    fn append(&self, entry: &Entry, batch: &mut Vec<u8>, ends: &mut Vec<usize>) {
        // Writing to a vector does not fail.
        let _ = match entry {
            Entry::Ready(address) => match self.shared.format {
                Format::Json => json::ready(batch, *address),
                Format::Transcript | Format::None => transcript::ready(batch, *address),
            },
            Entry::Request(peer, request) => transcript::request(batch, *peer, request),
            Entry::Connection(record) => json::connection(batch, record),
            Entry::Close => Ok(()),
        };
        if let Entry::Request(..) | Entry::Connection(_) = entry {
            ends.push(batch.len());
        }
    }

    /// Waits for the next entry; `None` if the log is closed or dropped.
    fn next(&self) -> Option<Entry> {
        match self.queue.try_recv() {
            Err(TryRecvError::Empty) if self.shared.is_closed.load(Ordering::SeqCst) => None,
            Err(TryRecvError::Empty) => self.queue.recv().ok(),
            received => received.ok(),
        }
    }

    /// Writes `batch`, in which requests or connections end at the offsets `ends`, and empties both.
    fn write(&self, lines: &mut Lines<impl Write>, batch: &mut Vec<u8>, ends: &mut Vec<usize>) {
        if batch.is_empty() {
            return; // this does not show whether writing works
        }
        let mut written = 0;
        let outcome = lines.write(batch, &mut written);
        let mut pending = self.shared.pending();
        if pending.is_failing != outcome.is_err() {
            pending.is_failing = outcome.is_err();
            pending.write_error = pending.write_error.take().or(outcome.err());
            self.shared.changed.notify_all();
        }
        drop(pending);
        let lost = ends.iter().filter(|end| **end > written).count();
        // In this order, so that the count is never too low.
        self.shared.count_dropped(lost as u64);
        self.shared
            .queued
            .fetch_sub(ends.len() as u64, Ordering::Relaxed);
        batch.clear();
        ends.clear();
    }
}

/// An output for lines.
struct Lines<W> {
    out: W,
    /// Whether the last write stopped within a line. Then the next line must not continue it.
    is_torn: bool,
}

impl<W: Write> Lines<W> {
    /// Writes `lines`. After an error, `written` is the number of bytes that are known to be written.
    fn write(&mut self, lines: &[u8], written: &mut usize) -> io::Result<()> {
        if self.is_torn {
            self.out.write_all(b"\n")?;
            self.is_torn = false;
        }
        while *written < lines.len() {
            match self.out.write(&lines[*written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    *written += count;
                    self.is_torn = lines[*written - 1] != b'\n';
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // If flushing fails, maybe nothing was written.
        self.out.flush().inspect_err(|_| *written = 0)
    }
}

impl Warnings {
    /// Writes warnings to `err`, each on a line that begins with the program's `name`, at most one
    /// every five seconds, until [`Log::finish`] is called. Then it writes the rest at once, with the
    /// count of what is missing (SPEC LOG-4).
    pub fn run(self, name: &str, mut err: impl Write) {
        // An error here cannot be reported anywhere.
        let mut write = |line| drop(err.write_all(format!("{name}: {line}\n").as_bytes()));
        let Self(shared) = self;
        let mut pending = shared.pending();
        while !pending.is_finishing {
            if let Some(line) = shared.next_line(&mut pending) {
                pending.is_silent = true;
                drop(pending);
                write(line);
                let silence = (shared.changed).wait_timeout_while(
                    shared.pending(),
                    WARNING_INTERVAL,
                    |pending| !pending.is_finishing,
                );
                (pending, _) = silence.unwrap_or_else(PoisonError::into_inner);
                pending.is_silent = false;
            } else {
                let changed = shared.changed.wait(pending);
                pending = changed.unwrap_or_else(PoisonError::into_inner);
            }
        }
        pending.is_failing = false;
        let unwritten = shared.queued.load(Ordering::Relaxed);
        shared.dropped.fetch_add(unwritten, Ordering::Relaxed);
        while let Some(line) = shared.next_line(&mut pending) {
            write(line);
        }
    }
}
