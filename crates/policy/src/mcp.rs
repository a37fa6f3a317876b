//! Servers of the Model Context Protocol behind routes: which tools, prompts and resources a caller may use there, and
//! whose a session is.
//!
//! Settings: `mcp` of the route; `allow.tools` of the application and of the key narrow its tools.
//!
//! ```yaml
//! routes:
//!   - name: github-tools
//!     mcp: { tools: { allow: ["search_*", get_issue], deny: ["*_secrets"] } }
//! applications:
//!   - name: reporting
//!     allow: { routes: [github-tools], tools: { github-tools: [get_issue] } }
//! ```
//!
//! Posture: what is denied is refused whatever allows it, and what is not on a list where there is one is refused. Known
//! only once the body was read, so the gateway asks then, as it does about models.

use crate::{ApplicationRules, Principal, RouteSlot};
use credentialflow_model::resource::{Mcp, McpNames, Offered};

mod session;

pub use session::SessionOwner;

/// Patterns of names, in which `*` stands for any characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Box<[Box<str>]>);

impl Patterns {
    /// From what is declared.
    pub fn compile(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| pattern.as_str().into()).collect())
    }

    /// Whether one of them fits.
    pub fn fit(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern.as_bytes(), name.as_bytes(), |a, b| a == b))
    }

    /// Whether one of them fits a URI, and `path`, what it is without query and fragment, if the pattern has none.
    fn fit_uri(&self, uri: &str, path: &str) -> bool {
        self.0.iter().any(|pattern| {
            let fit = |text: &str| fits(pattern.as_bytes(), text.as_bytes(), |a, b| a == b);
            fit(uri) && (pattern.contains(['?', '#']) || fit(path))
        })
    }

    fn fit_in_any_case(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern.as_bytes(), name.as_bytes(), |a, b| a.eq_ignore_ascii_case(b)))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.0) + self.0.iter().map(|pattern| pattern.len()).sum::<usize>()
    }
}

/// Whether a pattern fits a name, in time that grows with the product of their lengths at most.
fn fits(pattern: &[u8], name: &[u8], same: fn(&u8, &u8) -> bool) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: a character later.
    let mut again = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                again = Some((p, n));
                p += 1;
            }
            Some(byte) if same(byte, &name[n]) => {
                p += 1;
                n += 1;
            }
            _ => match again {
                Some((star, from)) => {
                    again = Some((star, from + 1));
                    p = star + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Which names are offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    allow: Option<Patterns>,
    deny: Patterns,
}

impl Names {
    fn compile(names: Option<&McpNames>) -> Self {
        let Some(names) = names else { return Self::default() };
        Self { allow: names.allow.as_deref().map(Patterns::compile), deny: Patterns::compile(&names.deny) }
    }

    fn govern(&self) -> bool {
        self.allow.is_some() || !self.deny.0.is_empty()
    }

    fn admit(&self, name: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.fit(name)) && !self.deny.fit_in_any_case(name)
    }

    /// The same of a URI. Many servers read past its query, its fragment and a slash at its end, so rules hold for it
    /// without them too; a pattern of `allow` that has a query or a fragment itself is meant for all of it.
    fn admit_uri(&self, uri: &str) -> bool {
        let path = uri.split(['?', '#']).next().unwrap_or(uri);
        self.admit(uri)
            && self.allow.as_ref().is_none_or(|allow| allow.fit_uri(uri, path))
            && ![path, path.trim_end_matches('/')].into_iter().any(|path| self.deny.fit_in_any_case(path))
    }
}

/// What a route offers of the server behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct McpRules {
    tools: Names,
    prompts: Names,
    resources: Names,
    methods: Patterns,
}

impl McpRules {
    /// From what is declared.
    pub fn compile(mcp: &Mcp) -> Self {
        Self {
            tools: Names::compile(mcp.tools.as_ref()),
            prompts: Names::compile(mcp.prompts.as_ref()),
            resources: Names::compile(mcp.resources.as_ref()),
            methods: Patterns::compile(&mcp.methods),
        }
    }

