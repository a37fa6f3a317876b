//! Starts the server, in the order in which its parts need one another, and ends it in the reverse.

use super::{
    certificates::{self, Sightings},
    control,
    copy::LocalCopy,
    dataplane::{Plane, Port},
    jobs,
    nodes::{Identity, Nodes},
    ports::{Guesses, Records, RotationPorts, Stores},
    runtime, sealing, traffic,
    uses::UseWriter,
};
use crate::settings::{Role, ServerSettings, TlsFiles};
use anyhow::{Context, bail, ensure};
use credentialflow_admin::{AdminSettings, AdminState};
use credentialflow_certificates::Watch;
use credentialflow_gateway::{
    Gateway,
    gateway::Start,
    net::{
        listener,
        tls::{self, Certificate},
    },
};
use credentialflow_model::SecretValue;
use credentialflow_policy::{FailureThrottle, ThrottleSettings};
use credentialflow_store::Store;
use credentialflow_stores::Links;
use credentialflow_telemetry::{Recorder, RecorderSettings};
use credentialflow_vault::{RotationRunner, SealInput, Vault, VaultError, seal};
use credentialflow_vaultapi::VaultApi;
use std::{
    fs::File,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch};

/// Runs the server until it is told to stop and has drained.
pub async fn run(settings: ServerSettings) -> anyhow::Result<()> {
    guard_address("gateway", settings.gateway, settings.gateway_tls.is_some(), settings.allow_plaintext)?;
    guard_address("control", settings.control, settings.control_tls.is_some(), settings.allow_plaintext)?;
    if settings.role != Role::Control && !settings.take_over {
        guard_port("gateway", settings.gateway)?;
    }
    if settings.role != Role::Gateway && !settings.take_over {
        guard_port("control", settings.control)?;
    }
    if let Some(address) = settings.vault {
        guard_address("vault", address, settings.vault_tls.is_some(), settings.allow_plaintext)?;
        if !settings.take_over {
            guard_port("vault", address)?;
        }
    }
    let _held = hold_data_dir(&settings)?;
    let store = Store::connect(&settings.database).await.context("opening the database")?;
    let (stop, stopped) = watch::channel(false);
    let api = runtime::api(&settings, &store);
    let watch = Arc::new(Watch::default());
    let served =
        runtime::listen(&settings, &api, server_tls(settings.vault_tls.as_ref(), "vault", &watch)?, stopped.clone())?;
    let vault = tokio::select! {
        vault = open_vault(&settings, &store, &api) => vault?,
        () = signalled() => return Ok(()),
    };
    runtime::attach(&api, &vault, stopped.clone());
    let mut recorder_settings = RecorderSettings::new(settings.data_dir.join("calls"));
    recorder_settings.retention_days = settings.call_log_days;
    let recorder = Recorder::start(recorder_settings).context("starting the recorder")?;
    let telemetry = recorder.telemetry();
    let uses = Arc::new(UseWriter::new(store.clone(), telemetry.clone()));
    let (writer, lost) = (uses.clone(), uses.clone());
    tokio::spawn(async move { writer.run().await });
    telemetry.metrics().register_counter(
        "uses_lost",
        "Uses that no last use tells of, because too many waited",
        move || lost.lost() as i64,
    );

    let seed = random()?;
    let copy = LocalCopy::open(&copy_dir(&settings), is_remote(&settings))?;
    let nodes = Arc::new(Nodes::new(store.clone(), identity(&settings), random()?));
    remember_node(&settings, nodes.id());
    certificates::measure(&watch, telemetry.metrics());
    let plane = Plane::new(store.clone(), vault.clone(), telemetry.clone(), copy, nodes.clone(), watch.clone(), seed);
    let plane = Arc::new(plane);

    let control = if settings.role == Role::Gateway {
        None
    } else {
        Some(start_control(&settings, &store, &vault, &plane, &recorder, &api, stopped.clone()).await?)
    };
    let serve = start_when_unsealed(&settings, &store, &vault, &plane, &recorder, seed, stopped.clone());
    tokio::select! {
        started = serve => started?,
        () = signalled() => {}
    }
    tracing::info!("shutting down: running requests are finished first");
    let _ = stop.send(true);
    if let Some(gateway) = plane.detach().await {
        drain(gateway).await;
    }
    if let Some(control) = control {
        let _ = control.await;
    }
    if let Some(served) = served {
        let _ = served.await;
    }
    tokio::task::spawn_blocking(move || recorder.shutdown()).await?;
    match store.ping().await {
        Ok(()) => {
            uses.finish().await;
            if !vault.is_sealed()
                && let Err(error) = vault.checkpoint_audit().await
            {
                tracing::warn!(%error, "the audit log could not be signed at the end");
            }
        }
        Err(error) => tracing::warn!(%error, "the last uses could not be written; the call log has them"),
    }
    nodes.end().await;
    store.close().await;
    tracing::info!("ended");
    Ok(())
}

