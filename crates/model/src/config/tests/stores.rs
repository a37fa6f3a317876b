//! Stores that are not ours, and the places of credentials in them.

use super::*;

/// Every problem of a text, as `code path`, in order.
#[track_caller]
fn told(text: &str, expected: &[&str]) {
    let found: Vec<String> = problems(text).0.iter().map(|p| format!("{} {}", p.code, p.path)).collect();
    assert_eq!(found, expected, "\n{text}");
}

fn store(fields: &str) -> String {
    format!("credentials: [{{ name: c, engine: static }}]\nstores:\n  - {{ name: s, {fields} }}")
}

#[test]
fn every_kind_has_what_it_needs_and_nothing_else() {
    for good in [
        "kind: vault, address: 'https://v:8200', credential: c",
        "kind: vault, address: 'http://127.0.0.1:8200', credential: c, identity: role, login: machines, mount: kv/team, namespace: a",
        "kind: vault, address: 'http://v', plaintext: true, credential: c, refresh: 30s, tls: { ca_file: /ca.pem }",
        "kind: aws, region: eu-central-1",
        "kind: aws, region: eu-central-1, identity: AKID, credential: c, address: 'https://vpce.example'",
        "kind: azure, address: 'https://t.vault.azure.net', tenant: t, identity: i, credential: c",
        "kind: google, project: p, credential: c",
        "kind: google, project: p, credential: c, login: 'https://tokens.internal/token'",
        "kind: kubernetes",
        "kind: kubernetes, namespace: other",
        "kind: kubernetes, address: 'https://10.0.0.1:6443', namespace: n, credential: c",
        "kind: files, address: apps",
    ] {
        told(&store(good), &[]);
    }
    for (bad, problem) in [
        ("kind: vault, credential: c", "missing stores[0].address"),
        ("kind: vault, address: 'https://v'", "missing stores[0].credential"),
        ("kind: vault, address: 'http://v', credential: c", "insecure stores[0].address"),
        ("kind: vault, address: 'v:8200', credential: c", "invalid_value stores[0].address"),
        ("kind: vault, address: 'https://u@v', credential: c", "invalid_value stores[0].address"),
        ("kind: vault, address: 'https://v', credential: d", "unknown_name stores[0].credential"),
        ("kind: vault, address: 'https://v', credential: c, region: x", "not_here stores[0].region"),
        ("kind: vault, address: 'https://v', credential: c, refresh: 1ms", "out_of_bounds stores[0].refresh"),
        ("kind: aws, region: r, identity: i", "missing stores[0].credential"),
        ("kind: aws, region: r, credential: c", "missing stores[0].identity"),
        ("kind: aws, credential: c, identity: i", "missing stores[0].region"),
        // What the server itself was given is not sent where a configuration says.
        ("kind: aws, region: r, address: 'https://elsewhere'", "not_here stores[0].address"),
        ("kind: kubernetes, address: 'https://elsewhere'", "not_here stores[0].address"),
        ("kind: kubernetes, namespace: n, credential: c", "missing stores[0].address"),
        ("kind: kubernetes, address: 'https://k', credential: c", "missing stores[0].namespace"),
        ("kind: azure, address: 'https://t.vault.azure.net', tenant: t, credential: c", "missing stores[0].identity"),
        (
            "kind: azure, address: 'https://t.vault.azure.net', tenant: t, identity: i, credential: c, login: 'http://l'",
            "insecure stores[0].login",
        ),
        ("kind: google, credential: c", "missing stores[0].project"),
        ("kind: google, project: p, credential: c, login: 'http://tokens.internal'", "insecure stores[0].login"),
        ("kind: files", "missing stores[0].address"),
        ("kind: files, address: apps, credential: c", "not_here stores[0].credential"),
        ("kind: files, address: apps, plaintext: true", "not_here stores[0].plaintext"),
    ] {
        told(&store(bad), &[problem]);
    }
    // An unreadable kind is the only problem told.
    told(&store("kind: consul, address: x"), &["unknown_word stores[0].kind"]);
}

fn credential(fields: &str) -> String {
    format!(
        "credentials:\n  - {{ name: access, engine: static }}\n  - {{ name: c, {fields} }}\n\
         stores: [{{ name: s, kind: vault, address: 'https://v', credential: access }}]"
    )
}

#[test]
fn places_lead_to_stores_and_not_in_a_circle() {
    for good in [
        "engine: static, value: '${store:s/a/b#f}'",
        "engine: generated, sync: [{ store: s, path: a/b, field: f }, { store: s, path: a/b }]",
        "engine: static, value: '${store:s/a#f}', sync: [{ store: s, path: a, field: g }]",
    ] {
        told(&credential(good), &[]);
    }
    for (bad, problem) in [
        ("engine: static, value: '${store:t/a}'", "unknown_name credentials[1].value"),
        ("engine: generated, value: '${store:s/a}'", "not_here credentials[1].value"),
        ("engine: generated, sync: [{ store: t, path: a }]", "unknown_name credentials[1].sync[0].store"),
        ("engine: generated, sync: [{ store: s, path: ../a }]", "invalid_value credentials[1].sync[0].path"),
        ("engine: generated, sync: [{ store: s, path: 'a#b' }]", "invalid_value credentials[1].sync[0].path"),
        ("engine: generated, sync: [{ store: s, path: a, field: '' }]", "invalid_value credentials[1].sync[0].path"),
        (
            "engine: generated, sync: [{ store: s, path: a }, { store: s, path: a }]",
            "duplicate credentials[1].sync[1].path",
        ),
        ("engine: static, value: '${store:s/a}', sync: [{ store: s, path: a }]", "cycle credentials[1].sync[0].path"),
    ] {
        told(&credential(bad), &[problem]);
    }
    // What lets us into a store cannot come from that store.
    let text = "credentials: [{ name: c, engine: static, value: '${store:s/a}' }]\n\
                stores: [{ name: s, kind: vault, address: 'https://v', credential: c }]";
    told(text, &["cycle credentials[0].value"]);
}

#[test]
fn stores_read_back_as_they_were_written() {
    let set = clean(&credential("engine: static, value: '${store:s/a/b c#f}', sync: [{ store: s, path: d }]"));
    assert_eq!(clean(&export(&set)), set);
    assert_eq!(set.credentials[1].source().unwrap().to_string(), "s/a/b c#f");
    let (found, others) = without(&set, crate::resource::Kind::Stores, "s", &CONTEXT);
    let paths: Vec<&str> = found.iter().map(|by| by.path.as_str()).collect();
    assert_eq!((paths, others.0.len()), (vec!["sync[0].store", "value"], 0));
}
