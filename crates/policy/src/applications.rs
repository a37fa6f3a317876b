//! What each application may use and how often, compiled for one snapshot.
//!
//! Names become numbers here, once; a request then costs one array look-up and one bit test however
//! many routes there are. Rules are addressed by the key table's application numbers.

use crate::{
    Book, CompiledLimit, KeyTable, LiveBudget, LiveQuota, ModelSlot, Patterns, RateKey, RouteSlot, UserQuotas,
    quota::Owner,
};
use credentialflow_model::{
    Name,
    resource::{Application, Budget, Budgets, Kind, Team},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// The snapshot's numbers for names. A name it does not know is allowed to nobody.
pub trait Slots {
    /// The number of a route.
    fn route(&self, name: &Name) -> Option<RouteSlot>;
    /// The number of a model.
    fn model(&self, name: &Name) -> Option<ModelSlot>;
}

/// What each application may use, by the key table's application number.
#[derive(Debug, Default)]
pub struct ApplicationRules(Box<[Option<ApplicationRule>]>);

/// What one application may use.
#[derive(Debug)]
pub struct ApplicationRule {
    routes: SlotSet,
    models: SlotSet,
    prompts: HashSet<Name>,
    /// By route, in order.
    tools: Box<[(u32, Patterns)]>,
    limit: Option<(RateKey, CompiledLimit)>,
    quotas: Box<[Arc<LiveQuota>]>,
    budgets: Box<[Arc<LiveBudget>]>,
    users: Option<Box<UserRule>>,
}

/// How an application's calls name the end users that they are for, and what each of those may spend and use.
#[derive(Debug)]
pub struct UserRule {
    application: Box<str>,
    header: Option<Box<str>>,
    budgets: Box<[Budget]>,
    quotas: Option<Arc<UserQuotas>>,
    book: Arc<Book>,
}

impl UserRule {
    /// The header that names the end user, in lower case; the call itself where there is none.
    pub fn header(&self) -> Option<&str> {
        self.header.as_deref()
    }

    /// What each of them may spend.
    pub fn definitions(&self) -> &[Budget] {
        &self.budgets
    }

    /// The budgets of an end user; `None` where there are too many of them. Takes a lock: whoever asks keeps the answer.
    pub fn budgets_of(&self, user: &str) -> Option<Arc<[Arc<LiveBudget>]>> {
        self.book.user_budgets(&self.application, user, &self.budgets)
    }

    /// What each of them may use, where that is limited.
    pub fn quotas(&self) -> Option<&UserQuotas> {
        self.quotas.as_deref()
    }
}

impl ApplicationRules {
    /// Compiles the rules. Applications without a number in `table` are left out, so intern them
    /// first ([`KeyTable::with_applications`]); a key whose application has no rule may use nothing.
    /// Budgets, also those of their teams, are entered into `book`.
    pub fn compile<'a>(
        applications: impl IntoIterator<Item = &'a Application>,
        teams: &[Team],
        table: &KeyTable,
        slots: &impl Slots,
        book: &Arc<Book>,
    ) -> Self {
        let teams: HashMap<&str, &Team> = teams.iter().map(|team| (team.name.as_str(), team)).collect();
        let mut rules = Vec::new();
        rules.resize_with(table.applications().len(), || None);
        for application in applications {
            let Some(slot) = table.applications().slot(application.name.as_str()) else { continue };
            let own = Budgets::of(application.budget.as_ref());
            let own = book.live_budgets(Kind::Applications, application.name.as_str(), own);
            let team = application.team.as_ref().and_then(|team| teams.get(team.as_str()));
            let of = book.quotas();
            let quotas = [
                of.live(Owner::APPLICATION, application.name.as_str(), application.limit.as_ref(), false),
                team.and_then(|team| of.live(Owner::TEAM, team.name.as_str(), team.limit.as_ref(), true)),
            ];
            let shared = team.map(|team| (team.name.as_str(), Budgets::of(team.budget.as_ref())));
            let shared = shared.into_iter().flat_map(|(team, of)| book.live_budgets(Kind::Teams, team, of));
            let rule = ApplicationRule {
                routes: application.allow.routes.iter().filter_map(|n| slots.route(n)).map(|s| s.0).collect(),
                models: application.allow.models.iter().filter_map(|n| slots.model(n)).map(|s| s.0).collect(),
                prompts: application.allow.prompts.iter().cloned().collect(),
                tools: tools(application, slots),
                limit: application
                    .limit
                    .as_ref()
                    .and_then(CompiledLimit::of_requests)
                    .map(|limit| (RateKey::named("application", application.name.as_str()), limit)),
                quotas: quotas.into_iter().flatten().collect(),
                budgets: own.chain(shared).collect(),
                users: application.users.as_ref().map(|users| {
                    Box::new(UserRule {
                        application: application.name.as_str().into(),
                        header: users.header.as_ref().map(|header| header.to_ascii_lowercase().into()),
                        budgets: Budgets::of(users.budget.as_ref()).into(),
                        quotas: of.of_users(application.name.as_str(), users.limit.as_ref()),
                        book: book.clone(),
                    })
                }),
            };
            if let Some(place) = rules.get_mut(slot as usize) {
                *place = Some(rule);
            }
        }
        Self(rules.into_boxed_slice())
    }

    /// The rule of an application, if it has one.
    pub fn get(&self, application: u32) -> Option<&ApplicationRule> {
        self.0.get(application as usize)?.as_ref()
    }

    /// How many application numbers these rules cover. Fewer than the key table has means that the
    /// rules are older than the table and must be compiled anew.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no application is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ApplicationRule {
    /// Whether it may use a route.
    pub fn allows_route(&self, route: RouteSlot) -> bool {
        self.routes.contains(route.0)
    }
    /// Whether it may use a model.
    pub fn allows_model(&self, model: ModelSlot) -> bool {
        self.models.contains(model.0)
    }
    /// Whether its calls may name a prompt.
    pub fn allows_prompt(&self, name: &str) -> bool {
        self.prompts.contains(name)
    }
    /// Which tools of an MCP server it may use, where that is narrower than what the route offers.
    pub fn tools(&self, route: RouteSlot) -> Option<&Patterns> {
        let at = self.tools.binary_search_by_key(&route.0, |(slot, _)| *slot).ok()?;
        Some(&self.tools[at].1)
    }
    /// Its rate limit over all keys.
    pub fn limit(&self) -> Option<&(RateKey, CompiledLimit)> {
        self.limit.as_ref()
    }
    /// Its limits of tokens and of requests at once, then its team's.
    pub fn quotas(&self) -> &[Arc<LiveQuota>] {
        &self.quotas
    }
    /// The budgets that its model calls are charged to beside those of the key: its own, then its team's.
    pub fn budgets(&self) -> &[Arc<LiveBudget>] {
        &self.budgets
    }
    /// How its end users are told apart, if they are.
    pub fn users(&self) -> Option<&UserRule> {
        self.users.as_deref()
    }
}

