#![allow(clippy::unwrap_used)]
use super::*;
use crate::pipeline::Permit;
use crate::ports::CredentialUnavailable;
use credentialflow_llm::price::PriceHandle;
use credentialflow_model::{SecretValue, Timestamp, config};
use credentialflow_policy::{Peppers, RateTable};
use proptest::prelude::*;
use serde_json::{Value, json};

struct NoCredentials;

impl CredentialSource for NoCredentials {
    fn slot(&self, name: &str) -> Option<CredentialSlot> {
        (name == "token").then_some(0)
    }
    fn len(&self) -> usize {
        1
    }
    fn describe(&self, _: CredentialSlot) -> Option<(&Arc<str>, u32)> {
        None
    }
    fn open<'a>(&'a self, _: &Permit, _: CredentialSlot) -> Result<&'a SecretValue, CredentialUnavailable> {
        Err(CredentialUnavailable)
    }
}

fn compile_with(resources: &Value, trust: &Arc<Trust>) -> (Snapshot, Vec<String>) {
    let (set, source, mut problems) = config::read("test.yaml", &resources.to_string());
    let context = config::Context {
        providers: credentialflow_llm::provider::NAMES,
        own_address: credentialflow_llm::provider::OWN_ADDRESS,
        guardrail: Some(credentialflow_llm::guardrail::check),
        keys: &[],
    };
    problems.0.extend(config::check(&set, &source, &context).0);
    let sources = Sources {
        models_written: Default::default(),
        keys: KeyTable::empty(),
        api_key: ApiKey::new(Arc::new(Peppers::from_keys([]))),
        credentials: Arc::new(NoCredentials),
        values: Arc::default(),
        budgets: Arc::default(),
        rates: Arc::new(RateTable::new(64, 1)),
        trust: trust.clone(),
        sandbox: None,
        max_model_body: 1,
    };
    (Snapshot::compile(1, &set, sources), problems.0.into_iter().map(|p| p.to_string()).collect())
}

fn compile(resources: &Value) -> (Snapshot, Vec<String>) {
    compile_with(resources, &Arc::default())
}

fn one(upstream: Value, headers: Value) -> Value {
    let mut upstream = upstream;
    upstream["name"] = "u".into();
    json!({
        "credentials": [{ "name": "token", "engine": "static" }],
        "upstreams": [upstream],
        "routes": [{ "name": "r", "match": { "path": "/*" }, "upstream": "u", "authenticate": ["none"], "headers": headers }],
    })
}

fn told(snapshot: &Snapshot) -> Vec<(&'static str, &str, bool)> {
    snapshot.impaired.iter().map(|i| (i.kind.as_str(), &*i.name, i.serves)).collect()
}

const PLAIN: &str = "http://127.0.0.1:1";

/// What the check accepts is in force as it is; what it refuses holds nobody up.
fn accepted_is_in_force(resources: &Value) -> bool {
    let (snapshot, problems) = compile(resources);
    assert!(!problems.is_empty() || snapshot.impaired.is_empty(), "{resources}: {:?}", snapshot.impaired);
    problems.is_empty()
}

#[test]
fn what_cannot_be_in_force_is_refused_by_the_check() {
    for host in ["10.0.0.300", "a.example.1", "1", "10.0.0"] {
        assert!(
            !accepted_is_in_force(&one(json!({ "endpoints": [format!("https://{host}")] }), Value::Null)),
            "{host}"
        );
        let named = json!({ "endpoints": ["https://10.0.0.1"], "tls": { "server_name": host } });
        assert!(!accepted_is_in_force(&one(named, Value::Null)), "{host}");
    }
    for name in ["expect", "Expect", "host", "te", "http2-settings", "proxy-authorization"] {
        for direction in ["request", "response"] {
            for rule in [json!({ "remove": [name] }), json!({ "set": { name: "x" } })] {
                let headers = json!({ direction: rule });
                assert!(!accepted_is_in_force(&one(json!({ "endpoints": [PLAIN] }), headers)), "{name}");
            }
        }
    }
    let both = one(json!({ "endpoints": ["https://10.0.0.30"], "tls": { "server_name": "1a.example" } }), Value::Null);
    assert!(accepted_is_in_force(&both));
}

