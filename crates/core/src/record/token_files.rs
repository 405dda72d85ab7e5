//! The hand-over of the token in files for this user alone.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    cluster::Connection,
    error::{Error, Kind},
    inputs::options::{Inputs, Opt},
    process::{
        files::{
            PARTIAL, cannot_read, is_open_to_others, make_folder, put, read_at_most, replace, utf8,
            with_suffix,
        },
        system::remove_file,
    },
    record::{
        journal::{self, Entry},
        kubeconfig,
        receipt::Receipt,
    },
    text::{self, harmless},
    token::Token,
};

/// The files of a token. The state records them before jobpass writes the first byte.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Files {
    /// The file with the token alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// A kubeconfig with the token, or with the bearer of a proxy. For a renewed token, the kubeconfig also
    /// names `token_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig_file: Option<PathBuf>,
    /// The [journal] of a renewed token, next to `token_file`, or the journal of a proxy, next to
    /// `kubeconfig_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<PathBuf>,
}

impl Files {
    /// The files for the inputs `token-file`, `kubeconfig-file`, `renew-for` and `proxy`. Relative paths
    /// begin at `folder`. Creates missing folders.
    ///
    /// # Errors
    /// If a file exists already, if jobpass cannot create its folder, or if its path is not UTF-8 or has
    /// control characters. If `token-file` and `kubeconfig-file` name the same file, or if one of them is a
    /// word such as `no`, which may be a boolean or a file. If `renew-for` is given, but neither of the two
    /// names a file. Also if `proxy` is not a boolean.
    pub fn plan(inputs: &Inputs, folder: &Path, anchor: &str) -> Result<Self, Error> {
        let path = |option: Opt, suffix| match inputs.get(option) {
            None | Some("false") => Ok(None),
            Some("true") => {
                let path = folder.join(format!("{anchor}.{suffix}"));
                utf8(option.name(), &path)?;
                Ok(Some(path))
            }
            Some(word) if is_switch(word) => Err(Error::input(
                option,
                format!("is `{word}`, which may mean `true`, `false` or a file"),
                format!("use `true`, `false` or a path. For a file of that name, write `./{word}`"),
            )),
            Some(path) => free(option, folder.join(path)).map(Some),
        };
        let kubeconfig_file = path(Opt::KubeconfigFile, "kubeconfig")?;
        let token_file = path(Opt::TokenFile, "token")?;
        if token_file.is_some() && token_file == kubeconfig_file {
            return Err(Error::input(
                Opt::KubeconfigFile,
                "is the same as `token-file`",
                "give each a name of its own",
            ));
        }
        // A renewal without `token-file` puts the token's file beside the kubeconfig. An error about its
        // folder must then name the input `kubeconfig-file`.
        let names_token = token_file
            .as_ref()
            .map_or(Opt::KubeconfigFile, |_| Opt::TokenFile);
        let mut files = Self {
            token_file,
            kubeconfig_file,
            journal: None,
        };
        if inputs.get(Opt::RenewFor).is_some() {
            files.plan_renewal()?;
        }
        if let (true, Some(kubeconfig)) = (inputs.flag(Opt::Proxy)?, &files.kubeconfig_file) {
            files.journal = Some(free_beside(Opt::KubeconfigFile, kubeconfig, ".journal")?);
        }
        for (option, path) in [
            (names_token, &files.token_file),
            (Opt::KubeconfigFile, &files.kubeconfig_file),
        ] {
            if let Some(path) = path {
                make_folder(option.name(), path)?;
            }
        }
        Ok(files)
    }

    /// Adds the files for a renewal. Clients read a token's file again and again, but a kubeconfig only once.
    fn plan_renewal(&mut self) -> Result<(), Error> {
        let (option, path) = match (self.token_file.take(), &self.kubeconfig_file) {
            (Some(path), _) => (Opt::TokenFile, path),
            (None, Some(kubeconfig)) => {
                let option = Opt::KubeconfigFile;
                (option, free_beside(option, kubeconfig, ".token")?)
            }
            (None, None) => {
                return Err(Error::input(
                    Opt::RenewFor,
                    "is given, but no file holds the token: jobpass renews a token only in a file",
                    "add `token-file` or `kubeconfig-file`",
                ));
            }
        };
        self.journal = Some(free_beside(option, &path, ".journal")?);
        self.token_file = Some(path);
        Ok(())
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.token_file.is_none() && self.kubeconfig_file.is_none()
    }

