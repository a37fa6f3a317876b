//! The small ACME server as a program: it prints where it is, and serves until it is ended.
//!
//! `PUT /knobs` at the admin address changes what it does, `GET /stats` tells what was done; the fields are those of
//! `acme::Knobs` and `acme::Server::stats`.

use credentialflow_testkit::acme::Server;
use serde_json::json;
use std::io::Write;

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let server = Server::start(true).await?;
        let admin = server.serve_admin().await?;
        let told = json!({ "directory": server.directory(), "admin": admin, "authority": server.authority().pem() });
        writeln!(std::io::stdout(), "{told}")?;
        std::future::pending().await
    })
}
