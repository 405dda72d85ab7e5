//! Decodes claims of any bytes. The decoder must not panic.

#![no_main]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jobpass_core::{claims::Claims, token::Token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for text in [
        String::from_utf8_lossy(bytes).into_owned(),
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(bytes)),
    ] {
        if let Ok(token) = Token::parse(&text, "token") {
            drop(Claims::decode(&token));
        }
    }
});
