//! SQL as a server would read it: literals, words, operators and comments of several dialects.

use super::words::{self, Word};
use crate::inspect::bytes::{find, is_word};

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    /// A string with both its quotes.
    Text,
    /// A string that does not end.
    Open,
    /// `@x`, `@@x`
    Variable,
    Word(Word),
    /// `= <> != < > <= >= <=>` and what compares.
    Compare,
    /// `+ - * / % ^ | & ~ <<`
    Arithmetic,
    /// `||`
    DoublePipe,
    /// `&&`
    DoubleAmpersand,
    /// `!`
    Bang,
    OpenParen,
    CloseParen,
    Comma,
    Semicolon,
    Dot,
    /// From here nothing counts.
    Comment,
    /// `:=`
    Assign,
    /// `::`
    Cast,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
    pub(super) end: usize,
}

/// As many tokens are looked at in one portion.
pub(super) const MAX_TOKENS: usize = 320;

/// As many tokens of a portion are looked at again in the next.
const OVERLAP: usize = 64;

/// In which place of a statement a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// By itself: a number, a column.
    Bare,
    /// In a string with these quotes, which the value may end.
    Quoted(u8),
    /// In a string between `$$` and `$$`, as PostgreSQL has it.
    Dollars,
}

/// Reads `text`, which is in lower case, in portions of [`MAX_TOKENS`].
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    backtick_quotes: bool,
    /// Whether there was a comment in the middle, which stands for a space to hide words.
    pub(super) inner_comment: bool,
    /// Whether pluses stand for spaces, as in a value that was encoded twice.
    plus_spaces: bool,
    pub(super) tokens: Vec<Token>,
}

impl<'a> Reader<'a> {
    /// Reads the first portion.
    pub(super) fn new(text: &'a [u8], context: Context) -> Self {
        let mut reader = Self {
            text,
            at: 0,
            // A value in backticks is read with backticks as its quotes.
            backtick_quotes: context == Context::Quoted(b'`'),
            inner_comment: false,
            plus_spaces: text.contains(&b'+') && !text.contains(&b' '),
            tokens: Vec::with_capacity(32),
        };
        let end = match context {
            Context::Bare => None,
            Context::Quoted(quote) => {
                let end = text.iter().position(|byte| *byte == quote);
                Some(end.map_or(text.len(), |end| end + 1))
            }
            Context::Dollars => Some(find(text, b"$$").map_or(text.len(), |end| end + 2)),
        };
        if let Some(end) = end {
            reader.tokens.push(Token {
                kind: Kind::Text,
                at: 0,
                end,
            });
            reader.at = end;
        }
        reader.fill();
        reader
    }

    fn fill(&mut self) {
        while self.tokens.len() < MAX_TOKENS
            && let Some(token) = self.next()
        {
            // What has no length would be read for ever.
            self.at = self.at.max(token.at + 1);
            self.tokens.push(token);
        }
        if self.plus_spaces {
            self.drop_pluses();
        }
    }

    /// Goes on to the next portion, which has the last tokens of this one, so that nothing is cut in
    /// two. Whether there is one.
    pub(super) fn advance(&mut self) -> bool {
        if self.at >= self.text.len() {
            return false;
        }
        let kept = self.tokens.len().saturating_sub(OVERLAP);
        self.tokens.drain(..kept);
        // Nothing that would be the beginning of the value.
        if let Some(first) = self.tokens.first_mut() {
            first.kind = Kind::Other;
        }
        self.fill();
        true
    }

