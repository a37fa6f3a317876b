//! What callers are told of their files and batches: what the provider said, with ids and names that are theirs.

use super::gemini;
use credentialflow_model::{
    Timestamp,
    objects::{ModelObject, ObjectFacts, ObjectKind, ObjectState},
};
use serde_json::{Map, Value, json};

/// What a provider says of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id there.
    pub id: String,
    /// Whether it is over.
    pub is_over: bool,
    /// The file with what became of its calls, by its id there.
    pub output: Option<String>,
    /// The file with those that failed.
    pub errors: Option<String>,
}

/// What the files are for that hold the calls of a batch, and those that hold what became of them.
pub const CALLS: &str = "batch";
/// As [`CALLS`].
pub const OUTPUT: &str = "batch_output";

/// How an id of ours is made from that of a batch for the file with its answers, or with its errors.
pub fn file_of(batch: &str, errors: bool) -> String {
    let own = batch.strip_prefix("batch_").unwrap_or(batch);
    format!("file-{own}-{}", if errors { "errors" } else { "output" })
}

/// A batch in OpenAI's form as its caller is told of it, and what it says. `None` where it is none.
pub fn batch(answer: &[u8], id: &str, input: &str, model: &str) -> Option<(String, Seen)> {
    let mut object = read(answer, "batch")?;
    let text = |object: &Map<String, Value>, name: &str| {
        object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    // Azure writes it with capitals at times.
    let status = text(&object, "status")?.to_ascii_lowercase();
    let seen = Seen {
        id: text(&object, "id").filter(|id| is_id(id))?,
        is_over: matches!(&*status, "failed" | "completed" | "expired" | "cancelled"),
        output: text(&object, "output_file_id"),
        errors: text(&object, "error_file_id"),
    };
    if ![&seen.output, &seen.errors].into_iter().flatten().all(|id| is_id(id)) {
        return None;
    }
    object.insert("id".into(), id.into());
    object.insert("status".into(), status.into());
    object.insert("input_file_id".into(), input.into());
    for (field, there, errors) in [("output_file_id", &seen.output, false), ("error_file_id", &seen.errors, true)] {
        if there.is_some() {
            object.insert(field.into(), file_of(id, errors).into());
        }
    }
    if object.get("model").is_some_and(Value::is_string) {
        object.insert("model".into(), model.into());
    }
    Some((Value::Object(object).to_string(), seen))
}

/// A batch in Anthropic's form, the same way. Its results are where it is.
pub fn message_batch(answer: &[u8], id: &str) -> Option<(String, Seen)> {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(answer) else { return None };
    if object.get("type")? != "message_batch" {
        return None;
    }
    let seen = Seen {
        id: object.get("id")?.as_str().filter(|id| is_id(id))?.to_owned(),
        is_over: object.get("processing_status")? == "ended",
        output: object.get("results_url").and_then(Value::as_str).map(str::to_owned),
        errors: None,
    };
    object.insert("id".into(), id.into());
    if seen.output.is_some() {
        object.insert("results_url".into(), format!("/v1/messages/batches/{id}/results").into());
    }
    Some((Value::Object(object).to_string(), seen))
}

/// One of the batches that a provider has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id there.
    pub id: String,
    /// What the provider says of it.
    pub told: String,
    /// The file with its calls, in OpenAI's form.
    pub input: Option<String>,
    /// How many calls it has, in Anthropic's.
    pub calls: Option<u64>,
    /// When it was made.
    pub made: Timestamp,
}

/// A page of the batches that a provider has, the newest first, and the id behind which it goes on. `None` where it is none.
pub fn listed(answer: &[u8], kind: ObjectKind) -> Option<(Vec<Listed>, Option<String>)> {
    if kind == ObjectKind::GeminiBatch {
        return gemini::listed(answer);
    }
    let Ok(Value::Object(page)) = serde_json::from_slice(answer) else { return None };
    let one = |batch: &Value| {
        let text = |name: &str| batch.get(name).and_then(Value::as_str).map(str::to_owned);
        let counts =
            batch.get("request_counts").and_then(Value::as_object).filter(|_| kind == ObjectKind::MessageBatch);
        Some(Listed {
            id: text("id").filter(|id| is_id(id))?,
            told: batch.to_string(),
            input: text("input_file_id"),
            calls: counts.map(|counts| counts.values().filter_map(Value::as_u64).sum()),
            made: at(batch.get("created_at")?)?,
        })
    };
    let all: Vec<Listed> = page.get("data")?.as_array()?.iter().map(one).collect::<Option<_>>()?;
    let goes_on = page.get("has_more").and_then(Value::as_bool).unwrap_or(false);
    let next = all.last().filter(|_| goes_on).map(|last| last.id.clone());
    Some((all, next))
}

