//! Google's Files API: an upload begins with a key and goes on without one, at an address that opens nothing else.

use crate::{batches::Keeper, harness::*, realtime::Purse};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use credentialflow_model::{OutcomeReason as R, Timestamp, objects::ObjectKind};
use credentialflow_policy::pass;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, atomic::AtomicI64};

const JSON: &str = "content-type: application/json\r\n";
const START: &str = "content-type: application/json\r\nx-goog-upload-protocol: resumable\r\nx-goog-upload-command: start\r\n\
                     x-goog-upload-header-content-length: 6\r\nx-goog-upload-header-content-type: text/plain\r\n";
const FILE: &str = r#"{"file":{"displayName":"a","mimeType":"text/plain","sizeBytes":6}}"#;
const PURPOSE: &str = "an upload to a provider's files";
const AT: &str = "https://generativelanguage.googleapis.com/v1beta/";

/// A provider that takes uploads as Google does, and complains of what Google would not take.
#[derive(Default)]
struct Google {
    /// What came of the one upload so far.
    came: Vec<u8>,
    is_over: bool,
    complaints: Vec<String>,
    /// In place of its own address of the upload.
    address: Option<String>,
    state: &'static str,
}

impl Google {
    fn told(&self, id: &str) -> Value {
        json!({"name": id, "displayName": "a", "mimeType": "text/plain", "sizeBytes": self.came.len().to_string(),
            "uri": format!("{AT}{id}"), "downloadUri": format!("{AT}{id}:download?alt=media"), "state": self.state,
            "expirationTime": "2096-01-01T00:00:00.123456789Z"})
    }

    /// The answer to a request: status, more fields, body.
    fn serve(&mut self, request: &Message) -> (u16, String, String) {
        if request.field("x-goog-api-key") != Some(SECRET) || request.count("x-goog-api-key") != 1 {
            self.complaints.push(format!("the key: {}", request.first));
        }
        let (path, query) = request.target().split_once('?').unwrap_or_else(|| (request.target(), ""));
        let nothing = || (404, String::new(), r#"{"error":{"code":404,"message":"nothing"}}"#.to_owned());
        match (request.method(), path) {
            ("POST", "/x/upload/v1beta/files") if query.is_empty() => {
                let told = |name: &str| request.field(name).unwrap_or_default().to_owned();
                let fields = ["protocol", "command", "header-content-length", "header-content-type"];
                let fields = fields.map(|name| told(&format!("x-goog-upload-{name}")));
                if fields != ["resumable", "start", "6", "text/plain"] {
                    self.complaints.push(format!("{fields:?}"));
                }
                assert_eq!(request.body, FILE.as_bytes());
                (self.came, self.is_over) = (Vec::new(), false);
                let own = format!(
                    "http://{}/x/upload/v1beta/files?upload_id=There-1&upload_protocol=resumable",
                    request.field("host").unwrap_or_default()
                );
                let address = self.address.clone().unwrap_or(own);
                let more = format!("x-goog-upload-url: {address}\r\nx-goog-upload-control-url: {address}\r\nx-goog-upload-status: active\r\n");
                (200, format!("{more}x-goog-upload-chunk-granularity: 262144\r\n"), String::new())
            }
            ("POST", "/x/upload/v1beta/files") if query == "upload_id=There-1&upload_protocol=resumable" => {
                let offset = request.field("x-goog-upload-offset").and_then(|offset| offset.parse().ok());
                let command = request.field("x-goog-upload-command").unwrap_or_default();
                if command == "query" {
                    let size = self.came.len();
                    return (200, format!("x-goog-upload-status: active\r\nx-goog-upload-size-received: {size}\r\n"), String::new());
                }
                if self.is_over || offset != Some(self.came.len()) {
                    return (400, "x-goog-upload-status: final\r\n".into(), r#"{"error":{"code":400,"message":"offset"}}"#.into());
                }
                self.came.extend_from_slice(&request.body);
                if command == "upload" {
                    return (200, "x-goog-upload-status: active\r\n".into(), String::new());
                }
                self.is_over = true;
                let told = json!({"file": self.told("files/there-1")}).to_string();
                (200, format!("{JSON}x-goog-upload-status: final\r\n"), told)
            }
            ("GET", "/x/v1beta/files/there-1") => {
                self.state = "ACTIVE";
                (200, JSON.into(), self.told("files/there-1").to_string())
            }
            ("DELETE", "/x/v1beta/files/there-1") => (200, JSON.into(), "{}".into()),
            ("POST", path) if path.ends_with(":generateContent") => (
                200,
                JSON.into(),
                json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP"}],
                    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}})
                .to_string(),
            ),
            _ => nothing(),
        }
    }
}

