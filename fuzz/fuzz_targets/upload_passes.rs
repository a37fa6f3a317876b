//! Any bytes as what opens an upload, and as what a provider says of one: no panic, nothing that was changed opens anything,
//! and pieces go nowhere but to the provider.
#![no_main]

use credentialflow_llm::gemini::files::{Command, file, is_ready, page, start, upload_at};
use credentialflow_model::{KeyId, KeyToken, SecretValue, Timestamp};
use credentialflow_policy::{ApiKey, KeyRecord, KeySecret, KeyTable, Peppers, Principal, pass};
use std::sync::{Arc, LazyLock};

const AT: &str = "https://generativelanguage.googleapis.com";
const PURPOSE: &str = "uploads";
const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const ENDS: Timestamp = Timestamp::from_secs(1_000_600);

static CALLER: LazyLock<(ApiKey, KeyTable, Principal)> = LazyLock::new(|| {
    let peppers = Arc::new(Peppers::new([(1, &SecretValue::from("a pepper"))]));
    let token =
        KeyToken::generate("cfk", "live", KeyId::from_bits(7), |out| out.fill(1)).expect("both labels are valid");
    let hash = peppers.hash(1, KeyToken::parse(token.expose()).expect("a key").expose_secret()).expect("a pepper");
    let record = KeyRecord {
        id: KeyId::from_bits(7),
        application: "app".parse().expect("a name"),
        current: KeySecret { version: 1, hash, pepper: 1, retire_at: None },
        previous: None,
        expires: None,
        not_before: None,
        extras: None,
    };
    let (api_key, table) = (ApiKey::new(peppers), KeyTable::from_records([record]));
    let principal = api_key.authenticate(token.expose(), &table, NOW).expect("a valid key");
    (api_key, table, principal)
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (api_key, table, principal) = &*CALLER;
    let opens = |shown: &[u8]| pass::open(api_key, table, PURPOSE, shown, NOW).map(|(_, what)| what);
    assert!(opens(data).is_err(), "nobody guesses one");
    if let Some(issued) = pass::issue(api_key, principal, PURPOSE, ENDS, data) {
        assert_eq!(opens(issued.as_bytes()).as_deref(), Ok(data));
        let mut changed = issued.into_bytes();
        let at = data.len() * 31 % changed.len();
        changed[at] ^= 1;
        assert!(opens(&changed).is_err(), "one that was changed");
    }
    Command::of(data);
    if let Ok(begun) = start(data) {
        assert_eq!(start(&begun).as_deref(), Ok(&*begun), "what goes on is read the same");
    }
    if let Some(told) = file(data, "files/a") {
        is_ready(&told.told);
        assert_eq!(file(told.told.as_bytes(), "files/b").map(|again| again.id).as_deref(), Some("files/a"));
        serde_json::from_slice::<serde_json::Value>(&page("files", &[&told.told], Some("a"))).expect("it is JSON");
    }
    if let Ok(address) = std::str::from_utf8(data) {
        for address in [address.to_owned(), format!("{AT}{address}"), format!("{AT}/upload/{address}")] {
            if let Some((path, query)) = upload_at(&address, AT) {
                assert!(
                    path.starts_with("/upload/")
                        && !path.contains("/../")
                        && !format!("{path}{query}").contains([' ', '\r', '\n', '#'])
                );
            }
        }
    }
});
