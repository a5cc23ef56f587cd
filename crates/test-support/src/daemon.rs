//! A server program that lives in a folder of its own and never outlives the test process.
//!
//! Dropping the daemon stops it and removes the folder. Where nothing is dropped (a killed test
//! process, a `static`), a shell does the same as soon as the pipe to it closes: it is told the
//! server's process id, and waits. The kernel's parent-death signal would not do: it comes when
//! the *thread* that started the server ends, and the test harness has one for each test.

use std::{
    fs::{self, File},
    io::Write,
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long a server may take to come up, or to go down, before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often to look whether it has.
const INTERVAL: Duration = Duration::from_millis(20);

/// How often to start a server whose port somebody else took since it was found free.
const ATTEMPTS: u32 = 5;

/// `$1` is the signal that stops the server, `$2` the folder; standard input bears the server's
/// process id, or an empty line when it has stopped.
const WATCHDOG: &str = r#"
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -s CONT "$pid"
    kill -s "$1" "$pid"
    tries=0
    # A dead process may stay in the list until somebody collects it.
    while kill -0 "$pid" && ! grep -q ') Z ' "/proc/$pid/stat" && [ "$tries" -lt 100 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    kill -s KILL "$pid"
fi 2>/dev/null
rm -rf "$2"
"#;

/// What to run.
pub(crate) trait Program {
    /// The signal that ends the server at once, by the name `kill -s` knows.
    const END: &'static str;

    /// The signal that ends it in order: clients are let go, what it keeps is on disk.
    const STOP: &'static str;

    /// The command line that serves in `folder`, on `port` of loopback, in the foreground.
    fn command(&self, folder: &Path, port: u16) -> Command;

    /// Whether the server of `folder` answers on its unix socket. It makes that one last, so its
    /// port is open too; on the port alone, a stranger who took it first could answer.
    fn answers(&self, folder: &Path, port: u16) -> bool;
}

#[derive(Debug)]
pub(crate) struct Daemon<P: Program> {
    program: P,
    port: u16,
    user: Option<User>,
    server: Option<Child>,
    watchdog: Child,
    folder: TempDir,
}

impl<P: Program> Daemon<P> {
    /// Starts `program` in `folder` on a free port.
    pub(crate) fn start(program: P, Folder { folder, user }: Folder) -> Self {
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", P::END])
            .arg(folder.path())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of the reach of the terminal's Ctrl-C, which ends the test process first.
            .process_group(0)
            .spawn()
            .expect("a shell");
        let mut daemon = Self {
            program,
            port: 0,
            user,
            server: None,
            watchdog,
            folder,
        };
        let came_up = (0..ATTEMPTS).any(|_| {
            daemon.port = free_port();
            daemon.come_up()
        });
        assert!(came_up, "the server did not come up: {}", daemon.log());
        daemon
    }

    pub(crate) fn program(&self) -> &P {
        &self.program
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the server in order; nothing happens when it does not run.
    pub(crate) fn stop(&mut self) {
        self.end(P::STOP);
    }

    /// Ends the server as a crash would; nothing happens when it does not run.
    pub(crate) fn kill(&mut self) {
        self.end(P::END);
    }

    /// Ends the server in order and starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let came_up = (0..ATTEMPTS).any(|_| self.come_up());
        assert!(came_up, "the server did not come back: {}", self.log());
    }

    /// Freezes the server and the processes it started.
    pub(crate) fn pause(&self) {
        let Some(pid) = self.pid() else { return };
        // The parent first: a stopped process starts no other.
        signal("STOP", &[pid]);
        signal("STOP", &children(pid));
    }

    /// Thaws what [`pause`](Self::pause) froze.
    pub(crate) fn resume(&self) {
        let Some(pid) = self.pid() else { return };
        signal("CONT", &children(pid));
        signal("CONT", &[pid]);
    }

    fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Whether the server runs and answers; `false` when it ended by itself, as it does when
    /// somebody else took the port.
    fn come_up(&mut self) -> bool {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.log_path())
            .expect("a log file");
        let mut command = self.program.command(self.folder.path(), self.port);
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file once more"))
            .stderr(log)
            .process_group(0);
        if let Some(user) = self.user {
            user.runs(&mut command);
        }
        let server = command.spawn().expect("the server's program");
        self.tell_watchdog(&server.id().to_string());
        let server = self.server.insert(server);

        let deadline = Instant::now() + PATIENCE;
        while server.try_wait().expect("the server's state").is_none() {
            if self.program.answers(self.folder.path(), self.port) {
                return true;
            }
            if Instant::now() > deadline {
                panic!("the server does not answer: {}", self.log());
            }
            thread::sleep(INTERVAL);
        }
        self.server = None;
        self.tell_watchdog("");
        false
    }

    fn end(&mut self, how: &str) {
        self.resume();
        let Some(mut server) = self.server.take() else {
            return;
        };
        signal(how, &[server.id()]);
        let deadline = Instant::now() + PATIENCE;
        while matches!(server.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = server.kill();
                let _ = server.wait();
                break;
            }
            thread::sleep(INTERVAL);
        }
        self.tell_watchdog("");
    }

    fn tell_watchdog(&mut self, line: &str) {
        if let Some(pipe) = self.watchdog.stdin.as_mut() {
            let _ = writeln!(pipe, "{line}");
        }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl<P: Program> Drop for Daemon<P> {
    fn drop(&mut self) {
        self.end(P::END);
        // `wait` closes the pipe first; the shell then removes the folder.
        let _ = self.watchdog.wait();
    }
}

/// A new folder, and the user who owns it and runs the server.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
    user: Option<User>,
}

impl Folder {
    /// A new folder that belongs to whoever runs the tests or, when that is root, to the first of
    /// `users` that exists: PostgreSQL refuses to run as root.
    pub(crate) fn new(prefix: &str, users: &[&str]) -> Self {
        let mut builder = tempfile::Builder::new();
        builder.prefix(prefix);
        let folder = builder.tempdir().expect("a temporary folder");
        let owner = fs::metadata(folder.path()).expect("the folder").uid();
        if owner != 0 {
            return Self { folder, user: None };
        }
        let user = User::first_of(users).expect("an unprivileged user in /etc/passwd");
        // Root's own `TMPDIR` may be closed to others.
        let folder = builder.tempdir_in("/tmp").expect("a temporary folder");
        std::os::unix::fs::chown(folder.path(), Some(user.uid), Some(user.gid))
            .expect("root to give the folder away");
        Self {
            folder,
            user: Some(user),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `command` in the folder, as its owner, to its end.
    pub(crate) fn run(&self, mut command: Command) {
        command.current_dir(self.path()).stdin(Stdio::null());
        if let Some(user) = self.user {
            user.runs(&mut command);
        }
        let output = command.output().expect("the program");
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[derive(Clone, Copy, Debug)]
struct User {
    uid: u32,
    gid: u32,
}

impl User {
    fn first_of(names: &[&str]) -> Option<Self> {
        let accounts = fs::read_to_string("/etc/passwd").ok()?;
        names.iter().find_map(|name| Self::named(name, &accounts))
    }

    fn named(name: &str, accounts: &str) -> Option<Self> {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next()? != name {
                return None;
            }
            Some(Self {
                uid: fields.nth(1)?.parse().ok()?,
                gid: fields.next()?.parse().ok()?,
            })
        })
    }

    /// Lets `command` run as this user, without root's groups.
    fn runs(self, command: &mut Command) {
        command.gid(self.gid).uid(self.uid);
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port on loopback")
        .port()
}

/// The processes that `pid` started and that still run (Linux).
fn children(pid: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|process| parent(*process) == Some(pid))
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; behind it come the state and the parent.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// Sends a signal with the shell's own `kill`, which no minimal system lacks. A process that is
/// gone already is no error.
fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let _ = Command::new("sh")
        .args(["-c", r#"kill -s "$@""#, "kill", name])
        .args(pids.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts = "postgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/var/lib:/bin/bash\n";
        let user = User::named("postgres", accounts).unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(User::named("nobody", accounts).is_none());
    }

    #[test]
    fn a_process_knows_its_parent() {
        let mut child = Command::new("sh")
            .args(["-c", "read _"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(parent(child.id()), Some(std::process::id()));
        assert!(children(std::process::id()).contains(&child.id()));
        child.wait().unwrap();
    }
}
