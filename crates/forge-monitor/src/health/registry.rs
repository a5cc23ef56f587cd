//! The checks of a service, in groups, each with a time-out, a cache and single flight.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{ComponentHealth, Health, HealthCheck, HealthReport, HealthStatus};
use crate::caught::{Panicked, caught};
use crate::clock::{Clock, SystemClock};

/// What a check is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthGroup {
    /// Whether the process itself works; a failure asks for its restart. Nothing the process
    /// depends on belongs here, or one dead database restarts every instance.
    Liveness,
    /// Whether the process can serve now; a failure takes it out of the load balancer.
    Readiness,
    /// Every check. One registered here is in no other group.
    All,
}

/// Is told when a component's status changes, and of the first status that is not up. Implemented
/// for closures; must not block.
pub trait OnHealthChange: Send + Sync + 'static {
    /// Takes note of a change.
    fn on_health_change(&self, component: &ComponentHealth);
}

impl OnHealthChange for () {
    fn on_health_change(&self, _: &ComponentHealth) {}
}

impl<A: OnHealthChange, B: OnHealthChange> OnHealthChange for (A, B) {
    fn on_health_change(&self, component: &ComponentHealth) {
        self.0.on_health_change(component);
        self.1.on_health_change(component);
    }
}

impl<F> OnHealthChange for F
where
    F: Fn(&ComponentHealth) + Send + Sync + 'static,
{
    fn on_health_change(&self, component: &ComponentHealth) {
        self(component);
    }
}

/// The checks of a service. Clones share the cached results.
///
/// ```
/// use forge_monitor::{Health, HealthGroup, HealthRegistry, HealthStatus};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = HealthRegistry::builder()
///     .check("database", HealthGroup::Readiness, || async { Health::down("no connection") })
///     .build();
/// assert_eq!(registry.report(HealthGroup::All).await.status, HealthStatus::Down);
/// assert_eq!(registry.report(HealthGroup::Liveness).await.status, HealthStatus::Up);
/// # }
/// ```
#[derive(Clone)]
pub struct HealthRegistry {
    components: Arc<[Arc<Component>]>,
}

impl HealthRegistry {
    /// A registry to be filled.
    pub fn builder() -> HealthRegistryBuilder {
        HealthRegistryBuilder {
            checks: Vec::new(),
            time_out: Duration::from_secs(2),
            cache_for: Duration::from_secs(2),
            hysteresis: (1, 1),
            on_change: Arc::new(()),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// The health of a group. The checks whose cached result is too old run at the same time, each
    /// in a task of its own, so that a caller who goes away leaves the result to the others.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with time enabled.
    pub async fn report(&self, group: HealthGroup) -> HealthReport {
        let started: Vec<_> = self
            .components
            .iter()
            .filter(|component| group == HealthGroup::All || component.group == group)
            .map(|component| (component, Arc::clone(component).result()))
            .collect();
        let mut found = Vec::with_capacity(started.len());
        for (component, mut result) in started {
            let health = match result.wait_for(Option::is_some).await {
                Ok(health) => health.clone(),
                Err(_) => None,
            };
            found.push(health.unwrap_or_else(|| component.lost()));
        }
        HealthReport::new(found)
    }
}

impl fmt::Debug for HealthRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let components = self.components.iter().map(|c| (&c.name, c.group));
        f.debug_map().entries(components).finish()
    }
}

/// Fills a [`HealthRegistry`].
#[must_use = "nothing is checked before the registry is built"]
pub struct HealthRegistryBuilder {
    checks: Vec<(Arc<str>, HealthGroup, Arc<dyn HealthCheck>)>,
    time_out: Duration,
    cache_for: Duration,
    hysteresis: (u32, u32),
    on_change: Arc<dyn OnHealthChange>,
    clock: Arc<dyn Clock>,
}

impl HealthRegistryBuilder {
    /// Adds a check of a component. Of two of the same name the later one counts.
    pub fn check(
        mut self,
        name: impl Into<Arc<str>>,
        group: HealthGroup,
        check: impl HealthCheck,
    ) -> Self {
        self.checks.push((name.into(), group, Arc::new(check)));
        self
    }

