//! Runs the tests of a prompt: each example is a call through this node's gateway, with a key that whoever asks for the
//! run hands in. So the provider is the real one, and limits, guardrails, budgets and the call log are those of any call.

use super::{digest_of, view};
use crate::{
    AdminState,
    api::prompts::{PromptCheckResult, PromptRun, PromptTestResult},
    error::{ApiError, Code},
    ports::ModelCalls,
    resources,
};
use credentialflow_llm::prompt::{published, verdict};
use credentialflow_model::{
    Actor, SecretValue,
    resource::{Kind, Prompt, PromptTest},
};
use credentialflow_store::PromptRunRow;
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Calls at once.
const AT_ONCE: usize = 8;
/// How long a run may take; whoever asks for it waits for its end.
const MOST: Duration = Duration::from_secs(100);
/// Characters of an answer that are kept.
const KEPT: usize = 2000;

/// Runs them and keeps the results.
pub(crate) async fn test(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    version: u32,
    key: SecretValue,
) -> Result<PromptRun, ApiError> {
    let calls = state.settings.calls.clone().ok_or_else(|| {
        ApiError::new(Code::Conflict, "this node serves no calls to models").hint("ask a node that serves traffic")
    })?;
    let prompt: Prompt = resources::get(state, name).await?.spec;
    let Some(tested) = prompt.version(version) else {
        return Err(ApiError::not_found("versions", &version.to_string()));
    };
    if prompt.tests.is_empty() {
        return Err(
            ApiError::new(Code::Conflict, "it has no tests").hint("add `tests`; without any, labels move freely")
        );
    }
    let digest = digest_of(&prompt, tested);
    let tests = results(&calls, &prompt, version, key).await;
    let row = PromptRunRow {
        prompt: name.to_owned(),
        version,
        run: 0,
        digest,
        passed: tests.iter().all(|test| test.passed),
        time: state.now(),
        actor: actor.name.clone(),
        body: serde_json::to_string(&tests).map_err(|error| ApiError::internal("a run was not written", &error))?,
    };
    let mut tx = state.store.begin(actor).await?;
    if tx.resource(Kind::Prompts, name).await?.is_none() {
        return Err(ApiError::not_found(Kind::Prompts.as_str(), name));
    }
    let run = tx.add_prompt_run(&row).await?;
    let failed: Vec<_> = tests.iter().filter(|test| !test.passed).map(|test| test.name.as_str()).collect();
    let detail = json!({ "version": version, "run": run, "passed": row.passed, "failed": failed });
    tx.audit("prompt.test", &format!("prompts/{name}"), detail);
    tx.commit().await?;
    view(&PromptRunRow { run, ..row }, &prompt)
}

/// The result of each test, in their order.
async fn results(
    calls: &Arc<dyn ModelCalls>,
    prompt: &Prompt,
    version: u32,
    key: SecretValue,
) -> Vec<PromptTestResult> {
    let (key, turns) = (Arc::new(key), Arc::new(Semaphore::new(AT_ONCE)));
    let until = tokio::time::Instant::now() + MOST;
    let mut running = JoinSet::new();
    for (index, test) in prompt.tests.iter().enumerate() {
        let (calls, key, turns, test) = (calls.clone(), key.clone(), turns.clone(), test.clone());
        let (version, variables) = (version.to_string(), &test.variables);
        let wanted = json!({ "id": prompt.name, "version": version, "variables": variables, "test": calls.pass() });
        let body = json!({ "prompt": wanted, "messages": [] }).to_string().into_bytes();
        running.spawn(async move {
            let result = tokio::time::timeout_at(until, async {
                // Never closed.
                let _turn = turns.acquire().await;
                one(&*calls, &key, &test, body).await
            });
            (index, result.await.unwrap_or_else(|_| failed(&test, "the run took too long".to_owned(), Duration::ZERO)))
        });
    }
    let mut found: Vec<Option<PromptTestResult>> = prompt.tests.iter().map(|_| None).collect();
    while let Some(ended) = running.join_next().await {
        if let Ok((index, result)) = ended {
            found[index] = Some(result);
        }
    }
    let lost = |test: &PromptTest| failed(test, "the test was not finished".to_owned(), Duration::ZERO);
    prompt.tests.iter().zip(found).map(|(test, found)| found.unwrap_or_else(|| lost(test))).collect()
}

async fn one(calls: &dyn ModelCalls, key: &SecretValue, test: &PromptTest, body: Vec<u8>) -> PromptTestResult {
    let began = Instant::now();
    let answered = calls.chat(key, body).await;
    let took = began.elapsed();
    let body = match answered {
        Ok((status, body)) if (200..300).contains(&status) => body,
        Ok((status, body)) => {
            let said = published::error(&body).map_or_else(String::new, |said| format!(": {said}"));
            return failed(test, format!("the call was answered with status {status}{said}"), took);
        }
        Err(why) => return failed(test, why, took),
    };
    match published::Answer::read(&body) {
        Err(why) => failed(test, why.0, took),
        Ok(answer) => {
            let verdicts = verdict::each(&test.checks, &answer.text);
            let checks = verdicts
                .iter()
                .map(|one| PromptCheckResult { expected: one.expected.clone(), passed: one.why.is_none() });
            let checks = checks.collect();
            let failed: Vec<String> = verdicts.into_iter().filter_map(|one| one.why).collect();
            PromptTestResult {
                name: test.name.to_string(),
                passed: failed.is_empty(),
                failed,
                checks,
                answer: Some(answer.text.chars().take(KEPT).collect()),
                millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            }
        }
    }
}

/// A test without an answer.
fn failed(test: &PromptTest, why: String, took: Duration) -> PromptTestResult {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let name = test.name.to_string();
    PromptTestResult { name, passed: false, failed: vec![why], checks: Vec::new(), answer: None, millis }
}
