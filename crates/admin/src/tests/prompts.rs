//! Prompts: versions that stay, and labels that move only to what passed its tests.

use super::*;
use crate::ports::{BoxFuture, ModelCalls};
use credentialflow_model::SecretValue;

const KEY: &str = "cfk_live_of-whoever-tests";

/// Answers with the value of the variable `text`, but for keys that it does not know.
#[derive(Debug)]
struct Echo;

impl ModelCalls for Echo {
    fn pass(&self) -> &str {
        "of-this-process"
    }

    fn chat<'a>(&'a self, key: &'a SecretValue, body: Vec<u8>) -> BoxFuture<'a, Result<(u16, Vec<u8>), String>> {
        Box::pin(async move {
            if key.expose() != KEY.as_bytes() {
                return Ok((401, br#"{"error":{"message":"a valid credential is required"}}"#.to_vec()));
            }
            let call: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(
                (&call["prompt"]["id"], &call["prompt"]["test"]),
                (&json!("sentiment"), &json!("of-this-process"))
            );
            let text = format!(
                "v{} {}",
                call["prompt"]["version"].as_str().unwrap(),
                call["prompt"]["variables"]["text"].as_str().unwrap()
            );
            let answer = json!({ "choices": [{ "message": { "content": text } }] });
            Ok((200, answer.to_string().into_bytes()))
        })
    }
}

/// A file with these versions, labels and what a test expects of the answer.
fn file(versions: &[(u32, &str)], labels: &str, expects: &str) -> String {
    let versions =
        versions.iter().map(|(n, text)| format!("      - {{ version: {n}, system: '{text} {{{{text}}}}' }}\n"));
    format!(
        "models:
  - {{ name: m, targets: [{{ provider: sandbox, model: sandbox-chat }}] }}
prompts:
  - name: sentiment
    model: m
    variables: {{ text: {{ type: string }} }}
    versions:
{}{labels}
    tests:
      - {{ name: works, variables: {{ text: fine }}, checks: [{{ contains: '{expects}' }}] }}
",
        versions.collect::<String>()
    )
}

async fn run(control: &Control, version: u32, key: &str) -> Value {
    let path = format!("/api/v1/prompts/sentiment/versions/{version}/test");
    control.post(&path, json!({ "key": key })).await.expect(200).json()
}

async fn labels(control: &Control) -> Value {
    control.get("/api/v1/prompts/sentiment").await.expect(200).json()["spec"]["labels"].clone()
}

/// The codes and places of what is refused.
fn problems(answer: &Answer) -> Vec<(String, String)> {
    let problems = answer.json()["problems"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    problems.iter().map(|problem| (text(&problem["code"]), text(&problem["path"]))).collect()
}

fn one(code: &str, path: &str) -> Vec<(String, String)> {
    vec![(code.to_owned(), path.to_owned())]
}

#[tokio::test]
async fn labels_move_only_to_versions_that_passed_the_present_tests() {
    let control = Control::start_with(|settings| settings.calls = Some(Arc::new(Echo))).await;
    let first = [(1, "a")];
    let refused = control.apply(&file(&first, "    labels: { production: 1 }", "v1 fine"), json!({})).await;
    assert_eq!(problems(&refused), one("tests_not_passed", "prompts[0].labels.production"));
    assert_eq!(refused.json()["problems"][0]["at"]["line"], 9, "{}", refused.text);
    control.apply(&file(&first, "", "v1 fine"), json!({})).await.expect(200);

    let promote =
        async |version: u32| control.post("/api/v1/prompts/sentiment/promote", json!({ "version": version })).await;
    assert_eq!(problems(&promote(1).await), one("tests_not_passed", "labels.production"));
    let failed = run(&control, 1, "cfk_other").await;
    assert_eq!(
        (&failed["passed"], &failed["tests"][0]["failed"][0]),
        (&json!(false), &json!("the call was answered with status 401: a valid credential is required"))
    );
    assert_eq!(promote(1).await.status, 422, "it failed");
    let passed = run(&control, 1, KEY).await;
    assert_eq!(
        (&passed["passed"], &passed["run"], &passed["tests"][0]["answer"]),
        (&json!(true), &json!(2), &json!("v1 fine"))
    );
    let because = |reason: &str| json!({ "version": 1, "reason": reason });
    control.post("/api/v1/prompts/sentiment/promote", because("two\nlines")).await.expect(400);
    let promoted = control.post("/api/v1/prompts/sentiment/promote", because("it is better")).await.expect(200);
    assert_eq!(promoted.json()["spec"]["labels"], json!({ "production": 1 }));
    assert_eq!(promote(9).await.status, 422, "there is no such version");

    // A file that says nothing of labels leaves them alone.
    let plan = json!({ "documents": [{ "file": "f.yaml", "text": file(&first, "", "v1 fine") }] });
    assert_eq!(control.post("/api/v1/config/plan", plan).await.expect(200).json()["changes"], json!([]));
    control.apply(&file(&[(1, "a"), (2, "b")], "", "v1 fine"), json!({})).await.expect(200);
    assert_eq!(labels(&control).await, json!({ "production": 1 }));

    // The second version answers something that the tests do not expect.
    let test = run(&control, 2, KEY).await["tests"][0].clone();
    assert_eq!(test["failed"], json!(["it does not contain \"v1 fine\""]));
    assert_eq!(test["checks"], json!([{ "expected": "contains \"v1 fine\"", "passed": false }]));
    assert_eq!(promote(2).await.status, 422);
    let both = [(1, "a"), (2, "b")];
    let by_file = control.apply(&file(&both, "    labels: { production: 2 }", "v1 fine"), json!({})).await;
    assert_eq!(problems(&by_file), one("tests_not_passed", "prompts[0].labels.production"));
    // With other tests it is another matter, and what passed before counts for nothing.
    control.apply(&file(&both, "", "fine"), json!({})).await.expect(200);
    assert_eq!(promote(2).await.status, 422, "they were not run");
    run(&control, 2, KEY).await;
    control.apply(&file(&both, "    labels: { production: 2 }", "fine"), json!({})).await.expect(200);
    assert_eq!(promote(1).await.status, 422, "also on the way back");
    run(&control, 1, KEY).await;
    promote(1).await.expect(200);
    assert_eq!(labels(&control).await, json!({ "production": 1 }));

    let runs = control.get("/api/v1/prompts/sentiment/runs?version=1").await.expect(200).json();
    let told: Vec<_> =
        runs["items"].as_array().unwrap().iter().map(|run| (run["run"].clone(), run["present"].clone())).collect();
    assert_eq!(told, [(json!(3), json!(true)), (json!(2), json!(false)), (json!(1), json!(false))]);
    let audit = control.get("/api/v1/audit?after=0").await.expect(200);
    assert!(!audit.text.contains(KEY), "the key is not kept");
    let audit = audit.json();
    let moved = audit["items"].as_array().unwrap().iter().filter(|event| event["action"] == "prompt.label");
    let moved: Vec<_> =
        moved.map(|event| (event["detail"]["from"].clone(), event["detail"]["version"].clone())).collect();
    assert_eq!(moved, [(Value::Null, json!(1)), (json!(1), json!(2)), (json!(2), json!(1))]);
    let versions = audit["items"].as_array().unwrap().iter().filter(|event| event["action"] == "prompt.version");
    let added: Vec<_> = versions.map(|event| event["detail"]["added"].clone()).collect();
    assert_eq!(added, [json!([1]), json!([2])]);
    let reasons = audit["items"].as_array().unwrap().iter().filter_map(|event| event["detail"].get("reason"));
    assert_eq!(reasons.collect::<Vec<_>>(), ["it is better"]);
}

#[tokio::test]
async fn a_version_that_did_not_pass_is_not_published_by_its_number_either() {
    let control = Control::start_with(|settings| settings.calls = Some(Arc::new(Echo))).await;
    let both = [(1, "a"), (2, "b")];
    control.apply(&file(&both, "", "v1 fine"), json!({})).await.expect(200);
    run(&control, 1, KEY).await;
    control.post("/api/v1/prompts/sentiment/promote", json!({ "version": 1 })).await.expect(200);
    let route = |version: u32| {
        format!(
            "routes: [{{ name: r, match: {{ path: /r }}, prompt: {{ name: sentiment, version: {version} }}, authenticate: [none] }}]"
        )
    };
    let refused = control.apply(&route(2), json!({})).await;
    assert_eq!(problems(&refused), one("version_not_in_use", "routes[0].prompt.version"));
    control.apply(&route(1), json!({})).await.expect(200);
    // Nor does its label go away from under it.
    control.apply(&file(&both, "", "fine"), json!({})).await.expect(200);
    run(&control, 2, KEY).await;
    let promote = async |label: &str| {
        let wanted = json!({ "version": 2, "label": label });
        control.post("/api/v1/prompts/sentiment/promote", wanted).await
    };
    let moved = promote("production").await;
    assert_eq!(moved.status, 422, "{}", moved.text);
    assert!(moved.text.contains("version_not_in_use"), "{}", moved.text);
    promote("next").await.expect(200);
    control.apply(&route(2), json!({})).await.expect(200);
    promote("production").await.expect(200);
}

#[tokio::test]
async fn what_a_label_stands_for_changes_by_nothing_beside_the_version() {
    let control = Control::start_with(|settings| settings.calls = Some(Arc::new(Echo))).await;
    let file = |default: &str, model: &str, tests: &str| {
        format!(
            "models:
  - {{ name: m, targets: [{{ provider: sandbox, model: sandbox-chat }}] }}
  - {{ name: other, targets: [{{ provider: sandbox, model: sandbox-chat }}] }}
prompts:
  - name: sentiment
    model: {model}
    variables: {{ text: {{ type: string }}, tone: {{ type: string, {default} }}, later: {{ type: string, {default} }} }}
    versions:
      - {{ version: 1, system: '{{{{text}}}} {{{{tone}}}}' }}
      - {{ version: 2, model: m, system: '{{{{text}}}}' }}
{tests}"
        )
    };
    let tests = "    tests: [{ name: works, variables: { text: fine }, checks: [{ contains: fine }] }]\n";
    control.apply(&file("default: mild", "m", tests), json!({})).await.expect(200);
    let promote = async |version: u32, label: &str| {
        run(&control, version, KEY).await;
        let wanted = json!({ "version": version, "label": label });
        control.post("/api/v1/prompts/sentiment/promote", wanted).await.expect(200);
    };
    promote(1, "production").await;
    promote(2, "next").await;
    for (default, model, path) in [
        ("default: mild", "other", "model"),
        ("default: harsh", "m", "variables.tone.default"),
        ("required: false", "m", "variables.tone.default"),
    ] {
        let refused = control.apply(&file(default, model, tests), json!({})).await;
        assert_eq!(problems(&refused), one("tests_not_passed", &format!("prompts[0].{path}")));
    }
    // Where only the other version is in use, neither is of its own.
    promote(2, "production").await;
    control.apply(&file("default: harsh", "other", tests), json!({})).await.expect(200);
    // Without tests nothing is held back.
    control.post("/api/v1/prompts/sentiment/promote", json!({ "version": 1 })).await.expect(422);
    control.apply(&file("default: harsh", "other", ""), json!({})).await.expect(200);
    control.post("/api/v1/prompts/sentiment/promote", json!({ "version": 1 })).await.expect(200);
    control.apply(&file("default: mild", "m", ""), json!({})).await.expect(200);
}

#[tokio::test]
async fn a_stored_version_never_changes() {
    let control = Control::start().await;
    control.apply(&file(&[(1, "a"), (3, "c")], "", "x"), json!({})).await.expect(200);
    let changed = control.apply(&file(&[(1, "b"), (3, "c")], "", "x"), json!({})).await;
    assert_eq!(problems(&changed), one("version_stays", "prompts[0].versions[0]"));
    let between = control.apply(&file(&[(1, "a"), (2, "b"), (3, "c")], "", "x"), json!({})).await;
    assert_eq!(problems(&between), one("version_stays", "prompts[0].versions[1].version"));
    let newest = control.apply(&file(&[(1, "a")], "", "x"), json!({})).await;
    assert_eq!(problems(&newest), one("version_stays", "prompts[0].versions"));
    // An old one may go, and does not come back.
    control.apply(&file(&[(3, "c"), (4, "d")], "", "x"), json!({})).await.expect(200);
    let back = control.apply(&file(&[(1, "a"), (3, "c"), (4, "d")], "", "x"), json!({})).await;
    assert_eq!(problems(&back), one("version_stays", "prompts[0].versions[0].version"));
    let mut spec = control.get("/api/v1/prompts/sentiment").await.expect(200).json()["spec"].clone();
    spec["versions"][0]["system"] = json!("changed {{text}}");
    let replaced = control.put("/api/v1/prompts/sentiment", spec).await;
    assert_eq!(problems(&replaced), one("version_stays", "versions[0]"));
    let path = "/api/v1/prompts/sentiment/versions/3/test";
    assert_eq!(control.post(path, json!({ "key": KEY })).await.status, 409, "nobody calls models here");
    control.post("/api/v1/prompts/gone/promote", json!({ "version": 1 })).await.expect(404);
    control.call(Method::DELETE, "/api/v1/prompts/sentiment", None, &[]).await.expect(204);
}

#[tokio::test]
async fn a_prompt_that_somebody_may_name_stays() {
    let control = Control::start().await;
    let applications = "\napplications: [{ name: desk, allow: { prompts: [sentiment] } }]\n";
    control.apply(&(file(&[(1, "a")], "", "x") + applications), json!({})).await.expect(200);
    let key = |prompt: &str| json!({ "name": "k", "application": "desk", "allow": { "prompts": [prompt] } });
    let refused = control.post("/api/v1/keys", key("gone")).await;
    assert_eq!(problems(&refused), one("unknown_name", "allow.prompts[0]"));
    control.post("/api/v1/keys", key("sentiment")).await.expect(201);
    let refused = control.call(Method::DELETE, "/api/v1/prompts/sentiment", None, &[]).await.expect(422);
    for by in ["applications/desk allow.prompts[0]", "keys/k allow.prompts[0]"] {
        assert!(refused.text.contains(by), "{}", refused.text);
    }
    control.put("/api/v1/applications/desk", json!({ "name": "desk" })).await.expect(200);
    control.call(Method::DELETE, "/api/v1/keys/k", None, &[]).await.expect(204);
    control.call(Method::DELETE, "/api/v1/prompts/sentiment", None, &[]).await.expect(204);
}
