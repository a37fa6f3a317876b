//! What this node may spend of each budget, and who has how much of it reserved: without locks on the way.
//!
//! A budget's truth is in the database; a node borrows from it ahead of need ([`Ledger`](credentialflow_model::ledger)
//! is that arithmetic). Here is the node's side: one [`Account`] for each window of a budget. A call reserves an upper
//! bound of its cost by one compare-and-swap before it is sent, and settles when its record ends. At any moment
//! `free + held + settled and not yet charged` is what the node has borrowed, so what calls of a hard budget reserve
//! never exceeds what the budget gave.
//!
//! A budget that is only watched asks nobody: what calls cost makes `free` fall below zero, and the next turn covers it.

use crate::Quotas;
use arc_swap::ArcSwapOption;
use credentialflow_model::{
    Timestamp,
    resource::{
        Budget, Kind,
        budget::{BudgetWindow, OF_USERS, budget_id, user_budget_id},
    },
};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// What this node may spend of one window of a budget. Amounts are units of 10^-12 US dollars.
pub struct Account {
    /// The budget and its window, as in `applications/checkout/month@1793491200`.
    key: Arc<str>,
    budget: Arc<str>,
    window: BudgetWindow,
    /// Borrowed, and neither reserved nor spent.
    free: AtomicI64,
    /// Reserved by running calls.
    held: AtomicI64,
    /// Reserved ever; tells how fast it goes.
    taken: AtomicI64,
    /// What calls wait for, and the least that one waits for.
    need: AtomicI64,
    least: AtomicI64,
    /// Below so much more is borrowed ahead of need.
    low: AtomicI64,
    /// Until then nobody asks again for more than the budget had to lend. In microseconds since `made`, so that a clock
    /// that is set back prolongs nothing.
    denied_until: AtomicI64,
    available: AtomicI64,
    /// When the first of what a window that rolls counts is free again, in microseconds since 1970.
    frees: AtomicI64,
    /// Until then nobody asks for more than the budget had left besides what is spent or lost.
    known_until: AtomicI64,
    left: AtomicI64,
    /// How much of the limit is used, as was told last ([`Standing`]).
    standing: AtomicU64,
    /// How often something was reserved or settled.
    uses: AtomicU64,
    made: Instant,
}

/// Part of an account, held for a call. Dropped without [`Reservation::settle`], the call cost nothing.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Account>,
    amount: i64,
    /// Whether it is only watched, and nothing was taken out.
    watched: bool,
}

/// What one call can cost at most, whatever its provider says of it. Two of them are still added up exactly.
pub const MOST_COST: i64 = Budget::MOST_USD as i64 * 1_000_000_000_000;
/// What one call counts for at most where a budget is only watched: 100 US dollars. Nothing is lent for it.
const MOST_WATCHED: i64 = 100_000_000_000_000;

/// Budgets of an application's end users that a process holds at most. Of those who call now; others are forgotten, and
/// what they spent is in the database. One application that makes up names takes no room from another.
pub const MOST_OF_USERS: usize = 50_000;

/// How much of a budget is used, over all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Of its limit, in percent, at most 1000.
    pub percent: u16,
    /// Whether a warning is due.
    pub warns: bool,
}

/// So long it is taken for true how much was used.
const STANDS: Duration = Duration::from_secs(60);

/// Why nothing could be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// More has to be borrowed.
    Borrow,
    /// The budget said a moment ago that it has not so much. `for_good`: not before the window is over, even if all
    /// running calls turn out to cost nothing.
    Denied {
        /// Whether only the next window helps.
        for_good: bool,
    },
}

impl Account {
    fn new(budget: &Arc<str>, window: BudgetWindow) -> Self {
        Self {
            key: format!("{budget}@{}", window.start.secs()).into(),
            budget: budget.clone(),
            window,
            free: AtomicI64::new(0),
            held: AtomicI64::new(0),
            taken: AtomicI64::new(0),
            need: AtomicI64::new(0),
            least: AtomicI64::new(i64::MAX),
            low: AtomicI64::new(0),
            denied_until: AtomicI64::new(0),
            available: AtomicI64::new(0),
            frees: AtomicI64::new(i64::MAX),
            known_until: AtomicI64::new(0),
            left: AtomicI64::new(0),
            standing: AtomicU64::new(0),
            uses: AtomicU64::new(0),
            made: Instant::now(),
        }
    }

