use std::fmt::Write as _;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use crate::{Finding, Judge, Verdict};

const HEADER: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMifQ";

fn signature(seed: u8) -> String {
    let bytes = (0..96_u8).map(|at| at.wrapping_mul(89).wrapping_add(seed) ^ at.rotate_left(3));
    URL_SAFE_NO_PAD.encode(bytes.collect::<Vec<_>>())
}

fn token() -> String {
    format!("{HEADER}.{}", signature(7))
}

fn read(log: impl AsRef<[u8]>) -> Finding {
    Judge::new(&token()).read(log.as_ref())
}

#[track_caller]
fn usable(log: impl AsRef<[u8]>) {
    let finding = read(&log);
    let log = String::from_utf8_lossy(log.as_ref());
    assert_eq!(finding.verdict, Verdict::Usable, "{finding}\n{log}");
}

fn each(text: &str, separator: &str, form: impl Fn(u8) -> String) -> String {
    text.bytes().map(form).collect::<Vec<_>>().join(separator)
}

/// Lines of `width` characters, each after the beginning that `decorate` returns.
fn folded(text: &str, width: usize, decorate: impl Fn(usize) -> String) -> String {
    let lines = text.as_bytes().chunks(width).enumerate();
    lines.fold(String::new(), |mut folded, (at, line)| {
        let _ = writeln!(folded, "{}{}", decorate(at), String::from_utf8_lossy(line));
        folded
    })
}

#[test]
fn the_token_as_it_is() {
    let token = token();
    usable(format!("Authorization: Bearer {token}"));
    usable(token.rsplit('.').next().expect("a signature"));
    assert_eq!(
        Judge::new("correct-horse-battery-staple")
            .read(b"correct-horse-battery-staple")
            .verdict,
        Verdict::Usable
    );
}

#[test]
fn lines_of_any_width_with_any_decoration() {
    for width in [1, 3, 5, 8, 13, 40, 60, 76] {
        usable(folded(&token(), width, |_| String::new()));
        usable(folded(&token(), width, |_| "> ".into()));
        usable(folded(&token(), width, |at| format!("{at}:")));
        usable(folded(&token(), width, |at| format!("{:>6}\t", at + 1)));
        usable(folded(&token(), width, |_| "web-1  | ".into()));
        usable(folded(&token(), width, |_| "│ ".into()));
        usable(folded(&token(), width, |at| {
            format!("2026-01-02T03:04:{at:02}Z ")
        }));
    }
    usable(folded(&token(), 40, |_| String::new()).replace('\n', "\", \""));
    usable(each(&token(), " ", |byte| char::from(byte).to_string()));
    usable(each(&token(), ",", |byte| format!("\"{}\"", char::from(byte))));
}

#[test]
fn lines_in_another_order() {
    let lines = folded(&token(), 60, |_| String::new());
    usable(lines.lines().rev().collect::<Vec<_>>().join("\n"));
    let words = folded(&token(), 5, |_| String::new());
    let words = words.lines().collect::<Vec<_>>();
    let half = words.len().div_ceil(2);
    let rows = (0..half).map(|at| format!("{}   {}", words[at], words.get(at + half).unwrap_or(&"")));
    usable(rows.collect::<Vec<_>>().join("\n"));
}

#[test]
fn terminal_control() {
    let token = token();
    for control in [
        "\u{1b}[1m",
        "\u{1b}(B\u{1b}[m",
        "\u{1b}7",
        "\u{1b}]0;title\u{7}",
        "\u{1b}]8;;x\u{1b}\\",
        "\u{9b}31m",
        "\u{200b}",
        "\u{ad}",
        "\u{feff}",
        "\0",
        "x\u{8}",
    ] {
        usable(each(&token, "", |byte| format!("{}{control}", char::from(byte))));
    }
    usable(each(&token, "", |byte| format!("{0}\u{8}{0}", char::from(byte))));
}

/// A decoder that leaves out the dots reads the signature from any bit of a byte on.
#[test]
fn a_whole_token_as_base64() {
    for before in ["", "T", "To", "Bearer"] {
        let digits = format!("{before}{}", token()).replace('.', "");
        let bytes = URL_SAFE_NO_PAD
            .decode(&digits[..digits.len() / 4 * 4])
            .expect("base64");
        usable(format!("{:?}", &bytes[digits.len() / 3..]));
    }
}

