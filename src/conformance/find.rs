//! Finds the server that is to be judged, by its name.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use super::server_judge::ServerJudge;

/// Why there is no server to judge. It is shown as one line for each address.
#[derive(Debug)]
pub enum NotFound {
    /// The name has no address.
    Unresolved(io::Error),
    /// Nothing accepts a connection at any of these addresses.
    Unreachable(Vec<(SocketAddr, io::Error)>),
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(error) => {
                write!(f, "the name has no address: {error}; check the host")
            }
            Self::Unreachable(tried) => {
                write!(
                    f,
                    "no server accepts a connection; check the port, and start it first"
                )?;
                let mut tried = tried.iter();
                tried.try_for_each(|(address, error)| write!(f, "\n  {address}: {error}"))
            }
        }
    }
}

impl std::error::Error for NotFound {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unresolved(error) => Some(error),
            Self::Unreachable(_) => None,
        }
    }
}

impl ServerJudge {
    /// A judge, as [`ServerJudge::new`] makes it, of the server at `name`, such as `localhost:8080`. If
    /// the name has several addresses, it is the first whose server makes a simple exchange, or else the
    /// first that accepts a connection.
    ///
    /// # Errors
    /// [`NotFound`]
    pub fn find(name: impl ToSocketAddrs) -> Result<Self, NotFound> {
        let addresses = name.to_socket_addrs().map_err(NotFound::Unresolved)?;
        let (mut found, mut tried) = (Vec::new(), Vec::new());
        for address in addresses {
            let judge = Self::new(address);
            match TcpStream::connect_timeout(&address, judge.timeout) {
                Ok(_) => found.push(judge),
                Err(error) => tried.push((address, error)),
            }
        }
        let answering = found.iter().position(|judge| judge.probe().is_ok());
        let mut found = found.into_iter();
        let judge = found.nth(answering.unwrap_or(0));
        judge.ok_or(NotFound::Unreachable(tried))
    }
}
