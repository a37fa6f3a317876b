use super::*;
use credentialflow_model::{
    Period,
    ledger::{Rolling, Totals, Turn},
};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);
const LONG: Duration = Duration::from_secs(3600);

fn live(book: &Arc<Book>, usd: &str, hard: bool) -> Arc<LiveBudget> {
    let budget = serde_json::json!({ "usd": usd, "per": "day", "hard": hard });
    book.live_budget(Kind::Applications, "checkout", &serde_json::from_value(budget).unwrap())
}

fn account() -> Arc<Account> {
    live(&Arc::default(), "1", true).account(NOW)
}

#[test]
fn reserving_takes_and_settling_gives_back_what_was_not_spent() {
    let account = account();
    assert_eq!(account.reserve(10).unwrap_err(), Short::Borrow);
    account.lend(25, 5);
    let (a, b) = (account.reserve(10).unwrap(), account.reserve(10).unwrap());
    assert_eq!((account.free(), account.held(), account.is_low()), (5, 20, false));
    assert_eq!(account.reserve(10).unwrap_err(), Short::Borrow);
    a.settle(4);
    assert_eq!((account.free(), account.held()), (11, 10));
    b.settle(13);
    assert_eq!((account.free(), account.held()), (8, 0), "more than was reserved is spent all the same");
    drop(account.reserve(8).unwrap());
    assert_eq!((account.free(), account.held()), (8, 0), "a call that was not sent costs nothing");
    assert_eq!((account.give_back(3), account.give_back(3), account.free()), (5, 0, 3));
}

#[test]
fn what_is_only_watched_takes_nothing_out_before_it_is_spent() {
    let account = account();
    let calls: Vec<_> = (0..50_000).map(|_| account.watch(i64::MAX)).collect();
    assert_eq!((account.free(), account.held()), (0, 50_000 * MOST_WATCHED));
    calls.into_iter().for_each(|call| call.settle(3));
    assert_eq!((account.free(), account.held()), (-150_000, 0));
    account.want(i64::MAX);
    account.want(i64::MAX);
    assert_eq!(account.wanted().0, i64::MAX, "sums end at the largest number");
}

#[test]
fn what_was_denied_is_not_asked_for_again_at_once() {
    let account = account();
    account.tell_left(30, LONG);
    account.deny(5, LONG);
    assert_eq!(account.reserve(31).unwrap_err(), Short::Denied { for_good: true });
    assert_eq!(account.reserve(30).unwrap_err(), Short::Denied { for_good: false });
    assert_eq!(account.reserve(5).unwrap_err(), Short::Borrow, "so much is there: a large call denies no small one");
    account.tell_left(30, Duration::ZERO);
    assert_eq!(account.reserve(31).unwrap_err(), Short::Denied { for_good: false });
    account.deny(5, Duration::ZERO);
    assert_eq!(account.reserve(31).unwrap_err(), Short::Borrow, "that was a while ago");
    account.want(30);
    account.want(7);
    assert_eq!(account.wanted(), (37, 7));
    assert_eq!(account.wanted(), (0, 0));
    account.lend(20, 0);
    account.want(30);
    account.want(22);
    assert_eq!(account.wanted(), (32, 2), "what is there is not asked for again");
    account.want(15);
    assert_eq!(account.wanted(), (0, 0), "it came back meanwhile");
}

#[test]
fn a_budget_keeps_its_accounts_when_its_amount_changes_and_gets_new_ones_with_each_window() {
    let book = Arc::<Book>::default();
    let one = live(&book, "1", true);
    assert!(Arc::ptr_eq(&one, &live(&book, "1", true)));
    one.account(NOW).tell_left(0, LONG);
    assert_eq!(one.account(NOW).reserve(1).unwrap_err(), Short::Denied { for_good: true });
    let two = live(&book, "2", false);
    assert_eq!((two.limit(), two.is_hard()), (2_000_000_000_000, false));
    assert!(Arc::ptr_eq(&one.account(NOW), &two.account(NOW)));
    assert_eq!(two.account(NOW).reserve(1).unwrap_err(), Short::Borrow, "another limit is asked at once");
    let tomorrow = one.account(NOW).window().end;
    assert_eq!(one.account(tomorrow).window().start, tomorrow);
    assert_eq!(book.accounts().len(), 2);
    book.tidy();
    assert!(book.accounts().iter().all(|(_, budget)| budget.is_some()));
    drop((one, two));
    book.tidy();
    assert!(book.accounts().iter().all(|(_, budget)| budget.is_none()));
}