    /// The budget and its window, as in `applications/checkout/month@1793491200`.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }
    /// The budget.
    pub fn budget(&self) -> &Arc<str> {
        &self.budget
    }
    /// The window.
    pub fn window(&self) -> BudgetWindow {
        self.window
    }
    /// Borrowed, and neither reserved nor spent; below zero where more was spent than borrowed.
    pub fn free(&self) -> i64 {
        self.free.load(Relaxed)
    }
    /// Reserved by running calls.
    pub fn held(&self) -> i64 {
        self.held.load(Relaxed)
    }
    /// Reserved ever.
    pub fn taken(&self) -> i64 {
        self.taken.load(Relaxed)
    }
    /// How often something was reserved or settled; tells whether it is idle.
    pub fn uses(&self) -> u64 {
        self.uses.load(Relaxed)
    }
    /// Whether so little is left that more is to be borrowed ahead of need.
    pub fn is_low(&self) -> bool {
        self.free.load(Relaxed) < self.low.load(Relaxed)
    }

    /// Reserves for a call of a hard budget, or says what is missing.
    pub fn reserve(self: &Arc<Self>, amount: i64) -> Result<Reservation, Short> {
        let amount = amount.max(0);
        let taken = self.free.fetch_update(Relaxed, Relaxed, |free| (free >= amount).then(|| free - amount));
        match taken {
            Ok(_) => Ok(self.reserved(amount, false)),
            Err(free) => {
                let now = self.after(Duration::ZERO);
                let until = |end: &AtomicI64| now < end.load(Relaxed);
                let for_good = until(&self.known_until) && amount > self.left.load(Relaxed);
                let missing = amount.saturating_sub(free);
                match for_good || (until(&self.denied_until) && missing > self.available.load(Relaxed)) {
                    true => Err(Short::Denied { for_good }),
                    false => Err(Short::Borrow),
                }
            }
        }
    }

    /// Notes what a call of a budget that is only watched may cost.
    pub fn watch(self: &Arc<Self>, amount: i64) -> Reservation {
        self.reserved(amount.clamp(0, MOST_WATCHED), true)
    }

    fn reserved(self: &Arc<Self>, amount: i64, watched: bool) -> Reservation {
        self.held.fetch_add(amount, Relaxed);
        self.taken.fetch_add(amount, Relaxed);
        self.uses.fetch_add(1, Relaxed);
        Reservation { account: self.clone(), amount, watched }
    }

    /// A call waits to reserve so much.
    pub fn want(&self, amount: i64) {
        let _ = self.need.fetch_update(Relaxed, Relaxed, |need| Some(need.saturating_add(amount)));
        self.least.fetch_min(amount, Relaxed);
    }

    /// What is missing for calls that began to wait since the last look, and the least that is missing for one.
    pub fn wanted(&self) -> (i64, i64) {
        let asked = self.need.swap(0, Relaxed);
        let least = self.least.swap(i64::MAX, Relaxed);
        let free = self.free();
        let need = if asked > 0 { asked.saturating_sub(free).max(0) } else { 0 };
        (need, if need > 0 { least.saturating_sub(free).clamp(0, need) } else { 0 })
    }

    /// So much was borrowed; `low` is when more is to be.
    pub fn lend(&self, amount: i64, low: i64) {
        add(&self.free, amount);
        self.low.store(low, Relaxed);
    }

    /// The budget lent less than was asked for, and has so much more to lend. For so long nobody asks for more.
    pub fn deny(&self, available: i64, lasting: Duration) {
        self.available.store(available, Relaxed);
        self.denied_until.store(self.after(lasting), Relaxed);
    }

    /// When more may be there: when the window is over, or, of one that rolls, when the first that it counts is free again,
    /// as was told last. The end of time where nobody knows.
    pub fn frees(&self) -> Timestamp {
        self.window.end.min(Timestamp::from_micros(self.frees.load(Relaxed)))
    }

