//! Conditions and queries: what follows `and`, `or`, `union` and `select`.

use super::rules::{
    ASSIGN, CAST, CONDITION, CONDITION_IN_STRING, CONSTANT_COMPARISON, FUNCTIONS, ORDER, PREDICATE,
    SELECT_FROM, SELECT_FROM_WORDS, STATEMENT_WORDS, STRING_WORD, SUBSELECT, TAUTOLOGY, TYPES,
    UNION, UNION_PROSE,
};
use super::statement::Statement;
use super::tokens::{Context, Kind};
use super::words::Word;
use crate::inspect::rule::Findings;

impl Statement<'_> {
    /// What stands behind `and`, `or`, `where`, `having`, `like` and their kind.
    pub(super) fn condition(&self, at: usize, findings: &mut Findings) {
        let logic = !matches!(
            self.word(at),
            Some(Word::Where | Word::When | Word::Having | Word::Like)
        );
        let start = self.operand(at + 1);
        let like = self.word(at) == Some(Word::Like);
        if !like && self.constants(start) {
            let equal_sides = self.kind(start) != Some(Kind::Open);
            // `when 'x' is "y"`: people say `is` too.
            let said = self.word(at) == Some(Word::When)
                && self.constant(start).and_then(|is| self.word(is)) == Some(Word::Is);
            if at > 0 && equal_sides && !said {
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
            self.leading_condition(start, findings);
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
        let closes = self.kind(at - 1) == Some(Kind::CloseParen);
        let cut_off = match (ends_string, closes) {
            (true, _) => self.ends_short_string() && self.ends_in_comment(5),
            (_, true) => self.ends_in_comment(5),
            _ => self.ends_in_comment(1),
        };
        if logic && behind_value && cut_off {
            self.add(&CONDITION_IN_STRING, at, findings);
            return;
        }
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
                let length = self.text_of(start).len();
                let glued = self.ends_short_string() && (!self.is_prose(at) || length <= 3);
                if self.compares(start + 1) || (glued && self.ends(self.closed(start + 1))) {
                    self.add(&CONDITION_IN_STRING, at, findings);
                }
            }
            Some(Kind::Word(_))
                if ends_string
                    && paren(start + 1, Kind::OpenParen)
                    && self.goes_on(self.behind_parens(start + 1)) =>
            {
                self.add(&CONDITION_IN_STRING, at, findings);
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
                    } else if self.is_predicate(behind) {
                        self.add(&PREDICATE, at, findings);
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether a comparison or a further condition stands there.
    fn goes_on(&self, at: usize) -> bool {
        self.compares(at) || matches!(self.word(at), Some(Word::And | Word::Or))
    }

    /// `like '%x%'`, `is not null`, `in (1`
    fn is_predicate(&self, at: usize) -> bool {
        match self.word(at) {
            Some(Word::Like) => {
                matches!(self.kind(at + 1), Some(Kind::Text | Kind::Open))
                    && self.text_of(at + 1).contains(&b'%')
            }
            Some(Word::Is) => {
                let not = usize::from(self.word(at + 1) == Some(Word::Not));
                self.text_of(at + 1 + not) == b"null"
            }
            Some(Word::In) => {
                self.kind(at + 1) == Some(Kind::OpenParen) && self.is_constant(at + 2)
            }
            _ => false,
        }
    }

    /// `or 1=1`, `and x=x-- `: a condition with which the value begins, to be appended to another
    /// value.
    fn leading_condition(&self, start: usize, findings: &mut Findings) {
        let appends = matches!(
            self.kind(0),
            Some(Kind::Word(Word::And | Word::Or | Word::Having))
                | Some(Kind::DoublePipe | Kind::DoubleAmpersand)
        );
        if !appends || self.is_quoted() {
            return;
        }
        let cut_off = self.ends_in_comment(1);
        let sure = if self.constants(start) {
            let right = self.constant(start).map_or(start, |behind| behind + 1);
            let behind = self
                .constant(right)
                .unwrap_or_else(|| self.operand(right) + 1);
            let further = matches!(self.word(behind), Some(Word::And | Word::Or));
            self.ends(behind) || further
        } else if let Some(Kind::Word(Word::Plain)) = self.kind(start) {
            self.kind(start + 1) == Some(Kind::Compare)
                && self.ends(start + 3)
                && (cut_off || self.text_of(start) == self.text_of(start + 2))
        } else {
            let empty = self.kind(start) == Some(Kind::Text) && self.text_of(start).len() == 2;
            let goes_on = matches!(
                self.kind(start + 1),
                Some(Kind::Arithmetic | Kind::Text | Kind::Open)
            );
            let calls = matches!(self.kind(start), Some(Kind::Word(_)))
                && self.kind(start + 1) == Some(Kind::OpenParen);
            let alone = self.is_constant(start) && self.ends(self.closed(start + 1));
            cut_off && (alone || calls) || empty && goes_on
        };
        if sure {
            self.add(&TAUTOLOGY, 0, findings);
        }
    }

    /// `order by 5-- `: what would follow another value, and nothing else.
    pub(super) fn leading_order(&self, findings: &mut Findings) {
        let mut at = 2;
        while self.kind(at) == Some(Kind::Number) && self.kind(at + 1) == Some(Kind::Comma) {
            at += 2;
        }
        let by = self.word(1) == Some(Word::By);
        if by && !self.is_quoted() && self.kind(at) == Some(Kind::Number) && self.ends(at + 1) {
            self.add(&ORDER, 0, findings);
        }
    }

    /// Whether the string that is ended before `at` and the one behind could be words in quotes:
    /// `"this" or "that"`.
    pub(super) fn is_prose(&self, at: usize) -> bool {
        let ended = self.tokens.first().map_or(0, |token| token.end);
        let single = self.context == Context::Quoted(b'\'');
        !single && ended > 1 && self.tokens.get(at).is_some_and(|token| token.at > ended)
    }

    pub(super) fn union(&self, at: usize, findings: &mut Findings) {
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

    pub(super) fn select(&self, at: usize, findings: &mut Findings) {
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
        // `(select top 1`: the rest may stand elsewhere.
        if in_parens && first.is_none() && list > at + 2 {
            self.add(&SUBSELECT, at, findings);
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
                    && (self.text_of(list).starts_with(b"@@") || list + 1 < self.tokens.len())
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
    pub(super) fn numbered_words(&self, list: usize) -> bool {
        self.kind(list) == Some(Kind::Number)
            && matches!(self.kind(list + 1), Some(Kind::Word(Word::Plain)))
            && matches!(self.kind(list + 2), Some(Kind::Word(_)) | None)
    }

    /// `password::int`, `f(x)::text`
    pub(super) fn cast(&self, at: usize, findings: &mut Findings) {
        let typed = TYPES.contains(&self.text_of(at + 1));
        let whole = at == 1 && self.tokens.len() == 3;
        let called = at > 0 && self.kind(at - 1) == Some(Kind::CloseParen);
        if typed && (whole && self.word(0).is_some() || called) {
            self.add(&CAST, at, findings);
        }
    }
}
