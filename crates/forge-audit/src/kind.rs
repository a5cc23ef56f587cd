//! The taxonomy: what kind of thing happened, how it ended, how much it matters.

/// Defines an enum whose variants bear a stable code and name; both are part of what is stored.
macro_rules! named {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal, $text:literal;)+ }
    ) => {
        $(#[$meta])*
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant = $code,)+ }

        impl $name {
            /// Every value, in the order of its code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name, as it is stored and serialised.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            pub(crate) const fn code(self) -> u8 {
                self as u8
            }

            pub(crate) const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::error::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err($crate::error::UnknownName) }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

named! {
    /// What kind of thing happened.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Kind {
        /// Someone proved, or failed to prove, who they are: sign-in, sign-out.
        Authentication = 1, "authentication";
        /// A right was checked.
        Authorization = 2, "authorization";
        /// An administrator did something that only administrators can do.
        AdminAction = 3, "admin_action";
        /// An account was created, changed, locked or deleted.
        UserManagement = 4, "user_management";
        /// Who may sign in was changed.
        AllowListChange = 5, "allow_list_change";
        /// A stored token was read or used.
        TokenAccess = 6, "token_access";
        /// A token or key was replaced by a new one.
        TokenRotation = 7, "token_rotation";
        /// A quota was exceeded.
        RateLimit = 8, "rate_limit";
        /// Something that an honest client does not do.
        SecurityViolation = 9, "security_violation";
        /// A setting of the service was changed.
        ConfigurationChange = 10, "configuration_change";
        /// Data was read or written.
        DataAccess = 11, "data_access";
        /// A session began, changed or ended.
        Session = 12, "session";
        /// A tool was called.
        ToolCall = 13, "tool_call";
        /// The service itself: start, stop, a gap in the log.
        System = 14, "system";
    }
}

named! {
    /// How it ended.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Outcome {
        /// It was done.
        Success = 1, "success";
        /// It was not done, because of the one who asked: a wrong password, a malformed request.
        Failure = 2, "failure";
        /// It was refused by a rule: not allowed, over quota.
        Denied = 3, "denied";
        /// It was not done, because something broke.
        Error = 4, "error";
    }
}

named! {
    /// How much it matters. The order is that of weight: `Low < Critical`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Severity {
        /// Routine.
        Low = 1, "low";
        /// Worth reading when something is looked into.
        Medium = 2, "medium";
        /// Worth reading today.
        High = 3, "high";
        /// Worth waking someone.
        Critical = 4, "critical";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_distinct_and_read_back() {
        for (i, kind) in Kind::ALL.iter().copied().enumerate() {
            assert_eq!(usize::from(kind.code()), i + 1);
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
            assert_eq!(kind.as_str().parse::<Kind>().unwrap(), kind);
        }
        assert_eq!(Kind::from_code(0), None);
        assert!("Authentication".parse::<Kind>().is_err());
        assert!(Severity::Low < Severity::Medium && Severity::High < Severity::Critical);
        assert_eq!(Outcome::ALL.len(), 4);
    }
}
