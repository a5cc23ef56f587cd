//! Content security policies (W3C CSP Level 3).

mod builder;

use std::fmt;

use http::HeaderValue;

use crate::security::nonce::CspNonce;
use crate::security::reporting::ReportingEndpoint;
use crate::security::source::Source;

pub use builder::CspBuilder;

/// A directive whose value is a list of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Directive {
    /// `default-src`: what the fetch directives that are not given fall back to.
    DefaultSrc,
    /// `script-src`
    ScriptSrc,
    /// `script-src-elem`
    ScriptSrcElem,
    /// `script-src-attr`
    ScriptSrcAttr,
    /// `style-src`
    StyleSrc,
    /// `style-src-elem`
    StyleSrcElem,
    /// `style-src-attr`
    StyleSrcAttr,
    /// `img-src`
    ImgSrc,
    /// `font-src`
    FontSrc,
    /// `connect-src`
    ConnectSrc,
    /// `media-src`
    MediaSrc,
    /// `object-src`
    ObjectSrc,
    /// `frame-src`
    FrameSrc,
    /// `child-src`
    ChildSrc,
    /// `worker-src`
    WorkerSrc,
    /// `manifest-src`
    ManifestSrc,
    /// `base-uri`; no fallback to `default-src`.
    BaseUri,
    /// `form-action`; no fallback to `default-src`. Browsers also check where a submitted form is
    /// redirected to, so that the origin of a sign-in provider belongs here.
    FormAction,
    /// `frame-ancestors`; no fallback to `default-src`.
    FrameAncestors,
}

impl Directive {
    /// The name as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DefaultSrc => "default-src",
            Self::ScriptSrc => "script-src",
            Self::ScriptSrcElem => "script-src-elem",
            Self::ScriptSrcAttr => "script-src-attr",
            Self::StyleSrc => "style-src",
            Self::StyleSrcElem => "style-src-elem",
            Self::StyleSrcAttr => "style-src-attr",
            Self::ImgSrc => "img-src",
            Self::FontSrc => "font-src",
            Self::ConnectSrc => "connect-src",
            Self::MediaSrc => "media-src",
            Self::ObjectSrc => "object-src",
            Self::FrameSrc => "frame-src",
            Self::ChildSrc => "child-src",
            Self::WorkerSrc => "worker-src",
            Self::ManifestSrc => "manifest-src",
            Self::BaseUri => "base-uri",
            Self::FormAction => "form-action",
            Self::FrameAncestors => "frame-ancestors",
        }
    }

    /// Nonces, hashes and most keywords speak of code, and mean nothing to these.
    fn takes_no_code(self) -> bool {
        matches!(
            self,
            Self::BaseUri | Self::FormAction | Self::FrameAncestors
        )
    }
}

/// A content security policy that a browser reads as it was meant.
///
/// ```
/// use forge_headers::{Csp, Source};
///
/// let csp = Csp::builder()
///     .default_src([Source::NONE])
///     .script_src([Source::NONCE])
///     .img_src([Source::SELF, "https://avatars.githubusercontent.com".into()])
///     .form_action([Source::SELF, "https://github.com".into()])
///     .build()?;
/// assert!(csp.uses_nonce());
///
/// let error = Csp::builder().script_src(["self".into()]).build().unwrap_err();
/// assert_eq!(error.to_string(), "script-src: `self` needs single quotes");
/// # Ok::<(), forge_headers::CspError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csp {
    /// The text around the nonces: one piece more than there are nonces.
    pieces: Vec<String>,
    /// Written at the end, over https only.
    upgrade: bool,
    /// What the text was made of.
    directives: Vec<(Directive, Vec<Source>)>,
    requires_trusted_types: bool,
    report_to: Option<ReportingEndpoint>,
}

const UPGRADE: &str = "upgrade-insecure-requests";

impl Csp {
    /// Starts without a directive.
    pub fn builder() -> CspBuilder {
        CspBuilder::default()
    }

