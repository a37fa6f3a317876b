//! The cache of a model's answers: what makes two calls the same, and an answer that is given again.
//!
//! Whoever asks may use the model: that was decided before. Two calls are the same where the model is configured as it was,
//! the caller is of the scope of the cache, and the call says the same in the same dialect; so an answer never reaches
//! anybody for whom it might have been another one. Of a call in which guardrails found anything, nothing is kept. An
//! answer that is given again costs nothing: no budget is asked.

mod embedding;
mod keeping;

pub(super) use keeping::Keeping;

use super::{
    Inbound, Parts, Refused, answer,
    body::interrupted,
    guard::{self, answered::AnswerGuard},
    hedge,
    record::{CacheStatus, Recording},
    route::RouteMatch,
    translate::UpstreamRequest,
};
use crate::{
    cache::{Found, Key, Made, Owner, Similar},
    conn::{AnswerFraming, Caller},
    http1::grammar,
    net::control::{Control, Interrupt},
    snapshot::{
        cache::{CachePlan, digest},
        models::ModelPlan,
    },
    worker::{View, Worker},
};
use credentialflow_llm::{
    cache::{Form, Question, normal_form},
    provider::Dialect,
    task::Task,
};
use credentialflow_model::{OutcomeReason, resource::CacheScope, usage::CacheUse};
use credentialflow_policy::{Principal, query_without, query_without_keys};
use std::{rc::Rc, sync::Arc, time::Duration};

/// The longest a call waits for the keeper: beyond it, a new answer is the better one.
const WAIT: Duration = Duration::from_millis(250);
/// Longer calls are not compared: reading them would take longer than it is worth.
const MOST_BODY: usize = 1 << 20;
/// Headers of the dialects, which change what a provider does.
const DIALECTS: [&[u8]; 2] = [b"anthropic-", b"openai-"];

/// A call to a model that keeps answers.
pub(crate) struct Cached {
    plan: Arc<CachePlan>,
    /// What is looked for, unless nothing is.
    wanted: Option<Box<Wanted>>,
}

/// What is looked for, and kept.
struct Wanted {
    key: Key,
    made: Made,
    owner: Owner,
    /// A new answer is wanted.
    refresh: bool,
    /// Older answers are not.
    youngest: Option<Duration>,
    /// The question, and what all that it is compared with have in common.
    question: Option<(String, Key)>,
    /// And its embedding.
    vector: Option<Arc<[f32]>>,
}

/// What a call is.
pub(super) struct Said<'a> {
    pub speaks: Dialect,
    pub task: Task,
    pub counts: bool,
    pub form: Form,
    /// As it came.
    pub body: &'a [u8],
}

impl Cached {
    /// What the cache of a model has to do with a call; `None` where it has none.
    pub fn of(
        view: &View,
        model: &ModelPlan,
        said: &Said<'_>,
        (inbound, matched, principal): (&Inbound<'_>, &RouteMatch<'_>, &Principal),
        record: &Recording<'_>,
    ) -> Option<Self> {
        let plan = model.cache.clone()?;
        if said.counts || !matches!(said.task, Task::Chat | Task::Embeddings) {
            return None;
        }
        let guardrails = model.guardrails.as_ref().and_then(|built| built.as_ref().ok());
        // Whoever is asked about the answer is told for which application it is.
        let judged_for = guardrails.is_some_and(|rules| rules.asks_about_answers());
        let parts = (inbound, matched, principal);
        let wanted = Wanted::of(view, &plan, said, parts, judged_for, record).map(Box::new);
        Some(Self { plan, wanted })
    }

    /// Nothing is looked for, and nothing is kept.
    pub fn pass(&mut self) {
        self.wanted = None;
    }
}

impl Wanted {
    fn of(
        view: &View,
        plan: &CachePlan,
        said: &Said<'_>,
        (inbound, matched, principal): (&Inbound<'_>, &RouteMatch<'_>, &Principal),
        judged_for: bool,
        record: &Recording<'_>,
    ) -> Option<Self> {
        let asked = Asked::of(inbound);
        if asked.no_store || said.body.len() > MOST_BODY {
            return None;
        }
        let (owner, scope) = owner(view, plan, principal, record)?;
        let form = normal_form(said.speaks, said.body)?;
        let mut around = around(view, plan, said, (inbound, matched, principal), scope);
        let application = principal.key().filter(|_| judged_for).map(|key| &**key.application_name());
        around.push(application.unwrap_or_default().as_bytes().to_vec());
        // Answers name the prompt and its version.
        around.push(record.made_of().map_or_else(Vec::new, |prompt| prompt.as_bytes().to_vec()));
        let with = |rest: &[u8], what: &[u8]| digest(around.iter().map(|part| &part[..]).chain([rest, what]));
        let question = plan.semantic.as_ref().filter(|_| said.task == Task::Chat).and_then(|semantic| {
            let Question { text, rest } = Question::of(said.speaks, said.body)?;
            Some((text, with(&rest, &semantic.identity)))
        });
        Some(Self {
            key: with(&form, b""),
            made: Made { speaks: said.speaks, form: said.form },
            owner,
            refresh: asked.no_cache || asked.youngest == Some(Duration::ZERO),
            youngest: asked.youngest,
            question,
            vector: None,
        })
    }
}

