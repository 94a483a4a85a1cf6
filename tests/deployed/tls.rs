//! Encryption and authentication in front of the server: TLS, with certificates on both sides, and SSH.
//!
//! The server is on another machine, at its loopback address. The person who uses it is alice, on this machine,
//! with the rights of a user. Commands are read out of the recipes.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;

use assert_cmd::cargo::cargo_bin;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::command::succeeds;
use crate::common::connection::Connection;
use crate::common::process::without_variables;
use crate::common::server::Server;
use crate::common::suite::suite_passes;
use crate::common::trials::{Need, trial};
use crate::common::wait::wait_until;

use super::attacks::{ATTACKER, add_attacker, delays_nobody};
use super::needs::{DESCRIPTORS, HAPROXY, SOCAT, STUNNEL};
use super::place::{Machine, PLACE, command_on_page, connect_from, install, recipe, sh, written};
use super::service::Service;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(suite_passes_through_tls_by_stunnel, [&PLACE, &STUNNEL]),
        trial(
            suite_passes_through_tls_by_haproxy,
            [&PLACE, &STUNNEL, &HAPROXY],
        ),
        trial(stunnel_refuses_strangers, [&PLACE, &STUNNEL]),
        trial(haproxy_refuses_strangers, [&PLACE, &STUNNEL, &HAPROXY]),
        trial(
            one_command_is_enough_for_tls,
            [&PLACE, &STUNNEL, &HAPROXY, &SOCAT],
        ),
        trial(clients_refuse_a_false_server, [&PLACE, &STUNNEL, &SOCAT]),
        trial(
            half_close_survives_as_close_notify,
            [&PLACE, &STUNNEL, &HAPROXY],
        ),
        trial(
            fin_without_close_notify_ends_the_stream,
            [&PLACE, &STUNNEL, &HAPROXY],
        ),
        trial(
            stunnel_needs_a_restart_for_a_new_certificate,
            [&PLACE, &STUNNEL],
        ),
        trial(certificates_are_valid_for_a_year, [&PLACE]),
        trial(fronts_drop_the_rights_of_root, [&PLACE, &STUNNEL, &HAPROXY]),
        trial(
            stalled_handshakes_delay_nobody,
            [&PLACE, &STUNNEL, &HAPROXY, &DESCRIPTORS],
        ),
        trial(haproxy_logs_address_and_name, [&PLACE, &HAPROXY, &SOCAT]),
        trial(stunnel_logs_address_and_name, [&PLACE, &STUNNEL, &SOCAT]),
        trial(client_is_served_through_ssh, [&PLACE, &SSH]),
        trial(ssh_leads_to_the_server_and_nowhere_else, [&PLACE, &SSH]),
    ]
}

static SSH: Need = Need::new("the server and the client of OpenSSH", || {
    Path::new("/usr/sbin/sshd").exists() && succeeds(&["ssh", "-V"])
});

/// Where the certificates of the server are.
pub const TLS: &str = "/etc/upcase/tls";

/// Where alice's certificates are.
const ALICE: &str = "/run/home/alice/upcase";

/// Where alice's clients connect.
fn here() -> SocketAddr {
    "127.0.0.1:8080".parse().expect("an address")
}

/// Where the server's side of TLS listens.
fn in_front() -> SocketAddr {
    "192.0.2.11:8443".parse().expect("an address")
}

/// A server on a machine of its own, which nothing reaches from outside.
struct Host {
    server: Server,
    machine: Machine,
}

impl Host {
    #[track_caller]
    fn start() -> Self {
        let machine = Machine::new("host", "192.0.2.11");
        let mut command = machine.command(cargo_bin!("upcase-server"));
        command.args([
            "--bind",
            "127.0.0.1:8080",
            "--timeout",
            "3",
            "--log",
            "json",
        ]);
        without_variables(&mut command);
        let server = Server::start_by(command);
        resolve_to(machine.address);
        let outside = TcpStream::connect((machine.address, 8080));
        outside.expect_err("it listens on loopback only");
        Self { server, machine }
    }

