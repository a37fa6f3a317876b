//! One HTTP client for the targets that are APIs: connections kept for 30 s and made only where the guard
//! lets them, answers bounded, no redirect followed. Its errors name neither an address nor a header.

use crate::{Result, TargetError, Tls, TlsMode};
use bytes::Bytes;
use credentialflow_egress::{Connector, Guard, Refused};
use http::{Request, StatusCode, header::LINK};
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
    /// Where the header `Link` says that more follows (RFC 8288, `rel="next"`).
    pub(crate) next: Option<String>,
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
        let next = answer.headers().get_all(LINK).iter().filter_map(|value| next_link(value.to_str().ok()?)).next();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(|_| TargetError::Unreachable("the answer broke off or is too large".to_owned()))?;
        Ok(Answer { status, body: Zeroizing::new(body.to_bytes().to_vec()), next })
    }
}

/// The target of the first link whose relation is `next`.
fn next_link(value: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, parameters) = link.split_once('>')?;
        let end = parameters.find('<').unwrap_or(parameters.len());
        let is_next =
            parameters[..end].split([';', ',']).filter_map(|part| part.split_once('=')).any(|(name, value)| {
                let mut words = value.trim().trim_matches('"').split_ascii_whitespace();
                name.trim().eq_ignore_ascii_case("rel") && words.any(|word| word.eq_ignore_ascii_case("next"))
            });
        if is_next {
            return Some(target.trim().to_owned());
        }
        rest = &parameters[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::next_link;

    #[test]
    fn the_next_page_is_found_among_links() {
        let next = |value| next_link(value);
        let both = r#"<https://a/keys?page=1>; rel="prev", <https://a/keys?page=3>; title="x"; rel="last next""#;
        assert_eq!(next(both).as_deref(), Some("https://a/keys?page=3"));
        assert_eq!(next("</keys?page=2>;REL=next").as_deref(), Some("/keys?page=2"));
        for none in ["", "<https://a/keys>; rel=\"prev\"", "<https://a/keys", "<a>; title=\"rel\"", "next"] {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