/// Opens the vault: from the database, or from the local copy while the database is away.
async fn open_vault(settings: &ServerSettings, store: &Store, api: &VaultApi) -> anyhow::Result<Vault> {
    match store.migrate().await {
        Ok(_) => match Vault::open_sealed(store).await {
            Err(VaultError::NotInitialized) if settings.vault.is_some() => {
                tracing::warn!("there is no vault yet: it is made by sys/init of the run-time API");
                Ok(api.vault().await)
            }
            Err(VaultError::NotInitialized) => {
                bail!("this database is not initialized; run `credentialflow init` with the same settings first")
            }
            // Somebody may be making the vault through that API at this moment; there is one for both.
            opened if settings.vault.is_some() => {
                api.attach(opened?).await?;
                Ok(api.vault().await)
            }
            opened => Ok(opened?),
        },
        Err(away) if away.is_transient() => {
            let copy = LocalCopy::open(&copy_dir(settings), true)?;
            let bytes = copy.vault_settings().with_context(|| format!("{away}, and there is no local copy yet"))?;
            let vault = Vault::open_copy(&bytes)?;
            tokio::spawn(attach_when_back(store.clone(), vault.clone()));
            Ok(vault)
        }
        Err(other) => Err(other.into()),
    }
}

fn copy_dir(settings: &ServerSettings) -> std::path::PathBuf {
    settings.data_dir.join("copy")
}

/// Whether the database can be away while this machine is well.
fn is_remote(settings: &ServerSettings) -> bool {
    settings.database.starts_with("postgres")
}

async fn attach_when_back(store: Store, vault: Vault) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if store.migrate().await.is_ok() && vault.attach(&store).await.is_ok() {
            tracing::info!("the database is back");
            return;
        }
    }
}

