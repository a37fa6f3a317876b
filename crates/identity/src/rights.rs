//! What policies grant that nobody uses: of a role, a user or a lasting token granted minus exercised, with the narrower
//! policy.
//!
//! What was used is kept rule by rule while requests are answered (see [`Authenticated::holder`](crate::Authenticated));
//! nothing is known of the time before that began, nor of the time before the policies, or what names them, were last
//! written: [`Rights::since`] says from when on it is known. The policy `default` is left alone.

use crate::{
    Core, Result, Standing,
    acl::{Capabilities, Narrowed, Policy, narrowed},
    policies,
};
use credentialflow_model::Timestamp;
use credentialflow_store::AuditFilter;
use std::collections::{BTreeMap, HashMap};

/// What somebody may do and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// How many rules there are that allow something, those of `default` aside.
    pub rules: usize,
    /// What was not used: patterns, with the capabilities where only some were.
    pub unused: Vec<String>,
    /// One policy (HCL) with what was used, which can take the place of all of them.
    pub policy: String,
    /// Since when every use is known, and what is granted the same.
    pub since: Timestamp,
}

/// What the judgement of one page needs more than once.
#[derive(Default)]
struct Known {
    /// Policies with the time when they were last written.
    policies: HashMap<String, Option<(Policy, Timestamp)>>,
}

/// Judges what of `items` holds grants of its own; where nothing can be said, nothing is.
pub(crate) async fn judge(core: &Core, items: &mut [Standing]) -> Result<()> {
    let Some(begun) = core.store.rule_uses_since().await? else { return Ok(()) };
    let holders: Vec<_> = items.iter().map(|item| item.holder.clone()).filter(|holder| !holder.is_empty()).collect();
    let mut uses: HashMap<String, Vec<(String, Capabilities)>> = HashMap::new();
    for used in core.store.rule_uses(&holders).await? {
        uses.entry(used.holder).or_default().push((used.rule, Capabilities::from_bits(used.used)));
    }
    let mut known = Known::default();
    for item in items {
        let Some(used) = uses.get(&item.holder) else { continue };
        let used = used.iter().map(|(rule, used)| (rule.as_str(), *used)).collect();
        item.rights = known.rights(core, item, &used, begun).await?;
    }
    Ok(())
}

impl Known {
    async fn rights(
        &mut self,
        core: &Core,
        item: &Standing,
        used: &BTreeMap<&str, Capabilities>,
        begun: Timestamp,
    ) -> Result<Option<Rights>> {
        let (mut granted, mut beside, mut since) = (Vec::new(), Vec::new(), begun.max(item.made.unwrap_or(begun)));
        for name in &item.policies {
            // What may do everything uses no rule; what is gone allows nothing.
            if name == policies::ROOT {
                return Ok(None);
            }
            let Some((policy, written)) = self.policy(core, name).await? else { continue };
            if name == policies::DEFAULT {
                beside.push(policy.clone());
            } else {
                since = since.max(*written);
                granted.push(policy.clone());
            }
        }
        let Some(Narrowed { rules, unused, policy }) = narrowed(&granted, &beside, used) else { return Ok(None) };
        // Asked last, as it costs a question for each. Tokens stay as they were made.
        if !item.set_by.is_empty()
            && let Some(written) = written(core, item.set_by, &item.name).await?
        {
            since = since.max(written);
        }
        Ok(Some(Rights { rules, unused, policy, since }))
    }

    async fn policy(&mut self, core: &Core, name: &str) -> Result<Option<&(Policy, Timestamp)>> {
        if !self.policies.contains_key(name) {
            let policy = match core.policy(name).await? {
                Some(policy) => {
                    let written = written(core, "policy.set", &format!("policies/{name}")).await?;
                    Some((policy, written.unwrap_or(Timestamp::from_micros(0))))
                }
                None => None,
            };
            self.policies.insert(name.to_owned(), policy);
        }
        Ok(self.policies.get(name).and_then(Option::as_ref))
    }
}

/// When something was last written, by the audit log.
async fn written(core: &Core, action: &str, subject: &str) -> Result<Option<Timestamp>> {
    let filter = AuditFilter { action: Some(action.to_owned()), subject: Some(subject.to_owned()) };
    Ok(core.store.audit_events_before(0, 1, &filter).await?.pop().map(|event| event.time))
}
