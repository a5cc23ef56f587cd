//! Every way in which a token may be wrong.

use super::*;
use jsonwebtoken::crypto::{CryptoProvider, KeyUtils};
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::session::{ClientId, SessionId, UserId};
use crate::signing_key::SigningKey;

const NOW: i64 = 1_800_000_000;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(secs * 1_000_000)
}

fn tokens() -> AccessTokens {
    let keys = TokenKeys::new(SigningKey::generate().unwrap());
    AccessTokens::new("https://forge.example", "https://forge.example/mcp", keys)
}

fn session() -> Session {
    Session {
        id: SessionId::new(),
        user: UserId::new("github:1001").unwrap(),
        kind: Kind::MCP,
        client: Some(ClientId::new("inspector").unwrap()),
        scopes: None,
        created: at(NOW),
        last_used: at(NOW),
        idle_expires: at(NOW + 7200),
        absolute_expires: at(NOW + 7200),
        created_ip: None,
        last_ip: None,
        created_user_agent: None,
        user_agent: None,
        generation: 0,
        rotated: None,
        revoked: None,
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://forge.example", "aud": "https://forge.example/mcp",
        "sub": "github:1001", "client_id": "inspector", "iat": NOW, "nbf": NOW,
        "exp": NOW + 900, "jti": "1", "sid": SessionId::new().to_string(), "kind": "mcp",
    })
}

fn header(tokens: &AccessTokens) -> Value {
    json!({"typ": "at+jwt", "alg": "EdDSA", "kid": tokens.keys().current().id()})
}

/// A token with any header at all, correctly signed.
fn signed(tokens: &AccessTokens, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let keys = tokens.keys();
    let key = keys.current();
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn refused(tokens: &AccessTokens, token: &str) -> TokenError {
    let verified = tokens.verify(token, at(NOW));
    verified.expect_err("the token must be refused")
}

fn refused_with_header(name: &str, value: Value) -> TokenError {
    let tokens = tokens();
    let mut header = header(&tokens);
    header[name] = value;
    refused(&tokens, &signed(&tokens, &header, &claims()))
}

fn refused_with_claim(name: &str, value: Value) -> TokenError {
    let tokens = tokens();
    let mut claims = claims();
    claims[name] = value;
    refused(&tokens, &signed(&tokens, &header(&tokens), &claims))
}

#[test]
fn accepts_what_it_issues_with_every_claim_of_rfc_9068() {
    let (tokens, session) = (tokens(), session());
    let issued = tokens
        .issue(&session, None, Duration::from_secs(900), at(NOW))
        .unwrap();
    assert_eq!(issued.expires_in, Duration::from_secs(900));
    let token = issued.token.expose_secret();
    let verified = tokens.verify(token, at(NOW)).unwrap();
    assert_eq!(verified.session, session.id);
    assert_eq!((verified.not_before, verified.expires), (NOW, NOW + 900));
    assert_eq!(verified.user, "github:1001");
    assert_eq!(verified.client, "inspector");
    assert_eq!(verified.kind, "mcp");
    assert_eq!(verified.scopes, None);
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(header.kid.as_deref(), Some(tokens.keys().current().id()));
}

#[test]
fn accepts_the_hand_made_token_that_the_refusals_start_from() {
    let tokens = tokens();
    let token = signed(&tokens, &header(&tokens), &claims());
    assert!(tokens.verify(&token, at(NOW)).is_ok());
}

/// As in a binary that has compiled none of `jsonwebtoken`'s backends, or two of them.
#[test]
fn needs_no_cryptography_of_the_library_that_reads_the_header() {
    static NONE: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| panic!("signed by the library"),
        verifier_factory: |_, _| panic!("verified by the library"),
        key_utils: KeyUtils::new_unimplemented(),
    };
    NONE.install_default().unwrap();
    let secret = SigningKey::from_shared_secret(&vec![7; 32].into());
    for key in [SigningKey::generate(), secret] {
        let tokens = AccessTokens::new("i", "a", TokenKeys::new(key.unwrap()));
        let issued = tokens.issue(&session(), None, Duration::from_secs(60), at(NOW));
        let issued = issued.unwrap();
        let verified = tokens.verify(issued.token.expose_secret(), at(NOW));
        assert_eq!(verified.unwrap().user, "github:1001");
    }
}

#[test]
fn never_outlives_the_session() {
    let ttl = Duration::from_secs(900);
    let issued = tokens()
        .issue(&session(), None, ttl, at(NOW + 7000))
        .unwrap();
    assert_eq!(issued.expires_in, Duration::from_secs(200));
}

