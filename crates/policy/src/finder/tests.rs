//! Every secret is found wherever a body is cut, and nothing else is.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{KeyChange, KeyRecord, Peppers, policy_tests::issue};
use credentialflow_model::{KeyToken, SecretValue};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const NONE: [LiveSecret; 0] = [];

struct World {
    api_key: ApiKey,
    peppers: Arc<Peppers>,
    keys: KeyTable,
    values: ValueMarks,
}

impl World {
    /// The values of credentials `v0`, `v1` and so on, each in version 3; and these keys.
    fn new(values: &[&[u8]], keys: impl IntoIterator<Item = KeyRecord>) -> Self {
        let key = Arc::new(ValueKey::new(&std::array::from_fn(|i| (i * 37 + 5) as u8)));
        let marks: Vec<_> = values.iter().enumerate().filter_map(|(i, v)| Some((name(i), 3, key.mark(v)?))).collect();
        let peppers = peppers();
        let api_key = ApiKey::new(peppers.clone());
        Self { api_key, peppers, keys: KeyTable::from_records(keys), values: ValueMarks::new(key, marks) }
    }

    fn finder(&self) -> Finder<'_> {
        Finder { api_key: &self.api_key, keys: &self.keys, values: &self.values, now: NOW }
    }

    fn find(&self, text: impl AsRef<[u8]>) -> Vec<LiveSecret> {
        self.finder().find(1, text.as_ref()).secrets
    }

    /// In which piece something is found first, and what.
    fn passes(&self, pieces: &[&[u8]]) -> Option<(usize, Vec<LiveSecret>)> {
        let mut passing = Passing::default();
        pieces.iter().enumerate().find_map(|(i, piece)| {
            let found = passing.feed(&self.finder(), 1, piece).secrets;
            (!found.is_empty()).then_some((i, found))
        })
    }
}

fn peppers() -> Arc<Peppers> {
    let (one, two) = (SecretValue::from("pepper one"), SecretValue::from("pepper two"));
    Arc::new(Peppers::new([(1, &one), (2, &two)]))
}

fn name(i: usize) -> Arc<str> {
    format!("v{i}").into()
}

fn value(i: usize) -> LiveSecret {
    LiveSecret::Value { credential: name(i), version: 3 }
}

fn the_key(id: u64) -> LiveSecret {
    LiveSecret::Key { id: KeyId::from_bits(id), version: 1 }
}

#[test]
fn a_live_key_is_found_wherever_it_stands_and_no_other() {
    let peppers = peppers();
    let (token, record) = issue(77, 1, &peppers);
    let (wrong, _) = issue(77, 2, &peppers);
    let (unknown, _) = issue(78, 1, &peppers);
    let world = World::new(&[], [record.clone()]);
    let key = token.expose_str().unwrap();
    for text in [
        key.to_owned(),
        format!("my key is {key}."),
        format!("{{\"a\":\"line\\n{key}\"}}"),
        format!("x_y_{key}__"),
        format!("export KEY={key}more"),
        format!("{}{key}", wrong.expose_str().unwrap()),
        format!("{0}{0}{key}", unknown.expose_str().unwrap()),
        format!("é{key}é"),
    ] {
        assert_eq!(world.find(&text), [the_key(77)], "{text}");
    }
    let id = &key[..key.len() - 38];
    for text in [
        "",
        &key[..key.len() - 1],
        &key[1..],
        id,
        &key.replace('_', "-"),
        &key.to_uppercase(),
        &key.replacen("cfk", "cfj", 1),
        wrong.expose_str().unwrap(),
        unknown.expose_str().unwrap(),
        &"_".repeat(500),
        &format!("{id}_{}", "x".repeat(38)),
    ] {
        assert_eq!(world.find(text), NONE, "{text}");
    }
    // Keys that are not accepted any more are nobody's secret.
    for change in [
        KeyChange::Remove(record.id),
        KeyChange::Put(KeyRecord { expires: Some(NOW), ..record.clone() }),
        KeyChange::Put(KeyRecord { current: crate::KeySecret { retire_at: Some(NOW), ..record.current }, ..record }),
    ] {
        let keys = world.keys.with_changes([change]);
        assert_eq!(Finder { keys: &keys, ..world.finder() }.find(1, key.as_bytes()).secrets, NONE);
    }
}

