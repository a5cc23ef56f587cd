//! Expressions of templates, lookups such as Log4Shell's, and code of a language where a value
//! belongs.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::bytes::{self, Kinds, find, find_from, has, is_word};
use super::rule::{Family, Findings, Place, Rule};

const fn rule(id: &'static str, score: u32, explanation: &'static str) -> Rule {
    Rule::new(id, Family::CodeInjection, score, explanation)
}

static JNDI: Rule = rule(
    "code.jndi_lookup",
    10,
    "A lookup that loads code from elsewhere, as Log4Shell does.",
);
static LOOKUP: Rule = rule(
    "code.nested_lookup",
    10,
    "A lookup that hides letters of another.",
);
static LOOKUP_PLAIN: Rule = rule(
    "code.lookup",
    5,
    "A lookup of the environment or the system.",
);
static TEMPLATE: Rule = rule(
    "code.template_expression",
    10,
    "An expression of a template that computes, calls or looks inside something.",
);
static TEMPLATE_NAME: Rule = rule("code.template_name", 2, "A placeholder of a template.");
static SERVER_PAGE: Rule = rule(
    "code.server_page",
    10,
    "Code of a server page: `<?php`, `<%`.",
);
static PHP_CALL: Rule = rule(
    "code.php_call",
    10,
    "A call of PHP that runs code or programs.",
);
static PHP_VARIABLE: Rule = rule(
    "code.php_variable",
    10,
    "A variable of PHP's request or globals.",
);
static SERIALISED: Rule = rule(
    "code.serialised_object",
    10,
    "An object that is made, and may run code, when it is read.",
);
static JAVA: Rule = rule(
    "code.java",
    10,
    "A class or an expression of Java that runs code.",
);
static NODE: Rule = rule(
    "code.javascript_server",
    10,
    "JavaScript that a server would run, or a prototype that is changed.",
);
static PYTHON: Rule = rule(
    "code.python",
    10,
    "Python that looks inside objects or runs code.",
);
static RUBY: Rule = rule("code.ruby", 10, "Ruby that runs code or programs.");

static XPATH: Rule = rule(
    "code.xpath",
    10,
    "A path of XPath that looks around in a document.",
);
static STATEMENT: Rule = rule(
    "code.statement_behind_string",
    10,
    "A string is ended, and a statement of a script follows.",
);
static FORMULA: Rule = rule(
    "code.spreadsheet_formula",
    10,
    "A formula that makes a spreadsheet run a program or fetch something.",
);
static UPLOAD: Rule = rule(
    "code.script_upload",
    10,
    "The name of a file to upload that a server would run.",
);

/// Looks at the name of a file that is uploaded, in lower case.
pub(super) fn inspect_file_name(name: &[u8], findings: &mut Findings) {
    let end = name.iter().rposition(|byte| !matches!(byte, b'.' | b' '));
    let trimmed = name.get(..end.map_or(0, |end| end + 1)).unwrap_or_default();
    let digits = trimmed
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let stem = trimmed.get(..trimmed.len() - digits).unwrap_or_default();
    let script = [
        ".php", ".phtml", ".phar", ".asp", ".aspx", ".jsp", ".jspx", ".cgi",
    ]
    .iter()
    .any(|end| stem.ends_with(end.as_bytes()));
    if script {
        findings.add(&UPLOAD, name, name.len().saturating_sub(16));
    }
}

