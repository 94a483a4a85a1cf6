//! The transcript, driven in memory, where what comes when is certain. How it behaves over real
//! pipes and disks is in `tests/server.rs`.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use upcase::transcript;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What comes out as complaints, as text, where the transcript goes to `out`.
fn written_to(out: impl Write, note: impl FnOnce(&transcript::Log)) -> String {
    let (log, transcript, complaints) = transcript::channel();
    note(&log);
    log.close();
    transcript.run(out);
    log.finish();
    let mut err = Vec::new();
    complaints.run("upcase-server", &mut err);
    assert_eq!(log.missing(), 0);
    String::from_utf8(err).unwrap()
}

/// What comes out of the two outputs, as text.
fn written(note: impl FnOnce(&transcript::Log)) -> (String, String) {
    let mut out = Vec::new();
    let err = written_to(&mut out, note);
    (String::from_utf8(out).unwrap(), err)
}

#[test]
fn of_many_complaints_one_is_said_and_the_others_are_counted() {
    let (_, one) = written(|log| log.complain("out of ink".into()));
    assert_eq!(one, "upcase-server: out of ink\n");
    let (_, many) = written(|log| (0..4).for_each(|_| log.complain("out of ink".into())));
    assert_eq!(
        many,
        "upcase-server: out of ink (3 more complaints were not printed)\n"
    );
}

/// SPEC: LOG-4
#[test]
fn requests_that_the_queue_has_no_room_for_are_counted_and_the_count_is_reported() {
    const REQUESTS: usize = 5000;
    let (out, err) = written(|log| {
        (0..REQUESTS).for_each(|_| log.request(PEER, b"x\n"));
        assert_eq!(log.missing(), REQUESTS as u64);
    });
    let kept = out.lines().count() / 2;
    assert!(kept < REQUESTS, "the queue has no bound");
    let dropped = REQUESTS - kept;
    assert_eq!(
        err,
        format!("upcase-server: {dropped} requests are missing from the log\n")
    );
}

/// The address in the log.
const READY: &str = "Servidor rodando em 127.0.0.1:8080\n";

/// The request "one two three" in the log.
const ENTRY: &str = "Recebido de 127.0.0.1:\nb'one two three'\n";

/// Takes the address, an entry and a piece of the next after an interrupt, and then fails as often as it works.
struct Flapping {
    written: Vec<u8>,
    calls: usize,
}

impl Write for Flapping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        let count = match self.calls {
            1 => return Err(io::ErrorKind::Interrupted.into()),
            2 => READY.len() + ENTRY.len() + 30,
            call if call % 2 == 1 => return Err(io::Error::other("flap")),
            _ => bytes.len(),
        };
        self.written.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// SPEC: LOG-2, LOG-4
#[test]
fn intermittent_write_errors_tear_one_line() {
    // More than are written at once.
    const REQUESTS: usize = 4096 - 1;
    let mut out = Flapping {
        written: vec![],
        calls: 0,
    };
    let err = written_to(&mut out, |log| {
        log.ready((PEER, 8080).into());
        (0..REQUESTS).for_each(|_| log.request(PEER, b"one two three\n"));
        assert_eq!(log.missing(), REQUESTS as u64);
    });
    let out = String::from_utf8(out.written).unwrap();
    let torn = format!("{READY}{ENTRY}{}\n", &ENTRY[..30]);
    let rest = out.strip_prefix(&torn).expect("one line is torn, and ends");
    let whole = rest.len() / ENTRY.len();
    assert_eq!(rest, ENTRY.repeat(whole));
    let dropped = REQUESTS - 1 - whole;
    assert_eq!(
        err,
        format!(
            "upcase-server: cannot write the log, serving goes on: flap\n\
             upcase-server: {dropped} requests are missing from the log\n"
        )
    );
}

