//! The token endpoint: a key issues narrower keys to agents by OAuth 2.0 Token Exchange (RFC 8693), and ends them again
//! (RFC 7009).
//!
//! It stands at the control listener and at that of the run-time API, never on a gateway's worker. Whoever asks proves
//! who it is with the key that it shows, checked as the gateway checks keys; no other credential is taken. Guessing is
//! slowed down, and each declared key issues no more than so many a minute, with those that come from it.

use super::{dataplane::Plane, ports::Guesses, runtime::secret};
use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, State, rejection::BytesRejection},
    response::{IntoResponse, Response},
    routing::post,
};
use credentialflow_gateway::ports::GuessListener;
use credentialflow_model::{
    Actor, ActorKind, KeyId, Period, SecretValue, Timestamp,
    form::{Form, FormError},
    mask,
    resource::{Act, Allow, Key, KeyActor, Kind},
};
use credentialflow_policy::{CompiledLimit, FailureThrottle, KeyPrincipal, RateKey, RateTable, ThrottleSettings};
use credentialflow_vault::{DelegatedKey, NotDelegated, ShownKey, Vault, VaultError, WantedKey};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};
use zeroize::Zeroize;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The largest form.
const MAX_FORM: usize = 16 * 1024;
/// The shortest that a key may be asked to live: one that ends before it is used is asked for again and again.
const LEAST_SECONDS: u64 = 60;
/// Keys that one declared key may issue in a minute, over all generations.
const A_MINUTE: u32 = 120;
/// Keys and sources that are told apart.
const SLOTS: usize = 1 << 12;
/// The longest that the workers may take to acknowledge.
const ACKNOWLEDGED_IN: Duration = Duration::from_secs(10);
/// Characters of a name that stands in logs.
const MOST_CHARACTERS: usize = 256;

/// The endpoint; answers 503 until it is attached.
#[derive(Clone, Default)]
pub(super) struct TokenEndpoint(Arc<OnceLock<Issuer>>);

struct Issuer {
    plane: Arc<Plane>,
    vault: Vault,
    prefix: String,
    guesses: Guesses,
    throttle: FailureThrottle,
    rates: Arc<RateTable>,
    issuing: CompiledLimit,
    began: Instant,
}

impl TokenEndpoint {
    /// Gives it what it issues keys with.
    pub fn attach(&self, plane: Arc<Plane>, vault: Vault, prefix: String, seed: u64) {
        let rates = Arc::new(RateTable::new(SLOTS, seed));
        let guesses = Guesses::start(plane.store().clone(), plane.guesses_lost().clone());
        let throttle = FailureThrottle::new(rates.clone(), ThrottleSettings::default());
        let issuing = CompiledLimit::new(A_MINUTE, Duration::from_secs(60));
        let issuer = Issuer { plane, vault, prefix, guesses, throttle, rates, issuing, began: Instant::now() };
        // Attached once, when the server starts.
        drop(self.0.set(issuer));
    }

    /// Its paths.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/oauth2/token", post(token))
            .route("/oauth2/revoke", post(revoke))
            .layer(DefaultBodyLimit::max(MAX_FORM))
            .with_state(self.clone())
    }

    fn issuer(&self) -> Result<&Issuer, Refused> {
        self.0.get().ok_or_else(|| Refused::unavailable("the server is starting"))
    }
}

/// An error as RFC 6749, 5.2 writes it.
struct Refused {
    status: StatusCode,
    error: &'static str,
    description: String,
    retry_after: Option<Duration>,
}

