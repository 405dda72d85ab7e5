//! A masker's memory stays small while a job renews its token for a week.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jobpass_mask::{Masker, SecretSource};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

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

#[test]
fn renewed_tokens_need_little_memory() {
    // Far in the future, so that all of them are valid. The masker keeps some in any case.
    let first = 8_000_000_000;
    let mut masker = Masker::new([token(first).as_str()]).with_sources([Renewals(first + 1..first + VALID)]);
    let mut out = Vec::new();
    for renewal in 0..VALID {
        let line = format!("token: {}\n", token(first + renewal));
        masker.push(line.as_bytes(), &mut out).expect("memory takes all");
    }
    masker.finish(&mut out).expect("memory takes all");
    assert_eq!(out, b"token: [MASKED]\n".repeat(VALID as usize));
    let mebibytes = MEMORY.peak_usage_as_mb();
    // A program has about 2 MiB without a masker, and all of it 8 MiB.
    assert!(mebibytes < 5.0, "{mebibytes} MiB");
}
