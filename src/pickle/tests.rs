//! Pickles that Python wrote, and damaged and hostile ones.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::{Limits, Pickle, PickleError, Value, numpy, read};

fn plain(bytes: &[u8]) -> Pickle<'_> {
    read(bytes, &Limits::default()).expect("a pickle")
}

fn refused(bytes: &[u8]) -> String {
    let error = read(bytes, &Limits::default()).expect_err("no pickle");
    error.to_string()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hexadecimal(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let pairs = digits.map(|pair| std::str::from_utf8(pair).expect("hexadecimal"));
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal"))
        .collect()
}

fn pairs(entries: Vec<(Value<'_>, Value<'_>)>) -> Json {
    let pair = |(key, value)| json!([described(key), described(value)]);
    entries.into_iter().map(pair).collect()
}

/// A value as `tests/reference/python_pickle.py` describes it.
fn described(value: Value<'_>) -> Json {
    let list = |value: Value<'_>| -> Vec<Json> {
        let items = value.items().expect("a sequence");
        items.map(described).collect()
    };
    if let Some(array) = numpy::array(value).expect("an intact array") {
        let (kind, size) = (array.element.kind.to_string(), array.element.size);
        return json!({"array": [kind, size, array.shape, hexadecimal(&array.data)]});
    }
    if let Some(bytes) = value.bytes() {
        return json!({"bytes": hexadecimal(&bytes)});
    }
    if let Some((class, _)) = value.call()
        && class.module == "__main__"
    {
        return json!({
            "class": format!("{}.{}", class.module, class.name),
            "attributes": pairs(value.attributes()),
            "entries": value.entries().map(pairs),
        });
    }
    if let Some(entries) = value.entries() {
        return json!({"dict": pairs(entries)});
    }
    match &*value.describe() {
        "None" => Json::Null,
        "a boolean" => json!(value.bool()),
        "a number" => json!(value.float()),
        "an integer" => match (value.int(), value.big_int()) {
            (Some(number), _) => json!(number),
            (None, Some(digits)) => json!({"big": decimal(digits)}),
            (None, None) => Json::Null,
        },
        "text" => json!(value.text()),
        "a list" => json!(list(value)),
        "a tuple" => json!({"tuple": list(value)}),
        // Protocols 0 to 3 call the class, in a module of another name in Python 2.
        name if name.ends_with("set") => {
            let mut items = list(value);
            items.sort_by_key(Json::as_i64);
            json!({"set": items})
        }
        other => panic!("{other}"),
    }
}

/// Little-endian two's complement, or decimal digits, as decimal digits.
fn decimal(digits: &[u8]) -> String {
    if digits.iter().all(|d| d.is_ascii_digit() || *d == b'-') {
        return String::from_utf8_lossy(digits).into_owned();
    }
    let negative = digits.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut carry = u16::from(negative);
    let mut magnitude: Vec<u8> = digits.to_vec();
    for byte in magnitude.iter_mut().filter(|_| negative) {
        let flipped = u16::from(!*byte) + carry;
        (*byte, carry) = ((flipped & 0xff) as u8, flipped >> 8);
    }
    let mut out = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0;
        for byte in magnitude.iter_mut().rev() {
            let part = rest * 256 + u32::from(*byte);
            (*byte, rest) = ((part / 10) as u8, part % 10);
        }
        out.push(char::from(b'0' + rest as u8));
    }
    out.extend(negative.then_some('-'));
    out.iter().rev().collect()
}

#[derive(serde::Deserialize)]
struct Case {
    pickles: BTreeMap<u8, String>,
    value: Json,
}

