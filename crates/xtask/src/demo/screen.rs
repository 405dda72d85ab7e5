//! What the person sees: stations with the time since the start, and what programs said in between.

use std::cell::RefCell;
use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

use anyhow::{Result, bail};

/// Where the text of a station begins.
const COLUMN: usize = 23;

pub(super) struct Screen {
    begin: Instant,
    colours: bool,
    secrets: RefCell<Vec<String>>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            begin: Instant::now(),
            colours: wanted && io::stdout().is_terminal(),
            secrets: RefCell::default(),
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    pub(super) fn title(&self, text: &str) {
        line(&format!("\n{}", self.paint("1", text)));
    }

    /// Something that has happened and was checked.
    pub(super) fn station(&self, name: &str, text: &str) {
        let name = self.paint("1;32", &format!("{name:<11}"));
        let text = text.replace('\n', &format!("\n{:COLUMN$}", ""));
        line(&format!("{:>6.1} s  {name}  {text}", self.seconds()));
    }

    /// What a program said or what stands in a file, as others see it. If a secret is in it, that is an error and nothing is shown.
    pub(super) fn quote(&self, text: &str) -> Result<()> {
        if self.secrets.borrow().iter().any(|secret| text.contains(secret)) {
            bail!("a token is in what people can read (not shown here)");
        }
        let bar = self.paint("2", "│");
        for quoted in text.trim_end().lines() {
            line(&format!("{:COLUMN$}{bar} {quoted}", ""));
        }
        Ok(())
    }

    /// Nothing of this token may be quoted; its header is no secret, as every token of the cluster has the same.
    pub(super) fn never_show(&self, token: &str) {
        let parts = token.split('.').skip(1).filter(|part| !part.is_empty());
        self.secrets.borrow_mut().extend(parts.map(str::to_owned));
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A person who stops reading does not stop the demo: it has something to clean up.
fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