/// SPEC: LOG-4
#[test]
fn why_writing_fails_is_said_in_the_end_where_another_complaint_came_first() {
    let mut full: [u8; 26] = [0; 26];
    let err = written_to(&mut full[..], |log| {
        log.complain("out of ink".into());
        log.request(PEER, b"x\n");
    });
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], "upcase-server: out of ink");
    let cause = "upcase-server: cannot write the log, serving goes on: ";
    assert!(lines[1].starts_with(cause), "{lines:?}");
    assert_eq!(
        lines[2],
        "upcase-server: 1 requests are missing from the log"
    );
}

/// SPEC: LOG-4
#[test]
fn a_request_is_missing_if_its_last_byte_is_and_not_otherwise() {
    for (room, missing) in [(ENTRY.len() - 1, 2), (ENTRY.len(), 1)] {
        let err = written_to(&mut vec![0; room][..], |log| {
            (0..2).for_each(|_| log.request(PEER, b"one two three\n"));
        });
        let said = format!("upcase-server: {missing} requests are missing from the log");
        assert_eq!(err.lines().last(), Some(&*said));
    }
}

/// Keeps all to itself, and loses it.
struct Lossy;

impl Write for Lossy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::Error::other("lost"))
    }
}

/// SPEC: LOG-4
#[test]
fn what_an_output_cannot_flush_is_missing() {
    let err = written_to(Lossy, |log| {
        (0..2).for_each(|_| log.request(PEER, b"one two three\n"));
    });
    assert_eq!(
        err,
        "upcase-server: cannot write the log, serving goes on: lost\n\
         upcase-server: 2 requests are missing from the log\n"
    );
}

/// Passes on what is written.
struct Passing(Sender<Vec<u8>>);

impl Write for Passing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// SPEC: LOG-4
#[test]
fn what_may_not_be_said_at_once_is_said_later() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let (log, transcript, complaints) = transcript::channel();
    log.complain("out of ink".into());
    let (err, said) = mpsc::channel();
    thread::spawn(move || complaints.run("upcase-server", Passing(err)));
    let next = || String::from_utf8(said.recv_timeout(PATIENCE).unwrap()).unwrap();
    assert_eq!(next(), "upcase-server: out of ink\n");
    (0..3).for_each(|_| log.complain("out of paper".into()));
    (0..5000).for_each(|_| log.request(PEER, b"x\n"));
    assert_eq!(
        next(),
        "upcase-server: 904 requests are missing from the log \
         (3 more complaints were not printed)\n"
    );
    (0..2).for_each(|_| log.complain("out of paper".into()));
    assert_eq!(
        next(),
        "upcase-server: 2 more complaints were not printed\n"
    );
    log.close();
    transcript.run(io::sink());
    assert_eq!(log.missing(), 0);
}

/// Blocks when it is written to.
struct Stuck(mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// SPEC: LOG-4
#[test]
fn a_stuck_output_holds_up_neither_the_other_nor_the_end() {
    let (log, transcript, complaints) = transcript::channel();
    let (pipe, stuck) = mpsc::channel();
    let (err, said) = mpsc::channel();
    let writing = thread::spawn(move || transcript.run(Stuck(stuck)));
    let saying = thread::spawn(move || complaints.run("upcase-server", Passing(err)));
    (0..300).for_each(|_| log.request(PEER, b"x\n"));
    log.close();
    log.finish();
    saying.join().unwrap();
    assert_eq!(
        said.recv().unwrap(),
        b"upcase-server: 300 requests are missing from the log\n"
    );
    drop(pipe);
    writing.join().unwrap();

    let (log, transcript, complaints) = transcript::channel();
    let (pipe, stuck) = mpsc::channel();
    let (out, written) = mpsc::channel();
    let saying = thread::spawn(move || complaints.run("upcase-server", Stuck(stuck)));
    let writing = thread::spawn(move || transcript.run(Passing(out)));
    log.complain("out of ink".into());
    log.request(PEER, b"x\n");
    assert_eq!(written.recv().unwrap(), b"Recebido de 127.0.0.1:\nb'x'\n");
    log.close();
    writing.join().unwrap();
    log.finish();
    drop(pipe);
    saying.join().unwrap();
}