#[test]
fn refuses_alg_none() {
    assert_eq!(
        refused_with_header("alg", json!("none")),
        TokenError::Malformed
    );
    let tokens = tokens();
    let header = json!({"typ": "at+jwt", "alg": "none"});
    let token = signed(&tokens, &header, &claims());
    let bare = &token[..=token.rfind('.').unwrap()];
    assert_eq!(refused(&tokens, bare), TokenError::Malformed);
}

#[test]
fn refuses_the_public_key_used_as_a_shared_secret() {
    let tokens = tokens();
    let jwks = tokens.keys().jwks();
    let public = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["x"].as_str().unwrap());
    let secret = SigningKey::from_shared_secret(&public.unwrap().into()).unwrap();
    let theirs = AccessTokens::new("", "", TokenKeys::new(secret));
    let mut header = header(&tokens);
    header["alg"] = json!("HS256");
    let token = signed(&theirs, &header, &claims());
    assert_eq!(refused(&tokens, &token), TokenError::Algorithm);
}

#[test]
fn refuses_another_type() {
    assert_eq!(refused_with_header("typ", json!("JWT")), TokenError::Type);
    assert_eq!(refused_with_header("typ", Value::Null), TokenError::Type);
    assert_eq!(refused_with_header("typ", json!("")), TokenError::Type);
}

#[test]
fn accepts_the_type_written_in_full_and_in_capitals() {
    let tokens = tokens();
    for typ in ["application/at+jwt", "AT+JWT"] {
        let mut header = header(&tokens);
        header["typ"] = json!(typ);
        let token = signed(&tokens, &header, &claims());
        assert!(tokens.verify(&token, at(NOW)).is_ok(), "{typ}");
    }
}

#[test]
fn refuses_an_unknown_or_absent_key() {
    let other = SigningKey::generate().unwrap();
    assert_eq!(
        refused_with_header("kid", json!(other.id())),
        TokenError::Key
    );
    assert_eq!(refused_with_header("kid", Value::Null), TokenError::Key);
}

#[test]
fn refuses_header_members_that_want_to_be_interpreted() {
    let x = tokens().keys().jwks()["keys"][0].clone();
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("jku", json!("https://evil.example/jwks")),
        ("jwk", x),
        ("x5u", json!("https://evil.example/x5u")),
        ("x5c", json!(["MAo="])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
    ] {
        assert_eq!(
            refused_with_header(name, value),
            TokenError::Header,
            "{name}"
        );
    }
}

#[test]
fn refuses_another_issuer_or_audience() {
    let evil = "https://evil.example";
    assert_eq!(refused_with_claim("iss", json!(evil)), TokenError::Issuer);
    assert_eq!(refused_with_claim("aud", json!(evil)), TokenError::Audience);
    let both = json!(["https://forge.example/mcp", evil]);
    assert_eq!(refused_with_claim("aud", both), TokenError::Claims);
}

#[test]
fn refuses_a_token_without_any_one_of_its_claims() {
    let tokens = tokens();
    for name in claims().as_object().unwrap().keys() {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        let token = signed(&tokens, &header(&tokens), &claims);
        assert_eq!(refused(&tokens, &token), TokenError::Claims, "{name}");
        assert_eq!(
            refused_with_claim(name, Value::Null),
            TokenError::Claims,
            "{name}"
        );
    }
    assert_eq!(refused_with_claim("exp", json!("soon")), TokenError::Claims);
}

#[test]
fn allows_thirty_seconds_between_the_clocks_and_no_more() {
    let tokens = tokens();
    let token = signed(&tokens, &header(&tokens), &claims());
    let verify = |now| tokens.verify(&token, at(now)).map(|_| ());
    let expires = NOW + 900;
    assert_eq!(verify(expires + 29), Ok(()));
    assert_eq!(verify(expires + 30), Err(TokenError::Expired));
    assert_eq!(verify(expires + 31), Err(TokenError::Expired));
    assert_eq!(verify(NOW - 30), Ok(()));
    assert_eq!(verify(NOW - 31), Err(TokenError::NotYetValid));
}

#[test]
fn refuses_a_token_of_the_future() {
    let error = TokenError::NotYetValid;
    assert_eq!(refused_with_claim("iat", json!(NOW + 31)), error);
    assert_eq!(refused_with_claim("nbf", json!(NOW + 31)), error);
    assert_eq!(refused_with_claim("nbf", json!(i64::MAX)), error);
}

#[test]
fn refuses_times_at_the_edge_without_overflow() {
    assert_eq!(refused_with_claim("exp", json!(0)), TokenError::Expired);
    assert_eq!(refused_with_claim("exp", json!(-1)), TokenError::Claims);
    assert_eq!(refused_with_claim("exp", json!(1e300)), TokenError::Claims);
}

