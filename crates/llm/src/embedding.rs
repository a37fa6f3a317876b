//! Embeddings that the gateway asks for itself, as they are asked for and told in OpenAI's form, and how near two of them
//! are.

use serde_json::json;

/// Numbers of an embedding at most.
const MOST_NUMBERS: usize = 8192;

/// The call for the embedding of a text.
pub fn call(model: &str, text: &str) -> Vec<u8> {
    json!({ "model": model, "input": text, "encoding_format": "float" }).to_string().into_bytes()
}

/// The call for the embeddings of several texts.
pub fn call_of_all(model: &str, texts: &[impl AsRef<str>]) -> Vec<u8> {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    json!({ "model": model, "input": texts, "encoding_format": "float" }).to_string().into_bytes()
}

/// The embedding that an answer tells, of length one. `None` where it tells none.
pub fn vector(answer: &[u8]) -> Option<Vec<f32>> {
    vectors(answer, 1)?.pop()
}

/// The embeddings of so many texts that an answer tells, in the order of the texts, each of length one. `None` where it does
/// not tell one for each.
pub fn vectors(answer: &[u8], count: usize) -> Option<Vec<Vec<f32>>> {
    #[derive(serde::Deserialize)]
    struct Answer {
        data: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        index: Option<usize>,
        embedding: Vec<f32>,
    }
    let data = serde_json::from_slice::<Answer>(answer).ok()?.data;
    if data.len() != count {
        return None;
    }
    let mut all = vec![Vec::new(); count];
    for (place, One { index, embedding }) in data.into_iter().enumerate() {
        // Of each there is one, as the others would be missing else.
        let slot = all.get_mut(index.unwrap_or(place)).filter(|slot| slot.is_empty())?;
        *slot = of_length_one(embedding)?;
    }
    Some(all)
}

fn of_length_one(mut embedding: Vec<f32>) -> Option<Vec<f32>> {
    let length = embedding.iter().map(|n| f64::from(*n) * f64::from(*n)).sum::<f64>().sqrt();
    let is_one = length.is_finite() && length > 0.0 && embedding.len() <= MOST_NUMBERS;
    embedding.iter_mut().for_each(|n| *n = (f64::from(*n) / length) as f32);
    is_one.then_some(embedding)
}

/// The product of two vectors of as many numbers, in lanes that a processor works off at once: of two of length one, their
/// cosine.
pub fn product(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; LANES];
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::Value;

    #[test]
    fn an_embedding_is_one_direction() {
        let asked: Value = serde_json::from_slice(&call("e", "a \"b\"")).unwrap();
        assert_eq!(asked, json!({ "model": "e", "input": "a \"b\"", "encoding_format": "float" }));
        assert_eq!(vector(br#"{"data":[{"embedding":[3,4],"index":0}],"usage":{}}"#), Some(vec![0.6, 0.8]));
        for none in [
            r#"{"data":[{"embedding":[0,0]}]}"#,
            r#"{"data":[]}"#,
            r#"{"data":[{"embedding":[1]},{"embedding":[1]}]}"#,
            r#"{"data":[{"embedding":"AAAA"}]}"#,
            r#"{"error":{}}"#,
        ] {
            assert_eq!(vector(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn each_text_has_its_own() {
        let asked: Value = serde_json::from_slice(&call_of_all("e", &["a", "b"])).unwrap();
        assert_eq!(asked, json!({ "model": "e", "input": ["a", "b"], "encoding_format": "float" }));
        let (x, y) = (vec![1.0, 0.0], vec![0.0, 1.0]);
        let read = |answer: &str| vectors(answer.as_bytes(), 2);
        assert_eq!(read(r#"{"data":[{"embedding":[5,0]},{"embedding":[0,2]}]}"#), Some(vec![x.clone(), y.clone()]));
        let turned = r#"{"data":[{"embedding":[0,1],"index":1},{"embedding":[1,0],"index":0}]}"#;
        assert_eq!(read(turned), Some(vec![x, y]));
        for none in [
            r#"{"data":[{"embedding":[1]}]}"#,
            r#"{"data":[{"embedding":[1],"index":1},{"embedding":[1],"index":1}]}"#,
            r#"{"data":[{"embedding":[1],"index":0},{"embedding":[1],"index":2}]}"#,
            r#"{"data":[{"embedding":[1],"index":0},{"embedding":[],"index":1}]}"#,
        ] {
            assert_eq!(read(none), None, "{none}");
        }
        assert_eq!(vectors(br#"{"data":[]}"#, 0), Some(Vec::new()));
    }

    #[test]
    fn products_count_every_number() {
        let ones = |n: usize| vec![1.0; n];
        for n in [0, 1, 7, 8, 9, 1536, 1537] {
            assert_eq!(product(&ones(n), &ones(n)), n as f32);
        }
    }
}
