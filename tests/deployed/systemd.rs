//! The units of the server, run by systemd in the machine of booted.rs. Where that cannot boot, other systemd programs
//! check the units.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Instant;

use assert_cmd::cargo::cargo_bin;
use libtest_mimic::Trial;
use upcase::client;

use crate::common::command::succeeds;
use crate::common::connection::Connection;
use crate::common::process::PATIENCE;
use crate::common::suite::suite_passes;
use crate::common::trials::{Need, trial};
use crate::common::wait::wait_until;

use super::booted::{
    NSPAWN, ROOT, Unit, clean_up, inside, install_inside, new_in_journal, property,
};
use super::load::{Load, Seen, exchange};
use super::logs;
use super::needs::{JQ, LOGROTATE};
use super::place::{PLACE, PUBLIC, command_on_page, install, sh, written};
use super::service::Service;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(units_pass_the_checks_of_systemd, [&PLACE, &ANALYZE]),
        trial(socket_activate_serves_ipv4_and_ipv6, [&PLACE, &ACTIVATE]),
        trial(suite_passes_in_the_sandbox, [&PLACE, &NSPAWN]),
        trial(one_socket_unit_serves_ipv4_and_ipv6, [&PLACE, &NSPAWN]),
        trial(loopback_socket_refuses_other_addresses, [&PLACE, &NSPAWN]),
        trial(port_stays_open_after_ten_crashes, [&PLACE, &NSPAWN]),
        trial(port_stays_open_if_no_server_starts, [&PLACE, &NSPAWN]),
        trial(port_stays_open_after_forty_quick_starts, [&PLACE, &NSPAWN]),
        trial(hundred_restarts_lose_no_request, [&PLACE, &NSPAWN]),
        trial(
            hundred_overlapping_restarts_lose_no_request,
            [&PLACE, &NSPAWN],
        ),
        trial(
            overlapping_restart_serves_while_the_old_server_ends,
            [&PLACE, &NSPAWN],
        ),
        trial(
            restart_keeps_the_old_server_if_no_new_one_starts,
            [&PLACE, &NSPAWN],
        ),
        trial(
            start_of_another_service_does_not_hang_the_server,
            [&PLACE, &NSPAWN],
        ),
        trial(journal_has_every_line_of_a_burst, [&PLACE, &NSPAWN]),
        trial(alarm_finds_warnings_and_no_requests, [&PLACE, &NSPAWN]),
        trial(journal_of_its_own_has_every_line, [&PLACE, &NSPAWN]),
        trial(
            rotation_by_restart_loses_no_line,
            [&PLACE, &NSPAWN, &LOGROTATE],
        ),
        trial(
            logrotate_looks_every_five_minutes,
            [&PLACE, &NSPAWN, &LOGROTATE],
        ),
        trial(jq_reads_the_journal, [&PLACE, &NSPAWN, &JQ]),
    ]
}

static ANALYZE: Need = Need::new("systemd-analyze", || {
    succeeds(&["systemd-analyze", "--version"])
});
static ACTIVATE: Need = Need::new("systemd-socket-activate", || {
    succeeds(&["systemd-socket-activate", "--version"])
});

/// Where the socket unit listens, as IPv4 and as IPv6.
const ADDRESSES: [&str; 2] = ["192.0.2.1:8080", "[2001:db8::1]:8080"];

/// Copies the server to where the unit expects it.
fn install_server() {
    fs::copy(cargo_bin!("upcase-server"), "/usr/local/bin/upcase-server").expect("a copy");
}

/// The units in the machine. They are stopped and removed on drop.
struct Units;