/// What the caller says of caches (RFC 9111, 5.2.1).
#[derive(Default)]
struct Asked {
    no_store: bool,
    no_cache: bool,
    youngest: Option<Duration>,
}

impl Asked {
    fn of(inbound: &Inbound<'_>) -> Self {
        let mut asked = Self::default();
        let fields = inbound.fields().filter(|(_, name, _)| name.eq_ignore_ascii_case(b"cache-control"));
        for directive in fields.flat_map(|(.., value)| grammar::list(value)) {
            let (name, value) = match memchr::memchr(b'=', directive) {
                Some(at) => (&directive[..at], Some(&directive[at + 1..])),
                None => (directive, None),
            };
            if name.eq_ignore_ascii_case(b"no-store") {
                asked.no_store = true;
            } else if name.eq_ignore_ascii_case(b"no-cache") {
                asked.no_cache = true;
            } else if name.eq_ignore_ascii_case(b"max-age") {
                let digits = value.map(|value| value.trim_ascii()).and_then(|value| std::str::from_utf8(value).ok());
                let seconds = digits.map(|digits| digits.trim_matches('"')).and_then(|digits| digits.parse().ok());
                // What cannot be read is taken for the youngest.
                let seconds = Duration::from_secs(seconds.unwrap_or(0));
                asked.youngest = Some(asked.youngest.map_or(seconds, |before| before.min(seconds)));
            }
        }
        asked
    }
}

/// Who gets the answer beside the caller, and a name for all of them that no others have. `None` where the cache tells
/// callers apart by what this one does not say.
fn owner(
    view: &View,
    plan: &CachePlan,
    principal: &Principal,
    record: &Recording<'_>,
) -> Option<(Owner, [Vec<u8>; 2])> {
    let key = principal.key()?;
    let application = key.application_name();
    let of = |kind: &str, name: &str| [kind.as_bytes().to_vec(), name.as_bytes().to_vec()];
    let team = || view.snapshot.models.teams.get(application);
    let (mine, scope) = match plan.scope {
        CacheScope::Key => (true, of("key", &key.key().to_string())),
        CacheScope::User => {
            // Of a name that is masked, as what looks like a key is, nobody knows whose it is.
            let user = record.end_user().filter(|user| !user.contains("***"))?;
            (true, of(&format!("user of {application}"), user))
        }
        CacheScope::Application => (true, of("application", application)),
        CacheScope::Team => match team() {
            Some(team) => (false, of("team", team)),
            None => (true, of("application", application)),
        },
        CacheScope::Tenant => (false, of("tenant", "")),
    };
    let owner = Owner {
        model: plan.model,
        application: mine.then(|| application.clone()),
        key: (plan.scope == CacheScope::Key).then(|| key.key()),
    };
    Some((owner, scope))
}

