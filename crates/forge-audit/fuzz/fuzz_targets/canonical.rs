//! The canonical bytes of an event, out of a database or an archive that anybody may have written.
#![no_main]

use forge_audit::{Content, Hash, Stored, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((at, rest)) = bytes.split_first() else {
        return;
    };
    let (open, personal) = rest.split_at(usize::from(*at).min(rest.len()));
    let stored = Stored {
        seq: 1,
        time: Timestamp::from_micros(0),
        occurred: Timestamp::from_micros(0),
        prev: Hash::default(),
        hash: Hash::default(),
        content: Content::Whole {
            open: open.to_vec(),
            salt: [0; 16],
            personal: personal.to_vec(),
        },
        is_readable: true,
    };
    if let Some(event) = stored.event() {
        assert!(event.action().len() <= rest.len());
    }
    // Its hash is not that of its content: it is shown as damaged, whatever it says.
    assert_eq!(stored.into_record().event.action(), "audit.damaged");
});
