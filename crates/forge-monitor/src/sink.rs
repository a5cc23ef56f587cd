//! Where alerts go, besides the log.

#[cfg(feature = "webhook")]
mod alertmanager;
#[cfg(feature = "email")]
mod email;
#[cfg(feature = "webhook")]
mod http;
#[cfg(feature = "webhook")]
mod reach;
#[cfg(feature = "webhook")]
mod webhook;

#[cfg(feature = "webhook")]
pub use alertmanager::AlertmanagerSink;
#[cfg(feature = "email")]
pub use email::{EmailSink, EmailSinkBuilder, EmailTls};
#[cfg(feature = "webhook")]
pub use webhook::{WebhookForm, WebhookSink};
