//! Checks of routes: what they match, who is asked, what is changed on the way.

use super::Checker;
use crate::{
    Name,
    config::{report::shown, source::ItemId},
    http,
    resource::{Authenticator, HeaderRules, Kind, Match, Route, RouteHeaders},
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What each route seen so far takes, to notice two that take exactly the same.
pub(super) type Matches<'a> = HashMap<Taken<'a>, (ItemId, &'a str)>;

/// A match in one form: order, case of names, and names of parameters make no difference.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Taken<'a> {
    path: Vec<&'a str>,
    hosts: Vec<String>,
    methods: Vec<&'a str>,
    headers: BTreeMap<String, &'a str>,
}

impl<'a> Taken<'a> {
    fn of(matches: &'a Match) -> Self {
        let mut hosts: Vec<_> = matches.hosts.iter().map(|h| h.to_ascii_lowercase()).collect();
        let mut methods: Vec<_> = matches.methods.iter().map(String::as_str).collect();
        hosts.sort_unstable();
        hosts.dedup();
        methods.sort_unstable();
        methods.dedup();
        Self {
            path: matches.path.split('/').map(|s| if s.starts_with('{') { "{}" } else { s }).collect(),
            hosts,
            methods,
            headers: matches.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())).collect(),
        }
    }
}

impl Checker<'_> {
    pub(super) fn route<'s>(&mut self, id: ItemId, route: &'s Route, matches: &mut Matches<'s>) {
        self.description(id, route.description.as_deref());
        self.leads(id, route);
        self.limit(id, route.limit.as_ref());
        self.matches(id, &route.matches);
        self.authenticate(id, route);
        if let Some((_, first)) = matches.get(&Taken::of(&route.matches)) {
            let detail = format!("the route `{first}` takes exactly the same requests");
            self.problem(id, "match", "conflict", detail, "change path, hosts, methods or headers of one of them");
        } else {
            matches.insert(Taken::of(&route.matches), (id, route.name.as_str()));
        }
        if let Some(name) = &route.key_in_query {
            self.query_name(id, "key_in_query", name);
            if !route.authenticate.contains(&Authenticator::ApiKey) {
                let hint = "add api_key to authenticate, or remove this";
                self.problem(id, "key_in_query", "not_here", "no key is asked for on this route", hint);
            }
        }
        if let Some(headers) = &route.headers {
            self.header_rules(id, "headers.request", &headers.request);
            self.header_rules(id, "headers.response", &headers.response);
            self.key_metadata(id, headers, route.authenticate.contains(&Authenticator::ApiKey));
        }
        if let Some(prefix) = &route.strip_prefix {
            self.strip_prefix(id, prefix, &route.matches.path);
        }
        self.mcp(id, route);
        if route.max_body.is_some_and(|size| size.as_bytes() > 1 << 40) {
            self.problem(id, "max_body", "out_of_bounds", "this is more than 1024 GiB", "write a smaller size");
        }
        if !(1..=5).contains(&route.retry.attempts) {
            self.problem(id, "retry.attempts", "out_of_bounds", "tries in all are 1 to 5", "1 means no second try");
        }
    }

    /// Where it leads: to an upstream, or to a prompt that it publishes.
    fn leads(&mut self, id: ItemId, route: &Route) {
        let Some(prompt) = &route.prompt else {
            match &route.upstream {
                Some(upstream) => self.refers(id, "upstream", Kind::Upstreams, upstream),
                None if route.mcp.as_ref().is_some_and(|mcp| !mcp.servers.is_empty()) => {}
                None => {
                    let detail = "a route leads to an upstream, or publishes a prompt";
                    self.problem(id, "upstream", "missing_field", detail, "add `upstream` or `prompt`");
                }
            }
            return;
        };
        self.refers(id, "prompt.name", Kind::Prompts, &prompt.name);
        if let Some(label) = &prompt.label {
            self.label(id, "prompt.label", label);
            if prompt.version.is_some() {
                let detail = "a version is named by its number or by a label";
                self.problem(id, "prompt.version", "contradiction", detail, "remove one of them");
            }
        }
        if let Some(number) = prompt.version {
            self.in_use(id, &prompt.name, number);
        }
        let secrets = "what a prompt says and is answered is looked at as its model says";
        let not_here = [
            ("upstream", route.upstream.is_some(), "a prompt is said to its model", "remove one of them"),
            ("strip_prefix", route.strip_prefix.is_some(), "nothing is forwarded by its path", "remove it"),
            ("websocket", route.websocket, "a prompt takes no WebSocket connections", "remove it"),
            ("secrets_in_requests", route.secrets_in_requests != Default::default(), secrets, "set it on the model"),
            ("secrets_in_answers", route.secrets_in_answers != Default::default(), secrets, "set it on the model"),
        ];
        for (field, set, detail, hint) in not_here {
            if set {
                self.problem(id, field, "not_here", detail, hint);
            }
        }
        if route.matches.path.contains(['*', '{']) || route.matches.path == "/" {
            let detail = "a prompt is published at one path";
            self.problem(id, "match.path", "invalid_path", detail, "as in /sentiment");
        }
        if route.matches.methods.iter().any(|method| method != "POST") {
            let detail = "a prompt is asked with POST; GET reads its description";
            self.problem(id, "match.methods", "invalid_method", detail, "remove `methods`");
        }
    }

    /// A version that is published by its number is there, and may be used. Where nothing is said of labels, nobody knows
    /// here which there are; until one stands for it, its calls are refused.
    fn in_use(&mut self, id: ItemId, name: &Name, number: u32) {
        let Some(prompt) = self.prompts.get(name.as_str()) else { return };
        if prompt.version(number).is_some() && prompt.labels.is_some() && !prompt.is_in_use(number) {
            let detail = format!("{} has tests, and no label stands for version {number}", shown(name.as_str()));
            let hint = format!(
                "run its tests and let a label stand for it, as in credentialflow prompt promote {name} --version {number} \
                 --label stable"
            );
            self.problem(id, "prompt.version", "version_not_in_use", detail, &hint);
        }
    }

    fn matches(&mut self, id: ItemId, matches: &Match) {
        if let Some((detail, hint)) = path_problem(&matches.path) {
            self.problem(id, "match.path", "invalid_path", detail, hint);
        }
        for (index, host) in matches.hosts.iter().enumerate() {
            if !http::is_host(host, true) {
                let detail = "a host is a name without port, with `*.` in front at most";
                let hint = "as in api.example.com or *.example.com";
                self.problem(id, &format!("match.hosts[{index}]"), "invalid_host", detail, hint);
            }
        }
        for (index, method) in matches.methods.iter().enumerate() {
            if !http::is_token(method) || method.bytes().any(|b| b.is_ascii_lowercase()) {
                let path = format!("match.methods[{index}]");
                self.problem(id, &path, "invalid_method", "a method is a word in capitals", "as in GET or POST");
            }
        }
        for (name, value) in &matches.headers {
            let path = format!("match.headers.{name}");
            if !http::is_token(name) {
                self.problem(id, &path, "invalid_header", "this is no header name", "letters, digits and -");
            }
            if !http::is_header_value(value) {
                let hint = "visible ASCII without space at the ends";
                self.problem(id, &path, "invalid_header", "this value cannot stand in a header", hint);
            }
        }
    }

    fn authenticate(&mut self, id: ItemId, route: &Route) {
        let list = &route.authenticate;
        if list.is_empty() {
            let hint = "write [api_key], or [none] to open the route to anyone";
            self.problem(id, "authenticate", "empty", "a route says how callers identify themselves", hint);
        }
        if list.len() > 1 && list.contains(&Authenticator::None) {
            let hint = "keep none alone, or remove it";
            self.problem(id, "authenticate", "contradiction", "`none` cannot stand beside others", hint);
        } else if list.iter().collect::<HashSet<_>>().len() < list.len() {
            self.problem(id, "authenticate", "duplicate", "an authenticator is listed twice", "keep it once");
        }
    }

    fn header_rules(&mut self, id: ItemId, direction: &str, rules: &HeaderRules) {
        for (name, value) in &rules.set {
            let path = format!("{direction}.set.{name}");
            self.header_name(id, &path, name);
            if !http::is_header_value(value) {
                let hint = "visible ASCII without space at the ends";
                self.problem(id, &path, "invalid_header", "this value cannot stand in a header", hint);
            }
        }
        for (index, name) in rules.remove.iter().enumerate() {
            self.header_name(id, &format!("{direction}.remove[{index}]"), name);
        }
    }

    /// Values that stand for the key's metadata, or look as if they were meant to.
    fn key_metadata(&mut self, id: ItemId, headers: &RouteHeaders, asks_for_key: bool) {
        let both = [("request", &headers.request), ("response", &headers.response)];
        for (direction, (name, value)) in both.iter().flat_map(|(d, rules)| rules.set.iter().map(move |set| (d, set))) {
            if !value.contains("${key") {
                continue;
            }
            let path = format!("headers.{direction}.set.{name}");
            if HeaderRules::key_fact(value).is_none() {
                let hint = "as in ${key.metadata.cost-center}, with nothing before or after it";
                self.problem(id, &path, "invalid_header", "this is not the form of a key's metadata", hint);
            } else if *direction == "response" {
                let hint = "set it under `request`, or write the text itself";
                self.problem(id, &path, "not_here", "a key's metadata is told to upstreams only", hint);
            } else if !asks_for_key {
                let hint = "add api_key to authenticate, or remove this";
                self.problem(id, &path, "not_here", "no key is asked for on this route", hint);
            }
        }
    }

    fn strip_prefix(&mut self, id: ItemId, prefix: &str, path: &str) {
        let plain =
            prefix.len() > 1 && prefix.starts_with('/') && !prefix.contains(['{', '*']) && !prefix.ends_with('/');
        let begins = path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !plain || !begins {
            let detail = "the prefix must be whole literal segments that begin the route's path";
            self.problem(id, "strip_prefix", "invalid_path", detail, "as in /orders for the path /orders/*");
        }
    }
}

