//! Servers of the Model Context Protocol (MCP) behind routes: which of their tools, prompts and resources are offered.

use super::Guardrail;
use crate::{Name, Period};
use serde::{Deserialize, Serialize};

/// What a server of the Model Context Protocol offers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offered {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource, or a template of resources, by its URI.
    Resource,
}

/// Makes a route one to a server of the Model Context Protocol (MCP) over Streamable HTTP. Its requests go to the address
/// of an endpoint as it stands; what callers post is read, and lists of what the server offers show what they may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mcp {
    /// Several servers behind the one address, in place of the route's `upstream`. What they offer is merged: callers call
    /// tools and prompts by the server's name, `__` and their own, as in `github__create_issue`, and resources by the
    /// server's name, `+` and their URI, as in `github+repo://our-org/a`. Patterns are compared with these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<McpServer>,
    /// How long each of several servers is waited for where all of them are asked; 1s to 5m, 10s unless set. What does not
    /// answer by then is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_timeout: Option<Period>,
    /// Which tools are offered, by name. All of the server's unless set. `allow.tools` of applications and keys narrows
    /// this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<McpNames>,
    /// Which prompts are offered, by name. All unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<McpNames>,
    /// Which resources are offered, by URI; templates of resources by the template. All unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<McpNames>,
    /// Sets of rules under `guardrails` that hold for what tools are called with and what servers answer with, before the
    /// route's own and in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub use_guardrails: Vec<Name>,
    /// What is looked for in what tools are called with (`on: prompt`) and in what servers answer with (`on: answer`), and
    /// what happens where it is found: `block`, `redact` or `flag`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guardrails: Vec<Guardrail>,
    /// Methods beyond those of the protocol itself that pass, as in `tasks/*`; `*` stands for any characters. What they
    /// name is not looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Web pages that may call, by origin, as in `https://console.example.com`. Requests of all others are refused; those
    /// of programs name no origin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// The longest pause in a stream on which a server sends what nobody asked for just now; 1s to 1d, 1h unless set. In
    /// other answers it is the upstream's `timeouts.idle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_idle: Option<Period>,
}

impl Mcp {
    /// All rules that hold for it, in their order, each with the name of its set; `find` gives the rules of a set. What
    /// is not found is left out.
    pub fn rules<'s>(
        &'s self,
        find: impl Fn(&Name) -> Option<&'s [Guardrail]>,
    ) -> impl Iterator<Item = (Option<&'s Name>, &'s Guardrail)> {
        super::guardrail::rules(&self.use_guardrails, &self.guardrails, find)
    }

    /// Patterns of one list.
    pub const MOST_PATTERNS: usize = 1000;
    /// Characters of one pattern.
    pub const LONGEST_PATTERN: usize = 1024;
    /// The pause where none is set.
    pub const STREAM_IDLE: Period = Period::from_secs(3600);
    /// Servers behind one address.
    pub const MOST_SERVERS: usize = 16;
    /// Characters of a server's name.
    pub const LONGEST_SERVER: usize = 32;
    /// How long one of several servers is waited for where nothing is set.
    pub const SERVER_TIMEOUT: Period = Period::from_secs(10);
}

/// One of several servers behind an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct McpServer {
    /// What the names of all that it offers begin with: 1 to 32 characters from `a-z 0-9 -`, the first one a letter.
    pub name: Name,
    /// Where it is. Its credential is the upstream's.
    pub upstream: Name,
}

/// Which names are offered. Of each pattern, `*` stands for any characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct McpNames {
    /// Only these. An empty list offers nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// None of these, whatever `allow` says; letters are compared without case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}
