//! Checks of upstreams: endpoints, injection, waiting times.

use super::Checker;
use crate::{
    config::{report::known_words, source::ItemId},
    http,
    resource::Upstream,
};

const HOUR: u64 = 3_600_000;

impl Checker<'_> {
    pub(super) fn upstream(&mut self, id: ItemId, upstream: &Upstream) {
        self.description(id, upstream.description.as_deref());
        if upstream.endpoints.is_empty() {
            let hint = "write at least one base URL, as in http://127.0.0.1:9001";
            self.problem(id, "endpoints", "empty", "an upstream needs an endpoint", hint);
        }
        for (index, endpoint) in upstream.endpoints.iter().enumerate() {
            let path = format!("endpoints[{index}]");
            if let Some(http::UrlProblem { detail, hint }) = http::endpoint_problem(endpoint) {
                self.problem(id, &path, "invalid_url", detail, hint);
            } else if upstream.endpoints[..index].contains(endpoint) {
                self.problem(id, &path, "duplicate", "this endpoint is listed twice", "remove one of them");
            }
        }
        if let Some(provider) = &upstream.provider
            && !self.context.providers.contains(&provider.as_str())
        {
            let hint = known_words(provider.as_str(), self.context.providers);
            self.problem(id, "provider", "unknown_name", "no built-in provider speaks this wire format", &hint);
        }
        if upstream.budget.is_some() && upstream.provider.is_none() {
            let hint = "a budget counts what model calls cost: say what its models speak, as in `provider: openai`";
            self.problem(id, "budget", "contradiction", "an upstream without `provider` serves no models", hint);
        }
        self.budgets(id, upstream.budget.as_ref());
        self.inject(id, upstream);
        self.upstream_pool(id, upstream);
        self.at_most(id, "timeouts.connect", upstream.timeouts.connect, HOUR, "an hour");
        self.at_most(id, "timeouts.response", upstream.timeouts.response, 24 * HOUR, "24 hours");
        self.at_most(id, "timeouts.idle", upstream.timeouts.idle, 24 * HOUR, "24 hours");
        self.at_most(id, "health.cooldown", upstream.health.cooldown, 24 * HOUR, "24 hours");
        if upstream.health.failures == 0 {
            let hint = "1 leaves an endpoint alone after its first failure";
            self.problem(id, "health.failures", "out_of_bounds", "this is at least 1", hint);
        }
        self.upstream_certificates(id, upstream);
        if let Some(name) = upstream.tls.as_ref().and_then(|tls| tls.server_name.as_ref())
            && !http::is_server_name(name)
        {
            let detail = "this is no host name and no IPv4 address";
            self.problem(id, "tls.server_name", "invalid_value", detail, "as in api.example.com");
        }
    }

    fn inject(&mut self, id: ItemId, upstream: &Upstream) {
        let Some(inject) = &upstream.inject else { return };
        let ways = [
            inject.bearer.is_some(),
            inject.header.is_some(),
            inject.query.is_some(),
            inject.basic.is_some(),
            inject.aws_sigv4.is_some(),
        ];
        let given = ways.iter().filter(|w| **w).count();
        if given != 1 {
            let detail = format!("exactly one way of injecting is needed, {given} are given");
            self.problem(id, "inject", "not_one", detail, "keep one of bearer, header, query, basic, aws_sigv4");
        }
        if let Some(credential) = &inject.bearer {
            self.injects(id, "inject.bearer", credential);
        }
        if let Some(header) = &inject.header {
            self.injects(id, "inject.header.credential", &header.credential);
            self.header_name(id, "inject.header.name", &header.name);
            // The value follows the prefix, so a space at its end stands inside.
            if !header.prefix.is_empty() && !http::is_header_value(&format!("{}x", header.prefix)) {
                let hint = "visible ASCII, as in `Token `";
                self.problem(id, "inject.header.prefix", "invalid_value", "this cannot stand in a header", hint);
            }
        }
        if let Some(query) = &inject.query {
            self.injects(id, "inject.query.credential", &query.credential);
            self.query_name(id, "inject.query.name", &query.name);
        }
        if let Some(basic) = &inject.basic {
            self.injects(id, "inject.basic.credential", &basic.credential);
            let name = &basic.username;
            if name.contains(':') || name.chars().any(char::is_control) || name.len() > 256 {
                let detail = "a user name has no colon, no control characters and at most 256 bytes";
                self.problem(id, "inject.basic.username", "invalid_value", detail, "see RFC 7617");
            }
        }
        if let Some(sigv4) = &inject.aws_sigv4 {
            self.injects(id, "inject.aws_sigv4.credential", &sigv4.credential);
            let plain = |text: &str| {
                let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                (1..=64).contains(&text.len()) && text.bytes().all(allowed)
            };
            for (path, value, detail, hint) in [
                ("inject.aws_sigv4.region", &sigv4.region, "this is no region of AWS", "as in eu-central-1"),
                ("inject.aws_sigv4.service", &sigv4.service, "this is no name of a service", "as in bedrock or s3"),
            ] {
                if !plain(value) {
                    self.problem(id, path, "invalid_value", detail, hint);
                }
            }
        }
    }

    /// A header that rules and injectors may name.
    pub(super) fn header_name(&mut self, id: ItemId, path: &str, name: &str) {
        if !http::is_token(name) {
            let hint = "letters, digits and - as in x-api-key";
            self.problem(id, path, "invalid_header", "this is no header name", hint);
        } else if http::is_framing(name) {
            let detail = "this header frames the message or belongs to one connection";
            self.problem(id, path, "invalid_header", detail, "Credentialflow sets it itself; remove the rule");
        }
    }

    pub(super) fn query_name(&mut self, id: ItemId, path: &str, name: &str) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
            let hint = "1 to 128 letters, digits and - . _ ~ as in key";
            self.problem(id, path, "invalid_value", "this is no name of a query parameter", hint);
        }
    }
}
