//! Properties for all secrets, logs and chunks.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::{Encoding, Form, PIECE, forms};

/// A secret without brackets. A mark has brackets, which could complete a form of a secret with brackets.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{8,20}",
        "[!-Z^-~]{8,40}",
        "[!-Z^-~]{8} [!-Z^-~]{8,20}",
        "eyJ[a-c]{0,9}\\.[a-c]{0,30}\\.[a-c]{14,40}",
    ]
}

/// A difficult bit of text.
#[derive(Debug, Clone)]
enum Bit {
    Noise(String),
    /// A piece of a form: the form, its beginning, and its length.
    Piece(Index, Index, Index),
    Form(Index),
}

fn bit(noise: &'static str) -> impl Strategy<Value = Bit> {
    let index = any::<Index>;
    prop_oneof![
        2 => noise.prop_map(Bit::Noise),
        1 => index().prop_map(Bit::Form),
        2 => (index(), index(), index()).prop_map(|(form, from, length)| Bit::Piece(form, from, length)),
    ]
}

/// Text without secrets, with colours, line breaks, quotes and addresses.
const WILD: &str =
    "(\u{1b}\\[[0-9;]{0,4}m|\u{1b}\\[?[0-9]{0,3}|\r?\n {0,3}|\n[0-9a-f]{8}:? |[ \"',|]{1,2}|[a-c]{1,9}|\\PC)";
const CALM: &str = "(\r?\n {0,3}|[ \"',|]{1,2}|[a-c]{1,3}|[ -Z^-~]{1,9})";

fn write(forms: &[Form], bits: &[Bit]) -> String {
    let piece = |form: &Index, from: &Index, length: &Index| {
        let text: Vec<char> = form.get(forms).expose().chars().collect();
        let from = from.index(text.len());
        text[from..].iter().take(1 + length.index(2 * PIECE)).collect()
    };
    let bits = bits.iter().map(|bit| match bit {
        Bit::Noise(text) => text.clone(),
        Bit::Form(form) => form.get(forms).expose().to_owned(),
        Bit::Piece(form, from, length) => piece(form, from, length),
    });
    bits.collect()
}

fn all_forms(secrets: &[String]) -> Vec<Form> {
    secrets.iter().flat_map(|secret| forms(secret)).collect()
}

fn masker(secrets: &[String]) -> Masker {
    Masker::new(secrets.iter().map(String::as_str))
}

fn shown(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The masker gives the same output for one chunk, for chunks of some bytes, and for chunks of one byte as
    /// in a longer log.
    #[test]
    fn chunks_make_no_difference(
        secrets in vec(secret(), 1..4),
        bits in vec(bit(WILD), 0..12),
        cuts in vec(1..40_usize, 1..9),
    ) {
        let (masker, text) = (masker(&secrets), write(&all_forms(&secrets), &bits));
        let whole = shown(masked(&masker, [text.as_bytes()]));
        let mut rest = text.as_bytes();
        let chunks = cuts.iter().cycle().map_while(|cut| {
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            (!chunk.is_empty()).then_some(chunk)
        });
        prop_assert_eq!(&whole, &shown(masked(&masker, chunks)));
        prop_assert_eq!(&whole, &shown(masked(&quick(&masker), text.as_bytes().chunks(1))));
    }

    #[test]
    fn no_form_is_left(secrets in vec(secret(), 1..4), bits in vec(bit(WILD), 0..12)) {
        let forms = all_forms(&secrets);
        let out = masked(&quick(&masker(&secrets)), [write(&forms, &bits).as_bytes()]);
        // The first and the last characters of base64 can belong to the bytes around it, and a line of base64
        // can be a line of claims.
        let is_base64 = |form: &&Form| matches!(form.encoding, Encoding::Base64 | Encoding::Base64Line);
        for form in forms.iter().filter(|form| !is_base64(form)) {
            prop_assert!(!contains(&out, form.expose().as_bytes()), "{:?} {:?}", form.expose(), String::from_utf8_lossy(&out));
        }
    }

    /// At a pause, the masker writes everything but the beginning of a piece.
    #[test]
    fn nothing_else_is_held_back(secrets in vec(secret(), 1..3), bits in vec(bit(CALM), 0..6)) {
        let text = write(&all_forms(&secrets), &bits);
        let (mut masker, mut out) = (masker(&secrets), Vec::new());
        masker.push(text.as_bytes(), &mut out).expect("memory takes all");
        masker.pause(&mut out).expect("memory takes all");
        let held = text.len() - masker.written as usize;
        let longest = all_forms(&secrets).iter().map(|form| form.expose().len()).max().unwrap_or_default();
        prop_assert!(held <= 2 * longest + 64, "{:?}", &text[text.len() - held..]);
    }

    #[test]
    fn text_without_pieces_passes(secrets in vec(secret(), 1..4), text in vec(any::<u8>(), 0..300)) {
        let forms = all_forms(&secrets);
        prop_assume!(!text.windows(8).any(|gram| forms.iter().any(|form| contains(form.expose().as_bytes(), gram))));
        prop_assert_eq!(&masked(&masker(&secrets), [text.as_slice()]), &text);
    }
}