#[test]
fn what_is_read_and_not_used_takes_nothing_from_what_is_in_force() {
    let book = Arc::<Book>::default();
    let used = live(&book, "1", true);
    drop(live(&book, "2", true));
    assert_eq!(book.live()[0].limit(), 2_000_000_000_000, "the newest counts while it is there");
    book.tidy();
    assert!(Arc::ptr_eq(&book.live()[0], &used));
    assert!(Arc::ptr_eq(&book.find(used.id()).unwrap(), &used));
    // An older definition that comes back is the newest again.
    let other = live(&book, "2", true);
    assert!(Arc::ptr_eq(&live(&book, "1", true), &used) && Arc::ptr_eq(&book.live()[0], &used));
    used.account(NOW);
    drop(used);
    book.tidy();
    assert!(Arc::ptr_eq(&book.accounts()[0].1.clone().unwrap(), &other));
}

#[test]
fn how_a_budget_stands_is_known_once_it_was_told() {
    let account = account();
    assert_eq!(account.standing(), None);
    for (percent, warns, told) in [(0, false, 0), (83, true, 83), (u16::MAX, true, 1000)] {
        account.tell_standing(Standing { percent, warns });
        assert_eq!(account.standing(), Some(Standing { percent: told, warns }));
    }
}

#[test]
fn a_window_that_rolls_has_one_account() {
    let book = Arc::<Book>::default();
    let definition = serde_json::from_value(serde_json::json!({ "usd": 1, "per": "24h", "hard": true })).unwrap();
    let budget = book.live_budgets(Kind::Keys, "k", std::slice::from_ref(&definition)).next().unwrap();
    let account = budget.account(NOW);
    assert_eq!(&**account.key(), "keys/k/1d@0");
    assert!(Arc::ptr_eq(&account, &budget.account(Timestamp::from_secs(0))));
    assert!(Arc::ptr_eq(&account, &budget.account(NOW.plus(Period::from_secs(1 << 30)))));
    assert_eq!(account.frees(), account.window().end, "nobody knows");
    account.tell_frees(NOW);
    assert_eq!(account.frees(), NOW);
}

#[test]
fn sums_that_are_too_large_end_at_the_largest_number_and_open_nothing() {
    let account = account();
    account.lend(1000, 0);
    // Two calls whose providers say something absurd.
    let calls = [account.reserve(10).unwrap(), account.reserve(10).unwrap()];
    calls.into_iter().for_each(|call| call.settle(i64::MAX));
    assert_eq!(account.free(), i64::MIN);
    assert!(account.reserve(1).is_err());
    // Charged and covered at once, as both sums end at the same number.
    let mut totals = Totals::default();
    let lease = totals.turn(1000, &Turn { charge: i64::MAX, ..Turn::default() });
    assert_eq!((lease, totals.spent), (0, i64::MAX));
    account.lend(i64::MAX - 1000, 0);
    assert!(account.free() <= 0 && account.reserve(1).is_err(), "{account:?}");
    assert!(MOST_COST.checked_mul(2).is_some());
}

#[test]
fn an_account_that_was_forgotten_is_not_used_again() {
    let book = Arc::<Book>::default();
    let budget = live(&book, "1", true);
    let old = budget.account(NOW);
    let tomorrow = budget.account(old.window().end);
    book.forget(&old);
    assert!(book.accounts().iter().all(|(account, _)| Arc::ptr_eq(account, &tomorrow)));
    book.forget(&tomorrow);
    assert!(book.accounts().is_empty());
    let new = budget.account(NOW);
    assert!(!Arc::ptr_eq(&old, &new));
    assert_eq!(book.accounts().len(), 1, "turns look at the one that calls reserve from");
}

#[test]
fn many_threads_never_reserve_more_than_was_lent() {
    let account = account();
    account.lend(1000, 0);
    let won: i64 = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..200)
                        .filter_map(|_| account.reserve(3).ok())
                        .map(|held| {
                            held.settle(2);
                            2
                        })
                        .sum::<i64>()
                })
            })
            .collect();
        tries.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(account.held(), 0);
    assert_eq!(account.free(), 1000 - won);
    assert!((0..3).contains(&account.free()), "all but a rest that is too small: {account:?}");
}

