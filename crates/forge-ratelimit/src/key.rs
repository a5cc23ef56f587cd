//! What a request is counted by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::request::Parts;

/// Bytes of a key that are held in place; longer keys are allocated.
const INLINE: usize = 46;

/// What kind of thing a key stands for. It is part of the key, and all that metrics see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyClass {
    /// A client address.
    Address,
    /// A user.
    User,
    /// A session.
    Session,
    /// An API key.
    ApiKey,
    /// Everybody together.
    Global,
    /// Something of the application's own.
    Other(&'static str),
}

impl KeyClass {
    /// The class as a label for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::User => "user",
            Self::Session => "session",
            Self::ApiKey => "api_key",
            Self::Global => "global",
            Self::Other(name) => name,
        }
    }
}

/// The identity a quota is kept for. The store sees only a keyed hash of it.
///
/// ```
/// use forge_ratelimit::Key;
///
/// let mapped = Key::address("::ffff:192.0.2.1".parse().unwrap());
/// assert_eq!(mapped, Key::address("192.0.2.1".parse().unwrap()));
///
/// // One allocation of IPv6 addresses is one client.
/// let one = Key::address("2001:db8::1".parse().unwrap());
/// assert_eq!(one, Key::address("2001:db8::ffff:2".parse().unwrap()));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    class: KeyClass,
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Inline(u8, [u8; INLINE]),
    Heap(Box<[u8]>),
}

impl Bytes {
    fn new(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(bytes);
                Self::Inline(len, inline)
            }
            _ => Self::Heap(bytes.into()),
        }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Bytes {}

impl std::hash::Hash for Bytes {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl Key {
    /// The client at `address`: an IPv4 address, or the /64 of an IPv6 address, since that is
    /// what one host is given (RFC 6177). An IPv4-mapped address counts as IPv4.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::address_by_prefix(address, 64)
    }

    /// As [`address`](Self::address), with IPv6 cut to `prefix` bits: 48 for a whole allocation.
    ///
    /// # Panics
    /// If `prefix` is above 128.
    #[must_use]
    pub fn address_by_prefix(address: IpAddr, prefix: u8) -> Self {
        assert!(prefix <= 128, "an IPv6 prefix has at most 128 bits");
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::v4(v4),
            IpAddr::V6(v6) => Self::v6(v6, prefix),
        }
    }

    fn v4(address: Ipv4Addr) -> Self {
        Self::new(KeyClass::Address, &address.octets())
    }

    fn v6(address: Ipv6Addr, prefix: u8) -> Self {
        let shift = 128 - u32::from(prefix);
        let network = address.to_bits().checked_shr(shift).unwrap_or(0);
        // The prefix stands before the network: a /48 and a /64 of the same bits differ.
        let mut bytes = [prefix; 17];
        bytes[1..].copy_from_slice(&network.to_be_bytes());
        Self::new(KeyClass::Address, &bytes)
    }

    /// The user of that id. Use the id, never a name that can be given to somebody else.
    #[must_use]
    pub fn user(id: impl AsRef<[u8]>) -> Self {
        Self::new(KeyClass::User, id.as_ref())
    }

    /// The session of that id.
    #[must_use]
    pub fn session(id: impl AsRef<[u8]>) -> Self {
        Self::new(KeyClass::Session, id.as_ref())
    }

    /// The API key of that id.
    #[must_use]
    pub fn api_key(id: impl AsRef<[u8]>) -> Self {
        Self::new(KeyClass::ApiKey, id.as_ref())
    }

    /// Everybody together: one bucket for the whole service.
    #[must_use]
    pub fn global() -> Self {
        Self::new(KeyClass::Global, &[])
    }

    /// A key of the application's own.
    #[must_use]
    pub fn new(class: KeyClass, bytes: &[u8]) -> Self {
        Self {
            class,
            bytes: Bytes::new(bytes),
        }
    }

    /// What kind of thing the key stands for.
    #[must_use]
    pub fn class(&self) -> KeyClass {
        self.class
    }
}

/// Shows the class alone: a key may be personal data.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.class.as_str()).finish()
    }
}

/// Reads from a request what it is counted by.
///
/// Implemented for closures. Nothing means that the request bears no such key; what then happens
/// is the policy's [`MissingKey`](crate::MissingKey).
pub trait KeyExtractor: Send + Sync + 'static {
    /// The key of `parts`, if it has one.
    fn key(&self, parts: &Parts) -> Option<Key>;
}

impl<F> KeyExtractor for F
where
    F: Fn(&Parts) -> Option<Key> + Send + Sync + 'static,
{
    fn key(&self, parts: &Parts) -> Option<Key> {
        self(parts)
    }
}

/// Counts by the address of the connection itself.
///
/// Behind a proxy that is the proxy's address: use a closure that reads what your trusted-proxy
/// layer resolved. This extractor reads no header, so that no client can choose its own key.
/// The address comes from Axum's `ConnectInfo<SocketAddr>` (feature `axum`), Tonic's
/// `TcpConnectInfo` (feature `tonic`), or a [`SocketAddr`](std::net::SocketAddr) among the
/// request's extensions.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeerAddress;

impl KeyExtractor for PeerAddress {
    fn key(&self, parts: &Parts) -> Option<Key> {
        peer(parts).map(|peer| Key::address(peer.ip()))
    }
}

fn peer(parts: &Parts) -> Option<std::net::SocketAddr> {
    #[cfg(feature = "axum")]
    if let Some(info) = parts
        .extensions
        .get::<axum::extract::ConnectInfo<std::net::SocketAddr>>()
    {
        return Some(info.0);
    }
    #[cfg(feature = "tonic")]
    if let Some(info) = parts
        .extensions
        .get::<tonic::transport::server::TcpConnectInfo>()
    {
        return info.remote_addr();
    }
    parts.extensions.get::<std::net::SocketAddr>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_classes_and_prefixes_apart() {
        let address: IpAddr = "2001:db8:1:2::3".parse().unwrap();
        assert_ne!(Key::address(address), Key::address_by_prefix(address, 48));
        assert_ne!(Key::user("7"), Key::session("7"));
        assert_ne!(Key::address_by_prefix(address, 0), Key::global());
        assert_eq!(
            Key::address_by_prefix(address, 0),
            Key::address_by_prefix(Ipv6Addr::LOCALHOST.into(), 0)
        );
    }

    #[test]
    fn takes_keys_of_any_length() {
        for len in [0, 1, INLINE, INLINE + 1, 300, 10_000] {
            let (same, other) = ("x".repeat(len), "x".repeat(len + 1));
            assert_eq!(Key::user(&same), Key::user(&same));
            assert_ne!(Key::user(&same), Key::user(&other));
        }
    }

    #[test]
    fn does_not_show_the_key_in_debug() {
        assert_eq!(format!("{:?}", Key::user("octo-user")), r#"Key("user")"#);
    }
}
