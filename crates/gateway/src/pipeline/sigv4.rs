//! Signs a request's head for AWS: what is signed is what was written.
//!
//! The body is in the signature where it is held, as with model calls; for S3 it need not be. Each try is signed afresh,
//! with the time at which it is made.

use super::{Refused, translate::UpstreamBody};
use crate::snapshot::InjectWay;
use credentialflow_model::{OutcomeReason, SecretValue, Timestamp};
use credentialflow_sigv4::{AccessKey, Payload, ToSign, authorization, is_s3, payload_hash, time};
use std::collections::BTreeMap;

/// An access key and what it signs for.
pub(super) struct Signer<'w> {
    key: AccessKey,
    region: &'w str,
    service: &'w str,
}

impl<'w> Signer<'w> {
    /// Where this is the way of injection. A credential that is no access key cannot be used.
    pub fn of(way: &'w InjectWay, value: &SecretValue) -> Result<Option<Self>, Refused> {
        let InjectWay::AwsSigv4 { region, service } = way else { return Ok(None) };
        let key = AccessKey::parse(value).ok_or(Refused::new(OutcomeReason::CredentialUnavailable))?;
        Ok(Some(Self { key, region, service }))
    }

    /// What of the credential must not come back: what is sent of it, else what never is.
    pub fn told(&self) -> &SecretValue {
        self.key.session_token.as_ref().unwrap_or(&self.key.secret)
    }

    /// Appends the signature to a head that is complete up to the blank line, and what is signed with it.
    pub fn sign(&self, head: &mut Vec<u8>, body: &UpstreamBody, now: Timestamp) -> Result<(), Refused> {
        let payload = match body {
            UpstreamBody::Empty => Payload::Bytes(b""),
            UpstreamBody::Buffered(body) => Payload::Bytes(body),
            UpstreamBody::Streamed { .. } => Payload::Unsigned,
        };
        let (time, hash) = (time(now), payload_hash(payload));
        let signed = {
            let unreadable = || Refused::new(OutcomeReason::MalformedRequest);
            let written = Written::read(head).ok_or_else(unreadable)?;
            let mut fields = written.fields;
            fields.insert("x-amz-date".into(), time.clone());
            if is_s3(self.service) {
                fields.insert("x-amz-content-sha256".into(), hash.clone());
            }
            if let Some(token) = &self.key.session_token {
                let token = std::str::from_utf8(token.expose()).map_err(|_| unreadable())?;
                fields.insert("x-amz-security-token".into(), token.to_owned());
            }
            let headers: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            let (path, query) = written.target.split_once('?').unwrap_or((written.target, ""));
            let (method, region, service) = (written.method, self.region, self.service);
            let request = ToSign { method, path, query, service, region, time: &time, headers: &headers, payload };
            let signed = authorization(&self.key.id, &self.key.secret, &request);
            if let Some(token) = fields.get_mut("x-amz-security-token") {
                zeroize::Zeroize::zeroize(token);
            }
            signed
        };
        let token = self.key.session_token.as_ref().map(SecretValue::expose);
        let fields = [
            Some((&b"x-amz-date"[..], time.as_bytes())),
            is_s3(self.service).then_some((b"x-amz-content-sha256", hash.as_bytes())),
            token.map(|token| (&b"x-amz-security-token"[..], token)),
            Some((b"authorization", signed.as_bytes())),
        ];
        let fields = || fields.into_iter().flatten().flat_map(|(name, value)| [name, b": ", value, b"\r\n"]);
        // All of it and the blank line: what moves once the session token stands in it leaves a copy behind, and the
        // signature names every field that is signed, of which a caller may send many.
        head.reserve_exact(fields().map(<[u8]>::len).sum::<usize>() + 2);
        fields().for_each(|part| head.extend_from_slice(part));
        Ok(())
    }
}

/// What was written of a head, as far as it is signed.
struct Written<'h> {
    method: &'h str,
    target: &'h str,
    /// By name; those of one name are one, with a comma between.
    fields: BTreeMap<String, String>,
}

impl<'h> Written<'h> {
    fn read(head: &'h [u8]) -> Option<Self> {
        let mut lines = head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut first = std::str::from_utf8(lines.next()?).ok()?.split(' ');
        let (method, target) = (first.next()?, first.next()?);
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        for line in lines {
            let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
            let (name, value) = (line[..colon].to_ascii_lowercase(), &line[colon + 1..]);
            if !is_signed(&name) {
                continue;
            }
            let value = std::str::from_utf8(value).ok()?.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            fields
                .entry(String::from_utf8(name).ok()?)
                .and_modify(|before| {
                    before.push(',');
                    before.push_str(&value);
                })
                .or_insert(value);
        }
        Some(Self { method, target, fields })
    }
}

/// Whether a field is signed, by its name in small letters: what AWS wants to be, and what nothing on the way changes.
fn is_signed(name: &[u8]) -> bool {
    name == b"host" || name == b"content-type" || name.starts_with(b"x-amz-")
}

/// Whether a field is the signature's, so that no caller's takes its place.
pub(super) fn is_ours(name: &[u8]) -> bool {
    [&b"x-amz-date"[..], b"x-amz-content-sha256", b"x-amz-security-token"].iter().any(|n| name.eq_ignore_ascii_case(n))
}

/// Whether a field says that the body comes in chunks that are signed one by one or carry a checksum behind them, as AWS's
/// SDKs send it to S3. The first is the caller's signature, without which the body would be stored with its marks.
pub(super) fn comes_in_chunks(name: &[u8], value: &[u8]) -> bool {
    if name.eq_ignore_ascii_case(b"x-amz-content-sha256") {
        return value.trim_ascii().get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"STREAMING-"));
    }
    let is_aws = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"aws-chunked");
    name.eq_ignore_ascii_case(b"content-encoding") && value.split(|b| *b == b',').any(is_aws)
}