/// What may happen, in any order, on one of three nodes.
#[derive(Clone, Copy, Debug)]
enum Step {
    Reserve(usize, i64),
    /// The oldest running call ends and costs so many percent of what was reserved.
    Settle(usize, i64),
    /// A turn at the database; with `false` its charges come later.
    Turn(usize, bool),
    /// Gives back what is free.
    Back(usize),
    /// The process is killed, and a new one takes its place once the charges that were written are known.
    Crash(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = || 0..3usize;
    let step = prop_oneof![
        4 => (node(), 1..120i64).prop_map(|(n, amount)| Step::Reserve(n, amount)),
        3 => (node(), 0..=100i64).prop_map(|(n, percent)| Step::Settle(n, percent)),
        3 => (node(), any::<bool>()).prop_map(|(n, charges)| Step::Turn(n, charges)),
        1 => node().prop_map(Step::Back),
        1 => node().prop_map(Step::Crash),
    ];
    proptest::collection::vec(step, 0..300)
}

struct Node {
    account: Arc<Account>,
    running: std::collections::VecDeque<Reservation>,
    /// Settled, in the call log or on the way there.
    unflushed: i64,
    lease: i64,
    back: i64,
}

impl Node {
    fn new() -> Self {
        Self { account: account(), running: Default::default(), unflushed: 0, lease: 0, back: 0 }
    }

    fn turn(&mut self, totals: &mut Totals, limit: i64, charges: bool) {
        let (need, least) = self.account.wanted();
        let charge = if charges { std::mem::take(&mut self.unflushed) } else { 0 };
        let back = std::mem::take(&mut self.back);
        let turn = Turn { limit: Some(limit), charge, back, need, least, ahead: 200 };
        let lease = totals.turn(self.lease, &turn);
        self.account.lend(lease - (self.lease - charge - back), 0);
        self.lease = lease;
    }
}

proptest! {
    #[test]
    fn a_hard_budget_is_never_overshot(limit in 1..5000i64, steps in steps()) {
        let mut totals = Totals::default();
        let mut nodes: Vec<Node> = (0..3).map(|_| Node::new()).collect();
        // What providers were paid, whoever knows of it.
        let (mut paid, mut charged_by_calls) = (0, 0);
        for step in steps {
            match step {
                Step::Reserve(n, amount) => match nodes[n].account.reserve(amount) {
                    Ok(held) => nodes[n].running.push_back(held),
                    Err(Short::Borrow) => nodes[n].account.want(amount),
                    Err(Short::Denied { .. }) => unreachable!("nothing is denied here"),
                },
                Step::Settle(n, percent) => {
                    if let Some(held) = nodes[n].running.pop_front() {
                        let cost = held.amount() * percent / 100;
                        held.settle(cost);
                        paid += cost;
                        nodes[n].unflushed += cost;
                        charged_by_calls += cost;
                    }
                }
                Step::Turn(n, charges) => nodes[n].turn(&mut totals, limit, charges),
                Step::Back(n) => {
                    let back = nodes[n].account.give_back(0);
                    nodes[n].back += back;
                }
                Step::Crash(n) => {
                    let node = std::mem::replace(&mut nodes[n], Node::new());
                    // Calls that ran are paid in full at worst, and nobody will ever tell; what is in the log is charged.
                    paid += node.running.iter().map(Reservation::amount).sum::<i64>();
                    let kept = totals.turn(node.lease, &Turn { charge: node.unflushed, ..Turn::default() });
                    totals.lose(kept);
                }
            }
            for node in &nodes {
                let known = node.account.free() + node.account.held() + node.unflushed + node.back;
                prop_assert_eq!(known, node.lease, "{:?}", node.account);
            }
            prop_assert_eq!(totals.leased, nodes.iter().map(|n| n.lease).sum::<i64>());
            prop_assert!(totals.spent + totals.leased + totals.lost <= limit, "{:?} of {}", totals, limit);
            prop_assert!(paid <= limit, "paid {} of {}", paid, limit);
        }
        for node in &mut nodes {
            for held in std::mem::take(&mut node.running) {
                drop(held);
            }
            node.turn(&mut totals, limit, true);
        }
        prop_assert_eq!(totals.spent, charged_by_calls, "what calls cost is charged, once");
    }
}

/// With time: what a budget that rolls lends and counts.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Step(Step),
    /// So many milliseconds pass.
    Pass(u64),
}