    /// Writes each file as a whole, for this user alone. Returns a warning if other users can read one of
    /// them nevertheless.
    ///
    /// # Errors
    /// If jobpass cannot write a file, or if a file exists by now. jobpass then removes the files that it has
    /// written, and leaves the existing file as it is.
    pub fn write(
        &self,
        token: &Token,
        connection: &Connection,
        receipt: &Receipt,
    ) -> Result<Option<String>, Error> {
        let kubeconfig = match &self.kubeconfig_file {
            Some(_) => Zeroizing::new(self.kubeconfig(token, connection, receipt)?),
            None => Zeroizing::default(),
        };
        // The journal comes first, so that a log filter that starts later learns this token. A proxy writes
        // its own journal, without a token.
        let announced = Zeroizing::new(journal::line(&Entry::Announced { token: token.clone() })?);
        let journal = self.journal.as_ref().filter(|_| self.token_file.is_some());
        let all = [
            (journal, &**announced),
            (self.token_file.as_ref(), token.expose()),
            (self.kubeconfig_file.as_ref(), &**kubeconfig),
        ];
        let mut written = Vec::new();
        for (path, content) in all {
            let Some(path) = path else { continue };
            put(path, content).inspect_err(|_| {
                for path in &written {
                    let _ = remove_file(path);
                }
            })?;
            written.push(path);
        }
        Ok(written.into_iter().find_map(|path| is_open_to_others(path)))
    }

    fn kubeconfig(&self, token: &Token, connection: &Connection, receipt: &Receipt) -> Result<String, Error> {
        // client-go prefers `tokenFile` to `token`, and so follows each renewal. Python's `kubernetes`
        // prefers `token`. Some libraries, such as `@kubernetes/client-node`, ignore `tokenFile`.
        let token_file = match (&self.token_file, &self.journal) {
            (Some(file), Some(_)) => Some(utf8("token-file", file)?.to_owned()),
            _ => None,
        };
        kubeconfig::yaml(
            connection,
            &receipt.namespace,
            &receipt.service_account,
            token,
            token_file,
        )
    }

    /// Replaces the old token with a new one. Keeps everything else in a kubeconfig, because the job may have
    /// changed it. Does nothing to a kubeconfig without one of the tokens in `old`: the job has replaced the
    /// file.
    ///
    /// # Errors
    /// If jobpass cannot write a file, or cannot read the kubeconfig. The file of the error then still holds
    /// the old token.
    pub(crate) fn renew(&self, token: &Token, old: &[Token]) -> Result<(), Error> {
        if let Some(path) = &self.token_file {
            replace(path, token.expose())?;
        }
        let Some(path) = &self.kubeconfig_file else {
            return Ok(());
        };
        let text = match read_at_most(LONGEST, path) {
            Ok(text) => Zeroizing::new(text),
            // The job has removed its kubeconfig.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(cannot_read(path, &error)),
        };
        match old.iter().find(|old| text.contains(old.expose())) {
            Some(old) => replace(path, &Zeroizing::new(text.replace(old.expose(), token.expose()))),
            // The job has put another kubeconfig at this path.
            None => Ok(()),
        }
    }

    /// Writes only `token_file`.
    ///
    /// # Errors
    /// As [`Files::write`].
    pub fn write_token(&self, token: &Token) -> Result<(), Error> {
        match &self.token_file {
            Some(path) => put(path, token.expose()),
            None => Ok(()),
        }
    }

    /// Reads the token, or with a proxy the proxy's bearer, from the files of the hand-over. `None` if they
    /// hold neither, or if jobpass cannot read them.
    pub fn token(&self) -> Option<Token> {
        let text = match (&self.token_file, &self.kubeconfig_file) {
            (Some(path), _) => read_at_most(LONGEST, path).ok()?,
            (None, Some(path)) => in_kubeconfig(&read_at_most(LONGEST, path).ok()?)?.to_owned(),
            (None, None) => return None,
        };
        let text = Zeroizing::new(text);
        Token::parse(&text, Opt::TokenFile.name()).ok()
    }

