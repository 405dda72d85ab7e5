//! From the bytes of a request to an object: `k8s.io/apiserver/pkg/endpoints/handlers`.

use serde_json::Value;

use crate::resources::{METADATA, RESOURCES, Resource, TOKEN_REQUEST};
use crate::status::{Result, Status};

/// What to do about fields that nobody knows: the `fieldValidation` parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl FieldValidation {
    pub(crate) fn parse(parameter: &str) -> Self {
        match parameter {
            "Ignore" => Self::Ignore,
            "Strict" => Self::Strict,
            // The default since 1.25.
            _ => Self::Warn,
        }
    }
}

/// Reads an object of `resource`. Unknown fields are dropped and, depending on `validation`, added to `warnings`.
pub(crate) fn decode(
    resource: &Resource,
    body: &[u8],
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value> {
    let object: Value = serde_json::from_slice(body).map_err(|error| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {} ({})",
            resource.kind,
            go_error(&error, body),
            summary(body),
        ))
    })?;
    normalize(resource, object, validation, warnings)
}

/// The same for an object that is parsed already.
pub(crate) fn normalize(
    resource: &Resource,
    mut object: Value,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value> {
    let kind = object["kind"].as_str().unwrap_or(resource.kind).to_owned();
    let api_version = object["apiVersion"]
        .as_str()
        .map_or_else(|| resource.api_version(), str::to_owned);
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let cannot = |why: String| {
        Status::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {}: {why}",
            resource.kind
        ))
    };
    if kind != resource.kind || api_version != resource.api_version() {
        let known = RESOURCES
            .iter()
            .copied()
            .chain([&TOKEN_REQUEST])
            .any(|other| other.kind == kind && other.api_version() == api_version);
        return Err(cannot(if known {
            format!(
                "converting ({version}.{kind}) to ({}.{}): unknown conversion",
                resource.package(),
                resource.kind
            )
        } else {
            format!(
                "no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
            )
        }));
    }

    let mut unknown = Vec::new();
    prune(&mut object, "", "", &[METADATA, resource.fields], &mut unknown);
    let unknown: Vec<String> = unknown
        .iter()
        .map(|field| format!("unknown field \"{field}\""))
        .collect();
    match validation {
        FieldValidation::Strict if !unknown.is_empty() => {
            return Err(cannot(format!("strict decoding error: {}", unknown.join(", "))));
        }
        FieldValidation::Ignore => {}
        FieldValidation::Warn | FieldValidation::Strict => warnings.extend(unknown),
    }

    let fields = object
        .as_object_mut()
        .expect("an array has neither the right kind nor version");
    fields.remove("kind");
    fields.remove("apiVersion");
    if let Some(metadata) = fields
        .entry("metadata")
        .or_insert_with(|| Value::Object(Default::default()))
        .as_object_mut()
    {
        metadata.retain(|_, value| !is_empty(value));
        metadata.remove("managedFields");
    } else {
        fields.insert("metadata".into(), Value::Object(Default::default()));
    }
    Ok(object)
}

/// Removes what no pattern of `known` mentions, and all nulls. `path` is where we are, `pattern` the same without
/// indexes.
fn prune(value: &mut Value, path: &str, pattern: &str, known: &[&[&str]], unknown: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                prune(item, &format!("{path}[{index}]"), pattern, known, unknown);
            }
        }
        Value::Object(fields) => fields.retain(|key, value| {
            let below = |parent: &str| {
                if parent.is_empty() {
                    key.clone()
                } else {
                    format!("{parent}.{key}")
                }
            };
            let (path, inner) = (below(path), below(pattern));
            let mut patterns = known.iter().copied().flatten();
            let Some(found) = patterns.find(|known| mentions(known, pattern, &inner)) else {
                unknown.push(path);
                return false;
            };
            if !found.ends_with('*') {
                prune(value, &path, &inner, known, unknown);
            }
            !value.is_null()
        }),
        _ => {}
    }
}

fn mentions(known: &str, parent: &str, path: &str) -> bool {
    let wild = known.strip_suffix(".**").or_else(|| known.strip_suffix(".*"));
    known == path
        || wild.is_some_and(|stem| stem == parent || stem == path && known.ends_with(".**"))
        || known.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// What Go's `encoding/json` would have said: the offending character and what it was to begin.
pub(crate) fn go_error(error: &serde_json::Error, body: &[u8]) -> String {
    if error.is_eof() || body.is_empty() {
        return "unexpected end of JSON input".to_owned();
    }
    let line_start = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line() - 1)
        .map(<[u8]>::len)
        .sum::<usize>();
    let at = body
        .get(line_start + error.column().saturating_sub(1))
        .copied()
        .unwrap_or_default();
    let character = if at.is_ascii() {
        char::from(at).to_string()
    } else {
        format!("\\x{at:02x}")
    };
    let expected = if error.to_string().starts_with("key must be a string") {
        "looking for beginning of object key string"
    } else if error.to_string().starts_with("trailing characters") {
        "after top-level value"
    } else {
        "looking for beginning of value"
    };
    format!("invalid character '{character}' {expected}")
}

/// `summarizeData` in handlers/rest.go.
fn summary(body: &[u8]) -> String {
    const LONGEST: usize = 30;
    let shown = &body[..body.len().min(LONGEST)];
    let text = match body.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned(),
        Some(_) => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > LONGEST {
        format!("{text} ...")
    } else {
        text
    }
}
