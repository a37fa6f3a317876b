//! The command line: every subcommand, and the options they share. Behaviour is in `command/`.

use crate::{command, settings::Settings};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// One credential in, the real one injected, every use recorded.
#[derive(Parser)]
#[command(name = "credentialflow", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage.")]
pub struct Cli {
    /// How results are written
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub output: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document, or one a line where the output has no end.
    Json,
}

/// The subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Run the gateway and the control plane
    Server(Box<command::server::ServerArgs>),
    /// Create the data directory, the database and the vault; prints the administrator's token once
    Init(command::init::InitArgs),
    /// Unseal the vault of a running server
    Unseal(command::unseal::UnsealArgs),
    /// Seal the vault of a running server: forget every opened key
    Seal(command::seal::SealArgs),
    /// Change who can unseal, and exchange the keys above the values
    Operator(Box<command::operator::OperatorArgs>),
    /// Check configuration files without a server; every problem at once
    Check(command::check::CheckArgs),
    /// Show what applying configuration files would change
    Plan(command::plan::PlanArgs),
    /// Make a running server be as configuration files declare
    Apply(command::apply::ApplyArgs),
    /// Write everything declared as one configuration file
    Export(command::export::ExportArgs),
    /// Keys issued to applications
    Key(command::key::KeyArgs),
    /// Credentials held for upstreams
    Credential(command::credential::CredentialArgs),
    /// Budgets: what may be spent on models, and what is
    Budget(command::budget::BudgetArgs),
    /// What model calls cost, by who called what and when
    Spend(Box<command::spend::SpendArgs>),
    /// Certificates: those that pass through, and those of our own authorities
    Certificate(command::certificate::CertificateArgs),
    /// Routes: what callers see
    Route(command::resource::ResourceArgs),
    /// Applications: parties that call
    Application(command::resource::ResourceArgs),
    /// Upstreams: where requests go
    Upstream(command::resource::ResourceArgs),
    /// Targets: systems in which credentials live
    Target(command::resource::ResourceArgs),
    /// Stores: external stores of secrets to read from and write to
    Store(command::resource::ResourceArgs),
    /// Guardrails: rules for what is said to models and what they answer, which models share
    Guardrail(command::guardrail::GuardrailArgs),
    /// Models: public names and what serves them
    Model(command::model::ModelArgs),
    /// Prompts: what is said to models, in versions
    Prompt(command::prompt::PromptArgs),
    /// Teams: who owns things
    Team(command::resource::ResourceArgs),
    /// Run a program with secrets in its environment
    Run(command::run::RunArgs),
    /// Every credential in one inventory, and what is wrong with it
    Inventory(command::inventory::InventoryArgs),
    /// Secrets of ours that were found where they must not be
    Leak(command::leak::LeakArgs),
    /// Logins and certificates that the run-time API handed out
    Lease(command::lease::LeaseArgs),
    /// The call log
    Calls(Box<command::calls::CallsArgs>),
    /// The audit log
    Audit(command::audit::AuditArgs),
    /// Bring the database's tables to this version
    Migrate(command::migrate::MigrateArgs),
    /// See how a running server is doing
    Status(command::status::StatusArgs),
    /// Print the admin API's OpenAPI document
    Openapi,
    /// Print the version
    Version,
    /// Print the reference of the command line or of the settings, as Markdown
    #[command(hide = true)]
    Reference(command::reference::ReferenceArgs),
}

/// How to reach a running server.
#[derive(Args, Clone, Debug)]
pub struct Connection {
    /// The control listener of the server
    #[arg(
        long,
        global = true,
        env = "CREDENTIALFLOW_SERVER",
        hide_env = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8081"
    )]
    pub server: String,
    /// File with the administrator's token; otherwise the variable CREDENTIALFLOW_TOKEN
    #[arg(long, global = true, env = "CREDENTIALFLOW_TOKEN_FILE", hide_env = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust beside the public ones
    #[arg(long, global = true, env = "CREDENTIALFLOW_CA_FILE", hide_env = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Send the token without TLS to a server that is not on this machine all the same
    #[arg(long, global = true)]
    pub allow_plaintext_server: bool,
}

/// Which local installation a command works on.
#[derive(Args, Clone)]
pub struct Local {
    /// Settings file of the server (YAML)
    #[arg(long, env = "CREDENTIALFLOW_CONFIG", hide_env = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory in which everything local is kept
    #[arg(long, env = "CREDENTIALFLOW_DATA_DIR", hide_env = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The database: sqlite:PATH or postgres://USER@HOST/NAME
    #[arg(long, env = "CREDENTIALFLOW_DATABASE", hide_env = true, value_name = "URL")]
    pub database: Option<String>,
}

impl Local {
    /// The settings of that installation.
    pub fn settings(self) -> Result<crate::settings::ServerSettings, crate::settings::SettingsError> {
        let given = Settings { data_dir: self.data_dir, database: self.database, ..Settings::default() };
        given.resolve(self.config.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_flag_takes_a_secret() {
        fn walk(command: &clap::Command) {
            for arg in command.get_arguments() {
                let name = arg.get_long().unwrap_or_default();
                let secret = ["token", "secret", "passphrase", "password", "value"].contains(&name);
                assert!(!secret, "--{name} of {} would show in process listings", command.get_name());
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }
}
