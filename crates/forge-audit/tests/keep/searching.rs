//! A query finds what a look at every record finds.

use forge_audit::{Chain, Content, Outcome, Source, Stored};

use crate::support::*;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }

    fn text(&mut self, of: &str, bound: u64) -> Option<String> {
        let n = self.below(bound + 1);
        (n > 0).then(|| format!("{of}-{n}"))
    }

    fn address(&mut self) -> Option<std::net::IpAddr> {
        let all = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];
        all.get(self.below(4) as usize)?.parse().ok()
    }

    fn request_id(&mut self) -> Option<String> {
        match self.below(4) {
            0 => None,
            // Its bytes are those of the text.
            1 => Some("61626364-6566-6768-696a-6b6c6d6e6f70".to_owned()),
            2 => Some("abcdefghijklmnop".to_owned()),
            _ => self.text("request", 5),
        }
    }

    fn event(&mut self) -> Event {
        let kind = Kind::ALL[self.below(3) as usize];
        let mut event = Event::new(kind, format!("act.{}", self.below(3)))
            .severity(Severity::ALL[self.below(4) as usize])
            .outcome(Outcome::ALL[self.below(4) as usize]);
        if let Some(actor) = self.text("person", 4) {
            event = event.actor(Actor::new(actor));
        }
        if let Some(address) = self.address() {
            event = event.source(Source::new().address(address));
        }
        if let Some(resource) = self.text("thing", 6) {
            event = event.resource(resource);
        }
        match self.request_id() {
            Some(id) => event.request_id(id),
            None => event,
        }
    }

    fn filter(&mut self, last: i64) -> Filter {
        let mut filter = Filter::default();
        let time = |dice: &mut Self| {
            let time = Timestamp::from_micros(dice.below(last as u64 + 20) as i64 - 10);
            (dice.below(3) == 0).then_some(time)
        };
        filter.from = time(self);
        filter.until = time(self);
        for _ in 0..self.below(4) {
            match self.below(8) {
                0 => filter.actor = self.text("person", 5),
                1 => filter.kind = Some(Kind::ALL[self.below(4) as usize]),
                2 => filter.action = Some(format!("act.{}", self.below(4))),
                3 => filter.at_least = Some(Severity::ALL[self.below(4) as usize]),
                4 => filter.outcome = Some(Outcome::ALL[self.below(4) as usize]),
                5 => filter.address = self.address(),
                6 => filter.resource = self.text("thing", 7),
                _ => filter.request_id = self.request_id(),
            }
        }
        filter
    }
}

async fn all(store: &SqliteAuditStore) -> Vec<Stored> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = store.scan(after, 1000).await.unwrap();
        let Some(last) = page.last() else { return all };
        after = match last.content {
            Content::Pruned { count } => last.seq + count - 1,
            _ => last.seq,
        };
        all.extend(page.into_iter().filter(|s| s.event().is_some()));
    }
}

/// Asks much of `store`, by turns of `beside`, who reads the same file.
async fn compare(dice: &mut Dice, store: &SqliteAuditStore, beside: &SqliteAuditStore) {
    let all = all(store).await;
    let last = all.last().map_or(0, |r| r.time.as_micros());
    for _ in 0..16 {
        let order = [Order::NewestFirst, Order::OldestFirst][dice.below(2) as usize];
        let filter = dice.filter(last);
        let mut expected: Vec<_> = all
            .iter()
            .filter(|r| filter.matches(r.time, &r.event().unwrap()))
            .map(|r| r.seq)
            .collect();
        if order == Order::NewestFirst {
            expected.reverse();
        }
        let limit = [1 + dice.below(9), 100, 1000][dice.below(3) as usize] as usize;
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        // Some pages, now of the one and now of the other.
        for _ in 0..4 {
            let mut query = query(&filter).order(order).limit(limit);
            if let Some(cursor) = cursor.take() {
                query = query.cursor(cursor);
            }
            let page = query.run([store, beside][dice.below(2) as usize]).await;
            let page = page.unwrap();
            found.extend(page.records.iter().map(|r| r.seq));
            match page.next {
                Some(next) => cursor = Some(next.into()),
                None => break,
            }
        }
        if cursor.is_some() {
            expected.truncate(limit * 4);
        }
        assert_eq!(found, expected, "{filter:?} {order:?} {limit}");
    }
}