/// Signs in a value that tell by themselves, by what they are.
const SIGNS: &[(&str, &Rule)] = &[
    ("<?php", &SERVER_PAGE),
    ("<?=", &SERVER_PAGE),
    ("[php]", &SERVER_PAGE),
    ("{php}", &SERVER_PAGE),
    ("$_get", &PHP_VARIABLE),
    ("$_post", &PHP_VARIABLE),
    ("$_request", &PHP_VARIABLE),
    ("$_server", &PHP_VARIABLE),
    ("$_session", &PHP_VARIABLE),
    ("$_cookie", &PHP_VARIABLE),
    ("$_files", &PHP_VARIABLE),
    ("$_env", &PHP_VARIABLE),
    ("$globals[", &PHP_VARIABLE),
    ("auto_prepend_file", &PHP_CALL),
    ("allow_url_include", &PHP_CALL),
    ("disable_functions", &PHP_CALL),
    ("suhosin.simulation", &PHP_CALL),
    ("java.lang.", &JAVA),
    ("java.util.scanner", &JAVA),
    ("java.io.", &JAVA),
    ("java.net.url", &JAVA),
    ("javax.script", &JAVA),
    ("javax.naming", &JAVA),
    ("org.apache.commons.", &JAVA),
    ("org.springframework.context", &JAVA),
    ("processbuilder", &JAVA),
    ("getruntime(", &JAVA),
    (".getclass()", &JAVA),
    (".forname(", &JAVA),
    ("#_memberaccess", &JAVA),
    ("ognl.ognlcontext", &JAVA),
    ("@java.", &JAVA),
    ("@org.apache", &JAVA),
    ("java.runtime", &JAVA),
    ("org.omg.corba", &JAVA),
    ("com.sun.org.apache", &JAVA),
    ("class.module.classloader", &JAVA),
    ("class.classloader", &JAVA),
    ("freemarker.template", &JAVA),
    ("?new()", &JAVA),
    ("xwork.methodaccessor", &JAVA),
    ("com.opensymphony.xwork2", &JAVA),
    ("#context[", &JAVA),
    ("ro0abx", &SERIALISED),
    ("ro0abq", &SERIALISED),
    ("kztaaf", &SERIALISED),
    ("cs7qaf", &SERIALISED),
    ("_$$nd_func$$_", &SERIALISED),
    ("xyqktkrfrlvoqyqkx", &SERIALISED),
    ("__js_function", &NODE),
    ("module.exports=", &NODE),
    ("ysoserial", &SERIALISED),
    ("!ruby/object", &SERIALISED),
    ("!!python/object", &SERIALISED),
    ("!!javax", &SERIALISED),
    ("cposix\nsystem", &SERIALISED),
    ("__proto__", &NODE),
    ("constructor.prototype", &NODE),
    ("constructor[prototype", &NODE),
    ("child_process", &NODE),
    ("process.mainmodule", &NODE),
    ("process.env.", &NODE),
    ("process.binding", &NODE),
    ("global.process", &NODE),
    ("__class__", &PYTHON),
    ("__mro__", &PYTHON),
    ("__subclasses__", &PYTHON),
    ("__globals__", &PYTHON),
    ("__builtins__", &PYTHON),
    ("__import__", &PYTHON),
    ("os.popen(", &PYTHON),
    ("os.system(", &PYTHON),
    ("subprocess.popen", &PYTHON),
    ("subprocess.check_output", &PYTHON),
    ("kernel.exec", &RUBY),
    ("kernel.system", &RUBY),
    ("io.popen(", &RUBY),
    ("self.env.registerundefined", &TEMPLATE),
    ("_self.env", &TEMPLATE),
    ("{$smarty", &TEMPLATE),
    ("::node()", &XPATH),
    ("/child::", &XPATH),
    ("/descendant::", &XPATH),
    ("/ancestor::", &XPATH),
    ("constructor.constructor", &TEMPLATE),
    ("%{(#", &JAVA),
    ("%{#", &JAVA),
];

static SIGN_WORDS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    static WORDS: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| SIGNS.iter().map(|(sign, _)| *sign).collect());
    bytes::automaton(WORDS.iter())
});

/// What has to be in a value for it to be looked at.
const KINDS: Kinds = Kinds::DOLLAR
    .or(Kinds::BRACE)
    .or(Kinds::ANGLE)
    .or(Kinds::PAREN)
    .or(Kinds::DOT)
    .or(Kinds::HASH)
    .or(Kinds::COLON)
    .or(Kinds::BRACKET)
    .or(Kinds::SEMICOLON)
    .or(Kinds::OTHER)
    .or(Kinds::AT);

