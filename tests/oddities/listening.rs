//! How a right server listens and accepts, in parts that a control may take in odd ways.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::connection::Connection;
use super::servers::Running;

/// A usual deadline: long enough for every vector on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// A listener at `address`, whose socket `prepare` prepares.
pub fn listener(address: &str, backlog: i32, prepare: impl FnOnce(&Socket)) -> TcpListener {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
    let socket = socket.expect("a socket");
    prepare(&socket);
    socket.bind(&address.into()).expect("a free port");
    socket.listen(backlog).expect("a listener");
    socket.into()
}

/// A listener on a free port, in no odd way.
pub fn usual_listener() -> TcpListener {
    listener("127.0.0.1:0", 1024, |_| {})
}

/// Starts a server with a usual listener, and a thread for each connection.
pub fn start(deadline: Duration, serve: impl Fn(&Connection) + Copy + Send + 'static) -> Running {
    start_on(usual_listener(), deadline, serve)
}

/// Starts a server with a thread for each connection.
pub fn start_on(
    listener: TcpListener,
    deadline: Duration,
    serve: impl Fn(&Connection) + Copy + Send + 'static,
) -> Running {
    accept_by(listener, move |listener| {
        for stream in listener.incoming().flatten() {
            spawn(stream, deadline, serve);
        }
    })
}

/// Serves `stream` on a thread of its own.
pub fn spawn(stream: TcpStream, deadline: Duration, serve: impl Fn(&Connection) + Send + 'static) {
    let connection = Connection::new(stream, deadline);
    thread::spawn(move || serve(&connection));
}

/// Calls `accept`, which does not return, on a thread of its own.
pub fn accept_by(
    listener: TcpListener,
    accept: impl FnOnce(TcpListener) + Send + 'static,
) -> Running {
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || accept(listener));
    address.into()
}

/// The places of a server that holds a maximum of connections.
#[derive(Clone)]
pub struct Places(Arc<(Mutex<usize>, Condvar)>);

/// One of these places, which is free again on drop.
pub struct Place(Places);

impl Places {
    pub fn new(maximum: usize) -> Self {
        Self(Arc::new((Mutex::new(maximum), Condvar::new())))
    }

    /// Waits for a place.
    pub fn wait(&self) -> Place {
        let (free, is_changed) = &*self.0;
        let free = free.lock().expect("no panic");
        let mut free = is_changed
            .wait_while(free, |free| *free == 0)
            .expect("no panic");
        *free -= 1;
        Place(self.clone())
    }

    /// A place, if one is free.
    pub fn take(&self) -> Option<Place> {
        let mut free = self.0.0.lock().expect("no panic");
        *free = free.checked_sub(1)?;
        Some(Place(self.clone()))
    }
}

impl Place {
    /// Serves `connection` on a thread of its own. The place is free when it is closed.
    pub fn serve(self, connection: Connection) {
        thread::spawn(move || {
            connection.serve();
            drop(connection);
            drop(self);
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (free, is_changed) = &*self.0.0;
        *free.lock().expect("no panic") += 1;
        is_changed.notify_one();
    }
}
