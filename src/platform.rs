//! What differs between operating systems, with one function or type for each difference. No other file
//! in `src/` asks for the system that it is compiled for.
//!
//! It is public only for the programs.

#[cfg(feature = "cli")]
use std::fs::File;
#[cfg(feature = "cli")]
use std::io::{self, IsTerminal, Read, Write};

/// Sends a reply, and tells the kernel that more follows at once: the half-close. On Linux both go out in
/// one segment, so the peer is woken once and not twice. On other systems this is not done.
#[cfg(feature = "server")]
pub(crate) fn send(stream: &mio::net::TcpStream, bytes: &[u8]) -> std::io::Result<usize> {
    #[cfg(target_os = "linux")]
    {
        use rustix::net::SendFlags;
        // Like a write of the standard library, this raises no SIGPIPE.
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        Ok(rustix::net::send(stream, bytes, flags)?)
    }
    #[cfg(not(target_os = "linux"))]
    std::io::Write::write(&mut { stream }, bytes)
}

/// Whether an error of `accept` says only that the peer has already broken off this connection. The next one
/// may be there. Each system has an error of its own for this.
#[cfg(any(feature = "conformance", feature = "server"))]
pub(crate) fn has_gone(error: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    match error {
        ConnectionAborted => true,
        // NotConnected comes from Wine.
        ConnectionReset | NotConnected => cfg!(windows),
        // There the address of the peer is missing.
        InvalidInput => cfg!(target_vendor = "apple"),
        _ => false,
    }
}

/// Lets a new server have a port whose old connections are still in TIME-WAIT. Windows allows this by
/// default. There the option would let our server share a port with another program.
#[cfg(feature = "server")]
pub(crate) fn reuse_port_of_earlier_run(socket: &socket2::Socket) -> std::io::Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    socket.set_reuse_address(true)
}

/// The bytes as an argument of a command line. `None` if it cannot hold them: no system takes a NUL, and
/// Windows takes only Unicode.
#[cfg(feature = "conformance")]
pub(crate) fn to_argument(bytes: &[u8]) -> Option<std::ffi::OsString> {
    if bytes.contains(&0) {
        return None;
    }
    #[cfg(unix)]
    let argument = std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec());
    #[cfg(not(unix))]
    let argument = str::from_utf8(bytes).ok()?.into();
    Some(argument)
}

/// The bytes of an argument of the command line. `None` for half a surrogate pair, which only Windows
/// passes and which stands for no bytes.
#[cfg(feature = "cli")]
#[must_use]
pub fn argument_bytes(argument: &std::ffi::OsStr) -> Option<&[u8]> {
    let is_bytes = cfg!(unix) || argument.to_str().is_some();
    is_bytes.then_some(argument.as_encoded_bytes())
}

/// The number of the network interface with this name. Windows names none: it writes zones as numbers.
#[cfg(feature = "cli")]
#[cfg_attr(not(unix), expect(unused_variables))]
pub(crate) fn interface_number(name: &str) -> Option<u32> {
    #[cfg(unix)]
    return nix::net::if_::if_nametoindex(name).ok();
    #[cfg(not(unix))]
    return None;
}

/// The name of the network interface with this number, if it has one, and if this is not Windows.
#[cfg(feature = "cli")]
#[cfg_attr(not(unix), expect(unused_variables))]
pub(crate) fn interface_name(number: u32) -> Option<Vec<u8>> {
    #[cfg(unix)]
    // For a number without a name, `nix` reports an empty name and no error.
    return (nix::net::if_::if_indextoname(number).ok())
        .map(std::ffi::CString::into_bytes)
        .filter(|name| !name.is_empty());
    #[cfg(not(unix))]
    return None;
}

/// The listening sockets that the program was started with (systemd's socket activation), and for each
/// that does not fit, why. Only Linux has this.
#[cfg(feature = "cli")]
#[must_use]
pub fn passed_listeners() -> Vec<io::Result<std::net::TcpListener>> {
    #[cfg(target_os = "linux")]
    {
        let mut sockets = listenfd::ListenFd::from_env();
        let count = sockets.len();
        let take = |index| {
            let listener = sockets.take_tcp_listener(index)?;
            let listener = listener.ok_or(io::ErrorKind::NotFound)?;
            if !socket2::SockRef::from(&listener).is_listener()? {
                return Err(io::Error::other("it does not listen"));
            }
            Ok(listener)
        };
        (0..count).map(take).collect()
    }
    #[cfg(not(target_os = "linux"))]
    Vec::new()
}

/// Tells systemd that the server is ready, if `NOTIFY_SOCKET` is set: in a service with `Type=notify`. Only Linux
/// has this.
///
/// # Errors
/// An error of the system.
#[cfg(feature = "cli")]
pub fn tell_ready() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    sd_notify::notify(&[sd_notify::NotifyState::Ready])?;
    Ok(())
}

/// How many descriptors are used at most on a system without a limit: far more than clients come.
#[cfg(feature = "cli")]
const WITHOUT_LIMIT: usize = 65_536;