proptest! {
    #[test]
    fn in_no_window_of_its_length_is_a_hard_budget_that_rolls_overshot(
        limit in 1..3000i64,
        length in 100..5000u64,
        moments in proptest::collection::vec(
            prop_oneof![
                4 => (0..3usize, 1..120i64).prop_map(|(n, amount)| Moment::Step(Step::Reserve(n, amount))),
                3 => (0..3usize, 0..=100i64).prop_map(|(n, percent)| Moment::Step(Step::Settle(n, percent))),
                3 => (0..3usize, any::<bool>()).prop_map(|(n, charges)| Moment::Step(Step::Turn(n, charges))),
                1 => (0..3usize).prop_map(|n| Moment::Step(Step::Back(n))),
                1 => (0..3usize).prop_map(|n| Moment::Step(Step::Crash(n))),
                2 => (0..1500u64).prop_map(Moment::Pass),
            ],
            0..400,
        ),
    ) {
        let window = Period::from_millis(length);
        let (mut slots, mut leased, mut now) = (Rolling::default(), 0, NOW);
        let mut nodes: Vec<Node> = (0..3).map(|_| Node::new()).collect();
        // When calls were sent and what their providers were paid, whoever knows of it.
        let mut paid: Vec<(Timestamp, i64)> = Vec::new();
        let mut begun: Vec<std::collections::VecDeque<Timestamp>> = vec![Default::default(); 3];
        for moment in moments {
            match moment {
                Moment::Pass(millis) => now = now.plus(Period::from_millis(millis)),
                Moment::Step(Step::Reserve(n, amount)) => match nodes[n].account.reserve(amount) {
                    Ok(held) => {
                        nodes[n].running.push_back(held);
                        begun[n].push_back(now);
                    }
                    Err(_) => nodes[n].account.want(amount),
                },
                Moment::Step(Step::Settle(n, percent)) => {
                    if let (Some(held), Some(at)) = (nodes[n].running.pop_front(), begun[n].pop_front()) {
                        let cost = held.amount() * percent / 100;
                        held.settle(cost);
                        paid.push((at, cost));
                        nodes[n].unflushed += cost;
                    }
                }
                Moment::Step(Step::Back(n)) => {
                    let back = nodes[n].account.give_back(0);
                    nodes[n].back += back;
                }
                // As the database does both: expires, takes the turn, and counts in the slot of this moment.
                Moment::Step(Step::Turn(n, charges)) => {
                    slots.expire(now);
                    let mut totals = slots.totals(leased);
                    let before = totals.spent;
                    nodes[n].turn(&mut totals, limit, charges);
                    slots.slot(window, now).1.spent += totals.spent - before;
                    leased = totals.leased;
                }
                Moment::Step(Step::Crash(n)) => {
                    let node = std::mem::replace(&mut nodes[n], Node::new());
                    let calls = node.running.iter().zip(std::mem::take(&mut begun[n]));
                    paid.extend(calls.map(|(held, at)| (at, held.amount())));
                    slots.expire(now);
                    let mut totals = slots.totals(leased);
                    let kept = totals.turn(node.lease, &Turn { charge: node.unflushed, ..Turn::default() });
                    totals.lose(kept);
                    let slot = slots.slot(window, now).1;
                    slot.spent += node.unflushed;
                    slot.lost += kept;
                    leased = totals.leased;
                }
            }
            prop_assert_eq!(leased, nodes.iter().map(|n| n.lease).sum::<i64>());
            let known = slots.totals(leased);
            prop_assert!(known.spent + known.leased + known.lost <= limit, "{:?} of {}", known, limit);
            // Calls that began within the window that ends now, and those that run.
            let ago = Timestamp::from_micros(now.micros() - window.as_millis() as i64 * 1000);
            let within: i64 = paid.iter().filter(|(at, _)| *at > ago).map(|(_, cost)| cost).sum();
            let running: i64 = nodes.iter().map(|node| node.account.held()).sum();
            prop_assert!(within + running <= limit, "{} and {} of {}", within, running, limit);
        }
        // When all is over and long ago, all of it is there again.
        for node in &mut nodes {
            node.running.clear();
            let back = node.account.give_back(0);
            node.back += back;
            let mut totals = slots.totals(leased);
            node.turn(&mut totals, 0, true);
            leased = totals.leased;
        }
        slots.expire(now.plus(window).plus(window));
        prop_assert_eq!(slots.totals(leased), Totals::default());
    }
}