impl Units {
    /// Installs and starts them as tests/deploy/README.md says, with the lines of `drop_in` for the service.
    #[track_caller]
    fn start(drop_in: &str) -> Self {
        install_server();
        for unit in ["upcase.socket", "upcase.service"] {
            install_inside(unit, &format!("/etc/systemd/system/{unit}"));
        }
        let folder = format!("{ROOT}/etc/systemd/system/upcase.service.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            format!("{folder}/test.conf"),
            format!("[Service]\n{drop_in}\n"),
        )
        .unwrap();
        let units = Self;
        inside("systemctl daemon-reload; systemctl --quiet enable --now upcase.socket");
        units
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        clean_up(
            "upcase.socket upcase.service",
            "systemctl --quiet disable --now upcase.socket
            systemctl --quiet stop upcase.service upcase-second.service
            rm -rf /etc/systemd/system/upcase.* /run/systemd/system/upcase*",
        );
    }
}

fn units_pass_the_checks_of_systemd() {
    install_server();
    for unit in ["upcase.socket", "upcase.service"] {
        install(unit, &format!("/etc/systemd/system/{unit}"));
    }
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args([
            "/etc/systemd/system/upcase.socket",
            "/etc/systemd/system/upcase.service",
        ])
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.success(), "{complaints}");
    assert!(!complaints.contains("upcase"), "{complaints}");
    // The exposure is a number from 0 to 10; the threshold is ten times as much.
    let security = sh(
        "systemd-analyze security --no-pager --offline=yes --threshold=10 /etc/systemd/system/upcase.service",
    );
    let score = security.lines().find(|line| line.contains("Overall"));
    println!("{}", score.expect("the score"));
}

fn socket_activate_serves_ipv4_and_ipv6() {
    install_server();
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen=8080", "/usr/local/bin/upcase-server"]);
    let service = Service::start(&mut command).serves(PUBLIC);
    for address in ADDRESSES {
        exchange(address.parse().unwrap(), 1);
    }
    wait_until("the log says so", || {
        service.printed().contains("Servidor rodando em [::]:8080")
    });
}

