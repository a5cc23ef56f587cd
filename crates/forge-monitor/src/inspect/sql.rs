//! SQL injection: reads a value as SQL in each place where it could stand, and looks for what turns
//! a value into a statement.
//!
//! Prose has the same words as SQL but not its structure, so single words count for little: what
//! counts is a comparison of constants behind `or`, a `select` with a list a server would take, a
//! string that is ended and followed by an operator.

mod tokens;
mod words;

use super::bytes::Kinds;
use super::rule::{Family, Findings, Place, Rule};
use tokens::{Context, Kind, Token};
use words::Word;

const fn rule(id: &'static str, score: u32, explanation: &'static str) -> Rule {
    Rule::new(id, Family::SqlInjection, score, explanation)
}

static TAUTOLOGY: Rule = rule(
    "sql.tautology",
    10,
    "A condition that compares constants, behind `and` or `or`.",
);
static CONDITION: Rule = rule(
    "sql.condition",
    8,
    "A value followed by `and` or `or` and a further condition.",
);
static CONDITION_IN_STRING: Rule = rule(
    "sql.condition_behind_string",
    10,
    "A string is ended, and a condition follows behind `and` or `or`.",
);
static CONSTANT_COMPARISON: Rule = rule(
    "sql.constant_comparison",
    10,
    "A comparison of constants where SQL has conditions.",
);
static UNION: Rule = rule("sql.union_select", 10, "`union` with a `select` behind it.");
static UNION_PROSE: Rule = rule(
    "sql.union_select_words",
    5,
    "`union` and `select` side by side, with plain words behind them.",
);
static SUBSELECT: Rule = rule("sql.subselect", 10, "A `select` in parentheses.");
static SELECT_FROM: Rule = rule(
    "sql.select_from",
    10,
    "A `select … from …` a server would run.",
);
static SELECT_FROM_WORDS: Rule = rule(
    "sql.select_from_words",
    4,
    "`select` and `from` around plain words.",
);
static STACKED: Rule = rule(
    "sql.stacked_statement",
    10,
    "A semicolon with a further statement behind it.",
);
static STATEMENT: Rule = rule(
    "sql.statement",
    10,
    "A statement that changes or runs something.",
);
static STATEMENT_WORDS: Rule = rule(
    "sql.statement_words",
    5,
    "The first words of a statement that changes something.",
);
static DANGER: Rule = rule(
    "sql.dangerous_function",
    10,
    "A function that waits, fails on purpose, reads files or runs programs.",
);
static FUNCTION: Rule = rule(
    "sql.function",
    7,
    "A function that hardly anything but SQL has.",
);
static FUNCTIONS: Rule = rule(
    "sql.functions",
    10,
    "Functions of SQL put together, or in a condition.",
);
static COMMON_FUNCTION: Rule = rule(
    "sql.common_function",
    3,
    "A function that SQL and other languages have.",
);
static SYSTEM: Rule = rule(
    "sql.system_table",
    10,
    "A table, schema or variable of the database itself.",
);
static COMMENT_BEHIND_STRING: Rule = rule(
    "sql.comment_behind_string",
    10,
    "A string is ended, and a comment hides the rest of the statement.",
);
static COMMENT_BEHIND_VALUE: Rule = rule(
    "sql.comment_behind_value",
    5,
    "A comment behind a number hides the rest of the statement.",
);
static ORDER: Rule = rule(
    "sql.order_by",
    10,
    "A value followed by `order by`, `group by`, `having` or `limit`.",
);
static FILE: Rule = rule("sql.into_file", 10, "`into outfile` writes a file.");
static ANALYSE: Rule = rule("sql.procedure_analyse", 10, "`procedure analyse`.");
static WAITFOR: Rule = rule("sql.waitfor", 10, "`waitfor delay` or `waitfor time`.");
static STRING_OPERATOR: Rule = rule(
    "sql.string_operator",
    6,
    "A string is ended, and an operator joins it with something.",
);
static STRING_EXPRESSION: Rule = rule(
    "sql.string_expression",
    10,
    "A string is ended, and an operator joins it with a string or an expression.",
);
static STRING_WORD: Rule = rule(
    "sql.string_keyword",
    10,
    "A string is ended, and a keyword of SQL follows.",
);
static HIDDEN: Rule = rule(
    "sql.comment_inside",
    5,
    "A comment in the middle of words of SQL, in place of a space.",
);
static CONDITIONAL_COMMENT: Rule = rule(
    "sql.conditional_comment",
    10,
    "A comment whose content MySQL runs.",
);
static CASE: Rule = rule("sql.case", 10, "`case when` or `if` over constants.");
static CAST: Rule = rule("sql.cast", 10, "A value is converted to a type of SQL.");
static NOT_STRING: Rule = rule(
    "sql.negated_string",
    10,
    "A string is ended, and a negation follows.",
);
static ALIAS: Rule = rule(
    "sql.alias",
    10,
    "A value is given a name, and `from` follows.",
);
static ASSIGN: Rule = rule(
    "sql.variable",
    10,
    "A variable of the database is set or read.",
);
static OPERATOR: Rule = rule(
    "sql.document_operator",
    10,
    "An operator of a document database where a value or a name belongs.",
);

