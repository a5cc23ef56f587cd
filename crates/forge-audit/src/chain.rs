//! The chain: each record's hash covers the record and the hash of the one before.
//!
//! The hash of a record is SHA-256 over, without gaps:
//!
//! | part | bytes |
//! |---|---|
//! | leaf | a zero byte: the hash is also that of a leaf of the [tree](crate::Tree), RFC 6962 section 2.1 |
//! | domain | `forge-audit/record/1` and a zero byte |
//! | hash of the record before | 32; zeros for the first |
//! | sequence | 8, big-endian; the first is 1 |
//! | time, occurred | 8 each, big-endian, microseconds since the epoch, two's complement |
//! | event, open part | its canonical bytes |
//! | commitment | 32: SHA-256 over `forge-audit/personal/1`, a zero byte, a salt of 16 random bytes, and the personal part |
//!
//! The personal part and its salt can be erased: without the salt nobody can try out what the
//! commitment stands for, and the record still verifies.
//!
//! Whoever changes, removes, adds or swaps a record breaks the chain at that place, and [`verify`]
//! names it. A chain alone does not show that its end was cut off, or that all of it was computed
//! anew by someone who can write the database: for that there are signed checkpoints, kept
//! elsewhere.

use std::cell::RefCell;
use std::fmt;

use crate::canonical;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::record::Record;
use crate::short::sha256;
use crate::view::{Left, View, follow};

const DOMAIN: &[u8] = b"\0forge-audit/record/1\0";
const COMMITMENT: &[u8] = b"forge-audit/personal/1\0";

/// Random bytes that keep a commitment from being guessed.
pub(crate) type Salt = [u8; 16];

/// A salt of its own for each record, 64 to a call of the operating system.
pub(crate) fn salt() -> Salt {
    const POOL: usize = 64;
    thread_local! {
        static SALTS: RefCell<Vec<Salt>> = const { RefCell::new(Vec::new()) };
    }
    SALTS.with_borrow_mut(|salts| {
        if salts.is_empty() {
            let mut pool = [0; POOL * size_of::<Salt>()];
            getrandom::fill(&mut pool).expect("the operating system gives random bytes");
            salts.extend(pool.as_chunks().0);
        }
        salts.pop().unwrap_or_default()
    })
}

/// A SHA-256 hash, shown in hexadecimal.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Hash(pub(crate) [u8; 32]);

impl Hash {
    /// The bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The end of a chain: everything before it follows from it. The default is the empty chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Head {
    /// The sequence of the last record; 0 if there is none.
    pub seq: u64,
    /// The hash of the last record; zeros if there is none.
    pub hash: Hash,
    /// The time of the last record.
    pub time: Timestamp,
}

/// Gives each event its sequence, its time and its hash. Plain state, without I/O.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    head: Head,
}

impl Chain {
    /// An empty chain.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A chain that goes on after `head`.
    #[must_use]
    pub fn resume(head: Head) -> Self {
        Self { head }
    }

    /// The end of the chain.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Appends an event that occurred at `occurred`.
    ///
    /// The sequence is the next one. The time is `occurred`, or that of the record before where
    /// the clock has gone back; `occurred` is kept as it is.
    pub fn append(&mut self, event: Event, occurred: Timestamp) -> Record {
        let sealed = Sealed::of(&event);
        self.append_sealed(event, sealed, occurred)
    }

    /// As [`append`](Self::append), of an event that was sealed before.
    pub(crate) fn append_sealed(
        &mut self,
        event: Event,
        sealed: Sealed,
        occurred: Timestamp,
    ) -> Record {
        let Sealed {
            content,
            commitment,
        } = sealed;
        let prev = self.head.hash;
        let seq = self.head.seq + 1;
        let time = if self.head.seq == 0 {
            occurred
        } else {
            occurred.max(self.head.time)
        };
        let link = Link {
            seq,
            time,
            occurred,
            prev,
            hash: Hash::default(),
            content: &content,
        };
        let hash = link.hash_of(content.open().unwrap_or_default(), commitment);
        self.head = Head { seq, hash, time };
        Record {
            seq,
            time,
            occurred,
            prev,
            hash,
            event,
            content,
        }
    }
}

