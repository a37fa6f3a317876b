//! Bodies, read within bounds: bytes, time, elements and depth of each, and the memory of all together.
//!
//! Who asks is known before anything is read. Bodies of those who are nobody yet are counted apart, so
//! that they cannot keep others' out.

use crate::{
    error::{ApiError, Result},
    parse,
};
use axum::body::{Body, HttpBody};
use credentialflow_identity::wiped::Buffer;
use serde_json::{Map, Value};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one body may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes.
    largest: usize,
    /// Values, names and containers of its JSON together.
    elements: usize,
    /// From its first byte to its last.
    wait: Duration,
}

impl Limits {
    /// Of a caller whose token is good.
    pub(crate) const KNOWN: Self = Self { largest: 1 << 20, elements: 50_000, wait: Duration::from_secs(60) };
    /// Of a path that takes no token.
    pub(crate) const OPEN: Self = Self { largest: 64 << 10, elements: 1_000, wait: Duration::from_secs(15) };
}

/// Bytes of memory counted for one element of parsed JSON.
const ELEMENT: usize = 64;

/// The memory that bodies of one kind may hold together, in bytes.
pub(crate) struct Memory(Arc<Semaphore>);

/// Memory that one request holds; given back when dropped.
#[derive(Default)]
pub(crate) struct Held(Option<OwnedSemaphorePermit>);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    fn take(&self, held: &mut Held, bytes: usize) -> Result<()> {
        let overloaded = || ApiError::new(503, "too much is being read at this moment; try again");
        let bytes = u32::try_from(bytes).map_err(|_| overloaded())?;
        let more = self.0.clone().try_acquire_many_owned(bytes).map_err(|_| overloaded())?;
        match &mut held.0 {
            Some(present) => present.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// The fields of a body; none where it is empty or `null`.
pub(crate) async fn read(body: Body, limits: &Limits, memory: &Memory) -> Result<(Map<String, Value>, Held)> {
    let mut held = Held::default();
    let bytes = tokio::time::timeout(limits.wait, collect(body, limits, memory, &mut held));
    let bytes = bytes.await.map_err(|_| ApiError::new(408, "the request did not come in time"))??;
    let fields = parse::fields(&bytes, limits.elements, |elements| memory.take(&mut held, elements * ELEMENT))?;
    Ok((fields, held))
}

async fn collect(mut body: Body, limits: &Limits, memory: &Memory, held: &mut Held) -> Result<Buffer> {
    let too_large = || ApiError::new(413, "the request is too large");
    if body.size_hint().lower() > limits.largest as u64 {
        return Err(too_large());
    }
    let mut bytes = Buffer::new(usize::try_from(body.size_hint().lower()).unwrap_or_default());
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| ApiError::invalid("the request ended early"))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if bytes.len() + chunk.len() > limits.largest {
            return Err(too_large());
        }
        // Once as it came, once more as fields.
        memory.take(held, 2 * chunk.len())?;
        bytes.push(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::body::Bytes;
    use http_body_util::{BodyExt, Full};

    async fn status(body: String, limits: &Limits, memory: &Memory) -> u16 {
        read(Body::from(body), limits, memory).await.map_or_else(|e| e.status, |_| 200)
    }

    #[tokio::test]
    async fn size_elements_and_depth_are_bounded() {
        let memory = Memory::new(64 << 20);
        let text = |n: usize| format!("{{\"a\":\"{}\"}}", "[,:".repeat(n / 3));
        let list = |n: usize| format!("{{\"a\":[{}1]}}", "1,".repeat(n));
        let deep = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        for (limits, body, expected) in [
            (Limits::OPEN, text(60_000), 200),
            (Limits::OPEN, text(70_000), 413),
            (Limits::KNOWN, text(1_000_000), 200),
            (Limits::KNOWN, text(1_100_000), 413),
            (Limits::OPEN, list(900), 200),
            (Limits::OPEN, list(1_000), 400),
            (Limits::KNOWN, list(49_000), 200),
            (Limits::KNOWN, list(50_000), 400),
            (Limits::OPEN, deep(60), 200),
            (Limits::KNOWN, deep(64), 400),
            (Limits::OPEN, "{\"a\":\"\\\"[\"}".to_owned(), 200),
        ] {
            let start: String = body.chars().take(20).collect();
            assert_eq!(status(body, &limits, &memory).await, expected, "{start}");
        }
        assert_eq!(memory.0.available_permits(), 64 << 20, "all is given back");
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded() {
        let memory = Memory::new(3_000);
        let body = || format!("{{\"a\":\"{}\"}}", "x".repeat(1_000));
        let (_, held) = read(Body::from(body()), &Limits::OPEN, &memory).await.unwrap();
        assert_eq!(status(body(), &Limits::OPEN, &memory).await, 503);
        drop(held);
        assert_eq!(status(body(), &Limits::OPEN, &memory).await, 200);
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_is_given_up() {
        let pending = std::future::pending::<Option<std::result::Result<http::HeaderMap, std::convert::Infallible>>>();
        let body = Body::new(Full::new(Bytes::from_static(b"{\"a\":")).with_trailers(pending));
        let memory = Memory::new(1 << 20);
        let limits = Limits { wait: Duration::from_millis(20), ..Limits::OPEN };
        assert_eq!(read(body, &limits, &memory).await.err().unwrap().status, 408);
        assert_eq!(memory.0.available_permits(), 1 << 20);
    }
}
