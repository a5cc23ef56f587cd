//! The configuration: where values come from, and all that can be wrong with them, told at once.

mod secrets;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forge_crypto::Keyring;
use forge_ratelimit::Quota;
use forge_server::Config;
use forge_server::config::{Inputs, reference};
use secrecy::ExposeSecret;
use tempfile::TempDir;

const SECRET: &str = "hunter2-hunter2-hunter2";

fn keyring() -> String {
    let text = Keyring::generate().unwrap().to_text();
    text.expose_secret().to_owned()
}

/// With everything that is required.
fn complete() -> Inputs {
    with_flags([
        ("public_url", "http://127.0.0.1:3001"),
        ("data", "/nowhere"),
        ("first_admin", "1001"),
        ("github.client_id", "id"),
    ])
    .with("FORGE_GITHUB_CLIENT_SECRET", SECRET)
    .with("FORGE_KEYRING", &keyring())
}

fn with_flags<'a>(flags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Inputs {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Inputs {
        flags: flags.into_iter().map(owned).collect(),
        ..Inputs::default()
    }
}

trait With {
    fn with(self, variable: &str, value: &str) -> Self;
    fn without(self, variable: &str) -> Self;
    fn flag(self, key: &str, value: &str) -> Self;
    fn file(self, folder: &TempDir, toml: &str) -> Self;
}

impl With for Inputs {
    fn with(mut self, variable: &str, value: &str) -> Self {
        self.environment.push((variable.into(), value.into()));
        self
    }

    fn without(mut self, variable: &str) -> Self {
        self.environment.retain(|(name, _)| name != variable);
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.flags.push((key.to_owned(), value.to_owned()));
        self
    }

    fn file(mut self, folder: &TempDir, toml: &str) -> Self {
        self.file = Some(write(folder, "forge.toml", toml));
        self
    }
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    set_mode(&path, 0o600);
    path
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Everything that is wrong, one problem a line.
#[track_caller]
fn problems(inputs: &Inputs) -> Vec<String> {
    let text = match Config::read(inputs) {
        Ok(_) => panic!("there is no problem"),
        Err(problems) => problems.to_string(),
    };
    assert!(!text.contains("hunter2"), "a secret is shown: {text}");
    let (head, list) = text.split_once(":\n").unwrap();
    let lines: Vec<_> = list.lines().map(str::to_owned).collect();
    let said = match lines.len() {
        1 => "the configuration has a problem".to_owned(),
        n => format!("the configuration has {n} problems"),
    };
    assert_eq!(head, said);
    let item = |line: String| line.strip_prefix("  - ").unwrap().to_owned();
    lines.into_iter().map(item).collect()
}

/// The one problem.
#[track_caller]
fn problem(inputs: &Inputs) -> String {
    let problems = problems(inputs);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems[0].clone()
}

#[test]
fn the_defaults_are_those_of_the_reference() {
    let config = Config::read(&complete()).unwrap();
    assert_eq!(config.listen, "127.0.0.1:3001".parse().unwrap());
    assert_eq!(config.limits.web, Quota::WEB);
    assert_eq!(config.sessions.web.max.get(), 3);
    assert_eq!(config.sessions.web.idle, Duration::from_secs(86_400));
    assert_eq!(config.bounds.body, 1024 * 1024);
    assert_eq!(config.github.url.as_str(), "https://github.com/");
    assert_eq!(config.trusted_proxies, []);
    assert!(!config.is_https());
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let missing = problems(&Inputs::default());
    assert_eq!(
        missing,
        [
            "public_url is missing: set it in the file, as FORGE_PUBLIC_URL, or by --set public_url=…",
            "data is missing: set it in the file, as FORGE_DATA, or by --set data=…",
            "first_admin is missing: set it in the file, as FORGE_FIRST_ADMIN, or by --set first_admin=…",
            "github.client_id is missing: set it in the file, as FORGE_GITHUB_CLIENT_ID, or by --set github.client_id=…",
            "github.client_secret is missing: set github.client_secret_file in the file, FORGE_GITHUB_CLIENT_SECRET_FILE or FORGE_GITHUB_CLIENT_SECRET",
            "keyring is missing: set keyring_file in the file, FORGE_KEYRING_FILE or FORGE_KEYRING; `forge key generate FILE` makes one",
        ]
    );
}

#[test]
fn what_is_out_of_bounds_is_told_with_the_bound_and_an_example() {
    let told = |key, value| problem(&complete().flag(key, value));
    assert_eq!(
        told("limits.capacity", "1"),
        "limits.capacity must be a number from 1000 to 100000000 (from the command line): \
         it takes number, such as the default, `100000`"
    );
    assert_eq!(
        told("limits.web", "1/hour burst 9000"),
        "limits.web is not a quota: the bucket takes longer than a year to fill: shorten the \
         period or the burst (from the command line): \
         it takes quota, such as the default, `60/min burst 10`"
    );
}

#[test]
fn what_weakens_the_configuration_is_told_with_its_key_and_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "public_url = \"https://forge.example\"\n\
                hosts = [\"*.forge.example\"]\n\
                proxies.trusted = [\"0.0.0.0/0\"]\n";
    let mut inputs = complete().file(&folder, toml);
    inputs.flags.retain(|(key, _)| key != "public_url");
    let inputs = inputs.flag("cors.origins", "http://localhost:5173");
    let file = folder.path().join("forge.toml");
    let file = file.display();
    assert_eq!(
        Config::read(&inputs).unwrap().warnings,
        [
            format!(
                "proxies.trusted weakens the server: 0.0.0.0/0 is everyone: any client writes its \
                 own address (from {file}): name the networks of the proxies"
            ),
            format!(
                "hosts could be stricter: *.forge.example allows names that nobody may have set \
                 up, or whose owner left (from {file}): list the names"
            ),
            "cors.origins could be stricter: http://localhost:5173 is whatever runs on the user's \
             machine (from the command line): take it out where people use this server, and list \
             origins of your own"
                .to_owned(),
        ]
    );
    let warnings = |inputs: &Inputs| Config::read(inputs).unwrap().warnings;
    // On this machine alone there is nothing to say.
    let here = complete().flag("cors.origins", "http://localhost:5173");
    assert_eq!(warnings(&here), [""; 0]);
    let in_clear = warnings(&complete().flag("hosts", "forge.example"));
    assert_eq!(in_clear.len(), 1, "{in_clear:?}");
    assert!(in_clear[0].starts_with("public_url weakens the server: requests in clear"));
}

