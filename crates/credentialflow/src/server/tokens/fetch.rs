//! One request to a token endpoint, and what its answer means. Where a declaration names the endpoint it may be at a
//! private address; where only a credential's value does, it is asked like any stranger.

use credentialflow_egress::load_authorities;
use credentialflow_model::{
    SecretValue, Timestamp,
    resource::{Credential, Engine, TokenRule},
};
use credentialflow_stores::{Answer, ExternalError, Http};
use credentialflow_vault::{
    access_token::{AccessToken, ServiceAccount, TokenRequest},
    engine::engine,
};
use http::{HeaderValue, Request, Uri, header};
use std::time::{Duration, SystemTime};

/// Why no token came. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Failure {
    /// In words.
    pub reason: String,
    /// Whether the endpoint answered and gives none, or cannot even be asked as it is declared.
    pub refused: bool,
    /// How long it wants to be left alone, if it said.
    pub again: Option<Duration>,
}

impl Failure {
    fn refused(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), refused: true, again: None }
    }
}

/// Fetches a token with a value of a credential.
pub(in crate::server) async fn fetch(credential: &Credential, value: &SecretValue) -> Result<AccessToken, Failure> {
    let asked = Timestamp::from(SystemTime::now());
    let request = engine(credential.engine).ask_token(credential, value, asked);
    let request = request.ok_or_else(|| Failure::refused("no tokens are fetched with it"))?;
    let request = request.map_err(|error| Failure::refused(error.to_string()))?;
    let answer = send(credential, &request).await?;
    AccessToken::read(answer.body(), asked).map_err(|why| Failure::refused(why.to_string()))
}

/// Which endpoint is asked: host and port, or what cannot be told.
pub(super) fn place(credential: &Credential, value: &SecretValue) -> String {
    let declared = credential.token.as_ref().and_then(|rule| rule.url.clone());
    let named = || ServiceAccount::read(value).map(|account| account.token_uri().to_owned());
    let url = match credential.engine {
        Engine::GoogleServiceAccount => declared.or_else(named),
        _ => declared,
    };
    let authority = url.and_then(|url| Some(url.parse::<Uri>().ok()?.authority()?.as_str().to_ascii_lowercase()));
    authority.unwrap_or_default()
}

/// Gives a token back where it was issued. `None`: nobody takes it.
pub(super) async fn give_back(
    credential: &Credential,
    value: &SecretValue,
    token: &SecretValue,
) -> Option<Result<(), Failure>> {
    let request = engine(credential.engine).return_token(credential, value, token, SystemTime::now().into())?;
    Some(match request {
        Ok(request) => send(credential, &request).await.map(drop),
        Err(error) => Err(Failure::refused(error.to_string())),
    })
}

/// Whether somebody is to be given tokens back.
pub(super) fn is_given_back(credential: &Credential) -> bool {
    let nothing = SecretValue::from("");
    engine(credential.engine).return_token(credential, &nothing, &nothing, Timestamp::default()).is_some()
}

