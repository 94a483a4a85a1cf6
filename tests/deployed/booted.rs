//! A machine of systemd's own, which systemd-nspawn boots.
//!
//! It has the programs of this one, and nothing of its /etc. It shares this network.

use std::fs;
use std::io;
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::thread;

use crate::common::command::succeeds;
use crate::common::trials::Need;
use crate::common::wait::holds_in_time;

use super::place::{self, install, sh};
use super::service::Service;

pub static NSPAWN: Need = Need::new("a systemd-nspawn that boots here", || MACHINE.is_some());

/// The root folder of the machine.
pub const ROOT: &str = "/run/machine";

/// What the machine needs to boot. Of the units of this system it has only what is in /usr. Its journal allows few
/// lines, as that of a busy machine does.
const PREPARE: &str = "
mkdir -p $ROOT/etc/systemd/system $ROOT/etc/systemd/journald.conf.d $ROOT/usr
for link in bin lib lib64 sbin; do
    [ ! -L /$link ] || cp -P /$link $ROOT/
done
mount --rbind /usr $ROOT/usr
cp /usr/lib/os-release $ROOT/etc/
echo 0123456789abcdef0123456789abcdef >$ROOT/etc/machine-id
echo '[Unit]\nRequires=sysinit.target sockets.target\nAfter=sysinit.target sockets.target' \
    >$ROOT/etc/systemd/system/bare.target
echo '[Journal]\nRateLimitIntervalSec=30s\nRateLimitBurst=100\nSystemMaxUse=64M' \
    >$ROOT/etc/systemd/journald.conf.d/few.conf
";

/// Starts the machine in control groups of its own, which it does not share with another run of these tests.
const BOOT: &str = "
for groups in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -e $groups/cgroup.procs ] || continue
    mkdir -p $groups/$GROUP
    echo $$ >$groups/$GROUP/cgroup.procs
done
exec systemd-nspawn --directory=$ROOT --machine=upcase --boot --console=pipe --settings=no \
    --register=no --keep-unit --link-journal=no --resolv-conf=off --timezone=off \
    --capability=CAP_NET_ADMIN -- systemd.unit=bare.target
";

/// The machine, if it boots.
static MACHINE: LazyLock<Option<Booted>> = LazyLock::new(boot);

/// A machine that runs.
struct Booted {
    _service: Service,
    /// The process that is process 1 in it.
    init: String,
}

fn boot() -> Option<Booted> {
    if !succeeds(&["systemd-nspawn", "--version"]) {
        return None;
    }
    sh(&PREPARE.replace("$ROOT", ROOT));
    let mut command = Command::new("sh");
    command.args(["-euc", BOOT]).env("ROOT", ROOT);
    command.env("GROUP", place::control_group());
    let mut service = Service::start(&mut command);
    let is_active = |init: &String| {
        let enter = ["nsenter", "--all", "--target", init];
        let ask = ["systemctl", "--quiet", "is-active", "bare.target"];
        succeeds(&[&enter[..], &ask].concat())
    };
    let mut booted = None;
    holds_in_time(|| {
        booted = init(service.process.0.id()).filter(is_active);
        booted.is_some() || !matches!(service.process.0.try_wait(), Ok(None))
    });
    if let Some(init) = booted {
        return Some(Booted {
            _service: service,
            init,
        });
    }
    println!("systemd-nspawn does not boot:\n{}", service.printed());
    None
}

/// The child of systemd-nspawn that is process 1 of another namespace.
fn init(nspawn: u32) -> Option<String> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let is_first = |child: &&str| {
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        ids.is_some_and(|ids| ids.ends_with("\t1"))
    };
    children
        .split_whitespace()
        .find(is_first)
        .map(str::to_owned)
}

/// Runs a script in the machine, for at most a minute.
fn run(script: &str) -> io::Result<Output> {
    let init = &MACHINE.as_ref().expect("the test needs it").init;
    Command::new("timeout")
        .args(["60", "nsenter", "--all", "--target", init])
        .args(["sh", "-uc", script])
        .output()
}

/// Runs a script in the machine, which succeeds within a minute. Returns what it prints.
#[track_caller]
pub fn inside(script: &str) -> String {
    let output = run(&format!("set -e\n{script}")).expect("a shell starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    assert!(status.success(), "{status}: {script}\n{errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// Stops what a test has started in the machine by a script. If the test fails, it prints the state of the `units`.
pub fn clean_up(units: &str, script: &str) {
    let state = if thread::panicking() {
        format!("systemctl --no-pager status {units}; journalctl --no-pager -n 40")
    } else {
        "true".to_owned()
    };
    let output = run(&format!(
        "{state}\n{script}\nsystemctl reset-failed\nsystemctl daemon-reload"
    ));
    if thread::panicking() {
        let output = output.map(|output| output.stdout).unwrap_or_default();
        eprintln!("{}", String::from_utf8_lossy(&output));
    }
}

/// The property `name` of `unit`.
#[track_caller]
pub fn property(unit: &str, name: &str) -> String {
    let value = inside(&format!("systemctl show --value --property={name} {unit}"));
    value.trim().to_owned()
}

/// What the journal has about `unit` that the last call did not return.
#[track_caller]
pub fn new_in_journal(unit: &str) -> String {
    inside(&format!(
        "journalctl --sync
        journalctl --unit={unit} --output=cat --cursor-file=/run/cursor-{unit}"
    ))
}

/// Copies the recipe `name` to a path in the machine.
pub fn install_inside(name: &str, to: &str) {
    install(name, &format!("{ROOT}{to}"));
}

/// A unit of the machine that comes from a package. It is stopped on drop.
pub struct Unit(&'static str);

impl Unit {
    /// Starts the `unit` with the lines of a recipe.
    #[track_caller]
    pub fn start(unit: &'static str, recipe: &str) -> Self {
        let drop_in = format!("/etc/systemd/system/{unit}.d/upcase.conf");
        install_inside(recipe, &drop_in);
        let started = Self(unit);
        inside(&format!(
            "systemctl daemon-reload; systemctl --quiet start {unit}"
        ));
        started
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let unit = self.0;
        clean_up(
            unit,
            &format!("systemctl --quiet stop {unit}; rm -r /etc/systemd/system/{unit}.d"),
        );
    }
}
