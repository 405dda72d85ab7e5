//! The slow definition of masked text: every view reads the whole text at once.

use super::*;
use crate::{
    pieces::Pieces,
    secrets::Secrets,
    stream::{colours, read},
};

/// The text with a mark in place of every secret.
pub(super) fn masked(secrets: &Secrets, text: &[u8]) -> Vec<u8> {
    let mut judge = Pieces::default();
    let mut is_masked = vec![false; text.len()];
    for piece in read(secrets, text, true).pieces {
        if judge.is_masked(secrets, &piece, text, 0) {
            for stretch in piece.stretches {
                is_masked[stretch.start as usize..stretch.end as usize].fill(true);
            }
        }
    }
    let mut out = Vec::new();
    let mut rest = 0..text.len();
    while !rest.is_empty() {
        let is_mark = is_masked[rest.start];
        let same = is_masked[rest.clone()]
            .iter()
            .take_while(|masked| **masked == is_mark);
        let run = rest.start..rest.start + same.count();
        rest.start = run.end;
        if is_mark {
            out.extend_from_slice(MARK.as_bytes());
            colours(&text[run], &mut out).expect("memory takes all");
        } else {
            out.extend_from_slice(&text[run]);
        }
    }
    out
}
