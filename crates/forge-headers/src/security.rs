//! The header fields that tell a browser what a response may do.

use std::time::Duration;

use http::header::HeaderName;

use crate::security::csp::{Csp, Directive};
use crate::security::hsts::Hsts;
use crate::security::permissions::PermissionsPolicy;
use crate::security::reporting::ReportingEndpoint;
use crate::security::source::Source;
use crate::security::values::{
    CrossOriginEmbedderPolicy, CrossOriginOpenerPolicy, CrossOriginResourcePolicy,
    DocumentIsolationPolicy, FrameOptions, IntegrityPolicy, ReferrerPolicy,
};

pub(crate) mod clear_site_data;
pub(crate) mod csp;
pub(crate) mod future;
pub(crate) mod has_session;
pub(crate) mod hsts;
pub(crate) mod layer;
pub(crate) mod nonce;
pub(crate) mod permissions;
pub(crate) mod prebuilt;
pub(crate) mod random;
pub(crate) mod reporting;
pub(crate) mod service;
pub(crate) mod source;
pub(crate) mod values;

pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Which security headers every response bears.
///
/// Start from a preset and change what differs; a setter given `None` leaves the field out.
///
/// | Field | [`api`](Self::api) | [`web_app`](Self::web_app) | [`strict`](Self::strict) |
/// |---|---|---|---|
/// | `Content-Security-Policy` | `default-src 'none'` and no frames | own resources only | only scripts with the nonce, Trusted Types |
/// | `Strict-Transport-Security` (over https) | a year | a year | two years, with subdomains |
/// | `X-Frame-Options` | `DENY` | `DENY` | `DENY` |
/// | `X-Content-Type-Options` | `nosniff` | `nosniff` | `nosniff` |
/// | `Referrer-Policy` | `no-referrer` | `strict-origin-when-cross-origin` | `no-referrer` |
/// | `Permissions-Policy` | – | no camera, microphone, … | no camera, microphone, … |
/// | `Cross-Origin-Resource-Policy` | `same-origin` | `same-origin` | `same-origin` |
/// | `Cross-Origin-Opener-Policy` | – | `same-origin` | `same-origin` |
/// | `Cross-Origin-Embedder-Policy` | – | – | `require-corp` |
/// | `Origin-Agent-Cluster` | – | `?1` | `?1` |
/// | `Cache-Control` | `no-store` | – | `no-store` |
///
/// `Server` and `X-Powered-By` are removed. `X-XSS-Protection` is never sent: the filters it
/// controlled are gone, and were a hole themselves.
///
/// A field that the handler set itself stays as it is, unless it is [forced](Self::force).
#[derive(Clone, Debug)]
#[must_use]
pub struct SecurityHeaders {
    pub(crate) content_security_policy: Option<Csp>,
    pub(crate) content_security_policy_report_only: Option<Csp>,
    pub(crate) hsts: Option<Hsts>,
    pub(crate) frame_options: Option<FrameOptions>,
    pub(crate) content_type_options: bool,
    pub(crate) referrer_policy: Option<ReferrerPolicy>,
    pub(crate) permissions_policy: Option<PermissionsPolicy>,
    pub(crate) cross_origin_opener_policy: Option<CrossOriginOpenerPolicy>,
    pub(crate) cross_origin_embedder_policy: Option<CrossOriginEmbedderPolicy>,
    pub(crate) cross_origin_opener_policy_report_only: Option<CrossOriginOpenerPolicy>,
    pub(crate) cross_origin_embedder_policy_report_only: Option<CrossOriginEmbedderPolicy>,
    pub(crate) cross_origin_resource_policy: Option<CrossOriginResourcePolicy>,
    pub(crate) document_isolation_policy: Option<DocumentIsolationPolicy>,
    pub(crate) document_isolation_policy_report_only: Option<DocumentIsolationPolicy>,
    pub(crate) integrity_policy: Option<IntegrityPolicy>,
    pub(crate) integrity_policy_report_only: Option<IntegrityPolicy>,
    pub(crate) reporting_endpoints: Vec<ReportingEndpoint>,
    pub(crate) report_to: Option<ReportingEndpoint>,
    pub(crate) origin_agent_cluster: bool,
    pub(crate) cache_control_no_store: bool,
    pub(crate) remove_server: bool,
    pub(crate) forced: Vec<HeaderName>,
}

impl SecurityHeaders {
    /// No field at all, and nothing removed: to build a policy from the ground up.
    pub fn empty() -> Self {
        Self {
            content_security_policy: None,
            content_security_policy_report_only: None,
            hsts: None,
            frame_options: None,
            content_type_options: false,
            referrer_policy: None,
            permissions_policy: None,
            cross_origin_opener_policy: None,
            cross_origin_embedder_policy: None,
            cross_origin_opener_policy_report_only: None,
            cross_origin_embedder_policy_report_only: None,
            cross_origin_resource_policy: None,
            document_isolation_policy: None,
            document_isolation_policy_report_only: None,
            integrity_policy: None,
            integrity_policy_report_only: None,
            reporting_endpoints: Vec::new(),
            report_to: None,
            origin_agent_cluster: false,
            cache_control_no_store: false,
            remove_server: false,
            forced: Vec::new(),
        }
    }

