//! A token that jobpass encrypts with age for the hand-over (<https://age-encryption.org/v1>). Only jobs with
//! the identity, age's secret key, can decrypt the token. The logs, GitLab's API and its database then
//! contain no readable part of the token.

use std::{io::Read as _, path::Path};

use age::{
    DecryptError, Decryptor,
    x25519::{Identity, Recipient},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Arg, ArgMatches};
use jobpass_core::{Error, Kind, process::files, text::harmless, token::Token};
use zeroize::Zeroizing;

use crate::job::value;

/// The flag `--recipient` of `mint`.
pub(crate) fn recipient_flag() -> Arg {
    Arg::new("recipient")
        .long("recipient")
        .env("JOBPASS_RECIPIENT")
        .hide_env_values(true)
        .value_name("RECIPIENT")
        .help("The age public key (`age1...`) for which `dotenv-mode: sealed` encrypts the token.")
}

/// The flag `--identity` of `open`, `revoke` and `mask`.
pub(crate) fn identity_flag() -> Arg {
    Arg::new("identity")
        .long("identity")
        .env("JOBPASS_IDENTITY")
        .hide_env_values(true)
        .value_name("FILE")
        .help(
            "The file that holds the age secret key (`AGE-SECRET-KEY-1...`) for a sealed token: make \
             JOBPASS_IDENTITY a CI/CD variable of type File.",
        )
}

/// The recipient for the encryption. Errors do not show the value, because a person may have given a secret
/// key by mistake.
pub(crate) fn recipient(matches: &ArgMatches) -> Result<Recipient, Error> {
    let allowed = "give an age public key, the `age1...` that `age-keygen` prints";
    let Some(text) = value(matches, "recipient") else {
        let problem = "is missing: `dotenv-mode: sealed` encrypts the token for it";
        return Err(Error::input("recipient", problem, allowed));
    };
    if is_secret_key(text) {
        return Err(Error::input(
            "recipient",
            "is a secret key, which everybody who sees this pipeline may have read",
            format!("do not use this key any more, and create a new pair: {allowed}"),
        ));
    }
    text.parse().map_err(|_| {
        let problem = "is not an age public key of type X25519 (its value is not shown here)";
        Error::input("recipient", problem, allowed)
    })
}

/// Encrypts the token into one line. `base64 -d | age --decrypt --identity FILE` also decrypts that line.
pub(crate) fn seal(token: &str, recipient: &Recipient) -> Result<String, Error> {
    age::encrypt(recipient, token.as_bytes())
        .map(|file| STANDARD.encode(file))
        .map_err(|_| {
            Error::new(
                Kind::Deliver,
                "cannot encrypt the token for the age public key in `recipient`",
            )
            .help("create a new pair with `age-keygen`, and give its public key as `recipient`")
        })
}

/// Decrypts the token in `text`, the value of the variable `variable`. An error shows neither this value nor
/// the token.
pub(crate) fn open(text: &str, variable: &str, matches: &ArgMatches) -> Result<Token, Error> {
    let refuse =
        |problem: &str, help: &str| Error::input("variable", format!("is `{variable}`, {problem}"), help);
    let damaged = || {
        refuse(
            "whose value is neither a token nor a complete sealed token",
            "compare the value with the dotenv report of the job that mints. A project variable of that \
             name takes precedence over the report",
        )
    };
    let file = STANDARD.decode(text).map_err(|_| damaged())?;
    let sealed = Decryptor::new_buffered(&*file).map_err(|_| damaged())?;
    let identities = identities(matches)?;
    let identities = identities.iter().map(|identity| identity as &dyn age::Identity);
    let mut opened = sealed.decrypt(identities).map_err(|error| match error {
        DecryptError::NoMatchingKeys => refuse(
            "which is encrypted for a recipient that does not belong to input `identity`",
            "`age-keygen -y FILE` prints the recipient of the identity in FILE. Give that recipient to the \
             job that mints",
        ),
        _ => damaged(),
    })?;
    let mut token = Zeroizing::new(String::new());
    opened.read_to_string(&mut token).map_err(|_| damaged())?;
    Token::parse(&token, "variable")
}

/// The identities in a file of `age-keygen`: one identity a line, with comments in between. The file has
/// several identities while a person replaces keys.
fn identities(matches: &ArgMatches) -> Result<Vec<Identity>, Error> {
    let allowed = "make JOBPASS_IDENTITY a CI/CD variable of type File, with the `AGE-SECRET-KEY-1...` that belongs to the \
                   recipient";
    let refuse = |problem: &str| Error::input("identity", problem, allowed);
    let path = value(matches, "identity").ok_or_else(|| refuse("is missing, but the token is encrypted"))?;
    if is_secret_key(path) {
        return Err(refuse(
            "is a secret key, but must be the path of a file that holds one",
        ));
    }
    let text = files::read(Path::new(path)).map_err(|error| {
        let why = harmless(&error.to_string());
        refuse(&format!("names a file that cannot be read: {why}"))
    })?;
    let text = Zeroizing::new(text);
    let keys = text.lines().map(str::trim);
    let keys = keys.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let identities = keys.map(str::parse).collect::<Result<Vec<_>, _>>();
    match identities {
        Ok(identities) if !identities.is_empty() => Ok(identities),
        _ => Err(refuse(
            "names a file that holds something other than age secret keys of type X25519, or no key (jobpass \
             does not show the content)",
        )),
    }
}

