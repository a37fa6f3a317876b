//! What a lease is of, for who administers the installation: which login it is, where, and how far its end is. Never the
//! password, which is stored nowhere.

use super::{Leased, Leases};
use crate::Result;
use credentialflow_model::Timestamp;
use credentialflow_store::LeaseRow;

/// What a lease is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The role it was made by.
    pub role: String,
    /// The login's name at its system; of a certificate its serial number.
    pub login: String,
    /// Whether it is a certificate.
    pub certificate: bool,
    /// The system the login is at, as in `postgresql at db:5432/orders`; empty for certificates.
    pub system: String,
    /// When it was last renewed.
    pub renewed: Option<Timestamp>,
    /// However often it is renewed, it ends then.
    pub last_moment: Timestamp,
    /// Why the last try to withdraw it failed.
    pub problem: Option<String>,
}

impl Leases {
    /// What a lease is of, however far it is.
    ///
    /// # Errors
    /// Where the vault is sealed, and where the lease does not open.
    pub fn describe(&self, row: &LeaseRow) -> Result<Described> {
        let body = self.body(row)?;
        let system = if body.place.is_empty() { body.database } else { body.place };
        Ok(Described {
            role: body.role,
            login: body.login.name,
            certificate: body.leased == Leased::Certificate,
            system,
            renewed: body.renewed,
            last_moment: body.last_moment,
            problem: body.problem,
        })
    }
}
