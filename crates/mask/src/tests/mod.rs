use std::sync::{Arc, Mutex};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use crate::{MARK, Masker, SecretSource, views::View};

mod agree;
mod careless;
mod generated;
mod long;
mod properties;
mod slow;
mod views;

/// The JWT of RFC 7515, appendix A.2.
const RFC: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ij\
                   p0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuhIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds\
                   9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTytWO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN938\
                   3LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlV\
                   mtVrBp0igcN_IoypGlUPQGe77Rw";

/// A long JWT with claims in alphabetical order and a random signature. If two JWTs are issued in different
/// seconds, they differ from the claim `exp` on.
fn long_jwt(issued: u64) -> String {
    let issuer = "https://kubernetes.default.svc.cluster.local";
    let header = r#"{"alg":"RS256","kid":"1kYhXbnxUJkk0Kjl5mrqFdfqI0nUqQ9ZoXS8rH8wW2s"}"#;
    let claims = format!(
        r#"{{"aud":["{issuer}"],"exp":{},"iat":{issued},"iss":"{issuer}","jti":"0b5a1c1e-7a52-4ea6-9d1c-{issued:012}","kubernetes.io":{{"namespace":"ci","secret":{{"name":"jobpass-{issued}","uid":"1f0e3dad-9990-4345-b743-{issued:012}"}},"serviceaccount":{{"name":"deployer","uid":"6c1f2a60-27b4-4b9a-8f0e-5f3f4a2b9c11"}}}},"nbf":{issued},"sub":"system:serviceaccount:ci:deployer"}}"#,
        issued + 3600
    );
    let mut noise = issued;
    let signature: Vec<u8> = (0..256)
        .map(|_| {
            noise = noise
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (noise >> 56) as u8
        })
        .collect();
    [header.as_bytes(), claims.as_bytes(), &signature]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".")
}

/// The output of a masker for these chunks.
fn masked<'a>(masker: &Masker, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut masker, mut out) = (masker.clone(), Vec::new());
    for chunk in chunks {
        masker.push(chunk, &mut out).expect("memory takes all");
    }
    masker.finish(&mut out).expect("memory takes all");
    out
}

/// A masker that reads each log like the rest of a very long one.
fn brief(masker: &Masker) -> Masker {
    let mut masker = masker.clone();
    (masker.credit, masker.looks) = (0, 0);
    masker
}

/// A masker that reads each log like a longer one: only if its first look finds something.
fn quick(masker: &Masker) -> Masker {
    let mut masker = masker.clone();
    masker.looks_first = true;
    masker
}

fn lines(text: &str, columns: usize, end: &str) -> String {
    let lines = text.as_bytes().chunks(columns).map(String::from_utf8_lossy);
    lines.map(|line| format!("{line}{end}")).collect()
}

fn each_byte(bytes: &[u8], between: &str, show: impl Fn(&u8) -> String) -> String {
    bytes.iter().map(show).collect::<Vec<_>>().join(between)
}

fn text(masker: &Masker, text: &str) -> String {
    let whole = masked(masker, [text.as_bytes()]);
    let bytewise = masked(&quick(masker), text.as_bytes().chunks(1 + text.len() / 2000));
    let same = whole
        .iter()
        .zip(&bytewise)
        .take_while(|(one, other)| one == other)
        .count();
    let near = |text: &[u8]| {
        let text = &text[same.saturating_sub(99).min(text.len())..text.len().min(same + 99)];
        String::from_utf8_lossy(text).into_owned()
    };
    assert!(
        whole == bytewise,
        "the output depends on the chunks or on the first look: {:?} or {:?}",
        near(&whole),
        near(&bytewise)
    );
    String::from_utf8(whole).expect("text stays text")
}

/// The secret is inside an escape sequence. A terminal does not show the secret, but the log has it.
#[test]
fn a_secret_in_an_escape_sequence_is_masked() {
    for (secret, printed) in [
        ("aaaaaaaa", "6161616161616161"),
        ("aaaaaaaa", "61 61 61 61 61 61 61 61"),
        ("12345678", "12345678"),
        ("1234abcd", "1234abcd"),
    ] {
        let masker = Masker::new([secret]);
        for (before, after) in [
            ("", "m and so on, and on and on"),
            ("x", " and so on, and on and on"),
            ("x y z ", ""),
        ] {
            let shown = text(&masker, &format!("{before}\x1b[{printed}{after}"));
            assert!(!shown.contains(printed), "{shown:?}");
        }
    }
}

/// Secrets that the test adds later.
#[derive(Clone, Default)]
struct Later {
    known: Arc<Mutex<Vec<String>>>,
    told: usize,
}

impl SecretSource for Later {
    fn new_secrets(&mut self, learn: &mut dyn FnMut(&str)) {
        let known = self.known.lock().expect("no test panicked");
        known[self.told..].iter().for_each(|secret| learn(secret));
        self.told = known.len();
    }
}

/// The masker learns a second token at any position of the stream. If it has read half of the first token at
/// that moment, it still masks the first token to its end.
#[test]
fn tokens_that_are_made_meanwhile_are_masked() {
    let (first, second) = (long_jwt(1), long_jwt(2));
    let text = format!("a {first} b\n{} c\n", STANDARD.encode(&first));
    let known = self::text(&Masker::new([&*first]), &text);
    for cut in (0..text.len()).step_by(89) {
        let later = Later::default();
        let mut masker = Masker::new([&*first]).with_sources([later.clone()]);
        let mut out = Vec::new();
        let mut push = |chunk: &str| masker.push(chunk.as_bytes(), &mut out).expect("memory takes it");
        push(&text[..cut]);
        later.known.lock().expect("no test panicked").push(second.clone());
        push(&text[cut..]);
        push(&format!("d {second} e"));
        masker.finish(&mut out).expect("memory takes it");
        assert_eq!(
            String::from_utf8_lossy(&out),
            format!("{known}d {MARK} e"),
            "{cut}"
        );
    }
}

/// Standard output and standard error each have a masker. A script may print a new token to either.
#[test]
fn every_clone_learns_of_every_secret() {
    let later = Later::default();
    let one = Masker::new([]).with_sources([later.clone()]);
    let other = one.clone();
    later.known.lock().expect("no test panicked").push(RFC.into());
    for masker in [one, other] {
        assert_eq!(text(&masker, RFC), MARK);
    }
}

thread_local! {
    /// The view that a test has switched off.
    static OFF: std::cell::Cell<Option<View>> = const { std::cell::Cell::new(None) };
}

pub(crate) fn is_off(view: View) -> bool {
    OFF.get() == Some(view)
}

/// The text has a part of the quoted form of the secret. The part is longer than the secret, but the masker
/// does not mask it as a part. It must mask the whole secret within it.
#[test]
fn a_short_secret_within_a_part_of_its_quoted_form_is_masked() {
    let masker = Masker::new(["'^!`A!a<0aa!0"]);
    assert_eq!(text(&masker, "a\"'\"'^!`A!a<0aa!0"), format!("a\"'\"{MARK}"));
}
