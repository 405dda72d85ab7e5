//! Objects as kubectl sends them: in the protobuf of `k8s.io/*/generated.proto`.
//!
//! Only requests: who sends protobuf also takes JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::clock::rfc3339;

/// What every object in protobuf begins with.
const MAGIC: &[u8] = b"k8s\0";

type Message = &'static [(u64, &'static str, Type)];

#[derive(Clone, Copy)]
enum Type {
    Text,
    Number,
    Bool,
    Time,
    One(Message),
    Texts,
    Many(Message),
    TextMap,
    BytesMap,
}

use Type::{Bool, BytesMap, Many, Number, One, Text, TextMap, Texts, Time};

const UNKNOWN: Message = &[(1, "type", One(&[(1, "apiVersion", Text), (2, "kind", Text)]))];
const METADATA: Message = &[
    (1, "name", Text),
    (2, "generateName", Text),
    (3, "namespace", Text),
    (5, "uid", Text),
    (6, "resourceVersion", Text),
    (8, "creationTimestamp", Time),
    (11, "labels", TextMap),
    (12, "annotations", TextMap),
    (
        13,
        "ownerReferences",
        Many(&[
            (1, "kind", Text),
            (3, "name", Text),
            (4, "uid", Text),
            (5, "apiVersion", Text),
            (6, "controller", Bool),
            (7, "blockOwnerDeletion", Bool),
        ]),
    ),
    (14, "finalizers", Texts),
];
const ROLE: Message = &[
    (1, "metadata", One(METADATA)),
    (
        2,
        "rules",
        Many(&[
            (1, "verbs", Texts),
            (2, "apiGroups", Texts),
            (3, "resources", Texts),
            (4, "resourceNames", Texts),
            (5, "nonResourceURLs", Texts),
        ]),
    ),
];
const BINDING: Message = &[
    (1, "metadata", One(METADATA)),
    (
        2,
        "subjects",
        Many(&[
            (1, "kind", Text),
            (2, "apiGroup", Text),
            (3, "name", Text),
            (4, "namespace", Text),
        ]),
    ),
    (
        3,
        "roleRef",
        One(&[(1, "apiGroup", Text), (2, "kind", Text), (3, "name", Text)]),
    ),
];
const MESSAGES: &[(&str, Message)] = &[
    ("Namespace", &[(1, "metadata", One(METADATA))]),
    (
        "ServiceAccount",
        &[
            (1, "metadata", One(METADATA)),
            (4, "automountServiceAccountToken", Bool),
        ],
    ),
    (
        "Secret",
        &[
            (1, "metadata", One(METADATA)),
            (2, "data", BytesMap),
            (3, "type", Text),
            (4, "stringData", TextMap),
            (5, "immutable", Bool),
        ],
    ),
    ("Role", ROLE),
    ("ClusterRole", ROLE),
    ("RoleBinding", BINDING),
    ("ClusterRoleBinding", BINDING),
    (
        "TokenRequest",
        &[
            (1, "metadata", One(METADATA)),
            (
                2,
                "spec",
                One(&[
                    (1, "audiences", Texts),
                    (
                        3,
                        "boundObjectRef",
                        One(&[
                            (1, "kind", Text),
                            (2, "apiVersion", Text),
                            (3, "name", Text),
                            (4, "uid", Text),
                        ]),
                    ),
                    (4, "expirationSeconds", Number),
                ]),
            ),
        ],
    ),
    (
        "TokenReview",
        &[(2, "spec", One(&[(1, "token", Text), (2, "audiences", Texts)]))],
    ),
    ("SelfSubjectReview", &[]),
    (
        "SelfSubjectRulesReview",
        &[(2, "spec", One(&[(1, "namespace", Text)]))],
    ),
    (
        "SelfSubjectAccessReview",
        &[(
            2,
            "spec",
            One(&[
                (
                    1,
                    "resourceAttributes",
                    One(&[
                        (1, "namespace", Text),
                        (2, "verb", Text),
                        (3, "group", Text),
                        (4, "version", Text),
                        (5, "resource", Text),
                        (6, "subresource", Text),
                        (7, "name", Text),
                    ]),
                ),
                (
                    2,
                    "nonResourceAttributes",
                    One(&[(1, "path", Text), (2, "verb", Text)]),
                ),
            ]),
        )],
    ),
    (
        "DeleteOptions",
        &[
            (1, "gracePeriodSeconds", Number),
            (
                2,
                "preconditions",
                One(&[(1, "uid", Text), (2, "resourceVersion", Text)]),
            ),
            (4, "propagationPolicy", Text),
            (5, "dryRun", Texts),
        ],
    ),
];

