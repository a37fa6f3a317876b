//! Starts the server, in the order in which its parts need one another, and ends it in the reverse.

use super::{
    acme::Acme,
    batches::Batches,
    budgets::{
        Budgets, Charged, Spender,
        processes::{Process, Processes},
    },
    certificates::{self, Sightings},
    control,
    dataplane::{Plane, Port},
    guards, jobs,
    model_calls::OwnGateway,
    nodes::{Identity, Nodes},
    notices::Notices,
    oauth::TokenEndpoint,
    opening,
    ports::{Guesses, Records, RotationPorts, RunTime, RunTimeLeases, Stores},
    runtime, sealing,
    sent::Sent,
    spend::SpendWriter,
    supply::Suppliers,
    tokens::Tokens,
    traffic,
    uses::UseWriter,
};
use crate::{
    log::LogGuard,
    settings::{Listener, Role, ServerSettings},
};
use anyhow::Context;
use credentialflow_admin::{
    AdminSettings, AdminState,
    ports::{CertificateOrders, ModelCalls},
};
use credentialflow_certificates::Watch;
use credentialflow_gateway::{
    Gateway,
    gateway::Start,
    net::{
        listener,
        tls::{self, Certificate},
    },
    ports::ChallengeSource,
};
use credentialflow_notify::Webhooks;
use credentialflow_policy::{FailureThrottle, ThrottleSettings};
use credentialflow_store::Store;
use credentialflow_stores::Links;
use credentialflow_telemetry::{Recorder, RecorderSettings};
use credentialflow_vault::{RotationRunner, Vault, VaultError};
use credentialflow_vaultapi::VaultApi;
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch};

