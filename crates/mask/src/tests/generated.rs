//! Random encodings, folds and decorations of secrets and of other text.

use super::*;

/// A generator of random numbers (xorshift64*).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

fn hex(bytes: &[u8], group: usize, before: &str, between: &str, is_upper: bool) -> Vec<u8> {
    let groups = bytes.chunks(group).map(|group| {
        let digits: String = group.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "{before}{}",
            if is_upper { digits.to_uppercase() } else { digits }
        )
    });
    groups.collect::<Vec<_>>().join(between).into()
}

fn numbers(bytes: &[u8], show: impl Fn(&u8) -> String, between: &str) -> Vec<u8> {
    bytes.iter().map(show).collect::<Vec<_>>().join(between).into()
}

fn dump(bytes: &[u8], columns: usize, group: usize, address: usize, end: &str, has_text: bool) -> Vec<u8> {
    let lines = bytes.chunks(columns).enumerate().map(|(line, bytes)| {
        let digits = String::from_utf8(hex(bytes, group, "", " ", false)).expect("digits");
        let shown: String = bytes
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() {
                    char::from(*byte)
                } else {
                    '.'
                }
            })
            .collect();
        let width = columns * 2 + columns / group;
        let text = if has_text {
            format!("  {shown}")
        } else {
            String::new()
        };
        format!("{:0address$x}{end} {digits:<width$}{text}\n", line * columns)
    });
    lines.collect::<String>().into()
}

/// One encoding of bytes.
pub(super) fn encoded(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let between = random.pick(&["", " ", ":", ", ", "-", "\n"]);
    match random.below(16) {
        0 => STANDARD.encode(bytes).into(),
        1 => URL_SAFE_NO_PAD.encode(bytes).into(),
        2 => {
            let group = random.pick(&[1, 2, 4]);
            let is_upper = random.below(2) == 0;
            hex(bytes, group, "", between, is_upper)
        }
        3 => hex(
            bytes,
            1,
            random.pick(&["0x", "\\x", "%", "&#x", "\\u00"]),
            random.pick(&["", ", ", ";"]),
            false,
        ),
        4 => numbers(bytes, u8::to_string, random.pick(&[" ", ",", ", "])),
        5 => numbers(bytes, |byte| format!("{byte:03o}"), random.pick(&[" ", "\\"])),
        6 => {
            let (columns, address) = (16, random.pick(&[4, 6, 7, 8]));
            let has_text = random.below(2) == 0;
            dump(bytes, columns, random.pick(&[1, 2]), address, ":", has_text)
        }
        7 => bytes.iter().flat_map(|byte| [*byte, 0]).collect(),
        8 => format!("{{\"auth\":\"{}\"}}", STANDARD.encode(bytes)).into(),
        9 if random.below(2) == 0 => {
            numbers(bytes, |byte| format!("{:04b} {:04b}", byte >> 4, byte & 15), " ")
        }
        9 => numbers(bytes, |byte| format!("{byte:08b}"), " "),
        10 => [b"Bearer ".as_slice(), bytes].concat(),
        11 => {
            let at = random.below(bytes.len() + 1);
            bytes[at..].to_vec()
        }
        _ => bytes.to_vec(),
    }
}

/// Folds and decorations of a text.
pub(super) fn decorated(text: &[u8], random: &mut Random) -> Vec<u8> {
    let columns = 24 + random.below(100);
    let lines = |begin: &str, end: &str| -> Vec<u8> {
        let lines = text
            .chunks(columns)
            .map(|line| [begin.as_bytes(), line, end.as_bytes()].concat());
        lines.collect::<Vec<_>>().concat()
    };
    match random.below(14) {
        0 => lines("> ", "\n"),
        1 => lines("+", "\n"),
        2 => lines("\u{2502} ", " \u{2502}\n"),
        3 => lines("app-1  | ", "\n"),
        4 => lines("2026-11-24T10:00:12.123Z ", "\n"),
        5 => lines(
            "",
            random.pick(&[
                "\n", "\r\n", "\n    ", " ", ",", "<wbr>", "\u{ad}", "\u{200b}", "\0",
            ]),
        ),
        6 => lines(
            "",
            random.pick(&[
                "\u{1b}[1m",
                "\u{1b}(B\u{1b}[m",
                "\u{1b}7",
                "\u{1b}]0;title\u{7}",
                "\u{9b}31m",
            ]),
        ),
        7 => text.iter().flat_map(|byte| [*byte, 8, *byte]).collect(),
        8 => lines("12:", "\n"),
        _ => text.to_vec(),
    }
}

fn noise(random: &mut Random) -> Vec<u8> {
    let other = long_jwt(1_790_000_000 + random.below(90) as u64);
    match random.below(8) {
        0 => other.into(),
        1 => format!(
            "2026-11-24 10:00:12.{:03} INFO took {} ms\n",
            random.below(1000),
            random.below(999)
        )
        .into(),
        2 => (0..random.below(200)).map(|_| random.below(256) as u8).collect(),
        3 => STANDARD.encode(other).into(),
        4 => vec![b' '; random.below(300)],
        5 => b"\x1b[32m   Compiling\x1b[0m package v0.1.2\r\n".to_vec(),
        _ => random
            .pick(&[
                "",
                "\n",
                " ",
                "\"",
                "token: ",
                "a",
                "Continue? [y/N] ",
                "0x",
                "\\",
                "\x1b[",
            ])
            .into(),
    }
}

