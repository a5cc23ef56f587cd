//! What the layers tell: that a request was refused, and for what.

use http::request::Parts;

use crate::refusal::Refusal;

/// Hears of every request that a layer refuses, before the response is made.
///
/// Implemented for closures, for `()` (hears nothing) and for pairs (both hear). Must not block
/// and must not panic.
pub trait OnRefusal {
    /// `parts` was refused as `refusal` says.
    fn on_refusal(&self, parts: &Parts, refusal: &Refusal);
}

impl OnRefusal for () {
    fn on_refusal(&self, _: &Parts, _: &Refusal) {}
}

impl<F> OnRefusal for F
where
    F: Fn(&Parts, &Refusal),
{
    fn on_refusal(&self, parts: &Parts, refusal: &Refusal) {
        self(parts, refusal);
    }
}

impl<A, B> OnRefusal for (A, B)
where
    A: OnRefusal,
    B: OnRefusal,
{
    fn on_refusal(&self, parts: &Parts, refusal: &Refusal) {
        self.0.on_refusal(parts, refusal);
        self.1.on_refusal(parts, refusal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::RefusalKind;
    use std::cell::Cell;

    #[test]
    fn a_pair_tells_both() {
        let count = Cell::new(0);
        let hear = |_: &Parts, _: &Refusal| count.set(count.get() + 1);
        let parts = http::Request::new(()).into_parts().0;
        (hear, ((), hear)).on_refusal(&parts, &Refusal::new(RefusalKind::CrossOrigin));
        assert_eq!(count.get(), 2);
    }
}