/// Runs the server until it is told to stop and has drained.
pub async fn run(settings: ServerSettings, log: Arc<LogGuard>) -> anyhow::Result<()> {
    let _held = guards::pass(&settings)?;
    credentialflow_store::reserve_log(&settings.database);
    let store = Store::connect(&settings.database).await.context("opening the database")?;
    let (stop, stopped) = watch::channel(false);
    let api = runtime::api(&settings, &store);
    let watch = Arc::new(Watch::default());
    let acme = Acme::new(&settings, &store, &watch)?;
    let vault_tls = server_tls(&settings, Listener::Vault, acme.as_ref(), &watch)?;
    let tokens = TokenEndpoint::default();
    let served = runtime::listen(&settings, (&api, &tokens), vault_tls, stopped.clone())?;
    let vault = tokio::select! {
        vault = opening::vault(&settings, &store, &api) => vault?,
        () = signalled() => return Ok(()),
    };
    vault.set_key_prefix(&settings.key_prefix);
    runtime::attach(&api, &vault, stopped.clone());
    let acme = acme.map(|acme| acme.attach(&settings, &vault, stopped.clone())).transpose()?;
    let mut recorder_settings = RecorderSettings::new(settings.data_dir.join("calls"));
    recorder_settings.retention_days = settings.call_log_days;
    let charged = Arc::new(Charged::default());
    let recorder = Recorder::start_with(recorder_settings, Some(charged.clone())).context("starting the recorder")?;
    let telemetry = recorder.telemetry();
    let uses = Arc::new(UseWriter::new(store.clone(), telemetry.clone()));
    let (writer, lost) = (uses.clone(), uses.clone());
    tokio::spawn(async move { writer.run().await });
    telemetry.metrics().register_counter(
        "uses_lost",
        "Uses that no last use tells of, because too many waited",
        move || lost.lost() as i64,
    );
    let last_use = telemetry.last_use().clone();
    telemetry.metrics().register_counter(
        "key_networks_lost",
        "Networks from which a key was used and that found no room to wait for the database",
        move || last_use.networks_lost() as i64,
    );

    let seed = random()?;
    let copy = opening::copy(&settings)?;
    let processes = Processes::of(&settings.data_dir);
    // This process has the data directory for itself, so those before it have ended.
    let earlier = if settings.take_over { vec![] } else { processes.list() };
    let identity = identity(&settings, &earlier);
    let name = identity.name.clone();
    let nodes = Arc::new(Nodes::new(store.clone(), identity, random()?));
    let (calls, writer) = (telemetry.calls().clone(), telemetry.writer());
    let spend = SpendWriter::new(store.clone(), telemetry.clone(), name.clone());
    tokio::spawn(spend.clone().run());
    let spender = Spender { node: nodes.id().to_owned(), name, calls, writer, processes, earlier };
    let budgets = Budgets::new(store.clone(), charged, spender);
    budgets.measure(telemetry.metrics());
    if let Err(error) = budgets.note().await {
        tracing::warn!(%error, "this process cannot be noted in the data directory; until it can, it borrows nothing of budgets");
    }
    certificates::measure(&watch, telemetry.metrics());
    if let Some(acme) = &acme {
        acme.measure(telemetry.metrics());
    }
    let plane = Plane::new(
        store.clone(),
        vault.clone(),
        telemetry.clone(),
        copy,
        nodes.clone(),
        (watch.clone(), budgets.book().clone(), log.clone()),
        seed,
    );
    tokio::spawn(budgets.clone().run());
    let plane = Arc::new(plane);
    tokens.attach(plane.clone(), vault.clone(), settings.key_prefix.clone(), random()?);

    let control_tls = match settings.role {
        Role::Gateway => None,
        _ => server_tls(&settings, Listener::Control, acme.as_ref(), plane.certificates())?,
    };
    let gateway_certificate = match settings.role {
        Role::Control => None,
        _ => certificate_of(&settings, Listener::Gateway, acme.as_ref(), plane.certificates())?,
    };
    let calls = OwnGateway::new(plane.clone(), gateway_certificate.clone());
    let calls = Some(Arc::new(calls) as Arc<dyn ModelCalls>).filter(|_| settings.role != Role::Control);
    let faces = AdminSettings {
        tls: control_tls.is_some(),
        calls,
        run_time: Some(Arc::new(RunTime(api.clone()))),
        leases: Some(Arc::new(RunTimeLeases(api.clone()))),
        spend: Some(spend.clone()),
        orders: acme.as_ref().map(|acme| acme.clone() as Arc<dyn CertificateOrders>),
        ..AdminSettings::default()
    };
    let admin = admin_state(&settings, &store, &vault, &plane, &recorder, faces);
    if settings.role != Role::Gateway {
        tokio::spawn(certificates::follow_authorities(plane.certificates().clone(), api.clone()));
    }
    let control = if settings.role == Role::Gateway {
        None
    } else {
        Some(start_control(&settings, admin.clone(), &recorder, (&api, &tokens), control_tls, stopped.clone())?)
    };
    let sent = Sent::start(admin, recorder.telemetry().metrics(), &log);
    let serve = start_when_unsealed(
        &settings,
        &vault,
        &plane,
        &recorder,
        (&sent, budgets.clone(), gateway_certificate),
        acme.as_ref(),
        stopped.clone(),
    );
    tokio::select! {
        started = serve => started?,
        () = signalled() => {}
    }
    tracing::info!("shutting down: running requests are finished first");
    let _ = stop.send(true);
    if let Some(gateway) = plane.detach().await {
        drain(gateway).await;
    }
    sent.finish().await;
    if let Some(control) = control {
        let _ = control.await;
    }
    if let Some(served) = served {
        let _ = served.await;
    }
    tokio::task::spawn_blocking(move || recorder.shutdown()).await?;
    match store.ping().await {
        Ok(()) => {
            budgets.finish().await;
            uses.finish().await;
            spend.add().await;
            if !vault.is_sealed()
                && let Err(error) = vault.checkpoint_audit().await
            {
                tracing::warn!(%error, "the audit log could not be signed at the end");
            }
        }
        Err(error) => {
            tracing::warn!(%error, "the last uses could not be written and budgets not be settled; the call log has them")
        }
    }
    nodes.end().await;
    store.close().await;
    tracing::info!("ended");
    log.forget();
    Ok(())
}

