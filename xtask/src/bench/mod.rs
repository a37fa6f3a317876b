//! `cargo xtask bench`: what a request costs, most of it beside nginx in the same run.

mod compare;
mod installation;
mod keys;
mod load;
mod routes;
mod script;

use crate::need;
use anyhow::Result;

/// What is measured.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure; without one, the four that are compared with nginx.
    #[arg(value_enum)]
    set: Option<Set>,
    /// Rounds of the compared sets; each measures every target once.
    #[arg(long, default_value_t = 8)]
    rounds: u32,
    /// Seconds of load for one figure.
    #[arg(long, default_value_t = 4)]
    secs: u32,
    /// Measure a binary built with this profile instead of the shipped one.
    #[arg(long, default_value = "release")]
    profile: String,
}

/// The sets.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Set {
    /// A 1 KiB REST answer, beside nginx with the same duties.
    Plain,
    /// A whole chat completion.
    Chat,
    /// 64 events written at once.
    StreamBurst,
    /// 64 events, 2 ms apart.
    StreamPaced,
    /// The cost of a request from 10 to 100,000 routes.
    Routes,
    /// The cost of a key check with one key and with a million, what a key weighs, and how long a start
    /// walks over them.
    Keys,
    /// How soon a revoked key is refused on every worker.
    Revoke,
    /// A million live leases: the start, memory, one deed of each kind, ten thousand that end at once.
    Leases,
    /// The run-time API beside the real OpenBao server: reading and writing secrets, logging in.
    Vault,
    /// Model calls with everything on, beside LiteLLM, Portkey and nginx: whole, streamed, translated; what is added to
    /// the time of a call; the memory of ten thousand open streams.
    Models,
    /// Whether memory grows while streams run for an hour.
    Soak,
}

/// Measures and prints.
pub fn run(args: &Args) -> Result<()> {
    match args.set {
        Some(Set::Routes) => routes::run(&args.profile, args.secs),
        Some(Set::Keys) => keys::run(&args.profile),
        Some(Set::Revoke) => script::run::<&str>("revoke", &[], &args.profile),
        Some(Set::Soak) => script::run::<&str>("soak", &[], &args.profile),
        Some(Set::Leases) => script::run("leases", &["--profile", &args.profile], &args.profile),
        Some(Set::Vault) => beside("vault", "vault.py", args),
        Some(Set::Models) => {
            need::node()?;
            need::all(&[need::PYTHON_VENV])?;
            beside("models", "bench.py", args)
        }
        Some(set) => compare::run(&[harness_name(set)], args),
        None => compare::run(&[Set::Plain, Set::Chat, Set::StreamBurst, Set::StreamPaced].map(harness_name), args),
    }
}

/// Runs a measurement that uses a script of the comparison harness.
fn beside(name: &str, script: &str, args: &Args) -> Result<()> {
    let harness = compare::harness(script)?.display().to_string();
    let (rounds, secs) = (args.rounds.to_string(), args.secs.to_string());
    script::run(name, &[harness, "--rounds".into(), rounds, "--secs".into(), secs], &args.profile)
}

const fn harness_name(set: Set) -> &'static str {
    match set {
        Set::Plain => "plain",
        Set::Chat => "chat",
        Set::StreamBurst => "stream-burst",
        Set::StreamPaced => "stream-paced",
        Set::Routes | Set::Keys | Set::Revoke | Set::Leases | Set::Vault | Set::Models | Set::Soak => "",
    }
}