    /// Leaves out pluses beside words of SQL: `1'+or+1=1`.
    fn drop_pluses(&mut self) {
        let spaced = |token: Option<&Token>| {
            token.is_some_and(|token| {
                matches!(
                    token.kind,
                    Kind::Word(
                        Word::And
                            | Word::Or
                            | Word::Not
                            | Word::Union
                            | Word::All
                            | Word::Select
                            | Word::From
                            | Word::Where
                            | Word::Order
                            | Word::Group
                            | Word::By
                            | Word::Having
                            | Word::Like
                            | Word::Limit
                            | Word::Into
                    )
                )
            })
        };
        let text = self.text;
        let pluses: Vec<bool> = (0..self.tokens.len())
            .map(|at| {
                let plus = self
                    .tokens
                    .get(at)
                    .is_some_and(|token| text.get(token.at..token.end) == Some(b"+"));
                let before = at.checked_sub(1).and_then(|at| self.tokens.get(at));
                plus && (spaced(before) || spaced(self.tokens.get(at + 1)))
            })
            .collect();
        let mut pluses = pluses.into_iter();
        self.tokens.retain(|_| !pluses.next().unwrap_or(false));
    }
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<Token> {
        loop {
            let at = self.at;
            let kind = match self.peek(0)? {
                b if b <= b' ' || b == 0x7f => {
                    self.at += 1;
                    continue;
                }
                b'/' if self.peek(1) == Some(b'*') => {
                    if self.block_comment() {
                        continue;
                    }
                    self.at = self.text.len();
                    Kind::Comment
                }
                // The end of a conditional comment, whose content counts.
                b'*' if self.peek(1) == Some(b'/') => {
                    self.at += 2;
                    continue;
                }
                b'-' if self.peek(1) == Some(b'-') => self.line_comment(),
                b'#' => self.line_comment(),
                quote @ (b'\'' | b'"') => self.string(quote),
                b'`' if self.backtick_quotes => self.string(b'`'),
                b'`' => self.identifier(b'`'),
                b'[' => self.identifier(b']'),
                b'0'..=b'9' => self.number(),
                b'.' if self.peek(1).is_some_and(|b| b.is_ascii_digit()) => self.number(),
                b'.' => self.one(Kind::Dot),
                b'@' => {
                    while self
                        .peek(0)
                        .is_some_and(|b| matches!(b, b'@' | b'.' | b'$') || is_word(b))
                    {
                        self.at += 1;
                    }
                    Kind::Variable
                }
                b'(' => self.one(Kind::OpenParen),
                b')' => self.one(Kind::CloseParen),
                b',' => self.one(Kind::Comma),
                b';' => self.one(Kind::Semicolon),
                b'=' | b'<' | b'>' => self.compare(),
                b'!' if self.peek(1) == Some(b'=') => self.compare(),
                b'!' => self.one(Kind::Bang),
                b':' if self.peek(1) == Some(b'=') => {
                    self.at += 2;
                    Kind::Assign
                }
                b':' if self.peek(1) == Some(b':') => {
                    self.at += 2;
                    Kind::Cast
                }
                b'|' if self.peek(1) == Some(b'|') => {
                    self.at += 2;
                    Kind::DoublePipe
                }
                b'&' if self.peek(1) == Some(b'&') => {
                    self.at += 2;
                    Kind::DoubleAmpersand
                }
                b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'|' | b'&' | b'~' => {
                    self.one(Kind::Arithmetic)
                }
                b if is_word(b) || b >= 0x80 || b == b'$' => self.word(),
                _ => self.one(Kind::Other),
            };
            return Some(Token {
                kind,
                at,
                end: self.at,
            });
        }
    }

    fn one(&mut self, kind: Kind) -> Kind {
        self.at += 1;
        kind
    }

    /// Skips a comment; false where it does not end. Only the mark of a conditional one is skipped.
    fn block_comment(&mut self) -> bool {
        self.inner_comment = true;
        self.at += 2;
        if self.peek(0) == Some(b'!') {
            self.at += 1;
            while self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
                self.at += 1;
            }
            return true;
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        match rest.windows(2).position(|pair| pair == b"*/") {
            Some(end) => {
                self.at += end + 2;
                true
            }
            None => false,
        }
    }

    fn line_comment(&mut self) -> Kind {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(rest.len());
        Kind::Comment
    }

    fn string(&mut self, quote: u8) -> Kind {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                _ if byte == quote => {
                    if self.peek(0) == Some(quote) {
                        self.at += 1;
                    } else {
                        return Kind::Text;
                    }
                }
                _ => {}
            }
        }
        self.at = self.text.len();
        Kind::Open
    }

    fn identifier(&mut self, close: u8) -> Kind {
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        match rest.iter().take(128).position(|byte| *byte == close) {
            Some(end) => {
                let inner = rest.get(..end).unwrap_or_default();
                self.at += end + 2;
                // `` `information_schema` `` is as good as without.
                Kind::Word(match words::look_up(inner) {
                    Word::System => Word::System,
                    _ => Word::Plain,
                })
            }
            None => self.one(Kind::Other),
        }
    }

    fn number(&mut self) -> Kind {
        let start = self.at;
        if self.peek(0) == Some(b'0') && matches!(self.peek(1), Some(b'x' | b'b')) {
            self.at += 2;
            while self.peek(0).is_some_and(|b| b.is_ascii_hexdigit()) {
                self.at += 1;
            }
            return Kind::Number;
        }
        while self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.peek(0) == Some(b'.') {
            self.at += 1;
            while self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
                self.at += 1;
            }
        }
        if self.peek(0) == Some(b'e') {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|b| b.is_ascii_digit()) {
                self.at += 1 + sign;
                while self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
                    self.at += 1;
                }
            }
        }
        // `1or`, `1union` are a number and a word; `1st`, `2pac` and `7zip` are words.
        let rest = self.text.get(self.at..).unwrap_or_default();
        let letters = rest.iter().take_while(|byte| is_word(**byte)).count();
        // `10.to_i` is a number and what is called on it.
        if letters > 0 && self.at > start && self.text.get(self.at - 1) == Some(&b'.') {
            self.at -= 1;
            return Kind::Number;
        }
        if letters > 0 {
            let word = rest.get(..letters).unwrap_or_default();
            let logic = logic_and_digits(word).is_some();
            if !logic
                && !matches!(
                    words::look_up(word),
                    Word::And | Word::Or | Word::Union | Word::Like | Word::Order | Word::Having
                )
            {
                // `.5x`
                if self.text.get(start) == Some(&b'.') {
                    self.at = start + 1;
                    return Kind::Dot;
                }
                self.at = start;
                return self.word();
            }
        }
        Kind::Number
    }

    fn compare(&mut self) -> Kind {
        let start = self.at;
        while self
            .peek(0)
            .is_some_and(|b| matches!(b, b'=' | b'<' | b'>' | b'!'))
        {
            self.at += 1;
        }
        // An arrow of another language.
        match self.text.get(start..self.at) {
            Some(b"=>") => Kind::Other,
            _ => Kind::Compare,
        }
    }

    fn word(&mut self) -> Kind {
        let start = self.at;
        while self
            .peek(0)
            .is_some_and(|b| is_word(b) || b >= 0x80 || b == b'$')
        {
            self.at += 1;
        }
        let word = self.text.get(start..self.at).unwrap_or_default();
        // `1or1=1`
        let behind_number = start
            .checked_sub(1)
            .and_then(|at| self.text.get(at))
            .is_some_and(u8::is_ascii_digit);
        if behind_number && let Some(length) = logic_and_digits(word) {
            self.at = start + length;
            return Kind::Word(words::look_up(word.get(..length).unwrap_or_default()));
        }
        // `n'…'`, `x'…'`, `_utf8'…'`: a string with its kind.
        if matches!(
            word,
            b"n" | b"x" | b"b" | b"q" | b"e" | b"_utf8" | b"_latin1" | b"_binary"
        ) && let Some(quote @ (b'\'' | b'"')) = self.peek(0)
            && !self.text.get(..start).unwrap_or_default().contains(&quote)
        {
            return self.string(quote);
        }
        Kind::Word(words::look_up(word))
    }
}