fn query(filter: &Filter) -> Query {
    let Filter {
        from,
        until,
        actor,
        kind,
        action,
        at_least,
        outcome,
        address,
        resource,
        request_id,
        ..
    } = filter.clone();
    let mut query = Query::new();
    if let Some(from) = from {
        query = query.from(from);
    }
    if let Some(until) = until {
        query = query.until(until);
    }
    if let Some(actor) = actor {
        query = query.actor(actor);
    }
    if let Some(kind) = kind {
        query = query.kind(kind);
    }
    if let Some(action) = action {
        query = query.action(action);
    }
    if let Some(severity) = at_least {
        query = query.at_least(severity);
    }
    if let Some(outcome) = outcome {
        query = query.outcome(outcome);
    }
    if let Some(address) = address {
        query = query.address(address);
    }
    if let Some(resource) = resource {
        query = query.resource(resource);
    }
    match request_id {
        Some(id) => query.request_id(id),
        None => query,
    }
}

#[tokio::test]
async fn a_query_finds_what_a_look_at_all_finds() {
    for seed in 0..3 {
        let mut dice = Dice(seed);
        let folder = tempfile::tempdir().unwrap();
        let builder = || SqliteAuditStore::builder(folder.path().join("audit.db")).segment(256);
        let store = builder().dangerous_without_sync().open().await.unwrap();
        store.migrate().await.unwrap();
        let beside = builder().read_only();
        let beside = beside.open().await.unwrap();
        let (mut chain, mut time) = (Chain::new(), 0);
        for round in 0..12 {
            for _ in 0..dice.below(4) {
                let records = (0..1 + dice.below(150)).map(|_| {
                    time += dice.below(3) as i64;
                    chain.append(dice.event(), Timestamp::from_micros(time))
                });
                let records: Vec<_> = records.collect();
                store.append(records.into()).await.unwrap();
            }
            if dice.below(2) == 0 {
                store.seal().await.unwrap();
            }
            if round % 3 == 2 {
                let some = all(&store).await;
                let some: Vec<_> = some
                    .iter()
                    .map(|r| r.seq)
                    .filter(|_| dice.below(9) == 0)
                    .collect();
                store.erase(&some).await.unwrap();
            }
            if round % 4 == 3 {
                let rules = Retention::new()
                    .keep_all(Duration::from_micros(time as u64 / 2))
                    .hold(dice.filter(time))
                    .rules(Timestamp::from_micros(time));
                if let Some(span) = store.prunable(&rules).await.unwrap() {
                    store.prune(&rules, span).await.unwrap();
                }
            }
            compare(&mut dice, &store, &beside).await;
        }
    }
}

#[tokio::test]
async fn a_request_id_made_like_another_does_not_hide_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    let log = AuditLog::open(store).await.unwrap();
    let id = "61626364-6566-6768-696a-6b6c6d6e6f70";
    log.record(event(1).request_id(id)).await.unwrap();
    // The same bytes, but a text.
    let others = (0..20).map(|n| event(n).request_id("abcdefghijklmnop"));
    log.record_all(others.collect()).await.unwrap();
    log.record(event(1).request_id(id)).await.unwrap();
    let others = (0..20).map(|n| event(n).request_id("abcdefghijklmnop"));
    log.record_all(others.collect()).await.unwrap();
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let query = Query::new().request_id(id).order(order).limit(1);
        let found = query.run(&**log.store()).await.unwrap();
        assert_eq!(found.records.len(), 1, "{order:?}");
        assert!(found.next.is_some());
    }
}
