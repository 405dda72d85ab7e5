//! A masker's memory stays small.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jobpass_mask::{Masker, SecretSource};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The tests measure all memory of this program, so they run one after the other.
static MEASURED: Mutex<()> = Mutex::new(());

/// The greatest number of MiB that a masker may use. A program has about 2 MiB without a masker, and all of it
/// 8 MiB.
const MOST: f32 = 5.5;

/// The tokens of one hour that are valid at the same time if a job renews its token each 200 seconds.
const VALID: u64 = 18;

/// A token as long as those of kube-apiserver, valid for an hour after `issued`.
fn token(issued: u64) -> String {
    let issuer = "https://kubernetes.default.svc.cluster.local";
    let claims = format!(
        r#"{{"aud":["{issuer}"],"exp":{},"iat":{issued},"iss":"{issuer}","jti":"0b5a1c1e-7a52-4ea6-9d1c-{issued:012}","kubernetes.io":{{"namespace":"ci","secret":{{"name":"jobpass-abcdefghijklmnopqrst","uid":"1f0e3dad-9990-4345-b743-{issued:012}"}},"serviceaccount":{{"name":"deployer","uid":"6c1f2a60-27b4-4b9a-8f0e-5f3f4a2b9c11"}}}},"nbf":{issued},"sub":"system:serviceaccount:ci:deployer"}}"#,
        issued + 3600
    );
    let mut noise = issued;
    let mut byte = |_| {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (noise >> 56) as u8
    };
    let signature: Vec<u8> = (0..256).map(&mut byte).collect();
    let header = br#"{"alg":"RS256","kid":"1kYhXbnxUJkk0Kjl5mrqFdfqI0nUqQ9ZoXS8rH8wW2s"}"#;
    [header.as_slice(), claims.as_bytes(), &signature]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".")
}

/// Tells about one more token each time.
#[derive(Clone)]
struct Renewals(std::ops::Range<u64>);

impl SecretSource for Renewals {
    fn new_secrets(&mut self, learn: &mut dyn FnMut(&str)) {
        self.0.next().into_iter().for_each(|issued| learn(&token(issued)));
    }
}

/// Waits until no other test runs. The allocator counts the memory of all of them.
fn alone() -> MutexGuard<'static, ()> {
    MEASURED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The MiB that `work` used at most at one time.
fn peak(work: impl FnOnce()) -> f32 {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage_as_mb();
    work();
    MEMORY.peak_usage_as_mb() - before
}

/// A job renews its token for a week.
#[test]
fn renewed_tokens_need_little_memory() {
    let _alone = alone();
    let mebibytes = peak(|| {
        // Far in the future, so that all of them are valid. The masker keeps some in any case.
        let first = 8_000_000_000;
        let mut masker =
            Masker::new([token(first).as_str()]).with_sources([Renewals(first + 1..first + VALID)]);
        let mut out = Vec::new();
        for renewal in 0..VALID {
            let line = format!("token: {}\n", token(first + renewal));
            masker.push(line.as_bytes(), &mut out).expect("memory takes all");
        }
        masker.finish(&mut out).expect("memory takes all");
        assert_eq!(out, b"token: [MASKED]\n".repeat(VALID as usize));
    });
    assert!(mebibytes < MOST, "{mebibytes} MiB");
}

/// What `xxd` prints.
fn dump(bytes: &[u8]) -> String {
    let mut lines = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        write!(lines, "{:08x}:", 16 * line).expect("memory takes all");
        for pair in bytes.chunks(2) {
            write!(lines, " {:02x}{:02x}", pair[0], pair[pair.len() - 1]).expect("memory takes all");
        }
        let shown = bytes.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        writeln!(lines, "  {}", shown.collect::<String>()).expect("memory takes all");
    }
    lines
}

/// The MiB that a masker of a token needs for a log.
fn peak_of(token: &str, log: &str) -> f32 {
    peak(|| {
        let (mut masker, mut out) = (Masker::new([token]), Vec::new());
        for chunk in log.as_bytes().chunks(1 << 10) {
            masker.push(chunk, &mut out).expect("memory takes all");
            out.clear();
        }
        masker.finish(&mut out).expect("memory takes all");
    })
}

/// The masker reads numbers that stand for numbers in long parts.
#[test]
fn dumps_of_dumps_need_little_memory() {
    let _alone = alone();
    let token = token(8_000_000_000);
    let log = dump(dump(token.repeat(20).as_bytes()).as_bytes());
    let mebibytes = peak_of(&token, &log);
    assert!(mebibytes < MOST, "{mebibytes} MiB");
}

/// No end of a number tells the masker that it may write the text before.
#[test]
fn long_lines_of_an_encoding_need_little_memory() {
    let _alone = alone();
    let token = token(8_000_000_000);
    let log = format!("2026-11-24T10:00:01Z INFO  GET /api/v1/pods 200\n{token}\n").repeat(600);
    let digits = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut digits, byte| {
            write!(digits, "{byte:02x}").expect("memory takes all");
            digits
        })
    };
    for line in [STANDARD.encode(&log), digits(log.as_bytes())] {
        let mebibytes = peak_of(&token, &line);
        assert!(mebibytes < MOST / 2.0, "{mebibytes} MiB");
    }
}
