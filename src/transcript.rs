//! The server's transcript (SPEC LOG-1, LOG-2, LOG-4), and what it has to complain of.
//!
//! A write to a pipe that nobody reads can block, so the threads that serve clients do not write.
//! They put an entry into a bounded queue, or count it as dropped where the queue is full. Two
//! other threads write: one the transcript ([`Transcript::run`]), one the complaints
//! ([`Complaints::run`]), so that neither output can hold up the other. The program starts both.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::clip;
use crate::escape::literal;

/// How many entries wait at most to be written. At about 1 KiB each this bounds the memory that a
/// stuck output costs.
const QUEUE: usize = 4096;

/// How many bytes are gathered to be written at once, so that a busy log costs few system calls.
const BATCH: usize = 64 * 1024;

/// How many bytes an entry has at most: four for each of the request, and some around them.
const ENTRY: usize = 5 * 1024;

/// How long entries gather before the next are written: to be woken for each would cost more than
/// writing them.
const GATHER: Duration = Duration::from_millis(1);

/// The least time between two complaints, so that a fault that repeats does not fill a disk.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);

enum Entry {
    Ready(SocketAddr),
    Request(IpAddr, Vec<u8>),
    /// Nothing: it wakes the writer.
    Close,
}

/// The near end of the log: takes entries and never waits.
#[derive(Clone)]
pub struct Log {
    queue: SyncSender<Entry>,
    shared: Arc<Shared>,
}

/// The far end that writes the transcript.
pub struct Transcript {
    queue: Receiver<Entry>,
    shared: Arc<Shared>,
}

/// The far end that writes complaints.
pub struct Complaints(Arc<Shared>);

/// What the ends share.
#[derive(Default)]
struct Shared {
    /// Requests left in the queue, and not written yet.
    queued: AtomicU64,
    /// Requests given up, and not reported yet.
    dropped: AtomicU64,
    is_closed: AtomicBool,
    unsaid: Mutex<Unsaid>,
    /// Something is to be said.
    changed: Condvar,
}

/// What is to be said.
#[derive(Default)]
struct Unsaid {
    complaint: Option<String>,
    /// How many complaints there were beside that one.
    others: u64,
    /// Why writing the transcript fails.
    trouble: Option<io::Error>,
    /// Whether it failed the last time.
    is_failing: bool,
    /// Whether the last line was said so short a time ago that nothing is to be said yet.
    is_silent: bool,
    is_finishing: bool,
}

/// A log, of three ends.
#[must_use]
pub fn channel() -> (Log, Transcript, Complaints) {
    let (sender, receiver) = sync_channel(QUEUE);
    let shared = Arc::<Shared>::default();
    let log = Log {
        queue: sender,
        shared: Arc::clone(&shared),
    };
    let transcript = Transcript {
        queue: receiver,
        shared: Arc::clone(&shared),
    };
    (log, transcript, Complaints(shared))
}

impl Log {
    /// Notes that the server is ready at `address` (SPEC LOG-1).
    pub fn ready(&self, address: SocketAddr) {
        let _ = self.queue.try_send(Entry::Ready(address));
    }

    /// Notes a `request` from `peer` (SPEC LOG-2).
    pub fn request(&self, peer: IpAddr, request: &[u8]) {
        // Counted first, so that the writer never takes off what is not on the count yet.
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        let request = clip(request);
        let mut copy = Vec::new();
        let noted = copy.try_reserve_exact(request.len()).is_ok() && {
            copy.extend_from_slice(request);
            self.queue.try_send(Entry::Request(peer, copy)).is_ok()
        };
        if !noted {
            self.shared.count_dropped(1);
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes something that the operator should know, as one line without a line feed. Of many
    /// complaints one is printed every five seconds, with the number of those that were not.
    pub fn complain(&self, complaint: String) {
        let mut unsaid = self.shared.unsaid();
        if unsaid.complaint.is_none() && !unsaid.is_silent {
            unsaid.complaint = Some(complaint);
        } else {
            unsaid.others += 1;
        }
        self.shared.changed.notify_all();
    }

    /// The number of requests that were noted and are at this moment neither written nor reported
    /// as missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let Shared {
            queued, dropped, ..
        } = &*self.shared;
        queued.load(Ordering::Relaxed) + dropped.load(Ordering::Relaxed)
    }

    /// Ends the log: the transcript ends when what has been noted is written.
    pub fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        // Where the queue is full, the writer is awake.
        let _ = self.queue.try_send(Entry::Close);
    }

    /// Ends the complaints. Requests that are not written by now count as missing; that count, and
    /// what else there is to say, is said before the end.
    pub fn finish(&self) {
        self.shared.unsaid().is_finishing = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// No update under this lock can be left half done by a panic.
    fn unsaid(&self) -> MutexGuard<'_, Unsaid> {
        self.unsaid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts requests as given up.
    fn count_dropped(&self, count: u64) {
        if count > 0 && self.dropped.fetch_add(count, Ordering::Relaxed) == 0 {
            drop(self.unsaid());
            self.changed.notify_all();
        }
    }

    /// The next thing to say, if there is one: a complaint; or why writing fails; or, when it goes
    /// on, how many requests are missing.
    fn next_line(&self, unsaid: &mut Unsaid) -> Option<String> {
        let line = if let Some(complaint) = unsaid.complaint.take() {
            Some(complaint)
        } else if let Some(error) = unsaid.trouble.take() {
            Some(format!("cannot write the log, serving goes on: {error}"))
        } else if !unsaid.is_failing && self.dropped.load(Ordering::Relaxed) > 0 {
            let missing = self.dropped.swap(0, Ordering::Relaxed);
            Some(format!("{missing} requests are missing from the log"))
        } else {
            None
        };
        let others = match std::mem::take(&mut unsaid.others) {
            0 => return line,
            others => format!("{others} more complaints were not printed"),
        };
        Some(line.map_or(others.clone(), |line| format!("{line} ({others})")))
    }
}

