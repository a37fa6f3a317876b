//! Tokens, keys and passwords: the forms that well-known services give them, private keys, and what is set beside words such
//! as `password`.
//!
//! Forms with a prefix of their own are certain. A password is found only where it is called one and looks like none that a
//! person reads: short or plain ones pass. Secrets that we keep ourselves are found exactly, elsewhere and always.

use super::{Detector, Found, Reach, boundary};

/// Finds them.
pub(super) struct Secrets;

/// A prefix, the length of what follows, and the characters that it is of.
struct Form(&'static str, usize, usize, fn(u8) -> bool);

fn word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}
fn dashed(b: u8) -> bool {
    word(b) || b == b'-'
}
fn dotted(b: u8) -> bool {
    dashed(b) || b == b'.'
}
fn upper(b: u8) -> bool {
    b.is_ascii_uppercase() || b.is_ascii_digit()
}
fn alphanumeric(b: u8) -> bool {
    b.is_ascii_alphanumeric()
}

const FORMS: &[Form] = &[
    // AWS
    Form("AKIA", 16, 16, upper),
    Form("ASIA", 16, 16, upper),
    // GitHub, GitLab
    Form("ghp_", 36, 255, alphanumeric),
    Form("gho_", 36, 255, alphanumeric),
    Form("ghu_", 36, 255, alphanumeric),
    Form("ghs_", 36, 255, alphanumeric),
    Form("ghr_", 36, 255, alphanumeric),
    Form("github_pat_", 40, 255, word),
    Form("glpat-", 20, 255, dotted),
    // Providers of models
    Form("sk-", 32, 255, dashed),
    Form("gsk_", 40, 100, alphanumeric),
    Form("xai-", 60, 200, alphanumeric),
    Form("hf_", 30, 60, alphanumeric),
    Form("r8_", 30, 60, alphanumeric),
    Form("pplx-", 40, 80, alphanumeric),
    // Google
    Form("AIza", 35, 35, dashed),
    Form("ya29.", 20, 1024, dotted),
    // Payments
    Form("sk_live_", 20, 255, alphanumeric),
    Form("sk_test_", 20, 255, alphanumeric),
    Form("rk_live_", 20, 255, alphanumeric),
    Form("whsec_", 24, 255, alphanumeric),
    // Messages
    Form("xoxb-", 20, 255, dashed),
    Form("xoxp-", 20, 255, dashed),
    Form("xoxa-", 20, 255, dashed),
    Form("xoxs-", 20, 255, dashed),
    Form("xapp-", 20, 255, dashed),
    Form("SG.", 40, 100, dotted),
    // Registries of packages
    Form("npm_", 36, 36, alphanumeric),
    Form("pypi-AgEIcHlwaS5vcmc", 50, 255, dashed),
    Form("dckr_pat_", 20, 60, dashed),
    // Hosts and stores
    Form("dop_v1_", 64, 64, alphanumeric),
    Form("shpat_", 32, 32, alphanumeric),
    Form("hvs.", 24, 255, dashed),
    Form("hvb.", 24, 255, dashed),
    Form("dapi", 32, 36, |b| b.is_ascii_hexdigit()),
    Form("AGE-SECRET-KEY-1", 58, 58, upper),
    Form("cfk_", 40, 255, word),
];

/// Words beside which a secret stands.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "private_key",
];
/// So many bytes a private key may have.
const MOST_KEY: usize = 16 << 10;

impl Detector for Secrets {
    fn find(&self, text: &str, found: &mut Vec<Found>) {
        prefixed(text, found);
        signed(text, found);
        private_keys(text, found);
        in_addresses(text, found);
        named(text, found);
    }

    // Signed tokens are long, and a private key is held from its first line on.
    fn reach(&self) -> Reach {
        Reach { bytes: 128, row: MOST_KEY }
    }
}

fn push(found: &mut Vec<Found>, start: usize, end: usize) {
    found.push(Found { range: start..end, placeholder: "[SECRET]" });
}

/// Whether a token may begin here.
fn begins(bytes: &[u8], at: usize) -> bool {
    at == 0 || !word(bytes[at - 1])
}

