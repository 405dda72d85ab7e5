//! Generated encodings, folds and decorations of a token. For those marked as claimed, the judge must find
//! nothing of the token in the masked text.
//!
//! Each case writes a token with small encoders of its own, up to [`DEPTH`] of them one after the other, then
//! lays the text out in lines. The encoders share no code with the mask.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt::Write as _,
};

use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD},
};
use jobpass_judge::{Judge, Verdict};
use jobpass_mask::Masker;
use proptest::{collection, option, prelude::Strategy, sample};

#[path = "../parity/property.rs"]
mod property;

/// The greatest number of encodings of the token, one in the other, in this test.
const DEPTH: usize = 1;

/// The number of different tokens.
const TOKENS: u64 = 50;

/// A way to write bytes as text.
struct View {
    name: &'static str,
    /// Whether the test of the mask covers this view. (The mask also sees through views that are not covered
    /// here: `scripts.rs` tests those.)
    claimed: bool,
    write: fn(&mut Random, &[u8]) -> Vec<u8>,
}

const fn view(name: &'static str, claimed: bool, write: fn(&mut Random, &[u8]) -> Vec<u8>) -> View {
    View { name, claimed, write }
}

/// The encodings. To let the test of the mask cover one, set it to `true`.
const ENCODINGS: &[View] = &[
    view("base64", true, base64),
    view("percent-encoding", false, percent),
    view("JSON escapes", false, json),
    view("XML references", false, xml),
    view("C escapes", false, c),
    view("shell escapes", false, shell),
    view("quoted-printable", false, quoted_printable),
    view("UTF-16", false, utf_16),
    view("hexadecimal digits", false, hexadecimal),
    view("a list of numbers", false, list),
    view("binary digits", false, binary),
    view("a dump", false, dump),
    view("a dump of little-endian words", false, words),
    view("a manifest", true, manifest),
];

/// The layouts, which come after all encodings.
const LAYOUTS: &[View] = &[
    view("folded lines", false, folded),
    view("decorated lines", false, decorated),
    view("separators in a line", false, separated),
    view("colours", true, colours),
    view("terminal control", false, control),
    view("characters without width", false, invisible),
    view("backspaces", false, backspaces),
];

/// The part of the token that a script prints.
#[derive(Clone, Copy, Debug)]
enum Part {
    Whole,
    Signature,
    /// The bytes that the signature encodes.
    Decoded,
    /// The signature in the standard alphabet of base64.
    Standard,
}

/// The parts, and whether the test of the mask covers them.
const PARTS: &[(Part, bool)] = &[
    (Part::Whole, true),
    (Part::Signature, false),
    (Part::Standard, false),
    (Part::Decoded, false),
];

#[derive(Clone, Debug)]
struct Case {
    part: Part,
    encodings: Vec<&'static str>,
    layout: Option<&'static str>,
    seed: u64,
}

#[test]
fn the_judge_reads_nothing_through_a_claimed_view() {
    let claimed = |views: &'static [View]| {
        let claimed = views.iter().filter(|view| view.claimed).map(|view| view.name);
        sample::select(claimed.collect::<Vec<_>>())
    };
    let parts = PARTS
        .iter()
        .filter(|(_, claimed)| *claimed)
        .map(|(part, _)| *part);
    let cases = (
        sample::select(parts.collect::<Vec<_>>()),
        collection::vec(claimed(ENCODINGS), 0..=DEPTH),
        option::of(claimed(LAYOUTS)),
        proptest::num::u64::ANY,
    );
    let cases = cases.prop_map(|(part, encodings, layout, seed)| Case {
        part,
        encodings,
        layout,
        seed,
    });
    let (all, readable) = (Cell::new(0), Cell::new(0));
    let maskers = RefCell::new(HashMap::new());
    property::holds("views", 2000, &cases, |case| {
        let (token, text) = case.write();
        let judge = Judge::new(&token);
        all.set(all.get() + 1);
        if judge.read(&text).verdict != Verdict::Usable {
            return None;
        }
        readable.set(readable.get() + 1);
        let mut maskers = maskers.borrow_mut();
        let masker = maskers
            .entry(token.clone())
            .or_insert_with(|| Masker::new([&*token]));
        let masked = case.masked(masker.clone(), &text);
        let finding = judge.read(&masked);
        (finding.verdict != Verdict::Nothing).then(|| {
            let (text, masked) = (String::from_utf8_lossy(&text), String::from_utf8_lossy(&masked));
            format!("{finding}\ntext:\n{text}\nmasked:\n{masked}\n")
        })
    });
    assert!(
        readable.get() * 100 >= all.get() * 95,
        "the judge reads only {} of {} cases, so the others prove nothing",
        readable.get(),
        all.get()
    );
}

