//! Text for people, laid out for the width and the features of their terminal.

use std::io::{IsTerminal, stderr, stdout};

use jobpass_core::{
    process::{enable_escapes, environment::Environment},
    text::in_words,
};
use terminal_size::{Height, Width, terminal_size_of};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

pub(crate) const BOLD: &str = "\x1b[1m";
pub(crate) const GREEN: &str = "\x1b[32m";
pub(crate) const YELLOW: &str = "\x1b[33m";
pub(crate) const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// The width of the column of names in front of values.
const NAME_WIDTH: usize = 15;
/// The least width of a column in which jobpass wraps text, because narrower columns are hard to read.
const MIN_WIDTH: usize = 20;
/// The additional indentation of a last column for which the line has no room.
const HANGING_INDENT: usize = 4;
/// The length of the longest bar, in columns of the terminal.
const MAX_BAR: usize = 40;

/// The terminal, pipe or file behind standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Screen {
    /// The width of the terminal in columns. `None` for a pipe or a file, whose lines may have any length.
    pub(crate) width: Option<usize>,
    /// Whether to colour text.
    pub(crate) colours: bool,
    /// Whether the terminal understands escape sequences, such as those for links (OSC 8) and for erasing a
    /// line.
    pub(crate) escapes: bool,
}

/// A pipe, a file, or the log of a CI job.
pub(crate) const PIPE: Screen = Screen {
    width: None,
    colours: false,
    escapes: false,
};

impl Screen {
    /// The screen behind standard output.
    pub(crate) fn of_stdout(environment: &Environment) -> Self {
        Self::of(&stdout(), terminal_size_of(stdout()), environment)
    }

    /// The screen behind standard error.
    pub(crate) fn of_stderr(environment: &Environment) -> Self {
        Self::of(&stderr(), terminal_size_of(stderr()), environment)
    }

    fn of(stream: &impl IsTerminal, size: Option<(Width, Height)>, environment: &Environment) -> Self {
        let terminal = stream.is_terminal();
        let escapes =
            terminal && environment.get("TERM").is_none_or(|term| term != "dumb") && enable_escapes();
        let width = || size.map_or(80, |(Width(width), _)| usize::from(width));
        Self {
            width: terminal.then(width),
            // https://no-color.org
            colours: escapes && environment.get("NO_COLOR").is_none(),
            escapes,
        }
    }

