//! What stands behind padding is found as if there were none.

use forge_monitor::{Level, Verdict};

use crate::of_value;

/// The attack behind so much padding, at both ends of a value and with it in the middle.
fn found_behind(padding: &str, attack: &str) {
    for times in [8, 20, 70, 300] {
        let padding = padding.repeat(times);
        for value in [
            format!("{padding}{attack}"),
            format!("{padding}{attack}{padding}"),
        ] {
            let inspection = of_value(&value);
            assert_eq!(
                inspection.verdict(Level::Low),
                Verdict::Block,
                "{attack} behind {times} times {padding}: {:?}",
                inspection.matches()
            );
        }
    }
}

/// That the padding itself is nothing.
fn passes(padding: &str) {
    let inspection = of_value(&padding.repeat(200));
    assert_eq!(
        inspection.verdict(Level::Low),
        Verdict::Pass,
        "{padding}: {:?}",
        inspection.matches()
    );
}

#[test]
fn placeholders_hide_no_expression() {
    for (padding, attack) in [
        ("{{a}}", "{{7*7}}"),
        ("${a}", "${7*7}"),
        ("#{a} ", "#{7*7}"),
        ("[[a]] ", "[[${7*7}]]"),
        ("@(a) ", "@(7*7)"),
        ("{{ ", "{{7*7}}"),
        ("${", "${7*7}"),
    ] {
        passes(padding);
        found_behind(padding, attack);
    }
    found_behind("x", &format!("{{{{{}{{{{7*7}}}}", "x".repeat(700)));
}

#[test]
fn parentheses_and_names_hide_no_script() {
    for (padding, attack) in [
        ("(", "';alert(1)//"),
        ("(a) ", "';alert(1)//"),
        ("alert ", "[1].find(alert)"),
        ("window ", "window['al'+'ert'] "),
        ("document.body ", "x=document.cookie "),
        (":", "<a href=javascript:location=name>"),
        ("a: ", "<a href=javascript:location=name>"),
    ] {
        passes(padding);
        found_behind(padding, attack);
    }
    let value = format!("';alert/*{}*/(1)//", "x".repeat(700));
    assert_eq!(of_value(&value).verdict(Level::Low), Verdict::Block);
    for attributes in [40, 400] {
        let value = format!("<a {}@click=x>", "b=1 ".repeat(attributes));
        assert_eq!(of_value(&value).verdict(Level::Low), Verdict::Block);
    }
}

#[test]
fn addresses_hide_no_address() {
    for (padding, attack) in [
        ("http://example.org/ ", "http://169.254.169.254/latest"),
        (":", "php://filter/x"),
        ("a: ", "gopher://h:1/_x "),
    ] {
        passes(padding);
        found_behind(padding, attack);
    }
}

#[test]
fn signs_and_names_hide_no_code() {
    for (padding, attack) in [
        ("';'", "';return true;var x='a"),
        ("o:", "o:8:\"stdclass\":0:{}"),
        ("(", "system('id')"),
        ("(a) ", "system('id')"),
        ("ajava.lang. ", "$_get"),
    ] {
        passes(padding);
        found_behind(padding, attack);
    }
}

#[test]
fn braces_and_separators_hide_no_command() {
    for (padding, attack) in [
        ("{a,b}", " {curl,evil}"),
        ("()", " () { :;}; x"),
        ("$@ ", "c$@at /x "),
        ("$((", " ca${!x}t "),
        ("a;", ";rm -rf /x;"),
        ("xcmd.exe ", " powershell -enc abcd "),
        ("if a ", "for %a in (a,b) do x "),
        ("for a ", "for %a in (a,b) do x "),
        ("if a ", "if exist a.txt echo x "),
    ] {
        passes(padding);
        found_behind(padding, attack);
    }
    // More commands than are looked at are found by their number.
    let commands = of_value(&";more".repeat(300));
    let found = commands.matches();
    assert!(
        found
            .iter()
            .any(|found| found.rule == "shell.many_separators"),
        "{found:?}"
    );
}

#[test]
fn lines_hide_no_header() {
    for (padding, attack) in [
        ("a\r\n", "a\r\nset-cookie: a=b\r\n"),
        ("\r\n", "a\r\nset-cookie: a=b\r\n"),
        ("a\n", "a\nhttp/1.1 200 ok\n"),
    ] {
        passes(padding);
        found_behind(padding, attack);
    }
}
