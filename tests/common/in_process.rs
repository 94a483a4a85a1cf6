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
    /// The most requests at which it has worked at the same time.
    pub most: Arc<AtomicUsize>,
}

/// Serves, with a thread for each connection.
pub fn serve(process: fn(&[u8]) -> Vec<u8>) -> io::Result<InProcess> {
    serve_only(usize::MAX, process)
}

/// The same, until this number of connections was made.
pub fn serve_only(connections: usize, process: fn(&[u8]) -> Vec<u8>) -> io::Result<InProcess> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = InProcess {
        address: listener.local_addr()?,
        accepted: Arc::default(),
        most: Arc::default(),
    };
    let (accepted, most) = (Arc::clone(&server.accepted), Arc::clone(&server.most));
    let under_way = Arc::<AtomicUsize>::default();
    thread::spawn(move || {
        for stream in listener.incoming().take(connections).map_while(Result::ok) {
            accepted.fetch_add(1, Ordering::SeqCst);
            let (under_way, most) = (Arc::clone(&under_way), Arc::clone(&most));
            thread::spawn(move || {
                // The work ends before the client sees the reply.
                let counted = |request: &[u8]| {
                    let count = under_way.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(count, Ordering::SeqCst);
                    let reply = process(request);
                    under_way.fetch_sub(1, Ordering::SeqCst);
                    reply
                };
                Exchange::new().advance(&mut { stream }, counted)
            });
        }
    });
    Ok(server)
}
