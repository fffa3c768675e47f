//! What makes spans, as far as its metrics need it; worked out once for each resource.

use super::roles::{Attributes, Found, MAX_VALUE_BYTES, Roles, cut_str, text};
use crate::columns::value::Value;
use crate::wire::otlp_metrics::labels_of;
use hashbrown::HashMap;
use std::borrow::Cow;
use std::sync::Arc;

pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// Resources that are remembered; with more, all are worked out anew.
const MAX_RESOURCES: usize = 1024;

/// Attributes that `traces_target_info` has as labels.
const MAX_LABELS: usize = 50;
/// An attribute with a longer name is none of them.
const MAX_KEY_BYTES: usize = 200;

/// `job` and `instance`; "" where there is none.
pub type Target = Arc<(Box<str>, Box<str>)>;

/// Labels by name.
pub type InfoLabels = Box<[(Box<str>, Box<str>)]>;

#[derive(Debug, Clone)]
pub struct Resource {
    pub service: Arc<str>,
    pub target: Target,
    /// Of each dimension that is an attribute of the resource.
    pub dimensions: Box<[Option<Box<str>>]>,
    /// Labels of its `traces_target_info`; none where it has nothing to tell.
    pub info: Option<Arc<InfoLabels>>,
}

impl Resource {
    fn new(attributes: &impl Attributes, roles: &Roles) -> Self {
        let (mut service, mut namespace, mut instance) = (None, None, None);
        let mut others: Vec<(&str, Cow<'_, str>)> = Vec::new();
        attributes.each(&mut |key, value| {
            let identity = match key {
                b"service.name" => &mut service,
                b"service.namespace" => &mut namespace,
                b"service.instance.id" => &mut instance,
                _ => {
                    if key.len() <= MAX_KEY_BYTES
                        && let (Ok(key), Some(text)) = (std::str::from_utf8(key), text(value))
                    {
                        others.push((key, text));
                    }
                    return;
                }
            };
            identity.get_or_insert(value);
        });
        let plain = |value: Option<Value<'_>>| -> Box<str> {
            value.and_then(|value| text(value).map(|text| text.as_ref().into())).unwrap_or_default()
        };
        let name = plain(service);
        let name: Box<str> = if name.is_empty() { UNKNOWN_SERVICE.into() } else { name };
        let job: Box<str> = match plain(namespace) {
            none if none.is_empty() => name.clone(),
            namespace => cut_str(&format!("{namespace}/{name}"), MAX_VALUE_BYTES).into(),
        };
        let target: Target = Arc::new((job, plain(instance)));
        let info = (!others.is_empty()).then(|| Arc::new(info(&mut others, &target)));
        let mut found = Found::default();
        found.fill(roles, attributes);
        let dimensions = found
            .dimensions
            .iter()
            .map(|value| value.and_then(|value| text(value).map(|text| text.as_ref().into())));
        Self { service: (*name).into(), dimensions: dimensions.collect(), target, info }
    }
}

fn info<'a>(attributes: &mut [(&'a str, Cow<'a, str>)], target: &Target) -> InfoLabels {
    let mut labels: Vec<(Box<str>, Box<str>)> = Vec::new();
    for (name, value) in labels_of(attributes).into_iter().take(MAX_LABELS) {
        let is_taken = name == "job" || name == "instance";
        let name: Box<str> = if is_taken { format!("__{name}").into() } else { (*name).into() };
        labels.push((name, cut_str(&value, MAX_VALUE_BYTES).into()));
    }
    labels.push(("job".into(), target.0.clone()));
    if !target.1.is_empty() {
        labels.push(("instance".into(), target.1.clone()));
    }
    labels.sort();
    labels.into()
}

/// Resources by what they are encoded as.
#[derive(Debug, Default)]
pub struct Resources {
    known: HashMap<u128, Arc<Resource>>,
}

impl Resources {
    /// A resource; `hash` is that of all its attributes.
    pub fn get(
        &mut self,
        hash: u128,
        attributes: &impl Attributes,
        roles: &Roles,
    ) -> Arc<Resource> {
        if let Some(resource) = self.known.get(&hash) {
            return Arc::clone(resource);
        }
        if self.known.len() >= MAX_RESOURCES {
            self.known.clear();
        }
        let resource = Arc::new(Resource::new(attributes, roles));
        self.known.insert(hash, Arc::clone(&resource));
        resource
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_becomes_a_target() {
        let text = |text: &'static str| Value::Text(text.as_bytes());
        let attributes: &[_] = &[
            ("service.name", text("cart")),
            ("service.namespace", text("shop")),
            ("service.instance.id", text("a1")),
            ("host.name", text("web-1")),
            ("job", text("mine")),
            ("process.pid", Value::Int(7)),
            ("nothing", text("")),
        ];
        let roles = Roles::new(&["host.name".to_owned(), "region".to_owned()]);
        let resource = Resource::new(&attributes, &roles);
        assert_eq!(&*resource.service, "cart");
        assert_eq!(*resource.target, ("shop/cart".into(), "a1".into()));
        assert_eq!(*resource.dimensions, [Some("web-1".into()), None]);
        let info = resource.info.unwrap();
        let labels: Vec<_> = info.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            labels,
            [
                ("__job", "mine"),
                ("host_name", "web-1"),
                ("instance", "a1"),
                ("job", "shop/cart"),
                ("process_pid", "7"),
            ]
        );
    }

    #[test]
    fn without_a_name_it_is_unknown() {
        let attributes: &[_] = &[("service.name", Value::Null)];
        let resource = Resource::new(&attributes, &Roles::new(&[]));
        assert_eq!(&*resource.service, UNKNOWN_SERVICE);
        assert_eq!(*resource.target, (UNKNOWN_SERVICE.into(), "".into()));
        assert!(resource.info.is_none());
    }
}
