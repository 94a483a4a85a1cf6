//! Encryption and authentication in front of the server: TLS, with certificates on both sides, and SSH.
//!
//! The server is on another machine, at its loopback address. The person who uses it is alice, on this machine,
//! with the rights of a user. Commands are read out of the recipes.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;

use assert_cmd::cargo::cargo_bin;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::common::command::succeeds;
use crate::common::connection::Connection;
use crate::common::process::without_variables;
use crate::common::server::Server;
use crate::common::suite::suite_passes;
use crate::common::trials::{Need, trial};
use crate::common::wait::wait_until;

use super::place::{Machine, PLACE, install, recipe, sh};
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
        trial(suite_passes_through_ssh, [&PLACE, &SSH]),
        trial(ssh_leads_to_the_server_and_nowhere_else, [&PLACE, &SSH]),
    ]
}

static HAPROXY: Need = Need::new("haproxy, as Debian has it", || {
    succeeds(&["haproxy", "-v"]) && succeeds(&["id", "haproxy"])
});
static SOCAT: Need = Need::new("socat", || succeeds(&["socat", "-V"]));
static SSH: Need = Need::new("the server and the client of OpenSSH", || {
    Path::new("/usr/sbin/sshd").exists() && succeeds(&["ssh", "-V"])
});
static STUNNEL: Need = Need::new("stunnel, as Debian has it", || {
    succeeds(&["stunnel", "-version"]) && succeeds(&["id", "stunnel4"])
});

/// Where the certificates of the server are.
const TLS: &str = "/etc/upcase/tls";

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
        command.args(["--bind", "127.0.0.1:8080", "--timeout", "3"]);
        command.args(["--log", "json"]);
        without_variables(&mut command);
        let server = Server::start_by(command);
        let hosts = "sed -i '/upcase.example/d' /etc/hosts
            echo '192.0.2.11 upcase.example' >> /etc/hosts";
        sh(hosts);
        TcpStream::connect(("192.0.2.11", 8080)).expect_err("a server at loopback");
        Self { server, machine }
    }

    /// Runs the command of the recipe `name` that has `part`, until something listens at `port`.
    #[track_caller]
    fn run(&self, name: &str, part: &str, port: u16) -> Service {
        let mut command = self.machine.command("sh");
        command
            .arg("-c")
            .arg(format!("exec {}", written(name, part)));
        self.listens(command, port)
    }

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
        self.run("stunnel-server.conf", "stunnel", 8443)
    }

    /// `HAProxy` in front of the server.
    #[track_caller]
    fn haproxy(&self) -> Service {
        install("haproxy-tls.cfg", "/etc/haproxy/haproxy.cfg");
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

/// The command in the comments of the recipe `name` that has `part`.
#[track_caller]
fn written(name: &str, part: &str) -> String {
    let recipe = fs::read_to_string(recipe(name)).expect("text");
    // A command may have several lines.
    let recipe = recipe.replace("\\\n#", "");
    let mut commands = recipe.lines().filter_map(|line| line.strip_prefix("#   "));
    let command = commands.find(|command| command.contains(part));
    command.expect("a command").to_owned()
}

/// Makes an authority in a new folder, and certificates by these commands of the recipe.
#[track_caller]
fn certify(folder: &str, commands: &[&str]) {
    let script = recipe("certificates.sh");
    sh(&format!("rm -rf {folder}; mkdir -p {folder}"));
    for command in [&["authority"], commands].concat() {
        let script = script.display();
        sh(&format!("cd {folder}; sh {script} {command}"));
    }
}

/// Makes the certificates of the server and of alice, and gives alice's to her.
#[track_caller]
fn certify_all() {
    let written = ["certificates.sh server", "certificates.sh client"]
        .map(|part| written("certificates.sh", part));
    let commands = written.each_ref().map(|command| {
        let command = command.split_once(" #").expect("an explanation").0;
        command
            .strip_prefix("sh certificates.sh ")
            .expect("its name")
    });
    certify(TLS, &commands);
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
    let client = cargo_bin!("upcase-client").display().to_string();
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

fn haproxy_refuses_strangers() {
    certify_all();
    let host = Host::start();
    let front = host.haproxy();
    strangers_are_refused(host, front);
}

/// Strangers: what they have in the place of alice's certificate, and the number of the alert of TLS by which they
/// are refused.
const STRANGERS: [(&str, u32); 6] = [
    ("", 116),
    ("-cert other/alice.pem", 48),
    ("-cert expired.pem", 45),
    ("-cert server.pem", 43),
    ("-cert alice.pem -tls1_1 -cipher DEFAULT@SECLEVEL=0", 70),
    ("-tls1_2", 40),
];

/// Those who may come get a reply. Strangers get none, and the server does not see them.
#[track_caller]
fn strangers_are_refused(host: Host, front: Service) {
    certify("/run/other", &["client alice"]);
    // Only `openssl ca` takes dates.
    sh(&format!(
        r"
        cd {TLS}
        cat > /run/ca.conf <<END
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
        openssl req -new -key {ALICE}/alice.pem -subj /CN=alice |
            openssl ca -batch -notext -config /run/ca.conf -cert authority.crt -keyfile authority.pem -in /dev/stdin                 -startdate 20200101000000Z -enddate 20210101000000Z -out /run/expired.crt
        openssl pkey -in {ALICE}/alice.pem | cat - /run/expired.crt > {ALICE}/expired.pem
        cp -r /run/other server.pem {ALICE}
        chown -R alice: {ALICE}
        "
    ));
    let openssl = written("stunnel-client.conf", "openssl s_client");
    let (_, openssl) = openssl.split_once(" | ").expect("a pipe");
    let mut expected = Vec::new();
    let mut comes = |options: &str| {
        let line = format!("echo friend | {openssl} {options}");
        assert_eq!(reply(&line), "FRIEND");
        expected.push(r"b'friend\x0a'");
    };
    comes("-tls1_2");
    comes("-tls1_3");
    for (certificate, alert) in STRANGERS {
        let openssl = openssl.replace("-cert alice.pem", certificate);
        // One who sends at once may be reset before the alert is read.
        let refused = output(&format!(": | {openssl}"));
        let errors = String::from_utf8_lossy(&refused.stderr);
        let expected = format!("SSL alert number {alert}\n");
        assert!(errors.contains(&expected), "{certificate}: {errors}");
        let refused = output(&format!("echo stranger | {openssl}"));
        assert_eq!(
            (refused.status.success(), &refused.stdout[..]),
            (false, &b""[..])
        );
    }
    let mut plain = Connection::connect(in_front());
    plain.send(b"stranger\n");
    let mut answer = Vec::new();
    let _ = plain.0.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("STRANGER"));
    assert_eq!(reply(&format!("echo friend | {openssl}")), "FRIEND");
    drop(front);
    let (requests, connections) = host.stop();
    assert_eq!(
        (requests, connections),
        (vec![r"b'friend\x0a'".to_owned(); 3], 3)
    );
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
        let halves = "printf half | socat -t 11 - ";
        let socat = commands[0].split_once("socat -t 11 - ").expect("socat").1;
        assert_eq!(reply(&format!("{halves}{socat}")), "HALF");
        let mut connection = Connection::connect(here());
        connection.send(b"half");
        connection
            .0
            .shutdown(Shutdown::Write)
            .expect("a half-close");
        assert_eq!(connection.reply(), b"HALF");
    }
}