    /// Whether the policy has a place for the request's nonce.
    #[must_use]
    pub fn uses_nonce(&self) -> bool {
        self.pieces.len() > 1
    }

    /// The sources of a directive, where it is given.
    pub(crate) fn sources(&self, directive: Directive) -> Option<&[Source]> {
        let found = self.directives.iter().find(|(d, _)| *d == directive);
        found.map(|(_, sources)| sources.as_slice())
    }

    pub(crate) fn requires_trusted_types(&self) -> bool {
        self.requires_trusted_types
    }

    pub(crate) fn endpoint(&self) -> Option<&ReportingEndpoint> {
        self.report_to.as_ref()
    }

    /// The value of the field. Without a nonce the scripts that would need one are blocked.
    /// `None` where nothing is left to say.
    pub(crate) fn render(&self, nonce: Option<CspNonce>, https: bool) -> Option<HeaderValue> {
        let length: usize = self.pieces.iter().map(|piece| piece.len() + 40).sum();
        let mut value = String::with_capacity(length + UPGRADE.len());
        value.push_str(&self.pieces[0]);
        for piece in &self.pieces[1..] {
            match &nonce {
                Some(nonce) => {
                    value.push_str("'nonce-");
                    value.push_str(nonce.as_str());
                    value.push('\'');
                }
                // A host that does not exist (RFC 6761): `'none'` could not stand beside others.
                None => value.push_str("nonce.invalid"),
            }
            value.push_str(piece);
        }
        if self.upgrade && https {
            if !value.is_empty() {
                value.push_str("; ");
            }
            value.push_str(UPGRADE);
        }
        let value = Some(value).filter(|value| !value.is_empty())?;
        HeaderValue::try_from(value).ok()
    }
}

