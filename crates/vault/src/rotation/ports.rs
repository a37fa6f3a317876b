//! What a rotation needs from outside, and nothing more: a way to try a value at its target, a view
//! of the traffic, and a way to make every worker enforce what is stored. The binary implements them.

use crate::engine::BoxFuture;
use credentialflow_model::{Name, SecretValue};

/// What the target says to a version. Reasons never contain the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyOutcome {
    /// The target accepts it; what was asked is done.
    Accepted,
    /// The target answered and does not accept it; the rotation is taken back.
    Refused(String),
    /// The target did not answer; it is asked again later.
    Unreachable(String),
    /// There is nothing to do at a target: the credential has no rule for it, and real traffic will tell.
    NotConfigured,
}

/// A version whose bytes are here.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Its number.
    pub version: u32,
    /// Its value.
    pub value: &'a SecretValue,
    /// What the place that made it calls it.
    pub handle: Option<&'a str>,
}

/// What a target says that is to make a value. Reasons never contain it.
#[derive(Debug)]
pub enum MakeOutcome {
    /// It made one.
    Made {
        /// The value.
        value: SecretValue,
        /// What the target calls it; no secret.
        handle: String,
    },
    /// It answered and makes none; the rotation is taken back.
    Refused(String),
    /// It did not answer; it is asked again later.
    Unreachable(String),
}

/// What somebody outside says who is asked for a value.
#[derive(Debug)]
pub enum SupplyOutcome {
    /// Here it is.
    Value(SecretValue),
    /// It is delivered later, through the API.
    Later,
    /// No usable answer came; it is asked again.
    Unreachable(String),
}

/// Where a version is to be used: makes it known there where that is our part, and tries it before
/// any traffic uses it.
pub trait Target: Send + Sync {
    /// Has the target make the value of a rotation. Whatever an earlier call for the same rotation made
    /// there and did not hand over is deleted first, so that nothing is left that nobody knows.
    fn make<'a>(&'a self, credential: &'a Name, _rotation: &'a str) -> BoxFuture<'a, MakeOutcome> {
        let why = format!("nobody makes values for {credential}");
        Box::pin(std::future::ready(MakeOutcome::Refused(why)))
    }

    /// Asks whoever issues the values of a `static` credential for the next one.
    fn supply<'a>(&'a self, _credential: &'a Name, _rotation: &'a str) -> BoxFuture<'a, SupplyOutcome> {
        Box::pin(std::future::ready(SupplyOutcome::Later))
    }

    /// Makes the target accept a value. May be called again after a crash, also with the old value
    /// when a rotation is taken back.
    fn install<'a>(&'a self, credential: &'a Name, held: Held<'a>) -> BoxFuture<'a, VerifyOutcome>;

    /// Makes the target refuse a value while it goes on accepting `kept`. May be called again after a
    /// crash. A value that the target does not know is a success.
    fn retire<'a>(
        &'a self,
        credential: &'a Name,
        held: Held<'a>,
        kept: Option<Held<'a>>,
    ) -> BoxFuture<'a, VerifyOutcome>;

    /// Must not change anything at the target. May be called again after a crash.
    fn verify<'a>(&'a self, credential: &'a Name, held: Held<'a>) -> BoxFuture<'a, VerifyOutcome>;
}

/// Answers seen for one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalCounts {
    /// Answers 401, 402 or 403 from the upstream, and others in which a provider of models says that it does not take it.
    pub refused: u64,
    /// All other answers from the upstream.
    pub served: u64,
}

/// What the gateway's workers see of a version.
pub trait Traffic: Send + Sync {
    /// Requests that hold this version now, over all workers. A request holds the version it was
    /// routed with from its routing until its record, so that retries and slow bodies count. Workers
    /// that cannot be asked must not be counted as zero: the call then takes until they can be.
    fn in_flight<'a>(&'a self, credential: &'a Name, version: u32) -> BoxFuture<'a, u64>;

    /// Names of processes that cannot be asked and are counted because they may serve on. For people only.
    fn lost_holders<'a>(&'a self, _: &'a Name, _: u32) -> BoxFuture<'a, Vec<String>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Names of processes that may serve and that nobody hears now: what their callers use is not known. Where even that
    /// cannot be told, it is to be said in the same place.
    fn unheard(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Sessions that were opened at the target with this version. They are among those in flight.
    fn sessions<'a>(&'a self, _: &'a Name, _: u32) -> BoxFuture<'a, u64> {
        Box::pin(std::future::ready(0))
    }

    /// Answers of upstreams to requests with this version, since it was first used.
    fn refused_since<'a>(&'a self, credential: &'a Name, version: u32) -> BoxFuture<'a, RefusalCounts>;

    /// Answers to requests with the version before, as far as this process saw them: what is usual.
    fn refused_before<'a>(&'a self, _: &'a Name, _: u32) -> BoxFuture<'a, RefusalCounts> {
        Box::pin(std::future::ready(RefusalCounts::default()))
    }
}

/// Makes the stored state the enforced one.
pub trait Publisher: Send + Sync {
    /// Returns `Ok` only when every worker enforces what is stored now. The error says why not, in
    /// words; the caller tries again.
    fn publish(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Places outside that are to hold this version and do not hold it yet, in words. The version before
    /// is not destroyed while there is one, up to the drain's limit.
    fn lacking<'a>(&'a self, _: &'a Name, _: u32) -> BoxFuture<'a, Vec<String>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}