/// What is wrong with a route's path, and what to do.
fn path_problem(path: &str) -> Option<(&'static str, &'static str)> {
    let Some(rest) = path.strip_prefix('/') else {
        return Some(("a path begins with /", "as in /orders/*"));
    };
    if path.len() > 1024 {
        return Some(("the path is longer than 1024 characters", "shorten it"));
    }
    if rest.is_empty() {
        return None;
    }
    let mut names = HashSet::new();
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "" => return Some(("the path has an empty segment", "remove the doubled or trailing /")),
            "." | ".." => return Some(("the path has a dot segment", "write the path it stands for")),
            "*" if last => {}
            "*" => return Some(("`*` stands at the end only", "use {name} for a segment in the middle")),
            _ => {}
        }
        if let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Some(("a parameter's name has 1 to 64 letters, digits and _", "as in {id}"));
            }
            if !names.insert(name) {
                return Some(("two parameters have the same name", "rename one of them"));
            }
        } else if segment != "*" && segment.contains(['{', '}', '*']) {
            return Some(("parameters and `*` are whole segments", "as in /orders/{id} or /orders/*"));
        } else if segment.contains(['?', '#']) {
            return Some(("a path has no query and no fragment", "remove what follows ? or #"));
        } else if !segment
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'|'))
        {
            return Some(("the path has characters that a URL must escape", "write them as %XX"));
        }
    }
    None
}
