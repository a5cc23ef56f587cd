//! Whatever is done in whatever order, the stores agree, and what is revoked stays revoked.
#![cfg(feature = "sqlite")]

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use forge_session::{
    FamilyHash, Kind, MemorySessionStore, RevokeCause, Rotation, RotationSalt, SecretHash,
    Selector, Session, SessionId, SessionStore, SqliteSessionStore, Timestamp, Touch, UserId,
};
use proptest::prelude::*;
use sqlx::sqlite::SqlitePoolOptions;

const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);

/// What is done. Numbers choose a session, a user or a secret among those there are.
#[derive(Clone, Debug)]
enum Step {
    Create { user: u8, kind: bool },
    Rotate { session: usize, generation: u32 },
    Touch { session: usize, back: u32 },
    Revoke { session: usize, which: u8 },
    Sweep { limit: u32 },
    Wait { minutes: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2u8, any::<bool>()).prop_map(|(user, kind)| Step::Create { user, kind }),
        3 => (0..12usize, 0..2u32)
            .prop_map(|(session, generation)| Step::Rotate { session, generation }),
        3 => (0..12usize, 0..3u32).prop_map(|(session, back)| Step::Touch { session, back }),
        2 => (0..12usize, 0..6u8).prop_map(|(session, which)| Step::Revoke { session, which }),
        1 => (1..4u32).prop_map(|limit| Step::Sweep { limit }),
        3 => (1..40u32).prop_map(|minutes| Step::Wait { minutes }),
    ]
}

/// One for each session.
fn family_of(session: &Session) -> FamilyHash {
    let id = session.id.as_uuid().into_bytes();
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&id);
    FamilyHash::from_bytes(bytes)
}

struct Run {
    memory: MemorySessionStore,
    sqlite: SqliteSessionStore,
    now: Timestamp,
    secrets: u8,
    /// Every session ever made, with the hash of its last known secret.
    all: Vec<(Session, SecretHash)>,
    revoked: HashMap<SessionId, (Timestamp, RevokeCause)>,
}

impl Run {
    async fn new() -> Self {
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect("sqlite::memory:").await.unwrap();
        let sqlite = SqliteSessionStore::new(pool);
        sqlite.migrate().await.unwrap();
        Self {
            memory: MemorySessionStore::new(),
            sqlite,
            now: T0,
            secrets: 0,
            all: Vec::new(),
            revoked: HashMap::new(),
        }
    }