/// All that makes two calls the same beside what they say.
fn around(
    view: &View,
    plan: &CachePlan,
    said: &Said<'_>,
    (inbound, matched, principal): (&Inbound<'_>, &RouteMatch<'_>, &Principal),
    scope: [Vec<u8>; 2],
) -> Vec<Vec<u8>> {
    let mut parts = vec![plan.model.to_vec()];
    parts.extend(scope);
    parts.push(format!("{:?} {:?} {:?}", said.speaks, said.task, said.form).into_bytes());
    parts.push(matched.path.as_bytes().to_vec());
    let route = matched.plan(view);
    parts.push(query(matched.query.unwrap_or_default(), route.key_in_query.as_deref()).into_bytes());
    // What the route tells the upstream, of the caller too.
    let rules = route.headers.as_ref().map(|headers| &headers.request);
    let set = rules.into_iter().flat_map(|rules| rules.set()).map(|(name, value)| (name, value.as_bytes()));
    let told = rules.into_iter().flat_map(|rules| rules.told(principal.key()));
    let ours: Vec<_> = set.chain(told.map(|(name, value)| (name, value.as_bytes()))).collect();
    parts.push((ours.len() as u64).to_be_bytes().to_vec());
    parts.extend(ours.into_iter().flat_map(|(name, value)| [name.as_str().as_bytes().to_vec(), value.to_vec()]));
    let mut fields: Vec<(Vec<u8>, &[u8])> = inbound
        .fields()
        .filter(|(field, ..)| !field.tag.may_carry_key())
        .map(|(_, name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| {
            DIALECTS.iter().any(|dialect| name.starts_with(dialect))
                || plan.headers.iter().any(|header| header.as_bytes() == &name[..])
        })
        .collect();
    fields.sort();
    parts.push((fields.len() as u64).to_be_bytes().to_vec());
    parts.extend(fields.into_iter().flat_map(|(name, value)| [name, value.to_vec()]));
    parts
}

/// A query without the caller's key, as its upstream gets it.
fn query(query: &str, key: Option<&str>) -> String {
    let without = key.and_then(|key| query_without(query, key)).unwrap_or_else(|| query.to_owned());
    query_without_keys(&without).unwrap_or(without)
}

/// Looks for an answer to a call. What is known by then of the call is kept with it, for when it is answered.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn find<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    (matched, principal, permit): Parts<'_, '_>,
    request: &mut UpstreamRequest,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Option<(Made, Found)>, Refused> {
    let Some(cached) = request.call.as_mut().and_then(|call| call.cached.take()) else { return Ok(None) };
    let Cached { plan, wanted } = *cached;
    let Some(mut wanted) = wanted else {
        record.cache(CacheStatus::new(CacheUse::Bypass));
        return Ok(None);
    };
    let mut found = None;
    if wanted.refresh {
        record.cache(CacheStatus::new(CacheUse::Refresh));
    } else {
        // What holds a live secret of ours is refused, or told of, whether its answer is there or not.
        guard::whole_body(view, matched, request, record)?;
        let cache = &worker.shared.cache;
        found =
            soon(worker, control, cache.find(wanted.key, wanted.youngest)).await?.map(|found| (CacheUse::Hit, found));
        if found.is_none()
            && let Some(semantic) = &plan.semantic
            && let Some((text, bucket)) = &wanted.question
        {
            let asked = embedding::of(worker, view, inbound, (principal, permit), (semantic, text), record);
            // Ends with the call itself: when its caller leaves, or its key is revoked.
            let mut asked = Box::pin(asked);
            let vector = hedge::wait(control, caller, |cx| asked.as_mut().poll(cx)).await?;
            wanted.vector = vector.flatten().map(Into::into);
            if let Some(vector) = wanted.vector.clone() {
                let (bucket, threshold, youngest) = (*bucket, semantic.threshold, wanted.youngest);
                let similar = cache.similar(Similar { bucket, vector, threshold, youngest });
                found = soon(worker, control, similar).await?.map(|found| (CacheUse::Similar, found));
            }
        }
        record.cache(match &found {
            None => CacheStatus::new(CacheUse::Miss),
            Some((used, found)) => CacheStatus { used: *used, age: found.age.as_secs(), ttl: found.left.as_secs() },
        });
    }
    let made = wanted.made;
    if let Some(call) = &mut request.call {
        call.cached = Some(Box::new(Cached { plan, wanted: Some(wanted) }));
    }
    Ok(found.map(|(_, found)| (made, found)))
}

/// Waits for the keeper, not for ever; nothing where it takes too long.
async fn soon<T>(
    worker: &Worker,
    control: &Control,
    asked: impl Future<Output = Option<T>>,
) -> Result<Option<T>, Refused> {
    control.set_deadline(worker.tick_in(WAIT));
    let waited = control.wait(asked).await;
    control.clear_deadline();
    match waited {
        Ok(found) => Ok(found),
        Err(Interrupt::Deadline) => Ok(None),
        Err(why) => Err(interrupted(why, OutcomeReason::Overloaded)),
    }
}

/// Gives an answer again. Live secrets of ours in it are told of or blanked as in any other: some are younger than it.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn replay<C: Caller>(
    worker: &Worker,
    view: &View,
    control: &Control,
    matched: &RouteMatch<'_>,
    request: &UpstreamRequest,
    (made, found): (Made, Found),
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    if let Some(call) = &request.call {
        record.answered_from_cache(view, (call.model, found.target), found.tokens);
    }
    let kept = found.body.expose();
    let _held = worker.budget.take(2 * kept.len() as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
    let mut guard = AnswerGuard::of(view, matched, request, true, record);
    let body = guard.whole(kept.to_vec());
    guard.tell_met(record);
    let mut fields = worker.take_scratch();
    let rules = matched.plan(view).headers.as_ref().map(|headers| &headers.response);
    if !rules.is_some_and(|rules| rules.drops(b"content-type")) {
        fields.extend_from_slice(b"content-type: ");
        fields.extend_from_slice(&found.content_type);
        fields.extend_from_slice(b"\r\n");
    }
    for (name, value) in rules.into_iter().flat_map(|rules| rules.set()) {
        fields.extend_from_slice(name.as_str().as_bytes());
        fields.extend_from_slice(b": ");
        fields.extend_from_slice(value.as_bytes());
        fields.extend_from_slice(b"\r\n");
    }
    answer::push_own_fields(&mut fields, record);
    let framing = match made.form {
        Form::Whole | Form::Other => AnswerFraming::Length(body.len() as u64),
        Form::Events | Form::Array | Form::Pieces => AnswerFraming::Streamed,
    };
    caller.settle();
    caller.begin(200, &fields, framing);
    record.answered(200);
    worker.give_scratch(fields);
    caller.payload(&body);
    caller.end();
    record.bytes_out(body.len() as u64);
    answer::flush(control, worker, caller).await?;
    record.served();
    Ok(())
}
