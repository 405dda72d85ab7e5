//! Secrets that the log shows whole, as they are or behind one view.
//!
//! A *view* undoes one change that programs make to a text, such as base64. Nothing continues a whole secret,
//! and no view finds more in it. So the masker need not read such a secret with all views.

use std::{borrow::Cow, ops::Range};

use crate::{
    scan::{Look, scan},
    search::{DEPTH, Piece},
    secrets::Secrets,
    views::Visible,
};

/// A multiple of all distances at which the first look samples a text: nine bytes, and two blocks of 64.
const STEP: usize = 1152;

/// The whole secrets of a window. Positions count from the beginning of the window.
#[derive(Clone, Default)]
pub(crate) struct Whole {
    pieces: Vec<Piece>,
    /// For each piece, the last end of this piece and all pieces before it.
    ends: Vec<u32>,
}

impl Whole {
    /// Adds pieces of whole secrets, or of secrets that the window shows whole up to its end.
    pub(crate) fn add(&mut self, pieces: impl IntoIterator<Item = Piece>) {
        self.pieces.extend(pieces);
        self.pieces.sort_by_key(|piece| piece.from);
        self.ends.clear();
        let mut last = 0;
        self.ends.extend(self.pieces.iter().map(|piece| {
            last = last.max(piece.to);
            last
        }));
    }

    /// Whether a stretch of the window is inside a whole secret.
    pub(crate) fn contains(&self, from: u32, to: u32) -> bool {
        let before = self.pieces.partition_point(|piece| piece.from <= from);
        before.checked_sub(1).is_some_and(|last| to <= self.ends[last])
    }

    /// Forgets the secrets that end in the first `bytes` bytes of the window, which the masker removes. Also
    /// forgets those that begin at `open` or later.
    pub(crate) fn shift(&mut self, bytes: u32, open: u32) {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.retain_mut(|piece| {
            let is_kept = piece.from < open && piece.to > bytes;
            let shifted = |at: u32| at.saturating_sub(bytes);
            (piece.from, piece.to) = (shifted(piece.from), shifted(piece.to));
            piece.stretches.retain_mut(|stretch| {
                *stretch = shifted(stretch.start)..shifted(stretch.end);
                stretch.start < stretch.end
            });
            is_kept
        });
        self.add(pieces);
    }

    /// Whether a stretch of the window has a part of a whole secret.
    pub(crate) fn touches(&self, stretch: &Range<usize>) -> bool {
        let before = self
            .pieces
            .partition_point(|piece| (piece.from as usize) < stretch.end);
        before
            .checked_sub(1)
            .is_some_and(|last| self.ends[last] as usize > stretch.start)
    }

    /// The stretches of the window in which the first look finds words of secrets other than these.
    /// `zone` is a part of the visible bytes.
    pub(crate) fn sights(
        &self,
        secrets: &Secrets,
        seen: &Visible<'_>,
        zone: Range<usize>,
    ) -> Vec<Range<usize>> {
        // The look takes most of its samples at the same places as in the whole window.
        let zone = zone.start / STEP * STEP..zone.end;
        let mut bytes = Cow::Borrowed(&seen.bytes[zone.clone()]);
        for stretch in self.pieces.iter().flat_map(|piece| &piece.stretches) {
            let [from, to] = [stretch.start, stretch.end].map(|at| seen.index(at as usize));
            let (from, to) = (from.max(zone.start), to.min(zone.end));
            if from < to {
                // No view reads a zero as a part of a secret.
                bytes.to_mut()[from - zone.start..to - zone.start].fill(0);
            }
        }
        let mut sights = Vec::new();
        scan(Look::far(secrets), &bytes, DEPTH, &mut |part| {
            let [from, to] = [part.start, part.end].map(|at| seen.position(zone.start + at));
            sights.push(from..to);
        });
        sights
    }
}
