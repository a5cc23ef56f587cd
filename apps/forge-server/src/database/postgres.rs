//! The database that several nodes share.

use std::time::Duration;

use forge_monitor::BoxError;
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use url::Url;

/// The schema, a step after the other.
pub(super) const SCHEMA: [(&str, &str); 1] = [(
    "server",
    include_str!("../../../../migrations/postgres/0001_server.sql"),
)];

/// How long the database may take for one statement, and a statement may wait for others.
const BOUNDS: &str = "SET statement_timeout = '20s'; SET lock_timeout = '5s'; \
                      SET idle_in_transaction_session_timeout = '30s'";

/// What may stand behind the question mark of a URL.
const PARAMETERS: [&str; 11] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
];

/// Whether this is the URL of a PostgreSQL database. The reason bears nothing of it.
///
/// # Errors
/// Why not.
pub(crate) fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).ok();
    let ours = |url: &Url| matches!(url.scheme(), "postgres" | "postgresql");
    let url = url.filter(ours).ok_or("is not a URL of PostgreSQL")?;
    let known = |key: &str| PARAMETERS.contains(&key) || key == "user";
    if !url.query_pairs().all(|(key, _)| known(&key)) {
        let known = PARAMETERS.join(", ");
        return Err(format!("has a parameter that is none of user, {known}"));
    }
    match text.parse::<PgConnectOptions>() {
        Ok(_) => Ok(()),
        Err(_) => Err("has a port or a parameter with a value that is none".to_owned()),
    }
}

/// How to connect. To another machine it is by TLS with a certificate that is verified, unless the
/// URL says otherwise by `sslmode`.
pub(crate) fn options(url: &SecretString) -> Result<PgConnectOptions, BoxError> {
    let text = url.expose_secret();
    let options: PgConnectOptions = text.parse().map_err(|_| "not a URL of PostgreSQL")?;
    let says = |name: &str| {
        let url = Url::parse(text);
        url.is_ok_and(|url| url.query_pairs().any(|(key, _)| key == name))
    };
    let options = match is_here(&options) || says("sslmode") {
        true => options,
        false => options.ssl_mode(PgSslMode::VerifyFull),
    };
    Ok(match says("application_name") {
        true => options,
        false => options.application_name("forge"),
    })
}

/// A socket of this machine, or its loopback.
fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback())
}

/// Connects, within bounds of time.
pub(crate) async fn open(url: &SecretString, connections: u32) -> Result<PgPool, BoxError> {
    let options = options(url)?;
    if !is_here(&options)
        && !matches!(
            options.get_ssl_mode(),
            PgSslMode::VerifyCa | PgSslMode::VerifyFull
        )
    {
        tracing::warn!(
            "the database is on another machine, and database.url does not ask for its certificate"
        );
    }
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(5))
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(BOUNDS).execute(connection).await?;
                Ok(())
            })
        })
        .connect_with(options)
        .await?;
    Ok(pool)
}

/// Whether it can be read and written: a standby, and one that is put to read-only, cannot.
pub(super) async fn check(pool: &PgPool) -> Result<(), BoxError> {
    let writable = "SELECT current_setting('transaction_read_only') = 'off'";
    match sqlx::query_scalar(writable).fetch_one(pool).await? {
        true => Ok(()),
        false => Err("the database is read-only".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> PgSslMode {
        options(&url.into()).unwrap().get_ssl_mode()
    }

    #[test]
    fn another_machine_is_asked_for_its_certificate_unless_told_otherwise() {
        let is_verified = |url: &str| matches!(mode(url), PgSslMode::VerifyFull);
        assert!(is_verified("postgres://forge:pw@db.example/forge"));
        assert!(is_verified("postgresql://10.0.0.7:5433/forge"));
        assert!(is_verified("postgres://db.example/f?sslmode=verify-full"));
        for told in ["disable", "prefer", "require", "verify-ca"] {
            let url = format!("postgres://db.example/forge?sslmode={told}");
            assert!(!is_verified(&url), "{url}");
        }
        for here in ["localhost", "127.0.0.1", "[::1]", "%2Frun%2Fpostgresql"] {
            assert!(!is_verified(&format!("postgres://{here}/forge")), "{here}");
        }
    }

    #[test]
    fn what_is_no_url_of_postgresql_is_refused_without_being_repeated() {
        for good in [
            "postgres://localhost/forge",
            "postgresql://u:p%40ss@db.example:5433/forge?sslmode=verify-full&sslrootcert=/ca.pem",
            "postgres:///forge?host=/run/postgresql&user=forge",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "hunter2",
            "mysql://u:hunter2@db/forge",
            "postgres://u:hunter2@db:port/forge",
            "postgres://u:hunter2@db/forge?sslmode=hunter2",
            "postgres://u@db/forge?pasword=hunter2",
            "postgres://u@db/forge?hunter2",
        ] {
            let why = check_url(bad).unwrap_err();
            assert!(!why.contains("hunter2"), "{bad}: {why}");
        }
    }
}
