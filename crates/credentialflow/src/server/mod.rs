//! The composition root: the only place where control plane and data plane meet.

mod acme;
mod batches;
mod budgets;
mod certificates;
mod control;
mod copy;
mod credentials;
mod dataplane;
mod delta;
mod guards;
mod jobs;
mod marks;
mod model_calls;
mod nodes;
mod notices;
mod oauth;
mod opening;
mod ports;
mod run_time;
mod runtime;
mod sandbox;
mod sealing;
mod sent;
mod spend;
mod start;
mod state;
mod supply;
mod tokens;
mod traffic;
mod uses;
mod verify;

pub use start::run;
