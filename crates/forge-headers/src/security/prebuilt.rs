//! A policy as header fields, made once.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY, HeaderMap,
    HeaderName, HeaderValue, REFERRER_POLICY, SERVER, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use crate::security::SecurityHeaders;
use crate::security::csp::Csp;
use crate::security::nonce::CspNonce;
use crate::security::reporting::ReportingEndpoint;
use crate::security::values::{
    CrossOriginEmbedderPolicy, CrossOriginOpenerPolicy, CrossOriginResourcePolicy,
    DocumentIsolationPolicy, FrameOptions, IntegrityPolicy, ReferrerPolicy,
};

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const COOP: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const COOP_REPORT_ONLY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy-report-only");
const COEP: HeaderName = HeaderName::from_static("cross-origin-embedder-policy");
const COEP_REPORT_ONLY: HeaderName =
    HeaderName::from_static("cross-origin-embedder-policy-report-only");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const ORIGIN_AGENT_CLUSTER: HeaderName = HeaderName::from_static("origin-agent-cluster");
const DIP: HeaderName = HeaderName::from_static("document-isolation-policy");
const DIP_REPORT_ONLY: HeaderName =
    HeaderName::from_static("document-isolation-policy-report-only");
const INTEGRITY_POLICY: HeaderName = HeaderName::from_static("integrity-policy");
const INTEGRITY_POLICY_REPORT_ONLY: HeaderName =
    HeaderName::from_static("integrity-policy-report-only");
const REPORTING_ENDPOINTS: HeaderName = HeaderName::from_static("reporting-endpoints");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const X_POWERED_BY: HeaderName = HeaderName::from_static("x-powered-by");

/// What [`SecurityHeaders`] amount to.
#[derive(Debug)]
pub(crate) struct Prebuilt {
    http: HeaderMap,
    https: HeaderMap,
    /// Policies that differ with every request.
    with_nonce: Vec<(HeaderName, Csp)>,
    forced: Vec<HeaderName>,
    remove_server: bool,
}

impl Prebuilt {
    pub(crate) fn new(policy: SecurityHeaders) -> Self {
        let (http, https) = (fields(&policy, false), fields(&policy, true));
        let policies = [
            (CONTENT_SECURITY_POLICY, policy.content_security_policy),
            (
                CONTENT_SECURITY_POLICY_REPORT_ONLY,
                policy.content_security_policy_report_only,
            ),
        ];
        let with_nonce = policies
            .into_iter()
            .filter_map(|(name, csp)| Some((name, csp.filter(Csp::uses_nonce)?)))
            .collect();
        Self {
            http,
            https,
            with_nonce,
            forced: policy.forced,
            remove_server: policy.remove_server,
        }
    }

    pub(crate) fn uses_nonce(&self) -> bool {
        !self.with_nonce.is_empty()
    }

    /// Adds the fields to those of a response. What is there already stays, unless it is forced.
    pub(crate) fn apply(
        &self,
        response: &mut HeaderMap,
        https: bool,
        no_store: bool,
        nonce: Option<CspNonce>,
    ) {
        if self.remove_server {
            response.remove(SERVER);
            response.remove(X_POWERED_BY);
        }
        for name in &self.forced {
            // Only what this policy has something to say about.
            let map = if https { &self.https } else { &self.http };
            if map.contains_key(name) || self.with_nonce.iter().any(|(n, _)| n == name) {
                response.remove(name);
            }
        }
        let mut fields = if https { &self.https } else { &self.http }.clone();
        for (name, csp) in &self.with_nonce {
            if !response.contains_key(name)
                && let Some(value) = csp.render(nonce, https)
            {
                fields.insert(name.clone(), value);
            }
        }
        if no_store {
            fields.insert(CACHE_CONTROL, NO_STORE);
        }
        // `extend` replaces: the response's own fields win over the policy's.
        fields.extend(std::mem::take(response));
        *response = fields;
    }
}

