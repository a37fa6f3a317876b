//! The caller's body: its announced length, and reading it whole where that is needed.

use super::{Inbound, Refused, record::Recording};
use crate::{
    budget::{Charge, OverBudget},
    conn::{BodyError, Caller, Received},
    http1::head::Framing,
    net::control::{Control, Interrupt},
    worker::Worker,
};
use credentialflow_model::OutcomeReason;
use std::future::poll_fn;

/// The length a request announces: `Some(0)` without a body, `None` when it is not known beforehand.
/// Refuses what is announced to be too large before a byte of it is read.
pub(super) fn announced(inbound: &Inbound<'_>, most: u64) -> Result<Option<u64>, Refused> {
    match inbound.head.framing {
        Framing::None => Ok(Some(0)),
        Framing::Length(n) if n > most => Err(Refused::new(OutcomeReason::BodyTooLarge)),
        Framing::Length(n) => Ok(Some(n)),
        Framing::Chunked | Framing::UntilClose => Ok(None),
    }
}

/// Reads the whole body. It counts in the worker's memory budget as long as the charge lives.
pub(super) async fn collect<C: Caller>(
    worker: &Worker,
    control: &Control,
    caller: &mut C,
    most: u64,
    length: Option<u64>,
    record: &mut Recording<'_>,
) -> Result<(Vec<u8>, Charge), Refused> {
    let over = |_: OverBudget| Refused::new(OutcomeReason::Overloaded);
    let expected = length.unwrap_or(4096).min(256 * 1024);
    let mut charge = worker.budget.take(expected).map_err(over)?;
    let mut body = Vec::with_capacity(expected as usize);
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    loop {
        control.set_deadline(worker.tick_in(worker.shared.settings.body_timeout));
        let step = control.wait(poll_fn(|cx| caller.poll_body(cx, &mut body, 64 * 1024))).await;
        record.bytes_in(body.len() as u64);
        if body.len() > limit {
            return Err(Refused::new(OutcomeReason::BodyTooLarge));
        }
        charge.set(body.capacity() as u64).map_err(over)?;
        match step {
            Ok(Ok(Received::Data)) => {}
            Ok(Ok(Received::End)) => break,
            Ok(Err(e)) => return Err(unreadable(e)),
            Err(interrupt) => return Err(interrupted(interrupt, OutcomeReason::RequestTimeout)),
        }
    }
    control.clear_deadline();
    Ok((body, charge))
}

/// Why a body cannot be read, as an outcome.
pub(super) fn unreadable(error: BodyError) -> Refused {
    Refused::new(match error {
        BodyError::Malformed => OutcomeReason::MalformedRequest,
        BodyError::Gone => OutcomeReason::CallerClosed,
    })
}

/// An interrupt, as an outcome; `deadline` says what a deadline means here.
pub(super) fn interrupted(interrupt: Interrupt, deadline: OutcomeReason) -> Refused {
    Refused::new(match interrupt {
        Interrupt::Deadline => deadline,
        Interrupt::Revoked => OutcomeReason::Revoked,
        Interrupt::Drained => OutcomeReason::Overloaded,
    })
}
