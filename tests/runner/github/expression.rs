//! The part of the expression language that the tests' workflows use: contexts, `!`, `==`, `!=`, `&&`, `||`,
//! brackets, and some functions.

use serde_json::Value;

use super::Conclusion;

/// The values that an expression can use.
pub(super) struct Scope {
    /// The contexts, by name.
    pub(super) contexts: Value,
    /// The status of the job so far.
    pub(super) status: Conclusion,
}

impl Scope {
    /// Replaces each `${{ ... }}` in a text by its value.
    pub(super) fn text(&self, template: &str) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("${{") {
            let (expression, after) = after
                .split_once("}}")
                .unwrap_or_else(|| panic!("an expression has no end: {template}"));
            text += before;
            text += &as_text(&self.value(expression));
            rest = after;
        }
        text + rest
    }

    /// Evaluates the condition of a step. If the condition calls no status function, the runner adds
    /// `success() && (...)` (`PipelineTemplateConverter.cs`).
    pub(super) fn condition(&self, condition: &str) -> bool {
        let inner = condition.trim();
        let inner = inner
            .strip_prefix("${{")
            .and_then(|inner| inner.strip_suffix("}}"))
            .unwrap_or(inner);
        if inner.trim().is_empty() {
            return self.status == Conclusion::Success;
        }
        let asks = ["success(", "failure(", "cancelled(", "always("];
        let asks = asks.iter().any(|function| inner.contains(function));
        (asks || self.status == Conclusion::Success) && is_true(&self.value(inner))
    }

    fn value(&self, expression: &str) -> Value {
        let mut parser = Parser {
            scope: self,
            tokens: tokens(expression),
            at: 0,
            expression,
        };
        let value = parser.or();
        parser.expect_end();
        value
    }
}

struct Parser<'a> {
    scope: &'a Scope,
    tokens: Vec<Token>,
    at: usize,
    expression: &'a str,
}

#[derive(Clone, PartialEq, Debug)]
enum Token {
    Word(String),
    Text(String),
    Sign(&'static str),
}

const SIGNS: [&str; 11] = ["&&", "||", "==", "!=", "!", "(", ")", "[", "]", ",", "."];

fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while !rest.is_empty() {
        if let Some(mut quoted) = rest.strip_prefix('\'') {
            // Two quotes inside a text stand for one quote.
            let mut text = String::new();
            loop {
                let (part, after) = quoted
                    .split_once('\'')
                    .unwrap_or_else(|| panic!("a text has no end: {expression}"));
                text += part;
                quoted = after;
                let Some(after) = quoted.strip_prefix('\'') else {
                    break;
                };
                text.push('\'');
                quoted = after;
            }
            tokens.push(Token::Text(text));
            rest = quoted;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            let in_word = |c: char| c.is_alphanumeric() || "_-".contains(c);
            let length = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
            assert!(
                length > 0,
                "the harness cannot read the expression `{expression}`"
            );
            tokens.push(Token::Word(rest[..length].to_owned()));
            rest = &rest[length..];
        }
        rest = rest.trim_start();
    }
    tokens
}