#[test]
fn any_prefix_and_environment_is_found() {
    let peppers = peppers();
    for (prefix, environment) in [("a", "b"), ("acme", "test"), ("abcdefghijk0", "abcdefghijk1")] {
        let mut n = 0u8;
        let token = KeyToken::generate(prefix, environment, KeyId::from_bits(9), |b| {
            n = n.wrapping_add(7);
            b.fill(n);
        });
        let token = token.unwrap();
        let (_, mut record) = issue(9, 1, &peppers);
        let secret = KeyToken::parse(token.expose()).unwrap();
        record.current.hash = peppers.hash(1, secret.expose_secret()).unwrap();
        let world = World::new(&[], [record]);
        for around in ["", " ", "zz", "_", "ZZZZZZZZZZZZZZ"] {
            let text = format!("{around}{}{around}", token.expose_str().unwrap());
            assert_eq!(world.find(&text), [the_key(9)], "{text}");
        }
        assert_eq!(token.len().clamp(keys::SHORTEST, keys::LONGEST), token.len());
    }
}

#[test]
fn values_are_found_whole_and_only_whole() {
    let (long, longer) = (vec![b'a'; values::LONGEST], vec![b'b'; values::LONGEST + 1]);
    let known: [&[u8]; 9] = [
        b"sk-upstream-Zq7+/W4e1r9T=",
        b"exactly-16-bytes",
        b"only-15-bytes..",
        b"another-exactly-16-bytes",
        b"\x00\xff binary value \x80\x00\x01",
        b"same-value-twice-over",
        b"same-value-twice-over",
        &long,
        &longer,
    ];
    let world = World::new(&known, []);
    for (i, text) in known.iter().enumerate() {
        let around = [b"{\"prompt\":\"", *text, b"\"}"].concat();
        let expected = match i {
            2 | 8 => vec![],
            3 => vec![value(1), value(3)],
            5 | 6 => vec![value(5), value(6)],
            i => vec![value(i)],
        };
        let mut found = world.find(around);
        found.sort_by_key(|secret| format!("{secret:?}"));
        assert_eq!(found, expected, "{i}");
    }
    // The end alone, as of every text that ends like it, is not the value.
    assert_eq!(world.find("am-Zq7+/W4e1r9T="), NONE);
    assert_eq!(world.find("SK-upstream-Zq7+/W4e1r9T="), NONE);
    assert_eq!(world.values.longest(), values::LONGEST);
}

#[test]
fn a_target_is_searched_as_it_is_meant() {
    let peppers = peppers();
    let (token, record) = issue(77, 1, &peppers);
    let world = World::new(&[b"sk-upstream-Zq7+/W4e1r9T=", b"a value with spaces 17"], [record]);
    let key = token.expose_str().unwrap();
    let finder = world.finder();
    for (target, expected) in [
        (format!("/a/{key}?b=c"), the_key(77)),
        (format!("/a?k={}", key.replace('_', "%5f")), the_key(77)),
        ("/a?k=sk-upstream-Zq7%2B%2FW4e1r9T%3D&b=c".to_owned(), value(0)),
        ("/a?k=sk-upstream-Zq7+/W4e1r9T=".to_owned(), value(0)),
        ("/a?k=sk-upstream-Zq7+%2FW4e1r9T%3D".to_owned(), value(0)),
        ("/a?k=a+value+with+spaces+17".to_owned(), value(1)),
        ("/a?k=a+value%20with+spaces%2017".to_owned(), value(1)),
    ] {
        assert_eq!(finder.find_in_target(1, &target).secrets, std::slice::from_ref(&expected), "{target}");
        assert_eq!(finder.value_in_target(&target), expected != the_key(77), "{target}");
    }
    for target in ["/", "/a?b=%zz%", "/a?k=sk-upstream-Zq7%2B%2FW4e1r9T", &format!("/a/{}", &key[..50])] {
        assert_eq!(finder.find_in_target(1, target).secrets, NONE, "{target}");
        assert!(!finder.value_in_target(target), "{target}");
    }
}

