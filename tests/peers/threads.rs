use std::io;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};
use upcase::{deadline::Timed, exchange::Exchange, process};

/// Serves `listener`, with a thread for each connection.
fn serve(listener: &TcpListener, timeout: Duration) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let deadline = Instant::now() + timeout;
        thread::spawn(move || {
            // An error affects this peer alone.
            let _ = Exchange::new().advance(&mut Timed::new(&stream, deadline), process);
        });
    }
}
