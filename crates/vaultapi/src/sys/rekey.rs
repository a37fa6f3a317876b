//! New shares for the vault: asked for, agreed to by the present ones, tried, in force.

use super::{
    Context,
    open::{read_share, shown},
};
use crate::{
    answer::Answer,
    error::{ApiError, Result},
    request::Verb,
};
use credentialflow_model::SecretValue;
use credentialflow_secrets::fields;
use credentialflow_vault::{NewSeal, Rekey, RekeyAnswer, RekeyStage, RekeyStatus, SealInput, seal::shamir::Quorum};
use serde_json::{Value, json};

pub(super) async fn answer(cx: &Context<'_>, path: &str) -> Result<Answer> {
    let vault = &cx.ready.vault;
    match (path, cx.request.verb) {
        ("init", Verb::Read) => Ok(Answer::raw(progress(vault.rekey_status().await?))),
        ("init", Verb::Write) => begin(cx).await,
        ("init", Verb::Delete) => {
            vault.cancel_rekey(&cx.caller.actor()).await?;
            Ok(Answer::empty())
        }
        ("update", Verb::Write) => hand_in(cx, RekeyStage::Prove).await,
        ("verify", Verb::Read) => {
            let running = vault.rekey_status().await?.filter(|s| s.stage == RekeyStage::Verify);
            let running = running.ok_or_else(no_verification)?;
            Ok(Answer::raw(verification(&running)))
        }
        ("verify", Verb::Write) => hand_in(cx, RekeyStage::Verify).await,
        ("verify", Verb::Delete) => {
            let running = vault.rekey_status().await?.filter(|s| s.stage == RekeyStage::Verify);
            running.ok_or_else(no_verification)?;
            Ok(Answer::raw(verification(&vault.restart_verification(&cx.caller.actor()).await?)))
        }
        ("backup", Verb::Read) => Err(ApiError::invalid("no backed-up keys found")),
        ("init" | "update" | "verify" | "backup", _) => Err(ApiError::unsupported_operation()),
        _ => Err(ApiError::unsupported_path()),
    }
}

fn no_verification() -> ApiError {
    ApiError::invalid("no rekey verification in progress")
}

async fn begin(cx: &Context<'_>) -> Result<Answer> {
    let data = &cx.request.data;
    let present = cx.ready.vault.seal_status()?.quorum;
    let number = |name: &str, usual: u8| -> Result<u8> {
        let given = fields::integer(data, name)?.unwrap_or_else(|| i64::from(usual));
        u8::try_from(given).map_err(|_| ApiError::invalid(format!("{name} must be 1 to 255")))
    };
    let quorum = Quorum {
        shares: number("secret_shares", present.shares)?,
        threshold: number("secret_threshold", present.threshold)?,
    };
    let verify = fields::boolean(data, "require_verification")?.unwrap_or(false);
    let rekey = Rekey { seal: Some(NewSeal::Shares(quorum)), root: false, verify };
    let status = cx.ready.vault.begin_rekey(&cx.caller.actor(), rekey).await?;
    Ok(Answer::raw(progress(Some(status))))
}

async fn hand_in(cx: &Context<'_>, stage: RekeyStage) -> Result<Answer> {
    let data = &cx.request.data;
    let needed = |name: &str| -> Result<String> {
        fields::text(data, name)?.ok_or_else(|| ApiError::invalid(format!("missing {name}")))
    };
    let nonce = needed("nonce")?;
    let key = SecretValue::from(needed("key")?);
    let share = read_share(&key).map_err(|e| ApiError::invalid(e.to_string()))?;
    let (actor, input) = (cx.caller.actor(), SealInput::Shares(vec![share]));
    let verify = cx.ready.vault.rekey_status().await?.is_some_and(|s| s.verify);
    let (vault, of) = (cx.ready.vault.clone(), nonce.clone());
    let work = async move {
        match stage {
            RekeyStage::Prove => vault.prove_rekey(&actor, &of, input).await,
            RekeyStage::Verify => vault.verify_rekey(&actor, &of, input).await,
        }
    };
    let RekeyAnswer { status, shares } = cx.ready.vault.attempt(cx.request.source, "rekey.refuse", work).await?;
    if stage == RekeyStage::Verify {
        return Ok(Answer::raw(match status {
            Some(status) => verification(&status),
            None => json!({ "nonce": nonce, "complete": true }),
        }));
    }
    if shares.is_empty() && status.is_some() {
        return Ok(Answer::raw(progress(status)));
    }
    let mut told = shown(&shares);
    told["nonce"] = nonce.as_str().into();
    told["complete"] = true.into();
    told["pgp_fingerprints"] = Value::Null;
    told["backup"] = false.into();
    told["verification_required"] = verify.into();
    told["verification_nonce"] = if verify { nonce.into() } else { "".into() };
    Ok(Answer::raw(told))
}

fn progress(status: Option<RekeyStatus>) -> Value {
    let running = status.filter(|s| s.stage == RekeyStage::Prove);
    json!({
        "nonce": running.as_ref().map_or("", |s| s.nonce.as_str()),
        "started": running.is_some(),
        "t": running.as_ref().map_or(0, |s| s.quorum.threshold),
        "n": running.as_ref().map_or(0, |s| s.quorum.shares),
        "progress": running.as_ref().map_or(0, |s| s.progress),
        "required": running.as_ref().map_or(0, |s| s.required),
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": running.as_ref().is_some_and(|s| s.verify),
    })
}

fn verification(status: &RekeyStatus) -> Value {
    json!({
        "nonce": status.nonce,
        "started": true,
        "t": status.quorum.threshold,
        "n": status.quorum.shares,
        "progress": status.progress,
        "complete": false,
    })
}
