//! What callers have made at providers of models and come back to: files, and batches of calls.
//!
//! Callers know each by an id of ours. What it is called at its provider, where it lives and what it may cost stands here;
//! the bytes of a file and the answers of a batch never do.

use crate::{
    KeyId, Timestamp,
    resource::PriceEntry,
    usage::{RequestId, TokenUsage},
};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What it is. The numbers are stored: none is used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A file in OpenAI's form: with the calls of a batch, with what became of them, or with anything else.
    File = 0,
    /// A batch in OpenAI's form.
    Batch = 1,
    /// A batch of Anthropic's Messages.
    MessageBatch = 2,
    /// A file in Anthropic's form.
    MessageFile = 3,
    /// A file in Google's form.
    GeminiFile = 4,
    /// A batch in Google's form.
    GeminiBatch = 5,
}

impl ObjectKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::File, Self::Batch, Self::MessageBatch, Self::MessageFile, Self::GeminiFile, Self::GeminiBatch];

    /// What ids of it begin with, as those of its provider do.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::File => "file-",
            Self::Batch => "batch_",
            Self::MessageBatch => "msgbatch_",
            Self::MessageFile => "file_",
            // Behind it Google has no more than 40 small letters, digits and dashes.
            Self::GeminiFile => "files/",
            Self::GeminiBatch => "batches/",
        }
    }

    /// Whether it is a file.
    pub const fn is_file(self) -> bool {
        matches!(self, Self::File | Self::MessageFile | Self::GeminiFile)
    }

    /// The kind with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|one| *one as i64 == number)
    }
}

/// How far it is. The numbers are stored: none is used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectState {
    /// A batch that its provider is being asked for. What it may cost is held back.
    Asked = 0,
    /// A batch that its provider has.
    Runs = 1,
    /// A batch that is over, and of which is known what it cost; to be charged.
    Billed = 2,
    /// A batch that is charged and stands in the call log.
    Settled = 3,
    /// A file that is there.
    There = 4,
}

impl ObjectState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Asked, Self::Runs, Self::Billed, Self::Settled, Self::There];

    /// The state with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|one| *one as i64 == number)
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelObject {
    /// Its id as callers know it.
    pub id: String,
    /// What it is.
    pub kind: ObjectKind,
    /// The application whose it is; nobody else knows of it.
    pub application: String,
    /// When it was made.
    pub made: Timestamp,
    /// How far it is.
    pub state: ObjectState,
    /// What a file is for, as in `batch`; empty for what is no file.
    pub purpose: String,
    /// Its id at its provider; empty until the provider has told one.
    pub upstream_id: String,
    /// What callers were told of it last: a JSON object.
    pub body: String,
    /// The rest.
    pub facts: ObjectFacts,
}

/// What is known of it beside that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFacts {
    /// The public name of the model that its calls ask for.
    pub model: String,
    /// The provider that has it, as a target names it.
    pub provider: String,
    /// The provider's own name of the model.
    pub provider_model: String,
    /// The credential of the target's own with which it was made; the upstream's where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// What its calls ask, as in `/v1/chat/completions`.
    pub asks: String,
    /// How many calls it has; of a file that came from a batch, none.
    pub calls: u64,
    /// The most that they may cost, in units of 10^-12 US dollars; `None` where no price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<i64>,
    /// The field by which a call names what its provider keeps, so that nobody knows how much is read along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads_along: Option<String>,
    /// What stands for the guardrails that judged its calls; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrails: Option<u64>,
    /// The file with the calls of a batch, by its id at its provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// How often its provider said that it does not know a batch, or what came of it, since it last told something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Gone>,
    /// When its provider forgets a file; never where that is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The key that a batch was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The end user that a batch is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where the call that made a batch came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The prices that a batch is charged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceEntry>,
    /// The windows of budgets that pay for a batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// What a batch cost, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bill: Option<Bill>,
}

/// A provider says that there is no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// When it said so first.
    pub since: Timestamp,
    /// How often it did.
    pub times: u32,
}

/// A window of a budget that pays for a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The budget, as in `applications/checkout/month`.
    pub budget: String,
    /// When the window began.
    pub started: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
    /// The limit of a hard budget, in units of 10^-12 US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// What a batch cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// When it was written.
    pub at: Timestamp,
    /// The id of its record in the call log.
    #[serde(with = "as_text")]
    pub record: RequestId,
    /// In units of 10^-12 US dollars; 0 where no price is known.
    pub cost: i64,
    /// Whether part of it, or all, is an estimate.
    pub estimated: bool,
    /// All tokens together; `None` where nobody told any.
    pub tokens: Option<TokenUsage>,
}

mod as_text {
    use crate::usage::RequestId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(id: &RequestId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RequestId, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_mean_what_they_were() {
        for kind in ObjectKind::ALL {
            assert_eq!(ObjectKind::from_number(kind as i64), Some(kind));
        }
        for state in ObjectState::ALL {
            assert_eq!(ObjectState::from_number(state as i64), Some(state));
        }
        assert_eq!((ObjectKind::from_number(6), ObjectState::from_number(5)), (None, None));
    }

    #[test]
    fn facts_are_read_as_they_were_written() {
        let facts = ObjectFacts {
            model: "m".into(),
            calls: 2,
            most: Some(7),
            guardrails: Some(u64::MAX),
            expires: Some(Timestamp::from_secs(9)),
            gone: Some(Gone { since: Timestamp::from_secs(4), times: 2 }),
            holds: vec![Hold {
                budget: "applications/a/month".into(),
                started: Timestamp::from_secs(1),
                ends: Timestamp::from_secs(2),
                limit: None,
            }],
            bill: Some(Bill {
                at: Timestamp::from_secs(3),
                record: RequestId(5),
                cost: 6,
                estimated: true,
                tokens: Some(TokenUsage { input: 1, ..TokenUsage::default() }),
            }),
            ..ObjectFacts::default()
        };
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<ObjectFacts>(&text).unwrap(), facts);
    }
}
