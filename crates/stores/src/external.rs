//! What every store does.

use crate::Result;
use credentialflow_model::{SecretPlace, SecretValue};
use std::{future::Future, pin::Pin, time::Duration};

/// A future that may be sent to another thread, boxed so that the trait stays object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What was read.
#[derive(Debug)]
pub struct Found {
    /// The value.
    pub value: SecretValue,
    /// What the store calls this version, where it counts them.
    pub version: Option<String>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What the store calls this version, where it counts them.
    pub version: Option<String>,
    /// Whether anything had to be written; the value may have been there already.
    pub changed: bool,
}

/// A store of secrets. Every operation is safe to repeat.
pub trait ExternalStore: Send + Sync {
    /// Reads the value at a place.
    fn read<'a>(&'a self, place: &'a SecretPlace) -> BoxFuture<'a, Result<Found>>;

    /// Makes a place hold a value. What is beside the place's field stays as it is; a secret that does
    /// not exist is made; one that holds the value already is left alone.
    fn write<'a>(&'a self, place: &'a SecretPlace, value: &'a SecretValue) -> BoxFuture<'a, Result<Written>>;

    /// Renews what lets us in where that ends unless it is renewed, if it is time. Answers how long until it is
    /// time again; `None`: never.
    fn keep(&self) -> BoxFuture<'_, Result<Option<Duration>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
