//! The configuration: flags over environment over file over defaults, checked as a whole.
//!
//! Nothing starts on a configuration with a problem, and all problems are told at once.

mod alerts;
mod allow_list;
mod audit;
mod database;
mod limits;
mod monitor;
pub(crate) mod parse;
mod problem;
mod reference;
mod sessions;
mod settings;
mod sources;
mod texts;
mod weaknesses;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use forge_crypto::Keyring;
use forge_headers::{Cors, ForwardedHeader, HostAllowList, Origin, TrustedProxies};
use forge_monitor::{InspectMode, Level};
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use problem::Problem;
use settings::{Default, variable};
use sources::{Found, Origin as Source, Values};

pub use alerts::AlertsConfig;
pub use allow_list::{AllowListConfig, Group};
pub use audit::AuditConfig;
pub(crate) use audit::{secret as audit_secret, time as audit_time};
pub use database::DatabaseConfig;
pub use limits::{Limits, SharedLimits};
pub use monitor::MonitorConfig;
pub use problem::Problems;
pub use reference::page as reference;
pub use sessions::{KindConfig, SessionsConfig};
pub use sources::Inputs;
pub use texts::Texts;

/// A configuration without a problem.
#[expect(
    missing_docs,
    reason = "each field is the key of its name in the table of settings"
)]
pub struct Config {
    pub listen: SocketAddr,
    pub public_url: Url,
    pub data: PathBuf,
    pub database: Option<DatabaseConfig>,
    pub hosts: HostAllowList,
    pub first_admin: u64,
    pub allow_list: AllowListConfig,
    pub admin: AdminConfig,
    pub github: GithubConfig,
    pub keyring: Keyring,
    pub proxies: TrustedProxies,
    pub trusted_proxies: Vec<IpNet>,
    pub cors: Cors,
    pub cors_origins: Vec<Origin>,
    pub limits: Limits,
    pub sessions: SessionsConfig,
    pub bounds: Bounds,
    pub never_block: Vec<IpNet>,
    pub audit: AuditConfig,
    pub inspection: Inspection,
    pub monitor: MonitorConfig,
    pub alerts: AlertsConfig,
    pub metrics_from: Vec<IpNet>,
    pub log: Log,
    pub texts: Texts,
    /// What is no problem, and had better be otherwise.
    pub warnings: Vec<String>,
}

/// `github.*`
#[derive(Clone)]
#[expect(missing_docs, reason = "as above")]
pub struct GithubConfig {
    pub client_id: String,
    pub client_secret: SecretString,
    pub url: Url,
    pub api_url: Url,
}

/// `admin.*`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as above")]
pub struct AdminConfig {
    pub recent_sign_in: Duration,
}

/// `bounds.*`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as above")]
pub struct Bounds {
    pub body: usize,
    pub header_time: Duration,
    pub request_time: Duration,
    pub connections: usize,
    pub drain_time: Duration,
}

/// `inspection.*`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as above")]
pub struct Inspection {
    pub mode: InspectMode,
    pub level: Level,
    pub exempt: Vec<String>,
}

/// `log.*`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as above")]
pub struct Log {
    pub filter: String,
    pub json: bool,
}

impl Config {
    /// Reads the configuration from everything the process was given.
    ///
    /// # Errors
    /// All problems, each with its key, where it came from, and the fix.
    pub fn read(inputs: &Inputs) -> Result<Self, Problems> {
        Self::part(inputs, Self::from_reader)
    }

    /// Where the server is going to listen, before the rest is known.
    ///
    /// # Errors
    /// The address cannot be read.
    pub fn listen(inputs: &Inputs) -> Result<SocketAddr, Problems> {
        let values = Values::collect(inputs, &mut Problems::default());
        let mut reader = Reader::new(values, Problems::default());
        match reader.one("listen", address) {
            Some(listen) => Ok(listen),
            None => Err(reader.problems),
        }
    }

    /// The folder that is set, before the rest is known.
    #[must_use]
    pub fn data(inputs: &Inputs) -> Option<PathBuf> {
        let mut values = Values::collect(inputs, &mut Problems::default());
        values
            .take("data")
            .map(|found| PathBuf::from(found.text.as_str()))
    }

