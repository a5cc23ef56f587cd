//! Where values come from: flags over environment over credentials over file over defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::problem::{Problem, Problems};
use super::settings::{Default, SETTINGS, credential, find, variable};

/// The largest secret file that is read.
const MAX_SECRET: u64 = 64 * 1024;

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag.
    Flag,
    /// A variable of the environment.
    Variable(String),
    /// A file that holds nothing but the value.
    File(PathBuf),
    /// The configuration file.
    Config(PathBuf),
    /// Made by `--dev`.
    Dev,
    /// The table of settings.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("the command line"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) | Self::Config(path) => write!(f, "{}", path.display()),
            Self::Dev => f.write_str("--dev"),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// A value as it was written, and where.
#[derive(Clone)]
pub(super) struct Found {
    /// The text; a list is joined by commas.
    pub text: Zeroizing<String>,
    /// Where it was found.
    pub origin: Origin,
}

/// What is given to the process.
#[derive(Clone, std::default::Default)]
pub struct Inputs {
    /// `key=value` from flags.
    pub flags: Vec<(String, String)>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The configuration file, from the flag.
    pub file: Option<PathBuf>,
    /// What `--dev` fills in where nothing is set.
    pub dev: Vec<(String, String)>,
}

impl Inputs {
    /// With the environment of this process.
    #[must_use]
    pub fn from_process() -> Self {
        Self {
            environment: std::env::vars_os().collect(),
            ..Self::default()
        }
    }

    fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
    }

    /// Whether a configuration file is named, by the flag or by the environment.
    #[must_use]
    pub fn names_a_file(&self) -> bool {
        self.file.is_some() || self.variable("FORGE_CONFIG").is_some()
    }

    /// Whether `--dev` puts its stand-in where this key names the real GitHub.
    fn replaces_github(&self, key: &str) -> bool {
        !self.dev.is_empty() && key.starts_with("github.")
    }
}

/// Without values: some are secrets.
impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags: Vec<_> = self.flags.iter().map(|(key, _)| key).collect();
        f.debug_struct("Inputs")
            .field("flags", &flags)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// The values found, by key; the strongest source of each comes last.
pub(super) struct Values {
    found: BTreeMap<&'static str, Vec<Found>>,
    tables: BTreeMap<&'static str, Tables>,
    /// What is no problem, and had better be otherwise.
    pub(super) warnings: Vec<String>,
    /// Whether there is a file that could not be read.
    pub(super) is_unread: bool,
}

/// The tables of a key that is written as a list of them, and where they were found.
pub(super) struct Tables {
    /// The tables; what else stands in the list is a mistake that their reader tells.
    pub items: Vec<toml::Value>,
    /// Where they were found.
    pub origin: Origin,
}

/// The keys that are lists of tables, in the file alone.
const TABLES: [&str; 2] = ["monitor.scenario", "alerts.webhook"];

impl Values {
    /// Collects from all sources. What cannot be read or is not known becomes a problem.
    pub(super) fn collect(inputs: &Inputs, problems: &mut Problems) -> Self {
        let mut values = Self {
            found: BTreeMap::new(),
            tables: BTreeMap::new(),
            warnings: Vec::new(),
            is_unread: false,
        };
        for setting in SETTINGS {
            if let Default::Text(text) = setting.default {
                values.put(setting.key, text, Origin::Default);
            }
        }
        for (key, text) in &inputs.dev {
            if let Some(setting) = find(key) {
                values.put(setting.key, text, Origin::Dev);
            }
        }
        values.read_config_file(inputs, problems);
        values.read_credentials(inputs, problems);
        values.read_environment(inputs, problems);
        for (key, text) in &inputs.flags {
            match find(key) {
                Some(setting) if setting.secret && !inputs.replaces_github(key) => problems.push(
                    Problem::new(
                        key,
                        "is a secret, and the command line is seen by every process",
                        format!("set {} or {}_FILE", variable(key), variable(key)),
                    )
                    .from(Origin::Flag),
                ),
                Some(setting) => values.put(setting.key, text, Origin::Flag),
                None => problems.push(unknown(key, Origin::Flag)),
            }
        }
        values.refuse_real_github(inputs, problems);
        values
    }

