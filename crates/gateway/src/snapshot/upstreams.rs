//! Upstreams and their endpoints, compiled. One that cannot be used gets a plan without endpoints, which refuses its own
//! requests and holds nothing else up.

use super::{
    EndpointPlan, Impaired, InjectPlan, InjectWay, Sources, UpstreamPlan,
    trust::{Found, Trust},
};
use crate::ports::CredentialSlot;
use credentialflow_llm::provider;
use credentialflow_model::{
    Name,
    resource::{Health, Inject, Kind, Timeouts, Upstream},
};
use hashbrown::HashMap;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

/// The slot of a credential that is not there: no source opens it, so its requests are refused and never sent without.
pub(super) const NO_CREDENTIAL: CredentialSlot = CredentialSlot::MAX;

/// What is compiled so far.
pub(super) struct Upstreams<'a> {
    pub plans: Vec<UpstreamPlan>,
    pub endpoints: Vec<EndpointPlan>,
    pub by_name: HashMap<String, u32>,
    pub impaired: Vec<Impaired>,
    sources: &'a Sources,
    /// Files of authorities that were looked at.
    roots: HashMap<String, Found>,
    /// Those that serve models.
    providers: HashMap<String, u32>,
}

impl<'a> Upstreams<'a> {
    pub fn new(sources: &'a Sources) -> Self {
        Self {
            plans: vec![],
            endpoints: vec![],
            by_name: HashMap::new(),
            impaired: vec![],
            sources,
            roots: HashMap::new(),
            providers: HashMap::new(),
        }
    }

    /// Something cannot be used as it is configured. `serves`: requests that need it are served all the same.
    pub fn impaired(&mut self, kind: Kind, name: &Name, reason: impl Into<String>, serves: bool) {
        self.impaired.push(Impaired { kind, name: name.shared(), reason: reason.into(), serves });
    }

    pub fn add(&mut self, upstream: &Upstream) -> u32 {
        let mut problems = Vec::new();
        let inject = upstream.inject.as_ref().map(|inject| self.inject(inject));
        if inject.as_ref().is_some_and(|plan| plan.credential == NO_CREDENTIAL) {
            self.impaired(Kind::Upstreams, &upstream.name, "its credential does not exist", false);
        }
        let tls = upstream.tls.clone().unwrap_or_default();
        let client_certificate = tls
            .client_certificate
            .as_ref()
            .map(|name| self.sources.credentials.slot(name.as_str()).unwrap_or(NO_CREDENTIAL));
        if client_certificate == Some(NO_CREDENTIAL) {
            self.impaired(Kind::Upstreams, &upstream.name, "its client certificate does not exist", false);
        }
        let authorities = tls.ca.as_ref().map(|name| self.sources.credentials.authority(name.as_str()));
        // Connections are kept only among those who trust and show the same.
        let mut trusted = DefaultHasher::new();
        authorities.hash(&mut trusted);
        let salt = format!(
            "{}|{}|{}|{:x}",
            tls.ca_file.as_deref().unwrap_or_default(),
            tls.server_name.as_deref().unwrap_or_default(),
            tls.client_certificate.as_ref().map_or("", |name| name.as_str()),
            trusted.finish(),
        );
        let start = self.endpoints.len() as u32;
        // Not looked at where nothing is encrypted.
        let secure = upstream.endpoints.iter().any(|url| url.starts_with("https://"));
        let trust = match (&tls.ca, authorities) {
            _ if !secure => Found::Nothing(String::new()),
            (Some(name), Some(authorities)) => self.authority(name, authorities),
            _ => self.trust(tls.ca_file.as_deref()),
        };
        for url in &upstream.endpoints {
            match self.endpoint(url, &trust, tls.server_name.as_deref(), &salt) {
                Ok(plan) => self.endpoints.push(plan),
                Err(problem) if problems.contains(&problem) => {}
                Err(problem) => problems.push(problem),
            }
        }
        let endpoints = start..self.endpoints.len() as u32;
        let serves = !endpoints.is_empty();
        for problem in problems {
            self.impaired(Kind::Upstreams, &upstream.name, problem, serves);
        }
        if let Found::Earlier(_, problem) = trust {
            let reason = format!("{problem}; what it held before is used until the next start");
            self.impaired(Kind::Upstreams, &upstream.name, reason, true);
        }
        let index = self.plans.len() as u32;
        let Timeouts { connect, response, idle } = upstream.timeouts;
        self.plans.push(UpstreamPlan {
            name: upstream.name.shared(),
            endpoints,
            inject,
            connect: connect.as_duration(),
            response: response.as_duration(),
            idle: idle.as_duration(),
            health: upstream.health,
            encoding: upstream.encoding,
            client_certificate,
        });
        self.by_name.insert(upstream.name.to_string(), index);
        if upstream.provider.is_some() {
            self.providers.insert(upstream.name.to_string(), index);
        }
        index
    }

    /// A plan that refuses everything, in place of an upstream of this name.
    pub fn nothing(&mut self, name: &Name) -> u32 {
        let at = self.endpoints.len() as u32;
        let Timeouts { connect, response, idle } = Timeouts::default();
        self.plans.push(UpstreamPlan {
            name: name.shared(),
            endpoints: at..at,
            inject: None,
            connect: connect.as_duration(),
            response: response.as_duration(),
            idle: idle.as_duration(),
            health: Health::default(),
            encoding: Default::default(),
            client_certificate: None,
        });
        self.plans.len() as u32 - 1
    }

