//! Secrets in the middle of a very long log, of which the masker decodes only some parts.

use rstest::rstest;

use super::*;
use crate::stream::SLICE;

/// Lines of an ordinary log.
fn ordinary(lines: usize) -> String {
    let line = |at: usize| {
        let noise = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!(
            "2026-11-24T10:00:{:02}Z INFO [worker-{}] GET /api/v1/pods/app-{noise:016x} 200\n",
            at % 60,
            at % 8
        )
    };
    (0..lines).map(line).collect()
}

#[rstest]
#[case("as it is", |token: &str| token.to_owned())]
#[case("in lines", |token: &str| lines(token, 40, "\n"))]
#[case("base64", |token: &str| STANDARD.encode(token))]
#[case("base64 of JSON in lines", |token: &str| lines(&STANDARD.encode(format!("{{\"auth\": \"{token}\"}}")), 76, "\n"))]
#[case("base64, twice", |token: &str| lines(&STANDARD.encode(STANDARD.encode(format!("token: {token}"))), 76, "\n"))]
#[case("base64 of digits in lines", |token: &str| lines(&STANDARD.encode(each_byte(token.as_bytes(), "", |byte| format!("{byte:02x}"))), 76, "\n"))]
#[case("indented characters", |token: &str| each_byte(token.as_bytes(), "", |byte| format!("    \"{}\",\n", char::from(*byte))))]
#[case("indented numbers", |token: &str| each_byte(token.as_bytes(), "", |byte| format!("                    {byte},\n")))]
#[case("hexadecimal", |token: &str| lines(&each_byte(token.as_bytes(), "", |byte| format!("{byte:02x}")), 60, "\n"))]
#[case("C", |token: &str| lines(&each_byte(token.as_bytes(), ", ", |byte| format!("0x{byte:02x}")), 72, "\n"))]
#[case("decimal", |token: &str| each_byte(token.as_bytes(), ", ", |byte| byte.to_string()))]
#[case("decimal, one a line", |token: &str| each_byte(token.as_bytes(), "\n", |byte| byte.to_string()))]
#[case("octal", |token: &str| lines(&each_byte(token.as_bytes(), " ", |byte| format!("{byte:03o}")), 64, "\n"))]
#[case("binary", |token: &str| lines(&each_byte(token.as_bytes(), " ", |byte| format!("{byte:08b}")), 54, "\n"))]
#[case("percent", |token: &str| each_byte(token.as_bytes(), "", |byte| format!("%{byte:02X}")))]
#[case("entities", |token: &str| each_byte(token.as_bytes(), "", |byte| format!("&#{byte};")))]
#[case("escapes", |token: &str| each_byte(token.as_bytes(), "", |byte| format!("\\u{byte:04x}")))]
#[case("one character a line", |token: &str| lines(token, 1, "\n"))]
#[case("list of characters", |token: &str| each_byte(token.as_bytes(), ", ", |byte| format!("'{}'", char::from(*byte))))]
#[case("four characters a line", |token: &str| lines(token, 4, "\n"))]
#[case("coloured characters", |token: &str| each_byte(token.as_bytes(), "", |byte| format!("\x1b[32m{}", char::from(*byte))))]
#[case("decoded, as Latin-1", |token: &str| URL_SAFE_NO_PAD.decode(token.rsplit('.').next().unwrap_or(token)).expect("base64").into_iter().map(char::from).collect())]
fn a_secret_in_a_very_long_log_is_masked(#[case] name: &str, #[case] show: fn(&str) -> String) {
    let token = long_jwt(1_790_000_000);
    let [before, shown, after] = [ordinary(700), show(&token), ordinary(500)];
    assert!(before.len() > SLICE && after.len() > SLICE);
    let log = format!("{before}{shown}\n{after}");
    let masker = brief(&Masker::new([token.as_str()]));
    let out = String::from_utf8(masked(&masker, [log.as_bytes()])).expect("text stays text");
    let left = out
        .strip_prefix(&*before)
        .and_then(|out| out.strip_suffix(&*after));
    let left = left.unwrap_or_else(|| panic!("{name}: the lines around the secret changed"));
    // A mark keeps the colours of the text, the ends of its lines, and what is between the numbers of a list.
    let left = left.replace(MARK, "").replace("\x1b[32m", "");
    let left = left.replace(['\n', ' ', ',', '"'], "");
    assert!(3 * left.len() < shown.len() || left.len() < 24, "{name}: {left}");
    let same = masked(&masker, log.as_bytes().chunks(977));
    assert!(same == out.as_bytes(), "{name}: the chunks make a difference");
    // The views may read no more.
    let mut masker = masker;
    masker.finds = 0;
    let out = masked(&masker, [log.as_bytes()]);
    assert!(
        out.starts_with(&before.as_bytes()[..before.len() - 3000])
            && out.ends_with(&after.as_bytes()[3000..])
    );
    // The first half of a token has no secret. Each other 16 bytes are hidden.
    let part = 16 * (shown.len() / token.len()).max(1);
    let secret = &shown.as_bytes()[shown.len() / 2..];
    let is_left = |part: &[u8]| memchr::memmem::find(&out, part).is_some();
    assert!(
        !secret.windows(part).any(is_left),
        "{name}: {}",
        String::from_utf8_lossy(&out)
    );
    let same = masked(&masker, log.as_bytes().chunks(977));
    assert!(same == out, "{name}: the chunks make a difference");
}