/// What a provider says of a batch that is kept, as its caller is told of it. `None` where it is no such batch.
pub fn told(kept: &ModelObject, answer: &[u8]) -> Option<(String, Seen)> {
    match kept.kind {
        ObjectKind::MessageBatch => return message_batch(answer, &kept.id),
        ObjectKind::GeminiBatch => return gemini::batch(answer, &kept.id, &kept.facts.model),
        _ => {}
    }
    let before: Value = serde_json::from_str(&kept.body).ok()?;
    let input = before.get("input_file_id").and_then(Value::as_str).unwrap_or_default();
    batch(answer, &kept.id, input, &kept.facts.model)
}

/// The files that came from a batch, as they are kept.
pub fn files_of(kept: &ModelObject, seen: &Seen) -> Vec<ModelObject> {
    let file = |there: &Option<String>, errors: bool| {
        let id = file_of(&kept.id, errors);
        Some(ModelObject {
            body: output_file(&id, kept.made.micros() / 1_000_000, 0),
            id,
            kind: ObjectKind::File,
            application: kept.application.clone(),
            made: kept.made,
            state: ObjectState::There,
            purpose: OUTPUT.into(),
            upstream_id: there.clone()?,
            facts: ObjectFacts {
                calls: 0,
                most: None,
                holds: vec![],
                price: None,
                bill: None,
                gone: None,
                expires: None,
                ..kept.facts.clone()
            },
        })
    };
    let files = [file(&seen.output, false), file(&seen.errors, true)];
    files.into_iter().flatten().filter(|_| kept.kind == ObjectKind::Batch).collect()
}

/// A file that a provider took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// What its caller is told of it.
    pub told: String,
    /// Its id at its provider.
    pub id: String,
    /// When its provider forgets it, where it says so.
    pub expires: Option<Timestamp>,
}

/// A file as its provider tells of it, in the form of its kind. `None` where it is none.
pub fn file(answer: &[u8], kind: ObjectKind, id: &str) -> Option<Uploaded> {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(answer) else { return None };
    // OpenAI's objects say what they are in `object`, Anthropic's in `type`.
    let says = if kind == ObjectKind::MessageFile { "type" } else { "object" };
    if object.get(says)? != "file" {
        return None;
    }
    let there = object.insert("id".into(), id.into())?.as_str().filter(|id| is_id(id))?.to_owned();
    let expires = object.get("expires_at").and_then(at).filter(|at| at.micros() > 0);
    Some(Uploaded { told: Value::Object(object).to_string(), id: there, expires })
}

/// Whether a file was not ready when its provider last told of it, as those at Azure that are still imported.
pub fn is_pending(told: &str) -> bool {
    let told: Value = serde_json::from_str(told).unwrap_or_default();
    matches!(told.get("status").and_then(Value::as_str), Some("uploaded" | "pending" | "running"))
}

/// A point in time, in seconds or as a text; `None` where it is none that there can be, as with a server that tells of
/// nanoseconds.
fn at(told: &Value) -> Option<Timestamp> {
    match told {
        Value::String(text) => text.parse().ok(),
        _ => told.as_i64()?.checked_mul(1_000_000).map(Timestamp::from_micros),
    }
}

/// What is told of a file that was deleted.
pub fn deleted(kind: ObjectKind, id: &str) -> Value {
    match kind {
        ObjectKind::MessageBatch => json!({ "id": id, "type": "message_batch_deleted" }),
        ObjectKind::MessageFile => json!({ "id": id, "type": "file_deleted" }),
        ObjectKind::GeminiFile | ObjectKind::GeminiBatch => json!({}),
        ObjectKind::File | ObjectKind::Batch => json!({ "id": id, "object": "file", "deleted": true }),
    }
}

/// What is told of a file with the answers of a batch that nobody asked its provider for: `bytes` once they are known.
pub fn output_file(id: &str, made: i64, bytes: u64) -> String {
    json!({
        "id": id,
        "object": "file",
        "purpose": OUTPUT,
        "filename": format!("{id}.jsonl"),
        "bytes": bytes,
        "created_at": made,
        "status": "processed",
    })
    .to_string()
}

/// A list in OpenAI's form.
pub fn list(objects: &[(&str, &str)], more: bool) -> Vec<u8> {
    page(objects, more, "\"object\":\"list\",")
}

