//! What is noticed about the use of sessions, and what becomes of it.
#![cfg(feature = "axum")]

#[expect(dead_code, reason = "each test file uses its part")]
mod common;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use common::{Ground, client};
use forge_session::{
    Assessment, Authenticated, ByScore, Caller, Created, Kind, KindPolicy, RefreshError, Rejection,
    RequireSessionLayer, SessionEvent, SessionLayer, Sessions, ThreatResponse, ThreatSignal,
};
use http::request::Parts;
use http::{Request, StatusCode};
use secrecy::ExposeSecret;
use tower::ServiceExt;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/126.0 Safari/537.36";
const HOME: &str = "192.0.2.1";
const AWAY: &str = "198.51.100.1";

struct Scene {
    ground: Ground,
    router: Router,
    created: Created,
}

impl Scene {
    async fn new(ground: Ground) -> Self {
        let caller = |parts: &Parts| {
            let of = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
            Caller::new(of("x-ip").and_then(|ip| ip.parse().ok()), of("user-agent"))
        };
        let router = Router::new()
            .route(
                "/",
                get(async |me: Authenticated| me.needs_step_up().to_string()),
            )
            .route(
                "/matters",
                get(async || "done").layer(RequireSessionLayer::new().signed_in_within(DAY)),
            )
            .layer(SessionLayer::new(ground.sessions.clone()).caller(caller));
        let created = ground.web("a").await;
        Self {
            ground,
            router,
            created,
        }
    }

    /// Uses the session; says whether a step-up is needed, or nothing where it is over.
    async fn from(&self, ip: &str, user_agent: &str) -> Option<bool> {
        let secret = self.created.secret.expose_secret();
        let request = Request::get("/")
            .header("cookie", format!("__Host-forge={secret}"))
            .header("x-ip", ip)
            .header("user-agent", user_agent);
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        if response.status() == StatusCode::UNAUTHORIZED {
            return None;
        }
        let body = to_bytes(response.into_body(), 100).await.unwrap();
        Some(body == "true")
    }

    fn told(&self) -> Vec<(Vec<ThreatSignal>, u32, ThreatResponse)> {
        let events = std::mem::take(&mut *self.ground.events.lock().unwrap());
        let threats = events.into_iter().filter_map(|event| match event {
            SessionEvent::Threat {
                assessment,
                response,
            } => Some((assessment.signals, assessment.score, response)),
            _ => None,
        });
        threats.collect()
    }
}

#[tokio::test]
async fn a_changed_address_is_noted_and_ends_nothing() {
    let scene = Scene::new(Ground::new()).await;
    for (ip, agent) in [(HOME, FIREFOX), ("192.0.2.200", FIREFOX), (HOME, "")] {
        assert_eq!(scene.from(ip, agent).await, Some(false));
    }
    assert_eq!(scene.told(), []);
    let newer = FIREFOX.replace("128", "129");
    assert_eq!(scene.from(HOME, &newer).await, Some(false));
    scene.told();
    assert_eq!(scene.from(AWAY, &newer).await, Some(false));
    let signals = vec![ThreatSignal::Network];
    assert_eq!(scene.told(), [(signals, 20, ThreatResponse::Note)]);
    // It is told once, not with each request from there.
    assert_eq!(scene.from(AWAY, &newer).await, Some(false));
    assert_eq!(scene.told(), []);
}

#[tokio::test]
async fn another_browser_at_another_place_needs_a_step_up_from_then_on() {
    let scene = Scene::new(Ground::new()).await;
    scene.from(HOME, FIREFOX).await;
    assert_eq!(scene.from(AWAY, CHROME).await, Some(true));
    let signals = vec![ThreatSignal::Network, ThreatSignal::UserAgentFamily];
    assert_eq!(scene.told(), [(signals, 70, ThreatResponse::StepUp)]);
    scene.ground.clock.advance(SECOND * 3600);
    assert_eq!(scene.from(AWAY, CHROME).await, Some(true));
    assert_eq!(scene.ground.web("a").await.session.user.as_str(), "a");
}

#[tokio::test]
async fn what_matters_is_refused_to_a_session_that_needs_a_step_up() {
    let scene = Scene::new(Ground::new()).await;
    scene.from(HOME, FIREFOX).await;
    let ask = async |secret: &str| {
        let request = Request::get("/matters")
            .header("cookie", format!("__Host-forge={secret}"))
            .header("x-ip", AWAY)
            .header("user-agent", CHROME);
        let request = request.body(Body::empty()).unwrap();
        scene.router.clone().oneshot(request).await.unwrap()
    };
    let refused = ask(scene.created.secret.expose_secret()).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("insufficient_user_authentication"));
    // A sign-in from there makes it good.
    let again = scene.ground.web("a").await;
    assert_eq!(ask(again.secret.expose_secret()).await.status(), 200);
}

