//! The library's server, which serves listeners by a service of one's own.

mod common {
    pub mod connection;
    pub mod listener;
    #[expect(dead_code, reason = "the server is in this process")]
    pub mod process;
    pub mod wait;
}

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::connection::Connection;
use common::listener::queued;
use common::process::PATIENCE;
use common::wait::wait_until;
use upcase::LIMIT;
use upcase::server::{Ended, MAX_TIMEOUT, Outcome, Server, Service, StopHandle};

/// A server in this process, which is stopped on drop.
struct Serving {
    addresses: Vec<SocketAddr>,
    stop: StopHandle,
    ended: mpsc::Receiver<bool>,
}

/// Several listeners on free ports of this machine.
fn listen<const COUNT: usize>() -> [TcpListener; COUNT] {
    std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap())
}

/// Serves `listeners` with the library, `most` clients at once.
fn serve<const COUNT: usize>(
    listeners: [TcpListener; COUNT],
    most: usize,
    service: &'static dyn Service,
) -> Serving {
    let most = NonZeroUsize::new(most).unwrap();
    let server = Server::new(listeners, MAX_TIMEOUT, most).unwrap();
    let (addresses, stop) = (server.addresses().to_vec(), server.stop_handle());
    let (running, ended) = mpsc::channel();
    thread::spawn(move || running.send(server.run(service).is_ok()));
    Serving {
        addresses,
        stop,
        ended,
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.stop();
        assert_eq!(self.ended.recv_timeout(PATIENCE), Ok(true));
    }
}

/// A service that panics at one request, and returns too many bytes for another. It passes on the
/// outcomes, and panics then too.
struct Faulty(mpsc::Sender<(Vec<u8>, Outcome)>);

impl Service for Faulty {
    fn answer(&self, _: SocketAddr, request: &[u8]) -> Vec<u8> {
        assert!(request != b"panic\n", "as the request asked for");
        if request == b"too long\n" {
            return vec![b'X'; LIMIT + 1];
        }
        upcase::process(request)
    }

    fn on_end(&self, ended: &Ended<'_>) {
        let _ = self.0.send((ended.request.to_vec(), ended.outcome));
        panic!("at the end of a connection");
    }
}

/// SPEC: TIME-4
#[test]
fn panic_of_the_service_ends_only_its_exchange() {
    let (sender, outcomes) = mpsc::channel();
    let serving = serve(listen::<1>(), 2, Box::leak(Box::new(Faulty(sender))));
    let next = || outcomes.recv_timeout(PATIENCE).unwrap();
    for request in [&b"panic\n"[..], b"too long\n", b"panic\n"] {
        let mut client = Connection::connect(serving.addresses[0]);
        client.send(request);
        // The connection is closed without a reply, by FIN or by a reset.
        let mut reply = Vec::new();
        if let Err(error) = client.0.read_to_end(&mut reply) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(reply, b"");
        assert_eq!(next(), (request.to_vec(), Outcome::Failed));
        let mut client = Connection::connect(serving.addresses[0]);
        client.send(b"hello\n");
        assert_eq!(client.reply(), b"HELLO");
        drop(client);
        assert_eq!(next(), (b"hello\n".to_vec(), Outcome::Replied));
    }
}

#[test]
fn timeout_out_of_range_is_refused() {
    for timeout in [Duration::ZERO, Duration::from_millis(10_001)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::new([listener], timeout, NonZeroUsize::MIN);
        let error = server.err().expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

/// A service that passes on the requests in the order in which they are answered.
struct Ordered(mpsc::Sender<Vec<u8>>);

impl Service for Ordered {
    fn answer(&self, _: SocketAddr, request: &[u8]) -> Vec<u8> {
        let _ = self.0.send(request.to_vec());
        upcase::process(request)
    }
}

/// SPEC: TIME-5, TIME-7
#[test]
fn queues_of_all_listeners_are_answered_after_a_stop() {
    let (sender, requests) = mpsc::channel();
    let serving = serve(listen::<2>(), 1, Box::leak(Box::new(Ordered(sender))));
    let connect = |listener: usize, request: &[u8]| {
        let mut client = Connection::connect(serving.addresses[listener]);
        client.send(request);
        client
    };
    let mut held = connect(0, b"held");
    wait_until("the first is accepted", || {
        queued(serving.addresses[0]) == Some(0)
    });
    let mut others: Vec<Connection> = (0..3).map(|_| connect(0, b"busy\n")).collect();
    others.push(connect(1, b"quiet\n"));
    wait_until("the others are queued", || {
        queued(serving.addresses[0]) == Some(3) && queued(serving.addresses[1]) == Some(1)
    });
    serving.stop.stop();
    held.send(b"\n");
    assert_eq!(held.reply(), b"HELD");
    drop(held);
    // Each is answered only after the one before has gone, so they must not wait for one another.
    thread::scope(|scope| {
        for mut client in others {
            scope.spawn(move || assert_ne!(client.reply(), b""));
        }
    });
    let order: Vec<_> = requests.iter().take(5).collect();
    assert_ne!(
        order[4], b"quiet\n",
        "a busy listener does not delay another"
    );
    for address in &serving.addresses {
        wait_until("the listener is closed", || queued(*address).is_none());
    }
}

#[test]
fn no_listener_is_refused() {
    let server = Server::new([], MAX_TIMEOUT, NonZeroUsize::MIN);
    let error = server.err().expect("it is refused");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
