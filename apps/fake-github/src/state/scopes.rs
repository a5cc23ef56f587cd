//! Scopes, as GitHub reads and writes them.

use std::collections::BTreeSet;

/// More scopes than GitHub has are not kept.
const MOST: usize = 64;

/// A set of scopes in the order GitHub lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scopes(BTreeSet<String>);

impl Scopes {
    /// Reads scopes parted by spaces or commas, and leaves out what another one implies.
    pub(crate) fn parse(text: &str) -> Self {
        let mut scopes = Self(
            text.split([' ', ',', '+'])
                .filter(|scope| !scope.is_empty())
                .filter(|scope| {
                    scope.len() <= 64
                        && scope
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b":_-.".contains(&b))
                })
                .take(MOST)
                .map(str::to_owned)
                .collect(),
        );
        scopes.normalise();
        scopes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn extend(&mut self, more: &Self) {
        let room = MOST.saturating_sub(self.0.len());
        self.0.extend(more.0.iter().take(room).cloned());
        self.normalise();
    }

    /// Whether `scope`, or one that implies it, is in the set.
    pub(crate) fn allow(&self, scope: &str) -> bool {
        self.0.contains(scope) || self.0.iter().any(|held| implied(held).contains(&scope))
    }

    /// As the token endpoint writes them (`,`) and as the API does (`, `).
    pub(crate) fn join(&self, separator: &str) -> String {
        self.iter().collect::<Vec<_>>().join(separator)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    fn normalise(&mut self) {
        let held: Vec<String> = self.0.iter().cloned().collect();
        for scope in held {
            for less in implied(&scope) {
                self.0.remove(*less);
            }
        }
    }
}

/// What a scope includes ("Normalized scopes" in "Scopes for OAuth apps"), as far as a sign-in
/// meets it.
fn implied(scope: &str) -> &'static [&'static str] {
    match scope {
        "user" => &["read:user", "user:email", "user:follow"],
        "admin:org" => &["write:org", "read:org"],
        "write:org" => &["read:org"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_as_github_does() {
        let scopes = Scopes::parse("user:email, user gist gist");
        assert_eq!(scopes.join(","), "gist,user");
        assert!(scopes.allow("user:email"));
        assert!(!scopes.allow("repo"));
        assert!(Scopes::parse(" , ").is_empty());
    }

    #[test]
    fn keeps_no_more_than_it_should() {
        let many: Vec<String> = (0..1000).map(|n| format!("s{n}")).collect();
        let mut scopes = Scopes::parse(&many.join(" "));
        scopes.extend(&Scopes::parse("other more"));
        assert_eq!(scopes.iter().count(), MOST);
        assert!(Scopes::parse("bad\"scope\r\n").is_empty());
    }
}