    /// Removes the files, including partly written ones. A missing file is not an error.
    ///
    /// # Errors
    /// If jobpass cannot remove an existing file.
    pub fn remove(&self) -> Result<(), Error> {
        let files = [&self.journal, &self.token_file, &self.kubeconfig_file];
        let files = files.into_iter().flatten();
        let mut failure = Ok(());
        for file in files.flat_map(|path| [path.clone(), with_suffix(path, PARTIAL)]) {
            match remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let (path, why) = (text::path(&file), harmless(&error.to_string()));
                    let what = format!("cannot remove `{path}`: {why}");
                    let step = "remove the file by hand: it may hold a token";
                    failure = Err(Error::new(Kind::Revoke, what).help(step));
                }
                _ => {}
            }
        }
        failure
    }
}

/// The greatest length of a file with a token, in bytes. A kubeconfig may hold a certificate authority of 64
/// KiB, which grows by a third in base64.
const LONGEST: u64 = 128 << 10;

fn free(input: Opt, path: PathBuf) -> Result<PathBuf, Error> {
    free_as(input, "is", path)
}

/// The path of a file beside the one that `input` names.
fn free_beside(input: Opt, path: &Path, suffix: &str) -> Result<PathBuf, Error> {
    free_as(input, "also needs the file", with_suffix(path, suffix))
}

fn free_as(input: Opt, verb: &str, path: PathBuf) -> Result<PathBuf, Error> {
    let shown = harmless(utf8(input.name(), &path)?);
    if path.symlink_metadata().is_ok() {
        let problem = format!("{verb} `{shown}`, which exists already");
        return Err(Error::input(
            input,
            problem,
            "jobpass does not overwrite files: choose another name. In a script that has a token already, \
             JOBPASS_TOKEN_FILE and JOBPASS_KUBECONFIG_FILE may name the files of that token: put `env -u \
             JOBPASS_TOKEN_FILE -u JOBPASS_KUBECONFIG_FILE` before the command that mints another token",
        ));
    }
    Ok(path)
}

/// Whether people or YAML read the word as a boolean or as an absent value.
fn is_switch(word: &str) -> bool {
    let switches = [
        "true", "false", "yes", "no", "on", "off", "y", "n", "0", "1", "null", "none", "~",
    ];
    switches.contains(&&*word.to_ascii_lowercase())
}