/// Looks at `text`, in lower case.
pub(super) fn inspect(text: &[u8], kinds: Kinds, place: Place, findings: &mut Findings) {
    if kinds.any(Kinds::BRACE) && kinds.any(Kinds::DOLLAR) {
        lookups(text, findings);
    }
    // `__proto__` is all letters.
    if kinds.any(KINDS) || text.starts_with(b"__") || text.starts_with(b"ro0") {
        for found in SIGN_WORDS.find_iter(text).take(8) {
            let Some((sign, rule)) = SIGNS.get(found.pattern().as_usize()) else {
                continue;
            };
            let before = found.start().checked_sub(1).and_then(|at| text.get(at));
            let behind = text.get(found.end());
            let word = sign.as_bytes().first().is_some_and(|byte| is_word(*byte));
            if word && before.is_some_and(|byte| is_word(*byte)) {
                continue;
            }
            // Names of packages stand in texts about them; a value that begins an object does not.
            let named = matches!(
                *sign,
                "java.lang."
                    | "java.io."
                    | "java.net.url"
                    | "org.apache.commons."
                    | "processbuilder"
                    | "child_process"
                    | "process.env."
                    | "javax.naming"
                    | "javax.script"
                    | "disable_functions"
                    | "constructor.prototype"
                    | "org.springframework.context"
                    | "__class__"
                    | "__proto__"
                    | "__globals__"
                    | "__builtins__"
                    | "__mro__"
                    | "__subclasses__"
                    | "__import__"
                    | "ysoserial"
                    | "os.system("
                    | "os.popen("
                    | "subprocess.popen"
            );
            let telling = text.len() == found.len()
                || kinds.any(
                    Kinds::PAREN
                        .or(Kinds::BRACKET)
                        .or(Kinds::EQUALS)
                        .or(Kinds::AT)
                        .or(Kinds::BRACE)
                        .or(Kinds::HASH)
                        .or(Kinds::DOLLAR),
                )
                || !kinds.any(Kinds::SPACE);
            let base64 = matches!(*rule, rule if rule.id == "code.serialised_object")
                && word
                && found.start() > 0;
            if base64 || named && !telling {
                continue;
            }
            // `[PHP](https://…)`
            if *sign == "[php]" && behind == Some(&b'(') {
                continue;
            }
            if *sign == "<?=" && behind.is_none_or(|byte| *byte == b' ') && text.len() == 3 {
                continue;
            }
            findings.add(rule, text, found.start());
        }
    }
    let marks = Kinds::BRACE.or(Kinds::PERCENT);
    if (kinds.any(marks) || kinds.any(Kinds::AT) && kinds.any(Kinds::PAREN))
        && place != Place::UserAgent
    {
        templates(text, findings);
    }
    if kinds.any(Kinds::PAREN) {
        calls(text, findings);
    }
    if kinds.any(Kinds::SEMICOLON) && kinds.any(Kinds::SINGLE.or(Kinds::DOUBLE)) {
        statements(text, findings);
    }
    if text.starts_with(b"db.") && kinds.any(Kinds::PAREN) {
        shell_of_a_database(text, findings);
    }
    if matches!(text.first(), Some(b'=' | b'+' | b'-' | b'@')) {
        formula(text, findings);
    }
    if kinds.any(Kinds::BRACE) && kinds.any(Kinds::COLON) {
        serialised(text, findings);
    }
}

