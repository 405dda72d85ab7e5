//! Text for people, laid out for the terminal that it is on.

use std::io::{IsTerminal, stderr, stdout};

use jobpass_core::{process::environment::Environment, text::in_words};
use terminal_size::{Width, terminal_size_of};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

pub(crate) const BOLD: &str = "\x1b[1m";
pub(crate) const GREEN: &str = "\x1b[32m";
pub(crate) const YELLOW: &str = "\x1b[33m";
pub(crate) const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Columns of the names in front of values.
const NAMES: usize = 15;
/// Text that is broken into less is hard to read.
const NARROWEST: usize = 20;
/// How far a last column stands in that has no room beside the others.
const BELOW: usize = 4;
/// No bar is longer.
const LONGEST_BAR: usize = 40;

/// What standard output, or standard error, is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Screen {
    /// Columns of a terminal; a pipe or a file has no end.
    pub(crate) width: Option<usize>,
    pub(crate) colours: bool,
    /// Whether it obeys what makes links (OSC 8), and wipes a line away.
    pub(crate) smart: bool,
}

/// A pipe, a file, or a CI job's log.
pub(crate) const PIPE: Screen = Screen {
    width: None,
    colours: false,
    smart: false,
};

impl Screen {
    pub(crate) fn of_stdout(environment: &Environment) -> Self {
        Self::of(&stdout(), environment)
    }

    pub(crate) fn of_stderr(environment: &Environment) -> Self {
        Self::of(&stderr(), environment)
    }

    fn of(stream: &(impl IsTerminal + std::os::fd::AsFd), environment: &Environment) -> Self {
        let terminal = stream.is_terminal();
        let smart = terminal && environment.get("TERM").is_none_or(|term| term != "dumb");
        let width = || terminal_size_of(stream).map_or(80, |(Width(width), _)| usize::from(width));
        Self {
            width: terminal.then(width),
            // https://no-color.org
            colours: smart && environment.get("NO_COLOR").is_none(),
            smart,
        }
    }

    pub(crate) fn paint(self, text: &str, colour: &str) -> String {
        if self.colours && !colour.is_empty() && !text.is_empty() {
            format!("{colour}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    }

    /// A line that says what `value` is; more lines if it is too long for one. The colour is for the value.
    pub(crate) fn row(self, name: &str, value: &str, colour: &str) -> String {
        let room = self
            .width
            .map_or(usize::MAX, |width| width.saturating_sub(NAMES).max(NARROWEST));
        let lines = wrapped(value, room).into_iter().enumerate();
        let lines = lines.map(|(number, line)| {
            let name = if number == 0 { name } else { "" };
            let padding = " ".repeat(NAMES.saturating_sub(name.width()));
            format!("{}{padding}{}", self.paint(name, BOLD), self.paint(&line, colour))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Text of lines, as the core writes it, broken where the terminal ends: what stands in columns goes on below the last of
    /// them, and a paragraph of one line below its beginning. All other lines may be YAML to paste, and stay as they are.
    pub(crate) fn laid_out(self, text: &str) -> String {
        let Some(width) = self.width else {
            return text.to_owned();
        };
        let paragraphs = text.split("\n\n").map(|paragraph| {
            let alone = !paragraph.contains('\n');
            let lines = paragraph.split('\n').map(|line| {
                let indented = line.len() - line.trim_start().len();
                match last_column(line).or(alone.then_some(indented)) {
                    Some(column) if line.width() > width => {
                        let (names, value) = line.split_at(column);
                        let beside = names.width() + NARROWEST <= width;
                        let indent = if beside { names.width() } else { indented + BELOW };
                        let goes_on = format!("\n{}", " ".repeat(indent));
                        let value =
                            wrapped(value, width.saturating_sub(indent).max(NARROWEST)).join(&goes_on);
                        match beside {
                            true => format!("{names}{value}"),
                            false => format!("{}{goes_on}{value}", names.trim_end()),
                        }
                    }
                    _ => line.to_owned(),
                }
            });
            lines.collect::<Vec<_>>().join("\n")
        });
        paragraphs.collect::<Vec<_>>().join("\n\n")
    }

    /// A bar that is full from its left end to `part` of it (0 to 1), as wide as the terminal lets it be beside `text`, which is
    /// cut if it does not fit itself: what is longer than a line cannot be drawn over.
    pub(crate) fn bar(self, part: f64, text: &str) -> String {
        let text = &self
            .width
            .map_or_else(|| text.to_owned(), |width| cut(text, width));
        let room = self.width.map_or(LONGEST_BAR, |width| {
            width.saturating_sub(text.width() + 2).min(LONGEST_BAR)
        });
        let full = (part.clamp(0.0, 1.0) * room as f64).round() as usize;
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(room - full));
        format!("{bar}  {text}").trim_start().to_owned()
    }

    /// The columns that a value has beside its name.
    pub(crate) fn beside_names(self) -> Self {
        Self {
            width: self.width.map(|width| width.saturating_sub(NAMES)),
            ..self
        }
    }
}

/// `40 s`, `12 min`, `1 h 4 min`, `2 d 3 h`.
pub(crate) fn roughly(seconds: u64) -> String {
    let least = match seconds {
        ..60 => 1,
        60..86_400 => 60,
        _ => 3600,
    };
    in_words(seconds - seconds % least)
}

/// At most this wide.
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

/// Where the last column of a line begins, if it has several: behind two spaces or more. A comment is none.
fn last_column(line: &str) -> Option<usize> {
    let gap = line.trim_end().rfind("  ")? + 2;
    (!line[..gap].trim().is_empty() && !line[gap..].starts_with('#')).then_some(gap)
}

/// Lines of whole words. A word that is longer than a line is left to the terminal, and so is a command in backticks, which
/// nobody could paste if it were broken.
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
    fn long_values_go_on_below_their_beginning() {
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
    fn what_can_be_pasted_stays_in_one_piece() {
        let text = "jobpass: cannot create the anchor: the API server refused\n\n\
                    \u{20}\u{20}failed   may create tokens: no: create serviceaccounts/token\n\n\
                    run `jobpass setup --service-account scanner --namespace ci` and then\n\n\
                    rules:\n- apiGroups: [\"rbac.authorization.k8s.io\"]   # this rule is missing";
        insta::assert_snapshot!(screen(40).laid_out(text), @r#"
        jobpass: cannot create the anchor: the
        API server refused

          failed   may create tokens: no: create
                   serviceaccounts/token

        run
        `jobpass setup --service-account scanner --namespace ci`
        and then

        rules:
        - apiGroups: ["rbac.authorization.k8s.io"]   # this rule is missing
        "#);
        insta::assert_snapshot!(screen(40).laid_out("  ok  create pods/exec target-pod  denied by one who may"), @r"
        ok  create pods/exec target-pod
            denied by one who may
        ");
        assert_eq!(PIPE.laid_out(text), text);
    }

    #[test]
    fn a_bar_fits() {
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
    fn times_are_as_exact_as_people_want_them() {
        let shown = [40, 725, 3604, 3840, 183_700].map(roughly);
        assert_eq!(shown, ["40 s", "12 min", "1 h", "1 h 4 min", "2 d 3 h"]);
    }

    #[test]
    fn colours_are_around_the_words_alone() {
        let screen = Screen {
            width: Some(80),
            colours: true,
            smart: true,
        };
        assert_eq!(
            screen.row("state", "live", GREEN),
            "\x1b[1mstate\x1b[0m          \x1b[32mlive\x1b[0m"
        );
    }
}
