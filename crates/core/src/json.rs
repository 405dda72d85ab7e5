//! Writes JSON. Also prepares JSON from Go programs for serde: answers of the API server, and the claims of
//! tokens, which an external signer may have written.

use serde::Serialize;

use crate::{error::Error, text::harmless};

/// Writes one line of JSON.
///
/// # Errors
/// If JSON cannot represent `value`, such as a path that is not UTF-8. No caller may write an empty text
/// instead: an empty state would say that nothing is left to revoke.
pub fn text(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| unwritable(&error))
}

/// Converts `value` to a JSON value, to which the caller can add members.
///
/// # Errors
/// As [`text`].
pub fn value(value: &impl Serialize) -> Result<serde_json::Value, Error> {
    serde_json::to_value(value).map_err(|error| unwritable(&error))
}

fn unwritable(error: &serde_json::Error) -> Error {
    let why = harmless(&error.to_string());
    Error::defect(format!("cannot write JSON: {why}"))
}

/// Removes every member whose value is `null`. Go writes `null` for a nil slice or map, and reads `null` as
/// an absent member. serde would refuse `null` for a list or a map.
pub(crate) fn remove_nulls(json: &mut Vec<u8>) {
    // The start of the current member, or of the comma before it.
    let mut member = 0;
    // `empty`: the object has no member so far. `value`: a member's value comes next.
    let (mut empty, mut value) = (false, false);
    let (mut read, mut write) = (0, 0);
    while read < json.len() {
        let length = match json[read] {
            b'"' => string(&json[read..]),
            b'n' if value && json[read..].starts_with(b"null") => {
                empty = json[member] != b',';
                (read, write, value) = (read + 4, member, false);
                continue;
            }
            b',' if empty => {
                (read, member) = (read + 1, write);
                continue;
            }
            _ => 1,
        };
        match json[read] {
            b'{' => (empty, value, member) = (true, false, write + 1),
            b',' => (empty, value, member) = (false, false, write),
            b'[' => (empty, value) = (false, false),
            b':' => value = true,
            byte if byte.is_ascii_whitespace() => {}
            _ => empty = false,
        }
        json.copy_within(read..read + length, write);
        (read, write) = (read + length, write + length);
    }
    json.truncate(write);
}

/// The length of the string with which `json` begins.
fn string(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = json.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::Value;

    use super::*;

    fn without_nulls(json: &str) -> String {
        let mut json = json.as_bytes().to_vec();
        remove_nulls(&mut json);
        String::from_utf8(json).expect("text")
    }

    #[rstest]
    #[case(r#"{"items":null}"#, r#"{}"#)]
    #[case(r#"{"items":null,"kind":"List"}"#, r#"{"kind":"List"}"#)]
    #[case(
        r#"{"kind":"List","items":null,"metadata":{}}"#,
        r#"{"kind":"List","metadata":{}}"#
    )]
    #[case(
        r#"{"a":null,"b":null,"c":[{"d":null},null,"null"]}"#,
        r#"{"c":[{},null,"null"]}"#
    )]
    #[case(r#"{"a":"\",\"b\":null","c\\":null}"#, r#"{"a":"\",\"b\":null"}"#)]
    #[case("null", "null")]
    #[case(r#"{"a":"cut off"#, r#"{"a":"cut off"#)]
    #[case(r#"{"a":nul"#, r#"{"a":nul"#)]
    #[case("<html>, null: null</html>", "<html></html>")]
    fn what_go_writes_for_nothing_is_taken_out(#[case] json: &str, #[case] rest: &str) {
        assert_eq!(without_nulls(json), rest);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            3 => Just(Value::Null),
            1 => any::<bool>().prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            2 => r#"[a-c"\\,:{}\[\]nul ]{0,6}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let object = prop::collection::btree_map(r#"[a-c"\\,:]{0,3}"#, inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                object.prop_map(|members| members.into_iter().collect::<Value>()),
            ]
        })
    }

    fn drop_nulls(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|_, member| !member.is_null());
                members.values_mut().for_each(drop_nulls);
            }
            Value::Array(items) => items.iter_mut().for_each(drop_nulls),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn nothing_else_is_touched(value in any_json(), pretty: bool) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let left: Value = serde_json::from_str(&without_nulls(&text)).expect("JSON");
            let mut expected = value;
            drop_nulls(&mut expected);
            prop_assert_eq!(left, expected);
        }

        #[test]
        fn what_is_no_json_does_no_harm(text in r#"[{}\[\]",:\\nul a]{0,40}"#) {
            prop_assert!(without_nulls(&text).len() <= text.len());
        }
    }
}
