//! Answers kept for 24 hours, so that a lost one can be fetched again with the same `Idempotency-Key`.
//!
//! The answer may hold a secret: it is sealed, and stored in the transaction of the change it tells of.

use crate::{
    AdminState,
    api::request::idempotency_key,
    error::{ApiError, Code},
};
use axum::response::{IntoResponse, Response};
use credentialflow_model::{Actor, SecretValue};
use credentialflow_store::{IdempotencyRow, WriteTx};
use credentialflow_vault::Sealed;
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// A client's wish to be answered once for one request, however often it is sent.
pub(crate) struct Wish {
    key: String,
    /// Under every pepper, the newest last: the kept answer may be older than the newest.
    request_hashes: Vec<[u8; 32]>,
}

/// An answer ready to be sent and kept: JSON that may hold a secret.
pub(crate) struct Answer {
    pub status: StatusCode,
    /// Becomes the `ETag`.
    pub revision: Option<u64>,
    body: SecretValue,
}

impl Answer {
    pub(crate) fn new(
        status: StatusCode,
        revision: Option<u64>,
        body: &impl serde::Serialize,
    ) -> Result<Self, ApiError> {
        let body =
            serde_json::to_vec(body).map_err(|error| ApiError::internal("the answer could not be written", &error))?;
        Ok(Self { status, revision, body: SecretValue::new(body) })
    }

    fn to_bytes(&self) -> SecretValue {
        let mut bytes = Vec::with_capacity(10 + self.body.len());
        bytes.extend_from_slice(&self.status.as_u16().to_be_bytes());
        bytes.extend_from_slice(&self.revision.unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(self.body.expose());
        SecretValue::new(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (status, rest) = bytes.split_first_chunk()?;
        let (revision, body) = rest.split_first_chunk()?;
        let revision = Some(u64::from_be_bytes(*revision)).filter(|revision| *revision > 0);
        let status = StatusCode::from_u16(u16::from_be_bytes(*status)).ok()?;
        Some(Self { status, revision, body: SecretValue::new(body.to_vec()) })
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body.expose().to_vec()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(tag) = self.revision.and_then(|revision| HeaderValue::from_str(&format!("\"{revision}\"")).ok()) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

impl Wish {
    /// The wish in a request's headers. `what` is everything else that makes the request what it is.
    pub(crate) fn read(
        state: &AdminState,
        headers: &HeaderMap,
        path: &str,
        body: &[u8],
    ) -> Result<Option<Self>, ApiError> {
        let Some(key) = idempotency_key(headers)? else { return Ok(None) };
        let request = SecretValue::new([path.as_bytes(), b"\0", body].concat());
        let request_hashes = state.vault.peppers()?.iter().map(|pepper| pepper.hash(request.expose())).collect();
        Ok(Some(Self { key: key.to_owned(), request_hashes }))
    }

    /// The kept answer, as seen inside the transaction, where equal requests stand in line.
    pub(crate) async fn replay(
        wish: Option<&Self>,
        state: &AdminState,
        tx: &mut WriteTx,
    ) -> Result<Option<Answer>, ApiError> {
        let Some(wish) = wish else { return Ok(None) };
        let actor = tx.actor().clone();
        let Some(kept) = tx.idempotency(&wish.key, &actor.name).await? else { return Ok(None) };
        if !wish.request_hashes.iter().any(|hash| kept.request_hash == hash) {
            return Err(ApiError::new(
                Code::IdempotencyMismatch,
                "this Idempotency-Key was already used for a different request",
            )
            .hint("use a new Idempotency-Key for a new request"));
        }
        let opened = state.vault.open_blob(&wish.context(&actor), &Sealed::from_bytes(kept.response)?)?;
        let answer = Answer::from_bytes(opened.expose());
        answer.map(Some).ok_or_else(|| ApiError::internal("a kept answer cannot be read", &"it is malformed"))
    }

    /// Keeps an answer in the transaction it tells of.
    pub(crate) async fn keep(
        wish: Option<&Self>,
        state: &AdminState,
        tx: &mut WriteTx,
        answer: &Answer,
    ) -> Result<(), ApiError> {
        let Some(wish) = wish else { return Ok(()) };
        let actor = tx.actor().clone();
        let response = state.vault.seal_blob(&wish.context(&actor), answer.to_bytes().expose())?.into_bytes();
        tx.put_idempotency(&IdempotencyRow {
            key: wish.key.clone(),
            actor: actor.name,
            request_hash: wish.request_hashes.last().map(|hash| hash.to_vec()).unwrap_or_default(),
            response,
            created: tx.now(),
        })
        .await?;
        Ok(())
    }

    fn context(&self, actor: &Actor) -> String {
        format!("answer/{}/{}/{}", actor.name.len(), actor.name, self.key)
    }
}