#[test]
fn what_is_shorter_than_the_shortest_holds_nothing() {
    let (_, record) = issue(77, 1, &peppers());
    assert_eq!(World::new(&[], [record.clone()]).finder().shortest(), keys::SHORTEST);
    assert_eq!(World::new(&[b"exactly-16-bytes"], [record]).finder().shortest(), 16);
}

#[test]
fn look_alikes_do_not_make_it_hash_without_end() {
    let peppers = peppers();
    let (_, record) = issue(77, 1, &peppers);
    let (wrong, _) = issue(77, 2, &peppers);
    let world = World::new(&[], [record]);
    let text = format!("{} ", wrong.expose_str().unwrap()).repeat(5000);
    let (mut spent, mut hits) = (Spent::default(), Hits::of(1));
    world.finder().within(&[], text.as_bytes(), &mut spent, &mut hits);
    assert_eq!((hits.secrets.as_slice(), spent.keys, hits.gave_up), (NONE.as_slice(), MOST_COMPARED, true));
}

#[test]
fn a_search_that_ends_early_says_so_and_what_has_no_checksum_does_not_end_it() {
    let peppers = peppers();
    let (token, record) = issue(77, 1, &peppers);
    let (wrong, _) = issue(77, 2, &peppers);
    let world = World::new(&[], [record]);
    let (key, wrong) = (token.expose_str().unwrap(), wrong.expose_str().unwrap());
    let found = |text: &str| world.finder().find(1, text.as_bytes());
    // A decoy names a key that is there, and stands for as many prefixes as it has letters before it.
    let decoy = format!("abcdefghijkl{} ", &wrong[..wrong.len() - 6]) + "aaaaaa ";
    let unfit = found(&format!("{}{key}", decoy.repeat(5000)));
    assert_eq!((unfit.secrets.as_slice(), unfit.gave_up), ([the_key(77)].as_slice(), false));
    let most = MOST_COMPARED as usize - 1;
    for (count, expected) in [(1, true), (most, true), (most + 1, false), (3000, false)] {
        let found = found(&format!("{}{key}", format!("{wrong} ").repeat(count)));
        assert_eq!((found.secrets.len(), found.gave_up), (usize::from(expected), !expected), "{count}");
    }
    // A body that passes ends its search as well; a text without end goes on a little later.
    for (mut passing, expected) in [(Passing::default(), false), (Passing::endless(), true)] {
        let (text, mut gave_up, mut met) = (format!("{wrong} ").repeat(1100), false, false);
        for piece in [&text, &text, &text, key] {
            let found = passing.feed(&world.finder(), 1, piece.as_bytes());
            gave_up |= found.gave_up;
            met |= !found.secrets.is_empty();
        }
        assert_eq!((gave_up || expected, met), (true, expected));
    }
}

#[test]
fn values_that_end_alike_are_told_apart_and_look_alikes_of_them_hide_no_other() {
    let texts: Vec<String> =
        (0..3000).map(|i| format!("postgres://u{i:04}:p-{i:04}@db.internal:5432/orders")).collect();
    let known: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    let mut all = known.clone();
    all.push(b"another-value-of-ours");
    let world = World::new(&all, []);
    for i in [0, 1, 1500, 2999] {
        assert_eq!(world.find(format!("db: {}\n", texts[i])), [value(i)]);
    }
    // What only ends like them costs no hash.
    let like = "postgres://nobody@db.internal:5432/orders ".repeat(10);
    assert_eq!(world.find(format!("{like} another-value-of-ours")), [value(3000)]);
    let (mut spent, mut hits) = (Spent::default(), Hits::of(1));
    world.finder().within(&[], like.repeat(1000).as_bytes(), &mut spent, &mut hits);
    assert!(hits.secrets.is_empty() && hits.gave_up && spent.values.is_over(), "{:?}", spent.values);
}

