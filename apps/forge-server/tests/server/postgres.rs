//! What holds on SQLite holds on PostgreSQL; and what several nodes on one database show.

use std::ffi::OsString;
use std::process::Command;

use fake_github::{Endpoint, OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use forge_crypto::{Keyring, RootKey};
use forge_server::{AccountError, Allowed, Clock, Config, Forge, Pool, Role, StartError};
use reqwest::Method;
use secrecy::ExposeSecret;
use test_support::Postgres;

use crate::support::{Browser, Node, ROOMY, Trial, agent, postgres, seconds, text};

/// Tests of the other files, with a PostgreSQL database.
macro_rules! on_postgres {
    ($($file:ident { $($name:ident)* })*) => {
        $(mod $file {
            $(#[test]
            fn $name() {
                crate::support::postgres::with(crate::$file::$name);
            })*
        })*
    };
}

on_postgres! {
    alerts {
        a_mail_that_waits_is_sent_after_a_restart
        a_silence_from_the_command_line_holds_in_the_server
    }
    bans {
        a_ban_is_listed_and_lifted_from_the_command_line_beside_the_server
        a_ban_outlives_a_restart
        a_user_is_banned_has_to_sign_in_again_and_has_smaller_limits
        the_sixth_failure_closes_the_door_until_an_admin_opens_it
    }
    accounts {
        an_account_is_added_once
        an_account_that_is_renamed_stays_in_and_its_old_login_opens_nothing
        the_first_admin_of_the_configuration_counts_while_there_is_none
        the_last_admin_cannot_be_removed
        whoever_is_removed_is_out_with_the_next_request
    }
    callbacks {
        a_callback_works_once
        a_sign_in_may_take_ten_minutes
    }
    device {
        a_terminal_is_signed_in_after_the_person_has_answered
        an_expiring_github_token_is_refreshed_by_one_request_at_a_time
        denied_expired_guessed_and_not_allowed_are_refused
        who_polls_too_fast_is_slowed_down_before_github_hears_of_it
    }
    me {
        a_session_ends_when_it_is_not_used
        tells_the_principal_behind_a_session
    }
    mcp {
        a_token_ends_with_its_session_in_the_midst_of_a_conversation
        the_keys_that_sign_access_tokens_are_published
    }
    organisations {
        a_member_signs_in_as_a_user
        what_is_configured_no_more_lets_nobody_in
        who_has_left_is_out_when_github_is_asked_again
    }
    secrets {
        another_keyring_does_not_open_the_database
        no_file_holds_a_secret_in_clear
    }
    sessions {
        a_refresh_token_is_exchanged_for_the_next
        a_refresh_token_that_comes_twice_ends_its_session
        all_my_other_sessions_end_at_once
        my_sessions_are_listed_and_nobody_elses
        sessions_and_tokens_outlive_a_restart
        signing_out_ends_the_session_and_clears_the_browser
        the_fourth_session_takes_the_place_of_the_oldest
    }
    silences {
        a_silence_is_made_listed_and_ended_by_an_admin_and_on_record
        what_was_given_up_is_listed_and_tried_again
    }
    sign_in {
        a_strangers_token_is_given_back_to_github
        admin_and_user_are_in_each_with_a_session_of_their_own
        two_sign_ins_of_one_browser_do_not_mix
    }
}

/// Runs a test that is about PostgreSQL alone.
macro_rules! tests {
    ($($(#[$doc:meta])* async fn $name:ident() $body:block)*) => {
        $($(#[$doc])* #[test]
        fn $name() {
            #[tokio::main(flavor = "current_thread")]
            async fn test() $body
            postgres::with(test);
        })*
    };
}

mod decisions;

/// A server, and another beside it.
async fn nodes() -> (Trial, Node) {
    let trial = Trial::roomy().await;
    let node = trial.another_node().await;
    (trial, node)
}

/// Asks until the answer has that status. Who waits for what never comes is ended by the harness.
async fn until(browser: &Browser, path: &str, status: u16) {
    let asked = async {
        while browser.get(path).await.status != status {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(seconds(60), asked).await.unwrap();
}

tests! {
    async fn a_sign_in_begun_at_one_node_is_finished_at_another() {
        let (trial, node) = nodes().await;
        let browser = trial.browser();
        let callback = trial.begin(&browser, OCTO_USER).await;
        let there = node.browser(&browser);
        assert_eq!(there.get(&callback).await.expect(303).location(), "/");
        let me = there.get("/api/me").await.expect(200).json();
        assert_eq!(me["login"], "octo-user");
        // Once, whichever node it comes to.
        let again = trial.browser();
        let [(name, value)] = browser.sign_ins().try_into().unwrap();
        again.plant(&format!("{name}={value}"));
        assert_ne!(again.get(&callback).await.status, 303);
        node.end().await;
    }

    async fn a_session_is_good_at_each_node_and_ends_at_each_at_once() {
        let (trial, node) = nodes().await;
        let user = trial.sign_in(OCTO_USER).await;
        let tokens = agent(&user, "my-agent").await;
        let there = node.browser(&user);
        let me = there.get("/api/me").await.expect(200).json();
        // Signed by one node, accepted by the other.
        let token = text(&tokens, "access_token");
        let fresh = node.browser(&trial.browser());
        fresh.with_token(Method::GET, "/api/me", token).await.expect(200);

        // The time stands: what the other node remembers is never over by itself.
        let id = text(&me["session"], "id");
        user.delete(&format!("/api/sessions/{id}")).await.expect(204);
        until(&there, "/api/me", 401).await;
        let another = trial.sign_in(OCTO_USER).await;
        let there = node.browser(&another);
        there.get("/api/me").await.expect(200);
        another.delete("/api/sessions").await.expect(204);
        let ended = async {
            while fresh.with_token(Method::GET, "/api/me", token).await.status != 401 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(seconds(60), ended).await.unwrap();
        node.end().await;
    }

    async fn whoever_is_removed_at_one_node_is_out_at_the_other() {
        let (trial, node) = nodes().await;
        let admin = trial.sign_in(OCTO_ADMIN).await;
        let user = trial.sign_in(OCTO_USER).await;
        let there = node.browser(&user);
        there.get("/api/me").await.expect(200);
        admin.delete(&format!("/api/admin/users/{OCTO_USER}")).await.expect(204);
        // What a request may do is looked up with it.
        there.get("/api/me").await.problem(401);
        node.end().await;
    }

    async fn of_two_admins_removed_at_once_by_two_nodes_one_stays() {
        let (trial, node) = nodes().await;
        let second = Allowed { github_id: OCTO_STRANGER, role: Role::Admin, login: None };
        for _ in 0..10 {
            let (here, there) = (trial.app.accounts.clone(), node.app.accounts.clone());
            let list = here.allowed().await.unwrap();
            if !list.iter().any(|one| one.github_id == OCTO_ADMIN) {
                let first = Allowed { github_id: OCTO_ADMIN, ..second.clone() };
                here.allow(&first, OCTO_STRANGER).await.unwrap();
            }
            if !list.iter().any(|one| one.github_id == OCTO_STRANGER) {
                here.allow(&second, OCTO_ADMIN).await.unwrap();
            }
            let (one, other) = tokio::join!(
                tokio::spawn(async move { here.disallow(OCTO_ADMIN).await }),
                tokio::spawn(async move { there.disallow(OCTO_STRANGER).await }),
            );
            let results = [one.unwrap(), other.unwrap()];
            let gone = results.iter().filter(|result| matches!(result, Ok(true)));
            assert_eq!(gone.count(), 1, "{results:?}");
            let kept = results.iter().filter(|result| matches!(result, Err(AccountError::LastAdmin)));
            assert_eq!(kept.count(), 1, "{results:?}");
        }
        node.end().await;
    }

    async fn a_terminal_may_poll_any_node() {
        let (trial, node) = nodes().await;
        let (here, there) = (trial.browser(), node.browser(&trial.browser()));
        let begun = crate::device::begin(&here).await;
        let code = text(&begun, "device_code");
        crate::device::answer(&trial, text(&begun, "user_code"), OCTO_USER, "authorize").await;
        let (status, tokens) = crate::device::poll(&there, code, "my-terminal").await;
        assert_eq!(status, 200, "{tokens}");
        let token = text(&tokens, "access_token");
        here.with_token(Method::GET, "/api/me", token).await.expect(200);
        let used = crate::device::poll(&here, code, "my-terminal").await;
        assert_eq!(used, crate::device::refused("invalid_grant"));

        // Too early at one is too early at the other, and GitHub hears of one poll.
        let begun = crate::device::begin(&there).await;
        let code = text(&begun, "device_code");
        let asked = trial.github().requests(Endpoint::Token);
        let (one, other) = tokio::join!(
            crate::device::poll(&here, code, "my-terminal"),
            crate::device::poll(&there, code, "my-terminal"),
        );
        let answers = [one, other];
        for error in ["authorization_pending", "slow_down"] {
            assert!(answers.contains(&crate::device::refused(error)), "{answers:?}");
        }
        assert_eq!(trial.github().requests(Endpoint::Token), asked + 1);
        node.end().await;
    }

    async fn an_expiring_github_token_is_refreshed_once_by_all_nodes() {
        let trial = Trial::with_expiring_tokens().await;
        let node = trial.another_node().await;
        trial.sign_in(OCTO_ADMIN).await;
        trial.clock.advance(seconds(8 * 3600));
        let asked = trial.github().requests(Endpoint::Token);
        trial.github().delay(Endpoint::Token, seconds(3600));
        let all: Vec<_> = [&trial.app, &node.app, &trial.app, &node.app]
            .map(|app| {
                let (accounts, github) = (app.accounts.clone(), app.github.clone());
                tokio::spawn(async move { accounts.fresh_token(&github, OCTO_ADMIN).await })
            })
            .into();
        // GitHub takes its time until the other node wants the same.
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let pool = sqlx_pool().await;
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&pool).await.unwrap() == 0 {
            assert!(trial.github().requests(Endpoint::Token) <= asked + 1);
        }
        trial.github().clear();
        let mut tokens = std::collections::HashSet::new();
        for one in all {
            let token = one.await.unwrap().unwrap().unwrap();
            tokens.insert(token.expose_secret().to_owned());
        }
        assert_eq!(tokens.len(), 1);
        assert_eq!(trial.github().requests(Endpoint::Token), asked + 1);
        node.end().await;
    }

    async fn the_audit_logs_of_the_nodes_lie_side_by_side() {
        let settings = ROOMY.into_iter().chain([("database.audit", "true")]);
        let trial = Trial::start_with(settings).await;
        let node = trial.another_node().await;
        let admin = trial.sign_in(OCTO_ADMIN).await;
        let there = node.browser(&admin);
        there.get("/api/admin/users").await.expect(200);
        let events = trial.audit(&admin).await;
        assert!(events.iter().any(|event| event["action"] == "auth.sign_in"));
        assert!(!trial.data().join("audit.db").exists());
        for app in [&trial.app, &node.app] {
            app.audit.flush().await.unwrap();
            app.audit.verify().await.unwrap();
        }
        let (mut seen, mut path) = (Vec::new(), "/api/admin/audit?nodes=all&limit=3".to_owned());
        loop {
            let page = admin.get(&path).await.expect(200).json();
            let events = page["events"].as_array().unwrap().clone();
            assert!(events.is_sorted_by_key(|event| text(event, "time").to_owned()));
            seen.extend(events.into_iter().rev());
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/api/admin/audit?nodes=all&limit=3&cursor={next}");
            // It leads on through all logs, not through one; and who looks adds newer events.
            let alone = format!("/api/admin/audit?limit=3&cursor={next}");
            admin.get(&alone).await.problem(400);
        }
        assert!(seen.is_sorted_by(|a, b| text(a, "time") >= text(b, "time")));
        let origin = |action: &str| {
            let event = seen.iter().find(|event| event["action"] == action).unwrap();
            text(event, "origin").to_owned()
        };
        assert_ne!(origin("auth.sign_in"), origin("admin.users.read"));
        let places = seen.iter().map(|event| (text(event, "origin"), event["seq"].as_u64()));
        let places: std::collections::HashSet<_> = places.collect();
        assert_eq!(places.len(), seen.len());
        let found = admin.get("/api/admin/audit?nodes=all&text=admin%2Fusers").await;
        let found = found.expect(200).json();
        assert_eq!(found["events"].as_array().unwrap().len(), 1, "{found}");
        let pool = sqlx_pool().await;
        let merged = "SELECT action, min(origin) FROM audit_merged \
                      WHERE action IN ('auth.sign_in', 'admin.users.read') GROUP BY 1";
        let merged: Vec<(String, String)> = sqlx::query_as(merged).fetch_all(&pool).await.unwrap();
        assert_eq!(merged.len(), 2, "{merged:?}");
        assert_ne!(merged[0].1, merged[1].1);
        node.end().await;
        trial.stop().ended().await;

        // Whoever has the configuration verifies each.
        let url = postgres::url().unwrap();
        let shared = |arguments: &[&str]| {
            let mut command = clean();
            command.args(["audit", "shared"]).args(arguments);
            run(command.env("FORGE_DATABASE_URL", &url))
        };
        let list = shared(&[]).unwrap();
        let names: Vec<_> = list.lines().map(|line| line.split("  ").next().unwrap()).collect();
        assert_eq!(names.len(), 2, "{list}");
        for name in names {
            let said = shared(&[name]).unwrap();
            assert!(said.contains("events, unbroken up to"), "{said}");
        }
        assert!(shared(&["another"]).is_err());
        assert_eq!(shared(&[]).unwrap(), list);
    }

    async fn the_keys_change_while_the_server_runs() {
        let mut trial = Trial::roomy().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keyring");
        let old = keyring_of(&trial);
        old.create_file(&file).unwrap();
        let (old_id, new_id) = (old.primary().id().to_string(), {
            let key = RootKey::generate().unwrap();
            let id = key.id();
            Keyring::change_file(&file, |ring| ring.add(key, "new")).unwrap();
            id.to_string()
        });
        let key = |arguments: &[&str]| forge_key(&file, arguments);
        trial = restarted_with(trial, &file).await;
        let admin = trial.sign_in(OCTO_ADMIN).await;
        trial.sign_in(OCTO_USER).await;
        key(&["promote", &new_id]).unwrap();

        // The server still seals under the old key, and opens what is sealed under the new one.
        let status = key(&["status"]).unwrap();
        assert!(status.contains(&format!("{old_id}  retired              3 values")), "{status}");
        let refused = key(&["retire", &old_id]).unwrap_err();
        assert!(refused.contains("still protects 3 stored values"), "{refused}");
        let (rewrapped, ()) = tokio::join!(
            tokio::task::spawn_blocking({
                let file = file.clone();
                let url = postgres::url().unwrap();
                move || forge_key_at(&url, &file, &["rewrap"])
            }),
            async {
                for _ in 0..5 {
                    trial.sign_in(OCTO_USER).await;
                    for account in [OCTO_ADMIN, OCTO_USER] {
                        assert!(trial.app.accounts.token(account).await.unwrap().is_some());
                    }
                }
            }
        );
        let rewrapped = rewrapped.unwrap().unwrap();
        assert!(rewrapped.contains(" sealed anew, 0 skipped, "), "{rewrapped}");
        admin.get("/api/me").await.expect(200);

        let trial = restarted_with(trial, &file).await;
        key(&["rewrap"]).unwrap();
        let gone = key(&["retire", &old_id]).unwrap();
        assert!(gone.contains("is gone"), "{gone}");
        let trial = restarted_with(trial, &file).await;
        for account in [OCTO_ADMIN, OCTO_USER] {
            assert!(trial.app.accounts.token(account).await.unwrap().is_some());
        }
        admin.get("/api/me").await.expect(200);
        let dump = postgres::dump().unwrap();
        assert!(dump.contains(&format!("fv1.{new_id}.")) && !dump.contains(&old_id));
    }

    async fn keys_are_counted_where_the_server_keeps_them_whatever_folder_is_named() {
        let trial = Trial::roomy().await;
        trial.sign_in(OCTO_USER).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keyring");
        keyring_of(&trial).create_file(&file).unwrap();
        // A folder with a database of before, in which nothing is sealed any more.
        drop(forge_server::Database::open(folder.path()).await.unwrap());
        let data = folder.path().to_str().unwrap();
        let status = forge_key(&file, &["status", "--data", data]).unwrap();
        assert!(status.contains("2 values"), "{status}");
        let config = folder.path().join("forge.toml");
        let url_file = folder.path().join("url");
        std::fs::write(&url_file, postgres::url().unwrap() + "\n").unwrap();
        let text = format!("[database]\nurl_file = {url_file:?}\n");
        std::fs::write(&config, text).unwrap();
        let mut command = forge(&file, &["status", "--data", data]);
        let status = run(command.arg("--config").arg(&config)).unwrap();
        assert!(status.contains("2 values"), "{status}");
    }

    async fn a_database_that_cannot_be_used_is_named_by_its_setting_and_the_password_by_nobody() {
        let trial = Trial::start().await;
        let url = postgres::url().unwrap();
        let (head, tail) = url.split_once("postgres@").unwrap();
        let closed = test_support::listener().await;
        let free = closed.local_addr().unwrap().port();
        drop(closed);
        for bad in [
            format!("{head}postgres:hunter22@127.0.0.1:{free}/forge"),
            format!("{head}nobody:hunter22@{tail}"),
            format!("{head}postgres:hunter22@{tail}_is_missing"),
            // It has no TLS.
            format!("{head}postgres:hunter22@{tail}?sslmode=require"),
        ] {
            let mut inputs = trial.inputs.clone();
            inputs.environment.retain(|(name, _)| name != "FORGE_DATABASE_URL");
            inputs.environment.push(("FORGE_DATABASE_URL".into(), (&bad).into()));
            let config = Config::read(&inputs).unwrap();
            assert!(!format!("{config:?}").contains("hunter22"));
            let error = Forge::build(config, Clock::standing()).await.unwrap_err();
            assert!(matches!(error, StartError::DatabaseUrl(_)), "{error:?}");
            let mut said = format!("{error} {error:?}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                said += &format!(": {cause}");
                source = cause.source();
            }
            assert!(said.contains("database.url") && !said.contains("hunter22"), "{said}");
        }
    }

    async fn a_newer_schema_is_not_touched() {
        let trial = Trial::start().await;
        let inputs = trial.inputs.clone();
        let pool = sqlx_pool().await;
        let newer = "INSERT INTO server_migrations \
                     (version, description, success, checksum, execution_time) \
                     VALUES (99, 'of tomorrow', true, ''::bytea, 0)";
        sqlx::query(newer).execute(&pool).await.unwrap();
        drop(trial.stop().ended().await);
        let config = Config::read(&inputs).unwrap();
        let error = Forge::build(config, Clock::standing()).await.unwrap_err();
        assert!(matches!(error, StartError::DatabaseUrl(_)), "{error:?}");
    }

    async fn a_database_that_is_read_only_is_down() {
        let trial = Trial::roomy().await;
        let health = async |status: u16| {
            trial.clock.advance(seconds(3));
            trial.browser().probe("/readyz").await.expect(status);
            trial.browser().probe("/livez").await.expect(200);
        };
        health(200).await;
        let pool = sqlx_pool().await;
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        for (mode, status) in [("on", 503), ("off", 200)] {
            let set = format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET \
                               default_transaction_read_only = {mode}', current_database()); END $$");
            // Those who are connected keep what they had; so does this one.
            sqlx::query("SET default_transaction_read_only = off").execute(&pool).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&pool).await.unwrap();
            sqlx::query(cut).execute(&pool).await.unwrap();
            health(status).await;
        }
    }
}

#[tokio::test]
async fn a_database_that_goes_and_comes_back_takes_no_session_with_it() {
    let Some(mut instance) = test_support::require(Postgres::start()) else {
        return;
    };
    let url = instance.create_database();
    let trial = Trial::at(&url).await;
    let user = trial.sign_in(OCTO_USER).await;
    let health = async |status: u16| {
        trial.clock.advance(seconds(6));
        trial.browser().probe("/readyz").await.expect(status);
        trial.browser().probe("/livez").await.expect(200);
    };
    health(200).await;
    instance.stop();
    health(503).await;
    let newcomer = trial.browser();
    let (me, login) = tokio::join!(user.get("/api/me"), newcomer.get("/auth/github/login"));
    me.problem(503);
    login.problem(503);
    instance.restart();
    health(200).await;
    user.get("/api/me").await.expect(200);
    // And whoever is ended elsewhere is heard of again.
    let node = trial.another_node().await;
    let there = node.browser(&user);
    there.get("/api/me").await.expect(200);
    user.post("/auth/logout").await;
    until(&there, "/api/me", 401).await;
    node.end().await;
    trial.stop().ended().await;
}

#[tokio::test]
async fn a_database_on_another_machine_is_spoken_to_by_tls_alone() {
    let Some(mut instance) = test_support::require(Postgres::start()) else {
        return;
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    instance.restart_with_tls(&made.cert.pem(), &made.signing_key.serialize_pem());
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let url = instance.create_database();
    let named = url.replace("127.0.0.1", "localhost");
    let trusted = format!("sslrootcert={}", authority.display());
    let good = format!("{named}?sslmode=verify-full&{trusted}");
    let trial = Trial::at(&good).await;
    let user = trial.sign_in(OCTO_USER).await;
    user.get("/api/me").await.expect(200);
    let Pool::Postgres(pool) = trial.app.database.pool() else {
        panic!("another database");
    };
    let secure = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                  WHERE application_name = 'forge'";
    let secure: bool = sqlx::query_scalar(secure).fetch_one(pool).await.unwrap();
    assert!(secure);
    for bad in [
        // Another name, and another authority.
        format!("{url}?sslmode=verify-full&{trusted}"),
        format!("{named}?sslmode=verify-full"),
    ] {
        let error = forge_server::Database::connect(&bad.into(), 4).await;
        let error = error.unwrap_err();
        assert!(matches!(error, StartError::DatabaseUrl(_)), "{error:?}");
    }
}

async fn sqlx_pool() -> sqlx::PgPool {
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(1);
    options.connect(&postgres::url().unwrap()).await.unwrap()
}

fn keyring_of(trial: &Trial) -> Keyring {
    let text = trial.app.config.keyring.to_text();
    Keyring::parse(text.expose_secret()).unwrap()
}

/// The server, started again with the keyring in that file.
async fn restarted_with(mut trial: Trial, file: &std::path::Path) -> Trial {
    let environment = &mut trial.inputs.environment;
    environment.retain(|(name, _)| !name.to_string_lossy().starts_with("FORGE_KEYRING"));
    let name = OsString::from("FORGE_KEYRING_FILE");
    environment.push((name, file.as_os_str().to_owned()));
    trial.restart().await
}

/// `forge key …` with that keyring, and the database of this test by the environment.
fn forge_key(file: &std::path::Path, arguments: &[&str]) -> Result<String, String> {
    forge_key_at(&postgres::url().unwrap(), file, arguments)
}

fn forge_key_at(url: &str, file: &std::path::Path, arguments: &[&str]) -> Result<String, String> {
    run(forge(file, arguments).env("FORGE_DATABASE_URL", url))
}

fn forge(file: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = clean();
    command.arg("key").args(arguments);
    command.arg("--keyring").arg(file);
    command
}

/// The binary, with an environment that says nothing to it.
fn clean() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("FORGE_") || name == "CREDENTIALS_DIRECTORY" {
            command.env_remove(&*name);
        }
    }
    command
}

fn run(command: &mut Command) -> Result<String, String> {
    let done = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    match done.status.success() {
        true => Ok(text(done.stdout)),
        false => Err(text(done.stderr)),
    }
}
