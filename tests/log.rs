//! The transcript, driven in memory, where what comes when is certain. How it behaves over real
//! pipes and disks is in `tests/server.rs`.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};

use upcase::log;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What comes out of the two outputs, as text.
fn written(note: impl FnOnce(&log::Log)) -> (String, String) {
    let (log, writer) = log::channel();
    note(&log);
    drop(log);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    writer.run(&mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(out), text(err))
}

#[test]
fn of_many_complaints_one_is_said_and_the_others_are_counted() {
    let (_, one) = written(|log| log.complain("out of ink".into()));
    assert_eq!(one, "upcase-server: out of ink\n");
    let (_, many) = written(|log| (0..4).for_each(|_| log.complain("out of ink".into())));
    assert_eq!(
        many,
        "upcase-server: out of ink\n\
         upcase-server: 3 more complaints were not printed\n"
    );
}

/// SPEC: LOG-4
#[test]
fn requests_that_the_queue_has_no_room_for_are_counted_and_the_count_is_reported() {
    const REQUESTS: usize = 5000;
    let (out, err) = written(|log| (0..REQUESTS).for_each(|_| log.request(PEER, b"x\n")));
    let kept = out.lines().count() / 2;
    assert!(kept < REQUESTS, "the queue has no bound");
    let dropped = REQUESTS - kept;
    assert_eq!(
        err,
        format!("upcase-server: {dropped} requests are missing from the log\n")
    );
}

/// Fails to write, every other time.
struct Flapping(usize);

impl Write for Flapping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += 1;
        if self.0.is_multiple_of(2) {
            Ok(bytes.len())
        } else {
            Err(io::Error::other("flap"))
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// SPEC: LOG-4
#[test]
fn an_output_that_fails_again_and_again_is_complained_of_once() {
    let (log, writer) = log::channel();
    let missing = log.missing();
    // More than are written at once.
    (0..2000).for_each(|_| log.request(PEER, b"x\n"));
    assert_eq!(missing.count(), 2000);
    drop(log);
    let mut err = Vec::new();
    writer.run(Flapping(0), &mut err);
    assert_eq!(missing.count(), 0);
    let err = String::from_utf8(err).unwrap();
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        lines[0],
        "upcase-server: cannot write the log, serving goes on: flap"
    );
    assert!(
        lines[1].contains("requests are missing from the log (3 more complaints"),
        "{lines:?}"
    );
}
