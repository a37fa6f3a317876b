//! `credentialflow operator`: the keys above the values of a running server: who can unseal, and
//! exchanging root key, encryption key and pepper while everything goes on.

use super::{Outcome, unseal::Proof};
use crate::{
    cli::Connection,
    client::Client,
    input,
    output::{Output, at},
};
use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Subcommand, ValueEnum};
use credentialflow_model::{Period, SecretValue};
use credentialflow_vault::seal::share::Share;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Change who can unseal, and exchange the keys above the values
#[derive(clap::Args)]
pub struct OperatorArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: OperatorCommand,
}

#[derive(Subcommand)]
enum OperatorCommand {
    /// See the keys above the values: numbers, ages, use, and how far sealing everything anew has come
    Keys,
    /// Exchange a key; nothing stops meanwhile
    Rotate {
        /// Which: keyring (then everything stored is sealed anew in the background), pepper, or root
        /// (begins a rekey that keeps the seal)
        #[arg(value_enum)]
        key: Exchanged,
    },
    /// Make a root token of the run-time API (VAULT_TOKEN); shown once, ends by itself
    RootToken {
        /// How long it lives, at most 32d
        #[arg(long, value_name = "DURATION", default_value = "1h")]
        ttl: Period,
    },
    /// Another way to unseal: begin, prove that one can unseal now, verify the new one
    #[command(subcommand)]
    Rekey(RekeyCommand),
}

#[derive(Clone, Copy, ValueEnum)]
enum Exchanged {
    Keyring,
    Pepper,
    Root,
}

#[derive(Subcommand)]
enum RekeyCommand {
    /// Begin; nothing changes before the rekey is verified
    Start(StartArgs),
    /// See where it stands
    Status,
    /// Hand in what unseals now: one share, the passphrase, the key file; makes and shows the new shares
    Prove(HandInArgs),
    /// Hand in what will unseal, to show that it was kept
    Verify(HandInArgs),
    /// Give it up; the present seal stays
    Cancel,
}

#[derive(clap::Args)]
struct StartArgs {
    #[command(flatten)]
    by: By,
    /// How many of the shares unseal; unless said a bit more than half
    #[arg(long, value_name = "NUMBER", requires = "shares")]
    threshold: Option<u8>,
    /// The region of the AWS KMS key
    #[arg(long, value_name = "REGION", requires = "aws_kms_key")]
    aws_region: Option<String>,
    /// Where the transit engine is mounted
    #[arg(long, value_name = "PATH", requires = "transit_key", default_value = "transit")]
    transit_mount: String,
    /// The namespace of the transit engine
    #[arg(long, value_name = "NAMESPACE", requires = "transit_key")]
    transit_namespace: Option<String>,
    /// Put a fresh root key in the old one's place as well
    #[arg(long)]
    root: bool,
}

/// What will unseal.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct By {
    /// Unseal by shares held by several people (Shamir), so many of them; 5 unless said
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, default_missing_value = "5")]
    shares: Option<u8>,
    /// Unseal by the passphrase on the first line of this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Unseal by a passphrase read from standard input; a terminal is asked twice, without echo
    #[arg(long)]
    passphrase_stdin: bool,
    /// Unseal by this key file; created here (mode 0600) if it does not exist. The server needs it at its next start
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Unseal by this key of AWS KMS; the server has its credentials from its own AWS_* variables
    #[arg(long, value_name = "KEY", requires = "aws_region")]
    aws_kms_key: Option<String>,
    /// Unseal by this key of a transit engine; the server has address and token from its own BAO_ADDR and BAO_TOKEN
    #[arg(long, value_name = "KEY")]
    transit_key: Option<String>,
}

#[derive(clap::Args)]
struct HandInArgs {
    #[command(flatten)]
    proof: Proof,
    /// Which rekey, as `rekey start` and `rekey status` tell it
    #[arg(long)]
    nonce: String,
    /// Write each new share into a new file of its own (mode 0600) in this directory instead of printing it
    #[arg(long, value_name = "DIR")]
    shares_dir: Option<PathBuf>,
}

