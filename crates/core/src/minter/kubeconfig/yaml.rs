//! YAML as kubectl reads it: `sigs.k8s.io/yaml`, which turns the first document of a text into JSON.
//!
//! The parser is a port of libyaml, like the parser of Go, so both accept almost the same YAML
//! (`docs/reference.md` lists the differences). The steps after the parser follow `go.yaml.in/yaml/v2`
//! (`decode.go`, `resolve.go`). Words like `yes` are booleans, the last of two equal keys counts, and `<<`
//! merges. No error quotes the text, which may hold secrets.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libyaml_safer::{Event, EventData, MappingStyle, Mark, Parser, ScalarStyle, SequenceStyle};
use serde_json::{Map, Number, Value};

use crate::process::harden;

/// The deepest nesting that jobpass accepts, deeper than any kubeconfig. Each level needs a stack frame.
const DEEPEST: usize = 200;
/// The greatest number of decoding steps, including the steps within aliases. The limit stops a small text
/// that its aliases expand to gigabytes. Go counts in a similar way (`allowedAliasRatio`).
const MOST_STEPS: usize = 400_000;

const LINE_BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// The failure to read a text. Holds the line and the column, counted from one, if they are known.
#[derive(Debug)]
pub(in super::super) struct Unreadable(pub(in super::super) Option<(u64, u64)>);

/// Reads the first document of a text. `null` if there is no document.
pub(in super::super) fn to_json(text: &[u8]) -> Result<Value, Unreadable> {
    let text = decoded(text).ok_or(Unreadable(None))?;
    let last_line = text.rsplit(LINE_BREAKS).next().unwrap_or_default();
    // If a last line of spaces is only indentation, the parser reads the text as it is. If the spaces are a
    // line of a block scalar, the parser panics.
    if last_line.trim_start_matches(' ').is_empty() {
        match read(&text, None) {
            Err(Unreadable(None)) if !last_line.is_empty() => {}
            result => return result,
        }
    }
    // The parser panics at the end of a block scalar without a line break. The added line break is not part
    // of the scalar.
    read(&format!("{text}\n"), Some(text.len() as u64))
}

fn read(text: &str, added_break: Option<u64>) -> Result<Value, Unreadable> {
    let mut input = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut input);
    let mut document = Document {
        parser,
        nodes: Vec::new(),
        anchors: HashMap::new(),
        added_break,
        text,
    };
    match document.read()? {
        Some(root) => {
            let mut decoder = Decoder {
                nodes: &document.nodes,
                steps: 0,
                inside: Vec::new(),
            };
            decoder.value(root, 0)
        }
        None => Ok(Value::Null),
    }
}

/// The text in UTF-8, or in UTF-16 as PowerShell writes it.
fn decoded(text: &[u8]) -> Option<String> {
    let units = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units = pairs.iter().copied().map(unit).collect::<Vec<_>>();
        rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
    };
    match text {
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_owned()).ok(),
        _ => String::from_utf8(text.to_owned()).ok(),
    }
}

struct Node {
    content: Content,
    mark: Mark,
}

enum Content {
    Scalar {
        text: String,
        tag: Option<String>,
        /// Whether the scalar has neither quotes nor `|` or `>`, and no tag. For libyaml, a scalar with the
        /// tag `!` is also plain.
        plain: bool,
    },
    Sequence(Vec<usize>),
    Mapping(Vec<(usize, usize)>),
    Alias(usize),
}

/// One document as a list of nodes. A node names other nodes by their indexes in the list.
struct Document<'p> {
    parser: Parser<&'p mut &'p [u8]>,
    nodes: Vec<Node>,
    anchors: HashMap<String, usize>,
    text: &'p str,
    /// The index of the line break that jobpass added to the text.
    added_break: Option<u64>,
}