impl Refused {
    fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description: description.into(), retry_after: None }
    }

    fn request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    fn unavailable(description: &str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self { status, ..Self::new("temporarily_unavailable", description) }
    }

    fn too_often(wait: Duration) -> Self {
        let (status, retry_after) = (StatusCode::TOO_MANY_REQUESTS, Some(wait));
        Self { status, retry_after, ..Self::new("slow_down", "this came too often; wait, then try again") }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        // The characters that RFC 6749 allows; a name may have others.
        let plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        // A name that it repeats may be a key at the wrong place.
        let description: String =
            mask::masked(&self.description).chars().map(|c| if plain(c) { c } else { '?' }).collect();
        let body = json!({ "error": self.error, "error_description": description }).to_string();
        let mut response = answered(self.status, body.into());
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

fn answered(status: StatusCode, body: Bytes) -> Response {
    let fields: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, fields, body).into_response()
}

/// The parameters of a form, each of which may stand there once. Those that are no names and amounts stay secrets, as do
/// those that nobody asks for.
struct Parameters(Form);

type Posted = Result<Bytes, BytesRejection>;

impl Parameters {
    fn read(headers: &HeaderMap, body: Posted) -> Result<Self, Refused> {
        if headers.contains_key(header::AUTHORIZATION) {
            let why = "send no client authentication: the token in the form is what is checked";
            return Err(Refused { status: StatusCode::UNAUTHORIZED, ..Refused::new("invalid_client", why) });
        }
        let no_form =
            || Refused::request("the request is a form (application/x-www-form-urlencoded) of at most 16 KiB");
        if !is_form(headers) {
            return Err(no_form());
        }
        let body = body.map_err(|_| no_form())?;
        let form = Form::read(&body);
        wipe(body);
        form.map(Self).map_err(|error| Refused::request(error.to_string()))
    }

    /// A parameter; one that is empty is one that is left out (RFC 6749, 3.2).
    fn take(&mut self, name: &str) -> Result<Option<SecretValue>, Refused> {
        self.0.take(name).map_err(|error| {
            let repeated = error == FormError::Repeated;
            let told = if repeated { format!("`{name}` stands in the form more than once") } else { error.to_string() };
            Refused::request(told)
        })
    }

    /// A parameter that is no secret.
    fn take_text(&mut self, name: &str) -> Result<Option<String>, Refused> {
        Ok(self.take(name)?.and_then(|value| value.expose_str().map(str::to_owned)))
    }

    /// A token, whose type must be that of our keys.
    fn take_token(&mut self, name: &str) -> Result<Option<SecretValue>, Refused> {
        let token = self.take(name)?;
        let kind = self.take_text(&format!("{name}_type"))?;
        match (&token, kind.as_deref()) {
            (Some(_), Some(ACCESS_TOKEN)) | (None, None) => Ok(token),
            (Some(_), _) => Err(Refused::request(format!("`{name}_type` is {ACCESS_TOKEN}"))),
            (None, Some(_)) => Err(Refused::request(format!("`{name}` is missing"))),
        }
    }

    /// A text that stands in logs.
    fn take_name(&mut self, name: &str) -> Result<Option<String>, Refused> {
        let text = self.take_text(name)?;
        if text.as_ref().is_some_and(|text| {
            text.trim().is_empty() || text.chars().count() > MOST_CHARACTERS || text.chars().any(char::is_control)
        }) {
            return Err(Refused::request(format!("`{name}` is 1 to {MOST_CHARACTERS} characters, on one line")));
        }
        // It would be kept and shown for as long as anybody asks who acted.
        if text.as_ref().is_some_and(|text| matches!(mask::masked(text), Cow::Owned(_))) {
            return Err(Refused::request(format!("a key stands in `{name}`")));
        }
        Ok(text)
    }
}

/// Whether a request says that it is a form.
fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Overwrites a body that nobody else holds.
fn wipe(body: Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        body.zeroize();
    }
}

/// What is asked for.
struct Asked {
    subject: SecretValue,
    actor: Option<SecretValue>,
    wanted: WantedKey,
}

