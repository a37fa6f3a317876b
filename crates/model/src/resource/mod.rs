//! Resources as people declare them: one shape for file, admin API, command line, console and Terraform.
//!
//! Types here derive serde with unknown fields denied and avoid `flatten` and untagged enums, so
//! that one reader (`config`) can find every problem with its place in the text.

mod application;
pub mod budget;
mod cache;
mod credential;
mod delegation;
mod guardrail;
mod key;
mod mcp;
mod model;
mod pool;
mod prompt;
mod route;
mod routing;
mod store;
mod target;
mod team;
mod token;
mod upstream;

pub use crate::leak::LeakResponse;
pub use application::{Allow, Application, EndUsers};
pub use budget::{Budget, BudgetPeriod, Budgets, WhenUsedUp};
pub use cache::{Cache, CacheMode, CacheScope};
pub use credential::{
    Alphabet, CanaryRule, CertificateRule, CertificateUsage, Credential, DatabaseRule, DeliverRule, Engine,
    GenerateRule, Overlap, ProviderRule, RotateRule, RotateWindow, TimeOfDay, VerifyRule, Weekday,
};
pub use delegation::{Act, Delegate, KeyActor, Wider};
pub use guardrail::{
    Detect, Guardrail, GuardrailAction, GuardrailOn, GuardrailSet, OnError, PersonalData, Sensitivity, Topic,
};
pub use key::Key;
pub(crate) use key::is_metadata_name;
pub use mcp::{Mcp, McpNames, McpServer, Offered};
pub use model::{LongContext, Model, PooledCredential, PriceEntry, Target, TierPrice, TierPrices};
pub use pool::{TargetCredential, UpstreamCredential};
pub use prompt::{
    Prompt, PromptCheck, PromptMessage, PromptParameters, PromptRole, PromptTest, PromptVariable, PromptVersion,
    RoutePrompt, VariableType,
};
pub use route::{
    Authenticator, HeaderRules, KeyFact, Limit, Match, Retry, Route, RouteHeaders, Scope, SecretsInAnswers,
    SecretsInRequests,
};
pub use routing::{FallBackOn, Hedge, ModelCapability, ModelRetry, RouteBy, Sticky, StickyBy};
pub use store::{SecretStore, StoreKind, SyncRule};
pub use target::{ApiCall, ApiList, ApiTake, System, SystemApi, SystemKind, SystemTls};
pub use team::{NotifyRule, NotifyWebhook, Team};
pub use token::{ClientAuthentication, TokenRule};
pub use upstream::{
    AnswerEncoding, AwsSigv4Inject, BasicInject, HeaderInject, Health, Inject, QueryInject, Timeouts, Upstream,
    UpstreamTls,
};

use crate::Name;
use serde::{Deserialize, Serialize};

/// Everything declared, whatever it came from. Lists keep their order; names are unique per list
/// once [`crate::config::check`] has passed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceSet {
    /// Who owns applications and credentials.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<Team>,
    /// Parties that call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<Application>,
    /// Keys issued to applications.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// Credentials held for upstreams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    /// Systems in which credentials live.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<System>,
    /// Stores of secrets that are not ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<SecretStore>,
    /// Where requests go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Upstream>,
    /// What callers see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Rules for what is said to models and what they answer, which models share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guardrails: Vec<GuardrailSet>,
    /// Public model names and what serves them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
    /// What is said to models, in versions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<Prompt>,
    /// How leaks are answered: at most one, named `default`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leak_responses: Vec<LeakResponse>,
}

/// The kinds of resources, by the name of their list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `teams`
    Teams,
    /// `applications`
    Applications,
    /// `keys`
    Keys,
    /// `credentials`
    Credentials,
    /// `upstreams`
    Upstreams,
    /// `routes`
    Routes,
    /// `models`
    Models,
    /// `prompts`
    Prompts,
    /// `targets`
    Targets,
    /// `stores`
    Stores,
    /// `leak_responses`
    LeakResponses,
    /// `guardrails`
    Guardrails,
}

impl Kind {
    /// Every kind, in the order in which one may refer to the ones before; credentials, targets and
    /// stores may refer to one another.
    pub const ALL: [Self; 12] = [
        Self::Teams,
        Self::Credentials,
        Self::Targets,
        Self::Stores,
        Self::Upstreams,
        Self::Guardrails,
        Self::Models,
        Self::Prompts,
        Self::Routes,
        Self::Applications,
        Self::LeakResponses,
        Self::Keys,
    ];

    /// The name of the list in a file and of the collection in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Teams => "teams",
            Self::Applications => "applications",
            Self::Keys => "keys",
            Self::Credentials => "credentials",
            Self::Targets => "targets",
            Self::Stores => "stores",
            Self::Upstreams => "upstreams",
            Self::Routes => "routes",
            Self::Models => "models",
            Self::Prompts => "prompts",
            Self::LeakResponses => "leak_responses",
            Self::Guardrails => "guardrails",
        }
    }
}

/// A declared resource: it has a kind and a name.
pub trait Resource: Clone + PartialEq + Serialize + serde::de::DeserializeOwned {
    /// Its kind.
    const KIND: Kind;
    /// Its name, unique within the kind.
    fn name(&self) -> &Name;
    /// The list of this kind in a set.
    fn list(set: &ResourceSet) -> &Vec<Self>;
    /// The list of this kind in a set, to change it.
    fn list_mut(set: &mut ResourceSet) -> &mut Vec<Self>;
}

macro_rules! resources {
    ($($type:ident in $list:ident),*) => {$(
        impl Resource for $type {
            const KIND: Kind = Kind::$list;
            fn name(&self) -> &Name { &self.name }
            resources!(@list $list);
        }
    )*};
    (@list Teams) => { resources!(@fns teams); };
    (@list Applications) => { resources!(@fns applications); };
    (@list Keys) => { resources!(@fns keys); };
    (@list Credentials) => { resources!(@fns credentials); };
    (@list Targets) => { resources!(@fns targets); };
    (@list Stores) => { resources!(@fns stores); };
    (@list Upstreams) => { resources!(@fns upstreams); };
    (@list Routes) => { resources!(@fns routes); };
    (@list Models) => { resources!(@fns models); };
    (@list Prompts) => { resources!(@fns prompts); };
    (@list LeakResponses) => { resources!(@fns leak_responses); };
    (@list Guardrails) => { resources!(@fns guardrails); };
    (@fns $field:ident) => {
        fn list(set: &ResourceSet) -> &Vec<Self> { &set.$field }
        fn list_mut(set: &mut ResourceSet) -> &mut Vec<Self> { &mut set.$field }
    };
}
resources!(Team in Teams, Application in Applications, Key in Keys, Credential in Credentials, System in Targets, SecretStore in Stores, Upstream in Upstreams, Route in Routes, Model in Models, Prompt in Prompts, LeakResponse in LeakResponses, GuardrailSet in Guardrails);
