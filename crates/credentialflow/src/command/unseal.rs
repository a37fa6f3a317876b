//! `credentialflow unseal`: hands a running, sealed server what opens its vault: a share, the passphrase,
//! or a key file's content; nothing where a key service unseals.

use super::Outcome;
use crate::{
    cli::Connection,
    client::Client,
    command::Usage,
    input,
    output::{Output, at},
};
use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use credentialflow_vault::seal::share;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Unseal the vault of a running server
#[derive(clap::Args)]
pub struct UnsealArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    proof: Proof,
    /// Forget the shares handed in so far, and hand in nothing
    #[arg(long, conflicts_with_all = ["share_file", "passphrase_file", "key_file"])]
    reset: bool,
}

/// What opens a vault. Without a file it is read from standard input, or asked for without echo.
#[derive(clap::Args)]
pub struct Proof {
    /// The vault takes shares: the first line of this file is one; otherwise it is read from standard input or asked for
    #[arg(long, value_name = "FILE", conflicts_with_all = ["passphrase_file", "key_file"])]
    share_file: Option<PathBuf>,
    /// The passphrase is the first line of this file; otherwise it is read from standard input or asked for
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    passphrase_file: Option<PathBuf>,
    /// The vault is sealed by a key file: send this one's content
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Proof {
    /// The body that hands it in, for a seal of this method; `None` where that is not known.
    pub(super) fn body(&self, method: Option<&str>, prompt: &str) -> anyhow::Result<Value> {
        if let Some(path) = &self.key_file {
            return Ok(json!({ "key": STANDARD.encode(input::bytes(path)?.expose()) }));
        }
        let secret = match (&self.share_file, &self.passphrase_file) {
            (Some(path), _) | (_, Some(path)) => input::first_line(path)?,
            (None, None) if matches!(method, Some("aws_kms" | "transit")) => return Ok(json!({})),
            (None, None) if method == Some("key_file") => {
                return Err(Usage("this takes a key file: name it with --key-file".to_owned()).into());
            }
            (None, None) => input::line_or_prompt(prompt, false)?,
        };
        let text = secret.expose_str().context("shares and passphrases are UTF-8 text")?;
        let is_share = match method {
            _ if self.share_file.is_some() => true,
            _ if self.passphrase_file.is_some() => false,
            Some(method) => method == "shamir",
            None => text.trim_start().get(..share::PREFIX.len()).is_some_and(|p| p.eq_ignore_ascii_case(share::PREFIX)),
        };
        Ok(if is_share { json!({ "share": text }) } else { json!({ "passphrase": text }) })
    }
}

pub(super) async fn run(args: UnsealArgs, output: Output) -> anyhow::Result<Outcome> {
    let client = Client::anonymous(&args.connection)?;
    let seal = client.get("/api/v1/seal").await?;
    let body = if args.reset {
        json!({ "reset": true })
    } else {
        // Asked first, so that nobody types a share for nothing.
        if seal["sealed"] == json!(false) {
            bail!("the vault is unsealed already");
        }
        let method = seal["method"].as_str().unwrap_or_default();
        let prompt = match method {
            "shamir" => format!("share ({} of {} handed in)", seal["progress"], seal["threshold"]),
            _ => "passphrase".to_owned(),
        };
        args.proof.body(Some(method), &prompt)?
    };
    let answer = client.post("/api/v1/seal/unseal", &body).await?;
    output.result(&answer, told)?;
    Ok(Outcome::Done)
}

fn told(answer: &Value) -> String {
    let progress = || format!("{}/{}", at(answer, "/progress"), at(answer, "/threshold"));
    match (answer["sealed"].as_bool(), answer.get("nonce")) {
        (Some(false), _) => "The vault is unsealed.\n".to_owned(),
        (_, Some(_)) => format!("{} shares were handed in, for attempt {}.\n", progress(), at(answer, "/nonce")),
        _ => format!("No share is handed in now: {}.\n", progress()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told() {
        let one = json!({ "sealed": true, "progress": 1, "threshold": 3, "nonce": "n" });
        assert_eq!(told(&one), "1/3 shares were handed in, for attempt n.\n");
        let none = json!({ "sealed": true, "progress": 0, "threshold": 3 });
        assert_eq!(told(&none), "No share is handed in now: 0/3.\n");
        assert_eq!(told(&json!({ "sealed": false })), "The vault is unsealed.\n");
    }

    #[test]
    fn a_share_is_told_from_a_passphrase_by_how_it_begins() {
        let file = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            file
        };
        let (share, phrase) = (file("cfs1_3f9a01bc_1_x\n"), file("correct horse\n"));
        let proof = |share_file: Option<&tempfile::NamedTempFile>,
                     passphrase_file: Option<&tempfile::NamedTempFile>| Proof {
            share_file: share_file.map(|f| f.path().to_owned()),
            passphrase_file: passphrase_file.map(|f| f.path().to_owned()),
            key_file: None,
        };
        assert_eq!(proof(Some(&share), None).body(None, "").unwrap(), json!({ "share": "cfs1_3f9a01bc_1_x" }));
        assert_eq!(proof(None, Some(&phrase)).body(None, "").unwrap(), json!({ "passphrase": "correct horse" }));
        let key = Proof { share_file: None, passphrase_file: None, key_file: Some(phrase.path().to_owned()) };
        assert!(key.body(None, "").unwrap()["key"].is_string());
        assert_eq!(proof(None, None).body(Some("transit"), "").unwrap(), json!({}));
        assert!(proof(None, None).body(Some("key_file"), "").is_err());
    }
}
