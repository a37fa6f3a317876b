//! A family of keys as a table: those that a key comes from, the key, and those that come from it, each below its parent.

use crate::output::{at, table};
use serde_json::Value;

const HEADINGS: [&str; 7] = ["key", "used by", "for", "issued", "ends", "may use", "left"];
const NONE: &[Value] = &[];

/// The family of a key that the admin API showed.
pub(super) fn told(key: &Value) -> String {
    let (name, spec) = (at(key, "/spec/name"), &key["spec"]);
    let Some(of) = key.get("delegation") else {
        return format!("{name} comes from no other key, and none comes from it.\n");
    };
    let list = |field: &str| of[field].as_array().map_or(NONE, Vec::as_slice);
    let mut rows = Vec::new();
    // The first of the chain is at the top.
    for ancestor in list("ancestors").iter().rev() {
        let mut row = vec!["-".to_owned(); HEADINGS.len()];
        row[0] = below(rows.len(), ancestor.as_str().unwrap_or_default());
        rows.push(row);
    }
    let depth = rows.len();
    rows.push(vec![
        format!("{} *", below(depth, &name)),
        at(spec, "/actor/name"),
        at(spec, "/actor/purpose"),
        issued(of),
        at(spec, "/expires"),
        allowed(&spec["allow"]),
        left(of),
    ]);
    let keys = list("below");
    children(&mut rows, keys, &at(key, "/id"), depth + 1);
    let subject = at(of, "/subject");
    let mut out = table(&HEADINGS, &rows);
    if subject != "-" {
        out.push_str(&format!("They act for {subject}.\n"));
    }
    let all = of["keys_below"].as_u64().unwrap_or(0);
    match all {
        0 => out.push_str(&format!("No key comes from {name}.\n")),
        1 => out.push_str(&format!("1 key comes from {name} and ends with it.\n")),
        _ => out.push_str(&format!("{all} keys come from {name} and end with it.\n")),
    }
    if all > keys.len() as u64 {
        out.push_str(&format!("Of those, the nearest {} are shown.\n", keys.len()));
    }
    out
}

/// Adds the keys that come from this one, each followed by those that come from it.
fn children(rows: &mut Vec<Vec<String>>, keys: &[Value], parent: &str, depth: usize) {
    // Chains are short; one without an end would be damage.
    if depth > 16 {
        return;
    }
    for key in keys.iter().filter(|key| key["parent"] == parent) {
        rows.push(vec![
            below(depth, &at(key, "/name")),
            at(key, "/actor"),
            at(key, "/purpose"),
            issued(key),
            at(key, "/expires"),
            allowed(&key["allow"]),
            left(key),
        ]);
        children(rows, keys, &at(key, "/id"), depth + 1);
    }
}

fn below(depth: usize, name: &str) -> String {
    format!("{}{name}", "  ".repeat(depth))
}

fn issued(of: &Value) -> String {
    if of["exchanged"] == true { "by its parent" } else { "by declaration" }.to_owned()
}

fn allowed(allow: &Value) -> String {
    if allow.is_null() {
        return "as above".to_owned();
    }
    let names = |kind: &str| allow[kind].as_array().into_iter().flatten().filter_map(Value::as_str);
    let all: Vec<_> = names("routes").chain(names("models")).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

/// What is left of its own budgets.
fn left(of: &Value) -> String {
    let budgets = of["budgets"].as_array().into_iter().flatten();
    let each: Vec<_> = budgets
        .map(|one| format!("{} of {} USD ({})", at(one, "/left_usd"), at(one, "/limit_usd"), at(one, "/per")))
        .collect();
    if each.is_empty() { "-".to_owned() } else { each.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_key_stands_below_its_parent() {
        let key =
            |name: &str, id: &str, parent: &str| json!({ "name": name, "id": id, "parent": parent, "exchanged": true });
        let mut leaf = key("leaf", "c", "b");
        leaf["budgets"] = json!([{ "left_usd": "0.5", "limit_usd": "2", "per": "day" }]);
        leaf["allow"] = json!({ "routes": ["orders"], "models": ["chat"] });
        let answer = json!({ "id": "a", "spec": { "name": "main", "actor": { "name": "planner" } }, "delegation": {
            "subject": "alice", "ancestors": ["near", "first"], "exchanged": false, "keys_below": 4,
            "below": [key("one", "b", "a"), key("two", "d", "a"), leaf],
        } });
        let text = told(&answer);
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        let names: Vec<_> = lines[1..7].iter().map(|line| line.split("  ").find(|part| !part.is_empty())).collect();
        assert_eq!(names, ["first", "near", "main *", "one", "leaf", "two"].map(Some), "{text}");
        assert!(
            lines[5].starts_with("        leaf") && lines[5].ends_with("orders, chat  0.5 of 2 USD (day)"),
            "{text}"
        );
        assert!(lines[4].contains("as above") && lines[3].contains("planner"), "{text}");
        assert_eq!(
            lines[7..],
            ["They act for alice.", "4 keys come from main and end with it.", "Of those, the nearest 3 are shown."]
        );
        let alone = told(&json!({ "id": "a", "spec": { "name": "main" } }));
        assert_eq!(alone, "main comes from no other key, and none comes from it.\n");
    }
}