fn is_secret_key(text: &str) -> bool {
    text.to_ascii_uppercase().contains("AGE-SECRET-KEY-")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use age::secrecy::ExposeSecret as _;
    use clap::Command;
    use rstest::rstest;

    use super::*;
    use crate::job::tests::matches;

    fn given(flags: &[(&str, &str)]) -> ArgMatches {
        let arguments = flags
            .iter()
            .flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]);
        let arguments = arguments.collect::<Vec<_>>();
        let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
        let command = Command::new("verb").args([recipient_flag(), identity_flag()]);
        matches(command, &arguments)
    }

    fn secret(identity: &Identity) -> String {
        identity.to_string().expose_secret().to_owned()
    }

    /// Seals a token for an identity, and opens it with an identity file. `file` makes the content of that
    /// file.
    fn opened(file: impl FnOnce(&Identity) -> String) -> Result<String, String> {
        let identity = Identity::generate();
        let sealed = seal("t0ken", &identity.to_public()).expect("sealed");
        assert!(
            !sealed.contains(['.', '\n']),
            "a token has dots, and a variable one line: {sealed}"
        );
        let path = tempfile::NamedTempFile::new().expect("a file");
        fs::write(path.path(), file(&identity)).expect("written");
        let matches = given(&[("identity", path.path().to_str().expect("text"))]);
        let token = open(&sealed, "JOBPASS_TOKEN", &matches);
        token
            .map(|token| token.expose().to_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn only_its_identity_opens_a_sealed_token() {
        assert_eq!(opened(secret).as_deref(), Ok("t0ken"));
        // `age-keygen` writes this form. The file also has the old identity.
        let two = |identity: &Identity| {
            format!(
                "# old\n{}\n\n# new\n{}\n",
                secret(&Identity::generate()),
                secret(identity)
            )
        };
        assert_eq!(opened(two).as_deref(), Ok("t0ken"));
        let another = opened(|_| secret(&Identity::generate())).expect_err("refused");
        assert!(
            another.contains("encrypted for a recipient that does not belong to"),
            "{another}"
        );
    }

    #[rstest]
    #[case::no_key("s3cret")]
    #[case::empty("")]
    #[case::a_comment_alone("# s3cret")]
    fn a_file_without_keys_is_refused_and_not_shown(#[case] text: &str) {
        let error = opened(|_| text.to_owned()).expect_err("refused");
        assert!(
            error.starts_with("input `identity`") && !error.contains("s3cret"),
            "{error}"
        );
    }

    #[rstest]
    #[case::no_identity(&[], "input `identity` is missing")]
    #[case::the_key_itself(&[("identity", "AGE-SECRET-KEY-1S3CRET")], "input `identity` is a secret key, but must be the path")]
    #[case::no_file(&[("identity", "/nowhere")], "input `identity` names a file that cannot be read")]
    fn an_identity_is_the_path_of_a_file(#[case] flags: &[(&str, &str)], #[case] why: &str) {
        let sealed = seal("t0ken", &Identity::generate().to_public()).expect("sealed");
        let error = open(&sealed, "JOBPASS_TOKEN", &given(flags))
            .expect_err("refused")
            .to_string();
        assert!(error.starts_with(why) && !error.contains("S3CRET"), "{error}");
    }

    #[rstest]
    #[case::no_base64("s3cret!")]
    #[case::something_else("czNjcmV0")]
    fn a_value_that_is_not_a_sealed_token_is_not_shown(#[case] text: &str) {
        let error = open(text, "JOBPASS_TOKEN", &given(&[]))
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains("neither a token nor a complete sealed token") && !error.contains(text),
            "{error}"
        );
    }

    #[test]
    fn a_recipient_is_a_public_key() {
        let identity = Identity::generate();
        let public = identity.to_public().to_string();
        assert_eq!(
            recipient(&given(&[("recipient", &public)]))
                .expect("a recipient")
                .to_string(),
            public
        );
        let secret = secret(&identity);
        for (text, why) in [
            (&*secret, "is a secret key, which everybody"),
            (&*secret.to_lowercase(), "is a secret key, which everybody"),
            ("ssh-ed25519 AAAA", "is not an age public key"),
        ] {
            let error = recipient(&given(&[("recipient", text)]))
                .expect_err("refused")
                .to_string();
            assert!(error.contains(why) && !error.contains(text), "{error}");
        }
        assert!(
            recipient(&given(&[]))
                .expect_err("refused")
                .message()
                .contains("is missing")
        );
    }
}
