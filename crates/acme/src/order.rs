//! An order, from wherever it stands to its certificate.
//!
//! Each thing is kept before it is relied upon: the account before it orders, the certificate's private key and the
//! order's address before a challenge is answered, the answers before the server is told to look. So an order that was
//! cut off anywhere goes on where it was, with the same key.

use crate::{Answer, Http, Kept, Ledger, NotKept, Rule};
use credentialflow_certificates::{Bundle, Certificate};
use credentialflow_model::{SecretValue, Timestamp};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Error,
    ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant, SystemTime};
use zeroize::{Zeroize, Zeroizing};

/// First and longest pause between two looks at an order, unless the server says otherwise.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// One call of [`obtain`] stays with an order for so long; the next one goes on with it.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the server says is repeated up to here, in characters.
const LONGEST: usize = 400;

/// Why there is no certificate. Says nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Failure {
    /// What happened.
    pub words: String,
    /// Whether the server said no; otherwise it was not reached, or something here failed.
    pub judged: bool,
    /// How long the server asks to wait.
    pub wait: Option<Duration>,
}

impl Failure {
    fn here(words: impl Into<String>) -> Self {
        Self { words: short(&words.into()), judged: false, wait: None }
    }

    fn judged(words: impl Into<String>) -> Self {
        Self { words: short(&words.into()), judged: true, wait: None }
    }

    fn of(error: Error, http: &Http) -> Self {
        match error {
            Error::Api(problem) => {
                let judged = problem.status.is_none_or(|status| status < 500) && !is(&problem, "serverInternal");
                Self { words: short(&said(&problem)), judged, wait: http.asked() }
            }
            Error::Json(_) => Self::here("the ACME server's answer is none of RFC 8555"),
            other => Self::here(other.to_string()),
        }
    }
}

impl From<NotKept> for Failure {
    fn from(error: NotKept) -> Self {
        Self::here(error.0)
    }
}

/// When the server suggests to renew (RFC 9773).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// From when to when.
    pub window: (Timestamp, Timestamp),
    /// When to ask again.
    pub again: Duration,
}

/// The account as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptAccount {
    directory: String,
    contact: Vec<String>,
    external: Option<String>,
    credentials: AccountCredentials,
}

/// An order as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptOrder {
    mark: String,
    account: String,
    url: String,
    /// The certificate's private key (PEM).
    key: String,
}

