//! Money: reserves an upper bound of a model call's cost before it is sent, and settles when its record ends.
//!
//! What is reserved: as many input tokens as the body has bytes, at the dearest price for input, and the answers'
//! longest length ([`Bound`]) at the price for output, of each budget that pays. What is settled: what the provider
//! counted, to the last token; where its count did not arrive, an estimate that is never above the reservation and
//! never nothing ([`Paying::settle`]). Where no budget pays, nothing is reserved, and what the provider did not count
//! is estimated by the same rule.

use super::{
    Refused, body,
    record::Recording,
    translate::{UpstreamBody, UpstreamRequest},
    usage::UsageProbe,
    users,
};
use crate::{
    net::control::{Control, Interrupt},
    snapshot::models::{ModelPlan, TargetPlan},
    worker::{View, Worker},
};
use credentialflow_llm::{
    PriceHandle,
    bound::{Bound, Keeps, may_have_sound},
    named,
    produced::{Produced, estimated_tokens},
    provider::Dialect,
    task::{
        Task,
        units::{Size, Units},
    },
    tier::Asked,
};
use credentialflow_model::{
    OutcomeReason, Timestamp, UsageRecord,
    resource::budget::{BudgetWindow, OF_USERS, pico, usd},
    usage::{Cost, ModelUse, TokenUsage},
};
use credentialflow_policy::{Account, LiveBudget, Principal, Reservation, Short, budget::MOST_COST};
use std::{cell::OnceCell, sync::Arc, time::Duration};

/// The longest a call waits until more is borrowed, of all its budgets together.
pub(super) const WAIT: Duration = Duration::from_secs(3);
/// How often a call asks, where others take what came.
const ROUNDS: usize = 64;

/// A call that a budget pays for.
pub(crate) struct Paying {
    reservations: Vec<Reservation>,
    /// The most that it was to cost.
    most: i64,
    /// Whether the provider has the whole request, and how far it got with it is not known.
    working: bool,
    /// Whether nothing in the answer can be counted: it is compressed, or no text.
    unreadable: bool,
    /// What parts of it may have cost that are not among what was answered.
    parts: i64,
    /// The windows that pay, as records name them, once one does.
    windows: OnceCell<Arc<str>>,
    price: PriceHandle,
    /// Bytes of the body that was sent.
    sent: u64,
    /// What the model wrote, as far as it came.
    pub produced: Produced,
}

/// The budgets that pay for what this caller has a target do: the narrowest first, so that one that has nothing holds back
/// nothing of what others share.
pub(super) fn payers(
    view: &View,
    principal: &Principal,
    (model, target): (&ModelPlan, &TargetPlan),
    record: &Recording<'_>,
) -> Result<Vec<Arc<LiveBudget>>, Refused> {
    let key = principal.key();
    let of_keys = key.into_iter().flat_map(|key| key.budgets());
    let rule = key.and_then(|key| view.snapshot.applications.get(key.application()));
    let of_application = rule.map_or(&[][..], |rule| rule.budgets());
    let of_user = users::budgets(view, principal, record)?;
    let others = of_keys.chain(of_application).chain(&model.budgets).chain(&target.budgets);
    Ok(of_user.iter().cloned().chain(others.cloned()).collect())
}

