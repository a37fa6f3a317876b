//! Makes batches: of a file in OpenAI's form, of requests that come along in Anthropic's. What one may cost is held back
//! before its provider is asked.

use super::{Asking, Place, Refused, checks, checks::Checks, invalid, is_success, unusable};
use crate::{
    budget::Charge,
    conn::Caller,
    pipeline::{body, budget, record::Recording, translate::UpstreamBody, users},
};
use credentialflow_llm::{
    batch::{
        Asks,
        call::{BatchCall, InvalidLine, requests},
        object,
    },
    provider::Dialect,
};
use credentialflow_model::{
    OutcomeReason,
    objects::{Hold, ModelObject, ObjectFacts, ObjectKind, ObjectState},
};
use serde_json::{Map, Value};
use std::time::Duration;

/// A provider that has not begun to answer after so long is not waited for any more, whatever its upstream says: a while later
/// it is asked whether it has the batch.
const MAKES: Duration = Duration::from_secs(600);

/// What names other places at Azure than files, where nobody here could look at the calls, or at the answers.
const ELSEWHERE: [&str; 2] = ["input_blob", "output_folder"];

impl Asking<'_, '_> {
    /// `POST /v1/batches`
    pub async fn create<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let (received, held) = self.body(caller, record).await?;
        let Ok(Value::Object(mut said)) = serde_json::from_slice::<Value>(&received) else {
            return Err(invalid("the body is not a JSON object"));
        };
        let input = said.get("input_file_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        if input.is_empty() {
            return Err(invalid("the field `input_file_id` is missing"));
        }
        if let Some(field) = ELSEWHERE.iter().find(|field| said.contains_key(**field)) {
            return Err(invalid(format!("`{field}` is not for batches here: upload the calls, and fetch the answers")));
        }
        let file = self.find(&input).await?;
        if file.kind != ObjectKind::File {
            return Err(Refused::new(OutcomeReason::ObjectNotFound));
        }
        if file.facts.calls == 0 {
            return Err(invalid("the file has no calls: it was not uploaded for a batch"));
        }
        let asks = &*file.facts.asks;
        let endpoint = said.get("endpoint").and_then(Value::as_str);
        // Azure's documentation names it without the version.
        if endpoint.is_none_or(|endpoint| endpoint != asks && Some(endpoint) != asks.strip_prefix("/v1")) {
            return Err(invalid(format!("the calls of this file ask {asks}: name that as the `endpoint`")));
        }
        said.insert("endpoint".into(), asks.into());
        let place = self.place_of(&file, record)?;
        let (plan, target) = (self.plan(place.model), self.target(place));
        let guardrails = checks::mark(checks::guardrails(plan)?.as_deref(), target);
        if guardrails.is_some() && guardrails != file.facts.guardrails {
            return Err(invalid(
                "this model's guardrails have changed since the file was uploaded, so nobody has judged its calls by them; \
                 upload it again",
            ));
        }
        // Read and written anew, so that its provider reads what was read here.
        said.insert("input_file_id".into(), file.upstream_id.as_str().into());
        let written = Value::Object(said.clone()).to_string().into_bytes();
        said.insert("input_file_id".into(), input.into());
        // A batch stays when its provider forgets the file.
        let facts = ObjectFacts {
            credential: self.credential(place),
            input: Some(file.upstream_id),
            expires: None,
            ..file.facts
        };
        self.make(place, ("/batches", written, held), (said, facts), caller, record).await
    }

    /// `POST /v1/messages/batches`
    pub async fn create_messages<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let (received, mut held) = self.body(caller, record).await?;
        let text = std::str::from_utf8(&received).map_err(|_| invalid("the body is not UTF-8"))?;
        let each = requests(text).map_err(|why| invalid(why.to_string()))?;
        let first = each.first().ok_or_else(|| invalid("the batch has no requests"))?;
        let call = BatchCall::of_request(first).map_err(|why| invalid(format!("call 1 of the batch: {why}")))?;
        let model = self.model(call.model(), record)?;
        let plan = self.plan(model);
        let guardrails = checks::guardrails(plan)?;
        let place = self.choose(model, Asks::Messages, record)?;
        let target = self.target(place);
        // What came, what is written, and a call that is being looked at.
        held.set(received.capacity() as u64 * 3).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
        let mut checks = Checks::new(Asks::Messages, (plan, target), guardrails, record.time());
        let mut written = String::with_capacity(text.len() + 1024);
        written.push_str("{\"requests\":[");
        let read = |request: &str, _: &str| BatchCall::of_request(request);
        self.write_all(place, &each, &mut checks, read, &mut written, record)?;
        written.push_str("]}");
        let facts = checks.facts(target, self.credential(place));
        let said = Map::new();
        self.make(place, ("/messages/batches", written.into_bytes(), held), (said, facts), caller, record).await
    }

    /// Checks calls and writes them one behind the other.
    pub(super) fn write_all(
        &self,
        place: Place,
        calls: &[&str],
        checks: &mut Checks,
        read: impl Fn(&str, &str) -> Result<BatchCall, InvalidLine>,
        written: &mut String,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        let checked: Result<(), Refused> = calls.iter().try_for_each(|call| {
            if checks.calls() > 0 {
                written.push(',');
            }
            written.push_str(&checks.call(call, &read)?);
            Ok(())
        });
        if let Some(found) = checks.found() {
            record.model(self.plan(place.model), self.target(place), false);
            record.guardrails_of_calls(found);
        }
        checked
    }

    pub(super) async fn body<C: Caller>(
        &self,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(Vec<u8>, Charge), Refused> {
        let (matched, principal, _) = self.parts;
        let told = matched.content_type.map_or(Ok("application/json"), std::str::from_utf8).unwrap_or_default();
        if !told.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            return Err(invalid("batches are asked for as `application/json`"));
        }
        let most = matched.plan(self.view).max_body;
        let length = body::announced(self.inbound, most)?;
        let received = body::collect(self.worker, self.control, caller, most, length, record).await?;
        // The calls of a batch are for whoever the batch is for.
        let nobody = if self.speaks() == Dialect::OpenAi { &received.0 } else { &b"{}"[..] };
        users::name(self.view, self.inbound, matched, principal, nobody, record);
        Ok(received)
    }

    /// Holds back what a batch may cost, and asks its provider for it.
    pub(super) async fn make<C: Caller>(
        &self,
        place: Place,
        (path, written, _held): (&str, Vec<u8>, Charge),
        (said, facts): (Map<String, Value>, ObjectFacts),
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        let kind = self.kind;
        let mut batch = ModelObject {
            id: self.fresh_id(kind.prefix()),
            kind,
            application: self.application.to_string(),
            made: record.time(),
            state: ObjectState::Asked,
            purpose: String::new(),
            upstream_id: String::new(),
            body: Value::Object(said).to_string(),
            facts: self.paid(place, facts, record)?,
        };
        self.hold(place, &batch, record).await?;
        let mut request = self.request(place, path.into(), UpstreamBody::Buffered(written), record);
        request.until = self.worker.tick_in(MAKES);
        let sent = self.send(&mut request, caller, record).await;
        let response = match sent {
            Ok(response) => response,
            Err(refused) => {
                if !may_be_made(refused.reason) {
                    self.kept(self.keeper.refused(batch)).await?;
                }
                return Err(refused);
            }
        };
        let (status, answer) = self.collect(&mut request, response, caller, record).await?;
        if !is_success(status) {
            if !may_be_made_with(status) {
                self.kept(self.keeper.refused(batch)).await?;
            }
            return self.answer((status, answer), caller, record).await;
        }
        let (body, seen) = object::told(&batch, &answer).ok_or_else(unusable)?;
        (batch.state, batch.upstream_id, batch.body) = (ObjectState::Runs, seen.id.clone(), body.clone());
        let files = object::files_of(&batch, &seen);
        self.kept(self.keeper.began(batch.clone())).await?;
        if seen.is_over || !files.is_empty() {
            self.kept(self.keeper.saw(batch, files, seen.is_over)).await?;
        }
        self.answer((200, body.into_bytes()), caller, record).await
    }

    /// Who pays for a batch, and at which prices.
    fn paid(&self, place: Place, facts: ObjectFacts, record: &Recording<'_>) -> Result<ObjectFacts, Refused> {
        let (plan, target) = (self.plan(place.model), self.target(place));
        let at = record.time();
        let payers = budget::payers(self.view, self.parts.1, (plan, target), record)?;
        if let Some(hard) = payers.iter().find(|budget| budget.is_hard()) {
            if let Some(field) = &facts.reads_along {
                return Err(budget::not_bounded(field, hard));
            }
            if facts.most.is_none() {
                return Err(Refused::new(OutcomeReason::PriceUnknown));
            }
        }
        let holds = payers.iter().map(|budget| {
            let account = budget.account(at);
            let window = account.window();
            Hold {
                budget: account.budget().to_string(),
                started: window.start,
                ends: window.end,
                limit: budget.is_hard().then(|| budget.limit()),
            }
        });
        Ok(ObjectFacts {
            holds: holds.collect(),
            key: record.key(),
            user: record.end_user().map(|user| user.to_string()),
            source: Some(self.inbound.source),
            price: target.batch_price.at(at).cloned(),
            ..facts
        })
    }

    async fn hold(&self, place: Place, batch: &ModelObject, record: &Recording<'_>) -> Result<(), Refused> {
        let Some(short) = self.kept(self.keeper.hold(batch.clone())).await? else { return Ok(()) };
        let (plan, target) = (self.plan(place.model), self.target(place));
        let payers = budget::payers(self.view, self.parts.1, (plan, target), record)?;
        let found = payers.iter().find(|budget| **budget.account(record.time()).budget() == *short);
        Err(found.map_or(Refused::new(OutcomeReason::BudgetExceeded), |budget| {
            budget::exceeded(budget, &budget.account(record.time()), true, self.worker.now())
        }))
    }
}

/// Whether a provider may have made a batch although it was answered with an error: what stands before it answers so where
/// the provider's own answer did not come, or not in time (RFC 9110, and 520 to 527 of Cloudflare's). A while later its
/// provider is asked whether it has it. A 500 or 503 is the provider's own word that it has not.
const fn may_be_made_with(status: u16) -> bool {
    matches!(status, 502 | 504 | 520..=527)
}

/// Whether a provider may have made a batch although nobody was told of it. What it may cost stays held back then, and is
/// charged: the same as of a call whose answer never came.
const fn may_be_made(reason: OutcomeReason) -> bool {
    use OutcomeReason as R;
    matches!(
        reason,
        R::UpstreamTimeout
            | R::UpstreamReset
            | R::UpstreamTruncated
            | R::UpstreamMalformed
            | R::UpstreamStalled
            | R::CallerClosed
            | R::Revoked
            | R::Overloaded
            | R::Internal
    )
}