impl Asked {
    fn read(mut form: Parameters) -> Result<Self, Refused> {
        match form.take_text("grant_type")?.as_deref() {
            Some(EXCHANGE) => {}
            None => return Err(Refused::request("`grant_type` is missing")),
            Some(_) => return Err(Refused::new("unsupported_grant_type", format!("the grant type is {EXCHANGE}"))),
        }
        let subject =
            form.take_token("subject_token")?.ok_or_else(|| Refused::request("`subject_token` is missing"))?;
        let actor = form.take_token("actor_token")?;
        if form.take_text("requested_token_type")?.is_some_and(|kind| kind != ACCESS_TOKEN) {
            return Err(Refused::request(format!("the tokens issued here are of the type {ACCESS_TOKEN}")));
        }
        if form.0.has("resource") || form.0.has("audience") {
            let why = "write routes, models and prompts in `scope`, as in route:orders model:chat-default";
            return Err(Refused::new("invalid_target", why));
        }
        let allow = form.take_text("scope")?.map(|scope| allow_of(&scope)).transpose()?;
        let seconds = form.take_text("expires_in")?;
        let seconds =
            seconds.map(|text| text.parse().ok().filter(|n| (LEAST_SECONDS..=u64::from(u32::MAX)).contains(n)));
        if seconds == Some(None) {
            return Err(Refused::request(format!("`expires_in` is a number of seconds, {LEAST_SECONDS} or more")));
        }
        let usd = form.take_text("budget_usd")?.map(|text| text.parse()).transpose();
        let usd = usd.map_err(|_| Refused::request("`budget_usd` is an amount in US dollars, as in 0.50"))?;
        let (name, client) = (form.take_name("actor")?, form.take_name("client_id")?);
        let purpose = form.take_name("purpose")?;
        if actor.is_some() && name.is_some() {
            return Err(Refused::request("who acts is said by `actor_token` or by `actor`, not by both"));
        }
        if name.as_ref().or(client.as_ref()).is_some_and(|name| name.chars().count() > 128) {
            return Err(Refused::request("the name of who acts has at most 128 characters"));
        }
        let wanted = WantedKey {
            actor: name.or(client).map(|name| KeyActor { name, purpose }),
            subject: form.take_name("subject")?,
            allow,
            lifetime: seconds.flatten().map(Period::from_secs),
            until: None,
            usd,
        };
        Ok(Self { subject, actor, wanted })
    }
}

/// What a scope allows: routes, models and prompts, apart by spaces.
fn allow_of(scope: &str) -> Result<Allow, Refused> {
    let mut allow = Allow::default();
    for word in scope.split(' ').filter(|word| !word.is_empty()) {
        let (list, name) = match word.split_once(':') {
            Some(("route", name)) => (&mut allow.routes, name),
            Some(("model", name)) => (&mut allow.models, name),
            Some(("prompt", name)) => (&mut allow.prompts, name),
            _ => return Err(unknown_scope()),
        };
        let name = name.parse().map_err(|_| unknown_scope())?;
        if !list.contains(&name) {
            list.push(name);
        }
    }
    Ok(allow)
}

fn unknown_scope() -> Refused {
    Refused::new("invalid_scope", "a scope is route:NAME, model:NAME or prompt:NAME, apart by spaces")
}

fn scope_of(allow: &Allow) -> String {
    let routes = allow.routes.iter().map(|name| format!("route:{name}"));
    let models = allow.models.iter().map(|name| format!("model:{name}"));
    let prompts = allow.prompts.iter().map(|name| format!("prompt:{name}"));
    routes.chain(models).chain(prompts).collect::<Vec<_>>().join(" ")
}

/// What is answered (RFC 8693, 2.2.1), and beside it which key that is and who acts for whom.
#[derive(Serialize)]
struct Answer<'a> {
    access_token: &'a str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
    scope: String,
    key: &'a str,
    key_id: KeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a Act>,
}

