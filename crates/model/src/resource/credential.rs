use super::{SyncRule, TokenRule};
use crate::{Name, Period, SecretPlace, SecretReference, Timestamp};
use serde::{Deserialize, Serialize};

/// A credential held for upstreams: sealed in the vault, injected for permitted requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Unique name.
    pub name: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The team that answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What makes its values.
    pub engine: Engine,
    /// `static`, `oauth_token` and `google_service_account` only: where the value comes from. Absent when it is handed
    /// in over the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<SecretReference>,
    /// `generated` only: how values are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<GenerateRule>,
    /// `database` only: which login of which target it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseRule>,
    /// `provider` only: where its keys are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderRule>,
    /// `certificate` and `certificate_authority` only: what the certificate says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateRule>,
    /// `oauth_token` and `google_service_account` only: where and how access tokens are fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenRule>,
    /// Not injected from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// How it is rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate: Option<RotateRule>,
    /// Where each new version is written outside, before the one it replaces goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sync: Vec<SyncRule>,
    /// How a new version is tried at its target before it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyRule>,
    /// Whether its values are looked for in what callers send (`secrets_in_requests`). Yes unless set; no is for a value
    /// that callers know by right, or that is an ordinary word.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub find_in_requests: bool,
}

fn yes() -> bool {
    true
}

fn is_yes(yes: &bool) -> bool {
    *yes
}

impl Credential {
    /// The place outside from which its values come, if they do.
    pub fn source(&self) -> Option<&SecretPlace> {
        match &self.value {
            Some(SecretReference::Store(place)) => Some(place),
            _ => None,
        }
    }

    /// How it is rotated, by itself or by hand: as declared, or as its engine makes it necessary.
    pub fn rotation(&self) -> Option<RotateRule> {
        RotateRule::of(self.engine, self.certificate.as_ref(), self.rotate.as_ref())
    }
}

/// What makes a credential's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// A value received: from a reference, or handed in.
    Static,
    /// A random value under a rule.
    Generated,
    /// The password of a login at a target, changed there by each rotation. Its value is a JSON
    /// object with `username` and `password`.
    Database,
    /// A key that a provider makes: each rotation has a new one made through the provider's API, tries
    /// it, and has the old one deleted there.
    Provider,
    /// A certificate and its private key, signed by an authority that is a credential as well. Its value
    /// is PEM: the certificate, the authority's, the private key. A new one is made by itself when two
    /// thirds of its lifetime are over, unless `rotate` says otherwise.
    Certificate,
    /// A certificate and its private key that sign other certificates. Never injected.
    CertificateAuthority,
    /// The secret of the key of the same name, which we issue to one of our own applications. It is written
    /// to the places under `sync`, where the application finds it; never injected.
    Key,
    /// The secret or private key of a client of an OAuth 2.0 server (RFC 6749, 4.4), received as a `static` value is.
    /// Upstreams are sent access tokens that are fetched with it and renewed by themselves; never the value itself.
    OauthToken,
    /// The JSON key of a Google service account, received as a `static` value is. Upstreams are sent access tokens
    /// that are fetched with it (RFC 7523) and renewed by themselves; never the value itself.
    GoogleServiceAccount,
}

/// Which provider makes a credential's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderRule {
    /// A target of the system `http`.
    pub target: Name,
}

impl Engine {
    /// Whether its values are issued by somebody else, who hands them in or lets them be read.
    pub const fn is_received(self) -> bool {
        matches!(self, Self::Static | Self::OauthToken | Self::GoogleServiceAccount)
    }

    /// Whether upstreams are sent access tokens that are fetched with its values.
    pub const fn fetches_tokens(self) -> bool {
        matches!(self, Self::OauthToken | Self::GoogleServiceAccount)
    }

    /// Whether its values are certificates.
    pub const fn is_certificate(self) -> bool {
        matches!(self, Self::Certificate | Self::CertificateAuthority)
    }
}

/// What a certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateRule {
    /// `certificate` only: the authority that signs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<Name>,
    /// Whom it names; the credential's name when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    /// `certificate` only: host names, addresses and URIs it is for. A server needs the names it is
    /// reached by; clients are often known by a URI, as in `spiffe://example.internal/billing`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// `certificate` only: what it may be used for.
    #[serde(skip_serializing_if = "CertificateUsage::is_client")]
    pub usage: CertificateUsage,
    /// How long it is valid: 24 hours unless set, of an authority ten years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Period>,
    /// `certificate_authority` only: the domains and networks it may sign for, as in `example.internal`
    /// and `10.0.0.0/8`; everything when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<String>,
}

