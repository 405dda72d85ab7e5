//! The output of careless scripts.

use rstest::rstest;

use super::*;
use crate::{ANYWHERE, Encoding, Form, forms};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The output of `xxd` or `hexdump -C`, with groups of this size.
fn dump(text: &str, group: usize) -> String {
    let line = |(at, line): (usize, &[u8])| {
        let groups: Vec<_> = line.chunks(group).map(hex).collect();
        let plain = String::from_utf8_lossy(line);
        if group == 1 {
            let (left, right) = groups.split_at(groups.len().min(8));
            format!(
                "{:08x}  {:<23}  {:<23}  |{plain}|\n",
                16 * at,
                left.join(" "),
                right.join(" ")
            )
        } else {
            format!("{:08x}: {:<39}  {plain}\n", 16 * at, groups.join(" "))
        }
    };
    text.as_bytes().chunks(16).enumerate().map(line).collect()
}

/// A dump of 8 bytes a line.
fn bytewise(text: &str, line: impl Fn(usize, &str, &str) -> String) -> String {
    let lines = text.as_bytes().chunks(8).enumerate().map(|(at, bytes)| {
        let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        line(8 * at, &hex.join(" "), &String::from_utf8_lossy(bytes))
    });
    lines.collect()
}

/// The words of at least 8 bytes in the output that are also in the secret part of a form.
fn leaks(out: &str, token: &str) -> Vec<String> {
    let words = out.split(|c: char| c.is_whitespace() || "\"'|,()[]:".contains(c));
    words
        .filter(|word| word.len() >= 8)
        .filter(|word| {
            let in_secret = |form: &Form| form.text[form.public..].contains(word);
            forms(token).iter().any(in_secret)
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_form_is_masked_as_one() {
    for secret in [
        RFC,
        &long_jwt(1_790_000_000),
        "hunter2!",
        r#"<p"a's&s>/w\rd$ +#`"#,
        // The escapes view changes these secrets.
        r#"AA"A!a<a%00&aa0>0AaA!aa!a!000aa'"#,
        r#"0"0aAaa!AaAA#<A>aA%agAaa"^!!`0!A"#,
        "A0a!aa!0aA'0aa%a0!<0^!!aaa!a0!0!aaaa",
    ] {
        let masker = Masker::new([secret]);
        // Other tokens of the same account have most of the same claims, and nobody can use claims without
        // their signature. So a line of base64 with claims alone is not masked in the middle of other text.
        let signature = secret.rfind('.').map_or(0, |dot| dot + 1);
        let is_claims = |form: &Form| {
            let read = STANDARD.decode(form.expose()).ok();
            let read = read.and_then(|read| String::from_utf8(read).ok());
            let at = read.and_then(|read| Some(secret.find(&read)? + read.len()));
            form.encoding == Encoding::Base64Line && at.is_some_and(|end| end < signature + ANYWHERE)
        };
        for form in forms(secret).into_iter().filter(|form| !is_claims(form)) {
            let out = text(&masker, &format!("* {}! *", form.expose()));
            // The first and the last characters of base64 can belong to bytes around the secret.
            let shown = out.strip_prefix("* ").and_then(|out| out.strip_suffix("! *"));
            let (before, after) = shown
                .and_then(|shown| shown.split_once(MARK))
                .unwrap_or(("", &out));
            let most = if form.encoding == Encoding::Base64 { 2 } else { 0 };
            assert!(before.len().max(after.len()) <= most, "{form:?}: {out}");
        }
    }
}

#[test]
fn forms_of_a_token() {
    let token = long_jwt(1_790_000_000);
    let (header, rest) = token.split_once('.').expect("a JWT");
    let forms = forms(&token);
    assert!(forms.iter().all(|form| form.text.len() - form.public >= 16));
    assert!(!forms.iter().any(|form| header.contains(form.expose())));
    let texts = |encoding| -> Vec<&str> {
        forms
            .iter()
            .filter(|form| form.encoding == encoding)
            .map(|form| form.expose())
            .collect()
    };
    assert_eq!(texts(Encoding::Raw), [token.as_str()]);
    assert_eq!(
        [texts(Encoding::Claims), texts(Encoding::Signature)]
            .concat()
            .join("."),
        rest
    );
    for echoed in [token.clone(), format!("{token}\n")] {
        assert!(texts(Encoding::Base64).contains(&STANDARD.encode(&echoed).as_str()));
    }
    // The secret has no character that needs quotes.
    for encoding in [Encoding::Percent, Encoding::Json, Encoding::Xml, Encoding::Shell] {
        assert!(texts(encoding).is_empty());
    }
}

#[test]
fn short_and_common_text_has_no_form() {
    assert!(forms("1234567").is_empty() && forms(" \n").is_empty());
    let parts = |secret: &str| {
        forms(secret)
            .iter()
            .filter(|form| matches!(form.encoding, Encoding::Claims | Encoding::Signature))
            .count()
    };
    assert_eq!(parts("eyJhbGciOiJub25lIn0.e30.short"), 0);
    assert_eq!(parts("eyJhbGciOiJub25lIn0.e30.signature-signature"), 1);
}

#[test]
fn other_text_passes() {
    let token = long_jwt(1_790_000_000);
    let masker = Masker::new([token.as_str()]);
    let (header, _) = token.split_once('.').expect("a JWT");
    let another = long_jwt(1_790_000_001);
    for untouched in [
        header,
        &format!("{header}.\n{header}"),
        &another,
        &format!("Authorization: Bearer {RFC}"),
        "",
        "\u{1b}[31mred\u{1b}[0m\u{1b}[",
    ] {
        assert_eq!(text(&masker, untouched), untouched);
    }
}

/// Another token of the same ServiceAccount, issued in the same second.
#[rstest]
#[case::plain(|other: &str| format!("token: {other}\n"))]
#[case::in_base64(|other: &str| STANDARD.encode(format!("token: {other}\n")))]
#[case::in_hexadecimal_digits(|other: &str| hex(other.as_bytes()))]
fn another_token_with_the_same_claims_passes(#[case] show: fn(&str) -> String) {
    let token = long_jwt(1_790_000_000);
    let (claims, _) = token.rsplit_once('.').expect("a JWT");
    let (_, signature) = RFC.rsplit_once('.').expect("a JWT");
    let shown = show(&format!("{claims}.{signature}"));
    assert_eq!(text(&Masker::new([token.as_str()]), &shown), shown);
    // The claims can be a secret of their own.
    let (_, only_claims) = claims.split_once('.').expect("a JWT");
    assert!(text(&Masker::new([token.as_str(), only_claims]), &shown).contains(MARK));
    // Without the other signature, these could be the claims of the token.
    assert!(text(&Masker::new([token.as_str()]), &show(&format!("{claims}.\n"))).contains(MARK));
}

/// The claims of the token itself, with other text in the place of its signature.
#[rstest]
#[case::an_ellipsis(|claims: &str| format!("{}...truncated-for-display-in-this-log-because-it-is-long\n", &claims[..400]))]
#[case::a_word(|claims: &str| format!("{claims}.SIGNATURE_REMOVED\n"))]
#[case::folded(|claims: &str| lines(claims, 4, "\n") + "\nDone.Installing-all-packages-of-this-project-and-its-tools-now\n")]
fn claims_without_their_signature_are_masked(#[case] show: fn(&str) -> String) {
    let token = long_jwt(1_790_000_000);
    let (claims, _) = token.rsplit_once('.').expect("a JWT");
    let out = text(&Masker::new([token.as_str()]), &show(claims));
    assert!(out.replace(MARK, "").len() < 400, "{out}");
}

/// The equals signs could be the padding of the secret's base64.
#[rstest]
fn a_line_of_equals_signs_after_base64_passes(#[values(30, 31, 32)] length: usize) {
    let secret = &RFC[..length];
    let unpadded = STANDARD.encode(secret).trim_end_matches('=').to_owned();
    let out = text(
        &Masker::new([secret]),
        &format!("{unpadded}\n\n=== next ===\n=\n"),
    );
    assert_eq!(out, format!("{MARK}\n\n=== next ===\n=\n"));
}

/// The file of a key has zeros and names, also in its base64.
#[test]
fn zeros_and_words_of_a_key_pass() {
    let key = b"openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none\0\0\0\0\0\0\0\x01\0\0\0\x33\0\0\0\x0bssh-ed25519\0\0\0\x20";
    let masker = Masker::new([
        STANDARD.encode(key).as_str(),
        "ThisIsMyVeryLongProductionPassword2024",
    ]);
    for log in [
        "offsets 0000000000000001\n",
        "uid 00000000-0000-0000-0000-000000000001\n",
        "[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]\n",
        "cat /VeryLongProd/file AAAAAAAAAAAAAAAAAAAA\n",
    ] {
        assert_eq!(text(&masker, log), log);
    }
}

#[test]
fn bytes_that_are_not_text_pass() {
    let masker = Masker::new([RFC]);
    let noise: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let sent = [&noise, RFC.as_bytes(), &noise].concat();
    let expected = [&noise, MARK.as_bytes(), &noise].concat();
    assert_eq!(masked(&masker, [sent.as_slice()]), expected);
}

#[rstest]
#[case("echo $TOKEN | base64", &|t: &str| lines(&STANDARD.encode(format!("{t}\n")), 76, "\n"))]
#[case("base64 <kubeconfig", &|t: &str| lines(&STANDARD.encode(format!("user:\n  token: {t}\n  x: y\n")), 76, "\n"))]
#[case("the same on Windows", &|t: &str| lines(&STANDARD.encode(format!("user:\n  token: {t}\n  x: y\n")), 76, "\r\n"))]
#[case("openssl base64, indented", &|t: &str| lines(&STANDARD.encode(t), 64, "\n        "))]
#[case("fold -w 40", &|t: &str| lines(t, 40, "\n"))]
#[case("xxd -p", &|t: &str| lines(&dump(t, 1).split_whitespace().filter(|w| w.len() == 2).collect::<String>(), 60, "\n"))]
#[case("xxd", &|t: &str| dump(t, 2))]
#[case("xxd, after something else", &|t: &str| dump(&format!("Bearer {t}\n"), 2))]
#[case("hexdump -C", &|t: &str| dump(t, 1))]
#[case("xxd -g 1 -c 8, behind a prefix", &|t: &str| bytewise(t, |at, hex, text| format!("I1126 20:53:46.1 main.go:12] {at:08x}: {hex}  {text}\n")))]
#[case("od -w8 -t x1", &|t: &str| bytewise(t, |at, hex, _| format!("{at:07o} {hex}\n")))]
#[case("xxd -p | base64 -w 40", &|t: &str| lines(&STANDARD.encode(lines(&hex(t.as_bytes()), 60, "\n")), 40, "\n"))]
#[case("xxd -p of UTF-16 of xxd -p", &|t: &str| {
    let utf_16 = hex(t.as_bytes()).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    lines(&hex(&utf_16), 60, "\n")
})]
#[case("python -c 'print(parts)'", &|t: &str| format!("['{}', '{}']\n", &t[..150], &t[150..]))]
#[case("two halves, coloured", &|t: &str| format!("\u{1b}[1m{}\u{1b}[0m{}\n", &t[..300], &t[300..]))]
#[case("cut -c1-200", &|t: &str| format!("token: {}...\n", &t[..200]))]
#[case("lolcat", &|t: &str| t.chars().map(|c| format!("\u{1b}[38;5;{}m{c}\u{1b}[39m", u32::from(c))).collect())]
fn secrets_in_pieces(#[case] script: &str, #[case] print: &dyn Fn(&str) -> String) {
    let token = long_jwt(1_790_000_000);
    let out = text(&Masker::new([token.as_str()]), &print(&token));
    assert!(out.contains(MARK), "{script}: {out}");
    let visible: String = out
        .split("\u{1b}[")
        .map(|part| part.split_once('m').map_or(part, |(_, rest)| rest))
        .collect();
    assert!(
        leaks(&visible, &token).is_empty(),
        "{script}: {:?}\n{out}",
        leaks(&visible, &token)
    );
}

