//! `credentialflow status`: how a running server is doing.

use super::{Outcome, rotation};
use crate::{
    cli::Connection,
    client::Client,
    output::{Output, at},
};
use serde_json::Value;

/// See how a running server is doing
#[derive(clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: StatusArgs, output: Output) -> anyhow::Result<Outcome> {
    let answer = Client::new(&args.connection)?.get("/api/v1/status").await?;
    output.result(&answer, text)?;
    Ok(Outcome::Done)
}

fn text(status: &Value) -> String {
    let yes = |path: &str| status.pointer(path).and_then(Value::as_bool).unwrap_or(false);
    let mut out = format!(
        "Credentialflow {}, up since {}\nvault      {}\ndata plane {} workers, {} connections, {} requests in flight, {} routes, {} keys\nstate      {}\ncall log   {} written, {} waiting, {} dropped\n",
        at(status, "/version"),
        at(status, "/started"),
        if yes("/sealed") { "sealed" } else { "unsealed" },
        at(status, "/dataplane/workers"),
        at(status, "/dataplane/connections"),
        at(status, "/dataplane/in_flight"),
        at(status, "/dataplane/routes"),
        at(status, "/dataplane/keys"),
        if yes("/in_step") {
            "every worker enforces everything stored"
        } else {
            "not every worker enforces everything stored yet"
        },
        at(status, "/call_log/written"),
        at(status, "/call_log/waiting"),
        at(status, "/call_log/dropped"),
    );
    for one in status.get("rotations").and_then(Value::as_array).into_iter().flatten() {
        out.push_str(&format!("rotation   {}: {}\n", at(one, "/credential"), rotation::text(one)));
    }
    out
}