    /// The file that holds the keyring, before the rest is known.
    ///
    /// # Errors
    /// None is set, or one that cannot be read, or the keyring is written where the server reads it
    /// and no command could change it.
    pub fn keyring_file(inputs: &Inputs) -> Result<PathBuf, Problems> {
        let mut problems = Problems::default();
        let mut values = Values::collect(inputs, &mut problems);
        let fix = "name its file with --keyring, or the configuration that does with --config";
        let problem = match values.take("keyring").map(|found| found.origin) {
            Some(Source::File(path)) => return Ok(path),
            Some(origin) => {
                Problem::new("keyring", "is not in a file of its own", fix).from(origin)
            }
            None => match problems.about("keyring") {
                Some(unread) => return Err(unread),
                None => Problem::new("keyring", "is missing", fix),
            },
        };
        Err(Problems::from(problem))
    }

    /// The shared database that is set, before the rest is known.
    ///
    /// # Errors
    /// What is set is no URL of one, or the file with it cannot be read.
    pub fn database(inputs: &Inputs) -> Result<Option<DatabaseConfig>, Problems> {
        let mut problems = Problems::default();
        let values = Values::collect(inputs, &mut problems);
        let mut reader = Reader::new(values, problems);
        let database = DatabaseConfig::from_reader(&mut reader);
        match reader.problems.is_empty() {
            true => Ok(database),
            false => Err(reader.problems),
        }
    }

    /// Where alerts go, for who only tries that: neither keys nor anything else has to be set.
    ///
    /// # Errors
    /// What is set of `alerts.*` cannot be used, or a key is unknown.
    pub fn alerts(inputs: &Inputs) -> Result<AlertsConfig, Problems> {
        Self::part(inputs, AlertsConfig::from_reader)
    }

    /// What is watched for, and who is never banned, for who only replays: neither keys nor anything
    /// else has to be set.
    ///
    /// # Errors
    /// What is set of `monitor.*` or `proxies.trusted` cannot be used, or a key is unknown.
    pub fn watched(inputs: &Inputs) -> Result<(MonitorConfig, Vec<IpNet>), Problems> {
        Self::part(inputs, |reader| {
            let trusted = reader.one("proxies.trusted", parse::list(parse::network));
            let never_block = reader.one("monitor.never_block", parse::list(parse::network));
            let monitor = MonitorConfig::from_reader(reader);
            let mut exempt = never_block?;
            exempt.extend(trusted.unwrap_or_default());
            Some((monitor?, exempt))
        })
    }

    fn part<T>(
        inputs: &Inputs,
        read: impl FnOnce(&mut Reader) -> Option<T>,
    ) -> Result<T, Problems> {
        let mut problems = Problems::default();
        let values = Values::collect(inputs, &mut problems);
        if values.is_unread {
            // What the file would have set is not missing.
            return Err(problems);
        }
        let mut reader = Reader::new(values, problems);
        match read(&mut reader) {
            Some(part) if reader.problems.is_empty() => Ok(part),
            _ => Err(reader.problems),
        }
    }

