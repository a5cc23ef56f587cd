//! What a request is counted by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Method;
use http::request::Parts;

use crate::hash::{Sum, WORDS, secret};

/// Bytes of a key that are held in place; longer keys are allocated.
const INLINE: usize = 8 * WORDS;

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
    /// An endpoint: a method and a route.
    Route,
    /// A tool that agents call.
    Tool,
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
            Self::Route => "route",
            Self::Tool => "tool",
            Self::Global => "global",
            Self::Other(name) => name,
        }
    }

    /// A number for each class, and the name of one of the application's own.
    const fn number(&self) -> (u8, &'static str) {
        match self {
            Self::Address => (0, ""),
            Self::User => (1, ""),
            Self::Session => (2, ""),
            Self::ApiKey => (3, ""),
            Self::Route => (4, ""),
            Self::Tool => (5, ""),
            Self::Global => (6, ""),
            Self::Other(name) => (7, name),
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
#[derive(Clone)]
pub struct Key {
    class: KeyClass,
    /// How many keys it was put together from: no key of one part equals one of two.
    parts: u8,
    bytes: Bytes,
    /// The keyed hash of all of the above.
    hash: u64,
}

#[derive(Clone)]
enum Bytes {
    /// So many bytes, as little-endian words filled up with zeros.
    Inline(u8, [u64; WORDS]),
    Heap(Box<[u8]>),
}

impl Bytes {
    /// Hands the bytes to `to`.
    fn with<T>(&self, to: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Inline(len, words) => {
                let mut bytes = [0; INLINE];
                for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
                    *chunk = word.to_le_bytes();
                }
                to(&bytes[..usize::from(*len)])
            }
            Self::Heap(bytes) => to(bytes),
        }
    }
}

/// Up to [`INLINE`] bytes as words, and their hash.
#[inline(always)]
fn short(sum: Sum<'_>, bytes: &[u8]) -> (Bytes, u64) {
    let (whole, rest) = bytes.as_chunks::<8>();
    let word = |chunk: &[u8; 8]| u64::from_le_bytes(*chunk);
    let last = match rest {
        [] => 0,
        rest => partial(bytes, rest),
    };
    // Each length for itself, so that the words stay in registers.
    let (words, hash) = match whole {
        [] => sum.words([last]),
        [a] => sum.words([word(a), last]),
        [a, b] => sum.words([word(a), word(b), last]),
        [a, b, c] => sum.words([word(a), word(b), word(c), last]),
        [a, b, c, d] => sum.words([word(a), word(b), word(c), word(d), last]),
        [a, b, c, d, e] => sum.words([word(a), word(b), word(c), word(d), word(e), last]),
        [a, b, c, d, e, f, ..] => sum.words([word(a), word(b), word(c), word(d), word(e), word(f)]),
    };
    (Bytes::Inline(bytes.len() as u8, words), hash)
}

/// The last word of `bytes`, of which fewer than eight bytes are left: `rest`.
#[inline]
fn partial(bytes: &[u8], rest: &[u8]) -> u64 {
    if let Some(last) = bytes.last_chunk::<8>() {
        // The bytes before are shifted out.
        return u64::from_le_bytes(*last) >> (64 - 8 * rest.len());
    }
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        // The two overlap in bytes that are the same.
        let last = u64::from(u32::from_le_bytes(*last));
        return u64::from(u32::from_le_bytes(*first)) | last << (8 * (rest.len() - 4));
    }
    let byte = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
    rest.iter().rev().fold(0, byte)
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inline(len, words), Self::Inline(theirs, their_words)) => {
                len == theirs && words == their_words
            }
            (Self::Heap(bytes), Self::Heap(theirs)) => bytes == theirs,
            _ => false,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let same = self.hash == other.hash && self.class == other.class;
        same && self.parts == other.parts && self.bytes == other.bytes
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Key {
    /// The client at `address`: an IPv4 address, or the /64 of an IPv6 address, since that is
    /// what one host is given (RFC 6177). An IPv4-mapped address counts as IPv4.
    #[must_use]
    #[inline(always)]
    pub fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::v4(v4),
            IpAddr::V6(_) => Self::address_by_prefix(address, 64),
        }
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

    /// The /48 that an IPv6 address lies in, for a wider tier: a policy that stops whoever sweeps
    /// the 65,536 networks of one allocation. Nothing for IPv4, where addresses are not given out
    /// by the block: let the policy skip those.
    #[must_use]
    pub fn allocation(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(Self::v6(v6, 48)),
        }
    }

    #[inline(always)]
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
    #[inline(always)]
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

    /// An endpoint: `route` is the pattern, such as `/users/{id}`, never the path, which a client
    /// chooses. `HEAD` counts as `GET`.
    #[must_use]
    pub fn route(method: &Method, route: &str) -> Self {
        let method = match *method {
            Method::HEAD => Method::GET,
            _ => method.clone(),
        };
        let bytes = [method.as_str(), route].join(" ");
        Self::new(KeyClass::Route, bytes.as_bytes())
    }

    /// The tool of that name, as agents call it.
    #[must_use]
    pub fn tool(name: &str) -> Self {
        Self::new(KeyClass::Tool, name.as_bytes())
    }

    /// Everybody together: one bucket for the whole service.
    #[must_use]
    pub fn global() -> Self {
        Self::new(KeyClass::Global, &[])
    }

    /// A key of the application's own.
    #[must_use]
    #[inline(always)]
    pub fn new(class: KeyClass, bytes: &[u8]) -> Self {
        Self::of_parts(class, 1, bytes)
    }

    // Inlined always, like what calls it: a key that is returned is copied, and the copy waits for
    // what was just written in smaller pieces.
    #[inline(always)]
    fn of_parts(class: KeyClass, parts: u8, bytes: &[u8]) -> Self {
        let (number, name) = class.number();
        // A length has less than 48 bits. No two keys have the same head, tail and words.
        let head = (bytes.len() as u64) << 16 | u64::from(parts) << 8 | u64::from(number);
        let tail = match name {
            "" => 0,
            name => long(name.as_bytes()),
        };
        let (bytes, hash) = match bytes.len() {
            0..=INLINE => short(secret().sum(head, tail), bytes),
            _ => {
                let (_, hash) = secret().sum(head, tail).words([long(bytes)]);
                (Bytes::Heap(bytes.into()), hash)
            }
        };
        Self {
            class,
            parts,
            bytes,
            hash,
        }
    }

    /// This key and another together: a bucket for each pair, such as user and tool. The class
    /// stays that of the first.
    ///
    /// ```
    /// use forge_ratelimit::Key;
    ///
    /// let of = |user, tool| Key::user(user).and(&Key::tool(tool));
    /// assert_ne!(of("7", "search"), of("7", "write"));
    /// assert_ne!(of("7", "search"), Key::user("7"));
    /// ```
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        let class = other.class.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(2 * INLINE);
        let mut part = |part: &[u8]| {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        };
        self.bytes.with(&mut part);
        part(class);
        other.bytes.with(|second| bytes.extend_from_slice(second));
        let parts = self.parts.saturating_add(other.parts);
        Self::of_parts(self.class, parts, &bytes)
    }

    /// Whether the key is that of an address, which anybody may have without an account.
    #[inline]
    pub(crate) const fn is_anonymous(&self) -> bool {
        matches!(self.class, KeyClass::Address)
    }

    /// The keyed hash of the whole key.
    #[inline]
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Feeds the whole key to a hash of bytes, so that no two keys feed the same.
    #[cfg(feature = "redis")]
    pub(crate) fn feed_bytes(&self, feed: &mut impl FnMut(&[u8])) {
        let (class, name) = self.class.number();
        feed(&[class, self.parts]);
        feed(&(name.len() as u64).to_be_bytes());
        feed(name.as_bytes());
        self.bytes.with(feed);
    }

    /// What kind of thing the key stands for.
    #[must_use]
    pub fn class(&self) -> KeyClass {
        self.class
    }
}

