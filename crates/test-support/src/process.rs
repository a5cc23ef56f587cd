//! A program that a test runs, reads along with, signals, and never leaves behind.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long to wait for a line or for the end before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often to look whether the program has ended.
const INTERVAL: Duration = Duration::from_millis(20);

/// A running program; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// A program that has ended, with all that it wrote.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `command`, without standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Lines::read(child.stdout.take().expect("a pipe"));
        let stderr = Lines::read(child.stderr.take().expect("a pipe"));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// What `read` makes of the first line of standard output that it makes something of; waits
    /// for it, up to a minute.
    ///
    /// # Panics
    /// When no such line comes.
    pub fn stdout_line<T>(&self, read: impl FnMut(&str) -> Option<T>) -> T {
        let found = self.stdout.find(read);
        found.unwrap_or_else(|| panic!("a line is missing on standard output; {self}"))
    }

    /// The same of standard error.
    ///
    /// # Panics
    /// When no such line comes.
    pub fn stderr_line<T>(&self, read: impl FnMut(&str) -> Option<T>) -> T {
        let found = self.stderr.find(read);
        found.unwrap_or_else(|| panic!("a line is missing on standard error; {self}"))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by the name that `kill -s` knows.
    ///
    /// # Panics
    /// When the process has ended already.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", r#"kill -s "$1" "$2""#, "kill", name])
            .arg(self.id().to_string())
            .status()
            .expect("a shell");
        assert!(sent.success(), "the process has ended; {self}");
    }

    /// Waits until it ends by itself, up to a minute.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the process's state") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end; {self}");
            thread::sleep(INTERVAL);
        };
        Ended {
            status,
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
        }
    }
}

/// What it wrote so far.
impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (stdout, stderr) = (self.stdout.so_far(), self.stderr.so_far());
        write!(f, "standard output:\n{stdout}\nstandard error:\n{stderr}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, read by a thread of their own so that the program never waits for a reader.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    text: Mutex<Text>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Text {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn read(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let shared = Arc::clone(&lines.0);
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                shared.change(|text| text.lines.push(line));
            }
            shared.change(|text| text.ended = true);
        });
        lines
    }

    fn find<T>(&self, mut read: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut seen = 0;
        self.0.wait_until(|text| {
            let found = text.lines[seen..].iter().find_map(|line| read(line));
            seen = text.lines.len();
            found.map(Some).or_else(|| text.ended.then_some(None))
        })?
    }

    fn so_far(&self) -> String {
        self.0.text().lines.join("\n")
    }

    /// Everything, once the pipe is closed.
    fn all(&self) -> String {
        let closed = self.0.wait_until(|text| text.ended.then_some(()));
        closed.expect("nobody else to hold the program's output open");
        self.so_far()
    }
}

impl Shared {
    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Text)) {
        change(&mut self.text());
        self.changed.notify_all();
    }

    /// What `look` returns, as soon as it returns something; `None` when that takes too long.
    fn wait_until<T>(&self, mut look: impl FnMut(&Text) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut text = self.text();
        loop {
            if let Some(found) = look(&text) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            text = self
                .changed
                .wait_timeout(text, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn a_line_is_waited_for_and_the_rest_is_kept() {
        let process = shell("echo one; echo two; echo other >&2; read -r _; echo three; exit 3");
        let found = process.stdout_line(|line| line.strip_prefix("tw").map(str::to_owned));
        assert_eq!(found, "o");
        assert_eq!(process.stderr_line(|line| Some(line.len())), 5);
        let ended = process.wait();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.stdout, "one\ntwo\nthree");
        assert_eq!(ended.stderr, "other");
    }

    #[test]
    #[should_panic(expected = "standard output:\nonly this")]
    fn a_line_that_never_comes_fails_with_what_came() {
        shell("echo only this").stdout_line(|line| (line == "that").then_some(()));
    }

    #[test]
    fn a_signal_reaches_the_process() {
        let process = shell("echo ready; exec tail -f /dev/null");
        process.stdout_line(|line| (line == "ready").then_some(()));
        process.signal("KILL");
        assert_eq!(process.wait().status.code(), None);
    }

    #[test]
    fn a_process_that_is_dropped_is_gone() {
        let process = shell("echo ready; exec tail -f /dev/null");
        process.stdout_line(|line| (line == "ready").then_some(()));
        let id = process.id();
        drop(process);
        let alive = Command::new("sh")
            .args(["-c", r#"kill -0 "$1""#, "kill", &id.to_string()])
            .stderr(Stdio::null())
            .status();
        assert!(!alive.unwrap().success());
    }
}