/// Reserves what the call may cost, waiting for more of the budget where that is needed; or refuses the call.
pub(super) async fn reserve(
    worker: &Worker,
    view: &View,
    control: &Control,
    principal: &Principal,
    request: &UpstreamRequest,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let (Some(call), UpstreamBody::Buffered(sent)) = (&request.call, &request.body) else { return Ok(()) };
    let key = principal.key();
    let of_keys = || key.into_iter().flat_map(|key| key.budgets());
    let rule = key.and_then(|key| view.snapshot.applications.get(key.application()));
    let of_application = rule.map_or(&[][..], |rule| rule.budgets());
    let model = &view.snapshot.models.list[call.model as usize];
    let target = &model.targets[call.target as usize];
    if matches!(call.usage, UsageProbe::Free) {
        return Ok(());
    }
    let asked = if call.task == Task::Chat { Asked::of(sent) } else { Asked::Usual };
    record.asks(asked);
    let of_user = users::budgets(view, principal, record)?;
    // The narrowest first, so that one that has nothing holds back nothing of what others share.
    let budgets = || of_user.iter().chain(of_keys()).chain(of_application).chain(&model.budgets).chain(&target.budgets);
    let price = target.price.clone();
    if budgets().next().is_none() {
        let price = price.asked_for(record.time(), asked);
        let has_price = matches!(price.cost(record.time(), &TokenUsage::default()), Cost::Known(_));
        if call.task == Task::Chat && (has_price || record.held().counts_tokens()) {
            record.pays(Paying::of_nobody(price, sent.len() as u64));
        }
        return Ok(());
    }
    let hard = budgets().find(|budget| budget.is_hard());
    let sent = Sent { task: call.task, size: &call.size, dialect: call.dialect, body: sent };
    let most = most_of(&sent, target, (asked, &price), hard, record.time())?.unwrap_or(0);
    // One for all, however many have to be waited for.
    if hard.is_some() {
        control.set_deadline(worker.tick_in(WAIT));
    }
    let reservations = of_each(worker, control, budgets(), record.time(), most).await;
    if hard.is_some() {
        control.clear_deadline();
    }
    let reservations = reservations?;
    record.pays(Paying {
        reservations,
        most,
        working: false,
        // What is no text cannot be estimated from what passes.
        unreadable: !call.task.is_of_text(),
        parts: 0,
        windows: OnceCell::new(),
        price: price.asked_for(record.time(), asked),
        sent: sent.body.len() as u64,
        produced: Produced::default(),
    });
    Ok(())
}

/// A call as it is sent to a target.
pub(super) struct Sent<'a> {
    pub task: Task,
    pub size: &'a Size,
    pub dialect: Dialect,
    pub body: &'a [u8],
}

/// The most that a call may cost at a target, where its price is known; or why a budget that is a hard limit cannot pay for
/// it there, whatever it has.
pub(super) fn most_of(
    sent: &Sent<'_>,
    target: &TargetPlan,
    (asked, price): (Asked, &PriceHandle),
    hard: Option<&Arc<LiveBudget>>,
    at: Timestamp,
) -> Result<Option<i64>, Refused> {
    if let (Some(budget), Some(field)) = (hard, price.lacks_tier(at, asked)) {
        return Err(without_price(field, budget));
    }
    if let Some(budget) = hard
        && let Some(field) = named::unbounded(sent.body, sent.dialect)
    {
        return Err(not_bounded(field, budget));
    }
    if let Some(budget) = hard
        && sent.size.is_unbounded(sent.task)
    {
        return Err(not_in_the_body(budget));
    }
    let keeps = match sent.dialect {
        Dialect::Responses => target.keeps_of_responses,
        Dialect::Gemini => Keeps::GenerationConfig,
        Dialect::Bedrock => Keeps::InferenceConfig,
        // What its fields are called, each of its models says itself.
        Dialect::Replicate => Keeps::Nothing,
        Dialect::OpenAi | Dialect::Anthropic => target.keeps,
    };
    let (bound, units) = match sent.task {
        Task::Chat => {
            let bound = Bound::of(sent.body, keeps, target.longest);
            let priced = price.at(at);
            // Where anything in it may be sound, all of it may; and all of the answer, where its sound has a price.
            let may_hear = priced.is_some_and(|price| price.audio_input.is_some()) && may_have_sound(sent.body);
            let audio_tokens = if may_hear { bound.input } else { 0 };
            (bound, Units { audio_tokens, audio_output_tokens: bound.output, ..Units::default() })
        }
        task => sent.size.most(task, sent.body.len() as u64),
    };
    let most = price.most_in(at, asked, &bound, &units).map(pico);
    if most.is_none() && hard.is_some() {
        return Err(Refused::new(OutcomeReason::PriceUnknown));
    }
    Ok(most)
}

/// Reserves of each budget in turn.
pub(super) async fn of_each(
    worker: &Worker,
    control: &Control,
    budgets: impl IntoIterator<Item = &Arc<LiveBudget>>,
    at: Timestamp,
    most: i64,
) -> Result<Vec<Reservation>, Refused> {
    // Dropped when a later one refuses: nothing stays held.
    let mut reservations = Vec::new();
    for budget in budgets {
        let reservation = match budget.is_hard() {
            true => borrow(worker, control, budget, at, most).await?,
            false => budget.account(at).watch(most),
        };
        if budget.is_hard() && reservation.account().is_low() {
            worker.shared.lender.running_low();
        }
        reservations.push(reservation);
    }
    Ok(reservations)
}

