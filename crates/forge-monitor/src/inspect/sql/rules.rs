//! What is looked for in SQL.

use crate::inspect::rule::{Family, Rule};

const fn rule(id: &'static str, score: u32, explanation: &'static str) -> Rule {
    Rule::new(id, Family::SqlInjection, score, explanation)
}

pub(super) static TAUTOLOGY: Rule = rule(
    "sql.tautology",
    10,
    "A condition that is always true or always false, behind `and` or `or`.",
);
pub(super) static CONDITION: Rule = rule(
    "sql.condition",
    8,
    "A value followed by `and` or `or` and a further condition.",
);
pub(super) static CONDITION_IN_STRING: Rule = rule(
    "sql.condition_behind_string",
    10,
    "A string is ended, and a condition follows behind `and` or `or`.",
);
pub(super) static PREDICATE: Rule = rule(
    "sql.predicate_behind_value",
    10,
    "A value followed by `and` or `or` and a predicate that only SQL has.",
);
pub(super) static CUT_OFF: Rule = rule(
    "sql.cut_off_statement",
    10,
    "A string or parenthesis is ended, SQL follows, and a comment hides the rest of the statement.",
);
pub(super) static CONSTANT_COMPARISON: Rule = rule(
    "sql.constant_comparison",
    10,
    "A comparison of constants where SQL has conditions.",
);
pub(super) static UNION: Rule = rule("sql.union_select", 10, "`union` with a `select` behind it.");
pub(super) static UNION_PROSE: Rule = rule(
    "sql.union_select_words",
    5,
    "`union` and `select` side by side, with plain words behind them.",
);
pub(super) static SUBSELECT: Rule = rule("sql.subselect", 10, "A `select` in parentheses.");
pub(super) static SELECT_FROM: Rule =
    rule("sql.select_from", 10, "A `select` that a server would run.");
pub(super) static SELECT_FROM_WORDS: Rule = rule(
    "sql.select_from_words",
    4,
    "`select` and `from` around plain words.",
);
pub(super) static STACKED: Rule = rule(
    "sql.stacked_statement",
    10,
    "A semicolon with a further statement behind it.",
);
pub(super) static STATEMENT: Rule = rule(
    "sql.statement",
    10,
    "A statement that changes or runs something.",
);
pub(super) static STATEMENT_WORDS: Rule = rule(
    "sql.statement_words",
    5,
    "The first words of a statement that changes something.",
);
pub(super) static DANGER: Rule = rule(
    "sql.dangerous_function",
    10,
    "A function that waits, fails on purpose, reads files or runs programs.",
);
pub(super) static FUNCTION: Rule = rule(
    "sql.function",
    7,
    "A function that hardly anything but SQL has.",
);
pub(super) static FUNCTIONS: Rule = rule(
    "sql.functions",
    10,
    "Functions of SQL put together, or in a condition.",
);
pub(super) static COMMON_FUNCTION: Rule = rule(
    "sql.common_function",
    3,
    "A function that SQL and other languages have.",
);
pub(super) static SYSTEM: Rule = rule(
    "sql.system_table",
    10,
    "A table, schema or variable of the database itself.",
);
pub(super) static COMMENT_BEHIND_STRING: Rule = rule(
    "sql.comment_behind_string",
    10,
    "A string is ended, and a comment hides the rest of the statement.",
);
pub(super) static COMMENT_BEHIND_VALUE: Rule = rule(
    "sql.comment_behind_value",
    5,
    "A comment behind a number hides the rest of the statement.",
);
pub(super) static ORDER: Rule = rule(
    "sql.order_by",
    10,
    "A value followed by `order by`, `group by`, `having` or `limit`.",
);
pub(super) static FILE: Rule = rule("sql.into_file", 10, "`into outfile` writes a file.");
pub(super) static ANALYSE: Rule = rule("sql.procedure_analyse", 10, "`procedure analyse`.");
pub(super) static WAITFOR: Rule = rule("sql.waitfor", 10, "`waitfor delay` or `waitfor time`.");
pub(super) static STRING_OPERATOR: Rule = rule(
    "sql.string_operator",
    6,
    "A string is ended, and an operator joins it with something.",
);
pub(super) static STRING_EXPRESSION: Rule = rule(
    "sql.string_expression",
    10,
    "A string is ended, and an operator joins it with a string or an expression.",
);
pub(super) static STRING_WORD: Rule = rule(
    "sql.string_keyword",
    10,
    "A string is ended, and a keyword of SQL follows.",
);
pub(super) static HIDDEN: Rule = rule(
    "sql.comment_inside",
    5,
    "A comment in the middle of words of SQL, in place of a space.",
);
pub(super) static CONDITIONAL_COMMENT: Rule = rule(
    "sql.conditional_comment",
    10,
    "A comment whose content MySQL runs.",
);
pub(super) static CASE: Rule = rule("sql.case", 10, "`case when` or `if` over constants.");
pub(super) static CAST: Rule = rule("sql.cast", 10, "A value is converted to a type of SQL.");
pub(super) static NOT_STRING: Rule = rule(
    "sql.negated_string",
    10,
    "A string is ended, and a negation follows.",
);
pub(super) static ALIAS: Rule = rule(
    "sql.alias",
    10,
    "A value is given a name, and `from` follows.",
);
pub(super) static ASSIGN: Rule = rule(
    "sql.variable",
    10,
    "A variable of the database is set or read.",
);
pub(super) static OPERATOR: Rule = rule(
    "sql.document_operator",
    10,
    "An operator of a document database where a value or a name belongs.",
);

/// Variables of servers that tell an attacker something.
pub(super) const SERVER_VARIABLES: &[&[u8]] = &[
    b"basedir",
    b"character_set_database",
    b"datadir",
    b"dbts",
    b"error",
    b"global",
    b"global.version",
    b"hostname",
    b"identity",
    b"innodb_version",
    b"language",
    b"lc_time_names",
    b"license",
    b"plugin_dir",
    b"port",
    b"protocol_version",
    b"rowcount",
    b"secure_file_priv",
    b"server_id",
    b"servername",
    b"servicename",
    b"session",
    b"spid",
    b"sql_mode",
    b"tmpdir",
    b"trancount",
    b"version",
    b"version_comment",
    b"version_compile_machine",
    b"version_compile_os",
];

/// Types that a value is converted to with `::`.
pub(super) const TYPES: &[&[u8]] = &[
    b"bigint",
    b"bool",
    b"boolean",
    b"bytea",
    b"char",
    b"date",
    b"decimal",
    b"double",
    b"float",
    b"int",
    b"integer",
    b"json",
    b"numeric",
    b"oid",
    b"real",
    b"regclass",
    b"smallint",
    b"text",
    b"timestamp",
    b"uuid",
    b"varchar",
    b"xml",
];