/// Shows the policy with `'nonce-…'` where the request's nonce goes, without
/// `upgrade-insecure-requests`.
impl fmt::Display for Csp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pieces.join("'nonce-…'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::error::CspError;
    use proptest::prelude::*;

    fn rendered(csp: &Csp, nonce: Option<CspNonce>, https: bool) -> String {
        let value = csp.render(nonce, https).unwrap();
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn writes_directives_in_the_order_given() {
        let csp = Csp::builder()
            .default_src([Source::NONE])
            .script_src([Source::SELF, Source::NONCE, Source::STRICT_DYNAMIC])
            .style_src([Source::NONCE])
            .form_action([Source::SELF, "https://github.com".into()])
            .require_trusted_types_for_script(true)
            .upgrade_insecure_requests(true)
            .build()
            .unwrap();
        let nonce = CspNonce::generate().unwrap();
        let expected = format!(
            "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'strict-dynamic'; \
             style-src 'nonce-{nonce}'; form-action 'self' https://github.com; \
             require-trusted-types-for 'script'"
        );
        assert_eq!(rendered(&csp, Some(nonce), false), expected);
        let over_https = rendered(&csp, Some(nonce), true);
        assert_eq!(over_https, expected + "; upgrade-insecure-requests");
        // Without randomness, nothing that needs a nonce runs.
        assert!(!rendered(&csp, None, false).contains("nonce-"));
    }

    #[test]
    fn says_nothing_where_nothing_is_left_to_say() {
        let csp = Csp::builder()
            .upgrade_insecure_requests(true)
            .build()
            .unwrap();
        assert_eq!(csp.render(None, false), None);
        assert_eq!(rendered(&csp, None, true), "upgrade-insecure-requests");
        let csp = Csp::builder()
            .require_trusted_types_for_script(true)
            .build();
        assert_eq!(
            rendered(&csp.unwrap(), None, true),
            "require-trusted-types-for 'script'"
        );
    }

    #[test]
    fn refuses_what_browsers_would_ignore() {
        let none = || [Source::NONE];
        let directive = "script-src";
        for (builder, error) in [
            (Csp::builder(), CspError::Empty),
            (
                Csp::builder().script_src([]),
                CspError::NoSource { directive },
            ),
            (
                Csp::builder().script_src(none()).script_src(none()),
                CspError::Duplicated { directive },
            ),
            (
                Csp::builder().script_src([Source::NONE, Source::SELF]),
                CspError::NoneWithOthers { directive },
            ),
            (
                Csp::builder().script_src(["'nonce-1'".into()]),
                CspError::FixedNonce { directive },
            ),
            (
                Csp::builder().form_action([Source::NONCE]),
                CspError::NotApplicable {
                    directive: "form-action",
                    value: "'nonce-…'".to_owned(),
                },
            ),
        ] {
            assert_eq!(builder.build(), Err(error));
        }
    }

    #[test]
    fn names_the_policies_that_scripts_may_create_and_where_reports_go() {
        let endpoint = ReportingEndpoint::new("csp", "/.well-known/csp-report").unwrap();
        let base = || Csp::builder().default_src([Source::NONE]);
        let csp = base()
            .require_trusted_types_for_script(true)
            .trusted_types(["app", "dompurify", "'allow-duplicates'"])
            .report_to(&endpoint)
            .upgrade_insecure_requests(true)
            .build()
            .unwrap();
        assert_eq!(
            rendered(&csp, None, true),
            "default-src 'none'; require-trusted-types-for 'script'; \
             trusted-types app dompurify 'allow-duplicates'; \
             report-uri /.well-known/csp-report; report-to csp; upgrade-insecure-requests"
        );
        let csp = Csp::builder().trusted_types([""; 0]).build().unwrap();
        assert_eq!(rendered(&csp, None, false), "trusted-types 'none'");
        let directive = "trusted-types";
        for name in [
            "",
            "*",
            "'none'",
            "app'",
            "allow duplicates",
            "a;b",
            "a,b",
            "ä",
        ] {
            let value = name.to_owned();
            let error = base().trusted_types([name]).build().unwrap_err();
            let expected = match name {
                "" | "*" | "'none'" | "app'" => CspError::Malformed { directive, value },
                _ => CspError::Character { directive, value },
            };
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn what_one_environment_adds_is_checked_in_each() {
        let csp = |sources: Vec<Source>, environment| {
            Csp::builder()
                .default_src([Source::NONE])
                .only_in(Environment::Development, Directive::DefaultSrc, sources)
                .environment(environment)
                .build()
                .map(|csp| csp.to_string())
        };
        let hmr = || vec!["ws://localhost:5173".into()];
        assert_eq!(
            csp(hmr(), Environment::Development).unwrap(),
            "default-src ws://localhost:5173"
        );
        assert_eq!(
            csp(hmr(), Environment::Production).unwrap(),
            "default-src 'none'"
        );
        let wrong = || vec!["unsafe-eval".into()];
        for environment in [Environment::Development, Environment::Production] {
            assert_eq!(
                csp(wrong(), environment),
                Err(CspError::UnquotedKeyword {
                    directive: "default-src",
                    value: "unsafe-eval".to_owned(),
                })
            );
        }
        let missing = Csp::builder()
            .default_src([Source::SELF])
            .only_in(Environment::Development, Directive::ConnectSrc, hmr())
            .build();
        let directive = "connect-src";
        assert_eq!(missing, Err(CspError::NotGiven { directive }));
    }

    proptest! {
        #[test]
        fn no_source_adds_a_directive_or_a_field(text in "\\PC{0,40}|[ -~\r\n]{0,40}") {
            let built = Csp::builder().default_src([text.as_str().into()]).build();
            if let Ok(csp) = built {
                let value = rendered(&csp, None, true);
                prop_assert_eq!(value, format!("default-src {text}"));
                prop_assert!(!text.contains([';', ',', ' ', '\r', '\n']));
            }
        }
    }
}
