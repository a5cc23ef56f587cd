//! Calls of functions, tables of the database itself, and statements that change something.

use super::rules::{
    COMMON_FUNCTION, DANGER, FUNCTION, FUNCTIONS, STACKED, STATEMENT, STATEMENT_WORDS, SYSTEM,
};
use super::statement::Statement;
use super::tokens::Kind;
use super::words::Word;
use crate::inspect::rule::Findings;

/// First words of further statements, which are names of other things as well.
const STATEMENTS: &[&[u8]] = &[
    b"analyze",
    b"attach",
    b"backup",
    b"copy",
    b"dbcc",
    b"deallocate",
    b"flush",
    b"grant",
    b"handler",
    b"kill",
    b"lock",
    b"pragma",
    b"prepare",
    b"reindex",
    b"restore",
    b"revoke",
    b"unlock",
    b"use",
    b"vacuum",
];

/// What tells an attacker who and where he is.
const IDENTITIES: &[&[u8]] = &[
    b"user",
    b"version",
    b"database",
    b"schema",
    b"current_user",
    b"session_user",
    b"system_user",
    b"db_name",
];

impl Statement<'_> {
    /// `dbms_pipe.receive_message`: the package is what is known, the function stands behind a dot.
    pub(super) fn is_package(&self, at: usize) -> bool {
        self.text_of(at).contains(&b'_')
    }

    pub(super) fn dangerous(&self, at: usize, findings: &mut Findings) {
        let mut call = at + 1;
        while self.is_package(at) && self.kind(call) == Some(Kind::Dot) {
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

    pub(super) fn function(&self, at: usize, findings: &mut Findings) {
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

    pub(super) fn common(&self, at: usize, findings: &mut Findings) {
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
        ) && self.kind(argument + 1) == Some(Kind::OpenParen)
            // `mid(user(),1,1)`
            || IDENTITIES.contains(&self.text_of(argument))
                && self.kind(argument + 1) == Some(Kind::OpenParen)
                && self.kind(argument + 2) == Some(Kind::CloseParen);
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

    pub(super) fn has_select_before(&self, at: usize) -> bool {
        (0..at).any(|token| self.word(token) == Some(Word::Select))
    }

    pub(super) fn system(&self, at: usize, findings: &mut Findings) {
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
    pub(super) fn statement(&self, at: usize, findings: &mut Findings) {
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
                    && (self.text_of(at + 1) != b"temporary"
                        || self.word(at + 2) == Some(Word::Object))
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
                (ends || replaces && name(at + 4) || alters, true)
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
            // `declare@x` alone may be a password.
            Some(Word::Declare) => {
                let end = self.tokens.get(at).map(|token| token.end);
                let glued = end == self.tokens.get(at + 1).map(|token| token.at);
                let typed = matches!(self.kind(at + 2), Some(Kind::Word(_)));
                let variable = self.kind(at + 1) == Some(Kind::Variable);
                (variable && (typed || !glued), false)
            }
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
    pub(super) fn stacked(&self, at: usize, findings: &mut Findings) {
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
            Some(Word::Plain) => {
                quoted && behind_value && STATEMENTS.contains(&self.text_of(start))
            }
            _ => false,
        };
        if sure {
            self.add(&STACKED, at, findings);
        } else if quoted && behind_value && self.kind(at + 1) == Some(Kind::Comment) {
            self.comment(at + 1, findings);
        }
    }
}