fn cases() -> BTreeMap<String, Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/python_pickle.json");
    let text = std::fs::read(path).expect("the reference");
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn values_are_those_that_python_wrote() {
    let cases = cases();
    assert_eq!(cases.len(), 14);
    for (name, case) in cases {
        assert!(case.pickles.len() >= 4, "{name}");
        for (protocol, pickle) in case.pickles {
            let mut bytes = from_hexadecimal(&pickle);
            let length = bytes.len();
            bytes.extend(b"what follows");
            let pickle = plain(&bytes);
            assert_eq!(pickle.len(), length);
            assert_eq!(
                described(pickle.root()),
                case.value,
                "{name}, protocol {protocol}"
            );
        }
    }
}

#[test]
fn strings_of_python_2_are_text_and_bytes() {
    // SHORT_BINSTRING, BINSTRING, STRING with every escape.
    for pickle in [
        &b"\x80\x02U\x04dataq\x01."[..],
        b"\x80\x02T\x04\x00\x00\x00data.",
        b"S'data'\np0\n.",
        b"S\"d\\x61\\164a\"\n.",
    ] {
        let pickle = plain(pickle);
        assert_eq!(pickle.root().text(), Some("data"));
        assert_eq!(pickle.root().bytes().as_deref(), Some(&b"data"[..]));
    }
    assert!(refused(b"S'\\x0'\n.").contains("no string"));
    let escapes = plain(
        br#"S'\a\b\f\n\r\t\v\\\'\"\x00\0\12\777\q'
."#,
    );
    let expected = b"\x07\x08\x0c\n\r\t\x0b\\'\"\x00\x00\n\xff\\q";
    assert_eq!(escapes.root().bytes().as_deref(), Some(&expected[..]));
    // Bytes that are not UTF-8 are not text.
    assert_eq!(plain(b"U\x02\xff\xfe.").root().text(), None);
}

#[test]
fn globals_and_calls_are_never_executed() {
    let pickle = plain(b"\x80\x02cos\nsystem\nX\x0d\x00\x00\x00touch /tmp/no\x85R.");
    let (function, args) = pickle.root().call().expect("a call");
    assert_eq!((function.module, function.name), ("os", "system"));
    assert_eq!(args[0].text(), Some("touch /tmp/no"));
    assert_eq!(pickle.root().describe(), "an object of os.system");
    // INST and OBJ, as protocols 0 and 1 of Python 2 write instances.
    for pickle in [
        &b"(K\x01imodule\nClass\n(dS'x'\nK\x02sb."[..],
        b"(cmodule\nClass\nK\x01o}U\x01xK\x02sb.",
    ] {
        let pickle = plain(pickle);
        let (class, args) = pickle.root().call().expect("a call");
        assert_eq!((class.module, class.name), ("module", "Class"));
        assert_eq!(args[0].int(), Some(1));
        let x = pickle.root().attribute("x").and_then(Value::int);
        assert_eq!(x, Some(2));
    }
    // Persistent identifiers, as text and as a value.
    assert_eq!(
        plain(b"P12\n.").root().persistent_id().unwrap().text(),
        Some("12")
    );
    let id = plain(b"\x80\x02(K\x01K\x02tQ.");
    let id = id.root().persistent_id().expect("an identifier");
    assert_eq!(id.indices(), Some(vec![1, 2]));
    // The last of equal keys counts.
    let twice = plain(b"}U\x01aK\x01sU\x01aK\x02s.");
    assert_eq!(twice.root().get("a").and_then(Value::int), Some(2));
}

