//! Routes to servers of the Model Context Protocol, compiled.

use credentialflow_model::resource::Mcp;
use credentialflow_policy::McpRules;
use std::time::Duration;

/// What such a route says.
pub(crate) struct McpPlan {
    /// What it offers of the server.
    pub rules: McpRules,
    /// The origins of web pages that may call.
    pub origins: Box<[Box<str>]>,
    /// The longest pause in a stream of the server's own.
    pub stream_idle: Duration,
}

impl McpPlan {
    pub(super) fn compile(mcp: &Mcp) -> Box<Self> {
        Box::new(Self {
            rules: McpRules::compile(mcp),
            origins: mcp.origins.iter().map(|origin| origin.as_str().into()).collect(),
            stream_idle: mcp.stream_idle.unwrap_or(Mcp::STREAM_IDLE).as_duration(),
        })
    }
}
