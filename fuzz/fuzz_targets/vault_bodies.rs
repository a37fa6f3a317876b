//! Any JSON as the body of any handler of the run-time API, over a real store: every path of every auth method and
//! engine, what describes a database, and what operators paste beside it: username templates, connection strings,
//! descriptions of APIs, reports of secret scanners. No panic, and no refusal repeats a secret.
//!
//! The world is made anew after so many inputs, so that it does not grow without end. Each process has its own, in memory
//! where there is such a place.
//!
//! Three lines: a place, a path, a body. Nothing is asked of another system: databases are written down without being
//! tried, and logins are not made.
#![no_main]

use credentialflow_identity::{self as identity, Authenticated, Identity, ports::NoWeb};
use credentialflow_model::{Actor, ActorKind, SecretValue, Timestamp};
use credentialflow_secrets::{
    Client, Mount, Operation, Txn,
    engine::Engine,
    lease::{Holder, Leases},
};
use credentialflow_store::Store;
use credentialflow_targets::{KINDS, http_api, username::Template, vault_url};
use credentialflow_vault::{SealInput, Vault};
use serde_json::{Map, Value, json};
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::runtime::{Builder, Runtime};

/// Each with its letter, so that what is fed can be read: `r\nrole/web\n{"token_ttl": "1h"}`. A capital one patches.
const METHODS: &[(u8, &str)] = &[(b'r', "approle"), (b'u', "userpass"), (b'j', "jwt"), (b'o', "oidc")];
const ENGINES: &[(u8, &str)] =
    &[(b'v', "kv-v1"), (b'k', "kv-v2"), (b'd', "database"), (b'q', "rabbitmq"), (b'c', "pki")];
/// Fields that are secrets; shorter values are met by chance.
const SECRET: &[&str] = &["password", "secret_id", "jwt", "token", "oidc_client_secret", "value"];
const SHORTEST: usize = 12;
/// Where a process has its world, behind this its id.
const PLACE: &str = "credentialflow-fuzz-vault-bodies-";
/// Inputs that one world takes.
const LIFETIME: u32 = 20_000;