/// The token in a kubeconfig of jobpass, even after a tool has rewritten the file. jobpass searches for one
/// line and parses no YAML, because any step of the job may have written the file.
fn in_kubeconfig(kubeconfig: &str) -> Option<&str> {
    let token = kubeconfig
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("token:"))?;
    Some(token.trim().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        os::unix::{
            ffi::OsStrExt as _,
            fs::{PermissionsExt as _, symlink},
        },
    };

    use super::*;
    use crate::cluster::Proxy;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).expect("a file")
    }

    fn plan(folder: &Path, token_file: &str, kubeconfig_file: &str) -> Result<Files, Error> {
        let inputs = Inputs::from([
            (Opt::TokenFile, token_file),
            (Opt::KubeconfigFile, kubeconfig_file),
        ]);
        Files::plan(&inputs, folder, "jobpass-a")
    }

    #[test]
    fn names_are_absolute_and_below_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| Some(folder.path().join(name));
        let files = plan(folder.path(), "true", "true").expect("a plan");
        assert_eq!(
            (files.token_file, files.kubeconfig_file),
            (at("jobpass-a.token"), at("jobpass-a.kubeconfig"))
        );
        let files = plan(folder.path(), "", "k").expect("a plan");
        assert_eq!((files.token_file, files.kubeconfig_file), (None, at("k")));
        assert!(plan(folder.path(), "false", "false").expect("a plan").is_empty());

        let renewed = [(Opt::KubeconfigFile, "k"), (Opt::RenewFor, "6h")];
        let files = Files::plan(&Inputs::from(renewed), folder.path(), "jobpass-a").expect("a plan");
        assert_eq!(
            (files.token_file, files.kubeconfig_file, files.journal),
            (at("k.token"), at("k"), at("k.token.journal"))
        );
    }

    /// A person who writes `yes` or `no` does not expect a file of that name, and would not pass the file to
    /// kubectl. kubectl would then use another kubeconfig.
    #[test]
    fn a_switch_is_no_name() {
        let folder = tempfile::tempdir().expect("a folder");
        for word in ["no", "No", "yes", "off", "True", "FALSE", "0", "null"] {
            let error = plan(folder.path(), "", word).expect_err("refused").to_string();
            assert!(
                error.contains(&format!("For a file of that name, write `./{word}`")),
                "{error}"
            );
            let named = plan(folder.path(), "", &format!("./{word}")).expect("a plan");
            assert_eq!(
                named.kubeconfig_file.expect("a path").file_name(),
                Some(OsStr::new(word))
            );
        }
    }

    #[test]
    fn a_missing_folder_is_made_for_this_user_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = plan(folder.path(), "a/b/token", "").expect("a plan");
        let path = files.token_file.expect("a path");
        put(&path, "secret").expect("written");
        for made in [folder.path().join("a"), folder.path().join("a/b")] {
            assert_eq!(mode(&made), 0o700);
        }
        let error = plan(folder.path(), "a/b/token/t", "")
            .expect_err("refused")
            .to_string();
        assert!(error.contains("whose folder jobpass cannot create: "), "{error}");
    }

    #[test]
    fn a_path_that_cannot_be_recorded_is_a_wrong_input() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join(OsStr::from_bytes(b"caf\xe9"));
        std::fs::create_dir(&folder).expect("made");
        for (token_file, kubeconfig_file) in [("token", ""), ("true", ""), ("", "k"), ("", "true")] {
            let error = plan(&folder, token_file, kubeconfig_file).expect_err("refused");
            assert_eq!(error.kind(), Kind::Input);
            assert!(error.message().ends_with("which is not UTF-8"), "{error}");
        }
        let elsewhere = tempfile::tempdir().expect("a folder");
        let path = elsewhere.path().join("token");
        assert!(plan(&folder, path.to_str().expect("UTF-8"), "").is_ok());
        assert!(plan(&folder, "", "").is_ok(), "nothing is in the folder");
    }

    #[test]
    fn what_exists_is_never_overwritten_or_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("taken"), "mine").expect("written");
        symlink("/nowhere", folder.path().join("link")).expect("linked");
        for name in ["taken", "link"] {
            let error = plan(folder.path(), name, "").expect_err("refused").to_string();
            assert!(error.contains("exists already"), "{error}");
        }

        for file in ["k.token", "k.token.journal"] {
            let path = folder.path().join(file);
            std::fs::write(&path, "mine").expect("written");
            let renewed = [(Opt::KubeconfigFile, "k"), (Opt::RenewFor, "6h")];
            let error = Files::plan(&Inputs::from(renewed), folder.path(), "jobpass-a").expect_err("refused");
            let said = error.message();
            let start = "input `kubeconfig-file` also needs the file `";
            assert!(
                said.starts_with(start) && said.ends_with(&format!("{file}`, which exists already")),
                "{said}"
            );
            remove_file(path).expect("removed");
        }

        // Another process creates a file between `plan` and `write`.
        let files = plan(folder.path(), "late", "").expect("a plan");
        symlink(folder.path().join("taken"), folder.path().join("late")).expect("linked");
        let token = Token::parse("eyJ.a.b", "token").expect("a token");
        let error = put(files.token_file.as_deref().expect("a path"), token.expose()).expect_err("refused");
        assert_eq!(error.kind(), Kind::Deliver);
        assert_eq!(
            std::fs::read_to_string(folder.path().join("taken")).expect("read"),
            "mine"
        );
        let left = std::fs::read_dir(folder.path()).expect("read").count();
        assert_eq!(left, 3, "no partial file is left");
    }

    #[test]
    fn files_are_private_and_go_away_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = plan(folder.path(), "t", "").expect("a plan");
        let path = files.token_file.clone().expect("a path");
        put(&path, "secret").expect("written");
        assert_eq!(mode(&path), 0o600);
        std::fs::write(with_suffix(&path, PARTIAL), "sec").expect("written");
        files.remove().expect("removed");
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0);
        files.remove().expect("nothing to remove is fine");
    }
    #[test]
    fn a_new_token_takes_the_old_ones_place_and_changes_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let inputs = Inputs::from([(Opt::KubeconfigFile, "k"), (Opt::RenewFor, "6h")]);
        let files = Files::plan(&inputs, folder.path(), "jobpass-a").expect("a plan");
        let (token_file, kubeconfig) = (
            files.token_file.clone().expect("a path"),
            files.kubeconfig_file.clone().expect("a path"),
        );
        let [first, second, third] = ["eyJ.a.first", "eyJ.a.second", "eyJ.a.third"]
            .map(|text| Token::parse(text, "token").expect("a token"));
        let connection = Connection::new("server", "https://10.0.0.1:6443", None).expect("a server");
        let receipt = Receipt::new("scanner", "ci", "jobpass-a");
        files.write(&first, &connection, &receipt).expect("written");
        let written = read(&kubeconfig);
        assert!(
            written.contains(&format!("tokenFile: {}", token_file.display())),
            "{written}"
        );

        // `kubectl config set-context --current --namespace other` makes this change.
        let changed = written.replace("namespace: ci", "namespace: other");
        std::fs::write(&kubeconfig, &changed).expect("written");
        files
            .renew(&second, std::slice::from_ref(&first))
            .expect("renewed");
        assert_eq!(read(&token_file), second.expose());
        assert_eq!(
            read(&kubeconfig),
            changed.replace(first.expose(), second.expose())
        );
        assert_eq!(mode(&kubeconfig), 0o600);

        // The second token did not reach the kubeconfig.
        std::fs::write(&kubeconfig, &changed).expect("written");
        files.renew(&third, &[first, second]).expect("renewed");
        assert!(read(&kubeconfig).contains(third.expose()));

        std::fs::write(&kubeconfig, "mine").expect("written");
        files.renew(&third, &[]).expect("renewed");
        assert_eq!(read(&kubeconfig), "mine");
        remove_file(&kubeconfig).expect("removed");
        files.renew(&third, &[]).expect("renewed");
        assert!(!kubeconfig.exists(), "a removed file stays removed");

        std::fs::write(&kubeconfig, [0xff]).expect("written");
        let error = files.renew(&third, &[]).expect_err("not text");
        let start = format!("cannot read `{}`: ", kubeconfig.display());
        assert!(error.message().starts_with(&start), "{error}");
    }

    /// jobpass, kubectl and other tools write the line with the token in different ways.
    #[test]
    fn the_token_is_found_without_parsing_yaml() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = plan(folder.path(), "", "k").expect("a plan");
        let path = files.kubeconfig_file.clone().expect("a path");
        for token in ["token: eyJ.a.b", "    token: \"eyJ.a.b\"", "  token: 'eyJ.a.b'"] {
            std::fs::write(&path, format!("users:\n- user:\n  tokenFile: /t\n{token}\n")).expect("written");
            assert_eq!(files.token().expect(token).expose(), "eyJ.a.b");
        }
        for other in [
            "a: ".repeat(100_000),
            "[".repeat(1000),
            "token: a b".into(),
            String::new(),
        ] {
            std::fs::write(&path, other).expect("written");
            assert!(files.token().is_none());
        }
    }

    /// The kubeconfig names no proxy of a variable, because clients read the variable themselves. It names no
    /// proxy with a password, because a job could print the kubeconfig.
    #[test]
    fn the_kubeconfig_names_the_proxy_that_the_minters_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = plan(folder.path(), "", "k").expect("a plan");
        let token = Token::parse("eyJ.a.b", "token").expect("a token");
        let named = |url| Proxy::parse("kubeconfig", url).map(Proxy::of_kubeconfig);
        let of_variable = Proxy::parse("HTTPS_PROXY", "http://proxy:3128");
        for (proxy, expected) in [
            (named("socks5://proxy:1080"), true),
            (named("http://someone:hunter2@proxy:3128"), false),
            (of_variable, false),
        ] {
            let mut connection = Connection::new("server", "https://10.0.0.1", None).expect("a server");
            connection.proxy = Some(proxy.expect("a proxy"));
            let receipt = Receipt::new("scanner", "ci", "jobpass-a");
            let text = files.kubeconfig(&token, &connection, &receipt).expect("YAML");
            assert_eq!(
                text.contains("proxy-url: socks5://proxy:1080\n"),
                expected,
                "{text}"
            );
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
