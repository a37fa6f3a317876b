//! Batches in Google's form: the calls stand in the call that makes the batch, and what became of them in what is told of it
//! when it is over. Reference: <https://ai.google.dev/api/batch-api>.

use super::{
    call::InvalidLine,
    find,
    object::{Listed, Seen, is_id},
};
use crate::{
    gemini::request::{GeminiCall, full_name},
    guardrail::{answer::Stop, text::Unreadable},
    openai::responses::Each,
};
use credentialflow_model::Timestamp;
use serde::de::Deserializer;
use serde_json::{Map, Value, json, value::RawValue};
use std::ops::Range;

/// The folder in which batches are named.
const FOLDER: &str = "batches/";
/// What stands behind the model in the path that makes a batch.
const ACTION: &str = "batchGenerateContent";
/// Bytes of what is told of a batch at the most, with what became of its calls. The calls have 20 MB at Google.
pub const MOST_ANSWER: usize = 64 << 20;

/// The model of which the last segment of a path asks for a batch, as in `gemini-2.5-flash:batchGenerateContent`.
pub fn asked(segment: &str) -> Option<&str> {
    let model = segment.strip_suffix(ACTION)?;
    let model = model.strip_suffix(':').or_else(|| model.strip_suffix("%3A")).or_else(|| model.strip_suffix("%3a"))?;
    (!model.is_empty()).then_some(model)
}

/// Where a batch of a provider's model is asked for, below its base URL.
pub fn path(provider_model: &str) -> String {
    let mut path = crate::gemini::request::place(provider_model);
    path.push(':');
    path.push_str(ACTION);
    path
}

/// Why something asks for no batch. The texts are safe to show: they hold nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBatch {
    /// It has something else than what batches are made of here.
    #[error(
        "a batch is `batch` with `inputConfig.requests.requests`, and may have `displayName`, `priority` and `model`; each \
         stands once, and nothing else does"
    )]
    Fields,
    /// Its calls are in a file.
    #[error("the calls of a batch stand in the call that makes it, not in a file, which nobody here could look into")]
    InFile,
    /// The calls are no list.
    #[error("`requests` is not a list")]
    NotAList,
    /// It names another model than the path.
    #[error("it names another model than its path")]
    AnotherModel,
}

/// What asks for a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<'t> {
    /// Its calls, one by one.
    pub requests: Vec<&'t str>,
    /// What is said of it beside them.
    said: Vec<(&'static str, &'t str)>,
}

impl<'t> Wanted<'t> {
    /// Reads what asks for a batch of this model.
    ///
    /// # Errors
    /// [`InvalidBatch`] when it does not, or not as it can be looked at.
    pub fn read(body: &'t str, model: &str) -> Result<Self, InvalidBatch> {
        let [batch] = fields(body, ["batch"])?;
        let batch = batch.ok_or(InvalidBatch::Fields)?;
        let [name, input, priority, named] = fields(batch, ["displayName", "inputConfig", "priority", "model"])?;
        let named = named.map(serde_json::from_str::<String>).transpose().map_err(|_| InvalidBatch::Fields)?;
        if named.is_some_and(|named| named.strip_prefix("models/").unwrap_or(&named) != model) {
            return Err(InvalidBatch::AnotherModel);
        }
        let [requests, file] = fields(input.ok_or(InvalidBatch::Fields)?, ["requests", "fileName"])?;
        if file.is_some() {
            return Err(InvalidBatch::InFile);
        }
        let [all] = fields(requests.ok_or(InvalidBatch::Fields)?, ["requests"])?;
        let requests = items(all.ok_or(InvalidBatch::Fields)?).ok_or(InvalidBatch::NotAList)?;
        let said = [("displayName", name), ("priority", priority)];
        Ok(Self { requests, said: said.into_iter().filter_map(|(field, value)| Some((field, value?))).collect() })
    }

