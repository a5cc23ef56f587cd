//! A headless Chromium, driven over the WebDriver protocol as a person would use it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Process, Unavailable, find};

/// How long a call may take before the test fails; the first one starts the browser.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the page may take to show what a test waits for.
const SIGHT: Duration = Duration::from_secs(30);

/// How often to look whether it does.
const INTERVAL: Duration = Duration::from_millis(50);

/// A browser with a profile of its own, which reaches nothing but this machine; dropping it closes
/// it.
///
/// It runs without Chromium's sandbox, which root cannot use: show it the project's pages alone.
#[derive(Debug)]
pub struct Browser {
    port: u16,
    session: String,
    // Dropped in this order: the folder last, when nobody writes to it any more.
    driver: Process,
    folder: TempDir,
}

impl Browser {
    /// Starts a browser with an empty page.
    ///
    /// # Errors
    /// When Chromium or its driver is not installed.
    ///
    /// # Panics
    /// When they are installed and do not come up.
    pub fn start() -> Result<Self, Unavailable> {
        let chromium = find(&["chromium", "chromium-browser"], "chromium")?;
        let driver = find(&["chromedriver"], "chromium-driver")?;
        let folder = tempfile::Builder::new()
            .prefix("forge-chromium-")
            .tempdir()
            .expect("a temporary folder");
        let driver = Process::start(
            Command::new(driver)
                .arg("--port=0")
                .envs(["HOME", "TMPDIR"].map(|name| (name, folder.path()))),
        );
        let port = driver.stdout_line(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let mut browser = Self {
            port,
            session: String::new(),
            driver,
            folder,
        };
        let profile = browser.folder.path().join("profile");
        let arguments = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            format!("--user-data-dir={}", profile.display()),
        ]);
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "implicit": SIGHT.as_millis() },
        }}});
        let session = browser.must("POST", "/session", &capabilities);
        let id = session["sessionId"].as_str().expect("a session's id");
        browser.session = format!("/session/{id}");
        Ok(browser)
    }

    /// Opens an address, as if typed.
    ///
    /// # Panics
    /// When nothing answers there.
    pub fn open(&self, url: &str) {
        self.command("/url", &json!({ "url": url }));
    }

    /// Goes back a page.
    ///
    /// # Panics
    /// When the browser cannot.
    pub fn back(&self) {
        self.command("/back", &json!({}));
    }

    /// Clicks the link, button or label that begins with `text`, which has no apostrophe. Where that
    /// leads to another page, wait for it with [`sees`](Self::sees).
    ///
    /// # Panics
    /// When there is none.
    pub fn click(&self, text: &str) {
        let found = json!({
            "using": "xpath",
            "value": format!(
                "//*[self::a or self::button or self::label][starts-with(normalize-space(), '{text}')]"
            ),
        });
        let element = self.command("/element", &found);
        let id = element
            .as_object()
            .and_then(|element| element.values().next()?.as_str())
            .expect("an element's id");
        self.command(&format!("/element/{id}/click"), &json!({}));
    }

    /// Waits until the page shows `text`, and returns all the text that it shows.
    ///
    /// # Panics
    /// When it does not within half a minute.
    pub fn sees(&self, text: &str) -> String {
        let deadline = Instant::now() + SIGHT;
        let shown = json!({
            "script": "return document.readyState == 'complete' ? document.body.innerText : ''",
            "args": [],
        });
        let path = format!("{}/execute/sync", self.session);
        loop {
            // On the way from page to page there is none to ask.
            let page = self.call("POST", &path, &shown).unwrap_or_else(Value::from);
            let page = page.as_str().unwrap_or_default();
            if page.contains(text) {
                return page.to_owned();
            }
            assert!(Instant::now() < deadline, "{text:?} is not in {page:?}");
            thread::sleep(INTERVAL);
        }
    }

    /// The address of the page.
    ///
    /// # Panics
    /// When the browser does not say.
    #[must_use]
    pub fn url(&self) -> String {
        let url = self.must("GET", &format!("{}/url", self.session), &Value::Null);
        url.as_str().expect("an address").to_owned()
    }

    /// What `script` returns, run in the page as the body of a function. The page's policy does
    /// not hold for it.
    ///
    /// # Panics
    /// When it throws.
    pub fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Makes the page as wide and high as that, in CSS pixels, narrower than a window can be.
    ///
    /// # Panics
    /// When the browser cannot.
    pub fn resize(&self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.command("/goog/cdp/execute", &command);
    }

    /// The warnings and errors on the browser's console since the last call: blocked by a policy,
    /// not found, thrown, deprecated.
    ///
    /// # Panics
    /// When the browser does not say.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().expect("the entries of the log");
        entries
            .iter()
            .filter(|entry| matches!(entry["level"].as_str(), Some("WARNING" | "SEVERE")))
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            // Its name is valid, and the device it means is one this build cannot reach anyway.
            .filter(|message| !message.contains("Permissions-Policy header: Unrecognized feature"))
            .collect()
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        self.must("POST", &format!("{}{path}", self.session), body)
    }

    fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        match self.call(method, path, body) {
            Ok(value) => value,
            Err(error) => panic!("{method} {path} {body}: {error}; {}", self.driver),
        }
    }

    /// One command of the protocol: its value, or what the driver says went wrong.
    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let (ok, answer) = exchange(self.port, method, path, body).map_err(|e| e.to_string())?;
        let mut answer: Value = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
        let value = answer["value"].take();
        match ok {
            true => Ok(value),
            false => Err(format!("{}: {}", value["error"], value["message"])),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closes the browser and waits for it; the driver ends with its process.
        let _ = self.call("DELETE", &self.session, &Value::Null);
    }
}

/// Sends one request to the driver: whether the status is 200, and the body.
fn exchange(port: u16, method: &str, path: &str, body: &Value) -> io::Result<(bool, Vec<u8>)> {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    stream.write_all(
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\n\r\n{body}")
            .as_bytes(),
    )?;
    let mut answer = BufReader::new(stream);
    let mut status = String::new();
    answer.read_line(&mut status)?;
    let mut length = 0;
    loop {
        let mut field = String::new();
        answer.read_line(&mut field)?;
        match field.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body)?;
    Ok((status.contains(" 200 "), body))
}