#[test]
fn problems_of_every_sort_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = "log.format = \"xml\"\nlog.colour = true\nhosts = [\"a b\"]\n";
    let inputs = with_flags([("listen", "here"), ("lisen", "127.0.0.1:1")])
        .with("FORGE_LIMITS_WEB", "often")
        .with("FORGE_LIMIT_WEB", "60/min burst 10")
        .with("FORGE_KEYRING_FILE", "/nowhere/keyring")
        .flag("keyring", SECRET)
        .flag("sessions.web.idle", "8d")
        .file(&folder, file);
    let problems = problems(&inputs);
    for key in [
        "log.colour ",
        "keyring cannot be read",
        "FORGE_LIMIT_WEB ",
        "lisen ",
        "keyring is a secret",
        "listen ",
        "public_url is missing",
        "data is missing",
        "hosts ",
        "first_admin is missing",
        "github.client_id is missing",
        "github.client_secret is missing",
        "limits.web ",
        "sessions.web.idle ",
        "log.format ",
    ] {
        let found = problems.iter().filter(|problem| problem.starts_with(key));
        assert_eq!(found.count(), 1, "{key} in {problems:#?}");
    }
}

#[test]
fn a_bad_value_names_its_key_its_origin_and_its_fix() {
    for (key, values) in [
        ("listen", &["", "3001", "127.0.0.1", "127.0.0.1:66000"][..]),
        (
            "public_url",
            &["", "127.0.0.1", "http://forge.example", "https://a/b"],
        ),
        ("data", &["", "  "]),
        ("hosts", &["a b", "http://a", "a/b", "good.example, *"]),
        (
            "first_admin",
            &["", "octo-admin", "0", "-1", "9223372036854775808"],
        ),
        ("github.client_id", &["", "a b", "a\u{7f}"]),
        (
            "github.url",
            &["", "github.com", "http://github.example", "https://u:p@a"],
        ),
        ("github.api_url", &["ftp://a", "https://a?b"]),
        (
            "proxies.trusted",
            &["10.0.0.0/33", "localhost", "10.0.0.1/8/8"],
        ),
        ("proxies.header", &["", "a b", "x-forwarded-for, forwarded"]),
        (
            "cors.origins",
            &["*", "null", "forge.example", "https://a/b"],
        ),
        (
            "limits.web",
            &["", "60", "60/min", "0/min burst 1", "1/min burst 0"],
        ),
        ("limits.address", &["1/day burst 1"]),
        ("limits.capacity", &["", "0", "999", "1e9"]),
        ("limits.concurrent", &["", "0", "-1", "many"]),
        ("limits.redis_deadline", &["0s", "11s", "fast"]),
        ("limits.redis_failure", &["", "open", "Share"]),
        ("sessions.web.max", &["0", "-1", "1001", "three"]),
        ("sessions.web.idle", &["", "0s", "59s", "24", "2y"]),
        ("sessions.mcp.absolute", &["forever"]),
        ("sessions.access_token", &["59s", "61m"]),
        ("bounds.body", &["1", "1MB"]),
        ("bounds.request_time", &["0s"]),
        ("bounds.connections", &["0"]),
        ("monitor.never_block", &["everyone"]),
        ("alerts.max_age", &["0s", "599s", "367d"]),
        ("alerts.sink_grace", &["1s", "9m"]),
        ("alerts.spill", &["65535", "67108865", "4 MiB"]),
        ("inspection.mode", &["on", ""]),
        ("inspection.level", &["LOW"]),
        ("inspection.exempt", &["free"]),
        ("metrics.from", &["127.0.0.1:80"]),
        ("log.filter", &["forge=loud"]),
        ("log.format", &["", "TEXT"]),
    ] {
        for value in values {
            let problem = problem(&complete().flag(key, value));
            assert!(
                problem.starts_with(&format!("{key} ")),
                "{value}: {problem}"
            );
            assert!(
                problem.contains(" (from the command line): it takes "),
                "{problem}"
            );
        }
    }
}

