//! Servers in this process, right and wrong ones.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use upcase::exchange::Exchange;

/// A server that does `process` with each request.
pub struct InProcess {
    /// Where it listens.
    pub address: SocketAddr,
    /// How many connections it has accepted.
    pub accepted: Arc<AtomicUsize>,
    /// The most connections that it has had at the same time.
    pub most: Arc<AtomicUsize>,
}

/// Serves, with a thread for each connection.
pub fn serve(process: fn(&[u8]) -> Vec<u8>) -> io::Result<InProcess> {
    serve_only(usize::MAX, process)
}

/// The same, until so many connections were made.
pub fn serve_only(connections: usize, process: fn(&[u8]) -> Vec<u8>) -> io::Result<InProcess> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = InProcess {
        address: listener.local_addr()?,
        accepted: Arc::default(),
        most: Arc::default(),
    };
    let (accepted, most) = (Arc::clone(&server.accepted), Arc::clone(&server.most));
    let open = Arc::<AtomicUsize>::default();
    thread::spawn(move || {
        for stream in listener.incoming().take(connections).map_while(Result::ok) {
            accepted.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let open = Arc::clone(&open);
            thread::spawn(move || {
                let _ = Exchange::new().advance(&mut { stream }, process);
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Ok(server)
}
