//! JSON documents of others that are changed in one place and handed on byte for byte in all others.
//!
//! A typed document would lose what its type does not know, and a parsed one the order of its keys and the digits of its
//! numbers. Here an object is a list of names and untouched texts, and only a text that changes is parsed.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

/// The most members of an object. Real configurations have some dozens; labels and annotations are objects as well.
const MOST_MEMBERS: usize = 10_000;

/// A JSON object: names in the order in which they stand there, each with the text of its value.
#[derive(Debug, Clone, Default)]
pub(super) struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    /// The value of `name`; one that is `null` is none, as in Go, whose tools write these documents.
    pub(super) fn get(&self, name: &str) -> Option<&RawValue> {
        let (_, value) = self.0.iter().find(|(own, _)| own == name)?;
        (value.get() != "null").then_some(value)
    }

    /// The value of `name` as a `T`; the default where there is none.
    pub(super) fn read<T: serde::de::DeserializeOwned + Default>(
        &self,
        name: &str,
    ) -> Result<T, serde_json::Error> {
        self.get(name).map_or_else(
            || Ok(T::default()),
            |value| serde_json::from_str(value.get()),
        )
    }

    /// Puts a value in its place, or after all others where `name` is new.
    pub(super) fn set(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        let value = serde_json::value::to_raw_value(value)
            .expect("texts, numbers, and lists and objects of them are JSON");
        match self.0.iter_mut().find(|(own, _)| own == name) {
            Some((_, place)) => *place = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Takes `name` out.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(own, _)| own != name);
    }

    /// The object as compact JSON: what was not set is as it came.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names and JSON texts are JSON")
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                let mut places = std::collections::BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    // Of equal names the last one counts, and two would be read differently by others.
                    if let Some(place) = places.get(&name) {
                        let (_, known): &mut (String, Box<RawValue>) = &mut members[*place];
                        *known = value;
                        continue;
                    }
                    if members.len() == MOST_MEMBERS {
                        return Err(serde::de::Error::custom(format_args!(
                            "an object has more than {MOST_MEMBERS} members"
                        )));
                    }
                    places.insert(name.clone(), members.len());
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_stays_byte_for_byte() {
        let text = r#"{"z": {"b":1,  "a": 1e400}, "a": 12345678901234567890123, "n": null, "u": "\u00e9"}"#;
        let mut members: Members = serde_json::from_str(text).expect("an object");
        members.set("n", &["x"]);
        members.set("new", "y");
        assert_eq!(
            String::from_utf8(members.to_bytes()).expect("UTF-8"),
            r#"{"z":{"b":1,  "a": 1e400},"a":12345678901234567890123,"n":["x"],"u":"\u00e9","new":"y"}"#
        );
        members.remove("z");
        assert!(members.get("z").is_none());
    }

    #[test]
    fn null_is_nothing_and_the_last_of_equal_names_counts() {
        let members: Members =
            serde_json::from_str(r#"{"a":1,"b":null,"a":2}"#).expect("an object");
        assert!(members.get("b").is_none());
        assert_eq!(members.read::<u8>("a").ok(), Some(2));
        assert_eq!(members.read::<u8>("c").ok(), Some(0));
        assert_eq!(members.to_bytes(), br#"{"a":2,"b":null}"#);
        for wrong in ["[]", "1", "{", r#"{"a":}"#] {
            assert!(serde_json::from_str::<Members>(wrong).is_err(), "{wrong}");
        }
    }
}
