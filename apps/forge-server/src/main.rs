//! The `forge` binary: parses, builds, serves, drains.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use forge_monitor::MonitorStore;
use forge_server::cli::{
    AlertsCommand, BlocksCommand, Cli, Command, ConfigCommand, MonitorCommand, Serve, Settings,
};
use forge_server::config::{self, Inputs};
use forge_server::{Clock, Config, Forge, reload};
use tokio::net::TcpListener;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(serve) => run(serve).await,
        Command::Config(ConfigCommand::Check(settings)) => check(settings),
        Command::Config(ConfigCommand::Reference) => print(&config::reference()),
        Command::Login(login) => login.run(&mut io::stdout()).await.map_err(Into::into),
        Command::Inspect(inspect) => inspect.run().map_err(Into::into),
        Command::Monitor(command) => monitor(command).await,
        Command::Alerts(command) => alerts(command).await,
        Command::Blocks(command) => blocks(command).await,
        Command::Key(command) => command.run(&mut io::stdout()).await,
        Command::Audit(command) => seen_enough(command.run(&mut io::stdout()).await),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forge: {}", forge_server::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(serve: Serve) -> Result<(), Error> {
    let inputs = inputs(serve.settings.clone())?;
    #[cfg(feature = "dev")]
    if serve.dev {
        return run_dev(inputs, serve.dev_github_listen).await;
    }
    let config = read(&inputs)?;
    forge_server::init_log(&config.log);
    warn(&config);
    let (listener, _) = forge_server::listen(config.listen).await?;
    let forge = Forge::build(config, Clock::system()).await?;
    serve_until_signal(forge, inputs, listener, || {}, || {}).await
}

/// The configuration, or what is wrong with it and, where no file was named, how to name one.
fn read(inputs: &Inputs) -> Result<Config, Error> {
    Config::read(inputs).map_err(|problems| match inputs.names_a_file() {
        true => problems.into(),
        false => format!("{problems}\n{NO_FILE}").into(),
    })
}

/// What helps who started without a configuration.
const NO_FILE: &str = match cfg!(feature = "dev") {
    true => {
        "no configuration file is named: --config FILE names one; `forge serve --dev` needs none"
    }
    false => "no configuration file is named: --config FILE names one",
};

