//! One run of a vector: what its client does, and what is seen.
//!
//! A run ends at the first thing that is wrong.

use std::thread;
use std::time::{Duration, Instant};

use super::super::reference;
use super::super::vectors::{End, Other, Step, Vector};
use super::super::violation::excerpt;
use super::ServerJudge;
use super::cause::{Cause, Finding, Trouble};
use super::connection::{Connection, SeenEnd};

/// How many connections are opened before the judge makes sure that the server has accepted them. A
/// server may have a short queue of connections.
const GROUP: usize = 4;

/// How long the judge goes on making sure. A slow server would be at its deadline meanwhile.
const MAKING_SURE: Duration = Duration::from_millis(500);

/// How many connections are ended before the server is given time to see it.
const MANY: usize = 16;

/// How long the judge waits until it makes sure again.
const BETWEEN: Duration = Duration::from_millis(20);

/// The most connections that a server must hold (SPEC TIME-7), without that of a simple exchange.
const HELD: usize = 39;

/// How long a client waits for a connection that the server need not accept.
const BEYOND: Duration = Duration::from_millis(250);

/// How many exchanges of lines that must not change are made at the same time.
pub(super) const LINES_AT_ONCE: usize = 4;

/// What was late in a run. It counts only if it is late again and again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Late {
    /// The end of another client's stream came too late.
    OtherClient,
    /// The end of the stream came too late.
    End,
}

/// Takes the steps of `vector`, and then reads to the end. Returns what was late.
pub(super) fn run(judge: &ServerJudge, vector: &Vector) -> Result<Option<Late>, Trouble> {
    let mut run = Run {
        judge,
        vector,
        connection: None,
        complete_at: None,
        late: None,
        stalled: Vec::new(),
    };
    let done = run.take_all();
    let released = run.release();
    match done.and(released) {
        // The judge is late because another client was served late.
        Err(Trouble::LateJudge) if run.late.is_some() => Ok(run.late),
        done => done.map(|()| run.late),
    }
}

struct Run<'a> {
    judge: &'a ServerJudge,
    vector: &'a Vector,
    /// The vector's own connection, as soon as it is needed.
    connection: Option<Connection>,
    /// When the request was complete and the judge could read.
    complete_at: Option<Instant>,
    late: Option<Late>,
    /// Other connections, and what was sent on them.
    stalled: Vec<(Connection, &'a [u8])>,
}

impl<'a> Run<'a> {
    fn take_all(&mut self) -> Result<(), Trouble> {
        // Bytes of several send steps in a row are one text, which the file has in parts.
        let is_send = |step: &Step| matches!(step, Step::Send { .. });
        let groups = self.vector.steps.chunk_by(|a, b| is_send(a) && is_send(b));
        // The bytes are there before the client connects: a server's deadline is short.
        let bytes = |steps: &[Step]| steps.iter().flat_map(Step::bytes).collect::<Vec<_>>();
        let groups: Vec<_> = groups.map(|steps| (&steps[0], bytes(steps))).collect();
        for (step, bytes) in &groups {
            let is_endless = |c: &Connection| c.end == Some(SeenEnd::TimeOut);
            if self.connection.as_ref().is_some_and(is_endless) {
                break;
            }
            match step {
                Step::Other { other, times } => {
                    for time in 1..=*times {
                        self.open(other)?;
                        if time % MANY == 0 {
                            self.give_time(other, time < *times);
                        }
                    }
                }
                _ => self.take(step, bytes)?,
            }
        }
        self.own()?;
        self.finish()
    }

    /// Gives the server time to see that many connections were ended by the client. Until then it may
    /// hold its maximum. Only if `more` of them follow, it is asked: what it answers next is what the
    /// vector is about.
    fn give_time(&mut self, other: &Other, more: bool) {
        if !matches!(other, Other::Reset(_) | Other::Close(_)) {
            return;
        }
        let began_at = Instant::now();
        thread::sleep(BETWEEN);
        while more && began_at.elapsed() < MAKING_SURE {
            if let Ok(is_late) = self.judge.simple_exchange() {
                return self.note_late(is_late);
            }
            thread::sleep(BETWEEN);
        }
    }

