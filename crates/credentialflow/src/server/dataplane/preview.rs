//! Which target of a model a call would take here, in the words of the admin API.

use super::Plane;
use credentialflow_admin::ports::{
    AskedCall, CallDialect, CoolingView, ModelCredentialView, ModelRouteView, ModelTargetView,
};
use credentialflow_gateway::preview::{self, ModelRoute, Rest, TargetState};
use credentialflow_llm::{
    needs::{Capabilities, Fit, Needs},
    provider::Dialect,
    task::Task,
};
use credentialflow_model::{resource::RouteBy, usage::Cost};

impl Plane {
    /// What the next calls to a model find on this node; `None` where it serves none.
    pub async fn model_route(&self, model: &str, call: AskedCall) -> Option<ModelRouteView> {
        let gateway = self.gateway.load_full()?;
        let AskedCall { dialect: speaks, needs, tokens, stream, internal } = call;
        let needs = Needs::new(Capabilities::of(needs), tokens);
        let (caller, task) = asked(speaks);
        let call = preview::AskedCall { task, streams: stream, needs, internal, ..preview::AskedCall::from(caller) };
        let found = gateway.preview(model, call).await?;
        let targets = found.targets.iter().map(|target| view(target, why(target, &found))).collect();
        let (workers, route_by) = (found.workers, found.route_by);
        Some(ModelRouteView { model: model.to_owned(), dialect: speaks, workers, route_by, targets })
    }
}

/// A target as it is shown.
pub(super) fn view(target: &TargetState, why: String) -> ModelTargetView {
    ModelTargetView {
        provider: target.provider.to_string(),
        model: target.provider_model.to_string(),
        priority: target.priority,
        weight: target.weight,
        percent: (target.percent * 100.0).round() / 100.0,
        why,
        translated: target.translates,
        internal: target.internal,
        expected_usd: match &target.cost {
            Some(Cost::Known(cost)) => Some(cost.to_string()),
            _ => None,
        },
        latency_ms: target.latency.map(|mean| u64::try_from(mean.as_millis()).unwrap_or(u64::MAX)),
        cooling: target.rest.as_ref().map(cooling),
        credentials: target
            .credentials
            .iter()
            .map(|one| ModelCredentialView {
                name: one.name.as_ref().map(|name| name.to_string()),
                weight: one.weight,
                cooling: one.rest.as_ref().map(cooling),
            })
            .collect(),
    }
}

/// What callers speak who ask so, and what they ask.
pub(super) const fn asked(how: CallDialect) -> (Dialect, Task) {
    let task = match how {
        CallDialect::Chat => return (Dialect::OpenAi, Task::Chat),
        CallDialect::Responses => return (Dialect::Responses, Task::Chat),
        CallDialect::Messages => return (Dialect::Anthropic, Task::Chat),
        CallDialect::Gemini => return (Dialect::Gemini, Task::Chat),
        CallDialect::GeminiEmbeddings => return (Dialect::Gemini, Task::Embeddings),
        CallDialect::Embeddings => Task::Embeddings,
        CallDialect::Moderations => Task::Moderations,
        CallDialect::ImageGenerations => Task::ImageGenerations,
        CallDialect::ImageEdits => Task::ImageEdits,
        CallDialect::Speech => Task::Speech,
        CallDialect::Transcriptions => Task::Transcriptions,
        CallDialect::Translations => Task::Translations,
        CallDialect::Rerank => Task::Rerank,
        CallDialect::Realtime => Task::Realtime,
    };
    (Dialect::OpenAi, task)
}

fn cooling(rest: &Rest) -> CoolingView {
    CoolingView {
        workers: rest.workers,
        left_ms: u64::try_from(rest.left.as_millis()).unwrap_or(u64::MAX),
        after: rest.end.map(|end| end.to_string()),
        application: rest.whose.as_ref().map(|name| name.to_string()),
    }
}

