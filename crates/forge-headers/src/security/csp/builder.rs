//! How a policy is put together, and what is refused.

use super::{Csp, Directive};
use crate::environment::Environment;
use crate::error::CspError;
use crate::security::reporting::ReportingEndpoint;
use crate::security::source::Source;

/// Collects the directives of a [`Csp`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CspBuilder {
    directives: Vec<(Directive, Vec<Source>)>,
    only_in: Vec<(Environment, Directive, Vec<Source>)>,
    environment: Environment,
    require_trusted_types: bool,
    trusted_types: Option<Vec<String>>,
    report_to: Option<ReportingEndpoint>,
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

    /// Adds sources to a directive in one environment only, in place of `'none'` where that is
    /// what it says: for what a development server needs.
    ///
    /// ```
    /// use forge_headers::{Csp, Directive, Environment, Source};
    ///
    /// let csp = |environment| {
    ///     Csp::builder()
    ///         .default_src([Source::NONE])
    ///         .connect_src([Source::SELF])
    ///         .only_in(
    ///             Environment::Development,
    ///             Directive::ConnectSrc,
    ///             ["ws://localhost:5173".into()],
    ///         )
    ///         .environment(environment)
    ///         .build()
    /// };
    /// let text = csp(Environment::Development)?.to_string();
    /// assert_eq!(text, "default-src 'none'; connect-src 'self' ws://localhost:5173");
    /// let text = csp(Environment::Production)?.to_string();
    /// assert_eq!(text, "default-src 'none'; connect-src 'self'");
    /// # Ok::<(), forge_headers::CspError>(())
    /// ```
    pub fn only_in(
        mut self,
        environment: Environment,
        directive: Directive,
        sources: impl IntoIterator<Item = Source>,
    ) -> Self {
        let sources = sources.into_iter().collect();
        self.only_in.push((environment, directive, sources));
        self
    }

    /// Where the service runs. Default: [`Environment::Production`].
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// `require-trusted-types-for 'script'`: no plain text reaches `innerHTML` and its like.
    pub fn require_trusted_types_for_script(mut self, require: bool) -> Self {
        self.require_trusted_types = require;
        self
    }

    /// `trusted-types`: the policies that scripts may create, by name, once each unless
    /// `'allow-duplicates'` is among them. No name means none at all.
    pub fn trusted_types<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.trusted_types = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Where violations are reported: `report-to`, and `report-uri` for browsers without it. The
    /// endpoint goes into [`SecurityHeaders`](crate::SecurityHeaders) too.
    pub fn report_to(mut self, endpoint: &ReportingEndpoint) -> Self {
        self.report_to = Some(endpoint.clone());
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
    /// without a source or given twice; a nonce or hash where it means nothing; sources for one
    /// environment of a directive that is not given; a name of a Trusted Types policy that is not
    /// one; no directive.
    pub fn build(mut self) -> Result<Csp, CspError> {
        let says_more = self.require_trusted_types || self.trusted_types.is_some() || self.upgrade;
        if self.directives.is_empty() && self.only_in.is_empty() && !says_more {
            return Err(CspError::Empty);
        }
        for (environment, directive, sources) in std::mem::take(&mut self.only_in) {
            let name = directive.as_str();
            check(directive, &sources)?;
            let found = self.directives.iter_mut().find(|(d, _)| *d == directive);
            let (_, given) = found.ok_or(CspError::NotGiven { directive: name })?;
            if environment == self.environment {
                given.retain(|source| !is_none(source));
                given.extend(sources);
            }
        }
        for name in self.trusted_types.iter().flatten() {
            check_policy_name(name)?;
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
        let mut add = |directive: &str| {
            if !(pieces.is_empty() && piece.is_empty()) {
                piece.push_str("; ");
            }
            piece.push_str(directive);
        };
        if self.require_trusted_types {
            add("require-trusted-types-for 'script'");
        }
        match &self.trusted_types {
            Some(names) if names.is_empty() => add("trusted-types 'none'"),
            Some(names) => add(&format!("trusted-types {}", names.join(" "))),
            None => {}
        }
        if let Some(endpoint) = &self.report_to {
            add(&format!("report-uri {}", endpoint.url()));
            add(&format!("report-to {}", endpoint.name()));
        }
        pieces.push(piece);
        Csp {
            pieces,
            upgrade: self.upgrade,
            directives: self.directives,
            requires_trusted_types: self.require_trusted_types,
            report_to: self.report_to,
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
    if sources.len() > 1 && sources.iter().any(is_none) {
        return Err(CspError::NoneWithOthers { directive: name });
    }
    Ok(())
}

fn is_none(source: &Source) -> bool {
    source
        .text()
        .is_some_and(|text| text.eq_ignore_ascii_case("'none'"))
}

/// `tt-policy-name` (W3C Trusted Types §4.1.4), or the keyword that lets a name be used again.
fn check_policy_name(name: &str) -> Result<(), CspError> {
    let directive = "trusted-types";
    let byte = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'#' | b'=' | b'_' | b'/' | b'@' | b'.' | b'%')
    };
    if name == "'allow-duplicates'" || (!name.is_empty() && name.bytes().all(byte)) {
        return Ok(());
    }
    let value = name.to_owned();
    let ends_nothing = |b: u8| b.is_ascii_graphic() && !matches!(b, b';' | b',');
    Err(if name.bytes().all(ends_nothing) {
        CspError::Malformed { directive, value }
    } else {
        CspError::Character { directive, value }
    })
}