    /// The vector's own connection.
    fn own(&mut self) -> Result<&mut Connection, Trouble> {
        if self.connection.is_none() {
            self.connection = Some(self.judge.connect()?);
        }
        Ok(self.connection.as_mut().expect("it was just opened"))
    }

    /// Takes one step on the vector's own connection, or several that send.
    fn take(&mut self, step: &Step, bytes: &[u8]) -> Result<(), Trouble> {
        self.own()?;
        if self.is_over() {
            return Ok(());
        }
        let (time, may_close) = (self.time_left(), self.may_close());
        let connection = self.own()?;
        let before = connection.received.len();
        let taken = match step {
            Step::Send { .. } => connection.write(bytes, time),
            Step::SendEachByte(_) => {
                (bytes.chunks(1)).try_for_each(|byte| connection.write(byte, time))
            }
            Step::HalfClose => connection.half_close(),
            Step::Pause(time) => {
                connection.pause(*time, may_close);
                Ok(())
            }
            Step::AwaitReply => {
                connection.read_to_end(time);
                Ok(())
            }
            Step::Connect | Step::Other { .. } => Ok(()),
        };
        if let Err(error) = taken {
            connection.fail(error, time);
        }
        let has_come = connection.received.len() > before;
        if connection.is_complete() {
            self.complete_at.get_or_insert_with(Instant::now);
        }
        if has_come && self.complete_at.is_none() {
            return Err(self.found(Cause::EarlyByte));
        }
        self.look_for_early_end()
    }

    /// What was seen on the vector's own connection, of this `cause`.
    fn found(&self, cause: Cause) -> Trouble {
        let connection = self.connection.as_ref().expect("it is open");
        connection.finding(cause, &self.vector.expect.reply).into()
    }

    /// Looks whether the server has ended the connection before the request was complete, and before
    /// it could be at its deadline (SPEC TIME-6).
    fn look_for_early_end(&self) -> Result<(), Trouble> {
        let is_early = (self.connection.as_ref()).is_some_and(Connection::ended_early);
        if is_early && self.complete_at.is_none() {
            return Err(self.found(Cause::EarlyEnd));
        }
        Ok(())
    }

    /// Whether the server may end the connection at any time, by its deadline.
    fn may_close(&self) -> bool {
        matches!(self.vector.expect.end, End::Closed | End::Either)
    }

    /// When the server must have closed the vector's own connection.
    fn close_by(&self) -> Instant {
        let opened_at = self.connection.as_ref().map(|c| c.opened_at);
        opened_at.unwrap_or_else(Instant::now) + self.judge.closed_after()
    }

    /// Whether the server has ended a connection that it may end, or is past its deadline.
    fn is_over(&self) -> bool {
        let has_ended = (self.connection.as_ref()).is_some_and(|c| c.end.is_some());
        self.may_close() && (has_ended || Instant::now() >= self.close_by())
    }

    /// How long the next step may take.
    fn time_left(&self) -> Duration {
        if self.may_close() {
            self.close_by().saturating_duration_since(Instant::now())
        } else {
            self.judge.timeout
        }
    }

    /// Reads to the end, and compares what was seen with what is expected.
    fn finish(&mut self) -> Result<(), Trouble> {
        let (time, close_by) = (self.time_left(), self.close_by());
        let vector = self.vector;
        let expected = &vector.expect.reply[..];
        let connection = self.own()?;
        connection.read_to_end(time);
        let (end, is_empty) = (connection.end, connection.received.is_empty());
        let is_closed = matches!(end, Some(SeenEnd::Fin | SeenEnd::Error(_)));
        let may_be_empty = self.may_close();
        self.look_for_early_end()?;
        if may_be_empty && is_empty {
            if !is_closed {
                if self.own()?.stood_still {
                    return Err(Trouble::LateJudge);
                }
                return Err(self.found(Cause::NotClosed));
            }
        } else if self.complete_at.is_none() {
            return Err(self.found(Cause::AnswersIncomplete));
        } else {
            let connection = self.own()?;
            connection.judge(expected)?;
            let ended_at = connection.ended_at;
            let delay = (ended_at.zip(self.complete_at))
                .map(|(end, complete)| end.saturating_duration_since(complete));
            if delay.is_some_and(|delay| delay > self.judge.max_delay) {
                self.late = Some(Late::End);
            }
        }
        let may_be_open = vector.expect.end != End::Fin && end == Some(SeenEnd::Fin);
        if may_be_open && !self.own()?.is_gone(close_by) {
            return Err(self.found(Cause::KeptOpen));
        }
        Ok(())
    }