    /// Colours `text`, if the screen has colours.
    pub(crate) fn paint(self, text: &str, colour: &str) -> String {
        if self.colours && !colour.is_empty() && !text.is_empty() {
            format!("{colour}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    }

    /// A line with a name and its value. Wraps a long value below its beginning. `colour` is the colour of
    /// the value.
    pub(crate) fn row(self, name: &str, value: &str, colour: &str) -> String {
        let room = self.width.map_or(usize::MAX, |width| {
            width.saturating_sub(NAME_WIDTH).max(MIN_WIDTH)
        });
        let lines = wrapped(value, room).into_iter().enumerate();
        let lines = lines.map(|(number, line)| {
            let name = if number == 0 { name } else { "" };
            let padding = " ".repeat(NAME_WIDTH.saturating_sub(name.width()));
            format!("{}{padding}{}", self.paint(name, BOLD), self.paint(&line, colour))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Wraps `text` at the width of the terminal. Two spaces or more separate the columns of a line in
    /// `text`.
    ///
    /// If a line has columns, it continues below its last column. A paragraph of one line continues below its
    /// own beginning. All other lines stay as they are, because they may be YAML to paste.
    pub(crate) fn laid_out(self, text: &str) -> String {
        let Some(width) = self.width else {
            return text.to_owned();
        };
        let paragraphs = text.split("\n\n").map(|paragraph| {
            let alone = !paragraph.contains('\n');
            let lines = paragraph.split('\n').map(|line| {
                let indentation = line.len() - line.trim_start().len();
                match last_column(line).or(alone.then_some(indentation)) {
                    Some(column) if line.width() > width => {
                        let (names, value) = line.split_at(column);
                        let beside = names.width() + MIN_WIDTH <= width;
                        let indent = if beside {
                            names.width()
                        } else {
                            indentation + HANGING_INDENT
                        };
                        let line_break = format!("\n{}", " ".repeat(indent));
                        let value =
                            wrapped(value, width.saturating_sub(indent).max(MIN_WIDTH)).join(&line_break);
                        match beside {
                            true => format!("{names}{value}"),
                            false => format!("{}{line_break}{value}", names.trim_end()),
                        }
                    }
                    _ => line.to_owned(),
                }
            });
            lines.collect::<Vec<_>>().join("\n")
        });
        paragraphs.collect::<Vec<_>>().join("\n\n")
    }

    /// A bar that is full to the fraction `part` (0 to 1), with `text` beside it.
    ///
    /// Both fit into one line, because jobpass redraws only the line of the cursor. The bar gets the room
    /// that `text` leaves. Cuts a `text` that is longer than a line. Without a known width, `text` stays
    /// whole.
    pub(crate) fn bar(self, part: f64, text: &str) -> String {
        let text = &self
            .width
            .map_or_else(|| text.to_owned(), |width| cut(text, width));
        let room = self.width.map_or(MAX_BAR, |width| {
            width.saturating_sub(text.width() + 2).min(MAX_BAR)
        });
        let full = (part.clamp(0.0, 1.0) * room as f64).round() as usize;
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(room - full));
        format!("{bar}  {text}").trim_start().to_owned()
    }

    /// The part of the screen to the right of the column of names.
    pub(crate) fn beside_names(self) -> Self {
        Self {
            width: self.width.map(|width| width.saturating_sub(NAME_WIDTH)),
            ..self
        }
    }
}

/// A time in words, rounded down: to seconds below a minute, to minutes below a day, otherwise to hours
/// (`40 s`, `12 min`, `1 h 4 min`, `2 d 3 h`).
pub(crate) fn roughly(seconds: u64) -> String {
    let least = match seconds {
        ..60 => 1,
        60..86_400 => 60,
        _ => 3600,
    };
    in_words(seconds - seconds % least)
}

/// Cuts `text` to `width` columns. A cut text ends in `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        if kept.width() + c.width().unwrap_or(0) > width.saturating_sub(1) {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

/// The offset of a line's last column. `None` if the line has only one column. Two spaces or more separate
/// columns. A YAML comment is not a column.
fn last_column(line: &str) -> Option<usize> {
    let gap = line.trim_end().rfind("  ")? + 2;
    (!line[..gap].trim().is_empty() && !line[gap..].starts_with('#')).then_some(gap)
}

/// Splits `text` into lines of whole words.
///
/// A word that is longer than a line stays whole, and the terminal breaks it. A command in backticks also
/// stays whole, because nobody can paste a command that is broken into lines.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut quoted = false;
    let words = text.split(|c| {
        quoted ^= c == '`';
        c == ' ' && !quoted
    });
    for word in words {
        let line = lines.last_mut().filter(|line| !line.is_empty());
        match line {
            Some(line) if line.width() + 1 + word.width() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(word.to_owned()),
            None => lines = vec![word.to_owned()],
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(width: usize) -> Screen {
        Screen {
            width: Some(width),
            ..PIPE
        }
    }

    #[test]
    fn a_long_value_continues_below_its_beginning() {
        insta::assert_snapshot!(screen(40).row("unusual", "it is bound to no object: nothing ends it", ""), @r"
        unusual        it is bound to no object:
                       nothing ends it
        ");
        assert_eq!(
            PIPE.row("a", "one two three", RED),
            format!("a{}one two three", " ".repeat(14))
        );
    }

    #[test]
    fn commands_and_yaml_stay_in_one_piece() {
        let text = "jobpass: cannot create the anchor: the API server refused\n\n\
            \u{20}\u{20}failed   the minter may not create serviceaccounts/token\n\n\
            run `jobpass setup --service-account scanner --namespace ci` and then\n\n\
            rules:\n- apiGroups: [\"rbac.authorization.k8s.io\"]   # this rule is missing";
        insta::assert_snapshot!(screen(40).laid_out(text), @r#"
        jobpass: cannot create the anchor: the
        API server refused

          failed   the minter may not create
                   serviceaccounts/token

        run
        `jobpass setup --service-account scanner --namespace ci`
        and then

        rules:
        - apiGroups: ["rbac.authorization.k8s.io"]   # this rule is missing
        "#);
        insta::assert_snapshot!(screen(40).laid_out("  ok  create pods/exec target-pod  denied by one who \
            may"), @r"
        ok  create pods/exec target-pod
            denied by one who may
        ");
        assert_eq!(PIPE.laid_out(text), text);
    }

    #[test]
    fn a_bar_fits_into_the_terminal() {
        assert_eq!(screen(21).bar(0.52, "in 42 min"), "█████░░░░░  in 42 min");
        for width in [1, 3, 5, 30, 200] {
            for part in [-1.0, 0.0, 0.3, 1.0, 7.0, f64::NAN] {
                let bar = screen(width).bar(part, "text");
                assert!(bar.width() <= width, "{bar}");
                assert_eq!(bar.ends_with("text"), width > 3, "{bar}");
            }
        }
    }

    #[test]
    fn times_are_rounded_down_to_their_larger_units() {
        let shown = [40, 725, 3604, 3840, 183_700].map(roughly);
        assert_eq!(shown, ["40 s", "12 min", "1 h", "1 h 4 min", "2 d 3 h"]);
    }

    #[test]
    fn colours_are_around_the_words_and_not_the_padding() {
        let screen = Screen {
            width: Some(80),
            colours: true,
            escapes: true,
        };
        assert_eq!(
            screen.row("state", "live", GREEN),
            "\x1b[1mstate\x1b[0m          \x1b[32mlive\x1b[0m"
        );
    }
}
