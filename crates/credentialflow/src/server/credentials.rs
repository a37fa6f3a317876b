//! The vault's opened values, as the gateway may ask for them.

use credentialflow_gateway::{
    Permit,
    ports::{CredentialSlot, CredentialSource, CredentialUnavailable},
};
use credentialflow_model::{Name, SecretValue, Timestamp, resource::Credential};
use std::{collections::HashMap, sync::Arc, time::SystemTime};

/// The current values of one snapshot.
pub(super) struct Credentials {
    slots: Vec<Slot>,
    names: HashMap<Arc<str>, CredentialSlot>,
}

struct Slot {
    name: Arc<str>,
    version: u32,
    value: Option<Arc<SecretValue>>,
    expires: Option<Timestamp>,
}

impl Credentials {
    /// Every declared credential, with its current value if it has one.
    pub fn new(declared: &[Credential], values: &HashMap<Name, (u32, Arc<SecretValue>)>) -> Self {
        let slot = |c: &Credential| {
            let (version, value) = values.get(&c.name).map_or((0, None), |(n, v)| (*n, Some(v.clone())));
            Slot { name: c.name.shared(), version, value, expires: c.expires }
        };
        let slots: Vec<Slot> = declared.iter().map(slot).collect();
        let names = slots.iter().enumerate().map(|(i, s)| (s.name.clone(), i as CredentialSlot)).collect();
        Self { slots, names }
    }
}

impl CredentialSource for Credentials {
    fn slot(&self, name: &str) -> Option<CredentialSlot> {
        self.names.get(name).copied()
    }

    fn len(&self) -> usize {
        self.slots.len()
    }

    fn describe(&self, slot: CredentialSlot) -> Option<(&Arc<str>, u32)> {
        self.slots.get(slot as usize).map(|s| (&s.name, s.version))
    }

    fn open<'a>(&'a self, _: &Permit, slot: CredentialSlot) -> Result<&'a SecretValue, CredentialUnavailable> {
        let slot = self.slots.get(slot as usize).ok_or(CredentialUnavailable)?;
        if slot.expires.is_some_and(|at| at <= SystemTime::now().into()) {
            return Err(CredentialUnavailable);
        }
        slot.value.as_deref().ok_or(CredentialUnavailable)
    }
}