    fn secret(&mut self) -> SecretHash {
        self.secrets += 1;
        SecretHash::from_bytes([self.secrets; 32])
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Wait { minutes } => self.now = self.now + MINUTE * minutes,
            Step::Create { user, kind } => self.create(user, kind).await,
            _ if self.all.is_empty() => {}
            Step::Rotate {
                session,
                generation,
            } => self.rotate(session % self.all.len(), generation).await,
            Step::Touch { session, back } => {
                let touch = Touch {
                    id: self.all[session % self.all.len()].0.id,
                    at: self.now.saturating_sub(MINUTE * back),
                    idle_expires: self.now + MINUTE * 60,
                    ip: None,
                    user_agent: Some("agent".to_owned()),
                };
                let touches = [touch];
                let memory = self.memory.touch(&touches, self.now).await.unwrap();
                assert_eq!(self.sqlite.touch(&touches, self.now).await.unwrap(), memory);
            }
            Step::Revoke { session, which } => {
                self.revoke(session % self.all.len(), which).await;
            }
            Step::Sweep { limit } => {
                // Which go first is not promised, so sweep until nothing is left.
                let limit = NonZeroU32::new(limit).unwrap();
                let before = self.now.saturating_sub(MINUTE * 30);
                let (mut memory, mut sqlite) = (0, 0);
                for _ in 0..self.all.len() {
                    memory += self.memory.sweep(before, limit).await.unwrap();
                    sqlite += self.sqlite.sweep(before, limit).await.unwrap();
                }
                assert_eq!(sqlite, memory);
            }
        }
    }

    async fn create(&mut self, user: u8, kind: bool) {
        let session = Session {
            id: SessionId::new(),
            user: UserId::new(format!("user {user}")).unwrap(),
            kind: if kind { Kind::WEB } else { Kind::MCP },
            client: None,
            scopes: None,
            created: self.now,
            last_used: self.now,
            idle_expires: self.now + MINUTE * 60,
            absolute_expires: self.now + MINUTE * 150,
            created_ip: None,
            last_ip: None,
            created_user_agent: None,
            user_agent: None,
            generation: 0,
            rotated: None,
            revoked: None,
        };
        let secret = self.secret();
        let family = family_of(&session);
        let memory = self.memory.create(&session, family, secret, MAX);
        let memory = memory.await.unwrap();
        let sqlite = self.sqlite.create(&session, family, secret, MAX);
        let sqlite = sqlite.await.unwrap();
        assert_eq!(sqlite, memory);
        for id in memory {
            self.revoked.insert(id, (self.now, RevokeCause::Evicted));
        }
        self.all.push((session, secret));
    }

    async fn rotate(&mut self, index: usize, generation: u32) {
        let secret = self.secret();
        let (session, expected_secret) = self.all[index].clone();
        let rotation = Rotation {
            id: session.id,
            expected_generation: session.generation + generation,
            expected_secret,
            secret,
            salt: RotationSalt::from_bytes(*secret.as_bytes()),
            at: self.now,
            idle_expires: self.now + MINUTE * 60,
            ip: Some("192.0.2.1".parse().unwrap()),
            user_agent: None,
        };
        let memory = self.memory.rotate(&rotation).await.unwrap();
        let sqlite = self.sqlite.rotate(&rotation).await.unwrap();
        assert_eq!(sqlite, memory);
        if let Some(rotated) = memory {
            self.all[index] = (rotated, secret);
        }
    }

    async fn revoke(&mut self, index: usize, which: u8) {
        let session = &self.all[index].0;
        let (user, id, kind) = (session.user.clone(), session.id, session.kind.clone());
        let selector = match which {
            0 => Selector::Session(id),
            1 => Selector::User(user),
            2 => Selector::Kind { user, kind },
            3 => Selector::AllBut { user, keep: id },
            5 => Selector::Everybody,
            _ => Selector::SessionOf { user, session: id },
        };
        let cause = RevokeCause::Admin;
        let now = self.now;
        let mut memory = self.memory.revoke(&selector, cause, now).await.unwrap();
        let mut sqlite = self.sqlite.revoke(&selector, cause, now).await.unwrap();
        memory.sort();
        sqlite.sort();
        assert_eq!(sqlite, memory);
        for id in memory {
            assert_eq!(self.revoked.insert(id, (now, cause)), None, "revoked twice");
        }
    }

    async fn check(&self) {
        let mut live: HashMap<(UserId, Kind), u32> = HashMap::new();
        for (session, secret) in &self.all {
            let memory = self.memory.find(session.id).await.unwrap();
            assert_eq!(self.sqlite.find(session.id).await.unwrap(), memory);
            let family = family_of(session);
            let by_secret = self.memory.find_by_secret(family, *secret).await.unwrap();
            let sqlite = self.sqlite.find_by_secret(family, *secret).await.unwrap();
            assert_eq!(sqlite, by_secret);
            let Some(found) = memory else { continue };
            assert_eq!(found.revoked, self.revoked.get(&found.id).copied());
            assert!(found.idle_expires <= found.absolute_expires);
            if found.is_live(self.now) {
                *live.entry((found.user, found.kind)).or_default() += 1;
            }
        }
        assert!(live.values().all(|count| *count <= MAX.get()));
        let counted = self.memory.count(self.now).await.unwrap();
        assert_eq!(self.sqlite.count(self.now).await.unwrap(), counted);
        for user in ["user 0", "user 1"] {
            let user = UserId::new(user).unwrap();
            let memory = self.memory.list(&user, self.now).await.unwrap();
            assert_eq!(self.sqlite.list(&user, self.now).await.unwrap(), memory);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_stores_agree(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for step in steps {
                run.step(step).await;
                run.check().await;
            }
        });
    }
}
