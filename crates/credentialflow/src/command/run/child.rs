//! The program: started, sent the signals that we are sent, waited for.

use super::fetch::Fetched;
use anyhow::bail;
use credentialflow_model::SecretValue;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt, process::ExitStatusExt},
    process::ExitStatus,
    time::Instant,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// What is handed on. A terminal's own signals are the exception, see [`forward`].
const SIGNALS: [(SignalKind, Signal); 6] = [
    (SignalKind::terminate(), Signal::TERM),
    (SignalKind::interrupt(), Signal::INT),
    (SignalKind::quit(), Signal::QUIT),
    (SignalKind::hangup(), Signal::HUP),
    (SignalKind::user_defined1(), Signal::USR1),
    (SignalKind::user_defined2(), Signal::USR2),
];

/// Runs the program to its end, and answers its exit code: 128 and the signal's number where one ended it,
/// 127 where there is no such program, 126 where it cannot be run (POSIX).
pub(super) async fn run(
    command: &[OsString],
    environment: Vec<(String, SecretValue)>,
    without: &[&str],
    fetched: &mut Fetched,
    signals: &mut mpsc::Receiver<Signal>,
) -> anyhow::Result<u8> {
    let Some((program, arguments)) = command.split_first() else { bail!("no program is named") };
    let mut child = match start(program, arguments, &environment, without) {
        Ok(child) => child,
        Err(error) => {
            eprintln!("credentialflow: {} cannot be run: {error}", program.display());
            return Ok(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    drop(environment);
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    loop {
        let renewal = fetched.next();
        let due = async {
            match renewal {
                Some(at) => tokio::time::sleep(at.saturating_duration_since(Instant::now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = child.wait() => return Ok(code(ended?)),
            Some(signal) = signals.recv() => forward(pid, signal),
            () = due => {
                // A server that does not answer must not keep signals from the program.
                let renewing = fetched.renew();
                tokio::pin!(renewing);
                loop {
                    tokio::select! {
                        () = &mut renewing => break,
                        ended = child.wait() => return Ok(code(ended?)),
                        Some(signal) = signals.recv() => forward(pid, signal),
                    }
                }
            }
        }
    }
}

fn start(
    program: &OsStr,
    arguments: &[OsString],
    environment: &[(String, SecretValue)],
    without: &[&str],
) -> std::io::Result<Child> {
    let mut command = Command::new(program);
    command.args(arguments);
    for name in without {
        command.env_remove(name);
    }
    for (name, value) in environment {
        command.env(name, OsStr::from_bytes(value.expose()));
    }
    crate::as_given();
    command.spawn()
}

/// The signals that we are sent from now on; none of them ends us any more.
pub(super) fn listen() -> std::io::Result<mpsc::Receiver<Signal>> {
    let (sender, receiver) = mpsc::channel(16);
    for (kind, word) in SIGNALS {
        let (mut stream, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move { while stream.recv().await.is_some() && sender.send(word).await.is_ok() {} });
    }
    Ok(receiver)
}

/// A terminal sends its interrupt and quit to everyone in its foreground, the program among them: sent once
/// more, many programs would end at once instead of in order.
fn forward(pid: Option<Pid>, signal: Signal) {
    let of_terminal = matches!(signal, Signal::INT | Signal::QUIT);
    let in_foreground = || {
        let group = rustix::termios::tcgetpgrp(std::io::stdin());
        group.is_ok_and(|group| group == rustix::process::getpgrp())
    };
    if let Some(pid) = pid
        && !(of_terminal && in_foreground())
    {
        // It may just have ended.
        let _ = kill_process(pid, signal);
    }
}

/// The exit code of a program that a signal ended.
pub(super) fn ended_by(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(1)
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
