//! What this process sees of the credentials under rotation, told to the node that runs the rotations.
//!
//! A figure belongs to one rotation. Within it, a version that new requests no longer get never comes back to them, so
//! a figure that says "no longer in force, none running" stays true, however old it is.

use super::{dataplane::Plane, nodes::Nodes};
use credentialflow_store::{NodeTraffic, RotationRow, Store};
use credentialflow_telemetry::Telemetry;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often to look: while a rotation runs, and otherwise.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// A figure that did not change is told again after so long, in case it was lost.
const REPEAT: Duration = Duration::from_secs(2);

/// Tells the others, for as long as there are others.
pub(super) async fn report(plane: Arc<Plane>, nodes: Arc<Nodes>, store: Store, telemetry: Telemetry) {
    let mut told: HashMap<String, (NodeTraffic, Instant)> = HashMap::new();
    loop {
        let rotations = match nodes.in_company() {
            true => store.running_rotations().await.unwrap_or_default(),
            false => Vec::new(),
        };
        told.retain(|id, _| rotations.iter().any(|r| r.id == *id));
        for rotation in &rotations {
            let Some(seen) = look(&plane, &telemetry, rotation).await else { continue };
            let fresh = told.get(&rotation.id).is_some_and(|(last, at)| *last == seen && at.elapsed() < REPEAT);
            if !fresh && store.report_traffic(nodes.id(), &rotation.id, &seen).await.is_ok() {
                told.insert(rotation.id.clone(), (seen, Instant::now()));
            }
        }
        tokio::time::sleep(if rotations.is_empty() { LOOK.1 } else { LOOK.0 }).await;
    }
}

/// `None` where nothing certain can be said: it is not known what each worker enforces, or there is no gateway.
async fn look(plane: &Plane, telemetry: &Telemetry, rotation: &RotationRow) -> Option<NodeTraffic> {
    let (credential, version) = (rotation.credential.as_str(), rotation.from_version?);
    // Looked up first: requests that begin after it is no longer in force do not get it.
    let in_force = plane.version_in_force(credential).await? == Some(version);
    let in_flight = plane.count_in_flight(credential, version).await?;
    let answers = rotation.to_version.map(|to| telemetry.last_use().refusals(credential, to)).unwrap_or_default();
    let stragglers = match in_force || in_flight == 0 {
        true => Vec::new(),
        false => plane.stragglers_here(credential, version).await,
    };
    let stragglers = serde_json::to_string(&stragglers).unwrap_or_default();
    Some(NodeTraffic { version, in_force, in_flight, refused: answers.refused, served: answers.served, stragglers })
}