/// The length of `and` or `or` where only digits follow.
fn logic_and_digits(word: &[u8]) -> Option<usize> {
    [&b"or"[..], b"and", b"xor"].iter().find_map(|logic| {
        let digits = word.strip_prefix(*logic)?;
        (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(logic.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str, context: Context) -> Vec<Kind> {
        let reader = Reader::new(text.as_bytes(), context);
        reader.tokens.iter().map(|token| token.kind).collect()
    }

    #[test]
    fn reads_a_value_in_the_string_it_ends() {
        use Kind::{CloseParen, Comment, Number, Text};
        assert_eq!(
            kinds("1') union all select 7,'x'#", Context::Quoted(b'\'')),
            [
                Text,
                CloseParen,
                Kind::Word(Word::Union),
                Kind::Word(Word::All),
                Kind::Word(Word::Select),
                Number,
                Kind::Comma,
                Text,
                Comment
            ]
        );
    }

    #[test]
    fn comments_hide_no_words() {
        let plain = kinds("1 union select 2", Context::Bare);
        for hidden in [
            "1/**/union/*x*/select/**/2",
            "1 /*!50000union*//*!select*/ 2",
            "1\tunion\u{b}select\n2",
            "1union select 2",
        ] {
            assert_eq!(kinds(hidden, Context::Bare), plain, "{hidden}");
        }
    }

    #[test]
    fn reads_numbers_strings_and_variables() {
        use Kind::{Number, Open, Text, Variable};
        assert_eq!(kinds("0x1f 1e5 .5 1.", Context::Bare), [Number; 4]);
        assert_eq!(
            kinds(r"'a\'b' 'it''s' 'open", Context::Bare),
            [Text, Text, Open]
        );
        assert_eq!(kinds("@@version @x", Context::Bare), [Variable; 2]);
        assert_eq!(kinds("7zip", Context::Bare), [Kind::Word(Word::Plain)]);
    }

    #[test]
    fn portions_are_bounded_and_cover_all() {
        let text = "(".repeat(10_000);
        let mut reader = Reader::new(text.as_bytes(), Context::Bare);
        let mut seen = 0;
        let mut portions = 1;
        loop {
            assert!(reader.tokens.len() <= MAX_TOKENS);
            let ends: Vec<_> = reader.tokens.iter().map(|token| token.end).collect();
            // No gap to the portion before.
            assert!(ends[0] <= seen + 1);
            seen = ends[ends.len() - 1];
            if !reader.advance() {
                break;
            }
            portions += 1;
        }
        assert_eq!(seen, text.len());
        assert_eq!(
            portions,
            1 + (10_000 - MAX_TOKENS).div_ceil(MAX_TOKENS - OVERLAP)
        );
    }

    #[test]
    fn pluses_are_spaces_where_words_of_sql_stand_beside_them() {
        use Kind::{Arithmetic, Compare, Number, Text};
        assert_eq!(
            kinds("1'+or+1=1", Context::Quoted(b'\'')),
            [Text, Kind::Word(Word::Or), Number, Compare, Number]
        );
        assert_eq!(kinds("1+1", Context::Bare), [Number, Arithmetic, Number]);
        assert_eq!(
            kinds("1or1=1", Context::Bare),
            [Number, Kind::Word(Word::Or), Number, Compare, Number]
        );
    }
}
