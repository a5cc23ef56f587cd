//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use crate::alerts::{AlertsCommand, SilenceAlerts};
pub use crate::audit_command::AuditCommand;
pub use crate::blocks::{BlocksCommand, LiftBlock};
pub use crate::inspect::Inspect;
pub use crate::keys::KeyCommand;
pub use crate::login::Login;

/// Sign-in, sessions, limits, audit and monitoring in front of a web API and MCP tools.
#[derive(Debug, Parser)]
#[command(name = "forge", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the server until Ctrl-C or SIGTERM.
    Serve(Serve),
    /// Checks or explains the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Verifies, exports, archives and prunes the audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Signs this terminal in to a server, by GitHub's device flow.
    Login(Login),
    /// Says what inspection finds in a request, and why.
    Inspect(Inspect),
    /// Tries what the monitor watches for.
    #[command(subcommand)]
    Monitor(MonitorCommand),
    /// Tries and silences alerts.
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// Lists who is banned, and lifts bans, on the machine the server runs on.
    #[command(subcommand)]
    Blocks(BlocksCommand),
    /// Makes and changes the keys that seal secrets at rest.
    #[command(subcommand)]
    Key(KeyCommand),
}

/// `forge serve`
#[derive(Args, Clone, Debug, Default)]
pub struct Serve {
    /// Tries Forge on this machine: a fresh folder, a keyring made for it, and a local stand-in
    /// for GitHub to sign in with.
    #[cfg(feature = "dev")]
    #[arg(long)]
    pub dev: bool,
    /// With --dev, the address of the stand-in for GitHub [default: 127.0.0.1:3002].
    #[cfg(feature = "dev")]
    #[arg(long, value_name = "ADDRESS", requires = "dev")]
    pub dev_github_listen: Option<std::net::SocketAddr>,
    /// What to configure.
    #[command(flatten)]
    pub settings: Settings,
}

/// The configuration's way in from the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct Settings {
    /// The configuration file, in TOML [also: FORGE_CONFIG].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The address to listen on [default: 127.0.0.1:3001]; short for --set listen=…
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The folder the databases lie in, made if missing; short for --set data=…
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Sets one key of the configuration; may be repeated. `forge config reference` lists all.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `forge config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints every problem of the configuration, or that there is none.
    Check(Settings),
    /// Prints the reference of all keys, in Markdown.
    Reference,
}

/// `forge monitor`
#[derive(Debug, Subcommand)]
pub enum MonitorCommand {
    /// Tells what the configured scenarios would have decided about what the audit log holds,
    /// those in simulation included.
    Replay {
        /// The audit database; by default that of the configured data folder.
        #[arg(long, value_name = "FILE")]
        audit: Option<PathBuf>,
        /// Only this scenario.
        #[arg(long, value_name = "NAME")]
        scenario: Option<String>,
        /// The configuration, with its scenarios.
        #[command(flatten)]
        settings: Settings,
    },
}