/// A tool prints few bytes in each line, and a logger puts a prefix before each line.
#[rstest]
#[case("hexadecimal", &hex)]
#[case("groups", &|bytes: &[u8]| bytes.chunks(2).map(hex).collect::<Vec<_>>().join(" "))]
#[case("C", &|bytes: &[u8]| bytes.iter().map(|byte| format!("0x{byte:02x}, ")).collect())]
#[case("decimal", &|bytes: &[u8]| bytes.iter().map(|byte| format!("{byte}, ")).collect())]
#[case("octal", &|bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:03o} ")).collect())]
fn short_lines_of_numbers_are_masked(
    #[case] script: &str,
    #[case] show: &dyn Fn(&[u8]) -> String,
    #[values(8, 10, 13)] count: usize,
    #[values("app-1  | ", "2026-11-24T10:00:12.123Z ")] prefix: &str,
) {
    let token = long_jwt(1_790_000_000);
    let bytes = token.as_bytes().chunks_exact(count);
    let printed: String = bytes.map(|bytes| format!("{prefix}{}\n", show(bytes))).collect();
    let out = text(&Masker::new([token.as_str()]), &printed);
    // The claims have some words twice. A short line of such words is too little for a piece.
    let claims = token.rfind('.').expect("a JWT").div_ceil(count);
    let shown = out.lines().skip(claims).filter(|line| !line.contains(MARK));
    assert_eq!(shown.collect::<Vec<_>>(), [""; 0], "{script}");
}

/// The last number looks like the address of a dump.
#[test]
fn a_list_before_an_address_is_masked() {
    let token = long_jwt(1_790_000_000);
    let list: Vec<_> = token.bytes().map(|byte| byte.to_string()).collect();
    let out = text(
        &Masker::new([&*token]),
        &format!("{} 12345678: done\n", list.join(", ")),
    );
    assert_eq!(out, format!("{MARK} 12345678: done\n"));
}

/// The list is shorter than the text that the next part of a log would share with it.
#[test]
fn a_short_list_passes() {
    let list = "g(101) g(121) g(122) g(121) g(101) g(109) g(1";
    assert_eq!(text(&Masker::new(["hunter2!"]), list), list);
}

/// Four or eight bytes of a secret are common words, also in hexadecimal digits.
#[rstest]
#[case(
    "correct-horse-battery-staple",
    "a direct way\n// Copyright 2015 The etcd Authors\n"
)]
#[case("password1234", "the fields `password`, `auth`")]
fn common_words_in_hexadecimal_digits_are_left(#[case] secret: &str, #[case] words: &str) {
    let digits: String = words.bytes().map(|byte| format!("{byte:02x}")).collect();
    let lines = lines(&digits, 60, "\n");
    assert_eq!(text(&Masker::new([secret]), &lines), lines);
}

/// A terminal shows the last digits and the `2` after the control sequence as one word.
#[test]
fn numbers_before_a_control_sequence_are_masked() {
    let masker = Masker::new(["hunter2!"]);
    let bits: Vec<_> = b"hunter2!".iter().map(|byte| format!("{byte:08b}")).collect();
    let out = text(&masker, &format!("{}\u{1b}[0m2 files", bits.join(" ")));
    assert_eq!(out, format!("{MARK}\u{1b}[0m2 files"));
}

/// Numbers of a table, whatever is between its columns: `column -t`, `pr -8`, `printf '%6s'`, a debugger. Each
/// row has eight of them, some an address or a frame, too.
#[rstest]
fn numbers_in_columns_are_masked(
    #[values(" ", "  ", "   ", "      ", "\t", "\t  ", ", ", ",  ", " | ", " - ")] between: &str,
    #[values(
        |byte| format!("0x{byte:02x}"),
        |byte| format!("{byte:#x}"),
        |byte| format!("${byte:02x}"),
        |byte| format!("<{byte:02x}>"),
        |byte| format!("'{byte:02x}'"),
        |byte| format!("\\x{byte:02x}"),
        |byte| format!("%{byte:02X}"),
        |byte| format!("U+{byte:04X}"),
        |byte| format!("0b{byte:08b}"),
        |byte| format!("{byte:04}"),
        |byte| format!("{byte:010}"),
        |byte| format!("{byte:05o}"),
        |byte| format!("{byte:05x}"),
        |byte| format!("{byte:04x}"),
        |byte| format!("0x{byte:08x}"),
        |byte| format!("{byte}.0"),
        |byte| format!("{byte}u8"),
        |byte| format!("{byte:<5}"),
        |byte| format!("{byte:^7}"),
    )]
    show: fn(u8) -> String,
    #[values(("", ""), ("{at:06x}: ", ""), ("  \"row\": \"", "\","), ("\u{2502} ", " \u{2502}"))] around: (
        &str,
        &str,
    ),
) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("it has three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("it is base64");
    for bytes in [token.as_bytes(), &signature] {
        let rows = bytes.chunks(8).enumerate().map(|(at, row)| {
            let row: Vec<_> = row.iter().map(|byte| show(*byte)).collect();
            let before = around.0.replace("{at:06x}", &format!("{:06x}", 8 * at));
            format!("{before}{}{}\n", row.join(between), around.1)
        });
        let out = text(&Masker::new([&*token]), &rows.collect::<String>());
        // The header and the first claims stay.
        let left = bytes[bytes.len() - 200..].windows(3).filter(|three| {
            let three: Vec<_> = three.iter().map(|byte| show(*byte)).collect();
            out.contains(&three.join(between))
        });
        assert_eq!(left.count(), 0, "{out}");
    }
}

