//! The authorities of `pki` mounts, told to whoever watches when certificates end.

use crate::{VaultApi, error::Result, state::Ready};
use credentialflow_model::Actor;
use credentialflow_secrets::{Call, Client, Operation, engine::Engine};
use serde_json::Map;

/// An authority of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Where it is mounted, as in `pki/`.
    pub mount: String,
    /// Its certificate (DER), which anybody may see.
    pub certificate: Vec<u8>,
}

impl VaultApi {
    /// Those there are; none while there is no open vault. `None` where the database cannot be asked.
    pub async fn authorities(&self) -> Option<Vec<Authority>> {
        match self.0.ready() {
            Some(ready) if !ready.vault.is_sealed() => all(&ready).await.ok(),
            _ => None,
        }
    }
}

async fn all(ready: &Ready) -> Result<Vec<Authority>> {
    let actor = Actor::system("certificates");
    let client = Client { accessor: String::new(), actor: actor.clone() };
    let mut txn = ready.txn(actor);
    let table = ready.mounts.table(&mut txn).await?;
    let mut found = Vec::new();
    for mount in table.secret.values() {
        let Some(engine) = Engine::of(mount).filter(|engine| engine.is_public(Operation::Read, "ca")) else { continue };
        let (data, now) = (Map::new(), txn.now());
        let call = Call { operation: Operation::Read, path: "ca", data: &data, mount, client: &client, now };
        let certificate = engine.handle(&call, &mut txn).await?.file.map(|file| file.bytes);
        let certificate = certificate.filter(|der| !der.is_empty());
        found.extend(certificate.map(|certificate| Authority { mount: mount.path.clone(), certificate }));
    }
    Ok(found)
}
