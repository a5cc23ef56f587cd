//! `forge login`: signs a terminal in with GitHub's device flow, and keeps the tokens for the user.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// What a poll that came too early adds (RFC 8628, section 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// `forge login`
#[derive(Args, Clone, Debug)]
pub struct Login {
    /// The server's public address, such as `https://forge.example`.
    #[arg(value_name = "URL", value_parser = server)]
    pub server: Url,
    /// What the session is called in the list of sessions.
    #[arg(long, value_name = "NAME", default_value = "forge-cli")]
    pub client: String,
    /// The file the tokens go into [default: forge/credentials.json in the user's configuration
    /// directory].
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

fn server(text: &str) -> Result<Url, &'static str> {
    Url::parse(text).map_err(|_| "write it as https://host[:port]")
}

/// Why a terminal was not signed in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The tokens would travel in clear.
    #[error("the server's address must be https, except on this machine")]
    Insecure,
    /// The server could not be reached.
    #[error("the server could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The server's answer is not of the documented form.
    #[error("the server's answer could not be read (status {0})")]
    Malformed(http::StatusCode),
    /// The server, or GitHub behind it, takes no device flow.
    #[error(
        "the server does not sign terminals in: is the device flow enabled for its GitHub app?"
    )]
    NotEnabled,
    /// The person said no, or the account may not sign in.
    #[error("access was denied, or this account may not sign in")]
    Denied,
    /// Nobody answered in time.
    #[error("nobody entered the code in time")]
    Expired,
    /// There is no place for the tokens.
    #[error("neither XDG_CONFIG_HOME nor HOME is set; name a file with --file")]
    NoHome,
    /// The tokens could not be kept.
    #[error("the tokens could not be written to {path}")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

#[derive(Deserialize)]
struct Begun {
    #[serde(deserialize_with = "secret")]
    device_code: SecretString,
    user_code: String,
    verification_uri: String,
    expires_in: u64,
    interval: u64,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(deserialize_with = "secret")]
    access_token: SecretString,
    #[serde(deserialize_with = "secret")]
    refresh_token: SecretString,
    expires_in: u64,
}

fn secret<'de, D: serde::Deserializer<'de>>(text: D) -> Result<SecretString, D::Error> {
    Box::<str>::deserialize(text).map(SecretString::new)
}

impl Login {
    /// Shows the code, waits for the person to enter it, and keeps the tokens.
    ///
    /// # Errors
    /// [`LoginError`]; then nothing was kept.
    pub async fn run(&self, out: &mut impl Write) -> Result<(), LoginError> {
        self.run_with(out, tokio::time::sleep).await
    }

