//! What a key check costs with one key and with a million, and what a key weighs.
//!
//! `cargo run --profile quick -p credentialflow-policy --example keys`
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use credentialflow_model::{KeyId, KeyToken, Name, SecretValue, Timestamp};
use credentialflow_policy::{ApiKey, KeyChange, KeyRecord, KeySecret, KeyTable, Peppers};
use std::{hint::black_box, sync::Arc, time::Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pepper = SecretValue::from("a pepper for measuring, thirty-two");
    let peppers = Arc::new(Peppers::new([(1, &pepper)]));
    let application: Name = "checkout".parse()?;
    let mut random = Random(1);
    let (mut tokens, mut length) = (Vec::new(), 0);
    let mut records = Vec::with_capacity(1_000_000);
    for i in 0..1_000_000u32 {
        let id = KeyId::from_bits(random.next());
        let mut hash = [0; 32];
        // Every fiftieth key is really made; the others only fill the table.
        if i % 50 == 0 {
            let token = KeyToken::generate("cfk", "live", id, |b| b.fill_with(|| random.next() as u8))?;
            let parsed = KeyToken::parse(token.expose()).ok_or("a generated key must parse")?;
            hash = peppers.hash(1, parsed.expose_secret())?;
            // Side by side, so that reading the tokens themselves costs little.
            tokens.extend_from_slice(token.expose());
            length = token.len();
        }
        let current = KeySecret { version: 1, hash, pepper: 1, retire_at: None };
        let application = application.clone();
        records.push(KeyRecord {
            id,
            application,
            current,
            previous: None,
            expires: None,
            not_before: None,
            extras: None,
        });
    }
    let one = KeyTable::from_records(records[..1].iter().cloned());
    let start = Instant::now();
    let million = KeyTable::from_records(records);
    println!("build 1,000,000 keys: {:?}", start.elapsed());
    println!("bytes per key: {:.1}", million.memory_bytes() as f64 / million.len() as f64);
    let start = Instant::now();
    for _ in 0..100 {
        black_box(million.with_changes([KeyChange::Remove(KeyId::from_bits(random.next()))]));
    }
    println!("one change among a million: {:?}", start.elapsed() / 100);

    let api_key = ApiKey::new(peppers);
    let now = Timestamp::from_secs(1);
    for (name, table, tokens) in [("1 key", &one, &tokens[..length]), ("1,000,000 keys", &million, &tokens[..])] {
        let mut best = f64::MAX;
        for _ in 0..5 {
            let start = Instant::now();
            for i in 0..200_000 {
                let at = i * 7919 % (tokens.len() / length) * length;
                black_box(
                    api_key
                        .authenticate(&tokens[at..at + length], table, now)
                        .is_ok()
                        .then_some(())
                        .ok_or("refused")?,
                );
            }
            best = best.min(start.elapsed().as_nanos() as f64 / 200_000.0);
        }
        println!("authenticate with {name}: {best:.0} ns");
    }
    Ok(())
}

struct Random(u64);

impl Random {
    /// splitmix64
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}
