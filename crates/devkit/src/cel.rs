//! The Common Expression Language over JSON, as kube-apiserver uses it (`k8s.io/apiserver/pkg/cel`).
//!
//! Its libraries for strings, lists and optional values are there; those for URLs, quantities, semantic versions and
//! authorization are not.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use ::cel::common::ast::{EntryExpr, Expr};
use ::cel::{Context, Env, IdedExpr, Program, Value as Cel, extensions};
use serde_json::Value;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib().with_optional_support(true);
    environment
        .add_extension(extensions::strings)
        .and_then(|()| environment.add_extension(extensions::lists))
        .expect("the crate's extensions fit together");
    Arc::new(environment)
});

/// An expression that was compiled.
pub(crate) struct Expression {
    text: String,
    program: Program,
}

impl Expression {
    /// Compiles `text`, which may speak of `variables` and no others.
    ///
    /// # Errors
    /// Why it is no such expression.
    pub(crate) fn compile(text: &str, variables: &[&str]) -> Result<Self, String> {
        let program = ENVIRONMENT
            .compile(text)
            .map_err(|error| format!("compilation failed: {error}"))?;
        let mut known = variables.to_vec();
        match undeclared(program.expression(), &mut known) {
            Some(name) => Err(format!(
                "compilation failed: undeclared reference to '{name}' (in container '')"
            )),
            None => Ok(Self {
                text: text.to_owned(),
                program,
            }),
        }
    }

    pub(crate) fn text(&self) -> &str {
        self.text.trim()
    }

    /// # Errors
    /// Why it has no value, for instance as it speaks of a field that is not there.
    pub(crate) fn evaluate(&self, variables: &[(&str, &Value)]) -> Result<Value, String> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        for (name, value) in variables {
            context.add_variable_from_value(*name, to_cel(value));
        }
        let value = self
            .program
            .execute(&context)
            .map_err(|error| error.to_string())?;
        value.json().map_err(|error| error.to_string())
    }
}

/// The first name that nothing has. Macros such as `all` declare names for what is inside of them.
fn undeclared<'a>(expression: &'a IdedExpr, known: &mut Vec<&'a str>) -> Option<&'a str> {
    let parts: Vec<&IdedExpr> = match &expression.expr {
        Expr::Ident(name) => return (!known.contains(&&**name)).then_some(name),
        Expr::Comprehension(comprehension) => {
            let outside = [&comprehension.iter_range, &comprehension.accu_init];
            let inside = [
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ];
            let found = outside.into_iter().find_map(|part| undeclared(part, known));
            let declared = known.len();
            known.extend([&*comprehension.iter_var, &*comprehension.accu_var]);
            known.extend(comprehension.iter_var2.as_deref());
            let found = found.or_else(|| inside.into_iter().find_map(|part| undeclared(part, known)));
            known.truncate(declared);
            return found;
        }
        Expr::Select(select) => vec![&*select.operand],
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => {
            let entries = map.entries.iter().filter_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => Some([&entry.key, &entry.value]),
                EntryExpr::StructField(_) => None,
            });
            entries.flatten().collect()
        }
        Expr::Unspecified | Expr::Literal(_) | Expr::Struct(_) => Vec::new(),
    };
    parts.into_iter().find_map(|part| undeclared(part, known))
}

/// Whole numbers are `int`, as in Kubernetes; serde would make `uint` of them, which does not add up with `int`.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Cel::Int(number),
            None => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(text.clone().into()),
        Value::Array(items) => Cel::List(items.iter().map(to_cel).collect::<Vec<_>>().into()),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), to_cel(value)));
            Cel::Map(fields.collect::<HashMap<_, _>>().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_kubernetes_would_say() {
        let claims = json!({"ref": "refs/heads/main", "n": 3600, "groups": ["a", "b"], "a/b": {"c": null}});
        for (expression, value) in [
            ("claims.n + 1 <= 3601", json!(true)),
            ("'ci:' + claims.ref.split('/')[2]", json!("ci:main")),
            ("claims.groups.map(g, 'x:' + g)", json!(["x:a", "x:b"])),
            (
                "claims.groups.all(g, g != 'c') && claims.groups.exists(h, h == 'b')",
                json!(true),
            ),
            ("has(claims.none) && claims.none.none == 1", json!(false)),
            ("claims.?none.orValue('')", json!("")),
            ("claims['a/b'].c == null ? 1 : 2", json!(1)),
            ("claims.ref.matches('^refs/heads/(main|v[0-9]+)$')", json!(true)),
        ] {
            let compiled = Expression::compile(expression, &["claims"]).expect(expression);
            assert_eq!(
                compiled.evaluate(&[("claims", &claims)]),
                Ok(value),
                "{expression}"
            );
        }
    }

    #[test]
    fn what_is_refused() {
        let compile = |text| Expression::compile(text, &["claims"]).map(|_| ());
        assert!(compile("claims.a ==").is_err_and(|why| why.contains("Syntax error")));
        for text in [
            "claim.a == 'b'",
            "claims.a && user.b",
            "claims.x.all(c, c == d)",
            "[{'a': e}]",
        ] {
            assert!(
                compile(text).is_err_and(|why| why.contains("undeclared reference")),
                "{text}"
            );
        }
        let missing = Expression::compile("claims.a == 'b'", &["claims"]).expect("an expression");
        assert_eq!(
            missing.evaluate(&[("claims", &json!({}))]),
            Err("No such key: a".to_owned())
        );
    }
}