#[test]
fn values_that_do_not_fit_together_are_problems_too() {
    let inputs = complete().flag("sessions.mcp.idle", "91d");
    assert_eq!(
        problem(&inputs),
        "sessions.mcp.idle is longer than the session may live (from the command line): \
         make it at most the absolute time"
    );
    let inputs = complete().flag("public_url", "https://forge.example");
    let problem = problem(&inputs);
    assert!(
        problem.starts_with("proxies.trusted is empty, while"),
        "{problem}"
    );
    assert!(Config::read(&inputs.flag("proxies.trusted", "10.0.0.1")).is_ok());
}

#[test]
fn an_unknown_key_names_its_origin_and_what_may_be_meant() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = complete().flag("github.client_idd", "x");
    assert_eq!(
        problem(&inputs),
        "github.client_idd is not a key Forge knows (from the command line): \
         did you mean github.client_id?"
    );
    let inputs = complete().with("FORGE_LISTNE", "x");
    assert_eq!(
        problem(&inputs),
        "FORGE_LISTNE is not a variable Forge knows (from FORGE_LISTNE): \
         did you mean FORGE_LISTEN?"
    );
    let inputs = complete().file(&folder, "[limits]\nwebb = \"1/s burst 1\"\n");
    let path = folder.path().join("forge.toml");
    assert_eq!(
        problem(&inputs),
        format!(
            "limits.webb is not a key Forge knows (from {}): did you mean limits.web?",
            path.display()
        )
    );
    let inputs = complete().flag("nothing.of.the.sort", "x");
    assert!(problem(&inputs).ends_with(": `forge config reference` lists all keys"));
    // Another program's variables are none of ours.
    assert!(Config::read(&complete().with("FORGERY", "x")).is_ok());
}

#[test]
fn a_key_in_control_characters_does_not_reach_the_terminal() {
    let problem = problem(&complete().flag("\u{1b}[31mred\n  - forged", "x"));
    assert!(!problem.contains('\u{1b}'), "{problem:?}");
}

#[test]
fn flags_win_over_variables_over_the_file_over_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |inputs: &Inputs| Config::read(inputs).unwrap().bounds.connections;
    let inputs = complete();
    assert_eq!(bytes(&inputs), 1024);
    let inputs = inputs.file(&folder, "bounds.connections = 11\n");
    assert_eq!(bytes(&inputs), 11);
    let inputs = inputs.with("FORGE_BOUNDS_CONNECTIONS", "12");
    assert_eq!(bytes(&inputs), 12);
    let inputs = inputs.flag("bounds.connections", "13");
    assert_eq!(bytes(&inputs), 13);
    let inputs = inputs.flag("bounds.connections", "14");
    assert_eq!(bytes(&inputs), 14, "the last flag counts");
}

