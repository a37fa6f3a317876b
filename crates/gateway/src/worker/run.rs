//! A worker's thread from its start to its end: it accepts connections, obeys commands, keeps time, and
//! drains when it is told to stop.

use super::{Command, Gauges, Shared, Worker};
use crate::{
    conn,
    net::{control::TICK, idle},
    pipeline::decide,
    snapshot::Snapshot,
};
use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Runs a worker until it is told to shut down and has drained. Blocks its thread.
pub(crate) fn run(
    shared: Arc<Shared>,
    gauges: Arc<Gauges>,
    snapshot: Arc<Snapshot>,
    listener: std::net::TcpListener,
    commands: mpsc::UnboundedReceiver<Command>,
    seed: u64,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(idle::before_sleep)
        .on_thread_unpark(idle::after_sleep)
        .build_local(Default::default())?;
    let worker = runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let worker = Worker::new(shared, gauges, snapshot, seed);
        let sweep = tokio::task::spawn_local(sweep(worker.clone()));
        let look = tokio::task::spawn_local(idle::look(worker.gauges.clone()));
        serve(worker.clone(), listener, commands).await;
        sweep.abort();
        look.abort();
        std::io::Result::Ok(worker)
    })?;
    // Requests that have not ended by now end with their tasks, and leave their records in doing so.
    drop(runtime);
    worker.flush_records();
    Ok(())
}

/// Ticks after which end users that were not met again begin to be forgotten: a minute.
const USERS_TURN: u64 = 60_000 / TICK.as_millis() as u64;

async fn sweep(worker: Rc<Worker>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let tick = worker.tick.get() + 1;
        worker.tick.set(tick);
        worker.controls.sweep(tick);
        worker.flush_records();
        if tick.is_multiple_of(50) {
            worker.pools.close_stale(tick);
        }
        if tick.is_multiple_of(USERS_TURN) {
            worker.view().users.turn();
        }
    }
}

async fn serve(worker: Rc<Worker>, listener: tokio::net::TcpListener, mut commands: mpsc::UnboundedReceiver<Command>) {
    let acceptor = worker.shared.tls.clone().map(tokio_rustls::TlsAcceptor::from);
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Command::Install { snapshot, revoked, done }) => {
                    worker.install(snapshot);
                    for key in revoked.iter() {
                        worker.controls.revoke(*key);
                    }
                    // Nobody waits any more when the publisher gave up; the snapshot is in force all the same.
                    let _ = done.send(());
                }
                Some(Command::InFlight { credential, version, answer }) => {
                    // Who hears "none" also has the records of those there were.
                    worker.flush_records();
                    let _ = answer.send(worker.in_flight(credential, version));
                }
                Some(Command::Stragglers { credential, version, answer }) => {
                    let _ = answer.send(worker.stragglers(credential, version));
                }
                Some(Command::Preview { model, call, answer }) => {
                    let _ = answer.send(worker.preview(&model, &call));
                }
                Some(Command::Decide { model, call, answer }) => {
                    let worker = worker.clone();
                    tokio::task::spawn_local(async move {
                        let _ = answer.send(decide(&worker, &model, call).await);
                    });
                }
                Some(Command::Shutdown { done }) => {
                    accept_waiting(&worker, &listener, &acceptor);
                    drop(listener);
                    drain(&worker).await;
                    let _ = done.send(());
                    return;
                }
                None => return,
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, source)) => conn::start(&worker, stream, source, acceptor.clone()),
                // Out of descriptors or memory: give running requests time to finish.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
        }
    }
}

/// Takes the connections the kernel has already accepted for us, so that closing the socket resets
/// none. Asks the kernel itself: the runtime may not have heard of the latest ones yet.
fn accept_waiting(
    worker: &Rc<Worker>,
    listener: &tokio::net::TcpListener,
    acceptor: &Option<tokio_rustls::TlsAcceptor>,
) {
    let socket = socket2::SockRef::from(listener);
    while let Ok((stream, source)) = socket.accept() {
        let Some(source) = source.as_socket() else { continue };
        let stream = stream.set_nonblocking(true).and_then(|()| tokio::net::TcpStream::from_std(stream.into()));
        if let Ok(stream) = stream {
            conn::start(worker, stream, source, acceptor.clone());
        }
    }
}

async fn drain(worker: &Worker) {
    worker.draining.set(true);
    // Idle connections may have a request on the way; they get a moment to show it.
    tokio::time::sleep(Duration::from_millis(250)).await;
    worker.controls.drain_idle();
    let end = Instant::now() + worker.shared.settings.drain;
    while worker.gauges.connections.load(Relaxed) > 0 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
        worker.controls.drain_idle();
    }
    worker.controls.end_all();
    tokio::time::sleep(Duration::from_millis(20)).await;
}
