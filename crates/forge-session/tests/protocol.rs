//! The protocol between nodes, their caches and the store, checked exhaustively: two nodes, three
//! requests, every order of their steps, and at every step a crash, a request given up, a cache
//! that runs out and a message that is late or lost.
//!
//! The steps are those of the crate: what happens in the store is one step, what happens in a
//! cache is one step, and nothing else is. Each guard of the protocol is then left out in turn,
//! and the checker must find what goes wrong without it.

use std::collections::BTreeSet;

use stateright::{Checker, Model, Property};

/// A secret is the list of salts by which it was derived from the first one.
type Secret = Vec<u8>;

const NODES: usize = 2;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    /// The first secret is presented, and not due to be replaced.
    Present,
    /// The first secret is presented, and due.
    PresentDue,
    /// The session is revoked.
    Revoke,
    /// The user signs in once more, which evicts the session: one is allowed.
    SignIn,
    /// A use of the session is written late.
    Touch,
}

const KINDS: [Kind; 5] = [
    Kind::Present,
    Kind::PresentDue,
    Kind::Revoke,
    Kind::SignIn,
    Kind::Touch,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Begin,
    /// The cache did not know.
    Read {
        seen: u8,
    },
    /// Found current, and not due.
    Remember {
        seen: u8,
    },
    Rotate,
    /// Another was first.
    ReadAgain,
    /// Announced to the cache.
    Write,
    /// Written.
    Forget,
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    kind: Kind,
    node: usize,
    step: Step,
    /// Whether its node knew of the revocation when it began.
    began_revoked: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Node {
    /// The secret that is remembered as the current one of the session.
    cached: Option<Secret>,
    changes: u8,
    changing: u8,
    /// Something was given up half way.
    unsettled: bool,
    /// A revocation was answered here, or this node was told of one.
    knows_revoked: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    // The store.
    current: Secret,
    previous: Option<Secret>,
    revoked: bool,
    /// Once revoked, for ever.
    was_revoked: bool,
    /// Sessions of the user that are live, this one and those made by signing in.
    others: u8,
    nodes: Vec<Node>,
    requests: Vec<Request>,
    /// Writes that were given up, and may still happen.
    ghosts: Vec<usize>,
    /// Nodes that are yet to be told.
    messages: BTreeSet<usize>,
    crashes: u8,
    /// All successors of the first secret that were handed out.
    successors: BTreeSet<Secret>,
    /// A request that began when its node knew better was found good.
    accepted_revoked: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    Advance(usize),
    GiveUp(usize),
    Ghost(usize),
    Vanish(usize),
    Crash(usize),
    Expire(usize),
    Deliver(usize),
    Lose(usize),
}

/// The guards of the protocol.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    /// What was read before a change is not remembered after it.
    checks_changes: bool,
    /// Nothing is remembered after a change was given up.
    settles: bool,
    /// A rotation is a compare-and-set.
    compares: bool,
    /// A revoked session is not touched.
    tombstone: bool,
    /// Whoever signs in evicts in the same transaction.
    evicts_at_once: bool,
    /// The cache forgets what was revoked or evicted.
    forgets: bool,
}

const FORGE: Protocol = Protocol {
    checks_changes: true,
    settles: true,
    compares: true,
    tombstone: true,
    evicts_at_once: true,
    forgets: true,
};

