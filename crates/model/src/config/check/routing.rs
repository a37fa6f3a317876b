//! Checks of how the calls to a model are shared out among its targets.

use super::Checker;
use crate::{
    config::source::ItemId,
    resource::{Hedge, Model, ModelRetry, RouteBy, Sticky, StickyBy, Target},
};

/// Tokens that fit into a model.
const MOST_CONTEXT: u64 = 100_000_000;

impl Checker<'_> {
    pub(super) fn routing(&mut self, id: ItemId, model: &Model) {
        if let Some(sticky) = &model.sticky {
            self.sticky(id, sticky, model.route_by);
        }
        if let Some(hedge) = model.hedge {
            self.hedge(id, hedge, model);
        }
        if let Some(retry) = &model.retry {
            self.retry(id, retry);
        }
        self.twice(id, "fall_back_on", &model.fall_back_on, |why| why.as_str().to_owned());
        for (index, target) in model.targets.iter().enumerate() {
            self.abilities(id, &format!("targets[{index}]"), target);
        }
    }

    fn sticky(&mut self, id: ItemId, sticky: &Sticky, route_by: RouteBy) {
        if route_by == RouteBy::Latency {
            let detail = "calls that stay where they are cannot go where it is fastest";
            self.problem(id, "sticky", "contradiction", detail, "remove `sticky`, or route by weight or cost");
        }
        match (sticky.by, &sticky.header) {
            (StickyBy::Header, None) => {
                let hint = "as in { by: header, header: x-session-id }";
                self.problem(id, "sticky", "missing_field", "`by: header` needs `header`", hint);
            }
            (StickyBy::Header, Some(name)) => {
                let is_part = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
                if name.is_empty() || name.len() > 128 || !name.bytes().all(is_part) {
                    let hint = "as in x-session-id";
                    self.problem(id, "sticky.header", "invalid_value", "this is no name of a header", hint);
                }
            }
            (_, Some(_)) => {
                let detail = "`header` belongs to `by: header`";
                self.problem(id, "sticky.header", "invalid_value", detail, "remove it, or write by: header");
            }
            (_, None) => {}
        }
    }

    fn hedge(&mut self, id: ItemId, hedge: Hedge, model: &Model) {
        if !(100..=600_000).contains(&hedge.after.as_millis()) {
            let hint = "a little longer than most calls take to begin";
            self.problem(id, "hedge.after", "out_of_bounds", "the time is 100 ms to 10 m", hint);
        }
        if model.targets.len() == 1 {
            let hint = "add a target at another provider, or remove `hedge`";
            self.problem(id, "hedge", "contradiction", "there is no other target that could be asked", hint);
        }
    }

    fn retry(&mut self, id: ItemId, retry: &ModelRetry) {
        if retry.times > ModelRetry::MOST_TIMES {
            let detail = format!("a call is tried again up to {} times", ModelRetry::MOST_TIMES);
            self.problem(
                id,
                "retry.times",
                "out_of_bounds",
                detail,
                "callers wait while it is: two are enough for most",
            );
        }
        if !(100..=10_000).contains(&retry.wait.as_millis()) {
            let hint = "it is doubled each time, so begin small, as in 200ms";
            self.problem(id, "retry.wait", "out_of_bounds", "the time is 100 ms to 10 s", hint);
        }
        for (index, status) in retry.on.iter().enumerate() {
            if !matches!(status, 408 | 429 | 500..=599) {
                let detail = format!("{status} is the same the next time");
                let hint = "any of 408, 429 and 500 to 599";
                self.problem(id, &format!("retry.on[{index}]"), "out_of_bounds", detail, hint);
            }
        }
        self.twice(id, "retry.on", &retry.on, u16::to_string);
    }

    /// Nothing of a list stands there before.
    fn twice<T: PartialEq>(&mut self, id: ItemId, path: &str, all: &[T], word: impl Fn(&T) -> String) {
        for (index, one) in all.iter().enumerate() {
            if all[..index].contains(one) {
                let detail = format!("{} stands here twice", word(one));
                self.problem(id, &format!("{path}[{index}]"), "duplicate", detail, "remove one of them");
            }
        }
    }

    fn abilities(&mut self, id: ItemId, path: &str, target: &Target) {
        if let Some(context) = target.context
            && !(1..=MOST_CONTEXT).contains(&context)
        {
            let detail = format!("a context is 1 to {MOST_CONTEXT} tokens");
            self.problem(id, &format!("{path}.context"), "out_of_bounds", detail, "leave it out where it is not known");
        }
        if let Some(most) = target.max_output
            && !(1..=MOST_CONTEXT).contains(&most)
        {
            let detail = format!("an answer has 1 to {MOST_CONTEXT} tokens at most");
            let hint = "leave it out where it is not known";
            self.problem(id, &format!("{path}.max_output"), "out_of_bounds", detail, hint);
        }
        let capabilities = target.capabilities.as_deref().unwrap_or_default();
        self.twice(id, &format!("{path}.capabilities"), capabilities, |capability| capability.as_str().to_owned());
    }
}