#[test]
fn keys_that_are_none_use_up_nothing_of_what_values_may_cost() {
    let peppers = peppers();
    let (_, record) = issue(77, 1, &peppers);
    let (wrong, _) = issue(77, 2, &peppers);
    let world = World::new(&[b"sk-upstream-Zq7+/W4e1r9T="], [record]);
    let text = format!("{} ", wrong.expose_str().unwrap()).repeat(2000) + "sk-upstream-Zq7+/W4e1r9T=";
    assert_eq!(world.find(text), [value(0)]);
}

#[test]
fn many_are_told_once_each_up_to_a_number_wherever_the_text_is_cut() {
    let peppers = peppers();
    let issued: Vec<_> = (0..10).map(|i| issue(100 + i, i as u8, &peppers)).collect();
    let texts: Vec<String> = (0..10).map(|i| format!("a-value-of-ours-{i}-and-its-end-{i}")).collect();
    let known: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    let world = World::new(&known, issued.iter().map(|(_, record)| record.clone()));
    let all = issued.iter().map(|(token, _)| token.expose_str().unwrap()).chain(texts.iter().map(String::as_str));
    let text = all.collect::<Vec<_>>().join(", ").repeat(2);
    let expected: Vec<_> = (0..10).map(|i| the_key(100 + i)).chain((0..10).map(value)).collect();
    for most in [1, 3, 10, 16, 20, 100] {
        assert_eq!(world.finder().find(most, text.as_bytes()).secrets, expected[..most.min(20)]);
    }
    for size in [1, 7, 64, 1000] {
        let (mut passing, mut found) = (Passing::default(), Vec::new());
        for piece in text.as_bytes().chunks(size) {
            passing.feed(&world.finder(), 20, piece).secrets.into_iter().for_each(|secret| add(&mut found, secret));
        }
        assert_eq!((found.len(), expected.iter().all(|secret| found.contains(secret))), (20, true), "{size}");
    }
}

#[test]
fn other_keys_are_found_beside_the_callers_own() {
    let peppers = peppers();
    let [(own, mine), (other, theirs)] = [issue(77, 1, &peppers), issue(78, 2, &peppers)];
    let world = World::new(&[], [mine, theirs]);
    let (own, other) = (own.expose_str().unwrap(), other.expose_str().unwrap());
    let but = |text: &str| world.finder().keys_but(KeyId::from_bits(77), 16, text).secrets;
    assert_eq!(but(own), NONE);
    assert_eq!(but(&format!("k={own}&a={}", other.replace('_', "%5F"))), [the_key(78)]);
    assert_eq!(but(&format!("Token {other}")), [the_key(78)]);
}

#[test]
fn nothing_is_printed() {
    let world = World::new(&[b"sk-upstream-Zq7+/W4e1r9T="], []);
    let key = ValueKey::new(&[7; values::KEY_BYTES]);
    let told = format!("{:?} {key:?} {:?}", world.values, key.mark(b"sk-upstream-Zq7+/W4e1r9T="));
    assert_eq!(told, "ValueMarks(1 fingerprints) ValueKey(redacted) Some(ValueMark(redacted))");
    assert!(world.peppers.hash(1, b"x").is_ok());
}

