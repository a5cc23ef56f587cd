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
         the TOML file too. A file that others can write is refused, and one that they can read is warned about.\n\n\
         On SIGHUP a running server reads all of this again and takes over the quotas, `limits.concurrent`,\n\
         `limits.redis_failure` and the keyring; what is owed stays. A configuration with a problem changes nothing. What else has changed is\n\
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
    page.push_str(TABLES);
    page
}

/// What the file holds besides: lists of tables.
const TABLES: &str = r#"
## Webhooks

Alerts are posted to each `[[alerts.webhook]]` of the file, signed with `secret` as Standard Webhooks describes it
(`webhook-id`, `webhook-timestamp`, `webhook-signature`). An address of a private network is refused unless
`private = true`; link-local ones always are, and redirects are not followed.

```toml
[[alerts.webhook]]
name = "ops"                        # what waits for it waits under this name
url = "https://hooks.example.com/forge"
secret_file = "/etc/forge/webhook"  # or `secret`; at least 16 bytes
form = "alert"                      # or slack
```

## Scenarios

What the monitor watches for is built in, and changed by tables `[[monitor.scenario]]` in the file. One with the name of
a scenario that is built in changes that one by the fields it has, or takes it out with `enabled = false`; any other name
makes a new one. `forge config check` names every mistake. The scenarios that are built in are described in the
documentation of `forge_monitor::Scenario`.

```toml
[[monitor.scenario]]
name = "failed_authentications"     # built in: more than 5 in 15 minutes by one address, banned for 15 minutes
threshold = 8

[[monitor.scenario]]
name = "report_scraping"
kind = "count"                      # count, leaky, distinct, sequence or first
signal = "tool_call"
match = ["read_report*"]            # names of tools, paths or components; `*` stands for any characters
by = "user"                         # address, user or component
threshold = 40                      # one more decides
window = "10m"
respond = ["tighten_limit"]         # block, revoke_sessions, tighten_limit, require_sign_in; [] only alerts
hold_for = "30m"                    # doubled with each repetition, up to monitor.max_block
severity = "warning"                # info, warning or critical
simulate = true                     # report what would be decided, and do nothing
```

| kind | is met by | fields of its own |
|---|---|---|
| `count` | more than `threshold` signals within `window` | `threshold`, `window` |
| `leaky` | a bucket of `burst` that runs over; a full one drains in `drain` | `burst`, `drain`, `weight`: one, score, bytes |
| `distinct` | more than `threshold` different ones within `window` | `distinct`: user, address, path, tool, component |
| `sequence` | the steps in their order within `window` | `steps = [{ signal = "auth_failed", times = 5 }, { signal = "auth_ok" }]` |
| `first` | the first signal with this name within `window` | `distinct` |

Signals: `auth_failed`, `auth_ok`, `rate_limited`, `suspicious_request` (`min_score`), `session_anomaly`, `tool_call`,
`tool_output`, `path_missing`, `trap_touched`, `admin_act`, `health_changed` (`status`: up, degraded, down), `custom`.
`reset_on = { signal = "auth_ok" }` begins a new count. `capacity` is how many addresses or users that came more than
once are counted at the same time.
"#;
