//! Numbers that states give to people: of the United States (SSN), Spain (DNI, NIE), Italy (codice fiscale), Brazil (CPF)
//! and the United Kingdom (NINO). All but SSN and NINO have check digits; those two are told by how they are written.

use super::numbers::{may_begin, may_end};
use std::ops::Range;

pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let end = if may_begin(text, at) { end_of(text, at) } else { None };
        match end {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            // The next one can begin after this word only.
            None => at += bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric()).count(),
        }
    }
}

/// Whether the letters and digits of a number belong together.
type IsRight = fn(&[u8]) -> bool;

/// How numbers are written (`d`: a digit, `a`: a letter), and what is true of them.
const FORMS: &[(&str, IsRight)] = &[
    ("ddd-dd-dddd", is_ssn),
    ("ddd.ddd.ddd-dd", is_cpf),
    ("dddddddda", is_dni),
    ("dddddddd-a", is_dni),
    ("addddddda", is_nie),
    ("a-ddddddd-a", is_nie),
    ("aaaaaaddaddaddda", is_codice),
    ("aadddddda", is_nino),
    ("aa dd dd dd a", is_nino),
];

/// Where the number that begins here ends, if it is one.
fn end_of(text: &str, start: usize) -> Option<usize> {
    FORMS.iter().find_map(|(form, is_right)| {
        let piece = text.as_bytes().get(start..start + form.len())?;
        let fits = piece.iter().zip(form.bytes()).all(|(b, form)| match form {
            b'd' => b.is_ascii_digit(),
            b'a' => b.is_ascii_alphabetic(),
            other => *b == other,
        });
        let signs: Vec<u8> = piece.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect();
        let end = start + form.len();
        (fits && is_right(&signs) && may_end(text, end)).then_some(end)
    })
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum, d| sum * 10 + u64::from(d - b'0'))
}

/// No area 000 or 666, no group 00, no serial 0000.
fn is_ssn(signs: &[u8]) -> bool {
    let (area, group, serial) = (number(&signs[..3]), number(&signs[3..5]), number(&signs[5..]));
    area != 0 && area != 666 && group != 0 && serial != 0
}

fn is_cpf(signs: &[u8]) -> bool {
    let check = |n: usize| {
        let sum: usize = signs[..n].iter().enumerate().map(|(i, d)| usize::from(d - b'0') * (n + 1 - i)).sum();
        (sum * 10 % 11 % 10) as u8 == signs[n] - b'0'
    };
    check(9) && check(10) && signs.iter().any(|d| *d != signs[0])
}

fn dni_letter(number: u64) -> u8 {
    b"TRWAGMYFPDXBNJZSQVHLCKE"[(number % 23) as usize]
}

fn is_dni(signs: &[u8]) -> bool {
    signs.len() == 9 && signs[8] == dni_letter(number(&signs[..8]))
}

fn is_nie(signs: &[u8]) -> bool {
    let head = match signs[0] {
        b'X' => 0,
        b'Y' => 1,
        b'Z' => 2,
        _ => return false,
    };
    signs.len() == 9 && signs[8] == dni_letter(head * 10_000_000 + number(&signs[1..8]))
}

fn is_codice(signs: &[u8]) -> bool {
    const ODD: [u8; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let value = |b: u8| usize::from(if b.is_ascii_digit() { b - b'0' } else { b - b'A' });
    let add = |(i, b): (usize, &u8)| if i % 2 == 0 { usize::from(ODD[value(*b)]) } else { value(*b) };
    let sum: usize = signs[..15].iter().enumerate().map(add).sum();
    (sum % 26) as u8 == signs[15] - b'A'
}

fn is_nino(signs: &[u8]) -> bool {
    let (first, second) = (signs[0], signs[1]);
    let prefix = [first, second];
    !b"DFIQUV".contains(&first)
        && !b"DFIQUVO".contains(&second)
        && ![b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"].contains(&&prefix)
        && matches!(signs[8], b'A'..=b'D')
}

#[cfg(test)]
mod tests {
    use super::{super::check, find};

    #[test]
    fn numbers() {
        check(find, "SSN 054-28-6917.", &["054-28-6917"]);
        check(find, "12345678Z x1234567l, cpf 529.982.247-25", &["12345678Z", "x1234567l", "529.982.247-25"]);
        check(find, "RSSMRA85T10A562S; AB 12 34 56 C", &["RSSMRA85T10A562S", "AB 12 34 56 C"]);
        for none in [
            "000-28-6917",
            "666-28-6917",
            "12345678A",
            "529.982.247-26",
            "RSSMRA85T10A562T",
            "GB123456A",
            "2054-28-6917",
            "054-28-69170",
        ] {
            check(find, none, &[]);
        }
    }
}
