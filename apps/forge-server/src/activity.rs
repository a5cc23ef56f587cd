//! What goes on at connections: whether one is idle, and how many an address has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};

/// The requests of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    begun: AtomicU64,
}

impl Activity {
    /// A request has come; it is open until the guard is gone, which the response's body keeps.
    pub(crate) fn begin(&self) -> Open {
        self.0.open.fetch_add(1, Ordering::AcqRel);
        self.0.begun.fetch_add(1, Ordering::AcqRel);
        Open(self.clone())
    }

    /// Ends when no request was open and none began for between `time` and twice that: a client
    /// that says nothing, or keeps a connection alive without asking for anything.
    pub(crate) async fn idle(&self, time: Duration) {
        let mut seen = None;
        loop {
            let open = self.0.open.load(Ordering::Acquire);
            let begun = self.0.begun.load(Ordering::Acquire);
            if open == 0 && seen == Some(begun) {
                return;
            }
            seen = (open == 0).then_some(begun);
            tokio::time::sleep(time).await;
        }
    }
}

/// An open request.
#[derive(Debug)]
pub(crate) struct Open(Activity);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A response's body, whose request is open until it has ended or is dropped.
pub(crate) struct OpenBody {
    body: Body,
    _open: Open,
}

impl OpenBody {
    pub(crate) fn new(body: Body, open: Open) -> Self {
        Self { body, _open: open }
    }
}

impl http_body::Body for OpenBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How many connections each address has: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

impl Peers {
    /// At most so many for each.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            open: Arc::default(),
            most,
        }
    }

    /// A place for one more connection of that address, if it has one left.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        // An address without a connection has no entry, so the map is as small as the server's bound.
        (*count < self.most).then(|| {
            *count += 1;
            Place {
                peers: self.clone(),
                network,
            }
        })
    }
}

/// A connection's place among those of its address.
#[derive(Debug)]
pub(crate) struct Place {
    peers: Peers,
    network: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self
            .peers
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_nothing_was_open_for_the_time() {
        let (activity, time) = (Activity::default(), Duration::from_secs(10));
        let before = tokio::time::Instant::now();
        activity.idle(time).await;
        assert_eq!(before.elapsed(), time, "one that never asks");

        let open = activity.begin();
        let asks_on = tokio::time::timeout(Duration::from_secs(3600), activity.idle(time));
        assert!(asks_on.await.is_err(), "one with an open response");
        drop(open);
        let before = tokio::time::Instant::now();
        activity.idle(time).await;
        assert_eq!(before.elapsed(), time);
    }

    #[test]
    fn an_address_gets_so_many_places_and_gives_them_back() {
        let peers = Peers::new(2);
        let (one, same) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        );
        let places = [peers.admit(one), peers.admit(same)];
        assert!(places.iter().all(Option::is_some));
        assert!(peers.admit(one).is_none());
        assert!(peers.admit("2001:db8:0:1::1".parse().unwrap()).is_some());
        drop(places);
        assert!(peers.admit(one).is_some());
        assert!(peers.open.lock().unwrap().is_empty());
    }
}
