//! The place a sealed value belongs to, bound to it as associated data.
//!
//! A value sealed for one place does not open in another: who can write to the database cannot
//! move a secret to another row, column, table or tenant.

use crate::key::KeyId;

/// Names the format and its use, so that no other use of the cipher makes the same bytes.
const LABEL: &[u8; 16] = b"forge-crypto/fv1";

/// Contexts up to this size are encoded without an allocation.
const INLINE: usize = 256;

/// The place of a sealed value: tenant, table, column and row.
///
/// Opening needs exactly the bytes that sealing had. Row and tenant are bytes, so that ids fit as
/// they are: text, or a UUID. Keep to one form of each: the 16 bytes of a UUID are another row
/// than its 36 characters.
///
/// ```
/// use forge_crypto::Context;
///
/// let place = Context::new("users", "github_token", "0197f3c2").tenant("acme");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    tenant: &'a [u8],
    table: &'a str,
    column: &'a str,
    row: &'a [u8],
    /// Whether the table has tenants and none was named yet.
    lacks_tenant: bool,
}

impl<'a> Context<'a> {
    /// The place in a table without tenants. Sealing refuses an empty table, column or row.
    pub fn new(table: &'a str, column: &'a str, row: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            tenant: b"",
            table,
            column,
            row: row.as_ref(),
            lacks_tenant: false,
        }
    }

    /// The place in a table with tenants, to be completed by [`tenant`](Self::tenant).
    pub(crate) fn without_tenant(mut self) -> Self {
        self.lacks_tenant = true;
        self
    }

    /// The tenant the row belongs to. Default: empty, which is a tenant of its own.
    #[must_use]
    pub fn tenant(mut self, tenant: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.tenant = tenant.as_ref();
        self.lacks_tenant = false;
        self
    }

    /// The table, for logs.
    pub fn table(&self) -> &'a str {
        self.table
    }

    /// The column, for logs.
    pub fn column(&self) -> &'a str {
        self.column
    }

    pub(crate) fn is_bound(&self) -> bool {
        !(self.table.is_empty()
            || self.column.is_empty()
            || self.row.is_empty()
            || self.lacks_tenant)
    }

    /// Hands `use_it` the associated data:
    ///
    /// ```text
    /// "forge-crypto/fv1" ‖ key id (8 bytes) ‖ for each of tenant, table, column, row:
    ///     its length in bytes (u64, big endian) ‖ its bytes
    /// ```
    ///
    /// Two contexts give the same bytes only when all four parts are equal.
    pub(crate) fn with_aad<T>(&self, key: KeyId, use_it: impl FnOnce(&[u8]) -> T) -> T {
        let parts = [
            self.tenant,
            self.table.as_bytes(),
            self.column.as_bytes(),
            self.row,
        ];
        let len = parts
            .iter()
            .fold(LABEL.len() + KeyId::LEN, |len, part| len + 8 + part.len());
        let (mut inline, mut heap);
        let aad = if len <= INLINE {
            inline = [0; INLINE];
            &mut inline[..len]
        } else {
            heap = vec![0; len];
            &mut heap[..]
        };

        let mut rest = &mut *aad;
        let mut put = |bytes: &[u8]| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            head.copy_from_slice(bytes);
            rest = tail;
        };
        put(LABEL);
        put(key.as_bytes());
        for part in parts {
            put(&(part.len() as u64).to_be_bytes());
            put(part);
        }
        use_it(aad)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn aad(context: &Context<'_>) -> Vec<u8> {
        let key = KeyId::parse("V3d3AZZ3Wsg").unwrap();
        context.with_aad(key, <[u8]>::to_vec)
    }

    #[test]
    fn has_the_documented_layout() {
        let context = Context::new("t", "col", &[0xff, 0]).tenant("");
        let expected = b"forge-crypto/fv1\x57\x77\x77\x01\x96\x77\x5a\xc8\
            \0\0\0\0\0\0\0\0\
            \0\0\0\0\0\0\0\x01t\
            \0\0\0\0\0\0\0\x03col\
            \0\0\0\0\0\0\0\x02\xff\0";
        assert_eq!(aad(&context), expected);
    }

    #[test]
    fn is_the_same_inline_and_on_the_heap() {
        for len in [0, 1, 190, 200, 210, 1000] {
            let row = "r".repeat(len);
            let bytes = aad(&Context::new("t", "c", &row));
            assert_eq!(bytes.len(), 16 + 8 + 4 * 8 + 2 + len);
            assert!(bytes.ends_with(row.as_bytes()));
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let parts = ["", "a", "b", "ab", "ba", "aa", "a\0", "\0"];
        let mut seen = HashMap::new();
        for tenant in parts {
            for table in parts {
                for column in parts {
                    for row in parts {
                        let bytes = aad(&Context::new(table, column, row).tenant(tenant));
                        let place = (tenant, table, column, row);
                        assert_eq!(seen.insert(bytes, place), None, "{place:?}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn equal_bytes_mean_equal_places(
            a in any::<(Vec<u8>, String, String, Vec<u8>)>(),
            b in any::<(Vec<u8>, String, String, Vec<u8>)>(),
        ) {
            let (a, b) = (
                Context::new(&a.1, &a.2, &a.3).tenant(&a.0),
                Context::new(&b.1, &b.2, &b.3).tenant(&b.0),
            );
            prop_assert_eq!(aad(&a) == aad(&b), a == b);
            prop_assert_eq!(aad(&a), aad(&a.clone()));
        }
    }
}
