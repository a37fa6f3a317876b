//! Lists of files and batches: those of the calling application, from what is kept here.

use super::{Asking, invalid};
use crate::{
    conn::Caller,
    pipeline::{Refused, record::Recording},
    ports::{ObjectList, ObjectPage},
};
use credentialflow_llm::{batch::object, gemini::files};
use credentialflow_model::{
    OutcomeReason,
    objects::{ObjectKind, ObjectState},
};

/// Of one page at the most.
const MOST: u32 = 1000;
/// Bytes of one page at the most, as they are kept; what has more is a page by itself.
const MOST_BYTES: u32 = 1 << 20;
/// Of one page where the caller does not say.
const USUAL: u32 = 20;
/// The same in Google's form.
const USUAL_OF_GOOGLE: u32 = 10;
const MOST_OF_GOOGLE: u32 = 100;

impl Asking<'_, '_> {
    /// Answers with a page.
    pub async fn list<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let page = self.page()?;
        let over = |_| Refused::new(OutcomeReason::Overloaded);
        // What is kept, and the answer that is made of it.
        let mut held = self.worker.budget.take(2 * u64::from(MOST_BYTES)).map_err(over)?;
        let ObjectList { objects, more } = self.kept(self.keeper.list(&self.application, self.kind, page)).await?;
        let size: usize = objects.iter().map(|object| size_of_val(object) + object.body.len()).sum();
        held.set(2 * size as u64).map_err(over)?;
        // What its provider is asked for at this moment has nothing to tell yet.
        let told = objects.iter().filter(|object| object.state != ObjectState::Asked);
        let told: Vec<_> = told.map(|object| (&*object.id, &*object.body)).collect();
        let body = match self.kind {
            ObjectKind::GeminiFile | ObjectKind::GeminiBatch => {
                let last = told.last().filter(|_| more).map(|(id, _)| id.trim_start_matches(self.kind.prefix()));
                let told: Vec<&str> = told.iter().map(|(_, body)| *body).collect();
                files::page(if self.kind.is_file() { "files" } else { "operations" }, &told, last)
            }
            _ if self.is_of_messages() => object::message_list(&told, more),
            _ => object::list(&told, more),
        };
        self.answer((200, body), caller, record).await
    }

    /// Which page the query asks for.
    fn page(&self) -> Result<ObjectPage, Refused> {
        if self.route.is_of_gemini() || self.kind == ObjectKind::GeminiFile {
            return self.page_of_google();
        }
        let mut page = ObjectPage { most: USUAL, bytes: MOST_BYTES, ..ObjectPage::default() };
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
                "purpose" => page.purpose = id(),
                "order" if value == "desc" => {}
                "order" => return Err(invalid("lists have the newest first: `order` is `desc`")),
                _ => {}
            }
        }
        Ok(page)
    }

    /// Which page the query asks for in Google's form.
    fn page_of_google(&self) -> Result<ObjectPage, Refused> {
        let mut page = ObjectPage { most: USUAL_OF_GOOGLE, bytes: MOST_BYTES, ..ObjectPage::default() };
        for parameter in self.parts.0.query.unwrap_or_default().split('&') {
            match parameter.split_once('=') {
                Some(("pageSize", size)) => {
                    let size: u32 = size.parse().map_err(|_| invalid("`pageSize` is no whole number"))?;
                    page.most = if size == 0 { USUAL_OF_GOOGLE } else { size.min(MOST_OF_GOOGLE) };
                }
                Some(("pageToken", token)) if !token.is_empty() => {
                    page.after = Some(format!("{}{token}", self.kind.prefix()));
                }
                _ => {}
            }
        }
        Ok(page)
    }
}