/// What comes out of pieces in which secrets are blanked, what was found, and how much waited after each piece.
fn blanked(world: &World, own: Option<KeyId>, pieces: &[&[u8]]) -> (String, Vec<LiveSecret>, Vec<usize>) {
    let (mut blanking, mut out, mut found, mut waited) = (Blanking::endless(own), Vec::new(), Vec::new(), Vec::new());
    let mut came = 0;
    for piece in pieces {
        let met = blanking.feed(&world.finder(), piece, &mut |b| out.extend_from_slice(b));
        met.secrets.into_iter().for_each(|secret| add(&mut found, secret));
        came += piece.len();
        waited.push(came - out.len());
    }
    blanking.finish(&mut |b| out.extend_from_slice(b));
    (String::from_utf8(out).unwrap(), found, waited)
}

#[test]
fn what_is_blanked_keeps_its_length_and_of_a_key_its_id() {
    let peppers = peppers();
    let (token, record) = issue(77, 1, &peppers);
    let (other, own) = issue(78, 2, &peppers);
    let world = World::new(&[b"sk-upstream-Zq7+/W4e1r9T=", b"upstream-Zq7+/W4e1r9T=-and-more"], [record, own]);
    let (key, own) = (token.expose_str().unwrap(), other.expose_str().unwrap());
    let text = format!("{{\"a\":\"sk-upstream-Zq7+/W4e1r9T=-and-more\",\"k\":\"{key}\",\"o\":\"{own}\"}}");
    let masked = format!("{}{}", &key[..key.len() - 38], "*".repeat(38));
    let expected = format!("{{\"a\":\"{}\",\"k\":\"{masked}\",\"o\":\"{own}\"}}", "*".repeat(34));
    // Both values are blanked although they overlap, wherever the text is cut, and the reader's own key passes.
    for size in 1..text.len() {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        let (out, mut found, _) = blanked(&world, Some(KeyId::from_bits(78)), &pieces);
        found.sort_by_key(|secret| format!("{secret:?}"));
        assert_eq!(found, [the_key(77), value(0), value(1)], "{size}");
        // Cut within its first four bytes, a value gives these away.
        let near = out.len() == expected.len()
            && out
                .bytes()
                .zip(expected.bytes())
                .zip(text.bytes())
                .enumerate()
                .all(|(at, ((o, e), t))| o == e || (o == t && at < 9));
        assert!(near, "{size}: {out}");
    }
    assert_eq!(blanked(&world, Some(KeyId::from_bits(78)), &[text.as_bytes()]).0, expected);
    let places = world.finder().places(text.as_bytes()).0;
    let told: Vec<_> = places.iter().map(|place| (&text[place.range.clone()], place.hidden.len())).collect();
    let (one, two) = ("sk-upstream-Zq7+/W4e1r9T=", "upstream-Zq7+/W4e1r9T=-and-more");
    assert_eq!(told, [(one, one.len()), (two, two.len()), (key, 38), (own, 38)]);
}

#[test]
fn hardly_anything_waits() {
    let peppers = peppers();
    let (token, record) = issue(77, 1, &peppers);
    let key = token.expose_str().unwrap();
    let long = format!("long-value-{}", "0123456789abcdef".repeat(100));
    let world = World::new(&[b"sk-upstream-Zq7+/W4e1r9T=", long.as_bytes()], [record]);
    let stranger = "cfk_live_0123456789ab_ABC";
    for (text, waits) in [
        ("data: {\"choices\":[{\"delta\":{\"content\":\"so, it is\"}}]}\n\n", 0),
        ("data: sk-u", 4),
        ("data: sk-upstream-Zq7+/W", 18),
        ("data: sk-upstream-or-else", 0),
        ("sk-u\n\n", 0),
        ("some words", 0),
        ("one_two_three_four", 0),
        (stranger, 0),
        (&key[..key.len() - 1], 37),
        (&key[..key.len() - 38], 0),
        (key, 0),
        ("long", 4),
        (&long[..20], 20),
        (&long[..1000], 1000),
        (&long, 0),
    ] {
        let (out, _, waited) = blanked(&world, None, &[text.as_bytes()]);
        assert_eq!(waited, [waits], "{text}");
        assert_eq!(out.len(), text.len());
    }
    // What begins like a long value and is none goes on once that value would have ended.
    let near = format!("{}{}", &long[..200], "x".repeat(5000));
    let (out, found, waited) = blanked(&world, None, &[&near.as_bytes()[..1000], &near.as_bytes()[1000..]]);
    assert_eq!((out.as_str(), found.len(), waited), (near.as_str(), 0, vec![1000, 0]));
}

