//! Who uses the accounts at providers that models lead to, as far as the configuration tells: which applications reach a
//! credential, by models and by routes.

use credentialflow_model::{
    Name, ResourceSet,
    resource::{Authenticator, Model, Target, Upstream},
};
use hashbrown::HashMap;

/// What stands for an account: the credential that leads there, or where there is none, the upstream.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Account<'s> {
    Credential(&'s Name),
    Upstream(&'s Name),
}

/// The applications that use something.
#[derive(Clone, Copy, Default)]
enum Users<'s> {
    #[default]
    Nobody,
    One(&'s Name),
    /// Several, or anybody.
    Many,
}

impl<'s> Users<'s> {
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nobody, some) | (some, Self::Nobody) => some,
            (Self::One(a), Self::One(b)) if a == b => self,
            _ => Self::Many,
        }
    }
}

/// The accounts of a configuration.
pub(super) struct Accounts<'s> {
    upstreams: HashMap<&'s Name, &'s Upstream>,
    /// Those that stand in one pool are taken for one and the same: the number of each.
    numbers: HashMap<Account<'s>, usize>,
    users: Vec<Users<'s>>,
}

impl<'s> Accounts<'s> {
    /// Who uses each. Keys only narrow what their application may, so they do not matter here.
    pub fn of(set: &'s ResourceSet) -> Self {
        let upstreams = set.upstreams.iter().map(|upstream| (&upstream.name, upstream)).collect();
        let mut all = Self { upstreams, numbers: HashMap::new(), users: Vec::new() };
        for target in set.models.iter().flat_map(|model| &model.targets) {
            all.join(target);
        }
        let (mut models, mut routes) = (HashMap::<&Name, Users<'s>>::new(), HashMap::<&Name, Users<'s>>::new());
        for application in &set.applications {
            let one = Users::One(&application.name);
            for (names, of) in [(&application.allow.models, &mut models), (&application.allow.routes, &mut routes)] {
                for name in names {
                    let users = of.entry(name).or_default();
                    *users = users.with(one);
                }
            }
        }
        for model in &set.models {
            let users = models.get(&model.name).copied().unwrap_or_default();
            for target in &model.targets {
                for account in all.of_target(target) {
                    all.used(account, users);
                }
            }
        }
        for route in &set.routes {
            let users = match route.authenticate.contains(&Authenticator::None) {
                true => Users::Many,
                false => routes.get(&route.name).copied().unwrap_or_default(),
            };
            for name in route.upstreams() {
                let account = all.of_upstream(name);
                all.used(account, users);
            }
        }
        all
    }

    /// Whether no more than one application uses the accounts of a model's targets.
    pub fn are_of_one(&self, model: &Model) -> bool {
        let numbers = model.targets.iter().flat_map(|target| self.of_target(target));
        let users = numbers.filter_map(|account| self.users.get(*self.numbers.get(&account)?));
        !matches!(users.fold(Users::Nobody, |all, users| all.with(*users)), Users::Many)
    }

