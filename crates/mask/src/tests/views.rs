//! For each view, the output of a script that the masker cannot mask without the view.

use rstest::rstest;

use super::*;

fn each(text: &str, show: impl Fn(u8) -> String) -> String {
    text.bytes().map(show).collect()
}

/// The lines of `od` for words of this size. All lines have the address of the first line.
fn words(text: &str, size: usize, show: impl Fn(u64) -> String) -> String {
    let value = |word: &[u8]| {
        word.iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte))
    };
    let words: Vec<_> = text
        .as_bytes()
        .chunks(size)
        .map(|word| show(value(word)))
        .collect();
    words
        .chunks(16 / size)
        .map(|line| format!("0000000 {}\n", line.join(" ")))
        .collect()
}

fn lines(text: &str, columns: usize, begin: &str) -> String {
    let lines = text.as_bytes().chunks(columns).map(String::from_utf8_lossy);
    lines.map(|line| format!("{begin}{line}\n")).collect()
}

/// The output of Python's `print(base64.urlsafe_b64decode(signature).decode("latin-1"))`.
fn bytes_as_text(token: &str) -> String {
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    bytes.into_iter().map(char::from).collect()
}

/// The output of `cat -v` for the bytes of the signature.
fn carets(token: &str) -> String {
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let shown = bytes.into_iter().map(|byte| {
        let (meta, low) = if byte < 0x80 {
            ("", byte)
        } else {
            ("M-", byte & 0x7f)
        };
        match low {
            b'\n' | b'\t' if meta.is_empty() => char::from(low).to_string(),
            b' '..=b'~' => format!("{meta}{}", char::from(low)),
            _ => format!("{meta}^{}", char::from(low ^ 0x40)),
        }
    });
    shown.collect()
}

/// The bytes of the signature.
fn signature(token: &str) -> Vec<u8> {
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    URL_SAFE_NO_PAD.decode(signature).expect("base64")
}

/// The bytes of the signature, a few in each string of a list, as Python prints them.
fn strings(token: &str) -> String {
    let show = |bytes: &[u8]| {
        let shown = bytes.iter().map(|byte| format!("\\x{byte:02x}"));
        shown.collect::<String>()
    };
    let signature = signature(token);
    let strings: Vec<_> = signature
        .chunks(4)
        .map(|bytes| format!("b'{}'", show(bytes)))
        .collect();
    format!("[{}]", strings.join(", "))
}

/// The base64 of a few bytes of the signature, in each string of a list.
fn padded(token: &str) -> String {
    let signature = signature(token);
    let pieces: Vec<_> = signature.chunks(4).map(|bytes| STANDARD.encode(bytes)).collect();
    format!("{pieces:?}")
}

/// Pieces of the signature, each right before a word of another program.
fn scattered(token: &str) -> String {
    let words = ["To", "ok", "Up", "in"].into_iter().cycle();
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let pieces = signature.as_bytes().chunks(7).map(String::from_utf8_lossy);
    words
        .zip(pieces)
        .map(|(word, piece)| format!("{piece}{word}\n"))
        .collect()
}

/// Words and characters in turn. No label comes before two characters in a row.
fn characters_in_prose(token: &str) -> String {
    let words = ["Some", "Any", "The"].into_iter().cycle();
    words
        .zip(token.chars())
        .map(|(word, char)| format!("{word} <{char}>, "))
        .collect()
}

/// The output of `od -An -c` for the bytes of the signature.
fn characters_and_numbers(token: &str) -> String {
    let shown = signature(token).into_iter().map(|byte| match byte {
        b' '..=b'~' => format!("   {}", char::from(byte)),
        b'\n' => "  \\n".into(),
        _ => format!(" {byte:03o}"),
    });
    shown.collect()
}

/// The bytes of the signature as Lua prints them with `%q`.
fn decimal_escapes(token: &str) -> String {
    let shown = signature(token).into_iter().map(|byte| match byte {
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\{byte:03}"),
    });
    shown.collect()
}

/// The output of `xxd -b`.
fn binary_dump(text: &str) -> String {
    let line = |(at, line): (usize, &[u8])| {
        let bits: Vec<_> = line.iter().map(|byte| format!("{byte:08b}")).collect();
        format!(
            "{:08x}: {:<53}  {}\n",
            6 * at,
            bits.join(" "),
            String::from_utf8_lossy(line)
        )
    };
    text.as_bytes().chunks(6).enumerate().map(line).collect()
}