/// Variables of servers that tell an attacker something.
const SERVER_VARIABLES: &[&[u8]] = &[
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
const TYPES: &[&[u8]] = &[
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

/// What has to be in a value for it to be read as SQL, besides letters and spaces.
const SIGNS: Kinds = Kinds::SINGLE
    .or(Kinds::DOUBLE)
    .or(Kinds::PAREN)
    .or(Kinds::SEMICOLON)
    .or(Kinds::EQUALS)
    .or(Kinds::ANGLE)
    .or(Kinds::HASH)
    .or(Kinds::BACKTICK)
    .or(Kinds::PIPE)
    .or(Kinds::OTHER)
    .or(Kinds::AT)
    .or(Kinds::AMPERSAND)
    .or(Kinds::SLASH)
    .or(Kinds::COLON)
    .or(Kinds::SPACE);

/// Whether the text, in any case, is the name of a table or schema of a database's own.
pub(super) fn is_system_name(text: &[u8]) -> bool {
    let mut lower = [0; 24];
    let Some(lower) = lower.get_mut(..text.len()) else {
        return false;
    };
    lower.copy_from_slice(text);
    lower.make_ascii_lowercase();
    words::look_up(lower) == Word::System
}

/// Looks at `text`, in lower case.
pub(super) fn inspect(text: &[u8], kinds: Kinds, place: Place, findings: &mut Findings) {
    if kinds.any(Kinds::DOLLAR) {
        document_operators(text, findings);
    }
    // A name by itself may be a table of the database's own.
    if !kinds.any(SIGNS) {
        if is_system_name(text) {
            findings.add(&SYSTEM, text, 0);
        }
        // `mysql.db`, `pg_catalog.x`
        if !kinds.any(Kinds::DOT) {
            return;
        }
    }
    // Paths have numbers, words and signs side by side; quotes and parentheses they have not.
    let telling = Kinds::SINGLE
        .or(Kinds::DOUBLE)
        .or(Kinds::PAREN)
        .or(Kinds::SPACE)
        .or(Kinds::OTHER);
    if place == Place::Path && !kinds.any(telling) {
        return;
    }
    read_in(text, Context::Bare, findings);
    for (kind, quote) in [
        (Kinds::SINGLE, b'\''),
        (Kinds::DOUBLE, b'"'),
        (Kinds::BACKTICK, b'`'),
    ] {
        if kinds.any(kind) && (quote != b'`' || ends_identifier(text)) {
            read_in(text, Context::Quoted(quote), findings);
        }
    }
}

/// Whether the first backtick ends a name, as `` 1`=`1 `` does. In Markdown it begins code: a space
/// stands before it, and none behind.
fn ends_identifier(text: &[u8]) -> bool {
    let Some(at) = text.iter().position(|byte| *byte == b'`') else {
        return false;
    };
    let before = text.get(..at).unwrap_or_default();
    match before.last() {
        None => text.get(at + 1).is_some_and(u8::is_ascii_whitespace),
        Some(last) => {
            (last.is_ascii_alphanumeric() || matches!(last, b'%' | b')')) && !before.contains(&b' ')
        }
    }
}

fn read_in(text: &[u8], context: Context, findings: &mut Findings) {
    let read = tokens::read(text, context);
    let statement = Statement {
        text,
        tokens: &read.list,
        context,
        inner_comment: read.inner_comment,
    };
    statement.inspect(findings);
}

struct Statement<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
    context: Context,
    inner_comment: bool,
}

impl Statement<'_> {
    fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    fn word(&self, at: usize) -> Option<Word> {
        match self.kind(at)? {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn text_of(&self, at: usize) -> &[u8] {
        let token = self.tokens.get(at);
        token
            .and_then(|token| self.text.get(token.at..token.end))
            .unwrap_or_default()
    }

    fn is_quoted(&self) -> bool {
        self.context != Context::Bare
    }

    fn inspect(&self, findings: &mut Findings) {
        let before = findings.score();
        for at in 0..self.tokens.len() {
            self.at(at, findings);
        }
        self.behind_value(findings);
        if self.inner_comment && self.hides_words() {
            self.add(&HIDDEN, 0, findings);
        }
        // The mark alone is in no text that means well.
        if !self.is_quoted() && findings.score() == before && conditional_comment(self.text) {
            self.add(&CONDITIONAL_COMMENT, 0, findings);
        }
    }

    fn add(&self, rule: &'static Rule, token: usize, findings: &mut Findings) {
        let at = self.tokens.get(token).map_or(0, |token| token.at);
        findings.add(rule, self.text, at);
    }

    /// What can stand anywhere.
    fn at(&self, at: usize, findings: &mut Findings) {
        let next = |ahead: usize| self.word(at + ahead);
        let calls = self.kind(at + 1) == Some(Kind::OpenParen);
        let after_dot = at > 0 && self.kind(at - 1) == Some(Kind::Dot);
        let Some(kind) = self.kind(at) else { return };
        match kind {
            Kind::Word(
                Word::And | Word::Or | Word::Like | Word::Having | Word::Where | Word::When,
            )
            | Kind::DoublePipe
            | Kind::DoubleAmpersand => self.condition(at, findings),
            Kind::Word(Word::Not) if at > 0 => self.condition(at, findings),
            Kind::Word(Word::Union) => self.union(at, findings),
            Kind::Word(Word::Select) => self.select(at, findings),
            Kind::Word(Word::Danger) if !after_dot || self.is_package(at) => {
                self.dangerous(at, findings);
            }
            Kind::Word(Word::Function) if calls && !after_dot => self.function(at, findings),
            Kind::Word(Word::Common) if calls && !after_dot => self.common(at, findings),
            Kind::Word(Word::If | Word::Plain | Word::Exists)
                if calls && self.calls_constants(at) =>
            {
                self.add(&CASE, at, findings);
            }
            Kind::Word(Word::Case)
                if next(1) == Some(Word::When)
                    && (self.constants(self.operand(at + 2))
                        || self.has_word(at + 3, Word::Then)) =>
            {
                self.add(&CASE, at, findings);
            }
            // `if(2=`, `(7=8)*8`
            Kind::Word(Word::If)
                if calls
                    && self.kind(at + 2) == Some(Kind::Number)
                    && self.kind(at + 3) == Some(Kind::Compare)
                    && self.kind(at + 4).is_none() =>
            {
                self.add(&CASE, at, findings);
            }
            Kind::OpenParen if self.constants(at + 1) => {
                let end = self.constant(at + 1).map_or(at, |behind| behind + 1);
                let behind = self.closed(self.operand(end) + 1);
                let product = self.kind(behind) == Some(Kind::Arithmetic)
                    && self.kind(behind + 1) == Some(Kind::Number);
                if product && !self.is_quoted() {
                    self.add(&CONSTANT_COMPARISON, at, findings);
                }
            }
            Kind::Cast => self.cast(at, findings),
            Kind::Word(Word::System) => self.system(at, findings),
            Kind::Word(Word::Object)
                if calls
                    && !after_dot
                    && self.text_of(at) == b"database"
                    && matches!(self.kind(at + 2), None | Some(Kind::CloseParen)) =>
            {
                self.add(&FUNCTIONS, at, findings);
            }
            Kind::Word(Word::Plain)
                if self.text_of(at) == b"mysql"
                    && self.kind(at + 1) == Some(Kind::Dot)
                    && matches!(self.text_of(at + 2), b"db" | b"user" | b"proc" | b"func") =>
            {
                let rule = if self.tokens.len() == 3 || self.has_word(0, Word::From) {
                    &SYSTEM
                } else {
                    &STATEMENT_WORDS
                };
                self.add(rule, at, findings);
            }
            Kind::Word(Word::Waitfor) if next(1) == Some(Word::Delay) => {
                if matches!(
                    self.kind(at + 2),
                    Some(Kind::Text | Kind::Open | Kind::Number) | None
                ) {
                    self.add(&WAITFOR, at, findings);
                }
            }
            Kind::Word(Word::Into)
                if next(1) == Some(Word::Outfile)
                    && !matches!(self.kind(at + 2), Some(Kind::Word(_))) =>
            {
                self.add(&FILE, at, findings);
            }
            Kind::Word(Word::Procedure)
                if self.text_of(at + 1) == b"analyse"
                    && self.kind(at + 2) == Some(Kind::OpenParen) =>
            {
                self.add(&ANALYSE, at, findings);
            }
            Kind::Word(
                Word::Insert
                | Word::Update
                | Word::Delete
                | Word::Drop
                | Word::Alter
                | Word::Create
                | Word::Truncate
                | Word::Exec
                | Word::Declare
                | Word::Shutdown,
            ) if !after_dot => self.statement(at, findings),
            Kind::Semicolon => self.stacked(at, findings),
            Kind::Variable => {
                let text = self.text_of(at);
                let server = text
                    .strip_prefix(b"@@")
                    .is_some_and(|name| SERVER_VARIABLES.contains(&name));
                if server || self.kind(at + 1) == Some(Kind::Assign) {
                    self.add(&ASSIGN, at, findings);
                }
            }
            _ => {}
        }
    }

    /// Whether the word comes at or behind `at`.
    fn has_word(&self, at: usize, word: Word) -> bool {
        (at..self.tokens.len()).any(|token| self.word(token) == Some(word))
    }

    /// `password::int`, `f(x)::text`
    fn cast(&self, at: usize, findings: &mut Findings) {
        let typed = TYPES.contains(&self.text_of(at + 1));
        let whole = at == 1 && self.tokens.len() == 3;
        let called = at > 0 && self.kind(at - 1) == Some(Kind::CloseParen);
        if typed && (whole && self.word(0).is_some() || called) {
            self.add(&CAST, at, findings);
        }
    }

    /// Whether the string that the value ends is a word or nothing: in prose, words stand before a
    /// quotation mark.
    fn ends_short_string(&self) -> bool {
        let end = self.tokens.first().map_or(0, |token| token.end);
        let before = self.text.get(..end).unwrap_or_default();
        !before.trim_ascii().contains(&b' ')
    }

    /// `dbms_pipe.receive_message`: the package is what is known, the function stands behind a dot.
    fn is_package(&self, at: usize) -> bool {
        self.text_of(at).contains(&b'_')
    }

    /// Behind opening parentheses, signs and `not`.
    fn operand(&self, mut at: usize) -> usize {
        while let Some(kind) = self.kind(at) {
            let skip = matches!(
                kind,
                Kind::OpenParen | Kind::Bang | Kind::Arithmetic | Kind::Word(Word::Not)
            );
            if !skip {
                break;
            }
            at += 1;
        }
        at
    }

    fn is_constant(&self, at: usize) -> bool {
        matches!(
            self.kind(at),
            Some(Kind::Number | Kind::Text | Kind::Open | Kind::Word(Word::Constant))
        )
    }

    /// Behind closing parentheses.
    fn closed(&self, mut at: usize) -> usize {
        while self.kind(at) == Some(Kind::CloseParen) {
            at += 1;
        }
        at
    }

    /// The constant that begins at `at` and what arithmetic adds to it; behind it.
    fn constant(&self, at: usize) -> Option<usize> {
        let mut at = self.operand(at);
        if !self.is_constant(at) {
            return None;
        }
        at = self.closed(at + 1);
        while matches!(self.kind(at), Some(Kind::Arithmetic | Kind::DoublePipe)) {
            let operand = self.operand(at + 1);
            if !self.is_constant(operand) {
                return None;
            }
            at = self.closed(operand + 1);
        }
        Some(at)
    }

    fn compares(&self, at: usize) -> bool {
        matches!(
            self.kind(at),
            Some(Kind::Compare | Kind::Word(Word::Like | Word::Between | Word::In | Word::Is))
        )
    }

    /// Whether constants are compared at `at`: `1=1`, `'a' like 'a`, `not 2>1`.
    fn constants(&self, at: usize) -> bool {
        let Some(behind) = self.constant(at) else {
            return false;
        };
        if !self.compares(behind) {
            return false;
        }
        let right = self.operand(behind + 1);
        self.is_constant(right)
    }

    /// `f(1=1`, without a space before the parenthesis.
    fn calls_constants(&self, at: usize) -> bool {
        let end = self.tokens.get(at).map(|token| token.end);
        let open = self.tokens.get(at + 1).map(|token| token.at);
        let glued = end == open || self.word(at) == Some(Word::If);
        glued
            && self.is_constant(at + 2)
            && self.compares(at + 3)
            && self.is_constant(self.operand(at + 4))
    }

    fn ends(&self, at: usize) -> bool {
        matches!(self.kind(at), None | Some(Kind::Comment | Kind::Semicolon))
    }

    /// Whether the tokens before `at` are what a value would leave there: a number or a string, and
    /// parentheses that it closes.
    fn is_behind_value(&self, at: usize) -> bool {
        let mut before = at;
        while before > 0 && self.kind(before - 1) == Some(Kind::CloseParen) {
            before -= 1;
        }
        match before {
            0 => at > 0,
            1 => self.is_constant(0),
            2 => self.kind(0) == Some(Kind::Arithmetic) && self.is_constant(1),
            _ => false,
        }
    }

    /// What stands behind `and`, `or`, `where`, `having`, `like` and their kind.
    fn condition(&self, at: usize, findings: &mut Findings) {
        let logic = !matches!(
            self.word(at),
            Some(Word::Where | Word::When | Word::Having | Word::Like)
        );
        let start = self.operand(at + 1);
        let like = self.word(at) == Some(Word::Like);
        if !like && self.constants(start) {
            let equal_sides = self.kind(start) != Some(Kind::Open);
            if at > 0 && equal_sides {
                let rule = if logic {
                    &TAUTOLOGY
                } else {
                    &CONSTANT_COMPARISON
                };
                self.add(rule, at, findings);
                return;
            }
        }
        if at == 0 {
            return;
        }
        let paren = |at: usize, kind: Kind| self.kind(at) == Some(kind);
        if like
            && paren(0, Kind::CloseParen)
            && paren(at - 1, Kind::CloseParen)
            && paren(at + 1, Kind::OpenParen)
        {
            self.add(&STRING_WORD, at, findings);
        }
        let behind_value = self.is_behind_value(at);
        // `1' or …`, `1) and …`
        let ends_string = self.is_quoted() && behind_value;
        match self.kind(start) {
            Some(Kind::Word(Word::Function | Word::Danger | Word::Common | Word::Exists))
                if self.kind(start + 1) == Some(Kind::OpenParen) && behind_value =>
            {
                self.add(&FUNCTIONS, at, findings);
            }
            Some(Kind::Word(Word::Select | Word::Exists | Word::Case)) if behind_value => {
                self.add(&SUBSELECT, at, findings);
            }
            Some(Kind::Variable) if behind_value => self.add(&ASSIGN, at, findings),
            Some(Kind::Number | Kind::Word(Word::Constant)) if logic && behind_value => {
                let behind = self.constant(start).unwrap_or(start + 1);
                let ends = self.ends(behind);
                let commented = self.kind(behind) == Some(Kind::Comment);
                let further = matches!(
                    self.word(behind),
                    Some(
                        Word::Group
                            | Word::Order
                            | Word::Limit
                            | Word::Having
                            | Word::Union
                            | Word::Or
                            | Word::And
                    )
                );
                if ends_string && (ends || further || self.compares(behind)) {
                    self.add(&CONDITION_IN_STRING, at, findings);
                } else if further || (commented && logic) || self.compares(behind) {
                    self.add(&CONDITION, at, findings);
                }
            }
            Some(Kind::Text | Kind::Open) if ends_string => {
                let glued = self.ends_short_string() && !self.is_prose(at);
                if self.compares(start + 1) || (glued && self.ends(self.closed(start + 1))) {
                    self.add(&CONDITION_IN_STRING, at, findings);
                }
            }
            Some(Kind::Word(_)) if logic && behind_value => {
                let mut behind = start + 1;
                while self.kind(behind) == Some(Kind::Dot) {
                    behind += 2;
                }
                let behind = self.closed(behind);
                if self.compares(behind) {
                    let right = self.operand(behind + 1);
                    let sure = self.kind(behind) == Some(Kind::Compare)
                        || self.is_constant(right)
                        || self.word(right) == Some(Word::Select);
                    if ends_string && sure {
                        self.add(&CONDITION_IN_STRING, at, findings);
                    } else if sure && self.kind(behind) == Some(Kind::Compare) {
                        self.add(&CONDITION, at, findings);
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether the string that is ended before `at` and the one behind could be words in quotes:
    /// `"this" or "that"`.
    fn is_prose(&self, at: usize) -> bool {
        let ended = self.tokens.first().map_or(0, |token| token.end);
        let single = self.context == Context::Quoted(b'\'');
        !single && ended > 1 && self.tokens.get(at).is_some_and(|token| token.at > ended)
    }

    fn union(&self, at: usize, findings: &mut Findings) {
        let mut select = at + 1;
        while matches!(
            self.kind(select),
            Some(Kind::OpenParen | Kind::Word(Word::All))
        ) {
            select += 1;
        }
        match self.word(select) {
            Some(Word::Select) => {
                let list = self.operand(select + 1);
                let prose = self.word(list) == Some(Word::Plain)
                    && matches!(self.kind(list + 1), Some(Kind::Word(Word::Plain)))
                    && !self.inner_comment
                    && !self.is_behind_value(at);
                let rule = if prose { &UNION_PROSE } else { &UNION };
                self.add(rule, at, findings);
            }
            // `union values(…)`, `union table …`
            Some(Word::Values) if self.is_behind_value(at) => self.add(&UNION, at, findings),
            // The rest may stand in another parameter.
            None if select > at + 1 && self.kind(select).is_none() && self.is_behind_value(at) => {
                self.add(&UNION, at, findings);
            }
            _ => {}
        }
    }

    fn select(&self, at: usize, findings: &mut Findings) {
        let mut list = at + 1;
        while matches!(self.kind(list), Some(Kind::Word(Word::All | Word::Top)))
            || (list > at + 1
                && self.word(list - 1) == Some(Word::Top)
                && self.kind(list) == Some(Kind::Number))
        {
            list += 1;
        }
        let in_parens = at > 0 && self.kind(at - 1) == Some(Kind::OpenParen);
        let from = (list..self.tokens.len().min(list + 64))
            .find(|token| self.word(*token) == Some(Word::From));
        let first = self.kind(list);
        let expression = match first {
            // `select *`, but not `select - a thing`.
            Some(Kind::Arithmetic) => self.text_of(list) == b"*" || self.is_constant(list + 1),
            Some(Kind::Number | Kind::Text | Kind::Variable | Kind::OpenParen) => true,
            Some(Kind::Word(Word::Constant | Word::Case | Word::If)) => true,
            Some(Kind::Word(Word::Function | Word::Danger | Word::Common | Word::Plain)) => {
                self.kind(list + 1) == Some(Kind::OpenParen)
            }
            _ => false,
        };
        let separated = matches!(
            self.kind(list + 1),
            Some(Kind::Comma | Kind::DoublePipe | Kind::CloseParen | Kind::Dot)
        );
        if in_parens && at > 0 {
            // `(select all that apply)` is what forms say.
            let from_behind = from == Some(list + 1);
            let clause = matches!(self.word(list + 1), Some(Word::Where | Word::From));
            if (expression && !self.numbered_words(list))
                || from_behind
                || clause
                || (separated && from.is_some())
            {
                self.add(&SUBSELECT, at, findings);
                return;
            }
        }
        let Some(from) = from else {
            // `select 1,2,3`, `select sleep(5)`, `select@@version`
            let numbers = first == Some(Kind::Number) && self.kind(list + 1) == Some(Kind::Comma);
            let grouped = self.has_word(list, Word::Group)
                && self.has_word(list, Word::By)
                && self.has_word(list, Word::Having)
                && (list..self.tokens.len()).any(|token| self.kind(token) == Some(Kind::Compare));
            let danger =
                first == Some(Kind::Word(Word::Danger)) && self.text_of(list).contains(&b'_');
            let call = grouped
                || danger
                || matches!(
                    first,
                    Some(Kind::Word(Word::Function | Word::Danger | Word::Common))
                ) && expression;
            if numbers
                || call
                || first == Some(Kind::Variable)
                || first == Some(Kind::Text) && self.is_behind_value(at)
            {
                self.add(&SELECT_FROM, at, findings);
            }
            return;
        };
        let table = self.operand(from + 1);
        let named = matches!(
            self.kind(table),
            Some(Kind::Word(
                Word::Plain
                    | Word::System
                    | Word::Object
                    | Word::Select
                    | Word::Values
                    | Word::Function
                    | Word::Common
            ))
        );
        let prose = self.numbered_words(list);
        let behind = self.behind_name(table);
        let clause = self.ends(behind)
            || matches!(
                self.kind(behind),
                Some(
                    Kind::Word(
                        Word::Where
                            | Word::Limit
                            | Word::Order
                            | Word::Group
                            | Word::Union
                            | Word::As
                            | Word::Having
                    ) | Kind::CloseParen
                        | Kind::Comma
                )
            );
        let system =
            self.word(table) == Some(Word::System) || self.word(table) == Some(Word::Select);
        if system
            || (named && expression && !prose && clause)
            || (expression && from < list + 3 && self.text_of(list) == b"*")
        {
            self.add(&SELECT_FROM, at, findings);
        } else if named && clause && (separated || from == list + 1) {
            // `select name, mail from users`: SQL, or a sentence without articles.
            let behind_value = self.is_behind_value(at) || at == 0;
            let conditions = matches!(
                self.kind(behind),
                Some(Kind::Word(Word::Where | Word::Limit | Word::Order) | Kind::Comment)
            );
            let compared =
                (behind..self.tokens.len()).any(|token| self.kind(token) == Some(Kind::Compare));
            let rule = if behind_value
                && conditions
                && (compared || self.kind(behind) == Some(Kind::Comment))
            {
                &SELECT_FROM
            } else if behind_value {
                &STATEMENT_WORDS
            } else {
                &SELECT_FROM_WORDS
            };
            self.add(rule, at, findings);
        } else if self.is_behind_value(at) && self.is_quoted() && self.ends(behind) {
            self.add(&SELECT_FROM, at, findings);
        }
    }

    /// `2 of the following`: a number with words behind it is no list of columns.
    fn numbered_words(&self, list: usize) -> bool {
        self.kind(list) == Some(Kind::Number)
            && matches!(self.kind(list + 1), Some(Kind::Word(Word::Plain)))
            && matches!(self.kind(list + 2), Some(Kind::Word(_)) | None)
    }

    /// Behind a name with dots, and its alias.
    fn behind_name(&self, at: usize) -> usize {
        let mut at = at + 1;
        while self.kind(at) == Some(Kind::Dot) {
            at += 1;
            if matches!(self.kind(at), Some(Kind::Word(_))) {
                at += 1;
            }
        }
        at
    }

    fn dangerous(&self, at: usize, findings: &mut Findings) {
        let mut call = at + 1;
        while self.kind(call) == Some(Kind::Dot) {
            call += 2;
        }
        let called = self.kind(call) == Some(Kind::OpenParen);
        let name = self.text_of(at);
        let procedure = name.starts_with(b"xp_") || name.starts_with(b"sp_");
        if procedure {
            self.add(&DANGER, at, findings);
            return;
        }
        if !called {
            return;
        }
        let argument = self.operand(call + 1);
        let empty = self.kind(argument) == Some(Kind::CloseParen);
        // `sleep(duration)` is anybody's code; `sleep(5)` in a parameter is not.
        let plain = matches!(name, b"sleep" | b"benchmark" | b"elt" | b"analyse")
            && (self.word(argument) == Some(Word::Plain) || empty);
        if !plain {
            self.add(&DANGER, at, findings);
        }
    }

    fn function(&self, at: usize, findings: &mut Findings) {
        let operator = |kind: Option<Kind>| {
            matches!(
                kind,
                Some(Kind::DoublePipe | Kind::Arithmetic | Kind::Compare | Kind::Comma)
            )
        };
        let joined =
            at > 0 && operator(self.kind(at - 1)) && self.is_constant(at.saturating_sub(2));
        let argument = self.operand(at + 2);
        let nested = matches!(
            self.kind(argument),
            Some(Kind::Word(
                Word::Function | Word::Danger | Word::Common | Word::Select | Word::Case
            ))
        ) && matches!(
            self.kind(argument + 1),
            Some(Kind::OpenParen | Kind::Word(_) | Kind::Number)
        );
        // `chr(1)||chr(2)`
        let closed = (at + 2..self.tokens.len().min(at + 8))
            .find(|token| self.kind(*token) == Some(Kind::CloseParen));
        let chained = closed.is_some_and(|end| {
            operator(self.kind(end + 1))
                && matches!(
                    self.kind(self.operand(end + 2)),
                    Some(Kind::Word(
                        Word::Function | Word::Danger | Word::Common | Word::Select
                    ))
                )
        });
        let constant = self.is_constant(argument) && self.kind(argument) != Some(Kind::Open);
        let empty = self.kind(argument) == Some(Kind::CloseParen);
        // Only SQL has names like these, and only an attack leaves a call open.
        let own = self.text_of(at).contains(&b'_');
        let open = self.tokens.len() == at + 2;
        let rule = if joined || nested || chained || open && at < 2 || own && constant {
            &FUNCTIONS
        } else if constant || empty || self.kind(argument).is_none() {
            &FUNCTION
        } else {
            &COMMON_FUNCTION
        };
        self.add(rule, at, findings);
    }

    fn common(&self, at: usize, findings: &mut Findings) {
        let argument = self.operand(at + 2);
        let select = self.word(argument) == Some(Word::Select);
        let closed = (at + 2..self.tokens.len().min(at + 8))
            .find(|token| self.kind(*token) == Some(Kind::CloseParen));
        // `char(113)||char(112)`, `char(1)+char(2)`: a string that hides.
        let chained = closed.is_some_and(|end| {
            matches!(
                self.kind(end + 1),
                Some(Kind::DoublePipe | Kind::Arithmetic)
            ) && matches!(
                self.kind(self.operand(end + 2)),
                Some(Kind::Word(
                    Word::Function | Word::Danger | Word::Common | Word::Select
                ))
            )
        }) && self.kind(argument) == Some(Kind::Number)
            && matches!(self.text_of(at), b"char" | b"ascii" | b"hex");
        let nested = matches!(
            self.kind(argument),
            Some(Kind::Word(Word::Function | Word::Danger))
        ) && self.kind(argument + 1) == Some(Kind::OpenParen);
        let behind = at > 0
            && self.is_quoted()
            && at <= 3
            && matches!(
                self.kind(at - 1),
                Some(Kind::DoublePipe | Kind::Arithmetic | Kind::Compare)
            );
        let name = self.text_of(at);
        let open = self.tokens.len() == at + 2
            && (matches!(name, b"user" | b"version") || self.has_select_before(at));
        if select || chained || nested || behind || open {
            self.add(&FUNCTIONS, at, findings);
        } else {
            self.add(&COMMON_FUNCTION, at, findings);
        }
    }

    fn has_select_before(&self, at: usize) -> bool {
        (0..at).any(|token| self.word(token) == Some(Word::Select))
    }

    fn system(&self, at: usize, findings: &mut Findings) {
        let name = self.text_of(at);
        let dotted = self.kind(at + 1) == Some(Kind::Dot)
            || (at > 0 && matches!(self.kind(at - 1), Some(Kind::Dot)));
        let short = self.tokens.len() <= 4 || self.has_word(0, Word::From);
        let sure = dotted && short
            || at > 0 && self.word(at - 1) == Some(Word::From)
            || self.tokens.len() == 1
            || name.contains(&b'$');
        if sure {
            self.add(&SYSTEM, at, findings);
        } else {
            self.add(&STATEMENT_WORDS, at, findings);
        }
    }

    /// The words that begin a statement which changes something.
    fn statement(&self, at: usize, findings: &mut Findings) {
        let stacked = at > 0 && self.kind(at - 1) == Some(Kind::Semicolon);
        let next = self.word(at + 1);
        let name = |at: usize| matches!(self.kind(at), Some(Kind::Word(_)));
        let (sure, maybe) = match self.word(at) {
            Some(Word::Insert) if next == Some(Word::Into) && name(at + 2) => {
                let behind = self.behind_name(at + 2);
                let list = matches!(
                    self.kind(behind),
                    Some(Kind::OpenParen | Kind::Word(Word::Values | Word::Select | Word::Set))
                );
                (list, true)
            }
            Some(Word::Update) if name(at + 1) => {
                let behind = self.behind_name(at + 1);
                let set = self.word(behind) == Some(Word::Set);
                let assigned = self.kind(self.behind_name(behind + 1)) == Some(Kind::Compare);
                (set && assigned, set)
            }
            Some(Word::Delete) if next == Some(Word::From) && name(at + 2) => {
                let behind = self.behind_name(at + 2);
                let ends = self.word(behind) == Some(Word::Where)
                    && (behind..self.tokens.len()).any(|at| self.compares(at))
                    || matches!(self.kind(behind), Some(Kind::Comment | Kind::Semicolon));
                (ends, true)
            }
            Some(Word::Drop | Word::Alter | Word::Create | Word::Truncate)
                if next == Some(Word::Object)
                    || self.text_of(at + 1) == b"or" && self.text_of(at + 2) == b"replace" =>
            {
                let behind = self.behind_name(at + 2);
                let ends = name(at + 2)
                    && matches!(
                        self.kind(behind),
                        Some(Kind::Comment | Kind::Semicolon | Kind::OpenParen | Kind::Arithmetic)
                    );
                let replaces = next == Some(Word::Or) && self.word(at + 3) == Some(Word::Object);
                let alters = self.word(at) == Some(Word::Alter)
                    && name(at + 2)
                    && matches!(
                        self.text_of(behind),
                        b"change"
                            | b"add"
                            | b"modify"
                            | b"drop"
                            | b"rename"
                            | b"alter"
                            | b"character"
                            | b"engine"
                    );
                (ends || replaces || alters, true)
            }
            Some(Word::Exec) => {
                let sure = match self.kind(at + 1) {
                    Some(Kind::Word(Word::Danger | Word::System)) => true,
                    Some(Kind::Word(_)) => {
                        self.text_of(at + 1) == b"master"
                            || self.text_of(at + 1).starts_with(b"xp_")
                            || self.text_of(at + 1).starts_with(b"sp_")
                            || self.text_of(at + 1) == b"immediate"
                    }
                    Some(Kind::Variable) => true,
                    Some(Kind::OpenParen) => {
                        matches!(self.kind(at + 2), Some(Kind::Variable))
                    }
                    _ => false,
                };
                (sure, false)
            }
            Some(Word::Declare) => (self.kind(at + 1) == Some(Kind::Variable), false),
            Some(Word::Shutdown) => {
                let ends = self.ends(at + 1) || self.text_of(at + 1) == b"with";
                (
                    ends && at > 0 && (stacked || self.is_behind_value(at)),
                    false,
                )
            }
            _ => (false, false),
        };
        if sure || (maybe && (stacked || self.is_behind_value(at))) {
            self.add(&STATEMENT, at, findings);
        } else if maybe {
            self.add(&STATEMENT_WORDS, at, findings);
        }
    }

    /// A semicolon behind a value, with a statement behind it.
    fn stacked(&self, at: usize, findings: &mut Findings) {
        let start = self.operand(at + 1);
        let quoted = self.is_quoted();
        let behind_value = self.is_behind_value(at);
        let sure = match self.word(start) {
            Some(Word::Select) => {
                let list = self.operand(start + 1);
                let starred = list > start + 1 && self.text_of(list - 1) == b"*";
                let shape = starred
                    || matches!(
                        self.kind(list),
                        Some(Kind::Number | Kind::Text | Kind::Variable)
                            | Some(Kind::Word(
                                Word::Case | Word::Constant | Word::Danger | Word::Function
                            ))
                    )
                    || self.kind(list + 1) == Some(Kind::OpenParen)
                    || self.kind(start + 1) == Some(Kind::OpenParen);
                shape || (quoted && behind_value)
            }
            Some(Word::If) => {
                self.kind(start + 1) == Some(Kind::OpenParen)
                    && behind_value
                    && self.constants(start + 2)
            }
            Some(Word::Begin | Word::Call | Word::Exec | Word::Declare) => {
                behind_value
                    && (matches!(self.word(start + 1), Some(Word::Danger | Word::Function))
                        || self.kind(self.behind_name(start + 1)) == Some(Kind::OpenParen)
                        || self.kind(start + 1) == Some(Kind::Variable))
            }
            Some(Word::Waitfor) => true,
            Some(
                Word::Insert
                | Word::Update
                | Word::Delete
                | Word::Drop
                | Word::Alter
                | Word::Create
                | Word::Truncate
                | Word::Set,
            ) => {
                behind_value
                    && (quoted || self.word(start + 1).is_some_and(|word| word != Word::Plain))
            }
            Some(Word::Shutdown) => behind_value && self.ends(start + 1),
            _ => false,
        };
        if sure {
            self.add(&STACKED, at, findings);
        } else if quoted && behind_value && self.kind(at + 1) == Some(Kind::Comment) {
            self.comment(at + 1, findings);
        }
    }

    /// What follows the value itself: `1'`, `1)`, `1`.
    fn behind_value(&self, findings: &mut Findings) {
        let signed = usize::from(self.kind(0) == Some(Kind::Arithmetic));
        if !self.is_constant(signed) || (self.is_quoted() && signed > 0) {
            return;
        }
        let at = self.closed(signed + 1);
        let closed = at - signed - 1;
        match self.kind(at) {
            Some(Kind::Comment) => self.comment(at, findings),
            Some(Kind::Word(word)) => self.keyword_behind(word, at, findings),
            Some(
                operator @ (Kind::Arithmetic
                | Kind::DoublePipe
                | Kind::DoubleAmpersand
                | Kind::Compare),
            ) if self.is_quoted() => {
                let glued = self.tokens.get(at).map(|token| token.at)
                    == self.tokens.get(at - 1).map(|token| token.end);
                let start = self.operand(at + 1);
                match self.kind(start) {
                    Some(Kind::Text | Kind::Open) if glued => {
                        // `'+'`, `'||'`, `'='`: the rest of the string is taken up again.
                        let own = self
                            .tokens
                            .get(start)
                            .map_or(0, |token| token.end - token.at);
                        let closed = self.kind(start) == Some(Kind::Text);
                        let joins = operator == Kind::DoublePipe && self.ends_short_string();
                        let taken_up = own <= 2 && self.ends_short_string();
                        let compared = operator == Kind::Compare
                            && closed
                            && self.tokens.first().is_some_and(|token| token.end > 1);
                        let rule = if taken_up || joins || compared {
                            &STRING_EXPRESSION
                        } else {
                            &STRING_OPERATOR
                        };
                        self.add(rule, at, findings);
                    }
                    Some(Kind::Number)
                        if !glued
                            && self.compares(self.closed(start + 1))
                            && self.tokens.last().map(|token| token.kind)
                                == Some(Kind::Comment) =>
                    {
                        self.add(&STRING_EXPRESSION, at, findings);
                    }
                    Some(Kind::Number) if glued => {
                        let behind = self.closed(start + 1);
                        if self.ends(behind) || self.compares(behind) {
                            let rule = if self.kind(behind) == Some(Kind::Comment)
                                || operator == Kind::DoublePipe
                                || operator == Kind::Compare
                            {
                                &STRING_EXPRESSION
                            } else {
                                &STRING_OPERATOR
                            };
                            self.add(rule, at, findings);
                        }
                    }
                    Some(Kind::Word(
                        Word::Select | Word::Danger | Word::Function | Word::Common,
                    )) if glued && self.kind(start + 1) == Some(Kind::OpenParen)
                        || self.word(start) == Some(Word::Select) =>
                    {
                        self.add(&STRING_EXPRESSION, at, findings);
                    }
                    _ => {}
                }
            }
            Some(Kind::Bang) if self.is_quoted() && self.ends_short_string() => {
                let operand = self.kind(at + 1);
                let rest = self.text.len() - self.tokens.get(at).map_or(0, |token| token.end);
                if operand.is_some() && at + 2 == self.tokens.len() && rest <= 4 {
                    self.add(&NOT_STRING, at, findings);
                }
            }
            Some(Kind::Comma) if self.is_quoted() => {
                // `1','x',1)--`: the rest of a list of values.
                let last = self.tokens.last().map(|token| token.kind);
                if self.is_constant(self.operand(at + 1)) && last == Some(Kind::Comment) {
                    self.add(&STRING_EXPRESSION, at, findings);
                }
            }
            None if closed > 1 && !self.is_quoted() => {}
            _ => {}
        }
    }

    fn keyword_behind(&self, word: Word, at: usize, findings: &mut Findings) {
        let next = self.kind(at + 1);
        let operand = self.kind(self.operand(at + 1));
        let number = matches!(operand, Some(Kind::Number));
        let by = self.word(at + 1) == Some(Word::By);
        let ordered = self.kind(self.operand(at + 2));
        match word {
            Word::Order | Word::Group if by => {
                let behind = self.closed(self.operand(at + 2) + 1);
                let column = matches!(
                    ordered,
                    Some(Kind::Number | Kind::Word(_) | Kind::Open | Kind::Text)
                );
                let ends = self.ends(behind)
                    || matches!(
                        self.kind(behind),
                        Some(
                            Kind::Comma
                                | Kind::OpenParen
                                | Kind::Word(Word::Having | Word::Limit | Word::Plain)
                        )
                    );
                if (column && ends) || ordered.is_none() {
                    self.add(&ORDER, at, findings);
                }
            }
            Word::Having if number || self.constants(self.operand(at + 1)) => {
                self.add(&ORDER, at, findings);
            }
            Word::Limit if number && self.is_quoted() => self.add(&ORDER, at, findings),
            Word::Like | Word::Between | Word::In | Word::Is if self.is_quoted() => {
                let sure = match word {
                    Word::Is => matches!(
                        self.word(self.operand(at + 1)),
                        Some(Word::Constant | Word::Select)
                    ),
                    Word::In => next == Some(Kind::OpenParen) || self.text_of(at + 1) == b"boolean",
                    _ => matches!(
                        operand,
                        Some(Kind::Text | Kind::Open | Kind::Number)
                            | Some(Kind::Word(Word::Constant | Word::Select | Word::Danger))
                    ),
                };
                let cut = next.is_none() && self.context == Context::Quoted(b'`');
                if sure && self.ends_short_string() || cut {
                    self.add(&STRING_WORD, at, findings);
                }
            }
            Word::Like
                if matches!(
                    operand,
                    Some(Kind::Word(Word::Select | Word::Danger | Word::Function))
                ) =>
            {
                self.add(&FUNCTIONS, at, findings);
            }
            Word::Where if self.is_quoted() && self.constants(self.operand(at + 1)) => {
                self.add(&STRING_WORD, at, findings);
            }
            Word::As if (self.is_quoted() || at > 1) && self.word(at + 2) == Some(Word::Where) => {
                self.add(&STRING_WORD, at, findings);
            }
            Word::Select if self.is_quoted() => {
                let glued = self.tokens.get(at).map(|token| token.at)
                    == self.tokens.get(at - 1).map(|token| token.end);
                if glued && self.ends_short_string() {
                    self.add(&STRING_WORD, at, findings);
                }
            }
            // `1 as "x" from`
            Word::As
                if matches!(next, Some(Kind::Text | Kind::Word(_)))
                    && self.word(at + 2) == Some(Word::From)
                    || matches!(next, Some(Kind::Open)) && self.open_says_from(at + 1) =>
            {
                if self.ends_short_string() {
                    self.add(&ALIAS, at, findings);
                }
            }
            Word::Procedure if next == Some(Kind::Word(Word::Danger)) => {
                self.add(&ANALYSE, at, findings);
            }
            _ => {}
        }
    }

    /// Whether a string that does not end has `from` in it: `as" from`.
    fn open_says_from(&self, at: usize) -> bool {
        let inner = self.text_of(at).get(1..).unwrap_or_default();
        inner.trim_ascii().starts_with(b"from")
    }

    /// A comment right behind the value that ends a string, or behind a number.
    fn comment(&self, at: usize, findings: &mut Findings) {
        let Some(token) = self.tokens.get(at) else {
            return;
        };
        let comment = self.text.get(token.at..token.end).unwrap_or_default();
        let rest: &[u8] = match comment {
            [b'#', rest @ ..] => rest,
            [b'-' | b'/', b'-' | b'*', rest @ ..] => rest,
            rest => rest,
        };
        let rest = rest.trim_ascii();
        // sqlmap leaves a word behind its comments; a sentence goes on.
        let short = rest.len() <= 5 && !rest.contains(&b' ');
        if !short {
            return;
        }
        let closed = at > 1;
        let hash = comment.starts_with(b"#");
        if self.is_quoted() {
            let quote_first = self.tokens.first().is_some_and(|token| token.end >= 1);
            if quote_first && (!hash || rest.is_empty() || closed) {
                self.add(&COMMENT_BEHIND_STRING, at, findings);
            }
        } else if closed && self.kind(0) == Some(Kind::Number) && rest.is_empty() {
            self.add(&COMMENT_BEHIND_VALUE, at, findings);
        }
    }

    /// Whether words of SQL stand around a comment without spaces.
    fn hides_words(&self) -> bool {
        self.tokens.iter().any(|token| {
            matches!(
                token.kind,
                Kind::Word(
                    Word::Select
                        | Word::Union
                        | Word::Or
                        | Word::And
                        | Word::From
                        | Word::Where
                        | Word::Order
                        | Word::Insert
                        | Word::Drop
                        | Word::Danger
                )
            )
        }) && self.tokens.len() > 1
    }
}

fn conditional_comment(text: &[u8]) -> bool {
    text.windows(4).any(|window| {
        window.starts_with(b"/*!")
            && (window[3].is_ascii_digit() || window[3].is_ascii_alphabetic())
    })
}

/// `[$ne]`, `{"$gt":""}`, `$where`: as a name of a parameter, or in a value.
fn document_operators(text: &[u8], findings: &mut Findings) {
    const OPERATORS: &[&[u8]] = &[
        b"ne",
        b"eq",
        b"gt",
        b"gte",
        b"lt",
        b"lte",
        b"in",
        b"nin",
        b"or",
        b"nor",
        b"xor",
        b"and",
        b"not",
        b"regex",
        b"where",
        b"exists",
        b"type",
        b"mod",
        b"all",
        b"size",
        b"elemmatch",
        b"slice",
        b"expr",
        b"function",
        b"jsonschema",
        b"like",
        b"between",
        b"div",
        b"text",
        b"accumulator",
        b"lookup",
        b"func",
    ];
    let mut from = 0;
    while let Some(at) = super::bytes::find_from(text, b"$", from) {
        from = at + 1;
        let rest = text.get(from..).unwrap_or_default();
        let length = rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
        let word = rest.get(..length).unwrap_or_default();
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let after = rest.get(length);
        let bracketed = before == Some(&b'[') && after == Some(&b']');
        let key = matches!(before, Some(b'"' | b'\'' | b'{' | b',' | b' '))
            && matches!(after, Some(b'"' | b'\'' | b':'))
            && text.contains(&b'{');
        let whole = at == 0 && word == b"where" && matches!(after, None | Some(b':' | b'='));
        if (bracketed || key || whole) && OPERATORS.contains(&word) {
            findings.add(&OPERATOR, text, at);
            return;
        }
    }
}