    /// When the first of what a window that rolls counts is free again.
    pub fn tell_frees(&self, at: Timestamp) {
        self.frees.store(at.micros(), Relaxed);
    }

    /// How much is used; `None` where nobody told within the last minute.
    pub fn standing(&self) -> Option<Standing> {
        let told = self.standing.load(Relaxed);
        let age = u64::try_from(self.after(Duration::ZERO)).unwrap_or(0).saturating_sub((told >> 16).saturating_sub(1));
        let told_of = Standing { percent: (told & 0x7fff) as u16, warns: told & 0x8000 != 0 };
        (told != 0 && u128::from(age) < STANDS.as_micros()).then_some(told_of)
    }

    /// Whether it was used up when that was told last; `None` where nobody told. What is used of a window of the calendar
    /// never becomes less, that of one that rolls does, so there it is known for a minute.
    pub fn is_used_up(&self) -> Option<bool> {
        if self.window == BudgetWindow::ALWAYS {
            return self.standing().map(|standing| standing.percent >= 100);
        }
        let told = self.standing.load(Relaxed);
        (told != 0).then_some(told & 0x7fff >= 100)
    }

    /// Whether it is that of an end user, of whom there may be many.
    pub fn is_of_user(&self) -> bool {
        application_of_user(&self.budget).is_some()
    }

    /// How much is used.
    pub fn tell_standing(&self, Standing { percent, warns }: Standing) {
        let now = u64::try_from(self.after(Duration::ZERO)).unwrap_or(0).saturating_add(1);
        self.standing.store(now << 16 | u64::from(warns) << 15 | u64::from(percent.min(1000)), Relaxed);
    }

    /// What the budget has besides what is spent or lost. For so long nobody asks for more.
    pub fn tell_left(&self, left: i64, lasting: Duration) {
        self.left.store(left, Relaxed);
        self.known_until.store(self.after(lasting), Relaxed);
    }

    fn after(&self, lasting: Duration) -> i64 {
        i64::try_from((self.made.elapsed().saturating_add(lasting)).as_micros()).unwrap_or(i64::MAX)
    }

    fn forget_denials(&self) {
        self.known_until.store(0, Relaxed);
        self.denied_until.store(0, Relaxed);
    }

    /// Takes out what is free above `keep`, to be given back.
    pub fn give_back(&self, keep: i64) -> i64 {
        let keep = keep.max(0);
        self.free.fetch_update(Relaxed, Relaxed, |free| (free > keep).then_some(keep)).map_or(0, |free| free - keep)
    }
}

/// The application whose end user it is the budget of, if it is one's.
fn application_of_user(budget: &str) -> Option<&str> {
    Some(budget.strip_prefix(OF_USERS)?.strip_prefix('/')?.split_once('/')?.0)
}

/// Adds, and stays at the ends of what can be counted: a sum that wrapped would be money out of nothing.
fn add(sum: &AtomicI64, amount: i64) {
    let _ = sum.fetch_update(Relaxed, Relaxed, |sum| Some(sum.saturating_add(amount)));
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (free {}, held {})", self.key, self.free(), self.held())
    }
}

impl Reservation {
    /// The account.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// How much is reserved.
    pub const fn amount(&self) -> i64 {
        self.amount
    }

    /// The call is over and cost so much, which may be more than was reserved.
    pub fn settle(mut self, cost: i64) {
        self.account.uses.fetch_add(1, Relaxed);
        self.release(cost.max(0));
    }

    fn release(&mut self, cost: i64) {
        let amount = std::mem::take(&mut self.amount);
        // In this order, so that nobody sees less taken than is.
        let back = if self.watched { 0 } else { amount };
        add(&self.account.free, back.saturating_sub(cost));
        self.account.held.fetch_sub(amount, Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.release(0);
        }
    }
}

/// A budget as it is configured now.
pub struct LiveBudget {
    id: Arc<str>,
    kind: Kind,
    definition: Budget,
    limit: i64,
    current: ArcSwapOption<Account>,
    book: Arc<Book>,
}