/// The offset of each row is no byte, and a negative byte at the beginning of a row is no offset.
#[rstest]
#[case("{at:04x}: ", |byte| format!("{byte:02x}"))]
#[case("+{at:04x}: ", |byte| format!("{byte:02x}"))]
#[case("[{at:04x}] ", |byte| format!("{byte:02x}"))]
#[case("({at:04x}) ", |byte| format!("{byte:02x}"))]
#[case("ffffffff81{at:06x}  ", |byte| format!("{byte:02x}"))]
#[case("", |byte| format!("{:02X}", byte as i8 as i32))]
#[case("", |byte| format!("{:02x}", byte as i8 as i16))]
fn offsets_of_rows_are_no_bytes(#[case] offset: &str, #[case] show: fn(u8) -> String) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("it has three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("it is base64");
    let rows = signature.chunks(8).enumerate().map(|(row, bytes)| {
        let bytes: Vec<_> = bytes.iter().map(|byte| show(*byte)).collect();
        let offset = offset.replace("{at:04x}", &format!("{:04x}", 8 * row));
        let offset = offset.replace("{at:06x}", &format!("{:06x}", 8 * row));
        format!("{offset}{}\n", bytes.join(" "))
    });
    let out = text(&Masker::new([&*token]), &rows.collect::<String>());
    // The first two bytes stay, and the last byte may.
    let shown = signature[2..]
        .windows(2)
        .filter(|pair| out.contains(&format!("{} {}", show(pair[0]), show(pair[1]))));
    assert!(shown.count() <= 1, "{out}");
}

/// The highest byte of each integer is zero.
#[test]
fn integers_of_three_bytes_are_masked() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("it has three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("it is base64");
    let integers = signature
        .as_chunks()
        .0
        .iter()
        .map(|[high, middle, low]| u32::from_be_bytes([0, *high, *middle, *low]).to_string());
    let list = integers.collect::<Vec<_>>().join(", ");
    let out = text(&Masker::new([&*token]), &format!("[{list}]\n"));
    assert!(out.len() < 100, "{out}");
}

/// A program prints a negative byte as an integer with more bytes.
#[rstest]
fn negative_bytes_in_larger_integers_are_masked(
    #[values(
        |byte| format!("{:x}", byte as i8 as i16),
        |byte| format!("{:x}", byte as i8 as i64),
        |byte| (byte as i8 as u32).to_string(),
        |byte| (byte as i8 as u64).to_string(),
    )]
    show: fn(u8) -> String,
    #[values(" ", "\n", ", ")] between: &str,
) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("it has three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("it is base64");
    let list: Vec<_> = signature.iter().map(|byte| show(*byte)).collect();
    let out = text(&Masker::new([&*token]), &format!("sum: {}\n", list.join(between)));
    let shown = out
        .replace(MARK, "")
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .count();
    let longest = list.iter().map(String::len).max().unwrap_or_default();
    // The first two bytes stay.
    assert!(shown <= 2 * longest, "{out}");
}

/// A byte as a signed number.
fn signed(byte: u8, show: impl Fn(u8) -> String) -> String {
    let byte = byte.cast_signed();
    let minus = if byte < 0 { "-" } else { "" };
    minus.to_owned() + &show(byte.unsigned_abs())
}

/// The bits of a byte in groups of this size.
fn bits(byte: u8, size: usize, between: &str) -> String {
    let bits: Vec<_> = format!("{byte:08b}").chars().collect();
    let groups: Vec<String> = bits.chunks(size).map(|group| group.iter().collect()).collect();
    groups.join(between)
}

/// The output of C, gdb and `od` for the decoded signature, or for the token.
#[rstest]
#[case::with_a_sign(" ", |byte, _| format!("{:x}", byte as i8 as i32))]
#[case::with_a_sign_of_64_bits(", ", |byte, _| format!("0x{:x}", byte as i8 as i64))]
#[case::with_a_sign_and_without_separators("", |byte, _| format!("{:02x}", byte as i8 as i32))]
#[case::casts(", ", |byte, _| format!("(byte)0x{byte:02x}"))]
#[case::indexes(", ", |byte, at| format!("[{at:#x}] = {byte:#04x}"))]
#[case::negative(", ", |byte, _| signed(byte, |byte| format!("{byte:#x}")))]
#[case::negative_without_a_prefix(" ", |byte, _| signed(byte, |byte| format!("{byte:x}")))]
#[case::negative_without_separators("", |byte, _| signed(byte, |byte| format!("{byte:#04x}")))]
#[case::negative_octal(", ", |byte, _| signed(byte, |byte| format!("{byte:#o}")))]
#[case::negative_binary(", ", |byte, _| signed(byte, |byte| format!("{byte:#b}")))]
#[case::without_separators("", |byte, _| format!("{byte:#x}"))]
#[case::binary(" ", |byte, _| format!("{byte:#b}"))]
#[case::binary_with_a_suffix(" ", |byte, _| format!("{byte:08b}b"))]
#[case::assembler(", ", |byte, _| format!("{}{byte:02X}h", if byte < 0xa0 { "" } else { "0" }))]
#[case::assembler_with_a_zero(" ", |byte, _| format!("0{byte:02X}h"))]
#[case::basic(", ", |byte, _| format!("&H{byte:02X}"))]
#[case::with_the_base(",", |byte, _| format!("16#{byte:X}#"))]
#[case::with_the_length(", ", |byte, _| format!("8'h{byte:02x}"))]
#[case::floating_point(", ", |byte, _| format!("{byte}.0"))]
#[case::bits_of_an_image(" ", |byte, _| bits(byte, 1, " "))]
#[case::a_list_of_bits(", ", |byte, _| bits(byte, 1, ", "))]
#[case::bits_in_two_groups(" ", |byte, _| bits(byte, 4, " "))]
#[case::bits_in_two_groups_with_a_prefix(" ", |byte, _| format!("0b{}", bits(byte, 4, "_")))]
#[case::bits_in_lines("\n", |byte, _| bits(byte, 1, " "))]
#[case::a_row_of_a_table(" | ", |byte, _| format!("{byte}"))]
#[case::a_row_with_even_columns(" | ", |byte, _| format!("{byte:3}"))]
#[case::a_row_of_hexadecimal_numbers(" | ", |byte, _| format!("{byte:02x}"))]
#[case::steps(" > ", |byte, _| format!("{byte}"))]
fn numbers_of_a_signature_are_masked(#[case] between: &str, #[case] number: fn(u8, usize) -> String) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let numbers: Vec<_> = bytes
        .iter()
        .enumerate()
        .map(|(at, byte)| number(*byte, at))
        .collect();
    let out = text(
        &Masker::new([&*token]),
        &format!("{{{}}}\n", numbers.join(between)),
    );
    // The masker leaves the first two bytes: other bytes of a log can equal them by chance.
    assert!(out.len() < 80, "{out}");
}

#[rstest]
#[case::octal(" ", |word| format!("{word:022o}"))]
#[case::with_a_prefix(" ", |word| format!("{word:#018x}"))]
#[case::in_upper_case(" ", |word| format!("0X{word:016X}"))]
fn words_of_64_bits_are_masked(#[case] between: &str, #[case] number: fn(u64) -> String) {
    let token = long_jwt(1_790_000_000);
    let words = token
        .as_bytes()
        .as_chunks()
        .0
        .iter()
        .map(|word| number(u64::from_le_bytes(*word)));
    let words: Vec<_> = words.collect();
    let lines = words.chunks(2).map(|line| format!("{}\n", line.join(between)));
    let out = text(&Masker::new([&*token]), &lines.collect::<String>());
    let shown = out
        .replace(MARK, "")
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .count();
    assert!(shown < 80, "{out}");
}

/// One word of 32 bits in each line, behind its address or as an operand.
#[rstest]
#[case::hexdump(|at, word| format!("{at:08x} {word:08x}\n"))]
#[case::a_list(|at, word| format!("0x{:08x}, 0x{word:08x}\n", 0x40_1000 + at))]
#[case::assembler(|at, word| format!("mov dword ptr [esp+{at:X}h], 0{word:08X}h\n"))]
fn words_behind_addresses_are_masked(#[case] line: fn(usize, u32) -> String) {
    let token = long_jwt(1_790_000_000);
    let words = token.as_bytes().as_chunks().0.iter().enumerate();
    let lines: String = words
        .map(|(at, word)| line(4 * at, u32::from_le_bytes(*word)))
        .collect();
    let out = text(&Masker::new([&*token]), &lines);
    assert!(out.len() < lines.len() / 2, "{out}");
}

/// Pieces of a few characters down the columns, as `column` prints them, and with a number in each row. The
/// first look does not know such words.
#[rstest]
#[case::down_the_columns(6, 18, |at, rows| (at % 10) * rows + at / 10, |_| String::new())]
#[case::down_few_rows(11, 10, |at, rows| (at % 10) * rows + at / 10, |_| String::new())]
#[case::behind_a_number(3, 4, |at, _| at, |row| format!("{row:>6}  "))]
fn short_words_of_a_table_are_masked(
    #[case] length: usize,
    #[case] rows: usize,
    #[case] place: fn(usize, usize) -> usize,
    #[case] number: fn(usize) -> String,
) {
    let token = long_jwt(1_790_000_000);
    let words: Vec<_> = token
        .as_bytes()
        .chunks(length)
        .map(String::from_utf8_lossy)
        .collect();
    let columns = if rows > 4 { 10 } else { 3 };
    let rows = if rows > 4 {
        rows
    } else {
        words.len().div_ceil(columns)
    };
    let log: String = (0..rows)
        .map(|row| {
            let cells = (0..columns).filter_map(|column| words.get(place(row * columns + column, rows)));
            let cells: Vec<_> = cells.map(|word| format!("{word:<8} ")).collect();
            format!("{}{}\n", number(row), cells.concat().trim_end())
        })
        .collect();
    let out = masked(&Masker::new([&*token]), [log.as_bytes()]);
    let out = String::from_utf8_lossy(&out);
    let shown = out
        .replace(MARK, "")
        .bytes()
        .filter(u8::is_ascii_uppercase)
        .count();
    assert!(shown < 60, "{out}");
}

