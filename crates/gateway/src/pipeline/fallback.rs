//! Another target for a model call whose target failed before its answer began.
//!
//! Nothing has gone to the caller then. What the provider answered with an error costs nothing; what it may have worked
//! on is charged to budgets by their rule for calls without an answer, and is never sent to the same provider again.

use super::{
    Refused, Tried,
    answer::{
        self,
        usable::{self, Begins},
    },
    call::{self, ModelCall},
    forward::UpstreamResponse,
    gather, key_refused, prediction,
    record::Recording,
    retry::Retrying,
    route::RouteMatch,
    select::{self, bit},
    translate::UpstreamRequest,
    unsent::{Over, Unsent},
    unsuited::{self, Why},
    wanted::Wanted,
};
use crate::{
    conn::Caller,
    http1::tag::Tag,
    snapshot::models::TargetPlan,
    worker::{View, Worker},
};
use credentialflow_llm::{
    first::{Begun, FirstToken},
    provider::Dialect,
    unframed::Unframed,
};
use credentialflow_model::{OutcomeReason, Timestamp, usage::TriedEnd};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

/// What is kept of a call so that it can go elsewhere.
pub(crate) struct Elsewhere {
    /// The call, which a second try beside this one shares.
    pub said: Rc<Said>,
    /// The targets that were tried.
    pub targets: u64,
    /// The credentials of the present one that were tried.
    pub keys: u64,
    /// Whether another target is asked beside the present one, or was.
    pub hedged: bool,
    /// What is known for trying it again.
    pub retrying: Retrying,
}

/// A call as it came.
pub(crate) struct Said {
    /// Its body, where there are several targets.
    pub received: Vec<u8>,
    /// What it wants of a target.
    pub wanted: Wanted,
}

/// A failure that another target may not share.
pub(super) struct Fault {
    pub end: TriedEnd,
    /// How long the provider asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether it may be over after a while, as far as the provider says.
    pub may_pass: bool,
    /// Why the target, which is well, is none for the call.
    unsuited: Option<Why>,
}

/// Where a call goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// To nobody: its failure is its end.
    Nobody,
    /// To the same target with another credential.
    Credential,
    /// To another target.
    Target,
}

/// The most of a stream that is held back until its first token.
const MOST_HELD: usize = 256 * 1024;
/// Tries of one call, all targets and credentials together.
const MOST_TRIES: u8 = 128;
/// A provider is not left alone longer than this at a time, whatever it asks for.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long a credential that was refused is left alone at the least.
const REFUSED: Duration = Duration::from_secs(60);

impl Fault {
    /// Of a try that ended with a refusal of ours, if that says something of the target alone.
    pub fn of(refused: &Refused) -> Option<Self> {
        use OutcomeReason as R;
        let of_target = matches!(
            refused.reason,
            R::UpstreamConnectFailed
                | R::UpstreamConnectTimeout
                | R::UpstreamTlsFailed
                | R::UpstreamReset
                | R::UpstreamTimeout
                | R::UpstreamMalformed
                | R::CredentialUnavailable
                | R::NoHealthyEndpoint
        );
        of_target.then_some(Self::ended(refused.reason))
    }

    const fn new(end: TriedEnd) -> Self {
        Self { end, retry_after: None, may_pass: true, unsuited: None }
    }

    const fn unsuited(status: u16, why: Why) -> Self {
        Self { may_pass: false, unsuited: Some(why), ..Self::new(TriedEnd::Status(status)) }
    }

    const fn ended(reason: OutcomeReason) -> Self {
        Self::new(TriedEnd::Outcome(reason))
    }

    /// Of an answer whose status is one that another target, or another credential, may not give.
    fn answered(response: &UpstreamResponse, injected: bool, now: Timestamp) -> Option<Self> {
        let status = response.head.status;
        let fault = match status {
            401..=403 => injected,
            // A model that is not there any more, or is said to be elsewhere: another target may have it.
            300..=399 | 404 | 408 | 429 | 500.. => true,
            _ => false,
        };
        let field = |name: &str| {
            let named = |n: &[u8]| n.eq_ignore_ascii_case(name.as_bytes());
            let field = response.head.fields.iter().find(|f| f.tag == Tag::Other && named(f.name.of(&response.bytes)));
            field.map(|field| field.value.of(&response.bytes))
        };
        fault.then(|| {
            let exact = field("retry-after-ms").and_then(retry_after_ms);
            let retry_after = exact.or_else(|| retry_after(field("retry-after")?, now));
            // What the official SDKs of OpenAI and Anthropic obey.
            let may_pass = !field("x-should-retry").is_some_and(|told| told.eq_ignore_ascii_case(b"false"));
            Self { retry_after, may_pass, ..Self::new(TriedEnd::Status(status)) }
        })
    }