/// The judge reads every view, claimed or not.
#[test]
fn the_judge_reads_what_the_encoders_write() {
    for (views, is_layout) in [(ENCODINGS, false), (LAYOUTS, true)] {
        for view in views {
            let unread = (0..30).filter(|seed| {
                let case = Case {
                    part: Part::Whole,
                    encodings: if is_layout { Vec::new() } else { vec![view.name] },
                    layout: is_layout.then_some(view.name),
                    seed: *seed,
                };
                let (token, text) = case.write();
                Judge::new(&token).read(&text).verdict != Verdict::Usable
            });
            assert_eq!(unread.collect::<Vec<_>>(), [0; 0], "{}", view.name);
        }
    }
}

impl Case {
    /// A token, and the text that shows it.
    fn write(&self) -> (String, Vec<u8>) {
        // A masker takes long to build, so there are few tokens.
        let token = token(&mut Random(self.seed % TOKENS));
        let mut random = Random(self.seed);
        let signature = token.rsplit('.').next().expect("a signature");
        let mut text = match self.part {
            Part::Whole => token.clone().into_bytes(),
            Part::Signature => signature.into(),
            Part::Decoded => URL_SAFE_NO_PAD.decode(signature).expect("base64"),
            Part::Standard => signature.replace('-', "+").replace('_', "/").into_bytes(),
        };
        let views = ENCODINGS.iter().chain(LAYOUTS);
        for name in self.encodings.iter().chain(&self.layout) {
            let view = views.clone().find(|view| view.name == *name).expect("a view");
            text = (view.write)(&mut random, &text);
        }
        let (before, after) = (
            random.of(&["", "token: ", "$ cat x\n"]),
            random.of(&["", "\n", "\n$ done\n"]),
        );
        (token, [before.as_bytes(), &text, after.as_bytes()].concat())
    }

    /// Masks the text, which reaches the masker in chunks of random sizes.
    fn masked(&self, mut masker: Masker, text: &[u8]) -> Vec<u8> {
        let mut random = Random(self.seed);
        let mut masked = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(random.below(rest.len()) + 1);
            masker.push(chunk, &mut masked).expect("memory");
            rest = after;
        }
        masker.finish(&mut masked).expect("memory");
        masked
    }
}

/// A generator of pseudo-random numbers (SplitMix64). The value is its state, and at first its seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).expect("small")).expect("small")
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// A token like Kubernetes', with a signature of RSA or of ECDSA.
fn token(random: &mut Random) -> String {
    let claims = format!(
        r#"{{"aud":["https://kubernetes.default.svc"],"exp":{},"iss":"https://kubernetes.default.svc","sub":"system:serviceaccount:ci:{}"}}"#,
        1_790_000_000 + random.below(1_000_000),
        random.of(&["scanner", "deployer", "a-longer-name-of-an-account"]),
    );
    let length = random.of(&[64, 256, 256]);
    let parts = [
        br#"{"alg":"RS256","kid":"Hv"}"#.to_vec(),
        claims.into_bytes(),
        random.bytes(length),
    ];
    parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

/// Writes either all bytes with `form`, or only the bytes that are not letters or digits and about an eighth
/// of the letters and digits.
fn each(random: &mut Random, bytes: &[u8], form: impl Fn(u8) -> String) -> Vec<u8> {
    let all = random.below(2) == 0;
    let written =
        bytes.iter().map(
            |byte| match all || !byte.is_ascii_alphanumeric() || random.below(8) == 0 {
                true => form(*byte).into_bytes(),
                false => vec![*byte],
            },
        );
    written.collect::<Vec<_>>().concat()
}

fn base64(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let alphabet = random.of(&[&alphabet::STANDARD, &alphabet::URL_SAFE]);
    let padding = random.below(2) == 0;
    let config = GeneralPurposeConfig::new().with_encode_padding(padding);
    let before = random.of(&["", "x", "ci", "ci:", "token: "]);
    let after = random.of(&["", "\n", "\nkind: Config\n"]);
    let text = [before.as_bytes(), bytes, after.as_bytes()].concat();
    GeneralPurpose::new(alphabet, config).encode(text).into_bytes()
}

fn percent(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    match random.below(2) {
        0 => each(random, bytes, |byte| format!("%{byte:02X}")),
        _ => each(random, bytes, |byte| format!("%{byte:02x}")),
    }
}

fn json(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    match random.below(3) {
        0 => each(random, bytes, |byte| format!("\\u{byte:04x}")),
        1 => each(random, bytes, |byte| format!("\\u{byte:04X}")),
        _ => each(random, bytes, |byte| format!("\\u{{{byte:x}}}")),
    }
}

fn xml(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    match random.below(3) {
        0 => each(random, bytes, |byte| format!("&#{byte};")),
        1 => each(random, bytes, |byte| format!("&#x{byte:x};")),
        _ => each(random, bytes, |byte| format!("&#x{byte:04X};")),
    }
}

fn c(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    match random.below(3) {
        0 => each(random, bytes, |byte| format!("\\x{byte:02x}")),
        1 => each(random, bytes, |byte| format!("\\{byte:03o}")),
        _ => each(random, bytes, |byte| format!("\\U{byte:08x}")),
    }
}

/// A backslash before each character that is not a letter or a digit.
fn shell(_: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let written = bytes.iter().map(|byte| match byte.is_ascii_alphanumeric() {
        true => vec![*byte],
        false => vec![b'\\', *byte],
    });
    written.collect::<Vec<_>>().concat()
}

fn quoted_printable(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let written = each(random, bytes, |byte| format!("={byte:02X}"));
    if random.below(2) == 0 {
        return written;
    }
    bytes.chunks(75).collect::<Vec<_>>().join(&b"=\n"[..])
}

fn utf_16(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let little = random.below(2) == 0;
    bytes
        .iter()
        .flat_map(|byte| if little { [*byte, 0] } else { [0, *byte] })
        .collect()
}

fn digits(random: &mut Random, bytes: &[u8]) -> String {
    let upper = random.below(2) == 0;
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = if upper {
            write!(digits, "{byte:02X}")
        } else {
            write!(digits, "{byte:02x}")
        };
        digits
    })
}

