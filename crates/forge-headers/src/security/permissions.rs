//! `Permissions-Policy`: which features of the browser a page may use.

use std::fmt::Write;

use crate::authority::Origin;
use crate::error::PermissionsPolicyError;

/// Which features of the browser a page and its frames may use (W3C Permissions Policy).
///
/// ```
/// use forge_headers::PermissionsPolicy;
///
/// let policy = PermissionsPolicy::builder()
///     .deny("camera")
///     .allow_self("fullscreen")
///     .allow("payment", ["https://pay.example".parse()?])
///     .build()?;
/// assert_eq!(policy.as_str(), r#"camera=(), fullscreen=(self), payment=("https://pay.example")"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionsPolicy {
    value: String,
}

/// Collects the features of a [`PermissionsPolicy`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct PermissionsPolicyBuilder {
    features: Vec<(String, String)>,
}

/// What reads the surroundings or the device, or moves money.
const SENSORS: [&str; 14] = [
    "accelerometer",
    "bluetooth",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "hid",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "serial",
    "usb",
    "xr-spatial-tracking",
];

impl PermissionsPolicy {
    /// Starts without a feature.
    pub fn builder() -> PermissionsPolicyBuilder {
        PermissionsPolicyBuilder::default()
    }

    /// Denies what reads the surroundings or the device, or moves money: camera, microphone,
    /// geolocation, payment, USB and their like.
    #[must_use]
    pub fn deny_sensors() -> Self {
        SENSORS
            .into_iter()
            .fold(Self::builder(), PermissionsPolicyBuilder::deny)
            .assemble()
    }

    /// The value of the field.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.value
    }
}

impl PermissionsPolicyBuilder {
    /// Nobody may use `feature`.
    pub fn deny(self, feature: impl Into<String>) -> Self {
        self.with(feature, String::new())
    }

    /// Pages of the same origin may use `feature`.
    pub fn allow_self(self, feature: impl Into<String>) -> Self {
        self.with(feature, "self".to_owned())
    }

    /// Pages of these origins may use `feature`.
    pub fn allow(
        self,
        feature: impl Into<String>,
        origins: impl IntoIterator<Item = Origin>,
    ) -> Self {
        let origins: Vec<_> = origins.into_iter().map(|o| format!("\"{o}\"")).collect();
        self.with(feature, origins.join(" "))
    }

    /// The policy.
    ///
    /// # Errors
    /// [`PermissionsPolicyError`] for a name that is not a token of lower-case letters, digits and
    /// `-`, for a feature given twice, and for an empty policy.
    pub fn build(self) -> Result<PermissionsPolicy, PermissionsPolicyError> {
        if self.features.is_empty() {
            return Err(PermissionsPolicyError::Empty);
        }
        for (index, (feature, _)) in self.features.iter().enumerate() {
            if !is_feature_name(feature) {
                let feature = feature.clone();
                return Err(PermissionsPolicyError::Feature { feature });
            }
            if self.features[..index].iter().any(|(f, _)| f == feature) {
                let feature = feature.clone();
                return Err(PermissionsPolicyError::Duplicated { feature });
            }
        }
        Ok(self.assemble())
    }

    fn with(mut self, feature: impl Into<String>, allowed: String) -> Self {
        self.features.push((feature.into(), allowed));
        self
    }

    fn assemble(self) -> PermissionsPolicy {
        let mut value = String::new();
        for (feature, allowed) in self.features {
            let separator = if value.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(value, "{separator}{feature}=({allowed})");
        }
        PermissionsPolicy { value }
    }
}

fn is_feature_name(name: &str) -> bool {
    let byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_feature_that_is_wrong() {
        for feature in ["", "Camera", "camera=()", "a b", "a,b", "1x", "a\r\nb"] {
            let error = PermissionsPolicy::builder().deny(feature).build();
            let feature = feature.to_owned();
            assert_eq!(error, Err(PermissionsPolicyError::Feature { feature }));
        }
        let twice = PermissionsPolicy::builder()
            .deny("camera")
            .allow_self("camera");
        assert!(matches!(
            twice.build(),
            Err(PermissionsPolicyError::Duplicated { .. })
        ));
        assert_eq!(
            PermissionsPolicy::builder().build(),
            Err(PermissionsPolicyError::Empty)
        );
    }

    #[test]
    fn the_preset_passes_the_checks_of_the_builder() {
        let built = SENSORS
            .into_iter()
            .fold(PermissionsPolicy::builder(), PermissionsPolicyBuilder::deny)
            .build();
        assert_eq!(built, Ok(PermissionsPolicy::deny_sensors()));
    }
}