/// Reserves of a hard budget, until the deadline.
async fn borrow(
    worker: &Worker,
    control: &Control,
    budget: &LiveBudget,
    at: Timestamp,
    amount: i64,
) -> Result<Reservation, Refused> {
    let unavailable = || Refused::new(OutcomeReason::BudgetUnavailable).with_retry_after(Duration::from_secs(1));
    let refused = |for_good| exceeded(budget, &budget.account(at), for_good, worker.now());
    // More than the budget ever has: nobody needs to be asked.
    if amount > budget.limit() {
        return Err(refused(true));
    }
    let mut asked = false;
    for _ in 0..ROUNDS {
        // Each time: that of an end user who was idle may be forgotten at this moment.
        let account = budget.account(at);
        match account.reserve(amount) {
            Ok(reservation) => return Ok(reservation),
            Err(Short::Denied { for_good }) => return Err(refused(for_good)),
            Err(Short::Borrow) => match control.wait(worker.shared.lender.borrow(&account, amount)).await {
                Ok(true) => asked = true,
                Ok(false) => return Err(unavailable()),
                // The budget was asked and others took what it gave: it is there, and short.
                Err(Interrupt::Deadline) if asked => return Err(refused(false)),
                Err(why) => return Err(body::interrupted(why, OutcomeReason::BudgetUnavailable)),
            },
        }
    }
    Err(refused(false))
}

/// Says which budget, and when it may have more; nothing about amounts.
pub(super) fn exceeded(budget: &LiveBudget, account: &Account, for_good: bool, now: Timestamp) -> Refused {
    let whose = whose(budget);
    let until =
        |end: Timestamp| Duration::from_micros(u64::try_from(end.micros().saturating_sub(now.micros())).unwrap_or(0));
    let (detail, after) = match (for_good, budget.definition().per.rolling()) {
        (true, None) => {
            let end = account.window().end;
            (format!("{whose} cannot pay for this call; the next one begins at {end}"), until(end))
        }
        (true, Some(length)) => {
            // When the first of what it counts is free again, which nobody can say of a call that is too large for it.
            let frees = until(account.frees()).min(length.as_duration());
            (format!("{whose} cannot pay for this call"), frees)
        }
        (false, _) => (format!("calls that are running hold what is left of {whose}"), Duration::from_secs(1)),
    };
    Refused::new(OutcomeReason::BudgetExceeded).with_detail(detail).with_retry_after(after.max(Duration::from_secs(1)))
}

/// What a call of a few bytes can make its provider read by naming it has no bound that could be held back.
pub(super) fn not_bounded(field: &str, budget: &LiveBudget) -> Refused {
    let detail = format!(
        "`{field}` names what the provider keeps, so what the call may cost cannot be known, and {} is a hard limit; send \
         what it stands for",
        whose(budget)
    );
    Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail)
}

/// The prices that are known are for what nobody asked to be served faster or elsewhere.
fn without_price(field: &str, budget: &LiveBudget) -> Refused {
    let detail = format!(
        "`{field}` asks for what costs more than the price that is known, and {} is a hard limit; leave it out",
        whose(budget)
    );
    Refused::new(OutcomeReason::PriceUnknown).with_detail(detail)
}

/// How long sound is that the provider fetches itself is known to nobody before it did.
fn not_in_the_body(budget: &LiveBudget) -> Refused {
    let detail = format!(
        "how long the sound is cannot be known where the call does not bring it as the file of a form, and {} is a hard limit; \
         send the file",
        whose(budget)
    );
    Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail)
}

/// A budget as a caller may know it.
fn whose(budget: &LiveBudget) -> String {
    let of = owner(budget.id().split('/').next().unwrap_or_default());
    match budget.definition().per.rolling() {
        Some(length) => format!("the {of}'s budget for any {length}"),
        None => format!("the {of}'s budget for this {}", budget.definition().per),
    }
}

