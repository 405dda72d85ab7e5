//! PEM as Go reads it (`encoding/pem`): Go ignores damaged blocks and the text around the blocks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A PEM block without headers.
struct Block {
    label: String,
    content: Vec<u8>,
}

/// The certificates in a text.
pub(super) fn certificates(text: &str) -> impl Iterator<Item = CertificateDer<'static>> {
    let certificates = blocks(text)
        .into_iter()
        .filter(|block| block.label == "CERTIFICATE");
    certificates.map(|block| block.content.into())
}

/// The first private key in a text, in PKCS #1, PKCS #8 or SEC 1.
pub(super) fn private_key(text: &str) -> Option<PrivateKeyDer<'static>> {
    let is_key = |block: &Block| block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY");
    let key = blocks(text).into_iter().find(is_key)?;
    PrivateKeyDer::try_from(key.content).ok()
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    // The label of the open block, and its content so far.
    let mut begun: Option<(&str, String)> = None;
    for line in text.split('\n') {
        let line = line.trim_end_matches([' ', '\t', '\r']);
        let marker = |start: &str| line.strip_prefix(start)?.strip_suffix("-----");
        if let Some(label) = marker("-----BEGIN ") {
            begun = Some((label, String::new()));
        } else if let Some(end) = line.strip_prefix("-----END ") {
            if let Some((label, content)) = begun.take()
                && end.strip_suffix("-----") == Some(label)
                && let Ok(content) = STANDARD.decode(content)
            {
                let label = label.to_owned();
                blocks.push(Block { label, content });
            }
        } else if let Some((_, content)) = &mut begun {
            // The colon of a header is not base64, so a block with headers counts as damaged.
            content.extend(line.chars().filter(|c| !matches!(c, ' ' | '\t' | '\r')));
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_among_other_text() {
        let text = "# a comment\r\n-----BEGIN CERTIFICATE-----\r\naGVs\r\nbG8=\r\n-----END CERTIFICATE-----\r\nsubject=x\n\
                    -----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n\
                    -----BEGIN CERTIFICATE-----\n-----BEGIN EC PARAMETERS-----\naGk=\n-----END EC PARAMETERS-----\n\
                    -----BEGIN KEY-----\nProc-Type: 4,ENCRYPTED\n\naGk=\n-----END KEY-----\n  -----BEGIN A-----\naGk=\n-----END A-----";
        let found = blocks(text);
        let found = found.iter().map(|block| (&*block.label, &*block.content));
        let expected: [(&str, &[u8]); 2] = [("CERTIFICATE", b"hello"), ("EC PARAMETERS", b"hi")];
        assert!(found.eq(expected));
    }
}
