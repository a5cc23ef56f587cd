//! Addresses that a server is made to fetch or to include.

use super::rule;
use crate::inspect::bytes::{self, find_any};
use crate::inspect::rule::{Family, Findings, Place, Rule};

static WRAPPER: Rule = rule(
    "path.stream_wrapper",
    10,
    "An address that reads files or runs code: `php://`, `file://` and their kind.",
);

const fn forgery(id: &'static str, score: u32, explanation: &'static str) -> Rule {
    Rule::new(id, Family::RequestForgery, score, explanation)
}

static METADATA: Rule = forgery(
    "ssrf.metadata_address",
    10,
    "An address of a cloud's metadata service.",
);

static SCHEME: Rule = forgery(
    "ssrf.scheme",
    10,
    "A scheme that reaches services other than the web.",
);

static INNER: Rule = forgery(
    "ssrf.inner_address",
    6,
    "An address of the server itself, or in a form that hides it.",
);

static HIDDEN_ADDRESS: Rule = forgery(
    "ssrf.address_as_number",
    10,
    "An address written as a number or cut short, which hides it.",
);

static REMOTE_SCRIPT: Rule = forgery(
    "rfi.remote_script",
    10,
    "The address of a script elsewhere, or one that cuts off what is appended to it.",
);

static REMOTE_INCLUDE: Rule = forgery(
    "rfi.include_path",
    10,
    "An address for a parameter from which programs include their own files.",
);

static REMOTE_FILE: Rule = forgery(
    "rfi.remote_file",
    7,
    "The address of a script, with a `?` behind it to cut off what follows.",
);

/// `_CONF[path]=http://h/`: parameters that set where a program has its own files.
pub(in crate::inspect) fn inspect_include(name: &[u8], value: &[u8], findings: &mut Findings) {
    const NAMES: &[&str] = &[
        "_conf[",
        "_server[",
        "globals[",
        "absolute_path",
        "include_path",
        "document_root",
        "root_path",
        "basepath",
        "base_path",
        "inc_dir",
        "includedir",
        "phpbb_root",
    ];
    let name = name
        .get(..name.len().min(64))
        .unwrap_or_default()
        .to_ascii_lowercase();
    let start = value
        .get(..value.len().min(12))
        .unwrap_or_default()
        .to_ascii_lowercase();
    let remote = [
        &b"http:"[..],
        b"https:",
        b"ftp:",
        b"http%3a",
        b"https%3a",
        b"ftp%3a",
    ]
    .iter()
    .any(|scheme| start.starts_with(scheme));
    if remote && find_any(&name, NAMES).is_some() {
        findings.add(&REMOTE_INCLUDE, value, 0);
    }
}

pub(super) fn addresses(text: &[u8], place: Place, findings: &mut Findings) {
    let mut from = 0;
    while let Some(at) = bytes::find_from(text, b":", from) {
        from = at + 1;
        let rest = text.get(from..).unwrap_or_default();
        let before = text.get(..at).unwrap_or_default();
        let length = before
            .iter()
            .rev()
            .take(16)
            .take_while(|byte| {
                byte.is_ascii_alphanumeric() || **byte == b'.' || **byte == b'+' || **byte == b'-'
            })
            .count();
        let start = at - length;
        let scheme = before.get(start..).unwrap_or_default();
        let slashes = rest.starts_with(b"/");
        let double = rest.starts_with(b"//");
        match scheme {
            b"php" | b"expect" | b"phar" | b"zip" | b"compress.zlib" | b"compress.bzip2"
            | b"glob" | b"data" | b"ogg" | b"rar" | b"zlib" | b"ssh2.exec" | b"ssh2.shell"
            | b"ssh2.tunnel" | b"ssh2.sftp"
                if double =>
            {
                findings.add(&WRAPPER, text, start);
            }
            b"file" | b"local_file" | b"netdoc"
                if slashes
                    && rest.len() > 2
                    && place != Place::Referer
                    && !(place == Place::UserAgent) =>
            {
                findings.add(&WRAPPER, text, start);
            }
            b"jar" if rest.starts_with(b"http") || rest.starts_with(b"file") => {
                findings.add(&WRAPPER, text, start);
            }
            b"gopher" | b"dict" | b"ldap" | b"ldaps" | b"tftp" | b"rmi" | b"iiop" | b"corba"
            | b"nis" | b"smb"
                if double && place != Place::UserAgent =>
            {
                let sure = scheme != b"ldap" && scheme != b"smb" || start == 0;
                if sure {
                    findings.add(&SCHEME, text, start);
                }
            }
            b"http" | b"https" | b"ftp" if double && place != Place::Referer => {
                web_address(text, start, rest.get(2..).unwrap_or_default(), findings);
            }
            _ => {}
        }
    }
}

