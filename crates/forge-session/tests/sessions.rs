//! The handle: what becomes of sessions, secrets and tokens over time.

#[expect(dead_code, reason = "each test file uses its part")]
mod common;

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use common::{Ground, T0, access_tokens, client, user};
use forge_session::{
    AccessTokens, AuthenticateError, BuildError, Caller, ClientId, CreateError, IssueError, Kind,
    KindPolicy, MemorySessionStore, NewSession, RefreshError, Rejection, RevokeCause, Selector,
    Session, SessionEvent, Sessions, SigningKey, TokenError, TokenKeys,
};
use secrecy::{ExposeSecret, SecretSlice, SecretString};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn rejection(result: Result<Session, AuthenticateError>) -> Rejection {
    match result.unwrap_err() {
        AuthenticateError::Rejected(rejection) => rejection,
        other => panic!("{other:?}"),
    }
}

impl Ground {
    async fn cookie(&self, secret: &SecretString) -> Result<Session, AuthenticateError> {
        let secret = secret.expose_secret();
        self.sessions.authenticate_cookie(secret).await
    }

    async fn bearer(&self, token: &SecretString) -> Result<Session, AuthenticateError> {
        let token = token.expose_secret();
        self.sessions.authenticate_bearer(token).await
    }

    async fn refresh(
        &self,
        token: &SecretString,
    ) -> Result<forge_session::Refreshed, RefreshError> {
        let token = token.expose_secret();
        let caller = Caller::new(Some("192.0.2.9".parse().unwrap()), Some("curl"));
        self.sessions.refresh(token, &client(), &caller).await
    }

