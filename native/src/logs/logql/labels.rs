//! Which attributes are a stream's labels, and under which names: `obsd/model/log_labels.py`.

use super::super::value::{Value, map};
use std::borrow::Cow;

/// Attributes with dots in their names that are labels, in order.
const INDEX_ATTRIBUTES: [&str; 18] = [
    "cloud.availability_zone",
    "cloud.region",
    "container.name",
    "deployment.environment",
    "deployment.environment.name",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.cronjob.name",
    "k8s.daemonset.name",
    "k8s.deployment.name",
    "k8s.job.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.replicaset.name",
    "k8s.statefulset.name",
    "service.instance.id",
    "service.name",
    "service.namespace",
];

/// The key that is the service's name, which is a label whatever it holds.
pub const SERVICE: &str = "service.name";

/// The name of a label, or of metadata, for an attribute's.
#[must_use]
pub fn label_name(key: &str) -> Cow<'_, str> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = key.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if starts && key.chars().all(valid) {
        return Cow::Borrowed(key);
    }
    let name: String = key.chars().map(|c| if valid(c) { c } else { '_' }).collect();
    Cow::Owned(if starts { name } else { format!("_{name}") })
}

/// Whether a resource attribute is a label.
#[must_use]
pub fn is_label(key: &str, value: Value<'_>) -> bool {
    let named = !key.contains('.') || INDEX_ATTRIBUTES.binary_search(&key).is_ok();
    let plain = match value {
        Value::Null | Value::List(_) | Value::Map(_) => false,
        Value::Text(bytes) | Value::Bytes(bytes) => !bytes.is_empty(),
        Value::Int(_) | Value::Double(_) | Value::Bool(_) => true,
    };
    named && plain
}

/// The attributes of a resource, keys as texts.
fn attributes(resource: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Value<'_>)> {
    map(resource).map(|(key, value)| (String::from_utf8_lossy(key), value))
}

/// A resource's label; the service's name has a field of its own.
#[must_use]
pub fn label<'v>(resource: &'v [u8], name: &str) -> Option<Value<'v>> {
    attributes(resource).find(|(k, v)| is_label(k, *v) && label_name(k) == name).map(|(_, v)| v)
}

/// Whether a value is text that is not empty: there is no other metadata.
#[must_use]
pub fn tells_something(value: Value<'_>) -> bool {
    !matches!(value, Value::Null | Value::Text([]) | Value::Bytes([]))
}

/// An attribute of a resource that is metadata under this name.
#[must_use]
pub fn metadata<'v>(resource: &'v [u8], name: &str) -> Option<Value<'v>> {
    let is = |k: &str, v: Value<'_>| k != SERVICE && !is_label(k, v) && label_name(k) == name;
    attributes(resource).find(|(k, v)| tells_something(*v) && is(k, *v)).map(|(_, v)| v)
}

/// Details by their keys, and what they are called as metadata.
const DETAILS: [(&[u8], &str); 7] = [
    (b"scope.name", "scope_name"),
    (b"scope.version", "scope_version"),
    (b"event_name", "event_name"),
    (b"flags", "flags"),
    (b"dropped_attributes", "dropped_attributes_count"),
    (b"scope.dropped_attributes", "scope_dropped_attributes_count"),
    (b"resource.dropped_attributes", "resource_dropped_attributes_count"),
];

/// What of a record's details is metadata, with its names: the attributes of its scope, too.
#[must_use]
pub fn details(message: &[u8]) -> Vec<(Cow<'_, str>, Value<'_>)> {
    let mut found: Vec<(Cow<'_, str>, Value<'_>)> = Vec::new();
    for (key, name) in DETAILS {
        found.extend(map(message).find(|(k, _)| *k == key).map(|(_, v)| (name.into(), v)));
    }
    if let Some((_, Value::Map(scope))) = map(message).find(|(key, _)| *key == b"scope") {
        found.extend(attributes(scope));
    }
    found
}

/// What of a record's details is metadata under this name.
#[must_use]
pub fn detail<'v>(message: &'v [u8], name: &str) -> Option<Value<'v>> {
    let is = |key: &str, value| tells_something(value) && label_name(key) == name;
    details(message).into_iter().find(|(k, v)| is(k, *v)).map(|(_, v)| v)
}

/// An attribute of a map under this name.
#[must_use]
pub fn sanitized<'v>(entries: &'v [u8], name: &str) -> Option<Value<'v>> {
    let is = |key: &str, value| tells_something(value) && label_name(key) == name;
    attributes(entries).find(|(k, v)| is(k, *v)).map(|(_, v)| v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_valid() {
        for (key, name) in
            [("a.b", "a_b"), ("9x", "_9x"), ("", "_"), ("naïve-x", "na_ve_x"), ("_ok", "_ok")]
        {
            assert_eq!(label_name(key), name);
        }
    }

    #[test]
    fn index_attributes_are_in_order() {
        assert!(INDEX_ATTRIBUTES.is_sorted());
    }

    #[test]
    fn what_is_empty_hides_nothing() {
        assert!(tells_something(Value::Int(0)) && tells_something(Value::List(b"")));
        assert!(!tells_something(Value::Text(b"")) && !tells_something(Value::Bytes(b"")));
        assert!(!tells_something(Value::Null));
    }

    #[test]
    fn what_is_a_label() {
        assert!(is_label("app", Value::Int(1)) && is_label("k8s.pod.name", Value::Text(b"x")));
        assert!(!is_label("host.name", Value::Text(b"x")) && !is_label("app", Value::Text(b"")));
        assert!(!is_label("app", Value::List(b"")) && !is_label("app", Value::Null));
    }
}