    /// Writes it anew up to its first call, so that its provider reads what was read here.
    pub fn begin(&self) -> String {
        let said: String = self.said.iter().map(|(field, value)| format!("\"{field}\":{value},")).collect();
        format!("{{\"batch\":{{{said}\"inputConfig\":{{\"requests\":{{\"requests\":[")
    }

    /// What follows behind its last call.
    pub const END: &'static str = "]}}}}";
}

/// One call of a batch: where its body is, and where the model is named in that.
pub(super) fn call(text: &str, model: &str) -> Result<(Range<usize>, GeminiCall), InvalidLine> {
    const FIELDS: &str = "`request` and `metadata`";
    let [request, _] = fields(text, ["request", "metadata"]).map_err(|_| InvalidLine::Fields(FIELDS))?;
    let body = request.ok_or(InvalidLine::Fields(FIELDS))?;
    Ok((super::place(text, body), GeminiCall::parse(body.as_bytes(), model)?))
}

/// The values of these fields of an object, which has none beside them and each once. Google's servers read names as they
/// stand here and with underscores.
fn fields<'j, const N: usize>(json: &'j str, names: [&str; N]) -> Result<[Option<&'j str>; N], InvalidBatch> {
    let (mut found, mut odd) = ([None; N], false);
    let each = Each(|name: &str, value: &'j RawValue| match names.iter().position(|one| is_named(one, name)) {
        Some(at) => odd |= found[at].replace(value.get()).is_some(),
        None => odd = true,
    });
    let mut reader = serde_json::Deserializer::from_str(json);
    let is_object = json.trim_ascii_start().starts_with('{');
    reader.deserialize_map(each).and_then(|()| reader.end()).map_err(|_| InvalidBatch::Fields)?;
    if odd || !is_object {
        return Err(InvalidBatch::Fields);
    }
    Ok(found.map(|value: Option<&str>| value.filter(|value| *value != "null")))
}

/// Whether a field has this name, as in `displayName`, also written `display_name`.
fn is_named(name: &str, field: &str) -> bool {
    let mut letters = field.chars();
    let same = name.chars().all(|letter| match letters.next() {
        Some('_') if letter.is_ascii_uppercase() => letters.next() == Some(letter.to_ascii_lowercase()),
        other => other == Some(letter),
    });
    same && letters.next().is_none()
}

/// The items of a list.
fn items(json: &str) -> Option<Vec<&str>> {
    let mut all = Vec::new();
    let is_list = json.trim_ascii_start().starts_with('[');
    let mut reader = serde_json::Deserializer::from_str(json);
    reader.deserialize_seq(Each(|_: &str, one| all.push(RawValue::get(one)))).ok()?;
    is_list.then_some(all)
}

/// What its provider says of a batch.
struct Operation<'j> {
    /// Its own part of its name.
    id: String,
    /// What is told of it, without what became of its calls.
    told: Map<String, Value>,
    is_over: bool,
    /// Whether it came to its end, so that what became of its calls is told.
    succeeded: bool,
    /// What became of its calls, by the place where it stands.
    results: [Option<&'j str>; 2],
}