    async fn refresh_rejected(&self, token: &SecretString) -> Rejection {
        match self.refresh(token).await.unwrap_err() {
            RefreshError::Rejected(rejection) => rejection,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_cookie_is_good_until_its_session_is_revoked() {
    let ground = Ground::new();
    let created = ground.web("github:1001").await;
    assert_eq!(created.max_age(), DAY * 7);
    let session = ground.cookie(&created.secret).await.unwrap();
    assert_eq!(session, created.session);
    ground.revoke(session.id).await;
    let result = ground.cookie(&created.secret).await;
    assert_eq!(rejection(result), Rejection::Revoked);
    assert_eq!(ground.told(), ["created", "revoked"]);
}

#[tokio::test]
async fn refuses_secrets_nobody_has() {
    let ground = Ground::new();
    let unknown = "A".repeat(64);
    for (secret, expected) in [
        ("", Rejection::Malformed),
        ("x", Rejection::Malformed),
        (&*unknown, Rejection::Unknown),
    ] {
        let result = ground.sessions.authenticate_cookie(secret).await;
        assert_eq!(rejection(result), expected);
    }
}

#[tokio::test]
async fn an_unused_session_expires_and_a_used_one_lives_on_to_the_absolute_limit() {
    let ground = Ground::new();
    let unused = ground.web("a").await;
    let used = ground.web("b").await;
    for _ in 0..12 {
        ground.clock.advance(HOUR * 12);
        let session = ground.cookie(&used.secret).await.unwrap();
        ground
            .sessions
            .touch(&session, &Caller::default())
            .await
            .unwrap();
    }
    let result = ground.cookie(&unused.secret).await;
    assert_eq!(rejection(result), Rejection::Expired);
    ground.clock.set(T0 + DAY * 7);
    let result = ground.cookie(&used.secret).await;
    assert_eq!(rejection(result), Rejection::Expired);
}

#[tokio::test]
async fn expires_at_the_limit_and_not_a_microsecond_before() {
    let ground = Ground::new();
    let created = ground.web("a").await;
    let tick = Duration::from_micros(1);
    ground.clock.advance(DAY - tick);
    assert!(ground.cookie(&created.secret).await.is_ok());
    ground.clock.advance(tick);
    let result = ground.cookie(&created.secret).await;
    assert_eq!(rejection(result), Rejection::Expired);
}

#[tokio::test]
async fn a_secret_is_good_on_its_own_way_only() {
    let ground = Ground::new();
    let (web, mcp) = (ground.web("a").await, ground.mcp("a").await);
    let result = ground.cookie(&mcp.secret).await;
    assert_eq!(rejection(result), Rejection::WrongCarrier);
    let rejected = ground.refresh_rejected(&web.secret).await;
    assert_eq!(rejected, Rejection::WrongCarrier);
    let result = ground.sessions.issue_access_token(&web.session);
    assert!(matches!(result, Err(IssueError::NotEntitled)));
    let result = ground.bearer(&mcp.secret).await;
    assert_eq!(rejection(result), Rejection::Token(TokenError::Malformed));
}

#[tokio::test]
async fn the_fourth_sign_in_ends_the_first() {
    let ground = Ground::new();
    let first = ground.web("a").await;
    ground.clock.advance(MINUTE);
    for _ in 0..2 {
        ground.web("a").await;
    }
    ground.told();
    let fourth = ground.web("a").await;
    assert_eq!(fourth.evicted, [first.session.id]);
    assert_eq!(ground.told(), ["created", "evicted"]);
    let result = ground.cookie(&first.secret).await;
    assert_eq!(rejection(result), Rejection::Revoked);
    let left = ground.sessions.list(&user("a")).await.unwrap();
    assert_eq!(left.len(), 3);
}

#[tokio::test]
async fn kinds_can_be_added_and_changed() {
    let cli = Kind::new("cli").unwrap();
    let one = NonZeroU32::MIN;
    let ground = Ground::with(|builder| {
        builder
            .policy(cli.clone(), KindPolicy::bearer().access_ttl(MINUTE))
            .policy(Kind::WEB, KindPolicy::cookie().max_per_user(one))
    });
    let new = NewSession::new(user("a"), cli.clone()).client(client());
    let created = ground.sessions.create(new).await.unwrap();
    let token = ground.sessions.issue_access_token(&created.session);
    assert_eq!(token.unwrap().expires_in, MINUTE);
    ground.web("a").await;
    assert_eq!(ground.web("a").await.evicted.len(), 1);

    let unknown = NewSession::new(user("a"), Kind::new("pager").unwrap());
    let error = ground.sessions.create(unknown).await.unwrap_err();
    assert!(matches!(error, CreateError::UnknownKind));
    let nameless = NewSession::new(user("a"), cli);
    let error = ground.sessions.create(nameless).await.unwrap_err();
    assert!(matches!(error, CreateError::MissingClient));
}

#[tokio::test]
async fn a_session_of_a_kind_without_a_policy_is_admitted_nowhere() {
    let pager = Kind::new("pager").unwrap();
    let before = Ground::with(|builder| builder.policy(pager.clone(), KindPolicy::cookie()));
    let new = NewSession::new(user("a"), pager);
    let created = before.sessions.create(new).await.unwrap();
    let after = Sessions::builder(before.store.clone())
        .clock(before.clock.clone())
        .build()
        .unwrap();
    let secret = created.secret.expose_secret();
    let result = after.authenticate_cookie(secret).await;
    assert_eq!(rejection(result), Rejection::WrongKind);
}

#[tokio::test]
async fn an_access_token_ends_with_its_time_and_with_its_session() {
    let ground = Ground::new();
    let created = ground.mcp("a").await;
    let issued = ground.sessions.issue_access_token(&created.session);
    let token = issued.unwrap().token;
    assert_eq!(ground.bearer(&token).await.unwrap(), created.session);

    ground.clock.advance(MINUTE * 15 + Duration::from_secs(31));
    let result = ground.bearer(&token).await;
    assert_eq!(rejection(result), Rejection::Token(TokenError::Expired));

    let issued = ground.sessions.issue_access_token(&created.session);
    let token = issued.unwrap().token;
    ground.revoke(created.session.id).await;
    let result = ground.bearer(&token).await;
    assert_eq!(rejection(result), Rejection::Revoked);
}

/// Signing and verifying is this crate's own: another implementation has to agree with it.
#[tokio::test]
async fn another_implementation_agrees_about_signatures() {
    use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

    let shared = SecretSlice::from(vec![7; 32]);
    for key in [
        SigningKey::generate().unwrap(),
        SigningKey::from_shared_secret(&shared).unwrap(),
    ] {
        let bytes = key.to_pkcs8();
        let tokens = AccessTokens::new("i", "a", TokenKeys::new(key));
        let jwks = tokens.keys().jwks();
        let (algorithm, ours, theirs) = match jwks["keys"][0]["x"].as_str() {
            Some(x) => (
                Algorithm::EdDSA,
                DecodingKey::from_ed_components(x).unwrap(),
                EncodingKey::from_ed_der(bytes.expose_secret()),
            ),
            None => (
                Algorithm::HS256,
                DecodingKey::from_secret(shared.expose_secret()),
                EncodingKey::from_secret(bytes.expose_secret()),
            ),
        };
        let ground = Ground::with(|builder| builder.access_tokens(tokens));
        let created = ground.mcp("a").await;
        let issued = ground.sessions.issue_access_token(&created.session);
        let issued = issued.unwrap().token;
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.set_audience(&["a"]);
        let read =
            jsonwebtoken::decode::<serde_json::Value>(issued.expose_secret(), &ours, &validation)
                .unwrap();
        assert_eq!(read.claims["iss"], "i");

        let header = Header {
            typ: read.header.typ,
            kid: read.header.kid,
            ..Header::new(algorithm)
        };
        let again = jsonwebtoken::encode(&header, &read.claims, &theirs).unwrap();
        let session = ground.bearer(&again.into()).await.unwrap();
        assert_eq!(session, created.session);
    }
}

#[tokio::test]
async fn an_access_token_without_its_session_is_nothing() {
    let tokens = access_tokens();
    let here = Ground::with(|builder| builder.access_tokens(tokens.clone()));
    let there = Ground::with(|builder| builder.access_tokens(tokens));
    let created = there.mcp("a").await;
    let issued = there.sessions.issue_access_token(&created.session);
    let result = here.bearer(&issued.unwrap().token).await;
    assert_eq!(rejection(result), Rejection::Unknown);
}

#[tokio::test]
async fn an_access_token_for_another_user_client_or_kind_is_refused() {
    let cli = Kind::new("cli").unwrap();
    let ground = Ground::with(|builder| builder.policy(cli.clone(), KindPolicy::bearer()));
    let created = ground.mcp("a").await;
    let mut other_kind = created.session.clone();
    other_kind.kind = cli;
    let mut stranger = created.session.clone();
    stranger.user = user("b");
    let mut other_client = created.session.clone();
    other_client.client = Some(ClientId::new("other").unwrap());
    for session in [stranger, other_client, other_kind] {
        let issued = ground.sessions.issue_access_token(&session);
        let result = ground.bearer(&issued.unwrap().token).await;
        assert_eq!(rejection(result), Rejection::Token(TokenError::Claims));
    }
}

#[tokio::test]
async fn without_an_issuer_no_token_is_issued_or_accepted() {
    let issuing = Ground::new();
    let created = issuing.mcp("a").await;
    let issued = issuing.sessions.issue_access_token(&created.session);
    let sessions = Sessions::builder(issuing.store.clone()).build().unwrap();
    let token = issued.unwrap().token;
    let result = sessions.authenticate_bearer(token.expose_secret()).await;
    assert_eq!(
        rejection(result),
        Rejection::Token(TokenError::NotConfigured)
    );
    let error = sessions.issue_access_token(&created.session).unwrap_err();
    assert!(matches!(error, IssueError::NotConfigured));
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_successor_after_it() {
    let ground = Ground::new();
    let created = ground.mcp("a").await;
    ground.clock.advance(HOUR);
    let first = ground.refresh(&created.secret).await.unwrap();
    assert_eq!(first.session.generation, 1);
    assert_eq!(first.session.last_ip, Some("192.0.2.9".parse().unwrap()));
    assert_eq!(first.session.idle_expires, T0 + HOUR + DAY * 30);
    let bearer = ground.bearer(&first.access_token.token).await.unwrap();
    assert_eq!(bearer, first.session);
    let second = ground.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(second.session.generation, 2);
    assert_eq!(ground.told(), ["created", "rotated", "rotated"]);
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_session_and_tells() {
    let ground = Ground::new();
    let created = ground.mcp("a").await;
    let next = ground.refresh(&created.secret).await.unwrap();
    ground.told();
    ground.clock.advance(MINUTE * 10);
    let rejected = ground.refresh_rejected(&created.secret).await;
    assert_eq!(rejected, Rejection::Reused);
    {
        let events = ground.events.lock().unwrap();
        let SessionEvent::ReuseDetected { session, caller } = &events[0] else {
            panic!("{events:?}");
        };
        assert_eq!(session.id, created.session.id);
        assert_eq!(caller.ip(), Some("192.0.2.9".parse().unwrap()));
        let SessionEvent::Revoked { cause, .. } = &events[1] else {
            panic!("{events:?}");
        };
        assert_eq!(*cause, RevokeCause::Reuse);
    }
    assert_eq!(ground.told(), ["reuse", "revoked", "refresh rejected"]);
    // Neither the thief's nor the victim's credentials are good any more.
    let rejected = ground.refresh_rejected(&next.refresh_token).await;
    assert_eq!(rejected, Rejection::Revoked);
    let result = ground.bearer(&next.access_token.token).await;
    assert_eq!(rejection(result), Rejection::Revoked);
    // And it is told once.
    ground.told();
    let rejected = ground.refresh_rejected(&created.secret).await;
    assert_eq!(rejected, Rejection::Revoked);
    assert_eq!(ground.told(), ["refresh rejected"]);
}

#[tokio::test]
async fn a_refresh_token_of_another_client_is_refused_and_stays_good() {
    let ground = Ground::new();
    let created = ground.mcp("a").await;
    let (other, caller) = (ClientId::new("other").unwrap(), Caller::default());
    let secret = created.secret.expose_secret();
    let result = ground.sessions.refresh(secret, &other, &caller).await;
    let error = result.unwrap_err();
    assert!(matches!(
        error,
        RefreshError::Rejected(Rejection::WrongClient)
    ));
    assert!(ground.refresh(&created.secret).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_token_has_one_successor_however_many_present_it_at_once() {
    let ground = Ground::new();
    let created = ground.mcp("a").await;
    let secret = created.secret;
    let all: Vec<_> = (0..20)
        .map(|_| {
            let (ground, secret) = (ground.clone(), secret.clone());
            tokio::spawn(async move { ground.refresh(&secret).await.unwrap().refresh_token })
        })
        .collect();
    let mut successors = HashSet::new();
    for one in all {
        successors.insert(one.await.unwrap().expose_secret().to_owned());
    }
    assert_eq!(successors.len(), 1);
    assert_eq!(ground.told(), ["created", "rotated"]);
}

#[tokio::test]
async fn a_use_is_written_at_most_once_a_minute() {
    let ground = Ground::new();
    let created = ground.web("a").await;
    let seen = async |caller: &Caller| {
        let session = ground.cookie(&created.secret).await.unwrap();
        ground.sessions.touch(&session, caller).await.unwrap();
        ground.cookie(&created.secret).await.unwrap()
    };
    let caller = Caller::new(None, Some("Firefox"));
    ground.clock.advance(Duration::from_secs(59));
    assert_eq!(seen(&caller).await.last_used, T0);
    ground.clock.advance(Duration::from_secs(1));
    let session = seen(&caller).await;
    assert_eq!(session.last_used, T0 + MINUTE);
    assert_eq!(session.idle_expires, T0 + MINUTE + DAY);
    assert_eq!(session.user_agent.as_deref(), Some("Firefox"));
}

#[tokio::test]
async fn a_slow_request_brings_nothing_back() {
    let ground = Ground::new();
    let created = ground.web("a").await;
    ground.clock.advance(HOUR);
    let slow = ground.cookie(&created.secret).await.unwrap();
    ground.revoke(slow.id).await;
    ground
        .sessions
        .touch(&slow, &Caller::default())
        .await
        .unwrap();
    let result = ground.cookie(&created.secret).await;
    assert_eq!(rejection(result), Rejection::Revoked);
}

#[tokio::test]
async fn a_user_ends_their_own_sessions_only() {
    let ground = Ground::new();
    let (mine, theirs) = (ground.web("a").await, ground.web("b").await);
    ground.told();
    for (id, count) in [(theirs.session.id, 0), (mine.session.id, 1)] {
        let selector = Selector::SessionOf {
            user: user("a"),
            session: id,
        };
        let revoked = ground.sessions.revoke(selector, RevokeCause::User).await;
        assert_eq!(revoked.unwrap(), count);
    }
    assert_eq!(ground.told(), ["revoked"]);
    assert!(ground.cookie(&theirs.secret).await.is_ok());
}

#[tokio::test]
async fn sweeps_after_the_retention() {
    let ground = Ground::with(|builder| builder.retention(DAY));
    for n in 0..1100 {
        ground.web(&n.to_string()).await;
    }
    ground.told();
    ground.clock.set(T0 + DAY * 2);
    assert_eq!(ground.sessions.sweep().await.unwrap(), 0);
    ground.clock.advance(MINUTE);
    assert_eq!(ground.sessions.sweep().await.unwrap(), 1100);
    // A hundred at a time, so that others can write.
    assert_eq!(ground.told(), ["swept"; 11]);
}

#[tokio::test]
async fn a_failing_store_is_an_error_and_never_a_session() {
    let ground = Ground::new();
    let created = ground.web("a").await;
    let mcp = ground.mcp("a").await;
    let issued = ground.sessions.issue_access_token(&mcp.session).unwrap();
    ground.store.fail(true);
    for result in [
        ground.cookie(&created.secret).await,
        ground.bearer(&issued.token).await,
    ] {
        assert!(matches!(result, Err(AuthenticateError::Store(_))));
    }
    let result = ground.refresh(&mcp.secret).await;
    assert!(matches!(result, Err(RefreshError::Store(_))));
    let new = NewSession::new(user("a"), Kind::WEB);
    let result = ground.sessions.create(new).await;
    assert!(matches!(result, Err(CreateError::Store(_))));
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let ground = Ground::new();
    let created = ground.mcp("a").await;
    let shown = format!("{created:?}");
    let first = created.secret.expose_secret().to_owned();
    let refreshed = ground.refresh(&created.secret).await.unwrap();
    let events = ground.events.lock().unwrap();
    let shown = format!("{shown} {refreshed:?} {events:?} {:?}", ground.sessions);
    for secret in [
        &*first,
        refreshed.refresh_token.expose_secret(),
        refreshed.access_token.token.expose_secret(),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn refuses_a_policy_or_an_issuer_that_makes_no_sense() {
    let builder = || Sessions::builder(MemorySessionStore::new());
    let endless = KindPolicy::cookie().idle(DAY * 30);
    let error = builder().policy(Kind::WEB, endless).build().unwrap_err();
    assert!(matches!(error, BuildError::Limits));
    let long = KindPolicy::bearer().access_ttl(HOUR + MINUTE);
    let error = builder().policy(Kind::MCP, long).build().unwrap_err();
    assert!(matches!(error, BuildError::AccessTtl));
    let keys = TokenKeys::clone(&access_tokens().keys());
    let nameless = forge_session::AccessTokens::new("", "audience", keys);
    let error = builder().access_tokens(nameless).build().unwrap_err();
    assert!(matches!(error, BuildError::AccessTokens));
}
