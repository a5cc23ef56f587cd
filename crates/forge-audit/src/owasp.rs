//! The OWASP logging vocabulary, as other names of events.
//!
//! Words are those of the OWASP Logging Vocabulary Cheat Sheet, without what it appends to them: the
//! user, the resource and the like are parts of an event.

use crate::error::UnknownName;
use crate::event::Event;
use crate::kind::{Kind, Outcome, Severity};

/// Defines the words, each with the event it stands for.
macro_rules! words {
    ($($variant:ident = $word:literal: $kind:ident $action:literal $outcome:ident $severity:ident;)+) => {
        /// A word of the OWASP logging vocabulary.
        ///
        /// ```
        /// use forge_audit::{Actor, Owasp};
        ///
        /// let event = Owasp::AuthnLoginFail.event().actor(Actor::new("583231"));
        /// assert_eq!(event.action(), "auth.sign_in");
        /// assert_eq!(event.owasp().map(Owasp::as_str), Some("authn_login_fail"));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Owasp { $(#[doc = concat!("`", $word, "`")] $variant,)+ }

        impl Owasp {
            /// Every word.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            const fn parts(self) -> (Kind, &'static str, Outcome, Severity) {
                match self {
                    $(Self::$variant => (Kind::$kind, $action, Outcome::$outcome, Severity::$severity),)+
                }
            }
        }
    };
}

words! {
    AuthnLoginSuccess = "authn_login_success": Authentication "auth.sign_in" Success Low;
    AuthnLoginSuccessAfterFail = "authn_login_successafterfail": Authentication "auth.sign_in_after_failure" Success Medium;
    AuthnLoginFail = "authn_login_fail": Authentication "auth.sign_in" Failure Medium;
    AuthnLoginFailMax = "authn_login_fail_max": Authentication "auth.sign_in_limit" Denied High;
    AuthnLoginLock = "authn_login_lock": UserManagement "user.lock" Success High;
    AuthnPasswordChange = "authn_password_change": UserManagement "auth.password_change" Success Medium;
    AuthnPasswordChangeFail = "authn_password_change_fail": UserManagement "auth.password_change" Failure High;
    AuthnImpossibleTravel = "authn_impossible_travel": SecurityViolation "auth.impossible_travel" Denied Critical;
    AuthnTokenCreated = "authn_token_created": TokenAccess "token.create" Success Low;
    AuthnTokenRevoked = "authn_token_revoked": TokenAccess "token.revoke" Success Medium;
    AuthnTokenReuse = "authn_token_reuse": SecurityViolation "token.reuse" Denied Critical;
    AuthnTokenDelete = "authn_token_delete": TokenAccess "token.delete" Success Medium;
    AuthzFail = "authz_fail": Authorization "access.deny" Denied High;
    AuthzChange = "authz_change": UserManagement "access.change" Success Medium;
    AuthzAdmin = "authz_admin": AdminAction "access.admin" Success Medium;
    CryptDecryptFail = "crypt_decrypt_fail": SecurityViolation "crypt.decrypt" Error High;
    CryptEncryptFail = "crypt_encrypt_fail": SecurityViolation "crypt.encrypt" Error High;
    ExcessRateLimitExceeded = "excess_rate_limit_exceeded": RateLimit "rate_limit.exceed" Denied Medium;
    UploadComplete = "upload_complete": DataAccess "upload.receive" Success Low;
    UploadStored = "upload_stored": DataAccess "upload.store" Success Low;
    UploadValidation = "upload_validation": DataAccess "upload.validate" Success Low;
    UploadDelete = "upload_delete": DataAccess "upload.delete" Success Low;
    InputValidationFail = "input_validation_fail": SecurityViolation "input.validate" Failure Medium;
    InputValidationDiscreteFail = "input_validation_discrete_fail": SecurityViolation "input.validate_discrete" Failure High;
    MaliciousExcess404 = "malicious_excess_404": SecurityViolation "malicious.excess_404" Denied High;
    MaliciousExtraneous = "malicious_extraneous": SecurityViolation "malicious.extraneous" Denied Critical;
    MaliciousAttackTool = "malicious_attack_tool": SecurityViolation "malicious.attack_tool" Denied Critical;
    MaliciousCors = "malicious_cors": SecurityViolation "malicious.cors" Denied High;
    MaliciousDirectReference = "malicious_direct_reference": SecurityViolation "malicious.direct_reference" Denied High;
    PrivilegePermissionsChanged = "privilege_permissions_changed": UserManagement "privilege.change" Success High;
    SensitiveCreate = "sensitive_create": DataAccess "sensitive.create" Success Medium;
    SensitiveRead = "sensitive_read": DataAccess "sensitive.read" Success Medium;
    SensitiveUpdate = "sensitive_update": DataAccess "sensitive.update" Success Medium;
    SensitiveDelete = "sensitive_delete": DataAccess "sensitive.delete" Success Medium;
    SequenceFail = "sequence_fail": SecurityViolation "sequence.check" Failure High;
    SessionCreated = "session_created": Session "session.create" Success Low;
    SessionRenewed = "session_renewed": Session "session.renew" Success Low;
    SessionExpired = "session_expired": Session "session.expire" Success Low;
    SessionUseAfterExpire = "session_use_after_expire": SecurityViolation "session.use_after_expire" Denied High;
    SysStartup = "sys_startup": System "system.start" Success Medium;
    SysShutdown = "sys_shutdown": System "system.stop" Success Medium;
    SysRestart = "sys_restart": System "system.restart" Success Medium;
    SysCrash = "sys_crash": System "system.crash" Error Critical;
    SysMonitorDisabled = "sys_monitor_disabled": ConfigurationChange "monitor.disable" Success High;
    SysMonitorEnabled = "sys_monitor_enabled": ConfigurationChange "monitor.enable" Success Medium;
    UserCreated = "user_created": UserManagement "user.create" Success Medium;
    UserUpdated = "user_updated": UserManagement "user.update" Success Medium;
    UserArchived = "user_archived": UserManagement "user.archive" Success Medium;
    UserDeleted = "user_deleted": UserManagement "user.delete" Success Medium;
}