fn suite_passes_in_the_sandbox() {
    let systemd = inside("systemctl --version");
    println!("booted {}", systemd.lines().next().unwrap_or_default());
    let _units = Units::start("Environment=UPCASE_TIMEOUT=3");
    exchange(PUBLIC, 1);
    let pid = property("upcase.service", "MainPID");
    let status = inside(&format!("cat /proc/{pid}/status"));
    for line in ["CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert!(!status.contains("Uid:\t0\t"), "{status}");
    let network = |pid| inside(&format!("readlink /proc/{pid}/ns/net"));
    assert_ne!(network(&*pid), network("1"));
    suite_passes(PUBLIC);
    assert_eq!(property("upcase.service", "NRestarts"), "0");
}

/// A listener for IPv6 has no connections of IPv4, until this is dropped.
struct OnlyIpv6;

impl OnlyIpv6 {
    const SETTING: &str = "/proc/sys/net/ipv6/bindv6only";

    fn set() -> Self {
        fs::write(Self::SETTING, "1").expect("a setting of this network");
        Self
    }
}

impl Drop for OnlyIpv6 {
    fn drop(&mut self) {
        let _ = fs::write(Self::SETTING, "0");
    }
}

fn one_socket_unit_serves_ipv4_and_ipv6() {
    new_in_journal("upcase.service");
    let only = OnlyIpv6::set();
    let _units = Units::start("");
    drop(only);
    for address in ADDRESSES {
        exchange(address.parse().unwrap(), 1);
    }
    inside("systemctl stop upcase.socket");
    let log = new_in_journal("upcase.service");
    for peer in ["192.0.2.1", "2001:db8::1"] {
        let line = format!("Recebido de {peer}:");
        assert!(log.contains(&line), "{log}");
    }
    assert!(!log.contains("upcase-server: "), "a warning: {log}");
}

fn loopback_socket_refuses_other_addresses() {
    let _units = Units::start("");
    exchange(PUBLIC, 1);
    let drop_in = "/etc/systemd/system/upcase.socket.d/loopback.conf";
    install_inside("loopback.conf", drop_in);
    inside(&written("loopback.conf", "systemctl"));
    let refused = TcpStream::connect(PUBLIC).map(|_| ());
    exchange("127.0.0.1:8080".parse().unwrap(), 1);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

fn port_stays_open_after_ten_crashes() {
    let _units = Units::start("");
    let begin = Instant::now();
    let signals = ["KILL", "ABRT", "HUP"].iter().cycle();
    for (count, signal) in (1..=10).zip(signals) {
        exchange(PUBLIC, 1);
        inside(&format!("systemctl kill --signal={signal} upcase.service"));
        wait_until("it is started again", || {
            property("upcase.service", "NRestarts") == count.to_string()
        });
    }
    println!("10 crashes within {:.1?}", begin.elapsed());
    exchange(PUBLIC, 1);
}

fn port_stays_open_if_no_server_starts() {
    let _units = Units::start("ExecStart=\nExecStart=false");
    let waiting = thread::spawn(|| client::exchange(PUBLIC, b"hello", PATIENCE));
    wait_until("it has failed often", || {
        let count = property("upcase.service", "NRestarts");
        count.parse::<u32>().expect("a number") >= 10
    });
    inside("rm /etc/systemd/system/upcase.service.d/test.conf; systemctl daemon-reload");
    let reply = waiting.join().unwrap();
    assert_eq!(reply.expect("a reply"), b"HELLO");
}

fn port_stays_open_after_forty_quick_starts() {
    let _units = Units::start(QUIET);
    let begin = Instant::now();
    for _ in 0..40 {
        // The next connection starts it again.
        exchange(PUBLIC, 1);
        inside("systemctl --quiet stop upcase.service");
    }
    println!("40 starts within {:.1?}", begin.elapsed());
    exchange(PUBLIC, 1);
}

/// Calls `restart` a hundred times under load, of which nothing is lost. An exchange comes after each.
#[track_caller]
fn hundred_times(restart: impl Fn()) {
    let load = Load::start(2, PUBLIC, PATIENCE);
    let begin = Instant::now();
    for _ in 0..100 {
        restart();
        exchange(PUBLIC, 1);
    }
    print!("within {:.1?}: ", begin.elapsed());
    load.stop().assert_nothing_lost();
}

/// Without a log, which would cost the journal more than the server.
const QUIET: &str = "Environment=UPCASE_LOG=none";

fn hundred_restarts_lose_no_request() {
    let _units = Units::start(QUIET);
    hundred_times(|| drop(inside("systemctl restart upcase.service")));
}

const RESTART: &str = "/usr/local/sbin/upcase-restart";

fn hundred_overlapping_restarts_lose_no_request() {
    let _units = Units::start(QUIET);
    install("upcase-restart", RESTART);
    hundred_times(|| drop(inside(RESTART)));
    assert_eq!(property("upcase-second.service", "ActiveState"), "inactive");
}

fn overlapping_restart_serves_while_the_old_server_ends() {
    let _units = Units::start("Environment=UPCASE_TIMEOUT=10");
    install("upcase-restart", RESTART);
    let mut slow = Connection::connect(PUBLIC);
    slow.send(b"hel");
    // This server has accepted the slow client, which was first.
    exchange(PUBLIC, 1);
    let restart = thread::spawn(|| inside(RESTART));
    wait_until("the old server stops", || {
        property("upcase.service", "ActiveState") == "deactivating"
    });
    let mut seen = Seen::default();
    for _ in 0..20 {
        seen.exchange(PUBLIC, b"hello", PATIENCE);
    }
    assert!(!restart.is_finished(), "it waits for the slow client");
    slow.send(b"lo\n");
    assert_eq!(slow.reply(), b"HELLO");
    drop(slow);
    restart.join().unwrap();
    seen.assert_nothing_lost();
}

fn restart_keeps_the_old_server_if_no_new_one_starts() {
    let _units = Units::start("");
    install("upcase-restart", RESTART);
    exchange(PUBLIC, 1);
    let old = property("upcase.service", "MainPID");
    inside(
        "
        mkdir /run/systemd/system/upcase.service.d
        printf '[Service]\nExecStart=\nExecStart=false\n' >/run/systemd/system/upcase.service.d/broken.conf
        systemctl daemon-reload",
    );
    let ended = inside(&format!("{RESTART} 2>&1 || echo failed"));
    println!("{ended}");
    assert!(ended.ends_with("failed\n"), "{ended}");
    assert_eq!(property("upcase.service", "MainPID"), old);
    assert_eq!(property("upcase-second.service", "ActiveState"), "inactive");
    exchange(PUBLIC, 1);
}

fn start_of_another_service_does_not_hang_the_server() {
    let _units = Units::start("");
    exchange(PUBLIC, 1);
    // systemd makes the socket blocking. A second server would soon change that, and this program does not.
    inside(
        "cd /run/systemd/system
        systemctl cat upcase.service |
            sed 's|^ExecStart=.*|ExecStart=sleep 1000|; /^NonBlocking\\|^Type/d' >upcase-second.service
        systemctl daemon-reload
        systemctl start upcase-second.service",
    );
    let pid = property("upcase-second.service", "MainPID");
    wait_until("systemd has prepared it", || {
        inside(&format!("cat /proc/{pid}/comm")) == "sleep\n"
    });
    for _ in 0..4 {
        exchange(PUBLIC, 1);
    }
    // A server that hangs in `accept` is killed after TimeoutStopSec.
    inside("systemctl --quiet stop upcase.service");
    assert_eq!(property("upcase.service", "Result"), "success");
}

/// Makes one connection, and then a burst with an overlapping restart. Returns how many lines about connections that
/// adds to the journal which `options` select.
#[track_caller]
fn lines_in_journal(options: &str) -> usize {
    install("upcase-restart", RESTART);
    let count = || {
        let journal = format!("journalctl {options}");
        // At first there may be no such journal.
        let lines = inside(&format!(
            "{journal} --sync && {journal} --unit='upcase*' --output=cat || true"
        ));
        lines.matches("\"outcome\":\"replied\"").count()
    };
    let before = count();
    exchange(PUBLIC, 1);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| exchange(PUBLIC, BURST / 4));
        }
        inside(RESTART);
    });
    inside("systemctl stop upcase.socket");
    count() - before
}

