//! What the documentation says is shown by a test, is a test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The tests of each file, by the name it has in the table: `file`, or `server/file` of this crate.
fn tests() -> BTreeMap<String, Vec<String>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let session = here.join("../../crates/forge-session");
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (prefix, folder) in [
        ("server/", here.join("src")),
        ("server/", here.join("tests/server")),
        ("", session.join("src")),
        ("", session.join("tests")),
    ] {
        for (stem, path) in sources(&folder) {
            let found = names(&fs::read_to_string(path).unwrap());
            tests
                .entry(format!("{prefix}{stem}"))
                .or_default()
                .extend(found);
        }
    }
    tests
}

/// The Rust files below a folder: what each is called in the table, and where it is. A file of a
/// folder that is a test of its own goes by the folder's name.
fn sources(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), None::<String>)];
    while let Some((folder, test)) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                let is_test = path.join("main.rs").exists();
                folders.push((path, if is_test { Some(stem) } else { test.clone() }));
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                // What is split into a folder goes by the folder's name too.
                let folder = folder.file_name().unwrap().to_str().unwrap();
                found.push((folder.to_owned(), path.clone()));
                found.push((test.clone().unwrap_or(stem), path));
            }
        }
    }
    found
}

/// The names of the functions that are tests, and of those that a suite runs on every store.
fn names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    let mut is_suite = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line == "suite! {" {
            is_suite = true;
        } else if is_suite && line == "}" {
            is_suite = false;
        } else if is_suite {
            names.push(line.trim_end_matches(',').to_owned());
        } else if let Some((_, rest)) = line.split_once("fn ")
            && std::mem::take(&mut is_test)
            && let Some((name, _)) = rest.split_once('(')
        {
            names.push(name.to_owned());
        }
    }
    names
}

/// What stands between backticks in a line, each with what stands before it.
fn quoted(line: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = line.split('`').collect();
    assert_eq!(parts.len() % 2, 1, "an odd number of backticks: {line}");
    let pairs = parts.chunks_exact(2);
    pairs.map(|pair| (pair[0], pair[1])).collect()
}

/// Whether a word can be nothing but the name of a test.
fn is_name(text: &str, least_words: usize) -> bool {
    let words = text.split('_').count();
    words >= least_words && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[test]
fn every_test_that_the_table_of_the_asvs_names_exists() {
    let tests = tests();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/asvs.md");
    let page = fs::read_to_string(page).unwrap();
    let mut seen = 0;
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let mut file = None;
        for (before, text) in quoted(line) {
            // `file: test`, and after a comma further tests of that file.
            let (of, test) = match text.split_once(": ") {
                Some((of, test)) => (Some(of), test),
                None if is_name(text, if before == ", " { 3 } else { 4 }) => (file, text),
                None => {
                    let is_file = text.starts_with("server/");
                    assert!(
                        !is_file || tests.contains_key(text),
                        "no file {text}: {line}"
                    );
                    continue;
                }
            };
            let Some(of) = of else {
                assert!(!is_name(text, 4), "of which file is {text}? {line}");
                continue;
            };
            file = Some(of);
            let found = tests
                .get(of)
                .unwrap_or_else(|| panic!("no file {of}: {line}"));
            assert!(
                found.iter().any(|name| name == test),
                "no {of}: {test}: {line}"
            );
            seen += 1;
        }
    }
    assert!(
        seen > 50,
        "the table names {seen} tests: has its form changed?"
    );
}

#[test]
fn the_names_of_tests_are_found() {
    let text = "
        #[test]
        fn plain() {}
        #[tokio::test(flavor = \"current_thread\")]
        #[ignore]
        async fn later() {}
        fn none() {}
        suite! {
            on_every_store,
        }
    ";
    assert_eq!(names(text), ["plain", "later", "on_every_store"]);
}
