//! Values: reading a version, writing the next, changing a part of the newest.

use super::meta::{Meta, Version, time};
use super::{Settings, load, place, settings, store};
use crate::fields::integer;
use crate::{Call, Reply, Result, SecretsError, Txn};
use credentialflow_model::SecretValue;
use serde_json::{Map, Value, json};
use zeroize::Zeroize;

pub(super) async fn read(call: &Call<'_>, txn: &mut Txn, path: &str) -> Result<Reply> {
    let (meta, number, version) = chosen(call, txn, path).await?;
    let about = meta.describe(number, version);
    if !version.is_readable(call.now) {
        return Ok(Reply::open(json!({ "data": null, "metadata": about })).with_status(404));
    }
    let value = value(call, txn, path, number).await?;
    Ok(Reply::secret(joined(&[b"{\"data\":", value.expose(), b",\"metadata\":", about.to_string().as_bytes(), b"}"])))
}

/// The version asked for: the newest, unless the question names one.
async fn chosen(call: &Call<'_>, txn: &mut Txn, path: &str) -> Result<(Meta, u64, Version)> {
    let meta = load(call, txn, path).await?.ok_or(SecretsError::NotFound)?;
    let asked = integer(call.data, "version")?.unwrap_or(0);
    let asked = u64::try_from(asked).map_err(|_| SecretsError::invalid("version must not be negative"))?;
    let number = if asked == 0 { meta.current() } else { asked };
    let version = meta.version(number).ok_or(SecretsError::NotFound)?;
    Ok((meta, number, version))
}

async fn value(call: &Call<'_>, txn: &mut Txn, path: &str, number: u64) -> Result<SecretValue> {
    txn.entries(call.space()).get(&place(path, number)).await?.ok_or_else(|| SecretsError::corrupt("version"))
}

/// Texts one after the other, in memory that is wiped.
fn joined(parts: &[&[u8]]) -> SecretValue {
    let mut out = Vec::with_capacity(parts.iter().map(|p| p.len()).sum());
    for part in parts {
        out.extend_from_slice(part);
    }
    SecretValue::new(out)
}

pub(super) async fn write(call: &Call<'_>, txn: &mut Txn, path: &str) -> Result<Reply> {
    let Some(data @ Value::Object(_)) = call.data.get("data") else {
        return Err(SecretsError::invalid("no data provided"));
    };
    let settings = settings::load(call, txn).await?;
    let meta = load(call, txn, path).await?;
    check_and_set(call, &settings, meta.as_ref())?;
    let meta = meta.unwrap_or_else(|| Meta::new(call.now));
    append(call, txn, path, meta, &settings, data)
}

pub(super) async fn patch(call: &Call<'_>, txn: &mut Txn, path: &str) -> Result<Reply> {
    let Some(patch @ Value::Object(_)) = call.data.get("data") else {
        return Err(SecretsError::invalid("no data provided"));
    };
    let settings = settings::load(call, txn).await?;
    let meta = load(call, txn, path).await?.ok_or(SecretsError::NotFound)?;
    check_and_set(call, &settings, Some(&meta))?;
    let number = meta.current();
    let version = meta.version(number).ok_or(SecretsError::NotFound)?;
    if !version.is_readable(call.now) {
        return Ok(Reply::open(json!({ "data": null, "metadata": meta.describe(number, version) })).with_status(404));
    }
    let newest = value(call, txn, path, number).await?;
    let mut merged: Value = serde_json::from_slice(newest.expose()).map_err(|_| SecretsError::corrupt("version"))?;
    merge(&mut merged, patch, 0)?;
    let reply = append(call, txn, path, meta, &settings, &merged);
    wipe(&mut merged);
    reply
}

