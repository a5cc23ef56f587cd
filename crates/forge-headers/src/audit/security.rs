//! What weakens security headers.

use std::time::Duration;

use crate::audit::{Finding, Findings, Severity, sorted};
use crate::security::csp::{Csp, Directive};
use crate::security::hsts::Hsts;
use crate::security::source::Source;
use crate::security::{SecurityHeaders, YEAR};

use Severity::{High, Low, Medium};

const HALF_A_YEAR: Duration = Duration::from_secs(180 * 24 * 60 * 60);

impl SecurityHeaders {
    /// What weakens this policy, the gravest first.
    ///
    /// ```
    /// use forge_headers::{SecurityHeaders, Severity};
    ///
    /// assert!(SecurityHeaders::strict().audit().is_empty());
    /// let findings = SecurityHeaders::web_app().hsts(None).audit();
    /// assert_eq!(findings[0].severity, Severity::Medium);
    /// assert_eq!(findings[0].subject, "strict-transport-security");
    /// ```
    #[must_use]
    pub fn audit(&self) -> Vec<Finding> {
        let mut all = self.audit_csp();
        all.extend(audit_hsts(self.hsts));
        all.extend(self.audit_the_rest());
        sorted(all)
    }

    fn audit_csp(&self) -> Vec<Finding> {
        let mut findings = Findings::about("content-security-policy");
        let report_only = self.content_security_policy_report_only.is_some();
        match &self.content_security_policy {
            Some(csp) => {
                audit_scripts(&mut findings, csp);
                audit_csp(&mut findings, csp, self.frame_options.is_some());
            }
            None => findings.when(
                true,
                High,
                if report_only {
                    "the policy is reported only, and enforced nowhere"
                } else {
                    "there is no policy: injected script runs"
                },
                "enforce one, such as that of `SecurityHeaders::strict`",
            ),
        }
        let policies = [
            &self.content_security_policy,
            &self.content_security_policy_report_only,
        ];
        let named = policies
            .into_iter()
            .flatten()
            .filter_map(Csp::endpoint)
            .any(|endpoint| !self.reporting_endpoints.contains(endpoint));
        findings.when(
            named,
            Medium,
            "reports go to an endpoint that is not in Reporting-Endpoints",
            "add it with `SecurityHeaders::reporting_endpoint`",
        );
        let silent = report_only
            && policies[1]
                .as_ref()
                .is_some_and(|csp| csp.endpoint().is_none());
        findings.when(
            silent,
            Low,
            "the report-only policy reports to nobody",
            "name an endpoint with `CspBuilder::report_to`",
        );
        findings.into_vec()
    }

    fn audit_the_rest(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        let mut absent = |subject, missing: bool, severity, problem: &'static str, fix| {
            let mut findings = Findings::about(subject);
            findings.when(missing, severity, problem, fix);
            all.extend(findings.into_vec());
        };
        absent(
            "x-content-type-options",
            !self.content_type_options,
            Medium,
            "browsers may take a response for a script or a page that it is not",
            "send `nosniff` with `SecurityHeaders::content_type_options`",
        );
        absent(
            "referrer-policy",
            self.referrer_policy.is_none(),
            Low,
            "what other origins learn of an address is left to the browser",
            "set one with `SecurityHeaders::referrer_policy`",
        );
        absent(
            "cross-origin-resource-policy",
            self.cross_origin_resource_policy.is_none(),
            Low,
            "pages of any origin may embed responses, and measure them",
            "set one with `SecurityHeaders::cross_origin_resource_policy`",
        );
        absent(
            "server",
            !self.remove_server,
            Low,
            "responses may name the software and its version",
            "take it out with `SecurityHeaders::remove_server`",
        );
        all
    }
}

fn audit_hsts(hsts: Option<Hsts>) -> Vec<Finding> {
    let mut findings = Findings::about("strict-transport-security");
    let Some(hsts) = hsts else {
        findings.when(
            true,
            Medium,
            "a first request in clear can be redirected by anyone on the way",
            "set one of at least a year with `SecurityHeaders::hsts`",
        );
        return findings.into_vec();
    };
    findings.when(
        hsts.max_age() < HALF_A_YEAR,
        Medium,
        "browsers forget it after less than half a year",
        "set a max-age of at least a year",
    );
    findings.when(
        (HALF_A_YEAR..YEAR).contains(&hsts.max_age()),
        Low,
        "browsers forget it after less than a year",
        "set a max-age of at least a year",
    );
    findings.when(
        !hsts.includes_sub_domains(),
        Low,
        "a subdomain in clear can set cookies for this host",
        "add `Hsts::include_sub_domains` once all of them are served over https",
    );
    findings.into_vec()
}

