//! The reference page, made from the table of settings.

use std::fmt::Write;

use super::settings::{Default, SETTINGS, credential, variable};

/// The page in Markdown, as `docs/configuration.md` holds it.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         This page is printed by `forge config reference`; a test keeps the two the same.\n\n\
         Flags win over the environment, the environment over credentials, credentials over the file (`--config FILE` or\n\
         `FORGE_CONFIG`), the file over the defaults. A flag is `--set KEY=VALUE`. In the file, dots are tables and lists may be\n\
         written as lists; in flags and the environment, lists are set apart by commas. An unknown key is an error, and the\n\
         server prints everything that is wrong before it ends.\n\n\
         A **secret** is never taken from the command line. Besides its variable it is read from a file named by the\n\
         variable with `_FILE` (in TOML, the key with `_file`), and from `$CREDENTIALS_DIRECTORY` under systemd. It may stand in\n\
         the TOML file too. The server does not check the mode of these files: keep them from others.\n\n\
         On SIGHUP a running server reads all of this again and takes over the quotas, `limits.concurrent` and\n\
         `limits.redis_failure`; what is owed stays. A configuration with a problem changes nothing. What else has changed is\n\
         named in the log and holds from the next start on.\n\n\
         | key | variable | takes | default | |\n|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let default = match setting.default {
            Default::Text(text) => format!("`{text}`"),
            Default::None => "–".to_owned(),
            Default::Required => "**required**".to_owned(),
        };
        let mut doc = setting.doc.to_owned();
        if setting.secret {
            let _ = write!(doc, " Secret; credential `{}`.", credential(setting.key));
        }
        let (key, variable) = (setting.key, variable(setting.key));
        let _ = writeln!(
            page,
            "| `{key}` | `{variable}` | {} | {default} | {doc} |",
            setting.takes
        );
    }
    page
}
