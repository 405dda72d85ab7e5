//! Careless scripts, and checks of their output. The tests of every platform use them.

use std::{collections::HashSet, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_mask::{PIECE, forms};

use super::assert_absent;

/// The forms in which a script shows the token if nothing masks it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// At least one whole form. A platform that searches for values can mask it.
    Whole,
    /// Only pieces: the output is cut off, or line breaks, colours or the columns of a dump are in it. Only a
    /// filter can find pieces.
    Pieces,
}

/// The scripts, in POSIX sh. The token is in `$TOKEN` and in the file `$JOBPASS_TOKEN_FILE`. `$SERVER` and
/// `$CA` name the cluster.
const SCRIPTS: &[(&str, Shows, &str)] = &[
    ("echo", Shows::Whole, r#"echo "my token is $TOKEN""#),
    ("stderr", Shows::Whole, r#"echo "error: bad token $TOKEN" >&2"#),
    ("no line break", Shows::Whole, r#"printf '%s' "$TOKEN""#),
    ("crlf", Shows::Whole, r#"printf 'token: %s\r\n\r\n' "$TOKEN""#),
    (
        "quoted",
        Shows::Whole,
        r#"printf "'%s' \"%s\"\n" "$TOKEN" "$TOKEN""#,
    ),
    ("cat", Shows::Whole, r#"cat "$JOBPASS_TOKEN_FILE""#),
    ("grep", Shows::Whole, r#"grep -H . "$JOBPASS_TOKEN_FILE""#),
    ("env", Shows::Whole, "env"),
    ("export -p", Shows::Whole, "export -p"),
    (
        "set -x",
        Shows::Whole,
        r#"(set -x; true "$TOKEN" "--token=$TOKEN")"#,
    ),
    ("sh -x", Shows::Whole, r#"sh -xc 'test -n "$TOKEN"'"#),
    (
        "curl -v",
        Shows::Whole,
        r#"curl -sv --cacert "$CA" -H "Authorization: Bearer $TOKEN" "$SERVER/version""#,
    ),
    (
        "curl url",
        Shows::Whole,
        r#"curl -sv --cacert "$CA" "$SERVER/version?token=$TOKEN""#,
    ),
    (
        "base64 of echo",
        Shows::Whole,
        r#"echo "$TOKEN" | base64 -w 0; echo"#,
    ),
    (
        "base64 of printf",
        Shows::Whole,
        r#"printf %s "$TOKEN" | base64 -w 0; echo"#,
    ),
    ("base64 in lines", Shows::Whole, r#"echo "$TOKEN" | base64"#),
    (
        "openssl base64",
        Shows::Whole,
        r#"echo "$TOKEN" | openssl base64"#,
    ),
    (
        "basic auth",
        Shows::Whole,
        r#"printf 'x:%s' "$TOKEN" | base64 -w 0; echo"#,
    ),
    (
        "base64 inside",
        Shows::Whole,
        r#"printf 'token: %s, more' "$TOKEN" | base64 -w 0; echo"#,
    ),
    (
        "base64url",
        Shows::Whole,
        r#"printf %s "$TOKEN" | base64 -w 0 | tr '+/' '-_' | tr -d =; echo"#,
    ),
    (
        "base64 of a kubeconfig",
        Shows::Pieces,
        r#"printf 'users:\n- user:\n    token: %s\n' "$TOKEN" | base64"#,
    ),
    (
        "jq",
        Shows::Whole,
        r#"jq -n --arg token "$TOKEN" '{token: $token}'"#,
    ),
    (
        "jq, coloured",
        Shows::Whole,
        r#"jq -n -C --arg token "$TOKEN" '{token: $token}'"#,
    ),
    (
        "jq @uri @base64",
        Shows::Whole,
        r#"jq -nr --arg token "$TOKEN" '$token | @uri, @base64, @sh, @html'"#,
    ),
    (
        "json in json",
        Shows::Whole,
        r#"jq -n --arg token "$TOKEN" '{token: $token} | tostring'"#,
    ),
    (
        "python traceback",
        Shows::Whole,
        r#"python3 -c 'import os; raise ValueError("bad token " + os.environ["TOKEN"])'"#,
    ),
    (
        "python repr",
        Shows::Whole,
        r#"python3 -c 'import os; print({"t": os.environ["TOKEN"].encode()})'"#,
    ),
    (
        "hex",
        Shows::Whole,
        r#"printf %s "$TOKEN" | xxd -p | tr -d '\n'; echo"#,
    ),
    (
        "HEX",
        Shows::Whole,
        r#"printf %s "$TOKEN" | xxd -p -u | tr -d '\n'; echo"#,
    ),
    ("xxd -p", Shows::Pieces, r#"printf %s "$TOKEN" | xxd -p"#),
    ("xxd", Shows::Pieces, r#"echo "$TOKEN" | xxd"#),
    ("hexdump -C", Shows::Pieces, r#"echo "$TOKEN" | hexdump -C"#),
    ("od", Shows::Pieces, r#"echo "$TOKEN" | od -t x1"#),
    (
        "split writes",
        Shows::Whole,
        r#"printf %s "$TOKEN" | head -c 300; printf %s "$TOKEN" | tail -c +301 | head -c 7; printf %s "$TOKEN" | tail -c +308; echo"#,
    ),
    (
        "byte by byte",
        Shows::Whole,
        r#"printf %s "$TOKEN" | dd bs=1 2>/dev/null; echo"#,
    ),
    ("segments", Shows::Whole, r#"echo "$TOKEN" | tr . '\n'"#),
    ("claims", Shows::Whole, r#"echo "$TOKEN" | cut -d. -f2"#),
    ("signature", Shows::Whole, r#"echo "$TOKEN" | cut -d. -f3"#),
    ("fold", Shows::Pieces, r#"echo "$TOKEN" | fold -w 76; echo"#),
    ("cut off", Shows::Pieces, r#"echo "$TOKEN" | cut -c1-500"#),
    (
        "coloured",
        Shows::Whole,
        r#"printf '\033[31;1m%s\033[0m\n' "$TOKEN""#,
    ),
    (
        "coloured segments",
        Shows::Whole,
        r#"echo "$TOKEN" | sed 's/\./\x1b[1m.\x1b[0m/g'"#,
    ),
    (
        "coloured through",
        Shows::Pieces,
        r#"echo "$TOKEN" | sed "s/.\{40\}/&$(printf '\033')[1m/g"; printf '\033[0m'"#,
    ),
    (
        "a very long line",
        Shows::Whole,
        r#"printf %0100000d 0; printf %s "$TOKEN"; printf '%0100000d\n' 0"#,
    ),
    ("after much", Shows::Whole, r#"seq 1 20000; echo "$TOKEN""#),
];

/// Runs [`script`] in a job with a step `generate-token`.
pub(crate) const STEP: &str = r#"
      - name: careless
        env:
          TOKEN: ${{ steps.generate-token.outputs.token }}
          JOBPASS_TOKEN_FILE: ${{ steps.generate-token.outputs.token-file }}
        run: sh careless.sh 2>&1
"#;

/// All scripts, each after a line with its name. If one fails, the others still run.
pub(crate) fn script() -> String {
    SCRIPTS.iter().fold(String::new(), |mut all, (name, _, script)| {
        let _ = writeln!(all, "echo; echo '=== {name} ==='\n{{ {script}\n}} || true");
        all
    }) + "echo; echo '=== end ==='\n"
}

/// Asserts that a filter left no piece of the token in a log.
pub(crate) fn assert_no_piece(secret: &str, log: &str) {
    for (name, _, section) in sections(log) {
        let pieces = pieces(secret, section);
        assert!(pieces.is_empty(), "`{name}` shows {pieces:?} in:\n{section}");
    }
}

/// Asserts that a platform that searches for values left no whole form of the token. This does not search for
/// pieces, because such a platform cannot find them.
pub(crate) fn assert_no_form(secret: &str, log: &str) {
    for (name, _, section) in sections(log) {
        assert_absent(secret, &format!("the output of `{name}`"), section);
    }
}

/// Asserts that nothing masked the log, and that the checks find the token in the output of every script.
/// Otherwise the checks would prove nothing.
pub(crate) fn assert_all_found(secret: &str, log: &str) {
    for (name, shows, section) in sections(log) {
        assert!(
            !pieces(secret, section).is_empty(),
            "`{name}` shows nothing:\n{section}"
        );
        let whole = || forms(secret).iter().any(|form| section.contains(form.expose()));
        assert!(
            shows == Shows::Pieces || whole(),
            "`{name}` shows no form:\n{section}"
        );
    }
}

/// The output of each script. Panics if a script did not run.
fn sections(log: &str) -> impl Iterator<Item = (&'static str, Shows, &str)> {
    SCRIPTS.iter().map(move |(name, shows, _)| {
        let begin = format!("=== {name} ===");
        let (_, after) = log
            .split_once(&begin)
            .unwrap_or_else(|| panic!("no `{begin}` in:\n{log}"));
        let section = after.split("=== ").next().unwrap_or_default();
        (*name, *shows, section)
    })
}

/// At most three of the pieces of the token that a person finds in a text. The search reads the text as it
/// is, without its colours, with its lines joined, and as a decoded dump.
pub(crate) fn pieces(secret: &str, text: &str) -> Vec<String> {
    let forms = forms(secret);
    let mut known = HashSet::new();
    let mut public = HashSet::new();
    for form in &forms {
        let secret = form.secret_part().as_bytes();
        let first = form.expose().len() - secret.len();
        known.extend(secret.windows(PIECE));
        // A window that begins before the secret part contains too little of that part to count as a piece.
        let last = form.expose().len().min(first + PIECE - 1);
        public.extend(form.expose().as_bytes()[..last].windows(PIECE));
    }
    // Public text that occurs a second time in the secret part stays public: the issuer is also an audience,
    // and `nbf` begins like `exp`.
    known.retain(|window| !public.contains(window));
    let plain = without_colours(text);
    let joined = plain.split_whitespace().collect::<String>();
    let readings = [text.to_owned(), undumped(&plain), plain, joined];
    let found = readings
        .iter()
        .flat_map(|reading| reading.as_bytes().windows(PIECE));
    let found = found.filter(|window| known.contains(window)).take(3);
    found
        .map(|window| String::from_utf8_lossy(window).into_owned())
        .collect()
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain
            + part
                .split_once(|c: char| c.is_ascii_alphabetic())
                .map_or("", |(_, rest)| rest)
    })
}

/// Decodes the hexadecimal groups of each line.
fn undumped(text: &str) -> String {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let groups = line
            .split_whitespace()
            .skip(1)
            .take_while(|group| matches!(group.len(), 2 | 4) && group.bytes().all(|b| b.is_ascii_hexdigit()));
        let digits = groups.collect::<String>();
        bytes.extend(
            digits
                .as_bytes()
                .chunks(2)
                .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()),
        );
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_dump_is_read_and_colours_are_looked_through() {
    let secret = "a-secret-that-is-long-enough";
    for text in [
        "00000000: 612d 7365 6372 6574 2d74 6861 742d 6973  a-se...\n00000010: 2d6c 6f6e 672d 656e 6f75 6768  -long",
        "00000000  61 2d 73 65 63 72 65 74  2d 74 68 61 74 2d 69 73  |a|\n",
        "a-se\u{1b}[31mcret-that-\u{1b}[0mis-long-en",
        "a-secret-\n  that-is-lo\n",
        &STANDARD.encode(secret),
    ] {
        assert!(!pieces(secret, text).is_empty(), "{text}");
    }
    assert!(pieces(secret, "a-secret-that-i \u{1b}[31m").is_empty());
}