fn warn(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

#[cfg(feature = "dev")]
async fn run_dev(inputs: Inputs, github: Option<std::net::SocketAddr>) -> Result<(), Error> {
    use forge_server::dev::{GITHUB_LISTEN, Trial};

    let (trial, config, listener) = Trial::start(inputs, github.unwrap_or(GITHUB_LISTEN)).await?;
    forge_server::init_log(&config.log);
    warn(&config);
    let (url, data) = (config.public_url.to_string(), config.data.clone());
    let forge = Forge::build(config, Clock::system()).await?;
    trial.prepare(&forge).await?;
    let announce = || {
        let text = format!(
            "Forge, on trial: open {url} and sign in.\n  \
             octo-admin     is an admin\n  \
             octo-user      is a user\n  \
             octo-stranger  is not on the allow-list\n\
             GitHub's stand-in: {}\n\
             Data: {}\n\
             Ctrl-C ends it.\n",
            trial.github.base_url(),
            data.display()
        );
        // That nobody reads it is no reason to end.
        let _ = print(&text);
    };
    let at_once = trial.leave_at_once();
    let done = serve_until_signal(forge, trial.inputs.clone(), listener, announce, at_once).await;
    trial.end().await;
    done
}

async fn serve_until_signal(
    forge: Forge,
    inputs: Inputs,
    listener: TcpListener,
    announce: impl FnOnce(),
    at_once: impl FnOnce() + Send + 'static,
) -> Result<(), Error> {
    let config = &forge.app().config;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() && !config.is_https() {
        tracing::warn!("people reach this server over plain http from other machines");
    }
    // Before anything is announced, so that Ctrl-C is never missed.
    let shutdown = forge_server::shutdown_signal(at_once)?;
    let reload = reload::on_hangup(forge.app().clone(), inputs)?;
    tracing::info!(%address, public = %config.public_url, "listening");
    announce();
    let done = forge.serve(listener, shutdown).await;
    reload.abort();
    done?;
    tracing::info!("ended");
    Ok(())
}

fn check(settings: Settings) -> Result<(), Error> {
    let config = read(&inputs(settings)?)?;
    for warning in &config.warnings {
        eprintln!("forge: {warning}");
    }
    print("the configuration has no problem\n")
}

async fn monitor(command: MonitorCommand) -> Result<(), Error> {
    let MonitorCommand::Replay {
        audit,
        scenario,
        settings,
    } = command;
    let inputs = inputs(settings)?;
    let (watched, never_block) = Config::watched(&inputs)?;
    let data = || Config::data(&inputs).map(|data| data.join("audit.db"));
    let file = audit
        .or_else(data)
        .ok_or("name the database with --audit, or the folder of the server's data with --data")?;
    let mut scenarios = watched.scenarios;
    if let Some(name) = scenario {
        scenarios.retain(|scenario| scenario.name() == name);
        if scenarios.is_empty() {
            return Err(format!("there is no scenario {name:?}").into());
        }
    }
    let never_block = forge_server::never_block(&never_block);
    forge_server::replay(&file, scenarios, never_block, &mut io::stdout()).await
}

async fn alerts(command: AlertsCommand) -> Result<(), Error> {
    let out = &mut io::stdout();
    match command {
        AlertsCommand::Test(settings) => {
            let config = Config::alerts(&inputs(settings)?)?;
            forge_server::test_alerts(&config, out).await
        }
        AlertsCommand::List(settings) => {
            forge_server::list_alerts(&*store(settings).await?, out).await
        }
        AlertsCommand::Silence(wanted) => {
            let store = store(wanted.settings.clone()).await?;
            forge_server::silence_alerts(&*store, &wanted, out).await
        }
        AlertsCommand::Unsilence { id, settings } => {
            forge_server::unsilence_alerts(&*store(settings).await?, id).await
        }
        AlertsCommand::Dead(settings) => {
            let listed = forge_server::list_dead_alerts(&*store(settings).await?, out).await;
            seen_enough(listed)
        }
        AlertsCommand::Retry { what, settings } => {
            forge_server::retry_alerts(&*store(settings).await?, &what, out).await
        }
    }
}

async fn blocks(command: BlocksCommand) -> Result<(), Error> {
    let out = &mut io::stdout();
    match command {
        BlocksCommand::List { json, settings } => {
            let listed = forge_server::list_blocks(&*store(settings).await?, json, out).await;
            seen_enough(listed)
        }
        BlocksCommand::Lift(lift) => {
            let store = store(lift.settings).await?;
            forge_server::lift_blocks(&*store, &lift.what, out).await
        }
    }
}

/// What the server's monitor keeps.
async fn store(settings: Settings) -> Result<Arc<dyn MonitorStore>, Error> {
    forge_server::open_monitor_store(&inputs(settings)?).await
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let done = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    seen_enough(done.map_err(Into::into))
}

/// A reader who has seen enough, such as `head`, is no error.
fn seen_enough(done: Result<(), Error>) -> Result<(), Error> {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    match done {
        Err(error) if error.downcast_ref().is_some_and(is_gone) => Ok(()),
        done => done,
    }
}

fn inputs(settings: Settings) -> Result<Inputs, Error> {
    let mut inputs = Inputs {
        file: settings.config,
        ..Inputs::from_process()
    };
    let short = [("listen", settings.listen), ("data", settings.data)];
    for (key, value) in short {
        inputs
            .flags
            .extend(value.map(|value| (key.to_owned(), value)));
    }
    for pair in settings.set {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| "--set takes KEY=VALUE".to_owned())?;
        inputs.flags.push((key.to_owned(), value.to_owned()));
    }
    Ok(inputs)
}
