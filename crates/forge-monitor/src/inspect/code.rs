//! Expressions of templates, lookups such as Log4Shell's, and code of a language where a value
//! belongs.

mod calls;
mod lookups;
mod templates;
mod values;

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::bytes::{self, Kinds, is_word};
use super::rule::{Family, Findings, Place, Rule};
use calls::calls;
use lookups::lookups;
use templates::templates;
pub(super) use values::inspect_file_name;
use values::{formula, serialised, shell_of_a_database, statements};

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
        for found in SIGN_WORDS.find_iter(text) {
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

/// Only lookups: for headers in which nothing else is looked for.
pub(super) fn inspect_lookups(text: &[u8], findings: &mut Findings) {
    lookups(text, findings);
}
