//! One HTTP client for the targets that are APIs: connections kept for 30 s and made only where the guard
//! lets them, answers bounded, no redirect followed. Its errors name neither an address nor a header.

use crate::{Result, TargetError, Tls, TlsMode};
use bytes::Bytes;
use credentialflow_egress::{Connector, Guard, Refused};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use std::time::Duration;
use zeroize::Zeroizing;

/// The largest answer taken, in bytes.
const LARGEST: usize = 8 << 20;

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

#[derive(Clone)]
pub(crate) struct HttpClient(Client<HttpsConnector<Connector>, Full<Bytes>>);

impl HttpClient {
    pub(crate) fn new(tls: &Tls, guard: Guard, connect_timeout: Duration) -> Result<Self> {
        let config = match tls.mode {
            TlsMode::Disable => Tls::verify(None).config()?,
            _ => tls.config()?,
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config((*config).clone());
        let connector = connector.https_or_http().enable_http1().wrap_connector(Connector::new(guard, connect_timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(2)
            .build(connector);
        Ok(Self(client))
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let answer = self.0.request(request).await.map_err(|e| {
            if let Some(refused) = Refused::within(&e) {
                return TargetError::BadSettings(refused.to_string());
            }
            let words = if e.is_connect() { "no connection stands" } else { "the connection broke off" };
            TargetError::Unreachable(words.to_owned())
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(|_| TargetError::Unreachable("the answer broke off or is too large".to_owned()))?;
        Ok(Answer { status, body: Zeroizing::new(body.to_bytes().to_vec()) })
    }
}