/// `'; return true; var x='`, `';d=new Date();do{`
fn statements(text: &[u8], findings: &mut Findings) {
    let mut from = 0;
    for _ in 0..16 {
        let Some(at) = find_from(text, b";", from) else {
            return;
        };
        from = at + 1;
        let before = text.get(..at).unwrap_or_default().last();
        if !matches!(before, Some(b'\'' | b'"')) {
            continue;
        }
        let rest = text.get(from..).unwrap_or_default();
        let rest = rest
            .get(..rest.len().min(128))
            .unwrap_or_default()
            .trim_ascii_start();
        let word = rest.iter().take_while(|byte| is_word(**byte)).count();
        let behind = rest.get(word..).unwrap_or_default();
        let runs = matches!(
            rest.get(..word),
            Some(b"return" | b"var" | b"let" | b"const" | b"while" | b"throw" | b"do")
        ) && behind
            .iter()
            .any(|byte| matches!(byte, b'=' | b'(' | b';' | b'\'' | b'"'));
        // `d=new Date();`
        let makes = word > 0
            && behind.strip_prefix(b"=").is_some_and(|value| {
                value.trim_ascii_start().starts_with(b"new ") || value.starts_with(b"function")
            });
        if runs || makes {
            findings.add(&STATEMENT, text, at);
            return;
        }
    }
}

/// `db.users.drop()`
fn shell_of_a_database(text: &[u8], findings: &mut Findings) {
    const CALLS: &[&str] = &[
        ".insert(",
        ".find(",
        ".drop(",
        ".remove(",
        ".update(",
        ".mapreduce(",
        ".aggregate(",
        ".insertone(",
        ".deletemany(",
        ".findone(",
    ];
    let head = text.get(..text.len().min(128)).unwrap_or_default();
    if let Some((at, _)) = bytes::find_any(head, CALLS) {
        findings.add(&NODE, text, at);
    }
}

/// `=cmd|'/c calc'!a0`, `=importxml("http://h/")`: what a spreadsheet would run or fetch.
fn formula(text: &[u8], findings: &mut Findings) {
    const CALLS: &[&str] = &[
        "cmd|",
        "msexcel|",
        "powershell|",
        "dde(",
        "hyperlink(",
        "importxml(",
        "importfeed(",
        "importhtml(",
        "importdata(",
        "importrange(",
        "webservice(",
    ];
    if let Some((at, _)) =
        bytes::find_any(text.get(..text.len().min(256)).unwrap_or_default(), CALLS)
    {
        findings.add(&FORMULA, text, at);
    }
}

/// Only lookups: for headers in which nothing else is looked for.
pub(super) fn inspect_lookups(text: &[u8], findings: &mut Findings) {
    lookups(text, findings);
}

/// `${jndi:…}`, with its letters hidden in lookups of their own or not.
fn lookups(text: &[u8], findings: &mut Findings) {
    let Some(start) = find(text, b"${") else {
        return;
    };
    let plain = resolved(text.get(start..).unwrap_or_default());
    if let Some(at) = find(&plain.text, b"jndi:") {
        let braces = plain
            .text
            .get(..at)
            .is_some_and(|head| has(head, b"{") || has(head, b"$"));
        if braces {
            findings.add(&JNDI, text, start);
            return;
        }
    }
    if plain.hides {
        findings.add(&LOOKUP, text, start);
    } else if bytes::find_any(
        &plain.text,
        &[
            "${env:",
            "${sys:",
            "${java:",
            "${lower:",
            "${upper:",
            "${main:",
            "${ctx:",
            "${docker:",
            "${k8s:",
            "${spring:",
            "${bundle:",
            "${marker:",
            "${script:",
            "${dns:",
            "${url:",
            "${base64:",
        ],
    )
    .is_some()
    {
        findings.add(&LOOKUP_PLAIN, text, start);
    }
}

struct Resolved {
    text: Vec<u8>,
    hides: bool,
}