/// Raises the limit of file descriptors to its maximum. Returns what the limit is then. Windows has none, and
/// macOS may have none.
#[cfg(feature = "cli")]
#[must_use]
pub fn raised_descriptor_limit() -> usize {
    #[cfg(unix)]
    {
        use rlimit::{Resource, getrlimit, increase_nofile_limit};
        // If raising fails, the limit stays as it was.
        let raised = increase_nofile_limit(u64::MAX);
        let limit = raised.or_else(|_| getrlimit(Resource::NOFILE).map(|(soft, _)| soft));
        let limit = limit.ok().filter(|limit| *limit < u64::MAX);
        limit.map_or(WITHOUT_LIMIT, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        })
    }
    #[cfg(not(unix))]
    WITHOUT_LIMIT
}

/// The numbers of the signals that ask the program to stop, as they come: INT, TERM, HUP, QUIT and XCPU. From
/// this call on, none is lost. The iterator waits, and has no end.
///
/// # Errors
/// An error of the system.
#[cfg(all(feature = "cli", unix))]
pub fn stop_requests() -> io::Result<impl Iterator<Item = u8> + Send> {
    use nix::sys::signal::{SigSet, Signal};
    use signal_hook::iterator::Signals;

    const STOPPING: [Signal; 5] = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGXCPU,
    ];
    // They do nothing here. By default they would end the program. After SIGXFSZ the write that reached the
    // file size limit fails with an error.
    const HARMLESS: [Signal; 6] = [
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGXFSZ,
    ];
    let ignored = ignored_signals();
    let handled = STOPPING.into_iter().chain(HARMLESS);
    let handled = handled.filter(|signal| ignored & 1 << (*signal as i32 - 1) == 0);
    let handled: Vec<Signal> = handled.collect();
    let mut signals = Signals::new(handled.iter().map(|signal| *signal as i32))?;
    // They may have been blocked when the program was started, and new threads inherit that.
    SigSet::from_iter(handled).thread_unblock()?;
    let mut came = std::collections::VecDeque::new();
    let stopping = |signal: &i32| STOPPING.iter().any(|stopping| *stopping as i32 == *signal);
    Ok(std::iter::from_fn(move || {
        loop {
            match came.pop_front() {
                Some(signal) => return u8::try_from(signal).ok(),
                None => came.extend(signals.wait().filter(stopping)),
            }
        }
    }))
}

/// As on Unix, for Ctrl-C and Ctrl-Break, with the number of SIGINT.
///
/// # Errors
/// An error of the system.
#[cfg(all(feature = "cli", not(unix)))]
pub fn stop_requests() -> io::Result<impl Iterator<Item = u8> + Send> {
    let (sender, pressed) = std::sync::mpsc::channel();
    let on_press = move || sender.send(2).unwrap_or_default();
    ctrlc::set_handler(on_press).map_err(io::Error::other)?;
    Ok(pressed.into_iter())
}

/// The signals that were ignored when the program was started, one bit for each. They stay ignored, so that
/// `nohup` and `trap ''` work. Linux has them in `/proc`. Other systems need unsafe code for this.
#[cfg(all(feature = "cli", unix))]
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Whether standard input and standard output are closed. To be called before `main`: then the standard
/// library of Unix opens `/dev/null` in their place. On Windows, reading and writing fail anyway.
#[cfg(feature = "cli")]
#[must_use]
pub fn closed_streams() -> [bool; 2] {
    #[cfg(unix)]
    {
        use nix::fcntl::{FcntlArg, fcntl};
        [
            fcntl(io::stdin(), FcntlArg::F_GETFD).is_err(),
            fcntl(io::stdout(), FcntlArg::F_GETFD).is_err(),
        ]
    }
    #[cfg(not(unix))]
    [false; 2]
}

/// Standard input, without a buffer. On Windows, a console gives Unicode only to the standard library.
///
/// # Errors
/// An error of the system.
#[cfg(feature = "cli")]
pub fn standard_input() -> io::Result<Box<dyn Read + Send>> {
    let input = io::stdin();
    if cfg!(windows) && input.is_terminal() {
        return Ok(Box::new(input));
    }
    Ok(Box::new(Waiting(duplicate(&input)?)))
}

/// Standard output, without a buffer. On Windows, a console takes Unicode only from the standard library,
/// which has a buffer.
///
/// # Errors
/// An error of the system.
#[cfg(feature = "cli")]
pub fn standard_output() -> io::Result<Box<dyn Write + Send>> {
    let output = io::stdout();
    if cfg!(windows) && output.is_terminal() {
        return Ok(Box::new(output));
    }
    Ok(Box::new(duplicate(&output)?))
}

/// A descriptor of one's own for `stream`.
#[cfg(all(feature = "cli", unix))]
fn duplicate(stream: &impl std::os::fd::AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

/// A handle of one's own for `stream`.
#[cfg(all(feature = "cli", not(unix)))]
fn duplicate(stream: &impl std::os::windows::io::AsHandle) -> io::Result<File> {
    stream.as_handle().try_clone_to_owned().map(File::from)
}

/// An input that waits for bytes. On Unix, whoever shares it may have made it non-blocking.
#[cfg(feature = "cli")]
struct Waiting(File);

#[cfg(feature = "cli")]
impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        loop {
            use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let input = std::os::fd::AsFd::as_fd(&self.0);
                    // If this fails, the next read says why.
                    let _ = poll(
                        &mut [PollFd::new(input, PollFlags::POLLIN)],
                        PollTimeout::NONE,
                    );
                }
                read => return read,
            }
        }
        #[cfg(not(unix))]
        self.0.read(buffer)
    }
}