    /// Runs `command`, until something listens at `port` of this machine.
    #[track_caller]
    fn listens(&self, mut command: Command, port: u16) -> Service {
        let mut service = Service::start(&mut command);
        let address = (self.machine.address, port);
        service.wait("it listens", || TcpStream::connect(address).is_ok());
        service
    }

    /// stunnel in front of the server.
    #[track_caller]
    fn stunnel(&self) -> Service {
        install("stunnel-server.conf", "/etc/stunnel/upcase.conf");
        let [limit, line] = ["ulimit", "stunnel "].map(|part| written("stunnel-server.conf", part));
        let mut command = self.machine.command("sh");
        // First the limit that a program has by default.
        let script = format!("ulimit -S -n 1024; {limit}; exec {line}");
        command.args(["-c", &script]);
        self.listens(command, 8443)
    }

    /// `HAProxy` in front of the server.
    #[track_caller]
    fn haproxy(&self) -> Service {
        install("haproxy-tls.cfg", "/etc/haproxy/haproxy.cfg");
        sh("mkdir -p /run/haproxy");
        let mut command = self.machine.command("haproxy");
        command.args(["-db", "-f", "/etc/haproxy/haproxy.cfg"]);
        self.listens(command, 8443)
    }

    /// Stops the server. Returns the requests that reached it, and how many connections did.
    #[track_caller]
    fn stop(self) -> (Vec<String>, u64) {
        let (stdout, _) = self.server.stop();
        let mut lines: Vec<Value> = stdout
            .iter()
            .map(|line| serde_json::from_str(line).expect("an object"))
            .collect();
        let totals = lines.pop().expect("the totals");
        let requests = lines.iter().map(|line| &line["request"]);
        let requests = requests.map(|request| request.as_str().expect("text").to_owned());
        let connections = totals["totals"]["connections"].as_u64();
        (requests.collect(), connections.expect("a number"))
    }
}

/// Lets the name of the server have this address.
#[track_caller]
fn resolve_to(address: &str) {
    let hosts = format!("127.0.0.1 localhost\n::1 localhost\n{address} upcase.example\n");
    fs::write("/etc/hosts", hosts).expect("a file of this place");
}

/// Makes an authority in a new folder, and certificates by these commands of the recipe.
#[track_caller]
pub fn certify(folder: &str, commands: &[&str]) {
    let script = recipe("certificates.sh");
    sh(&format!("rm -rf {folder}; mkdir -p {folder}"));
    for command in [&["authority"], commands].concat() {
        let script = script.display();
        sh(&format!("cd {folder}; sh {script} {command}"));
    }
}

/// Makes a new certificate of the server in this folder.
#[track_caller]
pub fn renew(folder: &str) {
    let script = recipe("certificates.sh");
    sh(&format!(
        "cd {folder}; mv server.pem old.pem; sh {} server upcase.example",
        script.display()
    ));
}

/// The serial number of the certificate that is shown at this address.
#[track_caller]
pub fn serial(address: &str) -> String {
    sh(&format!(
        "(openssl s_client -connect {address} </dev/null 2>/dev/null || true) | openssl x509 -noout -serial"
    ))
}