/// The text with inner lookups replaced by what they give: `${lower:j}` is `j`, `${x:y:-n}` is `n`.
/// One pass, with a stack of where lookups begin.
fn resolved(text: &[u8]) -> Resolved {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut open: Vec<usize> = Vec::new();
    let mut hides = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with(b"${") && open.len() < 64 {
            open.push(out.len());
            out.extend_from_slice(b"${");
            at += 2;
            continue;
        }
        if byte == b'}'
            && let Some(start) = open.pop()
        {
            let inner = out.get(start + 2..).unwrap_or_default();
            let value: Option<Vec<u8>> = if let Some(default) = find(inner, b":-") {
                Some(inner.get(default + 2..).unwrap_or_default().to_vec())
            } else {
                [&b"lower:"[..], b"upper:"]
                    .iter()
                    .find_map(|name| inner.strip_prefix(*name))
                    // `${date:'j'}`: a format that is a letter.
                    .or_else(|| inner.strip_prefix(b"date:'")?.strip_suffix(b"'"))
                    .map(<[u8]>::to_vec)
            };
            // A lookup that gives a letter or two hides something, if another is around it.
            if let Some(value) = value {
                hides |= value.len() <= 4 && (!open.is_empty() || start == 0) && inner.len() <= 64;
                out.truncate(start);
                out.extend_from_slice(&value);
            } else {
                out.push(b'}');
            }
            at += 1;
            continue;
        }
        out.push(byte);
        at += 1;
    }
    // `${lower:x}` by itself is a template of somebody's.
    let nested = text.windows(2).filter(|pair| *pair == b"${").count() > 1;
    Resolved {
        text: out,
        hides: hides && nested,
    }
}

/// Expressions between the marks of template languages.
fn templates(text: &[u8], findings: &mut Findings) {
    const MARKS: &[(&[u8], &[u8])] = &[
        (b"{{", b"}}"),
        (b"${", b"}"),
        (b"#{", b"}"),
        (b"<%", b"%>"),
        (b"{%", b"%}"),
        (b"*{", b"}"),
        (b"@{", b"}"),
        (b"~{", b"}"),
        (b"[[", b"]]"),
        (b"{!", b"}"),
        (b"{#", b"}"),
        (b"@(", b")"),
    ];
    for (start, end) in MARKS {
        let mut from = 0;
        for _ in 0..8 {
            let Some(at) = find_from(text, start, from) else {
                break;
            };
            from = at + start.len();
            let rest = text.get(from..).unwrap_or_default();
            let close = find(rest.get(..rest.len().min(512)).unwrap_or_default(), end);
            let inner = rest
                .get(..close.unwrap_or(rest.len().min(512)))
                .unwrap_or_default();
            if *start == b"<%" {
                if close.is_some()
                    || matches!(inner.first(), Some(b'=' | b'@' | b'!' | b' ' | b'-'))
                        && inner.len() > 3
                {
                    findings.add(&SERVER_PAGE, text, at);
                }
                continue;
            }
            if close.is_none() && *start != b"{{" && *start != b"${" {
                continue;
            }
            if (if *start == b"@(" {
                is_product(inner)
            } else {
                computes(inner)
            }) && (*start != b"[[" || has(inner, b"${"))
                && (*start != b"{#" || has(inner, b"*"))
            {
                findings.add(&TEMPLATE, text, at);
            } else if close.is_some() && (*start == b"{{" || *start == b"#{") {
                findings.add(&TEMPLATE_NAME, text, at);
            }
        }
    }
}

/// `7*7`, `7*'7'`
fn is_product(inner: &[u8]) -> bool {
    inner.windows(3).any(|window| {
        matches!(window[1], b'*' | b'+' | b'/' | b'-')
            && window[0].is_ascii_digit()
            && (window[2].is_ascii_digit() || matches!(window[2], b'\'' | b'"'))
    }) && inner.iter().all(|byte| {
        byte.is_ascii_digit()
            || matches!(
                byte,
                b'*' | b'+'
                    | b'/'
                    | b'-'
                    | b'\''
                    | b'"'
                    | b' '
                    | b'('
                    | b')'
                    | b'.'
                    | b'='
                    | b'{'
                    | b'}'
                    | b'<'
                    | b'>'
                    | b'|'
                    | b'%'
                    | b'^'
            )
    })
}