pub(super) async fn run(args: OperatorArgs, output: Output) -> anyhow::Result<Outcome> {
    let connection = &args.connection;
    match args.command {
        OperatorCommand::Keys => {
            let keys = Client::new(connection)?.get("/api/v1/seal/keys").await?;
            output.result(&keys, keys_text)?;
        }
        OperatorCommand::Rotate { key: Exchanged::Root } => {
            let begun = Client::new(connection)?.post("/api/v1/seal/rekey", &json!({ "root": true })).await?;
            output.result(&begun, status_text)?;
        }
        OperatorCommand::Rotate { key } => {
            let key = if matches!(key, Exchanged::Keyring) { "keyring" } else { "pepper" };
            let keys = Client::new(connection)?.post("/api/v1/seal/keys/rotate", &json!({ "key": key })).await?;
            output.result(&keys, keys_text)?;
        }
        OperatorCommand::RootToken { ttl } => {
            let made = Client::new(connection)?.post("/api/v1/run-time/root-tokens", &json!({ "ttl": ttl })).await?;
            output.result(&made, root_token_text)?;
        }
        OperatorCommand::Rekey(RekeyCommand::Start(start)) => {
            let begun = Client::new(connection)?.post("/api/v1/seal/rekey", &start.body()?).await?;
            output.result(&begun, status_text)?;
        }
        OperatorCommand::Rekey(RekeyCommand::Status) => {
            let status = Client::new(connection)?.get("/api/v1/seal/rekey").await?;
            output.result(&status, status_text)?;
        }
        OperatorCommand::Rekey(RekeyCommand::Prove(hand_in)) => prove(connection, hand_in, output).await?,
        OperatorCommand::Rekey(RekeyCommand::Verify(hand_in)) => {
            let mut body = hand_in.proof.body(None, "new share, or new passphrase")?;
            body["nonce"] = json!(hand_in.nonce);
            let answer = Client::anonymous(connection)?.post("/api/v1/seal/rekey/verify", &body).await?;
            output.result(&answer, |answer| result_text(answer, ""))?;
        }
        OperatorCommand::Rekey(RekeyCommand::Cancel) => {
            Client::new(connection)?.delete("/api/v1/seal/rekey").await?;
            output.result(&json!({ "cancelled": true }), |_| "No rekey is running; the seal stays.\n".to_owned())?;
        }
    }
    Ok(Outcome::Done)
}

fn root_token_text(made: &Value) -> String {
    let text = |name: &str| made[name].as_str().unwrap_or_default();
    format!("{}\n\nShown this once; ends {}. Its accessor: {}\n", text("token"), text("expires"), text("accessor"))
}

async fn prove(connection: &Connection, hand_in: HandInArgs, output: Output) -> anyhow::Result<()> {
    let client = Client::anonymous(connection)?;
    let seal = client.get("/api/v1/seal").await?;
    let method = seal["method"].as_str().unwrap_or_default();
    let prompt = if method == "shamir" { "present share" } else { "present passphrase" };
    let mut body = hand_in.proof.body(Some(method), prompt)?;
    body["nonce"] = json!(hand_in.nonce);
    if let Some(dir) = &hand_in.shares_dir {
        anyhow::ensure!(dir.is_dir(), "{} is no directory; nothing was handed in", dir.display());
    }
    let mut answer = client.post("/api/v1/seal/rekey/prove", &body).await?;
    let shown = answer.get("shares").and_then(Value::as_array).cloned().unwrap_or_default();
    let shares: Vec<SecretValue> = shown.iter().filter_map(Value::as_str).map(SecretValue::from).collect();
    let shares = hand_out(&shares, hand_in.shares_dir.as_deref(), &mut answer)?;
    output.result(&answer, |answer| result_text(answer, &shares))?;
    Ok(())
}

