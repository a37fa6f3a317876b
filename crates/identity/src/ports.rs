//! What this room needs from others, named here and implemented by whoever has it.

use credentialflow_model::SecretValue;
use credentialflow_store::Op;
use std::{future::Future, pin::Pin, time::Duration};

/// A future in a box, so that the traits below can be used as objects.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One question to another server.
#[derive(Debug)]
pub struct WebRequest {
    /// `https://…`, or `http://…` where the implementation allows it.
    pub url: String,
    /// Certificates (PEM) to trust instead of the usual ones.
    pub ca_pem: Option<String>,
    /// Sent by POST as `application/x-www-form-urlencoded`; without it, it is a GET.
    pub form: Option<SecretValue>,
    /// The value of `Authorization`.
    pub authorization: Option<SecretValue>,
}

/// Asks other servers: key sets and discovery documents of identity providers.
///
/// An implementation guards against addresses that callers must not reach through us, does not follow
/// redirects, and bounds the answer and the wait.
pub trait Web: Send + Sync {
    /// The body of a successful answer (status 2xx) of at most `limit` bytes; else why there is none,
    /// in words that show no secret.
    fn ask<'a>(&'a self, request: WebRequest, limit: usize, wait: Duration) -> Boxed<'a, Result<Vec<u8>, String>>;
}

/// Whatever else ends when tokens end, such as their private storage. Leases are ended by this room.
pub trait TokenEnd: Send + Sync {
    /// Operations for the transaction in which the tokens with these accessors end.
    fn ops<'a>(&'a self, accessors: &'a [String]) -> Boxed<'a, crate::Result<Vec<Op>>>;
}

/// Asks nobody: for installations without identity providers, and for tests.
#[derive(Clone, Copy, Debug)]
pub struct NoWeb;

impl Web for NoWeb {
    fn ask<'a>(&'a self, _: WebRequest, _: usize, _: Duration) -> Boxed<'a, Result<Vec<u8>, String>> {
        Box::pin(async { Err("this installation asks no other servers".to_owned()) })
    }
}
