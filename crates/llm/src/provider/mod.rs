//! The built-in model providers: one explicit list, readable top to bottom.
//!
//! OpenAI-compatible providers differ only in data, so each is a row of [`catalogue`]. Credentials and
//! prices are not here. A provider with a dialect of its own gets a file of its own.

mod catalogue;

use crate::{bedrock, task::Tasks};

/// The wire format a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's chat completions.
    OpenAi,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Anthropic,
    /// Google's Gemini, `generateContent`.
    Gemini,
    /// AWS Bedrock's Converse, which no caller speaks.
    Bedrock,
    /// Replicate's predictions, which no caller speaks.
    Replicate,
}

/// How a provider wants its credential when configuration does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultInjector {
    /// `Authorization: Bearer <value>` (RFC 6750).
    Bearer,
    /// A header of this name that holds nothing but the value.
    Header(&'static str),
}

/// Where a provider is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// A base URL; `/chat/completions`, `/responses`, the path of another [`Task`](crate::task::Task) or, in Anthropic's
    /// dialect, `/messages`, or `/models/` and the model in Gemini's, follows it.
    Url(&'static str),
    /// The gateway itself answers, with [`crate::sandbox`].
    Sandbox,
    /// Each customer has an address of their own, which only an upstream of the configuration can tell.
    Own,
}

/// The field of Chat Completions that limits an answer's tokens. OpenAI's newer models refuse the older one, many
/// compatible servers do not know the newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitField {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

/// Which ids of tools' calls a provider takes, where that is not what all of its dialect take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallIds {
    /// What is usual in its dialect.
    Usual,
    /// Nine letters and digits.
    NineCharacters,
}

/// How a provider wants to be sent back what its models thought, in OpenAI's dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoughts {
    /// Its text, in `reasoning_content` of messages that call tools.
    Text,
    /// What models of Google's signed, in `extra_content`.
    ExtraContent,
    /// What the maker of each model signed, in `reasoning_details`.
    Details,
}

/// How a provider is asked for the tokens of a call that is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Anthropic's `/messages/count_tokens`.
    Messages,
    /// OpenAI's `/responses/input_tokens`.
    Responses,
    /// Gemini's `:countTokens`, where a whole call stands in `generateContentRequest`.
    Gemini,
    /// Vertex AI's `:countTokens`, where the parts of a call stand by themselves.
    Vertex,
    /// Bedrock's `/model/{modelId}/count-tokens`.
    Converse,
}

impl Counting {
    /// What the call that is counted is in.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Messages => Dialect::Anthropic,
            Self::Responses => Dialect::Responses,
            Self::Gemini | Self::Vertex => Dialect::Gemini,
            Self::Converse => Dialect::Bedrock,
        }
    }
}

/// One built-in provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// What `provider:` says in a configuration.
    pub name: &'static str,
    /// Where it is reached unless an upstream says otherwise.
    pub base: Base,
    /// Its wire format.
    pub dialect: Dialect,
    /// Whether it speaks [`Dialect::Responses`] beside that.
    pub responses: bool,
    /// What can be asked of it.
    pub tasks: Tasks,
    /// How it counts tokens beforehand, where it does.
    pub counts: Option<Counting>,
    /// How its credential is put into requests.
    pub injector: DefaultInjector,
    /// Whether it must be asked (`stream_options.include_usage`) to report usage in streams.
    pub ask_usage: bool,
    /// What a call that is translated for it limits the answer with, in OpenAI's dialect.
    pub limit: LimitField,
    /// How it wants to be sent back what its models thought before they called tools, in OpenAI's dialect.
    pub keeps_thinking: Option<Thoughts>,
    /// Which ids of tools' calls it takes.
    pub call_ids: CallIds,
}

