//! A value read as SQL: its tokens, and where each rule looks at them.

use super::rules::{
    ANALYSE, ASSIGN, CASE, CONDITIONAL_COMMENT, CONSTANT_COMPARISON, FILE, FUNCTIONS, HIDDEN,
    SERVER_VARIABLES, STATEMENT_WORDS, SYSTEM, WAITFOR,
};
use super::tokens::{Context, Kind, Token};
use super::words::Word;
use crate::inspect::rule::{Findings, Rule};

/// As many parentheses and signs before an operand are skipped.
const MAX_NESTING: usize = 48;

/// A value, as SQL in one of its contexts.
pub(super) struct Statement<'a> {
    pub(super) text: &'a [u8],
    pub(super) tokens: &'a [Token],
    pub(super) context: Context,
    /// Whether there was a comment in the middle.
    pub(super) inner_comment: bool,
    /// Whether the tokens are the first of the value.
    pub(super) begins: bool,
}

impl Statement<'_> {
    pub(super) fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    pub(super) fn word(&self, at: usize) -> Option<Word> {
        match self.kind(at)? {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn text_of(&self, at: usize) -> &[u8] {
        let token = self.tokens.get(at);
        token
            .and_then(|token| self.text.get(token.at..token.end))
            .unwrap_or_default()
    }

    pub(super) fn is_quoted(&self) -> bool {
        self.context != Context::Bare
    }

    pub(super) fn inspect(&self, findings: &mut Findings) {
        let before = findings.score();
        for at in 0..self.tokens.len() {
            self.at(at, findings);
        }
        if self.begins {
            self.behind_value(findings);
        }
        if self.inner_comment && self.hides_words() {
            self.add(&HIDDEN, 0, findings);
        }
        // The mark alone is in no text that means well.
        if self.begins
            && !self.is_quoted()
            && findings.score() == before
            && conditional_comment(self.text)
        {
            self.add(&CONDITIONAL_COMMENT, 0, findings);
        }
    }

    pub(super) fn add(&self, rule: &'static Rule, token: usize, findings: &mut Findings) {
        let at = self.tokens.get(token).map_or(0, |token| token.at);
        findings.add(rule, self.text, at);
    }

    /// What can stand anywhere.
    pub(super) fn at(&self, at: usize, findings: &mut Findings) {
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
            Kind::OpenParen if self.constants(at + 1) && !self.closes_before_comparison(at) => {
                let end = self.constant(at + 1).map_or(at, |behind| behind + 1);
                let behind = self.closed(self.operand(end) + 1);
                let product = self.kind(behind) == Some(Kind::Arithmetic)
                    && self.kind(behind + 1) == Some(Kind::Number);
                if product && !self.is_quoted() {
                    self.add(&CONSTANT_COMPARISON, at, findings);
                }
            }
            Kind::Word(Word::Order | Word::Group) if at == 0 => self.leading_order(findings),
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
    pub(super) fn has_word(&self, at: usize, word: Word) -> bool {
        (at..self.tokens.len()).any(|token| self.word(token) == Some(word))
    }

    /// Behind opening parentheses, signs and `not`: so many as are looked at, since every one of them
    /// asks what stands behind.
    pub(super) fn operand(&self, mut at: usize) -> usize {
        let last = at + MAX_NESTING;
        while at < last
            && let Some(kind) = self.kind(at)
        {
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

    pub(super) fn is_constant(&self, at: usize) -> bool {
        matches!(
            self.kind(at),
            Some(Kind::Number | Kind::Text | Kind::Open | Kind::Word(Word::Constant))
        )
    }

    /// Behind closing parentheses.
    pub(super) fn closed(&self, mut at: usize) -> usize {
        while self.kind(at) == Some(Kind::CloseParen) {
            at += 1;
        }
        at
    }

    /// The constant that begins at `at` and what arithmetic adds to it; behind it.
    pub(super) fn constant(&self, at: usize) -> Option<usize> {
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

    pub(super) fn compares(&self, at: usize) -> bool {
        matches!(
            self.kind(at),
            Some(Kind::Compare | Kind::Word(Word::Like | Word::Between | Word::In | Word::Is))
        )
    }

    /// Whether constants are compared at `at`: `1=1`, `'a' like 'a`, `not 2>1`.
    pub(super) fn constants(&self, at: usize) -> bool {
        let Some(behind) = self.constant(at) else {
            return false;
        };
        if !self.compares(behind) {
            return false;
        }
        let right = self.operand(behind + 1);
        // `"a" in 'b'` is prose.
        let listed = self.word(behind) != Some(Word::In) || right > behind + 1;
        listed && self.is_constant(right)
    }

    /// `f(1=1`, without a space before the parenthesis.
    pub(super) fn calls_constants(&self, at: usize) -> bool {
        let end = self.tokens.get(at).map(|token| token.end);
        let open = self.tokens.get(at + 1).map(|token| token.at);
        let glued = end == open || self.word(at) == Some(Word::If);
        glued
            && self.is_constant(at + 2)
            && self.compares(at + 3)
            && self.is_constant(self.operand(at + 4))
    }

    /// `(1/4)=2`: what is compared stands outside of the parentheses.
    fn closes_before_comparison(&self, at: usize) -> bool {
        let behind = self.constant(at + 1).unwrap_or(at);
        behind > 0 && self.kind(behind - 1) == Some(Kind::CloseParen)
    }

    pub(super) fn ends(&self, at: usize) -> bool {
        matches!(self.kind(at), None | Some(Kind::Comment | Kind::Semicolon))
    }

    /// Whether the tokens before `at` are what a value would leave there: a number or a string, and
    /// parentheses that it closes.
    pub(super) fn is_behind_value(&self, at: usize) -> bool {
        let mut before = at;
        while before > 0 && self.kind(before - 1) == Some(Kind::CloseParen) {
            before -= 1;
        }
        match before {
            0 => at > 0,
            // `x)`: a name too, where it closes what it did not open.
            1 => self.is_constant(0) || before < at && self.word(0).is_some(),
            2 => self.kind(0) == Some(Kind::Arithmetic) && self.is_constant(1),
            _ => false,
        }
    }

    /// Whether the value ends with a comment of no more than `word` bytes, which is how an attack cuts
    /// off the rest of the statement.
    pub(super) fn ends_in_comment(&self, word: usize) -> bool {
        let Some(token) = self.tokens.last() else {
            return false;
        };
        if token.kind != Kind::Comment || token.at == 0 {
            return false;
        }
        let comment = self.text.get(token.at..token.end).unwrap_or_default();
        match comment {
            [b'#', rest @ ..] => rest.trim_ascii().is_empty(),
            [b'-', b'-', rest @ ..] | [b'/', b'*', rest @ ..] => {
                let rest = rest.trim_ascii();
                rest.len() <= word && !rest.contains(&b' ')
            }
            _ => false,
        }
    }

    /// Behind the parenthesis that closes the one at `at`, or behind the last token.
    pub(super) fn behind_parens(&self, at: usize) -> usize {
        let mut depth = 0_usize;
        for token in at..self.tokens.len() {
            match self.kind(token) {
                Some(Kind::OpenParen) => depth += 1,
                Some(Kind::CloseParen) => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return token + 1;
                    }
                }
                _ => {}
            }
        }
        self.tokens.len()
    }

    /// Whether the string that the value ends is a word or nothing: in prose, words stand before a
    /// quotation mark.
    pub(super) fn ends_short_string(&self) -> bool {
        let end = self.tokens.first().map_or(0, |token| token.end);
        let before = self.text.get(..end).unwrap_or_default();
        !before.trim_ascii().contains(&b' ')
    }

    /// Behind a name with dots, and its alias.
    pub(super) fn behind_name(&self, at: usize) -> usize {
        let mut at = at + 1;
        while self.kind(at) == Some(Kind::Dot) {
            at += 1;
            if matches!(self.kind(at), Some(Kind::Word(_))) {
                at += 1;
            }
        }
        at
    }

    /// Whether words of SQL stand around a comment without spaces.
    pub(super) fn hides_words(&self) -> bool {
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