impl Parser<'_> {
    fn or(&mut self) -> Value {
        let mut value = self.and();
        while self.sign("||") {
            let other = self.and();
            value = if is_true(&value) { value } else { other };
        }
        value
    }

    fn and(&mut self) -> Value {
        let mut value = self.equality();
        while self.sign("&&") {
            let other = self.equality();
            value = if is_true(&value) { other } else { value };
        }
        value
    }

    fn equality(&mut self) -> Value {
        let value = self.unary();
        for (sign, equal) in [("==", true), ("!=", false)] {
            if self.sign(sign) {
                let other = self.unary();
                // The runner ignores case when it compares strings.
                let same = as_text(&value).to_lowercase() == as_text(&other).to_lowercase();
                return Value::Bool(same == equal);
            }
        }
        value
    }

    fn unary(&mut self) -> Value {
        if self.sign("!") {
            return Value::Bool(!is_true(&self.unary()));
        }
        if self.sign("(") {
            let value = self.or();
            self.expect(")");
            return value;
        }
        match self.next() {
            Some(Token::Text(text)) => Value::String(text),
            Some(Token::Word(word)) => self.word(&word),
            _ => self.unreadable(),
        }
    }

    fn word(&mut self, word: &str) -> Value {
        if self.sign("(") {
            let mut arguments = Vec::new();
            while !self.sign(")") {
                arguments.push(self.or());
                self.sign(",");
            }
            return self.call(word, &arguments);
        }
        if let Ok(literal @ (Value::Bool(_) | Value::Null | Value::Number(_))) = serde_json::from_str(word) {
            return literal;
        }
        let mut value = property(&self.scope.contexts, word);
        loop {
            if self.sign(".") {
                let Some(Token::Word(name)) = self.next() else {
                    self.unreadable()
                };
                value = property(&value, &name);
            } else if self.sign("[") {
                let name = as_text(&self.or());
                self.expect("]");
                value = property(&value, &name);
            } else {
                return value;
            }
        }
    }

    fn call(&self, function: &str, arguments: &[Value]) -> Value {
        let status = self.scope.status;
        match (function, arguments) {
            ("always", []) => Value::Bool(true),
            ("success", []) => Value::Bool(status == Conclusion::Success),
            ("failure", []) => Value::Bool(status == Conclusion::Failure),
            ("cancelled", []) => Value::Bool(status == Conclusion::Cancelled),
            ("contains", [text, part]) => Value::Bool(
                as_text(text)
                    .to_lowercase()
                    .contains(&as_text(part).to_lowercase()),
            ),
            ("toJSON" | "toJson", [value]) => Value::String(format!("{value:#}")),
            _ => panic!(
                "the harness has no function `{function}` of {} arguments",
                arguments.len()
            ),
        }
    }

    fn next(&mut self) -> Option<Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    fn sign(&mut self, sign: &'static str) -> bool {
        let found = self.tokens.get(self.at) == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &'static str) {
        if !self.sign(sign) {
            self.unreadable()
        }
    }

    fn expect_end(&self) {
        if self.at < self.tokens.len() {
            self.unreadable()
        }
    }

    fn unreadable(&self) -> ! {
        panic!("the harness cannot read the expression `{}`", self.expression)
    }
}

/// A property of a value, whatever the case of its name. Null if there is no such property.
fn property(value: &Value, name: &str) -> Value {
    let found = value.as_object().and_then(|object| {
        let exact = object.get(name);
        exact.or_else(|| {
            let mut others = object.iter();
            others
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        })
    });
    found.cloned().unwrap_or_default()
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(_) => "Array".to_owned(),
        Value::Object(_) => "Object".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope(status: Conclusion) -> Scope {
        let contexts = json!({
            "env": {"A": "a"},
            "steps": {"one-two": {"outputs": {"Token": "t", "n": "0"}}},
        });
        Scope { contexts, status }
    }

    #[test]
    fn values_in_texts() {
        let scope = scope(Conclusion::Success);
        assert_eq!(
            scope.text("<${{ env.A }}|${{steps.one-two.outputs.token}}|${{ steps['one-two'].outputs['n'] }}|${{ env.no.such }}>"),
            "<a|t|0|>"
        );
        assert_eq!(
            scope.text("${{ 'it''s' }} ${{ 1 == '1' && env.a || 'no' }}"),
            "it's a"
        );
        assert_eq!(scope.text("${{ toJSON(env) }}"), "{\n  \"A\": \"a\"\n}");
    }

    #[test]
    fn conditions_of_steps() {
        let holds = |condition: &str| {
            [Conclusion::Success, Conclusion::Failure, Conclusion::Cancelled]
                .map(|status| scope(status).condition(condition))
        };
        assert_eq!(holds(""), [true, false, false]);
        assert_eq!(holds("always()"), [true, true, true]);
        assert_eq!(holds("${{ !cancelled() }}"), [true, true, false]);
        assert_eq!(holds("failure() || cancelled()"), [false, true, true]);
        assert_eq!(holds("env.A == 'A'"), [true, false, false]);
        assert_eq!(holds("(env.A != 'a') || false"), [false, false, false]);
    }
}
