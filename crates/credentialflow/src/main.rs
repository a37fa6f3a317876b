//! The one binary: it hardens its own process, reads the command line, and runs one command.
//!
//! Everything a command does is in `command/`, everything the server is made of in `server/`.

mod cli;
mod client;
mod command;
mod input;
mod log;
mod output;
mod reference;
mod server;
mod settings;

use clap::Parser;
use std::{process::ExitCode, sync::OnceLock};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    harden();
    std::panic::set_hook(Box::new(tell_panic));
    // Fails only when a provider is installed already, which nothing before this line does.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    command::run(cli)
}

/// How many open files this process was allowed before it took more.
static FILES: OnceLock<rustix::process::Rlimit> = OnceLock::new();

/// Gives a program that is run next the number of open files that we were given: many old ones walk
/// through all that they may have. It still leaves no core dump, as it holds secrets.
pub(crate) fn as_given() {
    if let Some(files) = FILES.get() {
        let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, *files);
    }
}

/// No core dumps, and no other process of this user may read this one's memory: both would hold
/// opened secrets. And as many open files as are allowed. Where the system refuses, the process runs
/// all the same.
fn harden() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // Each connection takes a file, and many systems begin with 1,024 of them although more are allowed.
    let files = getrlimit(Resource::Nofile);
    let _ = FILES.set(files);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Tells where a panic happened. Its message is told only when it is a literal of the program: a
/// formatted one may hold whatever the program was working on.
fn tell_panic(info: &std::panic::PanicHookInfo<'_>) {
    use std::io::Write;
    let message = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(message left out)");
    let place = info.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let _ = writeln!(std::io::stderr(), "credentialflow: internal error in thread {name}{place}: {message}");
}
