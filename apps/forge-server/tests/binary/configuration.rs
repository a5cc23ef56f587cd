//! What is told of a configuration.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use tempfile::TempDir;
use test_support::Process;

use crate::support::{Complete, assert_refuses, run, run_with};
use crate::trial::forge;

#[test]
fn an_address_in_use_is_named_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, other) in [
        ("--listen", "--dev-github-listen"),
        ("--dev-github-listen", "--listen"),
    ] {
        let folder = TempDir::new().unwrap();
        let arguments = ["serve", "--dev", flag, &address, other, "127.0.0.1:0"];
        let ended = run(&mut forge(folder.path(), arguments));
        let reason = format!("cannot listen on {address}: choose another address with {flag}: ");
        assert_refuses(&ended, &[&reason]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_configuration_that_is_complete_is_found_so_and_serves() {
    let complete = Complete::new();
    let checked = run(&mut complete.command(&["config", "check"]));
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert_eq!(checked.stdout, "the configuration has no problem");
    assert!(
        !complete.0.path().join("data").exists(),
        "a check makes nothing"
    );

    let server = Process::start(&mut complete.command(&["serve"]));
    server.stderr_line(|line| line.contains("listening").then_some(()));
    server.signal("TERM");
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(complete.0.path().join("data/audit.db").exists());
}

#[test]
fn an_address_in_use_is_told_before_a_database_is_made() {
    let complete = Complete::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(&mut complete.command(&["serve", "--listen", &address]));
    assert_refuses(
        &ended,
        &[&format!("cannot listen on {address}"), "--listen"],
    );
    assert!(!complete.0.path().join("data").exists());
}

#[test]
fn everything_that_is_missing_or_wrong_is_told_at_once() {
    for command in [&["serve"][..], &["config", "check"]] {
        let missing = run_with(command);
        let reasons = [
            "has 6 problems:\n",
            "  - public_url is missing: set it in the file, as FORGE_PUBLIC_URL, or by --set public_url=…\n",
            "  - data is missing",
            "  - first_admin is missing",
            "  - github.client_id is missing",
            "  - github.client_secret is missing: set github.client_secret_file in the file, FORGE_GITHUB_CLIENT_SECRET_FILE or ",
            "  - keyring is missing",
            "\nno configuration file is named: --config FILE names one; `forge serve --dev` needs none",
        ];
        assert_refuses(&missing, &reasons);
    }

    let complete = Complete::new();
    let wrong = ["--set", "lisen=127.0.0.1:1", "--set", "limits.web=often"];
    let ended = run(complete
        .command(&["config", "check"])
        .args(wrong)
        .env("FORGE_SESSIONS_WEB_IDLE", "a while"));
    let reasons = [
        "has 3 problems:\n",
        "  - lisen is not a key Forge knows (from the command line): did you mean listen?",
        "  - limits.web ",
        "  - sessions.web.idle ",
        "(from FORGE_SESSIONS_WEB_IDLE)",
    ];
    assert_refuses(&ended, &reasons);
}

#[test]
fn the_reference_is_the_page_in_the_documentation() {
    let printed = run_with(&["config", "reference"]);
    assert_eq!(printed.status.code(), Some(0));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(page).unwrap();
    assert!(
        printed.stdout == page.trim_end_matches('\n'),
        "write what `forge config reference` prints to docs/configuration.md"
    );
}
