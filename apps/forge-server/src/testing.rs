//! What the unit tests share: a server that is put together and not served.

use std::path::Path;

use forge_session::{Kind, NewSession, Session};
use secrecy::ExposeSecret;

use crate::accounts::{Allowed, Role};
use crate::app::App;
use crate::github::{GithubToken, GithubUser};
use crate::principal::user_id;
use crate::{Clock, Config, Forge};

/// The parts of a server at `http://127.0.0.1:3001` with its data in that folder, limits that no
/// test reaches, and a clock that stands.
pub(crate) async fn app_in(folder: &Path) -> App {
    let flag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let keyring = forge_crypto::Keyring::generate().unwrap().to_text();
    let environment = [
        ("FORGE_GITHUB_CLIENT_SECRET", "a-secret-of-the-tests"),
        ("FORGE_KEYRING", keyring.expose_secret()),
    ];
    let inputs = crate::config::Inputs {
        flags: vec![
            flag("public_url", "http://127.0.0.1:3001"),
            flag("data", folder.to_str().unwrap()),
            flag("first_admin", "1001"),
            flag("github.client_id", "the-tests"),
            flag("limits.web", "10000/s burst 10000"),
            flag("limits.anonymous", "10000/s burst 10000"),
        ],
        environment: environment.map(|(n, v)| (n.into(), v.into())).into(),
        ..crate::config::Inputs::default()
    };
    let config = Config::read(&inputs).unwrap();
    let forge = Forge::build(config, Clock::standing()).await.unwrap();
    forge.app().clone()
}

/// A session of an account that is on the allow-list and has signed in, with its secret.
pub(crate) async fn session_of(app: &App, github_id: u64, kind: Kind) -> (Session, String) {
    let allowed = Allowed {
        github_id,
        role: Role::User,
        login: None,
    };
    // The first admin is on the list already.
    let _ = app.accounts.allow(&allowed, 1001).await;
    let user = GithubUser {
        id: github_id,
        login: format!("user-{github_id}"),
        name: None,
    };
    let token = GithubToken {
        access: "gho_of_the_tests".into(),
        expires_in: None,
        refresh: None,
    };
    assert!(app.accounts.signed_in(&user, &token, None).await.unwrap());
    let created = app
        .sessions
        .create(NewSession::new(user_id(github_id), kind));
    let created = created.await.unwrap();
    let secret = created.secret.expose_secret().to_owned();
    (created.session, secret)
}
