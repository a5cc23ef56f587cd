//! Keeps secrets out of the details of an event, and the details within their bound.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::escape::deceives;
use crate::pseudonym::Pseudonyms;

/// The most bytes that details take, encoded as JSON.
pub const MAX_DETAILS: usize = 16 * 1024;

const REDACTED: &str = "[redacted]";
const CUT: &str = "[cut]";
const CUT_KEY: &str = "[cut]";
const MAX_DEPTH: usize = 16;
/// Every level that is cut bears one marker of at most `"[cut]":true,`.
const MARKERS: usize = (MAX_DEPTH + 2) * 16;

/// Key names whose end marks a secret: `password`, `user_password`, `accessToken`, `set-cookie`.
const KEY_ENDINGS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
    "authorization",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "apikey",
    "privatekey",
    "secretkey",
    "signingkey",
    "verifier",
    "assertion",
    "signature",
];

/// Key names that mark a secret as a whole.
const KEYS: &[&str] = &[
    "auth",
    "authcode",
    "authorizationcode",
    "bearer",
    "code",
    "devicecode",
    "usercode",
    "jwt",
    "otp",
    "pin",
    "recoverycode",
    "totp",
    "nonce",
    "state",
    "csrf",
    "xsrf",
];

/// What marks a secret by itself, under whatever key it stands.
const VALUE_PREFIXES: &[&str] = &[
    "bearer ",
    "basic ",
    "gho_",
    "ghp_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "eyj",
    "-----begin",
];

/// Which details are replaced by `[redacted]`.
///
/// The default knows the usual names of secrets in any spelling (`access_token`, `accessToken`,
/// `Access-Token`) and values that betray themselves (`Bearer …`, GitHub tokens, JSON Web Tokens,
/// PEM). It can be extended, never reduced.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    more: Vec<String>,
    pseudonyms: Option<(Pseudonyms, Vec<String>)>,
}

impl Redaction {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Redacts every key that ends in `name` too, spelt in any way.
    #[must_use]
    pub fn key(mut self, name: &str) -> Self {
        self.more.push(folded(name).into_owned());
        self
    }

    /// Replaces texts and numbers under keys with one of these names, spelt in any way, by
    /// pseudonyms, so that events can be correlated by what they do not say. A key that names a
    /// secret still hides it.
    #[must_use]
    pub fn pseudonyms<'a>(
        mut self,
        pseudonyms: Pseudonyms,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let names = names.into_iter().map(|name| folded(name).into_owned());
        self.pseudonyms = Some((pseudonyms, names.collect()));
        self
    }

    /// What stands for `value` under `key`.
    fn pseudonym(&self, key: &str, value: &Value) -> Option<String> {
        let (pseudonyms, names) = self.pseudonyms.as_ref()?;
        let key = folded(key);
        if !names.iter().any(|name| *name == key) {
            return None;
        }
        match value {
            Value::String(text) => Some(pseudonyms.of(text)),
            Value::Number(number) => Some(pseudonyms.of(&number.to_string())),
            _ => None,
        }
    }

    fn hides_key(&self, key: &str) -> bool {
        let key = folded(key);
        KEYS.contains(&&*key)
            || KEY_ENDINGS.iter().any(|ending| key.ends_with(ending))
            || self
                .more
                .iter()
                .any(|ending| key.ends_with(ending.as_str()))
    }

    /// `value` without secrets, without characters that deceive, and within [`MAX_DETAILS`].
    pub(crate) fn apply(&self, value: &Value) -> Value {
        let mut copy = Copy {
            redaction: self,
            left: MAX_DETAILS - MARKERS,
        };
        copy.value(value, 0).unwrap_or_else(|| CUT.into())
    }
}

/// The key in lower case, without what separates words.
fn folded(key: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if key.bytes().all(plain) {
        return Cow::Borrowed(key);
    }
    let kept = key
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase);
    Cow::Owned(kept.collect())
}

fn hides_value(text: &str) -> bool {
    let text = text.trim_start();
    VALUE_PREFIXES.iter().any(|prefix| {
        text.len() > prefix.len()
            && text.as_bytes()[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes())
    })
}

/// A copy under a budget. What does not fit is left out, once and for all: after the first cut
/// nothing more is taken.
struct Copy<'a> {
    redaction: &'a Redaction,
    left: usize,
}

