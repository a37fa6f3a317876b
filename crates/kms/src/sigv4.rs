//! AWS Signature Version 4 for one kind of request: a POST to `/` without a query.
//!
//! Reference: "Create a signed AWS API request" in AWS's documentation. Every header that is sent is
//! signed. HMAC-SHA-256 and SHA-256 are aws-lc-rs's.

use crate::settings::AwsSettings;
use aws_lc_rs::{digest, hmac};
use std::fmt::Write;

/// What is signed.
pub struct ToSign<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The service's name in the scope, as in `kms`.
    pub service: &'a str,
    /// The region.
    pub region: &'a str,
    /// `20260101T120000Z`.
    pub time: &'a str,
    /// Names in lower case, sorted; values as they are sent, without spaces at their ends.
    pub headers: &'a [(&'a str, &'a str)],
    /// What follows the head.
    pub body: &'a [u8],
}

/// The value of `Authorization`.
pub fn authorization(settings: &AwsSettings, request: &ToSign<'_>) -> String {
    let date = request.time.get(..8).unwrap_or_default();
    let scope = format!("{date}/{}/{}/aws4_request", request.region, request.service);
    let names = request.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut canonical = format!("{}\n/\n\n", request.method);
    for (name, value) in request.headers {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{}", sha256(request.body));
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", request.time, sha256(canonical.as_bytes()));
    let secret = zeroize::Zeroizing::new([b"AWS4", settings.secret_access_key.expose()].concat());
    let mut key = sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), date.as_bytes());
    for part in [request.region, request.service, "aws4_request"] {
        key = sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), part.as_bytes());
    }
    let signature = sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), text.as_bytes());
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
        settings.access_key_id,
        hex(signature.as_ref())
    )
}

fn sign(key: &hmac::Key, bytes: &[u8]) -> hmac::Tag {
    hmac::sign(key, bytes)
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use credentialflow_model::SecretValue;

    fn check(method: &str, headers: &[(&str, &str)], body: &[u8], expected: &str) {
        let settings = AwsSettings {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: SecretValue::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
            endpoint: None,
        };
        let time = "20150830T123600Z";
        let request = ToSign { method, service: "service", region: "us-east-1", time, headers, body };
        let made = authorization(&settings, &request);
        assert!(made.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "));
        assert!(made.ends_with(&format!("Signature={expected}")), "{made}");
    }

    /// Cases of AWS's own Signature Version 4 test suite.
    #[test]
    fn agrees_with_the_test_suite_of_aws() {
        let plain: &[(&str, &str)] = &[("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        check("GET", plain, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
        check("POST", plain, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
        let form: &[(&str, &str)] = &[
            ("content-type", "application/x-www-form-urlencoded"),
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ];
        let expected = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        check("POST", form, b"Param1=value1", expected);
    }
}
