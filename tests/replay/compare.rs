//! Compares an answer of the dev cluster with one of Kubernetes. An API server invents values: uids,
//! versions, tokens. When such a value occurs, this module pairs it with the value at the same position in
//! the other answer. If the two values of a pair are uids, they must occur together from then on.

use std::{collections::HashMap, fmt, ops::RangeInclusive};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jobpass_devkit::transcript::Answer;
use serde_json::Value;

/// The greatest number of characters of a value that a difference shows.
const SHOWN: usize = 1000;
/// Fields that hold the time of an event.
const TIMES: &[&str] = &["creationTimestamp", "deletionTimestamp"];
/// Fields that describe the build of an API server.
const BUILD: &[&str] = &[
    "gitVersion",
    "gitCommit",
    "gitTreeState",
    "buildDate",
    "goVersion",
    "compiler",
    "platform",
];

/// The values that the dev cluster invented, each with the value of Kubernetes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    known: HashMap<String, String>,
    /// The pairs in the other direction: two values must not have the same partner.
    taken: HashMap<String, String>,
}

/// The times of both answers, in seconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    pub(crate) dev: i64,
    /// The time from the request to the answer.
    pub(crate) real: RangeInclusive<i64>,
}

/// A difference between two answers.
#[derive(Debug, PartialEq)]
pub(crate) struct Difference {
    pub(crate) place: String,
    pub(crate) dev: Value,
    pub(crate) real: Value,
}

/// A comparison in progress.
struct Comparison<'a> {
    names: &'a mut Names,
    clocks: Clocks,
    differences: Vec<Difference>,
}

impl Names {
    pub(crate) fn get(&self, dev: &str) -> Option<&str> {
        self.known.get(dev).map(String::as_str)
    }

    /// Replaces each value of the dev cluster in `text` by the value that Kubernetes gave in its place.
    pub(crate) fn translate(&self, text: &str) -> String {
        let mut translated = String::new();
        for piece in pieces(text) {
            translated.push_str(self.get(piece).unwrap_or(piece));
        }
        translated
    }

    /// Pairs two values. Returns `false` if either has another partner.
    fn pair(&mut self, dev: &str, real: &str) -> bool {
        match (self.known.get(dev), self.taken.get(real)) {
            (None, None) => {
                self.learn(dev, real);
                true
            }
            (known, taken) => {
                known.is_some_and(|known| known == real) && taken.is_some_and(|taken| taken == dev)
            }
        }
    }

    /// Pairs two values. Replaces earlier pairs of either.
    pub(crate) fn learn(&mut self, dev: &str, real: &str) {
        self.known.insert(dev.to_owned(), real.to_owned());
        self.taken.insert(real.to_owned(), dev.to_owned());
    }
}

/// The differences between the two answers. Pairs the values that occur for the first time.
pub(crate) fn compare(dev: &Answer, real: &Answer, clocks: Clocks, names: &mut Names) -> Vec<Difference> {
    let mut comparison = Comparison {
        names,
        clocks,
        differences: Vec::new(),
    };
    comparison.value("status", "", &dev.status.into(), &real.status.into());
    for (name, value) in &dev.headers {
        let real = real
            .headers
            .get(name)
            .map_or(Value::Null, |value| value.as_str().into());
        comparison.value(&format!("header {name}"), "", &value.as_str().into(), &real);
    }
    for (name, value) in &real.headers {
        if !dev.headers.contains_key(name) {
            comparison.differ(&format!("header {name}"), &Value::Null, &value.as_str().into());
        }
    }
    comparison.value("body", "", &dev.body, &real.body);
    comparison.differences
}

