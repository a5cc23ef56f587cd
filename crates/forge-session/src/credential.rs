//! Finding the one credential of a request.

use http::header::AUTHORIZATION;
use http::request::Parts;
use zeroize::Zeroizing;

use crate::authenticated::Via;
use crate::cookie::SessionCookie;
use crate::error::Rejection;

/// What a request bears to prove its session.
pub(crate) struct Credential {
    pub(crate) via: Via,
    pub(crate) text: Zeroizing<String>,
}

/// The credential of a request, or why what is there is not even looked up, with where it was.
///
/// An access token in `Authorization` wins over a cookie, which is then not read: it was sent on
/// purpose, a cookie goes along by itself. A bad token is never made good by a cookie.
///
/// A ticket in the query, where one is looked for, is sent on purpose too, and for this very
/// request: it counts before a cookie, but not beside an access token.
pub(crate) fn credential(
    parts: &Parts,
    cookie: &SessionCookie,
    ticket: Option<&str>,
) -> Result<Option<Credential>, (Via, Rejection)> {
    if in_query(parts, "access_token").next().is_some() {
        return Err((Via::Bearer, Rejection::InQuery));
    }
    let via = Via::Bearer;
    if let Some(token) = bearer(parts).map_err(|rejection| (via, rejection))? {
        let text = Zeroizing::new(token.to_owned());
        return Ok(Some(Credential { via, text }));
    }
    if let Some(name) = ticket {
        let mut tickets = in_query(parts, name);
        if let Some(text) = tickets.next() {
            let via = Via::Ticket;
            if tickets.next().is_some() {
                return Err((via, Rejection::Ambiguous));
            }
            return Ok(Some(Credential { via, text }));
        }
    }
    let via = Via::Cookie;
    let secret = cookie.read(&parts.headers).map_err(|r| (via, r))?;
    Ok(secret.map(|secret| Credential {
        via,
        text: Zeroizing::new(secret.to_owned()),
    }))
}

/// The token after `Bearer` (RFC 6750, section 2.1). Other schemes are not this crate's.
fn bearer(parts: &Parts) -> Result<Option<&str>, Rejection> {
    let mut found = None;
    let mut fields = 0;
    for field in parts.headers.get_all(AUTHORIZATION) {
        fields += 1;
        let bytes = field.as_bytes().trim_ascii();
        let (scheme, token) = match bytes.iter().position(|b| *b == b' ') {
            Some(at) => bytes.split_at(at),
            None => (bytes, &[] as &[u8]),
        };
        if scheme.eq_ignore_ascii_case(b"bearer") {
            found = Some(token.trim_ascii());
        }
    }
    let Some(token) = found else { return Ok(None) };
    if fields > 1 {
        return Err(Rejection::Ambiguous);
    }
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(Rejection::Malformed);
    }
    let token = std::str::from_utf8(token);
    token.map(Some).map_err(|_| Rejection::Malformed)
}

/// What the query says for a name. For an access token RFC 9700, section 4.3.2, forbids it: URLs
/// end up in logs, histories and `Referer`.
fn in_query<'p>(parts: &'p Parts, name: &'p str) -> impl Iterator<Item = Zeroizing<String>> + 'p {
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .filter(move |(found, _)| found == name)
        .map(|(_, value)| Zeroizing::new(value.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn find(uri: &str, headers: &[(&str, &str)]) -> Result<Option<(Via, String)>, Rejection> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        match credential(&parts, &SessionCookie::new(), Some("ticket")) {
            Ok(found) => Ok(found.map(|c| (c.via, c.text.to_string()))),
            Err((_, rejection)) => Err(rejection),
        }
    }

    const COOKIE: (&str, &str) = ("cookie", "__Host-forge=secret");

    #[test]
    fn finds_one_or_none() {
        assert_eq!(find("/", &[]), Ok(None));
        assert_eq!(
            find("/", &[COOKIE]),
            Ok(Some((Via::Cookie, "secret".into())))
        );
        let bearer = Ok(Some((Via::Bearer, "a.b.c".into())));
        assert_eq!(find("/", &[("authorization", "Bearer a.b.c")]), bearer);
        assert_eq!(find("/", &[("authorization", "bEARER   a.b.c ")]), bearer);
    }

    #[test]
    fn prefers_what_was_sent_on_purpose() {
        let both = [COOKIE, ("authorization", "Bearer token")];
        assert_eq!(find("/", &both), Ok(Some((Via::Bearer, "token".into()))));
        let bad = [COOKIE, ("authorization", "Bearer")];
        assert_eq!(find("/", &bad), Err(Rejection::Malformed));
    }

    #[test]
    fn leaves_other_schemes_alone() {
        let basic = ("authorization", "Basic YTpi");
        assert_eq!(find("/", &[basic]), Ok(None));
        assert_eq!(find("/", &[("authorization", "Bearerx y")]), Ok(None));
        let found = find("/", &[basic, COOKIE]);
        assert_eq!(found, Ok(Some((Via::Cookie, "secret".into()))));
    }

    #[test]
    fn refuses_two_authorizations() {
        let token = ("authorization", "Bearer a");
        let basic = ("authorization", "Basic YTpi");
        assert_eq!(find("/", &[token, token]), Err(Rejection::Ambiguous));
        assert_eq!(find("/", &[token, basic]), Err(Rejection::Ambiguous));
        assert_eq!(find("/", &[basic, token]), Err(Rejection::Ambiguous));
    }

    #[test]
    fn refuses_a_token_with_space_inside() {
        let header = ("authorization", "Bearer a b");
        assert_eq!(find("/", &[header]), Err(Rejection::Malformed));
    }

    #[test]
    fn sees_a_token_in_the_query_however_it_is_written() {
        for uri in [
            "/?access_token=a",
            "/x?a=b&access%5Ftoken=",
            "/?access_token",
        ] {
            assert_eq!(find(uri, &[COOKIE]), Err(Rejection::InQuery), "{uri}");
        }
        assert_eq!(find("/?token=a&xaccess_token=b", &[]), Ok(None));
    }

    #[test]
    fn finds_one_ticket_before_a_cookie_and_not_beside_a_token() {
        let ticket = Ok(Some((Via::Ticket, "a-_".into())));
        assert_eq!(find("/?x=y&ticket=a-_", &[COOKIE]), ticket);
        let token = find("/?ticket=a", &[("authorization", "Bearer t")]);
        assert_eq!(token, Ok(Some((Via::Bearer, "t".into()))));
        assert_eq!(find("/?ticket=a&ticket=a", &[]), Err(Rejection::Ambiguous));
        let both = find("/?ticket=a&access_token=b", &[]);
        assert_eq!(both, Err(Rejection::InQuery));
    }
}
