use crate::Period;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where and how access tokens are fetched with a credential's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenRule {
    /// The token endpoint, `https://…`, or `http://` on this machine. `oauth_token` needs it; a
    /// `google_service_account` is asked for at the place that its key names unless this is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `oauth_token` only: the client's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `oauth_token` only: how the client proves who it is.
    #[serde(skip_serializing_if = "ClientAuthentication::is_usual")]
    pub authentication: ClientAuthentication,
    /// What the token is to be good for: scopes with a space between them. For `google_service_account`
    /// `https://www.googleapis.com/auth/cloud-platform` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What else is sent to the token endpoint, as in `resource` or `audience`. No secrets: they are shown to everybody
    /// who may read the configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// `private_key_jwt` only: the name by which the token endpoint knows the key (`kid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Where a token is given back (RFC 7009) when its credential is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_url: Option<String>,
    /// A file of authorities (PEM) that the certificates of these places are believed by, instead of the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

impl TokenRule {
    /// How long a token is good for where the token endpoint does not say (RFC 6749, 5.1: it should).
    pub const USUAL_LIFE: Period = Period::from_secs(300);
    /// However long a token would be good for, it is renewed after this.
    pub const LONGEST_LIFE: Period = Period::from_secs(86_400);
}

/// How a client of an OAuth 2.0 server proves who it is (OpenID Connect Core, section 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// The secret stands in the body.
    #[default]
    ClientSecretPost,
    /// Id and secret stand in `Authorization: Basic`.
    ClientSecretBasic,
    /// A statement signed with the client's private key (RFC 7523), RSA or ECDSA on P-256. The value is the key in PEM. With its
    /// certificate beside it, the certificate's hash is sent along (`x5t#S256`), which Entra ID asks for.
    PrivateKeyJwt,
}

impl ClientAuthentication {
    fn is_usual(&self) -> bool {
        *self == Self::ClientSecretPost
    }
}