/// Whose budget, as callers are told.
fn owner(kind: &str) -> &'static str {
    match kind {
        OF_USERS => "user",
        "keys" => "key",
        "teams" => "team",
        "models" => "model",
        "upstreams" => "provider",
        _ => "application",
    }
}

impl Paying {
    /// Of a call that no budget pays for: what its provider did not count is estimated all the same.
    fn of_nobody(price: PriceHandle, sent: u64) -> Self {
        let (reservations, windows, produced) = (Vec::new(), OnceCell::new(), Produced::default());
        let (working, unreadable, parts) = (false, false, 0);
        Self { reservations, most: i64::MAX, working, unreadable, parts, windows, price, sent, produced }
    }

    /// Tokens that were sent and that came, as far as can be seen.
    pub fn seen(&self) -> (u64, u64) {
        (estimated_tokens(self.sent), self.produced.tokens())
    }

    /// Writes the field that tells how far budgets are used, as in `"application/month";r=17;t=691200;warn`: of each, as
    /// far as it is known, its owner and window, what is left of it in percent, in how many seconds it has more, and
    /// whether it runs out. Nothing about amounts, which others may have spent.
    pub fn push_field(&self, now: Timestamp, fields: &mut Vec<u8>) {
        let mut first = true;
        for reservation in &self.reservations {
            let account = reservation.account();
            let words = (account.budget().split_once('/'), account.budget().rsplit_once('/'));
            let (Some(standing), (Some((kind, _)), Some((_, per)))) = (account.standing(), words) else { continue };
            let frees = u64::try_from(account.frees().micros().saturating_sub(now.micros())).unwrap_or(0);
            fields.extend_from_slice(if first { b"x-credentialflow-budget: \"" } else { b", \"" });
            first = false;
            for part in [owner(kind), "/", per, "\";r="] {
                fields.extend_from_slice(part.as_bytes());
            }
            let mut number = itoa::Buffer::new();
            fields.extend_from_slice(number.format(100u16.saturating_sub(standing.percent)).as_bytes());
            // Where nobody knows when there is more, nothing is used.
            if account.frees() < BudgetWindow::ALWAYS.end {
                fields.extend_from_slice(b";t=");
                fields.extend_from_slice(number.format(frees.div_ceil(1_000_000)).as_bytes());
            }
            if standing.warns {
                fields.extend_from_slice(b";warn");
            }
        }
        if !first {
            fields.extend_from_slice(b"\r\n");
        }
    }

    /// The provider has the whole request of this try, and how far it got with it is not known.
    pub fn may_be_working(&mut self) {
        self.working = true;
    }

    /// The provider has a part of so many bytes, and how far it got with that is not known, though it is of the rest: its
    /// share of what was reserved is paid beside that.
    pub fn may_be_working_on(&mut self, bytes: u64) {
        if self.reservations.is_empty() {
            return;
        }
        let share = (i128::from(self.most) * i128::from(bytes)).div_euclid(i128::from(self.sent.max(1)));
        self.parts = self.parts.saturating_add(i64::try_from(share).unwrap_or(i64::MAX).max(1));
    }

    /// Whether the provider may have to be paid for a part of it.
    pub const fn has_parts(&self) -> bool {
        self.parts > 0
    }

    /// Whether the tokens of what came are not to be told from its bytes.
    const fn is_uncountable(&self) -> bool {
        self.unreadable || self.produced.is_more_than_text()
    }

    /// The answer is compressed: nothing in it can be counted.
    pub fn unreadable(&mut self) {
        self.unreadable = true;
    }

    /// Settles with what the call cost, and writes what was charged into the record.
    ///
    /// Where the provider's count did not arrive: of a stream that had begun, the input and the text that came, three
    /// bytes a token; of a call whose answer never came although the provider may have worked on it (the caller left, the
    /// key was revoked, the answer took too long, the connection was reset after the request had gone), of a whole answer
    /// that was cut, and of any that is compressed, is spoken or holds a picture, all that was reserved. An answer that is
    /// an error, or none because the provider cannot be reached, costs nothing. (A try that the provider may have worked on
    /// is never repeated.)
    pub fn settle(self, record: &mut UsageRecord, reached: bool) {
        let Some(cost) = self.charge(record, reached) else { return };
        self.reservations.into_iter().for_each(|reservation| reservation.settle(cost));
    }