impl Protocol {
    fn advance(&self, state: &mut State, index: usize) -> Option<()> {
        let Request {
            kind, node, step, ..
        } = state.requests[index].clone();
        let next = match (kind, step) {
            (_, Step::Done) => return None,
            (Kind::Present | Kind::PresentDue, Step::Begin) => {
                state.requests[index].began_revoked = state.nodes[node].knows_revoked;
                let node = &state.nodes[node];
                let hit = node.cached.as_ref() == Some(&Vec::new()) && kind == Kind::Present;
                if hit {
                    self.accept(state, index);
                    Step::Done
                } else {
                    Step::Read { seen: node.changes }
                }
            }
            (_, Step::Read { seen }) => self.read(state, index, seen),
            (_, Step::Remember { seen }) => {
                let node = &mut state.nodes[node];
                let unchanged = node.changes == seen && node.changing == 0;
                let settled = !node.unsettled || !self.settles;
                if (unchanged || !self.checks_changes) && settled {
                    node.cached = Some(Vec::new());
                }
                self.accept(state, index);
                Step::Done
            }
            (_, Step::Rotate) => {
                let same = state.current.is_empty();
                if !state.revoked && (same || !self.compares) {
                    // The salt is this request's own.
                    let next = vec![index as u8];
                    state.previous = Some(Vec::new());
                    state.current = next.clone();
                    state.nodes[node].cached = None;
                    state.nodes[node].changes += 1;
                    state.successors.insert(next);
                    self.accept(state, index);
                    Step::Done
                } else {
                    Step::ReadAgain
                }
            }
            (_, Step::ReadAgain) => self.read(state, index, u8::MAX),
            (Kind::Touch, Step::Begin) => {
                // Nothing but the times is written, unless the whole row is.
                if !self.tombstone {
                    state.revoked = false;
                }
                Step::Done
            }
            (Kind::SignIn, Step::Begin) if !self.evicts_at_once => {
                state.others += 1;
                state.nodes[node].changing += 1;
                Step::Write
            }
            (_, Step::Begin) => {
                state.nodes[node].changing += 1;
                Step::Write
            }
            (_, Step::Write) => {
                self.write(state, index);
                Step::Forget
            }
            (_, Step::Forget) => {
                self.end_change(&mut state.nodes[node], false);
                state.nodes[node].knows_revoked = true;
                state.messages.extend((0..NODES).filter(|n| *n != node));
                Step::Done
            }
        };
        state.requests[index].step = next;
        Some(())
    }

    /// One read of the store, and what follows from it.
    fn read(&self, state: &mut State, index: usize, seen: u8) -> Step {
        if state.revoked {
            return Step::Done;
        }
        let first = Secret::new();
        if state.current == first {
            return match state.requests[index].kind {
                Kind::PresentDue => Step::Rotate,
                _ => Step::Remember { seen },
            };
        }
        if state.previous.as_ref() == Some(&first) {
            state.successors.insert(state.current.clone());
            self.accept(state, index);
        }
        Step::Done
    }

    fn write(&self, state: &mut State, index: usize) {
        match state.requests[index].kind {
            Kind::SignIn if self.evicts_at_once => state.others = 1,
            _ => {}
        }
        state.revoked = true;
        state.was_revoked = true;
    }

    fn end_change(&self, node: &mut Node, given_up: bool) {
        node.changing -= 1;
        node.changes += 1;
        node.unsettled |= given_up;
        if self.forgets {
            node.cached = None;
        }
    }

