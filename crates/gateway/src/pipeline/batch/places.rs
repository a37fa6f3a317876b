//! Where files and batches are: the target that gets a new one, and the one that has what was made before.

use super::{Asking, Place, Refused, invalid, takes};
use crate::{
    http1::tag::Tag,
    pipeline::{
        files::Holder,
        record::Recording,
        select,
        wanted::{Kind, Wanted},
    },
    snapshot::models::TargetPlan,
};
use credentialflow_llm::{
    batch::{
        Asks,
        object::{CALLS, OUTPUT},
    },
    guardrail::Routed,
    provider::Dialect,
    task::Task,
};
use credentialflow_model::{OutcomeReason, objects::ModelObject};
use credentialflow_policy::{ModelSlot, allow};

/// What callers name the model in for which a file is.
const MODEL: &str = "x-credentialflow-model";

impl Asking<'_, '_> {
    /// The target that has an object, if its model is still the caller's to use; of a file that is no batch's, any target
    /// at the provider that has it.
    pub(super) fn place_of(&self, object: &ModelObject, record: &Recording<'_>) -> Result<Place, Refused> {
        let gone = |detail: &str| Refused::new(OutcomeReason::NoHealthyEndpoint).with_detail(detail.into());
        let facts = &object.facts;
        let holder = Holder::of(self.view, object);
        let at = |model: u32, fits: &dyn Fn(&TargetPlan) -> bool| {
            (0..).zip(&self.plan(model).targets).find_map(|(i, target)| {
                let key = holder.as_ref()?.key(target).filter(|_| fits(target))?;
                Some(Place { model, target: i, key })
            })
        };
        if is_of_batches(object) {
            let found =
                at(self.model(&facts.model, record)?, &|target| *target.provider_model == *facts.provider_model);
            return found.ok_or_else(|| {
                gone("the model has no target any more at which it was made, with the credential it was made with")
            });
        }
        // The model that it was uploaded for comes first.
        let own = self.view.snapshot.models.by_name.get(&*facts.model).copied();
        let mut models = own.into_iter().chain(0..self.view.snapshot.models.list.len() as u32);
        let found = models.find_map(|model| self.may_use(model).then(|| at(model, &|_| true)).flatten());
        found.ok_or_else(|| {
            gone("no model that you may use has a target at the provider that has it, with the credential that it was uploaded with")
        })
    }

    /// The target that takes calls that ask this of a model, and the credential they go with.
    pub(super) fn choose(&self, model: u32, asks: Asks, record: &Recording<'_>) -> Result<Place, Refused> {
        let speaks = match asks.speaks() {
            Dialect::Responses => Dialect::OpenAi,
            speaks => speaks,
        };
        let place = self.select(model, (Task::Batches, speaks), |target| takes(target, asks), record)?;
        place.ok_or_else(|| {
            invalid(format!("no provider of this model takes batches of calls that ask {}", asks.path()))
        })
    }

    /// The target that takes a file, of the model that the caller names in a header; where none is named, the only place
    /// to which it can go.
    pub(super) fn choose_for_file(&self, record: &Recording<'_>) -> Result<Place, Refused> {
        let speaks = self.speaks();
        let model = match self.named_model()? {
            Some(name) => self.model(name, record)?,
            None => self.only_model(speaks)?,
        };
        let place = self.select(model, (Task::Files, speaks), |target| keeps_files(target, speaks), record)?;
        place.ok_or_else(|| invalid("no provider of this model takes such files in this form"))
    }

    /// The model that the caller names in the header for it.
    fn named_model(&self) -> Result<Option<&str>, Refused> {
        let mut told =
            self.inbound.fields().filter(|(field, ..)| field.tag == Tag::XCredentialflowModel).map(|(.., value)| value);
        match (told.next(), told.next()) {
            (None, _) => Ok(None),
            (Some(name), None) => {
                std::str::from_utf8(name).map(Some).map_err(|_| Refused::new(OutcomeReason::ModelNotFound))
            }
            (Some(_), Some(_)) => Err(invalid(format!("`{MODEL}` stands twice"))),
        }
    }

    /// A model by which a file can go to one provider, with one set of credentials, where there is no other to choose.
    fn only_model(&self, speaks: Dialect) -> Result<u32, Refused> {
        let accounts = |target: &TargetPlan| {
            let mut keys: Vec<u32> = target.keys.iter().map(|key| key.inject.credential).collect();
            keys.sort_unstable();
            (target.provider.clone(), keys)
        };
        let mut found = None;
        for (model, plan) in (0..).zip(&self.view.snapshot.models.list).filter(|(model, _)| self.may_use(*model)) {
            for target in plan.targets.iter().filter(|target| keeps_files(target, speaks)) {
                let (first, account) = found.get_or_insert_with(|| (model, accounts(target)));
                if *account != accounts(target) {
                    let first = &self.plan(*first).name;
                    return Err(invalid(format!(
                        "files can go to several providers: name the model that the file is for in the header `{MODEL}`, \
                         such as {first} or {}",
                        plan.name
                    )));
                }
            }
        }
        let (model, _) =
            found.ok_or_else(|| invalid("no provider of a model that you may use takes such files in this form"))?;
        Ok(model)
    }

    fn may_use(&self, model: u32) -> bool {
        let name = &self.plan(model).name;
        allow::may_use_model(&self.view.snapshot.applications, self.parts.1, ModelSlot(model), name)
    }

    /// The target of a model for something new, and the credential it goes with.
    fn select(
        &self,
        model: u32,
        (task, speaks): (Task, Dialect),
        takes: impl Fn(&TargetPlan) -> bool,
        record: &Recording<'_>,
    ) -> Result<Option<Place>, Refused> {
        let plan = self.plan(model);
        let turn = self.view.model_turns[model as usize].of(speaks);
        turn.set(turn.get().wrapping_add(1));
        // Nobody looks at files; the calls in one for a batch are judged as they come.
        let rules = plan.guardrails.as_ref().and_then(|built| built.as_ref().ok());
        let inside = task == Task::Files && rules.is_some_and(|rules| rules.keeps_unseen_inside());
        let routed = inside.then_some(Routed::Unseen);
        let kind = Kind { speaks, task, counts: false, streams: false, routed, files: None };
        let whose = (self.inbound, self.parts.1);
        let wanted = Wanted::of(self.worker, plan, (kind, turn.get()), b"{}", whose, record.time())?;
        let Some(target) = select::target(self.view, plan, &wanted, (0, true), takes) else { return Ok(None) };
        let chosen = &plan.targets[target as usize];
        let mut key = 0;
        if plan.has_choice() {
            key = select::key(self.view, chosen, &wanted, (0, true)).unwrap_or(0);
            select::used(self.view, chosen, key, &wanted);
        }
        Ok(Some(Place { model, target, key }))
    }
}

/// Whether it is a batch, or a file of one: bound to a model of ours and its provider's name.
pub(super) fn is_of_batches(object: &ModelObject) -> bool {
    !object.kind.is_file() || matches!(&*object.purpose, CALLS | OUTPUT)
}

/// Whether a target's provider keeps files in the form that a caller speaks.
fn keeps_files(target: &TargetPlan, speaks: Dialect) -> bool {
    target.offers(Task::Files, speaks)
        && match speaks {
            Dialect::Anthropic | Dialect::Gemini => target.speaks(speaks),
            _ => matches!(target.dialect, Dialect::OpenAi | Dialect::Responses),
        }
}