fn tools(application: &Application, slots: &impl Slots) -> Box<[(u32, Patterns)]> {
    let named = |(name, patterns): (&Name, &Vec<String>)| Some((slots.route(name)?.0, Patterns::compile(patterns)));
    let mut tools: Vec<_> = application.allow.tools.iter().filter_map(named).collect();
    tools.sort_unstable_by_key(|(slot, _)| *slot);
    tools.into_boxed_slice()
}

/// A set of small numbers: a short sorted list, or bits once that is smaller.
#[derive(Debug)]
enum SlotSet {
    Few(Box<[u32]>),
    Bits(Box<[u64]>),
}

const FEW: usize = 8;

impl SlotSet {
    fn contains(&self, slot: u32) -> bool {
        match self {
            Self::Few(slots) => slots.contains(&slot),
            Self::Bits(words) => words.get((slot / 64) as usize).is_some_and(|word| word >> (slot % 64) & 1 == 1),
        }
    }
}

impl FromIterator<u32> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Self {
        let slots: Vec<u32> = slots.into_iter().collect();
        if slots.len() <= FEW {
            return Self::Few(slots.into_boxed_slice());
        }
        let mut words = vec![0u64; slots.iter().max().map_or(0, |most| (*most / 64) as usize + 1)];
        for slot in slots {
            words[(slot / 64) as usize] |= 1 << (slot % 64);
        }
        Self::Bits(words.into_boxed_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_slot_set_is_a_set(slots in proptest::collection::btree_set(0u32..500, 0..40), probe in 0u32..600) {
            let set: SlotSet = slots.iter().copied().collect();
            let reference: &BTreeSet<u32> = &slots;
            prop_assert_eq!(set.contains(probe), reference.contains(&probe));
        }
    }
}
