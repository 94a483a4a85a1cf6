//! The log in memory, where nothing depends on time. `tests/server.rs` and `tests/system.rs`
//! test it with real pipes and files.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use upcase::address::{Ip, IpPort};
use upcase::log::{self, Format, Log};
use upcase::server::{Ended, Outcome};

const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50_000);

/// The warnings, as text, if the transcript goes to `out`.
fn warnings(out: impl Write, record: impl FnOnce(&Log)) -> String {
    warnings_of(Format::Transcript, out, record)
}

/// The warnings, as text, if a log of this format goes to `out`.
fn warnings_of(format: Format, out: impl Write, record: impl FnOnce(&Log)) -> String {
    let (log, writer, warnings) = log::channel(format);
    record(&log);
    log.close();
    writer.run(out);
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
        log.ready(SocketAddr::new(CLIENT.ip(), 8080));
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
    let (log, writer, warnings) = log::channel(Format::Transcript);
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
    writer.run(io::sink());
    assert_eq!(log.missing(), 0);
}

/// SPEC: LOG-4
#[test]
fn every_warning_starts_a_new_interval() {
    let (log, writer, warnings) = log::channel(Format::Transcript);
    (0..5000).for_each(|_| log.request(CLIENT, b"x\n"));
    let (err, written) = mpsc::channel();
    thread::spawn(move || warnings.run("upcase-server", Forwarding(err)));
    let counted = "upcase-server: 904 requests are missing from the log\n";
    assert_eq!(next(&written), counted);
    (0..2).for_each(|_| log.warn("no paper".into()));
    let counted = "upcase-server: 2 more warnings were not printed\n";
    assert_eq!(next(&written), counted);
    log.close();
    writer.run(io::sink());
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
fn blocked_log_delays_neither_warnings_nor_the_end() {
    let (log, writer, warnings) = log::channel(Format::Transcript);
    let (blocking, blocked) = mpsc::channel();
    let (err, written) = mpsc::channel();
    let writing = thread::spawn(move || writer.run(Blocked(blocked)));
    let warnings = thread::spawn(move || warnings.run("upcase-server", Forwarding(err)));
    (0..300).for_each(|_| log.request(CLIENT, b"x\n"));
    log.close();
    log.finish();
    warnings.join().unwrap();
    let counted = "upcase-server: 300 requests are missing from the log\n";
    assert_eq!(next(&written), counted);
    drop(blocking);
    writing.join().unwrap();
}

/// SPEC: LOG-4
#[test]
fn blocked_warnings_do_not_delay_the_log() {
    let (log, writer, warnings) = log::channel(Format::Transcript);
    let (blocking, blocked) = mpsc::channel();
    let (out, written) = mpsc::channel();
    let warnings = thread::spawn(move || warnings.run("upcase-server", Blocked(blocked)));
    let writing = thread::spawn(move || writer.run(Forwarding(out)));
    log.warn("no ink".into());
    log.request(CLIENT, b"x\n");
    assert_eq!(next(&written), "Recebido de 127.0.0.1:\nb'x'\n");
    log.close();
    writing.join().unwrap();
    log.finish();
    drop(blocking);
    warnings.join().unwrap();
}

/// The connection of a client that has sent `request`.
fn ended(request: &[u8], outcome: Outcome) -> Ended<'_> {
    Ended {
        peer: CLIENT,
        request,
        outcome,
        duration: Duration::from_millis(12),
    }
}

/// The objects in the JSON log, and the warnings.
fn json(record: impl FnOnce(&Log)) -> (Vec<Value>, String) {
    let mut out = Vec::new();
    let err = warnings_of(Format::Json, &mut out, record);
    let out = String::from_utf8(out).unwrap();
    let objects = out.lines().map(|line| serde_json::from_str(line).unwrap());
    (objects.collect(), err)
}

/// SPEC: LOG-2, LOG-6
#[test]
fn each_format_shows_its_own_entries() {
    let show = |format| {
        let mut out = Vec::new();
        let err = warnings_of(format, &mut out, |log| {
            log.ready(CLIENT);
            log.request(CLIENT, b"");
            log.request(CLIENT, b"hi\n");
            log.connection(&ended(b"hi\n", Outcome::Replied));
        });
        assert_eq!(err, "");
        String::from_utf8(out).unwrap()
    };
    let ready = "Servidor rodando em 127.0.0.1:50000\n";
    assert_eq!(show(Format::None), ready);
    let transcript = format!("{ready}Recebido de 127.0.0.1:\nb'hi'\n");
    assert_eq!(show(Format::Transcript), transcript);
    assert_eq!(show(Format::Json).lines().count(), 3);
}

/// SPEC: LOG-4, LOG-6
#[test]
fn json_log_ends_with_totals_that_include_missing_connections() {
    const REPLIED: usize = 5000;
    let (mut objects, err) = json(|log| {
        (0..REPLIED).for_each(|_| log.connection(&ended(b"x\n", Outcome::Replied)));
        for outcome in Outcome::ALL {
            log.connection(&ended(b"x", outcome));
        }
    });
    let mut totals = objects.pop().unwrap();
    let missing = REPLIED + Outcome::ALL.len() - objects.len();
    assert!(missing > 0, "the queue has no limit");
    let expected = json!({
        "connections": REPLIED + 5, "replied": REPLIED + 1, "failed": 1, "timed-out": 1,
        "silent": 1, "reset": 1, "missing": missing,
    });
    assert_eq!(totals["totals"].take(), expected);
    let counted = format!("upcase-server: {missing} connections are missing from the log\n");
    assert_eq!(err, counted);
}

/// SPEC: LOG-6
#[test]
fn time_before_the_epoch_is_shown_as_the_epoch() {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let duration = since_epoch.unwrap() + Duration::from_secs(5);
    let long = Ended {
        duration,
        ..ended(b"", Outcome::TimedOut)
    };
    let (objects, _) = json(|log| log.connection(&long));
    assert_eq!(objects[0]["time"], "1970-01-01T00:00:00.000Z");
}

/// SPEC: LOG-2
#[test]
fn zone_without_a_name_is_shown_as_its_number() {
    for (address, ip, ip_port) in [
        (
            "[fe80::1%4294967295]:80",
            "fe80::1%4294967295",
            "[fe80::1%4294967295]:80",
        ),
        ("[::ffff:1.2.3.4]:80", "1.2.3.4", "1.2.3.4:80"),
        ("[::1]:80", "::1", "[::1]:80"),
        ("1.2.3.4:80", "1.2.3.4", "1.2.3.4:80"),
    ] {
        let address = address.parse().unwrap();
        assert_eq!(Ip(address).to_string(), ip);
        assert_eq!(IpPort(address).to_string(), ip_port);
    }
}
