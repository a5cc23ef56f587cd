//! One time for the server and the six crates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The time of the operating system, or a time that a test moves.
///
/// Clones share the time. It implements the clock of every crate, so that all agree.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Instant,
    standing: Option<SystemTime>,
    ahead_nanos: Arc<AtomicU64>,
}

impl Clock {
    /// The time of the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self {
            origin: Instant::now(),
            standing: None,
            ahead_nanos: Arc::default(),
        }
    }

    /// The time of now, for tests: it stands until it is [advanced](Self::advance), so that no
    /// limit depends on how fast the machine is.
    #[must_use]
    pub fn standing() -> Self {
        Self {
            standing: Some(SystemTime::now()),
            ..Self::system()
        }
    }

    /// Lets `by` pass at once.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.ahead_nanos.fetch_add(by, Ordering::SeqCst);
    }

    /// UTC, in microseconds since the Unix epoch.
    #[must_use]
    pub fn now_micros(&self) -> i64 {
        let since = self
            .utc()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    /// Since the server's clock was made.
    #[must_use]
    pub fn since_start(&self) -> Duration {
        match self.standing {
            Some(_) => self.ahead(),
            None => self.origin.elapsed() + self.ahead(),
        }
    }

    fn ahead(&self) -> Duration {
        Duration::from_nanos(self.ahead_nanos.load(Ordering::SeqCst))
    }

    fn utc(&self) -> SystemTime {
        self.standing.unwrap_or_else(SystemTime::now) + self.ahead()
    }
}

impl forge_audit::Clock for Clock {
    fn now(&self) -> forge_audit::Timestamp {
        self.utc().into()
    }

    fn monotonic(&self) -> Duration {
        self.since_start()
    }
}

impl forge_monitor::Clock for Clock {
    fn now(&self) -> forge_monitor::Timestamp {
        self.utc().into()
    }

    fn monotonic(&self) -> Duration {
        self.since_start()
    }
}

impl forge_ratelimit::Clock for Clock {
    fn monotonic(&self) -> Duration {
        self.since_start()
    }
}

impl forge_session::Clock for Clock {
    fn now(&self) -> forge_session::Timestamp {
        self.utc().into()
    }
}