/// Unseals with what the settings give; without, waits until somebody does. Then runs the gateway
/// until the process is told to stop.
async fn start_when_unsealed(
    settings: &ServerSettings,
    store: &Store,
    vault: &Vault,
    plane: &Arc<Plane>,
    recorder: &Recorder,
    seed: u64,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let nodes = plane.nodes();
    let sealing = sealing::measure(vault, &recorder.telemetry());
    sealing::open(unseal_input(settings)?, vault, store).await?;
    let start = |snapshot| {
        if settings.role == Role::Control {
            return Ok(None);
        }
        let gateway = Gateway::start(Start {
            address: settings.gateway,
            workers: settings.workers.unwrap_or_else(cores),
            settings: credentialflow_gateway::Settings {
                drain: settings.drain,
                memory: settings.worker_memory,
                ..Default::default()
            },
            snapshot,
            records: Arc::new(Records(recorder.sender())),
            throttle: Arc::new(FailureThrottle::new(plane.rates().clone(), ThrottleSettings::default())),
            guesses: Arc::new(Guesses::start(store.clone(), plane.guesses_lost().clone())),
            certificates: Arc::new(Sightings::start(plane.certificates().clone())),
            tls: server_tls(settings.gateway_tls.as_ref(), "gateway", plane.certificates())?,
            seed,
        })
        .with_context(|| format!("listening on {}", settings.gateway))?;
        tracing::info!(address = %gateway.address(), workers = gateway.workers(), "the gateway serves");
        Ok(Some(gateway))
    };
    let heard = nodes.clone();
    tokio::spawn(async move { heard.run().await });
    while let Err(error) = plane.begin(start).await {
        let sealed =
            |cause: &(dyn std::error::Error + 'static)| matches!(cause.downcast_ref(), Some(VaultError::Sealed));
        if !error.chain().any(sealed) {
            return Err(error.context("loading the stored state"));
        }
        tracing::warn!("the vault was sealed while the gateway started; it starts when it is unsealed again");
        sealing::open(None, vault, store).await?;
    }
    count_nodes(nodes, recorder);
    tokio::spawn(traffic::report(plane.clone(), nodes.clone(), store.clone(), recorder.telemetry()));
    if settings.role != Role::Control {
        let metrics = recorder.telemetry();
        let (a, b) = (plane.clone(), plane.clone());
        metrics.metrics().register_gauge("connections", "Open connections of callers", move || a.load().0 as i64);
        metrics.metrics().register_gauge("requests_in_flight", "Requests being served", move || b.load().1 as i64);
        count_limits(plane, metrics.metrics());
    }
    tokio::spawn(certificates::keep(plane.certificates().clone(), store.clone(), nodes.clone()));
    tokio::spawn(jobs::housekeeping(store.clone(), vault.clone(), plane.clone(), nodes.clone()));
    let follower = plane.clone();
    tokio::spawn(async move { follower.follow().await });
    if settings.role != Role::Gateway {
        tokio::spawn(sealing::reseal(vault.clone(), sealing, nodes.jobs()));
        let telemetry = recorder.telemetry();
        let logins = credentialflow_targets::Logins::new(store.clone(), vault.clone());
        let links = Links::new(store.clone(), vault.clone(), settings.store_files.clone());
        tokio::spawn(run_links(links.clone(), nodes.jobs(), stopped.clone()));
        let ports = Arc::new(RotationPorts { plane: plane.clone(), nodes: nodes.clone(), telemetry, logins, links });
        let runner = RotationRunner::new(vault.clone(), ports.clone(), ports.clone(), ports, Default::default());
        tokio::spawn(run_rotations(runner, nodes.jobs(), stopped));
    }
    std::future::pending().await
}

/// Runs rotations while this node is the one that does, until the process is told to stop. What another node has
/// begun is resumed from what is stored, and the other way round.
async fn run_rotations(runner: RotationRunner, mut mine: watch::Receiver<bool>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.wait_for(|s| *s) => return,
            begun = mine.wait_for(|mine| *mine) => if begun.is_err() { return },
        }
        runner
            .run(async {
                tokio::select! {
                    _ = stopped.wait_for(|s| *s) => {}
                    _ = mine.wait_for(|mine| !*mine) => {}
                }
            })
            .await;
    }
}

/// Keeps what credentials have in external stores in step while this node is the one that does, until the process is
/// told to stop.
async fn run_links(links: Links, mut mine: watch::Receiver<bool>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.wait_for(|s| *s) => return,
            begun = mine.wait_for(|mine| *mine) => if begun.is_err() { return },
        }
        links
            .run(async {
                tokio::select! {
                    _ = stopped.wait_for(|s| *s) => {}
                    _ = mine.wait_for(|mine| !*mine) => {}
                }
            })
            .await;
    }
}

/// How many nodes there are, and whether this one is heard.
fn count_nodes(nodes: &Arc<Nodes>, recorder: &Recorder) {
    let telemetry = recorder.telemetry();
    let (live, lost, stale) = (nodes.clone(), nodes.clone(), nodes.clone());
    let metrics = telemetry.metrics();
    metrics.register_gauge(
        "nodes_live",
        "Nodes that were heard within their lifetime, this one among them",
        move || live.count_others().0 as i64 + 1,
    );
    metrics.register_gauge("nodes_lost", "Nodes that have been silent past their lifetime", move || {
        lost.count_others().1 as i64
    });
    metrics.register_gauge("node_stale", "1 while other nodes no longer wait for this one", move || {
        i64::from(stale.is_stale())
    });
}

