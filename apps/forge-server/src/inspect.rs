//! `forge inspect`: what inspection finds in requests, and why.

use std::io::{self, BufRead, BufWriter, IsTerminal, Read, Write};

use clap::Args;
use forge_monitor::{Inspection, Inspector, Level, Match};
use serde::{Deserialize, Serialize};

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 1024 * 1024;

/// What is said of a line that has another shape.
const SHAPE: &str = r#"a line is {"target":"/a?b=c","headers":[["name","value"]],"body":"a=b"}"#;

/// `forge inspect`
#[derive(Args, Clone, Debug)]
#[command(long_about = "Says what inspection finds in a request, and why.\n\n\
        Without a target it reads requests from standard input, one JSON object a line:\n  \
        {\"method\":\"GET\",\"target\":\"/a?b=c\",\"headers\":[[\"user-agent\",\"curl/8\"]]}\n\
        of which only `target` has to be there, and headers are pairs of name and value; `body` may \
        hold the fields of a form, where the content type is one or is absent. A field of another \
        name is an error, and an empty line is passed over. It writes one object a line, in the same \
        order:\n  \
        {\"line\":1,\"score\":10,\"verdict\":{\"low\":\"block\",\"high\":\"block\"},\"matches\":[…]}\n\
        or {\"line\":2,\"error\":\"…\"} for a line that cannot be read; then the exit code is 1.")]
pub struct Inspect {
    /// The request's target, such as `/search?q=x`; without it, JSON Lines are read from standard
    /// input.
    pub target: Option<String>,
    /// The request's method.
    #[arg(long, short = 'X', default_value = "GET", requires = "target")]
    pub method: String,
    /// A header; may be repeated.
    #[arg(
        long = "header",
        short = 'H',
        value_name = "NAME: VALUE",
        requires = "target"
    )]
    pub headers: Vec<String>,
    /// The fields of a form, as `a=b&c=d`.
    #[arg(long, value_name = "FORM", requires = "target")]
    pub body: Option<String>,
}

/// Why the command did not do all it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A `--header` without a colon.
    #[error("--header takes 'name: value'")]
    Header,
    /// Lines that are no requests.
    #[error("{0} of the lines could not be read")]
    Lines(u64),
    /// There is a terminal where requests are to come from.
    #[error("name a target, or give requests as JSON Lines on standard input")]
    NoInput,
    /// Reading or writing did not succeed.
    #[error("cannot read or write")]
    Io(#[from] io::Error),
}

