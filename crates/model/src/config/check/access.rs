//! Checks of who may call what: applications, keys, models.

use super::Checker;
use crate::{
    Period,
    config::{report::nearest, report::shown, source::ItemId},
    key::is_label,
    resource::{Allow, Application, Budget, BudgetPeriod, Budgets, Key, Kind, Model, Target},
};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

/// Headers whose values are secrets.
const CREDENTIAL_HEADERS: [&str; 6] =
    ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "x-amz-security-token"];

impl Checker<'_> {
    pub(super) fn application(&mut self, id: ItemId, application: &Application) {
        self.description(id, application.description.as_deref());
        if let Some(team) = &application.team {
            self.refers(id, "team", Kind::Teams, team);
        }
        self.allow(id, &application.allow);
        self.limit(id, application.limit.as_ref());
        self.budgets(id, application.budget.as_ref());
        if let Some(users) = &application.users {
            if let Some(header) = &users.header {
                self.header_name(id, "users.header", header);
                if CREDENTIAL_HEADERS.iter().any(|known| header.eq_ignore_ascii_case(known)) {
                    let detail = "this header holds credentials, and the call log shows users";
                    self.problem(id, "users.header", "invalid_header", detail, "name one of its own, as in x-end-user");
                }
            }
            self.budgets_at(id, "users.budget", users.budget.as_ref());
            self.limit_at(id, "users.limit", users.limit.as_ref());
        }
    }

    pub(super) fn key(&mut self, id: ItemId, key: &Key) {
        self.description(id, key.description.as_deref());
        self.refers(id, "application", Kind::Applications, &key.application);
        if !is_label(key.environment.as_bytes()) {
            let detail = "an environment has 1 to 12 characters from a-z and 0-9";
            self.problem(id, "environment", "invalid_value", detail, "as in live or test");
        }
        if let (Some(from), Some(to)) = (key.not_before, key.expires)
            && from >= to
        {
            let detail = "the key expires before it begins to be valid";
            self.problem(id, "not_before", "contradiction", detail, "put not_before before expires");
        }
        if let Some(allow) = &key.allow {
            self.allow(id, allow);
        }
        self.limit(id, key.limit.as_ref());
        self.budgets(id, key.budget.as_ref());
        self.metadata(id, &key.metadata);
        self.delegation(id, key);
    }

    fn allow(&mut self, id: ItemId, allow: &Allow) {
        for (index, route) in allow.routes.iter().enumerate() {
            self.refers(id, &format!("allow.routes[{index}]"), Kind::Routes, route);
        }
        for (index, model) in allow.models.iter().enumerate() {
            self.refers(id, &format!("allow.models[{index}]"), Kind::Models, model);
        }
        for (index, prompt) in allow.prompts.iter().enumerate() {
            self.refers(id, &format!("allow.prompts[{index}]"), Kind::Prompts, prompt);
        }
        self.tools(id, &allow.tools);
    }

    pub(super) fn budgets(&mut self, id: ItemId, budgets: Option<&Budgets>) {
        self.budgets_at(id, "budget", budgets);
    }

    fn budgets_at(&mut self, id: ItemId, at: &str, budgets: Option<&Budgets>) {
        match budgets {
            None => {}
            Some(Budgets::One(budget)) => self.budget(id, at, budget),
            Some(Budgets::Several(budgets)) => {
                if budgets.len() > Budgets::MOST {
                    let detail = format!("a list has at most {} budgets", Budgets::MOST);
                    self.problem(id, at, "out_of_bounds", detail, "each asks to be paid of, call by call");
                }
                for (index, budget) in budgets.iter().enumerate() {
                    let path = format!("{at}[{index}]");
                    if budgets[..index].iter().any(|before| before.per == budget.per) {
                        let detail = format!("there is a budget per {} already", budget.per);
                        let hint = "give it another window; of one window the smaller amount is what counts";
                        self.problem(id, &format!("{path}.per"), "duplicate", detail, hint);
                    }
                    self.budget(id, &path, budget);
                }
            }
        }
    }

    fn budget(&mut self, id: ItemId, at: &str, budget: &Budget) {
        let usd = budget.usd.amount();
        if usd.is_zero() || usd > Decimal::from(Budget::MOST_USD) {
            let detail = "a budget is above zero and at most 4000000 US dollars";
            let hint = "to allow no model, take it out of `allow.models`";
            self.problem(id, &format!("{at}.usd"), "out_of_bounds", detail, hint);
        }
        if let Some(length) = budget.per.rolling()
            && !(BudgetPeriod::SHORTEST..=BudgetPeriod::LONGEST).contains(&length)
        {
            let detail = "a window that rolls is a minute to 90 days long";
            let hint = "write a duration, as in 24h, or hour, day, week or month";
            self.problem(id, &format!("{at}.per"), "out_of_bounds", detail, hint);
        }
        if let Some(zone) = &budget.time_zone {
            let path = format!("{at}.time_zone");
            if TimeZone::get(zone).is_err() {
                let detail = format!("{} is no time zone", shown(zone));
                self.problem(id, &path, "invalid_value", detail, "write its IANA name, as in Europe/Berlin");
            } else if budget.per.rolling().is_some() {
                let detail = "a window that rolls begins at no hour of any clock";
                self.problem(
                    id,
                    &path,
                    "contradiction",
                    detail,
                    "leave the time zone out, or write day, week or month",
                );
            }
        }
        if let Some(percent) = budget.warn_at
            && !(1..=99).contains(&percent)
        {
            let detail = "a warning comes at 1 to 99 percent";
            let hint = "at 100 percent there is always one";
            self.problem(id, &format!("{at}.warn_at"), "out_of_bounds", detail, hint);
        }
        if let Some(then) = &budget.when_used_up {
            let path = format!("{at}.when_used_up");
            if let Some(model) = &then.model {
                self.refers(id, &format!("{path}.model"), Kind::Models, model);
            }
            if budget.hard {
                let detail = "a hard budget refuses calls when it is used up";
                self.problem(id, &path, "contradiction", detail, "leave one of `hard` and `when_used_up` out");
            }
            let is_provider = id.kind == Kind::Upstreams;
            let problem = match (is_provider, &then.model, then.next_target) {
                (true, Some(_), _) => {
                    let hint = "write `next_target: true`, or this at the model, the application, the team or the key";
                    Some((
                        "contradiction",
                        "the budget of a provider is known to pay only when a call goes there",
                        hint,
                    ))
                }
                (false, _, true) => {
                    let detail = "only the budget of a provider has calls go to other targets";
                    Some(("contradiction", detail, "write `model` with its name, or this at the upstream"))
                }
                (true, None, false) => Some(("missing", "what happens then is not said", "write `next_target: true`")),
                (false, None, false) => {
                    Some(("missing", "what happens then is not said", "write `model` with its name"))
                }
                _ => None,
            };
            if let Some((code, detail, hint)) = problem {
                self.problem(id, &path, code, detail, hint);
            }
        }
    }

    pub(super) fn model(&mut self, id: ItemId, model: &Model) {
        self.description(id, model.description.as_deref());
        self.budgets(id, model.budget.as_ref());
        self.limit(id, model.limit.as_ref());
        self.guardrails(id, model);
        self.routing(id, model);
        self.cache(id, model);
        if model.targets.is_empty() {
            let hint = "write at least one `- { provider: …, model: … }`";
            self.problem(id, "targets", "empty", "a model needs a target", hint);
        }
        if model.targets.len() > Model::MOST_TARGETS {
            let detail = format!("a model has at most {} targets", Model::MOST_TARGETS);
            self.problem(id, "targets", "out_of_bounds", detail, "an upstream may have several endpoints");
        }
        if let Some(deadline) = model.deadline {
            self.waits(id, "deadline", deadline);
        }
        for (index, target) in model.targets.iter().enumerate() {
            self.target(id, &format!("targets[{index}]"), target);
        }
    }

    fn target(&mut self, id: ItemId, path: &str, target: &Target) {
        let provider = target.provider.as_str();
        let declared = self.source.incomplete || self.upstream_providers.contains_key(provider);
        if !declared && self.context.own_address.contains(&provider) {
            let detail = format!("{provider} has no address of its own");
            let hint = format!("declare an upstream with `provider: {provider}` and its endpoint, and name that");
            self.problem(id, &format!("{path}.provider"), "missing", detail, &hint);
        } else if !declared && !self.context.providers.contains(&provider) {
            let known = self.context.providers.iter().chain(self.upstream_providers.keys()).copied();
            let hint = match nearest(provider, known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => {
                    format!("built in: {}; or declare an upstream with `provider`", self.context.providers.join(", "))
                }
            };
            let detail = format!("{} is no built-in provider and no upstream with a provider", shown(provider));
            self.problem(id, &format!("{path}.provider"), "unknown_name", detail, &hint);
        }
        if let Some(credential) = &target.credential {
            self.injects(id, &format!("{path}.credential"), credential);
        }
        self.pool(id, path, target);
        if target.model.is_empty() || target.model.len() > 256 || target.model.chars().any(char::is_control) {
            let detail = "the provider's name of the model has 1 to 256 characters";
            self.problem(id, &format!("{path}.model"), "invalid_value", detail, "as the provider writes it");
        }
        self.limit_at(id, &format!("{path}.limit"), target.limit.as_ref());
        if !(1..=1000).contains(&target.weight) {
            let hint = "remove the target to give it no calls";
            self.problem(id, &format!("{path}.weight"), "out_of_bounds", "a weight is 1 to 1000", hint);
        }
        if target.priority > 100 {
            let hint = "0 comes first";
            self.problem(id, &format!("{path}.priority"), "out_of_bounds", "a priority is 0 to 100", hint);
        }
        if let Some(timeout) = target.timeout {
            self.waits(id, &format!("{path}.timeout"), timeout);
        }
        for (index, pair) in target.prices.windows(2).enumerate() {
            if pair[0].from >= pair[1].from {
                let path = format!("{path}.prices[{}].from", index + 1);
                let detail = "prices are listed from the earliest date to the latest, each date once";
                self.problem(id, &path, "unsorted", detail, "sort the entries by `from`");
            }
        }
    }

    /// A time that callers wait for an answer.
    fn waits(&mut self, id: ItemId, path: &str, period: Period) {
        if !(100..=3_600_000).contains(&period.as_millis()) {
            let detail = "the time is 100 ms to 1 h";
            self.problem(id, path, "out_of_bounds", detail, "callers do not wait longer than that");
        }
    }
}
