//! Topics: the texts that are compared become embeddings by the gateway's own calls, and so do the examples, once. What came
//! of a question is judged as it comes, so that little of it is in memory at a time.

use super::{Asker, Together, Unanswered, ask};
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

/// What these pieces of a call, or of an answer, are about. What is found in some of them holds although others are not
/// compared: else whoever puts one there that nobody compares could have what is found thrown away.
pub(super) async fn ask_about(
    asker: &Asker<'_>,
    rule: &Remote,
    topics: &Topics,
    pieces: Vec<&str>,
    beside: &Recording<'_>,
) -> (Verdict, Option<Unanswered>) {
    let none = |why: Unanswered| (Verdict::default(), Some(why));
    // Said where the configuration was compiled.
    let Some(kept) = asker.view.snapshot.asks.examples.get(&topics.mark()) else {
        return none(Refused::new(OutcomeReason::NoHealthyEndpoint).into());
    };
    let examples = match kept.made() {
        Some(examples) => examples,
        None => match embedded(asker, (rule, topics), &topics.examples(), Ok, beside).await {
            (all, None) => kept.keep(all.concat()),
            // Nobody but whoever wrote them is to blame for what is wrong with them.
            (_, Some(why)) => return none(Refused::new(why.reason).into()),
        },
    };
    let judge = |pieces: Vec<Vec<f32>>| topics.verdict(examples, &pieces);
    let (verdicts, unanswered) = embedded(asker, (rule, topics), &pieces, judge, beside).await;
    (verdicts.into_iter().fold(Verdict::default(), Verdict::with), unanswered)
}

/// Asks for the embeddings of texts, and gives what is made of those of each question that was answered, and why one was
/// not. Where nothing passes then, no more is asked.
async fn embedded<T>(
    asker: &Asker<'_>,
    (rule, topics): (&Remote, &Topics),
    texts: &[&str],
    make: impl Fn(Vec<Vec<f32>>) -> Result<T, Unusable>,
    beside: &Recording<'_>,
) -> (Vec<T>, Option<Unanswered>) {
    let make = &make;
    let one = |texts: &[&str]| {
        let (body, count) = (embedding::call_of_all(topics.model().as_str(), texts), texts.len());
        let read = move |answer: &[u8]| {
            let vectors = embedding::vectors(answer, count);
            make(vectors.ok_or(Unusable::of("the answer has not one embedding for each text"))?)
        };
        ask(asker, rule, body, read, beside)
    };
    let (mut all, mut unanswered) = (Vec::new(), None::<Unanswered>);
    for some in texts.chunks(MOST_INPUTS * AT_ONCE) {
        let mut questions = Together::of(some.chunks(MOST_INPUTS).map(one));
        for made in poll_fn(|cx| questions.poll(cx)).await {
            match made {
                Ok(made) => all.push(made),
                Err(why) if unanswered.as_ref().is_some_and(|known| !known.is_theirs || why.is_theirs) => {}
                Err(why) => unanswered = Some(why),
            }
        }
        if unanswered.as_ref().is_some_and(|why| !why.is_theirs || !rule.may_fail()) {
            break;
        }
    }
    (all, unanswered)
}
