//! Which kind of endpoint a request is for; its limits follow from that.

use http::request::Parts;

use crate::sign_in::SignInCookie;

/// A class of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// `/livez`, `/readyz`: no limit.
    Probe,
    /// The health summary and the metrics, polled by machines.
    Health,
    /// Beginning to sign in; refreshing tokens.
    Auth,
    /// The ends of a sign-in: returning from GitHub in the browser that began, and signing out.
    Callback,
    /// Administration.
    Admin,
    /// Agents.
    Mcp,
    /// Everything else.
    Web,
}

impl Class {
    /// The class of a request.
    #[must_use]
    pub(crate) fn of(parts: &Parts, cookie: SignInCookie) -> Self {
        match parts.uri.path() {
            "/livez" | "/readyz" => Self::Probe,
            "/api/health" | "/metrics" => Self::Health,
            "/auth/github/callback" if continues(parts, cookie) => Self::Callback,
            path if path == "/mcp" || path.starts_with("/mcp/") => Self::Mcp,
            path if path == "/api/admin" || path.starts_with("/api/admin/") => Self::Admin,
            "/auth/logout" => Self::Callback,
            path if path.starts_with("/auth/") => Self::Auth,
            _ => Self::Web,
        }
    }
}

/// A way back from GitHub costs nothing of the quota for sign-ins: its way out has paid. Who only
/// guesses states pays for each guess.
fn continues(parts: &Parts, cookie: SignInCookie) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    let state = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state");
    state.is_some_and(|(_, state)| cookie.continues(&parts.headers, &state).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign_in::BrowserSecret;
    use http::Request;

    fn class(path: &str) -> Class {
        let (parts, ()) = Request::get(path).body(()).unwrap().into_parts();
        Class::of(&parts, SignInCookie::new(true))
    }

    #[test]
    fn follows_the_path() {
        let classes = [
            ("/", Class::Web),
            ("/api/me", Class::Web),
            ("/api/administer", Class::Web),
            ("/api/admin/audit", Class::Admin),
            ("/mcp", Class::Mcp),
            ("/mcpx", Class::Web),
            ("/livez", Class::Probe),
            ("/api/health", Class::Health),
            ("/auth/github/login", Class::Auth),
            ("/auth/logout", Class::Callback),
        ];
        for (path, expected) in classes {
            assert_eq!(class(path), expected, "{path}");
        }
    }

    #[test]
    fn a_callback_is_one_only_for_the_browser_that_began() {
        assert_eq!(
            class("/auth/github/callback?state=guessed&code=x"),
            Class::Auth
        );
        let (cookie, secret) = (SignInCookie::new(true), BrowserSecret::random().unwrap());
        let uri = format!("/auth/github/callback?code=x&state={}", secret.state());
        let set = cookie.set(&secret);
        let pair = set.to_str().unwrap().split(';').next().unwrap();
        let (parts, ()) = Request::get(uri)
            .header("cookie", pair)
            .body(())
            .unwrap()
            .into_parts();
        assert_eq!(Class::of(&parts, cookie), Class::Callback);
    }
}
