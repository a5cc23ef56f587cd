//! The private PostgreSQL and Redis instances: they serve, they stop, and they outlive nobody.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    panic,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use test_support::{Postgres, Redis, Unavailable, require};

#[test]
fn postgres_gives_each_test_a_database_of_its_own() {
    let Some(postgres) = require(Postgres::shared()) else {
        return;
    };
    let (one, other) = (postgres.create_database(), postgres.create_database());
    assert_ne!(one, other);
    for url in [one, other] {
        let (_, name) = url.rsplit_once('/').unwrap();
        let count = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
        assert_eq!(postgres.query(&count), "1");
    }
    let again = require(Postgres::shared()).unwrap();
    assert_eq!(postgres.url(), again.url());
}

#[test]
fn postgres_stops_and_comes_back_with_its_data() {
    let Some(mut postgres) = require(Postgres::start()) else {
        return;
    };
    let (url, addr) = (postgres.url(), address(&postgres.url()));
    postgres.query("CREATE TABLE kept AS SELECT 7 AS number");

    postgres.stop();
    assert!(TcpStream::connect(addr).is_err());

    postgres.restart();
    assert_eq!(postgres.url(), url);
    assert_eq!(postgres.query("SELECT number FROM kept"), "7");
}

#[test]
fn postgres_answers_nothing_while_it_is_paused() {
    let Some(mut postgres) = require(Postgres::start()) else {
        return;
    };
    // A connection that exists already has a server process of its own, which must stop too.
    let mut open = TcpStream::connect(address(&postgres.url())).unwrap();
    open.write_all(b"\x00\x00\x00\x17\x00\x03\x00\x00user\0postgres\0\0")
        .unwrap();
    let greeting = read_until(&mut open, b"Z\x00\x00\x00\x05I");
    assert_eq!(greeting[0], b'R');

    postgres.pause();
    let query = b"Q\x00\x00\x00\x0dSELECT 1\0";
    open.write_all(query).unwrap();
    assert!(is_silent(&mut open));

    postgres.resume();
    let answer = read_until(&mut open, b"Z\x00\x00\x00\x05I");
    assert_eq!(answer[0], b'T');
}

#[test]
fn redis_answers_stops_and_comes_back() {
    let Some(mut redis) = require(Redis::start()) else {
        return;
    };
    let (url, addr) = (redis.url(), address(&redis.url()));
    assert_eq!(ping(addr).unwrap(), "+PONG\r\n");

    redis.stop();
    assert!(ping(addr).is_err());

    redis.restart();
    assert_eq!(redis.url(), url);
    assert_eq!(ping(addr).unwrap(), "+PONG\r\n");
}

#[test]
fn redis_answers_nothing_while_it_is_paused() {
    let Some(mut redis) = require(Redis::start()) else {
        return;
    };
    redis.pause();
    let mut open = TcpStream::connect(address(&redis.url())).unwrap();
    open.write_all(b"PING\r\n").unwrap();
    assert!(is_silent(&mut open));

    redis.resume();
    assert_eq!(read_until(&mut open, b"\r\n"), b"+PONG\r\n");
}

#[test]
fn a_panicking_test_leaves_nothing_behind() {
    let Some(redis) = require(Redis::start()) else {
        return;
    };
    let (addr, folder) = (address(&redis.url()), redis.folder().to_owned());
    let caught = panic::catch_unwind(move || {
        let _redis = redis;
        panic::resume_unwind(Box::new("the test fails"));
    });
    assert!(caught.is_err());
    assert!(TcpStream::connect(addr).is_err());
    assert!(!folder.exists());
}

#[test]
fn a_killed_test_process_leaves_nothing_behind() {
    let (Some(_), Some(_)) = (require(Postgres::shared()), require(Redis::start())) else {
        return;
    };
    let mut child = itself("holds_instances_until_it_is_killed")
        .arg("--nocapture")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let held: Vec<(SocketAddr, PathBuf)> = lines
        .map_while(Result::ok)
        .filter_map(|line| {
            let (url, folder) = line.strip_prefix("holds ")?.split_once(' ')?;
            Some((address(url), PathBuf::from(folder)))
        })
        .take(2)
        .collect();
    assert_eq!(held.len(), 2);
    for (addr, folder) in &held {
        assert!(TcpStream::connect(addr).is_ok());
        assert!(folder.exists());
    }

    child.kill().unwrap();
    child.wait().unwrap();
    for (addr, folder) in held {
        eventually(|| TcpStream::connect(addr).is_err() && !folder.exists());
    }
}

/// Not a test: the process that [`a_killed_test_process_leaves_nothing_behind`] kills.
#[test]
#[ignore = "run by another test"]
fn holds_instances_until_it_is_killed() {
    let postgres = Postgres::shared().unwrap();
    let redis = Redis::start().unwrap();
    println!("holds {} {}", postgres.url(), postgres.folder().display());
    println!("holds {} {}", redis.url(), redis.folder().display());
    let _ = io::stdin().read(&mut [0]);
}

#[test]
fn what_is_missing_is_left_out_with_one_line_and_not_in_ci() {
    let run = |name, value| {
        itself("needs_what_is_not_installed_twice")
            .env_remove("CI")
            .env_remove("FORGE_TEST_REQUIRE")
            .env(name, value)
            .output()
            .unwrap()
    };
    let said = "tests left out: hen's-tooth is not installed \
                (`apt-get install hen` brings it)\n";

    let at_home = run("CI", "");
    assert!(at_home.status.success());
    assert_eq!(String::from_utf8(at_home.stderr).unwrap(), said);

    for (name, value) in [("CI", "true"), ("FORGE_TEST_REQUIRE", "1")] {
        let in_ci = run(name, value);
        assert!(!in_ci.status.success());
    }
}

/// Not a test: the process that
/// [`what_is_missing_is_left_out_with_one_line_and_not_in_ci`] looks at.
#[test]
#[ignore = "run by another test"]
fn needs_what_is_not_installed_twice() {
    for _ in 0..2 {
        let missing: Result<(), _> = Err(Unavailable::new("hen's-tooth", "hen"));
        assert!(require(missing).is_none());
    }
}

/// This test program, to run `ignored_test` alone.
fn itself(ignored_test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", ignored_test, "--ignored"]);
    command
}

fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").unwrap();
    let host = rest.split('/').next().unwrap();
    host.rsplit('@').next().unwrap().parse().unwrap()
}

fn ping(addr: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    stream.write_all(b"PING\r\n")?;
    Ok(String::from_utf8(read_until(&mut stream, b"\r\n")).unwrap())
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut read = Vec::new();
    while !read.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
    read
}

/// Nothing comes for a while. A server that runs would have answered; one that is slow makes this
/// pass too early, never fail.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    stream.read(&mut [0]).is_err()
}

fn eventually(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 30 seconds");
        thread::sleep(Duration::from_millis(20));
    }
}