    /// It is that of this call: one is not tried again whose failed try may be billed, for what was made of it, or for what
    /// was answered in parts. Of too many calls nothing is made.
    pub fn of_call(&mut self, call: Option<&ModelCall>) {
        let busy = self.end == TriedEnd::Status(429);
        let bills = |call: &ModelCall| gather::is_of(call) || (prediction::is_made(call) && !busy);
        self.may_pass &= !call.is_some_and(bills);
    }

    /// Whether another credential of the same target may do better.
    pub const fn is_of_credential(&self) -> bool {
        use OutcomeReason as R;
        matches!(
            self.end,
            TriedEnd::Status(401..=403 | 429)
                | TriedEnd::Outcome(R::CredentialUnavailable | R::UpstreamCredentialRefused)
        )
    }

    /// What the caller gets of the answer where nobody else is left: nothing, where its provider said in words that it does
    /// not take the credential, as its status is that of another error, or where nothing came of JSON.
    pub fn left(&self, request: &UpstreamRequest, response: UpstreamResponse) -> Result<UpstreamResponse, Refused> {
        use OutcomeReason as R;
        let streams = || request.call.as_ref().is_some_and(|call| is_stream(&response, call.dialect));
        match self.end {
            TriedEnd::Outcome(R::UpstreamCredentialRefused) => Err(Refused::new(R::UpstreamCredentialRefused)),
            TriedEnd::Outcome(reason @ (R::UpstreamTimeout | R::UpstreamTruncated)) if !streams() => {
                Err(Refused::new(reason))
            }
            _ => Ok(response),
        }
    }

    /// Whether the time for all tries is over.
    pub fn is_late(&self, worker: &Worker, request: &UpstreamRequest) -> bool {
        self.end == TriedEnd::Outcome(OutcomeReason::UpstreamTimeout) && worker.tick() >= request.until
    }
}

/// How long `Retry-After` asks to wait: seconds, or until a date (RFC 9110, 10.2.3).
fn retry_after(value: &[u8], now: Timestamp) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => {
            Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64()))
        }
        Ok(_) => return None,
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_microsecond();
            Duration::from_micros(u64::try_from(at.saturating_sub(now.micros())).unwrap_or(0))
        }
    };
    Some(wait.min(LONGEST)).filter(|wait| !wait.is_zero())
}

/// How long `retry-after-ms`, which Azure and OpenAI send beside it, asks to wait.
fn retry_after_ms(value: &[u8]) -> Option<Duration> {
    let ms = std::str::from_utf8(value).ok()?.trim().parse::<f64>().ok().filter(|ms| ms.is_finite())?;
    let wait = Duration::from_secs_f64((ms / 1000.0).clamp(0.0, LONGEST.as_secs_f64()));
    (!wait.is_zero()).then_some(wait)
}

