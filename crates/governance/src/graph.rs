//! What leads to what: from an application over its keys and routes to upstreams and the credentials behind them.
//!
//! Read from what is declared and from nothing else, so it answers what *can* be used; what *is* used stands in the
//! call log. Secrets that applications fetch at run time are no part of it: a mount keeps its own login and names no
//! credential, and what opens one is told by the policies of whoever asks.

use credentialflow_model::{
    Name, ResourceSet, SecretReference,
    resource::{Allow, Application, Authenticator, Key, Model, Prompt, Route, Target, Upstream},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// Where a credential can be used. Names, each list in alphabetical order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Reach {
    /// Upstreams it is injected for, shown to or trusted at; for a key those behind its routes and models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<String>,
    /// Routes that lead there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Of those, the ones that ask nobody who they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open_routes: Vec<String>,
    /// Models it serves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Applications that may use one of these routes or models; for a key its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<String>,
    /// Targets: those whose logins it can change, and the one it lives in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Stores that are not ours: those it lets us into, and those its value comes from or is written to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<String>,
    /// Credentials it stands behind: those it changes at a target, those whose values come from a store it opens,
    /// copies of its value, certificates it signs, and for a key those that are injected for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<String>,
    /// Policies of the run-time API that say what it opens there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
}

impl Reach {
    /// Whether it leads nowhere.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is declared, in the form in which it is asked about.
pub struct Graph<'s> {
    set: &'s ResourceSet,
    applications: HashMap<&'s str, &'s Application>,
    routes: HashMap<&'s str, &'s Route>,
    teams: BTreeSet<&'s str>,
    /// Which credential an upstream injects, or the certificate it is shown where it injects none.
    injected: HashMap<&'s str, &'s Name>,
}

impl<'s> Graph<'s> {
    /// Over everything declared; keys in it are not needed.
    pub fn new(set: &'s ResourceSet) -> Self {
        // A record names the certificate that was shown where nothing was injected.
        let shown = |u: &'s Upstream| u.tls.as_ref()?.client_certificate.as_ref();
        let used = |u: &'s Upstream| u.inject.as_ref().and_then(|i| i.credential()).or_else(|| shown(u));
        let injects = set.upstreams.iter().filter_map(|u| Some((u.name.as_str(), used(u)?)));
        Self {
            set,
            applications: set.applications.iter().map(|a| (a.name.as_str(), a)).collect(),
            routes: set.routes.iter().map(|r| (r.name.as_str(), r)).collect(),
            teams: set.teams.iter().map(|t| t.name.as_str()).collect(),
            injected: injects.collect(),
        }
    }