    fn trust(&mut self, ca_file: Option<&str>) -> Found {
        let Some(file) = ca_file else { return Trust::public() };
        self.roots.entry(file.to_owned()).or_insert_with(|| self.sources.trust.of(file)).clone()
    }

    /// Trust in a certificate authority of ours.
    fn authority(&mut self, name: &Name, authorities: Vec<CertificateDer<'static>>) -> Found {
        // No file has such a name.
        let key = format!("credential\0{name}");
        let trust = &self.sources.trust;
        self.roots.entry(key.clone()).or_insert_with(|| trust.of_credential(&key, authorities)).clone()
    }

    /// Whether a file of authorities is named by any upstream so far.
    pub fn names_file(&self, file: &str) -> bool {
        self.roots.contains_key(file)
    }

    fn endpoint(
        &self,
        url: &str,
        trust: &Found,
        server_name: Option<&str>,
        salt: &str,
    ) -> Result<EndpointPlan, String> {
        let config = || -> Result<Arc<ClientConfig>, String> {
            match trust {
                Found::Current(config) | Found::Earlier(config, _) => Ok(config.clone()),
                Found::Nothing(problem) => Err(problem.clone()),
            }
        };
        let Some(part) = url.strip_prefix("sandbox://") else {
            return EndpointPlan::of(url, &config, server_name, salt);
        };
        let address = self.sources.sandbox.as_ref().ok_or("the sandbox is not running")?;
        let path = if part == "models" { "/v1" } else { "" };
        EndpointPlan::of(&format!("http://{address}{path}"), &config, server_name, salt)
    }

    /// How a credential is put in; where there is none, one that never opens.
    pub fn inject(&self, inject: &Inject) -> InjectPlan {
        let credential = inject.credential().and_then(|name| self.sources.credentials.slot(name.as_str()));
        let way = if let Some(header) = &inject.header {
            InjectWay::Header { name: header.name.to_ascii_lowercase().into(), prefix: header.prefix.as_str().into() }
        } else if let Some(query) = &inject.query {
            InjectWay::Query { name: query.name.as_str().into() }
        } else if let Some(basic) = &inject.basic {
            InjectWay::Basic { username: basic.username.as_str().into() }
        } else if let Some(sigv4) = &inject.aws_sigv4 {
            InjectWay::AwsSigv4 { region: sigv4.region.as_str().into(), service: sigv4.service.as_str().into() }
        } else {
            InjectWay::Bearer
        };
        InjectPlan { credential: credential.unwrap_or(NO_CREDENTIAL), way }
    }

    /// What tells a target's failures from those of others: where its upstream is, and the provider's name of the model.
    pub fn identity(&self, upstream: u32, model: &str) -> String {
        let plan = &self.plans[upstream as usize];
        let endpoints = &self.endpoints[plan.endpoints.start as usize..plan.endpoints.end as usize];
        let at: Vec<&str> = endpoints.iter().map(|endpoint| &*endpoint.identity).collect();
        format!("{}|{model}|{}", plan.name, at.join("|"))
    }

    /// The same where all credentials of the target are its upstream's: what was refused was that version.
    pub fn injecting_identity(&self, upstream: u32, target: &str) -> Arc<str> {
        match &self.plans[upstream as usize].inject {
            Some(plan) => self.key_identity(target, plan.credential),
            None => target.into(),
        }
    }

    /// The same of a credential there: a new version of it has not failed yet, nor has a renewed access token.
    pub fn key_identity(&self, target: &str, slot: CredentialSlot) -> Arc<str> {
        match self.sources.credentials.describe(slot) {
            Some((name, version)) => {
                let renewal = self.sources.credentials.renewal(slot);
                format!("{target}|{name}|{version}|{renewal}").into()
            }
            None => format!("{target}||").into(),
        }
    }

    /// The upstream of a target: one of the configuration, or a built-in provider's own. `None`: there is neither.
    pub fn of_provider(&mut self, name: &Name) -> Option<u32> {
        let internal = format!("provider:{name}");
        let declared = self.providers.get(name.as_str()).or_else(|| self.by_name.get(&internal));
        if let Some(index) = declared {
            return Some(*index);
        }
        let address = provider::find(name.as_str())?.base_url()?;
        // An upstream of the same name that serves no models stays what its own routes reach.
        let plain = self.by_name.get(name.as_str()).copied();
        let index = self.add(&Upstream {
            name: name.clone(),
            description: None,
            endpoints: vec![address.to_owned()],
            provider: Some(name.clone()),
            budget: None,
            inject: None,
            credentials: Vec::new(),
            timeouts: Timeouts { response: credentialflow_model::Period::from_secs(600), ..Timeouts::default() },
            health: Health::default(),
            tls: None,
            encoding: Default::default(),
        });
        match plain {
            Some(plain) => self.by_name.insert(name.to_string(), plain),
            None => self.by_name.remove(name.as_str()),
        };
        self.providers.remove(name.as_str());
        self.by_name.insert(internal, index);
        Some(index)
    }
}