/// Addresses of IPv4 in each line, one of which is always the same.
#[rstest]
#[case(|at, address: &str| format!("peer {at} {address} up\n"))]
#[case(|_, address: &str| format!("route add {address} via 10.0.0.1 dev eth0\n"))]
fn bytes_as_addresses_are_masked(#[case] line: fn(usize, &str) -> String) {
    let token = long_jwt(1_790_000_000);
    let words = token.as_bytes().chunks_exact(4).enumerate();
    let log: String = words
        .map(|(at, bytes)| line(at, &bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(".")))
        .collect();
    let out = text(&Masker::new([&*token]), &log);
    assert!(out.matches(MARK).count() > 200, "{out}");
}

/// A logger writes two lines for each few bytes. The first look does not know such records.
#[test]
fn bytes_in_every_second_line_are_masked() {
    let token = long_jwt(1_790_000_000);
    let lines = token.as_bytes().chunks(4).enumerate().map(|(at, part)| {
        let (minute, second) = (10 + at / 60, at % 60);
        format!("Nov 28, 2026 10:{minute}:{second:02} AM M main\nINFO: read {part:?}\n")
    });
    let log: String = lines.collect();
    let out = masked(&Masker::new([&*token]), [log.as_bytes()]);
    let out = String::from_utf8_lossy(&out);
    assert!(out.matches(MARK).count() > 200, "{out}");
}

/// A label that touches each piece. The first look does not know such labels.
#[test]
fn pieces_behind_a_label_of_letters_are_masked() {
    let token = long_jwt(1_790_000_000);
    let names = lines(&token, 7, " ... ok\n").replace('\n', "\nRunning test piece_");
    let out = masked(&Masker::new([&*token]), [names.as_bytes()]);
    let out = String::from_utf8_lossy(&out);
    assert!(out.matches(MARK).count() > 40, "{out}");
}

#[test]
fn pieces_between_the_tabs_of_cat_are_masked() {
    let token = long_jwt(1_790_000_000);
    let lines = token.as_bytes().chunks(24).map(|line| {
        let cells = line
            .chunks(6)
            .map(|cell| format!("{}^I", String::from_utf8_lossy(cell)));
        cells.collect::<String>() + "$\n"
    });
    let out = text(&Masker::new([&*token]), &lines.collect::<String>());
    assert!(out.replace(MARK, "").len() < 200, "{out}");
}

/// A few characters behind the same label: streams of events, arrays, trees, parts of a document.
#[rstest]
#[case("data: {\"choices\":[{\"delta\":{\"content\":\"PIECE\"},\"index\":0}]}\n\n")]
#[case("\t.ascii\t\"PIECE\"\n")]
#[case("[INDEX]=\"PIECE\" ")]
#[case("INDEX\tPIECE\t3\tok\n")]
#[case("2026-11-27T10:00:00.INDEXZ DEBUG chunk INDEX: PIECE (4 bytes)\n")]
#[case("  {\n    \"offset\": INDEX,\n    \"string\": \"PIECE\"\n  },\n")]
#[case("<span class=\"w\" data-i=\"INDEX\">PIECE</span>")]
#[case("PIECE\\discretionary{}{}{}")]
#[case("PIECE{-}")]
#[case("PIECE]]><![CDATA[")]
#[case("(PIECE)-12.5")]
#[case("+ for c in $chunks\n+ echo PIECE\n")]
fn short_pieces_behind_a_label_are_masked(#[case] row: &str, #[values(3, 4, 7, 8, 11)] columns: usize) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let pieces: Vec<_> = signature
        .as_bytes()
        .chunks(columns)
        .map(String::from_utf8_lossy)
        .collect();
    let print = |(at, piece): (usize, &str)| row.replace("INDEX", &at.to_string()).replace("PIECE", piece);
    let log: String = pieces
        .iter()
        .map(|piece| &**piece)
        .enumerate()
        .map(print)
        .collect();
    let labels: String = pieces.iter().map(|_| "").enumerate().map(print).collect();
    let out = text(
        &Masker::new([token.as_str()]),
        &format!("first line\n{log}last line\n"),
    );
    // The first and the last pieces may have other text beside them.
    let shown = out.replace(MARK, "").len().saturating_sub(labels.len() + 21);
    assert!(shown <= 3 * columns, "{shown} bytes: {out}");
}

/// A debugger, a test framework or a logger shows each piece in several lines, or in a name with a number. The
/// first look does not know such lines.
#[rstest]
fn pieces_in_several_lines_or_names_are_masked(
    #[values(
        "DEBUG: l=INDEX (c=PIECE)\nDEBUG: for c in chunks (c=PIECE)\n",
        "line  8 locals={'n': INDEX, 'c': 'PIECE'}\nline 10 locals={'n': INDEX, 'c': 'PIECE', 'ok': True}\n",
        "=== RUN   TestToken/part_INDEX_PIECE\n",
        "pod/probe-INDEX-PIECE   1/1   Running   0   5s\n",
        "[INDEX/342] CC chars/PIECE.o\n",
        "-rw-r--r-- 1 root root 0 Nov 28 13:04 INDEX_PIECE.txt\n",
        "\"PUT /v1/parts/INDEX-PIECE HTTP/1.1\" 201 0\n",
        "shard-2-of-9-part-INDEX-PIECE.log\n"
    )]
    row: &str,
    #[values(1, 6)] columns: usize,
) {
    let token = long_jwt(1_790_000_000);
    let pieces = signature_in_base64(&token).as_bytes().chunks(columns);
    let rows = pieces.enumerate().map(|(at, piece)| {
        let row = row.replace("INDEX", &at.to_string());
        row.replace("PIECE", &String::from_utf8_lossy(piece))
    });
    let log: String = rows.collect();
    let out = masked(&Masker::new([&*token]), [log.as_bytes()]);
    let shown = String::from_utf8_lossy(&out);
    let expected = log.lines().count() * 9 / 10;
    assert!(shown.matches(MARK).count() > expected, "{shown}");
}

fn signature_in_base64(token: &str) -> &str {
    token.rsplit('.').next().expect("three parts")
}

/// Like the test before, for bytes of the signature.
#[rstest]
fn bytes_in_several_lines_or_names_are_masked(
    #[values(
        "byte BYTE\n2026-11-28 10:32:36,907 INFO byte BYTE\n",
        "E   assert BYTE < 0\n/tmp/test_a.py:5: assert BYTE < 0\n",
        "binding parameter [1] as [INTEGER] - [BYTE]\nbinding parameter [2] as [BIGINT] - [INDEX]\n",
        "test_a.py::test_ascii[BYTE_2] PASSED       [ 50%]\n",
        "> BINARY 00 BYTE [2 bytes]\n< BINARY 01 BYTE [2 bytes]\n"
    )]
    row: &str,
) {
    let token = long_jwt(1_790_000_000);
    let bytes = URL_SAFE_NO_PAD
        .decode(signature_in_base64(&token))
        .expect("base64");
    let rows = bytes.iter().enumerate().map(|(at, byte)| {
        let row = row.replace("INDEX", &at.to_string());
        row.replace("BYTE", &byte.to_string())
    });
    // Another line like them is before the first one.
    let first = row.lines().next().expect("a line").replace("BYTE", "7");
    let log = format!("{first}\n{}", rows.collect::<String>());
    let out = masked(&Masker::new([&*token]), [log.as_bytes()]);
    let shown = String::from_utf8_lossy(&out);
    let expected = bytes.len() * row.matches("BYTE").count() * 9 / 10;
    assert!(shown.matches(MARK).count() > expected, "{shown}");
}

/// The parser shows the first character of each piece before the piece, and then where it was called.
#[test]
fn pieces_behind_their_first_characters_are_masked() {
    let token = long_jwt(1_790_000_000);
    let errors = lines(signature_in_base64(&token), 6, "\n")
        .lines()
        .map(|piece| {
            let place = "    at runScript (node:internal/process/execution:101:62)\n".repeat(6);
            format!(
                "SyntaxError: Unexpected token '{}', \"{piece}\" is not valid JSON\n{place}",
                &piece[..1]
            )
        })
        .collect::<String>();
    let out = masked(&Masker::new([&*token]), [errors.as_bytes()]);
    let shown = String::from_utf8_lossy(&out);
    assert!(shown.matches(MARK).count() > 50, "{shown}");
}

