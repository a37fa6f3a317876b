//! What the gateway needs from outside, named by the gateway. The binary plugs the vault and the
//! call log in; nothing here knows them.

use crate::pipeline::Permit;
use credentialflow_model::{
    KeyId, SecretValue, UsageRecord,
    objects::{ModelObject, ObjectKind},
};
use credentialflow_policy::{Account, LiveSecret};
use rustls_pki_types::CertificateDer;
use std::{any::Any, future::Future, net::IpAddr, pin::Pin, sync::Arc};

/// The place of a credential in its source.
pub type CredentialSlot = u32;

/// Opens upstream credentials. One source belongs to one snapshot, so what it holds never changes.
pub trait CredentialSource: Send + Sync {
    /// The slot of a credential by name; `None` when there is none of that name.
    fn slot(&self, name: &str) -> Option<CredentialSlot>;

    /// How many slots there are, those of newer versions among them.
    fn len(&self) -> usize;

    /// Whether there are no slots.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name and version of a slot, for records; says nothing secret.
    fn describe(&self, slot: CredentialSlot) -> Option<(&Arc<str>, u32)>;

    /// Tells values of one version apart: that of a slot which carries an access token is another number when the token
    /// was renewed. 0 for all others.
    fn renewal(&self, _slot: CredentialSlot) -> i64 {
        0
    }

    /// The slot of a newer version that gets a share of a slot's requests, and how many of a hundred those
    /// are, 1 to 99.
    fn canary(&self, _slot: CredentialSlot) -> Option<(CredentialSlot, u8)> {
        None
    }

    /// The value of a slot. Only the authorize step makes permits, so nothing is opened for a request
    /// that was not allowed.
    fn open<'a>(&'a self, permit: &Permit, slot: CredentialSlot) -> Result<&'a SecretValue, CredentialUnavailable>;

    /// The certificates by which a certificate authority of this name is trusted, without its private key; empty
    /// when there are none.
    fn authority(&self, _name: &str) -> Vec<CertificateDer<'static>> {
        Vec::new()
    }
}

/// A credential cannot be opened now: sealed, expired, revoked or without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialUnavailable;

/// Takes finished records. Never blocks; what it cannot take it counts.
pub trait RecordSink: Send + Sync {
    /// Takes a batch, and what holds those of its records that a journal keeps until they are on disk.
    fn take(&self, batch: Vec<UsageRecord>, kept: Vec<KeptRecord>);
    /// A journal for one worker; `None` where nothing is kept.
    fn journal(&self) -> Option<Box<dyn Journal>> {
        None
    }
}

/// A record that a journal keeps for as long as this is held. What is in it is the journal's own.
#[derive(Clone)]
pub struct KeptRecord {
    /// A page, which many records stand in.
    pub page: Arc<dyn Any + Send + Sync>,
    /// The record's place in the page.
    pub at: u32,
}

/// Keeps records of model calls through the end of the process, so that what a caller was told is on record. Never waits
/// for a disk.
pub trait Journal {
    /// Keeps it, for a worker that is about to send the last of the answer; `None` where there is no room.
    fn keep(&mut self, record: &UsageRecord) -> Option<KeptRecord>;
    /// What nobody holds any more need not be kept. Called several times a second.
    fn strike(&mut self);
}

/// Hears of the certificates that upstreams present.
pub trait CertificateListener: Send + Sync {
    /// An endpoint, as `host:port`, presents this certificate (DER), which was verified. Told by each worker once an
    /// hour and whenever it changes, at new connections only. Never blocks.
    fn presented(&self, endpoint: &str, certificate: &[u8]);
}

/// Knows what challenges of an ACME server are answered with (RFC 8555, 8.3).
pub trait ChallengeSource: Send + Sync {
    /// The answer for a token, if a challenge that is open has it. Asked only for paths of challenges.
    fn answer(&self, token: &str) -> Option<Vec<u8>>;
}

/// Lends more of budgets to this node.
pub trait Lender: Send + Sync {
    /// Asks the budget for more, for a call that needs so much. True once it was asked, whatever it gave: the account
    /// tells. False when it cannot be asked now.
    fn borrow(&self, account: &Arc<Account>, amount: i64) -> Pin<Box<dyn Future<Output = bool> + Send>>;

    /// Little is left of an account: more is to be borrowed before anybody waits for it. Never blocks.
    fn running_low(&self);
}

