//! Masks a log in chunks of any size. The output must be the same as for the log in one chunk, and must not
//! contain the secret.

#![no_main]

use jobpass_mask::Masker;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "correct-horse-battery-staple";

fn masked<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut masker = Masker::new([SECRET]);
    let mut log = Vec::new();
    for piece in pieces {
        masker.push(piece, &mut log).unwrap();
    }
    masker.finish(&mut log).unwrap();
    log
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (size, mut log) = input;
    // The fuzzer cannot guess the secret. So the secret replaces the first zero byte of the log.
    if let Some(at) = log.iter().position(|byte| *byte == 0) {
        log.splice(at..=at, SECRET.bytes());
    }
    let whole = masked([log.as_slice()].into_iter());
    assert_eq!(masked(log.chunks(usize::from(size).max(1))), whole);
    assert!(!whole.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
});
