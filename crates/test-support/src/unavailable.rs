//! Programs a test needs, and what happens where they are not installed.

use std::{
    collections::BTreeSet,
    env,
    fmt::Display,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// A program that a test needs is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    what: String,
    package: String,
}

impl Unavailable {
    /// `what` is missing, and Debian's and Ubuntu's `package` brings it.
    pub fn new(what: impl Into<String>, package: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            package: package.into(),
        }
    }
}

impl Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} is not installed (`apt-get install {}` brings it)",
            self.what, self.package
        )
    }
}

impl std::error::Error for Unavailable {}

/// The first of `names` that is a program on `PATH`.
///
/// # Errors
/// When none of them is: names the first, and the Debian `package` that brings it.
pub fn find(names: &[&str], package: &str) -> Result<PathBuf, Unavailable> {
    let path = env::var_os("PATH").unwrap_or_default();
    find_in(env::split_paths(&path), names, package)
}

/// [`find`], in `folders`.
fn find_in(
    folders: impl Iterator<Item = PathBuf>,
    names: &[&str],
    package: &str,
) -> Result<PathBuf, Unavailable> {
    let folders: Vec<_> = folders.collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program: &PathBuf| Path::is_file(program))
        .ok_or_else(|| Unavailable::new(names[0], package))
}

/// What a test needs, or `None` when it has to be left out:
///
/// ```no_run
/// let Some(postgres) = test_support::require(test_support::Postgres::start()) else {
///     return;
/// };
/// ```
///
/// Says what is missing once a process, on standard error past the test harness's capture.
///
/// # Panics
/// When it is missing in CI (`CI=true`) or under `FORGE_TEST_REQUIRE=1`: there nothing is left out.
pub fn require<T>(found: Result<T, Unavailable>) -> Option<T> {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

    let missing = match found {
        Ok(found) => return Some(found),
        Err(missing) => missing,
    };
    assert!(!nothing_is_left_out(), "{missing}");
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(missing.to_string()) {
        // `eprintln!` would be captured. A closed standard error is no reason to fail.
        let _ = writeln!(io::stderr(), "tests left out: {missing}");
    }
    None
}

fn nothing_is_left_out() -> bool {
    let is = |name, value| env::var_os(name).is_some_and(|found| found == value);
    is("CI", "true") || is("FORGE_TEST_REQUIRE", "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let empty = tempfile::tempdir().unwrap();
        let missing = find_in(
            [empty.path().to_owned()].into_iter(),
            &["redis-server", "valkey-server"],
            "redis-server",
        );
        assert_eq!(
            missing.unwrap_err().to_string(),
            "redis-server is not installed (`apt-get install redis-server` brings it)"
        );
    }

    #[test]
    fn the_first_name_wins_wherever_it_lies() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(first.path().join("valkey-server"), "").unwrap();
        std::fs::write(second.path().join("redis-server"), "").unwrap();
        let folders = [first.path().to_owned(), second.path().to_owned()];
        let names = ["redis-server", "valkey-server"];
        assert_eq!(
            find_in(folders.into_iter(), &names, ""),
            Ok(second.path().join("redis-server"))
        );
    }
}
