//! Inspection: looks for attacks in the path, the query, headers and form fields of a request.

mod bytes;
mod code;
mod form;
mod future;
mod html;
mod inspection;
mod inspector;
mod layer;
mod level;
#[cfg(feature = "metrics")]
mod metrics;
mod normalise;
mod on_inspection;
mod path;
mod protocol;
mod rule;
mod scanner;
mod script;
mod service;
mod shell;
mod sql;
mod value;

pub use form::{Forms, NoForms, ReadForm, ReadForms, ReplayBody, Replayed};
pub use future::InspectFuture;
pub use inspection::Inspection;
pub use inspector::Inspector;
pub use layer::{InspectLayer, InspectMode, ParseModeError};
pub use level::{Level, ParseLevelError, Verdict};
pub use on_inspection::{InspectOutcome, OnInspection, RefusedByInspection};
pub use rule::{Family, Match, Place};
pub use service::Inspected;
