//! What was reported within the last hour, by minute, and by whom most.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use crate::decision::Target;
use crate::signal::{Signal, SignalClass};

const MINUTES: usize = 60;
const CLASSES: usize = SignalClass::ALL.len();
/// Sources that are counted at once, in each half of the hour.
const SOURCES: usize = 256;
/// Sources that are told.
const TOP: usize = 10;

/// What a monitor was told and did within the last hour, to the minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LastHour {
    /// Signals by class, those of which there were any.
    pub signals: Vec<(SignalClass, u64)>,
    /// Decisions made.
    pub decisions: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// The networks that most signals of trouble came from, most first. In a flood of sources a
    /// count may be too high, never too low.
    pub top_sources: Vec<(String, u64)>,
}

impl LastHour {
    /// How many signals there were of that class.
    #[must_use]
    pub fn count(&self, class: SignalClass) -> u64 {
        let mut signals = self.signals.iter();
        signals.find(|(of, _)| *of == class).map_or(0, |(_, n)| *n)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    number: u64,
    signals: [u64; CLASSES],
    decisions: u64,
    alerts: u64,
}

#[derive(Debug)]
pub(crate) struct Trends {
    minutes: [Minute; MINUTES],
    /// This half of an hour, and the one before.
    sources: [HashMap<IpNet, u64>; 2],
    half: u64,
}

impl Trends {
    pub(crate) fn new() -> Self {
        Self {
            minutes: [Minute::default(); MINUTES],
            sources: Default::default(),
            half: 0,
        }
    }

    pub(crate) fn signal(&mut self, signal: &Signal, now: Duration) {
        let class = signal.kind.class();
        let place = SignalClass::ALL.iter().position(|of| *of == class);
        if let Some(place) = place {
            self.minute(now).signals[place] += 1;
        }
        let is_trouble = matches!(
            class,
            SignalClass::AuthFailed
                | SignalClass::RateLimited
                | SignalClass::SuspiciousRequest
                | SignalClass::SessionAnomaly
                | SignalClass::PathMissing
                | SignalClass::TrapTouched
        );
        if let (true, Some(address)) = (is_trouble, signal.address) {
            self.source(address, now);
        }
    }

    pub(crate) fn decision(&mut self, now: Duration) {
        self.minute(now).decisions += 1;
    }

    pub(crate) fn alert(&mut self, now: Duration) {
        self.minute(now).alerts += 1;
    }

    pub(crate) fn last_hour(&mut self, now: Duration) -> LastHour {
        self.turn(now);
        let last = minute_of(now);
        let current = self
            .minutes
            .iter()
            .filter(|minute| minute.number + MINUTES as u64 > last && minute.number <= last);
        let mut signals = [0; CLASSES];
        let (mut decisions, mut alerts) = (0, 0);
        for minute in current {
            for (sum, n) in signals.iter_mut().zip(minute.signals) {
                *sum += n;
            }
            decisions += minute.decisions;
            alerts += minute.alerts;
        }
        let mut sources = self.sources[0].clone();
        for (network, count) in &self.sources[1] {
            *sources.entry(*network).or_default() += count;
        }
        let mut sources: Vec<_> = sources.into_iter().collect();
        sources.sort_by_key(|(network, count)| (std::cmp::Reverse(*count), *network));
        sources.truncate(TOP);
        LastHour {
            signals: SignalClass::ALL
                .into_iter()
                .zip(signals)
                .filter(|(_, count)| *count > 0)
                .collect(),
            decisions,
            alerts,
            top_sources: sources
                .into_iter()
                .map(|(network, count)| (Target::Network(network).value(), count))
                .collect(),
        }
    }

    fn minute(&mut self, now: Duration) -> &mut Minute {
        // One more than the minute's number, so that no minute in use is that of an empty place.
        let number = minute_of(now);
        let minute = &mut self.minutes[number as usize % MINUTES];
        if minute.number != number {
            *minute = Minute {
                number,
                ..Minute::default()
            };
        }
        minute
    }

    /// Counts a source; where there is no room it takes the place, and the count, of the one that
    /// was seen least ("space saving", Metwally, Agrawal and El Abbadi, 2005).
    fn source(&mut self, address: IpAddr, now: Duration) {
        self.turn(now);
        let Target::Network(network) = Target::of_address(address) else {
            return;
        };
        let sources = &mut self.sources[0];
        if sources.len() < SOURCES || sources.contains_key(&network) {
            *sources.entry(network).or_default() += 1;
            return;
        }
        let least = sources.iter().min_by_key(|(_, count)| **count);
        if let Some((&least, &count)) = least {
            sources.remove(&least);
            sources.insert(network, count + 1);
        }
    }

    fn turn(&mut self, now: Duration) {
        let half = now.as_secs() / 1800;
        if half > self.half {
            self.sources.swap(0, 1);
            self.sources[0].clear();
            if half > self.half + 1 {
                self.sources[1].clear();
            }
            self.half = half;
        }
    }
}

fn minute_of(now: Duration) -> u64 {
    now.as_secs() / 60 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::SignalKind;

    fn failed(address: [u8; 4]) -> Signal {
        Signal::new(SignalKind::AuthFailed).address(IpAddr::from(address))
    }

    #[test]
    fn counts_the_last_hour_and_forgets_what_was_before() {
        let mut trends = Trends::new();
        let at = Duration::from_secs;
        trends.signal(&failed([192, 0, 2, 1]), at(0));
        trends.signal(&failed([192, 0, 2, 2]), at(1000));
        trends.signal(&failed([192, 0, 2, 2]), at(1001));
        trends.signal(&Signal::new(SignalKind::AuthOk), at(1001));
        trends.decision(at(1001));
        trends.alert(at(1001));
        let hour = trends.last_hour(at(1100));
        assert_eq!(hour.count(SignalClass::AuthFailed), 3);
        assert_eq!(hour.count(SignalClass::AuthOk), 1);
        assert_eq!((hour.decisions, hour.alerts), (1, 1));
        assert_eq!(
            hour.top_sources,
            [("192.0.2.2".to_owned(), 2), ("192.0.2.1".to_owned(), 1)]
        );
        let hour = trends.last_hour(at(3660));
        assert_eq!(hour.count(SignalClass::AuthFailed), 2);
        let hour = trends.last_hour(at(10_000));
        assert!(hour.signals.is_empty() && hour.top_sources.is_empty());
    }

    #[test]
    fn a_flood_of_sources_does_not_hide_the_worst_one() {
        let mut trends = Trends::new();
        for n in 0..20_000u32 {
            let [a, b, c, d] = n.to_be_bytes();
            trends.signal(&failed([a, b + 10, c, d]), Duration::ZERO);
            if n % 10 == 0 {
                trends.signal(&failed([192, 0, 2, 1]), Duration::ZERO);
            }
        }
        assert!(trends.sources[0].len() <= SOURCES);
        let hour = trends.last_hour(Duration::ZERO);
        assert_eq!(hour.top_sources[0].0, "192.0.2.1");
        assert!(hour.top_sources[0].1 >= 2000);
    }
}