/// Lengths and tags are between short pieces: MessagePack, data for Java, chunks of HTTP.
#[rstest]
#[case::message_pack(|piece: &[u8]| [&[0xa0 | piece.len() as u8], piece].concat())]
#[case::java(|piece: &[u8]| [&[0, piece.len() as u8], piece].concat())]
#[case::chunks_of_http(|piece: &[u8]| [format!("{}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())]
fn short_pieces_between_tags_are_masked(#[case] record: fn(&[u8]) -> Vec<u8>) {
    let token = long_jwt(1_790_000_000);
    let records = signature_in_base64(&token).as_bytes().chunks(6).flat_map(record);
    let log = format!("* {} *\n", hex(&records.collect::<Vec<_>>()));
    let out = masked(&Masker::new([&*token]), [log.as_bytes()]);
    let shown = String::from_utf8_lossy(&out).replace(MARK, "").len();
    assert!(shown < log.len() / 2, "{shown} of {}", log.len());
}

/// A test suite prints 300 KiB at once, with a character in each of its long records.
#[test]
fn characters_in_the_records_of_a_long_output_are_masked() {
    let token = long_jwt(1_790_000_000);
    let record = |character| {
        let stack = "        at org.example.TokenTest.isBlank(TokenTest.java:42)\n".repeat(15);
        format!("expected: <true> but was: <false> for '{character}'\n{stack}\n")
    };
    let log: String = signature_in_base64(&token).chars().map(record).collect();
    assert!(log.len() > 300 << 10);
    let out = masked(&Masker::new([&*token]), [log.as_bytes()]);
    let shown = String::from_utf8_lossy(&out);
    let count = shown
        .matches(&format!("was: <false> for {MARK}\n{}", " ".repeat(8)))
        .count();
    assert!(count > 300, "{count}");
}

/// The output of `sort`, `tac`, parallel jobs, and tables with several columns.
#[rstest]
#[case(8)]
#[case(12)]
#[case(23)]
fn pieces_of_a_signature_in_any_order_are_masked(#[case] columns: usize) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let pieces: Vec<_> = signature
        .as_bytes()
        .chunks_exact(columns)
        .map(String::from_utf8_lossy)
        .collect();
    let log: String = pieces
        .iter()
        .rev()
        .map(|piece| format!("task {} of 30: {piece};\n", piece.len()))
        .collect();
    let out = text(&Masker::new([token.as_str()]), &log);
    assert_eq!(
        out,
        format!("task {columns} of 30: {MARK};\n").repeat(pieces.len())
    );
}

/// A token that is not a JWT is often short, so its pieces are short.
#[rstest]
#[case("k7x2p9.q4m8w1z6t3v5b0nj", 1, " ")]
#[case("k7x2p9.q4m8w1z6t3v5b0nj", 1, "][")]
#[case("k7x2p9.q4m8w1z6t3v5b0nj", 1, "', '")]
#[case("12S2oy+7Ca3q4QnEqZcgOXU1K4eLFFyKQtiEz0z9py0=", 11, "    ")]
fn a_short_token_in_pieces_is_masked(#[case] token: &str, #[case] columns: usize, #[case] between: &str) {
    let pieces: Vec<_> = token
        .as_bytes()
        .chunks(columns)
        .map(String::from_utf8_lossy)
        .collect();
    let log = format!("[{}]\n", pieces.join(between));
    let out = text(&Masker::new([token]), &log);
    assert!(out.replace(MARK, "").len() <= 4, "{out}");
}

/// Quotes, escapes and padding in any order, which no list of strings has.
#[test]
fn quotes_and_padding_in_any_order_pass() {
    let masker = Masker::new([long_jwt(1_790_000_000).as_str()]);
    for seed in 0..200 {
        let mut random = generated::Random::new(seed);
        let characters = b"\"'==\\x0aAzQ1, [\n\xc3\xb8:";
        let log: Vec<_> = (0..500)
            .map(|_| characters[random.below(characters.len())])
            .collect();
        assert_eq!(masked(&masker, [log.as_slice()]), log, "{seed}");
    }
}

/// A shell that gets the token as an option complains of each character.
#[rstest]
fn each_character_as_an_option_is_masked(
    #[values(
        "Illegal option -CHAR\n",
        "sh: 1: Illegal option -CHAR\n",
        "Unknown option: -CHAR, ignored\n"
    )]
    line: &str,
) {
    let token = long_jwt(1_790_000_000);
    let lines: String = token
        .chars()
        .map(|char| line.replace("CHAR", &char.to_string()))
        .collect();
    let out = text(&Masker::new([token.as_str()]), &lines);
    assert!(out.matches(MARK).count() > token.len() - 4, "{out}");
}

/// A second program shows the colours of the first one as text, or encodes them.
#[rstest]
fn pieces_between_printed_colours_are_masked(
    #[values(
        "\\u001b", "\\x1b", "\\033", "\\e", "^[", "#033", "%1B", "=1B", "&#27;", "\u{241b}", "\u{2190}", ""
    )]
    escape: &str,
    #[values(("[32m", "[0m"), ("[01;31m", "[m"), ("[38;5;9m", "[K"))] colours: (&str, &str),
    #[values(1, 4, 6)] columns: usize,
) {
    let token = long_jwt(1_790_000_000);
    let (begin, end) = (format!("{escape}{}", colours.0), format!("{escape}{}", colours.1));
    let coloured = |text: &str| -> String {
        let pieces = text.as_bytes().chunks(columns).map(String::from_utf8_lossy);
        pieces.map(|piece| format!("{begin}{piece}{end}")).collect()
    };
    let out = text(&Masker::new([token.as_str()]), &format!("{}\n", coloured(&token)));
    assert!(out.len() < 120, "{out}");
    let other = format!(
        "{{\"log\":\"{}\"}}\n",
        coloured("Compiling the package, which has no secret in it")
    );
    assert_eq!(text(&Masker::new([token.as_str()]), &other), other);
}

/// `man` prints bold and underlined text with backspaces, and `cat -v` and others show these.
#[rstest]
#[case(|shown: &str| shown.replace('\x08', "^H"))]
#[case(|shown: &str| shown.replace('\x08', "\\b"))]
#[case(|shown: &str| shown.replace('\x08', "\\u0008"))]
#[case(|shown: &str| STANDARD.encode(shown))]
fn printed_overstrikes_are_masked(#[case] show: fn(&str) -> String, #[values(true, false)] is_bold: bool) {
    let token = long_jwt(1_790_000_000);
    let struck = |char: char| format!("{}\x08{char}", if is_bold { char } else { '_' });
    let struck: String = token.chars().map(struck).collect();
    let out = text(&Masker::new([token.as_str()]), &format!("{}\n", show(&struck)));
    assert!(out.len() < 60, "{out}");
}

/// The sign at the beginning of each line is also a character of tokens and of numbers.
#[rstest]
#[case(1, |piece: &str| piece.into())]
#[case(2, |piece: &str| piece.into())]
#[case(4, |piece: &str| piece.into())]
#[case(1, |piece: &str| piece.as_bytes()[0].to_string())]
#[case(1, |piece: &str| format!("{:03o}", piece.as_bytes()[0]))]
#[case(1, |piece: &str| format!("{:08b}", piece.as_bytes()[0]))]
fn the_lines_of_a_diff_are_masked(
    #[case] columns: usize,
    #[case] show: fn(&str) -> String,
    #[values("-", "+", "- ", "E     -   ")] sign: &str,
) {
    let token = long_jwt(1_790_000_000);
    let pieces = token.as_bytes().chunks(columns).map(String::from_utf8_lossy);
    let lines: String = pieces.map(|piece| format!("{sign}{}\n", show(&piece))).collect();
    let log = format!("@@ -1,{} +0,0 @@\n{lines}", token.len());
    let shown = text(&Masker::new([token.as_str()]), &log).replace(MARK, "");
    assert!(shown.len() <= 40 + token.len() * (sign.len() + 1), "{shown}");
    assert!(!shown.contains(&lines[lines.len() / 2..][..40]), "{shown}");
}

/// A lenient decoder reads the whole token as one base64 text, so the bits of the signature can begin
/// anywhere in a byte. Some decoders also leave out `-` and `_`.
#[rstest]
fn a_whole_token_in_a_lenient_decoder_is_masked(
    #[values("", "T", "To", "Bearer")] before: &str,
    #[values("", "-_")] skipped: &str,
    #[values(1_790_000_000, 1_790_000_001)] issued: u64,
) {
    let token = long_jwt(issued);
    let signature = token.rfind('.').expect("a JWT");
    let of_base64 = |text: &str| -> String { text.replace(|c| c == '.' || skipped.contains(c), "") };
    let digits = of_base64(&format!("{before}{token}"));
    let bytes = URL_SAFE_NO_PAD
        .decode(&digits[..digits.len() / 4 * 4])
        .expect("base64");
    let first = of_base64(&format!("{before}{}", &token[..signature])).len() * 3 / 4;
    let bytes = &bytes[first + 1..];
    let masker = Masker::new([token.as_str()]);
    let hex = format!("{}\n", hex(bytes));
    let list = format!("{bytes:?}\n");
    let escapes = format!("b\"{}\"\n", bytes.escape_ascii());
    for log in [bytes, hex.as_bytes(), list.as_bytes(), escapes.as_bytes()] {
        let out = masked(&masker, [log]);
        assert!(out.len() < 60, "{}", String::from_utf8_lossy(&out));
    }
}

