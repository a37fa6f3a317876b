//! Checks of how leaks are answered.

use super::Checker;
use crate::{
    config::{report::shown, source::ItemId},
    leak::{LeakAction, LeakResponse},
    resource::Kind,
};

impl Checker<'_> {
    pub(super) fn leak_response(&mut self, id: ItemId, rules: &LeakResponse) {
        if rules.name.as_str() != LeakResponse::NAME {
            let detail = format!("{} answers no leak: there is one set of rules for all", shown(rules.name.as_str()));
            let hint = "name it `default`, and say under by_application and by_credential what is different for some";
            self.problem(id, "name", "not_here", detail, hint);
        }
        for application in rules.by_application.keys() {
            self.refers(id, &format!("by_application.{application}"), Kind::Applications, application);
        }
        for credential in rules.by_credential.keys() {
            self.refers(id, &format!("by_credential.{credential}"), Kind::Credentials, credential);
        }
        let credentials = rules.by_credential.iter().map(|(name, rule)| (format!("by_credential.{name}"), rule));
        for (path, rule) in std::iter::once(("credentials".to_owned(), &rules.credentials)).chain(credentials) {
            if rule.action == LeakAction::Quarantine {
                let detail =
                    "the value of a credential is accepted by its upstream, where nobody can be kept out from here";
                let hint = "choose revoke or notify_only";
                self.problem(id, &format!("{path}.action"), "not_here", detail, hint);
            }
        }
        if !(LeakResponse::SHORTEST..=LeakResponse::LONGEST).contains(&rules.seen_within) {
            let detail = "clients are looked for in the last 1 to 90 days";
            self.problem(id, "seen_within", "out_of_bounds", detail, "write it as in 30d");
        }
        if rules.github_keys.as_ref().is_some_and(|url| url.len() > 2000 || !url.starts_with("http")) {
            let detail = "this is the address of a server, https unless it is this machine";
            let hint = "as in https://api.github.com/meta/public_keys/secret_scanning";
            self.problem(id, "github_keys", "invalid_value", detail, hint);
        }
    }
}