/// Looks at an answer that has begun: whether it is one that another target, or another key, may not give. Of a stream, what
/// comes before its first token is awaited, while there is another target; of JSON its first byte.
pub(super) async fn look<C: Caller>(answer: &mut Unsent<'_, '_, C>) -> Result<Option<Fault>, Refused> {
    let Unsent { worker, view, request, .. } = *answer;
    let Some(call) = &request.call else { return Ok(None) };
    let status = answer.response.head.status;
    if key_refused::may_be_said(status, answer.record)
        // Boxed, as it would make the future of every request larger.
        && Box::pin(key_refused::is_said(answer)).await?
    {
        return Ok(Some(Fault::ended(OutcomeReason::UpstreamCredentialRefused)));
    }
    let Some(elsewhere) = call.elsewhere.as_deref() else { return Ok(None) };
    let injected = request.inject_plan(view).is_some();
    let counts = elsewhere.said.wanted.counts;
    let mut fault = match counts && cannot_count(status, call.dialect) {
        // Nothing is wrong with what it answers.
        true => Some(Fault::unsuited(status, Why::Other)),
        false => Fault::answered(answer.response, injected, worker.now()),
    };
    let plan = &view.snapshot.models.list[call.model as usize];
    let goes_on = || has_other(view, call, elsewhere) || elsewhere.retrying.is_left(plan);
    if fault.is_none() && is_stream(answer.response, call.dialect) && (elsewhere.hedged || goes_on()) {
        // Boxed, as it would make the future of every request larger.
        fault = Box::pin(first_token(answer, call)).await?;
    }
    if fault.is_none()
        && !answer::is_stream(&answer.response.head, &answer.response.bytes, Some(call.dialect))
        && usable::is_told_apart(call, answer.response)
    {
        let begins = match usable::begun(answer.response) {
            Some(begins) => Ok(begins),
            // Boxed, as it would make the future of every request larger.
            None => Box::pin(first_bytes(answer, call)).await?,
        };
        fault = match begins {
            Ok(Begins::Unusable) => Some(Fault::ended(OutcomeReason::UpstreamMalformed)),
            Ok(Begins::Json | Begins::Events) => None,
            Err(fault) => Some(fault),
        };
    }
    if fault.is_none() && unsuited::may_be(view, call, status) && has_other(view, call, elsewhere) {
        // Boxed, as it would make the future of every request larger.
        let unsuited = Box::pin(unsuited::of(answer, call)).await?;
        fault = unsuited.map(|why| Fault::unsuited(status, why));
    }
    if fault.as_ref().is_none_or(|fault| fault.unsuited.is_some()) {
        let sent = answer.response.sent;
        let target = call.plan(view);
        let Wanted { application, streams, .. } = &elsewhere.said.wanted;
        // Counting takes another time than answering.
        if !counts {
            select::pace(view, target, *streams).took(Instant::now(), sent.elapsed());
        }
        view.coolings[target.cooling as usize].served_since(sent, application.as_ref());
        if !target.keys.is_empty() {
            view.coolings[target.of_key(call.key) as usize].served_since(sent, application.as_ref());
        }
    }
    Ok(fault)
}

/// Whether a provider that was asked to count tokens says that it does not: its address for that is unknown, or at Bedrock
/// the model is none of those that count.
const fn cannot_count(status: u16, dialect: Dialect) -> bool {
    matches!((status, dialect), (404 | 405, _) | (400, Dialect::Bedrock))
}

/// Whether the answer is a stream that can be read.
fn is_stream(response: &UpstreamResponse, dialect: Dialect) -> bool {
    let UpstreamResponse { head, bytes, .. } = response;
    let value = |tag: Tag| head.fields.iter().find(|f| f.tag == tag).map(|f| f.value.of(bytes));
    (200..300).contains(&head.status)
        && answer::is_stream(head, bytes, Some(dialect))
        && value(Tag::ContentEncoding).is_none_or(|encoding| encoding.eq_ignore_ascii_case(b"identity"))
}

/// Reads until the first token or an error in its place.
async fn first_token<C: Caller>(answer: &mut Unsent<'_, '_, C>, call: &ModelCall) -> Result<Option<Fault>, Refused> {
    use OutcomeReason as R;
    let (mut unframed, mut first) = (Unframed::of(call.dialect), FirstToken::new(call.dialect));
    let begun = |piece: &[u8]| {
        let (events, framed) = unframed.open(piece);
        if framed.is_err() {
            return Some(Some(Fault::ended(R::UpstreamMalformed)));
        }
        first.feed(&events).map(|begun| match begun {
            Begun::Answer => None,
            Begun::Error => Some(Fault::new(TriedEnd::StreamError)),
        })
    };
    let within = call.plan(answer.view).timeout;
    Ok(answer.until(MOST_HELD, within, begun).await?.unwrap_or_else(|over| match over {
        Over::Whole | Over::Closed => Some(Fault::ended(R::UpstreamTruncated)),
        Over::Malformed => Some(Fault::ended(R::UpstreamMalformed)),
        Over::Late => Some(Fault::ended(R::UpstreamTimeout)),
        Over::Long => None,
    }))
}