impl StartArgs {
    fn body(&self) -> anyhow::Result<Value> {
        let by = &self.by;
        let mut body = if let Some(shares) = by.shares {
            let threshold = self.threshold.unwrap_or(shares / 2 + 1);
            json!({ "shamir": { "shares": shares, "threshold": threshold } })
        } else if let Some(key_id) = &by.aws_kms_key {
            json!({ "aws_kms": { "key_id": key_id, "region": self.aws_region } })
        } else if let Some(key) = &by.transit_key {
            json!({ "transit": { "mount": self.transit_mount, "key": key, "namespace": self.transit_namespace } })
        } else if let Some(path) = &by.key_file {
            let path = std::path::absolute(path)?;
            let key = key_file(&path)?;
            json!({ "key": STANDARD.encode(key.expose()) })
        } else {
            let passphrase = match &by.passphrase_file {
                Some(file) => input::first_line(file)?,
                None => input::line_or_prompt("new passphrase", true)?,
            };
            json!({ "passphrase": passphrase.expose_str().context("a passphrase is UTF-8 text")? })
        };
        body["root"] = json!(self.root);
        Ok(body)
    }
}

/// The content of a key file that is made where it is not there, under the rules the server has for it.
fn key_file(path: &Path) -> anyhow::Result<SecretValue> {
    credentialflow_vault::seal::key_file::create_or_read(path)?;
    input::bytes(path)
}

/// Shows shares, or writes each into a file of its own; what is written is taken out of `result`.
pub(super) fn hand_out(shares: &[SecretValue], dir: Option<&Path>, result: &mut Value) -> anyhow::Result<String> {
    if shares.is_empty() {
        return Ok(String::new());
    }
    let mut text = String::new();
    let mut told = Vec::new();
    for secret in shares {
        let shown = secret.expose_str().context("a share is text")?;
        let name = Share::parse(shown).map(|share| format!("share-{}-{}", share.set, share.number))?;
        match dir {
            Some(dir) => {
                let path = dir.join(name);
                input::write_private(&path, secret)?;
                text.push_str(&format!("Share: written to {}\n", path.display()));
                told.push(json!(path));
            }
            None => {
                text.push_str(&format!("Share (shown this once): {shown}\n"));
                told.push(json!(shown));
            }
        }
    }
    text.push_str("Give each share to another person, and keep none together.\n");
    if let Some(object) = result.as_object_mut() {
        object.remove("shares");
        object.insert(if dir.is_some() { "share_files" } else { "shares" }.to_owned(), Value::Array(told));
    }
    Ok(text)
}

fn status_text(rekey: &Value) -> String {
    let mut text = match rekey.get("method").and_then(Value::as_str) {
        Some("shamir") => {
            format!("Rekey to {} of {} shares", at(rekey, "/threshold"), at(rekey, "/shares"))
        }
        Some(method) => format!("Rekey to {method}"),
        None => "Rekey that keeps the seal".to_owned(),
    };
    if rekey["root"] == json!(true) {
        text.push_str(", with another root key");
    }
    let waits = match rekey["stage"].as_str() {
        Some("verify") => "the new one is to be verified",
        _ => "waiting for what unseals now",
    };
    let command = rekey["stage"].as_str().unwrap_or("prove");
    format!(
        "{text}: {waits}, {}/{} handed in.\nNext: credentialflow operator rekey {command} --nonce {}\n",
        at(rekey, "/progress"),
        at(rekey, "/required"),
        at(rekey, "/nonce"),
    )
}

fn result_text(answer: &Value, shares: &str) -> String {
    match answer.get("rekey") {
        Some(rekey) => format!("{shares}{}", status_text(rekey)),
        None => format!("{shares}The rekey is finished; what unsealed before may be thrown away.\n"),
    }
}

