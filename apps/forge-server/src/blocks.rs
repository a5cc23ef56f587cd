//! `forge blocks`: who is banned, and lifting a ban, on the machine the server runs on.
//!
//! It works on the database itself, so that it works for whoever may read the server's files, and
//! also for an admin who is banned. A server that runs takes note within a second or two, and puts
//! it on record; one that does not, when it starts.

use std::io::Write;
use std::net::IpAddr;

use clap::{Args, Subcommand};
use forge_monitor::{BoxError, Clock as _, Decision, DecisionStore, Lift, Target};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::Settings;
use crate::clock::Clock;
use crate::routes::rfc3339;

/// How many are listed.
const MAX_LISTED: usize = 100_000;

/// `forge blocks`
#[derive(Debug, Subcommand)]
pub enum BlocksCommand {
    /// Lists who is banned, whose limits are tightened, and who has to sign in again.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        /// Where the data is.
        #[command(flatten)]
        settings: Settings,
    },
    /// Lifts a ban; a running server admits whom it meant within two seconds.
    Lift(LiftBlock),
}

/// `forge blocks lift`
#[derive(Args, Debug)]
pub struct LiftBlock {
    /// The id from the list, an address, or `user:` and the number of a GitHub account.
    pub what: String,
    /// Where the data is.
    #[command(flatten)]
    pub settings: Settings,
}

/// What is to be lifted.
enum What {
    Id(Uuid),
    Target(Target),
}

impl What {
    fn parse(text: &str) -> Result<Self, BoxError> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Target(Target::of_address(address)));
        }
        if let Ok(network) = text.parse() {
            return Ok(Self::Target(Target::Network(network)));
        }
        match text.strip_prefix("user:") {
            Some(user) => Ok(Self::Target(Target::User(user.into()))),
            None => Err("name an id from `forge blocks list`, an address, or user:NUMBER".into()),
        }
    }

    fn is(&self, decision: &Decision) -> bool {
        match self {
            Self::Id(id) => decision.id == *id,
            Self::Target(target) => decision.target == *target,
        }
    }
}

/// Prints what holds.
///
/// # Errors
/// The database cannot be read.
pub async fn list(
    store: &(impl DecisionStore + ?Sized),
    json: bool,
    out: &mut impl Write,
) -> Result<(), BoxError> {
    let mut held = store.active(Clock::system().now(), MAX_LISTED).await?;
    held.sort_by_key(|decision| (decision.since, decision.id));
    if json {
        let held: Vec<_> = held.iter().map(view).collect();
        serde_json::to_writer(&mut *out, &held)?;
        writeln!(out)?;
        return Ok(());
    }
    if held.is_empty() {
        writeln!(out, "nobody is banned")?;
    }
    for decision in held {
        writeln!(
            out,
            "{}  {}  {}  until {}  {} (escalation {})",
            decision.id,
            decision.action.as_str(),
            decision.target,
            rfc3339(decision.until.as_micros()),
            decision.scenario,
            decision.escalation,
        )?;
    }
    Ok(())
}

/// What holds, for programs.
pub(crate) fn view(decision: &Decision) -> Value {
    let mut view = json!(decision);
    view["since"] = rfc3339(decision.since.as_micros()).into();
    view["until"] = rfc3339(decision.until.as_micros()).into();
    view
}

/// Lifts what holds for one, and says what it was.
///
/// # Errors
/// The database cannot be written, or nothing holds.
pub async fn lift(
    store: &(impl DecisionStore + ?Sized),
    what: &str,
    out: &mut impl Write,
) -> Result<(), BoxError> {
    let what = What::parse(what)?;
    let now = Clock::system().now();
    let held = store.active(now, MAX_LISTED).await?;
    let mut lifted = 0;
    for decision in held.iter().filter(|decision| what.is(decision)) {
        if store
            .lift(decision.id, &Lift::new(now, "the command line"))
            .await?
        {
            lifted += 1;
            writeln!(
                out,
                "lifted: {} {} by {}",
                decision.action.as_str(),
                decision.target,
                decision.scenario
            )?;
        }
    }
    match lifted {
        0 => Err("nothing holds for this: see `forge blocks list`".into()),
        _ => Ok(()),
    }
}
