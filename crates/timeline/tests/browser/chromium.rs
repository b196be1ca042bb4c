//! A headless Chromium, driven through its DevTools protocol over two pipes.
//!
//! ```text
//!  test ── commands, JSON, each with a zero byte behind it ──► fd 3  Chromium
//!       ◄── answers and events, likewise ──────────────────── fd 4
//! ```
//!
//! A thread reads what the browser says, so that waiting for it can end in time.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use std::{env, fs, thread};

/// How long an answer may take; far more than it ever should.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Browser {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    profile: PathBuf,
    last_id: u64,
}

/// One tab.
pub struct Page<'a> {
    browser: &'a mut Browser,
    session: String,
}

impl Browser {
    /// Starts the browser named by `BIFILAR_CHROMIUM`, or the first one that is installed.
    pub fn start() -> Option<Self> {
        let program = find()?;
        let profile =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chromium-{}", std::process::id()));
        // The shell puts our two pipes where the browser looks for them. As root, and in the
        // containers that tests run in, there is no sandbox to be had; it opens our own files only.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program)
            .args(["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"])
            .args(["--hide-scrollbars", "--no-first-run", "--force-color-profile=srgb"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let commands = process.stdin.take().expect("a pipe");
        let mut output = BufReader::new(process.stdout.take().expect("a pipe"));
        let (sender, answers) = channel();
        thread::spawn(move || {
            loop {
                let mut message = Vec::new();
                match output.read_until(0, &mut message) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => message.pop(),
                };
                let message = serde_json::from_slice(&message).expect("JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Some(Self { process, commands, answers, profile, last_id: 0 })
    }

    /// A new tab of a size in CSS pixels, each of which is `scale` × `scale` dots.
    pub fn page(&mut self, width: u32, height: u32, scale: u32, dark: bool) -> Page<'_> {
        let target = self.call("", "Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call("", "Target.attachToTarget", attach);
        let session = session["sessionId"].as_str().expect("a session").to_owned();
        let mut page = Page { browser: self, session };
        page.call("Page.enable", json!({}));
        page.call("Runtime.enable", json!({}));
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": false,
        });
        page.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        page.call("Emulation.setEmulatedMedia", json!({ "features": features }));
        page
    }

    fn call(&mut self, session: &str, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut command = json!({ "id": self.last_id, "method": method, "params": params });
        if !session.is_empty() {
            command["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).expect("the browser listens");
        let id = self.last_id;
        let answer = self.wait_for(method, |message| message["id"] == json!(id));
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn wait_for(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.answers.recv_timeout(PATIENCE);
            let message = message.unwrap_or_else(|error| panic!("waiting for {what}: {error}"));
            let thrown = message["method"] == json!("Runtime.exceptionThrown");
            assert!(!thrown, "the page has thrown: {message}");
            if is(&message) {
                return message;
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

impl Page<'_> {
    fn call(&mut self, method: &str, params: Value) -> Value {
        let session = self.session.clone();
        self.browser.call(&session, method, params)
    }

    pub fn open(&mut self, url: &str) {
        // From elsewhere, so that an address that differs in its fragment only is loaded as well.
        for url in ["about:blank", url] {
            self.call("Page.navigate", json!({ "url": url }));
            let is = |message: &Value| message["method"] == json!("Page.loadEventFired");
            self.browser.wait_for("the page", is);
        }
        self.painted();
    }

    /// Waits until what was changed has been drawn.
    pub fn painted(&mut self) {
        let two_frames =
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))";
        self.run(two_frames);
    }

    /// What an expression of JavaScript is.
    pub fn run(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", params);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    pub fn number(&mut self, expression: &str) -> f64 {
        let value = self.run(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression} is {value}"))
    }

    pub fn text(&mut self, expression: &str) -> String {
        let value = self.run(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}")).to_owned()
    }

    /// `kind` is one of mousePressed, mouseReleased, mouseMoved.
    pub fn mouse(&mut self, kind: &str, x: f64, y: f64) {
        let down = kind != "mouseReleased";
        let params = json!({
            "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1,
            "buttons": u8::from(down),
        });
        self.call("Input.dispatchMouseEvent", params);
    }

    pub fn click(&mut self, x: f64, y: f64) {
        for kind in ["mousePressed", "mouseReleased"] {
            self.mouse(kind, x, y);
        }
        self.painted();
    }

    pub fn hover(&mut self, x: f64, y: f64) {
        let params = json!({ "type": "mouseMoved", "x": x, "y": y });
        self.call("Input.dispatchMouseEvent", params);
        self.painted();
    }

    pub fn wheel(&mut self, x: f64, y: f64, down: f64) {
        let params = json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": down });
        self.call("Input.dispatchMouseEvent", params);
        self.painted();
    }

    /// A key by its name, like `ArrowLeft`, or a letter that is typed.
    pub fn key(&mut self, key: &str) {
        let mut params = json!({ "type": "keyDown", "key": key });
        if key.chars().count() == 1 {
            params["text"] = json!(key);
        }
        self.call("Input.dispatchKeyEvent", params);
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key }));
        self.painted();
    }

    /// Writes a PNG of what is shown, and returns its width and height in dots.
    pub fn screenshot(&mut self, path: &Path) -> (u32, u32) {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = from_base64(shot["data"].as_str().expect("a picture"));
        fs::write(path, &bytes).expect("a file");
        assert_eq!(&bytes[12..16], b"IHDR");
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
        (number(16), number(20))
    }
}

fn find() -> Option<PathBuf> {
    if let Some(program) = env::var_os("BIFILAR_CHROMIUM") {
        return Some(program.into());
    }
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let programs = names.iter().flat_map(|name| folders.iter().map(move |at| at.join(name)));
    programs.into_iter().find(|program| program.is_file())
}

fn from_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break, // padding
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
