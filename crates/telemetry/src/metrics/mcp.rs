//! What was asked of MCP servers: by route, method and tool, and how it ended.

use credentialflow_model::{
    UsageRecord,
    usage::{McpEnd, McpUse},
};
use prometheus_client::{
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};
use std::{collections::HashMap, fmt, sync::Arc};

/// Sets of labels; what comes after them is counted without its tool, and without its method.
const MOST: usize = 2000;
/// What stands for methods and tools that have no set of labels of their own.
const OTHER: &str = "other";

type Labels = (Arc<str>, Box<str>, Box<str>, &'static str);

/// The numbers by their labels.
#[derive(Debug, Default)]
pub(super) struct McpFigures(HashMap<Labels, u64>);

impl McpFigures {
    /// Counts a request, if it is one.
    pub fn add(&mut self, record: &UsageRecord) {
        let (Some(used), Some(route)) = (&record.mcp, &record.route) else { return };
        let McpUse { method, name, end, .. } = &**used;
        let (end, answered) = match end {
            _ if !record.outcome.let_through() => ("refused", false),
            McpEnd::Result => ("result", true),
            McpEnd::ToolFailed => ("tool_failed", true),
            McpEnd::Error(_) => ("error", false),
        };
        // Names that only callers have made up, no server answers with a result.
        let tool = name.as_deref().filter(|_| answered && **method == *"tools/call").unwrap_or_default();
        let method = if answered { method.as_ref() } else { known(method) };
        let full = self.0.len() >= MOST;
        let mut labels: Labels = (route.clone(), method.into(), tool.into(), end);
        if full && !self.0.contains_key(&labels) {
            let tool = if tool.is_empty() { "" } else { OTHER };
            labels = (route.clone(), known(method).into(), tool.into(), end);
        }
        *self.0.entry(labels).or_default() += 1;
    }

    /// Writes them.
    pub fn encode(&self, e: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Messages posted to MCP servers by method, tool and how they ended";
        let mut m = e.encode_descriptor("mcp_requests", help, None, MetricType::Counter)?;
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_unstable();
        for ((route, method, tool, end), n) in all {
            let labels = [("route", &**route), ("method", &**method), ("tool", &**tool), ("end", *end)];
            m.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(n, None)?;
        }
        Ok(())
    }
}

/// A method of the protocol that names or lists something; any other one is made up, or of an extension.
fn known(method: &str) -> &str {
    let kinds = ["tools/", "prompts/", "resources/", "notifications/"];
    let alone =
        ["initialize", "ping", "server/discover", "subscriptions/listen", "completion/complete", "logging/setLevel"];
    let listed = [
        "call",
        "list",
        "get",
        "read",
        "subscribe",
        "unsubscribe",
        "templates/list",
        "initialized",
        "cancelled",
        "progress",
    ];
    let named = kinds.iter().any(|kind| method.strip_prefix(kind).is_some_and(|rest| listed.contains(&rest)));
    if named || alone.contains(&method) { method } else { OTHER }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::Metrics, testing::plain};
    use credentialflow_model::OutcomeReason;

    fn posted(route: &str, method: &str, name: &str, end: McpEnd, outcome: OutcomeReason) -> UsageRecord {
        let used = McpUse { method: method.into(), name: Some(name.into()), end, guardrails: None };
        UsageRecord { route: Some(route.into()), mcp: Some(Box::new(used)), outcome, ..plain(1) }
    }

    #[test]
    fn tools_are_counted_and_made_up_names_are_not_kept() {
        use OutcomeReason::{McpNotAllowed, Served};
        let metrics = Metrics::new(Arc::default());
        for n in 0..3 * MOST {
            let mut tables = metrics.lock();
            let add = |tables: &mut super::super::Tables, record| tables.mcp.add(&record);
            add(&mut tables, posted("r", "tools/call", "add", McpEnd::Result, Served));
            add(&mut tables, posted("r", "tools/call", "add", McpEnd::ToolFailed, Served));
            add(&mut tables, posted("r", "tools/call", &format!("made-up-{n}"), McpEnd::Error(-32602), Served));
            add(&mut tables, posted("r", &format!("made-up/{n}"), "x", McpEnd::Result, McpNotAllowed));
            add(&mut tables, posted("r", "tools/call", &format!("many-{n}"), McpEnd::Result, Served));
            assert!(tables.mcp.0.len() <= MOST + 8);
        }
        let text = metrics.render();
        for line in [
            "credentialflow_mcp_requests_total{route=\"r\",method=\"tools/call\",tool=\"add\",end=\"result\"} 6000",
            "credentialflow_mcp_requests_total{route=\"r\",method=\"tools/call\",tool=\"add\",end=\"tool_failed\"} 6000",
            "credentialflow_mcp_requests_total{route=\"r\",method=\"tools/call\",tool=\"\",end=\"error\"} 6000",
            "credentialflow_mcp_requests_total{route=\"r\",method=\"other\",tool=\"\",end=\"refused\"} 6000",
            "credentialflow_mcp_requests_total{route=\"r\",method=\"tools/call\",tool=\"other\",end=\"result\"} 4004",
        ] {
            assert!(text.lines().any(|l| l == line), "missing {line}");
        }
        assert!(!text.contains("made-up"));
    }
}
