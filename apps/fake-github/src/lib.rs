//! GitHub's sign-in as GitHub speaks it, on loopback, for local trial and for tests.
//!
//! The stand-in answers the web flow, the device flow and the few API calls a sign-in needs,
//! with GitHub's parameters, errors (sent with status 200), token prefixes and lifetimes. It
//! listens on loopback only: [`FakeGithub::serve`] refuses every other address, and a request
//! whose `Host` is not loopback is refused, so that no page on the web can reach it by name.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use fake_github::{Client, FakeGithub, OCTO_ADMIN};
//!
//! let github = FakeGithub::builder()
//!     .client(Client::new("my-app", "my-secret", "http://127.0.0.1/auth/callback".parse()?))
//!     .build()?;
//! let server = github.serve("127.0.0.1:0".parse()?).await?;
//!
//! // Send the browser to {base_url}/login/oauth/authorize, or post the page's form:
//! println!("{}/login/oauth/authorize?client_id=my-app", server.base_url());
//! server.control().rename(OCTO_ADMIN, "octo-renamed")?;
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Endpoints
//!
//! | Request | What it does |
//! |---|---|
//! | `GET /login/oauth/authorize` | a page with one form: choose an account, authorize or cancel |
//! | `POST /login/oauth/authorize` | the form: fields of the query, `account=<id>`, `decision=authorize\|cancel` |
//! | `POST /login/oauth/access_token` | code, refresh token or device code for an access token |
//! | `POST /login/device/code` | starts the device flow |
//! | `GET /login/device` | the page for the user code; `?user_code=` fills it in |
//! | `POST /login/device` | the form: `user_code`, `account=<id>`, `decision=authorize\|cancel` |
//! | `GET /user`, `GET /user/emails` | the token's account |
//! | `GET /users/{login}`, `GET /user/{id}` | any account, without a token |
//! | `GET /orgs/{org}` | an organization, without a token |
//! | `GET /user/memberships/orgs` | the memberships of the token's account, page by page |
//! | `GET /orgs/{org}/teams/{team_slug}` | a team, for members of the organization |
//! | `GET /organizations/{org_id}/team/{team_id}/memberships/{username}` | whether somebody is in it |
//! | `DELETE /applications/{client_id}/token`, `…/grant` | revokes a token, or all of an account's tokens |
//!
//! # Control
//!
//! [`Control`] renames accounts, slows endpoints down and makes them fail, in the same process, and
//! changes organizations. All but that over HTTP too, for tests in another process, with JSON bodies:
//!
//! | Request | Body |
//! |---|---|
//! | `POST /_fake/rename` | `{"id": 1001, "login": "new-login"}` |
//! | `POST /_fake/delay` | `{"endpoint": "token", "milliseconds": 500}` |
//! | `POST /_fake/fail` | `{"endpoint": "user", "fault": {"status": 500}}` or `{"endpoint": "user", "fault": "malformed"}` |
//! | `POST /_fake/clear` | none: ends every delay and fault, requests held back go on |
//! | `GET /_fake/requests` | answers `{"token": 3, …}`, the requests each endpoint has seen |
//! | `GET /_fake/tokens` | answers `["gho_…", …]`, the tokens alive now |
//!
//! Endpoint names are those of [`Endpoint::name`].
//!
//! # Where it differs from GitHub
//!
//! - Nobody signs in: the page lists the accounts. It is shown even when the account has
//!   authorized the application before.
//! - Tokens have GitHub's length and alphabet, but no checksum in their last six characters, so
//!   that a secret scanner does not take them for real ones.
//! - GitHub does not document its answer to a wrong PKCE verifier: here it is
//!   `bad_verification_code`, and the code is spent. An authorization request with another
//!   method than `S256` is answered `invalid_request` (RFC 7636 section 4.4.1).
//! - One callback URL for each application; the device flow is always enabled.
//!
//! # Security
//!
//! This is a tool for trial and tests: anyone who reaches the port can be any of its accounts.

mod account;
mod api;
mod app;
mod authorize;
mod client;
mod clock;
mod control;
mod device;
mod error;
mod faults;
mod organization;
mod page;
mod params;
mod random;
mod server;
mod shelf;
mod site;
mod state;
mod token;

pub use crate::{
    account::{Account, OCTO_ADMIN, OCTO_STRANGER, OCTO_USER},
    app::{Builder, FakeGithub},
    client::Client,
    clock::{Clock, ManualClock, SystemClock},
    control::Control,
    error::{BuildError, ControlError, ServeError},
    faults::{Endpoint, Fault},
    organization::{Membership, Organization, Team},
    server::Running,
};
