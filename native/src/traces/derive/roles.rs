//! Which attributes of a span matter to its metrics, found in one pass over them.

use crate::columns::value::Value;
use hashbrown::HashMap;
use std::borrow::Cow;

/// Bytes of a label's value; what is longer is cut.
pub const MAX_VALUE_BYTES: usize = 256;
/// Of a span's name, which may be a whole query or URL.
pub const MAX_NAME_BYTES: usize = 1024;

/// What an attribute tells, in the order in which it names the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    PeerService,
    ServerAddress,
    NetPeerName,
    PeerAddress,
    OldPeerAddress,
    PeerPort,
    OldPeerPort,
    DbNamespace,
    DbName,
    DbSystem,
    DbSystemName,
    Destination,
    OldDestination,
    MessagingSystem,
    Shared,
}

const ROLES: [(&str, Role); 15] = [
    ("peer.service", Role::PeerService),
    ("server.address", Role::ServerAddress),
    ("net.peer.name", Role::NetPeerName),
    ("network.peer.address", Role::PeerAddress),
    ("net.sock.peer.addr", Role::OldPeerAddress),
    ("network.peer.port", Role::PeerPort),
    ("net.sock.peer.port", Role::OldPeerPort),
    ("db.namespace", Role::DbNamespace),
    ("db.name", Role::DbName),
    ("db.system", Role::DbSystem),
    ("db.system.name", Role::DbSystemName),
    ("messaging.destination.name", Role::Destination),
    ("messaging.destination", Role::OldDestination),
    ("messaging.system", Role::MessagingSystem),
    // The name under which the Zipkin receiver keeps it.
    ("zipkin.shared", Role::Shared),
];

/// An attribute's place: of the roles, of the dimensions, or of both.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    role: Option<Role>,
    dimension: Option<usize>,
}

/// Names of attributes that are looked for.
#[derive(Debug)]
pub struct Roles {
    places: HashMap<Box<[u8]>, Place>,
    dimensions: usize,
    longest: usize,
}

impl Roles {
    /// `dimensions`: attributes that become labels.
    #[must_use]
    pub fn new(dimensions: &[String]) -> Self {
        let mut places: HashMap<Box<[u8]>, Place> = HashMap::new();
        for (name, role) in ROLES {
            places.entry(name.as_bytes().into()).or_default().role = Some(role);
        }
        for (at, name) in dimensions.iter().enumerate() {
            places.entry(name.as_bytes().into()).or_default().dimension = Some(at);
        }
        let longest = places.keys().map(|name| name.len()).max().unwrap_or(0);
        Self { places, dimensions: dimensions.len(), longest }
    }

    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }
}

/// Attributes of a span or a resource, however they are kept.
pub trait Attributes {
    fn each<'s>(&'s self, each: &mut dyn FnMut(&'s [u8], Value<'s>));
}

impl Attributes for &[(&str, Value<'_>)] {
    fn each<'s>(&'s self, each: &mut dyn FnMut(&'s [u8], Value<'s>)) {
        self.iter().for_each(|(key, value)| each(key.as_bytes(), *value));
    }
}

/// What was found among the attributes of one span.
#[derive(Debug, Default)]
pub struct Found<'a> {
    roles: [Option<Value<'a>>; ROLES.len()],
    /// Of each dimension.
    pub dimensions: Vec<Option<Value<'a>>>,
}

impl<'a> Found<'a> {
    /// Looks for them; of a name that is there more than once, the first counts.
    pub fn fill(&mut self, roles: &Roles, attributes: &'a impl Attributes) {
        self.roles = [None; ROLES.len()];
        self.dimensions.clear();
        self.dimensions.resize(roles.dimensions, None);
        attributes.each(&mut |key, value| {
            if key.len() > roles.longest {
                return;
            }
            let Some(place) = roles.places.get(key) else { return };
            if let Some(role) = place.role {
                self.roles[role as usize].get_or_insert(value);
            }
            if let Some(at) = place.dimension {
                self.dimensions[at].get_or_insert(value);
            }
        });
    }

