#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{bare, plain};
use credentialflow_model::{
    OutcomeReason,
    usage::{CredentialUse, Tried, TriedEnd},
};

#[test]
fn uses_add_up_until_they_are_taken() {
    let uses = LastUse::default();
    let late = UsageRecord { source: "10.0.0.9".parse().unwrap(), ..plain(50) };
    // The later one is reported first: requests end in any order.
    uses.add(&[late.clone(), plain(10), bare(60)]);
    uses.add(&[UsageRecord { upstream_status: 403, ..plain(20) }, UsageRecord { upstream_status: 0, ..plain(21) }]);
    let taken = uses.take_deltas();
    assert_eq!(
        taken.keys,
        [KeyUseDelta { key: late.key.unwrap(), last_time: late.time, last_source: late.source, count: 4 }]
    );
    assert_eq!(taken.credentials.len(), 1);
    let c = &taken.credentials[0];
    assert_eq!((&*c.credential, c.version, c.count, c.last_time), ("orders-token", 3, 4, late.time));
    assert_eq!(c.answers, Answers { served: 2, refused: 1 });
    assert_eq!(uses.refusals("orders-token", 3), Answers { served: 2, refused: 1 }, "totals outlive a take");
    assert_eq!(uses.refusals("orders-token", 4), Answers::default());
    let empty = uses.take_deltas();
    assert!(empty.keys.is_empty() && empty.credentials.is_empty());
    uses.add(&[plain(70)]);
    assert_eq!(uses.take_deltas().credentials[0].count, 1);
    assert_eq!(uses.refusals("orders-token", 3).served, 3);
}

#[test]
fn what_one_provider_refused_counts_where_another_one_served() {
    let uses = LastUse::default();
    let mut record = crate::testing::model(1, None);
    let carried = |name: &str| CredentialUse { credential: name.into(), version: 2 };
    let tried = |name: &str, end| Tried {
        provider: "p".into(),
        provider_model: "m".into(),
        credential: Some(carried(name)),
        end,
    };
    record.credential = Some(carried("serving"));
    record.model.as_mut().unwrap().tried = vec![
        tried("refused", TriedEnd::Status(401)),
        tried("unpaid", TriedEnd::Status(402)),
        tried("said", TriedEnd::Outcome(OutcomeReason::UpstreamCredentialRefused)),
        tried("busy", TriedEnd::Status(503)),
        tried("silent", TriedEnd::Outcome(OutcomeReason::UpstreamTimeout)),
    ];
    uses.add(&[record]);
    let of = |name| uses.refusals(name, 2);
    for name in ["refused", "unpaid", "said"] {
        assert_eq!(of(name), Answers { served: 0, refused: 1 }, "{name}");
    }
    assert_eq!((of("busy"), of("serving")), (Answers { served: 1, refused: 0 }, Answers { served: 1, refused: 0 }));
    assert_eq!(of("silent"), Answers::default());
    assert_eq!(uses.take_deltas().credentials.len(), 6, "all of them were used");
    // Also where nobody else was left: its status is that of another error.
    let said = UsageRecord { upstream_status: 400, outcome: OutcomeReason::UpstreamCredentialRefused, ..plain(20) };
    uses.add(&[UsageRecord { upstream_status: 400, ..plain(10) }, said]);
    assert_eq!(uses.refusals("orders-token", 3), Answers { served: 1, refused: 1 });
}

#[test]
fn versions_are_bounded_and_unused_ones_make_room() {
    let uses = LastUse::default();
    let of = |version: usize| {
        let mut record = plain(version as u64);
        record.credential.as_mut().unwrap().version = version as u32;
        record
    };
    let all: Vec<_> = (0..MAX_VERSIONS + 10).map(of).collect();
    uses.add(&all[..MAX_VERSIONS]);
    uses.take_deltas();
    uses.add(&all[MAX_VERSIONS..]);
    let full = uses.take_deltas();
    assert_eq!((full.overflowed, full.credentials.len()), (10, 0));
    uses.add(&all[MAX_VERSIONS..]);
    assert_eq!(uses.take_deltas().credentials.len(), 10);
}

#[test]
fn networks_are_those_of_requests_that_were_let_through() {
    let uses = LastUse::default();
    let from = |source: &str, outcome| UsageRecord { source: source.parse().unwrap(), outcome, ..plain(1) };
    let (served, refused) = (OutcomeReason::Served, OutcomeReason::Unauthenticated);
    uses.add(&[from("10.0.0.1", served), from("10.0.0.1", served), from("10.0.0.2", refused), bare(1)]);
    uses.add(&[from("2001:db8::1", served), from("2001:db8::2", served), from("10.0.0.1", served)]);
    let key = plain(1).key.unwrap();
    let networks = |of: Vec<(IpNet, Timestamp)>| {
        let mut of: Vec<_> = of.iter().map(|(network, _)| network.to_string()).collect();
        of.sort();
        of
    };
    assert_eq!(networks(uses.networks_of(key)), ["10.0.0.1/32", "2001:db8::/64"]);
    assert_eq!(uses.take_deltas().keys[0].count, 6);
    let taken = uses.take_networks(9);
    assert_eq!((taken.len(), uses.take_networks(9).len()), (2, 0));
    uses.networks_written(&taken);
    assert!(uses.networks_of(key).is_empty());
    uses.add(&[from("10.0.0.1", served), from("10.0.0.3", served)]);
    assert_eq!(networks(uses.networks_of(key)), ["10.0.0.3/32"], "what is written is not written again so soon");
    assert_eq!(uses.networks_lost_at(), None);
    let many: Vec<_> = (0..300).map(|n| from(&format!("10.1.{}.{}", n / 200, n % 200), served)).collect();
    uses.add(&many);
    assert!(uses.networks_of(key).len() <= usize::from(MAX_NEW_NETWORKS) + 1, "one key does not fill it all");
}