fn host() -> impl Strategy<Value = String> {
    let label =
        prop_oneof![4 => "[a-z0-9]{1,4}", 2 => "[0-9]{1,3}", 1 => "[A-Za-z0-9_-]{1,63}", 1 => Just(String::new())];
    prop_oneof![
        6 => prop::collection::vec(label, 1..6).prop_map(|labels| labels.join(".")),
        1 => "[0-9]{1,3}(\\.[0-9]{1,3}){3}",
        1 => "\\[[0-9a-f:.]{2,12}\\]",
        1 => any::<std::net::Ipv6Addr>().prop_map(|v6| format!("[{v6}]")),
        1 => "[!-~]{1,12}",
    ]
}

fn header_name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "expect",
        "Expect",
        "host",
        "connection",
        "te",
        "trailer",
        "trailers",
        "upgrade",
        "keep-alive",
        "cookie",
        "proxy-authenticate",
        "proxy-connection",
        "content-length",
        "content-type",
        "date",
        "x-team",
        "http2-settings",
    ]);
    prop_oneof![1 => known.prop_map(str::to_owned), 1 => "[!-~]{1,8}", 1 => "[a-zA-Z0-9-]{1,300}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn endpoints_that_are_accepted_are_in_force(
        host in host(), port in prop_oneof![Just(String::new()), ":[0-9]{0,6}", ":[!-~]{1,3}"],
        path in prop_oneof![Just(String::new()), "/[a-z/.]{0,8}", "[!-~]{0,5}"], secure in any::<bool>(),
    ) {
        let scheme = if secure { "https" } else { "http" };
        accepted_is_in_force(&one(json!({ "endpoints": [format!("{scheme}://{host}{port}{path}")] }), Value::Null));
    }

    #[test]
    fn server_names_that_are_accepted_are_in_force(name in host()) {
        let upstream = json!({ "endpoints": ["https://10.0.0.1"], "tls": { "server_name": name } });
        accepted_is_in_force(&one(upstream, Value::Null));
    }

    #[test]
    fn header_rules_that_are_accepted_are_in_force(
        name in header_name(), removed in header_name(), value in "[ -~]{0,6}|[\\t-~]{0,6}|\\PC{0,4}", request in any::<bool>(),
    ) {
        let direction = if request { "request" } else { "response" };
        let upstream = || json!({ "endpoints": [PLAIN], "inject": { "header": { "name": &name, "credential": "token" } } });
        for rules in [json!({ "set": { &name: &value } }), json!({ "remove": [&removed] })] {
            accepted_is_in_force(&one(json!({ "endpoints": [PLAIN] }), json!({ direction: rules })));
        }
        accepted_is_in_force(&one(upstream(), Value::Null));
    }
}

