//! A private PostgreSQL instance, started from the installed programs.

use std::{
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    Unavailable,
    daemon::{Daemon, Folder, Program},
};

/// A PostgreSQL instance of its own, on a free loopback port and in a temporary folder; dropping
/// it stops it and removes the folder.
///
/// The superuser is `postgres`, without a password. Nothing is synced to disk.
#[derive(Debug)]
pub struct Postgres {
    daemon: Daemon<Programs>,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts an instance and waits until it answers a query.
    ///
    /// # Errors
    /// When PostgreSQL is not installed.
    ///
    /// # Panics
    /// When it is installed and does not come up.
    pub fn start() -> Result<Self, Unavailable> {
        let programs = Programs::installed()?;
        let folder = Folder::new("forge-postgres-", &["postgres", "nobody"]);
        folder.run(programs.initdb(folder.path()));
        Ok(Self {
            daemon: Daemon::start(programs, folder),
            databases: AtomicU32::new(0),
        })
    }

    /// The one instance that all tests of this process share, started at the first call.
    ///
    /// Each test takes a database of its own from it with [`create_database`](Self::create_database).
    ///
    /// # Errors
    /// When PostgreSQL is not installed.
    pub fn shared() -> Result<&'static Self, Unavailable> {
        static SHARED: OnceLock<Result<Postgres, Unavailable>> = OnceLock::new();
        SHARED
            .get_or_init(Self::start)
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The URL of the database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Panics
    /// When the instance refuses.
    #[must_use]
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query(&format!("CREATE DATABASE {name}"));
        self.url_of(&name)
    }

    /// What `psql` prints for `sql` in the database `postgres`: a line a row, `|` between columns.
    ///
    /// # Panics
    /// When the query fails.
    pub fn query(&self, sql: &str) -> String {
        let programs = self.daemon.program();
        let output = programs
            .psql("127.0.0.1", self.daemon.port(), sql)
            .output()
            .expect("psql, which comes with the server");
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// What `pg_dump` writes of the database at `url`: what somebody has who has a backup of it.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn dump(&self, url: &str) -> String {
        let mut dump = Command::new(self.daemon.program().0.join("pg_dump"));
        let output = dump.arg("--dbname").arg(url).output();
        let output = output.expect("pg_dump, which comes with the server");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{url}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts it again with TLS, by this certificate and its key, in PEM; TLS is not asked for.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn restart_with_tls(&mut self, certificate: &str, key: &str) {
        let data = self.folder().join("data");
        let owner = fs::metadata(&data).expect("the folder with the data");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = data.join(name);
            fs::write(&path, text).expect("a file for the certificate");
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(&path, mode).expect("the file is ours");
            let (user, group) = (Some(owner.uid()), Some(owner.gid()));
            std::os::unix::fs::chown(&path, user, group).expect("the file is ours to give away");
        }
        self.query("ALTER SYSTEM SET ssl = on");
        self.restart();
    }

    /// The folder that holds the data, the unix socket and the log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.daemon.folder()
    }

    /// Stops the instance in order; connections are closed, data is kept for [`restart`](Self::restart).
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// Starts the instance on the same port, with the same data, after stopping it if it runs.
    pub fn restart(&mut self) {
        self.daemon.restart();
    }

    /// Freezes the instance with all its connections: it accepts bytes and answers nothing.
    pub fn pause(&mut self) {
        self.daemon.pause();
    }

    /// Lets a paused instance go on where it was.
    pub fn resume(&mut self) {
        self.daemon.resume();
    }

    fn url_of(&self, database: &str) -> String {
        let port = self.daemon.port();
        format!("postgres://postgres@127.0.0.1:{port}/{database}")
    }
}

/// The folder that the programs of one PostgreSQL version lie in.
#[derive(Debug)]
struct Programs(PathBuf);

impl Programs {
    /// The first folder on `PATH` that holds them all, else the newest where Debian puts them.
    fn installed() -> Result<Self, Unavailable> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain(debian_folders())
            .find(|folder| {
                let needed = ["initdb", "pg_dump", "postgres", "psql"];
                needed.iter().all(|name| folder.join(name).is_file())
            })
            .map(Self)
            .ok_or_else(|| Unavailable::new("PostgreSQL", "postgresql"))
    }

    fn initdb(&self, folder: &Path) -> Command {
        let mut command = Command::new(self.0.join("initdb"));
        command
            .args(["--username=postgres", "--auth=trust", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--no-instructions"])
            .arg("--pgdata")
            .arg(folder.join("data"));
        command
    }

    fn psql(&self, host: &str, port: u16, sql: &str) -> Command {
        let mut command = Command::new(self.0.join("psql"));
        command
            .args(["--no-psqlrc", "--tuples-only", "--no-align"])
            .args(["--host", host, "--port", &port.to_string()])
            .args(["--username=postgres", "--dbname=postgres"])
            .args(["--command", sql])
            .stdin(Stdio::null());
        command
    }
}

impl Program for Programs {
    const END: &'static str = "QUIT";
    const STOP: &'static str = "INT";

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Command::new(self.0.join("postgres"));
        command.arg("-D").arg(folder.join("data"));
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("port={port}"),
            &format!("unix_socket_directories={}", folder.display()),
            "max_connections=200",
            "shared_buffers=32MB",
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
        ] {
            command.args(["-c", setting]);
        }
        command
    }

    fn answers(&self, folder: &Path, port: u16) -> bool {
        let output = self
            .psql(&folder.display().to_string(), port, "SELECT 1")
            .output();
        output
            .expect("psql, which comes with the server")
            .status
            .success()
    }
}

/// `/usr/lib/postgresql/<version>/bin`, the newest version first.
fn debian_folders() -> Vec<PathBuf> {
    let mut versions: Vec<u32> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions
        .iter()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .collect()
}