impl CertificateRule {
    /// How long a certificate is valid.
    pub fn leaf_lifetime(&self) -> Period {
        self.lifetime.unwrap_or(Period::from_secs(86_400))
    }

    /// How long an authority is valid.
    pub fn root_lifetime(&self) -> Period {
        self.lifetime.unwrap_or(Period::from_secs(3650 * 86_400))
    }
}

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateUsage {
    /// To prove who calls.
    #[default]
    Client,
    /// To prove who answers.
    Server,
    /// Both.
    Both,
}

impl CertificateUsage {
    fn is_client(&self) -> bool {
        *self == Self::Client
    }
}

/// Which login of which target a credential is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseRule {
    /// The target.
    pub target: Name,
    /// The login, which exists there. Its password is ours from the first version on.
    pub username: String,
    /// Take turns with a second login: a rotation sets and tries the one that nobody uses, and the
    /// other one works on until it is drained. Without it, a login's sessions go on, but new ones
    /// need the new password at once.
    #[serde(default)]
    pub alternate: bool,
    /// The second login; the first one's name with `_alt` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
    /// Creates the second login where it does not exist yet, as in `CREATE ROLE {{name}} LOGIN
    /// PASSWORD '{{password}}' IN ROLE app`. Absent: it must exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub create: Vec<String>,
}

impl DatabaseRule {
    /// The logins that take turns; one when there is no second.
    pub fn usernames(&self) -> Vec<String> {
        let second = || self.second.clone().unwrap_or_else(|| format!("{}_alt", self.username));
        std::iter::once(self.username.clone()).chain(self.alternate.then(second)).collect()
    }
}

/// The rule for a generated value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateRule {
    /// Characters, 8 to 1024.
    #[serde(default = "default_length")]
    pub length: u32,
    /// Which characters.
    #[serde(default)]
    pub alphabet: Alphabet,
    /// The least entropy in bits; a rule that cannot reach it is refused.
    #[serde(default = "default_entropy")]
    pub entropy: u32,
}

impl Default for GenerateRule {
    fn default() -> Self {
        Self { length: default_length(), alphabet: Alphabet::default(), entropy: default_entropy() }
    }
}

fn default_length() -> u32 {
    32
}
fn default_entropy() -> u32 {
    128
}

/// The characters of a generated value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Alphabet {
    /// `0-9 A-Z a-z`
    #[default]
    Alphanumeric,
    /// `0-9 a-f`
    Hex,
    /// `0-9`
    Digits,
    /// `0-9 A-Z a-z - _` (RFC 4648 base64url)
    Base64url,
    /// All printable ASCII but space, quotes and backslash.
    Printable,
}

impl Alphabet {
    /// The characters, each once.
    pub const fn characters(self) -> &'static [u8] {
        match self {
            Self::Alphanumeric => b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            Self::Hex => b"0123456789abcdef",
            Self::Digits => b"0123456789",
            Self::Base64url => b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_",
            Self::Printable => {
                b"!#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_abcdefghijklmnopqrstuvwxyz{|}~"
            }
        }
    }
}

/// When and how a credential is rotated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRule {
    /// How often it is to be rotated; absent means by hand. A `static` credential's rotation then waits
    /// for its next value to be delivered; the others are rotated by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// Spreads rotations of many credentials: each is due up to this much later, by a part of it that
    /// follows from its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Period>,
    /// A rotation that is due begins only within this window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<RotateWindow>,
    /// A rotation that is due waits until somebody approves it. One that is begun by hand does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
    /// `static` only: who is asked for the next value when a rotation is due. Absent, somebody delivers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver: Option<DeliverRule>,
    /// A new version first gets a share of the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
    /// How long the old version stays valid.
    #[serde(default)]
    pub overlap: Overlap,
    /// The longest a drain may take before the old version is retired all the same; 24 hours unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Period>,
    /// `key` only: the old secret is drained when the new one is in use and nobody has used the old one for
    /// this long; one hour unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Period>,
}

/// Who is asked for a credential's next value: a webhook of its owner.
///
/// It is sent a signed `POST` (Standard Webhooks) with `{"type": "credential.value_wanted", "data":
/// {"credential", "rotation"}}`, again and again until it answers: with 200 and `{"value": "…"}`, or with
/// 202 when somebody will deliver the value later. Asked again for the same rotation, it answers with
/// the same value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliverRule {
    /// `https://…`, or `http://` on this machine.
    pub url: String,
    /// The credential whose value signs the request.
    pub secret: Name,
}

