//! Calls by which code of several languages runs other code.

use super::{NODE, PHP_CALL};
use crate::inspect::bytes::{find_from, has, is_word};
use crate::inspect::rule::Findings;

/// Calls by which code of several languages runs other code.
pub(super) fn calls(text: &[u8], findings: &mut Findings) {
    let spaces = text.iter().filter(|byte| **byte == b' ').count();
    let prose = spaces >= 3
        && !text
            .iter()
            .any(|byte| matches!(byte, b';' | b'<' | b'$' | b'=' | b'{' | b'"'));
    let mut from = 0;
    // What every parenthesis asks of the whole text is looked for once.
    let last_close = text.iter().rposition(|byte| *byte == b')');
    while let Some(open) = find_from(text, b"(", from) {
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
        let closes = last_close.is_some_and(|close| close > open);
        if closes && computed_call(text, open, before, argument) {
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
    if argument.is_empty() || text_of_a_link {
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
    let starts = || {
        text.get(..at).is_some_and(|head| {
            head.iter()
                .all(|byte| matches!(byte, b'@' | b'$' | b'=' | b' ') || is_word(*byte))
                // A password.
                && !head.last().is_some_and(|byte| is_word(*byte))
        })
    };
    plain && begins && name.len() > 1 - usize::from(indexed) && short && starts() && open > at
}
