//! What follows the value itself, where it ends its string, its parentheses or its number.

use super::rules::{
    ALIAS, ANALYSE, COMMENT_BEHIND_STRING, COMMENT_BEHIND_VALUE, CUT_OFF, FUNCTIONS, NOT_STRING,
    ORDER, STRING_EXPRESSION, STRING_OPERATOR, STRING_WORD,
};
use super::statement::Statement;
use super::tokens::{Context, Kind};
use super::words::Word;
use crate::inspect::rule::Findings;

impl Statement<'_> {
    /// What follows the value itself: `1'`, `1)`, `1`.
    pub(super) fn behind_value(&self, findings: &mut Findings) {
        let signed = usize::from(self.kind(0) == Some(Kind::Arithmetic));
        if !self.is_constant(signed) || (self.is_quoted() && signed > 0) {
            return;
        }
        let at = self.closed(signed + 1);
        let closed = at - signed - 1;
        if self.is_cut_off(at, closed) {
            self.add(&CUT_OFF, at, findings);
        }
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
                        // `size="+"` is an attribute.
                        let assigned =
                            self.text_of(0).ends_with(b"=\"") || self.text_of(0).ends_with(b"='");
                        let taken_up = own <= 3 && self.ends_short_string() && !assigned;
                        let compared = operator == Kind::Compare
                            && closed
                            && self.ends_short_string()
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
                        || glued
                            && self.word(start) == Some(Word::Danger)
                            && self.kind(start + 1) == Some(Kind::Dot)
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
                let quotes = self
                    .text_of(0)
                    .iter()
                    .filter(|byte| matches!(byte, b'\'' | b'"'));
                let first = quotes.count() == 1;
                let short = self.tokens.first().is_some_and(|token| token.end <= 4);
                if first && short && operand.is_some() && at + 2 == self.tokens.len() && rest <= 4 {
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

    /// Whether SQL stands between the end of a string or parenthesis and a comment that ends the value.
    fn is_cut_off(&self, at: usize, closed: usize) -> bool {
        let sql = match self.kind(at) {
            Some(Kind::Word(word)) => word != Word::Plain,
            Some(
                Kind::Arithmetic
                | Kind::DoublePipe
                | Kind::DoubleAmpersand
                | Kind::Compare
                | Kind::Comma
                | Kind::Semicolon,
            ) => true,
            _ => false,
        };
        // Something has to stand between them.
        let between = self.tokens.len() > at + 2;
        let cut_off = if self.is_quoted() {
            self.ends_in_comment(5)
        } else {
            closed > 0 && self.kind(0) != Some(Kind::OpenParen) && self.ends_in_comment(1)
        };
        sql && between && cut_off && self.ends_short_string()
    }

    pub(super) fn keyword_behind(&self, word: Word, at: usize, findings: &mut Findings) {
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
            Word::Operator
                if self.is_quoted()
                    && self.ends_short_string()
                    && self.is_constant(self.operand(at + 1))
                    && self.ends(self.closed(self.operand(at + 1) + 1)) =>
            {
                self.add(&STRING_WORD, at, findings);
            }
            Word::Into if self.is_quoted() && next == Some(Kind::Variable) => {
                self.add(&STRING_WORD, at, findings);
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
            Word::As if self.ends_short_string() && self.is_alias(at) => {
                self.add(&ALIAS, at, findings);
            }
            Word::Procedure if next == Some(Kind::Word(Word::Danger)) => {
                self.add(&ANALYSE, at, findings);
            }
            _ => {}
        }
    }

    /// `as "x" from`
    fn is_alias(&self, at: usize) -> bool {
        match self.kind(at + 1) {
            Some(Kind::Text | Kind::Word(_)) => self.word(at + 2) == Some(Word::From),
            Some(Kind::Open) => self.open_says_from(at + 1),
            _ => false,
        }
    }

    /// Whether a string that does not end has `from` in it: `as" from`.
    pub(super) fn open_says_from(&self, at: usize) -> bool {
        let inner = self.text_of(at).get(1..).unwrap_or_default();
        inner.trim_ascii().starts_with(b"from")
    }

    /// A comment right behind the value that ends a string, or behind a number.
    pub(super) fn comment(&self, at: usize, findings: &mut Findings) {
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
}
