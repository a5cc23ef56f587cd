//! The command line by itself.

use std::process::Stdio;

use tempfile::TempDir;

use crate::support::{Complete, assert_refuses, run, run_with};
use crate::trial::forge;

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let folder = TempDir::new().unwrap();
    let output = forge(folder.path(), ["config", "reference"])
        .stdin(Stdio::null())
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_help_names_the_commands_and_the_way_to_try_it() {
    let help = |arguments: &[&str]| {
        let ended = run_with(arguments);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(
            ended.stdout.lines().all(|line| line.len() <= 104),
            "{}",
            ended.stdout
        );
        ended.stdout
    };
    let all = help(&["--help"]);
    for command in ["serve", "config", "audit"] {
        assert!(
            all.lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{all}"
        );
    }
    let serve = help(&["serve", "--help"]);
    for flag in [
        "--dev ",
        "--dev-github-listen",
        "--config",
        "--listen",
        "--data",
        "--set",
    ] {
        assert!(serve.contains(flag), "{serve}");
    }
    let nothing = run_with(&[]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(
        nothing.stderr.contains("Usage: forge <COMMAND>"),
        "{nothing:?}"
    );
}

#[test]
fn the_keys_are_those_that_the_configuration_names() {
    let complete = Complete::new();
    let key = |arguments: &[&str]| run(&mut complete.command(&[&["key"], arguments].concat()));
    let listed = key(&["list"]);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    let (id, _) = listed.stdout.split_once("  primary").unwrap();
    assert_eq!(key(&["add"]).status.code(), Some(0));
    let database = complete.0.path().join("data/forge.db");
    let reason = format!("there is no database {}", database.display());
    assert_refuses(&key(&["status"]), &[&reason, "--data"]);
    assert!(!database.exists());

    let server = test_support::Process::start(&mut complete.command(&["serve"]));
    server.stderr_line(|line| line.contains("listening").then_some(()));
    server.signal("TERM");
    assert_eq!(server.wait().status.code(), Some(0));
    let status = key(&["status"]);
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    let primary = status.stdout.lines().next().unwrap();
    assert!(
        primary.starts_with(id) && primary.ends_with(" 1 value"),
        "{status:?}"
    );

    // A file that is no keyring is named.
    let secret = complete.0.path().join("secret");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let wrong = key(&["list", "--keyring", secret.to_str().unwrap()]);
    assert_refuses(&wrong, &[&secret.display().to_string(), "forge-keyring v1"]);
}

#[test]
fn what_is_written_wrong_is_told_with_how_it_is_written() {
    let wrong = run_with(&["login", "forge.example"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        wrong.stderr.contains("write it as https://host[:port]"),
        "{wrong:?}"
    );
}

#[test]
fn what_needs_no_keys_asks_for_none() {
    let tried = run_with(&["alerts", "test"]);
    assert_refuses(&tried, &["no way is configured"]);
    assert!(!tried.stderr.contains("keyring"), "{}", tried.stderr);
    let unknown = run_with(&["alerts", "test", "--set", "alerts.at_leest=info"]);
    assert_refuses(&unknown, &["alerts.at_leest"]);
    let replayed = run_with(&["monitor", "replay"]);
    assert_refuses(&replayed, &["--audit"]);
    assert!(!replayed.stderr.contains("keyring"), "{}", replayed.stderr);
    let replayed = run_with(&["monitor", "replay", "--audit", "/missing/audit.db"]);
    assert_refuses(&replayed, &["/missing/audit.db: there is no such file"]);
    let replayed = run_with(&["monitor", "replay", "--audit", "/"]);
    assert_refuses(
        &replayed,
        &["cannot read /: it is a folder; name the database file"],
    );
}