    /// Whether a method passes that is none of the protocol itself.
    pub fn allows_method(&self, method: &str) -> bool {
        self.methods.fit(method)
    }

    const fn of(&self, kind: Offered) -> &Names {
        match kind {
            Offered::Tool => &self.tools,
            Offered::Prompt => &self.prompts,
            Offered::Resource => &self.resources,
        }
    }
}

/// What a caller may use of the server behind a route.
#[derive(Clone, Copy, Debug)]
pub struct McpGrant<'a> {
    rules: &'a McpRules,
    application: Option<&'a Patterns>,
    principal: &'a Principal,
    route_name: &'a str,
}

impl<'a> McpGrant<'a> {
    /// Of a caller, at a route. `applications` are those of the snapshot that numbered the route.
    pub fn of(
        rules: &'a McpRules,
        (route, route_name): (RouteSlot, &'a str),
        applications: &'a ApplicationRules,
        principal: &'a Principal,
    ) -> Self {
        let application = principal.key().and_then(|key| applications.get(key.application())?.tools(route));
        Self { rules, application, principal, route_name }
    }

    /// Of the key and of those that it comes from.
    fn extras(&self) -> impl Iterator<Item = &'a crate::KeyExtras> {
        self.principal.key().into_iter().flat_map(|key| key.all_extras()).map(|(_, _, extras)| extras)
    }

    /// Whether anything of this kind is kept from the caller at all.
    pub fn governs(&self, kind: Offered) -> bool {
        let narrowed = || self.application.is_some() || self.extras().any(|e| e.narrows_tools(self.route_name));
        self.rules.of(kind).govern() || (kind == Offered::Tool && narrowed())
    }