    /// How long a check may take; one that takes longer is down. Default: 2 seconds.
    pub fn time_out(mut self, time_out: Duration) -> Self {
        self.time_out = time_out;
        self
    }

    /// How long a result is good, from its finding. Default: 2 seconds.
    pub fn cache_for(mut self, cache_for: Duration) -> Self {
        self.cache_for = cache_for;
        self
    }

    /// How many findings in a row it takes until a component counts as worse, and as better, than it
    /// did: one that comes and goes is not told of all the time. The first finding counts as it is.
    /// At least 1 each. Default: 1 and 1.
    pub fn hysteresis(mut self, worse: u32, better: u32) -> Self {
        self.hysteresis = (worse.max(1), better.max(1));
        self
    }

    /// Who is told when a component's status changes. Default: nobody.
    pub fn on_change(mut self, on_change: impl OnHealthChange) -> Self {
        self.on_change = Arc::new(on_change);
        self
    }

    /// Where the age of results comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The registry.
    #[must_use]
    pub fn build(self) -> HealthRegistry {
        let last: HashMap<_, _> = self
            .checks
            .iter()
            .enumerate()
            .map(|(index, (name, ..))| (Arc::clone(name), index))
            .collect();
        let components = self
            .checks
            .into_iter()
            .enumerate()
            .filter(|(index, (name, ..))| last.get(name) == Some(index))
            .map(|(_, (name, group, check))| {
                Arc::new(Component {
                    name,
                    group,
                    check,
                    time_out: self.time_out,
                    cache_for: self.cache_for,
                    hysteresis: self.hysteresis,
                    steady: Mutex::default(),
                    on_change: Arc::clone(&self.on_change),
                    clock: Arc::clone(&self.clock),
                    state: Mutex::default(),
                })
            })
            .collect();
        HealthRegistry { components }
    }
}

impl fmt::Debug for HealthRegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthRegistryBuilder")
            .field("time_out", &self.time_out)
            .field("cache_for", &self.cache_for)
            .finish_non_exhaustive()
    }
}

type Found = watch::Receiver<Option<ComponentHealth>>;

struct Component {
    name: Arc<str>,
    group: HealthGroup,
    check: Arc<dyn HealthCheck>,
    time_out: Duration,
    cache_for: Duration,
    hysteresis: (u32, u32),
    steady: Mutex<Option<Steady>>,
    on_change: Arc<dyn OnHealthChange>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// What a component counts as, and what was found otherwise since, how often in a row.
#[derive(Clone, Copy)]
struct Steady {
    status: HealthStatus,
    otherwise: Option<(HealthStatus, u32)>,
}

#[derive(Default)]
enum State {
    #[default]
    Unknown,
    Running(Found),
    Known {
        found: Found,
        since: Duration,
    },
}

impl Component {
    /// A result that is there, or on its way.
    fn result(self: Arc<Self>) -> Found {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &*state {
            // A task that ended without a result, as on a runtime that shut down, is no run.
            State::Running(found) if found.has_changed().is_ok() => return found.clone(),
            State::Known { found, since } if now < since.saturating_add(self.cache_for) => {
                return found.clone();
            }
            State::Known { found, .. } => found.borrow().as_ref().map(|health| health.status),
            State::Unknown | State::Running(_) => None,
        };
        let (sender, found) = watch::channel(None);
        *state = State::Running(found.clone());
        drop(state);
        let kept = found.clone();
        tokio::spawn(async move {
            let mut health = self.look().await;
            health.status = self.steadied(health.status);
            if health.status != before.unwrap_or(HealthStatus::Up) {
                // The observer is the caller's code; its panic must not lose the result.
                let tell = || self.on_change.on_health_change(&health);
                if catch_unwind(AssertUnwindSafe(tell)).is_err() {
                    tracing::error!("an observer of health changes panicked");
                }
            }
            let since = self.clock.monotonic();
            // The state first: who is woken by the result must not find the run still going.
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            *state = State::Known { found: kept, since };
            sender.send_replace(Some(health));
        });
        found
    }

