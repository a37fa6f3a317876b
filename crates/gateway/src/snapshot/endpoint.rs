//! Where an upstream is reached.

use credentialflow_model::http::EndpointUrl;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::sync::Arc;

/// One endpoint of an upstream, taken apart once.
pub struct EndpointPlan {
    /// Identifies the endpoint across snapshots: connections are kept as long as this stays the same.
    pub identity: Arc<str>,
    /// `host:port`, for records and the Host field (without a default port).
    pub authority: Arc<str>,
    /// Host name or address to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// Path put before the request's own; never ends with `/`.
    pub base: String,
    /// The same as it is written, for requests that go to no path of their own.
    pub exact: String,
    /// TLS, for `https`.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl EndpointPlan {
    /// The plan of a base URL. `tls` is what its upstream trusts, asked for `https` alone.
    ///
    /// # Errors
    /// Why nothing can be sent there.
    pub(super) fn of(
        url: &str,
        tls: &dyn Fn() -> Result<Arc<ClientConfig>, String>,
        server_name: Option<&str>,
        identity_salt: &str,
    ) -> Result<Self, String> {
        let EndpointUrl { secure, host, port, path } =
            EndpointUrl::parse(url).map_err(|problem| format!("{url} is no usable endpoint: {}", problem.detail))?;
        let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let default_port = if secure { 443 } else { 80 };
        let authority = if port == default_port { shown } else { format!("{shown}:{port}") };
        let tls = if secure {
            let name = server_name.unwrap_or(host);
            let verified = ServerName::try_from(name.to_owned());
            Some((tls()?, verified.map_err(|_| format!("no certificate can be for {name}"))?))
        } else {
            None
        };
        Ok(Self {
            identity: format!("{}://{host}:{port}#{identity_salt}", if secure { "https" } else { "http" }).into(),
            authority: authority.into(),
            host: host.to_owned(),
            port,
            base: path.trim_end_matches('/').to_owned(),
            exact: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parse = |url: &str| {
            EndpointPlan::of(url, &|| unreachable!(), None, "")
                .map(|e| (e.host, e.port, e.base, e.authority.to_string()))
                .ok()
        };
        assert_eq!(parse("http://a.example"), Some(("a.example".into(), 80, "".into(), "a.example".into())));
        assert_eq!(
            parse("http://127.0.0.1:9001/v1/"),
            Some(("127.0.0.1".into(), 9001, "/v1".into(), "127.0.0.1:9001".into()))
        );
        assert_eq!(parse("http://[::1]:9001"), Some(("::1".into(), 9001, "".into(), "[::1]:9001".into())));
        for bad in ["", "ftp://a", "http://", "http://a:port", "http://a:99999"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