async fn send(credential: &Credential, request: &TokenRequest) -> Result<Answer, Failure> {
    let default = TokenRule::default();
    let rule = credential.token.as_ref().unwrap_or(&default);
    let authorities = match &rule.ca_file {
        Some(file) => Some(load_authorities(file.into()).await.map_err(|error| {
            Failure::refused(format!("the file with the authorities of its token endpoint {error}"))
        })?),
        None => None,
    };
    let declared: Vec<&str> = [&rule.url, &rule.revoke_url].into_iter().flatten().map(String::as_str).collect();
    let http = Http::new(authorities.as_deref(), &declared).map_err(failure)?;
    let mut post = Request::post(&request.url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json");
    if let Some(authorization) = &request.authorization {
        let mut text = HeaderValue::from_bytes(authorization.expose())
            .map_err(|_| Failure::refused("its value cannot stand in a header"))?;
        text.set_sensitive(true);
        post = post.header(header::AUTHORIZATION, text);
    }
    let answer = http.send(post, request.form.expose()).await.map_err(failure)?;
    if answer.status.is_success() {
        return Ok(answer);
    }
    let body = answer.json();
    // RFC 6749, 5.2
    let part = |name: &str| body.text(name).unwrap_or_default().to_owned();
    let words = [part("/error"), part("/error_description")].join(" ");
    let secrets: Vec<&SecretValue> = request.secrets.iter().collect();
    Err(failure(answer.failure(words.trim(), &secrets)))
}

fn failure(error: ExternalError) -> Failure {
    let again = error.again();
    let (reason, refused) = match error {
        ExternalError::Unreachable(words) => (format!("the token endpoint cannot be reached: {words}"), false),
        ExternalError::Busy { words, .. } => (format!("the token endpoint is busy: {words}"), false),
        ExternalError::NotFound => ("the token endpoint is not there: it answered 404".to_owned(), true),
        ExternalError::Conflict(words) | ExternalError::Refused(words) => {
            (format!("the token endpoint gives no token: {words}"), true)
        }
        ExternalError::Unusable(words) => (format!("the token endpoint cannot be asked: {words}"), true),
    };
    Failure { reason, refused, again }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// Answers once, and gives what it was sent.
    async fn endpoint(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://127.0.0.1:{}/token", listener.local_addr().unwrap().port());
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut heard, mut piece) = (String::new(), [0; 4096]);
            while !heard.contains("client_secret") {
                let n = stream.read(&mut piece).await.unwrap();
                heard.push_str(&String::from_utf8_lossy(&piece[..n]));
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            heard
        });
        (url, heard)
    }

    fn client(url: &str) -> Credential {
        serde_json::from_value(serde_json::json!({
            "name": "entra", "engine": "oauth_token", "token": { "url": url, "client_id": "gw", "scope": "a/.default" }
        }))
        .unwrap()
    }

    async fn fetched(answer: &'static str) -> (Result<AccessToken, Failure>, String) {
        let (url, heard) = endpoint(answer).await;
        let token = fetch(&client(&url), &SecretValue::from("correct-horse")).await;
        (token, heard.await.unwrap())
    }

    #[tokio::test]
    async fn a_token_is_what_the_endpoint_gives() {
        let (token, heard) = fetched(
            "HTTP/1.1 200 OK\r\ncontent-length: 62\r\n\r\n{\"access_token\":\"tok-1\",\"token_type\":\"Bearer\",\"expires_in\":60}",
        )
        .await;
        let token = token.map_err(|f| f.reason).unwrap();
        assert_eq!(token.value.expose(), b"tok-1");
        assert_eq!(token.expires.micros() - token.obtained.micros(), 60_000_000);
        assert!(heard.contains("grant_type=client_credentials&scope=a%2F.default&client_id=gw"), "{heard}");
    }

    #[tokio::test]
    async fn refusals_say_why_and_never_repeat_the_secret() {
        let (refused, _) = fetched(
            "HTTP/1.1 401 X\r\ncontent-length: 68\r\n\r\n{\"error\":\"invalid_client\",\"error_description\":\"the secret is wrong\"}",
        )
        .await;
        let why = refused.map(|_| ()).unwrap_err();
        assert!(why.refused && why.reason.contains("invalid_client"), "{why:?}");
        let (echo, _) = fetched(
            "HTTP/1.1 400 X\r\ncontent-length: 67\r\n\r\n{\"error\":\"x\",\"error_description\":\"bad secret correct-horse, sorry\"}",
        )
        .await;
        let why = echo.map(|_| ()).unwrap_err();
        assert!(why.refused && !why.reason.contains("horse"), "{why:?}");
        let (written, _) = fetched(
            "HTTP/1.1 400 X\r\ncontent-length: 83\r\n\r\n{\"error\":\"x\",\"error_description\":\"form client_id=gw&client_secret=correct-horse..\"}",
        )
        .await;
        let why = written.map(|_| ()).unwrap_err();
        assert!(!why.reason.contains("horse") && why.reason.contains("left out"), "{why:?}");
        let (busy, _) = fetched("HTTP/1.1 503 X\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await;
        let why = busy.map(|_| ()).unwrap_err();
        assert_eq!((why.refused, why.again), (false, Some(Duration::from_secs(7))));
    }

    #[tokio::test]
    async fn an_endpoint_that_is_away_is_no_refusal_and_metadata_services_are_never_asked() {
        let away = fetch(&client("http://127.0.0.1:1/token"), &SecretValue::from("x")).await;
        assert!(!away.map(|_| ()).unwrap_err().refused);
        let never = fetch(&client("http://169.254.169.254/token"), &SecretValue::from("x")).await;
        let why = never.map(|_| ()).unwrap_err();
        assert!(why.refused && why.reason.contains("never asked"), "{why:?}");
    }
}