impl Inspect {
    /// Inspects what the arguments or the lines say.
    ///
    /// # Errors
    /// See [`InspectError`]. That a reader has seen enough is no error.
    pub fn run(self) -> Result<(), InspectError> {
        let stdout = io::stdout();
        let done = match &self.target {
            Some(target) => self.one(target, &mut stdout.lock()),
            None if io::stdin().is_terminal() => Err(InspectError::NoInput),
            None => {
                let each = stdout.is_terminal();
                let out = BufWriter::with_capacity(256 * 1024, stdout.lock());
                lines(io::stdin().lock(), out, each)
            }
        };
        match done {
            Err(InspectError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    fn one(&self, target: &str, out: &mut impl Write) -> Result<(), InspectError> {
        let headers = self.headers.iter().map(|header| {
            let (name, value) = header.split_once(':').ok_or(InspectError::Header)?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        let request = Request {
            _method: None,
            target: target.to_owned(),
            headers: headers.collect::<Result<_, InspectError>>()?,
            body: self.body.clone(),
        };
        let inspections = request.inspect();
        let shown = forge_audit::escape(target);
        writeln!(out, "{} {shown}", forge_audit::escape(&self.method))?;
        writeln!(out, "score  {}", score(&inspections))?;
        for level in Level::ALL {
            let verdict = verdict(&inspections, level);
            writeln!(
                out,
                "{:<6} {verdict} (from {})",
                level.as_str(),
                level.threshold()
            )?;
        }
        for found in matches(&inspections) {
            let place = found.place.as_str();
            write!(out, "\n{} (+{}) in {place}", found.rule, found.score)?;
            if let Some(name) = &found.name {
                write!(out, " `{name}`")?;
            }
            writeln!(out, "\n  {}\n  saw: {}", found.explanation, found.saw)?;
        }
        if matches(&inspections).next().is_none() {
            writeln!(out, "\nno rule matched")?;
        }
        out.flush()?;
        Ok(())
    }
}

/// A request as a line has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// No rule is about it.
    #[serde(default, rename = "method")]
    _method: Option<String>,
    target: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
}

impl Request {
    /// What is found in the head, and in the form where there is one.
    fn inspect(&self) -> [Option<Inspection>; 2] {
        let inspector = Inspector::new();
        let headers = self.headers.iter();
        let head = inspector.inspect_text(
            self.target.as_bytes(),
            headers.map(|(name, value)| (name.as_bytes(), value.as_bytes())),
        );
        let form = self.body.as_ref().filter(|_| self.is_form());
        let form = form.map(|form| inspector.inspect_form(form.as_bytes()));
        [Some(head), form]
    }

    fn is_form(&self) -> bool {
        let mut kinds = self
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        kinds.all(|(_, kind)| {
            let kind = kind.trim_start().to_ascii_lowercase();
            kind.starts_with("application/x-www-form-urlencoded")
        })
    }
}

fn score(inspections: &[Option<Inspection>]) -> u32 {
    let scores = inspections.iter().flatten().map(Inspection::score);
    scores.max().unwrap_or(0)
}

fn verdict(inspections: &[Option<Inspection>], level: Level) -> &'static str {
    let verdicts = inspections.iter().flatten();
    let worst = verdicts.max_by_key(|inspection| inspection.score());
    worst.map_or("pass", |inspection| inspection.verdict(level).as_str())
}

fn matches(inspections: &[Option<Inspection>]) -> impl Iterator<Item = &Match> {
    inspections.iter().flatten().flat_map(Inspection::matches)
}

/// What is written for a line.
#[derive(Serialize)]
struct Report<'a> {
    line: u64,
    score: u32,
    verdict: Verdicts,
    matches: Vec<Found<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Serialize)]
struct Verdicts {
    low: &'static str,
    high: &'static str,
}

#[derive(Serialize)]
struct Found<'a> {
    rule: &'a str,
    family: &'a str,
    place: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    score: u32,
    explanation: &'a str,
    saw: &'a str,
}

#[derive(Serialize)]
struct Unread<'a> {
    line: u64,
    error: &'a str,
}

/// Reads requests and writes what is found, a line each; flushes `each` where somebody watches.
fn lines(mut input: impl BufRead, mut out: impl Write, each: bool) -> Result<(), InspectError> {
    let mut unread = 0;
    let mut number = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        number += 1;
        let read = input
            .by_ref()
            .take(MAX_LINE as u64 + 1)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        if line.trim_ascii().is_empty() && line.len() <= MAX_LINE {
            continue;
        }
        if !write_line(number, &line, &mut out)? {
            unread += 1;
        }
        out.write_all(b"\n")?;
        if line.len() > MAX_LINE && line.last() != Some(&b'\n') {
            skip_line(&mut input)?;
        }
        if each {
            out.flush()?;
        }
    }
    out.flush()?;
    match unread {
        0 => Ok(()),
        unread => Err(InspectError::Lines(unread)),
    }
}