    /// As [`run`](Self::run), waiting with `sleep`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_with<S: Future<Output = ()>>(
        &self,
        out: &mut impl Write,
        sleep: impl Fn(Duration) -> S,
    ) -> Result<(), LoginError> {
        if self.server.scheme() != "https" && !crate::config::parse::is_loopback(&self.server) {
            return Err(LoginError::Insecure);
        }
        let path = match &self.file {
            Some(file) => file.clone(),
            None => default_file(|name| std::env::var_os(name)).ok_or(LoginError::NoHome)?,
        };
        // Several providers may be compiled in; the process must choose one, once.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
            .timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(LoginError::Unreachable)?;
        let begun = self.begin(&http).await?;
        // What cannot be shown is found in the next step: nobody enters the code.
        let _ = writeln!(out, "Open {} and enter the code", begun.verification_uri);
        let _ = writeln!(out, "\n    {}\n", begun.user_code);
        let _ = writeln!(out, "Waiting …");
        let _ = out.flush();
        let granted = self.wait(&http, &begun, sleep).await?;
        keep(&path, &self.server, &granted).map_err(|source| LoginError::Write {
            path: path.clone(),
            source,
        })?;
        let _ = writeln!(out, "Signed in. The tokens are in {}.", path.display());
        Ok(())
    }

    async fn begin(&self, http: &reqwest::Client) -> Result<Begun, LoginError> {
        let form = [("client_id", self.client.as_str())];
        let (status, body, _) = self.post(http, "auth/device", &form).await?;
        if status.is_success() {
            serde_json::from_slice(&body).map_err(|_| LoginError::Malformed(status))
        } else if error_code(&body).as_deref() == Some("unauthorized_client") {
            Err(LoginError::NotEnabled)
        } else {
            Err(LoginError::Malformed(status))
        }
    }

    async fn wait<S: Future<Output = ()>>(
        &self,
        http: &reqwest::Client,
        begun: &Begun,
        sleep: impl Fn(Duration) -> S,
    ) -> Result<Granted, LoginError> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", begun.device_code.expose_secret()),
            ("client_id", self.client.as_str()),
        ];
        let mut interval = Duration::from_secs(begun.interval.clamp(1, 60));
        let mut left = Duration::from_secs(begun.expires_in);
        loop {
            sleep(interval).await;
            left = left.checked_sub(interval).ok_or(LoginError::Expired)?;
            let (status, body, retry_after) = match self.post(http, "auth/token", &form).await {
                Ok(answer) => answer,
                // RFC 8628, section 3.5: back off, and go on until the code is over.
                Err(LoginError::Unreachable(_)) => {
                    interval = (interval * 2).min(Duration::from_secs(60));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if status.is_success() {
                return serde_json::from_slice(&body).map_err(|_| LoginError::Malformed(status));
            }
            match error_code(&body).as_deref() {
                Some("authorization_pending") => {}
                Some("slow_down") => interval += SLOW_DOWN,
                Some("access_denied") => return Err(LoginError::Denied),
                Some("expired_token") => return Err(LoginError::Expired),
                _ if status == http::StatusCode::TOO_MANY_REQUESTS => {
                    interval = interval.max(retry_after.unwrap_or(interval + SLOW_DOWN));
                }
                _ if status.is_server_error() => {}
                _ => return Err(LoginError::Malformed(status)),
            }
        }
    }

    async fn post(
        &self,
        http: &reqwest::Client,
        path: &str,
        form: &[(&str, &str)],
    ) -> Result<(http::StatusCode, Vec<u8>, Option<Duration>), LoginError> {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        let unreachable = |error: reqwest::Error| LoginError::Unreachable(error.without_url());
        let request = http
            .post(url)
            .header(http::header::ACCEPT, "application/json");
        let mut response = request.form(form).send().await.map_err(unreachable)?;
        let status = response.status();
        let retry_after = response.headers().get(http::header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(LoginError::Malformed(status));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body, retry_after.map(Duration::from_secs)))
    }
}

/// RFC 6749, section 5.2.
fn error_code(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body.get("error")?.as_str()?.to_owned())
}

/// `forge/credentials.json` in the user's configuration directory (XDG Base Directory).
fn default_file(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let absolute = |name| {
        let path = variable(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(base.join("forge").join("credentials.json"))
}

/// Writes the tokens beside those for other servers: into a new file that only this user may read,
/// which then takes the place of the old one.
fn keep(path: &Path, server: &Url, granted: &Granted) -> io::Result<()> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut all: Map<String, Value> = match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(error),
    };
    let tokens = json!({
        "access_token": granted.access_token.expose_secret(),
        "refresh_token": granted.refresh_token.expose_secret(),
        "expires_at": now.as_secs() + granted.expires_in,
    });
    all.insert(server.as_str().trim_end_matches('/').to_owned(), tokens);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(&serde_json::to_vec_pretty(&all)?)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn granted(token: &str) -> Granted {
        Granted {
            access_token: token.into(),
            refresh_token: "refresh".into(),
            expires_in: 900,
        }
    }

    #[test]
    fn keeps_tokens_for_the_user_alone_and_beside_others() {
        let folder = std::env::temp_dir().join(format!("forge-login-{}", std::process::id()));
        let path = folder.join("deep").join("credentials.json");
        for (server, token) in [
            ("https://a.example/", "one"),
            ("https://b.example", "two"),
            ("https://a.example", "three"),
        ] {
            keep(&path, &server.parse().unwrap(), &granted(token)).unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let all: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(all["https://a.example"]["access_token"], "three");
        assert_eq!(all["https://b.example"]["access_token"], "two");
        let folder_mode = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(folder_mode.permissions().mode() & 0o777, 0o700);
        // What somebody else wrote is not overwritten.
        fs::write(&path, "not json").unwrap();
        assert!(keep(&path, &"https://a.example".parse().unwrap(), &granted("x")).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"not json");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn knows_the_users_configuration_directory() {
        let of = |xdg: Option<&str>, home: Option<&str>| {
            default_file(|name| match name {
                "XDG_CONFIG_HOME" => xdg.map(Into::into),
                _ => home.map(Into::into),
            })
        };
        let file = |path: &str| Some(PathBuf::from(path));
        let in_xdg = of(Some("/x"), Some("/home/a"));
        assert_eq!(in_xdg, file("/x/forge/credentials.json"));
        let in_home = of(Some("relative"), Some("/home/a"));
        assert_eq!(in_home, file("/home/a/.config/forge/credentials.json"));
        assert_eq!(of(None, None), None);
    }
}
