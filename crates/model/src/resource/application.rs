use super::{Budgets, Limit};
use crate::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A party that calls: a service, a job, a person's tool. Keys are issued to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Unique name.
    pub name: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The team that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<Name>,
    /// What it may use. Nothing, unless written out.
    #[serde(default)]
    pub allow: Allow,
    /// How much all its keys together may do in some time, and at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// How much its model calls may cost. Its keys, its team, the model and the provider may have budgets as well; all of
    /// them pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budgets>,
    /// Has its model calls told apart by the end users that they are for. Only where it can be trusted to say so truly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<EndUsers>,
}

/// The end users of an application, as its calls name them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndUsers {
    /// The request's header that names the end user. Without it that is what the call itself says: `safety_identifier` or
    /// else `user` in OpenAI's dialects, `metadata.user_id` in Anthropic's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// How much the calls for each end user may cost. A call that names none is refused where it is hard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budgets>,
    /// How many calls of models, tokens and calls at once each end user may have. A call that names none is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// An allow-list. An empty list allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// Routes, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Name>,
    /// Models, by public name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Name>,
    /// Prompts that calls may name, by name. What a route publishes is allowed by the route.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<Name>,
    /// Of the tools that the MCP server behind a route offers, only these, by the route's name; `*` stands for any
    /// characters. Routes that are not named are not narrowed, and an empty list allows no tool.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<Name, Vec<String>>,
}