#[test]
fn behind_a_flood_of_look_alikes_nothing_of_ours_passes_unblanked() {
    let peppers = peppers();
    let (token, record) = issue(77, 1, &peppers);
    let (wrong, _) = issue(77, 2, &peppers);
    let (reader, own) = issue(78, 3, &peppers);
    let (stranger, _) = issue(79, 4, &peppers);
    let texts: Vec<String> =
        (0..3000).map(|i| format!("postgres://u{i:04}:p-{i:04}@db.internal:5432/orders")).collect();
    let known: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    let world = World::new(&known, [record, own]);
    let [key, wrong, reader, stranger] = [&token, &wrong, &reader, &stranger].map(|token| token.expose_str().unwrap());
    let masked = |key: &str| format!("{}{}", &key[..key.len() - 38], "*".repeat(38));
    let hidden = "*".repeat(texts[0].len());
    let keys = format!("{wrong} ").repeat(1001);
    let values = "postgres://nobody@db.internal:5432/orders ".repeat(20);
    for (flood, end, expected) in [
        // What has the shape of a key that is there is blanked, whosever it is but the reader's.
        (&keys, format!("{key} {reader} {stranger}."), format!("{} {reader} {stranger}.", masked(key))),
        // Values are compared by a measure of their own.
        (&keys, format!("{}.", texts[7]), format!("{hidden}.")),
        (&values, format!("{key} {}.", texts[2999]), format!("{} {hidden}.", masked(key))),
    ] {
        let text = format!("{flood}{end}");
        for size in [100, 1000, 4096, text.len()] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let (out, _, _) = blanked(&world, Some(KeyId::from_bits(78)), &pieces);
            assert_eq!(out.len(), text.len());
            // Cut within its first four bytes, a value gives these away.
            let shown = &out[flood.len()..];
            let off = shown.bytes().zip(expected.bytes()).filter(|(one, other)| one != other).count();
            assert!(shown.len() == expected.len() && off <= 3, "{size}: {shown}");
        }
    }
    // It is told that not all was compared.
    let mut blanking = Blanking::endless(None);
    assert!(blanking.feed(&world.finder(), keys.as_bytes(), &mut |_| {}).gave_up);
}

#[test]
fn a_secret_is_found_wherever_a_long_text_is_cut() {
    let (token, record) = issue(77, 7, &peppers());
    let world = World::new(&[b"value-Zq7+/W4e1r9T="], [record]);
    let around = "{\"finish_reason\":null,\"object\":\"chat.completion.chunk\"}\n".repeat(3);
    for (secret, expected) in [(token.expose(), the_key(77)), (&b"value-Zq7+/W4e1r9T="[..], value(0))] {
        let text = [around.as_bytes(), secret, around.as_bytes()].concat();
        let end = around.len() + secret.len();
        for at in 1..text.len() {
            let (first, rest) = text.split_at(at);
            assert_eq!(world.passes(&[first, rest]), Some((usize::from(at < end), vec![expected.clone()])), "{at}");
            // Where it is cut once more.
            let (rest, last) = rest.split_at(rest.len().min(40));
            let piece = usize::from(at < end) + usize::from(at + rest.len() < end);
            assert_eq!(world.passes(&[first, rest, last]), Some((piece, vec![expected.clone()])), "{at}");
        }
    }
}

