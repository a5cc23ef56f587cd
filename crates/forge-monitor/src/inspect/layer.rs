//! The layer: what is inspected, what follows from it, who is told, how a refusal looks.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use super::form::{Forms, NoForms};
use super::inspector::Inspector;
use super::level::Level;
use super::service::Inspected;
use crate::refusal::Problem;

/// What follows when a request looks like an attack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InspectMode {
    /// Nothing is inspected.
    Off,
    /// The observer is told, and the request is passed on. The default.
    #[default]
    Detect,
    /// The observer is told, and the request is refused.
    Block,
}

impl InspectMode {
    /// The name in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Detect => "detect",
            Self::Block => "block",
        }
    }
}

/// Not the name of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be off, detect or block")]
pub struct ParseModeError;

impl FromStr for InspectMode {
    type Err = ParseModeError;

    fn from_str(name: &str) -> Result<Self, ParseModeError> {
        let modes = [Self::Off, Self::Detect, Self::Block];
        let known = modes.into_iter().find(|mode| mode.as_str() == name);
        known.ok_or(ParseModeError)
    }
}

/// Looks at requests for attacks, and in [`InspectMode::Block`] refuses them with 403, for gRPC with
/// `PERMISSION_DENIED`.
///
/// It reads the path, the query, cookies, `User-Agent`, `Referer` and further headers, and where
/// [`forms`](Self::forms) asks for it the fields of a form. Bodies of other kinds, JSON and Markdown
/// among them, are passed on unread: texts about attacks are no attacks.
///
/// A request that is refused never reaches the service; the response bears
/// [`RefusedByInspection`](crate::RefusedByInspection). What is read is bounded, see
/// [`Inspector::max_bytes`]: a longer request scores 5 for that, which refuses it at [`Level::High`]
/// alone.
///
/// # Example
///
/// ```
/// use axum::{Router, routing::get};
/// use forge_monitor::{InspectLayer, InspectMode, InspectOutcome, Level, Monitor, Signal, SignalKind};
/// # use forge_monitor::Inspection;
/// # use http::request::Parts;
///
/// # #[cfg(feature = "axum")]
/// # fn app(monitor: Monitor) -> Router {
/// // Begin with `Detect` and see what would be refused.
/// let layer = InspectLayer::new(InspectMode::Block)
///     .level(Level::Low)
///     .exempt_path("/docs/")
///     .on_inspection(move |_: &Parts, inspection: &Inspection, outcome: InspectOutcome| {
///         if outcome == InspectOutcome::Refused {
///             // Add the client's address, so that who goes on is banned.
///             let score = inspection.score();
///             monitor.emit(Signal::new(SignalKind::SuspiciousRequest { score }));
///         }
///     });
/// Router::new().route("/", get(|| async { "hello" })).layer(layer)
/// # }
/// ```
///
/// # What it costs
///
/// A microsecond or two for a benign request of usual length, and time in proportion to the length of
/// what is read; the benches are in `benches/inspect.rs`. A request whose form is read waits until so
/// much of its body is there.
///
/// # What it does not do
///
/// It is a second line: the first is a service that does not put values into statements, pages and
/// commands unescaped. It knows attacks by their shape, so it misses some, and texts about SQL or
/// shells may look like one. It reads no body but forms, no response, and nothing about who asks.
#[must_use]
pub struct InspectLayer<O = (), R = Problem, F = NoForms> {
    pub(super) shared: Arc<Shared<O, R>>,
    pub(super) forms: F,
}

/// What the layer and its services share.
#[derive(Debug)]
pub(super) struct Shared<O, R> {
    pub(super) inspector: Inspector,
    pub(super) mode: InspectMode,
    pub(super) level: Level,
    pub(super) exempt: Vec<Box<str>>,
    pub(super) on_inspection: O,
    pub(super) responder: R,
}

impl InspectLayer {
    /// A layer that tells nobody and, unless `mode` is [`InspectMode::Block`], refuses nothing.
    pub fn new(mode: InspectMode) -> Self {
        Self {
            shared: Arc::new(Shared {
                inspector: Inspector::new(),
                mode,
                level: Level::default(),
                exempt: Vec::new(),
                on_inspection: (),
                responder: Problem,
            }),
            forms: NoForms,
        }
    }
}