/// What this process is among others on its database.
fn identity(settings: &ServerSettings) -> Identity {
    let serves = settings.role != Role::Control;
    let port = if serves { settings.gateway.port() } else { settings.control.port() };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = settings.node_name.clone().unwrap_or_else(|| format!("{host}:{port}"));
    // This process has the data directory for itself, so the one before it has ended.
    let before = std::fs::read_to_string(settings.data_dir.join(NODE_FILE)).ok();
    let ended = before.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty() && !settings.take_over);
    Identity { name, serves, controls: settings.role != Role::Gateway, ended }
}

/// Name of the file in the data directory that tells the id of the newest process on it.
const NODE_FILE: &str = "node";

/// Lets the next process on this data directory know which node has ended. Without it others wait a few seconds longer.
fn remember_node(settings: &ServerSettings, id: &str) {
    if let Err(error) = std::fs::write(settings.data_dir.join(NODE_FILE), id) {
        tracing::warn!(%error, "the id of this process could not be noted in the data directory");
    }
}

/// What was held, refused or lost because it would have had no end.
fn count_limits(plane: &Arc<Plane>, metrics: &credentialflow_telemetry::Metrics) {
    let (held, over, lost) = (plane.clone(), plane.clone(), plane.guesses_lost().clone());
    metrics.register_gauge(
        "memory_held_bytes",
        "Bytes that HTTP/2 requests and buffered model bodies hold of the workers' memory budgets",
        move || held.memory().0 as i64,
    );
    metrics.register_counter("memory_refusals", "How often something did not fit into a memory budget", move || {
        over.memory().1 as i64
    });
    metrics.register_counter(
        "guess_events_lost",
        "Audit events about guessing of keys that were not written",
        move || lost.load(Relaxed) as i64,
    );
    let (configured, made_up) = (plane.rates().clone(), plane.rates().clone());
    metrics.register_counter(
        "limit_evictions",
        "States of limits that gave way although they were active: the table is too small",
        move || configured.evictions() as i64,
    );
    metrics.register_counter(
        "limit_evictions_by_flood",
        "The same among sources and claimed key ids, which anyone can make up",
        move || made_up.made_up_evictions() as i64,
    );
}

fn unseal_input(settings: &ServerSettings) -> anyhow::Result<Option<SealInput>> {
    if let Some(file) = &settings.passphrase_file {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let text = SecretValue::from(text);
        let line = text.expose_str().unwrap_or_default().lines().next().unwrap_or_default();
        ensure!(!line.is_empty(), "{} is empty", file.display());
        return Ok(Some(SealInput::Passphrase(SecretValue::from(line))));
    }
    if let Some(file) = &settings.key_file {
        return Ok(Some(SealInput::KeyFile(file.clone())));
    }
    Ok(seal::environment::from_process())
}

async fn start_control(
    settings: &ServerSettings,
    store: &Store,
    vault: &Vault,
    plane: &Arc<Plane>,
    recorder: &Recorder,
    api: &VaultApi,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let socket = listener::bind(settings.control).with_context(|| format!("listening on {}", settings.control))?;
    let listener = TcpListener::from_std(socket)?;
    let tls = server_tls(settings.control_tls.as_ref(), "control", plane.certificates())?;
    let admin = AdminState::new(
        store.clone(),
        vault.clone(),
        recorder.telemetry(),
        Arc::new(Port(plane.clone())),
        AdminSettings {
            tls: tls.is_some(),
            key_prefix: settings.key_prefix.clone(),
            gateway: settings.role != Role::Control,
            sealed_tables: sealing::TABLES.to_vec(),
            stores: Some(Arc::new(Stores(Links::new(store.clone(), vault.clone(), settings.store_files.clone())))),
            certificates: listeners_certificates(settings),
            watch: plane.certificates().clone(),
            ..AdminSettings::default()
        },
    );
    let mut router = credentialflow_admin::router(admin);
    if settings.vault_api {
        router = router.nest("/vault", api.router());
    }
    let router = control::with_console(router);
    let denials = api.clone();
    recorder.telemetry().metrics().register_counter(
        "vault_denials_left_out",
        "Refusals of callers without a good token that the audit log does not tell of one by one",
        move || denials.denials_left_out() as i64,
    );
    tracing::info!(address = %listener.local_addr()?, "the control plane serves");
    let limits = control::Limits::new(settings.control_connections);
    let stop = async move { drop(stopped.wait_for(|s| *s).await) };
    Ok(tokio::spawn(control::serve(listener, tls, router, limits, stop)))
}

