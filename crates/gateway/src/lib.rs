//! The data plane: listen, route, authenticate, authorize, inject, forward, record.
pub mod http1;