impl Owasp {
    /// An event that this word stands for, with its usual outcome and severity.
    pub fn event(self) -> Event {
        let (kind, action, outcome, severity) = self.parts();
        Event::new(kind, action).outcome(outcome).severity(severity)
    }
}

impl std::fmt::Display for Owasp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Owasp {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let mut all = Self::ALL.iter();
        all.find(|word| word.as_str() == text)
            .copied()
            .ok_or(UnknownName)
    }
}

impl Event {
    /// The word of the OWASP logging vocabulary for it, if there is one: by its action and how it
    /// ended.
    pub fn owasp(&self) -> Option<Owasp> {
        let fits = |word: &&Owasp| {
            let (_, action, outcome, _) = word.parts();
            self.action == action && self.outcome == outcome
        };
        let exact = Owasp::ALL.iter().find(fits).copied();
        exact.or_else(|| match (self.kind, self.outcome) {
            (Kind::Authentication, Outcome::Failure | Outcome::Denied)
                if self.action == "auth.sign_in" =>
            {
                Some(Owasp::AuthnLoginFail)
            }
            (Kind::Authorization, Outcome::Denied) => Some(Owasp::AuthzFail),
            (Kind::RateLimit, Outcome::Denied) => Some(Owasp::ExcessRateLimitExceeded),
            _ => None,
        })
    }

    /// Somebody signed in, or could not.
    pub fn sign_in(outcome: Outcome) -> Self {
        let word = match outcome {
            Outcome::Success => Owasp::AuthnLoginSuccess,
            _ => Owasp::AuthnLoginFail,
        };
        word.event().outcome(outcome)
    }

    /// Somebody may not do what they asked for, on `resource`.
    pub fn access_denied(resource: impl AsRef<str>) -> Self {
        Owasp::AuthzFail.event().resource(resource)
    }

    /// Somebody asked too often, for `resource`.
    pub fn rate_limited(resource: impl AsRef<str>) -> Self {
        Owasp::ExcessRateLimitExceeded.event().resource(resource)
    }

    /// The stored token `token` was used: its name or id, never itself.
    pub fn token_used(token: impl AsRef<str>) -> Self {
        Self::new(Kind::TokenAccess, "token.use").resource(token)
    }

    /// The setting `name` was changed. Values that are secrets belong in neither.
    pub fn setting_changed(name: impl AsRef<str>, before: &str, after: &str) -> Self {
        Self::new(Kind::ConfigurationChange, "setting.change")
            .severity(Severity::Medium)
            .resource(name)
            .details(&serde_json::json!({ "before": before, "after": after }))
    }

    /// The tool `name` was called.
    pub fn tool_called(name: impl AsRef<str>, outcome: Outcome) -> Self {
        Self::new(Kind::ToolCall, "tool.call")
            .outcome(outcome)
            .resource(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_and_its_event_lead_to_each_other() {
        for word in Owasp::ALL {
            assert_eq!(word.event().owasp(), Some(*word));
            assert_eq!(word.as_str().parse(), Ok(*word));
        }
        assert!("authn_login".parse::<Owasp>().is_err());
        assert_eq!(Event::new(Kind::System, "x").owasp(), None);
    }

    #[test]
    fn common_cases_say_what_happened() {
        for (outcome, word) in [
            (Outcome::Success, Owasp::AuthnLoginSuccess),
            (Outcome::Failure, Owasp::AuthnLoginFail),
            (Outcome::Denied, Owasp::AuthnLoginFail),
        ] {
            let event = Event::sign_in(outcome);
            assert_eq!((event.result(), event.owasp()), (outcome, Some(word)));
        }
        assert_eq!(Event::access_denied("x").result(), Outcome::Denied);
        assert_eq!(Event::rate_limited("x").kind(), Kind::RateLimit);
        assert_eq!(Event::token_used("t").target(), Some("t"));
        assert_eq!(
            Event::tool_called("t", Outcome::Error).result(),
            Outcome::Error
        );
        let changed = Event::setting_changed("limits.web", "1/s", "2/s");
        assert_eq!(changed.details_value().unwrap()["after"], "2/s");
    }
}