/// Every truncation is an error, and any other damage an error or another value.
#[test]
fn damage_is_survived() {
    for (name, case) in cases() {
        for (protocol, pickle) in case.pickles {
            let whole = from_hexadecimal(&pickle);
            for at in 0..whole.len() {
                let error = read(&whole[..at], &Limits::default()).map(drop);
                assert!(error.is_err(), "{name}, protocol {protocol}, cut at {at}");
            }
            for at in 0..whole.len().min(2000) {
                let mut bytes = whole.clone();
                bytes[at] ^= [0x01, 0x55, 0xff][at % 3];
                if let Err(error) = read(&bytes, &Limits::default()) {
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
            }
        }
    }
}

#[test]
fn damage_is_named() {
    for pickle in [
        &b""[..],
        b"\x80\x02}",
        b"\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00}.",
        b"X\xff\xff\xff\xffab.",
        b"\x8a\xff.",
    ] {
        assert!(refused(pickle).contains("breaks off"));
    }
    assert_eq!(
        refused(b"\x80\x02\xf0."),
        "its pickle has the unknown op-code 0xf0 at byte 2"
    );
    for (pickle, says) in [
        (&b"."[..], "a value is missing"),
        (b"(.", "a value is missing"),
        (b"K\x01(\x85.", "a value is missing"),
        (b"K\x01t.", "a mark is missing"),
        (b"(K\x01d.", "a key has no value"),
        (b"K\x01K\x02a.", "not a list"),
        (b"]K\x02K\x02s.", "not a dictionary"),
        (b"h\x05.", "an unknown value"),
        (b"Itwelve\n.", "no number"),
        (b"S'open\n.", "no string"),
        (b"V\\u12\n.", "no text"),
        (b"\x82\x01.", "extension codes"),
        (b"\x97.", "out-of-band buffers"),
    ] {
        let message = refused(pickle);
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn hostile_pickles_stay_small() {
    // Ten lists, each of ten times the one before: 10^10 values if they were copied.
    let mut laughs = b"]q\x00".to_vec();
    for _ in 0..10 {
        laughs.extend(b"](");
        laughs.extend(b"h\x00".repeat(10));
        laughs.extend(b"eq\x00");
    }
    laughs.push(b'.');
    let pickle = plain(&laughs);
    assert!(pickle.nodes.len() < 20, "{}", pickle.nodes.len());
    // A list and a dictionary within themselves.
    let own = plain(b"]q\x00h\x00a.");
    let inner = own.root().items().and_then(|mut items| items.next());
    assert_eq!(inner.map(Value::id), Some(own.root().id()));
    let own = plain(b"}q\x00U\x01ah\x00s.");
    assert_eq!(own.root().get("a").map(Value::id), Some(own.root().id()));
    // A million nested tuples, and a million calls of calls.
    let nested = [b"\x80\x02)".as_slice(), &vec![0x85; 1_000_000], b"."].concat();
    assert!(plain(&nested).root().is_tuple());
    let calls = [
        b"cbuiltins\nset\nq\x00)".as_slice(),
        &b"h\x00h\x00\x85R".repeat(200_000),
        b".",
    ];
    assert_eq!(plain(&calls.concat()).root().items().unwrap().count(), 0);
    // More values than allowed.
    let limits = Limits { instructions: 1000 };
    let many = [b"(".as_slice(), &[b'N'; 2000], b"t."].concat();
    let error = read(&many, &limits).map(drop);
    assert_eq!(error, Err(PickleError::TooManyValues { limit: 1000 }));
    assert!(read(&many, &Limits::default()).is_ok());
}

#[test]
fn damaged_arrays_are_refused() {
    let array = |shape: &[u8], data: &[u8]| {
        let mut pickle =
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01("
                .to_vec();
        pickle.extend(shape);
        pickle.extend(b"tcnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U");
        pickle.push(data.len() as u8);
        pickle.extend(data);
        pickle.extend(b"tb.");
        numpy::array(plain(&pickle).root()).map(|array| array.is_some())
    };
    assert_eq!(array(b"K\x02", &[0; 8]), Ok(true));
    for (shape, data) in [
        (&b"K\x02"[..], &[0; 7][..]),
        (b"K\x03", &[0; 8]),
        (
            b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7f",
            &[0; 8],
        ),
        (b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7f", &[]),
    ] {
        let error = array(shape, data).expect_err("damaged").to_string();
        assert!(error.contains("does not match its"), "{error}");
    }
    // A negative size is no array.
    assert_eq!(array(b"J\xff\xff\xff\xff", &[0; 8]), Ok(false));
}
