//! The command line by itself.

use std::process::Stdio;

use tempfile::TempDir;

use crate::support::run_with;
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