    /// For responses that are read by programs: nothing may be loaded, framed or cached.
    pub fn api() -> Self {
        let none = || [Source::NONE];
        let csp = Csp::builder()
            .default_src(none())
            .base_uri(none())
            .form_action(none())
            .frame_ancestors(none());
        Self {
            content_security_policy: Some(csp.assemble()),
            hsts: Some(Hsts::new(YEAR)),
            frame_options: Some(FrameOptions::Deny),
            content_type_options: true,
            referrer_policy: Some(ReferrerPolicy::NoReferrer),
            cross_origin_resource_policy: Some(CrossOriginResourcePolicy::SameOrigin),
            cache_control_no_store: true,
            remove_server: true,
            ..Self::empty()
        }
    }

    /// For pages whose scripts, styles, images and fonts are files of the same origin; no inline
    /// script or style, forms to the same origin, no frames in either direction.
    pub fn web_app() -> Self {
        let own = || [Source::SELF];
        let csp = Csp::builder()
            .default_src([Source::NONE])
            .script_src(own())
            .style_src(own())
            .img_src(own())
            .font_src(own())
            .connect_src(own())
            .directive(Directive::ManifestSrc, own())
            .base_uri([Source::NONE])
            .form_action(own())
            .frame_ancestors([Source::NONE])
            .upgrade_insecure_requests(true);
        Self {
            content_security_policy: Some(csp.assemble()),
            referrer_policy: Some(ReferrerPolicy::StrictOriginWhenCrossOrigin),
            permissions_policy: Some(PermissionsPolicy::deny_sensors()),
            cross_origin_opener_policy: Some(CrossOriginOpenerPolicy::SameOrigin),
            origin_agent_cluster: true,
            cache_control_no_store: false,
            ..Self::api()
        }
    }

    /// For pages that are written for it: scripts run only with the request's
    /// [`CspNonce`](crate::CspNonce), styles too, string-to-script sinks need Trusted Types, the
    /// page is isolated from other origins and never cached.
    pub fn strict() -> Self {
        let own = || [Source::SELF];
        let csp = Csp::builder()
            .default_src([Source::NONE])
            .script_src([Source::NONCE, Source::STRICT_DYNAMIC])
            .style_src([Source::NONCE])
            .img_src(own())
            .font_src(own())
            .connect_src(own())
            .directive(Directive::ManifestSrc, own())
            .base_uri([Source::NONE])
            .form_action(own())
            .frame_ancestors([Source::NONE])
            .require_trusted_types_for_script(true)
            .upgrade_insecure_requests(true);
        Self {
            content_security_policy: Some(csp.assemble()),
            hsts: Some(Hsts::new(2 * YEAR).include_sub_domains()),
            referrer_policy: Some(ReferrerPolicy::NoReferrer),
            cross_origin_embedder_policy: Some(CrossOriginEmbedderPolicy::RequireCorp),
            cache_control_no_store: true,
            ..Self::web_app()
        }
    }

    /// `Content-Security-Policy` (CSP Level 3).
    pub fn content_security_policy(mut self, csp: impl Into<Option<Csp>>) -> Self {
        self.content_security_policy = csp.into();
        self
    }

    /// `Content-Security-Policy-Report-Only`: what would be blocked is reported only.
    pub fn content_security_policy_report_only(mut self, csp: impl Into<Option<Csp>>) -> Self {
        self.content_security_policy_report_only = csp.into();
        self
    }

    /// `Strict-Transport-Security` (RFC 6797), sent only when the request's
    /// [`Connection`](crate::Connection) is over https.
    pub fn hsts(mut self, hsts: impl Into<Option<Hsts>>) -> Self {
        self.hsts = hsts.into();
        self
    }

    /// `X-Frame-Options` (RFC 7034), for browsers without `frame-ancestors`.
    pub fn frame_options(mut self, frame_options: impl Into<Option<FrameOptions>>) -> Self {
        self.frame_options = frame_options.into();
        self
    }

    /// `X-Content-Type-Options: nosniff`.
    pub fn content_type_options(mut self, nosniff: bool) -> Self {
        self.content_type_options = nosniff;
        self
    }

    /// `Referrer-Policy`.
    pub fn referrer_policy(mut self, policy: impl Into<Option<ReferrerPolicy>>) -> Self {
        self.referrer_policy = policy.into();
        self
    }

    /// `Permissions-Policy`.
    pub fn permissions_policy(mut self, policy: impl Into<Option<PermissionsPolicy>>) -> Self {
        self.permissions_policy = policy.into();
        self
    }

    /// `Cross-Origin-Opener-Policy`.
    pub fn cross_origin_opener_policy(
        mut self,
        policy: impl Into<Option<CrossOriginOpenerPolicy>>,
    ) -> Self {
        self.cross_origin_opener_policy = policy.into();
        self
    }

    /// `Cross-Origin-Embedder-Policy`.
    pub fn cross_origin_embedder_policy(
        mut self,
        policy: impl Into<Option<CrossOriginEmbedderPolicy>>,
    ) -> Self {
        self.cross_origin_embedder_policy = policy.into();
        self
    }