/// The connections of a burst. They are more than the journal allows, and fewer than the server's
/// queue holds. So the server itself drops nothing.
const BURST: usize = 4000;

fn journal_has_every_line_of_a_burst() {
    let json = "Environment=UPCASE_LOG=json";
    let units = Units::start(json);
    assert_eq!(lines_in_journal(""), BURST + 1);
    drop(units);
    // Without the lines of the unit, the journal drops some.
    let _units = Units::start(&format!(
        "{json}\nLogRateLimitIntervalSec=30s\nLogRateLimitBurst=100"
    ));
    let lines = lines_in_journal("");
    println!("{lines} of {BURST} lines with a low limit");
    assert!(lines < BURST);
}

/// A setting with which the server warns: more connections than its limit of file descriptors allows.
const WARNS: &str = "Environment=UPCASE_MAX_CONNECTIONS=1000000";

/// The warnings that the command in tests/deploy/README.md finds in the journal that `options` select.
#[track_caller]
fn warnings(options: &str) -> Vec<String> {
    let command = command_on_page("grep").replace("journalctl", &format!("journalctl {options}"));
    let found = inside(&format!(
        "journalctl {options} --sync; {command} || [ $? = 1 ]"
    ));
    found.lines().map(str::to_owned).collect()
}

fn alarm_finds_warnings_and_no_requests() {
    let before = warnings("").len();
    let _units = Units::start(WARNS);
    exchange(PUBLIC, 1);
    let request = b"upcase-server: the disk is full";
    let reply = client::exchange(PUBLIC, request, PATIENCE);
    assert_eq!(reply.unwrap(), b"UPCASE-SERVER: THE DISK IS FULL");
    inside("systemctl stop upcase.socket");
    let found = warnings("");
    println!("{found:?}");
    assert_eq!(found.len(), before + 1);
    assert!(found[before].contains("1000000"), "{found:?}");
}