#[test]
fn what_cannot_be_used_holds_nothing_else_up() {
    let resources = json!({
        "upstreams": [
            { "name": "bad-host", "endpoints": ["https://10.0.0.300"] },
            { "name": "half", "endpoints": ["https://10.0.0.300", "https://10.0.0.30"] },
            { "name": "no-file", "endpoints": ["https://10.0.0.1"], "tls": { "ca_file": "/nowhere/ca.pem" } },
            { "name": "plain-text", "endpoints": [PLAIN], "tls": { "ca_file": "/nowhere/ca.pem" } },
            { "name": "no-credential", "endpoints": [PLAIN], "inject": { "bearer": "gone" } },
            { "name": "box", "endpoints": ["sandbox://rest"] },
            { "name": "good", "endpoints": [PLAIN], "inject": { "bearer": "token" } },
        ],
        "routes": [
            { "name": "astray", "match": { "path": "/a" }, "upstream": "gone", "authenticate": ["none"] },
            { "name": "rules", "match": { "path": "/b" }, "upstream": "good", "authenticate": ["none"],
              "headers": { "request": { "remove": ["expect"] } } },
            { "name": "well", "match": { "path": "/c" }, "upstream": "good", "authenticate": ["none"] },
        ],
        "models": [{ "name": "m", "targets": [{ "provider": "nobody", "model": "x" }, { "provider": "openai", "model": "x", "credential": "gone" }] }],
    });
    let (snapshot, _) = compile(&resources);
    let expected = [
        ("upstreams", "bad-host", false),
        ("upstreams", "half", true),
        ("upstreams", "no-file", false),
        ("upstreams", "no-credential", false),
        ("upstreams", "box", false),
        ("routes", "astray", false),
        ("routes", "rules", false),
        ("models", "m", true),
        ("models", "m", true),
    ];
    assert_eq!(told(&snapshot), expected, "{:?}", snapshot.impaired);
    let asked = |route: &str| {
        let plan = snapshot.routes.iter().find(|r| &*r.name == route).unwrap();
        let RouteKind::Proxy { upstream } = plan.kind else { panic!("{route} forwards") };
        snapshot.upstreams[upstream as usize].endpoints.len()
    };
    assert_eq!((asked("astray"), asked("rules"), asked("well")), (0, 0, 1));
    let of = |name: &str| snapshot.upstreams.iter().find(|u| &*u.name == name).unwrap();
    assert_eq!((of("bad-host").endpoints.len(), of("half").endpoints.len(), of("no-file").endpoints.len()), (0, 1, 0));
    // Never sent without the credential: its slot opens nowhere.
    assert_eq!(of("no-credential").inject.as_ref().unwrap().credential, upstreams::NO_CREDENTIAL);
    assert_eq!(snapshot.models.list[0].targets[1].keys[0].inject.credential, upstreams::NO_CREDENTIAL);
    let reason = &snapshot.impaired.iter().find(|i| &*i.name == "no-file").unwrap().reason;
    assert!(reason.contains("/nowhere/ca.pem"), "{reason}");
}

#[test]
fn authorities_that_were_read_outlive_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let pem = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    let trust: Arc<Trust> = Arc::default();
    let resources = one(json!({ "endpoints": ["https://10.0.0.1"], "tls": { "ca_file": &file } }), Value::Null);
    let config = |snapshot: &Snapshot| snapshot.endpoints[0].tls.as_ref().unwrap().0.clone();
    let next = || compile_with(&resources, &trust).0;
    assert_eq!(told(&next()), [("upstreams", "u", false)], "there was nothing before");
    std::fs::write(&file, pem()).unwrap();
    let first = next();
    assert!(first.impaired.is_empty(), "{:?}", first.impaired);
    assert!(Arc::ptr_eq(&config(&first), &config(&next())), "the same file, the same sessions");
    // Broken, of no end, gone: what it held is used, and told; nothing of what it holds now is.
    std::fs::write(&file, "-----BEGIN CANARY-SECRET\n-----BEGIN x").unwrap();
    let broken = next();
    assert!(Arc::ptr_eq(&config(&first), &config(&broken)));
    assert_eq!(told(&broken), [("upstreams", "u", true)]);
    assert!(!broken.impaired[0].reason.contains("CANARY"), "{}", broken.impaired[0].reason);
    std::fs::remove_file(&file).unwrap();
    assert!(Arc::ptr_eq(&config(&first), &config(&next())));
    std::fs::create_dir(&file).unwrap();
    assert_eq!(told(&next()), [("upstreams", "u", true)]);
    std::fs::remove_dir(&file).unwrap();
    // Another one in its place is taken.
    std::fs::write(&file, pem()).unwrap();
    let second = next();
    assert!(second.impaired.is_empty() && !Arc::ptr_eq(&config(&first), &config(&second)));
    // What nothing names is forgotten.
    compile_with(&one(json!({ "endpoints": [PLAIN] }), Value::Null), &trust);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(told(&next()), [("upstreams", "u", false)]);
}