    /// `Cross-Origin-Opener-Policy-Report-Only`: what would be cut off is reported only.
    pub fn cross_origin_opener_policy_report_only(
        mut self,
        policy: impl Into<Option<CrossOriginOpenerPolicy>>,
    ) -> Self {
        self.cross_origin_opener_policy_report_only = policy.into();
        self
    }

    /// `Cross-Origin-Embedder-Policy-Report-Only`: what would not be embedded is reported only.
    pub fn cross_origin_embedder_policy_report_only(
        mut self,
        policy: impl Into<Option<CrossOriginEmbedderPolicy>>,
    ) -> Self {
        self.cross_origin_embedder_policy_report_only = policy.into();
        self
    }

    /// `Document-Isolation-Policy`.
    pub fn document_isolation_policy(
        mut self,
        policy: impl Into<Option<DocumentIsolationPolicy>>,
    ) -> Self {
        self.document_isolation_policy = policy.into();
        self
    }

    /// `Document-Isolation-Policy-Report-Only`.
    pub fn document_isolation_policy_report_only(
        mut self,
        policy: impl Into<Option<DocumentIsolationPolicy>>,
    ) -> Self {
        self.document_isolation_policy_report_only = policy.into();
        self
    }

    /// `Integrity-Policy`.
    pub fn integrity_policy(mut self, policy: impl Into<Option<IntegrityPolicy>>) -> Self {
        self.integrity_policy = policy.into();
        self
    }

    /// `Integrity-Policy-Report-Only`.
    pub fn integrity_policy_report_only(
        mut self,
        policy: impl Into<Option<IntegrityPolicy>>,
    ) -> Self {
        self.integrity_policy_report_only = policy.into();
        self
    }

    /// Adds an endpoint to `Reporting-Endpoints`, for policies that name it themselves.
    pub fn reporting_endpoint(mut self, endpoint: ReportingEndpoint) -> Self {
        self.reporting_endpoints
            .retain(|e| e.name() != endpoint.name());
        self.reporting_endpoints.push(endpoint);
        self
    }

    /// The same, and violations of the opener, embedder, isolation and integrity policies are
    /// reported there. A content security policy names its endpoint itself:
    /// [`CspBuilder::report_to`](crate::CspBuilder::report_to).
    pub fn report_to(mut self, endpoint: ReportingEndpoint) -> Self {
        self.report_to = Some(endpoint.clone());
        self.reporting_endpoint(endpoint)
    }

    /// `Cross-Origin-Resource-Policy`. Browsers leave it aside for requests with CORS.
    pub fn cross_origin_resource_policy(
        mut self,
        policy: impl Into<Option<CrossOriginResourcePolicy>>,
    ) -> Self {
        self.cross_origin_resource_policy = policy.into();
        self
    }

    /// `Origin-Agent-Cluster: ?1`.
    pub fn origin_agent_cluster(mut self, origin_agent_cluster: bool) -> Self {
        self.origin_agent_cluster = origin_agent_cluster;
        self
    }

    /// `Cache-Control: no-store`, where the handler set no `Cache-Control`. For responses to
    /// signed-in users alone see
    /// [`SecurityHeadersLayer::no_store_when`](crate::SecurityHeadersLayer::no_store_when).
    pub fn cache_control_no_store(mut self, no_store: bool) -> Self {
        self.cache_control_no_store = no_store;
        self
    }

    /// Whether `Server` and `X-Powered-By` are taken out of the response.
    pub fn remove_server(mut self, remove: bool) -> Self {
        self.remove_server = remove;
        self
    }

    /// Sends this policy's value of `name` even where the handler set one itself. May be called
    /// several times.
    pub fn force(mut self, name: HeaderName) -> Self {
        self.forced.push(name);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_of_the_presets_pass_the_checks_of_the_builder() {
        // Presets are put together unchecked, from parts that need no check; built again from
        // their text, they must pass.
        for preset in [
            SecurityHeaders::api(),
            SecurityHeaders::web_app(),
            SecurityHeaders::strict(),
        ] {
            let csp = preset.content_security_policy.unwrap();
            let text = csp.to_string();
            let mut builder = Csp::builder();
            for part in text.split("; ") {
                let mut words = part.split(' ');
                let name = words.next().unwrap();
                let directive = DIRECTIVES.iter().find(|d| d.as_str() == name);
                let sources = words.map(|word| match word {
                    "'nonce-…'" => Source::NONCE,
                    word => word.into(),
                });
                builder = match directive {
                    Some(directive) => builder.directive(*directive, sources),
                    None => builder.require_trusted_types_for_script(true),
                };
            }
            assert_eq!(builder.build().unwrap().to_string(), text);
        }
    }

    const DIRECTIVES: [Directive; 10] = [
        Directive::DefaultSrc,
        Directive::ScriptSrc,
        Directive::StyleSrc,
        Directive::ImgSrc,
        Directive::FontSrc,
        Directive::ConnectSrc,
        Directive::ManifestSrc,
        Directive::BaseUri,
        Directive::FormAction,
        Directive::FrameAncestors,
    ];
}