    fn accept(&self, state: &mut State, index: usize) {
        state.accepted_revoked |= state.requests[index].began_revoked;
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let all: Vec<_> = KINDS
            .into_iter()
            .flat_map(|kind| (0..NODES).map(move |node| (kind, node)))
            .collect();
        let mut states = Vec::new();
        for (a, first) in all.iter().enumerate() {
            for (b, second) in all.iter().enumerate().skip(a) {
                for third in &all[b..] {
                    let request = |(kind, node): &(Kind, usize)| Request {
                        kind: *kind,
                        node: *node,
                        step: Step::Begin,
                        began_revoked: false,
                    };
                    states.push(State {
                        current: Secret::new(),
                        previous: None,
                        revoked: false,
                        was_revoked: false,
                        others: 0,
                        nodes: vec![Node::default(); NODES],
                        requests: [first, second, third].map(request).to_vec(),
                        ghosts: Vec::new(),
                        messages: BTreeSet::new(),
                        crashes: 0,
                        successors: BTreeSet::new(),
                        accepted_revoked: false,
                    });
                }
            }
        }
        states
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, request) in state.requests.iter().enumerate() {
            if request.step != Step::Done {
                actions.push(Action::Advance(index));
                if request.step != Step::Begin {
                    actions.push(Action::GiveUp(index));
                }
            }
        }
        for ghost in 0..state.ghosts.len() {
            actions.extend([Action::Ghost(ghost), Action::Vanish(ghost)]);
        }
        for (index, node) in state.nodes.iter().enumerate() {
            let busy = state
                .requests
                .iter()
                .any(|r| r.node == index && !matches!(r.step, Step::Begin | Step::Done));
            if state.crashes == 0 && (busy || node.cached.is_some()) {
                actions.push(Action::Crash(index));
            }
            if node.cached.is_some() {
                actions.push(Action::Expire(index));
            }
        }
        for node in &state.messages {
            actions.extend([Action::Deliver(*node), Action::Lose(*node)]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Advance(index) => self.advance(&mut state, index)?,
            Action::GiveUp(index) => {
                let request = &mut state.requests[index];
                let step = std::mem::replace(&mut request.step, Step::Done);
                let node = request.node;
                if matches!(step, Step::Write | Step::Forget) {
                    self.end_change(&mut state.nodes[node], true);
                }
                if step == Step::Write {
                    state.ghosts.push(index);
                }
            }
            Action::Ghost(ghost) => {
                let index = state.ghosts.remove(ghost);
                self.write(&mut state, index);
                self.settle(&mut state, index);
            }
            Action::Vanish(ghost) => {
                let index = state.ghosts.remove(ghost);
                self.settle(&mut state, index);
            }
            Action::Crash(node) => {
                state.crashes += 1;
                let knows_revoked = state.nodes[node].knows_revoked;
                state.nodes[node] = Node {
                    knows_revoked,
                    ..Node::default()
                };
                for request in &mut state.requests {
                    if request.node == node && request.step != Step::Begin {
                        request.step = Step::Done;
                    }
                }
                let requests = &state.requests;
                state.ghosts.retain(|index| requests[*index].node != node);
            }
            Action::Expire(node) => state.nodes[node].cached = None,
            Action::Deliver(node) => {
                state.messages.remove(&node);
                let node = &mut state.nodes[node];
                node.changes += 1;
                node.knows_revoked = true;
                if self.forgets {
                    node.cached = None;
                }
            }
            Action::Lose(node) => drop(state.messages.remove(&node)),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "a revoked session is never valid again",
                |_, state: &State| !state.accepted_revoked && (state.revoked || !state.was_revoked),
            ),
            Property::always(
                "a given-up revocation leaves nothing behind",
                |_, state: &State| {
                    // Once the store is done with it, no cache of that node holds the session, unless
                    // another node's change is the reason.
                    let done = state.ghosts.is_empty() && state.revoked;
                    !done
                        || state
                            .nodes
                            .iter()
                            .all(|node| !(node.unsettled && node.cached.is_some()))
                },
            ),
            Property::always("a secret has one successor", |_, state: &State| {
                state.successors.len() <= 1
            }),
            Property::always("never more than the limit", |_, state: &State| {
                state.others + u8::from(!state.revoked) <= 1
            }),
            Property::sometimes("a replaced secret is honoured", |_, state: &State| {
                state.successors.len() == 1 && state.previous.is_some()
            }),
            Property::sometimes("a cache is used", |_, state: &State| {
                state.nodes.iter().any(|node| node.cached.is_some())
            }),
            Property::sometimes("a revocation is told", |_, state: &State| {
                state.nodes.iter().all(|node| node.knows_revoked)
            }),
        ]
    }
}

impl Protocol {
    /// The store is done with what was given up. The cache may trust its reads again once the time
    /// for that is over, which is never before.
    fn settle(&self, state: &mut State, index: usize) {
        let node = state.requests[index].node;
        let pending = |ghost: &usize| state.requests[*ghost].node == node;
        if !state.ghosts.iter().any(pending) && !state.revoked {
            state.nodes[node].unsettled = false;
        }
    }
}

fn check(protocol: Protocol) -> impl Checker<Protocol> {
    protocol.checker().threads(2).spawn_bfs().join()
}

#[test]
fn the_protocol_keeps_its_promises() {
    let checker = check(FORGE);
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000);
}

#[test]
fn without_any_one_of_its_guards_it_does_not() {
    let revoked = "a revoked session is never valid again";
    for (protocol, broken) in [
        (
            Protocol {
                checks_changes: false,
                ..FORGE
            },
            revoked,
        ),
        (
            Protocol {
                forgets: false,
                ..FORGE
            },
            revoked,
        ),
        (
            Protocol {
                tombstone: false,
                ..FORGE
            },
            revoked,
        ),
        (
            Protocol {
                settles: false,
                ..FORGE
            },
            "a given-up revocation leaves nothing behind",
        ),
        (
            Protocol {
                compares: false,
                ..FORGE
            },
            "a secret has one successor",
        ),
        (
            Protocol {
                evicts_at_once: false,
                ..FORGE
            },
            "never more than the limit",
        ),
    ] {
        let found = check(protocol).discovery(broken);
        assert!(found.is_some(), "{protocol:?}");
    }
}