impl Drop for KeptOrder {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// Takes the order that is under way, or a new one, to its certificate: the certificate, its chain and its private key
/// as PEM. `in_use` is the certificate that it replaces. What is kept of the order is to be forgotten by whoever keeps
/// the certificate.
pub async fn obtain<L: Ledger>(
    rule: &Rule,
    http: &Http,
    ledger: &L,
    in_use: Option<&CertificateDer<'_>>,
) -> Result<SecretValue, Failure> {
    let account = account(rule, http, ledger).await?;
    let (mut order, kept) = match open_order(rule, http, ledger, &account).await? {
        Some(under_way) => under_way,
        None => new_order(rule, http, ledger, &account, in_use).await?,
    };
    let done = follow(rule, http, ledger, &mut order, &kept).await;
    // A later try is another order where this one's judgement stands; where it may come later, this one goes on.
    if matches!(&done, Err(failure) if failure.judged && failure.wait.is_none()) {
        ledger.forget(Kept::Order).await?;
    }
    done
}

/// When the server suggests to renew a certificate of its own; `None` where it suggests nothing.
pub async fn suggestion<L: Ledger>(
    rule: &Rule,
    http: &Http,
    ledger: &L,
    leaf: &CertificateDer<'_>,
) -> Result<Option<Suggestion>, Failure> {
    let Ok(identifier) = CertificateIdentifier::try_from(leaf) else { return Ok(None) };
    let account = account(rule, http, ledger).await?;
    match account.renewal_info(&identifier).await {
        Ok((info, again)) => {
            let window = &info.suggested_window;
            let at = |time: i64| Timestamp::from_secs(time);
            Ok(Some(Suggestion { window: (at(window.start.unix_timestamp()), at(window.end.unix_timestamp())), again }))
        }
        Err(Error::Unsupported(_)) => Ok(None),
        Err(error) => Err(Failure::of(error, http)),
    }
}

/// The kept account, or a new one.
async fn account<L: Ledger>(rule: &Rule, http: &Http, ledger: &L) -> Result<Account, Failure> {
    let external = rule.external.as_ref().map(|external| external.id.clone());
    let kept = ledger.read(Kept::Account).await?;
    let kept = kept.and_then(|kept| serde_json::from_slice::<KeptAccount>(kept.expose()).ok());
    let builder = || Account::builder_with_http(Box::new(http.clone()));
    let failed = |error| Failure::of(error, http);
    let contact: Vec<&str> = rule.contact.iter().map(String::as_str).collect();
    if let Some(mut kept) = kept.filter(|kept| kept.directory == rule.directory && kept.external == external) {
        let copy = |credentials: &AccountCredentials| -> Result<AccountCredentials, Failure> {
            let json = Zeroizing::new(serde_json::to_vec(credentials).map_err(|_| unkeepable())?);
            serde_json::from_slice(&json).map_err(|_| unkeepable())
        };
        let account = builder().from_credentials(copy(&kept.credentials)?).await.map_err(failed)?;
        if kept.contact == rule.contact {
            return Ok(account);
        }
        match account.update_contacts(&contact).await {
            Ok(()) => {
                kept.contact.clone_from(&rule.contact);
                ledger.keep(Kept::Account, json(&kept)?).await?;
                return Ok(account);
            }
            // The server does not know it any more.
            Err(Error::Api(problem)) if is(&problem, "accountDoesNotExist") => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let bound = rule.external.as_ref().map(|bound| ExternalAccountKey::new(bound.id.clone(), bound.key.expose()));
    let made = builder().create(&wanted, rule.directory.clone(), bound.as_ref()).await;
    let (account, credentials) = made.map_err(failed)?;
    let kept = KeptAccount { directory: rule.directory.clone(), contact: rule.contact.clone(), external, credentials };
    ledger.keep(Kept::Account, json(&kept)?).await?;
    Ok(account)
}

/// The order that is under way, where it can still lead to what is wanted.
async fn open_order<L: Ledger>(
    rule: &Rule,
    http: &Http,
    ledger: &L,
    account: &Account,
) -> Result<Option<(Order, KeptOrder)>, Failure> {
    let kept = ledger.read(Kept::Order).await?;
    let Some(kept) = kept.and_then(|kept| serde_json::from_slice::<KeptOrder>(kept.expose()).ok()) else {
        return Ok(None);
    };
    if kept.mark != rule.mark() || kept.account != account.id() {
        return Ok(None);
    }
    match account.order(kept.url.clone()).await {
        Ok(mut order) => {
            let alive = order.state().status != OrderStatus::Invalid;
            if alive {
                tracing::info!(order = kept.url, "an order for a certificate goes on");
            }
            Ok(alive.then_some((order, kept)))
        }
        // Over, or unknown by now.
        Err(Error::Api(problem)) if !is(&problem, "rateLimited") && problem.status.is_none_or(|s| s < 500) => Ok(None),
        Err(error) => Err(Failure::of(error, http)),
    }
}

async fn new_order<L: Ledger>(
    rule: &Rule,
    http: &Http,
    ledger: &L,
    account: &Account,
    in_use: Option<&CertificateDer<'_>>,
) -> Result<(Order, KeptOrder), Failure> {
    let names: Vec<Identifier> = rule.names.iter().cloned().map(Identifier::Dns).collect();
    let replaced = in_use.and_then(|leaf| CertificateIdentifier::try_from(leaf).ok());
    let mut made = Err(Error::Unsupported("nothing is replaced"));
    if let Some(replaced) = replaced {
        made = account.new_order(&NewOrder::new(&names).replaces(replaced)).await;
    }
    let order = match made {
        Ok(order) => order,
        Err(Error::Api(problem)) if is(&problem, "rateLimited") => return Err(Failure::of(Error::Api(problem), http)),
        // A server that suggests no times knows nothing of replacing; another one may not know the certificate.
        Err(_) => match account.new_order(&NewOrder::new(&names)).await {
            Err(Error::Api(problem)) if is(&problem, "accountDoesNotExist") => {
                ledger.forget(Kept::Account).await?;
                return Err(Failure::judged("the ACME server does not know the account any more; a new one is made"));
            }
            made => made.map_err(|error| Failure::of(error, http))?,
        },
    };
    let key = KeyPair::generate().map_err(|_| Failure::here("no private key could be made"))?;
    let (mark, account) = (rule.mark(), account.id().to_owned());
    let kept = KeptOrder { mark, account, url: order.url().to_owned(), key: key.serialize_pem() };
    ledger.keep(Kept::Order, json(&kept)?).await?;
    tracing::info!(order = kept.url, names = rule.names.join(","), "a certificate is ordered");
    Ok((order, kept))
}

/// Does what the order's state asks for until there is a certificate.
async fn follow<L: Ledger>(
    rule: &Rule,
    http: &Http,
    ledger: &L,
    order: &mut Order,
    kept: &KeptOrder,
) -> Result<SecretValue, Failure> {
    let failed = |error| Failure::of(error, http);
    let (began, mut pause, mut answered) = (Instant::now(), PAUSES.0, false);
    loop {
        match order.state().status {
            OrderStatus::Pending if !answered => {
                answer(http, ledger, order).await?;
                answered = true;
            }
            OrderStatus::Ready => {
                order.finalize_csr(&request(rule, kept)?).await.map_err(failed)?;
                if matches!(order.state().status, OrderStatus::Valid | OrderStatus::Invalid) {
                    continue;
                }
            }
            OrderStatus::Valid => {
                let chain = order.certificate().await.map_err(failed)?;
                return whole(rule, &chain.unwrap_or_default(), kept);
            }
            OrderStatus::Invalid => return Err(why_not(order).await),
            OrderStatus::Pending | OrderStatus::Processing => {}
        }
        if began.elapsed() >= PATIENCE {
            return Err(Failure::here("the ACME server has not decided yet; the order goes on later"));
        }
        tokio::time::sleep(http.asked().unwrap_or(pause).clamp(PAUSES.0, Duration::from_secs(60))).await;
        pause = (pause * 2).min(PAUSES.1);
        order.refresh().await.map_err(failed)?;
    }
}

/// Makes the answers known everywhere, and then tells the server to look.
async fn answer<L: Ledger>(http: &Http, ledger: &L, order: &mut Order) -> Result<(), Failure> {
    let failed = |error| Failure::of(error, http);
    let mut answers = Vec::new();
    let mut all = order.authorizations();
    while let Some(authorization) = all.next().await {
        let mut authorization = authorization.map_err(failed)?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let name = authorization.identifier().to_string();
        let Some(challenge) = authorization.challenge(ChallengeType::Http01) else {
            return Err(Failure::judged(format!("the ACME server offers no challenge http-01 for {name}")));
        };
        let token = challenge.token.clone();
        let fits = !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !fits || token.len() > 256 {
            return Err(Failure::judged("a challenge's token is none of RFC 8555"));
        }
        answers.push(Answer { token, text: challenge.key_authorization().as_str().to_owned() });
    }
    ledger.publish(answers).await?;
    let mut all = order.authorizations();
    while let Some(authorization) = all.next().await {
        let mut authorization = authorization.map_err(failed)?;
        if authorization.status == AuthorizationStatus::Pending
            && let Some(mut challenge) = authorization.challenge(ChallengeType::Http01)
            && challenge.status == ChallengeStatus::Pending
        {
            challenge.set_ready().await.map_err(failed)?;
        }
    }
    Ok(())
}

/// What was wrong, name by name.
async fn why_not(order: &mut Order) -> Failure {
    let mut told: Vec<String> = order.state().error.as_ref().map(said).into_iter().collect();
    let mut all = order.authorizations();
    while let Some(Ok(authorization)) = all.next().await {
        let name = authorization.identifier().to_string();
        let errors = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        told.extend(errors.map(|problem| format!("{name}: {}", said(problem))));
    }
    match told.is_empty() {
        true => Failure::judged("the ACME server declares the order invalid and says no more"),
        false => Failure::judged(told.join("; ")),
    }
}

/// The request for the certificate (PKCS #10), with the order's own key.
fn request(rule: &Rule, kept: &KeptOrder) -> Result<Vec<u8>, Failure> {
    let made = || -> Result<Vec<u8>, rcgen::Error> {
        let key = KeyPair::from_pem(&kept.key)?;
        let mut params = CertificateParams::new(rule.names.clone())?;
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&key)?.der().to_vec())
    };
    made().map_err(|_| Failure::here("the certificate's request could not be made"))
}

/// Chain and key as one value, if they are what was ordered.
fn whole(rule: &Rule, chain: &str, kept: &KeptOrder) -> Result<SecretValue, Failure> {
    let unfit = |why: &str| Failure::judged(format!("the ACME server's certificate is not used: {why}"));
    let bundle = Bundle::read(&SecretValue::from(chain)).ok_or_else(|| unfit("it is no PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(kept.key.as_bytes()).map_err(|_| unfit("its key cannot be read"))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(bundle.chain().to_vec(), key, &provider);
    certified.and_then(|certified| certified.keys_match()).map_err(|_| unfit("it is for another key"))?;
    let leaf = Certificate::parse(bundle.leaf()).map_err(|_| unfit("it cannot be read"))?;
    if let Some(name) = rule.names.iter().find(|name| !leaf.names.iter().any(|n| n.eq_ignore_ascii_case(name))) {
        return Err(unfit(&format!("it lacks the name {name}")));
    }
    let now: Timestamp = SystemTime::now().into();
    if leaf.not_after <= now {
        return Err(unfit("it has ended already"));
    }
    Ok(SecretValue::new([bundle.pem().as_bytes(), kept.key.as_bytes()].concat()))
}

fn json(value: &impl Serialize) -> Result<SecretValue, Failure> {
    serde_json::to_vec(value).map(SecretValue::new).map_err(|_| unkeepable())
}

fn unkeepable() -> Failure {
    Failure::here("what is to be kept cannot be written down")
}

fn is(problem: &Problem, kind: &str) -> bool {
    problem.r#type.as_deref().and_then(|t| t.strip_prefix("urn:ietf:params:acme:error:")) == Some(kind)
}

/// A problem in its own words and with its kind.
fn said(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or("about:blank");
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    let detail = problem.detail.as_deref().unwrap_or("no more is said");
    let parts = problem.subproblems.iter().filter_map(|part| part.detail.as_deref()).collect::<Vec<_>>();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join("; ")) };
    format!("{detail} ({kind}){parts}")
}

/// Bounded, and without characters that would move a terminal's cursor.
fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}
