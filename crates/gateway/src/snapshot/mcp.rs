//! Routes to servers of the Model Context Protocol, compiled.

use credentialflow_llm::guardrail::Guardrails;
use credentialflow_model::resource::Mcp;
use credentialflow_policy::McpRules;
use std::{sync::Arc, time::Duration};

/// What such a route says.
pub(crate) struct McpPlan {
    /// What it offers of the server.
    pub rules: McpRules,
    /// The origins of web pages that may call.
    pub origins: Box<[Box<str>]>,
    /// The longest pause in a stream of the server's own.
    pub stream_idle: Duration,
    /// The servers, where there are several behind the one address.
    pub servers: Vec<McpServerPlan>,
    /// What is looked for in arguments and results, or why that cannot be.
    pub guardrails: Option<Result<Arc<Guardrails>, String>>,
    /// How long each of them is waited for where all are asked.
    pub server_timeout: Duration,
}

/// One of several servers.
pub(crate) struct McpServerPlan {
    /// What its names begin with.
    pub name: Arc<str>,
    /// Where it is.
    pub upstream: u32,
}

impl McpPlan {
    /// Without its several servers and its guardrails, which the compiler knows.
    pub(super) fn compile(mcp: &Mcp) -> Box<Self> {
        Box::new(Self {
            rules: McpRules::compile(mcp),
            origins: mcp.origins.iter().map(|origin| origin.as_str().into()).collect(),
            stream_idle: mcp.stream_idle.unwrap_or(Mcp::STREAM_IDLE).as_duration(),
            servers: Vec::new(),
            guardrails: None,
            server_timeout: mcp.server_timeout.unwrap_or(Mcp::SERVER_TIMEOUT).as_duration(),
        })
    }

    /// The place of one of several servers.
    pub fn server(&self, name: &str) -> Option<usize> {
        self.servers.iter().position(|server| *server.name == *name)
    }
}