/// Whether an expression multiplies numbers, calls something, or names what templates keep inside.
fn computes(inner: &[u8]) -> bool {
    let inner = bytes::trim(inner);
    if inner.is_empty() {
        return false;
    }
    let product = is_product(inner);
    let call = inner
        .iter()
        .zip(inner.iter().skip(1))
        .any(|(a, b)| *b == b'(' && (is_word(*a) || matches!(a, b')' | b']')))
        || inner.starts_with(b"t(")
        || has(inner, b"=>")
        || has(inner, b"\"()")
        || has(inner, b"'()");
    let inside = [
        "config",
        "self",
        "request",
        "__",
        "constructor",
        ".class",
        "settings.",
        "app.",
        "dump",
        "lipsum",
        "cycler",
        "joiner",
        "namespace",
        "range.",
        "#this",
        "#root",
        "runtime",
        "exec",
        "system",
        "passthru",
        "include",
        "import",
        "print",
        "import os",
        "load ",
        "debug",
        "|attr",
        "|join",
        "session",
        "env",
        "beans",
        "@",
        "process",
        "global",
        "this.",
        "handler",
        "_self",
    ]
    .iter()
    .any(|name| {
        let known = find(inner, name.as_bytes());
        known.is_some_and(|at| {
            at == 0
                && (inner.len() == name.len()
                    || !is_word(inner.get(name.len()).copied().unwrap_or_default())
                        && inner.get(name.len()) != Some(&b' ')
                    || name.ends_with(['.', ' ', '_', '@']))
        }) || matches!(*name, "__" | "|attr" | ".class" | "constructor") && known.is_some()
    });
    product || call || inside
}

