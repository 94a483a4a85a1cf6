//! The transcript in memory, where nothing depends on time. `tests/server.rs` and `tests/system.rs`
//! test it with real pipes and files.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use upcase::transcript::{self, Log};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The warnings, as text, if the transcript goes to `out`.
fn warnings(out: impl Write, record: impl FnOnce(&Log)) -> String {
    let (log, transcript, warnings) = transcript::channel();
    record(&log);
    log.close();
    transcript.run(out);
    log.finish();
    let mut err = Vec::new();
    warnings.run("upcase-server", &mut err);
    assert_eq!(log.missing(), 0);
    String::from_utf8(err).unwrap()
}

#[test]
fn one_warning_is_written_and_the_others_are_counted() {
    let warn = |count: usize| {
        warnings(io::sink(), |log| {
            (0..count).for_each(|_| log.warn("no ink".into()));
        })
    };
    assert_eq!(warn(1), "upcase-server: no ink\n");
    let counted = "upcase-server: no ink (3 more warnings were not printed)\n";
    assert_eq!(warn(4), counted);
}

/// SPEC: LOG-4
#[test]
fn requests_are_counted_if_the_queue_is_full() {
    const REQUESTS: usize = 5000;
    let mut out = Vec::new();
    let err = warnings(&mut out, |log| {
        (0..REQUESTS).for_each(|_| log.request(CLIENT, b"x\n"));
        assert_eq!(log.missing(), REQUESTS as u64);
    });
    let kept = String::from_utf8(out).unwrap().lines().count() / 2;
    assert!(kept < REQUESTS, "the queue has no limit");
    let missing = REQUESTS - kept;
    let counted = format!("upcase-server: {missing} requests are missing from the log\n");
    assert_eq!(err, counted);
}

/// The address in the log.
const READY: &str = "Servidor rodando em 127.0.0.1:8080\n";

/// The request "one two three" in the log.
const ENTRY: &str = "Recebido de 127.0.0.1:\nb'one two three'\n";

/// An output that is interrupted, then takes the address, an entry and a part of the next, and then
/// fails every other time.
struct Intermittent {
    written: Vec<u8>,
    calls: usize,
}

impl Write for Intermittent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        let count = match self.calls {
            1 => return Err(io::ErrorKind::Interrupted.into()),
            2 => READY.len() + ENTRY.len() + 30,
            call if call % 2 == 1 => return Err(io::Error::other("no paper")),
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
    let mut out = Intermittent {
        written: vec![],
        calls: 0,
    };
    let err = warnings(&mut out, |log| {
        log.ready((CLIENT, 8080).into());
        (0..REQUESTS).for_each(|_| log.request(CLIENT, b"one two three\n"));
        assert_eq!(log.missing(), REQUESTS as u64);
    });
    let out = String::from_utf8(out.written).unwrap();
    let torn = format!("{READY}{ENTRY}{}\n", &ENTRY[..30]);
    let rest = out.strip_prefix(&torn).expect("one torn line, which ends");
    let whole = rest.len() / ENTRY.len();
    assert_eq!(rest, ENTRY.repeat(whole));
    let missing = REQUESTS - 1 - whole;
    assert_eq!(
        err,
        format!(
            "upcase-server: cannot write the log; the server continues: no paper\n\
             upcase-server: {missing} requests are missing from the log\n"
        )
    );
}

/// SPEC: LOG-4
#[test]
fn write_error_is_reported_after_another_warning() {
    let mut full: [u8; 26] = [0; 26];
    let err = warnings(&mut full[..], |log| {
        log.warn("no ink".into());
        log.request(CLIENT, b"x\n");
    });
    let lines: Vec<_> = err.lines().collect();
    let [warning, cause, missing] = lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(warning, "upcase-server: no ink");
    let cannot_write = "upcase-server: cannot write the log; the server continues: ";
    assert!(cause.starts_with(cannot_write), "{lines:?}");
    let counted = "upcase-server: 1 requests are missing from the log";
    assert_eq!(missing, counted);
}

