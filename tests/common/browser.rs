//! A page in a headless Chromium, which is driven by its `DevTools` protocol over two pipes.

use std::fs;
use std::io::{BufRead, BufReader, PipeWriter, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::getuid;
use serde_json::{Value, json};

/// The longest wait for anything. Only a broken browser takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page. It ends on drop.
pub struct Browser {
    process: Child,
    profile: PathBuf,
    /// Where it reads commands. It ends when this is closed.
    commands: Option<PipeWriter>,
    messages: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    /// What it has reported about the page, in order.
    pub events: Vec<Value>,
}

impl Browser {
    /// Starts a browser whose window has `width` pixels, and shows the file.
    #[track_caller]
    pub fn open(file: &Path, width: u32) -> Self {
        let mut browser = Self::start(width);
        browser.show(file);
        browser
    }

    /// Starts a browser whose window has `width` pixels, with an empty page.
    #[track_caller]
    pub fn start(width: u32) -> Self {
        let mut browser = Self::spawn();
        let target = browser.command("Target.createTarget", &json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.command("Target.attachToTarget", &target);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"] {
            browser.command(&format!("{domain}.enable"), &json!({}));
        }
        browser.command(
            "Emulation.setFocusEmulationEnabled",
            &json!({"enabled": true}),
        );
        let size =
            json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500});
        browser.command("Emulation.setDeviceMetricsOverride", &size);
        browser
    }

    /// Shows the file, and waits until it is loaded.
    #[track_caller]
    pub fn show(&mut self, file: &Path) {
        let url = format!("file://{}", file.display());
        self.command("Page.navigate", &json!({"url": url}));
        self.evaluate(
            "new Promise(loaded => document.readyState === 'complete' \
                ? loaded() : addEventListener('load', () => loaded()))",
        );
    }

    fn spawn() -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::SeqCst);
        let profile = format!("chromium-{}-{number}", std::process::id());
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(profile);
        let (its_commands, commands) = pipe().unwrap();
        let (answers, its_answers) = pipe().unwrap();
        let mut command = Command::new("chromium");
        command
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--no-first-run",
                "--disable-gpu",
            ])
            .args(["--disable-dev-shm-usage", "--disable-background-networking"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(getuid().is_root().then_some("--no-sandbox"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let descriptors = [(its_commands.into(), 3), (its_answers.into(), 4)];
        let mappings = descriptors.map(|(parent_fd, child_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
        command.fd_mappings(mappings.into()).unwrap();
        let process = command.spawn().expect("chromium starts");
        drop(command); // and with it the browser's ends of the pipes
        let (sender, messages) = channel();
        thread::spawn(move || {
            let messages = BufReader::new(answers).split(0).map_while(Result::ok);
            let mut messages = messages.map(|message| serde_json::from_slice(&message).unwrap());
            messages.try_for_each(|message: Value| sender.send(message))
        });
        Self {
            process,
            profile,
            commands: Some(commands),
            messages,
            session: None,
            sent: 0,
            events: Vec::new(),
        }
    }

    /// Sends a command, and returns its result.
    #[track_caller]
    pub fn command(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let mut command = json!({"id": self.sent, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        let commands = self.commands.as_mut().unwrap();
        commands
            .write_all(format!("{command}\0").as_bytes())
            .expect("the browser reads");
        loop {
            let mut message = self.message();
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    #[track_caller]
    fn message(&self) -> Value {
        self.messages
            .recv_timeout(PATIENCE)
            .expect("the browser answers")
    }

    /// The value of an expression of JavaScript. The page itself needs none.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.command("Runtime.evaluate", &parameters);
        let exception = &result["exceptionDetails"];
        assert!(exception.is_null(), "{expression}: {exception}");
        result["result"]["value"].take()
    }

    /// Presses and releases a key: Tab, Space, Enter, or an arrow.
    #[track_caller]
    pub fn press(&mut self, key: &str) {
        let (key, code, number, text) = match key {
            "Tab" => ("Tab", "Tab", 9, ""),
            "Enter" => ("Enter", "Enter", 13, "\r"),
            "Space" => (" ", "Space", 32, " "),
            "ArrowRight" => ("ArrowRight", "ArrowRight", 39, ""),
            "ArrowLeft" => ("ArrowLeft", "ArrowLeft", 37, ""),
            other => panic!("unknown key {other}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let parameters = json!({
                "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number, "text": text,
            });
            self.command("Input.dispatchKeyEvent", &parameters);
        }
    }

    /// Prefers a colour scheme, `light` or `dark`.
    #[track_caller]
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.command("Emulation.setEmulatedMedia", &json!({"features": features}));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.commands.take());
        // Its end of the other pipe is closed when it has ended.
        while self.messages.recv_timeout(PATIENCE).is_ok() {}
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}
