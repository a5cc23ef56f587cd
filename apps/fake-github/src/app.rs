//! The stand-in and its builder.

use std::{
    collections::HashSet,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::Router;

use crate::{
    Account, BuildError, Client, Clock, Control, Running, ServeError, SystemClock,
    faults::Faults,
    server,
    site::{Shared, Site},
    state::State,
};

/// The base URL of a router that nobody gave one.
const DEFAULT_BASE_URL: &str = "http://127.0.0.1:3002";

/// A stand-in for GitHub. Clones share accounts, codes and tokens.
#[derive(Clone)]
pub struct FakeGithub {
    shared: Arc<Shared>,
    base_url: Option<String>,
}

impl FakeGithub {
    /// Starts with no client, the default accounts, the system's clock and tokens that do not
    /// expire.
    pub fn builder() -> Builder {
        Builder {
            clients: Vec::new(),
            accounts: Vec::new(),
            clock: Box::new(SystemClock),
            issuer: None,
            base_url: None,
            expiring_tokens: false,
        }
    }

    /// Serves it on `addr`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// When `addr` is not loopback, or cannot be bound.
    pub async fn serve(&self, addr: SocketAddr) -> Result<Running, ServeError> {
        server::serve(self, addr).await
    }

    /// The routes, to serve by other means. Bind them to loopback.
    ///
    /// The base URL is the builder's, or `http://127.0.0.1:3002`.
    pub fn router(&self) -> Router {
        self.router_at(DEFAULT_BASE_URL)
    }

    /// The handle to rename, delay and fail.
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.shared))
    }

    pub(crate) fn base_url_or(&self, default: &str) -> String {
        self.base_url.as_deref().unwrap_or(default).to_owned()
    }

    pub(crate) fn router_at(&self, default_base_url: &str) -> Router {
        Site {
            shared: Arc::clone(&self.shared),
            base_url: self.base_url_or(default_base_url).into(),
        }
        .router()
    }
}

impl fmt::Debug for FakeGithub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeGithub")
            .field("clients", &self.shared.clients)
            .finish_non_exhaustive()
    }
}

/// Puts a [`FakeGithub`] together.
#[must_use]
pub struct Builder {
    clients: Vec<Client>,
    accounts: Vec<Account>,
    clock: Box<dyn Clock>,
    issuer: Option<String>,
    base_url: Option<String>,
    expiring_tokens: bool,
}

impl Builder {
    /// Registers an application. At least one is needed.
    pub fn client(mut self, client: Client) -> Self {
        self.clients.push(client);
        self
    }

    /// Adds an account. Default, when none is added: `octo-admin` (1001), `octo-user` (1002) and
    /// `octo-stranger` (1003).
    pub fn account(mut self, account: Account) -> Self {
        self.accounts.push(account);
        self
    }

    /// Sets the clock by which codes and tokens expire. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Sets the `iss` of the callback (RFC 9207). GitHub's is `https://github.com/login/oauth`;
    /// default: the base URL followed by `/login/oauth`.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets the URL under which it is reached, for the links it gives. Default: `http://` and the
    /// address served on.
    pub fn base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into().trim_end_matches('/').to_owned());
        self
    }

    /// Whether tokens are `ghu_` tokens of eight hours with a `ghr_` refresh token that works
    /// once, as GitHub Apps get them. Default: false, `gho_` tokens that do not expire.
    pub fn expiring_tokens(mut self, expiring: bool) -> Self {
        self.expiring_tokens = expiring;
        self
    }

    /// Builds it.
    ///
    /// # Errors
    ///
    /// When no client is registered, a callback URL cannot be one, or an id or login is not
    /// unique.
    pub fn build(self) -> Result<FakeGithub, BuildError> {
        let Self {
            clients,
            mut accounts,
            clock,
            issuer,
            base_url,
            expiring_tokens,
        } = self;
        if clients.is_empty() {
            return Err(BuildError::NoClient);
        }
        if !are_unique(clients.iter().map(|client| client.id.as_str())) {
            return Err(BuildError::DuplicateClient);
        }
        if !clients
            .iter()
            .all(|client| Client::is_web_url(&client.callback_url))
        {
            return Err(BuildError::CallbackUrl);
        }
        if accounts.is_empty() {
            accounts = Account::defaults();
        }
        if !are_unique(accounts.iter().map(|account| account.id))
            || !are_unique(accounts.iter().map(|account| account.login.to_lowercase()))
        {
            return Err(BuildError::DuplicateAccount);
        }
        Ok(FakeGithub {
            shared: Arc::new(Shared {
                clients,
                clock,
                issuer,
                state: Mutex::new(State::new(accounts, expiring_tokens)),
                faults: Faults::default(),
            }),
            base_url,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("clients", &self.clients)
            .field("accounts", &self.accounts)
            .field("issuer", &self.issuer)
            .field("base_url", &self.base_url)
            .field("expiring_tokens", &self.expiring_tokens)
            .finish_non_exhaustive()
    }
}

fn are_unique<T: std::hash::Hash + Eq>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    let mut items = items;
    items.all(|item| seen.insert(item))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(callback: &str) -> Client {
        Client::new("app", "secret", callback.parse().unwrap())
    }

    #[test]
    fn refuses_to_build_what_could_not_work() {
        let build = |builder: Builder| builder.build().unwrap_err().to_string();
        let good = || FakeGithub::builder().client(client("http://127.0.0.1/cb"));
        assert!(good().build().is_ok());
        assert_eq!(build(FakeGithub::builder()), "no client is registered");
        assert_eq!(
            build(good().client(client("http://127.0.0.1/other"))),
            "two clients have the same id"
        );
        assert_eq!(
            build(
                good()
                    .account(Account::new(1, "one"))
                    .account(Account::new(2, "ONE"))
            ),
            "two accounts have the same id or login"
        );
        for callback in [
            "custom:/cb",
            "http://127.0.0.1/cb#there",
            "http://u:p@127.0.0.1/",
        ] {
            let builder = FakeGithub::builder().client(client(callback));
            assert!(matches!(builder.build(), Err(BuildError::CallbackUrl)));
        }
    }
}
