//! Reads the two media types that browsers send.

use serde::Deserialize;

use crate::error::ReportError;
use crate::report::{CspViolation, Disposition, OtherReport, Report};

/// No body is longer: browsers send a few reports of some hundred bytes each.
pub(crate) const MAX_BYTES: usize = 16 * 1024;
/// So many reports of one body are read, the rest is left out.
const MAX_REPORTS: usize = 20;
/// No text is longer.
const MAX_TEXT: usize = 1024;

impl Report {
    /// Reads the body of a request with that `Content-Type`: `application/csp-report` (one
    /// violation) or `application/reports+json` (a list). At most 16 KiB and 20 reports.
    ///
    /// # Errors
    /// [`ReportError`] for another media type, a longer body, and what is not such a report.
    pub fn parse(content_type: &[u8], body: &[u8]) -> Result<Vec<Self>, ReportError> {
        let format = Format::of(content_type).ok_or(ReportError::MediaType)?;
        format.read(body)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    CspReport,
    ReportsJson,
}

impl Format {
    pub(crate) fn of(content_type: &[u8]) -> Option<Self> {
        let end = content_type.iter().position(|&b| b == b';');
        let essence = content_type[..end.unwrap_or(content_type.len())].trim_ascii();
        if essence.eq_ignore_ascii_case(b"application/csp-report") {
            Some(Self::CspReport)
        } else if essence.eq_ignore_ascii_case(b"application/reports+json") {
            Some(Self::ReportsJson)
        } else {
            None
        }
    }

    pub(crate) fn read(self, body: &[u8]) -> Result<Vec<Report>, ReportError> {
        if body.len() > MAX_BYTES {
            return Err(ReportError::TooLong);
        }
        let malformed = |_| ReportError::Malformed;
        match self {
            Self::CspReport => {
                let single: Single = serde_json::from_slice(body).map_err(malformed)?;
                Ok(vec![Report::CspViolation(single.report.into())])
            }
            Self::ReportsJson => {
                let list: Vec<Envelope> = serde_json::from_slice(body).map_err(malformed)?;
                list.into_iter()
                    .take(MAX_REPORTS)
                    .map(Envelope::open)
                    .collect()
            }
        }
    }
}

#[derive(Deserialize)]
struct Single {
    #[serde(rename = "csp-report")]
    report: Violation,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    body: serde_json::Value,
}

impl Envelope {
    fn open(self) -> Result<Report, ReportError> {
        if self.kind != "csp-violation" {
            return Ok(Report::Other(OtherReport {
                kind: text(&self.kind),
                url: url(&self.url),
            }));
        }
        let violation: Violation =
            serde_json::from_value(self.body).map_err(|_| ReportError::Malformed)?;
        Ok(Report::CspViolation(violation.into()))
    }
}

/// Both spellings: `report-uri`'s (CSP Level 3 §5.3) and the Reporting API's (§5.4). Browsers
/// leave out what they do not know, or say null.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Violation {
    #[serde(alias = "document-uri", alias = "documentURL")]
    document: Option<String>,
    referrer: Option<String>,
    #[serde(alias = "blocked-uri", alias = "blockedURL")]
    blocked: Option<String>,
    #[serde(alias = "effective-directive", alias = "effectiveDirective")]
    effective: Option<String>,
    #[serde(alias = "violated-directive")]
    violated: Option<String>,
    #[serde(alias = "original-policy", alias = "originalPolicy")]
    policy: Option<String>,
    disposition: Option<String>,
    #[serde(alias = "source-file", alias = "sourceFile")]
    source: Option<String>,
    #[serde(alias = "line-number", alias = "lineNumber")]
    line: Option<u32>,
    #[serde(alias = "column-number", alias = "columnNumber")]
    column: Option<u32>,
    #[serde(alias = "status-code", alias = "statusCode")]
    status: Option<u16>,
    #[serde(alias = "script-sample")]
    sample: Option<String>,
}

impl From<Violation> for CspViolation {
    fn from(violation: Violation) -> Self {
        let text = |value: Option<String>| value.as_deref().map(text).unwrap_or_default();
        let url = |value: Option<String>| value.as_deref().map(url).unwrap_or_default();
        let disposition = match violation.disposition.as_deref() {
            Some("report") => Disposition::Report,
            _ => Disposition::Enforce,
        };
        Self {
            document_url: url(violation.document),
            referrer: url(violation.referrer),
            blocked_url: url(violation.blocked),
            effective_directive: text(violation.effective.or(violation.violated)),
            original_policy: text(violation.policy),
            disposition,
            source_file: url(violation.source),
            line_number: violation.line.unwrap_or_default(),
            column_number: violation.column.unwrap_or_default(),
            status_code: violation.status.unwrap_or_default(),
            sample: text(violation.sample),
        }
    }
}

/// Without control characters, and not too long.
fn text(value: &str) -> String {
    let mut cut: String = value.chars().filter(|c| !c.is_control()).collect();
    let mut end = cut.len().min(MAX_TEXT);
    while !cut.is_char_boundary(end) {
        end -= 1;
    }
    cut.truncate(end);
    cut
}

