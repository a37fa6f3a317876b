//! `credentialflow server`: runs the gateway and the control plane until told to stop.

use super::Outcome;
use crate::log::{Lines, LogGuard};
use crate::settings::{ServerSettings, Settings, SettingsError};
use std::{io::IsTerminal, path::PathBuf, sync::Arc};
use tracing_subscriber::EnvFilter;

/// Run the gateway and the control plane
#[derive(clap::Args)]
pub struct ServerArgs {
    /// Settings file (YAML); variables and flags go before it
    #[arg(long, env = "CREDENTIALFLOW_CONFIG", hide_env = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: ServerArgs) -> anyhow::Result<Outcome> {
    let settings = args.settings.resolve(args.config.as_deref())?;
    let log = start_log(&settings)?;
    crate::server::run(settings, log).await?;
    Ok(Outcome::Done)
}

/// Log lines go to standard error, without secrets of ours; results never do.
fn start_log(settings: &ServerSettings) -> Result<Arc<LogGuard>, SettingsError> {
    let filter = EnvFilter::try_new(&settings.log)
        .map_err(|error| SettingsError::Invalid(format!("the setting log cannot be read: {error}")))?;
    let guard = Arc::<LogGuard>::default();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines(guard.clone()));
    if settings.log_json {
        log.json().flatten_event(true).init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(guard)
}