/// The certificates of our listeners, for the inventory.
fn listeners_certificates(settings: &ServerSettings) -> Vec<(String, std::path::PathBuf)> {
    let vault = settings.vault_tls.as_ref().filter(|_| settings.vault.is_some());
    let all =
        [("gateway", settings.gateway_tls.as_ref()), ("control", settings.control_tls.as_ref()), ("vault", vault)];
    let given = all.into_iter().filter_map(|(name, files)| Some((name.to_owned(), files?.certificate.clone())));
    given.collect()
}

fn server_tls(
    files: Option<&TlsFiles>,
    listener: &'static str,
    watch: &Arc<Watch>,
) -> anyhow::Result<Option<Arc<rustls::ServerConfig>>> {
    let Some(files) = files else { return Ok(None) };
    let certificate = Certificate::load(&files.certificate, &files.key)?;
    certificates::listens(watch, listener, &certificate);
    tokio::spawn(jobs::reload_certificate(files.clone(), listener, certificate.clone(), watch.clone()));
    Ok(Some(tls::server_config(certificate)?))
}

/// Secrets must not cross a network in the clear because somebody forgot a line.
fn guard_address(what: &str, address: SocketAddr, tls: bool, allowed: bool) -> anyhow::Result<()> {
    ensure!(
        address.ip().is_loopback() || tls || allowed,
        "the {what} listener on {address} is reachable from outside and has no TLS; configure a certificate, \
         listen on 127.0.0.1, or ask for it with --allow-plaintext"
    );
    Ok(())
}

/// The sockets let others listen beside them, so the system would share a port between two servers in
/// silence, and what one acknowledges the other would not yet enforce.
fn guard_port(what: &str, address: SocketAddr) -> anyhow::Result<()> {
    ensure!(
        address.port() == 0 || !listener::is_taken(address),
        "somebody already listens on {address}, which is to be the {what} listener; end that program, choose \
         another port, or take over from it with --take-over"
    );
    Ok(())
}

/// Keeps other servers from the data directory for as long as the file is open. One that takes over waits
/// for it on a thread of its own, until the server it takes over from has ended.
fn hold_data_dir(settings: &ServerSettings) -> anyhow::Result<Option<File>> {
    use rustix::fs::{FlockOperation, flock};
    std::fs::create_dir_all(&settings.data_dir).with_context(|| format!("creating {}", settings.data_dir.display()))?;
    let path = settings.data_dir.join("lock");
    let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    if settings.take_over {
        std::thread::Builder::new().name("data-directory".into()).spawn(move || {
            // Without the lock the server runs on; it only no longer keeps a third one away.
            let _ = flock(&file, FlockOperation::LockExclusive);
            let _held = file;
            loop {
                std::thread::park();
            }
        })?;
        return Ok(None);
    }
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        anyhow::anyhow!(
            "another server uses the data directory {}; end it, use another directory, or take over from it with \
             --take-over",
            settings.data_dir.display()
        )
    })?;
    Ok(Some(file))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn random() -> anyhow::Result<u64> {
    let mut bytes = [0u8; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Waits until nobody else holds the gateway, then lets its requests finish.
async fn drain(mut gateway: Arc<Gateway>) {
    loop {
        match Arc::try_unwrap(gateway) {
            Ok(gateway) => return gateway.shutdown().await,
            Err(held) => gateway = held,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_port_is_not_shared_with_another_program() {
        let other = listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = other.local_addr().unwrap();
        let refused = guard_port("gateway", address).unwrap_err().to_string();
        assert!(refused.contains(&address.to_string()), "{refused}");
        drop(other);
        assert!(guard_port("gateway", address).is_ok());
        assert!(guard_port("gateway", ([127, 0, 0, 1], 0).into()).is_ok());
    }
}
