//! Commands in the log of a step (`ActionCommand.cs`).

use std::collections::BTreeMap;

/// The names of the commands that the runner carries out. It ignores their case.
const REGISTERED: [&str; 15] = [
    "add-mask",
    "add-matcher",
    "add-path",
    "debug",
    "echo",
    "endgroup",
    "error",
    "group",
    "notice",
    "remove-matcher",
    "save-state",
    "set-env",
    "set-output",
    "stop-commands",
    "warning",
];

const DATA: [(&str, &str); 3] = [("%0D", "\r"), ("%0A", "\n"), ("%25", "%")];
const PROPERTY: [(&str, &str); 5] = [
    ("%0D", "\r"),
    ("%0A", "\n"),
    ("%3A", ":"),
    ("%2C", ","),
    ("%25", "%"),
];
const OLD: [(&str, &str); 5] = [
    ("%3B", ";"),
    ("%0D", "\r"),
    ("%0A", "\n"),
    ("%5D", "]"),
    ("%25", "%"),
];

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ActionCommand {
    pub(super) name: String,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) data: String,
}

/// Parses the command in a line. `token` is the word that ends `::stop-commands::`.
pub(super) fn parse(line: &str, token: Option<&str>) -> Option<ActionCommand> {
    new_style(line, token).or_else(|| old_style(line, token))
}

/// Parses `::name key=value,key=value::data` at the start of a line. White space may precede it.
fn new_style(line: &str, token: Option<&str>) -> Option<ActionCommand> {
    let (head, data) = line.trim_start().strip_prefix("::")?.split_once("::")?;
    command(head, ',', &PROPERTY, unescape(data, &DATA), token)
}

/// Parses `##[name key=value;key=value]data`, anywhere in a line.
fn old_style(line: &str, token: Option<&str>) -> Option<ActionCommand> {
    let (_, rest) = line.split_once("##[")?;
    let (head, data) = rest.split_once(']')?;
    command(head, ';', &OLD, unescape(data, &OLD), token)
}

fn command(
    head: &str,
    separator: char,
    escapes: &[(&str, &str)],
    data: String,
    token: Option<&str>,
) -> Option<ActionCommand> {
    let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
    let name = name.to_lowercase();
    let known = REGISTERED.contains(&&*name) || token.is_some_and(|token| token.to_lowercase() == name);
    let pairs = properties
        .trim()
        .split(separator)
        .filter_map(|pair| pair.split_once('='));
    let pairs = pairs.filter(|(key, value)| !key.is_empty() && !value.is_empty());
    known.then(|| ActionCommand {
        name,
        properties: pairs
            .map(|(key, value)| (key.to_lowercase(), unescape(value, escapes)))
            .collect(),
        data,
    })
}

fn unescape(text: &str, escapes: &[(&str, &str)]) -> String {
    escapes.iter().fold(text.to_owned(), |text, (escaped, plain)| {
        text.replace(escaped, plain)
    })
}

/// Cuts a stream into lines like .NET's `StreamReader`, for which a carriage return also ends a line.
#[derive(Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    after_return: bool,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' if self.after_return => {}
                b'\n' | b'\r' => lines.push(self.take()),
                byte => self.rest.push(*byte),
            }
            self.after_return = *byte == b'\r';
        }
        lines
    }

    /// Returns the last line, if the stream ended without a line break.
    pub(super) fn end(&mut self) -> Option<String> {
        (!self.rest.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_and_data(line: &str) -> Option<(String, String)> {
        parse(line, None).map(|command| (command.name, command.data))
    }

    #[test]
    fn where_a_command_counts() {
        let found = |line: &str| name_and_data(line).map(|(name, _)| name);
        assert_eq!(found("::error::x").as_deref(), Some("error"));
        assert_eq!(found(" \t::Error::x").as_deref(), Some("error"));
        assert_eq!(found("said: ::error::x"), None);
        assert_eq!(found("said: ##[error]x").as_deref(), Some("error"));
        assert_eq!(found("::no-such::##[warning]x").as_deref(), Some("warning"));
        assert_eq!(found("##[no-such]x"), None);
        assert_eq!(found("::error x"), None);
    }

    #[test]
    fn what_is_escaped() {
        let command = parse("::error title=a%3Ab%2Cc,file=%250A::x%0Ay%25%3A", None).expect("a command");
        assert_eq!(command.properties["title"], "a:b,c");
        assert_eq!(command.properties["file"], "%0A");
        assert_eq!(command.data, "x\ny%%3A");
        assert_eq!(
            name_and_data("##[add-mask]a%5Db%3B"),
            Some(("add-mask".into(), "a]b;".into()))
        );
    }

    #[test]
    fn a_token_is_a_command_while_commands_are_stopped() {
        assert_eq!(parse("::abc::", None), None);
        assert!(parse("::ABC::", Some("abc")).is_some());
    }

    #[test]
    fn lines_end_where_dotnet_ends_them() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\rb\r"), ["a", "b"]);
        assert_eq!(lines.push(b"\nc\n\nd"), ["c", ""]);
        assert_eq!((lines.end().as_deref(), lines.end()), (Some("d"), None));
    }
}