fn hexadecimal(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let digits = digits(random, bytes);
    let digits = digits.as_bytes();
    if random.below(2) == 0 {
        let group = random.of(&[1, 2, 4, 8]) * 2;
        let separator = random.of(&["", " ", ":", "-", "  ", "\n"]);
        return digits
            .chunks(group)
            .collect::<Vec<_>>()
            .join(separator.as_bytes());
    }
    let (before, separator) =
        random.of(&[("0x", ", "), ("0x", " "), ("\\x", ""), ("%", ""), ("0x", ",\n  ")]);
    let bytes = digits.chunks(2).map(|byte| [before.as_bytes(), byte].concat());
    bytes.collect::<Vec<_>>().join(separator.as_bytes())
}

fn list(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let (begin, separator, end) = random.of(&[
        ("[", ", ", "]"),
        ("[", ",", "]"),
        ("[", " ", "]"),
        ("", "\n", ""),
        ("[\n  ", ",\n  ", "\n]"),
        ("", " ", ""),
    ]);
    let octal = random.below(3) == 0;
    let numbers = bytes.iter().map(|byte| {
        if octal {
            format!("{byte:03o}")
        } else {
            byte.to_string()
        }
    });
    format!("{begin}{}{end}", numbers.collect::<Vec<_>>().join(separator)).into_bytes()
}

fn binary(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let separator = random.of(&["", " ", "\n"]);
    let numbers = bytes.iter().map(|byte| format!("{byte:08b}"));
    numbers.collect::<Vec<_>>().join(separator).into_bytes()
}

/// Lines of an address, groups of bytes, and mostly a column of text.
fn lines(random: &mut Random, bytes: &[u8], group: usize, form: impl Fn(&[u8]) -> String) -> Vec<u8> {
    let width = random.of(&[8, 16, 16, 16, 24, 32]);
    let address = random.of(&[4, 6, 7, 8]);
    let colon = random.of(&[":", "", " "]);
    let column = random.of(&["", "  ", " |"]);
    let mut dump = String::new();
    for (at, line) in bytes.chunks(width).enumerate() {
        let groups = line.chunks(group).map(&form).collect::<Vec<_>>().join(" ");
        let _ = write!(dump, "{:0address$x}{colon} {groups}", at * width);
        if !column.is_empty() {
            let text = line.iter().map(|byte| {
                if byte.is_ascii_graphic() {
                    char::from(*byte)
                } else {
                    '.'
                }
            });
            let _ = write!(dump, "{column}{}{}", text.collect::<String>(), column.trim());
        }
        dump.push('\n');
    }
    dump.into_bytes()
}

