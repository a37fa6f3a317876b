//! JSON with secrets in it: built and written so that no copy outlives it.
//!
//! What a parser keeps for itself while it undoes escapes is not in our hands.

use credentialflow_model::SecretValue;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use std::{fmt, io};
use zeroize::Zeroize;

/// Wipes every text in a value.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(all) => all.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        _ => {}
    }
}

/// JSON as text in one piece that is wiped.
pub fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<SecretValue> {
    let mut out = Buffer::new(1024);
    serde_json::to_writer(&mut out, value)?;
    Ok(out.into())
}

/// Bytes that leave nothing behind where they grow, and are wiped at their end.
pub struct Buffer(Vec<u8>);

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Buffer(redacted)")
    }
}

impl Buffer {
    /// With room for so many bytes.
    pub fn new(room: usize) -> Self {
        Self(Vec::with_capacity(room))
    }

    /// Adds bytes.
    pub fn push(&mut self, more: &[u8]) {
        let needed = self.0.len() + more.len();
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(2 * self.0.capacity()));
            larger.extend_from_slice(&self.0);
            std::mem::replace(&mut self.0, larger).zeroize();
        }
        self.0.extend_from_slice(more);
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl io::Write for Buffer {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.push(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl From<Buffer> for SecretValue {
    fn from(mut buffer: Buffer) -> Self {
        Self::new(std::mem::take(&mut buffer.0))
    }
}

/// A value that is wiped when dropped, also when it was read by half only. Of a name that comes twice the
/// last counts, as Vault has it.
#[derive(Default)]
pub struct Tree(Value);

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tree(redacted)")
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl Tree {
    /// The value. Every call is a place where a secret can leak.
    pub const fn expose(&self) -> &Value {
        &self.0
    }

    /// Its fields, to be wiped by whoever takes them; `None`: it is no object.
    pub fn into_fields(mut self) -> Option<Map<String, Value>> {
        match &mut self.0 {
            Value::Object(map) => Some(std::mem::take(map)),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree(value.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree(Value::String(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree(Value::String(text)))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut tree = Tree(Value::Array(Vec::new()));
        while let (Some(mut next), Value::Array(all)) = (access.next_element::<Tree>()?, &mut tree.0) {
            all.push(std::mem::take(&mut next.0));
        }
        Ok(tree)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut tree = Tree(Value::Object(Map::new()));
        while let (Some((name, mut next)), Value::Object(map)) = (access.next_entry::<String, Tree>()?, &mut tree.0) {
            if let Some(mut before) = map.insert(name, std::mem::take(&mut next.0)) {
                wipe(&mut before);
            }
        }
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;
    use std::io::Write;

    #[test]
    fn a_tree_is_read_as_any_value_and_written_as_it_was() {
        for text in [
            r#"{"a":[1,-2,3.5,true,null,"x\n\u00e9"],"b":{"c":{}},"d":18446744073709551615}"#,
            "[]",
            "null",
            "\"text\"",
        ] {
            let tree: Tree = serde_json::from_str(text).unwrap();
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(tree.expose(), &value);
            assert_eq!(json(tree.expose()).unwrap().expose_str().unwrap(), value.to_string());
        }
        let twice: Tree = serde_json::from_str(r#"{"a":"first","a":"last"}"#).unwrap();
        assert_eq!(twice.into_fields().unwrap()["a"], "last");
        for broken in [r#"{"a":"x""#, r#"{"a":"x","b":"\ud800"}"#, "[1e999]", "{} {}"] {
            assert!(serde_json::from_str::<Tree>(broken).is_err(), "{broken}");
        }
        assert_eq!(format!("{:?}", Tree::from(json!("canary"))), "Tree(redacted)");
    }

    #[test]
    fn wiping_reaches_every_text_and_growing_keeps_the_bytes() {
        let mut value = json!({"a": ["x", {"b": "y"}], "c": "z", "n": 1});
        wipe(&mut value);
        assert_eq!(value, json!({"a": ["", {"b": ""}], "c": "", "n": 1}));
        let mut out = Buffer::new(2);
        for _ in 0..1000 {
            out.write_all(b"abc").unwrap();
        }
        assert_eq!(SecretValue::from(out).expose(), "abc".repeat(1000).as_bytes());
    }
}