/// Why a target takes what it takes.
pub(super) fn why(target: &TargetState, found: &ModelRoute) -> String {
    if !target.offers {
        return "its provider does not offer this".to_owned();
    }
    if !target.admitted {
        return "it is not internal, and what was found goes to no other".to_owned();
    }
    if target.fit == Fit::Unfit {
        return unfit(target);
    }
    if !target.room {
        return "it has no room for another call by its limit".to_owned();
    }
    if found.targets.len() == 1 {
        return "the only target".to_owned();
    }
    let by_all = |rest: &Option<Rest>| rest.as_ref().is_some_and(|rest| rest.workers == found.workers);
    let keys_rest = !target.credentials.is_empty() && target.credentials.iter().all(|one| by_all(&one.rest));
    let rests = match (by_all(&target.rest), keys_rest) {
        (true, _) => Some("it is left alone after failures"),
        (false, true) => Some("all its credentials are left alone after failures"),
        (false, false) => None,
    };
    match (rests, target.percent > 0.0) {
        (Some(rests), true) => format!("{rests}, and so is every other target; its failure is longest ago"),
        (Some(rests), false) => rests.to_owned(),
        (None, true) => taken(target, found),
        (None, false) => passed_over(target, found),
    }
}

/// What it cannot do that the call needs.
fn unfit(target: &TargetState) -> String {
    format!("it cannot do what the call needs: {}", target.lacks.words())
}

/// The rank of those that are taken.
fn first(found: &ModelRoute) -> Option<Rank> {
    found.targets.iter().filter(|t| t.percent > 0.0).map(rank).min()
}

type Rank = (bool, bool, u32, Fit);

fn rank(target: &TargetState) -> Rank {
    target.fit.rank(target.used_up, target.priority)
}

/// That the prompt seems too large for a target.
fn too_large(target: &TargetState) -> String {
    format!("the prompt seems too large for its {} tokens", target.context.unwrap_or(0))
}

fn taken(target: &TargetState, found: &ModelRoute) -> String {
    if first(found).is_some_and(|first| first < rank(target)) {
        return "on some workers those of a lower priority are left alone".to_owned();
    }
    let equal = |other: &&TargetState| rank(other) == rank(target);
    let most = found.targets.iter().filter(equal).map(|other| other.percent).fold(0.0, f64::max);
    let doubt = match target.fit {
        _ if target.used_up => "; a budget of its provider is used up, and no other target takes calls".to_owned(),
        Fit::Unknown => "; whether it can do what the call needs is not known".to_owned(),
        Fit::TooLarge => format!("; {}, as for every other target that is left", too_large(target)),
        Fit::Known | Fit::Unfit => String::new(),
    };
    let why = match found.route_by {
        RouteBy::Weight => "of the lowest priority that serves, by weight",
        RouteBy::Cost => "it costs least of the lowest priority that serves, among equals by weight",
        RouteBy::Latency if target.latency.is_none() => "it has not answered yet, so it is tried",
        RouteBy::Latency if target.percent < most && target.percent < 25.0 => {
            "others are faster; a few calls find out whether they still are"
        }
        RouteBy::Latency => "it answers soonest of the lowest priority that serves, among equals by weight",
    };
    format!("{why}{doubt}")
}

