#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::cell::Cell;

const JSON: Option<&[u8]> = Some(b"application/json; charset=utf-8");
const FORM: Option<&[u8]> = Some(b"multipart/form-data; boundary=b");

fn sent(task: Task, kind: Option<&[u8]>, body: &str) -> String {
    let call = TaskCall::parse(task, kind, body.as_bytes()).unwrap();
    String::from_utf8(call.rewrite(body.as_bytes(), "real").into_owned()).unwrap()
}

fn form(parts: &[(&str, &str)]) -> String {
    let part = |(name, content): &(&str, &str)| {
        let file = if *name == "file" || *name == "image[]" { "; filename=\"f\"" } else { "" };
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--b--\r\n"
}

#[test]
fn json_passes_but_for_the_models_name() {
    let body = r#" { "input" : ["a", "b"], "mod\u0065l" : "mine", "dimensions": 1.50 } "#;
    assert_eq!(sent(Task::Embeddings, JSON, body), body.replace("mine", "real"));
    assert_eq!(sent(Task::Embeddings, None, body), body.replace("mine", "real"));
}

#[test]
fn a_form_passes_but_for_the_models_name() {
    let body = form(&[("file", "RIFF\u{0}\r\nmine"), ("model", "mine"), ("prompt", "mine")]);
    let expect = form(&[("file", "RIFF\u{0}\r\nmine"), ("model", "real"), ("prompt", "mine")]);
    assert_eq!(sent(Task::Transcriptions, FORM, &body), expect);
    let call = TaskCall::parse(Task::Transcriptions, FORM, body.as_bytes()).unwrap();
    assert_eq!((call.model(), call.streams(), call.size().files, call.size().texts), ("mine", false, 1, 4));
    assert!(matches!(call.rewrite(body.as_bytes(), "mine"), Cow::Borrowed(_)));
}

#[test]
fn how_much_is_asked_for() {
    let of = |body: &str| TaskCall::parse(Task::Rerank, JSON, body.as_bytes()).unwrap();
    let call =
        of(r#"{"model":"m","query":"1234","documents":["a",{"text":"b"}],"n":3.0,"images":["a","b"],"mask":"c"}"#);
    assert_eq!(call.size(), Size { n: 3, characters: 0, query: 6, documents: 2, files: 3, texts: 0, elsewhere: true });
    let call = of(r#"{"model":"m","input":"h\u00e9 \"y\"","stream_format":"sse","n":null}"#);
    assert_eq!((call.size().characters, call.size().n, call.streams()), (6, 1, true));
    for (input, tokens) in [
        ("\"1\"", false),
        ("[\"1\"]", false),
        ("[1]", true),
        ("[[],[2,3]]", true),
        ("{}", false),
        ("[[\"1\"],{}]", false),
        ("[[[\"1\"]]]", true),
    ] {
        assert_eq!(of(&format!(r#"{{"model":"m","input":{input}}}"#)).is_of_tokens(), tokens, "{input}");
    }
    for (n, expect) in [("1", Some(1)), ("\"7\"", Some(7)), ("2.00", Some(2)), ("null", Some(1)), ("0", Some(1))]
        .into_iter()
        .chain(["2.5", "-4", "1e1", "true", "\"\"", "\"x\"", "[2]", "{}", "99999999999999999999"].map(|n| (n, None)))
    {
        let call = TaskCall::parse(Task::ImageGenerations, JSON, format!(r#"{{"model":"m","n":{n}}}"#).as_bytes());
        assert_eq!(call.map(|call| call.size().n), expect.ok_or(InvalidTask::Count), "{n}");
        let body = form(&[("model", "m"), ("n", n.trim_matches('"'))]);
        let call = TaskCall::parse(Task::ImageEdits, FORM, body.as_bytes()).map(|call| call.size().n);
        let expect = expect.filter(|_| n != "null");
        assert_eq!(call, expect.ok_or(InvalidTask::Count), "{n}");
    }
    let body = form(&[("image[]", "x"), ("image[]", "y"), ("n", " 4 "), ("model", "m"), ("stream", "True")]);
    let call = TaskCall::parse(Task::ImageEdits, FORM, body.as_bytes()).unwrap();
    assert_eq!((call.size().n, call.size().files, call.streams()), (4, 2, true));
}

thread_local! {
    /// Bytes of arrays that were looked through for numbers, of arrays within arrays again.
    pub(super) static READ: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn deep_arrays_are_not_read_once_for_every_level() {
    for levels in [3, 120] {
        let body =
            format!(r#"{{"model":"m","input":{}"{}"{}}}"#, "[".repeat(levels), "x".repeat(1 << 16), "]".repeat(levels));
        READ.set(0);
        assert!(TaskCall::parse(Task::Embeddings, JSON, body.as_bytes()).unwrap().is_of_tokens());
        let (read, most) = (READ.get(), 2 * body.len());
        assert!(read > 0 && read <= most, "{read} bytes of at most {most} for {levels} levels");
    }
}

#[test]
fn sound_that_is_not_in_the_body_has_no_bound() {
    let of = |kind, body: &str| TaskCall::parse(Task::Transcriptions, kind, body.as_bytes()).unwrap().size();
    let is_unbounded = |parts| of(FORM, &form(parts)).is_unbounded(Task::Transcriptions);
    assert!(!is_unbounded(&[("model", "m"), ("file", "RIFF"), ("prompt", "x")]));
    assert!(is_unbounded(&[("model", "m"), ("prompt", "x")]));
    assert!(is_unbounded(&[("model", "m"), ("url", "https://a.example/long.wav")]));
    assert!(is_unbounded(&[("model", "m"), ("file", "RIFF"), ("file_id", "f")]));
    assert!(of(JSON, r#"{"model":"m","file_url":"https://a.example/long.wav"}"#).is_unbounded(Task::Transcriptions));
    assert!(!of(JSON, r#"{"model":"m","input":"x"}"#).is_unbounded(Task::Speech));
}

#[test]
fn what_is_sent_calls_itself_what_it_is() {
    let of = |task, told: &str| content_type(task, Some(told.as_bytes())).into_owned();
    let told = "Multipart/Form-Data; charset=utf-8; boundary=\"b\"";
    assert_eq!(of(Task::ImageEdits, told), "multipart/form-data; boundary=b");
    assert_eq!(of(Task::ImageEdits, "application/json; charset=utf-7"), "application/json");
    assert_eq!(of(Task::Chat, told), "application/json");
    assert_eq!(content_type(Task::Speech, None), "application/json");
}

#[test]
fn what_a_provider_might_read_differently_is_refused() {
    use InvalidCall as C;
    let why = |task, kind, body: &str| TaskCall::parse(task, kind, body.as_bytes()).unwrap_err();
    let right = r#"{"model":"m"}"#;
    let kinds: [&[u8]; 4] =
        [b"application/x-www-form-urlencoded", b"text/plain", b"multipart/form-data; boundary=b", b"\xff"];
    for kind in kinds {
        assert_eq!(why(Task::Embeddings, Some(kind), right), InvalidTask::NotJsonType(Task::Embeddings));
    }
    let text: Option<&[u8]> = Some(b"text/plain");
    assert_eq!(why(Task::ImageEdits, text, right), InvalidTask::NotFormType(Task::ImageEdits));
    let bare: Option<&[u8]> = Some(b"multipart/form-data");
    assert_eq!(why(Task::ImageEdits, bare, right), InvalidForm::Boundary.into());
    assert_eq!(why(Task::ImageEdits, FORM, right), InvalidForm::Delimiters.into());
    let two: Option<&[u8]> = Some(b"multipart/form-data; boundary=b; boundary*=utf-8''c");
    assert_eq!(why(Task::ImageEdits, two, right), InvalidForm::Parameters.into());
    for (body, expect) in [
        (r#"{"model":"m","n":1,"n":9}"#, C::Duplicate("n")),
        (r#"{"model":"m","input":"","inp\u0075t":"longer"}"#, C::Duplicate("input")),
        (r#"{"model":"m","query":1,"query":1}"#, C::Duplicate("query")),
        (r#"{"model":"m","documents":[],"documents":[1]}"#, C::Duplicate("documents")),
        (r#"{"model":"m","model":"m"}"#, C::Duplicate("model")),
        (r#"{"input":"x"}"#, C::ModelMissing),
        ("[]", C::NotAnObject),
    ] {
        assert_eq!(why(Task::Embeddings, JSON, body), expect.into(), "{body}");
    }
    for (parts, expect) in [
        (&[("model", "a"), ("model", "a")][..], C::Duplicate("model")),
        (&[("model", "a"), ("n", "1"), ("n", "9")][..], C::Duplicate("n")),
        (&[("prompt", "a")][..], C::ModelMissing),
        (&[("model", "")][..], C::ModelNotAName),
        (&[("model", " a")][..], C::ModelNotAName),
        (&[("model", "a\r\nb")][..], C::ModelNotAName),
    ] {
        assert_eq!(why(Task::Transcriptions, FORM, &form(parts)), expect.into(), "{parts:?}");
    }
    let file = form(&[("model", "m")]).replace("name=\"model\"", "name=\"model\"; filename=\"m\"");
    assert_eq!(why(Task::Transcriptions, FORM, &file), C::ModelNotAName.into());
}

#[test]
fn the_texts_of_a_form_can_be_written_anew() {
    let body = form(&[("prompt", "I am \"Jo\"\n"), ("model", "mine"), ("file", "Jo"), ("language", "en")]);
    let call = TaskCall::parse(Task::Transcriptions, FORM, body.as_bytes()).unwrap();
    let texts = String::from_utf8(call.texts(body.as_bytes()).unwrap()).unwrap();
    assert!(texts.contains("Jo") && texts.contains("en") && !texts.contains("mine"), "{texts}");
    let changed = call.with_texts(body.as_bytes(), texts.replace("Jo", "[NAME]").as_bytes()).unwrap();
    let expect = form(&[("prompt", "I am \"[NAME]\"\n"), ("model", "mine"), ("file", "Jo"), ("language", "en")]);
    assert_eq!(String::from_utf8(changed).unwrap(), expect);
    assert_eq!(call.with_texts(body.as_bytes(), br#"{"messages":[]}"#), None);
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (task, kind) in [(Task::Rerank, JSON), (Task::ImageEdits, FORM)] {
            if let Ok(call) = TaskCall::parse(task, kind, &bytes) {
                let _ = call.rewrite(&bytes, "n");
                let _ = call.size().most(task, bytes.len() as u64);
            }
        }
    }

    /// A form whose model was written anew says the same to whoever reads it, but for the model.
    #[test]
    fn a_form_is_the_same_with_another_model(
        before in "[^\u{0}]{0,30}", after in "[^\u{0}]{0,30}", model in "[a-zA-Z0-9./:_-]{1,20}", new in "[a-zA-Z0-9./:_-]{1,40}",
    ) {
        prop_assume!(!before.contains("--b") && !after.contains("--b") && !model.contains("--b") && !new.contains("--b"));
        let body = form(&[("file", &before), ("model", &model), ("prompt", &after)]);
        let call = TaskCall::parse(Task::Translations, FORM, body.as_bytes()).unwrap();
        prop_assert_eq!(call.model(), &model);
        let sent = call.rewrite(body.as_bytes(), &new).into_owned();
        prop_assert_eq!(String::from_utf8(sent).unwrap(), form(&[("file", &before), ("model", &new), ("prompt", &after)]));
    }
}