/// A table with one byte in each row: its character and its number in some bases.
#[rstest]
#[case("INDEX CHAR 0xHEX\n")]
#[case("HEX | CHAR\n")]
#[case("DECIMAL HEX OCTAL BINARY\n")]
#[case("0bBINARY 0oOCTAL\n")]
#[case("buf[INDEX]=0xHEX 'CHAR'\n")]
#[case("2026-11-27 03:24:10,716 debug: byte INDEX = DECIMAL\n")]
#[case("('CHAR', DECIMAL), ")]
#[case("{'i': INDEX, 'code': DECIMAL}, ")]
#[case("<c v=\"#xHEX\"/>")]
#[case("     Constant(value=DECIMAL),\n")]
#[case("    Byte {\n        at: INDEX,\n        value: DECIMAL,\n    },\n")]
#[case("  <byte>\n    <index>INDEX</index>\n    <value>DECIMAL</value>\n  </byte>\n")]
#[case("-[ RECORD INDEX ]\ni    | INDEX\nc    | CHAR\ncode | DECIMAL\n")]
#[case(" (main.B) {\n  At: (int) INDEX,\n  V: (uint8) DECIMAL\n },\n")]
#[case(" [INDEX]: DECIMAL (ACTUAL), 7 (DESIRED)\n")]
#[case(" (INDEX,) 7 (ACTUAL), 0xHEX (DESIRED)\n")]
#[case("- [INDEX]: DECIMAL\n+ [INDEX]: 9\n")]
#[case("-   DECIMAL,\n+   7INDEX,\n")]
#[case("E     -   (INDEX, DECIMAL),\nE     +   (INDEX, 9),\n")]
fn a_table_of_bytes_is_masked(#[case] row: &str) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let masker = Masker::new([token.as_str()]);
    let print = |text: &str, has_bytes: bool| -> String {
        let rows = text.bytes().enumerate().map(|(at, byte)| {
            let cells = [
                ("INDEX", at.to_string()),
                ("CHAR", char::from(byte).to_string()),
                ("HEX", format!("{byte:02x}")),
                ("DECIMAL", byte.to_string()),
                ("OCTAL", format!("{byte:o}")),
                ("BINARY", format!("{byte:b}")),
            ];
            cells.iter().fold(row.to_owned(), |row, (name, cell)| {
                row.replace(name, if has_bytes || *name == "INDEX" { cell } else { "" })
            })
        });
        rows.collect()
    };
    let out = text(&masker, &print(signature, true));
    // The indexes and labels, and a few rows at both ends.
    let most = print(signature, false).len() + print(&signature[..6], true).len();
    let shown = out.replace(MARK, "").len();
    assert!(
        shown <= most,
        "the output shows {shown} bytes, more than {most}: {out}"
    );
    let other = print(&signature.chars().rev().collect::<String>(), true);
    assert_eq!(text(&masker, &other), other);
}

/// The bytes of a signature as signed numbers, one in each row.
#[rstest]
#[case("buf[INDEX] = NUMBER\n")]
#[case("byte INDEX: HEX\n")]
#[case("Ch[i=INDEX, v=NUMBER], ")]
fn a_table_of_signed_bytes_is_masked(#[case] row: &str) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let rows = bytes.iter().enumerate().map(|(at, byte)| {
        row.replace("INDEX", &at.to_string())
            .replace("NUMBER", &byte.cast_signed().to_string())
            .replace("HEX", &signed(*byte, |byte| format!("{byte:#04x}")))
    });
    let out = text(&Masker::new([token.as_str()]), &rows.collect::<String>());
    let shown = out.replace(MARK, "").matches(['x', '-']).count();
    assert!(shown <= 4, "{shown} of {} numbers: {out}", bytes.len());
}

/// A table with a few bytes in each row.
#[rstest]
#[case("neigh INDEX lladdr HEX REACHABLE\n", 6, ":")]
#[case("[ INDEX.20] rx data=HEX ok\n", 4, "")]
#[case("12:00:31.INDEX rx DECIMAL\n", 4, "  ")]
#[case("INDEX DECIMAL\n", 6, " ")]
#[case("row INDEX: OCTAL ok\n", 7, " ")]
#[case("reg[INDEX] = 0xHEX\n", 2, "")]
#[case("INDEX-CHAR\n", 1, "")]
#[case("dbg: HEX\n", 4, "-")]
#[case("{\n  at: INDEX,\n  bytes: 'HEX'\n}\n", 5, "-")]
fn a_table_of_a_few_bytes_is_masked(#[case] row: &str, #[case] columns: usize, #[case] separator: &str) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let print = |signature: &str| -> String {
        let rows = signature.as_bytes().chunks_exact(columns).enumerate();
        let rows = rows.map(|(at, bytes)| {
            let list = |show: fn(&u8) -> String| bytes.iter().map(show).collect::<Vec<_>>().join(separator);
            row.replace("INDEX", &(100 + at).to_string())
                .replace("CHAR", &list(|byte| char::from(*byte).to_string()))
                .replace("HEX", &list(|byte| format!("{byte:02x}")))
                .replace("DECIMAL", &list(u8::to_string))
                .replace("OCTAL", &list(|byte| format!("{byte:03o}")))
        });
        rows.collect()
    };
    let out = text(&Masker::new([token.as_str()]), &print(signature));
    let rows = signature.len() / columns;
    let masked = out.lines().filter(|line| line.contains(MARK)).count();
    // If the rows have only numbers, one mark can cover all of them.
    let is_whole =
        out.trim_start_matches(|byte| char::is_ascii_digit(&byte) || byte == ' ') == format!("{MARK}\n");
    assert!(is_whole || masked + 3 >= rows, "{masked} of {rows} rows: {out}");
    let other = print(&signature.chars().rev().collect::<String>());
    assert_eq!(text(&Masker::new([token.as_str()]), &other), other);
}

/// The bytes of a signature as C, Ruby, `sed l` and Python escape them.
#[rstest]
#[case("p signature", &|byte| match byte {
    7 => "\\a".into(),
    8 => "\\b".into(),
    9 => "\\t".into(),
    10 => "\\n".into(),
    11 => "\\v".into(),
    12 => "\\f".into(),
    13 => "\\r".into(),
    b'\\' => "\\\\".into(),
    0x1b => "\\e".into(),
    b' '..=b'~' => char::from(byte).to_string(),
    _ => format!("\\x{byte:02X}"),
})]
#[case("json.dumps(signature.decode('ascii', 'surrogateescape'))", &|byte| match byte {
    b'"' | b'\\' => format!("\\{}", char::from(byte)),
    b' '..=b'~' => char::from(byte).to_string(),
    0x80.. => format!("\\udc{byte:02x}"),
    _ => format!("\\u{byte:04x}"),
})]
fn the_escaped_bytes_of_a_signature_are_masked(#[case] script: &str, #[case] escape: &dyn Fn(u8) -> String) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let log: String = bytes.iter().map(|byte| escape(*byte)).collect();
    let out = text(&Masker::new([token.as_str()]), &log);
    // The masker leaves the first two bytes: other bytes of a log can equal them by chance.
    assert!(out.replace(MARK, "").len() <= 2 * 6, "{script}: {out}");
}

#[test]
fn colours_end_where_they_would() {
    let masker = Masker::new(["correct-horse-battery-staple"]);
    assert_eq!(
        text(
            &masker,
            "\u{1b}[1mcorrect\u{1b}[22m-horse-battery-\u{1b}[31mstaple\u{1b}[0m!"
        ),
        format!("\u{1b}[1m{MARK}\u{1b}[22m\u{1b}[31m\u{1b}[0m!")
    );
}

#[test]
fn marks_that_touch_are_one() {
    let masker = Masker::new(["first-secret", "secret-second", "second secret"]);
    assert_eq!(
        text(
            &masker,
            "<first-secret-second secret><first-secret> <first-secretfirst-secret>"
        ),
        format!("<{MARK}><{MARK}> <{MARK}>")
    );
}

#[test]
fn only_the_beginning_of_a_secret_waits() {
    let masker = &mut Masker::new([RFC]);
    let mut shown = |text: &str| {
        let mut out = Vec::new();
        masker.push(text.as_bytes(), &mut out).expect("memory takes all");
        masker.pause(&mut out).expect("memory takes all");
        String::from_utf8(out).expect("text stays text")
    };
    assert_eq!(shown("Downloading 4%"), "Downloading 4%");
    assert_eq!(shown("\rDone\n"), "\rDone\n");
    assert_eq!(shown("Press ENTER to continue"), "Press ENTER to continue");
    assert_eq!(shown("token: eyJhbG"), "token: ");
    assert_eq!(shown("0"), "eyJhbG0");
    assert_eq!(shown(&RFC[..30]), "");
    assert_eq!(shown(&RFC[30..]), MARK);
    assert_eq!(shown("\n$ "), "\n$ ");
}