/// Makes the certificates of the server and of alice, and gives alice's to her.
#[track_caller]
fn certify_all() {
    let written = ["certificates.sh server", "certificates.sh client"]
        .map(|part| written("certificates.sh", part).replace("sh certificates.sh ", ""));
    certify(TLS, &written.each_ref().map(String::as_str));
    user("alice", "--create-home --home-dir /run/home/alice");
    sh(&format!(
        "rm -rf {ALICE}; mkdir {ALICE}
        mv {TLS}/alice.pem {ALICE}; cp {TLS}/authority.crt {ALICE}; chown -R alice: {ALICE}"
    ));
    for key in [format!("{TLS}/server.pem"), format!("{ALICE}/alice.pem")] {
        let mode = fs::metadata(&key).expect("a key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

/// Makes the user `name`, unless there is one.
#[track_caller]
fn user(name: &str, options: &str) {
    sh(&format!(
        "mkdir -p /run/home; id {name} 2> /dev/null || useradd {options} {name}"
    ));
}

/// A command that alice runs.
fn alice(command: &[&str]) -> Command {
    let home = fs::metadata("/run/home/alice").expect("alice's home");
    let [program, arguments @ ..] = command else {
        panic!("a program");
    };
    let mut command = Command::new(program);
    command.args(arguments);
    command.uid(home.uid()).gid(home.gid()).current_dir(ALICE);
    command.env("HOME", "/run/home/alice");
    command
}

/// What alice's command line does.
fn output(line: &str) -> Output {
    let mut command = alice(&["timeout", "20", "sh", "-c", line]);
    let output = command.stdin(Stdio::null()).output();
    output.expect("a shell starts")
}

/// The reply that alice's command line prints.
#[track_caller]
fn reply(line: &str) -> String {
    let output = output(line);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// alice's stunnel, with the server behind it.
fn tunnel() -> Service {
    install(
        "stunnel-client.conf",
        &format!("{ALICE}/stunnel-client.conf"),
    );
    listening_here(&written("stunnel-client.conf", "stunnel stunnel-client"))
}

/// Runs alice's command line, until something listens here.
#[track_caller]
fn listening_here(line: &str) -> Service {
    let mut service = Service::start(&mut alice(&["sh", "-c", &format!("exec {line}")]));
    service.wait("it listens", || {
        // A connection would go on to the server.
        let sockets = sh("ss -Hltn src 127.0.0.1:8080");
        !sockets.is_empty()
    });
    service
}

/// The command of the recipe `name` that has `part`, with `upcase-client` as it was built.
fn written_for_client(name: &str) -> String {
    let command = written(name, "upcase-client");
    let client = format!("'{}'", cargo_bin!("upcase-client").display());
    command.replace("upcase-client", &client)
}

fn suite_passes_through_tls_by_stunnel() {
    certify_all();
    let host = Host::start();
    let _front = host.stunnel();
    let _tunnel = tunnel();
    suite_passes(here());
}

fn suite_passes_through_tls_by_haproxy() {
    certify_all();
    let host = Host::start();
    let _front = host.haproxy();
    let _tunnel = tunnel();
    suite_passes(here());
}

fn stunnel_refuses_strangers() {
    certify_all();
    let host = Host::start();
    let front = host.stunnel();
    strangers_are_refused(host, front);
}

/// What stands in front of a server.
type Front = fn(&Host) -> Service;

fn stalled_handshakes_delay_nobody() {
    certify_all();
    let host = Host::start();
    add_attacker();
    // How many handshakes begin, and how many of them stay open: more than stunnel allows by default, and fewer than
    // HAProxy allows in all.
    let fronts: [(Front, &str, usize, usize); 2] = [
        (Host::stunnel, "1,000 handshakes, stunnel", 1_000, 1_000),
        (Host::haproxy, "4,500 handshakes, HAProxy", 4_500, 200),
    ];
    for (front, attack, count, open) in fronts {
        let _front = front(&host);
        let _tunnel = tunnel();
        let stall = |_| match connect_from(ATTACKER.into(), in_front()) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            stream => Some(stream.expect("a connection, or a refusal")),
        };
        let stalled: Vec<_> =
            delays_nobody(here(), attack, || (0..count).filter_map(stall).collect());
        let is_open = |mut stream: &TcpStream| {
            stream.set_nonblocking(true).expect("a socket");
            let read = stream.read(&mut [0]);
            read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        assert_eq!(
            stalled.iter().filter(|stream| is_open(stream)).count(),
            open
        );
    }
}

fn stunnel_needs_a_restart_for_a_new_certificate() {
    certify_all();
    let host = Host::start();
    let front = host.stunnel();
    let shown = || serial("192.0.2.11:8443");
    let old = shown();
    renew(TLS);
    kill_process(Pid::from_child(&front.process.0), Signal::HUP).expect("it runs");
    wait_until("the reload fails", || {
        front
            .printed()
            .contains("Failed to reload the configuration file")
    });
    assert_eq!(shown(), old);
    drop(front);
    let _front = host.stunnel();
    assert_ne!(shown(), old);
}

/// The alarm on the page finds a certificate that ends soon.
fn certificates_are_valid_for_a_year() {
    certify(TLS, &["server upcase.example"]);
    let command = command_on_page("-checkend");
    let seconds = |days: u32| (days * 24 * 60 * 60).to_string();
    let alarm = |days| {
        let command = command.replace(&seconds(30), &seconds(days));
        !succeeds(&["sh", "-c", &command])
    };
    assert!(command.contains(&seconds(30)), "{command}");
    assert_eq!([30, 364, 366].map(alarm), [false, false, true]);
}

fn fronts_drop_the_rights_of_root() {
    certify_all();
    let host = Host::start();
    let fronts: [(Front, &str); 2] = [(Host::stunnel, "stunnel4"), (Host::haproxy, "haproxy")];
    for (front, user) in fronts {
        let front = front(&host);
        let pid = front.process.0.id();
        let ids = |field: &str| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            line.expect("a field")
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let id = |option: &str| sh(&format!("id {option} {user}")).trim().to_owned();
        // A program listens before it changes its user.
        wait_until(user, || {
            let all = |id: String| vec![id; 4];
            ids("Uid:") == all(id("-u")) && ids("Gid:") == all(id("-g"))
        });
        assert_eq!(ids("CapPrm:"), ["0000000000000000"]);
        assert!(!ids("Groups:").contains(&"0".to_owned()));
    }
}

/// A server, and a front through which alice has made an exchange.
#[track_caller]
fn used_by_alice(front: Front) -> (Host, Service) {
    certify_all();
    let host = Host::start();
    let front = front(&host);
    let shown = reply(&written("stunnel-client.conf", "socat"));
    assert_eq!(shown, "OLÁ, SERVIDOR!");
    (host, front)
}

fn haproxy_logs_address_and_name() {
    let (host, front) = used_by_alice(Host::haproxy);
    let line = || {
        let log = front.printed();
        let mut lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["name"] == "alice")
    };
    wait_until("it is logged", || line().is_some());
    let line = line().expect("it was found a moment ago");
    println!("{line}");
    assert_eq!(line["client"], "192.0.2.1");
    assert_eq!(line["end"], "--");
    let (stdout, _) = host.server.stop();
    let via = line["via"].as_str().expect("an address");
    assert!(stdout.iter().any(|line| line.contains(via)), "{stdout:?}");
}

fn stunnel_logs_address_and_name() {
    let (_host, front) = used_by_alice(Host::stunnel);
    let logged = ["from ::ffff:192.0.2.1:", "CN=alice"];
    wait_until("it is logged", || {
        let log = front.printed();
        logged.iter().all(|part| log.contains(part))
    });
}

fn haproxy_refuses_strangers() {
    certify_all();
    let host = Host::start();
    let front = host.haproxy();
    let log = strangers_are_refused(host, front);
    assert!(log.contains("SSL handshake failure"), "{log}");
}

/// Strangers: what each uses instead of alice's certificate, and the number of the TLS alert that refuses it.
const STRANGERS: [(&str, u32); 6] = [
    ("", 116),
    ("-cert other/alice.pem", 48),
    ("-cert expired.pem", 45),
    ("-cert server.pem", 43),
    ("-cert alice.pem -tls1_1 -cipher DEFAULT@SECLEVEL=0", 70),
    ("-tls1_2", 40),
];

/// Makes a certificate of alice that has expired: `expired.pem`, beside her own.
#[track_caller]
fn expire() {
    // Only `openssl ca` takes dates.
    sh(&format!(
        r"
        cat > /run/ca.conf <<'END'
[ca]
default_ca = own
[own]
database = /run/ca.index
new_certs_dir = /run
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = client
[any]
commonName = supplied
[client]
extendedKeyUsage = clientAuth
END
        : > /run/ca.index
        cd {TLS}
        openssl req -new -key {ALICE}/alice.pem -subj /CN=alice -out /run/request
        openssl ca -batch -notext -config /run/ca.conf -cert authority.crt -keyfile authority.pem \
            -startdate 20200101000000Z -enddate 20210101000000Z -in /run/request -out /run/expired.crt
        cd {ALICE}
        openssl pkey -in alice.pem | cat - /run/expired.crt > expired.pem
        "
    ));
}

/// alice gets replies. Strangers get none, and the server does not see them. Returns what the front has logged.
#[track_caller]
fn strangers_are_refused(host: Host, front: Service) -> String {
    certify("/run/other", &["client alice"]);
    expire();
    sh(&format!(
        "cp -r /run/other {TLS}/server.pem {ALICE}; chown -R alice: {ALICE}"
    ));
    let openssl = written("stunnel-client.conf", "openssl s_client");
    let (_, openssl) = openssl.split_once(" | ").expect("a pipe");
    let comes = |options: &str| {
        let reply = reply(&format!("echo alice | {openssl} {options}"));
        assert_eq!(reply, "ALICE");
    };
    comes("-tls1_2");
    comes("-tls1_3");
    for (certificate, alert) in STRANGERS {
        let openssl = openssl.replace("-cert alice.pem", certificate);
        // Nothing is sent, because then the connection may be reset before the alert is read.
        let refused = output(&format!(": | {openssl}"));
        let errors = String::from_utf8_lossy(&refused.stderr);
        let expected = format!("SSL alert number {alert}\n");
        assert!(errors.contains(&expected), "{certificate}: {errors}");
        let refused = output(&format!("echo stranger | {openssl}"));
        let seen = (refused.status.success(), &refused.stdout[..]);
        assert_eq!(seen, (false, &b""[..]), "{certificate}");
    }
    let mut plain = Connection::connect(in_front());
    plain.send(b"stranger\n");
    let mut answer = Vec::new();
    let _ = plain.0.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("STRANGER"), "{answer}");
    comes("");
    let log = front.printed();
    drop(front);
    let (requests, connections) = host.stop();
    assert_eq!(requests, [r"b'alice\x0a'"; 3]);
    assert_eq!(connections, 3);
    log
}

fn one_command_is_enough_for_tls() {
    certify_all();
    let host = Host::start();
    let commands = ["socat", "openssl s_client"].map(|part| written("stunnel-client.conf", part));
    for front in [Host::stunnel, Host::haproxy] {
        let _front = front(&host);
        for command in &commands {
            assert_eq!(reply(command), "OLÁ, SERVIDOR!", "{command}");
        }
        let _tunnel = tunnel();
        assert_eq!(sh(&written_for_client("stunnel-client.conf")), SHOWN);
        // Without a line feed, only the half-close ends the request.
        let (_, socat) = commands[0].split_once(" | ").expect("a pipe");
        assert_eq!(reply(&format!("printf half | {socat}")), "HALF");
    }
}

/// What `upcase-client` shows.
const SHOWN: &str = "Sent:     Olá, servidor!\nReceived: OLÁ, SERVIDOR!\n";

fn clients_refuse_a_false_server() {
    certify_all();
    certify("/run/other", &["server upcase.example"]);
    let script = recipe("certificates.sh");
    sh(&format!(
        "
        cd {TLS}
        mv server.pem true.pem
        cp /run/other/server.pem of-another-authority.pem
        sh {0} server other.example; mv server.pem of-another-name.pem
        sh {0} client upcase.example; mv upcase.example.pem of-a-client.pem
        ",
        script.display()
    ));
    let host = Host::start();
    let mut client = Command::new(cargo_bin!("upcase-client"));
    client.arg("hello");
    for certificate in [
        "of-another-authority",
        "of-another-name",
        "of-a-client",
        "true",
    ] {
        sh(&format!("cp {TLS}/{certificate}.pem {TLS}/server.pem"));
        let _front = host.stunnel();
        let _tunnel = tunnel();
        let outputs = [
            output(&written("stunnel-client.conf", "socat")),
            output(&written("stunnel-client.conf", "openssl s_client")),
            client.output().expect("the client starts"),
        ];
        for output in outputs {
            let is_true = certificate == "true";
            let seen = (output.status.success(), !output.stdout.is_empty());
            assert_eq!(seen, (is_true, is_true), "{certificate}: {output:?}");
        }
    }
    // socat looks at the name after the handshake. It sends nothing then.
    let (mut requests, _) = host.stop();
    requests.retain(|request| request != "b''");
    assert_eq!(requests.len(), 3, "{requests:?}");
}

/// Starts sshd on the host, and gives alice a key.
#[track_caller]
fn ssh(host: &Host) -> Service {
    user("alice", "--create-home --home-dir /run/home/alice");
    let mkuser = written("sshd.conf", "useradd").replace("useradd ", "");
    let (options, name) = mkuser.rsplit_once(' ').expect("a name");
    user(name, options);
    install("sshd.conf", "/etc/ssh/sshd_config.d/upcase.conf");
    sh(&format!(
        "
        mkdir -p /run/sshd {ALICE}
        ssh-keygen -A
        cd /run/home/alice
        rm -rf .ssh; mkdir .ssh; cd .ssh
        for name in id_ed25519 stranger; do
            ssh-keygen -q -t ed25519 -N '' -f $name
        done
        (printf 'upcase.example '; cat /etc/ssh/ssh_host_ed25519_key.pub) > known_hosts
        chown -R alice: . {ALICE}
        rm -rf /etc/upcase; cp id_ed25519.pub alice.pub
        {}
        {}
        ",
        written("sshd.conf", "mkdir"),
        written("sshd.conf", "authorized_keys")
    ));
    let mut command = host.machine.command("/usr/sbin/sshd");
    command.args(["-D", "-e"]);
    host.listens(command, 22)
}

fn client_is_served_through_ssh() {
    let host = Host::start();
    let _sshd = ssh(&host);
    let _forward = listening_here(&written("sshd.conf", "ssh -N"));
    assert_eq!(sh(&written_for_client("sshd.conf")), SHOWN);
}

fn ssh_leads_to_the_server_and_nowhere_else() {
    let host = Host::start();
    let sshd = ssh(&host);
    let through = written("sshd.conf", "ssh -W");
    assert_eq!(reply(&through), "OLÁ, SERVIDOR!");
    let (_, ssh) = through.split_once(" | ").expect("a pipe");
    let elsewhere = ssh.replace("127.0.0.1:8080", "127.0.0.1:22");
    let user = ssh.rsplit(' ').next().expect("the user");
    let stranger = "-i ~/.ssh/stranger -o IdentitiesOnly=yes";
    let refused = [
        (elsewhere, "administratively prohibited"),
        (format!("ssh {user} id >&2"), "not available"),
        (
            format!("ssh -N -o ExitOnForwardFailure=yes -R 9000:127.0.0.1:22 {user}"),
            "forwarding failed",
        ),
        (
            ssh.replace("ssh ", &format!("ssh {stranger} ")),
            "Permission denied (publickey)",
        ),
    ];
    for (refused, why) in refused {
        let output = output(&refused);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains(why),
            "{refused}: {errors}"
        );
    }
    // A socket with a path, such as that of a service for root.
    let _forward = listening_here(&format!("ssh -N -L 8080:/run/systemd/private {user}"));
    let _connection = Connection::connect(here());
    wait_until("it refuses a path", || {
        sshd.printed().contains("refused streamlocal port forward")
    });
    let (_, connections) = host.stop();
    assert_eq!(connections, 1);
}

/// What TLS 1.3 adds to the content of a record that it encrypts: its type, and a tag.
const ADDED: usize = 1 + 16;

/// The length of `close_notify`, encrypted.
const CLOSE_NOTIFY: usize = 2 + ADDED;

/// A client half-closes. TLS records are passed on until one has a length that does not pass. Returns the reply, and
/// the way and the length of each record.
#[track_caller]
fn half_closed(
    host: &Host,
    front: Front,
    passes: fn(usize) -> bool,
) -> (Vec<u8>, Vec<(&'static str, usize)>) {
    let _front = front(host);
    // alice's stunnel connects to this machine, which passes the records on and sees their lengths.
    resolve_to("192.0.2.1");
    let listener = TcpListener::bind("192.0.2.1:8443").expect("a free port");
    listener.set_nonblocking(true).expect("no waits");
    let _tunnel = tunnel();
    let mut connection = Connection::connect(here());
    connection.send(b"half-closed");
    (connection.0.shutdown(Shutdown::Write)).expect("a half-close");
    let mut accepted = None;
    wait_until("alice's stunnel connects", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (client, _) = accepted.expect("a connection");
    let client = Connection::over(client).0;
    let server = Connection::connect(in_front()).0;
    let seen = Mutex::<Vec<(&str, usize)>>::default();
    let pass_on = |to, from: &TcpStream, stream: &TcpStream| {
        pass_on(from, stream, |length| {
            seen.lock().unwrap().push((to, length));
            passes(length)
        });
    };
    thread::scope(|scope| {
        scope.spawn(|| pass_on("to the server", &client, &server));
        scope.spawn(|| pass_on("to the client", &server, &client));
    });
    (connection.reply(), seen.into_inner().unwrap())
}

fn half_close_survives_as_close_notify() {
    certify_all();
    let host = Host::start();
    for front in [Host::stunnel, Host::haproxy] {
        let (reply, mut seen) = half_closed(&host, front, |_| true);
        assert_eq!(reply, b"HALF-CLOSED");
        // The others are of the handshake.
        let message = "half-closed".len() + ADDED;
        seen.retain(|(_, length)| [message, CLOSE_NOTIFY].contains(length));
        let expected = [
            ("to the server", message),
            ("to the server", CLOSE_NOTIFY),
            ("to the client", message),
            ("to the client", CLOSE_NOTIFY),
        ];
        assert_eq!(seen, expected);
    }
}

fn fin_without_close_notify_ends_the_stream() {
    certify_all();
    let host = Host::start();
    for front in [Host::stunnel, Host::haproxy] {
        let (reply, seen) = half_closed(&host, front, |length| length != CLOSE_NOTIFY);
        assert_eq!(reply, b"HALF-CLOSED");
        for to in ["to the server", "to the client"] {
            assert!(seen.contains(&(to, CLOSE_NOTIFY)), "{seen:?}");
        }
    }
}

/// Passes TLS records on, until the end of the stream or until one has a length that does not pass.
fn pass_on(mut from: &TcpStream, mut to: &TcpStream, passes: impl Fn(usize) -> bool) {
    let mut pass_on_one = || -> io::Result<()> {
        let mut record = vec![0; 5];
        from.read_exact(&mut record)?;
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.resize(5 + length, 0);
        from.read_exact(&mut record[5..])?;
        if !passes(length) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&record)
    };
    while pass_on_one().is_ok() {}
    let _ = to.shutdown(Shutdown::Write);
}
