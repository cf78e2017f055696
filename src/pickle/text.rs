//! The escapes of the strings of protocol 0.

/// Decodes the literal of a Python 2 string, with its quotes.
///
/// Returns `None` if the quotes or an escape are not complete.
pub(super) fn unquote(literal: &[u8]) -> Option<Vec<u8>> {
    let literal = literal.trim_ascii_end();
    let (&quote, rest) = literal.split_first()?;
    let (&end, body) = rest.split_last()?;
    if quote != end || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let mut decoded = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            decoded.push(byte);
            continue;
        }
        let (&escape, after) = rest.split_first()?;
        rest = after;
        let byte = match escape {
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'x' => {
                let digits = rest.get(..2)?;
                rest = &rest[2..];
                u8::try_from(hexadecimal(digits)?).ok()?
            }
            b'0'..=b'7' => {
                let mut value = u32::from(escape - b'0');
                for _ in 0..2 {
                    let Some((&digit @ b'0'..=b'7', after)) = rest.split_first() else {
                        break;
                    };
                    value = value * 8 + u32::from(digit - b'0');
                    rest = after;
                }
                // As Python: an octal escape above 255 wraps.
                (value & 0xff) as u8
            }
            b'\\' | b'\'' | b'"' => escape,
            // Unknown escapes keep their backslash.
            _ => {
                decoded.push(b'\\');
                escape
            }
        };
        decoded.push(byte);
    }
    Some(decoded)
}

/// Decodes Python's raw-unicode-escape: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
///
/// Surrogates become the replacement character. Returns `None` if an escape is not complete.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut decoded = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let length = match (byte, rest.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            // Latin-1 is the first 256 code points.
            _ => {
                decoded.push(char::from(byte));
                continue;
            }
        };
        let code = hexadecimal(rest.get(1..=length)?)?;
        decoded.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = &rest[length + 1..];
    }
    Some(decoded)
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let digit = |value: u32, digit: &u8| Some(value * 16 + char::from(*digit).to_digit(16)?);
    digits.iter().try_fold(0, digit)
}
