//! `forge inspect`.

use std::fs;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{assert_refuses, run_with};
use crate::trial::forge;

#[test]
fn inspect_explains_a_request_given_as_arguments() {
    let ended = run_with(&[
        "inspect",
        "--method",
        "POST",
        "--header",
        "user-agent: sqlmap/1.8",
        "/a?b=1'%20or%20'1'='1",
    ]);
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stdout.starts_with("POST /a?b="), "{}", ended.stdout);
    for told in ["low    block", "query_value `b`", "scanner.user_agent"] {
        assert!(ended.stdout.contains(told), "{}", ended.stdout);
    }
    assert_refuses(
        &run_with(&["inspect", "--header", "none", "/"]),
        &["--header takes 'name: value'"],
    );
}

#[test]
fn inspect_answers_each_line_and_ends_quietly_when_nobody_reads_on() {
    let folder = TempDir::new().unwrap();
    let good = r#"{"method":"GET","target":"/a?b=%3Cscript%3E","headers":[["accept","*/*"]]}"#;
    let input = folder.path().join("requests");
    fs::write(&input, format!("{good}\nnot json\n{good}\n")).unwrap();
    let mut command = forge(folder.path(), ["inspect"]);
    let output = command
        .stdin(fs::File::open(&input).unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(reports.len(), 3);
    assert_eq!(reports[0]["verdict"]["low"], "block");
    assert!(reports[1]["error"].is_string());
    assert_eq!(reports[2]["line"], 3);

    let lines = [
        "",
        r#"{"target":"/","uri":"/"}"#,
        " \t",
        r#"{"target":"/","headers":{"accept":"*/*"}}"#,
        good,
    ];
    fs::write(&input, lines.join("\r\n")).unwrap();
    let mut command = forge(folder.path(), ["inspect"]);
    let output = command.stdin(fs::File::open(&input).unwrap()).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let reports: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let numbers: Vec<_> = reports.iter().map(|of| of["line"].as_u64()).collect();
    assert_eq!(
        numbers,
        [Some(2), Some(4), Some(5)],
        "an empty line is none"
    );
    for (report, told) in [(0, "unknown field `uri`"), (1, "invalid type: map")] {
        let error = reports[report]["error"].as_str().unwrap();
        assert!(error.starts_with(told), "{error}");
        assert!(error.contains(r#""headers":[["name","value"]]"#), "{error}");
    }
    assert_eq!(reports[2]["verdict"]["low"], "block");

    fs::write(&input, format!("{good}\n").repeat(20_000)).unwrap();
    let mut child = forge(folder.path(), ["inspect"])
        .stdin(fs::File::open(&input).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