/// How a new version is tried with a share of the traffic before all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryRule {
    /// How many of a hundred requests carry the new version, 1 to 99.
    pub percent: u8,
    /// After so many good answers it is promoted; 100 unless set.
    #[serde(default = "canary_answers")]
    pub answers: u64,
    /// After this long it is promoted also with fewer answers, unless too many of them refused it; one
    /// hour unless set.
    #[serde(default = "canary_within")]
    pub within: Period,
}

fn canary_answers() -> u64 {
    100
}
fn canary_within() -> Period {
    Period::from_secs(3600)
}

impl RotateRule {
    /// The rule of a credential of which these are known. A certificate that says nothing else is renewed when two
    /// thirds of its lifetime are over.
    pub fn of(engine: Engine, certificate: Option<&CertificateRule>, declared: Option<&Self>) -> Option<Self> {
        if engine != Engine::Certificate || declared.is_some_and(|rule| rule.every.is_some()) {
            return declared.cloned();
        }
        let lifetime = certificate.map_or(CertificateRule::default().leaf_lifetime(), CertificateRule::leaf_lifetime);
        let every = Some(Period::from_millis(lifetime.as_millis() / 3 * 2));
        Some(Self { every, ..declared.cloned().unwrap_or_default() })
    }
}

/// A time of the day, on some days of the week, at which rotations may begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateWindow {
    /// The days on which it opens; every day when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Weekday>,
    /// When it opens.
    pub from: TimeOfDay,
    /// When it closes; on the next day when this is not after `from`.
    pub to: TimeOfDay,
    /// The time zone of all this, by its name in the IANA database, as in `Europe/Berlin`.
    #[serde(default = "utc", skip_serializing_if = "is_utc")]
    pub zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn is_utc(zone: &String) -> bool {
    zone == "UTC"
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// Monday
    Mon,
    /// Tuesday
    Tue,
    /// Wednesday
    Wed,
    /// Thursday
    Thu,
    /// Friday
    Fri,
    /// Saturday
    Sat,
    /// Sunday
    Sun,
}

/// Hours and minutes of a day, as in `02:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

crate::name::string_schema!(TimeOfDay, "02:30");

impl TimeOfDay {
    /// The hour, 0 to 23.
    pub const fn hour(self) -> u8 {
        (self.0 / 60) as u8
    }
    /// The minute, 0 to 59.
    pub const fn minute(self) -> u8 {
        (self.0 % 60) as u8
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = InvalidTimeOfDay;
    fn try_from(s: String) -> Result<Self, InvalidTimeOfDay> {
        let two = |text: &str| -> Option<u16> {
            (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
        };
        let (hour, minute) = s.split_once(':').ok_or(InvalidTimeOfDay)?;
        match (two(hour), two(minute)) {
            (Some(hour), Some(minute)) if hour < 24 && minute < 60 => Ok(Self(hour * 60 + minute)),
            _ => Err(InvalidTimeOfDay),
        }
    }
}

impl From<TimeOfDay> for String {
    fn from(t: TimeOfDay) -> String {
        format!("{:02}:{:02}", t.hour(), t.minute())
    }
}

/// Why a text is no [`TimeOfDay`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a time of the day is written as 00:00 to 23:59")]
pub struct InvalidTimeOfDay;

/// How long the old version of a credential stays valid after a new one is promoted:
/// `until-drained`, `only-when-drained`, or a duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Overlap {
    /// Until no observed request uses it any more.
    #[default]
    UntilDrained,
    /// The same without a limit: as long as a request uses it, the old version stays.
    OnlyWhenDrained,
    /// For this long, drained or not.
    For(Period),
}

crate::name::string_schema!(Overlap, "until-drained");

impl TryFrom<String> for Overlap {
    type Error = InvalidOverlap;
    fn try_from(s: String) -> Result<Self, InvalidOverlap> {
        match s.as_str() {
            "until-drained" => Ok(Self::UntilDrained),
            "only-when-drained" => Ok(Self::OnlyWhenDrained),
            other => other.parse().map(Self::For).map_err(|_| InvalidOverlap),
        }
    }
}

impl From<Overlap> for String {
    fn from(o: Overlap) -> String {
        match o {
            Overlap::UntilDrained => "until-drained".to_owned(),
            Overlap::OnlyWhenDrained => "only-when-drained".to_owned(),
            Overlap::For(period) => period.to_string(),
        }
    }
}

/// Why a text is no [`Overlap`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an overlap is until-drained, only-when-drained or a duration such as 24h")]
pub struct InvalidOverlap;

/// A request that proves whether a version works at its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRule {
    /// The upstream that is asked, with this credential injected as that upstream says.
    pub upstream: Name,
    /// Path and query of a harmless `GET`.
    pub path: String,
}