impl Transcript {
    /// Writes entries to `out` until the [`Log`] is closed or gone and nothing is left. Failing to
    /// write stops neither this nor the server: the requests concerned are counted (SPEC LOG-4).
    pub fn run(self, out: impl Write) {
        let mut lines = Lines {
            out,
            is_torn: false,
        };
        // All the memory that this needs, so that none can be lacking later.
        let mut batch = Vec::with_capacity(BATCH + ENTRY);
        let mut ends = Vec::with_capacity(QUEUE);
        while let Some(first) = self.next() {
            let mut next = Some(first);
            while let Some(entry) = next {
                append(&entry, &mut batch, &mut ends);
                if batch.len() >= BATCH || ends.len() >= QUEUE {
                    self.write(&mut lines, &mut batch, &mut ends);
                }
                next = self.queue.try_recv().ok();
            }
            self.write(&mut lines, &mut batch, &mut ends);
            thread::sleep(GATHER);
        }
    }

    /// Waits for the next entry; none comes any more where the log is closed or gone.
    fn next(&self) -> Option<Entry> {
        match self.queue.try_recv() {
            Err(TryRecvError::Empty) if self.shared.is_closed.load(Ordering::SeqCst) => None,
            Err(TryRecvError::Empty) => self.queue.recv().ok(),
            received => received.ok(),
        }
    }

    /// Writes `batch`, in which requests end at `ends`, and empties both.
    fn write(&self, lines: &mut Lines<impl Write>, batch: &mut Vec<u8>, ends: &mut Vec<usize>) {
        if batch.is_empty() {
            return; // whether writing would fail stays unknown
        }
        let mut written = 0;
        let outcome = lines.write(batch, &mut written);
        let mut unsaid = self.shared.unsaid();
        if unsaid.is_failing != outcome.is_err() {
            unsaid.is_failing = outcome.is_err();
            unsaid.trouble = unsaid.trouble.take().or(outcome.err());
            self.shared.changed.notify_all();
        }
        drop(unsaid);
        let lost = ends.iter().filter(|end| **end > written).count();
        // In this order, for the count never to be too low.
        self.shared.count_dropped(lost as u64);
        self.shared
            .queued
            .fetch_sub(ends.len() as u64, Ordering::Relaxed);
        batch.clear();
        ends.clear();
    }
}

/// Appends the lines of `entry` to `batch`, and the end of a request to `ends`.
fn append(entry: &Entry, batch: &mut Vec<u8>, ends: &mut Vec<usize>) {
    // Writing to a vector does not fail.
    let _ = match entry {
        Entry::Ready(address) => writeln!(batch, "Servidor rodando em {address}"),
        Entry::Request(peer, request) => {
            let (peer, request) = (peer.to_canonical(), literal(request));
            let written = writeln!(batch, "Recebido de {peer}:\n{request}");
            ends.push(batch.len());
            written
        }
        Entry::Close => Ok(()),
    };
}

/// The transcript itself.
struct Lines<W> {
    out: W,
    /// Whether it stopped in the middle of a line, which the next must not run into.
    is_torn: bool,
}

impl<W: Write> Lines<W> {
    /// Writes `lines`. On an error, `written` is the number of bytes known to be written.
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
        // If flushing fails, possibly nothing was written.
        self.out.flush().inspect_err(|_| *written = 0)
    }
}

impl Complaints {
    /// Writes complaints to `err`, each in a line that begins with the program's `name`, at most
    /// one every five seconds, until [`Log::finish`] is called. Then the rest is said at once,
    /// with the count of the requests that are missing (SPEC LOG-4).
    pub fn run(self, name: &str, mut err: impl Write) {
        // That standard error cannot be written to can be told nowhere.
        let mut say = |line| drop(err.write_all(format!("{name}: {line}\n").as_bytes()));
        let Self(shared) = self;
        let mut unsaid = shared.unsaid();
        while !unsaid.is_finishing {
            if let Some(line) = shared.next_line(&mut unsaid) {
                unsaid.is_silent = true;
                drop(unsaid);
                say(line);
                let silence = (shared.changed).wait_timeout_while(
                    shared.unsaid(),
                    COMPLAINT_INTERVAL,
                    |unsaid| !unsaid.is_finishing,
                );
                (unsaid, _) = silence.unwrap_or_else(PoisonError::into_inner);
                unsaid.is_silent = false;
            } else {
                let changed = shared.changed.wait(unsaid);
                unsaid = changed.unwrap_or_else(PoisonError::into_inner);
            }
        }
        unsaid.is_failing = false;
        let unwritten = shared.queued.load(Ordering::Relaxed);
        shared.dropped.fetch_add(unwritten, Ordering::Relaxed);
        while let Some(line) = shared.next_line(&mut unsaid) {
            say(line);
        }
    }
}
