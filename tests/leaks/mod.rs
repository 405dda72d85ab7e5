//! Leak tests: no form of a token or of the minter's credential appears where it does not belong.

pub(crate) mod corpus;
pub(crate) mod github;
mod plugin;
mod scripts;
mod views;

/// The common forms in which a log can show `secret`. See [`jobpass_mask::forms`].
pub(crate) fn forms(secret: &str) -> Vec<String> {
    let forms = jobpass_mask::forms(secret);
    forms.iter().map(|form| form.expose().to_owned()).collect()
}

/// Panics if `text` contains a form of `secret`. `place` names the text.
pub(crate) fn assert_absent(secret: &str, place: &str, text: &str) {
    for form in forms(secret) {
        assert!(!text.contains(&form), "a secret is in {place}:\n{text}");
    }
}

#[test]
fn the_check_can_fail() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let secret = "a-secret-that-is-long-enough";
    let found = |text: &str| std::panic::catch_unwind(|| assert_absent(secret, "x", text)).is_err();
    assert!(
        found(&format!("... {secret} ..."))
            && found(&STANDARD.encode(format!("{secret}\n")))
            && !found("nothing")
    );
}