    /// The text of the first of these roles that has one.
    fn first(&self, roles: &[Role]) -> Option<Cow<'a, str>> {
        roles.iter().find_map(|role| self.roles[*role as usize].map(text)?)
    }

    /// Who is on the other side of a call, as its client tells.
    #[must_use]
    pub fn peer(&self) -> Option<Cow<'a, str>> {
        self.first(&[Role::PeerService, Role::ServerAddress, Role::NetPeerName])
            .or_else(|| self.peer_address())
    }

    /// Who has called, as the server tells; all but this attribute are its own address.
    #[must_use]
    pub fn caller(&self) -> Option<Cow<'a, str>> {
        self.first(&[Role::PeerService])
    }

    fn peer_address(&self) -> Option<Cow<'a, str>> {
        let address = self.first(&[Role::PeerAddress, Role::OldPeerAddress])?;
        match self.first(&[Role::PeerPort, Role::OldPeerPort]) {
            Some(port) => Some(Cow::Owned(format!("{address}:{port}"))),
            None => Some(address),
        }
    }

    /// The database that is called; `None` for other calls.
    #[must_use]
    pub fn database(&self) -> Option<Cow<'a, str>> {
        let name =
            self.first(&[Role::DbNamespace, Role::DbName, Role::DbSystem, Role::DbSystemName])?;
        Some(self.peer().unwrap_or(name))
    }

    /// Whether a server's span has the id of its client's, as Zipkin's have.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.roles[Role::Shared as usize] == Some(Value::Bool(true))
    }

    /// The queue or topic of a message.
    #[must_use]
    pub fn queue(&self) -> Option<Cow<'a, str>> {
        self.first(&[Role::Destination, Role::OldDestination, Role::MessagingSystem])
    }
}

/// A value as that of a label; `None` for one without text.
#[must_use]
pub fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    let text = value.text_or_json();
    (!text.is_empty()).then(|| cut(text))
}

fn cut(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= MAX_VALUE_BYTES {
        return text;
    }
    let end = floor(&text, MAX_VALUE_BYTES);
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

/// A text's first bytes.
#[must_use]
pub fn cut_str(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes { text } else { &text[..floor(text, max_bytes)] }
}

/// The last place up to `at` where a character begins.
fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(attributes: &'a &'a [(&'a str, Value<'a>)]) -> Found<'a> {
        let mut found = Found::default();
        found.fill(&Roles::new(&["region".to_owned(), "db.name".to_owned()]), attributes);
        found
    }

    #[test]
    fn the_other_side_has_a_name_by_precedence() {
        let text = |text: &'static str| Value::Text(text.as_bytes());
        let all: &[_] = &[
            ("network.peer.address", text("10.0.0.7")),
            ("network.peer.port", Value::Int(5432)),
            ("db.system", text("postgresql")),
            ("db.name", text("shop")),
            ("db.name", text("other")),
            ("region", Value::Bool(true)),
        ];
        assert_eq!(found(&all).peer().as_deref(), Some("10.0.0.7:5432"));
        assert_eq!(found(&all).database().as_deref(), Some("10.0.0.7:5432"));
        assert_eq!(found(&&all[2..]).database().as_deref(), Some("shop"));
        assert_eq!(found(&&all[2..3]).database().as_deref(), Some("postgresql"));
        assert_eq!(found(&&all[..2]).database(), None);
        assert_eq!(found(&all).caller(), None);
        let dimensions = found(&all).dimensions;
        assert_eq!(dimensions, [Some(Value::Bool(true)), Some(text("shop"))]);
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "é".repeat(MAX_VALUE_BYTES);
        let odd = format!("x{long}");
        assert_eq!(cut_str(&long, MAX_VALUE_BYTES).len(), MAX_VALUE_BYTES);
        assert_eq!(cut_str(&odd, MAX_VALUE_BYTES).len(), MAX_VALUE_BYTES - 1);
        assert_eq!(text(Value::Text(odd.as_bytes())).unwrap().len(), MAX_VALUE_BYTES - 1);
        assert_eq!(text(Value::Text(b"")), None);
        assert_eq!(text(Value::Null), None);
    }
}
