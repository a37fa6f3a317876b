//! `credentialflow init`: creates the data directory, the database and the vault.
//!
//! The administrator's token and the shares are printed once, or written to files; only a keyed hash of
//! the token is kept, and nothing of the shares. A second `init` changes nothing and is refused.

use super::Outcome;
use crate::{
    cli::Local,
    input,
    output::{Output, at},
    settings::DEVELOPMENT_KEY,
};
use anyhow::{Context, bail};
use credentialflow_kms::KeyServices;
use credentialflow_model::Actor;
use credentialflow_store::Store;
use credentialflow_vault::{
    NewSeal, SealInput, Vault,
    seal::{
        environment,
        external::{ExternalKey, KeyService},
        shamir::Quorum,
    },
};
use serde_json::json;
use std::{
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Create the data directory, the database and the vault
#[derive(clap::Args)]
pub struct InitArgs {
    #[command(flatten)]
    local: Local,
    #[command(flatten)]
    seal: SealBy,
    /// How many of the shares unseal; unless said a bit more than half, as in 3 of 5
    #[arg(long, value_name = "NUMBER", requires = "shares")]
    threshold: Option<u8>,
    /// Write each share into a new file of its own (mode 0600) in this directory instead of printing it
    #[arg(long, value_name = "DIR", requires = "shares")]
    shares_dir: Option<PathBuf>,
    /// The region of the AWS KMS key, as in eu-central-1
    #[arg(long, value_name = "REGION", requires = "aws_kms_key")]
    aws_region: Option<String>,
    /// Where the transit engine is mounted
    #[arg(long, value_name = "PATH", requires = "transit_key", default_value = "transit")]
    transit_mount: String,
    /// The namespace of the transit engine
    #[arg(long, value_name = "NAMESPACE", requires = "transit_key")]
    transit_namespace: Option<String>,
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
    /// Unseal by shares held by several people (Shamir), so many of them; 5 unless said
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, default_missing_value = "5")]
    shares: Option<u8>,
    /// Unseal by this key of AWS KMS (id, ARN or alias); credentials come from the AWS_* variables
    #[arg(long, value_name = "KEY", requires = "aws_region")]
    aws_kms_key: Option<String>,
    /// Unseal by this key of a transit engine; server and token come from BAO_ADDR and BAO_TOKEN
    #[arg(long, value_name = "KEY")]
    transit_key: Option<String>,
    /// For trying out: unseal by CREDENTIALFLOW_UNSEAL_KEY, or else by a key file beside the data
    #[arg(long)]
    development: bool,
}

impl InitArgs {
    fn seal(&self, data_dir: &Path) -> anyhow::Result<NewSeal> {
        let by = &self.seal;
        let input = if let Some(shares) = by.shares {
            let quorum = match self.threshold {
                Some(threshold) => Quorum::new(shares, threshold),
                None => Quorum::majority(shares),
            };
            return Ok(NewSeal::Shares(quorum?));
        } else if let (Some(key_id), Some(region)) = (&by.aws_kms_key, &self.aws_region) {
            return Ok(NewSeal::External(ExternalKey::AwsKms { key_id: key_id.clone(), region: region.clone() }));
        } else if let Some(key) = by.transit_key.clone() {
            let (mount, namespace) = (self.transit_mount.clone(), self.transit_namespace.clone());
            return Ok(NewSeal::External(ExternalKey::Transit { mount, key, namespace }));
        } else if let Some(file) = &by.passphrase_file {
            SealInput::Passphrase(input::first_line(file)?)
        } else if by.passphrase_stdin {
            SealInput::Passphrase(input::line_or_prompt("passphrase", true)?)
        } else if let Some(file) = &by.key_file {
            SealInput::KeyFile(std::path::absolute(file)?)
        } else {
            environment::from_process().unwrap_or_else(|| SealInput::KeyFile(data_dir.join(DEVELOPMENT_KEY)))
        };
        Ok(input.into())
    }
}

/// What unseals, for people.
fn told(seal: &NewSeal) -> String {
    match seal {
        NewSeal::By(SealInput::Passphrase(_)) => "passphrase".to_owned(),
        NewSeal::By(SealInput::KeyFile(path)) => path.display().to_string(),
        NewSeal::By(_) => "CREDENTIALFLOW_UNSEAL_KEY".to_owned(),
        NewSeal::Shares(quorum) => format!("any {} of {} shares", quorum.threshold, quorum.shares),
        NewSeal::External(ExternalKey::AwsKms { key_id, region }) => format!("AWS KMS key {key_id} in {region}"),
        NewSeal::External(ExternalKey::Transit { mount, key, .. }) => format!("transit key {mount}/{key}"),
    }
}

pub(super) async fn run(args: InitArgs, output: Output) -> anyhow::Result<Outcome> {
    let settings = args.local.clone().settings()?;
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
    let seal = args.seal(&settings.data_dir)?;
    let by = told(&seal);
    let services: Option<Arc<dyn KeyService>> = match &seal {
        NewSeal::External(_) => Some(Arc::new(KeyServices::from_environment()?)),
        _ => None,
    };
    if let Some(dir) = &args.shares_dir {
        private_dir(dir)?;
    }
    let made = Vault::init_with(&store, &Actor::operator(), seal, services).await?;
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
    let shares = super::operator::hand_out(&made.shares, args.shares_dir.as_deref(), &mut result)?;
    store.close().await;
    output.result(&result, |result| {
        let token = match args.admin_token_file {
            Some(path) => format!("Administrator's token: written to {}\n", path.display()),
            None => format!("Administrator's token (shown this once): {}\n", at(result, "/admin_token")),
        };
        // Without it the server would begin sealed.
        let key_file = args.seal.key_file.as_ref().map(|file| format!(" --key-file {}", file.display()));
        let key_file = key_file.unwrap_or_default();
        format!(
            "Initialised {}\nUnsealed by: {by}\n{token}{shares}Next: credentialflow server --data-dir {}{key_file}\n",
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