impl<'j> Operation<'j> {
    fn read(answer: &'j str) -> Option<Self> {
        let (mut top, mut results) = (Map::new(), [None; 2]);
        let mut metadata = Map::new();
        each_field(answer, |name, value| match name {
            "response" => results[0] = Some(value),
            "metadata" => {
                each_field(value, |name, value| match name {
                    "output" => results[1] = Some(value),
                    _ => {
                        metadata.insert(name.into(), serde_json::from_str(value).unwrap_or_default());
                    }
                });
            }
            _ => {
                top.insert(name.into(), serde_json::from_str(value).unwrap_or_default());
            }
        })?;
        let id = top.get("name")?.as_str()?.strip_prefix(FOLDER).filter(|id| is_id(id))?.to_owned();
        // `BATCH_STATE_…`, and `JOB_STATE_…` in older answers.
        let state =
            metadata.get("state").and_then(Value::as_str).and_then(|state| Some(state.split_once("_STATE_")?.1));
        let is_over = matches!(state, Some("SUCCEEDED" | "FAILED" | "CANCELLED" | "EXPIRED"))
            || top.get("done").is_some_and(|done| done == true);
        let succeeded = match state {
            Some(state) => state == "SUCCEEDED",
            None => !top.contains_key("error"),
        };
        top.insert("metadata".into(), metadata.into());
        let list = |value: Option<&'j str>| {
            let list = find(value?, &["inlinedResponses", "inlinedResponses"])?.get();
            (list != "null").then_some(list)
        };
        Some(Self { id, told: top, is_over, succeeded, results: results.map(list) })
    }

    /// What became of the calls, one by one.
    fn results(&self) -> Option<Vec<&'j str>> {
        items(self.results.into_iter().flatten().next()?)
    }

    /// With the name that its caller knows, and the caller's name of the model.
    fn named(mut self, id: &str, model: &str) -> Map<String, Value> {
        self.told.insert("name".into(), id.into());
        if let Some(metadata) = self.told.get_mut("metadata").and_then(Value::as_object_mut) {
            // The calls themselves, should they ever be repeated, are named as their provider names them.
            metadata.remove("inputConfig");
            if metadata.contains_key("name") {
                metadata.insert("name".into(), id.into());
            }
            if metadata.contains_key("model") {
                metadata.insert("model".into(), full_name(model).into());
            }
        }
        self.told
    }
}

