//! The built-in prices: so far only the sandbox's, so that try-outs show a cost.
//!
//! To add a model, add a row: provider, model, then per date the US dollars per million tokens for
//! input, cached input and output. Keep older dates, since old calls are priced by them.

use credentialflow_model::{Price, Timestamp, resource::PriceEntry};

type Row = (&'static str, &'static str, &'static [(&'static str, &'static str, &'static str, &'static str)]);

const ROWS: &[Row] = &[
    ("sandbox", "sandbox-chat", &[("2025-01-01T00:00:00Z", "0.25", "0.025", "2")]),
    ("sandbox", "sandbox-large", &[("2025-01-01T00:00:00Z", "2.5", "0.25", "10")]),
];

/// Provider, model and its prices, for every row.
pub(super) fn entries() -> impl Iterator<Item = (&'static str, &'static str, Vec<PriceEntry>)> {
    ROWS.iter().map(|(provider, model, prices)| (*provider, *model, prices.iter().filter_map(entry).collect()))
}

fn entry(&(from, input, cached, output): &(&str, &str, &str, &str)) -> Option<PriceEntry> {
    let price = |text: &str| text.parse::<Price>().ok();
    Some(PriceEntry {
        from: from.parse::<Timestamp>().ok()?,
        input: price(input)?,
        cached_input: Some(price(cached)?),
        cache_write: None,
        cache_write_1h: None,
        output: price(output)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_well_formed_and_in_order() {
        assert_eq!(entries().count(), ROWS.len());
        for ((_, model, parsed), row) in entries().zip(ROWS) {
            assert_eq!(parsed.len(), row.2.len(), "{model}: a date or price does not parse");
            assert!(parsed.is_sorted_by(|a, b| a.from < b.from), "{model}");
        }
    }
}