impl<O, R, F> InspectLayer<O, R, F> {
    /// How sensitive refusals are. Default: [`Level::Low`].
    pub fn level(self, level: Level) -> Self
    where
        O: Clone,
        R: Clone,
    {
        self.with(|shared| shared.level = level)
    }

    /// The inspector, for its bounds. Default: [`Inspector::new`].
    pub fn inspector(self, inspector: Inspector) -> Self
    where
        O: Clone,
        R: Clone,
    {
        self.with(|shared| shared.inspector = inspector)
    }

    /// Passes requests for `path` on unread, and where it ends with a slash, for everything below. A
    /// request whose path has escapes or `..` is inspected all the same.
    pub fn exempt_path(self, path: impl Into<Box<str>>) -> Self
    where
        O: Clone,
        R: Clone,
    {
        self.with(|shared| shared.exempt.push(path.into()))
    }

    fn with(mut self, change: impl FnOnce(&mut Shared<O, R>)) -> Self
    where
        O: Clone,
        R: Clone,
    {
        change(Arc::make_mut(&mut self.shared));
        self
    }

    /// Who is told of every inspection, an [`OnInspection`](crate::OnInspection). Default: nobody.
    pub fn on_inspection<T>(self, on_inspection: T) -> InspectLayer<T, R, F>
    where
        R: Clone,
    {
        let Shared {
            inspector,
            mode,
            level,
            ..
        } = *self.shared;
        InspectLayer {
            shared: Arc::new(Shared {
                inspector,
                mode,
                level,
                exempt: self.shared.exempt.clone(),
                on_inspection,
                responder: self.shared.responder.clone(),
            }),
            forms: self.forms,
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> InspectLayer<O, T, F>
    where
        O: Clone,
    {
        let Shared {
            inspector,
            mode,
            level,
            ..
        } = *self.shared;
        InspectLayer {
            shared: Arc::new(Shared {
                inspector,
                mode,
                level,
                exempt: self.shared.exempt.clone(),
                on_inspection: self.shared.on_inspection.clone(),
                responder,
            }),
            forms: self.forms,
        }
    }

    /// Reads the forms (`application/x-www-form-urlencoded`) of requests that `pick` names, up to
    /// `max_bytes`, and passes the body on as it came, whatever its length. The request waits until
    /// so much of its body is there. Default: no form is read.
    pub fn forms<P>(self, pick: P, max_bytes: usize) -> InspectLayer<O, R, Forms<P>>
    where
        P: Fn(&Parts) -> bool,
    {
        InspectLayer {
            shared: self.shared,
            forms: Forms::new(pick, max_bytes),
        }
    }
}

impl<O: Clone, R: Clone> Clone for Shared<O, R> {
    fn clone(&self) -> Self {
        Self {
            inspector: self.inspector,
            mode: self.mode,
            level: self.level,
            exempt: self.exempt.clone(),
            on_inspection: self.on_inspection.clone(),
            responder: self.responder.clone(),
        }
    }
}

impl<O, R> Shared<O, R> {
    /// Whether the request is passed on unread.
    pub(super) fn is_exempt(&self, parts: &Parts) -> bool {
        if self.mode == InspectMode::Off {
            return true;
        }
        if self.exempt.is_empty() {
            return false;
        }
        let path = parts.uri.path();
        !path.contains('%')
            && !path.contains("..")
            && self.exempt.iter().any(|exempt| {
                **exempt == *path || exempt.ends_with('/') && path.starts_with(&**exempt)
            })
    }
}

impl<S, O, R, F: Clone> Layer<S> for InspectLayer<O, R, F> {
    type Service = Inspected<S, O, R, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Inspected {
            inner,
            shared: Arc::clone(&self.shared),
            forms: self.forms.clone(),
        }
    }
}

impl<O, R, F: Clone> Clone for InspectLayer<O, R, F> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            forms: self.forms.clone(),
        }
    }
}

impl<O, R, F: fmt::Debug> fmt::Debug for InspectLayer<O, R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InspectLayer")
            .field("mode", &self.shared.mode)
            .field("level", &self.shared.level)
            .field("forms", &self.forms)
            .finish_non_exhaustive()
    }
}
