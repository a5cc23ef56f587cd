//! What handlers share.

use std::sync::Arc;

use forge_audit::{AuditLog, PostgresAuditStore};
use forge_crypto::Vault;
use forge_monitor::{HealthRegistry, Monitor};
use forge_session::{SessionCookie, Sessions};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::clock::Clock;
use crate::config::Config;
use crate::database::Database;
use crate::device::DeviceLogins;
use crate::github::Github;
use crate::limits::Limiters;
use crate::proxies::ProxyWatch;
use crate::sign_in::{SignInCookie, SignIns};
use crate::wiring::Wiring;

/// The parts of a running server. Cheap to clone.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the part of its type")]
pub struct App {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub database: Database,
    pub vault: Vault,
    pub accounts: Accounts,
    pub github: Github,
    pub sign_ins: SignIns,
    pub device_logins: DeviceLogins,
    pub sessions: Sessions,
    /// The same, through which the monitor reaches them: it holds this weakly.
    pub responding: Arc<Sessions>,
    pub audit: AuditLog,
    /// The logs of all nodes, where they lie in the shared database.
    pub audit_logs: Option<Arc<PostgresAuditStore>>,
    pub monitor: Monitor,
    pub health: HealthRegistry,
    pub limits: Limiters,
    pub proxies: ProxyWatch,
    pub wiring: Wiring,
    /// Changes under way, which are finished before the server ends.
    pub tasks: TaskTracker,
    /// Cancelled when the server begins to drain: what streams for ever ends then.
    pub draining: CancellationToken,
}

impl App {
    /// The cookie that holds a session.
    #[must_use]
    pub fn session_cookie(&self) -> SessionCookie {
        if self.config.is_https() {
            SessionCookie::new()
        } else {
            SessionCookie::insecure_for_loopback()
        }
    }

    /// The cookie that holds a sign-in under way.
    #[must_use]
    pub fn sign_in_cookie(&self) -> SignInCookie {
        SignInCookie::new(self.config.is_https())
    }

    /// Where GitHub sends the browser back to.
    #[must_use]
    pub fn callback_url(&self) -> String {
        self.config.public("/auth/github/callback")
    }

    /// What clients read to learn how to get a token (RFC 9728).
    #[must_use]
    pub fn resource_metadata_url(&self) -> String {
        self.config
            .public("/.well-known/oauth-protected-resource/mcp")
    }

    /// The resource that access tokens are for.
    #[must_use]
    pub fn resource(&self) -> String {
        self.config.public("/mcp")
    }
}