impl LiveBudget {
    /// Its name, as in `applications/checkout/month`.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }
    /// What kind of thing it is the budget of.
    pub const fn kind(&self) -> Kind {
        self.kind
    }
    /// What is configured.
    pub fn definition(&self) -> &Budget {
        &self.definition
    }
    /// Whether calls that it cannot pay are refused.
    pub fn is_hard(&self) -> bool {
        self.definition.hard
    }
    /// The limit of a window.
    pub const fn limit(&self) -> i64 {
        self.limit
    }

    /// The account of a moment. Takes a lock only when a window begins.
    pub fn account(&self, at: Timestamp) -> Arc<Account> {
        if let Some(account) = &*self.current.load()
            && account.window.holds(at)
        {
            return account.clone();
        }
        let account = self.book.account(&self.id, self.definition.window(at));
        self.current.store(Some(account.clone()));
        account
    }
}

impl fmt::Debug for LiveBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.id, self.definition)
    }
}

/// The budgets of this process and their accounts, and what else it counts of calls. One for all snapshots, so that a new configuration forgets nothing.
#[derive(Debug, Default)]
pub struct Book {
    pages: Mutex<Pages>,
    quotas: Quotas,
}

#[derive(Debug, Default)]
struct Pages {
    /// As configured, the newest last; those before it are of older snapshots.
    live: HashMap<Arc<str>, Vec<Arc<LiveBudget>>>,
    /// By their budgets, of which each has few windows.
    accounts: HashMap<Arc<str>, Vec<Arc<Account>>>,
    /// How many of them are those of end users, by application.
    users: HashMap<Box<str>, OfUsers>,
}

/// How many budgets and accounts of end users there are.
#[derive(Debug, Default)]
struct OfUsers {
    budgets: usize,
    accounts: usize,
}

impl Pages {
    /// The count that a budget or an account belongs to, where it is an end user's.
    fn of_users(&mut self, budget: &str) -> Option<&mut OfUsers> {
        let application = application_of_user(budget)?;
        if !self.users.contains_key(application) {
            self.users.insert(application.into(), OfUsers::default());
        }
        self.users.get_mut(application)
    }

    /// Whether so many more budgets of end users of an application have room.
    fn has_room(&self, application: &str, more: usize) -> bool {
        let held = self.users.get(application).map_or(0, |of| of.budgets.max(of.accounts));
        held + more <= MOST_OF_USERS
    }

    /// What was heard of another limit holds no call up.
    fn forget_denials(&self, budget: &str) {
        self.accounts.get(budget).into_iter().flatten().for_each(|account| account.forget_denials());
    }
}

