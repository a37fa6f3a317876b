//! What it costs to look for secrets of ours in what passes: prompts of 1 KiB and 64 KiB, an upload in pieces, an answer in
//! the pieces of a stream, and the same where secrets are blanked.
//!
//! `cargo run --profile quick -p credentialflow-policy --example finder`
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use credentialflow_model::{KeyId, KeyToken, SecretValue, Timestamp};
use credentialflow_policy::{
    ApiKey, Finder, KeyRecord, KeySecret, KeyTable, Peppers, ValueKey, ValueMarks,
    finder::{Blanking, Passing},
};
use std::{hint::black_box, sync::Arc, time::Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let peppers = Arc::new(Peppers::new([(1, &SecretValue::from("a pepper for measuring, thirty-two"))]));
    let mut random = Random(1);
    let mut records = Vec::new();
    for _ in 0..100_000 {
        let id = KeyId::from_bits(random.next());
        let token = KeyToken::generate("cfk", "live", id, |b| b.fill_with(|| random.next() as u8))?;
        let parsed = KeyToken::parse(token.expose()).ok_or("a generated key must parse")?;
        let current =
            KeySecret { version: 1, hash: peppers.hash(1, parsed.expose_secret())?, pepper: 1, retire_at: None };
        records.push(KeyRecord {
            id,
            application: "checkout".parse()?,
            current,
            previous: None,
            expires: None,
            not_before: None,
            extras: None,
        });
    }
    let (api_key, keys) = (ApiKey::new(peppers), KeyTable::from_records(records));
    let words = "the quick brown fox jumps_over the lazy dog, and \\\"says\\\" {so: 17}.\\n";
    let prompt: Vec<u8> = words.bytes().cycle().take(1 << 20).collect();
    let dense: Vec<u8> =
        (0..1 << 20).map(|_| b"ABCDEFGHIJKLMNOPabcdefghijklmnop0123456789-_"[random.next() as usize % 44]).collect();
    println!(
        "{:>11} {:>9} {:>14} {:>14} {:>18} {:>18} {:>18} {:>18}",
        "credentials",
        "text",
        "1 KiB",
        "64 KiB",
        "1 MiB, whole",
        "1 MiB, in pieces",
        "in 200 bytes",
        "blanked, in 16 KiB"
    );
    for count in [0usize, 1, 100, 10_000] {
        let key = Arc::new(ValueKey::new(&std::array::from_fn(|_| random.next() as u8)));
        let mut marks = Vec::new();
        for i in 0..count {
            let value: Vec<u8> = (0..48).map(|_| b'!' + (random.next() % 90) as u8).collect();
            marks.extend(key.mark(&value).map(|mark| (Arc::from(format!("credential-{i}")), 1, mark)));
        }
        let values = ValueMarks::new(key, marks);
        let finder = Finder { api_key: &api_key, keys: &keys, values: &values, now: Timestamp::from_secs(1_000_000) };
        for (name, text) in [("prompt", &prompt), ("base64url", &dense)] {
            let [small, large, whole] = [1 << 10, 64 << 10, 1 << 20]
                .map(|n: usize| best(|| assert!(finder.find(1, black_box(&text[..n])).is_nothing())) * 1e9);
            let pieces = best(|| {
                let mut passing = Passing::default();
                for piece in text.chunks(64 << 10) {
                    assert!(passing.feed(&finder, 1, black_box(piece)).is_nothing());
                }
            }) * 1e9;
            let stream = best(|| {
                let mut passing = Passing::endless();
                for piece in text.chunks(200) {
                    assert!(passing.feed(&finder, 16, black_box(piece)).is_nothing());
                }
            }) * 1e9;
            let blanked = best(|| {
                let (mut blanking, mut length) = (Blanking::endless(None), 0);
                for piece in text.chunks(16 << 10) {
                    assert!(blanking.feed(&finder, black_box(piece), &mut |b| length += b.len()).is_nothing());
                }
                blanking.finish(&mut |b| length += b.len());
                assert_eq!(length, text.len());
            }) * 1e9;
            let each = |ns: f64, bytes: usize| format!("{:.2} ns/byte", ns / bytes as f64);
            println!(
                "{count:>11} {name:>9} {:>11.2} µs {:>11.1} µs {:>18} {:>18} {:>18} {:>18}",
                small / 1e3,
                large / 1e3,
                each(whole, 1 << 20),
                each(pieces, 1 << 20),
                each(stream, 1 << 20),
                each(blanked, 1 << 20)
            );
        }
    }
    Ok(())
}

/// Seconds of the quickest of many runs.
fn best(mut run: impl FnMut()) -> f64 {
    let (began, mut best) = (Instant::now(), f64::MAX);
    while began.elapsed().as_millis() < 250 {
        let from = Instant::now();
        run();
        best = best.min(from.elapsed().as_secs_f64());
    }
    best
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
