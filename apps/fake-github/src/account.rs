//! The people who can sign in.

/// The id of `octo-admin`.
pub const OCTO_ADMIN: u64 = 1001;
/// The id of `octo-user`.
pub const OCTO_USER: u64 = 1002;
/// The id of `octo-stranger`.
pub const OCTO_STRANGER: u64 = 1003;

/// An account of the stand-in.
///
/// The id never changes; the login may, see [`Control::rename`](crate::Control::rename).
#[derive(Clone, Debug)]
#[must_use]
pub struct Account {
    pub(crate) id: u64,
    pub(crate) login: String,
    pub(crate) name: Option<String>,
    pub(crate) email: String,
    pub(crate) email_verified: bool,
}

impl Account {
    /// An account without a display name, with the verified address `<login>@example.com`.
    pub fn new(id: u64, login: impl Into<String>) -> Self {
        let login = login.into();
        Self {
            id,
            email: format!("{login}@example.com"),
            login,
            name: None,
            email_verified: true,
        }
    }

    /// Sets the display name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the primary e-mail address.
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = email.into();
        self
    }

    /// Whether the primary address is verified. Default: true. Without it GitHub gives no token:
    /// `unverified_user_email`.
    pub fn email_verified(mut self, verified: bool) -> Self {
        self.email_verified = verified;
        self
    }

    /// Logins are the same to GitHub whatever their case.
    pub(crate) fn is_called(&self, login: &str) -> bool {
        self.login.eq_ignore_ascii_case(login)
    }

    pub(crate) fn defaults() -> Vec<Self> {
        vec![
            Self::new(OCTO_ADMIN, "octo-admin").name("Octavia Admin"),
            Self::new(OCTO_USER, "octo-user").name("Octavio User"),
            Self::new(OCTO_STRANGER, "octo-stranger").name("Ottilie Stranger"),
        ]
    }
}
