//! What callers are told of the cache.

use credentialflow_model::usage::CacheUse;

/// What a model's cache did with a call, as its caller is told (RFC 9211).
#[derive(Clone, Copy)]
pub(in crate::pipeline) struct CacheStatus {
    /// What it did.
    pub used: CacheUse,
    /// How old the answer is that it gave, and how long that one is kept still, in whole seconds.
    pub age: u64,
    pub ttl: u64,
}

impl CacheStatus {
    /// One that says nothing of an answer.
    pub const fn new(used: CacheUse) -> Self {
        Self { used, age: 0, ttl: 0 }
    }

    /// Writes it as fields of an answer.
    pub fn push_fields(&self, fields: &mut Vec<u8>) {
        let mut number = itoa::Buffer::new();
        fields.extend_from_slice(b"cache-status: credentialflow; ");
        let said: &[u8] = match self.used {
            CacheUse::Hit => b"hit; ttl=",
            CacheUse::Similar => b"hit; detail=similar; ttl=",
            CacheUse::Miss => b"fwd=uri-miss\r\n",
            CacheUse::Refresh => b"fwd=request\r\n",
            CacheUse::Bypass => b"fwd=bypass\r\n",
        };
        fields.extend_from_slice(said);
        if self.used.answered() {
            fields.extend_from_slice(number.format(self.ttl).as_bytes());
            fields.extend_from_slice(b"\r\nage: ");
            fields.extend_from_slice(number.format(self.age).as_bytes());
            fields.extend_from_slice(b"\r\n");
        }
    }
}