impl Provider {
    /// The base URL; for the sandbox, the name by which upstreams choose it. `None`: only an upstream can tell.
    pub const fn base_url(&self) -> Option<&'static str> {
        match self.base {
            Base::Url(url) => Some(url),
            Base::Sandbox => Some("sandbox://models"),
            Base::Own => None,
        }
    }

    /// Whether it is Vertex AI, where some things are asked in ways that the owner of the dialect does not know
    /// ([`crate::anthropic::vertex`], [`crate::translate::task`]).
    pub fn is_at_vertex(&self) -> bool {
        matches!(self.name, "vertex" | "vertex-anthropic")
    }

    /// Whether an endpoint is the provider's own, where the catalogue's prices count.
    pub fn is_at(&self, endpoint: &str) -> bool {
        let endpoint = endpoint.trim_end_matches('/').to_ascii_lowercase();
        let mut beginnings = USUAL_PRICES_AT.iter().filter(|(name, _)| *name == self.name);
        self.base_url().is_some_and(|base| endpoint == base.to_ascii_lowercase())
            || beginnings.any(|(_, beginning)| endpoint.starts_with(beginning))
    }

    /// Whether the catalogue's prices count for a model there: at Bedrock they differ by region.
    pub fn has_known_prices(&self, endpoint: &str, model: &str) -> bool {
        self.is_at(endpoint) || (self.dialect == Dialect::Bedrock && bedrock::has_known_price(endpoint, model))
    }
}

/// What the addresses begin with at which a provider without an address for everybody asks the prices of the catalogue.
const USUAL_PRICES_AT: &[(&str, &str)] =
    &[("vertex", "https://aiplatform.googleapis.com/"), ("vertex-anthropic", "https://aiplatform.googleapis.com/")];

/// Every built-in provider. `openai` also stands for any OpenAI-compatible upstream of a configuration.
pub const BUILT_IN: &[Provider] = catalogue::PROVIDERS;

/// The built-in provider of this name.
pub fn find(name: &str) -> Option<&'static Provider> {
    BUILT_IN.iter().find(|p| p.name == name)
}

/// Every name, in the order of the list.
pub const NAMES: &[&str] = &{
    let mut names = [""; BUILT_IN.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = BUILT_IN[i].name;
        i += 1;
    }
    names
};

/// The names of those that need an upstream which tells their address.
pub const OWN_ADDRESS: &[&str] = &["azure-openai", "bedrock", "vertex", "vertex-anthropic", "vertex-ranking"];

/// Every name, in the order of the list; [`NAMES`] as an iterator.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resource_names_and_unique() {
        assert!(names().eq(BUILT_IN.iter().map(|p| p.name)));
        for (i, p) in BUILT_IN.iter().enumerate() {
            assert!(p.name.parse::<credentialflow_model::Name>().is_ok(), "{}", p.name);
            assert_eq!(find(p.name).map(|f| f.base), Some(p.base));
            assert!(BUILT_IN[..i].iter().all(|q| q.name != p.name), "{} stands twice", p.name);
        }
    }

    #[test]
    fn base_urls_are_https_or_loopback_and_take_a_path() {
        for p in BUILT_IN.iter().filter(|p| p.base != Base::Sandbox) {
            let Some(url) = p.base_url() else {
                assert!(OWN_ADDRESS.contains(&p.name), "{}", p.name);
                continue;
            };
            assert!(url.starts_with("https://") || url.starts_with("http://127.0.0.1:"), "{url}");
            assert!(!url.ends_with('/') && !OWN_ADDRESS.contains(&p.name), "{url}");
        }
        assert!(OWN_ADDRESS.iter().all(|name| find(name).is_some()));
        let vertex = |host: &str| {
            let path = "v1/projects/p/locations/global/publishers/google";
            find("vertex").is_some_and(|provider| provider.is_at(&format!("https://{host}/{path}")))
        };
        assert!(vertex("aiplatform.googleapis.com") && !vertex("europe-west4-aiplatform.googleapis.com"));
        assert!(!vertex("aiplatform.googleapis.com.example") && !vertex("127.0.0.1:8080"));
        assert!(find("openai").is_some_and(|p| p.is_at("https://API.openai.com/v1/") && !p.is_at("https://a/v1")));
        assert_eq!(find("azure-openai").map(|p| p.injector), Some(DefaultInjector::Header("api-key")));
    }
}