impl Document<'_> {
    fn read(&mut self) -> Result<Option<usize>, Unreadable> {
        loop {
            match self.next()?.data {
                EventData::StreamStart { .. } => {}
                EventData::DocumentStart { .. } => break,
                _ => return Ok(None),
            }
        }
        let event = self.next()?;
        let root = self.node(event, 0, false)?;
        let event = self.next()?;
        match event.data {
            EventData::DocumentEnd { .. } => Ok(Some(root)),
            _ => Err(at(event.start_mark)),
        }
    }

    fn next(&mut self) -> Result<Event, Unreadable> {
        // The parser panics on a tag before a comma, which Go refuses.
        match harden::catch(|| self.parser.parse()) {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(error.problem_mark().map_or(Unreadable(None), at)),
            None => Err(Unreadable(None)),
        }
    }

    fn node(
        &mut self,
        Event {
            data,
            start_mark: mark,
            end_mark: end,
            ..
        }: Event,
        depth: usize,
        flow: bool,
    ) -> Result<usize, Unreadable> {
        if depth > DEEPEST {
            return Err(at(mark));
        }
        let index = self.nodes.len();
        let mut push = |content, anchor: Option<String>| {
            self.nodes.push(Node { content, mark });
            if let Some(anchor) = anchor {
                self.anchors.insert(anchor, index);
            }
        };
        match data {
            EventData::Alias { anchor } => {
                let target = *self.anchors.get(&anchor).ok_or_else(|| at(mark))?;
                self.nodes.push(Node {
                    content: Content::Alias(target),
                    mark,
                });
            }
            EventData::Scalar {
                anchor,
                tag,
                mut value,
                plain_implicit,
                style,
                ..
            } => {
                // JSON allows the escape `\/`. Go does not accept it in YAML.
                let written = usize::try_from(mark.index)
                    .ok()
                    .zip(usize::try_from(end.index).ok());
                let written = written
                    .and_then(|(start, end)| self.text.get(start..end))
                    .unwrap_or_default();
                if style == ScalarStyle::DoubleQuoted && escapes_a_slash(written) {
                    return Err(at(mark));
                }
                // Within braces and brackets, Go reads a `?` as the beginning of a key.
                if flow && style == ScalarStyle::Plain && value.contains('?') {
                    return Err(at(mark));
                }
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                if is_block
                    && self.added_break.is_some_and(|index| end.index > index)
                    && value.ends_with('\n')
                {
                    value.pop();
                }
                let content = Content::Scalar {
                    text: value,
                    tag,
                    plain: plain_implicit,
                };
                push(content, anchor);
            }
            EventData::SequenceStart { anchor, style, .. } => {
                let flow = flow || style == SequenceStyle::Flow;
                push(Content::Sequence(Vec::new()), anchor);
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event {
                            data: EventData::SequenceEnd,
                            ..
                        } => break,
                        event => items.push(self.node(event, depth + 1, flow)?),
                    }
                }
                self.nodes[index].content = Content::Sequence(items);
            }
            EventData::MappingStart { anchor, style, .. } => {
                let flow = flow || style == MappingStyle::Flow;
                push(Content::Mapping(Vec::new()), anchor);
                let mut entries = Vec::new();
                loop {
                    match self.next()? {
                        Event {
                            data: EventData::MappingEnd,
                            ..
                        } => break,
                        event => {
                            let key = self.node(event, depth + 1, flow)?;
                            let event = self.next()?;
                            entries.push((key, self.node(event, depth + 1, flow)?));
                        }
                    }
                }
                self.nodes[index].content = Content::Mapping(entries);
            }
            _ => return Err(at(mark)),
        }
        Ok(index)
    }
}

fn escapes_a_slash(quoted: &str) -> bool {
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.next() == Some('/') {
            return true;
        }
    }
    false
}

fn at(mark: Mark) -> Unreadable {
    Unreadable(Some((mark.line + 1, mark.column + 1)))
}

struct Decoder<'n> {
    nodes: &'n [Node],
    steps: usize,
    /// The targets of the aliases that lead to the current node. An alias to one of them would never end.
    inside: Vec<usize>,
}

