//! `credentialflow init`: creates the data directory, the database and the vault.
//!
//! The administrator's token is printed once, or written to a file; only its keyed hash is kept. A
//! second `init` changes nothing and is refused.

use super::Outcome;
use crate::{
    cli::Local,
    input,
    output::{Output, at},
    settings::DEVELOPMENT_KEY,
};
use anyhow::{Context, bail};
use credentialflow_model::Actor;
use credentialflow_store::Store;
use credentialflow_vault::{SealInput, Vault, seal::environment};
use serde_json::json;
use std::{
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Create the data directory, the database and the vault
#[derive(clap::Args)]
pub struct InitArgs {
    #[command(flatten)]
    local: Local,
    #[command(flatten)]
    seal: SealBy,
    /// Write the administrator's token into this new file (mode 0600) instead of printing it
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
}

/// What unseals the new vault.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct SealBy {
    /// Unseal by the passphrase on the first line of this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Unseal by a passphrase read from standard input; a terminal is asked twice, without echo
    #[arg(long)]
    passphrase_stdin: bool,
    /// Unseal by this key file; created (mode 0600) if it does not exist
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// For trying out: unseal by CREDENTIALFLOW_UNSEAL_KEY, or else by a key file beside the data
    #[arg(long)]
    development: bool,
}

impl SealBy {
    fn input(self, data_dir: &Path) -> anyhow::Result<SealInput> {
        if let Some(file) = self.passphrase_file {
            return Ok(SealInput::Passphrase(input::first_line(&file)?));
        }
        if self.passphrase_stdin {
            return Ok(SealInput::Passphrase(input::line_or_prompt("passphrase", true)?));
        }
        if let Some(file) = self.key_file {
            return Ok(SealInput::KeyFile(std::path::absolute(file)?));
        }
        Ok(environment::from_process().unwrap_or_else(|| SealInput::KeyFile(data_dir.join(DEVELOPMENT_KEY))))
    }
}

pub(super) async fn run(args: InitArgs, output: Output) -> anyhow::Result<Outcome> {
    let settings = args.local.settings()?;
    private_dir(&settings.data_dir)?;
    let store = Store::connect(&settings.database).await.context("the database cannot be opened")?;
    store.migrate().await.context("the database cannot be migrated")?;
    // Asked first, so that nobody types a passphrase for nothing and no key file is made.
    if Vault::open_sealed(&store).await.is_ok() {
        bail!("{} is initialised already; nothing was changed", settings.data_dir.display());
    }
    if let Some(path) = &args.admin_token_file
        && path.exists()
    {
        bail!("{} exists already; nothing was changed", path.display());
    }
    let input = args.seal.input(&settings.data_dir)?;
    let method = match &input {
        SealInput::Passphrase(_) => "passphrase".to_owned(),
        SealInput::KeyFile(path) => path.display().to_string(),
        SealInput::Environment(_) | SealInput::Key(_) => "CREDENTIALFLOW_UNSEAL_KEY".to_owned(),
        SealInput::Shares(_) => "shares".to_owned(),
        SealInput::External => "external".to_owned(),
    };
    let made = Vault::init(&store, &Actor::operator(), input).await?;
    let token = made.admin_token.expose_str().context("the administrator's token is not text")?.to_owned();
    let mut result = json!({
        "data_dir": settings.data_dir, "seal": made.vault.seal_method()?, "admin_token": token,
    });
    if let Some(path) = &args.admin_token_file
        && let Some(object) = result.as_object_mut()
    {
        input::write_private(path, &made.admin_token)?;
        object.remove("admin_token");
        object.insert("admin_token_file".to_owned(), json!(path));
    }
    store.close().await;
    output.result(&result, |result| {
        let token = match args.admin_token_file {
            Some(path) => format!("Administrator's token: written to {}\n", path.display()),
            None => format!("Administrator's token (shown this once): {}\n", at(result, "/admin_token")),
        };
        format!(
            "Initialised {}\nUnsealed by: {method}\n{token}Next: credentialflow server --data-dir {}\n",
            at(result, "/data_dir"),
            at(result, "/data_dir"),
        )
    })?;
    Ok(Outcome::Done)
}

/// The directory, readable by its owner only.
fn private_dir(path: &Path) -> anyhow::Result<()> {
    let failed = || format!("the data directory {} cannot be created", path.display());
    if !path.is_dir() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(failed)?;
    }
    let mode = std::fs::metadata(path).with_context(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
            .with_context(|| format!("others may read {}; run `chmod 700` on it", path.display()))?;
    }
    Ok(())
}
