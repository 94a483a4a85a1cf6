//! `HAProxy` and stunnel as services, by the units of their packages and the lines of the recipes, in the machine of
//! booted.rs.

use std::net::TcpStream;
use std::thread;

use libtest_mimic::Trial;

use crate::common::connection::Connection;
use crate::common::process::PATIENCE;
use crate::common::server::Server;
use crate::common::trials::trial;
use crate::common::wait::wait_until;

use super::balancer::{Replica, replicas_with};
use super::booted::{NSPAWN, ROOT, Unit, inside, install_inside, new_in_journal, property};
use super::load::{Load, exchange};
use super::needs::{HAPROXY, SOCAT, STUNNEL};
use super::place::{PLACE, PUBLIC, sh};
use super::tls::{TLS, certify, renew, serial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            haproxy_loses_nothing_in_reloads,
            [&PLACE, &NSPAWN, &HAPROXY, &SOCAT],
        ),
        trial(
            haproxy_finishes_open_connections_when_it_is_stopped,
            [&PLACE, &NSPAWN, &HAPROXY, &SOCAT],
        ),
        trial(
            journal_has_every_line_that_haproxy_writes,
            [&PLACE, &NSPAWN, &HAPROXY, &SOCAT],
        ),
        trial(
            haproxy_reloads_a_certificate,
            [&PLACE, &NSPAWN, &HAPROXY, &SOCAT],
        ),
        trial(
            stunnel_has_room_for_many_clients,
            [&PLACE, &NSPAWN, &STUNNEL],
        ),
        trial(
            fronts_come_back_after_ten_crashes,
            [&PLACE, &NSPAWN, &HAPROXY, &SOCAT, &STUNNEL],
        ),
    ]
}

/// Where TLS is.
const FRONT: &str = "192.0.2.1:8443";

/// `HAProxy` by the recipe `name`.
#[track_caller]
fn haproxy(name: &str) -> Unit {
    install_inside(name, "/etc/haproxy/haproxy.cfg");
    inside(
        "echo 'u haproxy - - /var/lib/haproxy' | systemd-sysusers -
        mkdir -p /var/lib/haproxy /run/haproxy",
    );
    let unit = Unit::start("haproxy.service", "haproxy-systemd.conf");
    wait_until_master_answers();
    unit
}

/// Waits until the master process of `HAProxy` handles signals. One that comes while it starts can be lost.
#[track_caller]
fn wait_until_master_answers() {
    wait_until("the master answers", || {
        let answer = inside("echo 'show proc' | socat - /run/haproxy-master.sock || true");
        answer.contains("worker")
    });
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
    let children = || inside(&format!("cat /proc/{main}/task/{main}/children"));
    let load = Load::start(4, PUBLIC, PATIENCE);
    for _ in 0..RELOADS {
        let before = children();
        inside("systemctl reload haproxy.service");
        wait_until("only a new process serves", || {
            let now = children();
            now.split_whitespace().count() == 1 && now != before
        });
        exchange(PUBLIC, 1);
        wait_until_master_answers();
    }
    load.stop().assert_nothing_lost();
}

fn haproxy_finishes_open_connections_when_it_is_stopped() {
    let _balancer = balancer();
    let mut slow = Connection::connect(PUBLIC);
    slow.send(b"hel");
    // It has accepted the slow client, which was first.
    exchange(PUBLIC, 1);
    let stop = thread::spawn(|| inside("systemctl stop haproxy.service"));
    wait_until("the port is closed", || TcpStream::connect(PUBLIC).is_err());
    slow.send(b"lo\n");
    assert_eq!(slow.reply(), b"HELLO");
    drop(slow);
    // How it exits is not checked: HAProxy 2.6 sometimes crashes after its last connection.
    stop.join().unwrap();
}

/// Of how many connections the journal must have a line: of more than its limit in booted.rs allows.
const LINES: usize = 1000;

fn journal_has_every_line_that_haproxy_writes() {
    let _balancer = balancer();
    new_in_journal("haproxy.service");
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
    let (mut made, mut lines) = (0, 0);
    let mut count = || {
        lines += new_in_journal("haproxy.service")
            .matches("\"request_bytes\":6")
            .count();
        lines
    };
    wait_until("the journal has many lines", || {
        exchange(PUBLIC, LINES);
        made += LINES;
        count() >= LINES
    });
    // It logs a connection after its end.
    wait_until("every line is there, or counted", || {
        count() + dropped() >= made
    });
    println!("{} lines of {made}", count());
}

fn haproxy_reloads_a_certificate() {
    certify_inside();
    let _haproxy = haproxy("haproxy-tls.cfg");
    let old = serial(FRONT);
    renew(&format!("{ROOT}{TLS}"));
    inside("systemctl reload haproxy.service");
    wait_until("it has the new one", || serial(FRONT) != old);
}

fn stunnel_has_room_for_many_clients() {
    /// By default it refuses more than 500, and the journal has fewer lines.
    const HELD: usize = 600;
    let (_stunnel, server) = stunnel();
    new_in_journal("stunnel@upcase.service");
    let connect = |_| TcpStream::connect(FRONT).expect("a connection");
    let _held: Vec<_> = (0..HELD).map(connect).collect();
    let ask = format!(
        "cd {ROOT}{TLS}; echo hello | openssl s_client -quiet -verify_return_error -connect {FRONT} \
            -CAfile authority.crt -cert alice.pem 2>/dev/null"
    );
    assert_eq!(sh(&ask), "HELLO");
    let mut lines = 0;
    wait_until("the journal has a line of each", || {
        let new = new_in_journal("stunnel@upcase.service");
        lines += new.matches("accepted connection").count();
        lines > HELD
    });
    server.stop();
}

fn fronts_come_back_after_ten_crashes() {
    let crash = |unit, address: &str| {
        for _ in 0..10 {
            let before = property(unit, "NRestarts");
            inside(&format!(
                "systemctl kill --kill-whom=all --signal=KILL {unit}"
            ));
            wait_until("it is started again", || {
                property(unit, "NRestarts") != before
            });
            wait_until("it listens", || TcpStream::connect(address).is_ok());
        }
    };
    {
        let _balancer = balancer();
        crash("haproxy.service", &PUBLIC.to_string());
    }
    let _stunnel = stunnel();
    crash("stunnel@upcase.service", FRONT);
}