    /// Opens other connections.
    fn open(&mut self, other: &'a Other) -> Result<(), Trouble> {
        let judge = self.judge;
        let is_late = match other {
            Other::Exchange { request, reply } => judge.exchange(request, reply)?,
            Other::Unchanged(_) => self.exchange_lines(&other.exchanges())?,
            Other::AtOnce(exchanges) => self.exchange_at_once(exchanges)?,
            Other::Reset(bytes) => {
                let connection = judge.send(bytes)?;
                let reset = connection.reset();
                reset.map_err(|error| Trouble::of("reset", &error, Cause::CannotSend))?;
                false
            }
            Other::Close(bytes) => judge.send(bytes).map(drop).map(|()| false)?,
            Other::Stall { bytes, connections } => {
                let texts = vec![&bytes[..]; *connections];
                let opened = self.open_many(&texts)?;
                self.stalled
                    .extend(opened.into_iter().map(|c| (c, &bytes[..])));
                false
            }
        };
        self.note_late(is_late);
        // Nothing was read on this connection meanwhile.
        self.complete_at = self.complete_at.map(|_| Instant::now());
        Ok(())
    }

    fn note_late(&mut self, is_late: bool) {
        if is_late {
            self.late = self.late.max(Some(Late::OtherClient));
        }
    }

    /// Opens a connection for each of `texts`, and sends it. Opens fewer only where the server need not
    /// accept more (SPEC TIME-7).
    fn open_many(&mut self, texts: &[&[u8]]) -> Result<Vec<Connection>, Trouble> {
        let mut opened = Vec::new();
        let began_at = Instant::now();
        for text in texts {
            if self.stalled.len() + opened.len() >= HELD {
                let connection = Connection::open(&self.judge.server, BEYOND);
                let written = connection.and_then(|mut connection| {
                    connection.write(text, BEYOND)?;
                    Ok(connection)
                });
                opened.extend(written.ok());
                continue;
            }
            opened.push(self.judge.send(text)?);
            // The server may not see at once that a simple exchange has ended. So none is made when the
            // maximum is near, and it is given a moment instead.
            let has_room = self.stalled.len() + opened.len() + 2 * GROUP < HELD;
            let is_group = opened.len() % GROUP == 0;
            if is_group && has_room && began_at.elapsed() < MAKING_SURE {
                self.note_late(self.judge.simple_exchange()?);
            } else if is_group {
                thread::sleep(BETWEEN);
            }
        }
        Ok(opened)
    }

    /// Makes exchanges whose requests are completed at the same time. Returns whether one was late.
    fn exchange_at_once(&mut self, exchanges: &[(Vec<u8>, Vec<u8>)]) -> Result<bool, Trouble> {
        let starts = exchanges.iter().map(|(request, _)| request.split_last());
        let starts: Vec<_> = starts
            .map(|split| split.map_or(&[][..], |(_, start)| start))
            .collect();
        let mut connections = self.open_many(&starts)?;
        let completed_at = Instant::now();
        for (connection, (request, _)) in connections.iter_mut().zip(exchanges) {
            let last = &request[request.len().saturating_sub(1)..];
            if let Err(error) = connection.write(last, self.judge.timeout) {
                connection.fail(error, self.judge.timeout);
            }
        }
        let mut is_late = false;
        for (mut connection, (request, reply)) in connections.into_iter().zip(exchanges) {
            connection.read_to_end(self.judge.timeout);
            is_late |= completed_at.elapsed() > self.judge.max_delay;
            let judged = connection.judge(reply);
            judged.map_err(|trouble| of_other(trouble, request))?;
        }
        Ok(is_late)
    }