/// Whether the line is a request.
fn write_line(number: u64, line: &[u8], out: &mut impl Write) -> io::Result<bool> {
    let parsed = if line.len() > MAX_LINE {
        Err("longer than 1 MiB".to_owned())
    } else {
        serde_json::from_slice::<Request>(line).map_err(|error| {
            let what = error
                .to_string()
                .replacen(" at line 1 column", " at column", 1);
            format!("{what}; {SHAPE}")
        })
    };
    let request = match parsed {
        Ok(request) => request,
        Err(error) => {
            let error = forge_audit::escape(&error);
            let unread = Unread {
                line: number,
                error: &error,
            };
            serde_json::to_writer(out, &unread)?;
            return Ok(false);
        }
    };
    let inspections = request.inspect();
    let report = Report {
        line: number,
        score: score(&inspections),
        verdict: Verdicts {
            low: verdict(&inspections, Level::Low),
            high: verdict(&inspections, Level::High),
        },
        matches: matches(&inspections)
            .map(|found| Found {
                rule: found.rule,
                family: found.family.as_str(),
                place: found.place.as_str(),
                name: found.name.as_deref(),
                score: found.score,
                explanation: found.explanation,
                saw: &found.saw,
            })
            .collect(),
        truncated: inspections.iter().flatten().any(Inspection::is_truncated),
    };
    serde_json::to_writer(out, &report)?;
    Ok(true)
}

/// Reads on to the end of a line that is too long to be kept.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn reports(input: &str) -> (Vec<Value>, Result<(), InspectError>) {
        let mut out = Vec::new();
        let done = lines(input.as_bytes(), &mut out, false);
        let text = String::from_utf8(out).unwrap();
        let reports = text.lines().map(|line| serde_json::from_str(line).unwrap());
        (reports.collect(), done)
    }

    #[test]
    fn a_line_of_output_for_each_line_of_input_in_order() {
        let (reports, done) = reports(concat!(
            r#"{"method":"GET","target":"/a?b=1'%20or%20'1'='1","headers":[]}"#,
            "\n",
            r#"{"target":"/a?b=c"}"#,
            "\n",
        ));
        done.unwrap();
        assert_eq!(reports[0]["line"], 1);
        assert_eq!(reports[0]["verdict"]["low"], "block");
        assert_eq!(reports[0]["matches"][0]["name"], "b");
        assert_eq!(reports[0]["matches"][0]["family"], "sql_injection");
        assert!(reports[0]["score"].as_u64().unwrap() >= 10);
        assert_eq!(reports[1]["line"], 2);
        assert_eq!(reports[1]["score"], 0);
        assert_eq!(reports[1]["verdict"]["high"], "pass");
        assert_eq!(reports.len(), 2);
    }

    #[test]
    fn a_line_that_is_no_request_is_told_and_the_rest_is_read() {
        let long = "x".repeat(MAX_LINE + 10);
        let input = format!("{{\n[]\n{long}\n{{\"target\":\"/\"}}");
        let (reports, done) = reports(&input);
        assert!(matches!(done, Err(InspectError::Lines(3))));
        assert_eq!(reports.len(), 4);
        for (at, report) in reports[..3].iter().enumerate() {
            assert_eq!(report["line"], at + 1);
            assert!(report["error"].is_string());
        }
        assert_eq!(reports[2]["error"], "longer than 1 MiB");
        assert_eq!(reports[3]["score"], 0);
    }

    #[test]
    fn the_body_counts_where_it_is_a_form() {
        let line = |kind: &str| {
            format!(
                r#"{{"target":"/","headers":[["Content-Type","{kind}"]],"body":"a=1'+or+'1'%3d'1"}}"#
            )
        };
        let input = [
            line("application/x-www-form-urlencoded; charset=utf-8"),
            line("application/json"),
            line("text/markdown"),
        ];
        let (reports, done) = reports(&input.join("\n"));
        done.unwrap();
        assert_eq!(reports[0]["verdict"]["low"], "block");
        assert_eq!(reports[0]["matches"][0]["place"], "form_value");
        assert_eq!(reports[1]["score"], 0);
        assert_eq!(reports[2]["score"], 0);
    }

    #[test]
    fn a_request_from_the_arguments_is_explained() {
        let inspect = Inspect {
            target: None,
            method: "GET".to_owned(),
            headers: vec!["user-agent: sqlmap/1.7\x1b".to_owned()],
            body: None,
        };
        let mut out = Vec::new();
        inspect.one("/a\x1b[31m?b=c", &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("scanner.user_agent (+10) in user_agent"),
            "{text}"
        );
        assert!(text.contains("low    block (from 10)"), "{text}");
        assert!(!text.contains('\x1b'));
    }
}
