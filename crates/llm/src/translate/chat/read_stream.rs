//! The chunks of a chat completion, as what they say.

use super::{
    super::{
        answer::{MAX_NAME, Malformed, Piece, Said, Sound, Stop, are_names},
        logprobs,
        read::{Text, list, present},
        signature::Signer,
    },
    cite::{Marks, annotations},
    open_calls::{OpenCalls, Part},
    read_answer::{Choice, Function, ToolCall, failure, nameless, of_index, stop, texts},
    signed::Signed,
};
use crate::{openai::usage, task::usage::Used};
use serde::Deserialize;
use serde_json::value::RawValue;

/// More of anything than this is in no chunk.
const MAX_PARTS: usize = 1000;
/// More signatures that wait for the calls they are of are not kept.
const MAX_SIGNED: usize = 64;
/// Longer ones neither.
const MAX_SIGNATURE: usize = 256 << 10;

/// Holds what is known of the tool being called, and of tokens.
#[derive(Debug)]
pub(in crate::translate) struct StreamReader {
    /// The number of the choice that is read.
    index: u64,
    /// The answer's id, once it has begun.
    id: Option<String>,
    usage: Option<Used>,
    calls: OpenCalls,
    refused: bool,
    /// Why it stopped, which comes before its usage.
    stop: Option<Stop>,
    /// Marks in what is said, which cite.
    marks: Marks,
    /// Something was thought that is not signed yet.
    unsigned: bool,
    /// How calls are signed that have not come, by their ids.
    signed: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    choices: Option<&'a RawValue>,
    #[serde(borrow, default)]
    citations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    search_results: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl StreamReader {
    pub fn new(index: u64) -> Self {
        Self {
            index,
            id: None,
            usage: None,
            calls: OpenCalls::default(),
            refused: false,
            stop: None,
            marks: Marks::default(),
            unsigned: false,
            signed: Vec::new(),
        }
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        let id = match &self.id {
            Some(id) => id.capacity(),
            None => 0,
        };
        let signed = |(id, signature): &(String, String)| size_of_val(id) * 2 + id.capacity() + signature.capacity();
        let id = id + self.signed.iter().map(signed).sum::<usize>();
        id + self.calls.held() + self.marks.held()
    }

    /// Reads the data of one event.
    pub fn event(&mut self, data: &[u8], say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        if data.trim_ascii() == b"[DONE]" {
            return match self.id {
                Some(_) => self.end(say),
                None if self.index > 0 => Ok(()), // there is no other
                None => Err(Malformed),
            };
        }
        let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|_| Malformed)?;
        if let Some(raw) = present(chunk.error) {
            say(Said::Failed(failure(raw)));
            return Ok(());
        }
        if usage::has_usage_object(data) {
            self.usage = usage::of(data).or(self.usage);
        }
        self.marks.learn(chunk.citations, chunk.search_results, say);
        let choices: Vec<Choice<'_>> = match present(chunk.choices) {
            Some(raw) => list(raw, "", MAX_PARTS, "").map_err(|_| Malformed)?,
            None => return Ok(()), // what there may be one day
        };
        let Some(choice) = of_index(choices, self.index) else { return Ok(()) };
        if self.id.is_none() {
            let (id, model) = (chunk.id.unwrap_or_default(), chunk.model.unwrap_or_default());
            if !are_names(&id, &model) {
                return Err(Malformed);
            }
            say(Said::Begin { id: &id, model: &model });
            self.id = Some(id.0.into_owned());
        }
        if let Some(delta) = choice.delta {
            let mut pieces = Vec::new();
            self.refused |= texts(&delta, &mut |piece| pieces.push(piece)).ok_or(Malformed)?;
            let signed = delta.signed();
            let words = signed.words.clone();
            self.signatures(signed, &mut pieces);
            let tokens = logprobs::of_choice(choice.logprobs);
            if !tokens.is_empty() {
                say(Said::Logprobs(&tokens));
            }
            for piece in &pieces {
                self.calls.close(say);
                if !matches!(piece, Piece::Text(_)) {
                    self.marks.finish(say);
                }
                match piece {
                    Piece::Text(text) => self.marks.text(text, say),
                    Piece::Thinking(text) => say(Said::Thinking(text)),
                    Piece::Image { media_type, data } => say(Said::Image { media_type, data }),
                    Piece::Signed(signer, signature) => say(Said::Signed(*signer, signature)),
                    Piece::Redacted(data) => say(Said::Redacted(data)),
                    Piece::Call { .. } => {}
                }
            }
            if let Some(signature) = words {
                self.calls.close(say);
                say(Said::Signed(Signer::Google, &signature));
            }
            for cited in annotations(delta.annotations) {
                self.marks.told(&cited, say);
            }
            if let Some(raw) = present(delta.tool_calls) {
                self.marks.finish(say);
                for call in list::<ToolCall<'_>>(raw, "", MAX_PARTS, "").map_err(|_| Malformed)? {
                    self.call(call, say)?;
                }
            }
        }
        if let Some(reason) = choice.finish_reason {
            let reason = stop(Some(&reason), self.calls.any(), self.refused).ok_or(Malformed)?;
            self.calls.close(say);
            self.marks.finish(say);
            // What is signed and is no call is what was said.
            if let Some((_, signature)) = self.signed.pop() {
                say(Said::Signed(Signer::Google, &signature));
            }
            self.stop = Some(reason);
            say(Said::Stop(reason));
        }
        Ok(())
    }

    /// The stream has ended. Not all providers say so in the end: that it stopped is enough.
    pub fn finish(&mut self, say: &mut impl FnMut(Said<'_>)) {
        if self.stop.is_some() {
            say(Said::End(self.usage.and_then(|used| used.tokens), Sound::of(self.usage.as_ref())));
        }
    }

    fn end(&mut self, say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        self.calls.close(say);
        self.marks.finish(say);
        if self.stop.is_none() {
            let reason = stop(None, self.calls.any(), self.refused).ok_or(Malformed)?;
            say(Said::Stop(reason));
        }
        say(Said::End(self.usage.and_then(|used| used.tokens), Sound::of(self.usage.as_ref())));
        Ok(())
    }

    /// Puts how thinking is signed behind what is thought, and keeps how calls are. Some providers tell the text once more
    /// with its signature, some tell it piece by piece in both places.
    fn signatures<'a>(&mut self, mut signed: Signed<'a>, pieces: &mut Vec<Piece<'a>>) {
        let thought = pieces.iter().take_while(|piece| matches!(piece, Piece::Thinking(_))).count();
        self.unsigned |= thought > 0;
        let mut at = thought;
        for one in std::mem::take(&mut signed.thoughts) {
            let is_new = thought == 0 && !(self.unsigned && one.signed.is_some());
            let text = one.text.filter(|_| is_new).map(Piece::Thinking);
            self.unsigned = (self.unsigned || text.is_some()) && one.signed.is_none();
            for piece in [text, one.signed].into_iter().flatten() {
                pieces.insert(at, piece);
                at += 1;
            }
        }
        for (id, signature) in signed.calls {
            if self.signed.len() < MAX_SIGNED && id.len() <= MAX_NAME && signature.len() <= MAX_SIGNATURE {
                self.signed.push((id.0.into_owned(), signature.0.into_owned()));
            }
        }
    }

    fn call(&mut self, call: ToolCall<'_>, say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        let told = call.signature();
        let ToolCall { index, id, function, .. } = call;
        let Function { name, arguments } = function.unwrap_or_default();
        let id = id.as_deref().unwrap_or_default();
        let part = Part { index, id, name: name.as_deref(), arguments: arguments.as_deref().unwrap_or_default() };
        let answer = self.id.as_deref().unwrap_or_default();
        let named = |tool| nameless(answer, self.index, tool);
        let signed = &mut self.signed;
        let signature = || told.map(|told| told.0.into_owned()).or_else(|| signature(signed, id));
        self.calls.part(&part, named, signature, say)
    }
}

/// Takes how a call of this id is signed.
fn signature(signed: &mut Vec<(String, String)>, id: &str) -> Option<String> {
    let own = signed.iter().position(|(of, _)| !id.is_empty() && of == id);
    let at = own.or_else(|| signed.iter().position(|(of, _)| of.is_empty()))?;
    Some(signed.swap_remove(at).1)
}
