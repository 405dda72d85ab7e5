//! No form of a token, nor of the minter's credential, where it does not belong.

mod github;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// Every form of `secret` that jobpass could show by mistake.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        STANDARD.encode(secret),
        STANDARD.encode(format!("{secret}\n")),
        URL_SAFE_NO_PAD.encode(secret),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ];
    // A JWT's claims and signature by themselves; its header is the same for every token of a cluster.
    forms.extend(secret.split('.').skip(1).map(str::to_owned));
    forms
}

/// Panics if a form of `secret` is in `text`; `place` says what the text is.
pub(crate) fn assert_absent(secret: &str, place: &str, text: &str) {
    for form in forms(secret) {
        assert!(!text.contains(&form), "a secret is in {place}:\n{text}");
    }
}

#[test]
fn the_check_can_fail() {
    let found =
        |text: &str| std::panic::catch_unwind(|| assert_absent("h.payload.signature", "x", text)).is_err();
    assert!(
        found("... payload ...") && found(&STANDARD.encode("h.payload.signature\n")) && !found("nothing")
    );
}