#[test]
fn each_end_user_has_a_budget_that_is_forgotten_with_its_calls() {
    let book = Arc::<Book>::default();
    let month = serde_json::json!({ "usd": 1, "per": "month", "hard": true });
    let definitions = [serde_json::from_value(month).unwrap()];
    let of = |user: &str| book.user_budgets("checkout", user, &definitions).unwrap();
    let (ada, grace) = (of("ada"), of("a/d a@"));
    assert_eq!((&**ada[0].id(), &**grace[0].id()), ("users/checkout/ada/month", "users/checkout/a%2Fd%20a%40/month"));
    assert!(Arc::ptr_eq(&ada[0], &of("ada")[0]), "one for all workers");
    let account = ada[0].account(NOW);
    assert!(account.is_of_user() && !live(&book, "1", true).account(NOW).is_of_user());
    book.forget(&account);
    let next = ada[0].account(NOW);
    assert!(!Arc::ptr_eq(&account, &next), "the next call gets one that turns look at");
    drop((ada, grace));
    book.tidy();
    let left: Vec<_> = book.live().iter().map(|budget| budget.id().to_string()).collect();
    assert_eq!(left, ["users/checkout/ada/month"], "what is not settled is still known for what it is");
    book.forget(&next);
    book.tidy();
    assert!(book.live().iter().all(|budget| !budget.id().starts_with("users/")));
}

#[test]
fn users_are_bounded_for_each_application_and_those_of_old_make_room() {
    let book = Arc::<Book>::default();
    let of_day = |usd: u32| serde_json::from_value(serde_json::json!({ "usd": usd, "per": "day" })).unwrap();
    let definitions = [of_day(1)];
    let of = |n: usize| book.user_budgets("checkout", &n.to_string(), &definitions);
    let held: Vec<_> = (0..MOST_OF_USERS).map(|n| of(n).unwrap()).collect();
    assert!(of(MOST_OF_USERS).is_none(), "one more than there is room for");
    assert!(of(7).is_some(), "one that is known has its budget");
    assert!(book.user_budgets("search", "1", &definitions).is_some(), "another application has room of its own");
    drop(held);
    assert!(of(MOST_OF_USERS).is_none(), "a call makes no room");
    book.tidy();
    let one = of(MOST_OF_USERS).unwrap();
    // Accounts stay until they are settled, and count as well.
    let accounts: Vec<_> = (1..MOST_OF_USERS).map(|n| of(n).unwrap()[0].account(NOW)).collect();
    assert!(of(0).is_none());
    book.tidy();
    assert!(of(0).is_none());
    book.forget(&accounts[7]);
    book.tidy();
    assert!(of(0).is_some());
    drop(one);
}

#[test]
fn each_budget_of_a_user_takes_room() {
    let book = Arc::<Book>::default();
    let definitions =
        ["day", "month", "1h"].map(|per| serde_json::from_value(serde_json::json!({ "usd": 1, "per": per })).unwrap());
    let of = |n: usize| book.user_budgets("checkout", &n.to_string(), &definitions);
    let held: Vec<_> = (0..).map_while(of).collect();
    assert_eq!(held.len(), MOST_OF_USERS / 3);
}

#[test]
fn what_is_used_up_stays_so_until_the_window_ends() {
    let book = Arc::<Book>::default();
    let account = live(&book, "1", false).account(NOW);
    assert_eq!(account.is_used_up(), None, "nobody told");
    account.tell_standing(Standing { percent: 99, warns: true });
    assert_eq!(account.is_used_up(), Some(false));
    account.tell_standing(Standing { percent: 1000, warns: true });
    assert_eq!(account.is_used_up(), Some(true));
    let tomorrow = live(&book, "1", false).account(account.window().end);
    assert_eq!(tomorrow.is_used_up(), None);
}