/// What `upcase-client` shows.
const SHOWN: &str = "Sent:     Olá, servidor!\nReceived: OLÁ, SERVIDOR!\n";

fn clients_refuse_a_false_server() {
    certify_all();
    certify("/run/other", &["server upcase.example"]);
    let mut script =
        format!("cd {TLS}; mkdir -p /run/false; cp /run/other/server.pem /run/false/authority.pem");
    script += "
        mv server.pem true.pem
        sh certificates.sh server other.example; mv server.pem /run/false/name.pem
        sh certificates.sh client bob; mv bob.pem /run/false/client.pem";
    sh(&script.replace(
        "certificates.sh",
        &recipe("certificates.sh").display().to_string(),
    ));
    let host = Host::start();
    for certificate in ["authority", "name", "client"] {
        sh(&format!("cp /run/false/{certificate}.pem {TLS}/server.pem"));
        let _front = host.stunnel();
        for part in ["socat", "openssl s_client"] {
            let refused = output(&written("stunnel-client.conf", part));
            let seen = (refused.status.success(), &refused.stdout[..]);
            assert_eq!(seen, (false, &b""[..]), "{certificate}, {part}");
        }
        let _tunnel = tunnel();
        let mut client = Command::new(cargo_bin!("upcase-client"));
        let refused = client.arg("hello").output().expect("it starts");
        assert_eq!(refused.status.code(), Some(1), "{certificate}");
        assert_eq!(refused.stdout, b"");
    }
    // socat looks at the name only after the handshake.
    let (requests, _) = host.stop();
    assert!(
        requests.iter().all(|request| request == "b''"),
        "{requests:?}"
    );
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
        mkdir -p /run/sshd /etc/upcase {ALICE}
        ssh-keygen -A
        cd /run/home/alice
        rm -rf .ssh; mkdir .ssh; cd .ssh
        for name in id_ed25519 stranger; do
            ssh-keygen -q -t ed25519 -N '' -f $name
        done
        (printf 'upcase.example '; cat /etc/ssh/ssh_host_ed25519_key.pub) > known_hosts
        chown -R alice: . {ALICE}
        rm -f /etc/upcase/authorized_keys; cp id_ed25519.pub alice.pub
        {}
        ",
        written("sshd.conf", "authorized_keys")
    ));
    let mut command = host.machine.command("/usr/sbin/sshd");
    command.args(["-D", "-e"]);
    host.listens(command, 22)
}