/// Tells the fields of an object; `None` where it is none.
fn each_field<'j>(json: &'j str, mut tell: impl FnMut(&str, &'j str)) -> Option<()> {
    let mut reader = serde_json::Deserializer::from_str(json);
    reader.deserialize_map(Each(|name: &str, value: &'j RawValue| tell(name, value.get()))).ok()?;
    Some(())
}

/// A batch as it is kept, without what became of its calls, and what its provider says of it. `None` where it is none.
pub fn batch(answer: &[u8], id: &str, model: &str) -> Option<(String, Seen)> {
    let operation = Operation::read(std::str::from_utf8(answer).ok()?)?;
    let seen = Seen { id: operation.id.clone(), is_over: operation.is_over, output: None, errors: None };
    Some((Value::Object(operation.named(id, model)).to_string(), seen))
}

/// What became of the calls of a batch that is over, one by one; `None` where its provider should tell and does not.
pub fn results(answer: &str) -> Option<Vec<&str>> {
    let operation = Operation::read(answer)?;
    match operation.results() {
        None if !operation.succeeded => Some(Vec::new()),
        results => results,
    }
}

/// A batch as its caller gets it: with what became of its calls, each as `write` gives it.
pub fn answered(answer: &str, id: &str, model: &str, mut write: impl FnMut(&str) -> String) -> Option<String> {
    let operation = Operation::read(answer)?;
    let results: Option<String> = operation.results().map(|all| {
        let all: Vec<String> = all.into_iter().map(&mut write).collect();
        format!("{{\"inlinedResponses\":{{\"inlinedResponses\":[{}]}}}}", all.join(","))
    });
    let places = operation.results.map(|place| place.is_some());
    let told = operation.named(id, model);
    let Some(results) = results else { return Some(Value::Object(told).to_string()) };
    let mut written = String::with_capacity(2 * results.len() + 1024);
    for (name, value) in &told {
        written.push_str(if written.is_empty() { "{" } else { "," });
        let value = value.to_string();
        let value = match value.strip_suffix('}').filter(|_| name == "metadata" && places[1]) {
            Some(rest) => format!("{rest}{}\"output\":{results}}}", if rest == "{" { "" } else { "," }),
            None => value,
        };
        written.push_str(&format!("{}:{value}", json!(name)));
    }
    if places[0] {
        written.push_str(&format!(",\"response\":{results}"));
    }
    written.push('}');
    Some(written)
}

/// What became of a call, of which `judge` has looked at the answer and may have changed it.
///
/// # Errors
/// What `judge` says, and that nobody can tell whether there is an answer.
pub fn judged(result: &str, judge: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, Stop>) -> Result<String, Stop> {
    let Some(answer) = find(result, &["response"]).map(RawValue::get).filter(|answer| *answer != "null") else {
        return match find(result, &["error"]) {
            Some(_) => Ok(result.to_owned()),
            None => Err(Unreadable::Json.into()),
        };
    };
    let judged = String::from_utf8(judge(answer.as_bytes().to_vec())?).map_err(|_| Unreadable::Json)?;
    Ok(super::spliced(result, super::place(result, answer), &judged))
}

/// In the place of an answer that nobody may have, with the reason.
pub fn withheld(result: &str, why: &str) -> String {
    let metadata = find(result, &["metadata"]).and_then(|value| serde_json::from_str::<Value>(value.get()).ok());
    let mut written = json!({ "error": { "code": 9, "message": why } });
    if let Some(metadata) = metadata.filter(Value::is_object) {
        written["metadata"] = metadata;
    }
    written.to_string()
}

/// A page of the batches that a provider has, and where the next one begins. `None` where it is none.
pub fn listed(answer: &[u8]) -> Option<(Vec<Listed>, Option<String>)> {
    let Ok(Value::Object(page)) = serde_json::from_slice(answer) else { return None };
    let one = |told: &Value| {
        let metadata = told.get("metadata")?;
        let made: Timestamp = metadata.get("createTime")?.as_str()?.parse().ok()?;
        // A number of 64 bits is a text in Google's JSON.
        let count = metadata.get("batchStats").and_then(|stats| stats.get("requestCount"));
        let calls = count.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
        let id = told.get("name")?.as_str()?.strip_prefix(FOLDER).filter(|id| is_id(id))?.to_owned();
        Some(Listed { id, told: String::new(), input: None, calls, made })
    };
    let all = match page.get("operations") {
        None => Vec::new(),
        Some(all) => all.as_array()?.iter().map(one).collect::<Option<_>>()?,
    };
    let plain = |token: &&str| token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-=~".contains(&b));
    let next = match page.get("nextPageToken").and_then(Value::as_str).filter(|token| !token.is_empty()) {
        None => None,
        Some(token) => Some(Some(token).filter(plain)?.to_owned()),
    };
    Some((all, next))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const MADE: &str = r#"{"batch":{"display_name":"nightly","input_config":{"requests":{"requests":[{"request":{"contents":[]},"metadata":{"key":"a"}},{"request":{"model":"models/mine","contents":[]}}]}}}}"#;
    const OVER: &str = r#"{"name":"batches/There9","metadata":{"@type":"t","name":"batches/There9","model":"models/gemini-real","state":"BATCH_STATE_SUCCEEDED","createTime":"2026-11-23T00:00:00Z","output":{"inlinedResponses":{"inlinedResponses":[{"response":{"candidates":[],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4,"totalTokenCount":7}},"metadata":{"key":"a"}},{"error":{"code":13,"message":"no"}}]}}},"done":true,"response":{"@type":"t","inlinedResponses":{"inlinedResponses":[{"response":{"candidates":[],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4,"totalTokenCount":7}},"metadata":{"key":"a"}},{"error":{"code":13,"message":"no"}}]}}}"#;

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn paths_name_the_model() {
        assert_eq!(asked("small:batchGenerateContent"), Some("small"));
        assert_eq!(asked("small%3AbatchGenerateContent"), Some("small"));
        for other in
            [":batchGenerateContent", "small:generateContent", "batchGenerateContent", "smallbatchGenerateContent"]
        {
            assert_eq!(asked(other), None, "{other}");
        }
        assert_eq!(path("gemini-2.5-flash"), "/models/gemini-2.5-flash:batchGenerateContent");
        assert_eq!(path("tunedModels/a b"), "/tunedModels/a%20b:batchGenerateContent");
    }

    #[test]
    fn what_asks_for_a_batch_is_written_anew() {
        for text in
            [MADE.to_owned(), MADE.replace("display_name", "displayName").replace("input_config", "inputConfig")]
        {
            let wanted = Wanted::read(&text, "mine").unwrap();
            let written = format!("{}{}{}", wanted.begin(), wanted.requests.join(","), Wanted::END);
            let mut expect =
                parsed(&text.replace("display_name", "displayName").replace("input_config", "inputConfig"));
            assert_eq!(parsed(&written), expect.take());
            let (at, call) = call(wanted.requests[1], "mine").unwrap();
            let body = &wanted.requests[1][at];
            let sent = String::from_utf8(call.rewrite(body.as_bytes(), "gemini-real").into_owned()).unwrap();
            assert_eq!(sent, r#"{"model":"models/gemini-real","contents":[]}"#);
        }
        let one =
            |batch: &str| Wanted::read(&format!("{{\"batch\":{batch}}}"), "mine").map(|wanted| wanted.requests.len());
        assert_eq!(one(r#"{"inputConfig":{"requests":{"requests":[]}},"model":"models/mine","priority":"3"}"#), Ok(0));
        let input = r#""inputConfig":{"requests":{"requests":[]}}"#;
        for (batch, why) in [
            ("{}".into(), InvalidBatch::Fields),
            ("[]".into(), InvalidBatch::Fields),
            (format!("{{{input},\"model\":\"models/other\"}}"), InvalidBatch::AnotherModel),
            (format!("{{{input},\"model\":7}}"), InvalidBatch::Fields),
            (format!("{{{input},\"webhookConfig\":{{}}}}"), InvalidBatch::Fields),
            (format!("{{{input},\"output\":{{}}}}"), InvalidBatch::Fields),
            (format!("{{{input},\"input_config\":{{\"fileName\":\"files/a\"}}}}"), InvalidBatch::Fields),
            (format!("{{{input},{input}}}"), InvalidBatch::Fields),
            (r#"{"inputConfig":{"fileName":"files/a"}}"#.into(), InvalidBatch::InFile),
            (r#"{"inputConfig":{"file_name":"files/a"}}"#.into(), InvalidBatch::InFile),
            (r#"{"inputConfig":{"requests":{"requests":{}}}}"#.into(), InvalidBatch::NotAList),
            (r#"{"inputConfig":{"requests":[]}}"#.into(), InvalidBatch::Fields),
        ] {
            assert_eq!(one(&batch), Err(why), "{batch}");
        }
        assert_eq!(Wanted::read("{\"batch\":{}} x", "mine"), Err(InvalidBatch::Fields));
        for (text, good) in [
            (r#"{"request":{"contents":[]}}"#, true),
            (r#"{"request":{"contents":[]},"request":{}}"#, false),
            (r#"{"request":{"model":"other"}}"#, false),
            (r#"{"request":{},"key":"a"}"#, false),
            (r#"{"metadata":{}}"#, false),
            (r#"{"request":[]}"#, false),
            (r#"[{"request":{}}]"#, false),
        ] {
            assert_eq!(call(text, "mine").is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_batch_is_kept_without_its_answers_and_told_with_them() {
        let (kept, seen) = batch(OVER.as_bytes(), "batches/0a", "small").unwrap();
        assert_eq!((seen.id.as_str(), seen.is_over), ("There9", true));
        assert!(!kept.contains("There9") && !kept.contains("gemini-real") && !kept.contains("candidates"), "{kept}");
        assert_eq!(parsed(&kept)["metadata"]["model"], "models/small");
        let told = answered(OVER, "batches/0a", "small", |one| one.replace("[]", "[1]")).unwrap();
        let told = parsed(&told);
        assert_eq!((&told["name"], &told["metadata"]["name"]), (&json!("batches/0a"), &json!("batches/0a")));
        for list in [&told["metadata"]["output"], &told["response"]] {
            let list = &list["inlinedResponses"]["inlinedResponses"];
            assert_eq!((&list[0]["response"]["candidates"], &list[1]["error"]["code"]), (&json!([1]), &json!(13)));
        }
        let runs = OVER.replace("SUCCEEDED", "RUNNING").replace("\"done\":true,", "");
        assert!(!batch(runs.as_bytes(), "batches/0a", "small").unwrap().1.is_over);
        let bare = br#"{"name":"batches/x","metadata":{"state":"BATCH_STATE_PENDING"}}"#;
        let told = answered(std::str::from_utf8(bare).unwrap(), "batches/0a", "small", str::to_owned).unwrap();
        assert_eq!(parsed(&told), json!({"name": "batches/0a", "metadata": {"state": "BATCH_STATE_PENDING"}}));
        for none in ["{}", "[]", "", r#"{"name":"batches/../x"}"#, r#"{"name":"files/x"}"#, r#"{"name":"batches/a b"}"#]
        {
            assert!(batch(none.as_bytes(), "batches/0a", "small").is_none(), "{none}");
        }
    }

    #[test]
    fn what_became_of_the_calls_is_told_once() {
        assert_eq!(results(OVER).unwrap().len(), 2);
        let failed = r#"{"name":"batches/x","metadata":{"state":"BATCH_STATE_FAILED"},"done":true,"error":{"code":3}}"#;
        assert_eq!(results(failed), Some(vec![]));
        let silent = r#"{"name":"batches/x","metadata":{"state":"BATCH_STATE_SUCCEEDED"},"done":true}"#;
        assert_eq!(results(silent), None, "nobody knows what they cost");
    }

    #[test]
    fn answers_are_judged_or_withheld() {
        let one = r#"{"response":{"candidates":[]},"metadata":{"key":"a"}}"#;
        let judge = |body: Vec<u8>| Ok(String::from_utf8(body).unwrap().replace("[]", "[1]").into_bytes());
        assert_eq!(judged(one, judge), Ok(one.replace("[]", "[1]")));
        let error = r#"{"error":{"code":3},"metadata":{"key":"a"}}"#;
        assert_eq!(judged(error, |_| Err(Unreadable::Json.into())), Ok(error.to_owned()));
        for odd in ["{}", "[]", "x", r#"{"other":{}}"#] {
            assert!(judged(odd, Ok).is_err(), "{odd}");
        }
        let told = parsed(&withheld(one, "no \"x\""));
        assert_eq!(told, json!({"error": {"code": 9, "message": "no \"x\""}, "metadata": {"key": "a"}}));
    }

    #[test]
    fn what_a_provider_has_is_read() {
        let page = r#"{"operations":[{"name":"batches/x","metadata":{"createTime":"1970-01-01T00:00:12.5Z","batchStats":{"requestCount":"3"}}}],"nextPageToken":"t-1"}"#;
        let (all, next) = listed(page.as_bytes()).unwrap();
        assert_eq!((all[0].id.as_str(), all[0].calls, all[0].made.micros()), ("x", Some(3), 12_500_000));
        assert_eq!((next.as_deref(), listed(b"{}")), (Some("t-1"), Some((vec![], None))));
        for none in ["[]", r#"{"operations":[{"name":"batches/x"}]}"#, r#"{"nextPageToken":"a b"}"#] {
            assert_eq!(listed(none.as_bytes()), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,200}") {
            let _ = Wanted::read(&text, "m");
            let _ = call(&text, "m");
            let _ = batch(text.as_bytes(), "batches/a", "m");
            let _ = answered(&text, "batches/a", "m", str::to_owned);
            let _ = judged(&text, Ok);
            withheld(&text, "w");
            listed(text.as_bytes());
        }
    }
}