/// What providers usually ask counts at their own addresses, by whatever name, and nowhere else.
#[test]
fn prices_of_the_catalogue_count_at_the_provider_itself() {
    let target = |provider: &str, model: &str| json!({ "provider": provider, "model": model, "credential": "token" });
    let model = |name: &str, target: Value| json!({ "name": name, "targets": [target] });
    let (snapshot, problems) = compile(&json!({
        "credentials": [{ "name": "token", "engine": "static" }],
        "upstreams": [
            { "name": "ours", "endpoints": ["https://api.openai.com/v1/"], "provider": "openai" },
            { "name": "groq", "endpoints": [PLAIN], "provider": "openai" },
            { "name": "azure", "endpoints": ["https://r.example/openai/v1"], "provider": "azure-openai" },
        ],
        "models": [
            model("a", target("openai", "gpt-5-mini")),
            model("b", target("ours", "gpt-5-mini")),
            model("c", target("groq", "openai/gpt-oss-20b")),
            model("d", target("azure", "gpt-5-mini")),
            model("e", target("openai", "gpt-of-nobody")),
        ],
    }));
    assert_eq!(problems, [""; 0]);
    let targets: Vec<_> = snapshot.models.list.iter().map(|model| &model.targets[0]).collect();
    let known: Vec<_> = targets.iter().map(|target| !target.price.entries().is_empty()).collect();
    assert_eq!(known, [true, true, false, false, false]);
    assert_eq!(targets[0].price, targets[1].price);
    // So is how much a model is known to write.
    let longest: Vec<_> = targets.iter().map(|target| target.longest).collect();
    assert_eq!(longest, [128_000, 128_000, 32_768, 32_768, 32_768]);
    assert!(targets[3].responses && targets[3].dialect == Dialect::OpenAi);
}

/// Two accounts at one provider have contracts of their own, and a server's owner knows how much its model writes.
#[test]
fn what_a_target_says_is_its_own() {
    let price = |input: &str, batch: Option<&str>| {
        let batch = batch.map(|input| json!({ "input": input, "output": "1" }));
        let mut price = json!({ "from": "2020-01-01T00:00:00Z", "input": input, "output": "10" });
        batch.into_iter().for_each(|batch| price["batch"] = batch);
        json!([price])
    };
    let model = |name: &str, more: Value| {
        let mut target = json!({ "provider": "openai", "model": "gpt-5-mini", "credential": "token" });
        target.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        json!({ "name": name, "targets": [target] })
    };
    let (snapshot, problems) = compile(&json!({
        "credentials": [{ "name": "token", "engine": "static" }],
        "models": [
            model("bank", json!({ "prices": price("1", Some("0.5")), "max_output": 5_000 })),
            model("plain", json!({})),
            model("retail", json!({ "prices": price("2", None), "max_output": 200_000 })),
        ],
    }));
    assert_eq!(problems, [""; 0]);
    let now = Timestamp::from_secs(1_780_000_000);
    let input = |price: &PriceHandle| price.at(now).map(|entry| entry.input.to_string());
    let told = snapshot.models.list.iter().map(|model| {
        let target = &model.targets[0];
        let most = (target.longest, target.most_output, target.writes);
        (&*model.name, input(&target.price), input(&target.batch_price), most)
    });
    let some = |input: &str| Some(input.to_owned());
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("bank", some("1"), some("0.5"), (5_000, 5_000, Some(5_000))),
            ("plain", some("0.25"), some("0.125"), (128_000, 128_000, Some(128_000))),
            ("retail", some("2"), some("2"), (200_000, 200_000, Some(200_000))),
        ]
    );
}
