//! Lists of files and batches: those of the calling application, from what is kept here.

use super::{Asking, invalid};
use crate::{
    conn::Caller,
    pipeline::{Refused, record::Recording},
    ports::ObjectPage,
};
use credentialflow_llm::batch::object;
use credentialflow_model::objects::ObjectState;

/// Of one page at the most.
const MOST: u32 = 1000;
/// Of one page where the caller does not say.
const USUAL: u32 = 20;

impl Asking<'_, '_> {
    /// Answers with a page.
    pub async fn list<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let (page, purpose) = self.page()?;
        let most = page.most as usize;
        let asked = ObjectPage { most: page.most + 1, ..page.clone() };
        let mut objects = self.kept(self.keeper.list(&self.application, self.route.kind(), asked)).await?;
        let more = objects.len() > most;
        if page.before.is_some() && page.after.is_none() && more {
            // The one beyond the page is the newest.
            objects.remove(0);
        }
        objects.truncate(most);
        // What its provider is asked for at this moment has nothing to tell yet.
        let told = objects.iter().filter(|object| object.state != ObjectState::Asked);
        let is_wanted = |id: &str| purpose.as_deref().is_none_or(|purpose| purpose == purpose_of(id));
        let told: Vec<_> =
            told.filter(|object| is_wanted(&object.id)).map(|object| (&*object.id, &*object.body)).collect();
        let body = match self.route.is_of_messages() {
            true => object::message_list(&told, more),
            false => object::list(&told, more),
        };
        self.answer((200, body), caller, record).await
    }

    /// Which page the query asks for, and of which purpose.
    fn page(&self) -> Result<(ObjectPage, Option<String>), Refused> {
        let (mut page, mut purpose) = (ObjectPage { most: USUAL, ..ObjectPage::default() }, None);
        if self.route == crate::snapshot::BatchRoute::Files {
            page.most = MOST;
        }
        for parameter in self.parts.0.query.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let id = || (!value.is_empty()).then(|| value.to_owned());
            match name {
                "after" | "after_id" => page.after = id(),
                "before_id" => page.before = id(),
                "limit" => {
                    let limit: u32 = value.parse().map_err(|_| invalid("`limit` is no whole number"))?;
                    page.most = limit.clamp(1, MOST);
                }
                "purpose" => purpose = id(),
                "order" if value == "desc" => {}
                "order" => return Err(invalid("lists have the newest first: `order` is `desc`")),
                _ => {}
            }
        }
        Ok((page, purpose))
    }
}

fn purpose_of(id: &str) -> &'static str {
    if id.ends_with("-output") || id.ends_with("-errors") { "batch_output" } else { "batch" }
}