/// Without user information, query and fragment too.
fn url(value: &str) -> String {
    let mut value = text(value);
    if let Some(end) = value.find(['?', '#']) {
        value.truncate(end);
    }
    if let Some(start) = value.find("://").map(|at| at + 3) {
        let rest = &value[start..];
        let authority = &rest[..rest.find(['/', '\\']).unwrap_or(rest.len())];
        if let Some(at) = authority.rfind('@') {
            value.replace_range(start..=start + at, "");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CSP: &[u8] = b"application/csp-report";
    const REPORTS: &[u8] = b"application/reports+json; charset=utf-8";

    #[test]
    fn reads_a_violation_in_both_spellings() {
        let old = r#"{"csp-report":{
            "document-uri":"https://u:p@a.example/page?code=secret#f","referrer":"",
            "violated-directive":"script-src-elem","effective-directive":"script-src-elem",
            "original-policy":"default-src 'none'","disposition":"report",
            "blocked-uri":"inline","line-number":3,"column-number":7,
            "source-file":"https://a.example/app.js","status-code":200,"script-sample":"al\u0007ert(1)",
            "something-new":[1]}}"#;
        let new = r#"[{"type":"csp-violation","age":5,"url":"https://a.example/page",
            "user_agent":"x","body":{
            "documentURL":"https://a.example/page?code=secret","referrer":null,
            "effectiveDirective":"script-src-elem","originalPolicy":"default-src 'none'",
            "disposition":"report","blockedURL":"inline","lineNumber":3,"columnNumber":7,
            "sourceFile":"https://a.example/app.js","statusCode":200,"sample":"alert(1)"}}]"#;
        let expected = Report::CspViolation(CspViolation {
            document_url: "https://a.example/page".to_owned(),
            referrer: String::new(),
            blocked_url: "inline".to_owned(),
            effective_directive: "script-src-elem".to_owned(),
            original_policy: "default-src 'none'".to_owned(),
            disposition: Disposition::Report,
            source_file: "https://a.example/app.js".to_owned(),
            line_number: 3,
            column_number: 7,
            status_code: 200,
            sample: "alert(1)".to_owned(),
        });
        let expected = Ok(vec![expected]);
        assert_eq!(Report::parse(CSP, old.as_bytes()), expected);
        assert_eq!(Report::parse(REPORTS, new.as_bytes()), expected);
    }

    #[test]
    fn names_the_type_of_other_reports() {
        let body =
            br#"[{"type":"coop","url":"https://a.example/?q","body":{"x":1}},{"type":"crash"}]"#;
        let reports = Report::parse(REPORTS, body).unwrap();
        let other = |kind: &str, url: &str| {
            Report::Other(OtherReport {
                kind: kind.to_owned(),
                url: url.to_owned(),
            })
        };
        assert_eq!(
            reports,
            [other("coop", "https://a.example/"), other("crash", "")]
        );
    }

    #[test]
    fn takes_no_more_than_it_can_bear() {
        let long = format!(r#"{{"csp-report":{{"sample":"{}"}}}}"#, "ä".repeat(5000));
        let reports = Report::parse(CSP, long.as_bytes()).unwrap();
        let Report::CspViolation(violation) = &reports[0] else {
            panic!("not a violation");
        };
        assert_eq!(violation.sample, "ä".repeat(512));

        let too_long = format!(
            r#"{{"csp-report":{{"sample":"{}"}}}}"#,
            "a".repeat(MAX_BYTES)
        );
        let error = Report::parse(CSP, too_long.as_bytes());
        assert_eq!(error, Err(ReportError::TooLong));

        let many = format!("[{}]", [r#"{"type":"crash"}"#; 100].join(","));
        assert_eq!(Report::parse(REPORTS, many.as_bytes()).unwrap().len(), 20);
    }

    #[test]
    fn refuses_what_is_not_a_report() {
        for body in [
            "",
            "{}",
            "[]x",
            "null",
            r#"{"csp-report":1}"#,
            r#"{"csp-report":{"line-number":-1}}"#,
            r#"{"csp-report":{"document-uri":"a","documentURL":"b"}}"#,
        ] {
            let error = Report::parse(CSP, body.as_bytes());
            assert_eq!(error, Err(ReportError::Malformed), "{body}");
        }
        for body in [
            "{}",
            r#"[{"type":1}]"#,
            r#"[{"type":"csp-violation","body":[[]]}]"#,
        ] {
            let error = Report::parse(REPORTS, body.as_bytes());
            assert_eq!(error, Err(ReportError::Malformed), "{body}");
        }
        let deep = "[".repeat(MAX_BYTES);
        let error = Report::parse(REPORTS, deep.as_bytes());
        assert_eq!(error, Err(ReportError::Malformed));
        for media in [
            "",
            "application/json",
            "text/plain",
            "application/csp-reportx",
        ] {
            let error = Report::parse(media.as_bytes(), b"[]");
            assert_eq!(error, Err(ReportError::MediaType), "{media}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_what_it_reads_is_clean(
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                r#"\{"csp-report":\{"(document-uri|sample|blocked-uri)":"(https://|\\\\u0000|[?#@/a]|\PC){0,20}"\}\}"#
                    .prop_map(String::into_bytes),
            ],
        ) {
            for media in [CSP, REPORTS] {
                for report in Report::parse(media, &body).unwrap_or_default() {
                    if let Report::CspViolation(violation) = report {
                        prop_assert!(!violation.sample.chars().any(char::is_control));
                        prop_assert!(!violation.document_url.contains(['?', '#']));
                    }
                }
            }
        }
    }
}
