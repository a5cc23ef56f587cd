//! Content security policies (W3C CSP Level 3).

use std::fmt;

use http::HeaderValue;

use crate::error::CspError;
use crate::security::nonce::CspNonce;
use crate::security::source::Source;

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
}

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

    /// The value of the field. Without a nonce the scripts that would need one are blocked.
    /// `None` where nothing is left to say.
    pub(crate) fn render(&self, nonce: Option<CspNonce>, https: bool) -> Option<HeaderValue> {
        let mut value = self.pieces[0].clone();
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
            value.push_str("upgrade-insecure-requests");
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

/// Collects the directives of a [`Csp`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CspBuilder {
    directives: Vec<(Directive, Vec<Source>)>,
    trusted_types: bool,
    upgrade: bool,
}

macro_rules! directives {
    ($($name:ident => $directive:ident),* $(,)?) => {
        impl CspBuilder {
            $(
                #[doc = concat!("See [`Directive::", stringify!($directive), "`].")]
                pub fn $name(self, sources: impl IntoIterator<Item = Source>) -> Self {
                    self.directive(Directive::$directive, sources)
                }
            )*
        }
    };
}

directives! {
    default_src => DefaultSrc,
    script_src => ScriptSrc,
    style_src => StyleSrc,
    img_src => ImgSrc,
    font_src => FontSrc,
    connect_src => ConnectSrc,
    object_src => ObjectSrc,
    frame_src => FrameSrc,
    worker_src => WorkerSrc,
    base_uri => BaseUri,
    form_action => FormAction,
    frame_ancestors => FrameAncestors,
}

impl CspBuilder {
    /// Adds any directive; those in daily use have a method of their own.
    pub fn directive(
        mut self,
        directive: Directive,
        sources: impl IntoIterator<Item = Source>,
    ) -> Self {
        self.directives
            .push((directive, sources.into_iter().collect()));
        self
    }

    /// `require-trusted-types-for 'script'`: no plain text reaches `innerHTML` and its like.
    pub fn require_trusted_types_for_script(mut self, require: bool) -> Self {
        self.trusted_types = require;
        self
    }

    /// `upgrade-insecure-requests`, sent over https only: where http is all there is, the upgrade
    /// would break the page.
    pub fn upgrade_insecure_requests(mut self, upgrade: bool) -> Self {
        self.upgrade = upgrade;
        self
    }

    /// The policy.
    ///
    /// # Errors
    /// [`CspError`], naming directive and value, for a value that ends the directive or the
    /// field; an unquoted or unknown keyword; a fixed nonce; `'none'` beside others; a directive
    /// without a source or given twice; a nonce or hash where it means nothing; no directive.
    pub fn build(self) -> Result<Csp, CspError> {
        if self.directives.is_empty() && !self.trusted_types && !self.upgrade {
            return Err(CspError::Empty);
        }
        for (index, (directive, sources)) in self.directives.iter().enumerate() {
            let name = directive.as_str();
            if self.directives[..index].iter().any(|(d, _)| d == directive) {
                return Err(CspError::Duplicated { directive: name });
            }
            check(*directive, sources)?;
        }
        Ok(self.assemble())
    }

    /// The policy of directives that are known to pass the checks.
    pub(crate) fn assemble(self) -> Csp {
        let mut pieces = Vec::new();
        let mut piece = String::new();
        for (directive, sources) in &self.directives {
            if !(pieces.is_empty() && piece.is_empty()) {
                piece.push_str("; ");
            }
            piece.push_str(directive.as_str());
            for source in sources {
                piece.push(' ');
                match source.text() {
                    Some(text) => piece.push_str(text),
                    None => pieces.push(std::mem::take(&mut piece)),
                }
            }
        }
        if self.trusted_types {
            if !self.directives.is_empty() {
                piece.push_str("; ");
            }
            piece.push_str("require-trusted-types-for 'script'");
        }
        pieces.push(piece);
        Csp {
            pieces,
            upgrade: self.upgrade,
        }
    }
}

fn check(directive: Directive, sources: &[Source]) -> Result<(), CspError> {
    let name = directive.as_str();
    if sources.is_empty() {
        return Err(CspError::NoSource { directive: name });
    }
    for source in sources {
        source.check(name)?;
        if directive.takes_no_code() && source.is_about_code() {
            return Err(CspError::NotApplicable {
                directive: name,
                value: source.text().unwrap_or("'nonce-…'").to_owned(),
            });
        }
    }
    let is_none = |source: &Source| {
        source
            .text()
            .is_some_and(|text| text.eq_ignore_ascii_case("'none'"))
    };
    if sources.len() > 1 && sources.iter().any(is_none) {
        return Err(CspError::NoneWithOthers { directive: name });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
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