impl Copy<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Option<Value> {
        match value {
            Value::Null => self.pay(4).then_some(Value::Null),
            Value::Bool(b) => self.pay(5).then_some(Value::Bool(*b)),
            Value::Number(n) => self.pay(n.to_string().len()).then(|| value.clone()),
            Value::String(text) if hides_value(text) => {
                self.pay(REDACTED.len() + 2).then(|| REDACTED.into())
            }
            Value::String(text) => self.text(text).map(Value::String),
            Value::Array(_) | Value::Object(_) if depth == MAX_DEPTH => {
                self.pay(CUT.len() + 2).then(|| CUT.into())
            }
            Value::Array(items) => self.pay(2).then(|| {
                let mut copy = Vec::new();
                for item in items {
                    match self.pay(1).then(|| self.value(item, depth + 1)).flatten() {
                        Some(item) => copy.push(item),
                        None => {
                            copy.push(CUT.into());
                            break;
                        }
                    }
                }
                Value::Array(copy)
            }),
            Value::Object(members) => self
                .pay(2)
                .then(|| Value::Object(self.members(members, depth))),
        }
    }

    fn members(&mut self, members: &Map<String, Value>, depth: usize) -> Map<String, Value> {
        // In the order of the keys, whatever order the map is built to keep.
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        let mut copy = Map::new();
        for (key, value) in sorted {
            let secret = self.redaction.hides_key(key) && !value.is_null() && !value.is_boolean();
            let safe: String = crate::escape::bounded(key, 128);
            let value = match self.pay(encoded_len(&safe) + 2) {
                false => None,
                true if secret => self.pay(REDACTED.len() + 2).then(|| REDACTED.into()),
                true => match self.redaction.pseudonym(key, value) {
                    Some(name) => self.pay(name.len() + 2).then(|| name.into()),
                    None => self.value(value, depth + 1),
                },
            };
            match value {
                Some(value) => {
                    copy.insert(safe, value);
                }
                None => {
                    copy.insert(CUT_KEY.into(), true.into());
                    break;
                }
            }
        }
        copy
    }

    /// The text escaped, as much of it as fits; `None` if not even the marker is worth it.
    fn text(&mut self, text: &str) -> Option<String> {
        // JSON itself escapes these; a break within a text is not an attack on JSON.
        let keeps = |c: char| matches!(c, '\n' | '\r' | '\t');
        let safe: Cow<'_, str> = if text.chars().any(|c| deceives(c) && !keeps(c)) {
            let mut copy = String::with_capacity(text.len() + 16);
            for c in text.chars().take(MAX_DETAILS) {
                let mut buffer = [0; 4];
                let one = c.encode_utf8(&mut buffer);
                if keeps(c) {
                    copy.push(c);
                } else {
                    copy.push_str(&crate::escape::escape(one));
                }
            }
            Cow::Owned(copy)
        } else {
            Cow::Borrowed(text)
        };
        if safe.len() <= self.left && encoded_len(&safe) <= self.left {
            self.pay(encoded_len(&safe));
            return Some(safe.into_owned());
        }
        let room = std::mem::take(&mut self.left).checked_sub(CUT.len() + 2)?;
        let mut used = 0;
        let end = safe
            .char_indices()
            .find(|(_, c)| {
                used += encoded_char_len(*c);
                used > room
            })
            .map_or(safe.len(), |(at, _)| at);
        Some(format!("{}{CUT}", &safe[..end]))
    }

    /// Takes `bytes` from the budget, or empties it.
    fn pay(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

/// The length of `text` as a JSON string, quotes included, as `serde_json` writes it.
fn encoded_len(text: &str) -> usize {
    2 + text.chars().map(encoded_char_len).sum::<usize>()
}

fn encoded_char_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn hides_secrets_in_every_spelling_and_depth() {
        let kept = Redaction::new().key("national-id").apply(&json!({
            "login": "octo", "status": 401, "token_kind": "mcp", "has_token": true, "password": null,
            "nested": [{"Access-Token": "x", "userPassword": ["a"], "set-cookie": "c", "code": 123}],
            "header": "Bearer abc", "note": "gho_16C7e42F292c6912E7710c838347Ae178B4a",
            "customerNationalId": 7, "jwt_like": "eyJhbGciOi.x.y",
        }));
        assert_eq!(
            kept,
            json!({
                "login": "octo", "status": 401, "token_kind": "mcp", "has_token": true, "password": null,
                "nested": [{"Access-Token": REDACTED, "userPassword": REDACTED, "set-cookie": REDACTED, "code": REDACTED}],
                "header": REDACTED, "note": REDACTED, "customerNationalId": REDACTED, "jwt_like": REDACTED,
            })
        );
    }

    #[test]
    fn shows_pseudonyms_where_it_is_told_to_and_still_hides_secrets() {
        let names = Pseudonyms::new(&[7; 32]);
        let email = names.of("a@example.com");
        let redaction = Redaction::new().pseudonyms(names, ["e-mail", "user_id", "token"]);
        let value = json!({
            "eMail": "a@example.com", "deep": [{ "userId": 7 }], "token": "x", "email": ["y"],
        });
        let kept = redaction.apply(&value);
        assert_eq!(kept["eMail"], email);
        assert!(
            kept["deep"][0]["userId"]
                .as_str()
                .unwrap()
                .starts_with("p-")
        );
        assert_eq!(
            (&kept["token"], &kept["email"][0]),
            (&json!(REDACTED), &json!("y"))
        );
    }

    #[test]
    fn marks_what_it_cuts() {
        let long = Redaction::new().apply(&json!({"a": "x".repeat(20_000), "b": 1}));
        let text = long["a"].as_str().unwrap();
        assert!(text.ends_with("x[cut]") && text.len() > 15_000);
        assert_eq!((&long[CUT_KEY], long.get("b")), (&Value::Bool(true), None));

        let many = Redaction::new().apply(&Value::Array(vec![json!(12345); 10_000]));
        assert_eq!(many.as_array().unwrap().last().unwrap(), CUT);

        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        assert!(Redaction::new().apply(&deep).to_string().contains(CUT));
    }

    #[test]
    fn leaves_no_character_that_deceives_once_encoded() {
        let shown = Redaction::new()
            .apply(&json!({"a\u{202e}\n": "b\u{9b}\r\nc\0"}))
            .to_string();
        assert!(!shown.chars().any(deceives), "{shown:?}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            (any::<char>(), 0_usize..9000).prop_map(|(c, n)| c.to_string().repeat(n).into()),
        ];
        leaf.prop_recursive(20, 200, 10, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..10).prop_map(Value::Array),
                prop::collection::btree_map(any::<String>(), inner, 0..10)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn never_exceeds_the_bound(value in any_json()) {
            let kept = Redaction::new().apply(&value);
            prop_assert!(serde_json::to_vec(&kept).unwrap().len() <= MAX_DETAILS);
            prop_assert_eq!(Redaction::new().apply(&kept).to_string().len() <= MAX_DETAILS, true);
        }
    }
}