    /// An application.
    pub fn application(&self, name: &str) -> Option<&'s Application> {
        self.applications.get(name).copied()
    }

    /// Whether there is such a team.
    pub fn has_team(&self, name: &str) -> bool {
        self.teams.contains(name)
    }

    /// Where a credential we hold can be used.
    pub fn of_credential(&self, name: &str) -> Reach {
        let injecting = |u: &&str| self.injected.get(*u).is_some_and(|c| c.as_str() == name);
        let handshakes = |u: &Upstream| {
            let tls = u.tls.iter().flat_map(|tls| [&tls.client_certificate, &tls.ca]);
            tls.flatten().any(|c| c.as_str() == name)
        };
        let leads = self.set.upstreams.iter().filter(|u| injecting(&u.name.as_str()) || handshakes(u));
        let declared: Vec<_> = leads.map(|u| u.name.as_str()).collect();
        let serving = |t: &&Target| self.credentials_of(t).any(|c| c.as_str() == name);
        let leads = |r: &&Route| {
            r.upstreams().any(|upstream| declared.contains(&upstream.as_str()))
                || self.models_of(r).any(|m| m.targets.iter().any(|t| serving(&t)))
        };
        let routes: Vec<&Route> = self.set.routes.iter().filter(leads).collect();
        let mut upstreams: BTreeSet<&str> = declared.iter().copied().collect();
        let shares = |u: &&Upstream| u.credentials.iter().any(|c| c.name.as_str() == name);
        upstreams.extend(self.set.upstreams.iter().filter(shares).map(|u| u.name.as_str()));
        let mut models = BTreeSet::new();
        for model in &self.set.models {
            for target in model.targets.iter().filter(serving) {
                models.insert(model.name.as_str());
                upstreams.insert(target.provider.as_str());
            }
        }
        let uses = |allow: &Allow| {
            allow.routes.iter().any(|r| routes.iter().any(|route| route.name == *r))
                || allow.models.iter().any(|m| models.contains(m.as_str()))
        };
        let applications = self.set.applications.iter().filter(|a| uses(&a.allow)).map(|a| a.name.as_str());
        let administers: Vec<_> =
            self.set.targets.iter().filter(|t| t.credential.as_str() == name).map(|t| t.name.as_str()).collect();
        let mut targets: BTreeSet<&str> = administers.iter().copied().collect();
        let lets_in = self.set.stores.iter().filter(|s| s.credential.as_ref().is_some_and(|c| c.as_str() == name));
        let opened: Vec<_> = lets_in.map(|s| s.name.as_str()).collect();
        let mut stores: BTreeSet<&str> = opened.iter().copied().collect();
        let mut behind = BTreeSet::new();
        for credential in &self.set.credentials {
            let lives_in = credential.database.as_ref().map(|rule| rule.target.as_str());
            let comes_from = match &credential.value {
                Some(SecretReference::Store(place)) => Some(place.store.as_str()),
                _ => None,
            };
            if credential.name.as_str() == name {
                targets.extend(lives_in);
                stores.extend(comes_from);
                stores.extend(credential.sync.iter().map(|rule| rule.store.as_str()));
            } else if lives_in.is_some_and(|target| administers.contains(&target))
                || comes_from.is_some_and(|store| opened.contains(&store))
                || matches!(&credential.value, Some(SecretReference::Credential(of)) if of.as_str() == name)
                || credential
                    .certificate
                    .as_ref()
                    .is_some_and(|c| c.authority.as_ref().is_some_and(|of| of.as_str() == name))
            {
                behind.insert(credential.name.as_str());
            }
        }
        Reach {
            open_routes: sorted(routes.iter().filter(|r| is_open(r)).map(|r| r.name.as_str())),
            routes: sorted(routes.iter().map(|r| r.name.as_str())),
            applications: sorted(applications),
            upstreams: sorted(upstreams),
            models: sorted(models),
            targets: sorted(targets),
            stores: sorted(stores),
            credentials: sorted(behind),
            policies: Vec::new(),
        }
    }

    /// What a key may use: what its application is allowed, narrowed by the key. Names that lead nowhere are left out.
    pub fn granted(&self, key: &Key) -> Allow {
        let Some(application) = self.application(key.application.as_str()) else { return Allow::default() };
        let keep = |mine: &[Name], narrowed: Option<&Vec<Name>>, known: &dyn Fn(&str) -> bool| {
            let kept = mine.iter().filter(|n| known(n.as_str()) && narrowed.is_none_or(|list| list.contains(n)));
            kept.cloned().collect()
        };
        let narrow = key.allow.as_ref();
        let model = |name: &str| self.set.models.iter().any(|m| m.name.as_str() == name);
        let prompt = |name: &str| self.set.prompts.iter().any(|p| p.name.as_str() == name);
        let route = |name: &str| self.routes.contains_key(name);
        Allow {
            routes: keep(&application.allow.routes, narrow.map(|a| &a.routes), &route),
            models: keep(&application.allow.models, narrow.map(|a| &a.models), &model),
            prompts: keep(&application.allow.prompts, narrow.map(|a| &a.prompts), &prompt),
            tools: application.allow.tools.clone(),
        }
    }

    /// Where a key can be used, and which credentials are injected for it there.
    pub fn of_key(&self, key: &Key) -> Reach {
        let granted = self.granted(key);
        let (mut upstreams, mut credentials) = (BTreeSet::new(), BTreeSet::new());
        let routes: Vec<_> = granted.routes.iter().filter_map(|name| self.routes.get(name.as_str())).collect();
        for route in &routes {
            for upstream in route.upstreams() {
                upstreams.insert(upstream.as_str());
                credentials.extend(self.injected.get(upstream.as_str()).map(|c| c.as_str()));
            }
        }
        let published = routes.iter().flat_map(|route| self.models_of(route));
        for model in self.set.models.iter().filter(|m| granted.models.contains(&m.name)).chain(published) {
            for target in &model.targets {
                upstreams.insert(target.provider.as_str());
                credentials.extend(self.credentials_of(target).map(Name::as_str));
            }
        }
        Reach {
            open_routes: sorted(routes.iter().filter(|r| is_open(r)).map(|r| r.name.as_str())),
            routes: sorted(granted.routes.iter().map(Name::as_str)),
            models: sorted(granted.models.iter().map(Name::as_str)),
            applications: vec![key.application.to_string()],
            upstreams: sorted(upstreams),
            credentials: sorted(credentials),
            targets: Vec::new(),
            stores: Vec::new(),
            policies: Vec::new(),
        }
    }

    /// Whether a request like a recorded one would carry this credential now. `Err` says why not.
    pub fn carries(&self, credential: &str, route: Option<&str>, model: Option<&str>) -> Result<(), &'static str> {
        if let Some(model) = model {
            let Some(model) = self.set.models.iter().find(|m| m.name.as_str() == model) else {
                return Err("its model is no longer declared");
            };
            let mine = |t: &Target| self.credentials_of(t).any(|c| c.as_str() == credential);
            return if model.targets.iter().any(mine) { Ok(()) } else { Err("its model uses another credential now") };
        }
        let Some(route) = route.and_then(|name| self.routes.get(name)) else {
            return Err("its route is no longer declared");
        };
        let mut injected = route.upstreams().filter_map(|upstream| self.injected.get(upstream.as_str()));
        match injected.any(|injected| injected.as_str() == credential) {
            true => Ok(()),
            false => Err("its route uses another credential now"),
        }
    }

    /// Whether a request on this route passes without any key.
    pub fn is_open(&self, route: &str) -> bool {
        self.routes.get(route).is_some_and(|route| is_open(route))
    }

    /// The models that the prompt of a route may be said to.
    fn models_of(&self, route: &Route) -> impl Iterator<Item = &'s Model> {
        let name = route.prompt.as_ref().map(|prompt| prompt.name.clone());
        let prompt = name.and_then(|name| self.set.prompts.iter().find(|prompt| prompt.name == name));
        let mut names: Vec<&Name> = prompt.into_iter().flat_map(Prompt::models).collect();
        names.sort_unstable();
        names.dedup();
        let set = self.set;
        names.into_iter().filter_map(move |name| set.models.iter().find(|model| model.name == *name))
    }

    /// The credentials that a model's target uses: its own, or those of its upstream.
    fn credentials_of(&self, target: &'s Target) -> impl Iterator<Item = &'s Name> {
        let declared = self.set.upstreams.iter().find(|u| u.provider.is_some() && u.name == target.provider);
        let own = target.pool(declared).next().is_some();
        let of_upstream = if own { None } else { declared.and_then(|u| u.inject.as_ref()?.credential()) };
        target.pool(declared).map(|one| one.name).chain(of_upstream)
    }
}

