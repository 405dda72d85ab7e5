//! CI/CD variables: their values, and the conditions of `rules` about them.

use std::collections::BTreeMap;

/// The type of a variable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Masked,
    /// The job gets the path of a file that contains the value.
    File,
}

#[derive(Clone)]
pub(super) struct Variable {
    pub(super) value: String,
    pub(super) kind: Kind,
}

pub(super) type Variables = BTreeMap<String, Variable>;

pub(super) fn plain<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Variables {
    let variable = |value: &str| Variable {
        value: value.to_owned(),
        kind: Kind::Plain,
    };
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), variable(value)))
        .collect()
}

/// Expands the names of variables in values (`common/variables.go`). The name of a file variable becomes the
/// file's path. This does not expand the file's content.
pub(super) fn expand(variables: &mut Variables, path: impl Fn(&str) -> String) {
    let known = variables.clone();
    for variable in variables
        .values_mut()
        .filter(|variable| variable.kind != Kind::File)
    {
        variable.value = expanded(&variable.value, &known, &path, 0);
    }
}

/// Expands `$NAME` and `${NAME}`. An unknown variable is empty. `$$` becomes a dollar sign.
fn expanded(text: &str, known: &Variables, path: &impl Fn(&str) -> String, depth: u8) -> String {
    let mut expanded_text = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded_text += before;
        if let Some(after) = after.strip_prefix('$') {
            expanded_text.push('$');
            rest = after;
            continue;
        }
        let braced = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let length = after.find(|c: char| !is_word(c)).unwrap_or(after.len());
        let (name, after) = braced.unwrap_or_else(|| after.split_at(length));
        match known.get(name) {
            Some(variable) if variable.kind == Kind::File => expanded_text += &path(name),
            // Without this limit, the expansion of a variable that refers to itself would never end.
            Some(variable) if depth < 10 => {
                expanded_text += &expanded(&variable.value, known, path, depth + 1);
            }
            Some(_) => {}
            None if name.is_empty() => expanded_text.push('$'),
            None => {}
        }
        rest = after;
    }
    expanded_text + rest
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Evaluates `rules: if`: `$A`, `$A == "b"`, `$A != "b"`, `== null`, joined by `&&` and `||`.
pub(super) fn holds(condition: &str, variables: &Variables) -> bool {
    condition.split("||").any(|alternative| {
        alternative
            .split("&&")
            .all(|term| term_holds(term.trim(), variables))
    })
}

fn term_holds(term: &str, variables: &Variables) -> bool {
    let value = |text: &str| {
        let text = text.trim();
        if let Some(name) = text.strip_prefix('$') {
            return variables.get(name).map(|variable| variable.value.clone());
        }
        let quoted = text.len() >= 2 && text.starts_with(['"', '\'']);
        assert!(
            quoted || text == "null",
            "the harness cannot read the rule `{term}`"
        );
        (text != "null").then(|| text[1..text.len() - 1].to_owned())
    };
    if let Some((left, right)) = term.split_once("==") {
        value(left) == value(right)
    } else if let Some((left, right)) = term.split_once("!=") {
        value(left) != value(right)
    } else {
        value(term).is_some_and(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_variables() {
        let mut variables = plain([
            ("A", "a"),
            ("B", "<$A-${A}x$C>"),
            ("C", "c$D"),
            ("E", "1 $ 2 $F $$A"),
            ("LOOP", "$LOOP"),
        ]);
        variables.extend([(
            "F".to_owned(),
            Variable {
                value: "$A stays".into(),
                kind: Kind::File,
            },
        )]);
        expand(&mut variables, |name| format!("/tmp/{name}"));
        let value = |name: &str| &*variables[name].value;
        assert_eq!(
            (value("B"), value("E"), value("F")),
            ("<a-axc>", "1 $ 2 /tmp/F $A", "$A stays")
        );
    }

    #[test]
    fn conditions_of_rules() {
        let variables = plain([("A", "a"), ("EMPTY", "")]);
        for (condition, expected) in [
            ("$A", true),
            ("$EMPTY", false),
            ("$NONE", false),
            ("$A == \"a\" && $NONE == null", true),
            ("$A != 'a' || $EMPTY == ''", true),
            ("$A != 'a'", false),
        ] {
            assert_eq!(holds(condition, &variables), expected, "{condition}");
        }
    }
}