/// SPEC: LOG-4
#[test]
fn request_is_missing_if_and_only_if_its_last_byte_is() {
    for (room, missing) in [(ENTRY.len() - 1, 2), (ENTRY.len(), 1)] {
        let err = warnings(&mut vec![0; room][..], |log| {
            (0..2).for_each(|_| log.request(CLIENT, b"one two three\n"));
        });
        let counted = format!("upcase-server: {missing} requests are missing from the log");
        assert_eq!(err.lines().last(), Some(&*counted));
    }
}

/// An output that buffers everything, and loses it.
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
fn requests_are_missing_if_they_cannot_be_flushed() {
    let err = warnings(Lossy, |log| {
        (0..2).for_each(|_| log.request(CLIENT, b"one two three\n"));
    });
    assert_eq!(
        err,
        "upcase-server: cannot write the log; the server continues: lost\n\
         upcase-server: 2 requests are missing from the log\n"
    );
}

/// An output that sends what is written to a channel.
struct Forwarding(Sender<Vec<u8>>);

impl Write for Forwarding {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The next text that is written.
#[track_caller]
fn next(written: &Receiver<Vec<u8>>) -> String {
    let written = written.recv_timeout(Duration::from_secs(20));
    String::from_utf8(written.expect("in time")).unwrap()
}

/// SPEC: LOG-4
#[test]
fn warnings_within_the_interval_are_counted_after_it() {
    let (log, transcript, warnings) = transcript::channel();
    log.warn("no ink".into());
    let (err, written) = mpsc::channel();
    thread::spawn(move || warnings.run("upcase-server", Forwarding(err)));
    assert_eq!(next(&written), "upcase-server: no ink\n");
    (0..3).for_each(|_| log.warn("no paper".into()));
    (0..5000).for_each(|_| log.request(CLIENT, b"x\n"));
    let counted = "upcase-server: 904 requests are missing from the log \
                   (3 more warnings were not printed)\n";
    assert_eq!(next(&written), counted);
    log.close();
    transcript.run(io::sink());
    assert_eq!(log.missing(), 0);
}

/// SPEC: LOG-4
#[test]
fn every_warning_starts_a_new_interval() {
    let (log, transcript, warnings) = transcript::channel();
    (0..5000).for_each(|_| log.request(CLIENT, b"x\n"));
    let (err, written) = mpsc::channel();
    thread::spawn(move || warnings.run("upcase-server", Forwarding(err)));
    let counted = "upcase-server: 904 requests are missing from the log\n";
    assert_eq!(next(&written), counted);
    (0..2).for_each(|_| log.warn("no paper".into()));
    let counted = "upcase-server: 2 more warnings were not printed\n";
    assert_eq!(next(&written), counted);
    log.close();
    transcript.run(io::sink());
    assert_eq!(log.missing(), 0);
}

/// An output that blocks until the sender is dropped.
struct Blocked(Receiver<()>);

impl Write for Blocked {
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
fn blocked_transcript_delays_neither_warnings_nor_the_end() {
    let (log, transcript, warnings) = transcript::channel();
    let (blocking, blocked) = mpsc::channel();
    let (err, written) = mpsc::channel();
    let transcript = thread::spawn(move || transcript.run(Blocked(blocked)));
    let warnings = thread::spawn(move || warnings.run("upcase-server", Forwarding(err)));
    (0..300).for_each(|_| log.request(CLIENT, b"x\n"));
    log.close();
    log.finish();
    warnings.join().unwrap();
    let counted = "upcase-server: 300 requests are missing from the log\n";
    assert_eq!(next(&written), counted);
    drop(blocking);
    transcript.join().unwrap();
}

/// SPEC: LOG-4
#[test]
fn blocked_warnings_do_not_delay_the_transcript() {
    let (log, transcript, warnings) = transcript::channel();
    let (blocking, blocked) = mpsc::channel();
    let (out, written) = mpsc::channel();
    let warnings = thread::spawn(move || warnings.run("upcase-server", Blocked(blocked)));
    let transcript = thread::spawn(move || transcript.run(Forwarding(out)));
    log.warn("no ink".into());
    log.request(CLIENT, b"x\n");
    assert_eq!(next(&written), "Recebido de 127.0.0.1:\nb'x'\n");
    log.close();
    transcript.join().unwrap();
    log.finish();
    drop(blocking);
    warnings.join().unwrap();
}
