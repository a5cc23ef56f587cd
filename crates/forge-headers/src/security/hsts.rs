//! `Strict-Transport-Security` (RFC 6797).

use std::fmt;
use std::time::Duration;

use crate::error::HstsError;
use crate::security::YEAR;

/// How long a browser speaks only https with this host.
///
/// ```
/// use forge_headers::Hsts;
/// use std::time::Duration;
///
/// let two_years = Duration::from_secs(63_072_000);
/// let hsts = Hsts::new(two_years).include_sub_domains().preload()?;
/// assert_eq!(hsts.to_string(), "max-age=63072000; includeSubDomains; preload");
/// assert!(Hsts::new(two_years).preload().is_err());
/// # Ok::<(), forge_headers::HstsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Hsts {
    max_age: Duration,
    include_sub_domains: bool,
    preload: bool,
}

impl Hsts {
    /// For `max_age`, in whole seconds. Zero makes browsers forget.
    pub const fn new(max_age: Duration) -> Self {
        Self {
            max_age,
            include_sub_domains: false,
            preload: false,
        }
    }

    /// For all subdomains too, which must all be served over https.
    pub const fn include_sub_domains(mut self) -> Self {
        self.include_sub_domains = true;
        self
    }

    pub(crate) fn max_age(self) -> Duration {
        self.max_age
    }

    pub(crate) fn includes_sub_domains(self) -> bool {
        self.include_sub_domains
    }

    /// Asks to be built into browsers (hstspreload.org). That takes months to undo.
    ///
    /// # Errors
    /// [`HstsError`] below a year or without subdomains, which the list would not accept.
    pub fn preload(mut self) -> Result<Self, HstsError> {
        if self.max_age < YEAR {
            return Err(HstsError::MaxAge);
        }
        if !self.include_sub_domains {
            return Err(HstsError::SubDomains);
        }
        self.preload = true;
        Ok(self)
    }
}

impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max-age={}", self.max_age.as_secs())?;
        if self.include_sub_domains {
            f.write_str("; includeSubDomains")?;
        }
        if self.preload {
            f.write_str("; preload")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preload_needs_a_year_and_subdomains() {
        let day = Duration::from_secs(86_400);
        let short = Hsts::new(YEAR - day).include_sub_domains();
        assert_eq!(short.preload(), Err(HstsError::MaxAge));
        assert_eq!(Hsts::new(YEAR).preload(), Err(HstsError::SubDomains));
        assert!(Hsts::new(YEAR).include_sub_domains().preload().is_ok());
        assert_eq!(Hsts::new(day).to_string(), "max-age=86400");
    }
}
