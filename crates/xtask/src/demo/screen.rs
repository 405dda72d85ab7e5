//! The demo's output: the stages, each with the time since the start, and the output of programs between
//! them.

use std::cell::RefCell;
use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

use anyhow::{Result, bail};

/// The column at which the text of a stage begins.
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

    pub(super) fn paragraph(&self, text: &str) {
        line(text);
    }

    /// Prints a stage, which is an event that the demo has checked.
    pub(super) fn station(&self, name: &str, text: &str) {
        let name = self.paint("1;32", &format!("{name:<11}"));
        let text = text.replace('\n', &format!("\n{:COLUMN$}", ""));
        line(&format!("{:>6.1} s  {name}  {text}", self.seconds()));
    }

    /// Prints the output of a program, or the content of a file, as other people see it.
    pub(super) fn quote(&self, text: &str) -> Result<()> {
        self.check(text)?;
        let bar = self.paint("2", "│");
        let text = if self.colours {
            text.to_owned()
        } else {
            without_colours(text)
        };
        for quoted in text.trim_end().lines() {
            line(&format!("{:COLUMN$}{bar} {quoted}", ""));
        }
        Ok(())
    }

    /// Checks text that other people will see. If the text contains a secret, fails and shows none of the
    /// text.
    pub(super) fn check(&self, text: &str) -> Result<()> {
        if self.secrets.borrow().iter().any(|secret| text.contains(secret)) {
            bail!("the output that people can read contains a token (not shown here)");
        }
        Ok(())
    }

    /// Adds a token that the demo must not show. The token's header is not a secret: every token of the
    /// cluster has the same header.
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

/// Prints a line. Ignores a closed output, because the demo must still clean up.
fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Removes the colours from a job's output, for a screen without colours.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_and_text_stays() {
        assert_eq!(without_colours("a \x1b[32;1m$ make\x1b[0;m, m"), "a $ make, m");
    }

    #[test]
    fn a_token_that_was_seen_is_not_quoted_in_any_part() {
        let screen = Screen::new();
        screen.never_show("header.payload.signature");
        assert!(screen.quote("the payload").is_err());
        assert!(screen.quote("the header").is_ok());
    }
}