/// Keeps what callers have made at providers: files and batches. Asked seldom, and may take as long as a database does.
pub trait ObjectKeeper: Send + Sync {
    /// One of an application's.
    fn find(&self, application: &str, id: &str) -> Kept<Option<ModelObject>>;

    /// Those of an application's that have these ids, in any order. Asked for calls, of which there may be many.
    fn find_all(&self, application: &str, ids: Vec<String>) -> Kept<Vec<ModelObject>>;

    /// Those of an application of one kind, the newest first.
    fn list(&self, application: &str, kind: ObjectKind, page: ObjectPage) -> Kept<ObjectList>;

    /// Keeps a file that its provider has.
    fn add(&self, file: ModelObject) -> Kept<()>;

    /// Keeps a batch that its provider is about to be asked for, and holds back the most that it may cost of the budgets
    /// that pay for it, however long it runs. Answers the first hard one that cannot, if there is one; then nothing is kept.
    /// Where nobody takes the answer, the provider was not asked, and nothing is kept either. A batch of which nothing more
    /// is said may be at its provider: that is found out after a while.
    fn hold(&self, batch: ModelObject) -> Kept<Option<String>>;

    /// The provider has the batch.
    fn began(&self, batch: ModelObject) -> Kept<()>;

    /// The provider does not have the batch, and never had.
    fn refused(&self, batch: ModelObject) -> Kept<()>;

    /// What the provider says of a batch that runs: what callers are told of it, files that came from it, and whether it is
    /// over.
    fn saw(&self, batch: ModelObject, files: Vec<ModelObject>, over: bool) -> Kept<()>;

    /// Forgets one.
    fn forget(&self, id: &str) -> Kept<()>;
}

/// The answer of an [`ObjectKeeper`].
pub type Kept<T> = Pin<Box<dyn Future<Output = Result<T, KeeperAway>> + Send>>;

/// The keeper cannot be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeeperAway;

/// Which part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectPage {
    /// Only what is older than the one with this id.
    pub after: Option<String>,
    /// Only what is newer than the one with this id.
    pub before: Option<String>,
    /// Only files for this.
    pub purpose: Option<String>,
    /// At most so many.
    pub most: u32,
    /// No more once they have so many bytes together; one in any case.
    pub bytes: u32,
}

/// Part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectList {
    /// The newest first.
    pub objects: Vec<ModelObject>,
    /// Whether there are more beyond them.
    pub more: bool,
}

/// Hears of things that are not requests: a source or key guessing too often.
pub trait GuessListener: Send + Sync {
    /// The number of failed attempts from this source or on this key has just passed its limit.
    fn guessing(&self, source: IpAddr, key: Option<KeyId>);
}

/// Hears of live secrets of ours in what callers send, and in what they are answered.
pub trait SecretListener: Send + Sync {
    /// They stood in a request or its answer. Told once for each place, of a body that passes for each piece in which one
    /// ended. Never blocks.
    fn sent(&self, sent: SentSecrets);
}

/// Secrets that stood in a request or in its answer, and whose request it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentSecrets {
    /// Which; of a request that is refused the first, and others that have the same value, else up to 16. None where the
    /// caller's own key alone stood there: that is refused or served like others, and nobody is told.
    pub secrets: Vec<LiveSecret>,
    /// Where they stood.
    pub place: SecretPlace,
    /// The application that called, if it had a key.
    pub application: Option<Arc<str>>,
    /// The key that it called with.
    pub key: Option<KeyId>,
    /// The route.
    pub route: Option<Arc<str>>,
    /// Where the request came from.
    pub source: IpAddr,
    /// The upstream that answered, where they stood in the answer.
    pub upstream: Option<Arc<str>>,
    /// Whether it was stopped: the request was refused, or the secrets were blanked in the answer.
    pub refused: bool,
    /// Whether the search ended early: too much only looked like secrets of ours.
    pub gave_up: bool,
}

/// A part of a request, or of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretPlace {
    /// Path or query.
    Target,
    /// The value of a header.
    Header,
    /// The body.
    Body,
    /// An answer, head or body.
    Answer,
    /// An answer in which the upstream repeats the credential it was sent.
    Echo,
}

impl SecretPlace {
    /// In words, as in "it stands in …".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Target => "the path or the query",
            Self::Header => "a header",
            Self::Body => "the body",
            Self::Answer => "the answer",
            Self::Echo => "the answer, in which the upstream repeats what it was sent",
        }
    }

    /// Whether it is one of the answer.
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::Answer | Self::Echo)
    }
}
