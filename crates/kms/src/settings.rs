//! What the environment says about key services, by the names their own tools use.

use credentialflow_egress::{Guard, PrivateHosts};
use credentialflow_model::SecretValue;
use std::{fmt, net::IpAddr, path::PathBuf};

/// Access to AWS.
pub struct AwsSettings {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: SecretValue,
    /// `AWS_SESSION_TOKEN`, for temporary credentials.
    pub session_token: Option<SecretValue>,
    /// `AWS_ENDPOINT_URL_KMS` or `AWS_ENDPOINT_URL`; the region's own unless set.
    pub endpoint: Option<String>,
}

/// Access to a Vault or OpenBao server.
pub struct TransitSettings {
    /// `BAO_ADDR` or `VAULT_ADDR`.
    pub address: String,
    /// `BAO_TOKEN` or `VAULT_TOKEN`.
    pub token: SecretValue,
}

/// Access to key services.
#[derive(Default)]
pub struct KeyServiceSettings {
    /// AWS KMS.
    pub aws: Option<AwsSettings>,
    /// A transit engine.
    pub transit: Option<TransitSettings>,
    /// `BAO_CACERT`, `VAULT_CACERT` or `AWS_CA_BUNDLE`: certificates (PEM) to trust beside the public ones.
    pub certificates: Option<PathBuf>,
}

impl fmt::Debug for KeyServiceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aws = self.aws.as_ref().map(|aws| &aws.access_key_id);
        let transit = self.transit.as_ref().map(|transit| &transit.address);
        f.debug_struct("KeyServiceSettings").field("aws", &aws).field("transit", &transit).finish_non_exhaustive()
    }
}

/// Why the environment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// An address is none, or would show credentials to everyone on the way.
    #[error("{0}: an address begins with https://, or with http:// where it is this machine")]
    Address(&'static str),
    /// Certificates cannot be read.
    #[error("no certificates can be read from {0}")]
    Certificates(PathBuf),
}

impl KeyServiceSettings {
    /// Reads variables. Empty ones are as good as none.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let either = |first: &str, second: &str| get(first).or_else(|| get(second));
        let aws = match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key_id), Some(secret)) => Some(AwsSettings {
                access_key_id,
                secret_access_key: SecretValue::from(secret),
                session_token: get("AWS_SESSION_TOKEN").map(SecretValue::from),
                endpoint: either("AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL")
                    .map(|url| address("AWS_ENDPOINT_URL_KMS", &url))
                    .transpose()?,
            }),
            _ => None,
        };
        let transit = match (either("BAO_ADDR", "VAULT_ADDR"), either("BAO_TOKEN", "VAULT_TOKEN")) {
            (Some(url), Some(token)) => {
                Some(TransitSettings { address: address("BAO_ADDR", &url)?, token: SecretValue::from(token) })
            }
            _ => None,
        };
        let certificates = either("BAO_CACERT", "VAULT_CACERT").or_else(|| get("AWS_CA_BUNDLE")).map(PathBuf::from);
        Ok(Self { aws, transit, certificates })
    }
}

impl KeyServiceSettings {
    /// Where a key service may be asked: hosts that the environment names are meant also at private
    /// addresses, and so are AWS's own names, which a private endpoint in a network answers to. TLS tells
    /// whether it is AWS before anything is sent.
    pub(crate) fn guard(&self) -> Guard {
        let endpoint = self.aws.as_ref().and_then(|aws| aws.endpoint.as_deref());
        let address = self.transit.as_ref().map(|transit| transit.address.as_str());
        let uris = endpoint.into_iter().chain(address).filter_map(|url| url.parse::<http::Uri>().ok());
        let hosts = PrivateHosts::default().and_below("amazonaws.com");
        Guard::new(uris.filter_map(|uri| uri.host().map(str::to_owned)).fold(hosts, |hosts, host| hosts.and(&host)))
    }
}

/// An address without a slash at its end, if credentials may be sent there.
fn address(variable: &'static str, url: &str) -> Result<String, SettingsError> {
    let refused = || SettingsError::Address(variable);
    let uri: http::Uri = url.parse().map_err(|_| refused())?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => {}
        Some("http") if local => {}
        _ => return Err(refused()),
    }
    if uri.query().is_some() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err(refused());
    }
    Ok(url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<KeyServiceSettings, SettingsError> {
        KeyServiceSettings::from_variables(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_are_read_by_the_names_the_tools_use() {
        let settings = read(&[
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "canary-1"),
            ("AWS_ENDPOINT_URL_KMS", "https://kms.vpc.example/"),
            ("VAULT_ADDR", "http://127.0.0.1:8200"),
            ("BAO_TOKEN", "canary-2"),
        ])
        .unwrap();
        assert_eq!(settings.aws.as_ref().unwrap().endpoint.as_deref(), Some("https://kms.vpc.example"));
        assert_eq!(settings.transit.as_ref().unwrap().address, "http://127.0.0.1:8200");
        assert!(!format!("{settings:?}").contains("canary"));
        let none = read(&[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", ""), ("BAO_ADDR", "x")]).unwrap();
        assert!(none.aws.is_none() && none.transit.is_none());
    }

    #[test]
    fn credentials_go_nowhere_in_the_clear() {
        for bad in [
            "http://bao.example:8200",
            "ftp://127.0.0.1",
            "127.0.0.1:8200",
            "https://",
            "https://u:p@h",
            "https://h?x=1",
        ] {
            assert!(read(&[("BAO_ADDR", bad), ("BAO_TOKEN", "t")]).is_err(), "{bad}");
        }
        for good in ["https://bao.example", "http://localhost:1", "http://[::1]:8200/"] {
            assert!(read(&[("BAO_ADDR", good), ("BAO_TOKEN", "t")]).is_ok(), "{good}");
        }
    }

    #[test]
    fn only_named_key_services_may_be_at_private_addresses_and_none_where_clouds_keep_credentials() {
        let settings = read(&[
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_ENDPOINT_URL_KMS", "https://kms.vpc.example/"),
            ("BAO_ADDR", "https://10.0.0.7:8200"),
            ("BAO_TOKEN", "t"),
        ]);
        let guard = settings.unwrap().guard();
        let reached = |host: &str, address: &str| guard.check(host, address.parse().unwrap()).is_ok();
        assert!(reached("kms.vpc.example", "10.0.0.1") && reached("10.0.0.7", "10.0.0.7"));
        assert!(reached("kms.eu-central-1.amazonaws.com", "10.0.0.2"));
        assert!(reached("kms.eu-central-1.amazonaws.com", "52.94.1.1"));
        assert!(!reached("elsewhere.example", "10.0.0.1") && !reached("amazonaws.com.example", "10.0.0.1"));
        for host in ["kms.vpc.example", "10.0.0.7", "kms.eu-central-1.amazonaws.com"] {
            assert!(!reached(host, "169.254.169.254") && !reached(host, "fe80::1"), "{host}");
        }
    }
}