/// What the hash of an event covers, whatever its place will be: worked out by whoever records it,
/// so that little is left to the one task that gives places.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    content: Content,
    commitment: Hash,
}

impl Sealed {
    pub(crate) fn of(event: &Event) -> Self {
        let (open, personal) = canonical::encode(event);
        let salt = salt();
        Self {
            commitment: commitment(&salt, &personal),
            content: Content::Whole {
                open,
                salt,
                personal,
            },
        }
    }
}

/// What stands for the personal part in the hash.
fn commitment(salt: &Salt, personal: &[u8]) -> Hash {
    sha256([COMMITMENT, salt, personal])
}

/// A personal part behind what is hashed before it, in memory that serves for the next one too: so
/// it is hashed in one piece, which is faster.
#[cfg(feature = "sqlite")]
#[derive(Debug, Default)]
pub(crate) struct Committed(Vec<u8>);

#[cfg(feature = "sqlite")]
impl Committed {
    const BEFORE: usize = COMMITMENT.len() + size_of::<Salt>();

    /// Begins anew, and returns what the personal part is to be added to.
    pub(crate) fn begin(&mut self, salt: &Salt) -> &mut Vec<u8> {
        self.0.clear();
        self.0.extend(COMMITMENT);
        self.0.extend(salt);
        &mut self.0
    }

    pub(crate) fn personal(&self) -> &[u8] {
        self.0.get(Self::BEFORE..).unwrap_or_default()
    }

    pub(crate) fn commitment(&self) -> Hash {
        sha256([&self.0])
    }
}

/// What is kept of a record, in the form it is hashed in.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// All of it.
    Whole {
        /// The open part of the canonical bytes.
        open: Vec<u8>,
        /// What keeps the commitment from being guessed.
        salt: [u8; 16],
        /// The personal part of the canonical bytes.
        personal: Vec<u8>,
    },
    /// The personal part and its salt were erased.
    Erased {
        /// The open part of the canonical bytes.
        open: Vec<u8>,
        /// What stands for the rest.
        commitment: Hash,
    },
    /// Records that were pruned: only a hash is left, of one record or of a subtree of the
    /// [tree](crate::Tree).
    Pruned {
        /// How many records the hash stands for: 1, or 256 from a multiple of 256 on.
        count: u64,
    },
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The salt would let whoever reads a log try out what an erased record said.
        match self {
            Self::Whole { .. } => f.write_str("Whole"),
            Self::Erased { commitment, .. } => f.debug_tuple("Erased").field(commitment).finish(),
            Self::Pruned { count } => f.debug_tuple("Pruned").field(count).finish(),
        }
    }
}

impl Content {
    /// What stands for the personal part in the hash; `None` when the record was pruned.
    #[must_use]
    pub fn commitment(&self) -> Option<Hash> {
        match self {
            Self::Whole { salt, personal, .. } => Some(commitment(salt, personal)),
            Self::Erased { commitment, .. } => Some(*commitment),
            Self::Pruned { .. } => None,
        }
    }

    /// The open part of the canonical bytes; `None` when the record was pruned.
    #[must_use]
    pub fn open(&self) -> Option<&[u8]> {
        match self {
            Self::Whole { open, .. } | Self::Erased { open, .. } => Some(open),
            Self::Pruned { .. } => None,
        }
    }

    /// The event, as far as it is left and its bytes are one.
    pub(crate) fn event(&self) -> Option<Event> {
        match self {
            Self::Whole { open, personal, .. } => canonical::decode(open, personal).ok(),
            Self::Erased { open, .. } => canonical::decode_open(open).ok(),
            Self::Pruned { .. } => None,
        }
    }
}

/// What the chain knows of a record: all of it, in the form it is hashed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// The sequence.
    pub seq: u64,
    /// The time in the log.
    pub time: Timestamp,
    /// The time of the clock.
    pub occurred: Timestamp,
    /// The hash of the record before.
    pub prev: Hash,
    /// The hash of this record.
    pub hash: Hash,
    /// What is kept of the event.
    pub content: &'a Content,
}