fn keys_text(keys: &Value) -> String {
    let list = |name: &str| keys.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let newest = |one: &Value| if one["newest"] == json!(true) { ", newest" } else { "" };
    let since = |one: &Value| match one.get("installed").and_then(Value::as_str) {
        Some(time) => format!(" since {time}"),
        None => String::new(),
    };
    let mut text = format!("root key   {}{}\n", at(keys, "/root/term"), since(&keys["root"]));
    for one in list("keyring") {
        let (used, limit) = (at(&one, "/encryptions"), at(&one, "/limit"));
        text.push_str(&format!(
            "encryption {}{}: at most {used} of {limit} seals{}\n",
            at(&one, "/term"),
            since(&one),
            newest(&one)
        ));
    }
    for one in list("peppers") {
        let hashes = at(&one, "/hashes");
        text.push_str(&format!("pepper     {}{}: {hashes} hashes{}\n", at(&one, "/id"), since(&one), newest(&one)));
    }
    if let Some(sealing) = keys.get("resealing") {
        let state = if sealing.get("finished").is_some() { "done" } else { "running" };
        text.push_str(&format!(
            "re-sealing {state}: {} of {} rows looked at, {} sealed anew, {} unreadable\n",
            at(sealing, "/looked_at"),
            at(sealing, "/total"),
            at(sealing, "/resealed"),
            at(sealing, "/unreadable"),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_rekey_stands_and_what_comes_next_is_told() {
        let rekey = json!({
            "nonce": "n", "stage": "prove", "method": "shamir", "shares": 5, "threshold": 3, "root": true,
            "required": 1, "progress": 0,
        });
        let expected = "Rekey to 3 of 5 shares, with another root key: waiting for what unseals now, 0/1 handed in.\n\
                        Next: credentialflow operator rekey prove --nonce n\n";
        assert_eq!(status_text(&rekey), expected);
        assert!(result_text(&json!({ "finished": true }), "").contains("finished"));
    }

    #[test]
    fn keys_are_told_with_their_use() {
        let keys = json!({
            "root": { "term": 2, "installed": "2026-01-01T00:00:00Z" },
            "keyring": [{ "term": 1, "installed": "2026-01-01T00:00:00Z", "encryptions": 7, "limit": 9, "newest": true }],
            "peppers": [{ "id": 1, "hashes": 3, "newest": true }],
            "resealing": { "looked_at": 1, "total": 2, "resealed": 1, "unreadable": 0 },
        });
        let text = keys_text(&keys);
        assert!(text.contains("root key   2 since 2026-01-01T00:00:00Z\n"), "{text}");
        assert!(text.contains("encryption 1 since 2026-01-01T00:00:00Z: at most 7 of 9 seals, newest\n"), "{text}");
        assert!(text.contains("pepper     1: 3 hashes, newest\n"), "{text}");
        assert!(text.contains("re-sealing running: 1 of 2 rows looked at, 1 sealed anew, 0 unreadable\n"), "{text}");
    }

    #[test]
    fn shares_are_written_into_private_files_and_taken_out_of_the_answer() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = vec![1u8, 0x3f, 0x9a, 1, 0xbc, 2];
        bytes.extend([7; 32]);
        bytes.extend(crc32(&bytes).to_be_bytes());
        let text = Share::from_bytes(&bytes).unwrap().to_text();
        let mut result = json!({ "shares": ["x"] });
        let told = hand_out(std::slice::from_ref(&text), Some(dir.path()), &mut result).unwrap();
        let path = dir.path().join("share-3f9a01bc-2");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(input::first_line(&path).unwrap().expose(), text.expose());
        assert!(!told.contains(text.expose_str().unwrap()) && !result.to_string().contains("cfs1_"), "{told} {result}");
    }

    /// CRC-32 as in zlib, bit by bit.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, b| {
            (0..8).fold(crc ^ u32::from(*b), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    }
}