/// Calls by which code of several languages runs other code.
fn calls(text: &[u8], findings: &mut Findings) {
    let spaces = text.iter().filter(|byte| **byte == b' ').count();
    let prose = spaces >= 3
        && !text
            .iter()
            .any(|byte| matches!(byte, b';' | b'<' | b'$' | b'=' | b'{' | b'"'));
    let mut from = 0;
    for _ in 0..64 {
        let Some(open) = find_from(text, b"(", from) else {
            return;
        };
        from = open + 1;
        let before = text.get(..open).unwrap_or_default().trim_ascii_end();
        let length = before
            .iter()
            .rev()
            .take(32)
            .take_while(|byte| is_word(**byte))
            .count();
        let start = before.len() - length;
        let name = before.get(start..).unwrap_or_default();
        let argument = text.get(open + 1..).unwrap_or_default().trim_ascii_start();
        let text_argument = matches!(
            argument.first(),
            Some(b'\'' | b'"' | b'$' | b'`' | b'\\' | b'%')
        );
        // A method; but PHP joins strings with a dot: `'.system('x').'`.
        let dotted = start.checked_sub(1).and_then(|at| text.get(at)) == Some(&b'.')
            && !matches!(
                start.checked_sub(2).and_then(|at| text.get(at)),
                Some(b'\'' | b'"')
            );
        if computed_call(text, open, before, argument) {
            findings.add(&PHP_CALL, text, start);
            return;
        }
        let rule = match name {
            b"phpinfo"
            | b"shell_exec"
            | b"passthru"
            | b"proc_open"
            | b"pcntl_exec"
            | b"escapeshellcmd"
            | b"create_function"
            | b"call_user_func"
            | b"call_user_func_array"
            | b"call_user_method"
            | b"bzdecompress"
            | b"gzdecode"
            | b"gzopen"
            | b"convert_uudecode"
            | b"pfsockopen"
            | b"stream_socket_client"
            | b"get_defined_functions"
            | b"get_defined_constants"
            | b"get_cfg_var"
            | b"get_current_user"
            | b"posix_getegid"
            | b"posix_geteuid"
            | b"posix_getuid"
            | b"posix_kill"
            | b"posix_uname"
            | b"pcntl_fork"
            | b"sys_get_temp_dir"
            | b"disk_free_space"
            | b"apache_get_modules"
            | b"parse_ini_file"
            | b"simplexml_load_string"
            | b"array_filter"
            | b"array_reduce"
            | b"usort"
            | b"register_tick_function"
            | b"iterator_apply"
            | b"ob_start"
            | b"strrev"
            | b"file_get_contents"
            | b"file_put_contents"
            | b"base64_decode"
            | b"gzinflate"
            | b"gzuncompress"
            | b"str_rot13"
            | b"preg_replace"
            | b"move_uploaded_file"
            | b"phpversion"
            | b"php_uname"
            | b"posix_getpwuid"
            | b"get_defined_vars"
            | b"readfile"
            | b"highlight_file"
            | b"show_source"
            | b"fsockopen"
            | b"ini_set"
            | b"ini_get"
            | b"set_time_limit"
            | b"error_reporting"
            | b"register_shutdown_function"
            | b"unserialize"
            | b"array_map"
            | b"curl_exec"
            | b"curl_init"
            | b"mysql_query"
            | b"mysqli_query"
            | b"fputs"
            | b"fwrite"
            | b"fopen"
            | b"chr_"
            | b"func_get_args"
            | b"hex2bin"
            | b"scandir"
            | b"var_dump"
            | b"print_r"
            | b"getenv"
            | b"putenv"
            | b"glob_"
            | b"opendir"
            | b"symlink"
            | b"array_diff_ukey"
            | b"array_walk"
                if !dotted =>
            {
                let empty = argument.first() == Some(&b')');
                let always = matches!(
                    name,
                    b"phpinfo"
                        | b"phpversion"
                        | b"php_uname"
                        | b"get_defined_vars"
                        | b"shell_exec"
                        | b"passthru"
                );
                let expression = text_argument
                    || argument.first().is_some_and(|byte| {
                        byte.is_ascii_digit()
                            || matches!(byte, b'@' | b'[')
                            || is_word(*byte) && has(argument, b"(")
                    });
                let alone = empty && name.contains(&b'_') && spaces <= 1;
                if !always && (empty || !expression) && !alone || always && prose && !expression {
                    continue;
                }
                &PHP_CALL
            }
            b"system" | b"exec" | b"popen" | b"eval" | b"assert" | b"include" | b"include_once"
            | b"require_once" | b"print" | b"execsync" | b"spawn" | b"spawnsync" | b"execfile"
            | b"compile" | b"die"
                if text_argument && !dotted =>
            {
                let sure = matches!(
                    name,
                    b"system"
                        | b"exec"
                        | b"popen"
                        | b"eval"
                        | b"assert"
                        | b"execsync"
                        | b"spawn"
                        | b"spawnsync"
                        | b"include"
                        | b"include_once"
                        | b"require_once"
                );
                if sure { &PHP_CALL } else { continue }
            }
            // `;exit(md5('x'));`: what shows that code runs.
            b"exit" | b"die" | b"print" | b"echo" | b"printf" | b"md5"
                if !dotted && shows_that_it_runs(text, start, argument) =>
            {
                &PHP_CALL
            }
            b"require"
                if argument.starts_with(b"'child")
                    || argument.starts_with(b"\"child")
                    || argument.starts_with(b"'fs'")
                    || argument.starts_with(b"\"fs\"")
                    || argument.starts_with(b"'net'")
                    || argument.starts_with(b"'http'")
                    || argument.starts_with(b"'os'") =>
            {
                &NODE
            }
            _ => continue,
        };
        findings.add(rule, text, start);
        return;
    }
}