impl Answer<'_> {
    fn of(of: &DelegatedKey) -> Option<Response> {
        let answer = Answer {
            access_token: of.issued.secret.expose_str()?,
            issued_token_type: ACCESS_TOKEN,
            token_type: "Bearer",
            expires_in: of.lives.as_millis() / 1000,
            scope: scope_of(&of.granted),
            key: of.key.name.as_str(),
            key_id: of.issued.id,
            sub: of.subject.as_deref(),
            act: of.act.as_ref(),
        };
        let body = SecretValue::new(serde_json::to_vec(&answer).ok()?);
        Some(answered(StatusCode::OK, secret(body)))
    }
}

async fn token(
    State(endpoint): State<TokenEndpoint>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Posted,
) -> Result<Response, Refused> {
    let issuer = endpoint.issuer()?;
    let mut asked = Asked::read(Parameters::read(&headers, body)?)?;
    let source = source.ip().to_canonical();
    let parent = issuer.authenticate(&asked.subject, source)?;
    if let Some(actor) = &asked.actor {
        let key = issuer.authenticate(actor, source)?;
        let declared = issuer.declared(key.key()).await?;
        let purpose = asked.wanted.actor.take().and_then(|actor| actor.purpose);
        let name = declared.actor.map_or_else(|| declared.name.to_string(), |actor| actor.name);
        asked.wanted.actor = Some(KeyActor { name, purpose });
        asked.wanted.until = Some(key.key());
    }
    let anchor = issuer.plane.store().anchor(parent.key()).await.map_err(|error| refused(error.into()))?;
    let decision = issuer.rates.check(RateKey::of_key(anchor), &issuer.issuing, issuer.now_ns());
    if let Some(wait) = decision.retry_after {
        return Err(Refused::too_often(wait));
    }
    let actor = issuer.actor(&parent, source).await?;
    let shown = ShownKey { key: parent.key(), version: parent.version(), source };
    let issued = issuer.vault.delegate_key(&actor, shown, asked.wanted, &issuer.prefix).await.map_err(refused)?;
    issuer.enforce().await?;
    Answer::of(&issued).ok_or_else(|| Refused::unavailable("the answer could not be written"))
}

async fn revoke(
    State(endpoint): State<TokenEndpoint>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Posted,
) -> Result<Response, Refused> {
    let issuer = endpoint.issuer()?;
    let mut form = Parameters::read(&headers, body)?;
    let token = form.take("token")?.ok_or_else(|| Refused::request("`token` is missing"))?;
    let key = match issuer.authenticate(&token, source.ip().to_canonical()) {
        Ok(key) => key,
        // What is not in force is what was wanted (RFC 7009, 2.2).
        Err(refused) if refused.status == StatusCode::BAD_REQUEST => return Ok(answered(StatusCode::OK, "{}".into())),
        Err(refused) => return Err(refused),
    };
    let of =
        issuer.plane.store().delegation(key.key()).await.map_err(|error| refused(VaultError::from(error).into()))?;
    let Some(of) = of.filter(|of| of.exchanged) else {
        return Err(Refused::new("unsupported_token_type", "only keys that were issued here are ended here"));
    };
    let actor = issuer.actor(&key, source.ip().to_canonical()).await?;
    issuer.vault.revoke_key(&actor, &of.name).await.map_err(|error| refused(error.into()))?;
    issuer.enforce().await?;
    Ok(answered(StatusCode::OK, "{}".into()))
}

impl Issuer {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whose key this is, if it may be used from there now.
    fn authenticate(&self, token: &SecretValue, source: IpAddr) -> Result<KeyPrincipal, Refused> {
        let snapshot = self.plane.in_force().ok_or_else(|| Refused::unavailable("the server is starting"))?;
        let now = Timestamp::from(SystemTime::now());
        let not_valid = || Refused::request("the token is not valid");
        match snapshot.authenticate(token.expose(), now).map(|principal| principal.key().cloned()) {
            Ok(Some(key)) if key.allows_source(source) && !key.is_held_back(source) => Ok(key),
            Ok(_) => Err(not_valid()),
            Err(failure) => {
                let verdict = self.throttle.failed(source, &failure, self.now_ns());
                if verdict.source_crossed || verdict.key_crossed {
                    self.guesses.guessing(source, failure.key().filter(|_| verdict.key_crossed));
                }
                Err(verdict.refusal.retry_after.map_or_else(not_valid, Refused::too_often))
            }
        }
    }