impl Book {
    /// How many tokens are used, and how many requests run.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The budgets of something as they are configured now, as they are written.
    pub fn live_budgets<'a>(
        self: &'a Arc<Self>,
        kind: Kind,
        name: &'a str,
        definitions: &'a [Budget],
    ) -> impl Iterator<Item = Arc<LiveBudget>> + 'a {
        definitions.iter().map(move |definition| self.live_budget(kind, name, definition))
    }

    /// The budget of something as it is configured now.
    pub fn live_budget(self: &Arc<Self>, kind: Kind, name: &str, definition: &Budget) -> Arc<LiveBudget> {
        self.enter(&mut self.pages(), kind, budget_id(kind, name, definition), definition)
    }

    /// The budgets of an end user of an application; `None` where this process holds [`MOST_OF_USERS`] of others. Room is
    /// made by [`Book::tidy`], which looks at all budgets and so is no part of a call.
    pub fn user_budgets(
        self: &Arc<Self>,
        application: &str,
        user: &str,
        definitions: &[Budget],
    ) -> Option<Arc<[Arc<LiveBudget>]>> {
        let ids: Vec<_> = definitions.iter().map(|definition| user_budget_id(application, user, definition)).collect();
        let mut pages = self.pages();
        let new = ids.iter().filter(|id| !pages.live.contains_key(id.as_str())).count();
        if new > 0 && !pages.has_room(application, new) {
            return None;
        }
        let enter = |(id, definition)| self.enter(&mut pages, Kind::Applications, id, definition);
        Some(ids.into_iter().zip(definitions).map(enter).collect())
    }

    fn enter(self: &Arc<Self>, pages: &mut Pages, kind: Kind, id: String, definition: &Budget) -> Arc<LiveBudget> {
        if let Some(known) = pages.live.get_mut(id.as_str())
            && let Some(at) = known.iter().position(|known| known.definition == *definition)
        {
            let newest = at + 1 == known.len();
            let same = known.remove(at);
            known.push(same.clone());
            if !newest {
                pages.forget_denials(&same.id);
            }
            return same;
        }
        let id: Arc<str> = id.into();
        pages.forget_denials(&id);
        let budget = Arc::new(LiveBudget {
            id: id.clone(),
            kind,
            limit: definition.pico(),
            definition: definition.clone(),
            current: ArcSwapOption::empty(),
            book: self.clone(),
        });
        pages.of_users(&id).into_iter().for_each(|of| of.budgets += 1);
        pages.live.entry(id).or_default().push(budget.clone());
        budget
    }

    /// Forgets budgets that no snapshot and no worker has any more. Their accounts stay until they are settled, and those
    /// of end users have their budget until then: a call may take longer than a worker remembers whom it is for.
    pub fn tidy(&self) {
        let Pages { live, accounts, users } = &mut *self.pages();
        users.values_mut().for_each(|of| of.budgets = 0);
        live.retain(|id, budgets| {
            let application = application_of_user(id);
            let newest = budgets.last().filter(|_| application.is_some() && accounts.contains_key(id)).cloned();
            budgets.retain(|budget| {
                let is_newest = newest.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, budget));
                is_newest || Arc::strong_count(budget) > 1
            });
            if let Some(of) = application.and_then(|application| users.get_mut(application)) {
                of.budgets += budgets.len();
            }
            !budgets.is_empty()
        });
        users.retain(|_, of| of.budgets > 0 || of.accounts > 0);
    }

    /// All accounts, each with its budget where that is still configured.
    pub fn accounts(&self) -> Vec<(Arc<Account>, Option<Arc<LiveBudget>>)> {
        let pages = self.pages();
        let of = |(budget, accounts): (&Arc<str>, &Vec<Arc<Account>>)| {
            let live = pages.live.get(budget).and_then(|live| live.last()).cloned();
            accounts.iter().map(|account| (account.clone(), live.clone())).collect::<Vec<_>>()
        };
        pages.accounts.iter().flat_map(of).collect()
    }

    /// A budget that is configured, by its name.
    pub fn find(&self, budget: &str) -> Option<Arc<LiveBudget>> {
        self.pages().live.get(budget)?.last().cloned()
    }

    /// The budgets that are configured.
    pub fn live(&self) -> Vec<Arc<LiveBudget>> {
        self.pages().live.values().filter_map(|live| live.last()).cloned().collect()
    }

    /// Forgets an account that nobody uses any more and whose window is over.
    pub fn forget(&self, gone: &Arc<Account>) {
        let pages = &mut *self.pages();
        let Some(accounts) = pages.accounts.get_mut(&gone.budget) else { return };
        let before = accounts.len();
        accounts.retain(|account| !Arc::ptr_eq(account, gone));
        let fewer = before - accounts.len();
        if accounts.is_empty() {
            pages.accounts.remove(&gone.budget);
        }
        pages.of_users(&gone.budget).into_iter().for_each(|of| of.accounts -= fewer);
        // Should the clock go back into that window, it gets an account that turns look at.
        for budget in pages.live.get(&gone.budget).into_iter().flatten() {
            budget.current.rcu(|current| current.clone().filter(|current| !Arc::ptr_eq(current, gone)));
        }
    }

    fn account(&self, budget: &Arc<str>, window: BudgetWindow) -> Arc<Account> {
        let account = Account::new(budget, window);
        let pages = &mut *self.pages();
        let accounts = pages.accounts.entry(budget.clone()).or_default();
        if let Some(known) = accounts.iter().find(|known| known.key == account.key) {
            return known.clone();
        }
        let account = Arc::new(account);
        accounts.push(account.clone());
        pages.of_users(budget).into_iter().for_each(|of| of.accounts += 1);
        account
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
