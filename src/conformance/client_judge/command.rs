//! The client's command line, and one run of it as a child process.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::STARTING;
use crate::platform::to_argument;

/// How many bytes of an output are kept.
const KEPT: usize = 65_536;

/// How long the rest of an output is waited for after the client has exited. A process that the client
/// has started may keep it open.
const REST: Duration = Duration::from_secs(1);

/// A name that stands for the server's addresses.
pub const NAME: &str = "server.test";

/// A name that does not exist (RFC 6761).
pub const NO_NAME: &str = "no-such-name.invalid";

/// Runs the command that follows the first argument, which is its list of hosts. Nothing else sees that.
///
/// A file system in memory holds the files, and is covered by nothing when the command runs.
const WITH_HOSTS: &str = r#"
mount -t tmpfs none /tmp &&
printf '%s' "$1" > /tmp/hosts && shift && mount --bind /tmp/hosts /etc/hosts &&
{ test ! -e /etc/nsswitch.conf ||
  { echo 'hosts: files' > /tmp/switch && mount --bind /tmp/switch /etc/nsswitch.conf; }; } &&
umount -l /tmp && exec "$@""#;

/// What a shell exits with if it cannot start the command.
const NOT_STARTED: [i32; 2] = [126, 127];

/// What a client is told.
pub struct Arguments<'a> {
    /// The host, as an address or a name.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The message.
    pub message: &'a [u8],
}

/// A client's command line, for one run.
pub struct CommandLine {
    words: Vec<OsString>,
    /// Whether the message is one of the words.
    has_message: bool,
    /// Whether a shell starts it.
    is_wrapped: bool,
}

impl CommandLine {
    /// The words of `command`, with what they stand for.
    ///
    /// # Errors
    /// Why there is no such command line.
    pub fn new(command: &[OsString], arguments: &Arguments) -> Result<Self, String> {
        if command.is_empty() {
            return Err("the client's command line is empty; name a program".into());
        }
        let has = |name: &str| {
            let mut texts = command.iter().filter_map(|word| word.to_str());
            texts.any(|text| text.contains(name))
        };
        let has_message = has("{message}");
        let message = match to_argument(arguments.message) {
            Some(message) => message,
            None if has_message => {
                return Err(
                    "an argument of a command line cannot hold this message; let the client \
                            read it from standard input, without {message}"
                        .into(),
                );
            }
            None => OsString::new(),
        };
        let host = arguments.host;
        let address = if host.contains(':') {
            format!("[{host}]:{}", arguments.port)
        } else {
            format!("{host}:{}", arguments.port)
        };
        let values = [
            ("{host}", host.into()),
            ("{port}", arguments.port.to_string().into()),
            ("{address}", address.into()),
            ("{message}", message),
        ];
        let mut words: Vec<_> = command.iter().map(|word| fill(word, &values)).collect();
        if !["{host}", "{port}", "{address}"]
            .iter()
            .any(|name| has(name))
        {
            words.extend([host.into(), arguments.port.to_string().into()]);
        }
        Ok(Self {
            words,
            has_message,
            is_wrapped: false,
        })
    }

    /// The same, where [`NAME`] is the name of these addresses, in their order; see [`can_name`].
    pub fn with_name(self, ips: &[IpAddr]) -> Self {
        let mut words = wrapper(ips);
        words.extend(self.words);
        Self {
            words,
            is_wrapped: true,
            ..self
        }
    }

    /// Starts the client with `message` on its standard input, whose end comes after `before_end`
    /// returns.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub fn start(
        &self,
        message: Vec<u8>,
        before_end: impl FnOnce() + Send + 'static,
    ) -> Result<Running, String> {
        let input = if self.has_message {
            Stdio::null()
        } else {
            Stdio::piped()
        };
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command.stdin(input);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = {
            let _starting = STARTING.lock();
            command.spawn()
        };
        let mut child =
            started.map_err(|error| not_started(&self.words[0].to_string_lossy(), &error))?;
        if let Some(mut stdin) = child.stdin.take() {
            // In a thread, because a client need not read. What it does not read, it does not want.
            thread::spawn(move || {
                let _ = stdin.write_all(&message);
                before_end();
            });
        }
        Ok(Running {
            stdout: Output::of(child.stdout.take()),
            stderr: Output::of(child.stderr.take()),
            child,
            is_wrapped: self.is_wrapped,
        })
    }
}

fn not_started(program: &str, error: &io::Error) -> String {
    let cure = match error.kind() {
        ErrorKind::NotFound => "; check its name, or build it first",
        ErrorKind::PermissionDenied => "; make the file executable",
        _ => "",
    };
    format!("this machine cannot start {program:?}: {error}{cure}")
}