#[test]
fn base64_of_either_alphabet_at_each_alignment() {
    for before in ["", "u", "u:", "use"] {
        let text = format!("{before}{}", token());
        for encoded in [STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            usable(&encoded);
            usable(folded(&encoded, 76, |_| "  ".into()));
            usable(folded(&encoded, 61, |_| "+".into()));
            usable(STANDARD.encode(format!("user:{encoded}")));
            usable(STANDARD.encode(STANDARD.encode(encoded)));
        }
    }
}

#[test]
fn parts_of_the_token_decoded() {
    let signature = signature(7);
    usable(signature.replace('-', "+").replace('_', "/"));
    let bytes = URL_SAFE_NO_PAD.decode(&signature).expect("base64");
    usable(
        bytes
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")),
    );
    usable(
        bytes
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02X}:")),
    );
    usable(format!("{bytes:?}"));
    usable(&bytes);
    let carets = bytes.iter().map(|byte| match byte & 0x7f {
        low @ b' '..=b'~' => (*byte >= 0x80, char::from(low).to_string()),
        low => (*byte >= 0x80, format!("^{}", char::from(low ^ 0x40))),
    });
    usable(carets.fold(String::new(), |text, (is_high, low)| {
        text + if is_high { "M-" } else { "" } + &low
    }));
}

#[test]
fn characters_and_numbers() {
    let bytes = URL_SAFE_NO_PAD.decode(signature(7)).expect("base64");
    let shown = |separator: &str, character: &dyn Fn(char) -> String, number: &dyn Fn(u8) -> String| {
        let items = bytes.iter().map(|byte| match byte {
            b'"' | b'\'' | b'\\' | b',' | b'[' | b']' | b'{' | b'}' => number(*byte),
            b'!'..=b'~' => character(char::from(*byte)),
            _ => number(*byte),
        });
        items.collect::<Vec<_>>().join(separator)
    };
    usable(shown(", ", &|c| format!("b'{c}'"), &|byte| {
        format!("b'\\x{byte:02x}'")
    }));
    usable(shown(", ", &|c| format!("'{c}'"), &|byte| byte.to_string()));
    usable(shown(", ", &|c| format!("'{c}'"), &|byte| format!("{byte:#04x}")));
    usable(shown("   ", &|c| c.to_string(), &|byte| format!("{byte:03o}")));
    usable(shown("", &|c| c.to_string(), &|byte| format!("\\{byte:03}")));
}

/// A program prints pieces without the end of a line, and another one writes to the same log.
#[test]
fn pieces_at_the_ends_of_lines() {
    let token = token();
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let words = ["Checking", "ok, done with", "read"].into_iter().cycle();
    let pieces = signature.as_bytes().chunks(6).map(String::from_utf8_lossy);
    let lines = || pieces.clone().zip(words.clone());
    usable(
        lines()
            .map(|(piece, word)| format!("{piece}{word} it\n"))
            .collect::<String>(),
    );
    usable(
        lines()
            .map(|(piece, word)| format!("it is {word}{piece}\n"))
            .collect::<String>(),
    );
}

#[test]
fn pieces_behind_a_label() {
    let token = token();
    let pieces = token
        .as_bytes()
        .chunks(4)
        .map(String::from_utf8_lossy)
        .enumerate();
    usable(pieces.clone().fold(String::new(), |log, (at, piece)| {
        format!("{log}data: {{\"i\": {at}, \"text\": \"{piece}\"}}\n")
    }));
    usable(pieces.fold(String::new(), |log, (at, piece)| {
        format!("{log}[{at}]=\"{piece}\" ")
    }));
}

#[test]
fn bytes_as_guids_and_as_characters() {
    let bytes = URL_SAFE_NO_PAD.decode(signature(7)).expect("base64");
    let guids = bytes.chunks_exact(16).map(|bytes| {
        let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        let mut hex = order
            .iter()
            .fold(String::new(), |hex, at| format!("{hex}{:02x}", bytes[*at]));
        [20, 16, 12, 8].into_iter().for_each(|at| hex.insert(at, '-'));
        hex
    });
    usable(guids.collect::<Vec<_>>().join("\n"));
    let characters = bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    usable(&characters);
    usable(characters.bytes().map(char::from).collect::<String>());
}