/// Whether a field of a caller of another dialect would tell AWS something, or ask for another form of answer.
pub(super) fn speaks_to_aws(name: &[u8]) -> bool {
    let begins = |with: &[u8]| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    begins(b"x-amz") || begins(b"x_amz") || name.eq_ignore_ascii_case(b"accept")
}

/// Whether a body must be held, as it is to be signed.
pub(super) fn holds_body(way: &InjectWay) -> bool {
    matches!(way, InjectWay::AwsSigv4 { service, .. } if !is_s3(service))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const HEAD: &str = "POST /model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse HTTP/1.1\r\n\
        host: bedrock-runtime.us-east-1.amazonaws.com\r\nContent-Type: application/json\r\nx-request-id: 1\r\n";

    fn signed(head: &str, key: &str, service: &str, body: &UpstreamBody) -> Result<String, Refused> {
        let way = InjectWay::AwsSigv4 { region: "us-east-1".into(), service: service.into() };
        let signer = Signer::of(&way, &SecretValue::from(key))?.expect("the way of AWS");
        let mut out = head.as_bytes().to_vec();
        signer.sign(&mut out, body, "2015-08-30T12:36:00Z".parse().expect("a time"))?;
        Ok(String::from_utf8(out).expect("a text").strip_prefix(head).expect("what was there").to_owned())
    }

    #[test]
    fn a_head_is_signed_as_botocore_signs_it() {
        let body = UpstreamBody::Buffered(br#"{"messages":[]}"#.to_vec());
        let made = signed(HEAD, &format!("{KEY}:TOKEN+/="), "bedrock", &body).unwrap();
        assert_eq!(
            made,
            "x-amz-date: 20150830T123600Z\r\nx-amz-security-token: TOKEN+/=\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/bedrock/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, \
             Signature=86c9293377260da3311730403dd6207ae86eb87b0da8e3ca3fe66aeb27fe5e9a\r\n"
        );
    }

    #[test]
    fn what_callers_tell_aws_is_signed_and_every_other_field_is_not() {
        let names = |head: &str| {
            let made = signed(head, KEY, "bedrock", &UpstreamBody::Empty).unwrap();
            made.split_once("SignedHeaders=").unwrap().1.split_once(',').unwrap().0.to_owned()
        };
        assert_eq!(names(HEAD), "content-type;host;x-amz-date");
        let told = format!("{HEAD}X-Amz-Target:  a   b \r\nx-amz-target: c\r\nx-amzn-trace-id: 1\r\n");
        assert_eq!(names(&told), "content-type;host;x-amz-date;x-amz-target");
        let written = Written::read(told.as_bytes()).unwrap();
        assert_eq!(written.fields["x-amz-target"], "a b,c");
    }

    #[test]
    fn a_head_does_not_move_after_the_token_is_in_it() {
        let way = InjectWay::AwsSigv4 { region: "r".into(), service: "s3".into() };
        let value = SecretValue::from(format!("{KEY}:{}", "T".repeat(2000)).as_str());
        let signer = Signer::of(&way, &value).unwrap().unwrap();
        let names: String = (0..300).map(|i| format!("x-amz-meta-{i}: 1\r\n")).collect();
        let mut head = format!("GET / HTTP/1.1\r\nhost: a\r\n{names}").into_bytes();
        head.shrink_to_fit();
        signer.sign(&mut head, &UpstreamBody::Empty, "2015-08-30T12:36:00Z".parse().unwrap()).unwrap();
        // It grew once, before anything was written: growing on the way makes more room than is needed.
        assert_eq!(head.capacity(), head.len() + 2);
    }

    #[test]
    fn a_body_that_is_not_held_is_not_signed_where_that_is_allowed() {
        let body = UpstreamBody::Streamed { length: Some(3), begun: false };
        let made = signed("PUT /a HTTP/1.1\r\nhost: b.s3.amazonaws.com\r\n", KEY, "s3", &body).unwrap();
        assert!(made.contains("x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"), "{made}");
        assert!(made.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date,"), "{made}");
        let way = |service: &str| InjectWay::AwsSigv4 { region: "r".into(), service: service.into() };
        assert!(holds_body(&way("bedrock")) && !holds_body(&way("s3")) && !holds_body(&InjectWay::Bearer));
    }

    #[test]
    fn a_body_in_chunks_is_told() {
        for (name, value) in [
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("X-Amz-Content-Sha256", " streaming-AWS4-HMAC-SHA256-PAYLOAD"),
            ("Content-Encoding", "aws-chunked"),
            ("content-encoding", "gzip , AWS-chunked"),
        ] {
            assert!(comes_in_chunks(name.as_bytes(), value.as_bytes()), "{name}: {value}");
        }
        for (name, value) in [
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-content-sha256", ""),
            ("content-encoding", "gzip"),
            ("x-amz-meta-a", "aws-chunked"),
        ] {
            assert!(!comes_in_chunks(name.as_bytes(), value.as_bytes()), "{name}: {value}");
        }
    }

    #[test]
    fn what_is_no_access_key_signs_nothing() {
        let refused = signed(HEAD, "sk-1234567890", "bedrock", &UpstreamBody::Empty).unwrap_err();
        assert_eq!(refused.reason, OutcomeReason::CredentialUnavailable);
        let odd = format!("{HEAD}x-amz-meta: ");
        let mut head = odd.into_bytes();
        head.extend(b"\xff\r\n");
        assert!(Written::read(&head).is_none());
    }
}
