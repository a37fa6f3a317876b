use super::SystemTls;
use crate::{Name, Period, SecretPlace};
use serde::{Deserialize, Serialize};

/// A store of secrets that is not ours: credentials take their values from it, or are written to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretStore {
    /// Unique name.
    pub name: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is.
    pub kind: StoreKind,
    /// Where it is: a URL; for `files` a directory below the server's setting `store_files`. `aws`,
    /// `google` and, inside a cluster, `kubernetes` know their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The credential whose value lets us in: a token, the secret id of an AppRole, a secret access key,
    /// a client secret, the key file of a service account. Absent, `aws` takes the server's environment
    /// and `kubernetes` the service account of the server's own pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Name>,
    /// Who we are there, where the credential does not say: the role id of an AppRole (absent, the
    /// credential is a token), the access key id, the client id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// `vault`: the mount of the AppRole method, `approle` when absent. `azure`: the authority, when it
    /// is not `https://login.microsoftonline.com`. `google`: where tokens are asked for, when that is not
    /// the key file's `token_uri` at a public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// `azure`: the tenant, by its id or domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `vault`: the mount of the key-value engine (version 2), `secret` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// `vault` and `kubernetes`: the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `aws`: the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `google`: the project, by its id or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// How often values that come from it are read again; 5 minutes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Period>,
    /// The authorities to believe. Absent: Mozilla's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<SystemTls>,
    /// Talk to it in clear over a network that is protected otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plaintext: bool,
}

impl SecretStore {
    /// How often values that come from it are read again, unless it says otherwise.
    pub const REFRESH: Period = Period::from_secs(300);

    /// How often values that come from it are read again.
    pub fn refresh(&self) -> Period {
        self.refresh.unwrap_or(Self::REFRESH)
    }
}

/// A kind of store that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// HashiCorp Vault or OpenBao, the key-value engine version 2.
    Vault,
    /// AWS Secrets Manager.
    Aws,
    /// Azure Key Vault, its secrets.
    Azure,
    /// Google Secret Manager.
    Google,
    /// Secrets of a Kubernetes namespace.
    Kubernetes,
    /// Files in a directory of the server.
    Files,
}

/// One place outside to which each new version of a credential is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncRule {
    /// The store.
    pub store: Name,
    /// The secret there, as in `apps/orders`.
    pub path: String,
    /// The field of the secret; the others stay as they are. Absent, the value is the whole secret, or
    /// the field `value` where a store knows only fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl SyncRule {
    /// The place, without the store's part of the notation.
    pub fn place(&self) -> SecretPlace {
        SecretPlace { store: self.store.clone(), path: self.path.clone(), field: self.field.clone() }
    }
}