fn prefixed(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    for Form(prefix, least, most, of) in FORMS {
        let mut past = 0;
        // Where the row of such characters ends: read once, however many prefixes stand in it.
        let mut end = 0;
        for at in memchr::memmem::find_iter(bytes, prefix) {
            if at < past || !begins(bytes, at) {
                continue;
            }
            let from = at + prefix.len();
            if from >= end {
                end = from + bytes[from..].iter().take_while(|b| of(**b)).count();
            }
            let token = &bytes[from..end];
            // Words and rows of few characters are no tokens.
            if token.len() >= *least && token.len() <= *most && distinct(token) >= 6 {
                let bits = entropy(token);
                let digits = token.iter().any(u8::is_ascii_digit);
                if (bits > 3.5 && token.len() >= 24) || (bits > 2.5 && digits) {
                    push(found, at, end);
                    past = end;
                }
            }
        }
    }
}

/// Signed tokens (RFC 7519) and others of their form.
fn signed(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    let mut past = 0;
    for at in memchr::memmem::find_iter(bytes, b"eyJ") {
        if at < past || !begins(bytes, at) {
            continue;
        }
        let length = bytes[at..].iter().take_while(|b| dotted(**b)).count();
        past = at + length;
        let parts: Vec<&str> = text[at..past].trim_end_matches('.').split('.').collect();
        if (3..=5).contains(&parts.len()) && parts[0].len() >= 10 && parts[parts.len() - 1].len() >= 10 {
            push(found, at, past);
        }
    }
}

/// Private keys in PEM (RFC 7468), to their end or as far as they are there.
fn private_keys(text: &str, found: &mut Vec<Found>) {
    let mut past = 0;
    for (at, _) in text.match_indices("-----BEGIN ") {
        let line = &text.as_bytes()[at..text.len().min(at + 64)];
        if at < past || memchr::memmem::find(line, b"PRIVATE KEY").is_none() {
            continue;
        }
        let body = &text[at..boundary(text, at + MOST_KEY)];
        let end = match body.find("-----END ") {
            Some(end) => body[end + 9..].find("-----").map_or(body.len(), |close| end + 9 + close + 5),
            None => body.len(),
        };
        push(found, at, at + end);
        past = at + end;
    }
}

/// Passwords in addresses, as in `scheme://user:password@host`.
fn in_addresses(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    for at in memchr::memmem::find_iter(bytes, b"://") {
        let from = at + 3;
        let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>');
        let length = bytes[from..].iter().take(512).take_while(|b| !ends(b)).count();
        let authority = &bytes[from..from + length];
        let (Some(colon), Some(host)) = (memchr::memchr(b':', authority), memchr::memrchr(b'@', authority)) else {
            continue;
        };
        let password = authority.get(colon + 1..host).unwrap_or_default();
        let told = password.starts_with(b"$")
            || password.starts_with(b"{")
            || password.starts_with(b"<")
            || password.iter().all(|b| *b == b'*');
        if password.len() >= 3 && !told {
            push(found, from + colon + 1, from + host);
        }
    }
}

/// What is set beside a word for a secret: `password = "…"`, `"api_key": "…"`, `token is …`.
fn named(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    for name in NAMES {
        let mut at = 0;
        let finder = Insensitive(name.as_bytes());
        while let Some(hit) = finder.find(bytes, at) {
            at = hit + name.len();
            if let Some((start, end)) = value_after(bytes, at)
                && looks_random(&bytes[start..end])
            {
                push(found, start, end);
                at = end;
            }
        }
    }
}

/// Finds a word in any case.
struct Insensitive<'w>(&'w [u8]);

impl Insensitive<'_> {
    fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        let first = self.0[0];
        let mut at = from;
        loop {
            let rest = text.get(at..)?;
            at += memchr::memchr2(first, first.to_ascii_uppercase(), rest)?;
            if text.get(at..at + self.0.len())?.eq_ignore_ascii_case(self.0) {
                return Some(at);
            }
            at += 1;
        }
    }
}