impl<'a> Link<'a> {
    /// The hash that the other parts amount to; that which is kept, when the record was pruned.
    #[must_use]
    pub fn expected_hash(&self) -> Hash {
        self.view().expected_hash()
    }

    fn hash_of(&self, open: &[u8], commitment: Hash) -> Hash {
        let Self {
            seq,
            time,
            occurred,
            prev,
            ..
        } = *self;
        record_hash(seq, [time, occurred], prev, open, commitment)
    }

    pub(crate) fn view(&self) -> View<'a> {
        let left = match self.content {
            Content::Whole {
                open,
                salt,
                personal,
            } => Left::Event {
                open,
                personal: Some(personal),
                commitment: commitment(salt, personal),
            },
            Content::Erased { open, commitment } => Left::Event {
                open,
                personal: None,
                commitment: *commitment,
            },
            Content::Pruned { count } => Left::Hash { count: *count },
        };
        View {
            seq: self.seq,
            time: self.time,
            occurred: self.occurred,
            prev: self.prev,
            hash: self.hash,
            left,
        }
    }
}

pub(crate) fn record_hash(
    seq: u64,
    times: [Timestamp; 2],
    prev: Hash,
    open: &[u8],
    commitment: Hash,
) -> Hash {
    let [time, occurred] = times.map(|time| time.as_micros().to_be_bytes());
    let seq = seq.to_be_bytes();
    sha256([DOMAIN, &prev.0, &seq, &time, &occurred, open, &commitment.0])
}

/// Why a chain does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The record is not there: another follows where it should be, or nothing.
    Missing,
    /// The record does not point at the one before it.
    Previous,
    /// The record's hash is not that of its content.
    Content,
    /// The record's time is before that of the one before it.
    Time,
    /// What the store keeps of the record is nothing that a store writes.
    Index,
    /// The record is not the one that the log wrote there.
    Replaced,
    /// The records up to here are not those that a signed checkpoint stands for.
    Root,
    /// A checkpoint is malformed, or not signed by the key.
    Checkpoint,
    /// The record was taken away, and no record of the log says so.
    Unexplained,
    /// A hash kept to prove other records by is not what they amount to.
    Tile,
}