    /// A trial must not hold what the real GitHub gave out.
    fn refuse_real_github(&self, inputs: &Inputs, problems: &mut Problems) {
        let replaced = self
            .found
            .iter()
            .filter(|(key, _)| inputs.replaces_github(key));
        for (key, found) in replaced {
            let given = found
                .iter()
                .filter(|found| !matches!(found.origin, Origin::Dev | Origin::Default));
            for Found { origin, .. } in given {
                let what = "is set, and --dev is a trial without the real GitHub";
                problems.push(Problem::new(*key, what, "unset it").from(origin.clone()));
            }
        }
    }

    /// Takes the value of a key out.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Found> {
        debug_assert!(find(key).is_some(), "{key} is not in the table of settings");
        self.found.remove(key)?.pop()
    }

    /// Takes the tables of a key out.
    pub(super) fn take_tables(&mut self, key: &'static str) -> Option<Tables> {
        self.tables.remove(key)
    }

    fn put(&mut self, key: &'static str, text: &str, origin: Origin) {
        self.found.entry(key).or_default().push(Found {
            text: Zeroizing::new(text.to_owned()),
            origin,
        });
    }

    fn read_config_file(&mut self, inputs: &Inputs, problems: &mut Problems) {
        let named = inputs.variable("FORGE_CONFIG").map(PathBuf::from);
        let Some(path) = inputs.file.clone().or(named) else {
            return;
        };
        let origin = Origin::Config(path.clone());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) => {
                self.is_unread = true;
                problems.push(
                    Problem::new(
                        "config",
                        format!("cannot be read: {error}"),
                        "name a readable TOML file",
                    )
                    .from(origin),
                );
                return;
            }
        };
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                self.is_unread = true;
                let line = error
                    .span()
                    .map_or(0, |span| text[..span.start].lines().count().max(1));
                let what = format!("is not valid TOML: {} (line {line})", error.message());
                problems.push(Problem::new("config", what, "mend the line").from(origin));
                return;
            }
        };
        self.read_table("", &table, (&origin, inputs), problems);
    }

    fn read_table(
        &mut self,
        prefix: &str,
        table: &toml::Table,
        (origin, inputs): (&Origin, &Inputs),
        problems: &mut Problems,
    ) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            let listed = TABLES.iter().find(|tables| **tables == key);
            if let (Some(key), toml::Value::Array(items)) = (listed, value) {
                let (items, origin) = (items.clone(), origin.clone());
                self.tables.insert(key, Tables { items, origin });
                continue;
            }
            let text = match value {
                toml::Value::Table(inner) => {
                    self.read_table(&key, inner, (origin, inputs), problems);
                    continue;
                }
                toml::Value::Array(items) => {
                    let items: Option<Vec<String>> = items.iter().map(scalar).collect();
                    items.map(|items| items.join(", "))
                }
                value => scalar(value),
            };
            let secret_file = key
                .strip_suffix("_file")
                .and_then(find)
                .filter(|of| of.secret);
            match (find(&key), secret_file, text) {
                (Some(_), _, None) | (None, Some(_), None) => problems.push(
                    Problem::new(
                        &key,
                        "is a kind of value no key takes",
                        "write a string, a number, or a list of them",
                    )
                    .from(origin.clone()),
                ),
                (Some(setting), _, Some(text)) => {
                    if let (true, Origin::Config(path)) = (setting.secret, origin) {
                        self.check_mode(setting.key, path, problems);
                    }
                    self.put(setting.key, &text, origin.clone());
                }
                (None, Some(setting), Some(path)) => {
                    self.read_guarded(setting.key, Path::new(&path), inputs, problems);
                }
                (None, None, _) => problems.push(unknown(&key, origin.clone())),
            }
        }
    }

    fn read_credentials(&mut self, inputs: &Inputs, problems: &mut Problems) {
        let Some(folder) = inputs.variable("CREDENTIALS_DIRECTORY") else {
            return;
        };
        for setting in SETTINGS.iter().filter(|setting| setting.secret) {
            let path = Path::new(folder).join(credential(setting.key));
            if path.exists() {
                self.read_secret_file(setting.key, &path, problems);
            }
        }
    }

    fn read_environment(&mut self, inputs: &Inputs, problems: &mut Problems) {
        let mut known = BTreeMap::new();
        for setting in SETTINGS {
            known.insert(variable(setting.key), (setting, false));
            if setting.secret {
                known.insert(format!("{}_FILE", variable(setting.key)), (setting, true));
            }
        }
        // A secret's own variable is stronger than its file: files first.
        let mut ours: Vec<_> = inputs
            .environment
            .iter()
            .filter_map(|(name, value)| {
                let name = name.to_str()?;
                (name.starts_with("FORGE_") && name != "FORGE_CONFIG").then_some((name, value))
            })
            .collect();
        ours.sort_by_key(|(name, _)| !name.ends_with("_FILE"));
        for (name, value) in ours {
            let origin = Origin::Variable(name.to_owned());
            match (known.get(name), value.to_str()) {
                (None, _) => {
                    let near = nearest(name, known.keys().map(String::as_str));
                    problems.push(
                        Problem::new(name, "is not a variable Forge knows", near).from(origin),
                    );
                }
                (Some((setting, _)), None) => problems.push(
                    Problem::new(setting.key, "is not UTF-8", "write it in UTF-8").from(origin),
                ),
                (Some((setting, true)), Some(path)) => {
                    self.read_guarded(setting.key, Path::new(path), inputs, problems);
                }
                (Some((setting, false)), Some(text)) => self.put(setting.key, text, origin),
            }
        }
    }

    /// Reads a secret's file, and looks at who else may. The service manager sees to what lies in its
    /// own folder, by an access list that shows as the mode of the group.
    fn read_guarded(
        &mut self,
        key: &'static str,
        path: &Path,
        inputs: &Inputs,
        problems: &mut Problems,
    ) {
        let credentials = inputs.variable("CREDENTIALS_DIRECTORY").map(Path::new);
        if !credentials.is_some_and(|folder| path.starts_with(folder)) {
            self.check_mode(key, path, problems);
        }
        self.read_secret_file(key, path, problems);
    }

    /// A secret that others may replace is a problem; one that others may read is told. Containers
    /// are handed such files, where nobody else is.
    fn check_mode(&mut self, key: &'static str, path: &Path, problems: &mut Problems) {
        use std::os::unix::fs::PermissionsExt;
        let Ok(metadata) = std::fs::metadata(path) else {
            return;
        };
        let mode = metadata.permissions().mode();
        if !metadata.is_file() || mode & 0o077 == 0 {
            return;
        }
        let file = path.display();
        if mode & 0o022 != 0 {
            let origin = Origin::File(path.to_owned());
            let what = format!("can be replaced by others (mode {:04o})", mode & 0o7777);
            problems.push(Problem::new(key, what, format!("chmod 600 {file}")).from(origin));
        } else {
            let mode = mode & 0o7777;
            self.warnings.push(format!(
                "{key} can be read by others (from {file}, mode {mode:04o}): chmod 600 {file}"
            ));
        }
    }

    fn read_secret_file(&mut self, key: &'static str, path: &Path, problems: &mut Problems) {
        let origin = Origin::File(path.to_owned());
        match read_secret(path) {
            Ok(text) => self.put(key, text.trim_end_matches(['\n', '\r']), origin),
            Err(error) => problems.push(
                Problem::new(
                    key,
                    format!("cannot be read: {error}"),
                    "name a readable file of text",
                )
                .from(origin),
            ),
        }
    }
}

/// The text of a file; no more is read of it than a secret may have.
fn read_secret(path: &Path) -> std::io::Result<Zeroizing<String>> {
    // Made large enough at once, so that no copy of a part is left behind.
    let capacity = usize::try_from(MAX_SECRET + 1).unwrap_or(usize::MAX);
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    let mut file = std::fs::File::open(path)?.take(MAX_SECRET + 1);
    file.read_to_string(&mut text)?;
    if text.len() > MAX_SECRET as usize {
        return Err(std::io::Error::other("larger than 64 KiB"));
    }
    Ok(text)
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn unknown(key: &str, origin: Origin) -> Problem {
    let near = nearest(key, SETTINGS.iter().map(|setting| setting.key));
    Problem::new(key, "is not a key Forge knows", near).from(origin)
}

/// The fix for a name that is not known: the closest that is, when one is close.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let closest = known
        .map(|candidate| (distance(name, candidate), candidate))
        .min();
    match closest {
        Some((distance, candidate)) if distance <= 3 => format!("did you mean {candidate}?"),
        _ => "`forge config reference` lists all keys".to_owned(),
    }
}

/// The Levenshtein distance of two short names.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_how_far_a_misspelling_is() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
