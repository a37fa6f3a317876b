//! Topics: the texts that are compared become embeddings by the gateway's own calls, and so do the examples, once. What came
//! of a question is judged as it comes, so that little of it is in memory at a time.

use super::{Asker, Together, ask};
use crate::pipeline::{Refused, record::Recording};
use credentialflow_llm::{
    embedding,
    guardrail::remote::{
        Remote, Unusable, Verdict,
        topics::{MOST_INPUTS, Topics},
    },
};
use credentialflow_model::OutcomeReason;
use std::future::poll_fn;

/// So many questions of a rule are asked at once.
const AT_ONCE: usize = 8;

/// What these pieces of a call, or of an answer, are about.
pub(super) async fn ask_about(
    asker: &Asker<'_>,
    rule: &Remote,
    topics: &Topics,
    pieces: Vec<&str>,
    beside: &Recording<'_>,
) -> Result<Verdict, Refused> {
    // Said where the configuration was compiled.
    let kept = asker.view.snapshot.asks.examples.get(&topics.mark());
    let kept = kept.ok_or(Refused::new(OutcomeReason::NoHealthyEndpoint))?;
    let examples = match kept.made() {
        Some(examples) => examples,
        None => kept.keep(embedded(asker, (rule, topics), &topics.examples(), Ok, beside).await?.concat()),
    };
    let judge = |pieces: Vec<Vec<f32>>| topics.verdict(examples, &pieces);
    let verdicts = embedded(asker, (rule, topics), &pieces, judge, beside).await?;
    Ok(verdicts.into_iter().fold(Verdict::default(), Verdict::with))
}

/// Asks for the embeddings of texts, and gives what is made of those of each question.
async fn embedded<T>(
    asker: &Asker<'_>,
    (rule, topics): (&Remote, &Topics),
    texts: &[&str],
    make: impl Fn(Vec<Vec<f32>>) -> Result<T, Unusable>,
    beside: &Recording<'_>,
) -> Result<Vec<T>, Refused> {
    let make = &make;
    let one = |texts: &[&str]| {
        let (body, count) = (embedding::call_of_all(topics.model().as_str(), texts), texts.len());
        let read = move |answer: &[u8]| {
            let vectors = embedding::vectors(answer, count);
            make(vectors.ok_or(Unusable::of("the answer has not one embedding for each text"))?)
        };
        ask(asker, rule, body, read, beside)
    };
    let mut all = Vec::new();
    for some in texts.chunks(MOST_INPUTS * AT_ONCE) {
        let mut questions = Together::of(some.chunks(MOST_INPUTS).map(one));
        for made in poll_fn(|cx| questions.poll(cx)).await {
            all.push(made?);
        }
    }
    Ok(all)
}
