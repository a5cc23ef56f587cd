//! Whatever is done in whatever order, sessions behave as a model of a few lines says: issue,
//! present, refresh, use a token, revoke, sweep, wait.
#![cfg(feature = "axum")]

#[expect(dead_code, reason = "each test file uses its part")]
mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use common::{Ground, client, user};
use forge_session::{
    AuthenticateError, Caller, Kind, KindPolicy, NewSession, OnRejection, RefreshError, Rejection,
    RevokeCause, Selector, SessionId, SessionLayer, Timestamp,
};
use http::Request;
use http::request::Parts;
use proptest::prelude::*;
use secrecy::ExposeSecret;
use tower::ServiceExt;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Debug)]
enum Step {
    SignIn {
        owner: u8,
        mcp: bool,
    },
    /// Presents one of a session's secrets, counted back from the latest.
    Present {
        session: usize,
        back: usize,
    },
    UseToken {
        session: usize,
    },
    Revoke {
        session: usize,
        which: u8,
    },
    Sweep,
    Wait {
        seconds: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let waits = prop_oneof![
        3 => 1..90u32,
        2 => 500..700u32,
        3 => 12 * 3600..13 * 3600u32,
        1 => 24 * 3600..100 * 3600u32,
    ];
    prop_oneof![
        4 => (0..2u8, any::<bool>()).prop_map(|(owner, mcp)| Step::SignIn { owner, mcp }),
        9 => (0..10usize, 0..4usize).prop_map(|(session, back)| Step::Present {
            session,
            back: back.saturating_sub(1),
        }),
        4 => (0..10usize).prop_map(|session| Step::UseToken { session }),
        2 => (0..10usize, 0..6u8).prop_map(|(session, which)| Step::Revoke { session, which }),
        1 => Just(Step::Sweep),
        5 => waits.prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A session as the model knows it.
struct Family {
    id: SessionId,
    owner: u8,
    kind: Kind,
    secrets: Vec<String>,
    token: Option<(String, Timestamp)>,
    created: Timestamp,
    rotated: Option<Timestamp>,
    revoked: Option<Timestamp>,
    swept: bool,
}

impl Family {
    fn expires(&self) -> Timestamp {
        self.created + DAY * 4
    }

    fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && !self.swept && now < self.expires()
    }

    /// What becomes of it before its secrets are looked at.
    fn state(&self, now: Timestamp) -> Result<(), Rejection> {
        match self {
            _ if self.swept => Err(Rejection::Unknown),
            _ if self.revoked.is_some() => Err(Rejection::Revoked),
            _ if now >= self.expires() => Err(Rejection::Expired),
            _ => Ok(()),
        }
    }

    fn overlap(&self) -> Duration {
        if self.kind == Kind::WEB {
            MINUTE
        } else {
            MINUTE * 10
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let since = self.rotated.unwrap_or(self.created);
        self.kind == Kind::MCP || now.duration_since(since) >= HOUR * 12
    }
}

#[derive(Clone, Default)]
struct Last(Arc<Mutex<Option<Rejection>>>);

impl OnRejection for Last {
    fn on_rejection(&self, _: &Parts, rejection: Rejection) {
        *self.0.lock().unwrap() = Some(rejection);
    }
}

struct Run {
    ground: Ground,
    router: Router,
    last: Last,
    families: Vec<Family>,
}

impl Run {
    fn new() -> Self {
        // Idle expiry moves with each use, within a minute: the stores' suite is about that.
        let days = |policy: KindPolicy| policy.idle(DAY * 4).absolute(DAY * 4);
        let ground = Ground::with(|builder| {
            builder
                .policy(Kind::WEB, days(KindPolicy::cookie()))
                .policy(Kind::MCP, days(KindPolicy::bearer()))
                .retention(DAY)
        });
        let last = Last::default();
        let layer = SessionLayer::new(ground.sessions.clone()).on_rejection(last.clone());
        let router = Router::new().route("/", get(async || "")).layer(layer);
        Self {
            ground,
            router,
            last,
            families: Vec::new(),
        }
    }

    fn now(&self) -> Timestamp {
        forge_session::Clock::now(&self.ground.clock)
    }

    async fn step(&mut self, step: Step) {
        let count = self.families.len();
        match step {
            Step::Wait { seconds } => self
                .ground
                .clock
                .advance(Duration::from_secs(seconds.into())),
            Step::SignIn { owner, mcp } => self.sign_in(owner, mcp).await,
            Step::Sweep => self.sweep().await,
            _ if count == 0 => {}
            Step::Present { session, back } => self.present(session % count, back).await,
            Step::UseToken { session } => self.use_token(session % count).await,
            Step::Revoke { session, which } => self.revoke(session % count, which).await,
        }
    }

    async fn sign_in(&mut self, owner: u8, mcp: bool) {
        let now = self.now();
        let (kind, max) = if mcp { (Kind::MCP, 5) } else { (Kind::WEB, 3) };
        let same = |f: &&mut Family| f.owner == owner && f.kind == kind && f.is_live(now);
        let mut live: Vec<_> = self.families.iter_mut().filter(same).collect();
        let surplus = (live.len() + 1).saturating_sub(max);
        let expected: Vec<_> = live.iter().take(surplus).map(|f| f.id).collect();
        for family in live.iter_mut().take(surplus) {
            family.revoked = Some(now);
        }
        let mut new = NewSession::new(user(&owner.to_string()), kind.clone());
        if mcp {
            new = new.client(client());
        }
        let created = self.ground.sessions.create(new).await.unwrap();
        assert_eq!(created.evicted, expected);
        self.families.push(Family {
            id: created.session.id,
            owner,
            kind,
            secrets: vec![created.secret.expose_secret().to_owned()],
            token: None,
            created: now,
            rotated: None,
            revoked: None,
            swept: false,
        });
    }

    async fn present(&mut self, index: usize, back: usize) {
        let now = self.now();
        let family = &self.families[index];
        let back = back.min(family.secrets.len() - 1);
        let secret = family.secrets[family.secrets.len() - 1 - back].clone();
        let outcome = if family.kind == Kind::WEB {
            self.ask(&secret).await
        } else {
            self.refresh(index, &secret).await
        };
        let family = &mut self.families[index];
        let is_overlapping = family.rotated.is_some_and(|at| now < at + family.overlap());
        match (family.state(now), back) {
            (Err(rejection), _) => assert_eq!(outcome, Err(rejection)),
            (Ok(()), 0) if family.is_due(now) => {
                let next = outcome.unwrap().expect("a successor");
                assert!(!family.secrets.contains(&next));
                family.secrets.push(next);
                family.rotated = Some(now);
            }
            (Ok(()), 0) => assert_eq!(outcome, Ok(None)),
            (Ok(()), 1) if is_overlapping => {
                assert_eq!(outcome.unwrap().as_ref(), family.secrets.last());
            }
            (Ok(()), _) => {
                assert_eq!(outcome, Err(Rejection::Reused));
                family.revoked = Some(now);
            }
        }
    }

    /// What a cookie is answered with.
    async fn ask(&self, secret: &str) -> Result<Option<String>, Rejection> {
        let request = Request::get("/").header("cookie", format!("__Host-forge={secret}"));
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        if let Some(rejection) = self.last.0.lock().unwrap().take() {
            return Err(rejection);
        }
        let field = response.headers().get("set-cookie");
        let field = field.map(|field| field.to_str().unwrap().to_owned());
        Ok(field.map(|field| {
            let value = field.strip_prefix("__Host-forge=").unwrap();
            value.split(';').next().unwrap().to_owned()
        }))
    }

    async fn refresh(&mut self, index: usize, secret: &str) -> Result<Option<String>, Rejection> {
        let (client, caller) = (client(), Caller::default());
        match self.ground.sessions.refresh(secret, &client, &caller).await {
            Ok(new) => {
                let token = new.access_token.token.expose_secret().to_owned();
                let expires = self.now() + new.access_token.expires_in;
                self.families[index].token = Some((token, expires));
                Ok(Some(new.refresh_token.expose_secret().to_owned()))
            }
            Err(RefreshError::Rejected(rejection)) => Err(rejection),
            Err(error) => panic!("{error}"),
        }
    }

    async fn use_token(&mut self, index: usize) {
        let now = self.now();
        let family = &self.families[index];
        let Some((token, expires)) = &family.token else {
            return;
        };
        let outcome = match self.ground.sessions.authenticate_bearer(token).await {
            Ok(session) => Ok(session.id),
            Err(AuthenticateError::Rejected(rejection)) => Err(rejection),
            Err(error) => panic!("{error}"),
        };
        if now.as_secs() >= expires.as_secs() + 30 {
            let expired = Rejection::Token(forge_session::TokenError::Expired);
            assert_eq!(outcome, Err(expired));
        } else {
            assert_eq!(outcome, family.state(now).map(|()| family.id));
        }
    }

    async fn revoke(&mut self, index: usize, which: u8) {
        let now = self.now();
        let family = &self.families[index];
        let (owner, kind, id) = (family.owner, family.kind.clone(), family.id);
        let name = user(&owner.to_string());
        type Selects = Box<dyn Fn(&Family) -> bool>;
        let (selector, selects): (_, Selects) = match which {
            0 => (Selector::User(name), Box::new(move |f| f.owner == owner)),
            1 => (
                Selector::Kind {
                    user: name,
                    kind: kind.clone(),
                },
                Box::new(move |f| f.owner == owner && f.kind == kind),
            ),
            2 => (
                Selector::AllBut {
                    user: name,
                    keep: id,
                },
                Box::new(move |f| f.owner == owner && f.id != id),
            ),
            3 => (
                Selector::Client {
                    user: name,
                    client: client(),
                },
                Box::new(move |f| f.owner == owner && f.kind == Kind::MCP),
            ),
            4 => (Selector::Everybody, Box::new(|_| true)),
            _ => (Selector::Session(id), Box::new(move |f| f.id == id)),
        };
        let hit = |f: &&mut Family| selects(f) && f.revoked.is_none() && !f.swept;
        let mut count = 0;
        for family in self.families.iter_mut().filter(hit) {
            family.revoked = Some(now);
            count += 1;
        }
        let revoked = self
            .ground
            .sessions
            .revoke(selector, RevokeCause::Admin)
            .await;
        assert_eq!(revoked.unwrap(), count);
    }

    async fn sweep(&mut self) {
        let before = self.now().saturating_sub(DAY);
        let over = |f: &&mut Family| {
            !f.swept && (f.expires() < before || f.revoked.is_some_and(|at| at < before))
        };
        let mut count = 0;
        for family in self.families.iter_mut().filter(over) {
            family.swept = true;
            count += 1;
        }
        assert_eq!(self.ground.sessions.sweep().await.unwrap(), count);
    }

    async fn check(&self) {
        let now = self.now();
        for owner in 0..2u8 {
            let listed = self.ground.sessions.list(&user(&owner.to_string())).await;
            let listed: Vec<_> = listed.unwrap().into_iter().map(|s| s.id).collect();
            let live = self.families.iter().rev();
            let live = live.filter(|f| f.owner == owner && f.is_live(now));
            assert_eq!(listed, live.map(|f| f.id).collect::<Vec<_>>());
            assert!(listed.len() <= 8);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn sessions_behave_as_the_model_says(steps in proptest::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new();
            for step in steps {
                run.step(step).await;
                run.check().await;
            }
        });
    }
}
