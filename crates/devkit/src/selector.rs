//! Label and field selectors: `k8s.io/apimachinery/pkg/labels/selector.go` and `.../fields/selector.go`.

use serde_json::Value;

use crate::resources::{PODS, Resource, SECRETS};
use crate::status::{Result, Status};

/// Both selectors of a request.
#[derive(Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

impl Selector {
    pub(crate) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self> {
        let labels = Parser { tokens: lex(labels) }
            .parse()
            .map_err(|why| Status::bad_request(format!("unable to parse requirement: {why}")))?;
        let fields = fields
            .split(',')
            .filter(|term| !term.is_empty())
            .map(|term| parse_field(resource, term))
            .collect::<Result<_>>()?;
        Ok(Selector { labels, fields })
    }

    /// A `LabelSelector` as objects have it.
    pub(crate) fn of_labels(selector: &Value) -> Self {
        let texts = |value: &Value| {
            let values = value.as_array().into_iter().flatten();
            values
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let equal = selector["matchLabels"].as_object().into_iter().flatten();
        let equal = equal.map(|(key, value)| Requirement {
            key: key.clone(),
            test: Test::In(texts(&serde_json::json!([value]))),
        });
        let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
        let expressions = expressions.map(|expression| Requirement {
            key: expression["key"].as_str().unwrap_or_default().to_owned(),
            test: match expression["operator"].as_str() {
                Some("In") => Test::In(texts(&expression["values"])),
                Some("NotIn") => Test::NotIn(texts(&expression["values"])),
                Some("Exists") => Test::Exists,
                _ => Test::Missing,
            },
        });
        Selector {
            labels: equal.chain(expressions).collect(),
            fields: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The one name that this selects, which authorization treats as the name of the request.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields
            .iter()
            .find(|(key, equal, _)| key == "metadata.name" && *equal)
            .map(|(_, _, name)| name.as_str())
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels
            .iter()
            .all(|requirement| requirement.matches(&object["metadata"]["labels"]))
            && self.fields.iter().all(|(path, equal, wanted)| {
                let pointer = format!("/{}", path.replace('.', "/"));
                let found = object
                    .pointer(&pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                (found == wanted) == *equal
            })
    }
}

impl Requirement {
    fn matches(&self, labels: &Value) -> bool {
        let found = labels.get(&self.key).and_then(Value::as_str);
        let number = || found.and_then(|text| text.parse::<i64>().ok());
        match &self.test {
            Test::Exists => found.is_some(),
            Test::Missing => found.is_none(),
            Test::In(values) => found.is_some_and(|found| values.iter().any(|value| value == found)),
            Test::NotIn(values) => found.is_none_or(|found| values.iter().all(|value| value != found)),
            Test::Greater(than) => number().is_some_and(|found| found > *than),
            Test::Less(than) => number().is_some_and(|found| found < *than),
        }
    }
}

fn parse_field(resource: &Resource, term: &str) -> Result<(String, bool, String)> {
    let (key, equal, value) = if let Some((key, value)) = term.split_once("!=") {
        (key, false, value)
    } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (key, true, value)
    } else {
        return Err(Status::bad_request(format!(
            "invalid selector: '{term}'; can't understand '{term}'"
        )));
    };
    let known = matches!(key, "metadata.name" | "metadata.namespace")
        || (resource == &SECRETS && key == "type")
        || (resource == &PODS && matches!(key, "spec.nodeName" | "spec.serviceAccountName" | "status.phase"));
    if !known {
        return Err(Status::bad_request(format!("field label not supported: {key}")));
    }
    Ok((key.to_owned(), equal, value.to_owned()))
}

const SYMBOLS: &str = "=!(),<>";
const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

fn lex(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut word = String::new();
    for character in text.chars() {
        let is_symbol = SYMBOLS.contains(character);
        if (is_symbol || character.is_whitespace()) && !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        match tokens.last_mut() {
            Some(last) if character == '=' && (last == "=" || last == "!") => last.push('='),
            _ if is_symbol => tokens.push(character.to_string()),
            _ if !character.is_whitespace() => word.push(character),
            _ => {}
        }
    }
    if !word.is_empty() {
        tokens.push(word);
    }
    tokens.reverse();
    tokens
}

/// The tokens, last one first.
struct Parser {
    tokens: Vec<String>,
}

impl Parser {
    fn parse(mut self) -> std::result::Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        while !self.tokens.is_empty() {
            requirements.push(self.requirement()?);
            match self.next().as_str() {
                "" => break,
                "," if self.tokens.is_empty() => {
                    return Err("found '', expected: identifier after ','".into());
                }
                "," => {}
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
        Ok(requirements)
    }

    fn requirement(&mut self) -> std::result::Result<Requirement, String> {
        if self.peek() == "!" {
            self.next();
            return Ok(Requirement {
                key: self.word()?,
                test: Test::Missing,
            });
        }
        let key = self.word()?;
        if matches!(self.peek(), "" | ",") {
            return Ok(Requirement {
                key,
                test: Test::Exists,
            });
        }
        let test = match self.next().as_str() {
            "=" | "==" => Test::In(vec![self.value()]),
            "!=" => Test::NotIn(vec![self.value()]),
            "in" => Test::In(self.values()?),
            "notin" => Test::NotIn(self.values()?),
            ">" | "gt" => Test::Greater(self.number()?),
            "<" | "lt" => Test::Less(self.number()?),
            other => return Err(format!("found '{other}', expected: {OPERATORS}")),
        };
        Ok(Requirement { key, test })
    }

    fn values(&mut self) -> std::result::Result<Vec<String>, String> {
        let open = self.next();
        if open != "(" {
            return Err(format!("found '{open}' expected: '('"));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value());
            match self.next().as_str() {
                "," => {}
                ")" => return Ok(values),
                other => return Err(format!("found '{other}', expected: ',' or ')'")),
            }
        }
    }

    fn number(&mut self) -> std::result::Result<i64, String> {
        let text = self.value();
        text.parse().map_err(|_| {
            "values[0]: Invalid value: for 'Gt', 'Lt' operators, the value must be an integer".into()
        })
    }

    /// A value may be empty, as in `a=`.
    fn value(&mut self) -> String {
        if matches!(self.peek(), "" | "," | ")") {
            String::new()
        } else {
            self.next()
        }
    }

    fn word(&mut self) -> std::result::Result<String, String> {
        let word = self.next();
        if word.is_empty() || SYMBOLS.contains(&word[..1]) {
            return Err(format!(
                "found '{word}', expected: !, identifier, or 'end of string'"
            ));
        }
        Ok(word)
    }

    fn peek(&self) -> &str {
        self.tokens.last().map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        self.tokens.pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(labels: &str, fields: &str) -> bool {
        let secret = json!({
            "metadata": {"name": "a", "namespace": "ci", "labels": {"app": "x", "n": "7", "empty": ""}},
            "type": "jobpass.dev/anchor",
        });
        Selector::parse(&SECRETS, labels, fields).is_ok_and(|selector| selector.matches(&secret))
    }

    #[test]
    fn labels() {
        for yes in [
            "",
            "app",
            "app=x",
            "app==x",
            "app = x , n",
            "app in (x, y)",
            "app notin (z)",
            "!gone",
            "gone!=x",
            "gone notin (x)",
            "n>6",
            "n<8",
            "empty=",
            "empty in (,a)",
        ] {
            assert!(selects(yes, ""), "{yes}");
        }
        for no in [
            "!app",
            "app=y",
            "app!=x",
            "gone",
            "gone=x",
            "gone in (x)",
            "n>7",
            "app>1",
            "app=x,gone",
        ] {
            assert!(!selects(no, ""), "{no}");
        }
    }

    #[test]
    fn fields() {
        for yes in [
            "type=jobpass.dev/anchor",
            "type!=Opaque",
            "metadata.name=a,metadata.namespace==ci",
        ] {
            assert!(selects("", yes), "{yes}");
        }
        for no in ["type=Opaque", "metadata.name!=a"] {
            assert!(!selects("", no), "{no}");
        }
    }

    #[test]
    fn refusals() {
        for (labels, fields, message) in [
            (
                "a b c",
                "",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "a in x",
                "",
                "unable to parse requirement: found 'x' expected: '('",
            ),
            ("", "data=x", "field label not supported: data"),
        ] {
            let refusal = Selector::parse(&SECRETS, labels, fields).expect_err(message);
            assert_eq!(refusal.message(), message);
        }
    }
}