/// A list in Anthropic's form.
pub fn message_list(objects: &[(&str, &str)], more: bool) -> Vec<u8> {
    page(objects, more, "")
}

/// Each with its id and what is told of it, which is JSON.
fn page(objects: &[(&str, &str)], more: bool, first: &str) -> Vec<u8> {
    let data: Vec<&str> = objects.iter().map(|(_, body)| *body).collect();
    let id = |object: Option<&(&str, &str)>| object.map_or(Value::Null, |(id, _)| (*id).into());
    let (first_id, last_id) = (id(objects.first()), id(objects.last()));
    let data = data.join(",");
    format!("{{{first}\"data\":[{data}],\"first_id\":{first_id},\"last_id\":{last_id},\"has_more\":{more}}}")
        .into_bytes()
}

/// Whether a provider's id can stand in a path as it is. They are written into requests that carry a credential, so none may
/// end a request line, or lead elsewhere.
pub(super) fn is_id(id: &str) -> bool {
    id.len() <= 256
        && id.starts_with(|first: char| first.is_ascii_alphanumeric())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn read(answer: &[u8], kind: &str) -> Option<Map<String, Value>> {
    match serde_json::from_slice(answer) {
        Ok(Value::Object(object)) if object.get("object").is_some_and(|object| object == kind) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_and_names_are_the_callers() {
        let there = br#"{"id":"batch_X","object":"batch","endpoint":"/v1/embeddings","input_file_id":"file-X","status":"completed","output_file_id":"file-Y","error_file_id":null,"model":"gpt-5-2025","metadata":{"a":"b"}}"#;
        let (told, seen) = batch(there, "batch_1", "file-1", "small").unwrap();
        assert_eq!(seen, Seen { id: "batch_X".into(), is_over: true, output: Some("file-Y".into()), errors: None });
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            told,
            json!({
                "id": "batch_1", "object": "batch", "endpoint": "/v1/embeddings", "input_file_id": "file-1",
                "status": "completed", "output_file_id": "file-1-output", "error_file_id": null, "model": "small",
                "metadata": { "a": "b" }
            })
        );
        let runs =
            br#"{"id":"msgbatch_X","type":"message_batch","processing_status":"in_progress","results_url":null}"#;
        let (_, seen) = message_batch(runs, "msgbatch_1").unwrap();
        assert_eq!((seen.is_over, seen.output), (false, None));
        let over =
            br#"{"id":"msgbatch_X","type":"message_batch","processing_status":"ended","results_url":"https://x/y"}"#;
        let (told, seen) = message_batch(over, "msgbatch_1").unwrap();
        assert!(seen.is_over && told.contains("\"/v1/messages/batches/msgbatch_1/results\""), "{told}");
        let told = br#"{"id":"file-X","object":"file","bytes":3,"expires_at":7}"#;
        let Uploaded { told, id, expires } = file(told, ObjectKind::File, "file-1").unwrap();
        assert_eq!((id.as_str(), told.contains("file-1")), ("file-X", true));
        assert_eq!(expires, Some(Timestamp::from_secs(7)));
        for never in ["null", "0", "-7", "1.5", "true", "1763900000000000000", "18446744073709551615", "\"soon\""] {
            let told = format!(r#"{{"id":"file-X","object":"file","expires_at":{never}}}"#);
            assert_eq!(file(told.as_bytes(), ObjectKind::File, "file-1").unwrap().expires, None, "{never}");
        }
        assert_eq!(file(br#"{"id":"file-X","object":"error"}"#, ObjectKind::File, "f"), None);
        let told = br#"{"id":"file_X","type":"file","filename":"a.pdf","size_bytes":3,"downloadable":false}"#;
        let message = file(told, ObjectKind::MessageFile, "file_1").unwrap();
        assert_eq!((message.id.as_str(), message.expires), ("file_X", None));
        assert!(message.told.contains("\"file_1\"") && !message.told.contains("file_X"), "{}", message.told);
        assert_eq!(file(told, ObjectKind::File, "f"), None);
        assert!(
            batch(br#"{"object":"batch","id":"x"}"#, "b", "f", "m").is_none() && message_batch(b"[]", "m").is_none()
        );
    }

    #[test]
    fn azures_batches_are_over_however_their_state_is_written() {
        let there = |status: &str| {
            format!(
                r#"{{"id":"batch_e0a7ee28-82c4","object":"batch","endpoint":null,"status":"{status}","created_at":"2024-07-19T17:33:29.1619286+00:00","output_file_id":""}}"#
            )
        };
        for (status, over) in [("Validating", false), ("in_progress", false), ("Completed", true), ("Cancelled", true)]
        {
            let (told, seen) = batch(there(status).as_bytes(), "batch_1", "file-1", "small").unwrap();
            assert_eq!((seen.is_over, seen.output), (over, None), "{status}");
            assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["status"], status.to_lowercase());
        }
        let page = format!(r#"{{"data":[{}],"has_more":false}}"#, there("Completed"));
        let (all, _) = listed(page.as_bytes(), ObjectKind::Batch).unwrap();
        assert_eq!(all[0].made, Timestamp::from_micros(1_721_410_409_161_928));
        for (status, pending) in [("uploaded", true), ("pending", true), ("processed", false), ("error", false)] {
            assert_eq!(is_pending(&json!({ "object": "file", "status": status }).to_string()), pending, "{status}");
        }
        assert!(!is_pending("{}") && !is_pending(""));
    }

    #[test]
    fn ids_that_cannot_stand_in_a_path_are_none() {
        let long = "x".repeat(257);
        for id in ["", "..", "a b", "a/../b", "a?b", "a#b", "a%2fb", "ü", "a\r\nGET / HTTP/1.1", &*long] {
            let said = |mut answer: Value, field: &str| {
                answer[field] = id.into();
                answer.to_string().into_bytes()
            };
            let there = json!({ "object": "batch", "status": "completed", "id": "x" });
            assert_eq!(batch(&said(there.clone(), "id"), "b", "f", "m"), None, "{id:?}");
            if !id.is_empty() {
                assert_eq!(batch(&said(there.clone(), "output_file_id"), "b", "f", "m"), None, "{id:?}");
                assert_eq!(batch(&said(there.clone(), "error_file_id"), "b", "f", "m"), None, "{id:?}");
            }
            assert_eq!(file(&said(json!({ "object": "file" }), "id"), ObjectKind::File, "f"), None, "{id:?}");
            assert_eq!(file(&said(json!({ "type": "file" }), "id"), ObjectKind::MessageFile, "f"), None, "{id:?}");
            let there = json!({ "type": "message_batch", "processing_status": "ended" });
            assert_eq!(message_batch(&said(there, "id"), "m"), None, "{id:?}");
        }
        assert!(file(br#"{"id":"file-A_b.9","object":"file"}"#, ObjectKind::File, "f").is_some());
    }

    #[test]
    fn what_a_provider_has_is_read() {
        let page = br#"{"object":"list","data":[{"id":"batch_X","object":"batch","input_file_id":"file-X","created_at":12,"request_counts":{"total":3}}],"has_more":true}"#;
        let (all, next) = listed(page, ObjectKind::Batch).unwrap();
        let told = (all[0].id.as_str(), all[0].input.as_deref(), all[0].calls, all[0].made);
        assert_eq!(told, ("batch_X", Some("file-X"), None, Timestamp::from_secs(12)));
        assert_eq!((all.len(), next.as_deref()), (1, Some("batch_X")));
        assert!(serde_json::from_str::<Value>(&all[0].told).unwrap()["object"] == "batch");
        let page = br#"{"data":[{"id":"msgbatch_X","created_at":"1970-01-01T00:00:12Z","request_counts":{"processing":1,"succeeded":2}}],"has_more":false}"#;
        let (all, next) = listed(page, ObjectKind::MessageBatch).unwrap();
        assert_eq!((all[0].calls, all[0].made, next), (Some(3), Timestamp::from_secs(12), None));
        assert_eq!(listed(br#"{"data":[]}"#, ObjectKind::Batch), Some((vec![], None)));
        for none in [&b"[]"[..], b"{}", br#"{"data":[{"id":"../x","created_at":1}]}"#, br#"{"data":[{"id":"x"}]}"#] {
            assert_eq!(listed(none, ObjectKind::Batch), None);
        }
    }

    #[test]
    fn lists_are_pages() {
        let two: Value = serde_json::from_slice(&list(&[("a", "{\"id\":\"a\"}"), ("b", "{}")], true)).unwrap();
        assert_eq!(
            two,
            json!({ "object": "list", "data": [{ "id": "a" }, {}], "first_id": "a", "last_id": "b", "has_more": true })
        );
        let none: Value = serde_json::from_slice(&message_list(&[], false)).unwrap();
        assert_eq!(none, json!({ "data": [], "first_id": null, "last_id": null, "has_more": false }));
    }
}
