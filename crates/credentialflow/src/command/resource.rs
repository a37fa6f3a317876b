//! `credentialflow route|application|upstream|target|store|model|team`: looking at plain resources and deleting
//! them. They are made and changed by `apply`.

use super::Outcome;
use crate::{
    cli::Connection,
    client::{Client, escape, with_query},
    output::{Output, at, fields, items, table},
};
use serde_json::{Value, json};

/// Look at resources of one kind
#[derive(clap::Args)]
pub struct ResourceArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done with plain resources.
#[derive(clap::Subcommand)]
pub enum Verb {
    /// List them in the order of their names
    List(ListArgs),
    /// Show one
    Show {
        /// Its name
        name: String,
    },
    /// Delete one; refused while others name it
    Delete {
        /// Its name
        name: String,
    },
}

/// The nodes that did not confirm a change because they are lost, as a line; nothing where there are none.
pub(super) fn lost(answer: &Value) -> String {
    match at(answer, "/published/lost").as_str() {
        "-" => String::new(),
        names => {
            format!("Not confirmed by lost nodes, which serve on with what they have if they still run: {names}\n")
        }
    }
}

/// Which part of a list.
#[derive(clap::Args)]
pub struct ListArgs {
    /// Only names that contain this text
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Most items, 1 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
    /// Where the page begins: the `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl ListArgs {
    /// The path of the page asked for.
    pub fn path(&self, kind: &str) -> String {
        let parameters =
            [("q", self.q.clone()), ("limit", self.limit.map(|n| n.to_string())), ("cursor", self.cursor.clone())];
        with_query(&format!("/api/v1/{kind}"), &parameters)
    }
}

/// How one kind is listed.
pub struct Listing {
    /// The list's name in the API.
    pub kind: &'static str,
    /// Heading and path of each column.
    pub columns: &'static [(&'static str, &'static str)],
    /// What to do when there is none.
    pub empty: &'static str,
}

const DECLARE: &str = "Declare one in a file and run `credentialflow apply FILE`.";

/// Routes.
pub const ROUTES: Listing = Listing {
    kind: "routes",
    columns: &[
        ("name", "/spec/name"),
        ("hosts", "/spec/match/hosts"),
        ("methods", "/spec/match/methods"),
        ("path", "/spec/match/path"),
        ("upstream", "/spec/upstream"),
        ("prompt", "/spec/prompt/name"),
        ("authenticate", "/spec/authenticate"),
    ],
    empty: DECLARE,
};
/// Applications.
pub const APPLICATIONS: Listing = Listing {
    kind: "applications",
    columns: &[
        ("name", "/spec/name"),
        ("team", "/spec/team"),
        ("routes", "/spec/allow/routes"),
        ("models", "/spec/allow/models"),
    ],
    empty: DECLARE,
};
/// Upstreams.
pub const UPSTREAMS: Listing = Listing {
    kind: "upstreams",
    columns: &[
        ("name", "/spec/name"),
        ("endpoints", "/spec/endpoints"),
        ("provider", "/spec/provider"),
        ("credentials", "/spec/credentials"),
    ],
    empty: DECLARE,
};
/// Targets.
pub const TARGETS: Listing = Listing {
    kind: "targets",
    columns: &[("name", "/spec/name"), ("system", "/spec/system"), ("host", "/spec/host"), ("login", "/spec/username")],
    empty: DECLARE,
};
/// Stores.
pub const STORES: Listing = Listing {
    kind: "stores",
    columns: &[
        ("name", "/spec/name"),
        ("kind", "/spec/kind"),
        ("address", "/spec/address"),
        ("credential", "/spec/credential"),
    ],
    empty: DECLARE,
};
/// Models.
pub const MODELS: Listing = Listing {
    kind: "models",
    columns: &[("name", "/spec/name"), ("provider", "/spec/targets/0/provider"), ("model", "/spec/targets/0/model")],
    empty: DECLARE,
};
/// Sets of guardrails.
pub const GUARDRAILS: Listing = Listing {
    kind: "guardrails",
    columns: &[("name", "/spec/name"), ("description", "/spec/description"), ("first rule", "/spec/rules/0/detect")],
    empty: DECLARE,
};
/// Teams.
pub const TEAMS: Listing =
    Listing { kind: "teams", columns: &[("name", "/spec/name"), ("description", "/spec/description")], empty: DECLARE };

pub(super) async fn run(args: ResourceArgs, listing: &Listing, output: Output) -> anyhow::Result<Outcome> {
    let client = Client::new(&args.connection)?;
    perform(&client, args.verb, listing, output).await?;
    Ok(Outcome::Done)
}

/// Does it.
pub(super) async fn perform(client: &Client, verb: Verb, listing: &Listing, output: Output) -> anyhow::Result<()> {
    match verb {
        Verb::List(page) => list(client, &page, listing, output).await,
        Verb::Show { name } => show(client, listing.kind, &name, output).await,
        Verb::Delete { name } => delete(client, listing.kind, &name, output).await,
    }
}

/// Lists a page of a kind.
pub async fn list(client: &Client, args: &ListArgs, listing: &Listing, output: Output) -> anyhow::Result<()> {
    let answer = client.get(&args.path(listing.kind)).await?;
    Ok(output.result(&answer, |answer| page(answer, listing.kind, listing.columns, listing.empty))?)
}

/// Revokes one thing of a kind; `told` says what of it, in a line, and lost nodes are added.
pub async fn revoke(
    client: &Client,
    (kind, name): (&str, &str),
    body: &Value,
    output: Output,
    told: impl FnOnce(&Value) -> String,
) -> anyhow::Result<()> {
    let answer = client.post(&format!("/api/v1/{kind}/{}/revoke", escape(name)), body).await?;
    Ok(output.result(&answer, |answer| format!("{}\n{}", told(answer), lost(answer)))?)
}

/// Shows one thing of a kind.
pub async fn show(client: &Client, kind: &str, name: &str, output: Output) -> anyhow::Result<()> {
    let answer = client.get(&format!("/api/v1/{kind}/{}", escape(name))).await?;
    Ok(output.result(&answer, fields)?)
}

/// Deletes one thing of a kind.
pub async fn delete(client: &Client, kind: &str, name: &str, output: Output) -> anyhow::Result<()> {
    client.delete(&format!("/api/v1/{kind}/{}", escape(name))).await?;
    Ok(output.result(&json!({ "deleted": format!("{kind}/{name}") }), |_| format!("Deleted {kind}/{name}.\n"))?)
}

/// A page of a list as a table; an empty one says what to do next.
pub fn page(answer: &Value, kind: &str, columns: &[(&str, &str)], empty: &str) -> String {
    if items(answer).is_empty() {
        return format!("No {kind}. {empty}\n");
    }
    let headings: Vec<_> = columns.iter().map(|(heading, _)| *heading).collect();
    let rows: Vec<Vec<_>> =
        items(answer).iter().map(|item| columns.iter().map(|(_, path)| at(item, path)).collect()).collect();
    let mut out = table(&headings, &rows);
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        out.push_str(&format!("More: --cursor {}\n", crate::output::shown(next)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lists_say_what_to_do_and_long_ones_how_to_go_on() {
        assert_eq!(page(&json!({ "items": [] }), "teams", TEAMS.columns, DECLARE), format!("No teams. {DECLARE}\n"));
        let answer = json!({ "items": [{ "spec": { "name": "a" } }], "next": "c" });
        assert_eq!(page(&answer, "teams", TEAMS.columns, ""), "name  description\na     -\nMore: --cursor c\n");
    }
}