    /// A key as it is declared.
    async fn declared(&self, id: KeyId) -> Result<Key, Refused> {
        let read = async {
            let row = self.plane.store().key(id).await?;
            let Some(row) = row else { return Ok(None) };
            self.plane.store().resource(Kind::Keys, row.name.as_str()).await
        };
        let stored = read.await.map_err(|error| refused(VaultError::from(error).into()))?;
        let key = stored.and_then(|row| serde_json::from_str(&row.body).ok());
        key.ok_or_else(|| Refused::request("the token is not valid"))
    }

    /// Who writes what follows, for the audit log.
    async fn actor(&self, key: &KeyPrincipal, source: IpAddr) -> Result<Actor, Refused> {
        let name = self.declared(key.key()).await?.name;
        Ok(Actor { kind: ActorKind::Client, name: format!("keys/{name}"), source: Some(source.to_string()) })
    }

    /// Waits until every worker knows.
    async fn enforce(&self) -> Result<(), Refused> {
        match tokio::time::timeout(ACKNOWLEDGED_IN, self.plane.publish()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                tracing::error!(%error, "a key that was issued or ended is not yet enforced");
                Err(Refused::unavailable("not every worker acknowledged it in time"))
            }
            Err(_) => Err(Refused::unavailable("not every worker acknowledged it in time")),
        }
    }
}

