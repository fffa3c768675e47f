//! What a resource and a scope give to their series: job, instance, promoted attributes, and the
//! series `target_info`.

use super::attributes::{
    Attribute, AttributeError, CommonLabels, put_label, read_attribute, translate,
};
use super::convert::Options;
use super::points::MAX_ATTRIBUTES;
use crate::wire::protobuf::Fields;

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";

/// A resource as labels.
#[derive(Debug, Default)]
pub struct Resource {
    pub common: CommonLabels,
    /// Label fields of `target_info`, its name included; none where it has nothing to say.
    pub target_info: Option<Vec<u8>>,
}

/// Reads a `Resource`.
///
/// # Errors
/// It is none, or has attributes of which no labels can be made.
pub fn read_resource(message: &[u8], options: &Options) -> Result<Resource, AttributeError> {
    let attributes = read_attributes(message, 1)?;
    let get = |key: &str| {
        attributes.iter().find(|(k, _)| *k == key).map_or("", |(_, value)| value.as_ref())
    };
    let (name, namespace) = (get(SERVICE_NAME), get(SERVICE_NAMESPACE));
    let job = match (name.is_empty(), namespace.is_empty()) {
        (true, _) => String::new(),
        (false, true) => name.to_owned(),
        (false, false) => format!("{namespace}/{name}"),
    };
    let instance = get(SERVICE_INSTANCE);

    let mut common = CommonLabels::default();
    let is_promoted = |key: &str| {
        if options.promote_all {
            !options.ignored.iter().any(|other| other == key)
        } else {
            options.promoted.iter().any(|other| other == key)
        }
    };
    let mut promoted: Vec<Attribute<'_>> =
        attributes.iter().filter(|(key, _)| is_promoted(key)).cloned().collect();
    for (name, value) in translate(&mut promoted, options.strategy) {
        common.set(&name, &value, false);
    }
    common.set("job", &job, true);
    common.set("instance", instance, true);

    let identifies = |key: &str| matches!(key, SERVICE_NAME | SERVICE_NAMESPACE | SERVICE_INSTANCE);
    let mut rest: Vec<Attribute<'_>> = attributes
        .iter()
        .filter(|(key, _)| options.keep_identifying || !identifies(key))
        .cloned()
        .collect();
    let has_more = attributes.iter().any(|(key, value)| !identifies(key) && !value.is_empty());
    let target_info = (has_more && !(job.is_empty() && instance.is_empty())).then(|| {
        let mut own = CommonLabels::default();
        own.set("job", &job, true);
        own.set("instance", instance, true);
        let mut out = Vec::new();
        put_label(&mut out, "__name__", "target_info");
        own.encode(&translate(&mut rest, options.strategy), None, &mut out);
        out
    });
    Ok(Resource { common, target_info })
}

/// Adds what a scope says of itself, where that is wanted.
///
/// # Errors
/// It is no `InstrumentationScope`, or has attributes of which no labels can be made.
pub fn add_scope(
    common: &mut CommonLabels,
    message: &[u8],
    schema_url: &[u8],
    options: &Options,
) -> Result<(), AttributeError> {
    if !options.promote_scope {
        return Ok(());
    }
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| AttributeError::Utf8);
    let attributes = read_attributes(message, 3)?;
    let keys: Vec<String> = attributes.iter().map(|(key, _)| format!("otel_scope_{key}")).collect();
    let mut prefixed: Vec<Attribute<'_>> =
        keys.iter().zip(attributes).map(|(key, (_, value))| (key.as_str(), value)).collect();
    for (name, value) in translate(&mut prefixed, options.strategy) {
        common.set(&name, &value, true);
    }
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => common.set("otel_scope_name", text(value.bytes(1)?)?, true),
            2 => common.set("otel_scope_version", text(value.bytes(2)?)?, true),
            _ => {}
        }
    }
    common.set("otel_scope_schema_url", text(schema_url)?, true);
    Ok(())
}

fn read_attributes(message: &[u8], number: u32) -> Result<Vec<Attribute<'_>>, AttributeError> {
    let mut out = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        if field == number {
            if out.len() == MAX_ATTRIBUTES {
                return Err(AttributeError::TooMany);
            }
            out.push(read_attribute(value.bytes(number)?)?);
        }
    }
    Ok(out)
}