#[test]
fn refuses_a_changed_token_and_a_foreign_signature() {
    let (ours, theirs) = (tokens(), tokens());
    let token = signed(&theirs, &header(&ours), &claims());
    assert_eq!(refused(&ours, &token), TokenError::Signature);
    let token = signed(&ours, &header(&ours), &claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let unsigned = format!("{message}.");
    assert_eq!(refused(&ours, &unsigned), TokenError::Signature);
    let half = &token[..token.len() - 42];
    assert_eq!(refused(&ours, half), TokenError::Signature);
    let (head, _) = message.split_once('.').unwrap();
    let mut admin = claims();
    admin["sub"] = json!("github:1");
    let admin = URL_SAFE_NO_PAD.encode(admin.to_string());
    let forged = format!("{head}.{admin}.{signature}");
    assert_eq!(refused(&ours, &forged), TokenError::Signature);
}

#[test]
fn accepts_tokens_of_a_previous_key_only_while_it_is_kept() {
    let (old, new) = (
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let with = |keys| AccessTokens::new("i", "a", keys);
    let before = with(TokenKeys::new(old.clone()));
    let issued = before
        .issue(&session(), None, Duration::from_secs(60), at(NOW))
        .unwrap();
    let token = issued.token.expose_secret();
    let during = with(TokenKeys::new(new.clone()).previous(old));
    assert!(during.verify(token, at(NOW)).is_ok());
    assert_eq!(refused(&with(TokenKeys::new(new)), token), TokenError::Key);
}

#[test]
fn signs_with_a_shared_secret_and_refuses_to_mix_the_algorithms() {
    let secret = || SecretSlice::from(vec![7; 32]);
    let keys = TokenKeys::new(SigningKey::from_shared_secret(&secret()).unwrap());
    let tokens = AccessTokens::new("https://forge.example", "https://forge.example/mcp", keys);
    let kid = tokens.keys().current().id().to_owned();
    let header = |alg: &str| json!({"typ": "at+jwt", "alg": alg, "kid": kid});
    let token = signed(&tokens, &header("HS256"), &claims());
    assert!(tokens.verify(&token, at(NOW)).is_ok());
    for alg in ["EdDSA", "HS384", "HS512", "RS256", "ES256"] {
        let token = signed(&tokens, &header(alg), &claims());
        assert_eq!(refused(&tokens, &token), TokenError::Algorithm, "{alg}");
    }
    let other = SigningKey::from_shared_secret(&vec![8; 32].into()).unwrap();
    assert_ne!(other.id(), kid);
    let issued = tokens.issue(&session(), None, Duration::from_secs(60), at(NOW));
    let issued = issued.unwrap();
    assert!(tokens.verify(issued.token.expose_secret(), at(NOW)).is_ok());
    assert_eq!(tokens.keys().jwks(), json!({ "keys": [] }));
}

#[test]
fn remembers_a_token_but_neither_past_its_time_nor_past_its_key() {
    let tokens = tokens();
    let token = signed(&tokens, &header(&tokens), &claims());
    for _ in 0..2 {
        assert!(tokens.verify(&token, at(NOW)).is_ok());
    }
    let expired = tokens.verify(&token, at(NOW + 930)).unwrap_err();
    assert_eq!(expired, TokenError::Expired);
    let early = tokens.verify(&token, at(NOW - 31)).unwrap_err();
    assert_eq!(early, TokenError::NotYetValid);
    tokens.set_keys(TokenKeys::new(SigningKey::generate().unwrap()));
    assert_eq!(refused(&tokens, &token), TokenError::Key);
}

#[test]
fn reads_the_scopes_and_refuses_what_are_none() {
    let tokens = tokens();
    let mut claims = claims();
    claims["scope"] = json!("write read");
    let token = signed(&tokens, &header(&tokens), &claims);
    let verified = tokens.verify(&token, at(NOW)).unwrap();
    assert_eq!(verified.scopes, Some("read write".parse().unwrap()));
    assert_eq!(
        refused_with_claim("scope", json!("a  b")),
        TokenError::Claims
    );
    assert_eq!(
        refused_with_claim("scope", json!(["a"])),
        TokenError::Claims
    );
}

#[test]
fn refuses_what_is_too_long_or_no_token_at_all() {
    let tokens = tokens();
    let mut long = claims();
    long["jti"] = json!("x".repeat(MAX_LEN));
    let long = signed(&tokens, &header(&tokens), &long);
    assert_eq!(refused(&tokens, &long), TokenError::TooLong);
    for text in [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "\u{e9}.e30.e30",
        "e30.e30.e30",
    ] {
        assert_eq!(refused(&tokens, text), TokenError::Malformed, "{text}");
    }
}
