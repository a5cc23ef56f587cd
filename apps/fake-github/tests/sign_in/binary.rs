//! The binary: where it listens, and how it ends.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fake-github"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn refuses_an_address_that_is_not_loopback() {
    let output = run(&["--listen", "0.0.0.0:0"]);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("loopback only"), "{error}");
}

#[test]
fn refuses_a_callback_url_that_is_none() {
    let output = run(&["--listen", "127.0.0.1:0", "--callback-url", "/callback"]);
    assert_eq!(output.status.code(), Some(2));
    let output = run(&[
        "--listen",
        "127.0.0.1:0",
        "--callback-url",
        "custom:/callback",
    ]);
    assert_eq!(output.status.code(), Some(1));
}

#[cfg(unix)]
#[test]
fn says_where_it_listens_and_ends_well_when_interrupted() {
    use std::{
        io::{BufRead, BufReader},
        net::{SocketAddr, TcpStream},
        process::Stdio,
    };

    let mut child = Command::new(env!("CARGO_BIN_EXE_fake-github"))
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let addr: SocketAddr = first
        .strip_prefix("GitHub stand-in on http://")
        .unwrap()
        .parse()
        .unwrap();
    assert!(lines.next().unwrap().unwrap().contains("octo-admin (1001)"));
    TcpStream::connect(addr).unwrap();

    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