/// Whether a client can be given a name of its own.
///
/// # Errors
/// What this machine lacks.
pub fn can_name() -> Result<(), String> {
    static CAN_NAME: LazyLock<bool> = LazyLock::new(|| {
        let ips = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        let mut words = wrapper(&ips);
        words.extend(["getent", "ahosts", NAME].map(Into::into));
        let output = {
            let _starting = STARTING.lock();
            Command::new(&words[0]).args(&words[1..]).output()
        };
        output.is_ok_and(|output| {
            let printed = String::from_utf8_lossy(&output.stdout);
            ips.iter().all(|ip| printed.contains(&ip.to_string()))
        })
    });
    let lack = "this machine cannot give a client a list of hosts of its own; that needs Linux, the \
                programs unshare, mount and getent, and the right to use namespaces";
    CAN_NAME.then_some(()).ok_or_else(|| lack.into())
}

/// The words before a command for which [`NAME`] has these addresses.
fn wrapper(ips: &[IpAddr]) -> Vec<OsString> {
    let lines = ips.iter().map(|ip| format!("{ip} {NAME}\n"));
    let hosts = lines.collect::<String>();
    [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        WITH_HOSTS,
        "sh",
    ]
    .map(Into::into)
    .into_iter()
    .chain([hosts.into()])
    .collect()
}

/// `word`, with the values in place of their names. What a value has is not replaced again.
fn fill(word: &OsStr, values: &[(&str, OsString)]) -> OsString {
    let Some(mut rest) = word.to_str() else {
        return word.into();
    };
    let mut filled = OsString::new();
    let next = |rest: &str| {
        let found = values
            .iter()
            .filter_map(|(name, value)| Some((rest.find(name)?, *name, value)));
        found
            .min_by_key(|(at, ..)| *at)
            .map(|(at, name, value)| (at, name.len(), value))
    };
    while let Some((at, length, value)) = next(rest) {
        filled.push(&rest[..at]);
        filled.push(value);
        rest = &rest[at + length..];
    }
    filled.push(rest);
    filled
}

/// A client that runs. It is killed on drop.
pub struct Running {
    child: Child,
    stdout: Output,
    stderr: Output,
    is_wrapped: bool,
}

/// What a client has left behind.
pub struct Finished {
    /// How it ended; `None` if it was killed because its time was up.
    pub status: Option<ExitStatus>,
    /// The first bytes on standard output.
    pub stdout: Vec<u8>,
    /// The first bytes on standard error.
    pub stderr: Vec<u8>,
}

impl Running {
    /// Whether it has exited.
    ///
    /// # Errors
    /// The system does not say.
    pub fn has_exited(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// What it has left behind. If it has not exited, it is killed.
    ///
    /// # Errors
    /// Why it did not run.
    pub fn finish(mut self) -> Result<Finished, String> {
        let lost = |error: io::Error| format!("this machine cannot wait for the client: {error}");
        let status = self.child.try_wait().map_err(lost)?;
        if status.is_none() {
            self.child.kill().map_err(lost)?;
            self.child.wait().map_err(lost)?;
        }
        let until = Instant::now() + REST;
        let (stdout, stderr) = (self.stdout.take(until), self.stderr.take(until));
        let code = status.and_then(|status| status.code());
        if self.is_wrapped && code.is_some_and(|code| NOT_STARTED.contains(&code)) {
            let why = String::from_utf8_lossy(&stderr);
            return Err(format!(
                "this machine cannot start the client: {}",
                why.trim()
            ));
        }
        Ok(Finished {
            status,
            stdout,
            stderr,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The beginning of an output, which a thread reads to its end.
struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Output {
    fn of(output: Option<impl Read + Send + 'static>) -> Self {
        let kept = Arc::<Mutex<Vec<u8>>>::default();
        let (sender, ended) = channel();
        let keeper = Arc::clone(&kept);
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            let mut output = output;
            while let Some(Ok(count @ 1..)) = output.as_mut().map(|output| output.read(&mut buffer))
            {
                let mut kept = keeper.lock().unwrap_or_else(PoisonError::into_inner);
                let room = KEPT - kept.len();
                kept.extend(&buffer[..count.min(room)]);
            }
            let _ = sender.send(());
        });
        Self { kept, ended }
    }

    fn take(&self, until: Instant) -> Vec<u8> {
        let left = until.saturating_duration_since(Instant::now());
        let _ = self.ended.recv_timeout(left);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut kept)
    }
}