/// Refuses a write that does not follow the version it says it follows.
fn check_and_set(call: &Call<'_>, settings: &Settings, meta: Option<&Meta>) -> Result<()> {
    let none = Map::new();
    let options = match call.data.get("options") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(options)) => options,
        Some(_) => return Err(SecretsError::invalid("options must be an object")),
    };
    match integer(options, "cas")? {
        None if settings.cas_required || meta.is_some_and(|m| m.cas_required) => {
            Err(SecretsError::invalid("check-and-set parameter required for this call"))
        }
        None => Ok(()),
        Some(cas) if u64::try_from(cas).is_ok_and(|cas| cas == meta.map_or(0, Meta::current)) => Ok(()),
        Some(_) => Err(SecretsError::invalid("check-and-set parameter did not match the current version")),
    }
}

/// Adds a version and lets go of those that are too many.
fn append(call: &Call<'_>, txn: &mut Txn, path: &str, mut meta: Meta, mount: &Settings, data: &Value) -> Result<Reply> {
    let number = meta.current() + 1;
    if meta.versions.is_empty() {
        meta.oldest = number;
    }
    let version = Version(call.now.micros(), meta.ends(mount, call.now), false);
    meta.versions.push(version);
    meta.updated = call.now.micros();
    let too_many = meta.versions.len().saturating_sub(meta.keep(mount));
    let mut entries = txn.entries(call.space());
    for old in meta.oldest..meta.oldest + too_many as u64 {
        entries.delete(&place(path, old));
    }
    meta.versions.drain(..too_many);
    meta.oldest += too_many as u64;
    entries.put_json(&place(path, number), data)?;
    store(call, txn, path, &meta)?;
    Ok(Reply::open(json!({
        "created_time": time(version.0),
        "custom_metadata": meta.custom,
        "deletion_time": version.deletion_time(),
        "destroyed": false,
        "version": number,
    })))
}

/// JSON merge patch (RFC 7396). Depth is bounded by the parser's own limit; this one guards the stack all the same.
fn merge(target: &mut Value, patch: &Value, depth: usize) -> Result<()> {
    if depth > 128 {
        return Err(SecretsError::invalid("data is nested too deeply"));
    }
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return Ok(()) };
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.shift_remove(name)),
            value => merge(target.entry(name.clone()).or_insert(Value::Null), value, depth + 1)?,
        }
    }
    Ok(())
}

/// Overwrites every text in a JSON value.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(all) => all.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        _ => {}
    }
}

pub(super) async fn subkeys(call: &Call<'_>, txn: &mut Txn, path: &str) -> Result<Reply> {
    let depth = integer(call.data, "depth")?.unwrap_or(0);
    let depth = usize::try_from(depth).map_err(|_| SecretsError::invalid("depth must not be negative"))?;
    let (meta, number, version) = chosen(call, txn, path).await?;
    let about = meta.describe(number, version);
    if !version.is_readable(call.now) {
        return Ok(Reply::open(json!({ "subkeys": null, "metadata": about })).with_status(404));
    }
    let value = value(call, txn, path, number).await?;
    let mut data: Value = serde_json::from_slice(value.expose()).map_err(|_| SecretsError::corrupt("version"))?;
    let shape = shape(&data, if depth == 0 { usize::MAX } else { depth });
    wipe(&mut data);
    Ok(Reply::open(json!({ "subkeys": shape, "metadata": about })))
}

/// Names without values, down to a depth.
fn shape(value: &Value, depth: usize) -> Value {
    match value {
        Value::Object(map) if depth > 0 && !map.is_empty() => {
            Value::Object(map.iter().map(|(name, v)| (name.clone(), shape(v, depth - 1))).collect())
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_patch_follows_its_rfc() {
        // RFC 7396 appendix A.
        for (target, patch, expected) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let mut got = target.clone();
            merge(&mut got, &patch, 0).unwrap();
            assert_eq!(got, expected, "{target} patched with {patch}");
        }
    }

    #[test]
    fn a_shape_shows_no_value() {
        let value = json!({"a": {"b": {"c": "secret"}}, "d": [1], "e": {}});
        assert_eq!(shape(&value, usize::MAX), json!({"a": {"b": {"c": null}}, "d": null, "e": null}));
        assert_eq!(shape(&value, 1), json!({"a": null, "d": null, "e": null}));
    }
}
