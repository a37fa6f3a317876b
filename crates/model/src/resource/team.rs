use super::{Budgets, Limit};
use crate::Name;
use serde::{Deserialize, Serialize};

/// People who own applications and credentials together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// Unique name.
    pub name: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who is told what happens to the credentials it answers for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyRule>,
    /// How much the model calls of all its applications together may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budgets>,
    /// How much all its applications together may do in some time, and at once. Requests count where they are for models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// Where a team is told that a rotation waits, failed, was taken back or is finished, and that a
/// credential is about to expire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyRule {
    /// Addresses of e-mail. Sent where the server's setting `smtp` names a mail server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<String>,
    /// Webhooks, signed as Standard Webhooks say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<NotifyWebhook>,
}

/// A webhook of a team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyWebhook {
    /// `https://…`, or `http://` on this machine.
    pub url: String,
    /// The credential whose value signs what is sent.
    pub secret: Name,
}