fn journal_of_its_own_has_every_line() {
    install_inside("journald@upcase.conf", "/etc/systemd/journald@upcase.conf");
    install_inside(
        "journal.conf",
        "/etc/systemd/system/upcase.service.d/journal.conf",
    );
    let _units = Units::start(WARNS);
    let journal = "--namespace=upcase";
    assert_eq!(lines_in_journal(journal), BURST + 1);
    // The first server, the second one, and the restarted one.
    assert_eq!(warnings(journal).len(), 3);
}

fn rotation_by_restart_loses_no_line() {
    const ROTATIONS: usize = 5;
    install("upcase-restart", RESTART);
    install_inside(
        "file.conf",
        "/etc/systemd/system/upcase.service.d/file.conf",
    );
    install_inside("logrotate-systemd.conf", "/etc/logrotate.d/upcase");
    inside(&written("file.conf", "install"));
    let _units = Units::start(WARNS);
    let before = warnings("").len();
    let load = Load::start(2, PUBLIC, PATIENCE);
    for _ in 0..ROTATIONS {
        exchange(PUBLIC, 1);
        inside("logrotate --force --state /run/logrotate.state /etc/logrotate.d/upcase");
        wait_until("a new server writes to the new file", || {
            inside("cat /var/log/upcase.log").contains("\"listening\"")
        });
        // Another restart goes on with the same file.
        inside("systemctl restart upcase.service");
        let owner = inside("stat --format='%a %G' /var/log/upcase.log");
        assert_eq!(owner, "640 adm\n");
    }
    let seen = load.stop();
    inside("systemctl stop upcase.socket");
    assert!(warnings("").len() > before);
    let log = inside("zcat -f /var/log/upcase.log /var/log/upcase.log.*");
    let whole = log
        .lines()
        .all(|line| line.starts_with('{') && line.ends_with('}'));
    assert!(whole, "a line was cut");
    let lines = log.matches("\"outcome\":\"replied\"").count();
    println!("{lines} lines in {} files", ROTATIONS + 1);
    seen.assert_nothing_lost();
    assert_eq!(lines, seen.times.len() + ROTATIONS);
}

fn logrotate_looks_every_five_minutes() {
    let _timer = Unit::start("logrotate.timer", "logrotate-timer.conf");
    let times = property("logrotate.timer", "TimersCalendar");
    assert_eq!(times.matches("OnCalendar=").count(), 1, "{times}");
    assert!(times.contains("OnCalendar=*-*-* *:00/5:00 "), "{times}");
    assert_eq!(property("logrotate.timer", "AccuracyUSec"), "1min");
}

fn jq_reads_the_journal() {
    let _units = Units::start("Environment=UPCASE_LOG=json UPCASE_TIMEOUT=1");
    exchange(PUBLIC, 1);
    let mut stalled = Connection::connect(PUBLIC);
    stalled.send(b"hel");
    assert_eq!(stalled.reply(), b"");
    inside("systemctl stop upcase.socket");
    for name in ["rate.jq", "slow.jq", "unfinished.jq"] {
        install_inside(name, &format!("/srv/{name}"));
    }
    let ask = |name| {
        let command = written(name, "journalctl");
        let answer = inside(&format!("cd /srv; {command}"));
        println!("{answer}");
        answer
    };
    let log = inside("journalctl --sync; journalctl --unit='upcase*' --output=cat");
    let lines = log.matches("\"outcome\":").count();
    assert_eq!(logs::sum(&ask("rate.jq"), "connections "), lines as u64);
    assert!(ask("slow.jq").contains("192.0.2.1 longest "));
    let unfinished = ask("unfinished.jq");
    assert!(
        unfinished.starts_with("192.0.2.1 unfinished "),
        "{unfinished}"
    );
    assert!(unfinished.ends_with("last b'hel'\n"), "{unfinished}");
}