fn refused(why: NotDelegated) -> Refused {
    match why {
        NotDelegated::NotValid => Refused::request("the token is not valid"),
        NotDelegated::NotAllowed(why) => Refused::new("unauthorized_client", why),
        NotDelegated::TooMany(_) => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            Refused { status, ..Refused::new("unauthorized_client", why.to_string()) }
        }
        NotDelegated::Wider(_) => Refused::new("invalid_scope", why.to_string()),
        NotDelegated::Wrong(why) => Refused::request(why),
        NotDelegated::Vault(VaultError::Sealed) => Refused::unavailable("the vault is sealed"),
        NotDelegated::Vault(error) => {
            tracing::error!(%error, "the token endpoint could not do what was asked");
            Refused::unavailable("try again")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn as_form() -> HeaderMap {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        HeaderMap::from_iter([(header::CONTENT_TYPE, kind)])
    }

    /// Reads a form that is written without escapes.
    fn read(text: &str) -> Result<Asked, (StatusCode, &'static str)> {
        let escaped = text.bytes().map(|b| match b {
            b'&' | b'=' => char::from(b).to_string(),
            _ => format!("%{b:02x}"),
        });
        let form = Parameters::read(&as_form(), Ok(escaped.collect::<String>().into()));
        form.and_then(Asked::read).map_err(|refused| (refused.status, refused.error))
    }

    #[test]
    fn a_form_is_read_as_the_rfcs_say() {
        let usual = format!("grant_type={EXCHANGE}&subject_token=t&subject_token_type={ACCESS_TOKEN}");
        let asked = read(&format!(
            "{usual}&scope=route:orders model:small prompt:mood  route:orders&expires_in=90&budget_usd=0.5&actor=&client_id=bot&unknown=1"
        ))
        .unwrap_or_else(|_| unreachable!());
        assert_eq!(asked.subject.expose(), b"t");
        let wanted = asked.wanted;
        assert_eq!(scope_of(wanted.allow.as_ref().unwrap()), "route:orders model:small prompt:mood");
        assert_eq!((wanted.lifetime, wanted.actor.unwrap().name), (Some(Period::from_secs(90)), "bot".to_owned()));
        for (more, error) in [
            ("&subject_token=u", "invalid_request"),
            ("&scope=orders", "invalid_scope"),
            ("&scope=route:Not A Name", "invalid_scope"),
            ("&audience=orders", "invalid_target"),
            ("&resource=https://api.example.com", "invalid_target"),
            ("&requested_token_type=urn:ietf:params:oauth:token-type:jwt", "invalid_request"),
            ("&actor_token=x", "invalid_request"),
            ("&expires_in=-1", "invalid_request"),
            ("&expires_in=1", "invalid_request"),
            ("&expires_in=59", "invalid_request"),
            ("&expires_in=4294967296", "invalid_request"),
            ("&expires_in=soon", "invalid_request"),
            ("&budget_usd=much", "invalid_request"),
            ("&subject=two\nlines", "invalid_request"),
            ("&actor=cfk_live_sb58y6q311g6_552f2837c23e13a31c58f1", "invalid_request"),
            ("&purpose=for cfk_live_sb58y6q311g6_552f2837c23e13a31c58f1", "invalid_request"),
        ] {
            assert_eq!(read(&format!("{usual}{more}")).err(), Some((StatusCode::BAD_REQUEST, error)), "{more}");
        }
        // What stands in a header of an upstream, which leaves out what no header can carry.
        for text in ["\u{1}", "\u{7f}", "\u{85}", "\u{e9}", "\u{2028}", "\u{1f600}", "~"] {
            for name in ["actor", "client_id", "subject"] {
                let taken = read(&format!("{usual}&{name}=a{text}")).is_ok();
                assert!(!taken || HeaderValue::from_str(text).is_ok(), "{text:?}");
                assert_eq!(taken, !text.chars().any(char::is_control), "{text:?}");
            }
        }
        for (whole, error) in [
            ("a=b".to_owned(), "invalid_request"),
            ("grant_type=client_credentials".to_owned(), "unsupported_grant_type"),
            (format!("grant_type={EXCHANGE}"), "invalid_request"),
            (format!("grant_type={EXCHANGE}&subject_token=t"), "invalid_request"),
        ] {
            assert_eq!(read(&whole).err(), Some((StatusCode::BAD_REQUEST, error)), "{whole}");
        }
    }

    #[test]
    fn a_minute_is_the_least_that_a_key_may_be_asked_to_live() {
        let usual = format!("grant_type={EXCHANGE}&subject_token=t&subject_token_type={ACCESS_TOKEN}");
        let asked = read(&format!("{usual}&expires_in=60")).ok().unwrap();
        assert_eq!(asked.wanted.lifetime, Some(Period::from_secs(60)));
        assert_eq!(read(&usual).ok().unwrap().wanted.lifetime, None);
    }

    #[test]
    fn what_is_no_form_is_refused_and_tells_nothing_of_it() {
        for (kind, body) in [
            (None, "token=t"),
            (Some("application/json"), "{}"),
            (Some("application/x-www-form-urlencoded"), "token=hidden%2"),
            (Some("application/x-www-form-urlencoded"), "token=hidden%ff"),
        ] {
            let kind = kind.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind)));
            let refused = Parameters::read(&HeaderMap::from_iter(kind), Ok(body.into())).err().unwrap();
            assert_eq!((refused.status, refused.error), (StatusCode::BAD_REQUEST, "invalid_request"), "{body}");
            assert!(!refused.description.contains("hidden"), "{}", refused.description);
        }
    }

    #[test]
    fn a_client_s_own_authentication_is_refused_not_passed_over() {
        let mut headers = as_form();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic YTpi"));
        let refused = Parameters::read(&headers, Ok(Bytes::new())).err().unwrap();
        assert_eq!((refused.status, refused.error), (StatusCode::UNAUTHORIZED, "invalid_client"));
    }
}