impl Decoder<'_> {
    fn value(&mut self, index: usize, depth: usize) -> Result<Value, Unreadable> {
        self.step(index, depth)?;
        match &self.nodes[index].content {
            Content::Scalar { text, tag, plain } => {
                scalar(text, tag.as_deref(), *plain).ok_or_else(|| at(self.nodes[index].mark))
            }
            Content::Sequence(items) => {
                let items = items.iter().map(|item| self.value(*item, depth + 1));
                Ok(Value::Array(items.collect::<Result<_, _>>()?))
            }
            Content::Mapping(_) => {
                let mut map = Map::new();
                self.entries(index, &mut map, depth)?;
                Ok(Value::Object(map))
            }
            Content::Alias(target) => self.within(*target, |decoder| decoder.value(*target, depth + 1)),
        }
    }

    fn step(&mut self, index: usize, depth: usize) -> Result<(), Unreadable> {
        self.steps += 1;
        match self.steps > MOST_STEPS || depth > DEEPEST {
            true => Err(at(self.nodes[index].mark)),
            false => Ok(()),
        }
    }

    fn within<T>(
        &mut self,
        target: usize,
        decode: impl FnOnce(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<T, Unreadable> {
        if self.inside.contains(&target) {
            return Err(at(self.nodes[target].mark));
        }
        self.inside.push(target);
        let decoded = decode(self);
        self.inside.pop();
        decoded
    }

    /// Puts the entries of a mapping into `map`, in their order. A later entry replaces an earlier one, even
    /// one that `<<` merged.
    fn entries(
        &mut self,
        index: usize,
        map: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Unreadable> {
        let Content::Mapping(entries) = &self.nodes[index].content else {
            return Err(at(self.nodes[index].mark));
        };
        for (key, value) in entries {
            if self.is_merge(*key) {
                self.merge(*value, map, depth + 1)?;
                continue;
            }
            let name = self.value(*key, depth + 1)?;
            let name = name_of(name).ok_or_else(|| at(self.nodes[*key].mark))?;
            let value = self.value(*value, depth + 1)?;
            map.insert(name, value);
        }
        Ok(())
    }

    fn is_merge(&self, key: usize) -> bool {
        match &self.nodes[key].content {
            Content::Scalar { text, tag, plain } => {
                text == "<<" && (*plain || tag.as_deref() == Some("tag:yaml.org,2002:merge"))
            }
            _ => false,
        }
    }

    fn merge(&mut self, value: usize, map: &mut Map<String, Value>, depth: usize) -> Result<(), Unreadable> {
        self.step(value, depth)?;
        match &self.nodes[value].content {
            Content::Mapping(_) => self.entries(value, map, depth),
            Content::Alias(target) => {
                self.within(*target, |decoder| decoder.entries(*target, map, depth + 1))
            }
            Content::Sequence(items) => {
                // The first merged mapping takes precedence.
                for item in items.iter().rev() {
                    match &self.nodes[*item].content {
                        Content::Mapping(_) | Content::Alias(_) => self.merge(*item, map, depth + 1)?,
                        Content::Scalar { .. } | Content::Sequence(_) => {
                            return Err(at(self.nodes[*item].mark));
                        }
                    }
                }
                Ok(())
            }
            Content::Scalar { .. } => Err(at(self.nodes[value].mark)),
        }
    }
}

/// The text of a key in JSON. `None` for the keys that Go refuses.
fn name_of(key: Value) -> Option<String> {
    match key {
        Value::String(name) => Some(name),
        Value::Bool(name) => Some(name.to_string()),
        Value::Number(name) if name.is_i64() => Some(name.to_string()),
        Value::Number(name) if name.is_f64() => Some(name.to_string()),
        Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The value of a scalar. `None` if the text does not fit its tag, or if JSON has no such value.
fn scalar(text: &str, tag: Option<&str>, plain: bool) -> Option<Value> {
    let string = || Some(Value::from(text));
    let core = tag.and_then(|tag| tag.strip_prefix("tag:yaml.org,2002:"));
    match (tag, core) {
        (None, _) if !plain => string(),
        (None, _) => resolve(text),
        (_, Some("str")) => string(),
        (_, Some("binary")) => {
            let bytes = STANDARD.decode(text.replace(['\r', '\n'], "")).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned().into())
        }
        (_, Some("bool")) => resolve(text).filter(Value::is_boolean),
        (_, Some("int")) => resolve(text).filter(|value| value.is_i64() || value.is_u64()),
        (_, Some("float")) => {
            let number = resolve(text)?.as_f64()?;
            Number::from_f64(number).map(Value::Number)
        }
        (_, Some("null")) => resolve(text).filter(Value::is_null),
        // A scalar with any other tag is a string.
        (Some(_), _) => string(),
    }
}

/// The value of a plain scalar. `None` for an infinite number and for NaN, which JSON cannot represent.
fn resolve(text: &str) -> Option<Value> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Some(true.into());
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Some(false.into());
        }
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return None,
        _ => {}
    }
    let number = match text.as_bytes()[0] {
        b'.' => float(text),
        b'+' | b'-' | b'0'..=b'9' => {
            let digits = text.replace('_', "");
            integer(&digits).or_else(|| float(&digits))
        }
        _ => None,
    };
    Some(number.map_or_else(|| Value::from(text), Value::Number))
}

