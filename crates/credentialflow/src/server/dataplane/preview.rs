//! Which target of a model a call would take here, in the words of the admin API.

use super::Plane;
use credentialflow_admin::ports::{CallDialect, CoolingView, ModelCredentialView, ModelRouteView, ModelTargetView};
use credentialflow_gateway::preview::{Rest, TargetState};
use credentialflow_llm::provider::Dialect;

impl Plane {
    /// What the next calls to a model find on this node; `None` where it serves none.
    pub async fn model_route(&self, model: &str, speaks: CallDialect) -> Option<ModelRouteView> {
        let gateway = self.gateway.load_full()?;
        let found = gateway.preview(model, dialect(speaks)).await?;
        let first = found.targets.iter().filter(|t| t.percent > 0.0).map(|t| t.priority).min();
        let alone = found.targets.len() == 1;
        let view = |target: &TargetState| ModelTargetView {
            provider: target.provider.to_string(),
            model: target.provider_model.to_string(),
            priority: target.priority,
            weight: target.weight,
            percent: (target.percent * 100.0).round() / 100.0,
            why: why(target, found.workers, first, alone),
            translated: target.translates,
            cooling: target.rest.map(cooling),
            credentials: target
                .credentials
                .iter()
                .map(|one| ModelCredentialView {
                    name: one.name.as_ref().map(|name| name.to_string()),
                    weight: one.weight,
                    cooling: one.rest.map(cooling),
                })
                .collect(),
        };
        let targets = found.targets.iter().map(view).collect();
        Some(ModelRouteView { model: model.to_owned(), dialect: speaks, workers: found.workers, targets })
    }
}

const fn dialect(speaks: CallDialect) -> Dialect {
    match speaks {
        CallDialect::Chat => Dialect::OpenAi,
        CallDialect::Responses => Dialect::Responses,
        CallDialect::Messages => Dialect::Anthropic,
        CallDialect::Gemini => Dialect::Gemini,
    }
}

fn cooling(rest: Rest) -> CoolingView {
    CoolingView {
        workers: rest.workers,
        left_ms: u64::try_from(rest.left.as_millis()).unwrap_or(u64::MAX),
        after: rest.end.map(|end| end.to_string()),
    }
}

/// Why a target takes what it takes.
fn why(target: &TargetState, workers: u32, first: Option<u32>, alone: bool) -> String {
    let rests = target.rest.filter(|rest| rest.workers == workers);
    let keys_rest = !target.credentials.is_empty()
        && target.credentials.iter().all(|one| one.rest.is_some_and(|rest| rest.workers == workers));
    let rests = match (rests, keys_rest) {
        (Some(_), _) => Some("it is left alone after failures"),
        (None, true) => Some("all its credentials are left alone after failures"),
        (None, false) => None,
    };
    match (rests, target.percent > 0.0) {
        _ if alone => "the only target".to_owned(),
        (Some(rests), true) => format!("{rests}, and so is every other target; its failure is longest ago"),
        (Some(rests), false) => rests.to_owned(),
        (None, true) => match first {
            Some(first) if first < target.priority => {
                "on some workers those of a lower priority are left alone".to_owned()
            }
            _ => "of the lowest priority that serves, by weight".to_owned(),
        },
        (None, false) => "it serves when those of a lower priority fail".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_target_has_its_reason() {
        let rest = |workers| Some(Rest { workers, left: Duration::from_secs(9), end: None });
        let target = |priority, percent, rest| TargetState {
            provider: "p".into(),
            provider_model: "m".into(),
            priority,
            weight: 1,
            translates: false,
            percent,
            rest,
            credentials: vec![],
        };
        for (target, first, alone, said) in [
            (target(0, 100.0, rest(2)), Some(0), true, "the only target"),
            (target(0, 50.0, None), Some(0), false, "by weight"),
            (target(0, 50.0, rest(1)), Some(0), false, "by weight"),
            (target(1, 50.0, None), Some(0), false, "on some workers"),
            (target(1, 0.0, None), Some(0), false, "when those of a lower priority fail"),
            (target(0, 0.0, rest(2)), Some(1), false, "it is left alone after failures"),
            (target(0, 100.0, rest(2)), Some(0), false, "longest ago"),
        ] {
            let told = why(&target, 2, first, alone);
            assert!(told.contains(said), "{told}: {said}");
        }
    }
}
