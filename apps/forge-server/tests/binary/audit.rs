//! `forge audit`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fake_github::{OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::{assert_refuses, browser, run_with, sign_in};
use crate::trial::Trial;

/// Changes the records of the first segment, of which each is preceded by its length in its block.
fn change_records(db: &Connection, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut select = db
        .prepare("SELECT records FROM audit_segment_1 ORDER BY first")
        .unwrap();
    let blocks = select.query_map([], |row| row.get(0)).unwrap();
    let blocks: Vec<Vec<u8>> = blocks.collect::<Result<_, _>>().unwrap();
    let (blocks, mut records) = (blocks.concat(), Vec::new());
    let mut rest = &blocks[..];
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (record, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        records.push(record.to_vec());
        rest = behind;
    }
    change(&mut records);
    let length = |record: &Vec<u8>| (record.len() as u32).to_le_bytes();
    let records = records.iter().flat_map(|r| [&length(r), &r[..]].concat());
    let records: Vec<u8> = records.collect();
    db.execute("DELETE FROM audit_segment_1", []).unwrap();
    let insert = "INSERT INTO audit_segment_1 (first, records) VALUES (1, ?1)";
    db.execute(insert, [records]).unwrap();
}

#[tokio::test]
async fn an_audit_log_is_verified_and_a_change_is_found() {
    let data = TempDir::new().unwrap();
    let trial = Trial::start(&["--data", data.path().to_str().unwrap()]);
    for account in [OCTO_ADMIN, OCTO_USER, OCTO_STRANGER] {
        sign_in(&browser(), &trial, account).await;
    }
    trial.end();
    let log = data.path().join("audit.db");
    let verify = |file: &Path| run_with(&["audit", "verify", file.to_str().unwrap()]);

    let whole = verify(&log);
    assert_eq!(whole.status.code(), Some(0), "{whole:?}");
    assert!(
        whole.stdout.starts_with("5 events, unbroken up to "),
        "{whole:?}"
    );
    assert_eq!(whole.stderr, "");

    type Change = fn(&Connection);
    let changes: [(Change, u64); 4] = [
        (|db| change_records(db, |records| records[4][20] ^= 1), 5),
        (
            |db| {
                let change = "UPDATE audit_words_1 SET word = 'octo-root' WHERE word = 'octo-user'";
                assert_eq!(db.execute(change, []).unwrap(), 1);
            },
            3,
        ),
        (
            |db| change_records(db, |records| records[1].truncate(40)),
            2,
        ),
        (
            |db| change_records(db, |records| drop(records.remove(3))),
            4,
        ),
    ];
    for (change, position) in changes {
        let folder = TempDir::new().unwrap();
        let copy = folder.path().join("audit.db");
        fs::copy(&log, &copy).unwrap();
        let db = Connection::open(&copy).unwrap();
        let triggers = "SELECT group_concat('DROP TRIGGER ' || name, ';')
                        FROM sqlite_schema WHERE type = 'trigger'";
        let drop: String = db.query_row(triggers, [], |row| row.get(0)).unwrap();
        db.execute("DELETE FROM audit_segment_1", []).unwrap_err();
        db.execute_batch(&drop).unwrap();
        change(&db);
        db.close().unwrap();
        assert_refuses(
            &verify(&copy),
            &[&format!("audit record {position} does not verify")],
        );
    }

    let nothing = data.path().join("nothing.db");
    assert_refuses(&verify(&nothing), &["there is no such file"]);
    assert!(!nothing.exists(), "a verification makes nothing");
    let other = data.path().join("keyring");
    assert_refuses(
        &verify(&other),
        &[
            &format!("cannot read {}: it holds no audit log", other.display()),
            "name the database file, such as audit.db",
        ],
    );
    // The folder that holds it is named readily.
    let folder = data.path().to_str().unwrap();
    for arguments in [
        &["audit", "verify", folder][..],
        &["audit", "export", folder],
        &["audit", "prune", folder, "--keep", "400d"],
        &["audit", "import", folder, nothing.to_str().unwrap()],
    ] {
        assert_refuses(
            &run_with(arguments),
            &[
                &format!("cannot read {folder}: it is a folder"),
                "name the database file, such as audit.db",
                "or an archive",
            ],
        );
    }
    // A name drives no terminal, and forges no line.
    let named = data.path().join("a\u{1b}[2J\nforge: intact.db");
    fs::write(&named, "nothing").unwrap();
    for end in ["", ".missing"] {
        let named = format!("{}{end}", named.display());
        let ended = verify(Path::new(&named));
        assert_refuses(&ended, &[r"/a\u{1b}[2J\nforge: intact.db"]);
        assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
    // What begins as a database and is none says so once.
    let broken = data.path().join("broken.db");
    fs::write(&broken, [&b"SQLite format 3\0"[..], &[7; 4096]].concat()).unwrap();
    let ended = verify(&broken);
    assert_refuses(&ended, &[&format!("cannot read {}: ", broken.display())]);
    assert_eq!(
        ended.stderr.matches("not a database").count(),
        1,
        "{ended:?}"
    );
}

#[tokio::test]
async fn an_audit_log_is_proved_archived_searched_and_forgotten() {
    let data = TempDir::new().unwrap();
    let trial = Trial::start(&["--data", data.path().to_str().unwrap()]);
    for account in [OCTO_ADMIN, OCTO_USER, OCTO_STRANGER] {
        sign_in(&browser(), &trial, account).await;
    }
    let ended = trial.end();
    let key = ended.stderr.lines().find_map(|line| {
        let (_, key) = line.split_once("audit checkpoints are signed key=")?;
        Some(key.trim().to_owned())
    });
    let key = key.unwrap();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["audit.db", "audit.checkpoints"] {
        fs::copy(data.path().join(name), path(name)).unwrap();
    }
    let (log, notes) = (path("audit.db"), path("audit.checkpoints"));
    let says = |arguments: &[&str], what: &str| {
        let ended = run_with(arguments);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(ended.stdout.contains(what), "{what}: {ended:?}");
        ended.stdout
    };

    // With the public key alone, and the checkpoints that left the database.
    let before = fs::read(&log).unwrap();
    let proved = &[
        "audit",
        "verify",
        &log,
        "--key",
        &key,
        "--checkpoints",
        &notes,
    ];
    says(proved, "as 2 signed checkpoints have it");
    assert_eq!(fs::read(&log).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    let cut = path("cut.db");
    fs::copy(&log, &cut).unwrap();
    let db = Connection::open(&cut).unwrap();
    db.execute_batch("DROP TRIGGER audit_segment_1_no_DELETE; DELETE FROM audit_checkpoints")
        .unwrap();
    change_records(&db, |records| records.truncate(4));
    db.close().unwrap();
    says(&["audit", "verify", &cut], "4 events");
    let found = run_with(&[
        "audit",
        "verify",
        &cut,
        "--key",
        &key,
        "--checkpoints",
        &notes,
    ]);
    assert_refuses(&found, &["audit record 5 does not verify: Missing"]);
    let other = key.replace("127.0.0.1", "other");
    let refused = run_with(&["audit", "verify", &log, "--key", &other]);
    assert_refuses(&refused, &["not the public key of a log"]);

    let refused = run_with(&["audit", "verify", &log, "--key", "bogus"]);
    assert_refuses(&refused, &["--key is not", "`<origin>+<id>+<key>`"]);

    // What cannot be read is named.
    let (nope, new) = (path("nope"), path("new.db"));
    let folder_name = path("");
    for arguments in [
        &["verify", &log, "--key", &key, "--checkpoints", &nope][..],
        &["verify", &nope],
        &["import", &nope, &new],
    ] {
        let refused = run_with(&[&["audit"], arguments].concat());
        assert_refuses(&refused, &[&format!("cannot read {nope}: ")]);
    }
    for arguments in [
        &["verify", &folder_name][..],
        &["import", &folder_name, &new],
    ] {
        let refused = run_with(&[&["audit"], arguments].concat());
        assert_refuses(&refused, &[&format!("cannot read {folder_name}: ")]);
    }
    assert!(!Path::new(&new).exists());
    let refused = run_with(&["audit", "export", &log, "--kind", "nope"]);
    assert_refuses(&refused, &["--kind is one of authentication, "]);

    // An archive verifies alone, and is a database again.
    let archive = path("audit.jsonl.zst");
    says(&["audit", "archive", &log, &archive], "the events 1 to 5");
    assert_refuses(
        &run_with(&["audit", "archive", &log, &archive]),
        &[&format!("{archive} is there already: name a new file")],
    );
    let later = path("later.jsonl.zst");
    assert_refuses(
        &run_with(&["audit", "archive", &log, &later, "--after", "6"]),
        &["--after 6 is beyond the log, which ends at 5"],
    );
    assert!(!Path::new(&later).exists());
    says(
        &["audit", "archive", &log, &later, "--after", "5"],
        "the events 1 to 5; 5 is brought down to 0, a multiple of 256",
    );
    says(
        &["audit", "verify", &archive, "--key", &key],
        "5 events, unbroken",
    );
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path("bad"), bytes).unwrap();
    assert_ne!(
        run_with(&["audit", "verify", &path("bad")]).status.code(),
        Some(0)
    );
    let copy = path("copy.db");
    says(&["audit", "import", &archive, &copy], "5 events imported");
    for made in [&archive, &copy] {
        let mode = fs::metadata(made).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{made}");
    }
    says(
        &["audit", "verify", &copy, "--key", &key],
        "5 events, unbroken",
    );
    let found = says(
        &[
            "audit",
            "export",
            &copy,
            "--format",
            "csv",
            "--action",
            "auth.sign_in",
        ],
        "octo-stranger",
    );
    assert_eq!(
        found.lines().count(),
        4,
        "a header and three events: {found}"
    );
    says(
        &["audit", "export", &log, "--format", "ocsf", "--after", "4"],
        "class_uid",
    );
    let refused = run_with(&["audit", "export", &log, "--format", "xml"]);
    assert_refuses(&refused, &["the formats are"]);

    // A person is forgotten, and the rest verifies.
    let person = OCTO_STRANGER.to_string();
    let erase = [
        "audit",
        "erase",
        &log,
        "--actor",
        &person,
        "--why",
        "request 7",
    ];
    says(&erase, "1 events erased");
    says(
        &[
            "audit",
            "verify",
            &log,
            "--key",
            &key,
            "--checkpoints",
            &notes,
        ],
        "0 pruned and 1 erased",
    );
    let left = says(&["audit", "export", &log], "audit.erase");
    assert!(!left.contains("octo-stranger") && left.contains("request 7"));
    says(
        &["audit", "prune", &log, "--keep", "400d"],
        "0 events dropped",
    );
    assert_refuses(
        &run_with(&["audit", "prune", &log, "--keep", "forever"]),
        &["need no pruning"],
    );
}