struct World {
    taken: u32,
    dir: PathBuf,
    runtime: Runtime,
    store: Store,
    vault: Vault,
    identity: Identity,
    leases: Leases,
    mounts: Vec<Mount>,
    root: RefCell<Option<(Authenticated, String)>>,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let (place, path, body) =
        (lines.next().unwrap_or_default(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let (Some(place), Ok(path)) = (place.first(), std::str::from_utf8(path)) else { return };
    match place {
        b'f' => drop(credentialflow_governance::report::parse(body)),
        b'n' => names(path, body),
        b'x' => connection_strings(path),
        b'a' => described(body),
        place => {
            let Ok(Value::Object(data)) = serde_json::from_slice(body) else { return };
            WORLD.with_borrow_mut(|kept| {
                if kept.as_ref().is_some_and(|world| world.taken >= LIFETIME) {
                    // Before the next one takes its place.
                    *kept = None;
                }
                let world = kept.get_or_insert_with(World::new);
                world.taken += 1;
                world.runtime.block_on(world.handle(*place, path, &data));
            });
        }
    }
});

/// Removes what processes left that were ended in the middle.
fn forget_the_dead(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PLACE)).and_then(|id| id.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn names(path: &str, body: &[u8]) {
    let Ok(display) = std::str::from_utf8(body) else { return };
    for kind in KINDS {
        let Ok(template) = Template::parse(path, *kind) else { continue };
        if let Ok(name) = template.make(display, "role", Timestamp::from_secs(1_800_000_000)) {
            assert!(!name.is_empty() && !name.chars().any(char::is_control), "{name:?}");
        }
    }
}

fn connection_strings(text: &str) {
    let password = || SecretValue::from("a password of its own");
    let _ = vault_url::postgresql(text, "user", password(), None);
    let _ = vault_url::mysql(text, "user", password(), None);
    let _ = vault_url::holds_password(text);
}

fn described(body: &[u8]) {
    let Ok(description) = serde_json::from_slice::<http_api::Description>(body) else { return };
    let text = serde_json::to_vec(&description).expect("it is written");
    assert_eq!(serde_json::from_slice::<http_api::Description>(&text).expect("it is read"), description);
    let _ = http_api::HttpApi::new(http_api::Settings::new(description, "user", SecretValue::from("password")));
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        forget_the_dead(&base);
        let dir = base.join(format!("{PLACE}{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory");
        let url = format!("sqlite:{}", dir.join("state.db").display());
        let (store, vault, identity) = runtime.block_on(async {
            let store = Store::connect(&url).await.expect("a store");
            store.migrate().await.expect("tables");
            let input = SealInput::Environment(SecretValue::from("a passphrase of a test"));
            let vault = Vault::init(&store, &Actor::operator(), input).await.expect("a vault").vault;
            let identity = Identity::open(store.clone(), vault.clone(), Arc::new(NoWeb), Vec::new()).await;
            (store, vault, identity.expect("it is read"))
        });
        let mount = |(_, kind): &(u8, &str)| {
            let mut mount = Mount::new(kind, kind, Timestamp::from_secs(1)).expect("a mount");
            Engine::normalize(&mut mount).expect("a kind of engine");
            mount
        };
        let leases = Leases::new(vault.clone(), store.clone(), Default::default());
        let mounts = ENGINES.iter().map(mount).collect();
        Self { taken: 0, dir, runtime, store, vault, identity, leases, mounts, root: RefCell::default() }
    }

    async fn handle(&self, place: u8, path: &str, data: &Map<String, Value>) {
        let Some(refused) = self.refused(place, path, data).await else { return };
        for name in SECRET {
            let Some(secret) = data.get(*name).and_then(Value::as_str).filter(|s| s.len() >= SHORTEST) else {
                continue;
            };
            if !refused.contains(secret) {
                continue;
            }
            // "permission deni" stands in refusals that repeat nothing: those still hold it where another one was sent.
            let mut other = secret.to_owned();
            let last = other.pop();
            other.push(if last == Some('a') { 'b' } else { 'a' });
            let mut again = data.clone();
            again.insert((*name).into(), other.into());
            let otherwise = self.refused(place, path, &again).await;
            assert!(otherwise.is_some_and(|otherwise| otherwise.contains(secret)), "{refused}");
        }
    }

    /// Why it was refused, if it was.
    async fn refused(&self, place: u8, path: &str, data: &Map<String, Value>) -> Option<String> {
        if let Some(at) = ENGINES.iter().position(|(letter, _)| letter.eq_ignore_ascii_case(&place)) {
            self.engine(&self.mounts[at], place.is_ascii_uppercase(), path, data).await
        } else {
            self.method(place, path, data).await
        }
    }

    /// Why it was refused, if it was.
    async fn engine(&self, mount: &Mount, patch: bool, path: &str, data: &Map<String, Value>) -> Option<String> {
        let engine = Engine::of(mount).expect("a kind of engine");
        let actor = Actor { kind: ActorKind::Client, name: "token".into(), source: None };
        let operation = if patch { Operation::Patch } else { Operation::Write };
        if let Some(deed) = engine.deed(operation, path) {
            // Whatever else is a deed is done at a database.
            if !path.starts_with("config/") {
                return None;
            }
            let mut data = data.clone();
            data.insert("verify_connection".to_owned(), false.into());
            let holder = Holder {
                actor,
                accessor: "accessor".into(),
                token: None,
                entity: String::new(),
                application: String::new(),
                origin: String::new(),
                display_name: String::new(),
            };
            let done = self.leases.perform(&holder, mount, &deed, &data, &json!({})).await;
            return done.err().map(|error| error.to_string());
        }
        let client = Client { accessor: "accessor".into(), actor: actor.clone() };
        let mut txn = Txn::new(&self.vault, &self.store, actor);
        let call = credentialflow_secrets::Call { operation, path, data, mount, client: &client, now: txn.now() };
        match engine.handle(&call, &mut txn).await {
            Ok(_) => {
                txn.audit("test.run", "vault/test", json!({}));
                txn.commit().await.err().map(|error| error.to_string())
            }
            Err(error) => Some(error.to_string()),
        }
    }

    /// Why it was refused, if it was.
    async fn method(&self, place: u8, path: &str, data: &Map<String, Value>) -> Option<String> {
        let method = METHODS.iter().find(|(letter, _)| *letter == place).map(|(_, kind)| *kind);
        let kind = method.unwrap_or("token");
        let mount = identity::Mount {
            id: format!("mount-{kind}"),
            path: format!("{kind}/"),
            accessor: format!("auth_{kind}"),
            default_ttl: 3600,
            max_ttl: 7200,
        };
        let (caller, token) = self.root().await;
        let call = identity::Call {
            mount: &mount,
            operation: identity::Operation::Update,
            path,
            data,
            caller: Some(&caller),
            presented: Some(&token),
            source: None,
            rests_on: None,
        };
        let done = match (method, place) {
            (Some(kind), _) => self.identity.login_method(kind, &call).await,
            (None, b'p') => self.identity.policies(&call).await,
            (None, b'i') => self.identity.id_tokens(&call).await,
            (None, b't') => self.identity.token(&call).await,
            _ => return None,
        };
        done.err().map(|error| error.to_string())
    }

    /// The caller who may do everything; another one where that one has ended itself.
    async fn root(&self) -> (Authenticated, String) {
        let known = self.root.borrow().clone();
        if let Some((_, token)) = known
            && let Ok(caller) = self.identity.authenticate(&token, None).await
        {
            return (caller, token);
        }
        let made = self.identity.create_root_token(Actor::operator(), None).await.expect("a root token");
        let token = made.client_token.expose_str().expect("text").to_owned();
        let caller = self.identity.authenticate(&token, None).await.expect("it is known");
        *self.root.borrow_mut() = Some((caller.clone(), token.clone()));
        (caller, token)
    }
}