fn web_address(text: &[u8], start: usize, rest: &[u8], findings: &mut Findings) {
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    let host = authority
        .iter()
        .rposition(|byte| *byte == b'@')
        .map_or(authority, |at| authority.get(at + 1..).unwrap_or_default());
    const METADATA_HOSTS: &[&[u8]] = &[
        b"169.254.169.254",
        b"metadata.google.internal",
        b"100.100.100.200",
        b"2852039166",
        b"0xa9fea9fe",
        b"169.254.170.2",
        b"[fd00:ec2::254]",
        b"metadata.azure.com",
        b"192.0.0.192",
        b"instance-data",
    ];
    if METADATA_HOSTS.iter().any(|known| host.starts_with(known)) {
        findings.add(&METADATA, text, start);
        return;
    }
    let digits = host
        .iter()
        .all(|byte| byte.is_ascii_hexdigit() || *byte == b'x')
        && host.len() >= 8;
    let number = digits
        && host.iter().any(u8::is_ascii_digit)
        && !host.contains(&b'.')
        && (host.starts_with(b"0x") || host.iter().all(u8::is_ascii_digit));
    let name = host
        .iter()
        .position(|byte| *byte == b':')
        .map_or(host, |port| host.get(..port).unwrap_or_default());
    let numbers = name.split(|byte| *byte == b'.');
    // `127.1`, `0177.0.0.1`
    let short = name.len() <= 24
        && name.contains(&b'.')
        && name
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && (numbers.clone().count() != 4
            || numbers
                .clone()
                .any(|part| part.len() > 1 && part.starts_with(b"0")));
    if number || short || host.starts_with(b"[::ffff:") {
        findings.add(&HIDDEN_ADDRESS, text, start);
    } else if host.starts_with(b"0.0.0.0") || host.starts_with(b"[::]") {
        findings.add(&INNER, text, start);
    }
    if start > 0 {
        return;
    }
    let path = rest.get(end..).unwrap_or_default();
    // A script on a machine without a name, or an address made to swallow what is appended.
    let address = host
        .iter()
        .take(15)
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':'))
        && host.len() >= 7;
    let program = [".php", ".txt", ".asp", ".jsp", ".sh", ".exe", ".pl", ".py"]
        .iter()
        .any(|end| path.trim_ascii_end().ends_with(end.as_bytes()));
    if path == b"?" || address && program {
        findings.add(&REMOTE_SCRIPT, text, start);
    }
    let script = [
        &b".txt?"[..],
        b".php?",
        b".gif?",
        b".jpg?",
        b".dat?",
        b".do?",
        b".ico?",
    ]
    .iter()
    .any(|end| path.ends_with(end))
        || path.ends_with(b"??");
    if script {
        // An address may end with an empty query; a picture's hardly.
        let page = path.ends_with(b".php?") || path.ends_with(b".do?");
        findings.add(
            if page { &REMOTE_FILE } else { &REMOTE_SCRIPT },
            text,
            start,
        );
    }
}
