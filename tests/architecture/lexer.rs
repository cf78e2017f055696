//! Rust source as tokens: enough of the language to find paths, items and string literals.

/// A token; comments and white space leave none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or keyword, raw ones without `r#`.
    Ident(String),
    /// The text of a string literal as it is written, without quotes and prefix.
    Text(String),
    /// `::`.
    PathSep,
    /// Any other character.
    Punct(char),
}

/// A token and the line that it begins on, from one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub line: usize,
}

impl Token {
    pub fn is(&self, punct: char) -> bool {
        self.kind == Kind::Punct(punct)
    }

    pub fn ident(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(name) => Some(name),
            _ => None,
        }
    }
}

/// The tokens of `source`.
pub fn lex(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        chars: source.chars().collect(),
        at: 0,
        line: 1,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let line = lexer.line;
        let Some(kind) = lexer.next() else {
            return tokens;
        };
        tokens.extend(kind.map(|kind| Token { kind, line }));
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek(0).filter(|c| keep(*c)) {
            text.push(c);
            self.bump();
        }
        text
    }

    fn skip_blank(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(c), _) if c.is_whitespace() => {
                    self.bump();
                }
                (Some('/'), Some('/')) => {
                    self.take_while(|c| c != '\n');
                }
                (Some('/'), Some('*')) => self.skip_block_comment(),
                _ => return,
            }
        }
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => {
                    self.bump();
                    continue;
                }
            }
            self.bump();
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    /// The next token; the inner value is None for literals without a text (numbers, characters)
    /// and for lifetimes.
    fn next(&mut self) -> Option<Option<Kind>> {
        let c = self.peek(0)?;
        if c.is_alphabetic() || c == '_' {
            return Some(Some(self.word()));
        }
        if c.is_ascii_digit() {
            // `1..2` and `1.max(2)` leave their dots as tokens.
            self.take_while(|c| c.is_alphanumeric() || c == '_');
            return Some(None);
        }
        self.bump();
        Some(match c {
            '"' => Some(self.text()),
            '\'' => {
                self.character_or_lifetime();
                None
            }
            ':' if self.peek(0) == Some(':') => {
                self.bump();
                Some(Kind::PathSep)
            }
            c => Some(Kind::Punct(c)),
        })
    }

    /// An identifier, or a literal with a prefix such as `r#"…"#` or `b'x'`.
    fn word(&mut self) -> Kind {
        let name = self.take_while(|c| c.is_alphanumeric() || c == '_');
        let raw = name.ends_with('r');
        match (name.as_str(), self.peek(0)) {
            ("r" | "br" | "cr" | "b" | "c", Some('"')) if !raw => {
                self.bump();
                self.text()
            }
            ("r" | "br" | "cr", Some('"')) => self.raw_text(0),
            ("r" | "br" | "cr", Some('#')) => {
                let mut hashes = 0;
                while self.peek(hashes) == Some('#') {
                    hashes += 1;
                }
                if self.peek(hashes) == Some('"') {
                    self.at += hashes;
                    return self.raw_text(hashes);
                }
                self.at += hashes;
                Kind::Ident(self.take_while(|c| c.is_alphanumeric() || c == '_'))
            }
            _ => Kind::Ident(name),
        }
    }

    /// What follows an opening quote, up to the closing one.
    fn text(&mut self) -> Kind {
        let mut text = String::new();
        while let Some(c) = self.bump().filter(|c| *c != '"') {
            text.push(c);
            if c == '\\' {
                text.extend(self.bump());
            }
        }
        Kind::Text(text)
    }

    fn raw_text(&mut self, hashes: usize) -> Kind {
        self.bump();
        let mut text = String::new();
        while let Some(c) = self.bump() {
            if c == '"' && (0..hashes).all(|i| self.peek(i) == Some('#')) {
                self.at += hashes;
                break;
            }
            text.push(c);
        }
        Kind::Text(text)
    }

    /// What follows `'`: `a'` and `\n'` are characters, `a` without a quote is a lifetime.
    fn character_or_lifetime(&mut self) {
        if self.peek(0) == Some('\\') {
            self.bump();
            self.bump();
            self.take_while(|c| c != '\'');
            self.bump();
        } else if self.peek(1) == Some('\'') {
            self.bump();
            self.bump();
        } else {
            self.take_while(|c| c.is_alphanumeric() || c == '_');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, lex};

    fn words(source: &str) -> Vec<String> {
        let idents = lex(source)
            .into_iter()
            .filter_map(|token| match token.kind {
                Kind::Ident(name) => Some(name),
                _ => None,
            });
        idents.collect()
    }

    fn texts(source: &str) -> Vec<String> {
        let texts = lex(source)
            .into_iter()
            .filter_map(|token| match token.kind {
                Kind::Text(text) => Some(text),
                _ => None,
            });
        texts.collect()
    }

    #[test]
    fn comments_literals_and_lifetimes_are_no_words() {
        let source =
            "a // crate::x\n/* b /* nested */ c */ d 'e' '\\'' '\\u{41}' &'f g b'h' 1u8 2.5";
        assert_eq!(words(source), ["a", "d", "g", "b"]);
        assert_eq!(words("/// [`crate::x`]\nfn r#type() {}"), ["fn", "type"]);
    }

    #[test]
    fn strings_keep_their_text() {
        let source = r##"x("--lr", b"bytes", r"raw\", r#"a "quoted" word"#, "esc \" aped", c"c")"##;
        let expected = [
            "--lr",
            "bytes",
            r"raw\",
            r#"a "quoted" word"#,
            r#"esc \" aped"#,
            "c",
        ];
        assert_eq!(texts(source), expected);
        assert_eq!(words(source), ["x"]);
    }

    #[test]
    fn tokens_know_their_lines() {
        let lines: Vec<usize> = lex("a\n\"two\nlines\" b\n\nc::d")
            .iter()
            .map(|t| t.line)
            .collect();
        assert_eq!(lines, [1, 2, 3, 5, 5, 5]);
    }
}