#[test]
fn the_shared_database_is_a_secret_and_checked_before_it_is_used() {
    let url = |inputs: &Inputs| {
        let database = Config::read(inputs).unwrap().database;
        database.map(|database| database.url.expose_secret().to_owned())
    };
    assert_eq!(url(&complete()), None);
    let folder = tempfile::tempdir().unwrap();
    let good = "postgres://forge:hunter2@db.example/forge?sslmode=verify-full";
    let file = write(&folder, "forge-database-url", &format!("{good}\n"));
    let by = |name: &str, value: &str| complete().with(name, value);
    for inputs in [
        by("FORGE_DATABASE_URL", good),
        by("FORGE_DATABASE_URL_FILE", file.to_str().unwrap()),
        by("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap()),
        complete().file(&folder, &format!("[database]\nurl = \"{good}\"\n")),
    ] {
        assert_eq!(url(&inputs).as_deref(), Some(good));
    }
    for bad in [
        "hunter2",
        "mysql://u:hunter2@h/d",
        "postgres://u:hunter2@h/d?what=x",
    ] {
        let problems = Config::read(&by("FORGE_DATABASE_URL", bad)).unwrap_err();
        let text = problems.to_string();
        assert!(
            text.contains("database.url") && !text.contains("hunter2"),
            "{text}"
        );
    }
}

#[test]
fn the_configuration_file_is_the_flags_or_the_variables() {
    let folder = tempfile::tempdir().unwrap();
    let of_variable = write(&folder, "variable.toml", "bounds.connections = 21\n");
    let inputs = complete().with("FORGE_CONFIG", of_variable.to_str().unwrap());
    assert_eq!(Config::read(&inputs).unwrap().bounds.connections, 21);
    let inputs = inputs.file(&folder, "bounds.connections = 22\n");
    assert_eq!(Config::read(&inputs).unwrap().bounds.connections, 22);
}

#[test]
fn the_file_takes_dotted_keys_tables_and_lists() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "\
        listen = \"127.0.0.1:4001\"\n\
        proxies.trusted = [\"10.0.0.0/8\", \"fd00::/8\"]\n\
        [sessions.web]\n\
        max = 5\n\
        idle = \"2h\"\n";
    let config = Config::read(&complete().file(&folder, toml)).unwrap();
    assert_eq!(config.listen.port(), 4001);
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.sessions.web.max.get(), 5);
    assert_eq!(config.sessions.web.idle, Duration::from_secs(7200));
    assert!(Config::read(&complete().file(&folder, "")).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let mut inputs = complete();
    inputs.file = Some(folder.path().join("none.toml"));
    let missing = problem(&inputs);
    assert!(missing.starts_with("config cannot be read: "), "{missing}");
    assert!(
        missing.ends_with(": name a readable TOML file"),
        "{missing}"
    );

    // The line that is broken may hold a secret: its number is told, not its text.
    let toml = format!("listen = \"127.0.0.1:1\"\nkeyring = \"{SECRET}\n");
    let broken = problem(&complete().file(&folder, &toml));
    assert!(broken.contains("is not valid TOML"), "{broken}");
    assert!(broken.contains("(line 2)"), "{broken}");
    // Nothing is said to be missing that the file may well set.
    let alone = Inputs::default().file(&folder, &toml);
    assert_eq!(problem(&alone), broken);
    let twice = format!("keyring = \"{SECRET}\"\nkeyring = \"{SECRET}\"\n");
    problem(&complete().file(&folder, &twice));
    for value in ["1979-05-27", "[[1]]", "1.5", "{}"] {
        let toml = format!("listen = {value}\n");
        let found = complete().file(&folder, &toml);
        assert!(value == "{}" || !problems(&found).is_empty(), "{value}");
    }
}

#[test]
fn a_variable_that_is_no_utf_8_is_a_problem() {
    let mut inputs = complete();
    let bytes = OsString::from_vec(b"\xff".to_vec());
    inputs.environment.push(("FORGE_LISTEN".into(), bytes));
    assert_eq!(
        problem(&inputs),
        "listen is not UTF-8 (from FORGE_LISTEN): write it in UTF-8"
    );
}

#[test]
fn the_reference_page_is_the_one_in_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(path).unwrap();
    let fix = "print it anew: forge config reference > docs/configuration.md";
    assert!(page == reference(), "{fix}");
}