/// What lets injected script run.
fn audit_scripts(findings: &mut Findings, csp: &Csp) {
    let sources = csp
        .sources(Directive::ScriptSrc)
        .or_else(|| csp.sources(Directive::DefaultSrc));
    let Some(sources) = sources else {
        findings.when(
            true,
            High,
            "neither script-src nor default-src is given: scripts of any origin run",
            "begin with `default-src 'none'`",
        );
        return;
    };
    let has = |wanted: &Source| sources.iter().any(|source| is(source, wanted));
    let by_nonce = sources.iter().any(|source| source.text().is_none());
    let by_hash = sources.iter().any(Source::is_hash);
    let is_strict = has(&Source::STRICT_DYNAMIC) && (by_nonce || by_hash);
    findings.when(
        has(&Source::UNSAFE_INLINE) && !by_nonce && !by_hash,
        High,
        "'unsafe-inline' lets injected script run",
        "use `Source::NONCE` or the hashes of the scripts",
    );
    findings.when(
        has(&Source::UNSAFE_EVAL),
        Medium,
        "'unsafe-eval' lets text run as script",
        "take it out; WebAssembly alone needs 'wasm-unsafe-eval'",
    );
    findings.when(
        has(&"'unsafe-hashes'".into()),
        Low,
        "'unsafe-hashes' lets event handlers in attributes run",
        "attach the handlers in a script",
    );
    let is_open = |source: &Source| {
        let text = source.text().unwrap_or_default();
        matches!(text, "*" | "https://*" | "http://*") || text.ends_with(':')
    };
    findings.when(
        !is_strict && sources.iter().any(is_open),
        High,
        "scripts of any origin, or from the text of an address, run",
        "use `Source::NONCE` with `Source::STRICT_DYNAMIC`",
    );
    let is_host =
        |source: &Source| !source.is_quoted() && source.text().is_some() && !is_open(source);
    findings.when(
        !is_strict && sources.iter().any(is_host),
        Low,
        "whole origins may serve scripts, old and unused ones included",
        "use `Source::NONCE` with `Source::STRICT_DYNAMIC`",
    );
    findings.when(
        !is_strict && has(&Source::SELF),
        Low,
        "'self' lets every file of this origin run as a script, uploads and JSONP included",
        "serve neither, or use `Source::NONCE` with `Source::STRICT_DYNAMIC`",
    );
    findings.when(
        !has(&Source::NONE) && !csp.requires_trusted_types(),
        Low,
        "scripts may pass plain text to innerHTML and its like",
        "add `CspBuilder::require_trusted_types_for_script`",
    );
    findings.when(
        (by_nonce || is_strict) && csp.sources(Directive::BaseUri).is_none(),
        High,
        "base-uri is not given: an injected <base> makes trusted scripts load from elsewhere",
        "add `base-uri 'none'`",
    );
}

/// What lets a page be used for something else.
fn audit_csp(findings: &mut Findings, csp: &Csp, has_frame_options: bool) {
    let objects = csp
        .sources(Directive::ObjectSrc)
        .or_else(|| csp.sources(Directive::DefaultSrc));
    findings.when(
        objects.is_none(),
        Medium,
        "object-src is not given: plug-ins may be embedded from anywhere",
        "begin with `default-src 'none'`",
    );
    findings.when(
        csp.sources(Directive::BaseUri).is_none(),
        Low,
        "base-uri is not given: an injected <base> moves relative addresses elsewhere",
        "add `base-uri 'none'`",
    );
    findings.when(
        csp.sources(Directive::FormAction).is_none(),
        Low,
        "form-action is not given: an injected form may send what users type elsewhere",
        "add `form-action 'self'`",
    );
    let framed = csp.sources(Directive::FrameAncestors);
    findings.when(
        framed.is_none() && !has_frame_options,
        Medium,
        "neither frame-ancestors nor X-Frame-Options is given: any page may frame this one",
        "add `frame-ancestors 'none'`",
    );
    let is_any = |source: &Source| {
        let text = source.text().unwrap_or_default();
        text == "*" || text.ends_with(':')
    };
    findings.when(
        framed.is_some_and(|sources| sources.iter().any(is_any)),
        Medium,
        "frame-ancestors allows any page to frame this one",
        "list the origins that may",
    );
    let styles = csp
        .sources(Directive::StyleSrc)
        .or_else(|| csp.sources(Directive::DefaultSrc));
    let inline = |sources: &[Source]| {
        sources.iter().any(|s| is(s, &Source::UNSAFE_INLINE))
            && sources.iter().all(|s| s.text().is_some() && !s.is_hash())
    };
    findings.when(
        styles.is_some_and(inline),
        Low,
        "'unsafe-inline' lets injected styles read a page piece by piece",
        "use `Source::NONCE` for styles too",
    );
}

