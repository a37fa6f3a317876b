//! The run-time API's place in the house: its own listener, and how it asks identity providers.
//!
//! With a vault listener a server also starts on a database that holds no vault yet: the API's
//! `sys/init` makes it, and the rest of the server follows.

mod pinned;

use super::{control, oauth::TokenEndpoint};
use crate::settings::ServerSettings;
use anyhow::Context;
use bytes::Bytes;
use credentialflow_admin::ports::{BoxFuture, Fetch};
use credentialflow_egress::{Connector, Guard, PrivateHosts, Refused};
use credentialflow_identity::ports::{Boxed, Web, WebRequest};
use credentialflow_model::SecretValue;
use credentialflow_store::Store;
use credentialflow_vault::Vault;
use credentialflow_vaultapi::VaultApi;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls::RootCertStore;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// The API, not attached to a vault yet.
pub(super) fn api(settings: &ServerSettings, store: &Store) -> VaultApi {
    let hosts = settings.private_hosts.clone();
    VaultApi::with_private_hosts(store.clone(), Arc::new(Outside::new(hosts.clone())), hosts)
}

/// Opens the listener at which only this API is found.
pub(super) fn listen(
    settings: &ServerSettings,
    (api, tokens): (&VaultApi, &TokenEndpoint),
    tls: Option<Arc<rustls::ServerConfig>>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(address) = settings.vault else { return Ok(None) };
    let socket = credentialflow_gateway::net::listener::bind(address);
    let listener = TcpListener::from_std(socket.with_context(|| format!("listening on {address}"))?)?;
    tracing::info!(address = %listener.local_addr()?, "the run-time API is served");
    let limits = control::Limits::new(settings.control_connections);
    let stop = async move { drop(stopped.wait_for(|s| *s).await) };
    Ok(Some(tokio::spawn(control::serve(listener, tls, tokens.router().fallback_service(api.router()), limits, stop))))
}

/// Gives the API its vault, as soon as the database can be read, and keeps its tokens tidy.
pub(super) fn attach(api: &VaultApi, vault: &Vault, mut stopped: watch::Receiver<bool>) {
    let (api, vault) = (api.clone(), vault.clone());
    tokio::spawn(async move {
        while let Err(error) = api.attach(vault.clone()).await {
            tracing::debug!(%error, "the run-time API waits for the database");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        api.keep_tidy(async move { drop(stopped.wait_for(|s| *s).await) }).await;
    });
}

/// The longest a connection to an identity provider may take to stand.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest that fetching a public document may take.
const FETCH: Duration = Duration::from_secs(10);

/// Asks identity providers: where the guard lets it, without redirects, and without plain HTTP beyond this
/// machine. Who may configure an auth method need not run this server, and what a provider's document
/// names comes from outside: only the server's own settings let private addresses be asked.
pub(super) struct Outside(Guard);

impl Outside {
    pub(super) fn new(private: PrivateHosts) -> Self {
        Self(Guard::new(private))
    }
}

impl Web for Outside {
    fn ask<'a>(&'a self, request: WebRequest, limit: usize, wait: Duration) -> Boxed<'a, Result<Vec<u8>, String>> {
        Box::pin(async move {
            let asked = tokio::time::timeout(wait, ask(&self.0, request, limit)).await;
            asked.unwrap_or_else(|_| Err("the other server did not answer in time".to_owned()))
        })
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outside")
    }
}

/// The same for the keys under which others sign reports.
impl Fetch for Outside {
    fn get<'a>(&'a self, url: &'a str, largest: usize) -> BoxFuture<'a, Result<Vec<u8>, String>> {
        let request = WebRequest { url: url.to_owned(), ca_pem: None, form: None, authorization: None };
        self.ask(request, largest, FETCH)
    }
}

async fn ask(guard: &Guard, request: WebRequest, limit: usize) -> Result<Vec<u8>, String> {
    let uri: Uri = request.url.parse().map_err(|_| "the address is malformed".to_owned())?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    guard.check_literal(&host).map_err(|refused| refused.to_string())?;
    let literal = host.parse::<IpAddr>().ok();
    let here = host == "localhost" || literal.is_some_and(|ip| ip.is_loopback());
    if uri.scheme_str() != Some("https") && !(here && uri.scheme_str() == Some("http")) {
        return Err("only https is asked, except on this machine".to_owned());
    }
    let tls = tls(request.ca_pem.as_deref())?;
    let tcp = Connector::new(guard.clone(), CONNECT);
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let method = if request.form.is_some() { Method::POST } else { Method::GET };
    let mut question = Request::builder()
        .method(method)
        .uri(uri)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "credentialflow");
    if let Some(value) = request.authorization {
        let value = HeaderValue::from_maybe_shared(secret(value)).map(|mut value| {
            value.set_sensitive(true);
            value
        });
        question =
            question.header(header::AUTHORIZATION, value.map_err(|_| "the question cannot be written".to_owned())?);
    }
    if request.form.is_some() {
        question = question.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let body = Full::new(request.form.map(secret).unwrap_or_default());
    let question = question.body(body).map_err(|_| "the question cannot be written".to_owned())?;
    let answer = client.request(question).await.map_err(|error| match Refused::within(&error) {
        Some(refused) => refused.to_string(),
        None => "the other server cannot be reached".to_owned(),
    })?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("the other server answered {status}"));
    }
    let body = Limited::new(answer.into_body(), limit).collect().await;
    Ok(body.map_err(|_| "the answer broke off or is too large".to_owned())?.to_bytes().to_vec())
}

/// A secret's own bytes, wiped when the last who sends them is done.
pub(super) fn secret(value: SecretValue) -> Bytes {
    struct Owned(SecretValue);
    impl AsRef<[u8]> for Owned {
        fn as_ref(&self) -> &[u8] {
            self.0.expose()
        }
    }
    Bytes::from_owner(Owned(value))
}

fn tls(ca: Option<&str>) -> Result<rustls::ClientConfig, String> {
    let builder = rustls::ClientConfig::builder();
    Ok(match ca.filter(|pem| !pem.trim().is_empty()) {
        Some(pem) => builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned::Pinned::from_pem(pem)?)),
        None => builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }),
    }
    .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked(private: &str, url: &str) -> String {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let request = WebRequest { url: url.to_owned(), ca_pem: None, form: None, authorization: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let guard = Guard::new(private.parse().unwrap());
        runtime.block_on(ask(&guard, request, 1000)).unwrap_err()
    }

    #[test]
    fn identity_providers_are_asked_only_where_the_guard_lets_us() {
        for url in ["http://169.254.169.254/latest", "https://[::ffff:169.254.169.254]/", "https://0.0.0.0/"] {
            assert_eq!(asked("localhost", url), Refused::Never.to_string(), "{url}");
        }
        for url in
            ["https://10.0.0.1/", "http://127.0.0.1/", "https://[::1]/", "https://localhost/", "http://localhost/"]
        {
            assert_eq!(asked("idp.internal", url), Refused::Private.to_string(), "{url}");
        }
        let plain = "only https is asked, except on this machine";
        for url in ["http://10.0.0.1/", "http://example.com/", "ftp://127.0.0.1/", "file://127.0.0.1/etc/passwd"] {
            assert_eq!(asked("10.0.0.1,127.0.0.1", url), plain, "{url}");
        }
        // A port at which nobody listens: named on purpose, it is connected to.
        let free = credentialflow_testkit::place::Place::take();
        assert_eq!(
            asked("localhost", &format!("http://localhost:{}/", free.port())),
            "the other server cannot be reached"
        );
    }
}
