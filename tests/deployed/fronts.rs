//! `HAProxy` and stunnel as services, by the units of their packages and the lines of the recipes, in the machine of
//! booted.rs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;

use libtest_mimic::Trial;

use crate::common::connection::Connection;
use crate::common::process::PATIENCE;
use crate::common::server::Server;
use crate::common::trials::trial;
use crate::common::wait::wait_until;

use super::balancer::{Replica, replicas_with};
use super::booted::{NSPAWN, ROOT, Unit, inside, install_inside, property};
use super::load::Load;
use super::needs::{HAPROXY, SOCAT, STUNNEL};
use super::place::{PLACE, recipe, sh};
use super::systemd::{assert_nothing_lost, exchange};
use super::tls::{certify, serial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            haproxy_loses_nothing_in_reloads,
            [&PLACE, &NSPAWN, &HAPROXY],
        ),
        trial(
            haproxy_finishes_open_connections_when_it_is_stopped,
            [&PLACE, &NSPAWN, &HAPROXY],
        ),
        trial(
            journal_has_every_line_that_haproxy_writes,
            [&PLACE, &NSPAWN, &HAPROXY, &SOCAT],
        ),
        trial(haproxy_reloads_a_certificate, [&PLACE, &NSPAWN, &HAPROXY]),
        trial(
            stunnel_has_room_for_many_clients,
            [&PLACE, &NSPAWN, &STUNNEL],
        ),
        trial(
            ports_stay_open_after_ten_crashes,
            [&PLACE, &NSPAWN, &HAPROXY, &STUNNEL],
        ),
    ]
}

/// Where `HAProxy` listens.
const BALANCER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 8080);

/// Where TLS is.
const FRONT: &str = "192.0.2.1:8443";

/// Where the certificates are in the machine.
const TLS: &str = "/etc/upcase/tls";

/// `HAProxy` by the recipe `name`.
#[track_caller]
fn haproxy(name: &str) -> Unit {
    install_inside(name, "/etc/haproxy/haproxy.cfg");
    inside(
        "echo 'u haproxy - - /var/lib/haproxy' | systemd-sysusers -
        mkdir -p /var/lib/haproxy /run/haproxy",
    );
    Unit::start("haproxy.service", "haproxy-systemd.conf")
}

/// `HAProxy` in front of three servers, and these.
#[track_caller]
fn balancer() -> (Unit, [Replica; 3]) {
    let replicas = replicas_with(&["--timeout", "10"]);
    (haproxy("haproxy.cfg"), replicas)
}

/// stunnel in front of a server on this machine, and that.
#[track_caller]
fn stunnel() -> (Unit, Server) {
    install_inside("stunnel-server.conf", "/etc/stunnel/upcase.conf");
    certify_inside();
    inside("echo 'u stunnel4 - - /var/run/stunnel4' | systemd-sysusers -");
    let server = Server::start_at("127.0.0.1:8080", &["--quiet"]);
    let stunnel = Unit::start("stunnel@upcase.service", "stunnel-systemd.conf");
    wait_until("it listens", || TcpStream::connect(FRONT).is_ok());
    (stunnel, server)
}

/// Makes certificates in the machine.
#[track_caller]
fn certify_inside() {
    certify(
        &format!("{ROOT}{TLS}"),
        &["server upcase.example", "client alice"],
    );
}

fn haproxy_loses_nothing_in_reloads() {
    const RELOADS: usize = 20;
    let _balancer = balancer();
    let main = property("haproxy.service", "MainPID");
    let workers = || {
        let workers = inside(&format!("cat /proc/{main}/task/{main}/children"));
        let workers: Vec<_> = workers.split_whitespace().map(str::to_owned).collect();
        workers
    };
    let load = Load::start(4, BALANCER, PATIENCE);
    for _ in 0..RELOADS {
        let before = workers();
        inside("systemctl reload haproxy.service");
        wait_until("only a new process serves", || {
            let now = workers();
            now.len() == 1 && !before.contains(&now[0])
        });
        exchange(BALANCER);
    }
    assert_nothing_lost(&load.stop());
}

fn haproxy_finishes_open_connections_when_it_is_stopped() {
    let _balancer = balancer();
    let mut slow = Connection::connect(BALANCER);
    slow.send(b"hel");
    // It has accepted the slow client, which was first.
    exchange(BALANCER);
    let stop = thread::spawn(|| inside("systemctl stop haproxy.service"));
    wait_until("the port is closed", || {
        TcpStream::connect(BALANCER).is_err()
    });
    slow.send(b"lo\n");
    assert_eq!(slow.reply(), b"HELLO");
    drop(slow);
    stop.join().unwrap();
    assert_eq!(property("haproxy.service", "Result"), "success");
}

/// How many connections a burst has: more than the journal of the machine allows by default.
const BURST: usize = 4000;

fn journal_has_every_line_that_haproxy_writes() {
    let _balancer = balancer();
    // Each call prints what is new.
    let new = || {
        inside(
            "journalctl --sync
            journalctl --unit=haproxy.service --output=cat --cursor-file=/run/cursor",
        )
    };
    new();
    for _ in 0..BURST {
        exchange(BALANCER);
    }
    // HAProxy does not wait for the journal, and counts the lines that it has not written.
    let dropped = || {
        let info = inside("echo 'show info' | socat - /run/haproxy/admin.sock");
        let mut lines = info.lines();
        let dropped = lines.find_map(|line| line.strip_prefix("DroppedLogs: "));
        dropped
            .expect("a field")
            .parse::<usize>()
            .expect("a number")
    };
    let mut lines = 0;
    // It logs a connection after its end.
    wait_until("every line is there, or counted", || {
        lines += new().matches("\"request_bytes\":6").count();
        lines + dropped() >= BURST
    });
    println!("{lines} lines of {BURST}");
}

fn haproxy_reloads_a_certificate() {
    certify_inside();
    let _haproxy = haproxy("haproxy-tls.cfg");
    let old = serial(FRONT);
    let script = recipe("certificates.sh");
    sh(&format!(
        "cd {ROOT}{TLS}; mv server.pem old.pem; sh {} server upcase.example",
        script.display()
    ));
    inside("systemctl reload haproxy.service");
    wait_until("it has the new one", || serial(FRONT) != old);
}

fn stunnel_has_room_for_many_clients() {
    let (_stunnel, server) = stunnel();
    let ask = format!(
        "cd {ROOT}{TLS}; echo hello | openssl s_client -quiet -verify_return_error -connect {FRONT} \
            -CAfile authority.crt -cert alice.pem 2>/dev/null"
    );
    assert_eq!(sh(&ask), "HELLO");
    let pid = property("stunnel@upcase.service", "MainPID");
    let limits = inside(&format!("cat /proc/{pid}/limits"));
    let limit = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    assert!(
        limit.is_some_and(|line| line.contains(" 10000 ")),
        "{limits}"
    );
    assert_eq!(property("stunnel@upcase.service", "TasksMax"), "10000");
    server.stop();
}

fn ports_stay_open_after_ten_crashes() {
    let listens = |unit, address: SocketAddr| {
        for count in 1..=10 {
            inside(&format!(
                "systemctl kill --kill-whom=all --signal=KILL {unit}"
            ));
            wait_until("it is started again", || {
                property(unit, "NRestarts") == count.to_string()
            });
            wait_until("it listens", || TcpStream::connect(address).is_ok());
        }
    };
    {
        let _balancer = balancer();
        listens("haproxy.service", BALANCER);
    }
    let _stunnel = stunnel();
    listens("stunnel@upcase.service", FRONT.parse().unwrap());
}