/// Waits for the first bytes of an answer that came without any, or says that none do.
async fn first_bytes<C: Caller>(
    answer: &mut Unsent<'_, '_, C>,
    call: &ModelCall,
) -> Result<Result<Begins, Fault>, Refused> {
    use OutcomeReason as R;
    answer.set_deadline(call.plan(answer.view).timeout);
    let Unsent { control, response, caller, record, .. } = answer;
    let framing = response.head.framing(false);
    let begins = usable::begins(control, framing, &mut response.connection, *caller, record).await;
    control.clear_deadline();
    match begins {
        Ok(begins) => Ok(Ok(begins)),
        Err(refused) => match refused.reason {
            R::UpstreamTruncated => Ok(Err(Fault::ended(R::UpstreamTruncated))),
            R::UpstreamStalled => Ok(Err(Fault::ended(R::UpstreamTimeout))),
            _ => Err(refused),
        },
    }
}

/// Whether there is another target that does not cool down.
fn has_other(view: &View, call: &ModelCall, elsewhere: &Elsewhere) -> bool {
    let plan = &view.snapshot.models.list[call.model as usize];
    let tried = elsewhere.targets | bit(call.target);
    select::target(view, plan, &elsewhere.said.wanted, (tried, false), |_| true).is_some()
}

/// Tries at the same target before another one is: one, where there is nobody but the endpoint that has just failed.
pub(super) fn tries(view: &View, request: &UpstreamRequest, most: u8) -> u8 {
    let elsewhere = request.call.as_ref().and_then(|call| Some((call, call.elsewhere.as_deref()?)));
    let moves_on = elsewhere.is_some_and(|(call, elsewhere)| has_other(view, call, elsewhere));
    if moves_on && request.plan(view).endpoints.len() < 2 { 1 } else { most }
}

/// Makes the request one for the next credential or target, if there is any; then what has failed is in the record and
/// what it may have cost is charged. What failed is remembered in any case.
pub(super) fn next(
    worker: &Worker,
    view: &View,
    matched: &RouteMatch<'_>,
    request: &mut UpstreamRequest,
    fault: &Fault,
    record: &mut Recording<'_>,
) -> Next {
    let Some(call) = &mut request.call else { return Next::Nobody };
    let Some(mut elsewhere) = call.elsewhere.take() else { return Next::Nobody };
    let target = call.plan(view);
    remember(view, target, call.key, fault, &elsewhere.said.wanted, record);
    let plan = &view.snapshot.models.list[call.model as usize];
    elsewhere.retrying.note(view, plan, call.target, fault);
    if let Some(why) = fault.unsuited {
        elsewhere.targets |= call::those(plan, |other| why.rules_out(target, other));
    }
    elsewhere.keys |= bit(call.key);
    let mut next = Next::Nobody;
    if worker.tick() < request.until && request.attempts < MOST_TRIES {
        if fault.is_of_credential()
            && let Some(key) = select::key(view, target, &elsewhere.said.wanted, (elsewhere.keys, false))
        {
            record.tried(fault.end, false);
            select::used(view, target, key, &elsewhere.said.wanted);
            call.key = key;
            next = Next::Credential;
        } else if call::move_on(view, matched, request, &mut elsewhere, fault.end, record) {
            next = Next::Target;
        }
    }
    if let Some(call) = &mut request.call {
        call.elsewhere = Some(elsewhere);
    }
    if next != Next::Nobody {
        request.again();
    }
    next
}

/// Makes the request one for the next credential or target where this one takes no more, or for the next target where a
/// budget cannot pay for it here: the next may cost less, or another budget may pay there. Says nothing against the target.
pub(super) fn unpaid(
    worker: &Worker,
    view: &View,
    matched: &RouteMatch<'_>,
    request: &mut UpstreamRequest,
    refused: &Refused,
    record: &mut Recording<'_>,
) -> bool {
    use OutcomeReason as R;
    let Some(call) = &mut request.call else { return false };
    if !matches!(refused.reason, R::BudgetExceeded | R::PriceUnknown | R::RateLimited) || worker.tick() >= request.until
    {
        return false;
    }
    let Some(mut elsewhere) = call.elsewhere.take() else { return false };
    let target = call.plan(view);
    elsewhere.keys |= bit(call.key);
    // Another credential of the pool may have room, where this one was taken up meanwhile.
    let another = (refused.reason == R::RateLimited).then_some((elsewhere.keys, false));
    let moved = match another.and_then(|of| select::key(view, target, &elsewhere.said.wanted, of)) {
        Some(key) => {
            select::used(view, target, key, &elsewhere.said.wanted);
            call.key = key;
            true
        }
        None => {
            let end = TriedEnd::Outcome(refused.reason);
            call::move_on(view, matched, request, &mut elsewhere, end, record)
        }
    };
    if let Some(call) = &mut request.call {
        call.elsewhere = Some(elsewhere);
    }
    if moved {
        request.again();
    }
    moved
}

