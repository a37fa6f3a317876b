//! What would become of a whole call to a model on this node, in the words of the admin API.

use super::{
    Plane,
    preview::{asked, view, why},
};
use credentialflow_admin::ports::{AskedWhole, CannotAsk, ModelDryRunTarget, ModelDryRunView, RefusedView};
use credentialflow_gateway::dry_run::{self, AtTarget, Decision, DryRun, NotServed, WholeCall};
use credentialflow_model::resource::budget::usd;

impl Plane {
    /// What would become of a call to a model.
    pub async fn model_dry_run(&self, model: &str, call: AskedWhole) -> Result<ModelDryRunView, CannotAsk> {
        let gateway = self.gateway.load_full().ok_or(CannotAsk::ServesNone)?;
        let AskedWhole { body, dialect, stream, application, key, user, headers } = call;
        let (speaks, task) = asked(dialect);
        let (application, user) = (application.map(Into::into), user.map(Into::into));
        let whole = WholeCall { speaks, task, streams: stream, body, headers, application, key, user };
        let told = gateway.dry_run(model, whole).await.map_err(cannot)?;
        let DryRun { decision, route } = told.ok_or(CannotAsk::ServesNone)?;
        let Decision { serves, user, found, asks, needs, streams, internal, sticky, refused, targets, .. } = decision;
        let shown = route.as_ref().map_or_else(Vec::new, |route| {
            let target = |(target, found): (&_, &AtTarget)| {
                let why = found.refused.as_ref().and_then(|r| r.detail.clone()).unwrap_or_else(|| why(target, route));
                ModelDryRunTarget {
                    target: view(target, why),
                    most_usd: found.most.map(|most| usd(most).to_string()),
                    refused: found.refused.as_ref().map(told_so),
                }
            };
            route.targets.iter().zip(&targets).map(target).collect()
        });
        Ok(ModelDryRunView {
            model: model.to_owned(),
            serves: serves.to_string(),
            dialect,
            stream: streams,
            refused: refused.as_ref().map(told_so),
            user: user.map(|user| user.to_string()),
            guardrails: found.iter().flat_map(|found| found.split(' ')).map(str::to_owned).collect(),
            not_asked: asks.into_iter().map(str::to_owned).collect(),
            needs: needs.capabilities.iter().collect(),
            tokens: needs.tokens(),
            internal,
            sticky,
            workers: route.as_ref().map_or(1, |route| route.workers),
            route_by: route.map(|route| route.route_by).unwrap_or_default(),
            targets: shown,
        })
    }
}

fn told_so(refused: &NotServed) -> RefusedView {
    let NotServed { reason, detail } = refused;
    RefusedView { code: reason.code().to_owned(), status: reason.status(), detail: detail.clone() }
}

fn cannot(why: dry_run::CannotAsk) -> CannotAsk {
    use dry_run::CannotAsk as C;
    let (detail, hint) = match why {
        C::Model => return CannotAsk::ServesNone,
        C::Caller => (
            "there is no such application or key that may call now".to_owned(),
            "name an application, or a key of it that is in force",
        ),
        C::Form => {
            ("calls of this kind are not asked about whole".to_owned(), "ask with GET, which says where they would go")
        }
        C::Headers => ("the headers are none that a call can have".to_owned(), "as in { \"x-session-id\": \"7\" }"),
        C::Names(model) => (format!("the call names the model {model:?}"), "ask about that model, or change the call"),
    };
    CannotAsk::Invalid(detail, hint.to_owned())
}
