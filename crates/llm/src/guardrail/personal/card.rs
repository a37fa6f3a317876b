//! Numbers of payment cards: the lengths and beginnings that networks use, and Luhn's check digit (ISO/IEC 7812).
//!
//! One in ten numbers that begin and are as long as those of cards have a right check digit by chance.

use super::numbers::{groups, may_begin, may_end};
use std::ops::Range;

pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut waiting: Vec<Range<usize>> = Vec::new();
    let mut end_of_last = 0;
    // The groups that may belong to one number stand together; a number has 19 digits at most, so few begin at each.
    let flush = |run: &mut Vec<Range<usize>>, found: &mut Vec<Range<usize>>| {
        let mut first = 0;
        while first < run.len() {
            match longest(text, &run[first..]) {
                Some(count) => {
                    found.push(run[first].start..run[first + count - 1].end);
                    first += count;
                }
                None => first += 1,
            }
        }
        run.clear();
    };
    for group in groups(text) {
        let joined = group.start == end_of_last + 1 && matches!(bytes[end_of_last], b' ' | b'-');
        if !joined {
            flush(&mut waiting, found);
        }
        end_of_last = group.end;
        waiting.push(group);
    }
    flush(&mut waiting, found);
}

/// How many of the groups, from the first on, are one card's number.
fn longest(text: &str, run: &[Range<usize>]) -> Option<usize> {
    if !may_begin(text, run[0].start) && before_is_not_ours(text, run[0].start) {
        return None;
    }
    let mut digits: Vec<u8> = Vec::with_capacity(19);
    let mut best = None;
    for (i, group) in run.iter().enumerate() {
        if digits.len() + group.len() > 19 || (run.len() > 1 && i > 0 && !(2..=7).contains(&group.len())) {
            break;
        }
        digits.extend(text.as_bytes()[group.clone()].iter().map(|b| b - b'0'));
        let spaced = i == 0 || (0..=i).all(|g| (2..=7).contains(&run[g].len()));
        if spaced && is_card(&digits) && may_end(text, group.end) {
            best = Some(i + 1);
        }
    }
    best
}

/// A number after another one in the same row of groups begins all the same.
fn before_is_not_ours(text: &str, at: usize) -> bool {
    !matches!(text[..at].chars().next_back(), Some(' '))
}

fn is_card(digits: &[u8]) -> bool {
    let first = |n: usize| digits.iter().take(n).fold(0u32, |sum, d| sum * 10 + u32::from(*d));
    let (two, three, four) = (first(2), first(3), first(4));
    let network = match digits.len() {
        13 | 16 | 19 if digits.first() == Some(&4) => true,
        14 => matches!(three, 300..=305) || matches!(two, 36 | 38 | 39),
        15 => matches!(two, 34 | 37) || matches!(four, 2131 | 1800),
        16 if matches!(two, 51..=55) || matches!(four, 2221..=2720) => true,
        16..=19 => four == 6011 || matches!(three, 644..=649) || matches!(two, 35 | 62 | 65),
        _ => false,
    };
    // Maestro, and what was Switch and Solo.
    let maestro = (12..=19).contains(&digits.len()) && (two == 50 || matches!(two, 56..=58) || two == 63 || two == 67);
    (network || maestro) && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let doubled = |d: u8| if d > 4 { 2 * d - 9 } else { 2 * d };
    let add = |(i, d): (usize, &u8)| u32::from(if i % 2 == 1 { doubled(*d) } else { *d });
    digits.iter().rev().enumerate().map(add).sum::<u32>() % 10 == 0 && digits.iter().any(|d| *d != 0)
}

#[cfg(test)]
mod tests {
    use super::{super::check, find};

    #[test]
    fn cards() {
        check(find, "Card 4111 1111 1111 1111, exp 12/30", &["4111 1111 1111 1111"]);
        check(find, "378282246310005 and 5555-5555-5555-4444.", &["378282246310005", "5555-5555-5555-4444"]);
        check(find, "in 2014 4111111111111111 was stolen", &["4111111111111111"]);
        for none in
            ["4111111111111112", "x4111111111111111", "41111111111111110000", "0000000000000000", "1.4111111111111111"]
        {
            check(find, none, &[]);
        }
    }
}