fn suite_passes_through_ssh() {
    let host = Host::start();
    let _sshd = ssh(&host);
    let _forward = listening_here(&written("sshd.conf", "ssh -N"));
    assert_eq!(sh(&written_for_client("sshd.conf")), SHOWN);
    suite_passes(here());
}

fn ssh_leads_to_the_server_and_nowhere_else() {
    let host = Host::start();
    let _sshd = ssh(&host);
    let through = written("sshd.conf", "ssh -W");
    assert_eq!(reply(&through), "OLÁ, SERVIDOR!");
    let (_, ssh) = through.split_once(" | ").expect("a pipe");
    let elsewhere = ssh.replace("127.0.0.1:8080", "127.0.0.1:22");
    let user = ssh.rsplit(' ').next().expect("the user");
    let stranger = "-i ~/.ssh/stranger -o IdentitiesOnly=yes";
    for (refused, why) in [
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
    ] {
        let output = output(&refused);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains(why),
            "{refused}: {errors}"
        );
    }
    let (_, connections) = host.stop();
    assert_eq!(connections, 1);
}

/// What TLS 1.3 adds to the content of a record that it encrypts: its type, and a tag.
const ADDED: usize = 1 + 16;

/// The length of `close_notify`, encrypted.
const CLOSE_NOTIFY: usize = 2 + ADDED;

fn half_close_survives_as_close_notify() {
    certify_all();
    let host = Host::start();
    // alice's stunnel connects to this machine, which passes the records on and sees their lengths.
    sh("sed -i '/upcase.example/s/.*/192.0.2.1 upcase.example/' /etc/hosts");
    let listener = TcpListener::bind("192.0.2.1:8443").expect("a free port");
    listener.set_nonblocking(true).expect("no waits");
    for front in [Host::stunnel, Host::haproxy] {
        let _front = front(&host);
        let _tunnel = tunnel();
        let mut connection = Connection::connect(here());
        connection.send(b"half-closed");
        connection
            .0
            .shutdown(Shutdown::Write)
            .expect("a half-close");
        let mut accepted = None;
        wait_until("alice's stunnel connects", || {
            accepted = listener.accept().ok();
            accepted.is_some()
        });
        let (client, _) = accepted.expect("a connection");
        let client = Connection::over(client).0;
        let server = Connection::connect(in_front()).0;
        let seen = Mutex::<Vec<(&str, usize)>>::default();
        let pass_on = |way, from: &TcpStream, to: &TcpStream| {
            pass_on(from, to, |length| seen.lock().unwrap().push((way, length)));
        };
        thread::scope(|scope| {
            scope.spawn(|| pass_on("to the server", &client, &server));
            scope.spawn(|| pass_on("to the client", &server, &client));
        });
        assert_eq!(connection.reply(), b"HALF-CLOSED");
        // The others are of the handshake.
        let message = "half-closed".len() + ADDED;
        let mut seen = seen.into_inner().unwrap();
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

/// Passes on the records of TLS until the end of the stream. `see` is called with the length of each before it goes.
fn pass_on(mut from: &TcpStream, mut to: &TcpStream, see: impl Fn(usize)) {
    let mut pass_on_one = || -> io::Result<()> {
        let mut record = vec![0; 5];
        from.read_exact(&mut record)?;
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.resize(5 + length, 0);
        from.read_exact(&mut record[5..])?;
        see(length);
        to.write_all(&record)
    };
    while pass_on_one().is_ok() {}
    let _ = to.shutdown(Shutdown::Write);
}
