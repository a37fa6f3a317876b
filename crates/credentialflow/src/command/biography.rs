//! `credential biography` and `key biography`: one time line of a life.

use super::blast_radius::WindowArgs;
use crate::{
    client::Client,
    output::{Output, at, shown},
};
use serde_json::Value;

/// Shows the life of one thing of a kind.
pub async fn show(client: &Client, kind: &str, args: &WindowArgs, output: Output) -> anyhow::Result<()> {
    let answer = client.get(&args.path(kind, "biography")).await?;
    Ok(output.result(&answer, text)?)
}

fn text(life: &Value) -> String {
    let mut text = String::new();
    let gone = life.get("declared").and_then(Value::as_bool) == Some(false);
    if gone {
        text.push_str("It is gone; this is what is left in the audit log.\n");
    }
    for moment in life.get("moments").and_then(Value::as_array).into_iter().flatten() {
        let actor = match (at(moment, "/actor/name").as_str(), at(moment, "/actor/source").as_str()) {
            ("-", _) => String::new(),
            (name, "-") => format!(" ({name})"),
            (name, source) => format!(" ({name}, {source})"),
        };
        let (time, what) = (at(moment, "/time"), at(moment, "/what"));
        text.push_str(&shown(&format!("{time:<28} {what:<9} {}{actor}", at(moment, "/text"))));
        text.push('\n');
    }
    if life.get("abridged").and_then(Value::as_bool) == Some(true) {
        text.push_str("Events in the middle are left out; `credentialflow audit list --subject` has them all.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_moment_is_a_line() {
        let life = json!({ "declared": true, "abridged": false, "moments": [
            { "time": "2026-11-01T12:00:00Z", "what": "issued", "text": "version 1 was made", "actor": { "name": "admin" } },
            { "time": "2026-11-02T12:00:00Z", "what": "used", "text": "used for 3 requests" }] });
        assert_eq!(
            text(&life),
            "2026-11-01T12:00:00Z         issued    version 1 was made (admin)\n2026-11-02T12:00:00Z         used      used for 3 requests\n"
        );
    }
}
