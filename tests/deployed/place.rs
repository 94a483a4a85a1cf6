//! A network and a file system of this program's own, so that a recipe runs as it is: with its addresses,
//! ports and paths. What a recipe's program writes is gone when this program ends.

use std::env;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::common::command::succeeds;
use crate::common::process::PATIENCE;
use crate::common::trials::Need;

/// This variable is set when this program runs in its namespaces.
const INSIDE: &str = "UPCASE_DEPLOY_INSIDE";

/// Starts a script in namespaces of its own. All that it starts ends with it, and it ends with this program.
const UNSHARE: [&str; 12] = [
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "sh",
    "-euc",
];

/// Prepares the namespaces. Writable folders lie over those of this system, which stay as they are. Machines are
/// connected to a bridge.
const PREPARE: &str = "
mount -t tmpfs tmpfs /run
for folder in etc var usr/local; do
    upper=/run/upper/$folder work=/run/work/$folder
    mkdir -p $upper $work
    mount -t overlay overlay -o lowerdir=/$folder,upperdir=$upper,workdir=$work /$folder
done
mkdir -p /run/lock
ip link set lo up
ip link add br0 type bridge
ip address add 192.0.2.1/24 dev br0
ip address add 2001:db8::1/64 dev br0 nodad
ip link set br0 up
";

/// Runs this program as a child of process 1: an interrupt from the keyboard would not end process 1 itself.
const RUN: &str = r#"
"$@"
exit 0
"#;

/// Where a server or a balancer on this machine listens.
pub const PUBLIC: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 8080);

/// What every test here needs.
pub static PLACE: Need = Need::new("root's rights and ip, for a network of its own", is_inside);

fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this program again in namespaces of its own, and returns its exit code. Returns nothing if this is
/// inside already, or cannot be.
pub fn enter() -> Option<ExitCode> {
    if is_inside() || !succeeds(&[&UNSHARE[..], &[PREPARE]].concat()) {
        return None;
    }
    let mut command = Command::new(UNSHARE[0]);
    command.args(&UNSHARE[1..]).arg([PREPARE, RUN].concat());
    // The script's own name comes first.
    command
        .arg("sh")
        .arg(env::current_exe().expect("this program has a path"));
    // Those of an earlier run that was interrupted.
    remove_control_groups();
    // The number is unique while this program runs.
    let number = process::id().to_string();
    command.args(env::args_os().skip(1)).env(INSIDE, &number);
    let status = command.status().expect("it was started a moment ago");
    remove_control_groups();
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Some(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The name of a control group of this run. It is removed at the end, which namespaces do not do.
pub fn control_group() -> String {
    format!("upcase-deploy-{}", env::var(INSIDE).expect("it is inside"))
}

/// Removes the control groups of this run and of those that have ended. They are empty.
fn remove_control_groups() {
    let remove = format!(
        "
        for group in $(find /sys/fs/cgroup -maxdepth 2 -type d -name 'upcase-deploy-*'); do
            number=${{group##*-}}
            [ $number != {} ] && [ -e /proc/$number ] || find $group -depth -type d -exec rmdir {{}} +
        done",
        process::id()
    );
    succeeds(&["sh", "-c", &remove]);
}

/// Runs a script, which succeeds within a minute. Returns what it prints.
#[track_caller]
pub fn sh(script: &str) -> String {
    let output = Command::new("timeout")
        .args(["60", "sh", "-euc", script])
        .output();
    let output = output.expect("a shell starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {script}\n{errors}",
        output.status
    );
    String::from_utf8(output.stdout).expect("text")
}

/// A connection from this machine's address `from`.
pub fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(1))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// The file `name` of the recipes.
pub fn recipe(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/deploy")
        .join(name);
    assert!(path.is_file(), "{}", path.display());
    path
}

/// The command in the comments of the recipe `name` that has `part`.
#[track_caller]
pub fn written(name: &str, part: &str) -> String {
    let recipe = fs::read_to_string(recipe(name)).expect("text");
    // A command may have several lines.
    let recipe = recipe.replace("\\\n#", "");
    let mut commands = recipe.lines().filter_map(|line| line.strip_prefix("#   "));
    let command = commands.find(|command| command.contains(part));
    command.expect("a command").to_owned()
}

/// The command in a sentence or a table of tests/deploy/README.md that has `part`.
#[track_caller]
pub fn command_on_page(part: &str) -> String {
    let page = fs::read_to_string(recipe("README.md")).expect("text");
    let mut quoted = page.split('`');
    let command = quoted.find(|text| text.contains(part) && !text.contains('\n'));
    // In a table, a pipe is escaped.
    command.expect("a command").replace("\\|", "|")
}

/// Copies the recipe `name` to where its first comment, or its page, says that it belongs.
pub fn install(name: &str, to: &str) {
    let parent = Path::new(to).parent().expect("a folder");
    fs::create_dir_all(parent).expect("a folder");
    fs::copy(recipe(name), to).expect("a file");
}

/// Another machine of this network, with an address of its own. It is removed on drop.
pub struct Machine {
    name: &'static str,
    /// Its address, which is also how it sees this one as 192.0.2.1.
    pub address: &'static str,
}

impl Machine {
    /// The machine `name` with this `address` in 192.0.2.0/24.
    #[track_caller]
    pub fn new(name: &'static str, address: &'static str) -> Self {
        sh(&format!(
            "
            ip netns add {name}
            ip link add to-{name} type veth peer name eth0 netns {name}
            ip link set to-{name} master br0 up
            ip -n {name} link set lo up
            ip -n {name} address add {address}/24 dev eth0
            ip -n {name} link set eth0 up
            "
        ));
        Self { name, address }
    }

    /// A command that runs `program` on this machine.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name]).arg(program);
        command
    }

    /// Cuts the machine off from the network, as by a pulled cable.
    pub fn cut_off(&self) {
        sh(&format!("ip link set to-{} down", self.name));
    }

    /// Connects it again.
    pub fn connect(&self) {
        sh(&format!("ip link set to-{} up", self.name));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = succeeds(&["ip", "netns", "delete", self.name]);
        let _ = succeeds(&["ip", "link", "delete", &format!("to-{}", self.name)]);
    }
}
