//! The server, served over a socket of loopback, with a stand-in for GitHub.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use fake_github::{Client, Control, FakeGithub, OCTO_ADMIN, OCTO_USER, Running};
use forge_server::config::Inputs;
use forge_server::{Allowed, App, Clock, Config, Forge, Role, StartError};
use reqwest::Url;
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Browser, postgres};

pub(crate) const CLIENT_SECRET: &str = "a-client-secret-of-the-tests";

/// Limits that no test reaches, for those that are not about limits.
pub(crate) const ROOMY: [(&str, &str); 8] = [
    ("limits.web", "10000/s burst 10000"),
    ("limits.mcp", "10000/s burst 10000"),
    ("limits.admin", "10000/s burst 10000"),
    ("limits.auth", "10000/s burst 10000"),
    ("limits.callback", "10000/s burst 10000"),
    ("limits.anonymous", "10000/s burst 10000"),
    ("limits.health", "10000/s burst 10000"),
    ("limits.address", "10000/s burst 10000"),
];

/// A server with `octo-admin` and `octo-user` on its allow-list, and a clock that stands.
pub(crate) struct Trial {
    pub(crate) clock: Clock,
    pub(crate) app: App,
    pub(crate) addr: SocketAddr,
    pub(crate) inputs: Inputs,
    github: Running,
    folder: TempDir,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), StartError>>,
}

impl Trial {
    /// With the limits as they are by default.
    pub(crate) async fn start() -> Self {
        Self::start_with([]).await
    }

    /// With limits that are not reached.
    pub(crate) async fn roomy() -> Self {
        Self::start_with(ROOMY).await
    }

