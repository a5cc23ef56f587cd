//! The real binary, on trial.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use test_support::{Ended, Process};

/// The binary, with an environment that says nothing to it, and a temporary folder of its own.
pub(crate) fn forge<A: AsRef<OsStr>>(
    temporary: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("FORGE_") || name == "CREDENTIALS_DIRECTORY" {
            command.env_remove(&*name);
        }
    }
    command.env("TMPDIR", temporary).args(arguments);
    command
}

/// `forge serve --dev` on free ports, up and running. Dropped, it is killed.
pub(crate) struct Trial {
    pub(crate) process: Process,
    /// Where to open the browser, without the slash at the end.
    pub(crate) url: String,
    /// Where GitHub's stand-in is.
    pub(crate) github: String,
    temporary: TempDir,
}

impl Trial {
    /// Starts it with further arguments, and waits until it says that it is ready.
    pub(crate) fn start(further: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let free = ["--listen=127.0.0.1:0", "--dev-github-listen=127.0.0.1:0"];
        let arguments = ["serve", "--dev"].iter().chain(&free).chain(further);
        let process = Process::start(&mut forge(temporary.path(), arguments));
        let url = process.stdout_line(|line| {
            let (_, rest) = line.split_once("open http://")?;
            let (address, _) = rest.split_once("/ and sign in")?;
            Some(format!("http://{address}"))
        });
        let rest_of = |begin: &'static str| {
            process.stdout_line(|line| Some(line.strip_prefix(begin)?.to_owned()))
        };
        let github = rest_of("GitHub's stand-in: ");
        rest_of("Ctrl-C ends it");
        Self {
            process,
            url,
            github,
            temporary,
        }
    }

    /// Ends it as Ctrl-C does: well, and with nothing left in the temporary folder.
    pub(crate) fn end(self) -> Ended {
        self.process.signal("INT");
        self.ended()
    }

    /// Waits for its end, which is to be a good one.
    pub(crate) fn ended(self) -> Ended {
        self.ended_with(0)
    }

    /// Waits for its end, with nothing left in the temporary folder.
    pub(crate) fn ended_with(self, code: i32) -> Ended {
        let ended = self.process.wait();
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        let left = std::fs::read_dir(self.temporary.path()).unwrap();
        assert_eq!(left.count(), 0, "the temporary folder is not empty");
        ended
    }
}
