//! A right server behind a proxy is not blamed. This project's server passes the whole suite through
//! `HAProxy`, which copies the bytes of each connection, and through two ends of stunnel, which encrypt
//! them on the way.
//!
//! Rules for the proxies:
//!
//! - A proxy passes on a half-close (SPEC section 10), and lets the other direction go on.
//! - A proxy waits longer than the server's deadline, so that the server ends what has to end.
//! - A proxy listens on a loopback address of its own. Nobody else takes a port there, so the port that
//!   is chosen is still free when the proxy starts.

mod common {
    pub mod command;
    pub mod command_line;
    pub mod process;
    pub mod program;
    pub mod suite;
    pub mod trials;
    pub mod wait;
}

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode, Stdio};
use std::thread;

use assert_cmd::cargo::cargo_bin;
use common::command::succeeds;
use common::process::Process;
use common::program::Program;
use common::suite::suite_passes;
use common::trials::{self, Need, trial};
use common::wait::wait_until;
use upcase::conformance::ServerJudge;

fn main() -> ExitCode {
    let trials = vec![
        trial(suite_passes_through_haproxy, [&HAPROXY, &ADDRESSES]),
        trial(suite_passes_through_stunnel, [&STUNNEL, &ADDRESSES]),
    ];
    trials::run(2, trials)
}

static HAPROXY: Need = Need::new("haproxy", || succeeds(&["haproxy", "-v"]));
static STUNNEL: Need = Need::new("stunnel", || stunnel().is_some());
static ADDRESSES: Need = Need::new("the loopback addresses 127.77.1.1 to 127.77.1.3", || {
    let mut addresses = [TO_HAPROXY, TO_STUNNEL, WITHIN_STUNNEL].into_iter();
    addresses.all(|address| TcpListener::bind((address, 0)).is_ok())
});

/// Where `HAProxy` listens.
const TO_HAPROXY: Ipv4Addr = Ipv4Addr::new(127, 77, 1, 1);

/// Where the end of stunnel that encrypts listens.
const TO_STUNNEL: Ipv4Addr = Ipv4Addr::new(127, 77, 1, 2);

/// Where the end of stunnel that decrypts listens.
const WITHIN_STUNNEL: Ipv4Addr = Ipv4Addr::new(127, 77, 1, 3);

/// What both ends of stunnel know: a name and a key.
const SECRET: &str = "upcase:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";

/// The name of stunnel's program, which not every system has under both names.
fn stunnel() -> Option<&'static str> {
    let mut names = ["stunnel", "stunnel4"].into_iter();
    names.find(|name| succeeds(&[name, "-version"]))
}

fn suite_passes_through_haproxy() {
    let server = start_server();
    let files = Files::new("haproxy");
    let here = free_address(TO_HAPROXY);
    let to = server.address;
    // The time-outs are longer than a server's longest deadline, and a second more to accept. The
    // connections need no more descriptors than a process usually has.
    let configuration = format!(
        "\
global
    maxconn 400
defaults
    mode tcp
    timeout connect 1s
    timeout client 11s
    timeout server 11s
listen upcase
    bind {here}
    server upcase {to}
"
    );
    let configuration = files.write("configuration", &configuration);
    let mut command = Command::new("haproxy");
    // -db: in the foreground, as one process.
    command.arg("-db").arg("-f").arg(configuration);
    let proxy = Proxy::start(&mut command, files, here);
    suite_passes(proxy.address);
}

fn suite_passes_through_stunnel() {
    let server = start_server();
    let files = Files::new("stunnel");
    let here = free_address(TO_STUNNEL);
    let between = free_address(WITHIN_STUNNEL);
    let to = server.address;
    let secrets = files.write("secrets", SECRET);
    let secrets = secrets.display();
    // TIMEOUTclose is how long the other direction goes on after a half-close. With 0 stunnel closes
    // both directions at once, and replies are lost.
    let configuration = format!(
        "\
foreground = yes
pid =
syslog = no
debug = err
ciphers = PSK
PSKsecrets = {secrets}
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
TIMEOUTidle = 11
TIMEOUTclose = 11

[encrypts]
client = yes
accept = {here}
connect = {between}

[decrypts]
accept = {between}
connect = {to}
"
    );
    let configuration = files.write("configuration", &configuration);
    let mut command = Command::new(stunnel().expect("the test needs it"));
    let proxy = Proxy::start(command.arg(configuration), files, here);
    suite_passes(proxy.address);
}

/// Starts this project's server. Its deadline is short, so that the tests are too, and longer than the
/// least, because a proxy and a busy machine take time.
fn start_server() -> Program {
    let mut command = Command::new(cargo_bin!("upcase-server"));
    command.args(["--bind", "127.0.0.1:0", "--timeout", "3", "--quiet"]);
    Program::start(&mut command)
}

/// The address `ip` with a port that is free.
#[track_caller]
fn free_address(ip: Ipv4Addr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).expect("a free port");
    listener.local_addr().expect("the listener's address")
}

/// A running proxy, which is killed on drop. Its output is shown if the test fails.
struct Proxy {
    process: Process,
    files: Files,
    /// Where it listens.
    address: SocketAddr,
}

impl Proxy {
    /// Starts `command`, which listens at `address`, and waits until the server answers through it.
    #[track_caller]
    fn start(command: &mut Command, files: Files, address: SocketAddr) -> Self {
        let output = File::create(files.path("output")).expect("a file for the output");
        let errors = output.try_clone().expect("another descriptor");
        let command = command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let mut proxy = Self {
            process: Process(command.spawn().expect("the proxy starts")),
            files,
            address,
        };
        let mut ended = None;
        wait_until("the proxy serves", || {
            ended = proxy.process.0.try_wait().expect("it is a child");
            // Each probe has a judge of its own, which remembers nothing.
            ended.is_some() || ServerJudge::new(address).probe().is_ok()
        });
        assert!(ended.is_none(), "the proxy does not start: {ended:?}");
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            let output = fs::read(self.files.path("output")).unwrap_or_default();
            let output = String::from_utf8_lossy(&output);
            // stunnel has a line for each connection that fails.
            let lines: Vec<_> = output.lines().take(20).collect();
            let lines = lines.join("\n");
            let _ = writeln!(io::stderr(), "the proxy's output begins:\n{lines}");
        }
    }
}

/// A folder of this run, which is removed on drop.
struct Files(PathBuf);

impl Files {
    #[track_caller]
    fn new(name: &str) -> Self {
        let name = format!("{name}-{}", process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that only its owner can read: stunnel asks for that where a key is.
    #[track_caller]
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.expect("a new file");
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