fn dump(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    if random.below(3) == 0 {
        return lines(random, bytes, 1, |byte| format!("{:03o}", byte[0]));
    }
    let group = random.of(&[1, 1, 2, 2, 4, 8]);
    let upper = random.below(2) == 0;
    lines(random, bytes, group, |bytes| {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        if upper { digits.to_uppercase() } else { digits }
    })
}

fn words(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let group = random.of(&[2, 2, 4, 8]);
    lines(random, bytes, group, |bytes| {
        bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect()
    })
}

/// The text inside the text of a file, such as a manifest.
fn manifest(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let (before, after) = random.of(&[
        ("{\"auths\":{\"r\":{\"auth\":\"", "\"}}}"),
        ("kind: Secret\ndata:\n  token: ", "\ntype: Opaque\n"),
        ("TOKEN=", "\n"),
        ("<token>", "</token>"),
    ]);
    [before.as_bytes(), bytes, after.as_bytes()].concat()
}

fn fold(random: &mut Random, bytes: &[u8], decorate: impl Fn(usize) -> (String, String)) -> Vec<u8> {
    let width = random.of(&[24, 32, 40, 60, 64, 76, 100, 20 + 1, 50 + 7]);
    let lines = bytes.chunks(width).enumerate().map(|(at, line)| {
        let (before, after) = decorate(at);
        [before.as_bytes(), line, after.as_bytes()].concat()
    });
    lines.collect::<Vec<_>>().concat()
}

fn folded(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let (before, after) = random.of(&[
        ("", "\n"),
        ("", "\r\n"),
        ("  ", "\n"),
        ("\t", "\n"),
        ("", "\\\n"),
        ("", "\n\n"),
        ("\"", "\",\n"),
    ]);
    fold(random, bytes, |_| (before.to_owned(), after.to_owned()))
}

fn decorated(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    type Decorate = fn(usize) -> (&'static str, Option<usize>, &'static str, &'static str);
    const DECORATIONS: &[Decorate] = &[
        |_| ("> ", None, "", ""),
        |_| ("# ", None, "", ""),
        |_| ("+", None, "", ""),
        |_| ("app-1  | ", None, "", ""),
        |_| ("│ ", None, "", " │"),
        |_| ("| ", None, "", " |"),
        |_| (" * ", None, "", ""),
        |_| ("    '", None, "", "' +"),
        |_| ("[INFO] ", None, "", ""),
        |at| ("", Some(at), ":", ""),
        |at| ("     ", Some(at), "\t", ""),
        |at| ("2026-01-02T03:04:", Some(at % 50 + 10), "Z ", ""),
        |at| ("file.txt:", Some(at), ":", ""),
    ];
    let decorate = random.of(DECORATIONS);
    fold(random, bytes, |at| {
        let (before, number, mark, after) = decorate(at);
        let number = number.map_or_else(String::new, |number| number.to_string());
        (format!("{before}{number}{mark}"), format!("{after}\n"))
    })
}

fn separated(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let separator = random.of(&[" ", ",", "\", \"", "' + '", "\t", " | ", "<wbr>", "''", "  "]);
    let width = random.of(&[24, 30, 40, 60, 90]);
    bytes.chunks(width).collect::<Vec<_>>().join(separator.as_bytes())
}

/// The text with `between` after every few bytes.
fn sprinkle(random: &mut Random, bytes: &[u8], between: &str) -> Vec<u8> {
    let width = random.of(&[1, 3, 20, 40]);
    bytes.chunks(width).collect::<Vec<_>>().join(between.as_bytes())
}

fn colours(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let between = random.of(&["\u{1b}[1m", "\u{1b}[0m", "\u{1b}[38;5;12m", "\u{1b}[K"]);
    sprinkle(random, bytes, between)
}

fn control(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let between = random.of(&[
        "\u{1b}(B\u{1b}[m",
        "\u{1b}7",
        "\u{1b}8",
        "\u{1b}]0;title\u{7}",
        "\u{1b}]8;;\u{1b}\\",
        "\u{9b}1m",
        "\u{7}",
        "\0",
        "\u{1b}_x\u{1b}\\",
    ]);
    sprinkle(random, bytes, between)
}

fn invisible(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let between = random.of(&[
        "\u{200b}", "\u{200d}", "\u{200e}", "\u{ad}", "\u{2060}", "\u{feff}",
    ]);
    sprinkle(random, bytes, between)
}

fn backspaces(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    match random.below(3) {
        0 => sprinkle(random, bytes, "x\u{8}"),
        1 => bytes.iter().flat_map(|byte| [*byte, 8, *byte]).collect(),
        _ => bytes.iter().flat_map(|byte| [b'_', 8, *byte]).collect(),
    }
}
