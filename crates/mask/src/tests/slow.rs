//! The slow definition of masked text: every view reads the whole text at once.

use super::*;
use crate::{
    pieces::Pieces,
    search::{DEPTH, Search},
    secrets::Secrets,
    stream::colours,
    views::{Visible, visible},
};

/// The text with a mark in place of every secret.
pub(super) fn masked(secrets: &Secrets, text: &[u8]) -> Vec<u8> {
    let mut search = Search::new(secrets, text);
    let seen = visible(text, secrets, false);
    let mut all = vec![seen];
    if all[0].has_hidden() {
        all.push(Visible::all(text));
    }
    for seen in &all {
        let mut whole = seen.text(0..seen.bytes.len());
        (whole.goes_on, whole.unsure) = (false, None);
        search.text(&whole, DEPTH);
    }
    let mut pieces = search.pieces;
    pieces.sort_by_key(|piece| (piece.from, u32::MAX - piece.to, piece.secret, piece.part.start));
    pieces.dedup();
    let mut judge = Pieces::default();
    let mut is_masked = vec![false; text.len()];
    for piece in pieces {
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
