//! Patterns over signals, as a configuration writes them.

use std::sync::Arc;

use crate::health::HealthStatus;
use crate::signal::{MatchSignal, SignalClass, SignalKind};

/// Signals of one class, narrowed down by what they carry.
///
/// ```
/// use forge_monitor::{MatchSignal, SignalClass, SignalKind, SignalPattern};
///
/// let reads = SignalPattern::new(SignalClass::ToolCall).names(["read_*", "search"]);
/// assert!(reads.matches(&SignalKind::ToolCall { tool: "read_file".into() }));
/// assert!(!reads.matches(&SignalKind::ToolCall { tool: "send_mail".into() }));
/// ```
#[derive(Clone, Debug)]
pub struct SignalPattern {
    class: SignalClass,
    names: Vec<Arc<str>>,
    min_score: u32,
    statuses: Vec<HealthStatus>,
}

impl SignalPattern {
    /// Every signal of that class.
    #[must_use]
    pub fn new(class: SignalClass) -> Self {
        Self {
            class,
            names: Vec::new(),
            min_score: 0,
            statuses: Vec::new(),
        }
    }

    /// Only those of a tool, a component, a path or a custom name that fits one of these. `*`
    /// stands for any characters; case counts. Default: any.
    #[must_use]
    pub fn names<N: Into<Arc<str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Only suspicious requests of at least this score. Default: 0.
    #[must_use]
    pub fn min_score(mut self, min_score: u32) -> Self {
        self.min_score = min_score;
        self
    }

    /// Only changes of health to one of these. Default: any.
    #[must_use]
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = HealthStatus>) -> Self {
        self.statuses = statuses.into_iter().collect();
        self
    }

    fn is_bare(&self) -> bool {
        self.names.is_empty() && self.min_score == 0 && self.statuses.is_empty()
    }
}

impl MatchSignal for SignalPattern {
    fn matches(&self, kind: &SignalKind) -> bool {
        if kind.class() != self.class {
            return false;
        }
        let score = match kind {
            SignalKind::SuspiciousRequest { score } => *score >= self.min_score,
            _ => true,
        };
        let status = match kind {
            SignalKind::HealthChanged { status, .. } => {
                self.statuses.is_empty() || self.statuses.contains(status)
            }
            _ => true,
        };
        let name = self.names.is_empty()
            || name_of(kind).is_some_and(|name| self.names.iter().any(|glob| fits(glob, name)));
        score && status && name
    }

    fn class(&self) -> Option<SignalClass> {
        self.is_bare().then_some(self.class)
    }
}

/// The name that a signal carries.
pub(crate) fn name_of(kind: &SignalKind) -> Option<&str> {
    match kind {
        SignalKind::ToolCall { tool } | SignalKind::ToolOutput { tool, .. } => Some(tool),
        SignalKind::PathMissing { path } | SignalKind::TrapTouched { path } => Some(path),
        SignalKind::HealthChanged { component, .. } => Some(component),
        SignalKind::Custom(name) => Some(name),
        _ => None,
    }
}

/// Whether the whole text fits a pattern in which `*` stands for any characters. Takes time in
/// proportion to the product of the lengths at worst.
pub(crate) fn fits(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut g, mut t) = (0, 0);
    // The last star, and where in the text what follows it was tried.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match (glob.get(g), star) {
            (Some(b'*'), _) => {
                star = Some((g, t));
                g += 1;
            }
            (Some(&byte), _) if byte == text[t] => {
                g += 1;
                t += 1;
            }
            (_, Some((at, tried))) => {
                star = Some((at, tried + 1));
                g = at + 1;
                t = tried + 1;
            }
            _ => return false,
        }
    }
    glob[g..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (glob, text) in [
            ("*", ""),
            ("*", "abc"),
            ("a*c", "ac"),
            ("a*c", "abcbc"),
            ("*.php", "/wp-login.php"),
            ("a**b", "ab"),
        ] {
            assert!(fits(glob, text), "{glob} {text}");
        }
        for (glob, text) in [
            ("", "a"),
            ("a*c", "ab"),
            ("read", "reading"),
            ("*.php", "/x.php5"),
        ] {
            assert!(!fits(glob, text), "{glob} {text}");
        }
    }

    proptest! {
        #[test]
        fn fits_as_a_plain_search_would(glob in "[ab*]{0,8}", text in "[ab]{0,8}") {
            fn plain(glob: &str, text: &str) -> bool {
                match glob.chars().next() {
                    None => text.is_empty(),
                    Some('*') => (0..=text.len()).any(|n| plain(&glob[1..], &text[n..])),
                    Some(c) => text.starts_with(c) && plain(&glob[1..], &text[1..]),
                }
            }
            prop_assert_eq!(fits(&glob, &text), plain(&glob, &text));
        }
    }

    #[test]
    fn narrows_down_by_what_a_signal_carries() {
        let grave = SignalPattern::new(SignalClass::SuspiciousRequest).min_score(5);
        assert!(grave.matches(&SignalKind::SuspiciousRequest { score: 5 }));
        assert!(!grave.matches(&SignalKind::SuspiciousRequest { score: 4 }));
        let ill = SignalPattern::new(SignalClass::HealthChanged).statuses([HealthStatus::Down]);
        let changed = |status| SignalKind::HealthChanged {
            component: "database".into(),
            status,
        };
        assert!(ill.matches(&changed(HealthStatus::Down)));
        assert!(!ill.matches(&changed(HealthStatus::Up)));
        assert!(ill.class().is_none());
        assert!(SignalPattern::new(SignalClass::AuthOk).class().is_some());
        let named = SignalPattern::new(SignalClass::AuthFailed).names(["x"]);
        assert!(!named.matches(&SignalKind::AuthFailed));
    }
}
