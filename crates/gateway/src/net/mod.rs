//! Sockets: streams with or without TLS, their buffers, and the switch that interrupts a wait.

pub mod buffer;
pub mod control;
pub(crate) mod idle;
pub mod listener;
pub mod stream;
pub mod tls;