    fn from_reader(reader: &mut Reader) -> Option<Self> {
        // Each value is read before any is required, so that every problem is found.
        let listen = reader.one("listen", address);
        let public_url = reader.one("public_url", parse::origin);
        let data = reader.one("data", |text| match text {
            "" => Err("must name a folder".to_owned()),
            text => Ok(PathBuf::from(text)),
        });
        let database = DatabaseConfig::from_reader(reader);
        let hosts = reader.one("hosts", parse::list(host));
        let first_admin = reader.one("first_admin", |text| {
            let id = text
                .parse::<u64>()
                .ok()
                .filter(|id| *id > 0 && i64::try_from(*id).is_ok());
            id.ok_or_else(|| "must be the numeric id of a GitHub account, not its login".to_owned())
        });
        let allow_list = AllowListConfig::from_reader(reader);
        let recent_sign_in = reader.one("admin.recent_sign_in", parse::duration);
        let client_id = reader.one("github.client_id", visible);
        let client_secret = reader.one("github.client_secret", visible);
        let github_url = reader.one("github.url", parse::endpoint);
        let api_url = reader.one("github.api_url", parse::endpoint);
        let keyring = reader.one("keyring", |text| {
            Keyring::parse(text).map_err(|error| format!("is not a keyring: {error}"))
        });
        let trusted = reader.one("proxies.trusted", parse::list(parse::network));
        let header = reader.one("proxies.header", forwarded_header);
        let cors_origins = reader.one("cors.origins", parse::list(origin));
        let limits = Limits::from_reader(reader);
        let sessions = SessionsConfig::from_reader(reader);
        let bounds = Bounds::from_reader(reader);
        let never_block = reader.one("monitor.never_block", parse::list(parse::network));
        let audit = AuditConfig::from_reader(reader);
        let inspection = Inspection::from_reader(reader);
        let monitor = MonitorConfig::from_reader(reader);
        let alerts = AlertsConfig::from_reader(reader);
        let metrics_from = reader.one("metrics.from", parse::list(parse::network));
        let log = Log::from_reader(reader);

        let public_url = public_url?;
        let hosts = reader.checked(
            "hosts",
            host_allow_list(&public_url, &hosts.unwrap_or_default()),
        );
        let cors_origins = cors_origins.unwrap_or_default();
        if public_url.scheme() == "https" && trusted.as_ref().is_none_or(Vec::is_empty) {
            let what = "is empty, while people come over https through a proxy";
            let fix = "name the network of the proxy that ends TLS";
            reader.refuse("proxies.trusted", what, fix);
        }
        let cors = reader.checked("cors.origins", cors(&cors_origins));
        let trusted_proxies = trusted.unwrap_or_default();
        let proxies = TrustedProxies::new(trusted_proxies.clone()).header(header?);
        let (hosts, cors) = (hosts?, cors?);
        let reached = (
            public_url.scheme() == "https",
            parse::is_loopback(&public_url),
        );
        for weakness in weaknesses::find((&hosts, &proxies, &cors), reached) {
            let told = reader.problem(weakness.key, weakness.what, weakness.fix);
            reader.values.warnings.push(told.to_string());
        }
        Some(Self {
            listen: listen?,
            public_url,
            data: data?,
            database,
            hosts,
            first_admin: first_admin?,
            allow_list: allow_list?,
            admin: AdminConfig {
                recent_sign_in: recent_sign_in?,
            },
            github: GithubConfig {
                client_id: client_id?,
                client_secret: client_secret?.into(),
                url: github_url?,
                api_url: api_url?,
            },
            keyring: keyring?,
            proxies,
            trusted_proxies,
            cors,
            cors_origins,
            limits: limits?,
            sessions: sessions?,
            bounds: bounds?,
            never_block: never_block?,
            audit: audit?,
            inspection: inspection?,
            monitor: monitor?,
            alerts: alerts?,
            metrics_from: metrics_from?,
            log: log?,
            texts: std::mem::take(&mut reader.texts),
            warnings: std::mem::take(&mut reader.values.warnings),
        })
    }

    /// Whether people reach the server over https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// An address below the public one; `path` begins with a slash.
    #[must_use]
    pub fn public(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

impl Bounds {
    fn from_reader(reader: &mut Reader) -> Option<Self> {
        let body = reader.one("bounds.body", parse::number(1024..=1024 * 1024 * 1024));
        let header_time = reader.one("bounds.header_time", parse::duration);
        let request_time = reader.one("bounds.request_time", parse::duration);
        let connections = reader.one("bounds.connections", parse::number(1..=1_000_000));
        let drain_time = reader.one("bounds.drain_time", parse::duration);
        Some(Self {
            body: body?,
            header_time: header_time?,
            request_time: request_time?,
            connections: connections?,
            drain_time: drain_time?,
        })
    }
}

impl Inspection {
    fn from_reader(reader: &mut Reader) -> Option<Self> {
        let mode = reader.one("inspection.mode", |text| {
            text.parse::<InspectMode>()
                .map_err(|error| error.to_string())
        });
        let level = reader.one("inspection.level", |text| {
            text.parse::<Level>().map_err(|error| error.to_string())
        });
        let exempt = reader.one(
            "inspection.exempt",
            parse::list(|path| match path.starts_with('/') {
                true => Ok(path.to_owned()),
                false => Err("must begin with a slash".to_owned()),
            }),
        );
        Some(Self {
            mode: mode?,
            level: level?,
            exempt: exempt.unwrap_or_default(),
        })
    }
}

impl Log {
    fn from_reader(reader: &mut Reader) -> Option<Self> {
        let filter = reader.one(
            "log.filter",
            |text| match tracing_subscriber::EnvFilter::try_new(text) {
                Ok(_) => Ok(text.to_owned()),
                Err(_) => Err("is not a filter such as `info,forge_session=debug`".to_owned()),
            },
        );
        let json = reader.one("log.format", |text| match text {
            "text" => Ok(false),
            "json" => Ok(true),
            _ => Err("must be text or json".to_owned()),
        });
        Some(Self {
            filter: filter?,
            json: json?,
        })
    }
}

/// Reads values and keeps what is wrong with them.
struct Reader {
    values: Values,
    /// Where the values that were read came from.
    origins: BTreeMap<&'static str, Source>,
    texts: Texts,
    problems: Problems,
}

impl Reader {
    fn new(values: Values, problems: Problems) -> Self {
        Self {
            values,
            origins: BTreeMap::new(),
            texts: Texts::default(),
            problems,
        }
    }

    /// The value of a key, if it is there and well-formed. A required one that is missing and any
    /// that is not well-formed becomes a problem.
    fn one<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(Found { text, origin }) = self.values.take(key) else {
            let setting = settings::find(key)?;
            if matches!(setting.default, Default::Required) {
                let fix = match setting.secret {
                    true => {
                        let how =
                            format!("set {key}_file in the file, {0}_FILE or {0}", variable(key));
                        match key {
                            "keyring" => format!("{how}; `forge key generate FILE` makes one"),
                            _ => how,
                        }
                    }
                    false => format!(
                        "set it in the file, as {}, or by --set {key}=…",
                        variable(key)
                    ),
                };
                self.problems.push(Problem::new(key, "is missing", fix));
            }
            return None;
        };
        self.origins.insert(key, origin);
        self.texts.insert(key, text.trim());
        self.checked(key, parse(text.trim()))
    }

    /// The tables of a key that is a list of them, with where they were found.
    fn tables(&mut self, key: &'static str) -> Option<sources::Tables> {
        self.values.take_tables(key)
    }

    /// A value, or what is wrong with it.
    fn checked<T>(&mut self, key: &'static str, value: Result<T, String>) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(what) => {
                self.refuse(
                    key,
                    what,
                    settings::find(key).map_or_else(String::new, takes),
                );
                None
            }
        }
    }

    /// Keeps what is wrong with the value of a key, and where that came from.
    fn refuse(&mut self, key: &'static str, what: impl Into<String>, fix: impl Into<String>) {
        let problem = self.problem(key, what, fix);
        self.problems.push(problem);
    }

    fn problem(&self, key: &str, what: impl Into<String>, fix: impl Into<String>) -> Problem {
        let problem = Problem::new(key, what, fix);
        match self.origins.get(key) {
            Some(origin) => problem.from(origin.clone()),
            None => problem,
        }
    }
}