    /// Writes into the record what [`Self::settle`] charges; `None` where that is nothing.
    pub fn charge(&self, record: &mut UsageRecord, reached: bool) -> Option<i64> {
        let told = self.cost(record, reached)?;
        let model = record.model.as_mut()?;
        let cost = told.min(MOST_COST);
        if cost != told {
            // Nothing costs that much: its provider counts wrong.
            model.cost = Some(Cost::Estimated(usd(cost)));
        }
        if matches!(model.cost, Some(Cost::Known(_) | Cost::Estimated(_))) && !self.reservations.is_empty() {
            model.budgets = Some(self.windows());
        }
        Some(cost)
    }

    /// Settles a try after which another target is tried, by the same rule. What it may have cost, and the windows that are
    /// charged with it, where that is anything.
    pub fn settle_try(self, record: &mut UsageRecord, reached: bool) -> Option<(i64, Arc<str>)> {
        if self.reservations.is_empty() {
            return None;
        }
        let cost = self.cost(record, reached)?.min(MOST_COST);
        let windows = self.windows();
        self.reservations.into_iter().for_each(|reservation| reservation.settle(cost));
        (cost > 0).then_some((cost, windows))
    }

    fn windows(&self) -> Arc<str> {
        self.windows.get_or_init(|| windows(&self.reservations)).clone()
    }

    /// What the call cost, which is in the record then; `None` where there is nothing to charge.
    fn cost(&self, record: &mut UsageRecord, reached: bool) -> Option<i64> {
        let cost = self.cost_of_rest(record, reached);
        if !self.has_parts() {
            return cost;
        }
        Some(estimate_of(record.model.as_mut()?, cost.unwrap_or(0).saturating_add(self.parts)))
    }

    /// As [`Self::cost`], but for parts whose end is not known.
    fn cost_of_rest(&self, record: &mut UsageRecord, reached: bool) -> Option<i64> {
        let Self { most, price, sent, produced, .. } = self;
        let (time, outcome, status) = (record.time, record.outcome, record.upstream_status);
        let model = record.model.as_mut()?;
        let success = (200..300).contains(&status);
        Some(match model.cost {
            Some(Cost::Known(cost) | Cost::Estimated(cost)) => pico(cost),
            Some(Cost::UnknownPrice) => 0,
            _ if success && !self.is_uncountable() && (model.streamed || outcome == OutcomeReason::Served) => {
                let estimate = price.cost(time, &estimated(model, *sent, produced));
                match estimate {
                    Cost::Known(cost) => estimate_of(model, pico(cost).min(*most)),
                    other => {
                        model.cost = Some(other);
                        0
                    }
                }
            }
            // Where nothing was reserved, what it may have cost at most is not known.
            _ if self.reservations.is_empty() => return None,
            _ if success => estimate_of(model, *most),
            _ if status == 0 && reached && (self.working || may_be_working(outcome)) => estimate_of(model, *most),
            _ => return None,
        })
    }
}

/// The windows that are charged, as records name them.
pub(super) fn windows(reservations: &[Reservation]) -> Arc<str> {
    match reservations {
        [one] => one.account().key().clone(),
        several => several.iter().map(|one| &**one.account().key()).collect::<Vec<_>>().join(" ").into(),
    }
}

fn estimate_of(model: &mut ModelUse, amount: i64) -> i64 {
    // Without a price nothing was reserved, and what is not known is no estimate.
    if amount > 0 {
        model.cost = Some(Cost::Estimated(usd(amount)));
    }
    amount
}

/// What was read and written where nobody counted it all: what the provider told before the end of a stream counts, where
/// it is no nought.
fn estimated(model: &ModelUse, sent: u64, produced: &Produced) -> TokenUsage {
    let told = model.tokens.filter(|told| told.input > 0);
    let told = told.unwrap_or_else(|| TokenUsage { input: estimated_tokens(sent), ..TokenUsage::default() });
    TokenUsage { output: told.output.max(produced.tokens()), ..told }
}

/// Whether the provider may have worked on a call although nothing of its answer came.
const fn may_be_working(outcome: OutcomeReason) -> bool {
    use OutcomeReason as R;
    matches!(outcome, R::CallerClosed | R::Revoked | R::Overloaded | R::UpstreamTimeout | R::Internal)
}