/// One word for bytes of any number.
fn long(bytes: &[u8]) -> u64 {
    let mut hash = secret().sip();
    hash.word(bytes.len() as u64);
    hash.bytes(bytes);
    hash.finish()
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
/// Behind a proxy that is the proxy's address: use [`ByAddress`] with what your trusted-proxy layer
/// resolved. This extractor reads no header, so that no client can choose its own key.
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

/// Counts by the client's address, as this reads it: a function or closure over the request's
/// parts, such as `client_ip` of `forge-headers`, which knows the trusted proxies.
///
/// ```
/// use forge_ratelimit::{ByAddress, Policy, Quota};
/// # mod forge_headers {
/// #     pub fn client_ip(parts: &http::request::Parts) -> Option<std::net::IpAddr> {
/// #         parts.extensions.get().copied()
/// #     }
/// # }
/// use forge_headers::client_ip;
///
/// let web = Policy::new("web", Quota::WEB, ByAddress(client_ip));
/// ```
///
/// As with [`Key::address`], IPv6 counts by the /64. Never read a header here that a client can
/// send, or it chooses its own key.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByAddress<F>(pub F);

impl<F> KeyExtractor for ByAddress<F>
where
    F: Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
{
    fn key(&self, parts: &Parts) -> Option<Key> {
        (self.0)(parts).map(Key::address)
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
        for len in (0..3 * INLINE).chain([300, 10_000]) {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8 | 0x80).collect();
            let key = Key::user(&bytes);
            assert_eq!(key, Key::user(&bytes));
            key.bytes.with(|kept| assert_eq!(kept, bytes));
            let mut others = vec![[&bytes[..], &[0]].concat(), [&[0], &bytes[..]].concat()];
            others.extend((0..len.min(60)).map(|at| {
                let mut other = bytes.clone();
                other[at] ^= 1;
                other
            }));
            for other in others {
                let other = Key::user(&other);
                assert_ne!(key, other);
                assert_ne!(key.hash(), other.hash());
            }
        }
    }

    #[test]
    fn head_counts_as_get() {
        let of = |method| Key::route(&method, "/users/{id}");
        assert_eq!(of(Method::HEAD), of(Method::GET));
        assert_ne!(of(Method::POST), of(Method::GET));
    }

    #[test]
    fn an_allocation_is_the_48_of_ipv6_alone() {
        let of = |address: &str| Key::allocation(address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:ffff::"));
        assert_ne!(of("2001:db8:1::"), of("2001:db8:2::"));
        assert_eq!(of("192.0.2.1"), None);
        assert_eq!(of("::ffff:192.0.2.1"), None);
    }

    #[test]
    fn pairs_differ_from_each_other_and_from_single_keys() {
        let pair = |a: &str, b: &str| Key::user(a).and(&Key::tool(b));
        assert_ne!(pair("ab", "c"), pair("a", "bc"));
        assert_ne!(pair("a", "b").and(&Key::tool("c")), pair("a", "b"));
        assert_ne!(
            Key::user("a").and(&Key::tool("b")),
            Key::user("a").and(&Key::session("b"))
        );
        let plain = pair("a", "b").bytes.with(|bytes| Key::user(bytes));
        assert_ne!(pair("a", "b"), plain);
    }

    #[test]
    fn does_not_show_the_key_in_debug() {
        assert_eq!(format!("{:?}", Key::user("octo-user")), r#"Key("user")"#);
    }
}
