//! What people and CI run in this repository: `cargo xtask quickstart`, `test`, `bench` and a few
//! smaller ones, one file each.
//!
//! Uses the product only as its users do, through the built binary and HTTP; depends on none of the
//! workspace's crates, so that it builds in seconds.

mod bench;
mod guard;
mod guardrails;
mod http;
mod need;
mod openapi;
mod product;
mod quickstart;
mod repo;
mod say;
mod test;
mod web;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Builds, tries, tests and measures Credentialflow.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and run the main job once, with nothing outside this machine.
    Quickstart(quickstart::Args),
    /// Run everything that must stay green.
    Test(test::Args),
    /// Measure the product, most of it beside nginx in the same run.
    Bench(bench::Args),
    /// Measure the guardrails on public corpora.
    Guardrails(guardrails::Args),
    /// Build the web console into web/dist.
    Web(web::Args),
    /// Write openapi/ and the web console's client again from the code.
    Openapi(openapi::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Quickstart(args) => quickstart::run(&args).map(|()| true),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args).map(|()| true),
        Command::Guardrails(args) => guardrails::run(&args),
        Command::Web(args) => web::run(&args).map(|()| true),
        Command::Openapi(args) => openapi::run(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
