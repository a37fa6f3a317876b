//! Checks of routes to servers of the Model Context Protocol, and of the tools that callers may use there.

use super::{Checker, guardrail::MOST_RULES};
use crate::{
    Name, Period,
    config::source::ItemId,
    http,
    resource::{Detect, GuardrailAction, Kind, Mcp, Route},
};
use std::collections::{BTreeMap, HashSet};

impl Checker<'_> {
    pub(super) fn mcp(&mut self, id: ItemId, route: &Route) {
        let Some(mcp) = &route.mcp else { return };
        if route.matches.path.contains(['*', '{']) {
            let detail = "an MCP server has one path";
            self.problem(id, "match.path", "contradiction", detail, "write the path itself, as in /mcp/github");
        }
        if route.prompt.is_some() {
            let detail = "a route leads to an MCP server, or publishes a prompt";
            self.problem(id, "mcp", "contradiction", detail, "remove one of them");
        }
        if route.strip_prefix.is_some() {
            let detail = "requests to an MCP server go to the address of the endpoint as it stands";
            self.problem(
                id,
                "strip_prefix",
                "not_here",
                detail,
                "write the whole address under the upstream's endpoints",
            );
        }
        if route.websocket {
            let detail = "MCP has no WebSockets";
            self.problem(id, "websocket", "not_here", detail, "remove this");
        }
        self.servers(id, route, mcp);
        self.mcp_guardrails(id, mcp);
        let lists = [("tools", &mcp.tools), ("prompts", &mcp.prompts), ("resources", &mcp.resources)];
        for (name, rules) in lists.into_iter().filter_map(|(name, rules)| Some((name, rules.as_ref()?))) {
            if let Some(allow) = &rules.allow {
                self.patterns(id, &format!("mcp.{name}.allow"), allow);
            }
            self.patterns(id, &format!("mcp.{name}.deny"), &rules.deny);
        }
        self.patterns(id, "mcp.methods", &mcp.methods);
        for (index, origin) in mcp.origins.iter().enumerate() {
            if !is_origin(origin) {
                let detail = "an origin is a scheme and a host, with a port where it is not the usual one";
                let hint = "as in https://console.example.com";
                self.problem(id, &format!("mcp.origins[{index}]"), "invalid_value", detail, hint);
            }
        }
        let longest = Period::from_secs(86_400);
        if mcp.stream_idle.is_some_and(|idle| idle < Period::from_secs(1) || idle > longest) {
            let detail = "a stream may be silent for 1 second to 1 day";
            self.problem(id, "mcp.stream_idle", "out_of_bounds", detail, "as in 1h");
        }
    }

    /// Several servers behind the one address.
    fn servers(&mut self, id: ItemId, route: &Route, mcp: &Mcp) {
        if mcp.servers.is_empty() {
            if mcp.server_timeout.is_some() {
                let detail = "only one of several servers is waited for so long";
                self.problem(id, "mcp.server_timeout", "not_here", detail, "remove it, or add `servers`");
            }
            return;
        }
        if route.upstream.is_some() {
            let detail = "a route leads to one upstream, or to several servers";
            self.problem(id, "mcp.servers", "contradiction", detail, "remove `upstream`, or `servers`");
        }
        if mcp.servers.len() > Mcp::MOST_SERVERS {
            let detail = format!("behind one address are at most {} servers", Mcp::MOST_SERVERS);
            self.problem(id, "mcp.servers", "out_of_bounds", detail, "make two routes of it");
        }
        if !mcp.methods.is_empty() {
            let detail = "nobody can tell to which of several servers such a method belongs";
            self.problem(id, "mcp.methods", "not_here", detail, "remove it, or make a route for that server alone");
        }
        let mut names = HashSet::new();
        for (index, server) in mcp.servers.iter().enumerate() {
            let name = server.name.as_str();
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
            if name.len() > Mcp::LONGEST_SERVER || !begins || !name.bytes().all(plain) {
                let detail = "the name of a server has 1 to 32 characters from a-z 0-9 -, the first one a letter";
                self.problem(id, &format!("mcp.servers[{index}].name"), "invalid_value", detail, "as in github");
            }
            if !names.insert(name) {
                let detail = "two servers have the same name";
                self.problem(id, &format!("mcp.servers[{index}].name"), "duplicate", detail, "rename one of them");
            }
            self.refers(id, &format!("mcp.servers[{index}].upstream"), Kind::Upstreams, &server.upstream);
        }
        let longest = Period::from_secs(300);
        if mcp.server_timeout.is_some_and(|most| most < Period::from_secs(1) || most > longest) {
            let detail = "a server is waited for 1 second to 5 minutes";
            self.problem(id, "mcp.server_timeout", "out_of_bounds", detail, "as in 10s");
        }
    }

    /// What is looked for in arguments and results: with what finds it here, as nobody else is asked.
    fn mcp_guardrails(&mut self, id: ItemId, mcp: &Mcp) {
        for (index, name) in mcp.use_guardrails.iter().enumerate() {
            let path = format!("mcp.use_guardrails[{index}]");
            self.refers(id, &path, Kind::Guardrails, name);
            if mcp.use_guardrails[..index].contains(name) {
                self.problem(id, &path, "duplicate", format!("{name} stands here twice"), "keep it once");
            }
        }
        for (index, rule) in mcp.guardrails.iter().enumerate() {
            self.guardrail(id, &format!("mcp.guardrails[{index}]"), rule);
        }
        let sets = self.guardrails.clone();
        let all: Vec<_> = mcp.rules(|name| sets.get(name.as_str()).copied()).collect();
        if all.len() > MOST_RULES {
            let field = if mcp.guardrails.is_empty() { "mcp.use_guardrails" } else { "mcp.guardrails" };
            let detail = format!("a route has at most {MOST_RULES} guardrails, those of the sets it uses among them");
            self.problem(id, field, "out_of_bounds", detail, "a list of words counts as one");
        }
        for (at, (set, rule)) in all.iter().enumerate() {
            let detail = match rule.action {
                _ if rule.detect.is_remote() || rule.detect == Detect::JsonSchema => {
                    format!("`detect: {}` is for models", rule.detect.as_str())
                }
                GuardrailAction::Mask | GuardrailAction::Route => {
                    format!("`action: {}` is for models", rule.action.as_str())
                }
                GuardrailAction::Block | GuardrailAction::Redact | GuardrailAction::Flag => continue,
            };
            let path = match set {
                Some(set) => {
                    let index = mcp.use_guardrails.iter().position(|name| name == *set).unwrap_or_default();
                    format!("mcp.use_guardrails[{index}]")
                }
                None => format!("mcp.guardrails[{}]", at - (all.len() - mcp.guardrails.len())),
            };
            self.problem(id, &path, "not_here", detail, "take it away here; a set for tools may leave it out");
        }
    }

    /// The tools that an application or a key may use, route by route.
    pub(super) fn tools(&mut self, id: ItemId, tools: &BTreeMap<Name, Vec<String>>) {
        for (route, patterns) in tools {
            let path = format!("allow.tools.{route}");
            self.refers(id, &path, Kind::Routes, route);
            self.patterns(id, &path, patterns);
        }
    }

    fn patterns(&mut self, id: ItemId, at: &str, patterns: &[String]) {
        if patterns.len() > Mcp::MOST_PATTERNS {
            let detail = format!("a list has at most {} patterns", Mcp::MOST_PATTERNS);
            self.problem(id, at, "out_of_bounds", detail, "put several names into one pattern with `*`");
        }
        for (index, pattern) in patterns.iter().enumerate() {
            let seen = pattern.trim().len() == pattern.len() && !pattern.chars().any(char::is_control);
            if pattern.is_empty() || pattern.len() > Mcp::LONGEST_PATTERN || !seen {
                let detail = format!("a pattern has 1 to {} characters, and no space around it", Mcp::LONGEST_PATTERN);
                let hint = "write the name itself, or `*` for a part of it, as in search_*";
                self.problem(id, &format!("{at}[{index}]"), "invalid_value", detail, hint);
            }
        }
    }
}

/// Whether this is an origin as browsers write it (RFC 6454, 6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let (host, port) = authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    scheme.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        && !scheme.is_empty()
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
        && http::is_host(host, false)
        && !host.bytes().any(|b| b.is_ascii_uppercase())
}
