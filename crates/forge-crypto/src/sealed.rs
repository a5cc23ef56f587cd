//! The type of a column that holds sealed values.

use std::fmt;

use crate::envelope::Envelope;
use crate::key::KeyId;

/// The text of a sealed value, as a column stores it.
///
/// Only a [`Vault`](crate::Vault) makes one from a secret; [`from_stored`](Self::from_stored) and
/// the decoding from a database take any text, and every check is left to
/// [`Vault::open`](crate::Vault::open), so that a damaged column is reported there, and does not
/// spoil the reading of the row. With the features `sqlite` and `postgres` it is a column type of
/// sqlx:
/// `row.get::<Sealed, _>("github_token")`, `.bind(&sealed)`. `NULL` is `Option<Sealed>`.
///
/// Two are equal when their texts are, which is what compare-and-set needs; the same secret sealed
/// twice gives two different texts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sealed(String);

impl Sealed {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// A value that was read from where sealed values are stored.
    ///
    /// Never make one from a secret that is not sealed: it would be stored as it is.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text to store.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text to store.
    pub fn into_string(self) -> String {
        self.0
    }

    /// The key the value says it was sealed under, or `None` when it is not a sealed value.
    pub fn key_id(&self) -> Option<KeyId> {
        Envelope::parse(&self.0).ok().map(|envelope| envelope.key)
    }
}

impl AsRef<str> for Sealed {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Shows the key id alone: a text that is not sealed after all must not end up in a log.
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key_id() {
            Some(key) => write!(f, "Sealed({key})"),
            None => f.write_str("Sealed([malformed])"),
        }
    }
}

/// Over any database whose `String` is a column type; the features name the drivers.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod column {
    use sqlx::encode::IsNull;
    use sqlx::error::BoxDynError;
    use sqlx::{Database, Decode, Encode, Type};

    use super::Sealed;

    impl<DB: Database> Type<DB> for Sealed
    where
        String: Type<DB>,
    {
        fn type_info() -> DB::TypeInfo {
            <String as Type<DB>>::type_info()
        }

        fn compatible(ty: &DB::TypeInfo) -> bool {
            <String as Type<DB>>::compatible(ty)
        }
    }

    impl<'q, DB: Database> Encode<'q, DB> for Sealed
    where
        String: Encode<'q, DB>,
    {
        fn encode(self, buf: &mut <DB as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
            self.0.encode(buf)
        }

        fn encode_by_ref(
            &self,
            buf: &mut <DB as Database>::ArgumentBuffer,
        ) -> Result<IsNull, BoxDynError> {
            self.0.encode_by_ref(buf)
        }
    }

    impl<'r, DB: Database> Decode<'r, DB> for Sealed
    where
        String: Decode<'r, DB>,
    {
        fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
            <String as Decode<'r, DB>>::decode(value).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_the_value_nor_a_secret_that_was_stored_unsealed() {
        let unsealed = Sealed::from_stored("gho_16C7e42F292c6912E7710c838347Ae178B4a");
        assert_eq!(format!("{unsealed:?}"), "Sealed([malformed])");
        assert_eq!(unsealed.key_id(), None);

        let text = format!("fv1.V3d3AZZ3Wsg.{}", "A".repeat(96));
        let sealed = Sealed::from_stored(text.as_str());
        assert_eq!(format!("{sealed:?}"), "Sealed(V3d3AZZ3Wsg)");
        assert_eq!(sealed.into_string(), text);
    }
}
