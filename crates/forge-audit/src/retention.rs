//! How long records are kept, and how they go: pruned when their time is over, erased when a person
//! has the right to it.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::event::Event;
use crate::kind::{Kind, Severity};
use crate::query::Filter;
use crate::store::Rules;

/// The action of the event that tells of a pruning.
pub(crate) const PRUNE: &str = "audit.prune";
/// The action of the event that tells of an erasure.
pub(crate) const ERASE: &str = "audit.erase";

/// Whether `event` tells that others were taken away.
pub(crate) fn explains(event: &Event) -> bool {
    event.kind == Kind::System && matches!(&*event.action, PRUNE | ERASE)
}

/// How long records are kept, by severity. The default keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Retention {
    keep: [Option<Duration>; 4],
    hold: Vec<Filter>,
}

impl Retention {
    /// Keeps everything, for ever.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps records of this severity for so long.
    pub fn keep(mut self, severity: Severity, time: Duration) -> Self {
        self.keep[usize::from(severity.code() - 1)] = Some(time);
        self
    }

    /// Keeps records of every severity for so long.
    pub fn keep_all(mut self, time: Duration) -> Self {
        self.keep = [Some(time); 4];
        self
    }

    /// Keeps what `filter` finds, whatever its age, also from being erased: a legal hold. May be
    /// called more than once.
    pub fn hold(mut self, filter: Filter) -> Self {
        self.hold.push(filter);
        self
    }

    /// What that comes to at the time `now`.
    #[must_use]
    pub fn rules(&self, now: Timestamp) -> Rules {
        let before = |keep: Duration| {
            let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
            Timestamp::from_micros(now.as_micros().saturating_sub(keep))
        };
        Rules {
            before: self.keep.map(|keep| keep.map(before)),
            hold: self.hold.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_severity_has_its_time() {
        let day = Duration::from_secs(86_400);
        let retention = Retention::new()
            .keep(Severity::Low, day)
            .keep(Severity::High, 30 * day);
        let now = Timestamp::from_micros(0) + 100 * day;
        let before = |days: u32| Some(Timestamp::from_micros(0) + days * day);
        assert_eq!(
            retention.rules(now).before,
            [before(99), None, before(70), None]
        );
        assert_eq!(Retention::new().rules(now).some_before(), None);
        let forever = Retention::new().keep_all(Duration::MAX).rules(now);
        assert!(forever.some_before() < Some(Timestamp::from_micros(0)));
    }
}