#[test]
fn hexadecimal_digits() {
    let token = token();
    usable(each(&token, "", |byte| format!("{byte:02x}")));
    for separator in [" ", ":", "-", ", ", "\n", ""] {
        usable(each(&token, separator, |byte| format!("{byte:02X}")));
        usable(each(&token, separator, |byte| format!("\\x{byte:02x}")));
        usable(each(&token, separator, |byte| format!("%{byte:02X}")));
    }
    usable(each(&token, ", ", |byte| format!("0x{byte:02x}")));
    usable(folded(
        &each(&token, "", |byte| format!("{byte:02x}")),
        60,
        |_| "> ".into(),
    ));
}

/// Lines of a dump: an address, 16 bytes in groups of `group`, and their text.
fn dumped(
    address: impl Fn(usize) -> String,
    group: usize,
    form: impl Fn(&[u8]) -> String,
    end: &str,
) -> String {
    let token = token();
    let lines = token.as_bytes().chunks(16).enumerate();
    lines.fold(String::new(), |mut dump, (at, line)| {
        let groups = line.chunks(group).map(&form).collect::<Vec<_>>().join(" ");
        let text = if end.is_empty() {
            String::new()
        } else {
            format!("{end}{}", String::from_utf8_lossy(line))
        };
        // This hides the letters and digits of the text column, so that the judge must read the numbers.
        let text = text
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { '.' } else { c })
            .collect::<String>();
        let _ = writeln!(dump, "{} {groups}{text}", address(at * 16));
        dump
    })
}

#[test]
fn dumps() {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    };
    let reversed = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    };
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    for group in [1, 2, 4, 8, 16] {
        usable(dumped(|at| format!("{at:08x}:"), group, hex, "  "));
    }
    usable(dumped(|at| format!("{at:04x}:"), 1, hex, " "));
    usable(dumped(|at| format!("{at:08x}"), 1, hex, "  |"));
    usable(dumped(|at| format!("0x{at:04x}: "), 2, hex, "  "));
    usable(dumped(|at| format!("│ {at:06o}"), 1, hex, " │"));
    for group in [2, 4, 8] {
        usable(dumped(|at| format!("{at:07o}"), group, reversed, ""));
    }
    usable(dumped(
        |at| format!("{at:07o}"),
        1,
        |bytes| format!("{:03o}", bytes[0]),
        "",
    ));
    usable(dumped(
        |at| format!("{at:07o}"),
        2,
        |bytes| format!("{:06o}", number(bytes)),
        "",
    ));
    usable(dumped(
        |at| format!("{at:07o}"),
        4,
        |bytes| format!("{:011o}", number(bytes)),
        "",
    ));
    usable(dumped(
        |at| format!("{at:07o}"),
        1,
        |bytes| format!("  {}", bytes[0]),
        "",
    ));
    usable(dumped(
        |at| format!("{at:07o}"),
        2,
        |bytes| format!("{:5}", number(bytes)),
        "",
    ));
    usable(dumped(
        |at| format!("{at:07o}"),
        1,
        |bytes| format!("  {}", char::from(bytes[0])),
        "",
    ));
    usable(dumped(
        |at| format!("{at:08x}:"),
        1,
        |bytes| format!("{:08b}", bytes[0]),
        "",
    ));
}