    /// The accounts that a target leads to, one or several of a pool.
    fn of_target(&self, target: &'s Target) -> Vec<Account<'s>> {
        let upstream = self.upstreams.get(&target.provider).copied();
        let own: Vec<_> = target.pool(upstream).map(|one| Account::Credential(one.name)).collect();
        if own.is_empty() { vec![self.of_upstream(&target.provider)] } else { own }
    }

    fn of_upstream(&self, name: &'s Name) -> Account<'s> {
        let upstream = self.upstreams.get(name);
        let inject = upstream.and_then(|upstream| upstream.inject.as_ref()?.credential());
        let shown = || upstream.and_then(|upstream| upstream.tls.as_ref()?.client_certificate.as_ref());
        inject.or_else(shown).map_or(Account::Upstream(name), Account::Credential)
    }

    fn number(&mut self, account: Account<'s>) -> usize {
        let next = self.users.len();
        let number = *self.numbers.entry(account).or_insert(next);
        if number == next {
            self.users.push(Users::Nobody);
        }
        number
    }

    /// Takes the credentials of a pool for those of one account. Nobody uses any yet.
    fn join(&mut self, target: &'s Target) {
        let mut first = None;
        for account in self.of_target(target) {
            let number = self.number(account);
            let first = *first.get_or_insert(number);
            if number != first {
                self.numbers.values_mut().filter(|other| **other == number).for_each(|other| *other = first);
            }
        }
    }

    fn used(&mut self, account: Account<'s>, by: Users<'s>) {
        let number = self.number(account);
        if let Some(users) = self.users.get_mut(number) {
            *users = users.with(by);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::config;

    /// The models whose accounts are one application's alone.
    fn of_one(yaml: &str) -> Vec<String> {
        let (set, _, problems) = config::read("test.yaml", yaml);
        assert!(problems.0.is_empty(), "{problems:?}");
        let accounts = Accounts::of(&set);
        set.models.iter().filter(|model| accounts.are_of_one(model)).map(|model| model.name.to_string()).collect()
    }

    const UPSTREAMS: &str = "
upstreams:
  - { name: own, endpoints: [\"http://127.0.0.1:1\"], provider: openai, inject: { bearer: a } }
  - { name: plain, endpoints: [\"http://127.0.0.1:1\"], inject: { header: { name: x-key, credential: b } } }
  - { name: local, endpoints: [\"http://127.0.0.1:1\"], provider: vllm }
";

    #[test]
    fn an_account_is_shared_by_whoever_reaches_its_credential() {
        let models = "models:
  - { name: by-a, targets: [{ provider: openai, model: m, credential: a }] }
  - { name: also-a, targets: [{ provider: own, model: m }] }
  - { name: by-b, targets: [{ provider: openai, model: m, credential: b }] }
  - { name: both, targets: [{ provider: own, model: m }, { provider: openai, model: m, credential: b }] }
  - { name: local, targets: [{ provider: local, model: m }] }
";
        let of_one = |rest: &str| of_one(&format!("{UPSTREAMS}{models}{rest}"));
        assert_eq!(of_one(""), ["by-a", "also-a", "by-b", "both", "local"], "nobody can ask");
        let all = "applications:
  - { name: x, allow: { models: [by-a, also-a, by-b, both, local] } }
";
        assert_eq!(of_one(all), ["by-a", "also-a", "by-b", "both", "local"]);
        let two = format!("{all}  - {{ name: y, allow: {{ models: [also-a] }} }}\n");
        assert_eq!(of_one(&two), ["by-b", "local"], "y reaches a by another model");
        let apart = "applications:
  - { name: x, allow: { models: [by-a] } }
  - { name: y, allow: { models: [by-b, local] } }
";
        assert_eq!(of_one(apart), ["by-a", "also-a", "by-b", "local"], "whoever asked both would read two accounts");
        let narrowed = format!("{two}keys:\n  - {{ name: k, application: y, allow: {{ models: [] }} }}\n");
        assert_eq!(of_one(&narrowed), ["by-b", "local"], "another key of y may ask");
        let route = "routes:
  - { name: r, match: { path: /x/* }, upstream: plain, authenticate: [api_key] }
applications:
  - { name: x, allow: { models: [by-a, by-b] } }
  - { name: y, allow: { routes: [r] } }
";
        assert_eq!(of_one(route), ["by-a", "also-a", "local"], "y reaches b by a route");
        let open = route.replace("[api_key]", "[none]").replace("  - { name: y, allow: { routes: [r] } }\n", "");
        assert_eq!(of_one(&open), ["by-a", "also-a", "local"], "anybody reaches b by a route");
    }

    #[test]
    fn credentials_of_an_upstream_are_the_accounts_of_its_targets() {
        let yaml = "
upstreams:
  - { name: own, endpoints: [\"http://127.0.0.1:1\"], provider: openai, inject: { bearer: i }, credentials: [{ name: a, models: [x] }, { name: b, models: [y*] }] }
models:
  - { name: by-a, targets: [{ provider: own, model: x }] }
  - { name: by-b, targets: [{ provider: own, model: yes }] }
  - { name: apart, targets: [{ provider: openai, model: m, credential: i }] }
applications:
  - { name: one, allow: { models: [by-a, by-b, apart] } }
  - { name: two, allow: { models: [by-b] } }
";
        assert_eq!(of_one(yaml), ["by-a", "apart"]);
    }

    #[test]
    fn credentials_of_a_pool_are_taken_for_one_account() {
        let yaml = "
models:
  - { name: pool, targets: [{ provider: openai, model: m, credentials: [{ name: a }, { name: b }] }] }
  - { name: other, targets: [{ provider: openai, model: m, credentials: [{ name: c }, { name: b }] }] }
  - { name: first, targets: [{ provider: openai, model: m, credential: a }] }
  - { name: last, targets: [{ provider: openai, model: m, credential: c }] }
  - { name: apart, targets: [{ provider: openai, model: m, credential: d }] }
  - { name: by-upstream, targets: [{ provider: own, model: m }] }
upstreams:
  - { name: own, endpoints: [\"http://127.0.0.1:1\"], provider: openai, credentials: [{ name: e }, { name: c }] }
applications:
  - { name: x, allow: { models: [first, apart] } }
";
        assert_eq!(of_one(yaml), ["pool", "other", "first", "last", "apart", "by-upstream"]);
        let two = format!("{yaml}  - {{ name: y, allow: {{ models: [last] }} }}\n");
        assert_eq!(of_one(&two), ["apart"], "a and c are one by b, and e by c");
    }
}