fn cut<'t>(text: &'t [u8], cuts: &[usize]) -> Vec<&'t [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|c| c % (text.len() + 1)).collect();
    places.extend([0, text.len()]);
    places.sort_unstable();
    places.windows(2).map(|w| &text[w[0]..w[1]]).collect()
}

proptest! {
    #[test]
    fn no_cut_hides_a_secret_and_nothing_of_its_last_piece_passes(
        before in "[a-z_{\": ]{0,200}", after in "[A-Z_ ]{0,200}", which in 0usize..60, cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let peppers = peppers();
        let issued: Vec<_> = (0..20).map(|i| issue(100 + i, i as u8, &peppers)).collect();
        let texts: Vec<String> = (0..40).map(|i| format!("value-{i}-{}-{i}", "Zq7+/W4e1r9T=".repeat(1 + i))).collect();
        let known: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let world = World::new(&known, issued.iter().map(|(_, record)| record.clone()));
        let (secret, expected) = match which {
            0..20 => (issued[which].0.expose(), the_key(100 + which as u64)),
            _ => (known[which - 20], value(which - 20)),
        };
        let text = [before.as_bytes(), secret, after.as_bytes()].concat();
        prop_assert_eq!(world.find(&text), vec![expected.clone()]);
        let pieces = cut(&text, &cuts);
        // Nobody sees it where it is blanked: all but the first three bytes of a value at most.
        let (out, met, _) = blanked(&world, None, &pieces);
        let hidden = if which < 20 { 38 } else { secret.len() };
        let end = before.len() + secret.len();
        prop_assert_eq!((out.len(), met), (text.len(), vec![expected.clone()]));
        prop_assert_eq!(&out.as_bytes()[..end - hidden], &text[..end - hidden]);
        prop_assert_eq!(&out.as_bytes()[end..], &text[end..]);
        let shown = out.as_bytes()[end - hidden..end].iter().filter(|b| **b != b'*').count();
        prop_assert!(shown <= if which < 20 { 0 } else { 3 }, "{shown} bytes of {out}");
        let (at, found) = world.passes(&pieces).unwrap();
        prop_assert_eq!(found, vec![expected]);
        let (begin, length): (usize, usize) = (pieces[..at].iter().map(|p| p.len()).sum(), pieces[at].len());
        prop_assert!(begin < end && end <= begin + length, "{end} is not in {begin}+{length}");
        // One changed byte anywhere, and it is none.
        let mut near = text.clone();
        let place = before.len() + cuts.first().map_or(0, |c| c % secret.len());
        near[place] = if near[place] == b'a' { b'b' } else { b'a' };
        prop_assert_eq!(world.find(&near), NONE);
        prop_assert_eq!(world.passes(&cut(&near, &cuts)), None);
        prop_assert_eq!(blanked(&world, None, &cut(&near, &cuts)).0.into_bytes(), near);
    }

    #[test]
    fn finds_what_a_plain_search_finds(
        values in prop::collection::vec("[ab]{14,20}", 0..6), text in "[ab]{0,120}", cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let known: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
        let world = World::new(&known, []);
        let there = values.iter().any(|v| v.len() >= 16 && text.contains(v.as_str()));
        prop_assert_eq!(!world.find(&text).is_empty(), there);
        prop_assert_eq!(world.passes(&cut(text.as_bytes(), &cuts)).is_some(), there);
        let (out, met, _) = blanked(&world, None, &cut(text.as_bytes(), &cuts));
        prop_assert_eq!((out.len(), !met.is_empty()), (text.len(), there));
    }

    #[test]
    fn any_bytes_hold_nothing(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "(_|[0-9a-z]){0,300}") {
        let peppers = peppers();
        let world = World::new(&[b"sk-upstream-Zq7+/W4e1r9T="], [issue(77, 1, &peppers).1]);
        prop_assert_eq!(world.find(&bytes), NONE);
        prop_assert_eq!(world.find(&text), NONE);
        let _ = world.finder().find_in_target(1, &text);
    }
}