#[test]
fn lists_of_numbers() {
    let token = token();
    for separator in [" ", ",", ", ", "\n", ",\n    "] {
        usable(format!("[{}]", each(&token, separator, |byte| byte.to_string())));
        usable(each(&token, separator, |byte| format!("{byte:o}")));
        usable(each(&token, separator, |byte| format!("0o{byte:o}")));
    }
    usable(each(&token, "", |byte| format!("{byte:08b}")));
    usable(each(&token, " ", |byte| format!("{byte:08b}")));
    let inverted = URL_SAFE_NO_PAD.decode(signature(7)).expect("base64");
    let signed = inverted.iter().map(|byte| byte.cast_signed().to_string());
    usable(format!("[{}]", signed.collect::<Vec<_>>().join(", ")));
    let signed = inverted.iter().map(|byte| byte.cast_signed());
    let signed = signed.map(|byte| format!("{}{:#x}", if byte < 0 { "-" } else { "" }, byte.unsigned_abs()));
    usable(signed.collect::<Vec<_>>().join(" "));
    usable(each(&token, "", |byte| format!("{byte:#x}")));
    usable(each(&token, " ", |byte| format!("{byte:#b}")));
    usable(each(&token, ", ", |byte| format!("0{byte:02X}h")));
    usable(each(&token, ", ", |byte| format!("&H{byte:02X}")));
    usable(each(&token, ",", |byte| format!("16#{byte:X}#")));
    usable(each(&token, ", ", |byte| format!("{byte}.0")));
}

#[test]
fn escapes() {
    let token = token();
    usable(each(&token, "", |byte| format!("\\u{byte:04x}")));
    usable(each(&token, "", |byte| format!("\\u{{{byte:x}}}")));
    usable(each(&token, "", |byte| format!("\\{byte:03o}")));
    usable(
        each(&token, "", |byte| format!("\\{}", char::from(byte)))
            .replace("\\n", "n")
            .replace("\\r", "r"),
    );
    usable(each(&token, "", |byte| format!("&#{byte};")));
    usable(each(&token, "", |byte| format!("&#x{byte:X};")));
    usable(each(&token, "", |byte| format!("={byte:02X}")));
    usable(folded(&token, 5, |_| String::new()).replace('\n', "=\n"));
    usable(folded(&token, 5, |_| String::new()).replace('\n', "\\\n"));
    usable(folded(&STANDARD.encode(&token), 6, |_| String::new()).replace('\n', "\\n"));
    usable(token.replace('.', "%2E").replace('-', "%2D").replace('_', "%5F"));
}

#[test]
fn utf_16() {
    let wide = token()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect::<Vec<_>>();
    usable(&wide);
    usable(STANDARD.encode(&wide));
    usable(
        wide.iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x} ")),
    );
}

#[test]
fn three_decoders_in_a_row() {
    let encoded = STANDARD.encode(token());
    usable(folded(
        &each(&encoded, "", |byte| format!("{byte:02x}")),
        64,
        |_| "web-1 | ".into(),
    ));
    usable(each(&STANDARD.encode(&encoded), " ", |byte| byte.to_string()));
    usable(STANDARD.encode(format!("{{\"auths\": {{\"r\": {{\"auth\": \"{encoded}\"}}}}}}")));
}

#[test]
fn innocent_text_shows_nothing() {
    let other = format!("{HEADER}.{}", signature(8));
    let prose = "The quick brown fox jumps over the lazy dog; 0123456789abcdef 00ff 10 20 30\n".repeat(20);
    for log in [
        format!("{HEADER}."),
        other.clone(),
        STANDARD.encode(&other),
        each(&other, " ", |byte| format!("{byte:02x}")),
        format!("{:?}", other.as_bytes()),
        "[MASKED]\n[MASKED] 0000: [MASKED]\n".into(),
        prose,
    ] {
        let finding = read(&log);
        assert_eq!((finding.verdict, finding.share), (Verdict::Nothing, 0), "{log}");
    }
}

#[test]
fn a_part_is_a_part() {
    let signature = signature(7);
    let shown = |characters: usize| read(format!("...{}...", &signature[40..40 + characters])).verdict;
    assert_eq!(shown(23), Verdict::Nothing);
    assert_eq!(shown(24), Verdict::Partial);
    assert_eq!(shown(signature.len() / 2), Verdict::Partial);
    assert_eq!(
        read(&signature[..signature.len() * 3 / 4]).verdict,
        Verdict::Usable
    );
    // Pieces of a few characters count as words, unless they stand in a column or behind a label.
    let words = folded(&signature, 7, |at| {
        let place = ["somewhere", "elsewhere", "everywhere", "wherever"][at % 4];
        format!("{} ", [place].repeat(at % 5 + 1).join(" "))
    });
    let finding = read(words.replace('\n', " and so on\n"));
    assert_eq!(finding.verdict, Verdict::Nothing, "{finding}");
}