/// Remembers of a try that lost against one beside it how it ended, or that no answer had begun so long after the try did,
/// the connecting included. In less than the time after which another target is asked, that says nothing; who could not
/// even be connected to by then counts as one that failed.
pub(super) fn beaten(
    view: &View,
    request: &UpstreamRequest,
    ended: Option<&Result<Tried, Refused>>,
    (took, after): (Duration, Duration),
    record: &Recording<'_>,
) {
    let Some((call, elsewhere)) = request.call.as_ref().and_then(|c| Some((c, c.elsewhere.as_deref()?))) else {
        return;
    };
    let (target, wanted) = (call.plan(view), &elsewhere.said.wanted);
    match ended {
        Some(Ok(Tried::Failed(fault, _))) => remember(view, target, call.key, fault, wanted, record),
        Some(_) => {}
        None if took < after => {}
        None => {
            let (pace, now) = (select::pace(view, target, wanted.streams), Instant::now());
            if record.is_sent() { pace.overtaken(now, took) } else { pace.failed(now, took) }
        }
    }
}

/// Keeps the failure of a try that another one goes on instead of, for when nobody else is left.
pub(super) fn note(view: &View, request: &mut UpstreamRequest, fault: &mut Fault) {
    let Some(call) = &mut request.call else { return };
    fault.of_call(Some(call));
    let plan = &view.snapshot.models.list[call.model as usize];
    if let Some(elsewhere) = &mut call.elsewhere {
        elsewhere.retrying.note(view, plan, call.target, fault);
    }
}

/// Remembers a failure: of the credential where that is what was refused, else of the target.
fn remember(view: &View, target: &TargetPlan, key: u32, fault: &Fault, wanted: &Wanted, record: &Recording<'_>) {
    if fault.unsuited.is_some() {
        return;
    }
    let health = view.snapshot.upstreams[target.upstream as usize].health;
    let cooldown = health.cooldown.as_duration();
    let at_once = match fault.end {
        // Ours to say, at no cost.
        TriedEnd::Outcome(OutcomeReason::CredentialUnavailable) => return,
        // 403 is also said of what a call asks for, and 402 of what it may cost: once says nothing of those of others.
        TriedEnd::Status(401) | TriedEnd::Outcome(OutcomeReason::UpstreamCredentialRefused) => {
            Some(fault.retry_after.unwrap_or(cooldown.max(REFUSED)))
        }
        TriedEnd::Status(429) => Some(fault.retry_after.unwrap_or(cooldown)),
        _ => fault.retry_after,
    };
    select::pace(view, target, wanted.streams).failed(Instant::now(), record.waited());
    let own = target.keys.get(key as usize).filter(|_| fault.is_of_credential());
    let injected = own.map(|key| &key.inject).or(view.snapshot.upstreams[target.upstream as usize].inject.as_ref());
    // Another version of it was tried than the one in force: that says nothing of this one.
    if fault.is_of_credential() && injected.is_some_and(|plan| record.credential_differs(view, plan.credential)) {
        return;
    }
    let at = if own.is_some() { target.of_key(key) } else { target.cooling };
    view.coolings[at as usize].ended(fault.end, at_once, (health.failures, cooldown), wanted.application.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_says_how_long_to_wait() {
        let now: Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        let of = |text: &str| retry_after(text.as_bytes(), now);
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of(" 1.5 "), Some(Duration::from_millis(1500)));
        assert_eq!(of("Mon, 23 Nov 2026 02:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(of("99999999999"), Some(LONGEST));
        for nothing in ["0", "-3", "soon", "NaN", "inf", "", "Mon, 23 Nov 2026 01:00:00 GMT"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
        let of = |text: &str| retry_after_ms(text.as_bytes());
        assert_eq!(of("1250"), Some(Duration::from_millis(1250)));
        assert_eq!(of("0.5"), Some(Duration::from_micros(500)));
        assert_eq!(of("1e99"), Some(LONGEST));
        for nothing in ["0", "-3", "soon", "NaN", "inf", ""] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }
}