/// The same object as JSON would have it, or nothing if it is none that is known here.
pub(crate) fn to_json(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(MAGIC)?;
    let envelope = object(body, UNKNOWN)?;
    let kind = envelope["type"]["kind"].as_str()?.to_owned();
    let (_, message) = MESSAGES.iter().find(|(name, _)| *name == kind)?;
    let raw = fields(body)?.into_iter().find_map(|(number, field)| match field {
        Wire::Bytes(bytes) if number == 2 => Some(bytes),
        _ => None,
    });
    let mut found = object(raw?, message)?;
    found["kind"] = kind.into();
    found["apiVersion"] = envelope["type"]["apiVersion"].clone();
    Some(found)
}

enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

fn object(bytes: &[u8], message: Message) -> Option<Value> {
    let mut found = Map::new();
    for (number, wire) in fields(bytes)? {
        let Some((_, name, kind)) = message.iter().find(|(known, ..)| *known == number) else {
            continue;
        };
        let mut push = |value: Value| {
            let list = found.entry(*name).or_insert_with(|| json!([]));
            list.as_array_mut().map(|list| list.push(value))
        };
        match (kind, wire) {
            // Go writes unset texts, too.
            (Text, Wire::Bytes([])) => {}
            (Text, Wire::Bytes(bytes)) => drop(found.insert((*name).into(), text(bytes)?)),
            (Number, Wire::Varint(number)) => drop(found.insert((*name).into(), number.cast_signed().into())),
            (Bool, Wire::Varint(number)) => drop(found.insert((*name).into(), (number != 0).into())),
            (Time, Wire::Bytes(bytes)) => {
                let seconds = fields(bytes)?.into_iter().find_map(|(number, wire)| match wire {
                    Wire::Varint(seconds) if number == 1 => Some(seconds.cast_signed()),
                    _ => None,
                });
                if let Some(seconds) = seconds {
                    found.insert((*name).into(), rfc3339(seconds).into());
                }
            }
            (One(message), Wire::Bytes(bytes)) => drop(found.insert((*name).into(), object(bytes, message)?)),
            (Texts, Wire::Bytes(bytes)) => push(text(bytes)?)?,
            (Many(message), Wire::Bytes(bytes)) => push(object(bytes, message)?)?,
            (TextMap | BytesMap, Wire::Bytes(bytes)) => {
                let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
                for (number, wire) in fields(bytes)? {
                    match (number, wire) {
                        (1, Wire::Bytes(bytes)) => key = bytes,
                        (2, Wire::Bytes(bytes)) => value = bytes,
                        _ => return None,
                    }
                }
                let value = if matches!(kind, TextMap) {
                    text(value)?
                } else {
                    STANDARD.encode(value).into()
                };
                found.entry(*name).or_insert_with(|| json!({}))[std::str::from_utf8(key).ok()?] = value;
            }
            _ => return None,
        }
    }
    Some(Value::Object(found))
}

fn text(bytes: &[u8]) -> Option<Value> {
    Some(std::str::from_utf8(bytes).ok()?.into())
}

fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Wire::Bytes(value)
            }
            _ => return None,
        };
        fields.push((tag >> 3, wire));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let length = u8::try_from(value.len()).expect("short");
        [&[number << 3 | 2, length], value].concat()
    }

    #[test]
    fn a_token_request_of_kubectl() {
        let kind = [field(1, b"authentication.k8s.io/v1"), field(2, b"TokenRequest")].concat();
        let anchor = [
            field(1, b"Secret"),
            field(2, b"v1"),
            field(3, b"a"),
            field(4, b""),
        ]
        .concat();
        // 600 as a varint, in field 4.
        let spec = [field(1, b"vault"), field(3, &anchor), vec![4 << 3, 0xd8, 0x04]].concat();
        let metadata = [field(1, b""), field(8, b"")].concat();
        let request = [field(1, &metadata), field(2, &spec), field(3, b"")].concat();
        let body = [
            MAGIC,
            &field(1, &kind),
            &field(2, &request),
            &field(3, b""),
            &field(4, b""),
        ]
        .concat();

        let expected = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {},
            "spec": {
                "audiences": ["vault"],
                "boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "a"},
                "expirationSeconds": 600,
            },
        });
        assert_eq!(to_json(&body), Some(expected));
        for length in 0..body.len() - 4 {
            assert_eq!(to_json(&body[..length]), None, "cut off after {length} bytes");
        }
    }
}
