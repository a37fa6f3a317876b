//! Pages of other origins change nothing here: what a browser sends must come from where it goes to.
//!
//! Clients that are no browsers send none of these headers and are not asked for anything.

use crate::error::{ApiError, Result};
use http::{HeaderMap, header};

/// Refuses a request of a browser that comes from another site, or that any page could send without
/// being asked (a form, or a script without a preflight).
pub(crate) fn check(headers: &HeaderMap) -> Result<()> {
    let refused = || ApiError::new(403, "the request comes from a page of another origin");
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")) {
        return Err(refused());
    }
    let origin = headers.get(header::ORIGIN);
    if let Some(origin) = origin {
        let from = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        let sent_to = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        // HTTP/2 carries the host in the target; browsers then send Sec-Fetch-Site, checked above.
        if from.is_none() || sent_to.is_some_and(|sent_to| from != Some(sent_to)) {
            return Err(refused());
        }
    }
    if site.is_none() && origin.is_none() {
        return Ok(());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let json = kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    if json || headers.contains_key("x-vault-request") {
        return Ok(());
    }
    Err(ApiError::new(403, "a browser must send application/json, or X-Vault-Request"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn only_pages_of_this_origin_change_something() {
        let json = ("content-type", "application/json; charset=utf-8");
        let check = |pairs: &[(&'static str, &'static str)], expected: bool| {
            let pairs = pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
            assert_eq!(check(&pairs.clone().collect()).is_ok(), expected, "{:?}", pairs.collect::<HeaderMap>());
        };
        check(&[], true);
        check(&[("content-type", "application/x-www-form-urlencoded")], true);
        check(&[("sec-fetch-site", "same-origin"), json], true);
        check(&[("sec-fetch-site", "same-origin"), ("x-vault-request", "true")], true);
        check(&[("sec-fetch-site", "same-origin")], false);
        check(&[("sec-fetch-site", "cross-site"), json], false);
        check(&[("sec-fetch-site", "same-site"), json, ("x-vault-request", "true")], false);
        check(&[("origin", "https://a:1"), ("host", "a:1"), json], true);
        check(&[("origin", "https://a:1"), ("host", "a:1"), ("content-type", "text/plain")], false);
        check(&[("origin", "https://b"), ("host", "a:1"), json], false);
        check(&[("origin", "null"), json], false);
    }
}
