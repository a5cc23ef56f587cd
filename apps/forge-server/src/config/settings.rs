//! Every key of the configuration, once: what it is called, what it takes, what it defaults to.
//!
//! The reader of the values and the reference page both go by this table.

/// One key.
#[derive(Debug)]
pub(super) struct Setting {
    /// The key, dotted as in TOML.
    pub key: &'static str,
    /// What a value looks like, for the reference and for error messages.
    pub takes: &'static str,
    /// The value when nobody sets one.
    pub default: Default,
    /// Whether it is a secret: also read from a file named by `<key>_file` or from the service
    /// manager's credentials, and refused on the command line.
    pub secret: bool,
    /// What it does.
    pub doc: &'static str,
}

/// What holds when nobody sets a key.
#[derive(Debug)]
pub(super) enum Default {
    /// This text, read as if it were set.
    Text(&'static str),
    /// Nothing: the feature is off or the value follows from others, as the doc says.
    None,
    /// The server does not start without it.
    Required,
}

const fn plain(
    key: &'static str,
    takes: &'static str,
    default: Default,
    doc: &'static str,
) -> Setting {
    Setting {
        key,
        takes,
        default,
        secret: false,
        doc,
    }
}

const fn secret(
    key: &'static str,
    takes: &'static str,
    default: Default,
    doc: &'static str,
) -> Setting {
    Setting {
        key,
        takes,
        default,
        secret: true,
        doc,
    }
}

/// All keys, in the order of the reference.
pub(super) const SETTINGS: &[Setting] = &[
    plain(
        "listen",
        "address:port",
        Default::Text("127.0.0.1:3001"),
        "Where the server listens, in plain HTTP: put a TLS proxy in front of anything but loopback.",
    ),
    plain(
        "public_url",
        "https://host[:port]",
        Default::Required,
        "The address people and agents use, without a path. Plain http is accepted for loopback only. With --dev it follows `listen`.",
    ),
    plain(
        "data",
        "folder",
        Default::Required,
        "Where the databases lie; made if missing. With --dev a fresh temporary folder.",
    ),
    secret(
        "database.url",
        "postgres://[user[:password]@]host[:port]/database[?sslmode=…]",
        Default::None,
        "A PostgreSQL database that several nodes share. Without it accounts, sessions and keys lie in SQLite, in the data folder. To another machine it is TLS with a verified certificate (`sslmode=verify-full`) unless `sslmode` says otherwise; `sslrootcert` names the file of another authority.",
    ),
    plain(
        "database.connections",
        "number",
        Default::Text("10"),
        "Connections of this node to it, at most; two more hear what other nodes revoke and decide.",
    ),
    plain(
        "database.audit",
        "true or false",
        Default::Text("false"),
        "Whether this node's audit log lies there too, beside those of the other nodes, over four more connections. Otherwise it is a file in the data folder.",
    ),
    plain(
        "hosts",
        "host[:port], …",
        Default::None,
        "Further hosts that requests may name besides that of `public_url`, such as `*.example.com`, or `127.0.0.1:3001` for whoever collects metrics past the proxy.",
    ),
    plain(
        "first_admin",
        "GitHub account id (a number)",
        Default::Required,
        "Put on the allow-list as an admin when no admin is there. The id of an account is shown at https://api.github.com/users/LOGIN.",
    ),
    plain(
        "allow_list.organisations",
        "login, …",
        Default::None,
        "Organisations of GitHub whose members may sign in as users, without being on the list one by one. Then people are asked for the scope `read:org`, and each organisation has to approve the app. A name is resolved to its id at the first sign-in and means that organisation from then on, also when it is renamed; take it out for one start to resolve it anew.",
    ),
    plain(
        "allow_list.teams",
        "organisation/team, …",
        Default::None,
        "Teams whose members may. Likewise.",
    ),
    plain(
        "allow_list.recheck",
        "duration",
        Default::Text("15m"),
        "How long it is believed that somebody is a member, before GitHub is asked again: who has left is out after so long and a minute at most. While GitHub does not answer who was in stays in, for two days at most.",
    ),
    plain(
        "admin.recent_sign_in",
        "duration",
        Default::Text("1h"),
        "How long ago an admin may have signed in to change something: the allow-list, blocks, quotas, other people's sessions. After that they are asked to sign in again.",
    ),
    plain(
        "github.client_id",
        "text",
        Default::Required,
        "The client id of the GitHub OAuth app or GitHub App.",
    ),
    secret(
        "github.client_secret",
        "text",
        Default::Required,
        "Its client secret.",
    ),
    plain(
        "github.url",
        "https://host",
        Default::Text("https://github.com"),
        "Where people sign in; another host for GitHub Enterprise Server.",
    ),
    plain(
        "github.api_url",
        "https://host[/path]",
        Default::Text("https://api.github.com"),
        "Where accounts are looked up.",
    ),
    secret(
        "keyring",
        "lines of `state key`",
        Default::Required,
        "The keys that seal secrets at rest; see `docs/architecture.md`. With --dev one is made in the data folder.",
    ),
    plain(
        "proxies.trusted",
        "network, …",
        Default::None,
        "Networks whose forwarded header is believed, such as `10.0.0.0/8`.",
    ),
    plain(
        "proxies.header",
        "forwarded, x-forwarded-for, or a header's name",
        Default::Text("x-forwarded-for"),
        "The one header in which trusted proxies hand on the client's address.",
    ),
    plain(
        "cors.origins",
        "https://host[:port], …",
        Default::None,
        "Origins whose scripts may call the API with credentials.",
    ),
    plain(
        "limits.web",
        "quota",
        Default::Text("60/min burst 10"),
        "Requests of a signed-in person.",
    ),
    plain(
        "limits.mcp",
        "quota",
        Default::Text("120/min burst 20"),
        "Requests of an agent.",
    ),
    plain(
        "limits.admin",
        "quota",
        Default::Text("30/hour burst 5"),
        "Administration, by user.",
    ),
    plain(
        "limits.auth",
        "quota",
        Default::Text("10/min burst 3"),
        "Beginning to sign in, and refreshing tokens, by address. No password is taken here, and what can be guessed has 128 random bits or more; where one can be, NIST SP 800-63B allows 100 wrong ones in a row. `serve --dev` has `60/min burst 20`.",
    ),
    plain(
        "limits.callback",
        "quota",
        Default::Text("60/min burst 20"),
        "Returning from GitHub in the browser that began to sign in, and signing out, by address.",
    ),
    plain(
        "limits.anonymous",
        "quota",
        Default::Text("30/min burst 5"),
        "Requests by somebody not signed in, by address.",
    ),
    plain(
        "limits.health",
        "quota",
        Default::Text("600/min burst 60"),
        "The health summary and `/metrics`, by address. The probes have no limit.",
    ),
    plain(
        "limits.address",
        "quota",
        Default::Text("1200/min burst 200"),
        "Everything from one address, against floods. An IPv6 address counts with its /64.",
    ),
    plain(
        "limits.network",
        "quota",
        Default::Text("12000/min burst 2000"),
        "Everything from one /48 of IPv6, of which one customer may have all addresses.",
    ),
    plain(
        "limits.concurrent",
        "number",
        Default::Text("32"),
        "Requests of one signed-in person, agents included, that may be under way at once; a stream counts until it ends.",
    ),
    plain(
        "limits.capacity",
        "number",
        Default::Text("100000"),
        "Addresses that are counted at once, and as many keys of the other limits, 27 bytes each.",
    ),
    secret(
        "limits.redis",
        "redis://[[user]:password@]host[:port][/database]",
        Default::None,
        "A Redis or Valkey server that counts what users, and addresses by class of endpoint, may do, for all nodes together. `limits.address` and `limits.network` stay each node's own.",
    ),
    secret(
        "limits.redis_secret",
        "text of 16 characters or more",
        Default::None,
        "Hashes the keys in it; the same on every node, and required with it.",
    ),
    plain(
        "limits.nodes",
        "number",
        Default::Text("1"),
        "How many nodes share it.",
    ),
    plain(
        "limits.redis_deadline",
        "duration",
        Default::Text("25ms"),
        "The longest a request waits for it; from 1ms to 10s.",
    ),
    plain(
        "limits.redis_failure",
        "share, refuse or admit",
        Default::Text("share"),
        "While it does not answer: `share` allows each node its part of each quota, `refuse` answers 503, `admit` counts nothing but `limits.address` and `limits.network`.",
    ),
    plain(
        "sessions.web.max",
        "number",
        Default::Text("3"),
        "Live sessions of a person at browsers; the oldest gives way.",
    ),
    plain(
        "sessions.web.idle",
        "duration",
        Default::Text("24h"),
        "A browser's session ends after so long without a request.",
    ),
    plain(
        "sessions.web.absolute",
        "duration",
        Default::Text("7d"),
        "And after so long in any case.",
    ),
    plain(
        "sessions.mcp.max",
        "number",
        Default::Text("5"),
        "Live sessions of a person's agents; the oldest of the same client gives way.",
    ),
    plain(
        "sessions.mcp.idle",
        "duration",
        Default::Text("30d"),
        "An agent's session ends after so long without a request.",
    ),
    plain(
        "sessions.mcp.absolute",
        "duration",
        Default::Text("90d"),
        "And after so long in any case.",
    ),
    plain(
        "sessions.access_token",
        "duration",
        Default::Text("1h"),
        "How long an access token is valid; an hour at most.",
    ),
    plain(
        "bounds.body",
        "bytes",
        Default::Text("1048576"),
        "The longest request body.",
    ),
    plain(
        "bounds.header_time",
        "duration",
        Default::Text("10s"),
        "How long a client may take to send the head of a request.",
    ),
    plain(
        "bounds.request_time",
        "duration",
        Default::Text("30s"),
        "How long a request may take until its response begins.",
    ),
    plain(
        "bounds.connections",
        "number",
        Default::Text("1024"),
        "Open connections; further ones wait to be accepted.",
    ),
    plain(
        "bounds.drain_time",
        "duration",
        Default::Text("30s"),
        "How long open requests may take to end after Ctrl-C.",
    ),
    plain(
        "monitor.never_block",
        "network, …",
        Default::Text("127.0.0.0/8, ::1/128"),
        "Networks that are never banned. Trusted proxies never are.",
    ),
    plain(
        "audit.keep.low",
        "duration or `forever`",
        Default::Text("400d"),
        "How long audit events of low severity are kept. Whole segments are dropped, so that it may be a week longer.",
    ),
    plain(
        "audit.keep.medium",
        "duration or `forever`",
        Default::Text("400d"),
        "The same for medium severity.",
    ),
    plain(
        "audit.keep.high",
        "duration or `forever`",
        Default::Text("forever"),
        "The same for high severity.",
    ),
    plain(
        "audit.keep.critical",
        "duration or `forever`",
        Default::Text("forever"),
        "The same for critical severity.",
    ),
    plain(
        "audit.hold",
        "GitHub account id, …",
        Default::None,
        "Accounts whose events are kept whatever their age: a legal hold.",
    ),
    plain(
        "audit.segment",
        "number",
        Default::Text("32768"),
        "Events of a segment, which are indexed and dropped together.",
    ),
    secret(
        "audit.key",
        "64 hexadecimal digits",
        Default::None,
        "The Ed25519 key that signs the checkpoints of the audit log. Without it one is made in the data folder, as `audit.key`, where it protects against whoever can write the database but not read the folder.",
    ),
    plain(
        "audit.checkpoint_file",
        "file",
        Default::None,
        "Where signed checkpoints are written besides the log, a medium of another machine at best; `audit.checkpoints` in the data folder if not set.",
    ),
    plain(
        "audit.checkpoint_url",
        "https://host[/path]",
        Default::None,
        "Where the newest signed checkpoint is sent by POST, as text, until it arrives.",
    ),
    plain(
        "audit.low_water",
        "bytes",
        Default::Text("268435456"),
        "Less room than this on the disk of the audit log is an alert, and the server's health is degraded.",
    ),
    plain(
        "audit.ballast",
        "bytes",
        Default::Text("16777216"),
        "The size of a file that is deleted when the disk is full, so that there is room to drop what need not be kept; 0 for none.",
    ),
    plain(
        "inspection.mode",
        "off, detect or block",
        Default::Text("detect"),
        "What follows when a request's path, query or headers look like an attack: nothing; an event and a signal to the monitor; or a refusal as well.",
    ),
    plain(
        "inspection.level",
        "low or high",
        Default::Text("low"),
        "How sensitive refusals are. `low` lets prose pass, and refuses what reads as a whole statement, command or path; `high` refuses fragments too. `forge inspect` shows both for a request.",
    ),
    plain(
        "inspection.exempt",
        "path, …",
        Default::None,
        "Paths that are not inspected; with a slash at the end, all below.",
    ),
    plain(
        "monitor.traps",
        "path, …",
        Default::Text(
            "/.env, /.git/, /.aws/, /.ssh/, /wp-login.php, /wp-admin, /xmlrpc.php, /phpmyadmin, /cgi-bin/, /vendor/phpunit, /boaform/, /actuator/",
        ),
        "Beginnings of paths, in lower case, that nothing leads to: whoever asks for one is a scanner, and banned for an hour.",
    ),
    plain(
        "monitor.blocks_per_minute",
        "number",
        Default::Text("60"),
        "Decisions within any minute; those beyond are dropped and alerted, so that a forged flood cannot lock everybody out.",
    ),
    plain(
        "monitor.max_block",
        "duration",
        Default::Text("24h"),
        "The longest ban that repetition leads to.",
    ),
    plain(
        "alerts.at_least",
        "info, warning or critical",
        Default::Text("warning"),
        "What is sent to people and programs must be at least so grave. The log has every alert.",
    ),
    plain(
        "alerts.cool_down",
        "duration",
        Default::Text("15m"),
        "How long nothing more is sent about the same thing; what comes meanwhile is one notice at the end.",
    ),
    plain(
        "alerts.max_age",
        "duration",
        Default::Text("3d"),
        "How long an alert may wait for a way that does not take it; then it is given up and kept: see `forge alerts dead`. A way that answers and takes nothing is given up after some six hours already. At least ten minutes.",
    ),
    plain(
        "alerts.sink_grace",
        "duration",
        Default::Text("1d"),
        "How long an alert waits for a way that no running node has configured, because it was renamed or taken out. Nodes that start with a new configuration one after the other have so long to do so. At least ten minutes, and never longer than `alerts.max_age`.",
    ),
    plain(
        "alerts.spill",
        "bytes",
        Default::Text("4194304"),
        "How much of alerts may wait in `alerts.spill` in the data folder while the database does not take them, some 600 bytes each and for each way; from 65536 to 67108864. What is beyond is lost, and said in the log. The file may be twice as large.",
    ),
    plain(
        "alerts.email.host",
        "host",
        Default::None,
        "The mail server that alerts go through. `forge alerts test` tries it.",
    ),
    plain(
        "alerts.email.port",
        "number",
        Default::None,
        "Its port: 587, with `tls` 465, with `none` 25.",
    ),
    plain(
        "alerts.email.tls",
        "starttls, tls or none",
        Default::Text("starttls"),
        "How the connection is secured; `none` is for a mail server on this machine.",
    ),
    plain(
        "alerts.email.ca",
        "file",
        Default::None,
        "Certificates in PEM that the server's must be signed by, in place of those the machine trusts.",
    ),
    plain(
        "alerts.email.from",
        "mailbox",
        Default::None,
        "Whom mails are from, such as `Forge <forge@example.com>`; required with a host.",
    ),
    plain(
        "alerts.email.to",
        "mailbox, …",
        Default::None,
        "Whom they go to; required with a host.",
    ),
    plain(
        "alerts.email.user",
        "text",
        Default::None,
        "Whom to sign in to the mail server as.",
    ),
    secret(
        "alerts.email.password",
        "text",
        Default::None,
        "The password of that user.",
    ),
    plain(
        "alerts.alertmanager.url",
        "http://host[:port]",
        Default::None,
        "A Prometheus Alertmanager that alerts are posted to.",
    ),
    secret(
        "alerts.alertmanager.token",
        "text",
        Default::None,
        "A bearer token for it.",
    ),
    plain(
        "metrics.from",
        "network, …",
        Default::Text("127.0.0.0/8, ::1/128"),
        "Who may read `/metrics` without signing in as an admin. A trusted proxy's own address never may.",
    ),
    plain(
        "log.filter",
        "tracing filter",
        Default::Text("info,rmcp=warn"),
        "What is logged, such as `info,forge_session=debug`.",
    ),
    plain(
        "log.format",
        "text or json",
        Default::Text("text"),
        "How it is logged, on standard error.",
    ),
];

/// The setting of that key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The environment variable of a key: `github.client_id` is `FORGE_GITHUB_CLIENT_ID`.
pub(super) fn variable(key: &str) -> String {
    format!("FORGE_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// The credential's name of a secret under systemd: `github.client_secret` is
/// `forge-github-client-secret`.
pub(super) fn credential(key: &str) -> String {
    format!("forge-{}", key.replace(['.', '_'], "-"))
}
