//! A private Redis (or Valkey) instance, started from the installed program.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    Unavailable,
    daemon::{Daemon, Folder, Program},
    find,
};

/// A Redis or Valkey instance of its own, on a free loopback port and in a temporary folder;
/// dropping it stops it and removes the folder.
///
/// Nothing is kept on disk: a stopped instance forgets.
#[derive(Debug)]
pub struct Redis {
    daemon: Daemon<RedisServer>,
}

impl Redis {
    /// Starts an instance and waits until it answers `PING`.
    ///
    /// # Errors
    /// When neither `redis-server` nor `valkey-server` is installed.
    ///
    /// # Panics
    /// When one is installed and does not come up.
    pub fn start() -> Result<Self, Unavailable> {
        let program = find(&["redis-server", "valkey-server"], "redis-server")?;
        let folder = Folder::new("forge-redis-", &["redis", "valkey", "nobody"]);
        Ok(Self {
            daemon: Daemon::start(RedisServer(program), folder),
        })
    }

    /// The instance's URL, `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.daemon.port())
    }

    /// The folder that holds the unix socket and the log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.daemon.folder()
    }

    /// Stops the instance in order; connections are closed.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// Ends the instance at once, as a crash would.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Starts the instance on the same port, empty, after stopping it if it runs.
    pub fn restart(&mut self) {
        self.daemon.restart();
    }

    /// Freezes the instance: it accepts bytes and answers nothing.
    pub fn pause(&mut self) {
        self.daemon.pause();
    }

    /// Lets a paused instance go on where it was.
    pub fn resume(&mut self) {
        self.daemon.resume();
    }
}

const SOCKET: &str = "redis.sock";

#[derive(Debug)]
struct RedisServer(PathBuf);

impl Program for RedisServer {
    const END: &'static str = "KILL";
    const STOP: &'static str = "TERM";

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Command::new(&self.0);
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--daemonize", "no", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(folder)
            .arg("--unixsocket")
            .arg(folder.join(SOCKET));
        command
    }

    fn answers(&self, folder: &Path, _port: u16) -> bool {
        ping(&folder.join(SOCKET)).is_ok_and(|answer| answer == *b"+PONG\r\n")
    }
}

fn ping(socket: &Path) -> io::Result<[u8; 7]> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