fn is(source: &Source, wanted: &Source) -> bool {
    match (source.text(), wanted.text()) {
        (Some(text), Some(wanted)) => text.eq_ignore_ascii_case(wanted),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::csp::CspBuilder;
    use crate::security::reporting::ReportingEndpoint;
    use crate::security::values::FrameOptions;

    fn base() -> CspBuilder {
        Csp::builder()
            .default_src([Source::NONE])
            .base_uri([Source::NONE])
            .form_action([Source::NONE])
            .frame_ancestors([Source::NONE])
    }

    #[test]
    fn the_presets_have_at_most_what_is_worth_knowing() {
        assert_eq!(SecurityHeaders::strict().audit(), []);
        for preset in [SecurityHeaders::web_app(), SecurityHeaders::api()] {
            let findings = preset.audit();
            assert!(findings.iter().all(|f| f.severity == Low), "{findings:?}");
        }
    }

    #[test]
    fn each_weakness_of_a_policy_is_found() {
        let with_scripts = |sources: &[Source]| base().script_src(sources.iter().cloned());
        let nonce = || [Source::NONCE, Source::STRICT_DYNAMIC];
        let text = |text: &str| Source::from(text);
        for (builder, severity, words) in [
            (
                Csp::builder().img_src([Source::SELF]),
                High,
                "any origin run",
            ),
            (
                with_scripts(&[Source::SELF, Source::UNSAFE_INLINE]),
                High,
                "'unsafe-inline' lets injected script",
            ),
            (
                with_scripts(&[Source::SELF, Source::UNSAFE_EVAL]),
                Medium,
                "'unsafe-eval'",
            ),
            (with_scripts(&[text("*")]), High, "any origin, or"),
            (with_scripts(&[text("https:")]), High, "any origin, or"),
            (with_scripts(&[text("data:")]), High, "any origin, or"),
            (
                with_scripts(&[text("'unsafe-hashes'")]),
                Low,
                "event handlers",
            ),
            (with_scripts(&[text("cdn.example")]), Low, "whole origins"),
            (with_scripts(&[Source::SELF]), Low, "'self'"),
            (with_scripts(&nonce()), Low, "innerHTML"),
            (
                Csp::builder().script_src(nonce()),
                High,
                "an injected <base> makes trusted",
            ),
            (
                Csp::builder().script_src([Source::NONE]),
                Medium,
                "object-src",
            ),
            (
                Csp::builder().default_src([Source::NONE]),
                Low,
                "base-uri is not given",
            ),
            (
                Csp::builder().default_src([Source::NONE]),
                Low,
                "form-action",
            ),
            (
                Csp::builder().default_src([Source::NONE]),
                Medium,
                "neither frame-ancestors",
            ),
            (
                Csp::builder()
                    .default_src([Source::NONE])
                    .frame_ancestors([text("*")]),
                Medium,
                "frame-ancestors allows",
            ),
            (
                base().style_src([Source::UNSAFE_INLINE]),
                Low,
                "injected styles",
            ),
        ] {
            let csp = builder.build().unwrap();
            let headers = SecurityHeaders::strict()
                .frame_options(None)
                .content_security_policy(csp.clone());
            let findings = headers.audit();
            let found = findings.iter().find(|f| f.problem.contains(words));
            assert_eq!(
                found.map(|f| f.severity),
                Some(severity),
                "{csp} {findings:?}"
            );
        }
        // What makes up for a weakness silences it.
        let strict = with_scripts(&[
            Source::NONCE,
            Source::STRICT_DYNAMIC,
            Source::UNSAFE_INLINE,
            text("https:"),
        ])
        .require_trusted_types_for_script(true);
        let headers = SecurityHeaders::strict().content_security_policy(strict.build().unwrap());
        assert_eq!(headers.audit(), []);
    }

    #[test]
    fn each_missing_field_is_found() {
        let day = Duration::from_secs(86_400);
        let endpoint = ReportingEndpoint::new("csp", "/csp").unwrap();
        let reporting = || base().report_to(&endpoint).build().unwrap();
        let strict = SecurityHeaders::strict;
        for (headers, severity, words) in [
            (strict().content_security_policy(None), High, "no policy"),
            (
                strict()
                    .content_security_policy(None)
                    .content_security_policy_report_only(reporting()),
                High,
                "reported only",
            ),
            (
                strict().content_security_policy(reporting()),
                Medium,
                "not in Reporting-Endpoints",
            ),
            (
                strict().content_security_policy_report_only(base().build().unwrap()),
                Low,
                "reports to nobody",
            ),
            (strict().hsts(None), Medium, "in clear can be redirected"),
            (
                strict().hsts(Hsts::new(day).include_sub_domains()),
                Medium,
                "less than half a year",
            ),
            (
                strict().hsts(Hsts::new(200 * day).include_sub_domains()),
                Low,
                "less than a year",
            ),
            (strict().hsts(Hsts::new(YEAR)), Low, "subdomain"),
            (
                strict().content_type_options(false),
                Medium,
                "take a response",
            ),
            (strict().referrer_policy(None), Low, "left to the browser"),
            (
                strict().cross_origin_resource_policy(None),
                Low,
                "embed responses",
            ),
            (strict().remove_server(false), Low, "name the software"),
        ] {
            let findings = headers.audit();
            let found: Vec<_> = findings
                .iter()
                .filter(|f| f.problem.contains(words))
                .collect();
            assert_eq!(found.len(), 1, "{words}: {findings:?}");
            assert_eq!(found[0].severity, severity, "{words}");
            assert!(findings.is_sorted_by(|a, b| a.severity >= b.severity));
        }
        let headers = strict()
            .content_security_policy(reporting())
            .reporting_endpoint(endpoint.clone())
            .frame_options(FrameOptions::Deny);
        assert_eq!(headers.audit(), []);
    }
}