/// The fields that are the same in every response.
fn fields(policy: &SecurityHeaders, https: bool) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let mut set = |name: HeaderName, value: Option<HeaderValue>| {
        if let Some(value) = value {
            fields.insert(name, value);
        }
    };
    let word = |word: &'static str, send: bool| send.then(|| HeaderValue::from_static(word));
    // A structured field's item, with where its violations are reported (RFC 8941 §3.3.3).
    let item = |word: Option<&'static str>| match (word, &policy.report_to) {
        (Some(word), Some(endpoint)) => {
            HeaderValue::try_from(format!(r#"{word}; report-to="{}""#, endpoint.name())).ok()
        }
        (word, _) => word.map(HeaderValue::from_static),
    };
    let integrity = |policies: Option<IntegrityPolicy>| {
        let word = policies?.as_str();
        match &policy.report_to {
            Some(endpoint) => {
                HeaderValue::try_from(format!("{word}, endpoints=({})", endpoint.name())).ok()
            }
            None => Some(HeaderValue::from_static(word)),
        }
    };
    let fixed_csp = |csp: &Option<Csp>| {
        csp.as_ref()
            .filter(|csp| !csp.uses_nonce())
            .and_then(|csp| csp.render(None, https))
    };
    set(
        CONTENT_SECURITY_POLICY,
        fixed_csp(&policy.content_security_policy),
    );
    set(
        CONTENT_SECURITY_POLICY_REPORT_ONLY,
        fixed_csp(&policy.content_security_policy_report_only),
    );
    set(
        STRICT_TRANSPORT_SECURITY,
        policy
            .hsts
            .filter(|_| https)
            .and_then(|hsts| HeaderValue::try_from(hsts.to_string()).ok()),
    );
    set(
        X_FRAME_OPTIONS,
        policy
            .frame_options
            .map(FrameOptions::as_str)
            .map(HeaderValue::from_static),
    );
    set(
        X_CONTENT_TYPE_OPTIONS,
        word("nosniff", policy.content_type_options),
    );
    set(
        REFERRER_POLICY,
        policy
            .referrer_policy
            .map(ReferrerPolicy::as_str)
            .map(HeaderValue::from_static),
    );
    set(
        PERMISSIONS_POLICY,
        policy
            .permissions_policy
            .as_ref()
            .and_then(|p| HeaderValue::try_from(p.as_str()).ok()),
    );
    set(
        COOP,
        item(
            policy
                .cross_origin_opener_policy
                .map(CrossOriginOpenerPolicy::as_str),
        ),
    );
    set(
        COOP_REPORT_ONLY,
        item(
            policy
                .cross_origin_opener_policy_report_only
                .map(CrossOriginOpenerPolicy::as_str),
        ),
    );
    set(
        COEP,
        item(
            policy
                .cross_origin_embedder_policy
                .map(CrossOriginEmbedderPolicy::as_str),
        ),
    );
    set(
        COEP_REPORT_ONLY,
        item(
            policy
                .cross_origin_embedder_policy_report_only
                .map(CrossOriginEmbedderPolicy::as_str),
        ),
    );
    set(
        DIP,
        item(
            policy
                .document_isolation_policy
                .map(DocumentIsolationPolicy::as_str),
        ),
    );
    set(
        DIP_REPORT_ONLY,
        item(
            policy
                .document_isolation_policy_report_only
                .map(DocumentIsolationPolicy::as_str),
        ),
    );
    set(INTEGRITY_POLICY, integrity(policy.integrity_policy));
    set(
        INTEGRITY_POLICY_REPORT_ONLY,
        integrity(policy.integrity_policy_report_only),
    );
    let endpoints: Vec<_> = policy
        .reporting_endpoints
        .iter()
        .map(ReportingEndpoint::to_string)
        .collect();
    set(
        REPORTING_ENDPOINTS,
        (!endpoints.is_empty())
            .then(|| HeaderValue::try_from(endpoints.join(", ")).ok())
            .flatten(),
    );
    set(
        CORP,
        policy
            .cross_origin_resource_policy
            .map(CrossOriginResourcePolicy::as_str)
            .map(HeaderValue::from_static),
    );
    set(
        ORIGIN_AGENT_CLUSTER,
        word("?1", policy.origin_agent_cluster),
    );
    set(
        CACHE_CONTROL,
        word("no-store", policy.cache_control_no_store),
    );
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::source::Source;
    use http::header::SET_COOKIE;

    fn applied(
        policy: SecurityHeaders,
        https: bool,
        own: &[(&'static str, &'static str)],
    ) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in own {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Prebuilt::new(policy).apply(&mut headers, https, false, CspNonce::generate());
        headers
    }

    #[test]
    fn the_presets_send_what_they_promise() {
        let lines = |policy: SecurityHeaders| {
            let headers = applied(policy, true, &[]);
            let mut lines: Vec<_> = headers
                .iter()
                .filter(|(name, _)| *name != PERMISSIONS_POLICY && *name != CONTENT_SECURITY_POLICY)
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(
            lines(SecurityHeaders::api()),
            [
                "cache-control: no-store",
                "cross-origin-resource-policy: same-origin",
                "referrer-policy: no-referrer",
                "strict-transport-security: max-age=31536000",
                "x-content-type-options: nosniff",
                "x-frame-options: DENY",
            ]
        );
        assert_eq!(
            lines(SecurityHeaders::web_app()),
            [
                "cross-origin-opener-policy: same-origin",
                "cross-origin-resource-policy: same-origin",
                "origin-agent-cluster: ?1",
                "referrer-policy: strict-origin-when-cross-origin",
                "strict-transport-security: max-age=31536000",
                "x-content-type-options: nosniff",
                "x-frame-options: DENY",
            ]
        );
        assert_eq!(
            lines(SecurityHeaders::strict()),
            [
                "cache-control: no-store",
                "cross-origin-embedder-policy: require-corp",
                "cross-origin-opener-policy: same-origin",
                "cross-origin-resource-policy: same-origin",
                "origin-agent-cluster: ?1",
                "referrer-policy: no-referrer",
                "strict-transport-security: max-age=63072000; includeSubDomains",
                "x-content-type-options: nosniff",
                "x-frame-options: DENY",
            ]
        );
        let headers = applied(SecurityHeaders::web_app(), false, &[]);
        assert_eq!(
            headers[CONTENT_SECURITY_POLICY],
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
             form-action 'self'; frame-ancestors 'none'"
        );
        assert!(headers.contains_key(PERMISSIONS_POLICY));
    }

    #[test]
    fn strict_transport_security_is_sent_over_https_only() {
        let headers = applied(SecurityHeaders::strict(), false, &[]);
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY));
        let csp = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(!csp.contains("upgrade-insecure-requests"));
        let headers = applied(SecurityHeaders::strict(), true, &[]);
        let csp = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(csp.ends_with("; upgrade-insecure-requests"));
    }

    #[test]
    fn the_handlers_own_fields_win_unless_forced() {
        let own = [
            ("x-frame-options", "SAMEORIGIN"),
            ("cache-control", "public"),
            ("content-security-policy", "sandbox"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ];
        let headers = applied(SecurityHeaders::strict(), true, &own);
        for (name, value) in &own[..3] {
            let values: Vec<_> = headers.get_all(*name).iter().collect();
            assert_eq!(values, [value]);
        }
        assert_eq!(headers.get_all(SET_COOKIE).iter().count(), 2);

        let forcing = SecurityHeaders::strict()
            .force(X_FRAME_OPTIONS)
            .force(CONTENT_SECURITY_POLICY)
            .force(SET_COOKIE);
        let headers = applied(forcing, true, &own);
        assert_eq!(headers[X_FRAME_OPTIONS], "DENY");
        assert_eq!(headers[CACHE_CONTROL], "public");
        let csp = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(csp.starts_with("default-src 'none'; script-src 'nonce-"));
        // The policy says nothing of cookies, so that there is nothing to force.
        assert_eq!(headers.get_all(SET_COOKIE).iter().count(), 2);
    }

    #[test]
    fn takes_out_what_names_the_software() {
        let own = [("server", "x/1.2"), ("x-powered-by", "y"), ("x-other", "z")];
        let headers = applied(SecurityHeaders::api(), false, &own);
        assert!(!headers.contains_key(SERVER) && !headers.contains_key(X_POWERED_BY));
        assert!(headers.contains_key("x-other"));
        let headers = applied(SecurityHeaders::empty(), true, &own);
        assert_eq!(headers.len(), own.len());
    }

    #[test]
    fn every_isolation_policy_has_a_report_only_form_and_names_the_endpoint() {
        let endpoint = ReportingEndpoint::new("main", "/reports").unwrap();
        let other = ReportingEndpoint::new("csp", "https://r.example/csp").unwrap();
        let policy = SecurityHeaders::empty()
            .cross_origin_opener_policy(CrossOriginOpenerPolicy::SameOriginAllowPopups)
            .cross_origin_opener_policy_report_only(CrossOriginOpenerPolicy::SameOrigin)
            .cross_origin_embedder_policy(CrossOriginEmbedderPolicy::Credentialless)
            .cross_origin_embedder_policy_report_only(CrossOriginEmbedderPolicy::RequireCorp)
            .document_isolation_policy(DocumentIsolationPolicy::IsolateAndCredentialless)
            .document_isolation_policy_report_only(DocumentIsolationPolicy::IsolateAndRequireCorp)
            .integrity_policy(IntegrityPolicy::Scripts)
            .integrity_policy_report_only(IntegrityPolicy::ScriptsAndStyles);
        let lines = |policy: SecurityHeaders| {
            let headers = applied(policy, true, &[]);
            let mut lines: Vec<_> = headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(
            lines(policy.clone()),
            [
                "cross-origin-embedder-policy-report-only: require-corp",
                "cross-origin-embedder-policy: credentialless",
                "cross-origin-opener-policy-report-only: same-origin",
                "cross-origin-opener-policy: same-origin-allow-popups",
                "document-isolation-policy-report-only: isolate-and-require-corp",
                "document-isolation-policy: isolate-and-credentialless",
                "integrity-policy-report-only: blocked-destinations=(script style)",
                "integrity-policy: blocked-destinations=(script)",
            ]
        );
        assert_eq!(
            lines(policy.report_to(endpoint).reporting_endpoint(other)),
            [
                r#"cross-origin-embedder-policy-report-only: require-corp; report-to="main""#,
                r#"cross-origin-embedder-policy: credentialless; report-to="main""#,
                r#"cross-origin-opener-policy-report-only: same-origin; report-to="main""#,
                r#"cross-origin-opener-policy: same-origin-allow-popups; report-to="main""#,
                r#"document-isolation-policy-report-only: isolate-and-require-corp; report-to="main""#,
                r#"document-isolation-policy: isolate-and-credentialless; report-to="main""#,
                "integrity-policy-report-only: blocked-destinations=(script style), endpoints=(main)",
                "integrity-policy: blocked-destinations=(script), endpoints=(main)",
                r#"reporting-endpoints: main="/reports", csp="https://r.example/csp""#,
            ]
        );
    }

    #[test]
    fn a_report_only_policy_stands_beside_the_other() {
        let csp = Csp::builder().script_src([Source::NONCE]).build().unwrap();
        let policy = SecurityHeaders::api().content_security_policy_report_only(csp);
        let headers = applied(policy, false, &[]);
        assert!(headers.contains_key(CONTENT_SECURITY_POLICY));
        let value = headers[CONTENT_SECURITY_POLICY_REPORT_ONLY]
            .to_str()
            .unwrap();
        assert!(value.starts_with("script-src 'nonce-"), "{value}");
    }
}