/// A program often pauses after each line.
#[test]
fn lines_with_pauses_are_masked() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let log = [
        format!("token: {token}\n"),
        "signature\n".into(),
        format!("{signature}\n"),
        lines(&STANDARD.encode(&token), 64, "\n"),
        dump(&token, 2),
    ];
    let log = log.concat();
    let whole = text(&Masker::new([token.as_str()]), &log);
    let (mut masker, mut out) = (Masker::new([token.as_str()]), Vec::new());
    for line in log.split_inclusive('\n') {
        masker.push(line.as_bytes(), &mut out).expect("memory takes all");
        masker.pause(&mut out).expect("memory takes all");
    }
    masker.finish(&mut out).expect("memory takes all");
    assert_eq!(String::from_utf8_lossy(&out), whole);
}

/// A pipe cuts a long line in two.
#[rstest]
#[case("UTF-16 in hex", &|t: &str| t.bytes().map(|byte| format!("{byte:02x}00")).collect())]
#[case("hex", &|t: &str| t.bytes().map(|byte| format!("{byte:02x}")).collect())]
#[case("base64 of base64", &|t: &str| STANDARD.encode(STANDARD.encode(t)))]
#[case("decimals", &|t: &str| t.bytes().map(|byte| format!("{byte}, ")).collect())]
#[case("escapes", &|t: &str| t.bytes().map(|byte| format!("\\u{byte:04x}")).collect())]
#[case("UTF-16", &|t: &str| t.chars().flat_map(|char| [char, '\0']).collect())]
fn a_pause_shows_no_more(#[case] script: &str, #[case] print: &dyn Fn(&str) -> String) {
    let token = long_jwt(1_790_000_000);
    let log = print(&token);
    let whole = text(&Masker::new([token.as_str()]), &log);
    for cut in (1..log.len()).step_by(97) {
        let (mut masker, mut out) = (Masker::new([token.as_str()]), Vec::new());
        for part in [&log[..cut], &log[cut..]] {
            masker.push(part.as_bytes(), &mut out).expect("memory takes all");
            match cut % 2 {
                0 => masker.pause(&mut out).expect("memory takes all"),
                _ => masker.flush(&mut out).expect("memory takes all"),
            }
        }
        masker.finish(&mut out).expect("memory takes all");
        let shown = String::from_utf8_lossy(&out).replace(MARK, "");
        assert!(
            shown.len() <= whole.replace(MARK, "").len() + 24,
            "{script}, {cut}: {shown}"
        );
    }
}

/// The set of the beginnings of pieces is a Bloom filter, which also accepts a few other words. The masker
/// must not hold a line back because of such a word.
#[test]
fn a_line_of_other_text_never_waits() {
    for seed in 0..300 {
        let (mut masker, mut out) = (Masker::new([long_jwt(seed).as_str()]), Vec::new());
        let line = b"GET /api/v1/namespaces/ci/pods: HTTP 200, 0 Pods\n";
        masker.push(line, &mut out).expect("memory takes all");
        masker.pause(&mut out).expect("memory takes all");
        assert_eq!(out, line, "{seed}");
    }
}

/// Claims that are not UTF-8 also have a beginning that other tokens share.
#[test]
fn claims_of_any_bytes_are_a_secret() {
    let claims = [br#"{"a":""#.as_slice(), &[0xff; 100], br#"","exp":1}"#].concat();
    let parts = [
        br#"{"alg":"x"}"#.as_slice(),
        &claims,
        b"a signature of some bytes",
    ];
    let token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    assert_eq!(
        text(&Masker::new([token.as_str()]), &format!("token: {token}\n")),
        format!("token: {MARK}\n")
    );
}

/// A pause within the first bytes of a secret shows them. The rest gets a mark of its own.
#[test]
fn text_after_a_mark_and_a_pause_gets_a_mark() {
    let token = long_jwt(1_790_000_000);
    let (mut masker, mut out) = (Masker::new([token.as_str()]), Vec::new());
    for part in [token.as_str(), &token[..3], &token[3..], "\nend\n"] {
        masker.push(part.as_bytes(), &mut out).expect("memory takes all");
        masker.pause(&mut out).expect("memory takes all");
    }
    masker.finish(&mut out).expect("memory takes all");
    assert_eq!(
        String::from_utf8_lossy(&out),
        format!("{MARK}{}{MARK}\nend\n", &token[..3])
    );
}

/// A program writes exactly as much as the masker searches at once, and then waits for an answer.
#[test]
fn a_full_buffer_does_not_wait() {
    let (input, mut program) = std::io::pipe().expect("a pipe");
    let (mut log, output) = std::io::pipe().expect("a pipe");
    let masker = Masker::new([RFC]);
    let copier = std::thread::spawn(move || {
        let (mut input, mut output) = (input, output);
        crate::copy(masker, &mut input, &mut output)
    });
    let text = vec![b'?'; 64 << 10];
    let writer = std::thread::spawn(move || {
        std::io::Write::write_all(&mut program, &text).expect("the masker reads");
        program
    });
    let mut seen = vec![0; 64 << 10];
    std::io::Read::read_exact(&mut log, &mut seen).expect("the masker writes");
    drop(writer.join().expect("written"));
    copier.join().expect("no panic").expect("copied");
}

/// Python prints the digits of the signature's base64 in binary, six bits each.
#[test]
fn binary_digits_of_base64_are_masked() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let digits: Vec<_> = bits.as_bytes().chunks(6).map(String::from_utf8_lossy).collect();
    let out = text(&Masker::new([&*token]), &digits.join(" "));
    assert!(out.len() < 40, "{out}");
}

/// The bytes of a string, with this escape for those that are no characters of the string.
fn string(bytes: &[u8], escape: &str, is_latin: bool) -> String {
    let shown = bytes.iter().map(|byte| match byte {
        0x20..0x7f | 0xa0.. if !b"\"'\\".contains(byte) && (is_latin || byte.is_ascii()) => {
            char::from(*byte).to_string()
        }
        _ => escape
            .replace("{hex}", &format!("{byte:02x}"))
            .replace("{octal}", &format!("{byte:03o}"))
            .replace("{decimal}", &format!("{byte:03}")),
    });
    shown.collect()
}

/// A script prints a few bytes of the signature in each string of a list.
#[rstest]
fn short_strings_are_masked(
    #[values(2, 3, 4, 5, 7, 10)] count: usize,
    #[values(
        ("[", "b'", "'", ", ", r"\x{hex}", false),
        ("", "b'", "'", "\n", r"\x{hex}", false),
        ("[", "bytearray(b'", "')", ",\n ", r"\x{hex}", false),
        ("[(", "b'", "'", ",), (", r"\x{hex}", false),
        ("It isn't: [", "\"", "\"", " ", r"\x{hex}", false),
        ("", "DEBUG:root:chunk b'", "'", "\n", r"\x{hex}", false),
        ("$VAR1 = [\n", "  \"", "\",", "\n", r"\{octal}", false),
        ("{", "\"", "\"", ",", r"\\{octal}", false),
        ("[", "\"", "\"", ",", r"\{decimal}", false),
        ("[\n", "  '", "'", ",    ", r"\x{hex}", true),
        ("[", "\"", "\"", ",\n  ", r"\u00{hex}", true),
        ("", "{\"n\": \"word\", \"data\": \"", "\"}", "\n", r"\u00{hex}", true),
    )]
    list: (&str, &str, &str, &str, &str, bool),
) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("it has three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("it is base64");
    let (first, before, after, between, escape, is_latin) = list;
    let show = |bytes: &[u8]| format!("{before}{}{after}", string(bytes, escape, is_latin));
    let strings: Vec<_> = signature.chunks(count).map(show).collect();
    let out = text(
        &Masker::new([&*token]),
        &format!("{first}{}\n", strings.join(between)),
    );
    let left = strings.iter().filter(|string| out.contains(*string)).count();
    assert!(left * count <= 8, "{out}");
}

/// A script prints the base64 of a few bytes in each string of a list.
#[rstest]
fn padded_pieces_are_masked(
    #[values(1, 2, 4, 5, 7, 8, 10, 11)] count: usize,
    #[values(
        ("['", "', '"),
        ("[\n  \"", "\",\n  \""),
        ("", "\n"),
        ("tokens: [b'", "', b'"),
        ("{\"key\": \"cm93MA==\", \"val\": \"", "\"}, {\"key\": \"cm93NA==\", \"val\": \""),
        ("  value: ", "\n  value: "),
        ("12:00:01 part 1 data=", "\n12:00:01 part 1 data="),
    )]
    list: (&str, &str),
) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("it has three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("it is base64");
    for bytes in [token.as_bytes(), &signature] {
        let pieces: Vec<_> = bytes.chunks(count).map(|bytes| STANDARD.encode(bytes)).collect();
        let (first, between) = list;
        let out = text(
            &Masker::new([&*token]),
            &format!("{first}{}'\n", pieces.join(between)),
        );
        // The header and the first claims stay.
        let is_shown =
            |piece: &&String| piece.len() > 4 && out.contains(&format!("{between}{piece}{between}"));
        let last = pieces.iter().rev().take(signature.len() / count);
        assert_eq!(last.filter(is_shown).count(), 0, "{out}");
    }
}