/// Unseals with what the settings give; without, waits until somebody does. Then runs the gateway
/// until the process is told to stop.
async fn start_when_unsealed(
    settings: &ServerSettings,
    vault: &Vault,
    plane: &Arc<Plane>,
    recorder: &Recorder,
    (sent, lender, certificate): (&Arc<Sent>, Arc<Budgets>, Option<Arc<Certificate>>),
    acme: Option<&Arc<Acme>>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let (nodes, seed, store) = (plane.nodes(), random()?, plane.store());
    let sealing = sealing::measure(vault, &recorder.telemetry());
    sealing::open(opening::unseal_input(settings)?, vault, store).await?;
    if let Some(acme) = acme {
        acme.look().await;
    }
    let batches = Batches::new(store.clone(), plane.clone(), recorder.telemetry(), recorder.sender());
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
                answer_cache: settings.answer_cache,
                ..Default::default()
            },
            snapshot,
            records: Arc::new(Records(recorder.sender())),
            throttle: Arc::new(FailureThrottle::new(plane.rates().clone(), ThrottleSettings::default())),
            guesses: Arc::new(Guesses::start(store.clone(), plane.guesses_lost().clone())),
            certificates: Arc::new(Sightings::start(plane.certificates().clone())),
            secrets: sent.clone(),
            lender: lender.clone(),
            objects: Some(Arc::new(batches.clone())),
            challenges: acme.map(|acme| acme.clone() as Arc<dyn ChallengeSource>),
            tls: certificate.clone().map(tls::server_config).transpose()?,
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
    if settings.role != Role::Control {
        let telemetry = recorder.telemetry();
        plane.tokens().measure(telemetry.metrics());
        let (vault, node) = (vault.clone(), nodes.name().to_owned());
        tokio::spawn(Tokens { plane: plane.clone(), vault, telemetry, node }.run(stopped.clone()));
    }
    tokio::spawn(certificates::keep(plane.certificates().clone(), store.clone(), nodes.clone()));
    tokio::spawn(jobs::housekeeping(store.clone(), vault.clone(), plane.clone(), nodes.clone(), lender.clone()));
    let follower = plane.clone();
    tokio::spawn(async move { follower.follow().await });
    if settings.role != Role::Gateway {
        tokio::spawn(batches.run(nodes.jobs(), stopped.clone()));
        tokio::spawn(sealing::reseal(vault.clone(), sealing, nodes.jobs()));
        let telemetry = recorder.telemetry();
        let logins = credentialflow_targets::Logins::new(store.clone(), vault.clone());
        let links = Links::new(store.clone(), vault.clone(), settings.store_files.clone());
        tokio::spawn(run_links(links.clone(), nodes.jobs(), stopped.clone()));
        let webhooks = Webhooks::new(settings.private_hosts.clone());
        let notices = Arc::new(Notices {
            store: store.clone(),
            vault: vault.clone(),
            webhooks: webhooks.clone(),
            mailer: settings.mailer()?,
            sending: Default::default(),
        });
        tokio::spawn(notices.run(nodes.jobs()));
        let suppliers = Suppliers { store: store.clone(), vault: vault.clone(), webhooks };
        let (plane, nodes) = (plane.clone(), nodes.clone());
        let jobs = nodes.jobs();
        let ports = Arc::new(RotationPorts { plane, nodes, telemetry, logins, links, suppliers });
        let runner = RotationRunner::new(vault.clone(), ports.clone(), ports.clone(), ports, Default::default());
        tokio::spawn(run_rotations(runner, jobs.clone(), stopped.clone()));
        if let Some(acme) = acme {
            tokio::spawn(acme.clone().keep_ordered(jobs, stopped));
        }
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
fn identity(settings: &ServerSettings, earlier: &[Process]) -> Identity {
    let serves = settings.role != Role::Control;
    let port = if serves { settings.gateway.port() } else { settings.control.port() };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = settings.node_name.clone().unwrap_or_else(|| format!("{host}:{port}"));
    let ended = earlier.iter().map(|process| process.id.clone()).collect();
    Identity { name, serves, controls: settings.role != Role::Gateway, ended }
}

/// What was held, refused or lost because it would have had no end.
fn count_limits(plane: &Arc<Plane>, metrics: &credentialflow_telemetry::Metrics) {
    let (held, over, lost) = (plane.clone(), plane.clone(), plane.guesses_lost().clone());
    metrics.register_gauge(
        "memory_held_bytes",
        "Bytes that HTTP/2 requests and buffered model bodies hold of the workers' memory budgets",
        move || held.memory().0 as i64,
    );
    let (answers, bytes) = (plane.clone(), plane.clone());
    metrics.register_gauge(
        "llm_cache_answers",
        "Answers of models that this node keeps to give them again",
        move || answers.answers_kept().0 as i64,
    );
    metrics.register_gauge("llm_cache_bytes", "Bytes of memory that these answers take", move || {
        bytes.answers_kept().1 as i64
    });
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

/// What answers the admin API, and leaks that the gateway meets: a node without a control plane does that as well.
fn admin_state(
    settings: &ServerSettings,
    store: &Store,
    vault: &Vault,
    plane: &Arc<Plane>,
    recorder: &Recorder,
    faces: AdminSettings,
) -> AdminState {
    AdminState::new(
        store.clone(),
        vault.clone(),
        recorder.telemetry(),
        Arc::new(Port(plane.clone())),
        AdminSettings {
            key_prefix: settings.key_prefix.clone(),
            gateway: settings.role != Role::Control,
            sealed_tables: sealing::TABLES.to_vec(),
            stores: Some(Arc::new(Stores(Links::new(store.clone(), vault.clone(), settings.store_files.clone())))),
            fetch: Some(Arc::new(runtime::Outside::new(settings.private_hosts.clone()))),
            watch: plane.certificates().clone(),
            ..faces
        },
    )
}

fn start_control(
    settings: &ServerSettings,
    admin: AdminState,
    recorder: &Recorder,
    (api, tokens): (&VaultApi, &TokenEndpoint),
    tls: Option<Arc<rustls::ServerConfig>>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let socket = listener::bind(settings.control).with_context(|| format!("listening on {}", settings.control))?;
    let listener = TcpListener::from_std(socket)?;
    let mut router = credentialflow_admin::router(admin).merge(tokens.router());
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

fn server_tls(
    settings: &ServerSettings,
    listener: Listener,
    acme: Option<&Arc<Acme>>,
    watch: &Arc<Watch>,
) -> anyhow::Result<Option<Arc<rustls::ServerConfig>>> {
    Ok(certificate_of(settings, listener, acme, watch)?.map(tls::server_config).transpose()?)
}

/// The certificate of a listener, kept as it is renewed; none where it speaks no TLS.
fn certificate_of(
    settings: &ServerSettings,
    listener: Listener,
    acme: Option<&Arc<Acme>>,
    watch: &Arc<Watch>,
) -> anyhow::Result<Option<Arc<Certificate>>> {
    if let Some(certificate) = acme.and_then(|acme| acme.certificate(listener)) {
        return Ok(Some(certificate));
    }
    let Some(files) = settings.tls_files(listener) else { return Ok(None) };
    let certificate = Certificate::load(&files.certificate, &files.key)?;
    certificates::listens(watch, listener.as_str(), &certificate);
    tokio::spawn(jobs::reload_certificate(files.clone(), listener.as_str(), certificate.clone(), watch.clone()));
    Ok(Some(certificate))
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