/// The look reads only samples of a long text in an encoding.
#[rstest]
#[case("base64", |bytes: &[u8]| lines(&STANDARD.encode(bytes), 76, "\n"))]
#[case("hexadecimal", |bytes: &[u8]| lines(&each_byte(bytes, "", |byte| format!("{byte:02x}")), 60, "\n"))]
#[case("decimal", |bytes: &[u8]| each_byte(bytes, ", ", |byte| byte.to_string()))]
#[case("octal", |bytes: &[u8]| lines(&each_byte(bytes, " ", |byte| format!("{byte:03o}")), 64, "\n"))]
#[case("escapes", |bytes: &[u8]| each_byte(bytes, "", |byte| format!("\\x{byte:02x}")))]
fn a_secret_in_a_long_dump_is_masked(#[case] name: &str, #[case] encode: fn(&[u8]) -> String) {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    // A shorter secret can be between two samples, so the look reads all.
    let [short, opaque] = [120, 240].map(|length| signature[..length].replace('-', "_"));
    let twice = STANDARD.encode(format!("token: {token}"));
    let short_twice = STANDARD.encode(&opaque);
    let secrets = [
        (&token, signature),
        (&token, &twice),
        (&short, &short),
        (&opaque, &opaque),
        (&opaque, &short_twice),
    ];
    for (secret, text) in secrets {
        let masker = brief(&Masker::new([secret.as_str()]));
        for before in 300..320 {
            let log = format!("{}{text}\n{}", ordinary(before), ordinary(600));
            let out = masked(&masker, [encode(log.as_bytes()).as_bytes()]);
            assert!(
                memchr::memmem::find(&out, MARK.as_bytes()).is_some(),
                "{name} of {} bytes, after {before} lines",
                text.len()
            );
        }
    }
}

/// Other tokens have the same claims. Neither many of them nor many whole tokens keep the views from reading.
#[test]
fn tokens_of_other_jobs_in_a_very_long_log_stay() {
    let token = long_jwt(1_790_000_000);
    let masker = brief(&Masker::new([token.as_str()]));
    let others = (1..60).map(|job| {
        let other = long_jwt(1_790_000_000 + job);
        let encoded = STANDARD.encode(&other);
        format!(
            "{}token: {token}\nother: {other}\nbase64: {encoded}\n",
            ordinary(200)
        )
    });
    let log = others.collect::<String>();
    assert!(log.len() > 20 * SLICE);
    assert!(masked(&masker, [log.as_bytes()]) == log.replace(&token, MARK).as_bytes());
}

/// A sample has only a few bytes of such a list.
#[test]
fn lists_with_deep_indents_in_a_very_long_log_are_masked() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let indent = " ".repeat(40);
    let list = |bytes: &[u8]| each_byte(bytes, "", |byte| format!("{indent}{byte},\n"));
    let other = vec![b'?'; 3000];
    for before in 2000..2020 {
        let log = list(&[&other[..before], signature.as_bytes(), &other].concat());
        let out = masked(&brief(&Masker::new([token.as_str()])), [log.as_bytes()]);
        assert!(String::from_utf8_lossy(&out).contains(MARK), "{before}");
    }
}

/// Sixteen characters of a signature in the middle of other lines.
#[test]
fn pieces_of_a_signature_in_a_very_long_log_are_masked() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let [before, after] = [ordinary(700), ordinary(500)];
    for at in 0..20 {
        let piece = &signature[16 * at..16 * at + 16];
        let line = |piece: &str| format!("{}part {at}: {piece}, sent\n", &"------------"[at % 13..]);
        let log = format!("{before}{}{after}", line(piece));
        let out = masked(&brief(&Masker::new([token.as_str()])), [log.as_bytes()]);
        assert!(String::from_utf8_lossy(&out).contains(&line(MARK)), "{at}");
    }
}

/// The look misses some pieces of eight characters, but the views read all of a part in which it finds one.
#[test]
fn many_short_pieces_in_a_very_long_log_are_masked() {
    let token = long_jwt(1_790_000_000);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let pieces = signature.as_bytes().chunks_exact(8).map(String::from_utf8_lossy);
    let lines: String = pieces
        .map(|piece| format!("the next part is {piece}, which is fine\n"))
        .collect();
    let log = format!("{}{lines}{}", ordinary(700), ordinary(500));
    let out = masked(&brief(&Masker::new([token.as_str()])), [log.as_bytes()]);
    assert_eq!(
        String::from_utf8_lossy(&out).matches(MARK).count(),
        signature.len() / 8
    );
}

/// An opaque secret has too few characters to make a text dense.
#[test]
fn a_short_secret_in_a_very_long_log_is_masked() {
    let secret = "Zx8kQ2vLp0Wm4RtY";
    let list = each_byte(secret.as_bytes(), ", ", |byte| byte.to_string());
    let log = format!("{}{list}\n{}", ordinary(700), ordinary(500));
    let out = masked(&brief(&Masker::new([secret])), [log.as_bytes()]);
    assert!(String::from_utf8_lossy(&out).contains(MARK));
}