/// The value that follows a name, a sign or a small word, and perhaps a quote.
fn value_after(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let skip = |at: &mut usize, of: fn(u8) -> bool| {
        let n = bytes[*at..].iter().take(8).take_while(|b| of(**b)).count();
        *at += n;
        n
    };
    let blank = |b: u8| matches!(b, b' ' | b'\t' | b'"' | b'\'' | b'`' | b'*');
    // The end of a longer name, as in `password_hash`.
    let rest = bytes[at..].iter().take(24).take_while(|b| word(**b)).count();
    at += rest;
    skip(&mut at, blank);
    let sign = skip(&mut at, |b| matches!(b, b':' | b'=' | b'>'));
    if sign == 0 {
        let rest = bytes.get(at..)?;
        let is = [&b"is "[..], b"was "].into_iter().find(|is| rest.starts_with(is))?;
        at += is.len();
    }
    skip(&mut at, blank);
    let ends =
        |b: u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'`' | b',' | b';' | b'<' | b')' | b'}' | b']');
    let length = bytes[at..].iter().take(257).take_while(|b| !ends(**b)).count();
    (length <= 256).then_some((at, at + length))
}

fn looks_random(value: &[u8]) -> bool {
    let classes =
        [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit, |b: &u8| b.is_ascii_punctuation()];
    let kinds = classes.iter().filter(|class| value.iter().any(class)).count();
    let named = value.starts_with(b"$") || value.starts_with(b"{") || value.starts_with(b"<") || value.contains(&b'(');
    let digits = value.iter().any(u8::is_ascii_digit);
    let has_edges = value.iter().all(u8::is_ascii_graphic);
    has_edges && !named && digits && ((value.len() >= 8 && kinds >= 3) || (value.len() >= 16 && entropy(value) > 3.0))
}

/// How many bytes of ASCII differ: as many as [`entropy`] needs, told faster.
fn distinct(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0u128, |seen, b| seen | 1 << (b & 127)).count_ones()
}

/// Bits of a byte, as Shannon counts them.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    bytes.iter().for_each(|b| counts[usize::from(*b)] += 1);
    let all = bytes.len().max(1) as f64;
    counts.iter().filter(|n| **n > 0).map(|n| f64::from(*n) / all).map(|p| -p * p.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let mut found = Vec::new();
        Secrets.find(text, &mut found);
        assert_eq!(found.into_iter().map(|f| &text[f.range]).collect::<Vec<_>>(), expect, "{text}");
    }

    #[test]
    fn tokens() {
        // Put together here, so that nobody takes this file for a leak.
        let random = "Zx81Qm40Lk27Wd93Rt56Yp02Hs68Nv75Bc19Fj34";
        for token in [
            format!("AKIA{}", &random.to_uppercase()[..16]),
            format!("ghp_{}", &random[..36]),
            format!("sk-proj-{random}"),
            format!("xoxb-{random}"),
            format!("hvs.{random}"),
            format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm5hIn0.{random}"),
            format!("-----BEGIN PRIVATE KEY-----\n{random}\n-----END PRIVATE KEY-----"),
            format!("-----BEGIN RSA PRIVATE KEY-----\n{random}"),
        ] {
            check(&format!("use {token}"), &[&token]);
        }
        check(&format!("postgres://app:{random}@db/x"), &[random]);
        check("password: Xk7#pQ2m9, user anna", &["Xk7#pQ2m9"]);
        check(r#"{"API_KEY": "a81f0c3e7d5b9264"}"#, &["a81f0c3e7d5b9264"]);
        check("the token is 9f86d081884c7d65", &["9f86d081884c7d65"]);
    }

    #[test]
    fn no_tokens() {
        for none in [
            "sk-this-is-just-a-sentence-with-hyphens-in-it",
            "what is a password? my password is long",
            "password = ${PASSWORD}, token: get_token(1)",
            "https://example.com:8080/a@b",
            "task-1234567890 is done",
            "-----BEGIN CERTIFICATE-----",
            "max_tokens: 1024, token: 12",
            "eyJ is how they begin",
        ] {
            check(none, &[]);
        }
    }
}
