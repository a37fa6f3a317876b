//! What a call names at its provider. A file by an id of ours, which is known to the calling application alone, and leads to
//! the provider, and the account there, that has it. What else lasts in an account by the provider's own id, where nobody
//! else's can be there.

use super::{Refused, batch, guardrail::remote::Asker, route::RouteMatch};
use crate::{
    ports::CredentialSlot,
    snapshot::{RouteKind, models::TargetPlan},
    worker::View,
};
use credentialflow_llm::{
    files::{self, Named},
    named::{self, Names},
    provider::Dialect,
    task::{Task, multipart},
};
use credentialflow_model::{
    OutcomeReason,
    objects::{ModelObject, ObjectKind},
};

/// Who has the files that a call names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The provider, as targets name it.
    provider: String,
    /// The credential of a target's own that they were uploaded with; the upstream's where there is none.
    credential: Option<CredentialSlot>,
}

impl Holder {
    /// Of a file.
    pub fn of(view: &View, file: &ModelObject) -> Option<Self> {
        let facts = &file.facts;
        let credential = match &facts.credential {
            None => None,
            Some(name) => Some(view.snapshot.credentials.slot(name)?),
        };
        Some(Self { provider: facts.provider.clone(), credential })
    }

    /// The place among a target's own credentials of the one that the files were uploaded with, 0 where it has none;
    /// `None` where the target cannot have them.
    pub fn key(&self, target: &TargetPlan) -> Option<u32> {
        if *target.provider != *self.provider {
            return None;
        }
        match self.credential {
            None => target.keys.is_empty().then_some(0),
            Some(slot) => (0..).zip(&target.keys).find_map(|(i, key)| (key.inject.credential == slot).then_some(i)),
        }
    }
}

/// The body of a call as it goes on, and who has the files that it names; `None` where it names none. `stores`: whether it
/// may name what lasts at the provider of its model.
pub(super) async fn resolve(
    asker: &Asker<'_>,
    matched: &RouteMatch<'_>,
    received: &[u8],
    stores: bool,
) -> Result<Option<(Vec<u8>, Holder)>, Refused> {
    let route = matched.plan(asker.view).kind;
    let speaks = route.dialect().unwrap_or(Dialect::OpenAi);
    let named = match form(route, matched, received) {
        Some(is_named) if is_named => return Err(unknown("a form does not name files by their ids here")),
        Some(_) => Vec::new(),
        None => taken(stores, received, speaks)?,
    };
    if named.is_empty() {
        return Ok(None);
    }
    let kind = match speaks {
        Dialect::Anthropic => ObjectKind::MessageFile,
        Dialect::OpenAi | Dialect::Responses => ObjectKind::File,
        Dialect::Gemini => ObjectKind::GeminiFile,
        Dialect::Bedrock | Dialect::Replicate => return Err(unknown(NOT_HERE)),
    };
    // Boxed, as it would make the future of every request larger.
    Box::pin(found(asker, received, &named, kind)).await.map(Some)
}

async fn found(
    asker: &Asker<'_>,
    received: &[u8],
    named: &[Named],
    kind: ObjectKind,
) -> Result<(Vec<u8>, Holder), Refused> {
    let Asker { worker, view, control, principal, .. } = *asker;
    let (Some(keeper), Some(key)) = (&worker.shared.objects, principal.key()) else { return Err(unknown(NOT_YOURS)) };
    let mut ids: Vec<String> = named.iter().map(|one| one.id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    // None of ours is longer.
    if ids.iter().any(|id| id.is_empty() || id.len() > 128) {
        return Err(unknown(NOT_YOURS));
    }
    let known = batch::kept(worker, control, keeper.find_all(key.application_name(), ids)).await?;
    let mut holder: Option<Holder> = None;
    let mut there = Vec::with_capacity(named.len());
    for one in named {
        let file = known.iter().find(|file| file.id == one.id && file.kind == kind);
        let file = file.ok_or_else(|| unknown(NOT_YOURS))?;
        let has = Holder::of(view, file).ok_or_else(|| unknown(NOBODY))?;
        if holder.as_ref().is_some_and(|other| *other != has) {
            return Err(unknown("the files of one call are at one provider, with one credential; these are not"));
        }
        holder = Some(has);
        there.push(file.upstream_id.as_str());
    }
    Ok((files::with_ids(received, named, there), holder.ok_or_else(|| unknown(NOT_YOURS))?))
}

/// Whether a form names a file by its id; `None` where the body is none.
fn form(route: RouteKind, matched: &RouteMatch<'_>, received: &[u8]) -> Option<bool> {
    let RouteKind::Task(Task::ImageEdits | Task::Transcriptions | Task::Translations) = route else { return None };
    let told = std::str::from_utf8(matched.content_type?).ok()?;
    let boundary = multipart::boundary(told).ok()??;
    multipart::Form::parse(received, boundary).ok().map(|form| files::is_named_in(&form))
}

/// Refuses a call in a batch, or an event of a session, that names files: they are looked up for a call by itself alone; or
/// what lasts at the provider, where it may not.
pub(super) fn none(stores: bool, said: &[u8], speaks: Dialect) -> Result<(), Refused> {
    match taken(stores, said, speaks)?.is_empty() {
        true => Ok(()),
        false => Err(unknown("batches and sessions name no files by their ids here; send what is in the file")),
    }
}

/// The files that something said to a model names, where it names nothing else that may be another application's.
pub(super) fn taken(stores: bool, said: &[u8], speaks: Dialect) -> Result<Vec<Named>, Refused> {
    let Names { files, store, .. } = named::names(said, speaks).map_err(|why| unknown(&why.to_string()))?;
    match store.filter(|_| !stores) {
        None => Ok(files),
        Some(field) => {
            let detail = format!(
                "`{field}` names what is kept in the provider's account, which several applications use here; use a model \
                 whose credential is this application's alone, or have `allow_shared_state` set for this one"
            );
            Err(Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail))
        }
    }
}

/// Why no target of a model takes a call that names files.
pub(super) fn nobody() -> Refused {
    unknown(NOBODY)
}

const NOT_YOURS: &str = "a file that it names was not uploaded here by this application, or is gone";
const NOT_HERE: &str = "files at this provider are not kept here; put the file into the call";
const NOBODY: &str = "this model has no target at the provider that has the files, with the credential that they were \
                      uploaded with and in the form in which they are named";

fn unknown(why: &str) -> Refused {
    Refused::new(OutcomeReason::FileUnknown).with_detail(why.to_owned())
}
