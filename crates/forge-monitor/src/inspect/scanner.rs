//! Tools that look for weaknesses, by the names they give themselves and the paths they ask for.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::bytes::{self, is_word};
use super::rule::{Family, Findings, Rule};

static TOOL: Rule = Rule::new(
    "scanner.user_agent",
    Family::Scanner,
    10,
    "The name of a tool that looks for weaknesses.",
);
static TOOL_PATH: Rule = Rule::new(
    "scanner.path",
    Family::Scanner,
    10,
    "A path that only tools which look for weaknesses ask for.",
);

/// Names of tools, in lower case. None is a browser, a search engine, a monitor or a library.
const TOOLS: &[&str] = &[
    "absinthe",
    "acunetix",
    "arachni",
    "b2w/",
    "black widow",
    "blackwidow",
    "brutus",
    "bsqlbf",
    "burpcollaborator",
    "cgichk",
    "cms map",
    "commix",
    "core-project/1.0",
    "crimscanner",
    "datacha0s",
    "detectify",
    "dirb/",
    "dirbuster",
    "dirsearch",
    "domino hunter",
    "dotdotpwn",
    "droopescan",
    "email extractor",
    "evilscanner",
    "feroxbuster",
    "ffuf",
    "fhscan core",
    "fimap",
    "floodgate",
    "fuzz faster",
    "fuzzer",
    "get-minimal",
    "gobuster",
    "gootkit auto-rooter",
    "grendel-scan",
    "havij",
    "httpx - open-source",
    "inspath",
    "interact.sh",
    "internet ninja",
    "jaascois",
    "jbossexploit",
    "jbrofuzz",
    "joomscan",
    "jorgee",
    "l9explore",
    "l9tcpid",
    "libwhisker",
    "masscan",
    "morfeus",
    "morzilla",
    "mysqloit",
    "n-stealth",
    "nessus",
    "netsparker",
    "nikto",
    "nmap scripting engine",
    "nsauditor",
    "nuclei",
    "oast.",
    "openvas",
    "owasp zap",
    "pangolin",
    "pmafind",
    "prog.customcrawler",
    "project25499",
    "pwnscan",
    "qualys was",
    "s.t.a.l.k.e.r",
    "security scan",
    "skipfish",
    "springenwerk",
    "sql power injector",
    "sqlbrute",
    "sqlmap",
    "sqlninja",
    "sqlpower",
    "sysscan",
    "teh forest lobster",
    "thc-hydra",
    "this is an exploit",
    "toata dragostea",
    "uil2pn",
    "vega/",
    "voideye",
    "vulnerability scanner",
    "w3af",
    "wapiti",
    "webbandit",
    "webinspect",
    "webshag",
    "webtrends security",
    "webvulnscan",
    "wfuzz",
    "whatweb",
    "whcc/",
    "whisker",
    "wordpress hash grabber",
    "wpscan",
    "wvs/",
    "xenotix",
    "xmlrpc exploit",
    "xpider",
    "xsstrike",
    "zaproxy",
    "zgrab",
    "zmeu",
];

/// Paths, in lower case, that are on no site and in the list of some tool.
const PATHS: &[&str] = &[
    "/.well-known/../",
    "/_ignition/execute-solution",
    "/_vti_bin/owssvr.dll",
    "/actuator/gateway/routes",
    "/acunetix-wvs-test",
    "/acunetix_wvs_security_test",
    "/alfacgiapi/",
    "/appwsmessaging",
    "/autodiscover/autodiscover.json?@",
    "/boaform/admin/formlogin",
    "/c99.php",
    "/cgi-bin/.%2e/",
    "/cgi-bin/luci/;stok=",
    "/cgi-bin/php?-d",
    "/cgi-bin/test-cgi",
    "/console/css/%252e",
    "/dana-na/../",
    "/debug/default/view?panel=config",
    "/ecp/current/exporttool/",
    "/gponform/diag_form",
    "/hnap1",
    "/invoker/jmxinvokerservlet",
    "/jenkins/script",
    "/jmx-console/htmladaptor",
    "/manager/html/upload",
    "/muieblackcat",
    "/nessus_is_probing",
    "/nice ports,/trinity.txt",
    "/nmaplowercheck",
    "/nonexistentfile_nikto",
    "/owa/auth/x.js",
    "/phpmyadmin/scripts/setup.php",
    "/r57.php",
    "/remote/fgt_lang?lang=/../",
    "/sdk/vim25/",
    "/servlet/taskproc",
    "/setup.cgi?next_file=",
    "/shell?cd+/tmp",
    "/solr/admin/info/system",
    "/tmui/login.jsp/..;/",
    "/vendor/phpunit/phpunit/src/util/php/eval-stdin.php",
    "/vpn/../vpns/",
    "/w00tw00t.at.",
    "/wp-content/plugins/hellopress/wp_filemanager.php",
    "/wso.php",
    "/xampp/cgi.cgi",
];

static TOOL_NAMES: LazyLock<AhoCorasick> = LazyLock::new(|| bytes::automaton(TOOLS.iter()));
static TOOL_PATHS: LazyLock<AhoCorasick> = LazyLock::new(|| bytes::automaton(PATHS.iter()));

/// Looks at a `User-Agent` in lower case.
pub(super) fn user_agent(text: &[u8], findings: &mut Findings) {
    for found in TOOL_NAMES.find_iter(text) {
        let before = found.start().checked_sub(1).and_then(|at| text.get(at));
        if !before.is_some_and(|byte| is_word(*byte)) {
            findings.add(&TOOL, text, found.start());
            return;
        }
    }
}

/// Looks at a path in lower case.
pub(super) fn path(text: &[u8], findings: &mut Findings) {
    if let Some(found) = TOOL_PATHS.find(text) {
        findings.add(&TOOL_PATH, text, found.start());
    }
}