/// An integer, as Go's `strconv.ParseInt` reads it with base 0.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None;
    }
    let absolute = u64::from_str_radix(digits, radix).ok()?;
    match negative {
        // For a number with a sign, Go accepts no more than a signed 64-bit integer.
        true => 0_i64.checked_sub_unsigned(absolute).map(Number::from),
        false if text.starts_with('+') => i64::try_from(absolute).ok().map(Number::from),
        false => Some(absolute.into()),
    }
}

/// A number of the form `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let shape = unsigned
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !shape || unsigned.starts_with(['e', 'E', '+', '-']) {
        return None;
    }
    // An infinite number is out of range, so Go reads it as a string.
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::first_document("a: 1\n---\n{not yaml", json!({"a": 1}))]
    #[case::nothing("# nothing\n", Value::Null)]
    #[case::last_key_counts("a: 1\na: 2", json!({"a": 2}))]
    #[case::words("[yes, 'yes', no, ~, 0x10, 010, 1_000, 1e3, .5, 2001-01-01]",
        json!([true, "yes", false, null, 16, 8, 1000, 1000.0, 0.5, "2001-01-01"]))]
    #[case::tags("[!!str 1, !!binary aGk=, !own x]", json!(["1", "hi", "x"]))]
    #[case::merged("base: &b {u: 1, v: 1}\nown: {<<: *b, v: 2}", json!({"base": {"u": 1, "v": 1}, "own": {"u": 1, "v": 2}}))]
    #[case::no_line_break_at_the_end("a: |\n  b", json!({"a": "b"}))]
    #[case::line_break_at_the_end("a: |\n  b\n", json!({"a": "b\n"}))]
    #[case::blanks_at_the_end("a: |\n  b\n ", json!({"a": "b\n"}))]
    #[case::indentation_at_the_end("a: |\n  b\n  ", json!({"a": "b\n"}))]
    #[case::line_of_blanks_at_the_end("a: |\n  b\n   ", json!({"a": "b\n "}))]
    #[case::kept_line_breaks("a: |+\n  b\n\n ", json!({"a": "b\n\n"}))]
    #[case::folded_without_line_break("a: >\n  b\n  c", json!({"a": "b c"}))]
    #[case::keys("{1: a, true: b, 1.5: c}", json!({"1": "a", "true": "b", "1.5": "c"}))]
    fn as_go_reads_it(#[case] text: &str, #[case] value: Value) {
        assert_eq!(to_json(text.as_bytes()).expect("readable"), value);
    }

    #[rstest]
    #[case::tag_before_a_comma("[!, a]")]
    #[case::escaped_slash("\"\\/\"")]
    #[case::key_in_flow("{a: b?c}")]
    #[case::itself("a: &a [*a]")]
    #[case::nowhere("a: *a")]
    #[case::no_map("<<: 1")]
    #[case::null_key("{~: 1}")]
    #[case::infinite("[.inf]")]
    #[case::tab("a:\n\t- b")]
    #[case::not_text("a: \u{0}")]
    fn refused(#[case] text: &str) {
        to_json(text.as_bytes()).expect_err("unreadable");
    }

    #[test]
    fn small_texts_cannot_take_all_memory_or_the_stack() {
        let bomb = (1..12).fold("a0: &a0 [x]\n".to_owned(), |text, i| {
            let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
            format!("{text}a{i}: &a{i} [{aliases}]\n")
        });
        to_json(bomb.as_bytes()).expect_err("too much");
        to_json("[".repeat(100_000).as_bytes()).expect_err("too deep");
    }
}