    /// Makes these exchanges, some at the same time. Returns whether one was late.
    fn exchange_lines(&self, exchanges: &[(Vec<u8>, Vec<u8>)]) -> Result<bool, Trouble> {
        let judge = self.judge;
        let part = exchanges.len().div_ceil(judge.lines_at_once()).max(1);
        thread::scope(|scope| {
            let exchange = |part: &[(Vec<u8>, Vec<u8>)]| {
                part.iter().try_fold(false, |late, (request, reply)| {
                    judge.exchange(request, reply).map(|is| is || late)
                })
            };
            let threads: Vec<_> = (exchanges.chunks(part))
                .map(|part| scope.spawn(move || exchange(part)))
                .collect();
            let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
            let mut joined = joined.map(|joined| joined.expect("no panic"));
            joined.try_fold(false, |all, part| part.map(|is_late| all || is_late))
        })
    }

    /// Ends the stalled connections, and waits a moment for the server to do the same: it may hold its
    /// maximum.
    fn release(&mut self) -> Result<(), Trouble> {
        let (mut found, mut index) = (Ok(()), 0);
        for (connection, bytes) in &mut self.stalled {
            connection.read_what_is_there();
            let waits = reference::request(bytes, false).is_none();
            let is_wrong = if !waits || found.is_err() {
                None
            } else if !connection.received.is_empty() {
                Some(Cause::ByteWhileStalled)
            } else if index < HELD && connection.ended_early() {
                Some(Cause::TurnedAway)
            } else {
                None
            };
            if let Some(cause) = is_wrong {
                let finding = connection.finding(cause, b"");
                found = Err(finding.of_other(bytes).into());
            }
            index += 1;
            let _ = connection.half_close();
        }
        let end = Instant::now() + Duration::from_secs(1);
        for (mut connection, _) in self.stalled.drain(..) {
            connection.read_to_end(end.saturating_duration_since(Instant::now()));
        }
        found
    }
}

/// The same, of the exchange of another client with this `request`.
pub(super) fn of_other(trouble: Trouble, request: &[u8]) -> Trouble {
    match trouble {
        Trouble::Server(finding) => Finding::of_other(finding, request).into(),
        other => other,
    }
}

/// The steps of a vector, in words.
pub(super) fn describe(steps: &[Step]) -> String {
    let times = |times: &usize| match times {
        1 => String::new(),
        times => format!(" {times} times"),
    };
    let words = steps.iter().map(|step| match step {
        Step::Send { bytes, times: n } => format!("{}{}", excerpt(bytes), times(n)),
        Step::SendEachByte(bytes) => format!("{} byte by byte", excerpt(bytes)),
        Step::Connect => "(the client connects)".into(),
        Step::Pause(time) => format!("a pause of {time:?}"),
        Step::HalfClose => "a half-close".into(),
        Step::AwaitReply => "(the reply is read)".into(),
        Step::Other { other, times: n } => format!("{}{}", describe_other(other), times(n)),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn describe_other(other: &Other) -> String {
    match other {
        Other::Exchange { request, .. } => format!("{} by another client", excerpt(request)),
        Other::AtOnce(exchanges) => {
            format!("different texts by {} clients at once", exchanges.len())
        }
        Other::Unchanged(ranges) => {
            let characters: usize = ranges.iter().map(|(a, b)| (*a..=*b).count()).sum();
            format!("{characters} characters in lines by other clients")
        }
        Other::Reset(bytes) => format!("{} and a reset by another client", excerpt(bytes)),
        Other::Close(bytes) => format!("{} and a close by another client", excerpt(bytes)),
        Other::Stall { bytes, connections } => {
            format!("{} by {connections} stalled clients", excerpt(bytes))
        }
    }
}