#[tokio::test]
async fn two_places_at_once_are_impossible() {
    let scene = Scene::new(Ground::new()).await;
    for ip in [HOME, AWAY, HOME, AWAY] {
        scene.from(ip, FIREFOX).await;
        scene.ground.clock.advance(SECOND * 10);
    }
    let told = scene.told();
    let (signals, score, response) = told.last().unwrap();
    assert!(signals.contains(&ThreatSignal::ImpossibleConcurrency));
    assert_eq!((*score, *response), (60, ThreatResponse::StepUp));
}

#[tokio::test]
async fn a_traveller_is_not_at_two_places_at_once() {
    let scene = Scene::new(Ground::new()).await;
    for ip in [HOME, AWAY, HOME, AWAY, HOME] {
        scene.from(ip, FIREFOX).await;
        scene.ground.clock.advance(SECOND * 61);
    }
    let most = scene.told().into_iter().map(|(_, score, _)| score).max();
    assert_eq!(most, Some(20));
}

#[tokio::test]
async fn signs_add_up_for_ten_minutes() {
    let scene = Scene::new(Ground::new()).await;
    scene.from(HOME, FIREFOX).await;
    scene.from(AWAY, FIREFOX).await;
    scene.ground.clock.advance(SECOND * 599);
    scene.from(AWAY, CHROME).await;
    scene.ground.clock.advance(SECOND * 600);
    scene.from(AWAY, FIREFOX).await;
    let scores: Vec<_> = scene
        .told()
        .into_iter()
        .map(|(_, score, _)| score)
        .collect();
    assert_eq!(scores, [20, 70, 50]);
}

#[tokio::test]
async fn the_policy_decides_to_end_the_session() {
    let ground = Ground::with(|builder| builder.threat_policy(ByScore::new(10, 20)));
    let scene = Scene::new(ground).await;
    scene.from(HOME, FIREFOX).await;
    assert_eq!(scene.from(AWAY, FIREFOX).await, None);
    assert_eq!(scene.from(HOME, FIREFOX).await, None);
    let lenient = |_: &Assessment| ThreatResponse::Note;
    let ground = Ground::with(|builder| builder.threat_policy(lenient));
    let scene = Scene::new(ground).await;
    scene.from(HOME, FIREFOX).await;
    assert_eq!(scene.from(AWAY, CHROME).await, Some(false));
}

#[tokio::test]
async fn many_failed_refreshes_are_a_sign() {
    let ground = Ground::new();
    let created = ground.mcp("a").await;
    let refresh = async |client: &str| {
        let client = forge_session::ClientId::new(client).unwrap();
        let caller = Caller::default();
        let secret = created.secret.expose_secret();
        ground.sessions.refresh(secret, &client, &caller).await
    };
    assert!(refresh(client().as_str()).await.is_ok());
    for _ in 0..5 {
        let error = refresh("other").await.unwrap_err();
        assert!(matches!(
            error,
            RefreshError::Rejected(Rejection::WrongClient)
        ));
    }
    ground.events.lock().unwrap().clear();
    refresh(client().as_str()).await.unwrap();
    let events = ground.events.lock().unwrap();
    let found = events.iter().any(|event| {
        matches!(
            event,
            SessionEvent::Threat { assessment, .. }
                if assessment.signals == [ThreatSignal::FailedRefreshes]
        )
    });
    assert!(found, "{events:?}");
}

#[tokio::test]
async fn a_session_made_under_a_longer_policy_is_a_sign() {
    let ground = Ground::new();
    let created = ground.web("a").await;
    let hour = SECOND * 3600;
    let short = KindPolicy::cookie().idle(hour).absolute(hour);
    let events = std::sync::Arc::clone(&ground.events);
    let sessions = Sessions::builder(ground.store.clone())
        .policy(Kind::WEB, short)
        .clock(ground.clock.clone())
        .on_event(move |event: &SessionEvent| events.lock().unwrap().push(event.clone()))
        .build()
        .unwrap();
    ground.clock.advance(hour * 2);
    let scene = Scene {
        ground: Ground { sessions, ..ground },
        router: Router::new(),
        created,
    };
    let router = Router::new()
        .route(
            "/",
            get(async |me: Authenticated| me.needs_step_up().to_string()),
        )
        .layer(SessionLayer::new(scene.ground.sessions.clone()));
    let scene = Scene { router, ..scene };
    scene.from(HOME, FIREFOX).await;
    assert_eq!(scene.told()[0].0, [ThreatSignal::OlderThanPolicy]);
}
