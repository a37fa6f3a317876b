//! What others ask of what is in force: rotations, the metrics, and the admin API. Nothing here changes anything;
//! [`Port`] hands the one change, publishing, on.

use super::{
    super::{
        sent::leaked,
        state::{Reach, VerifyAt},
    },
    Plane, told,
};
use credentialflow_admin::LiveSecret;
use credentialflow_admin::ports::{
    AccessTokenView, AskedCall, AskedWhole, BoxFuture, CannotAsk, Dataplane, DataplaneStatus, ModelDryRunView,
    ModelRouteView, PublishError, Published, Straggler,
};
use credentialflow_gateway::{Snapshot, net::tls::authorities};
use credentialflow_model::{
    Name,
    resource::{Credential, Kind},
};
use std::{
    ops::Range,
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::SystemTime,
};

impl Plane {
    /// Where a credential's new version is tried.
    pub async fn verify_rule(&self, credential: &Name) -> Option<VerifyAt> {
        self.inner.lock().await.state.as_ref()?.verify_rule(credential)
    }

    /// How a provider of models is asked something outside a request.
    pub async fn reach(&self, provider: &str, credential: Option<&str>) -> Option<Reach> {
        self.inner.lock().await.state.as_ref()?.reach(provider, credential)
    }

    /// A credential as it is declared.
    pub async fn declared(&self, credential: &Name) -> Option<Credential> {
        self.inner.lock().await.state.as_ref()?.declared(credential).cloned()
    }

    /// What every worker of this process is to serve with.
    pub fn in_force(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// The sandbox's address, if it runs.
    pub fn sandbox(&self) -> Option<String> {
        self.sandbox.address()
    }

    /// The version of a credential that every worker of this process injects; `None` while that is not certain.
    pub async fn version_in_force(&self, credential: &str) -> Option<Option<u32>> {
        let inner = self.inner.lock().await;
        let state = inner.state.as_ref().filter(|_| !inner.dirty)?;
        Some(state.version_in_force(credential))
    }

    /// Running requests of this process that were injected with a version. Where nobody knows, because the gateway is
    /// starting or ending, or runs in processes that tell nothing, one counts as running.
    pub async fn held_here(&self, credential: &str, version: u32) -> u64 {
        let elsewhere = self.store.is_shared() && !self.nodes.serves();
        self.count_in_flight(credential, version).await.unwrap_or(u64::from(!elsewhere))
    }

    /// Running requests that were injected with a version; `None` where this process has no gateway.
    pub async fn count_in_flight(&self, credential: &str, version: u32) -> Option<u64> {
        let gateway = self.gateway.load_full()?;
        Some(gateway.in_flight(credential, version).await)
    }

    /// Which running requests of this process were injected with a version.
    pub async fn stragglers_here(&self, credential: &str, version: u32) -> Vec<Straggler> {
        let Some(gateway) = self.gateway.load_full() else { return Vec::new() };
        let found = gateway.stragglers(credential, version).await;
        let told = |s: credentialflow_gateway::Straggler| Straggler {
            application: s.application.map(|name| name.to_string()),
            route: s.route.to_string(),
            source: s.source.to_string(),
            requests: s.requests,
            node: None,
            last: None,
        };
        found.into_iter().map(told).collect()
    }

    /// Open connections and running requests.
    pub fn load(&self) -> (u64, u64) {
        self.gateway.load().as_ref().map_or((0, 0), |g| g.load())
    }

    /// How many answers of models are kept to be given again, and the bytes that they take.
    pub fn answers_kept(&self) -> (u64, u64) {
        self.gateway.load().as_ref().map_or((0, 0), |gateway| gateway.answers_kept())
    }

    /// Bytes held of the workers' memory budgets, and how often something did not fit.
    pub fn memory(&self) -> (u64, u64) {
        self.gateway.load().as_ref().map_or((0, 0), |g| g.memory())
    }
}

/// The admin API's view of a plane.
pub(in crate::server) struct Port(pub Arc<Plane>);

impl Dataplane for Port {
    fn publish(&self) -> BoxFuture<'_, Result<Published, PublishError>> {
        Box::pin(self.0.publish())
    }

    fn status(&self) -> DataplaneStatus {
        let facts = self.0.facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (connections, in_flight) = self.0.load();
        DataplaneStatus {
            workers: facts.workers,
            connections,
            in_flight,
            routes: facts.routes,
            keys: facts.keys,
            epoch: facts.epoch,
            seq: facts.seq,
            published: facts.published,
            records_dropped: self.0.telemetry.status().dropped,
            guesses_lost: self.0.guesses_lost.load(Relaxed),
            memory: self.0.memory().0,
            stale: self.0.nodes.is_stale(),
            unavailable: facts.unavailable,
            impaired: facts.impaired.into_iter().map(told).collect(),
            nodes: self.0.nodes.list(),
        }
    }

    fn authorities_problem(&self, kind: Kind, path: &str) -> Option<String> {
        // A process that serves no traffic may have other files than those that do.
        let reads = kind != Kind::Upstreams || self.0.nodes.serves();
        reads.then(|| authorities(Path::new(path)).err()).flatten().map(|error| error.to_string())
    }

    fn secrets_in(&self, text: &[u8]) -> (Vec<(LiveSecret, Range<usize>)>, bool) {
        let snapshot = self.0.snapshot.load();
        let Some(snapshot) = snapshot.as_ref() else { return (Vec::new(), true) };
        let (places, gave_up) = snapshot.finder(SystemTime::now().into()).places(text);
        let found = places.into_iter().filter_map(|place| Some((leaked(place.secret)?, place.range)));
        (found.collect(), !gave_up)
    }

    fn in_flight<'a>(&'a self, credential: &'a str, version: u32) -> BoxFuture<'a, u64> {
        Box::pin(async move {
            let mine = self.0.count_in_flight(credential, version).await.unwrap_or(0);
            mine.saturating_add(self.0.nodes.others_told(credential, Some(version)).await.0)
        })
    }

    fn access_token(&self, credential: &str) -> Option<AccessTokenView> {
        self.0.tokens().of(credential)
    }

    fn model_route<'a>(&'a self, model: &'a str, call: AskedCall) -> BoxFuture<'a, Option<ModelRouteView>> {
        Box::pin(self.0.model_route(model, call))
    }

    fn model_dry_run<'a>(
        &'a self,
        model: &'a str,
        call: AskedWhole,
    ) -> BoxFuture<'a, Result<ModelDryRunView, CannotAsk>> {
        Box::pin(self.0.model_dry_run(model, call))
    }

    fn stragglers<'a>(&'a self, credential: &'a str, version: u32) -> BoxFuture<'a, Vec<Straggler>> {
        Box::pin(async move {
            let mut all = self.0.stragglers_here(credential, version).await;
            for (node, told) in self.0.nodes.others_stragglers(credential, version).await {
                let read: Vec<Straggler> = serde_json::from_str(&told).unwrap_or_default();
                all.extend(read.into_iter().map(|s| Straggler { node: Some(node.clone()), ..s }));
            }
            all
        })
    }
}
