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
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
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
            self.missing.0.queued.fetch_sub(1, Ordering::Relaxed);
            self.missing.0.dropped.fetch_add(1, Ordering::Relaxed);
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
    pub fn run(self, mut out: impl Write, err: impl Write) {
        let mut errors = Errors {
            err,
            last: None,
            unsaid: 0,
        };
        // Why writing fails, until it is said; whether it failed the last time; and whether it
        // stopped in the middle of a line, which shall not run into the next.
        let (mut trouble, mut failing, mut torn) = (None, false, false);
        while let Ok(first) = self.queue.recv() {
            let mut lines = Vec::new();
            if torn {
                lines.push(b'\n');
            }
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
            let (written, outcome) = write_some(&mut out, &lines);
            if let Some(last) = lines[..written].last() {
                torn = *last != b'\n';
            }
            let Counts { queued, dropped } = &*self.missing.0;
            queued.fetch_sub(requests.len() as u64, Ordering::Relaxed);
            if let Err(error) = outcome {
                let torn = requests.iter().filter(|end| **end > written);
                dropped.fetch_add(torn.count() as u64, Ordering::Relaxed);
                if !failing {
                    trouble = Some(error);
                }
                failing = true;
            } else {
                failing = false;
            }
            if errors.may_complain() {
                self.report(&mut trouble, failing, &mut errors);
            }
            thread::sleep(GATHER);
        }
        self.report(&mut trouble, false, &mut errors);
        self.report(&mut trouble, false, &mut errors);
        match std::mem::take(&mut errors.unsaid) {
            0 => {}
            unsaid => errors.say(&format!("{unsaid} more complaints were not printed")),
        }
    }

    /// Says one thing: why writing fails, or, when it goes on, how many requests are missing.
    fn report(
        &self,
        trouble: &mut Option<io::Error>,
        failing: bool,
        errors: &mut Errors<impl Write>,
    ) {
        if let Some(error) = trouble.take() {
            errors.say(&format!("cannot write the log, serving goes on: {error}"));
        } else if !failing {
            let dropped = self.missing.0.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                errors.say(&format!("{dropped} requests are missing from the log"));
            }
        }
    }
}

/// Writes as many of `bytes` as can be: their number, and what stopped it.
fn write_some(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, out.flush())
}

/// Standard error. That it cannot be written to is the one thing there is nobody left to tell.
struct Errors<W> {
    err: W,
    last: Option<Instant>,
    unsaid: u64,
}

impl<W: Write> Errors<W> {
    fn may_complain(&self) -> bool {
        self.last
            .is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL)
    }

    /// Says `complaint`, unless the last one was less than [`COMPLAINT_INTERVAL`] ago.
    fn complain(&mut self, complaint: &str) {
        if self.may_complain() {
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
