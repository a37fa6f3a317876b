//! Where an upstream is reached.

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
    /// TLS, for `https`.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl EndpointPlan {
    /// Takes a checked `http://` or `https://` URL apart; `None` if it is none.
    pub(super) fn parse(
        url: &str,
        tls: &dyn Fn() -> Arc<ClientConfig>,
        server_name: Option<&str>,
        identity_salt: &str,
    ) -> Option<Self> {
        let (secure, rest) = match url.split_once("://")? {
            ("http", rest) => (false, rest),
            ("https", rest) => (true, rest),
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let default_port = if secure { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']')?;
                (host, after.strip_prefix(':').map_or(Some(default_port), |p| p.parse().ok())?)
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, port.parse().ok()?),
                None => (authority, default_port),
            },
        };
        if host.is_empty() {
            return None;
        }
        let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let authority = if port == default_port { shown } else { format!("{shown}:{port}") };
        let tls = if secure {
            let name = ServerName::try_from(server_name.unwrap_or(host).to_owned()).ok()?;
            Some((tls(), name))
        } else {
            None
        };
        Some(Self {
            identity: format!("{}://{host}:{port}#{identity_salt}", if secure { "https" } else { "http" }).into(),
            authority: authority.into(),
            host: host.to_owned(),
            port,
            base: path.trim_end_matches('/').to_owned(),
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
            EndpointPlan::parse(url, &|| unreachable!(), None, "")
                .map(|e| (e.host, e.port, e.base, e.authority.to_string()))
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
