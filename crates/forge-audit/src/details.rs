//! The details of an event, as the JSON that is hashed and kept.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// JSON text. It is written once, when the event is made, so that who records it, keeps it and
/// proves it copies bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Details(Box<RawValue>);

impl Details {
    /// `None` for null.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        if value.is_null() {
            return None;
        }
        // A `Value` has no keys that are not texts, so that writing it cannot fail.
        serde_json::value::to_raw_value(value).ok().map(Self)
    }

    /// `None` for what [`of`](Self::of) never writes and who shows it may stumble over: what is no
    /// JSON, has blanks around it (it is kept as it was hashed) or breaks of lines within, is nested
    /// too deeply or has a number without an `f64`.
    pub(crate) fn parse(json: &str) -> Option<Self> {
        if json.bytes().any(|byte| byte < b' ') {
            return None;
        }
        // A raw value has neither a depth nor a range of numbers.
        serde_json::from_str::<Value>(json).ok()?;
        let parsed = serde_json::from_str(json).ok().map(Self)?;
        (parsed.as_str().len() == json.len()).then_some(parsed)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.get()
    }

    /// What it was made of, which can be parsed.
    pub(crate) fn value(&self) -> Option<Value> {
        serde_json::from_str(self.as_str()).ok()
    }
}

impl PartialEq for Details {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