fn is_open(route: &Route) -> bool {
    route.authenticate.contains(&Authenticator::None)
}

fn sorted<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    names.into_iter().collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::world;
    use credentialflow_model::resource::{CertificateRule, Engine, PooledCredential, UpstreamCredential, UpstreamTls};

    #[test]
    fn a_credential_leads_to_everything_that_uses_it() {
        let set = world();
        let reach = Graph::new(&set).of_credential("orders-token");
        assert_eq!(reach.upstreams, ["orders"]);
        assert_eq!(reach.routes, ["orders", "public"]);
        assert_eq!(reach.open_routes, ["public"]);
        assert_eq!(reach.applications, ["billing", "checkout"]);
        assert_eq!(reach.credentials, ["orders-copy"]);
        assert!(reach.models.is_empty() && reach.targets.is_empty());
    }

    #[test]
    fn models_use_the_target_s_credential_or_their_upstream_s() {
        let set = world();
        let graph = Graph::new(&set);
        assert_eq!(graph.of_credential("openai-primary").models, ["large", "small"]);
        let local = graph.of_credential("local-token");
        assert_eq!((local.models, local.upstreams), (vec!["small".to_owned()], vec!["local".to_owned()]));
        assert_eq!(graph.of_credential("openai-primary").applications, ["checkout"]);
    }

    #[test]
    fn each_key_of_a_pool_leads_to_its_models() {
        let mut set = world();
        let pooled = |name: &str| PooledCredential { name: name.parse().unwrap(), weight: 1, limit: None };
        let target = set.models.iter_mut().flat_map(|m| &mut m.targets).find(|t| t.credential.is_some()).unwrap();
        target.credential = None;
        target.credentials = vec![pooled("orders-token"), pooled("orders-copy")];
        let graph = Graph::new(&set);
        for name in ["orders-token", "orders-copy"] {
            assert_eq!(graph.of_credential(name).models.len(), 1, "{name}");
        }
    }

    #[test]
    fn a_key_declared_at_an_upstream_leads_to_the_models_that_it_may_be_used_for() {
        let mut set = world();
        let local = set.upstreams.iter_mut().find(|u| u.name.as_str() == "local").unwrap();
        local.credentials = ["orders-token", "openai-primary"]
            .map(|name| UpstreamCredential { name: name.parse().unwrap(), weight: 1, limit: None, models: None })
            .into();
        local.credentials[0].models = Some(vec!["l*".into()]);
        let graph = Graph::new(&set);
        let orders = graph.of_credential("orders-token");
        assert_eq!((orders.models.len(), orders.upstreams), (0, vec!["local".to_owned(), "orders".to_owned()]));
        assert!(graph.carries("orders-token", None, Some("small")).is_err());
        assert!(graph.carries("openai-primary", None, Some("small")).is_ok());
        assert!(graph.of_credential("local-token").models.is_empty(), "the pool is in its place");
        set.upstreams.iter_mut().for_each(|u| u.credentials.iter_mut().for_each(|c| c.models = None));
        assert_eq!(Graph::new(&set).of_credential("orders-token").models, ["small"]);
    }

    #[test]
    fn who_changes_logins_stands_behind_all_that_live_there() {
        let set = world();
        let graph = Graph::new(&set);
        let admin = graph.of_credential("pg-admin");
        assert_eq!((admin.targets, admin.credentials), (vec!["pg".to_owned()], vec!["orders-db".to_owned()]));
        assert_eq!(graph.of_credential("orders-db").targets, ["pg"]);
    }

    #[test]
    fn what_lets_us_into_a_store_stands_behind_all_that_comes_from_there() {
        let set = world();
        let graph = Graph::new(&set);
        let token = graph.of_credential("vault-token");
        assert_eq!((token.stores, token.credentials), (vec!["team-vault".to_owned()], vec!["from-store".to_owned()]));
        assert_eq!(graph.of_credential("from-store").stores, ["team-vault"]);
    }

    #[test]
    fn certificates_lead_to_where_they_are_shown_and_authorities_to_what_they_sign() {
        let mut set = world();
        let made = |name: &str, engine, authority: Option<&str>| {
            let mut credential = set.credentials[0].clone();
            (credential.name, credential.engine, credential.value) = (name.parse().unwrap(), engine, None);
            let authority = authority.map(|name| name.parse().unwrap());
            credential.certificate = Some(CertificateRule { authority, ..CertificateRule::default() });
            credential
        };
        let ca = made("house-ca", Engine::CertificateAuthority, None);
        let billing = made("billing", Engine::Certificate, Some("house-ca"));
        set.credentials.extend([ca, billing]);
        let orders = set.upstreams.iter_mut().find(|u| u.name.as_str() == "orders").unwrap();
        let tls = UpstreamTls {
            ca: Some("house-ca".parse().unwrap()),
            client_certificate: Some("billing".parse().unwrap()),
            ..UpstreamTls::default()
        };
        orders.tls = Some(tls);
        let graph = Graph::new(&set);
        assert_eq!(graph.of_credential("billing").upstreams, ["orders"]);
        assert_eq!(graph.of_credential("orders-token").upstreams, ["orders"]);
        let ca = graph.of_credential("house-ca");
        assert_eq!((ca.upstreams, ca.credentials), (vec!["orders".to_owned()], vec!["billing".to_owned()]));
        assert!(graph.carries("orders-token", Some("orders"), None).is_ok());
        assert!(graph.carries("billing", Some("orders"), None).is_err(), "records name what is injected");
        let mut bare = set.clone();
        bare.upstreams.iter_mut().find(|u| u.name.as_str() == "orders").unwrap().inject = None;
        assert!(Graph::new(&bare).carries("billing", Some("orders"), None).is_ok());
    }

    #[test]
    fn a_key_has_what_its_application_has_narrowed() {
        let set = world();
        let graph = Graph::new(&set);
        let key = |text: &str| serde_json::from_str::<Key>(text).unwrap();
        let whole = graph.of_key(&key(r#"{"name":"k","application":"checkout"}"#));
        assert_eq!((whole.routes, whole.models), (vec!["orders".into(), "public".into()], vec!["small".to_owned()]));
        assert_eq!(whole.credentials, ["local-token", "openai-primary", "orders-token"]);
        let narrow =
            graph.granted(&key(r#"{"name":"k","application":"checkout","allow":{"routes":["orders","gone"]}}"#));
        assert_eq!((narrow.routes.len(), narrow.models.len()), (1, 0));
        assert!(graph.of_key(&key(r#"{"name":"k","application":"nobody"}"#)).routes.is_empty());
    }

    #[test]
    fn a_recorded_request_is_judged_by_what_is_declared_now() {
        let set = world();
        let graph = Graph::new(&set);
        let carries = |credential, route, model| graph.carries(credential, route, model).is_ok();
        assert!(carries("orders-token", Some("orders"), None));
        assert!(!carries("orders-token", Some("deleted"), None));
        assert!(!carries("openai-primary", Some("orders"), None));
        assert!(carries("openai-primary", Some("chat-completions"), Some("large")));
        assert!(!carries("local-token", Some("chat-completions"), Some("large")));
    }
}