async fn google() -> (FakeUpstream, Arc<Mutex<Google>>) {
    let google = Arc::new(Mutex::new(Google { state: "ACTIVE", ..Google::default() }));
    let state = google.clone();
    let upstream = FakeUpstream::start(move |mut peer| {
        let state = state.clone();
        async move {
            while let Some(request) = peer.request().await {
                let (status, more, body) = state.lock().unwrap().serve(&request);
                peer.send(answer(status, &more, &body)).await;
            }
        }
    })
    .await;
    (upstream, google)
}

const CREDENTIALS: [(&str, u32, &str); 2] = [("c", 1, SECRET), ("d", 1, "sk-another-Jx81.Qq0")];

fn yaml(at: &FakeUpstream) -> String {
    let url = at.url();
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [gemini, both] }} }}
  - {{ name: other, allow: {{ models: [gemini, chat] }} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: k2, application: other }}
  - {{ name: k3, application: app, limit: {{ requests: 2, per: 1h }} }}
credentials:
  - {{ name: c, engine: static }}
  - {{ name: d, engine: static }}
upstreams:
  - {{ name: google, endpoints: [\"{url}/x/v1beta\"], provider: gemini }}
  - {{ name: elsewhere, endpoints: [\"{url}/y/v1beta\"], provider: gemini }}
  - {{ name: twice, endpoints: [\"{url}/x/v1beta\", \"{url}/z/v1beta\"], provider: gemini }}
  - {{ name: openai, endpoints: [\"{url}/v1\"], provider: openai }}
models:
  - {{ name: gemini, targets: [{{ provider: google, model: real, credential: c }}] }}
  - name: both
    targets:
      - {{ provider: openai, model: real, credential: c }}
      - {{ provider: google, model: real, credential: c, priority: 1 }}
  - {{ name: chat, targets: [{{ provider: openai, model: real, credential: c }}] }}
  - {{ name: many, targets: [{{ provider: twice, model: real, credential: c }}] }}
  - {{ name: far, targets: [{{ provider: elsewhere, model: real, credential: d }}] }}
"
    )
}

fn world(yaml: String) -> (World, Arc<Keeper>) {
    let keeper = Arc::<Keeper>::default();
    let mut setup = Setup::new(yaml);
    setup.objects = Some(keeper.clone());
    setup.credentials = CREDENTIALS.to_vec();
    setup.workers = 1;
    (setup.start(), keeper)
}

fn parsed(answer: &Message) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", said(answer)))
}

fn said(answer: &Message) -> String {
    format!("{} {}", answer.first, String::from_utf8_lossy(&answer.body))
}

/// The path and query at which the pieces of a new upload are taken.
async fn begin(world: &World) -> String {
    let told = world.ask(post("/upload/v1beta/files", START, FILE)).await;
    assert_eq!((told.status(), &*told.body), (200, &b""[..]), "{}", said(&told));
    world.outcome(R::Served).await;
    assert_eq!(told.field("x-goog-upload-status"), Some("active"));
    assert_eq!(told.field("x-goog-upload-control-url"), None, "it leads past us");
    let address = told.field("x-goog-upload-url").unwrap();
    address.strip_prefix("http://gw").unwrap_or_else(|| panic!("{address}")).to_owned()
}

/// A piece as Google's SDKs send it: without a key.
fn piece(at: &str, command: &str, offset: usize, body: &str) -> String {
    format!(
        "POST {at} HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\nx-goog-upload-command: {command}\r\n\
         x-goog-upload-offset: {offset}\r\n\r\n{body}",
        body.len()
    )
}

/// Uploads a file, and gives what is told of it.
async fn upload(world: &World) -> Value {
    let at = begin(world).await;
    let told = world.ask(piece(&at, "upload, finalize", 0, "%PDF-1")).await;
    assert_eq!((told.status(), told.field("x-goog-upload-status")), (200, Some("final")), "{}", said(&told));
    world.outcome(R::Served).await;
    parsed(&told)["file"].clone()
}

fn call(uri: &str) -> String {
    json!({"contents": [{"role": "user", "parts": [{"text": "?"}, {"fileData": {"fileUri": uri, "mimeType": "text/plain"}}]}]})
        .to_string()
}

async fn ask(world: &World, model: &str, uri: &str) -> Message {
    world.ask(post(&format!("/v1beta/models/{model}:generateContent"), JSON, &call(uri))).await
}

fn code(answer: &Message) -> Value {
    parsed(answer)["error"]["details"][0]["reason"].clone()
}

#[tokio::test]
async fn a_file_goes_up_in_pieces_and_calls_read_it() {
    let (at, google) = google().await;
    let (world, keeper) = world(yaml(&at));
    let pieces = begin(&world).await;
    assert!(!pieces.contains("There-1") && !pieces.contains(&key("k")), "{pieces}");
    let told = world.ask(piece(&pieces, "upload", 0, "%PDF")).await;
    assert_eq!((told.status(), told.field("x-goog-upload-status")), (200, Some("active")), "{}", said(&told));
    let record = world.outcome(R::Served).await;
    assert_eq!((record.application.as_deref(), record.key), (Some("app"), Some(key_id("k"))));
    assert_eq!(&*record.path, "/upload/v1beta/files/pieces", "nothing of what opens it is recorded");
    let told = world.ask(piece(&pieces, "query", 0, "")).await;
    assert_eq!(told.field("x-goog-upload-size-received"), Some("4"));
    world.outcome(R::Served).await;
    assert!(keeper.objects.lock().unwrap().is_empty(), "it is not there yet");
    let told = world.ask(piece(&pieces, "upload, finalize", 4, "-1")).await;
    assert_eq!((told.status(), told.field("x-goog-upload-status")), (200, Some("final")), "{}", said(&told));
    world.outcome(R::Served).await;
    assert_eq!(google.lock().unwrap().came, b"%PDF-1");
    let file = parsed(&told)["file"].clone();
    let name = file["name"].as_str().unwrap();
    let own = name.strip_prefix("files/").unwrap();
    assert!(own.len() <= 40 && own.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}");
    assert_eq!((&file["uri"], &file["downloadUri"]), (&json!(format!("{AT}{name}")), &Value::Null));
    assert_eq!(file["sizeBytes"], "6");
    assert!(!said(&told).contains("there-1"), "{}", said(&told));
    let kept = keeper.objects.lock().unwrap()[0].clone();
    assert_eq!((kept.kind, &*kept.id, &*kept.upstream_id), (ObjectKind::GeminiFile, name, "files/there-1"));
    assert_eq!(kept.facts.expires, "2096-01-01T00:00:00.123456Z".parse::<Timestamp>().ok());
    assert_eq!((&*kept.application, kept.facts.credential.as_deref()), ("app", Some("c")));

    // It is read by calls, past targets that do not have it, and by nobody else.
    let uri = file["uri"].as_str().unwrap();
    for model in ["gemini", "both"] {
        let told = ask(&world, model, uri).await;
        assert_eq!(told.status(), 200, "{}", said(&told));
        world.outcome(R::Served).await;
        assert_eq!(at.last().target(), "/x/v1beta/models/real:generateContent");
        assert_eq!(String::from_utf8(at.last().body).unwrap(), call(&format!("{AT}files/there-1")));
    }
    let asked = at.requests().len();
    let there = format!("{AT}files/there-1");
    for uri in [
        &*there,
        &there.replace("v1beta", "v1"),
        &uri.replace("/files/", "/files/x"),
        "files/there-1",
        &format!("{uri}?x"),
    ] {
        let told = ask(&world, "gemini", uri).await;
        assert_eq!((told.status(), code(&told)), (400, json!("file_unknown")), "{uri}: {}", said(&told));
        world.outcome(R::FileUnknown).await;
    }
    let others = post("/v1beta/models/gemini:generateContent", JSON, &call(uri)).replace(&key("k"), &key("k2"));
    assert_eq!(code(&world.ask(others).await), "file_unknown");
    world.outcome(R::FileUnknown).await;
    // Nor do callers of other forms name it.
    let chat = json!({"model": "gemini", "messages": [{"role": "user", "content": [
        {"type": "file", "file": {"file_id": name}}]}]});
    assert_eq!(world.ask(post("/v1/chat/completions", JSON, &chat.to_string())).await.status(), 400);
    world.outcome(R::FileUnknown).await;

    // What is told of it, and to whom.
    let path = format!("/v1beta/{name}");
    assert_eq!(parsed(&world.get(&path, "").await), file);
    assert_eq!(
        parsed(&world.get("/v1beta/files?pageSize=1", "").await),
        json!({"files": [file], "nextPageToken": own})
    );
    for request in [get(&path, ""), get(&path, "").replace("GET", "DELETE")] {
        let told = world.ask(request.replace(&key("k"), &key("k2"))).await;
        assert_eq!((told.status(), code(&told)), (404, json!("object_not_found")), "{}", said(&told));
    }
    // Google's SDK for Python asks below `v1`, where others have their files, with Google's header.
    let as_google = |request: String| request.replace("x-api-key", "x-goog-api-key");
    assert_eq!(parsed(&world.ask(as_google(get(&path.replace("v1beta", "v1"), ""))).await), file);
    let page = parsed(&world.ask(as_google(get("/v1/files", ""))).await);
    assert_eq!(page, json!({"files": [file], "nextPageToken": own}));
    assert_eq!(world.get(&path.replace("v1beta", "v1"), "").await.status(), 404, "in OpenAI's form there is none");
    for request in [
        as_google(get(&format!("{}/content", path.replace("v1beta", "v1")), "")),
        as_google(post("/v1/files", "content-type: multipart/form-data; boundary=b\r\n", "--b--")),
    ] {
        let told = world.ask(request).await;
        assert_eq!((told.status(), code(&told)), (400, json!("invalid_model_call")), "{}", said(&told));
    }
    for reason in [R::Served, R::Served, R::ObjectNotFound, R::ObjectNotFound] {
        world.outcome(reason).await;
    }
    for reason in [R::Served, R::Served, R::ObjectNotFound, R::InvalidModelCall, R::InvalidModelCall] {
        world.outcome(reason).await;
    }
    let told = world.get(&format!("{path}:download?alt=media"), "").await;
    assert_eq!((told.status(), code(&told)), (400, json!("invalid_model_call")), "{}", said(&told));
    assert_eq!(at.requests().len(), asked, "the provider was not asked");
    let told = world.ask(get(&path, "").replace("GET", "DELETE")).await;
    assert_eq!((told.status(), parsed(&told)), (200, json!({})), "{}", said(&told));
    assert_eq!(at.last().first, "DELETE /x/v1beta/files/there-1 HTTP/1.1");
    assert_eq!(ask(&world, "gemini", uri).await.status(), 400, "it is gone");
    for reason in [R::InvalidModelCall, R::Served] {
        world.outcome(reason).await;
    }
    world.outcome(R::FileUnknown).await;
    assert_eq!(google.lock().unwrap().complaints, [""; 0]);
    world.done().await;
}

#[tokio::test]
async fn the_address_of_an_upload_opens_this_upload_alone() {
    let (at, _google) = google().await;
    let (world, keeper) = world(yaml(&at));
    let own = begin(&world).await;
    let (path, query) = own.split_once('?').unwrap();
    let shown = query.strip_prefix("upload_id=").unwrap().strip_suffix("&upload_protocol=resumable").unwrap();
    let asked = at.requests().len();
    let (api_key, principal) = caller("k", "app");
    let (_, of_another) = caller("k2", "other");
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let now = Timestamp::from_secs(seconds as i64);
    let (id, _) = shown.rsplit_once('.').unwrap();
    let mut parts = id.splitn(4, '.');
    let (_, _, ends, sealed) = (parts.next(), parts.next(), parts.next().unwrap(), parts.next().unwrap());
    let (_, what) = pass::open(&api_key, &keys_of("k", "app"), PURPOSE, shown.as_bytes(), now).unwrap();
    let what = what.as_slice();
    let readable = String::from_utf8_lossy(what);
    assert!(readable.contains("There-1") && readable.contains("http://"), "{readable}");
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).unwrap();
    for told in ["There-1", "http", "gemini", "upload"] {
        assert!(!sealed.windows(told.len()).any(|part| part == told.as_bytes()), "{told} can be read");
    }
    let lasts = ends.parse::<i64>().unwrap() - now.secs();
    assert!((3_590..=3_600).contains(&lasts), "an hour, not {lasts}");
    let issue = |principal, purpose, ends, what: &[u8]| pass::issue(&api_key, principal, purpose, ends, what).unwrap();
    let soon = Timestamp::from_secs(now.secs() + 60);
    assert_ne!(issue(&principal, PURPOSE, soon, what), shown);
    let mut altered = shown.to_owned().into_bytes();
    altered[40] ^= 1;
    let replaced = id.replacen(&key_id("k").to_string(), &key_id("k2").to_string(), 1);
    let mark = shown.rsplit_once('.').unwrap().1;
    for (why, pass) in [
        ("altered", String::from_utf8(altered).unwrap()),
        ("another key's", format!("{replaced}.{mark}")),
        ("longer", shown.replacen(ends, "9999999999", 1)),
        ("over", issue(&principal, PURPOSE, now, what)),
        ("for something else", issue(&principal, "live session of x", soon, what)),
        ("not one", issue(&principal, PURPOSE, soon, b"{}")),
        ("empty", String::new()),
        ("a key", key("k")),
    ] {
        let told = world.ask(piece(&format!("{path}?upload_id={pass}"), "upload, finalize", 0, "%PDF-1")).await;
        assert_eq!((told.status(), code(&told)), (401, json!("unauthenticated")), "{why}: {}", said(&told));
        assert_eq!(told.field("x-goog-upload-status"), Some("final"), "so that SDKs do not send it again");
        assert!(said(&told).contains("begin the upload again"), "{}", said(&told));
        world.outcome(R::Unauthenticated).await;
    }
    // A key alone is no address, and an address is no key.
    for (request, reason) in [
        (post(path, "x-goog-upload-command: upload, finalize\r\nx-goog-upload-offset: 0\r\n", "x"), R::Unauthenticated),
        (piece(&format!("{path}?{query}&upload_id=x"), "upload, finalize", 0, "x"), R::Unauthenticated),
        (get("/v1beta/files", "").replace(&key("k"), shown), R::Unauthenticated),
        (piece(&format!("/upload/v1beta/files?{query}"), "start", 0, ""), R::Unauthenticated),
        (piece(&own, "upload, finalize", 0, "x").replace("POST", "GET"), R::MethodNotAllowed),
        (piece(&own, "start", 0, ""), R::InvalidModelCall),
        (piece(&own, "upload", 256 << 20, "x"), R::BodyTooLarge),
        (piece(&own, "upload", usize::MAX, "x"), R::BodyTooLarge),
        (piece(&own, "upload", 0, "x").replace("offset: 0", "offset: -1"), R::InvalidModelCall),
        (piece(&own, "upload", 0, "x").replace("x-goog-upload-offset", "x-other"), R::InvalidModelCall),
        (piece(&own, "query", 0, "x"), R::InvalidModelCall),
        (piece(&own, "upload", 0, "").replace("content-length: 0", "content-length: 300000000"), R::BodyTooLarge),
        (
            piece(&own, "upload", 0, "1\r\nx\r\n0\r\n\r\n").replace("content-length: 11", "transfer-encoding: chunked"),
            R::InvalidModelCall,
        ),
    ] {
        let told = world.ask(&request).await;
        world.outcome(reason).await;
        assert_eq!(told.status(), reason.status(), "{request}: {}", said(&told));
    }
    // Another application's model is none of this key's.
    let theirs = issue(&of_another, PURPOSE, soon, what);
    let told = world.ask(piece(&format!("{path}?upload_id={theirs}"), "upload", 0, "x")).await;
    assert_eq!(told.status(), 200, "as if it had begun one itself: {}", said(&told));
    assert_eq!(world.outcome(R::Served).await.application.as_deref(), Some("other"));
    assert_eq!(at.requests().len(), asked + 1, "nothing else went to the provider");
    assert!(keeper.objects.lock().unwrap().is_empty());

    // It ends with its key, and with the model.
    let without = yaml(&at).replace("models: [gemini, both]", "models: []");
    world.install(&without, &CREDENTIALS, &[]).await;
    let told = world.ask(piece(&own, "upload", 0, "x")).await;
    assert_eq!(told.status(), 503, "{}", said(&told));
    world.outcome(R::NoHealthyEndpoint).await;
    world.install(&yaml(&at), &CREDENTIALS, &["k"]).await;
    let told = world.ask(piece(&own, "upload", 0, "x")).await;
    assert_eq!((told.status(), code(&told)), (401, json!("unauthenticated")), "{}", said(&told));
    world.outcome(R::Unauthenticated).await;
    // Nor does it lead to where the provider has moved meanwhile.
    world.install(&yaml(&at).replace("/x/v1beta", "/w/v1beta"), &CREDENTIALS, &[]).await;
    let told = world.ask(piece(&own, "upload", 0, "x")).await;
    assert_eq!(told.status(), 503, "{}", said(&told));
    world.outcome(R::NoHealthyEndpoint).await;
    assert_eq!(at.requests().len(), asked + 1);
    world.done().await;
}

#[tokio::test]
async fn an_upload_begins_in_one_way_and_goes_to_the_provider_alone() {
    let (at, google) = google().await;
    let (world, _) = world(yaml(&at));
    let named = r#"{"file":{"name":"files/mine"}}"#;
    for (more, body, reason) in [
        (START.replace("resumable", "raw"), FILE, R::InvalidModelCall),
        (START.replace("start", "start, upload, finalize"), FILE, R::InvalidModelCall),
        (format!("{START}x-goog-upload-command: start\r\n"), FILE, R::InvalidModelCall),
        (JSON.to_owned(), FILE, R::InvalidModelCall),
        (START.to_owned(), named, R::InvalidModelCall),
        (START.to_owned(), "[]", R::InvalidModelCall),
        (START.replace("length: 6", "length: 268435457"), FILE, R::BodyTooLarge),
        (format!("{START}x-credentialflow-model: chat\r\n"), FILE, R::ModelNotFound),
        (format!("{START}x-credentialflow-model: nothing\r\n"), FILE, R::ModelNotFound),
    ] {
        let told = world.ask(post("/upload/v1beta/files", &more, body)).await;
        assert_eq!(
            (told.status(), code(&told)),
            (reason.status(), json!(reason.code())),
            "{more}{body}: {}",
            said(&told)
        );
        world.outcome(reason).await;
    }
    assert_eq!(at.requests().len(), 0);
    // Where the address is seen from outside is told by what ends TLS before us.
    let told = world.ask(post("/upload/v1beta/files", &format!("{START}x-forwarded-proto: https\r\n"), FILE)).await;
    assert!(told.field("x-goog-upload-url").unwrap().starts_with("https://gw/upload/"), "{}", said(&told));
    world.outcome(R::Served).await;
    for address in [
        "https://evil.example/x/upload/v1beta/files?upload_id=1",
        "/x/upload/v1beta/files",
        "http://127.0.0.1:1/x/upload/a",
    ] {
        google.lock().unwrap().address = Some(address.to_owned());
        let told = world.ask(post("/upload/v1beta/files", START, FILE)).await;
        assert_eq!((told.status(), code(&told)), (502, json!("upstream_malformed")), "{address}: {}", said(&told));
        assert_eq!(told.field("x-goog-upload-url"), None);
        world.outcome(R::UpstreamMalformed).await;
    }
    google.lock().unwrap().address = None;
    let config = yaml(&at).replace("models: [gemini, both]", "models: [many]");
    world.install(&config, &CREDENTIALS, &[]).await;
    let told = world.ask(post("/upload/v1beta/files", START, FILE)).await;
    assert_eq!((told.status(), code(&told)), (400, json!("invalid_model_call")), "{}", said(&told));
    world.outcome(R::InvalidModelCall).await;
    let config = yaml(&at).replace("models: [gemini, both]", "models: [gemini, far]");
    world.install(&config, &CREDENTIALS, &[]).await;
    let told = world.ask(post("/upload/v1beta/files", START, FILE)).await;
    assert!(said(&told).contains("x-credentialflow-model"), "{}", said(&told));
    world.outcome(R::InvalidModelCall).await;
    world.done().await;
}

#[tokio::test]
async fn pieces_are_looked_at_and_files_get_ready() {
    let (at, google) = google().await;
    let (world, _) = world(yaml(&at));
    let pieces = begin(&world).await;
    let told = world.ask(piece(&pieces, "upload, finalize", 0, &format!("a {} b", key("k2")))).await;
    assert_eq!((told.status(), code(&told)), (400, json!("secret_in_request")), "{}", said(&told));
    world.outcome(R::SecretInRequest).await;
    let named = FILE.replace("\"a\"", &format!("\"{}\"", key("k2")));
    let told = world.ask(post("/upload/v1beta/files", START, &named)).await;
    assert_eq!((told.status(), code(&told)), (400, json!("secret_in_request")), "{}", said(&told));
    world.outcome(R::SecretInRequest).await;
    // A piece counts with the limits of the key that began its upload.
    let begun = world.ask(post("/upload/v1beta/files", START, FILE).replace(&key("k"), &key("k3"))).await;
    world.outcome(R::Served).await;
    let address = begun.field("x-goog-upload-url").unwrap().strip_prefix("http://gw").unwrap();
    assert_eq!(world.ask(piece(address, "upload", 0, "x")).await.status(), 200);
    world.outcome(R::Served).await;
    assert_eq!(world.ask(piece(address, "upload", 1, "x")).await.status(), 429);
    world.outcome(R::RateLimited).await;
    // A video takes its time.
    google.lock().unwrap().state = "PROCESSING";
    let file = upload(&world).await;
    assert_eq!(file["state"], "PROCESSING");
    let told = world.get(&format!("/v1beta/{}", file["name"].as_str().unwrap()), "").await;
    assert_eq!((&parsed(&told)["state"], &parsed(&told)["name"]), (&json!("ACTIVE"), &file["name"]), "{}", said(&told));
    assert_eq!(at.last().first, "GET /x/v1beta/files/there-1 HTTP/1.1");
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn a_hard_budget_pays_for_no_file_of_google_either() {
    let (at, _google) = google().await;
    let prices = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }]";
    let yaml = yaml(&at)
        .replace("- { name: app,", "- { name: app, budget: { usd: 5, per: month, hard: true },")
        .replace("model: real,", &format!("model: real, {prices},"));
    let mut setup = Setup::new(yaml);
    setup.objects = Some(Arc::<Keeper>::default());
    setup.credentials = CREDENTIALS.to_vec();
    setup.lender = Arc::new(Purse(AtomicI64::new(5_000_000_000_000)));
    let world = setup.start();
    let file = upload(&world).await;
    let told = ask(&world, "gemini", file["uri"].as_str().unwrap()).await;
    assert_eq!(told.status(), 400, "{}", said(&told));
    assert!(said(&told).contains("`fileUri`") && said(&told).contains("hard limit"), "{}", said(&told));
    world.outcome(R::InvalidModelCall).await;
    world.done().await;
}
