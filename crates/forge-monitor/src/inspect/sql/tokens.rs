//! SQL as a server would read it: literals, words, operators and comments of several dialects.

use super::words::{self, Word};
use crate::inspect::bytes::is_word;

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

/// As many tokens of a value as are looked at.
pub(super) const MAX_TOKENS: usize = 320;

/// In which place of a statement a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// By itself: a number, a column.
    Bare,
    /// In a string with these quotes, which the value may end.
    Quoted(u8),
}

#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) list: Vec<Token>,
    /// Whether there was a comment in the middle, which stands for a space to hide words.
    pub(super) inner_comment: bool,
}

/// Reads `text`, which is in lower case.
pub(super) fn read(text: &[u8], context: Context) -> Tokens {
    let mut reader = Reader {
        text,
        at: 0,
        // A value in backticks is read with backticks as its quotes.
        backtick_quotes: context == Context::Quoted(b'`'),
        inner_comment: false,
    };
    let mut list = Vec::with_capacity(32);
    if let Context::Quoted(quote) = context {
        let end = text.iter().position(|byte| *byte == quote);
        let end = end.map_or(text.len(), |end| end + 1);
        list.push(Token {
            kind: Kind::Text,
            at: 0,
            end,
        });
        reader.at = end;
    }
    while list.len() < MAX_TOKENS
        && let Some(token) = reader.next()
    {
        list.push(token);
    }
    Tokens {
        list,
        inner_comment: reader.inner_comment,
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    backtick_quotes: bool,
    inner_comment: bool,
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
            if !matches!(
                words::look_up(word),
                Word::And | Word::Or | Word::Union | Word::Like | Word::Order | Word::Having
            ) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str, context: Context) -> Vec<Kind> {
        let tokens = read(text.as_bytes(), context);
        tokens.list.iter().map(|token| token.kind).collect()
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
    fn the_number_of_tokens_is_bounded() {
        assert_eq!(kinds(&"(".repeat(10_000), Context::Bare).len(), MAX_TOKENS);
    }
}
