//! The commands, one file each, and what they share: how they are run and how they end.

pub mod apply;
pub mod audit;
mod biography;
mod blast_radius;
pub mod budget;
pub mod calls;
pub mod certificate;
pub mod check;
pub mod credential;
pub mod export;
mod files;
pub mod guardrail;
pub mod init;
pub mod inventory;
pub mod key;
pub mod leak;
pub mod lease;
pub mod migrate;
pub mod model;
mod model_route;
pub mod openapi;
pub mod operator;
pub mod plan;
pub mod prompt;
pub mod reference;
pub mod resource;
mod rotation;
pub mod run;
pub mod seal;
pub mod server;
pub mod spend;
pub mod status;
pub mod unseal;
pub mod version;

use crate::{
    cli::{Cli, Command},
    client::Refused,
    output::{Output, shown},
    settings::SettingsError,
};
use credentialflow_model::Problem;
use serde_json::{Value, json};
use std::{fmt, process::ExitCode, time::Duration};

/// How a command that ran to its end ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It found what it was asked to find out, and that is a refusal; it is told already.
    Refused,
    /// The program that it ran ended with this exit code.
    Code(u8),
}

/// The command cannot be understood as given. Exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// How long a thread for what blocks waits for more of it. The allocator needs a second to see that memory stays free.
const IDLE_THREAD: Duration = Duration::from_secs(2);

/// Runs a command to its end.
pub fn run(cli: Cli) -> ExitCode {
    let output = Output::new(cli.output);
    let mut builder = match &cli.command {
        Command::Server(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    // Memory that was freed goes back to the system when a thread ends, and that of a start is half of what a server that
    // is asked nothing would hold.
    builder.thread_keep_alive(IDLE_THREAD);
    let ended = match builder.enable_all().build() {
        Ok(runtime) => runtime.block_on(dispatch(cli.command, output)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(1),
        Ok(Outcome::Code(code)) => ExitCode::from(code),
        Err(error) => {
            tell_failure(&error, output);
            let wrong_usage = error.is::<Usage>() || error.is::<SettingsError>();
            ExitCode::from(if wrong_usage { 2 } else { 1 })
        }
    }
}

async fn dispatch(command: Command, output: Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Server(args) => server::run(*args).await,
        Command::Init(args) => init::run(args, output).await,
        Command::Unseal(args) => unseal::run(args, output).await,
        Command::Seal(args) => seal::run(args, output).await,
        Command::Operator(args) => operator::run(*args, output).await,
        Command::Check(args) => check::run(args, output),
        Command::Plan(args) => plan::run(args, output).await,
        Command::Apply(args) => apply::run(args, output).await,
        Command::Export(args) => export::run(args, output).await,
        Command::Key(args) => key::run(args, output).await,
        Command::Credential(args) => credential::run(args, output).await,
        Command::Budget(args) => budget::run(args, output).await,
        Command::Spend(args) => spend::run(*args, output).await,
        Command::Certificate(args) => certificate::run(args, output).await,
        Command::Route(args) => resource::run(args, &resource::ROUTES, output).await,
        Command::Application(args) => resource::run(args, &resource::APPLICATIONS, output).await,
        Command::Upstream(args) => resource::run(args, &resource::UPSTREAMS, output).await,
        Command::Target(args) => resource::run(args, &resource::TARGETS, output).await,
        Command::Store(args) => resource::run(args, &resource::STORES, output).await,
        Command::Guardrail(args) => guardrail::run(args, output).await,
        Command::Model(args) => model::run(args, output).await,
        Command::Prompt(args) => prompt::run(args, output).await,
        Command::Team(args) => resource::run(args, &resource::TEAMS, output).await,
        Command::Run(args) => run::run(args).await,
        Command::Inventory(args) => inventory::run(args, output).await,
        Command::Leak(args) => leak::run(args, output).await,
        Command::Lease(args) => lease::run(args, output).await,
        Command::Calls(args) => calls::run(*args, output).await,
        Command::Audit(args) => audit::run(args, output).await,
        Command::Migrate(args) => migrate::run(args, output).await,
        Command::Status(args) => status::run(args, output).await,
        Command::Openapi => openapi::run(output),
        Command::Version => version::run(output),
        Command::Reference(args) => reference::run(&args, output),
    }
}

/// Tells a failure where failures are told.
fn tell_failure(error: &anyhow::Error, output: Output) {
    let (value, text) = told(error);
    output.failure(&value, &text);
}

/// A failure as problem details and as text: what happened, what to do, and every problem at its place.
fn told(error: &anyhow::Error) -> (Value, String) {
    if let Some(refused) = error.downcast_ref::<Refused>() {
        let mut text = format!("{refused}\n");
        for problem in refused.problem.get("problems").and_then(Value::as_array).into_iter().flatten() {
            match serde_json::from_value::<Problem>(problem.clone()) {
                Ok(problem) => text.push_str(&format!("{}\n", shown(&problem.to_string()))),
                Err(_) => text.push_str(&format!("{}\n", shown(&problem.to_string()))),
            }
        }
        if let Some(hint) = refused.problem.get("hint").and_then(Value::as_str) {
            text.push_str(&format!("{}\n", shown(hint)));
        }
        return (refused.problem.clone(), text);
    }
    let text = format!("{error:#}");
    (json!({ "title": "The command failed", "detail": text }), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn problems_of_the_server_are_told_with_their_places() {
        let problem = json!({
            "code": "invalid_resources", "detail": "the resources have problems", "hint": "mend them",
            "problems": [{ "file": "a.yaml", "at": { "line": 3, "column": 5 }, "path": "routes[0].upstream",
                "code": "unknown_name", "detail": "`b` is not declared", "hint": "declare it" }],
        });
        let error = Refused { status: StatusCode::UNPROCESSABLE_ENTITY, problem: problem.clone() }.into();
        let (value, text) = told(&error);
        assert_eq!(value, problem);
        assert_eq!(
            text,
            "the resources have problems\na.yaml:3:5: routes[0].upstream: `b` is not declared (declare it)\nmend them\n"
        );
    }
}