    async fn look(&self) -> ComponentHealth {
        let started = self.clock.monotonic();
        let health = match tokio::time::timeout(self.time_out, caught(|| self.check.check())).await
        {
            Ok(Ok(health)) => health,
            Ok(Err(Panicked)) => Health::down("the check panicked"),
            Err(_) => Health::down("the check took too long"),
        };
        let latency = self.clock.monotonic().saturating_sub(started);
        self.component(health, latency)
    }

    /// What the component counts as, given what was found.
    fn steadied(&self, found: HealthStatus) -> HealthStatus {
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(steady) = steady.as_mut() else {
            *steady = Some(Steady {
                status: found,
                otherwise: None,
            });
            return found;
        };
        if found == steady.status {
            steady.otherwise = None;
            return found;
        }
        let times = match steady.otherwise {
            Some((same, times)) if same == found => times + 1,
            _ => 1,
        };
        let (worse, better) = self.hysteresis;
        let needed = if found > steady.status { worse } else { better };
        if times >= needed {
            steady.status = found;
            steady.otherwise = None;
        } else {
            steady.otherwise = Some((found, times));
        }
        steady.status
    }

    fn lost(&self) -> ComponentHealth {
        self.component(Health::down("the check was abandoned"), Duration::ZERO)
    }

    fn component(&self, health: Health, latency: Duration) -> ComponentHealth {
        ComponentHealth {
            name: Arc::clone(&self.name),
            status: health.status,
            detail: health.detail,
            checked_at: self.clock.now(),
            latency_micros: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A check that counts its calls.
    fn counted(
        calls: &Arc<AtomicUsize>,
        find: impl Fn(usize) -> Health + Send + Sync + 'static,
    ) -> impl HealthCheck {
        let calls = Arc::clone(calls);
        move || {
            let health = find(calls.fetch_add(1, Ordering::SeqCst));
            async move { health }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_probes_with_a_hung_check_make_one_call() {
        let calls = Arc::new(AtomicUsize::new(0));
        let hung = {
            let calls = Arc::clone(&calls);
            move || {
                calls.fetch_add(1, Ordering::SeqCst);
                std::future::pending()
            }
        };
        let registry = HealthRegistry::builder()
            .check("database", HealthGroup::Readiness, hung)
            .time_out(Duration::from_secs(1))
            .build();
        let probes: Vec<_> = (0..1000)
            .map(|_| {
                let registry = registry.clone();
                tokio::spawn(async move { registry.report(HealthGroup::All).await })
            })
            .collect();
        for probe in probes {
            let report = probe.await.unwrap();
            assert_eq!(report.status, HealthStatus::Down);
            let detail = report.components[0].detail.as_deref();
            assert_eq!(detail, Some("the check took too long"));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_result_is_good_until_it_is_too_old() {
        let clock = ManualClock::new(Timestamp::from_micros(0));
        let calls = Arc::new(AtomicUsize::new(0));
        let registry = HealthRegistry::builder()
            .check(
                "x",
                HealthGroup::Readiness,
                counted(&calls, |_| Health::up()),
            )
            .cache_for(Duration::from_secs(5))
            .clock(clock.clone())
            .build();
        registry.report(HealthGroup::All).await;
        clock.advance(Duration::from_secs(5) - Duration::from_nanos(1));
        registry.report(HealthGroup::Readiness).await;
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        clock.advance(Duration::from_nanos(1));
        registry.report(HealthGroup::All).await;
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_group_asks_only_its_own_checks_and_all_asks_every_one() {
        let registry = HealthRegistry::builder()
            .check("self", HealthGroup::Liveness, || async { Health::up() })
            .check("database", HealthGroup::Readiness, || async {
                Health::degraded("slow")
            })
            .check("disk", HealthGroup::All, || async { Health::down("full") })
            .build();
        let names = |report: &HealthReport| -> Vec<_> {
            let names = report.components.iter().map(|c| c.name.to_string());
            names.collect()
        };
        let live = registry.report(HealthGroup::Liveness).await;
        assert_eq!(
            (live.status, names(&live)),
            (HealthStatus::Up, vec!["self".into()])
        );
        let ready = registry.report(HealthGroup::Readiness).await;
        assert_eq!(ready.status, HealthStatus::Degraded);
        assert_eq!(names(&ready), ["database"]);
        let all = registry.report(HealthGroup::All).await;
        assert_eq!(all.status, HealthStatus::Down);
        assert_eq!(names(&all), ["self", "database", "disk"]);
    }

    #[tokio::test]
    async fn a_check_that_panics_is_down_and_is_asked_again() {
        let calls = Arc::new(AtomicUsize::new(0));
        let check = counted(&calls, |call| {
            assert!(call > 0, "on purpose");
            Health::up()
        });
        let registry = HealthRegistry::builder()
            .check("x", HealthGroup::All, check)
            .cache_for(Duration::ZERO)
            .build();
        let report = registry.report(HealthGroup::All).await;
        assert_eq!(
            report.components[0].detail.as_deref(),
            Some("the check panicked")
        );
        let report = registry.report(HealthGroup::All).await;
        assert_eq!(report.status, HealthStatus::Up);
    }

    #[tokio::test]
    async fn a_probe_that_goes_away_leaves_the_result_to_the_others() {
        let (release, released) = watch::channel(false);
        let calls = Arc::new(AtomicUsize::new(0));
        let slow = {
            let calls = Arc::clone(&calls);
            move || {
                calls.fetch_add(1, Ordering::SeqCst);
                let mut released = released.clone();
                async move {
                    released.wait_for(|done| *done).await.unwrap();
                    Health::up()
                }
            }
        };
        let registry = HealthRegistry::builder()
            .check("x", HealthGroup::All, slow)
            .build();
        let mut first = Box::pin(registry.report(HealthGroup::All));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx)));
        assert!(polled.await.is_pending());
        drop(first);
        release.send_replace(true);
        let report = registry.report(HealthGroup::All).await;
        assert_eq!(report.status, HealthStatus::Up);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn tells_changes_and_only_changes() {
        let found = [
            Health::up(),
            Health::down("a"),
            Health::down("b"),
            Health::up(),
        ];
        let calls = Arc::new(AtomicUsize::new(0));
        let told = Arc::new(Mutex::new(Vec::new()));
        let observer = {
            let told = Arc::clone(&told);
            move |component: &ComponentHealth| told.lock().unwrap().push(component.status)
        };
        let registry = HealthRegistry::builder()
            .check(
                "x",
                HealthGroup::All,
                counted(&calls, move |n| found[n].clone()),
            )
            .cache_for(Duration::ZERO)
            .on_change((observer, |_: &ComponentHealth| panic!("on purpose")))
            .build();
        for _ in 0..4 {
            registry.report(HealthGroup::All).await;
        }
        let told = told.lock().unwrap();
        assert_eq!(told[..], [HealthStatus::Down, HealthStatus::Up]);
    }

    #[tokio::test]
    async fn what_comes_and_goes_is_not_told_of_all_the_time() {
        let found = [
            Health::up(),
            Health::down("a"),
            Health::up(),
            Health::down("a"),
            Health::down("a"),
            Health::up(),
            Health::up(),
            Health::up(),
        ];
        let calls = Arc::new(AtomicUsize::new(0));
        let told = Arc::new(Mutex::new(Vec::new()));
        let observer = {
            let told = Arc::clone(&told);
            move |component: &ComponentHealth| told.lock().unwrap().push(component.status)
        };
        let registry = HealthRegistry::builder()
            .check(
                "x",
                HealthGroup::All,
                counted(&calls, move |n| found[n].clone()),
            )
            .cache_for(Duration::ZERO)
            .hysteresis(2, 3)
            .on_change(observer)
            .build();
        let mut seen = Vec::new();
        for _ in 0..8 {
            seen.push(registry.report(HealthGroup::All).await.status);
        }
        use HealthStatus::{Down, Up};
        assert_eq!(seen, [Up, Up, Up, Up, Down, Down, Down, Up]);
        assert_eq!(told.lock().unwrap()[..], [Down, Up]);
    }

    #[tokio::test]
    async fn of_two_checks_of_one_name_the_later_counts() {
        let registry = HealthRegistry::builder()
            .check("x", HealthGroup::All, || async { Health::down("old") })
            .check("x", HealthGroup::All, || async { Health::up() })
            .build();
        let report = registry.report(HealthGroup::All).await;
        assert_eq!(report.components.len(), 1);
        assert_eq!(report.status, HealthStatus::Up);
    }
}