/// Whether `exit(`, `print(` and their kind begin a statement and are given a string, or a call with
/// one.
fn shows_that_it_runs(text: &[u8], start: usize, argument: &[u8]) -> bool {
    let before = text.get(..start).unwrap_or_default().trim_ascii_end();
    let begins = before.ends_with(b";") || before.ends_with(b"'.") || before.ends_with(b"\".");
    let call = argument
        .iter()
        .take(24)
        .take_while(|byte| is_word(**byte))
        .count();
    let inner = argument.get(call..).unwrap_or_default();
    let string = |text: &[u8]| matches!(text.first(), Some(b'\'' | b'"' | b'\\' | b'0'..=b'9'));
    let nested =
        call > 0 && inner.first() == Some(&b'(') && string(inner.get(1..).unwrap_or_default());
    begins && (nested || call == 0 && string(argument))
}

/// Functions that run programs or code, by the names that are made up at run time.
const RUNNERS: &[&[u8]] = &[
    b"system",
    b"exec",
    b"passthru",
    b"assert",
    b"shellexec",
    b"popen",
    b"eval",
    b"phpinfo",
];

/// `(system)('x')`, `[system][0](ls)`, `('sys'.'tem')('x')`, `$a['b'](1)`, `${'a'}(1)`: a call of
/// what an expression of PHP gives.
fn computed_call(text: &[u8], open: usize, before: &[u8], argument: &[u8]) -> bool {
    let head = before
        .get(before.len().saturating_sub(64)..)
        .unwrap_or_default();
    // In Markdown, brackets stand side by side as well: `[x](…)`.
    let text_of_a_link = head.iter().any(|byte| matches!(byte, b'`' | b'#'));
    let closes = text.get(open..).is_some_and(|rest| rest.contains(&b')'));
    if argument.is_empty() || text_of_a_link || !closes {
        return false;
    }
    if matches!(head.last(), Some(b')' | b']' | b'}' | b'"' | b'\'')) {
        let letters: Vec<u8> = head
            .iter()
            .copied()
            .filter(u8::is_ascii_alphabetic)
            .collect();
        if RUNNERS.iter().any(|name| letters.ends_with(name)) {
            return true;
        }
    }
    // Names of PHP's variables, behind `$`; jQuery's `$(` has none.
    let Some(dollar) = head.iter().rposition(|byte| *byte == b'$') else {
        return false;
    };
    let name = head.get(dollar + 1..).unwrap_or_default();
    let plain = name.iter().all(|byte| {
        is_word(*byte)
            || matches!(
                byte,
                b'[' | b']' | b'{' | b'}' | b'\'' | b'"' | b'@' | b'-' | b'>' | b'+' | b'!'
            )
    });
    let begins = name
        .first()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'{'));
    let at = before.len().saturating_sub(64) + dollar;
    // `{{ $t('x') }}` is a template's; in a sentence it may be anything.
    let short = text.len() < 80 && text.iter().filter(|byte| **byte == b' ').count() <= 2;
    let indexed = name.iter().any(|byte| matches!(byte, b'[' | b'{'));
    let starts = text.get(..at).is_some_and(|head| {
        head.iter()
            .all(|byte| matches!(byte, b'@' | b'$' | b'=' | b' ') || is_word(*byte))
            // A password.
            && !head.last().is_some_and(|byte| is_word(*byte))
    });
    plain && begins && name.len() > 1 - usize::from(indexed) && short && starts && open > at
}

/// `O:8:"stdClass":1:{…}`
fn serialised(text: &[u8], findings: &mut Findings) {
    for start in [&b"o:"[..], b"c:", b"a:"] {
        let mut from = 0;
        for _ in 0..8 {
            let Some(at) = find_from(text, start, from) else {
                break;
            };
            from = at + 2;
            let before = at.checked_sub(1).and_then(|at| text.get(at));
            if before.is_some_and(|byte| is_word(*byte)) {
                continue;
            }
            let rest = text.get(from..).unwrap_or_default();
            let rest = rest.strip_prefix(b"+").unwrap_or(rest);
            let digits = rest
                .iter()
                .take(8)
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let behind = rest.get(digits..).unwrap_or_default();
            let object = behind.starts_with(b":\"") && start != b"a:";
            if digits > 0 && object {
                findings.add(&SERIALISED, text, at);
                return;
            }
        }
    }
}