/// Base64 and quotes of other text.
#[test]
fn short_strings_of_other_text_pass() {
    let token = long_jwt(1_790_000_000);
    let log = r#"{"data": {"a": "aGVsbG8=", "b": "d29ybGQ=", "c": "Zm9v", "d": "YmFyIQ=="}, "e": ["\u00e9t\u00e9", "\x8f", "\n", "é"]}
level=info msg="done" service="api" [b'\x00\x01', b'\x02\x03', b'\xff\xfe', b'\r\n', b"it's"] 'a' => "\303\251",
"#;
    assert_eq!(text(&Masker::new([&*token]), &log.repeat(40)), log.repeat(40));
}

/// A program prints pieces of the token without a line end, and another one writes to the same log.
#[rstest]
#[case("a logger", |at: usize, piece: &str| format!("{piece}DEBUG:root:sent {at}\n"))]
#[case("other programs", |at: usize, piece: &str| format!("{piece}{} module {at}\n", ["Checking", "Compiling", "Linking"][at % 3]))]
#[case("words before the pieces", |at: usize, piece: &str| format!("retry{at}{piece}\n"))]
#[case("words in other lines", |at: usize, piece: &str| format!("{piece}\n{}\n", ["green", "apple", "house", "north"][at % 4]))]
#[case("strace", |_: usize, piece: &str| format!("write(1, \"{piece}\", {}{piece}) = {}\n", piece.len(), piece.len()))]
#[case("xargs -t", |_: usize, piece: &str| format!("{piece}printf %s {piece}\n"))]
#[case("a long record", |at: usize, piece: &str| format!("{piece}{}\n", "in this record ".repeat(at % 60)))]
fn pieces_beside_other_words_are_masked(#[case] name: &str, #[case] show: fn(usize, &str) -> String) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let masker = Masker::new([token.as_str()]);
    for length in 3..8 {
        let print = |signature: &str| -> String {
            let pieces = signature.as_bytes().chunks_exact(length).enumerate();
            let show = pieces.map(|(at, piece)| show(at, std::str::from_utf8(piece).expect("ASCII")));
            show.collect()
        };
        let log = print(signature);
        let out = text(&masker, &log);
        let is_shown = |piece: &&[u8]| {
            let piece = std::str::from_utf8(piece).expect("ASCII");
            log.matches(piece).count() == out.matches(piece).count()
        };
        let shown = signature.as_bytes().chunks_exact(length).filter(is_shown).count();
        assert!(shown <= 3, "{name}: {shown} pieces of {length} characters: {out}");
        let other = print(&signature.chars().rev().collect::<String>());
        assert_eq!(text(&masker, &other), other, "{name}");
    }
}

/// A question after some pieces passes at once, also if no more pieces follow.
#[test]
fn pieces_beside_other_words_hold_nothing_back() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let pieces = signature.as_bytes()[..30].chunks(6).map(String::from_utf8_lossy);
    let lines = pieces
        .map(|piece| format!("{piece}Checking this\n"))
        .collect::<String>();
    let (mut masker, mut out) = (Masker::new([token.as_str()]), Vec::new());
    masker
        .push(format!("{lines}Continue? [y/N] ").as_bytes(), &mut out)
        .expect("memory takes all");
    masker.pause(&mut out).expect("memory takes all");
    let line = format!("{MARK}Checking this\n");
    assert_eq!(
        String::from_utf8_lossy(&out),
        format!("{}Continue? [y/N] ", line.repeat(5))
    );
}

/// Words after a whole token that are also in its signature pass.
#[test]
fn words_of_a_signature_after_a_token_pass() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let words = signature
        .as_bytes()
        .chunks(3)
        .map(String::from_utf8_lossy)
        .rev()
        .step_by(2);
    let words = words.collect::<Vec<_>>().join(", ");
    let log = format!("token: {token}\n{words}\n");
    let out = text(&Masker::new([token.as_str()]), &log);
    assert_eq!(out, format!("token: {MARK}\n{words}\n"));
}

/// Words that continue a row of a folded token pass.
#[test]
fn words_that_continue_a_long_piece_pass() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let words = signature
        .as_bytes()
        .chunks_exact(20)
        .map(|row| String::from_utf8_lossy(&row[..3]));
    let words = words.rev().collect::<Vec<_>>().join(", ");
    let log = format!("{}end\n{words}\n", lines(signature, 20, "\n"));
    let out = text(&Masker::new([token.as_str()]), &log);
    assert!(out.ends_with(&format!("end\n{words}\n")), "{out}");
}

/// A log can show each piece any number of times.
#[test]
fn each_copy_of_a_piece_is_masked() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let pieces = signature.as_bytes().chunks(6).map(String::from_utf8_lossy);
    let log: String = pieces
        .map(|piece| format!("{piece}Checking this\n").repeat(9))
        .collect();
    let out = text(&Masker::new([token.as_str()]), &log);
    assert_eq!(
        out,
        format!("{MARK}Checking this\n").repeat(9 * signature.len() / 6)
    );
}

/// One or two characters before the same text in each line.
#[rstest]
#[case(1)]
#[case(2)]
fn characters_before_the_same_words_are_masked(#[case] length: usize) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let pieces = signature.as_bytes().chunks(length).enumerate();
    let line = |(at, piece)| format!("{}DEBUG:root:sent {at}\n", String::from_utf8_lossy(piece));
    let log: String = pieces.map(line).collect();
    let out = text(&Masker::new([token.as_str()]), &log);
    let shown = out.lines().filter(|line| !line.contains(MARK)).count();
    assert!(shown <= 3, "{shown}: {out}");
}

/// The lines between the pieces pass, also where another tool printed the pieces twice.
#[test]
fn lines_between_pieces_pass() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let pieces = signature.as_bytes().chunks(6).enumerate();
    let log: String = pieces
        .map(|(at, piece)| {
            let piece = String::from_utf8_lossy(piece);
            format!("{piece}! Sent it.\nstep {at} is done, {piece} is next\n")
        })
        .collect();
    let out = text(&Masker::new([token.as_str()]), &log);
    let line = |at: usize| format!("{MARK}! Sent it.\nstep {at} is done, {MARK} is next\n");
    assert_eq!(out, (0..signature.len() / 6).map(line).collect::<String>());
}

/// The bytes of a signature as pandas prints a wide table.
#[rstest]
#[case(&|byte: u8| byte.to_string())]
#[case(&|byte: u8| byte.cast_signed().to_string())]
fn a_wide_table_of_pandas_is_masked(#[case] show: &dyn Fn(u8) -> String) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let rows = bytes.chunks(16).enumerate().map(|(at, row)| {
        let list = |row: &[u8]| {
            row.iter()
                .map(|byte| format!("{:>5}", show(*byte)))
                .collect::<String>()
        };
        format!("{at:<2} {}  ... {}\n", list(&row[..7]), list(&row[9..]))
    });
    let log = format!(
        "      0    1    2    3    4    5    6   ...   9    10   11   12   13   14   15\n{}",
        rows.collect::<String>()
    );
    let out = text(&Masker::new([token.as_str()]), &log);
    let numbers = out.replace(MARK, "").split_whitespace().count();
    assert!(numbers < 90, "{numbers} of 224 and a header: {out}");
}

/// `protoc --decode_raw` prints numbers behind the numbers of fields.
#[test]
fn numbers_behind_the_number_of_a_field_are_masked() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let log = each_byte(signature.as_bytes(), "", |byte| format!("1: {byte}\n2: 1\n"));
    let out = text(&Masker::new([token.as_str()]), &log);
    let shown = out
        .lines()
        .filter(|line| line.starts_with("1: ") && !line.contains(MARK))
        .count();
    assert!(shown <= 3, "{shown}: {out}");
}

/// Without the colours, the numbers look like the text column of a dump.
#[test]
fn coloured_numbers_between_bars_are_masked() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    for (count, before) in [(12, ""), (16, ""), (20, ""), (16, " "), (16, "[ "), (16, "( -")] {
        let cells = signature.as_bytes().chunks(count).map(|cell| {
            let numbers = each_byte(cell, " ", |byte| byte.to_string());
            format!(",  | \u{1b}[36m{before}{numbers} \u{1b}[0m | ")
        });
        let out = text(&Masker::new([token.as_str()]), &cells.collect::<String>());
        let shown = out
            .split_whitespace()
            .filter(|word| word.parse::<u8>().is_ok())
            .count();
        assert!(
            shown < 40,
            "{count}, {before:?}: {shown} of {}: {out}",
            signature.len()
        );
    }
}