/// What a setting takes, and where it is short the default as an example.
fn takes(setting: &settings::Setting) -> String {
    let takes = setting.takes;
    match setting.default {
        Default::Text(text) if (1..=32).contains(&text.len()) && !takes.contains(text) => {
            format!("it takes {takes}, such as the default, `{text}`")
        }
        _ => format!("it takes {takes}"),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let shape = "must be an address and a port such as 127.0.0.1:3001";
    text.parse().map_err(|_| shape.to_owned())
}

fn visible(text: &str) -> Result<String, String> {
    let visible = (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    visible
        .then(|| text.to_owned())
        .ok_or_else(|| "must be visible ASCII".to_owned())
}

fn forwarded_header(text: &str) -> Result<ForwardedHeader, String> {
    match text.to_ascii_lowercase().as_str() {
        "forwarded" => Ok(ForwardedHeader::Forwarded),
        "x-forwarded-for" => Ok(ForwardedHeader::XForwardedFor),
        name => match http::HeaderName::try_from(name) {
            Ok(name) => Ok(ForwardedHeader::Named(name)),
            Err(_) => Err("is not the name of a header".to_owned()),
        },
    }
}

fn host(text: &str) -> Result<String, String> {
    let host = HostAllowList::new([text]).map(|_| text.to_owned());
    host.map_err(|error| error.to_string())
}

/// The public host and those listed; on loopback its other names too, at the same port.
fn host_allow_list(public_url: &Url, further: &[String]) -> Result<HostAllowList, String> {
    let authority = |host: &str| match public_url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let mut entries = vec![authority(public_url.host_str().unwrap_or_default())];
    if parse::is_loopback(public_url) {
        entries.extend(["localhost", "127.0.0.1", "[::1]"].map(authority));
    }
    entries.extend_from_slice(further);
    HostAllowList::new(entries).map_err(|error| error.to_string())
}

fn origin(text: &str) -> Result<Origin, String> {
    Origin::parse(text.as_bytes()).map_err(|error| format!("holds something else: {error}"))
}

fn cors(origins: &[Origin]) -> Result<Cors, String> {
    if origins.is_empty() {
        return Ok(Cors::none());
    }
    let cors = Cors::builder()
        .origins(origins.iter().map(ToString::to_string))
        .methods(["GET", "POST", "DELETE"])
        .headers(["content-type", "authorization"])
        .exposed_headers([
            "www-authenticate",
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
            "x-request-id",
        ])
        .credentials(true)
        .build();
    cors.map_err(|error| error.to_string())
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("public_url", &self.public_url.as_str())
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for GithubConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GithubConfig")
            .field("client_id", &self.client_id)
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}