    /// Whether the caller may use what has this name, or this URI.
    pub fn allows(&self, kind: Offered, name: &str) -> bool {
        let of_caller = || {
            self.application.is_none_or(|allow| allow.fit(name))
                && self.extras().all(|extras| extras.allows_tool(self.route_name, name))
        };
        match kind {
            Offered::Tool => self.rules.tools.admit(name) && of_caller(),
            Offered::Prompt => self.rules.prompts.admit(name),
            Offered::Resource => self.rules.resources.admit_uri(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy_tests::World;
    use proptest::prelude::*;

    fn patterns(all: &[&str]) -> Patterns {
        Patterns::compile(&all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        let check =
            |pattern: &str, name: &str, expect| assert_eq!(patterns(&[pattern]).fit(name), expect, "{pattern} {name}");
        check("get_issue", "get_issue", true);
        check("get_issue", "get_issues", false);
        check("get_issue", "Get_issue", false);
        check("get_*", "get_", true);
        check("get_*", "forget_x", false);
        check("*_secret*", "list_secrets_now", true);
        check("a*b*c", "abbbc", true);
        check("a*b*c", "abbb", false);
        check("*", "", true);
        check("**", "x", true);
        check("", "x", false);
        check("repo://*/issues", "repo://a/b/issues", true);
        check("a?c", "abc", false);
        // Time is bounded: this would take for ever if every star were tried anew.
        assert!(!patterns(&[&"*a".repeat(500)]).fit(&"a".repeat(400)));
    }

    proptest! {
        #[test]
        fn patterns_fit_what_the_plain_rule_says(pattern in "[ab*]{0,8}", name in "[ab]{0,8}") {
            fn plain(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern, name) {
                    ([], rest) => rest.is_empty(),
                    ([b'*', more @ ..], _) => (0..=name.len()).any(|n| plain(more, &name[n..])),
                    ([a, more @ ..], [b, rest @ ..]) => a == b && plain(more, rest),
                    ([_, ..], []) => false,
                }
            }
            prop_assert_eq!(patterns(&[&pattern]).fit(&name), plain(pattern.as_bytes(), name.as_bytes()));
        }
    }

    fn rules(json: serde_json::Value) -> McpRules {
        McpRules::compile(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn what_is_denied_is_refused_whatever_allows_it() {
        let world = World::new("checkout: routes orders");
        let key = world.key(|_| {});
        let rules =
            rules(serde_json::json!({ "tools": { "allow": ["get_*"], "deny": ["get_secret*"] }, "prompts": {} }));
        let grant = world.mcp(&rules, "orders", &key);
        let tool = |name| grant.allows(Offered::Tool, name);
        assert!(
            tool("get_issue") && !tool("drop") && !tool("get_secrets") && !tool("get_SECRETS") && !tool("GET_issue")
        );
        assert!(grant.allows(Offered::Prompt, "x") && grant.allows(Offered::Resource, "a:1"));
        assert!(grant.governs(Offered::Tool) && !grant.governs(Offered::Prompt) && !grant.governs(Offered::Resource));
        let nothing = self::rules(serde_json::json!({ "resources": { "allow": [] } }));
        let grant = world.mcp(&nothing, "orders", &key);
        assert!(grant.governs(Offered::Resource) && !grant.allows(Offered::Resource, "a:1"));
    }

    #[test]
    fn what_servers_read_past_in_a_uri_neither_allows_nor_hides_it() {
        let world = World::new("checkout: routes orders");
        let key = world.key(|_| {});
        let rules = rules(serde_json::json!({ "resources": {
            "allow": ["file:///srv/*.txt", "file:///srv/pub/*", "db://t?q=*"],
            "deny": ["file:///srv/*secret.txt", "*token*"],
        } }));
        let grant = world.mcp(&rules, "orders", &key);
        let allows = |uri| grant.allows(Offered::Resource, uri);
        for allowed in ["file:///srv/a.txt", "file:///srv/pub/", "file:///srv/pub/a?b", "db://t?q=1"] {
            assert!(allows(allowed), "{allowed}");
        }
        for refused in [
            "file:///srv/key?.txt",
            "file:///srv/key#.txt",
            "file:///srv/secret.txt",
            "file:///srv/secret.txt?a.txt",
            "file:///srv/secret.txt#a.txt",
            "file:///srv/pub/SECRET.txt/",
            "file:///srv/pub/a?token",
            "db://t",
        ] {
            assert!(!allows(refused), "{refused}");
        }
    }

    #[test]
    fn applications_and_keys_only_narrow_the_tools_of_a_route() {
        let world = World::new("checkout: routes orders chat, tools orders get_*");
        let rules = rules(serde_json::json!({ "tools": { "allow": ["get_*", "put"] } }));
        let none = self::rules(serde_json::json!({}));
        let key = world.key(|_| {});
        let grant = world.mcp(&rules, "orders", &key);
        assert!(grant.allows(Offered::Tool, "get_x") && !grant.allows(Offered::Tool, "put"));
        assert!(grant.allows(Offered::Prompt, "put"), "prompts are not narrowed");
        let grant = world.mcp(&none, "orders", &key);
        assert!(grant.governs(Offered::Tool) && !grant.allows(Offered::Tool, "put"));
        let grant = world.mcp(&rules, "chat", &key);
        assert!(grant.allows(Offered::Tool, "put"), "another route is not narrowed");

        let narrowed = world.key(|key| {
            let mut allow = crate::policy_tests::allow(&["orders", "chat"], &[]);
            allow.tools.insert("orders".parse().unwrap(), vec!["*_x".to_owned(), "put".to_owned()]);
            allow.tools.insert("chat".parse().unwrap(), vec![]);
            key.allow = Some(allow);
        });
        let grant = world.mcp(&rules, "orders", &narrowed);
        assert!(grant.allows(Offered::Tool, "get_x"));
        assert!(!grant.allows(Offered::Tool, "put") && !grant.allows(Offered::Tool, "get_y"));
        let grant = world.mcp(&none, "chat", &narrowed);
        assert!(grant.governs(Offered::Tool) && !grant.allows(Offered::Tool, "get_x"));
        let grant = world.mcp(&none, "chat", &Principal::Anonymous);
        assert!(!grant.governs(Offered::Tool) && grant.allows(Offered::Tool, "x"));
    }
}
