//! What the gateway promises, shown over real sockets: a gateway in this process, fake upstreams whose
//! every byte the tests decide, callers that behave well or badly, and the records of all of it.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod answers;
mod asked_guardrails;
mod authentication;
mod batches;
mod bedrock;
mod bodies;
mod budgets;
mod cache;
mod callers;
mod certificates;
mod challenges;
mod change;
mod claude_at_vertex;
mod clouds;
mod counting;
mod dry_runs;
mod fallback;
mod files;
mod gemini;
mod gemini_files;
mod guard;
mod guarded_answers;
mod guardrails;
mod harness;
mod http2;
mod key_refused;
mod limits;
mod live;
mod mcp;
mod mcp_guardrails;
mod mcp_servers;
mod memory;
mod messages;
mod messages_to_chat;
mod models;
mod pages;
mod pools;
mod prompts;
mod realtime;
mod replicate;
mod responses;
mod retries;
mod routing;
mod secrets;
mod shared_accounts;
mod streamed_prompts;
mod targets;
mod tasks;
mod tls;
mod topics;
mod upstreams;
mod users;
mod websocket;