impl Comparison<'_> {
    /// Compares two values. `key` is the name of the innermost field.
    fn value(&mut self, place: &str, key: &str, dev: &Value, real: &Value) {
        match (dev, real) {
            (Value::Object(dev), Value::Object(real)) => {
                for (key, value) in dev {
                    let place = format!("{place}.{key}");
                    match real.get(key) {
                        Some(other) => self.value(&place, key, value, other),
                        None => self.differ(&place, value, &Value::from("(nothing)")),
                    }
                }
                for (key, value) in real.iter().filter(|(key, _)| !dev.contains_key(*key)) {
                    // Kubernetes records in each object who changed which fields. The dev cluster does not.
                    if key != "managedFields" {
                        self.differ(&format!("{place}.{key}"), &Value::from("(nothing)"), value);
                    }
                }
            }
            (Value::Array(dev), Value::Array(real)) if dev.len() == real.len() => {
                for (index, (dev, real)) in ordered(key, dev).into_iter().zip(ordered(key, real)).enumerate()
                {
                    self.value(&format!("{place}[{index}]"), key, dev, real);
                }
            }
            (Value::String(text), Value::String(other)) => self.text(place, key, text, other),
            (Value::Number(number), Value::Number(other)) if matches!(key, "exp" | "iat" | "nbf") => {
                if !self.same_moment(number.as_i64(), other.as_i64()) {
                    self.differ(place, dev, real);
                }
            }
            _ if dev == real => {}
            _ => self.differ(place, dev, real),
        }
    }

    fn text(&mut self, place: &str, key: &str, dev: &str, real: &str) {
        let same = match key {
            "resourceVersion" | "continue" if !dev.is_empty() && !real.is_empty() => {
                self.names.learn(dev, real);
                true
            }
            key if BUILD.contains(&key) => true,
            key if TIMES.contains(&key) => seconds(dev).is_some() && seconds(real).is_some(),
            "expirationTimestamp" => self.same_moment(seconds(dev), seconds(real)),
            _ => match (claims(dev), claims(real)) {
                (Some(claims), Some(other)) => {
                    self.value(&format!("{place}(claims)"), "", &claims, &other);
                    self.names.learn(dev, real);
                    true
                }
                _ => self.pieces(dev, real),
            },
        };
        if !same {
            self.differ(place, &dev.into(), &real.into());
        }
    }

    /// Whether two strings differ only in uids that are pairs.
    fn pieces(&mut self, dev: &str, real: &str) -> bool {
        let (dev, real) = (pieces(dev), pieces(real));
        dev.len() == real.len()
            && dev
                .iter()
                .zip(&real)
                .all(|(dev, real)| match (is_uid(dev), is_uid(real)) {
                    (true, true) => self.names.pair(dev, real),
                    _ => dev == real,
                })
    }

    /// Whether the two times are equally far from their clocks. Both are rounded to seconds.
    fn same_moment(&self, dev: Option<i64>, real: Option<i64>) -> bool {
        let (Some(dev), Some(real)) = (dev, real) else {
            return false;
        };
        let answered = real - (dev - self.clocks.dev);
        self.clocks.real.start() - 1 <= answered && answered <= self.clocks.real.end() + 1
    }

    fn differ(&mut self, place: &str, dev: &Value, real: &Value) {
        self.differences.push(Difference {
            place: place.to_owned(),
            dev: dev.clone(),
            real: real.clone(),
        });
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Value| value.to_string().chars().take(SHOWN).collect::<String>();
        let (dev, real) = (shown(&self.dev), shown(&self.real));
        writeln!(
            f,
            "    {}\n      dev cluster  {dev}\n      Kubernetes   {real}",
            self.place
        )
    }
}

/// Sorts rules. An API server lists them in the order of a Go map, which is random.
fn ordered<'v>(key: &str, values: &'v [Value]) -> Vec<&'v Value> {
    let mut values: Vec<&Value> = values.iter().collect();
    if matches!(key, "resourceRules" | "nonResourceRules") {
        values.sort_by_key(|value| value.to_string());
    }
    values
}

/// Splits a string into its uids and the parts before, between and after them.
fn pieces(text: &str) -> Vec<&str> {
    const LENGTH: usize = 36;
    let mut pieces = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at + LENGTH <= text.len() {
        if text.get(at..at + LENGTH).is_some_and(is_uid) {
            pieces.extend([&text[begin..at], &text[at..at + LENGTH]]);
            at += LENGTH;
            begin = at;
        } else {
            at += 1;
        }
    }
    pieces.push(&text[begin..]);
    pieces
}

fn is_uid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// The claims of a JWT.
pub(crate) fn claims(text: &str) -> Option<Value> {
    let parts: Vec<&str> = text.split('.').collect();
    let [_, claims, _] = parts[..] else { return None };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// Parses a time of the API, in seconds since 1970.
fn seconds(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_second)
}