/// The first place at which a chain does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit record {seq} does not verify: {fault:?}")]
#[non_exhaustive]
pub struct Broken {
    /// The sequence of the record that should stand there.
    pub seq: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Checks that `links` are exactly the records that follow `from`, and returns the new end.
///
/// Everything of a record is checked except that its bytes are an event. Call it page by page,
/// with the end of one as the beginning of the next.
///
/// # Errors
///
/// The first position that is wrong.
pub fn verify<'a>(from: Head, links: impl IntoIterator<Item = Link<'a>>) -> Result<Head, Broken> {
    links
        .into_iter()
        .try_fold(from, |head, link| follow(head, &link.view()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    fn chain_of(times: &[i64]) -> (Chain, Vec<Record>) {
        let mut chain = Chain::new();
        let records = times
            .iter()
            .map(|t| chain.append(Event::new(Kind::System, "x"), Timestamp::from_micros(*t)))
            .collect();
        (chain, records)
    }

    fn check(records: &[Record]) -> Result<Head, Broken> {
        verify(Head::default(), records.iter().map(Record::link))
    }

    #[test]
    fn the_hash_is_the_documented_one() {
        // The longer is too long to be hashed in one piece with the rest.
        for action in ["x".to_owned(), "é".repeat(300)] {
            let mut event = Event::new(Kind::System, "_");
            event.action = action.clone().into();
            let record = Chain::new().append(event, Timestamp::from_micros(-2));
            let mut bytes = b"\0forge-audit/record/1\0".to_vec();
            bytes.extend([0; 32]);
            bytes.extend([0, 0, 0, 0, 0, 0, 0, 1]);
            for _ in 0..2 {
                bytes.extend([255, 255, 255, 255, 255, 255, 255, 254]);
            }
            bytes.extend(b"\x01\x0e\x01\x01");
            bytes.extend((action.len() as u32).to_be_bytes());
            bytes.extend(action.as_bytes());
            let Content::Whole { salt, .. } = record.content else {
                panic!("pruned");
            };
            let mut personal = b"forge-audit/personal/1\0".to_vec();
            personal.extend(salt);
            personal.extend([0; 8]);
            bytes.extend(Sha256::digest(&personal));
            assert_eq!(record.hash.0, <[u8; 32]>::from(Sha256::digest(&bytes)));
        }
    }

    proptest! {
        #[test]
        fn is_consecutive_and_never_goes_back(times in prop::collection::vec(any::<i64>(), 0..50)) {
            let (chain, records) = chain_of(&times);
            for (i, record) in records.iter().enumerate() {
                prop_assert_eq!(record.seq, i as u64 + 1);
                prop_assert_eq!(record.occurred.as_micros(), times[i]);
                prop_assert!(record.time >= record.occurred);
                prop_assert!(i == 0 || record.time >= records[i - 1].time);
                prop_assert!(i == 0 || record.prev == records[i - 1].hash);
            }
            prop_assert_eq!(check(&records), Ok(chain.head()));
        }

        #[test]
        fn every_flipped_byte_is_found_where_it_is(at in 0_usize..8, byte in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let (_, mut records) = chain_of(&[1, 2, 3, 4, 5, 6, 7, 8]);
            let record = &mut records[at];
            let Content::Whole { open, salt, personal } = &mut record.content else { panic!("pruned") };
            let flip = 1_u8 << bit;
            match byte.index(32 + 32 + 8 + 8 + open.len() + 16 + personal.len()) {
                i @ 0..32 => record.hash.0[i] ^= flip,
                i @ 32..64 => record.prev.0[i - 32] ^= flip,
                i @ 64..72 => record.time = Timestamp::from_micros(record.time.as_micros() ^ (i64::from(flip) << ((i - 64) * 8))),
                i @ 72..80 => record.occurred = Timestamp::from_micros(record.occurred.as_micros() ^ (i64::from(flip) << ((i - 72) * 8))),
                i => match i - 80 {
                    i if i < open.len() => open[i] ^= flip,
                    i if i < open.len() + 16 => salt[i - open.len()] ^= flip,
                    i => personal[i - open.len() - 16] ^= flip,
                },
            }
            prop_assert_eq!(check(&records).unwrap_err().seq, at as u64 + 1);
        }
    }

    #[test]
    fn names_the_first_record_missing_swapped_or_forged() {
        let (_, records) = chain_of(&[1, 2, 3, 4, 5]);
        let mut missing = records.clone();
        missing.remove(2);
        assert_eq!(
            check(&missing),
            Err(Broken {
                seq: 3,
                fault: Fault::Missing
            })
        );

        let mut swapped = records.clone();
        swapped.swap(1, 2);
        assert_eq!(check(&swapped).unwrap_err().seq, 2);

        let mut renumbered = swapped;
        for (i, record) in renumbered.iter_mut().enumerate() {
            record.seq = i as u64 + 1;
        }
        assert_eq!(
            check(&renumbered),
            Err(Broken {
                seq: 2,
                fault: Fault::Content
            })
        );

        // A record with a right hash of its own, in the place of another.
        let mut forged = records;
        let before = Head {
            seq: 2,
            hash: Hash([9; 32]),
            time: Timestamp::default(),
        };
        forged[2] =
            Chain::resume(before).append(Event::new(Kind::System, "y"), Timestamp::default());
        assert_eq!(
            check(&forged),
            Err(Broken {
                seq: 3,
                fault: Fault::Previous
            })
        );
    }

    #[test]
    fn names_a_time_that_goes_back() {
        let (chain, mut records) = chain_of(&[5]);
        let head = Head {
            time: Timestamp::default(),
            ..chain.head()
        };
        records
            .push(Chain::resume(head).append(Event::new(Kind::System, "x"), Timestamp::default()));
        assert_eq!(
            check(&records),
            Err(Broken {
                seq: 2,
                fault: Fault::Time
            })
        );
    }
}
