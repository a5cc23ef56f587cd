//! `forge serve --dev`: everything on this machine, with a stand-in for GitHub.
//!
//! It refuses an address that is not loopback, and credentials of the real GitHub: a trial must
//! neither be reached from elsewhere nor hold what is worth taking.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use fake_github::{Client, FakeGithub, OCTO_ADMIN, OCTO_USER, Running, ServeError};
use forge_crypto::Keyring;
use tokio::net::TcpListener;

use crate::accounts::{Allowed, Role};
use crate::config::{Config, Inputs, Problems};
use crate::error::StartError;
use crate::forge::Forge;

/// Where the stand-in listens unless told otherwise.
pub const GITHUB_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 3002);

const CLIENT_ID: &str = "forge-dev";
const CLIENT_SECRET: &str = "forge-dev-secret";

/// What a trial needs besides the server.
#[derive(Debug)]
pub struct Trial {
    /// The stand-in for GitHub.
    pub github: Running,
    /// What the server is configured from, the trial's own values included.
    pub inputs: Inputs,
    /// Removed at the end, where the trial made it.
    folder: Option<tempfile::TempDir>,
}

/// Why a trial did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevError {
    /// The configuration has problems.
    #[error(transparent)]
    Config(#[from] Problems),
    /// Something else.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Trial {
    /// Listens, starts the stand-in and fills in what a trial needs, where `inputs` do not say it.
    ///
    /// # Errors
    /// An address that is not loopback, credentials for the real GitHub, or a folder or port that
    /// cannot be used.
    pub async fn start(
        mut inputs: Inputs,
        github_listen: SocketAddr,
    ) -> Result<(Self, Config, TcpListener), DevError> {
        let listen = Config::listen(&inputs)?;
        for address in [listen, github_listen] {
            if !address.ip().is_loopback() {
                let text = format!("--dev is for this machine alone: {address} is not loopback");
                return Err(StartError::Dev(text).into());
            }
        }
        let (listener, listen) = crate::server::listen(listen).await?;
        let public_url = format!("http://{listen}");
        let github = start_github(github_listen, &public_url).await?;
        let base = github.base_url();
        let (data, folder) = match Config::data(&inputs) {
            Some(data) => (data, None),
            None => {
                let made = tempfile::Builder::new().prefix("forge-").tempdir();
                let folder = made.map_err(|source| StartError::Data {
                    path: std::env::temp_dir(),
                    source,
                })?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let keyring = TrialKeyring::of(&data)?;
        inputs.dev = [
            ("public_url", public_url),
            ("data", data.to_string_lossy().into_owned()),
            ("first_admin", OCTO_ADMIN.to_string()),
            // Whoever tries it signs in and out several times within a minute, alone.
            ("limits.auth", "60/min burst 20".to_owned()),
            ("github.client_id", CLIENT_ID.to_owned()),
            ("github.client_secret", CLIENT_SECRET.to_owned()),
            ("github.url", base.to_string()),
            ("github.api_url", base.to_string()),
            (
                "keyring",
                secrecy::ExposeSecret::expose_secret(&keyring.keyring.to_text()).to_owned(),
            ),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let config = Config::read(&inputs)?;
        // A trial that is refused leaves nothing behind.
        keyring.keep()?;
        let trial = Self {
            github,
            inputs,
            folder,
        };
        Ok((trial, config, listener))
    }

    /// Lets the stand-in's ordinary account in, on a new database.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prepare(&self, forge: &Forge) -> Result<(), StartError> {
        if !forge.is_first_start() {
            return Ok(());
        }
        let allowed = Allowed {
            github_id: OCTO_USER,
            role: Role::User,
            login: None,
        };
        let accounts = &forge.app().accounts;
        let done = accounts.allow(&allowed, OCTO_ADMIN).await;
        done.map_err(|error| StartError::part("allow-list")(error.into()))
    }

    /// What is to be done where the process ends without [`end`](Self::end): removes the trial's
    /// own folder.
    pub fn leave_at_once(&self) -> impl FnOnce() + Send + 'static {
        let folder = self.folder.as_ref().map(|folder| folder.path().to_owned());
        move || {
            if let Some(folder) = folder {
                // Nobody is left to be told.
                let _ = std::fs::remove_dir_all(folder);
            }
        }
    }

    /// Ends the stand-in and removes the trial's own folder.
    pub async fn end(self) {
        self.github.shutdown().await;
        drop(self.folder);
    }
}

async fn start_github(listen: SocketAddr, public_url: &str) -> Result<Running, StartError> {
    let part = || StartError::part("stand-in for GitHub");
    let callback = format!("{public_url}/auth/github/callback");
    let callback = callback
        .parse()
        .map_err(|error: url::ParseError| part()(error.into()))?;
    let client = Client::new(CLIENT_ID, CLIENT_SECRET, callback);
    let github = FakeGithub::builder().client(client).build();
    let github = github.map_err(|error| part()(error.into()))?;
    github.serve(listen).await.map_err(|error| match error {
        ServeError::Bind { addr, source } => StartError::Listen {
            address: addr,
            flag: "--dev-github-listen",
            source,
        },
        error => part()(error.into()),
    })
}

/// The keyring in the data folder, made at the first start.
struct TrialKeyring {
    keyring: Keyring,
    path: PathBuf,
    is_new: bool,
}

impl TrialKeyring {
    fn of(data: &Path) -> Result<Self, StartError> {
        let path = data.join("keyring");
        let is_new = !path.exists();
        let keyring = match is_new {
            true => Keyring::generate().map_err(|error| unusable(error.into()))?,
            false => Keyring::from_file(&path).map_err(|error| unusable(error.into()))?,
        };
        Ok(Self {
            keyring,
            path,
            is_new,
        })
    }

    /// Puts a new one on disk.
    fn keep(&self) -> Result<(), StartError> {
        if !self.is_new {
            return Ok(());
        }
        if let Some(data) = self.path.parent() {
            crate::forge::make_folder(data)?;
        }
        let kept = self.keyring.create_file(&self.path);
        kept.map_err(|error| unusable(error.into()))
    }
}

fn unusable(error: forge_monitor::BoxError) -> StartError {
    StartError::part("keyring")(error)
}