/// Each view finds a secret that no other view finds.
#[rstest]
#[case(View::Joined, &|t: &str| lines(t, 16, "> "))]
#[case(View::Base64, &|t: &str| STANDARD.encode(t))]
#[case(View::Second, &|t: &str| STANDARD.encode(STANDARD.encode(format!("token: {t}"))))]
#[case(View::Hexadecimal, &|t: &str| each(t, |byte| format!("{byte:02X}:")))]
#[case(View::Hexadecimal, &|t: &str| each(t, |byte| format!("0x{byte:02x}, ")))]
#[case(View::LittleEndian, &|t: &str| words(t, 4, |word| format!("{word:08x}")))]
#[case(View::Decimal, &|t: &str| each(t, |byte| format!("{byte}, ")))]
#[case(View::DecimalWords, &|t: &str| words(t, 2, |word| format!("{word:5}")))]
#[case(View::Octal, &|t: &str| each(t, |byte| format!("{byte:03o} ")))]
#[case(View::OctalWords, &|t: &str| words(t, 2, |word| format!("{word:06o}")))]
#[case(View::Binary, &|t: &str| each(t, |byte| format!("{byte:08b} ")))]
#[case(View::Bits, &|t: &str| each(t, |byte| format!("{:04b} {:04b} ", byte >> 4, byte & 15)))]
#[case(View::Characters, &|t: &str| characters_in_prose(t))]
#[case(View::Literals, &|t: &str| characters_and_numbers(t))]
#[case(View::DecimalEscapes, &|t: &str| decimal_escapes(t))]
#[case(View::Latin, &|t: &str| bytes_as_text(t))]
#[case(View::Carets, &|t: &str| carets(t))]
#[case(View::Column, &|t: &str| binary_dump(t))]
#[case(View::Table, &|t: &str| each(t, |byte| format!("{byte} 0x{byte:02x} {:o}\n", byte)))]
#[case(View::Cells, &|t: &str| lines(&STANDARD.encode(t), 10, "a b: "))]
#[case(View::Scattered, &|t: &str| scattered(t))]
#[case(View::Strings, &|t: &str| strings(t))]
#[case(View::Padded, &|t: &str| padded(t))]
#[case(View::Diff, &|t: &str| lines(t, 2, "+"))]
#[case(View::Escapes, &|t: &str| lines(&t.replace('.', "%2E"), 16, "").replace('\n', "&shy;"))]
#[case(View::Printed, &|t: &str| lines(t, 6, "^[[32m").replace('\n', "^[[0m"))]
#[case(View::Terminal, &|t: &str| lines(t, 7, "\u{1b}]0;title-of-this-terminal\u{7}").replace('\n', ""))]
#[case(View::Chain, &|t: &str| lines(t, 20, "12:"))]
fn each_view_is_needed(#[case] view: View, #[case] show: &dyn Fn(&str) -> String) {
    let token = long_jwt(1_790_000_000);
    let log = format!("* {} *", show(&token));
    let shown = |view: Option<View>| {
        OFF.set(view);
        let out = masked(&Masker::new([token.as_str()]), [log.as_bytes()]);
        OFF.set(None);
        String::from_utf8_lossy(&out).replace(MARK, "").len()
    };
    let (all, without) = (shown(None), shown(Some(view)));
    assert!(
        2 * all < log.len(),
        "the output shows {all} bytes of {}",
        log.len()
    );
    assert!(
        without > all + 150,
        "without {view:?}, the output shows {without} bytes in place of {all}"
    );
}

/// The bytes of a key that is no JWT, as Windows stores them in GUIDs: `new Guid(bytes)`. In each GUID, other
/// views find only parts of eight bytes.
#[test]
fn guids_of_a_key_are_masked() {
    let key: Vec<_> = (0..32_u8).map(|at| at.wrapping_mul(89) ^ 0xa5).collect();
    let guids = key.as_chunks::<16>().0.iter().map(|bytes| {
        let hex = |order: &[usize]| {
            order
                .iter()
                .map(|at| format!("{:02x}", bytes[*at]))
                .collect::<String>()
        };
        let groups: [&[usize]; 5] = [
            &[3, 2, 1, 0],
            &[5, 4],
            &[7, 6],
            &[8, 9],
            &[10, 11, 12, 13, 14, 15],
        ];
        groups.map(hex).join("-")
    });
    let log = format!("id {}\n", guids.collect::<Vec<_>>().join("\nid "));
    let masker = Masker::new([STANDARD.encode(&key).as_str()]);
    let shown = |view: Option<View>| {
        OFF.set(view);
        let out = masked(&masker, [log.as_bytes()]);
        OFF.set(None);
        String::from_utf8_lossy(&out).into_owned()
    };
    assert_eq!(shown(None), format!("id {MARK}\nid {MARK}\n"));
    assert_eq!(shown(Some(View::Guids)), log);
}