    /// With these settings besides what a server needs.
    pub(crate) async fn start_with<'a>(
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        Self::start_at(settings, &[], false, None).await
    }

    /// With limits that are counted at a Redis server, which is waited for as long as it takes.
    pub(crate) async fn sharing<'a>(
        redis: &test_support::Redis,
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let shared = [("limits.redis_deadline", "10s"), ("limits.nodes", "2")];
        let secrets = [
            ("FORGE_LIMITS_REDIS", &*redis.url()),
            ("FORGE_LIMITS_REDIS_SECRET", "the-same-on-every-node"),
        ];
        let trial = Self::start_at(shared.into_iter().chain(settings), &secrets, false, None).await;
        trial.counts_together().await;
        trial
    }

    /// Waits until the server that limits are counted at answers.
    pub(crate) async fn counts_together(&self) {
        let began = std::time::Instant::now();
        while let Err(error) = self.app.limits.by_class.store().check().await {
            assert!(began.elapsed().as_secs() < 60, "{error:?}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// With these settings, and these variables of the environment.
    pub(crate) async fn start_with_secrets<'a>(
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
        secrets: &[(&str, &str)],
    ) -> Self {
        Self::start_at(settings, secrets, false, None).await
    }

    /// With these settings and a configuration file.
    pub(crate) async fn with_file<'a>(
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
        file: &Path,
    ) -> Self {
        Self::start_at(settings, &[], false, Some(file)).await
    }

    /// With limits that are not reached, and GitHub tokens that expire.
    pub(crate) async fn with_expiring_tokens() -> Self {
        Self::start_at(ROOMY, &[], true, None).await
    }

    /// With limits that are not reached, and the PostgreSQL database at `url`.
    pub(crate) async fn at(url: &str) -> Self {
        Self::start_at(ROOMY, &[("FORGE_DATABASE_URL", url)], false, None).await
    }

    async fn start_at<'a>(
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
        further_secrets: &[(&str, &str)],
        expiring_tokens: bool,
        file: Option<&Path>,
    ) -> Self {
        let listener = test_support::listener().await;
        let addr = listener.local_addr().unwrap();
        let mut flags = vec![
            ("listen".to_owned(), addr.to_string()),
            ("public_url".to_owned(), format!("http://{addr}")),
        ];
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        flags.extend(settings.into_iter().map(owned));
        let is_public = |(key, _): &&(String, String)| key == "public_url";
        let public = flags.iter().rev().find(is_public).unwrap().1.clone();

        let folder = tempfile::tempdir().unwrap();
        let github = start_github(&public, expiring_tokens).await;
        flags.extend(
            [
                ("data", folder.path().join("data").to_str().unwrap()),
                ("first_admin", &OCTO_ADMIN.to_string()),
                ("github.client_id", "the-tests"),
                ("github.url", github.base_url()),
                ("github.api_url", github.base_url()),
            ]
            .map(owned),
        );
        let keyring = forge_crypto::Keyring::generate().unwrap().to_text();
        let secrets = [
            ("FORGE_GITHUB_CLIENT_SECRET", CLIENT_SECRET),
            ("FORGE_KEYRING", keyring.expose_secret()),
        ];
        let environment = secrets.iter().chain(further_secrets);
        let environment = environment.map(|(name, value)| (OsString::from(name), value.into()));
        let mut inputs = Inputs {
            flags,
            environment: environment.collect(),
            file: file.map(Path::to_owned),
            ..Inputs::default()
        };
        let database = postgres::database();
        let database = database.map(|url| ("FORGE_DATABASE_URL".into(), url.into()));
        inputs.environment.extend(database);
        let clock = Clock::standing();
        Self::serve(listener, inputs, clock, github, folder).await
    }

    async fn serve(
        listener: TcpListener,
        inputs: Inputs,
        clock: Clock,
        github: Running,
        folder: TempDir,
    ) -> Self {
        let config = Config::read(&inputs).unwrap();
        let forge = Forge::build(config, clock.clone()).await.unwrap();
        let app = forge.app().clone();
        if forge.is_first_start() {
            let allowed = Allowed {
                github_id: OCTO_USER,
                role: Role::User,
                login: None,
            };
            app.accounts.allow(&allowed, OCTO_ADMIN).await.unwrap();
        }
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(forge.serve(listener, async {
            let _ = stopped.await;
        }));
        Self {
            clock,
            app,
            addr,
            inputs,
            github,
            folder,
            stop,
            served,
        }
    }

    /// Ends the server in order and starts it again at the same address on the same data.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            clock,
            addr,
            inputs,
            github,
            folder,
            stop,
            served,
            ..
        } = self;
        stop.send(()).unwrap();
        served.await.unwrap().unwrap();
        let listener = TcpListener::bind(addr).await.unwrap();
        Self::serve(listener, inputs, clock, github, folder).await
    }

    /// One more server, on the same database and with the same keys, behind the same address.
    pub(crate) async fn another_node(&self) -> Node {
        let listener = test_support::listener().await;
        let addr = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut inputs = self.inputs.clone();
        let own = [
            ("listen", addr.to_string()),
            ("hosts", addr.to_string()),
            ("data", folder.path().to_str().unwrap().to_owned()),
        ];
        let own = own.map(|(key, value)| (key.to_owned(), value));
        inputs.flags.extend(own);
        let config = Config::read(&inputs).unwrap();
        let forge = Forge::build(config, self.clock.clone()).await.unwrap();
        assert!(!forge.is_first_start());
        let app = forge.app().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(forge.serve(listener, async {
            let _ = stopped.await;
        }));
        Node {
            app,
            addr,
            stop,
            served,
            _folder: folder,
        }
    }

    /// Tells the server to end. What becomes of it is told by the handle.
    pub(crate) fn stop(self) -> Stopping {
        self.stop.send(()).unwrap();
        Stopping {
            served: self.served,
            folder: self.folder,
            github: self.github,
        }
    }

    pub(crate) fn github_url(&self) -> &str {
        self.github.base_url()
    }

    pub(crate) fn github(&self) -> Control {
        self.github.control()
    }

    /// The folder with the databases.
    pub(crate) fn data(&self) -> &Path {
        &self.app.config.data
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://{}", self.addr).parse().unwrap()
    }

    /// A browser that has never been here.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.url())
    }

    /// A browser in which an account is signed in.
    pub(crate) async fn sign_in(&self, account: u64) -> Browser {
        let browser = self.browser();
        let callback = self.begin(&browser, account).await;
        let answer = browser.get(&callback).await.expect(303);
        assert_eq!(answer.location(), "/");
        browser
    }

    /// Begins to sign in and authorizes at GitHub: the way back, to be followed.
    pub(crate) async fn begin(&self, browser: &Browser, account: u64) -> String {
        let out = browser.get("/auth/github/login").await.expect(303);
        self.decide(out.location(), account, "authorize").await
    }

    /// Presses a button on GitHub's page: the way back, without the origin.
    pub(crate) async fn decide(&self, authorize: &str, account: u64, decision: &str) -> String {
        let url: Url = authorize.parse().unwrap();
        let mut form: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        form.push(("account".to_owned(), account.to_string()));
        form.push(("decision".to_owned(), decision.to_owned()));
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        let request = http.post(format!("{}/login/oauth/authorize", self.github.base_url()));
        let response = request.form(&form).send().await.unwrap();
        assert_eq!(response.status(), 302);
        let back = response.headers()["location"].to_str().unwrap();
        let public = self.app.config.public("");
        back.strip_prefix(&public).unwrap().to_owned()
    }

    /// All events so far, as an admin reads them.
    pub(crate) async fn audit(&self, admin: &Browser) -> Vec<Value> {
        let answer = admin.get("/api/admin/audit?limit=1000").await.expect(200);
        let page = answer.json();
        assert_eq!(page["next"], Value::Null);
        page["events"].as_array().unwrap().clone()
    }
}

/// A server beside that of a [`Trial`].
pub(crate) struct Node {
    pub(crate) app: App,
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), StartError>>,
    _folder: TempDir,
}

impl Node {
    /// A browser that comes to this node with the cookies that `other` has.
    pub(crate) fn browser(&self, other: &Browser) -> Browser {
        let browser = Browser::new(format!("http://{}", self.addr).parse().unwrap());
        let session = other.cookie("forge-dev");
        let session = session.map(|value| ("forge-dev".to_owned(), value));
        for (name, value) in other.sign_ins().into_iter().chain(session) {
            browser.plant(&format!("{name}={value}"));
        }
        browser
    }

    pub(crate) async fn end(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

/// A server that was told to end.
pub(crate) struct Stopping {
    pub(crate) served: JoinHandle<Result<(), StartError>>,
    pub(crate) folder: TempDir,
    github: Running,
}

impl Stopping {
    pub(crate) fn github(&self) -> Control {
        self.github.control()
    }

    /// The databases, once the server has ended well.
    pub(crate) async fn ended(self) -> TempDir {
        self.served.await.unwrap().unwrap();
        self.folder
    }
}

async fn start_github(public: &str, expiring_tokens: bool) -> Running {
    let callback = format!("{public}/auth/github/callback").parse().unwrap();
    let client = Client::new("the-tests", CLIENT_SECRET, callback);
    let github = FakeGithub::builder()
        .client(client)
        .expiring_tokens(expiring_tokens)
        .build()
        .unwrap();
    github.serve("127.0.0.1:0".parse().unwrap()).await.unwrap()
}