fn passed_over(target: &TargetState, found: &ModelRoute) -> String {
    let rank = rank(target);
    match first(found) {
        Some((false, ..)) if target.fit == Fit::TooLarge => format!("{}, so others come first", too_large(target)),
        Some((_, false, ..)) if target.used_up => {
            "a budget of its provider is used up, so others come first".to_owned()
        }
        Some((_, _, priority, Fit::Known)) if target.fit == Fit::Unknown && priority == target.priority => {
            "whether it can do what the call needs is not known; others are known to".to_owned()
        }
        Some(first) if first == rank && found.route_by == RouteBy::Cost => match target.cost {
            Some(Cost::Known(_)) => "another one costs less".to_owned(),
            _ => "what it costs is not known".to_owned(),
        },
        _ => "it serves when those of a lower priority fail".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn target(priority: u32, percent: f64, resting: u32) -> TargetState {
        let rest = Rest { workers: resting, left: Duration::from_secs(9), end: None, whose: None };
        TargetState {
            provider: "p".into(),
            provider_model: "m".into(),
            priority,
            weight: 1,
            translates: false,
            internal: false,
            offers: true,
            admitted: true,
            room: true,
            used_up: false,
            fit: Fit::Known,
            lacks: Capabilities::default(),
            context: None,
            cost: None,
            latency: None,
            percent,
            rest: (resting > 0).then_some(rest),
            credentials: vec![],
        }
    }

    fn told(route_by: RouteBy, targets: Vec<TargetState>) -> String {
        let found = ModelRoute { workers: 2, route_by, targets };
        why(&found.targets[0], &found)
    }

    #[test]
    fn every_target_has_its_reason() {
        use RouteBy::{Cost as ByCost, Latency, Weight};
        let cost = |usd: &str| Some(Cost::Known(usd.parse().unwrap()));
        let unknown = |target: TargetState| TargetState { fit: Fit::Unknown, ..target };
        for (route_by, targets, said) in [
            (Weight, vec![target(0, 100.0, 2)], "the only target"),
            (Weight, vec![target(0, 50.0, 0), target(0, 50.0, 0)], "by weight"),
            (Weight, vec![target(0, 50.0, 1), target(0, 50.0, 0)], "by weight"),
            (Weight, vec![target(1, 50.0, 0), target(0, 50.0, 1)], "on some workers"),
            (Weight, vec![target(1, 0.0, 0), target(0, 100.0, 0)], "when those of a lower priority fail"),
            (Weight, vec![target(0, 0.0, 2), target(1, 100.0, 0)], "it is left alone after failures"),
            (Weight, vec![target(0, 100.0, 2), target(1, 0.0, 2)], "longest ago"),
            (Weight, vec![TargetState { admitted: false, ..target(0, 0.0, 0) }], "not internal"),
            (Weight, vec![TargetState { room: false, ..target(0, 0.0, 0) }], "no room"),
            (
                Weight,
                vec![TargetState { used_up: true, ..target(0, 0.0, 0) }, target(1, 100.0, 0)],
                "a budget of its provider is used up, so others come first",
            ),
            (
                Weight,
                vec![TargetState { used_up: true, ..target(0, 100.0, 0) }, target(1, 0.0, 2)],
                "by weight; a budget of its provider is used up",
            ),
            (Weight, vec![TargetState { offers: false, ..target(0, 0.0, 0) }], "does not offer this"),
            (Weight, vec![unknown(target(0, 0.0, 0)), target(0, 100.0, 0)], "others are known to"),
            (Weight, vec![target(1, 0.0, 0), unknown(target(0, 100.0, 0))], "when those of a lower priority fail"),
            (Weight, vec![unknown(target(0, 100.0, 0)), unknown(target(1, 0.0, 0))], "is not known"),
            (
                Weight,
                vec![TargetState { fit: Fit::TooLarge, context: Some(9000), ..target(0, 0.0, 0) }, target(1, 100.0, 0)],
                "too large for its 9000 tokens, so others",
            ),
            (
                Weight,
                vec![TargetState { fit: Fit::TooLarge, context: Some(9000), ..target(0, 100.0, 0) }, target(1, 0.0, 2)],
                "too large for its 9000 tokens, as for",
            ),
            (Weight, vec![TargetState { fit: Fit::Unfit, ..target(0, 0.0, 0) }], "it cannot do"),
            (ByCost, vec![TargetState { cost: cost("2"), ..target(0, 0.0, 0) }, target(0, 100.0, 0)], "costs less"),
            (ByCost, vec![target(0, 0.0, 0), TargetState { cost: cost("2"), ..target(0, 100.0, 0) }], "is not known"),
            (ByCost, vec![target(0, 100.0, 0), target(0, 0.0, 0)], "costs least"),
            (Latency, vec![target(0, 97.5, 0), target(0, 2.5, 0)], "so it is tried"),
            (
                Latency,
                vec![TargetState { latency: Some(Duration::from_secs(1)), ..target(0, 2.5, 0) }, target(0, 97.5, 0)],
                "others are faster",
            ),
            (
                Latency,
                vec![TargetState { latency: Some(Duration::from_secs(1)), ..target(0, 97.5, 0) }, target(0, 2.5, 0)],
                "answers soonest",
            ),
        ] {
            let told = told(route_by, targets);
            assert!(told.contains(said), "{told}: {said}");
        }
    }
}