/// A log with parts of secrets.
pub(super) fn log(secrets: &[&str], random: &mut Random) -> Vec<u8> {
    let mut log = Vec::new();
    for _ in 0..1 + random.below(4) {
        log.extend(noise(random));
        let secret = random.pick(secrets).as_bytes();
        let mut text = if random.below(3) == 0 {
            noise(random)
        } else {
            secret.to_vec()
        };
        if random.below(3) == 0 {
            let from = random.below(text.len() + 1);
            let length = random.below(text.len() + 1 - from + 1);
            text = text[from..text.len().min(from + length)].to_vec();
        }
        let depth = random.below(3);
        for _ in 0..depth {
            text = encoded(&text, random);
        }
        if depth < 2 && random.below(2) == 0 {
            text = decorated(&text, random);
        }
        log.extend(text);
    }
    log.extend(noise(random));
    log
}

const OTHER_SECRETS: [&str; 3] = ["hunter2!", "Tr0ub4dor&3-and-more", RFC];

thread_local! {
    /// A masker of [`OTHER_SECRETS`].
    static OTHERS: Masker = Masker::new(OTHER_SECRETS);
}

/// Asserts that a [`Masker`] and [`slow::masked`] mask the same text. `change` can change how the masker reads.
fn compare(seed: u64, change: fn(&Masker) -> Masker) {
    let random = &mut Random::new(seed);
    let token = long_jwt(1_790_000_000 + seed);
    let other = long_jwt(1_790_000_000 + seed / 2);
    let secrets = match random.below(3) {
        0 => vec![token.as_str()],
        1 => vec![token.as_str(), other.as_str(), "correct-horse-battery-staple"],
        _ => OTHER_SECRETS.to_vec(),
    };
    let log = log(&secrets, random);
    let masker = match secrets.contains(&RFC) {
        true => OTHERS.with(Masker::clone),
        false => Masker::new(secrets.iter().copied()),
    };
    let masker = change(&masker);
    let expected = slow::masked(&masker.secrets, &log);
    let largest = random.pick(&[3, 40, 900]);
    let size = 1 + random.below(largest);
    let mut ends: Vec<Masker> = Vec::new();
    for size in [log.len().max(1), size] {
        let (mut masker, mut out) = (masker.clone(), Vec::new());
        for chunk in log.chunks(size) {
            masker.push(chunk, &mut out).expect("memory takes all");
        }
        // From the same state on, a masker writes the same text. The output includes all text before.
        if out.is_empty() && ends.iter().any(|other| other.is_same(&masker)) {
            continue;
        }
        ends.push(masker.clone());
        masker.finish(&mut out).expect("memory takes all");
        let same = out
            .iter()
            .zip(&expected)
            .take_while(|(one, other)| one == other)
            .count();
        let near = |text: &[u8]| {
            let text = &text[same.saturating_sub(150).min(text.len())..text.len().min(same + 150)];
            String::from_utf8_lossy(text).into_owned()
        };
        assert!(
            out == expected,
            "seed {seed}, chunks of {size}\n--- streamed\n{:?}\n--- slow\n{:?}",
            near(&out),
            near(&expected),
        );
    }
}

/// Text that a program writes slowly shows no more than a few bytes of a secret at each pause.
fn pause(seed: u64) {
    const MOST: usize = 24;
    let random = &mut Random::new(seed);
    let token = long_jwt(1_790_000_000 + seed);
    let log = log(&[token.as_str()], random);
    let masker = Masker::new([token.as_str()]);
    let shown = |out: &[u8]| String::from_utf8_lossy(out).replace(MARK, "").len();
    let whole = shown(&masked(&masker, [log.as_slice()]));
    let (mut masker, mut out, mut rest, mut pauses) = (masker, Vec::new(), log.as_slice(), 0);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(1 + random.below(1500)));
        masker.push(now, &mut out).expect("memory takes all");
        match random.below(2) {
            0 => masker.pause(&mut out).expect("memory takes all"),
            _ => masker.flush(&mut out).expect("memory takes all"),
        }
        (rest, pauses) = (later, pauses + 1);
    }
    masker.finish(&mut out).expect("memory takes all");
    assert!(
        shown(&out) <= whole + MOST * pauses,
        "seed {seed}: the output shows {} bytes, and {whole} without {pauses} pauses: {}",
        shown(&out),
        String::from_utf8_lossy(&out)
    );
}

/// Runs a test for some seeds. Two variables choose the number of cases and the first seed.
fn each_seed(cases: u64, test: fn(u64)) {
    let variable = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let cases = variable("JOBPASS_MASK_CASES").unwrap_or(cases);
    let first = variable("JOBPASS_MASK_FIRST").unwrap_or(0);
    let wrong = (first..first + cases).filter(|seed| std::panic::catch_unwind(|| test(*seed)).is_err());
    assert_eq!(wrong.count(), 0);
}

#[test]
fn pauses_show_no_more() {
    each_seed(60, pause);
}

#[test]
fn the_stream_agrees_with_the_definition() {
    each_seed(25, |seed| compare(seed, Masker::clone));
}

#[test]
fn the_first_look_agrees_with_the_definition() {
    each_seed(25, |seed| compare(seed, quick));
}

/// Slices end within all kinds of text, because they are shorter than most logs.
#[test]
fn short_slices_agree_with_the_definition() {
    const SIZE: usize = 5_000;
    each_seed(25, |seed| {
        compare(seed, |masker| {
            let mut masker = masker.clone();
            masker.size = SIZE;
            masker.credit = 2 * SIZE;
            masker
        });
    });
}

/// A slice ends within a dump in numbers, whose lines must be read from their addresses on, or within a part
/// that two views read in different ways.
#[test]
fn slices_of_numbers_of_numbers_agree_with_the_definition() {
    for seed in [200_011_810, 200_022_401, 200_035_328, 400_011_359, 410_011_051] {
        compare(seed, quick);
    }
}
