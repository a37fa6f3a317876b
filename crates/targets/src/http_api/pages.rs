//! Reads one page of a list, and where the next one is. Pure.
//!
//! A list that is cut short would say of a key that it is gone. So what shows that more follows is either followed or
//! an error: the described `next`, the header `Link`, and the fields with which most APIs say it.

use super::ListCall;
use crate::{Login, Result, TargetError, http_client::Answer, rabbitmq::segment};
use http::Uri;
use serde_json::Value;

/// The fields of an answer that hold something while more follows, unless they are described.
const SIGNS: [&str; 6] = ["next", "next_page", "next_cursor", "next_page_token", "nextPageToken", "nextToken"];

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    /// What is on it, as far as its name begins as asked.
    pub(super) logins: Vec<Login>,
    /// Where the list goes on.
    pub(super) next: Option<Uri>,
}

/// Reads the answer that the request to `here` got.
pub(super) fn read(list: &ListCall, mark: &str, answer: &Answer, here: &Uri) -> Result<Page> {
    let json = answer.json().unwrap_or_default();
    let items = json.pointer(&list.items).and_then(Value::as_array);
    let items = items.ok_or_else(|| TargetError::Refused(format!("the API's answer has no list at {}", list.items)))?;
    let login = |item: &Value| {
        let name = text(item, &list.name).filter(|n| n.starts_with(mark))?;
        let handle = list.handle.as_deref().map_or(Some(name.clone()), |p| text(item, p))?;
        Some(Login { name, handle })
    };
    Ok(Page { logins: items.iter().filter_map(login).collect(), next: next(list, &json, answer, here)? })
}

fn next(list: &ListCall, json: &Value, answer: &Answer, here: &Uri) -> Result<Option<Uri>> {
    let more = json.get("has_more").and_then(Value::as_bool);
    // The cursor of a last page may be that of its last item.
    if more == Some(false) {
        return Ok(None);
    }
    let described = list.next.as_deref().and_then(|pointer| text(json, pointer)).filter(|text| !text.is_empty());
    match (described, &list.cursor, &answer.next) {
        (Some(cursor), Some(parameter), _) => return with_query(here, parameter, &cursor).map(Some),
        (Some(address), None, _) => return beside(here, &address).map(Some),
        (None, _, Some(address)) if list.next.is_none() => return beside(here, address).map(Some),
        _ => {}
    }
    let says = |field: &&str| match json.get(*field) {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Object(fields)) => !fields.is_empty(),
        _ => false,
    };
    if more == Some(true) || SIGNS.iter().any(says) {
        let words = "the API's list goes on after this page; describe `next` of the list";
        return Err(TargetError::Refused(words.to_owned()));
    }
    Ok(None)
}

fn text(item: &Value, pointer: &str) -> Option<String> {
    match item.pointer(pointer) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    }
}

/// The same address with another value of a query parameter.
fn with_query(here: &Uri, parameter: &str, value: &str) -> Result<Uri> {
    let name = segment(parameter);
    let others = here.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let others = others.filter(|pair| pair.split('=').next() != Some(name.as_str()));
    let pair = format!("{name}={}", segment(value));
    let query: Vec<&str> = others.chain([pair.as_str()]).collect();
    at(here, &format!("{}?{}", here.path(), query.join("&")))
}

/// An address that an answer names, of the same server: the administrator's secret is sent there.
fn beside(here: &Uri, address: &str) -> Result<Uri> {
    if address.starts_with('?') {
        return at(here, &format!("{}{address}", here.path()));
    }
    if address.starts_with('/') && !address.starts_with("//") {
        return at(here, address);
    }
    let elsewhere = || TargetError::Refused("the API's list goes on at another server, which is not asked".to_owned());
    let next: Uri = address.parse().map_err(|_| elsewhere())?;
    let usual = |uri: &Uri| uri.port_u16().or(if uri.scheme_str() == Some("http") { Some(80) } else { Some(443) });
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    let same = next.scheme() == here.scheme() && host(&next) == host(here) && usual(&next) == usual(here);
    if !same || next.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(elsewhere());
    }
    at(here, next.path_and_query().map_or("/", http::uri::PathAndQuery::as_str))
}

fn at(here: &Uri, place: &str) -> Result<Uri> {
    let mut parts = here.clone().into_parts();
    let place = place.split('#').next().unwrap_or_default();
    let unusable = |_| TargetError::Refused("the API's list goes on at an address that cannot be used".to_owned());
    parts.path_and_query = Some(place.parse().map_err(unusable)?);
    Uri::from_parts(parts).map_err(|_| TargetError::Refused("the API's list goes on nowhere".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use serde_json::json;

    const HERE: &str = "https://api.example.com/v1/keys?limit=2&after=x";

    fn page(more: Value, body: Value, link: Option<&str>) -> Result<(usize, Option<String>)> {
        let mut list = json!({ "method": "GET", "path": "/keys", "items": "/data", "name": "/name", "handle": "/id" });
        list.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let list: ListCall = serde_json::from_value(list).unwrap();
        let mut answered = json!({ "data": [{ "name": "v-a", "id": 1 }, { "name": "b", "id": 2 }, { "name": "v-c" }] });
        answered.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let body = answered.to_string().into_bytes().into();
        let answer = Answer { status: StatusCode::OK, body, next: link.map(str::to_owned) };
        let read = read(&list, "v-", &answer, &HERE.parse().unwrap())?;
        Ok((read.logins.len(), read.next.map(|uri| uri.to_string())))
    }

    fn next(more: Value, body: Value, link: Option<&str>) -> Option<String> {
        let (logins, next) = page(more, body, link).unwrap();
        assert_eq!(logins, 1);
        next
    }

    #[test]
    fn a_cursor_takes_its_place_in_the_query() {
        let cursor = json!({ "next": "/last_id", "cursor": "after" });
        let at = |body| next(cursor.clone(), body, None);
        let second = "https://api.example.com/v1/keys?limit=2&after=a%26b%3D1";
        assert_eq!(at(json!({ "last_id": "a&b=1", "has_more": true })).as_deref(), Some(second));
        assert_eq!(at(json!({ "last_id": 7 })).as_deref(), Some("https://api.example.com/v1/keys?limit=2&after=7"));
        for last in [
            json!({}),
            json!({ "last_id": null }),
            json!({ "last_id": "" }),
            json!({ "last_id": "z", "has_more": false }),
        ] {
            assert_eq!(at(last), None);
        }
    }

    #[test]
    fn an_address_is_followed_at_the_same_server_only() {
        let described = json!({ "next": "/links/next" });
        let at = |address: &str| page(described.clone(), json!({ "links": { "next": address } }), None).map(|(_, n)| n);
        for (address, next) in [
            ("https://API.example.com:443/v1/keys?p=2", "https://api.example.com/v1/keys?p=2"),
            ("/v2/keys", "https://api.example.com/v2/keys"),
            ("?p=2", "https://api.example.com/v1/keys?p=2"),
        ] {
            assert_eq!(at(address).unwrap().as_deref(), Some(next));
        }
        for bad in [
            "http://api.example.com/v1/keys",
            "https://api.example.com:8443/keys",
            "https://u@api.example.com/keys",
            "//evil.example/keys",
            "https://evil.example/keys",
            "keys?p=2",
            "/a b",
        ] {
            assert!(matches!(at(bad), Err(TargetError::Refused(_))), "{bad}");
        }
    }

    #[test]
    fn a_list_that_goes_on_without_a_description_is_no_list() {
        assert_eq!(next(json!({}), json!({}), None), None);
        let by_header = next(json!({}), json!({}), Some("/v1/keys?page=2"));
        assert_eq!(by_header.as_deref(), Some("https://api.example.com/v1/keys?page=2"));
        for more in [json!({ "has_more": true }), json!({ "nextPageToken": "x" }), json!({ "next": "/keys?p=2" })] {
            assert!(matches!(page(json!({}), more.clone(), None), Err(TargetError::Refused(_))), "{more}");
        }
        // Described at the wrong place.
        let wrong = json!({ "next": "/nowhere" });
        assert!(page(wrong, json!({ "next_cursor": "x" }), None).is_err());
        for last in [
            json!({ "next": null }),
            json!({ "nextPageToken": "" }),
            json!({ "has_more": false, "next": "x" }),
            json!({ "next_page": 0 }),
            json!({ "next": {} }),
        ] {
            assert_eq!(next(json!({}), last, None), None);
        }
        for more in [json!({ "next_page": 2 }), json!({ "next": { "href": "/keys?p=2" } })] {
            assert!(page(json!({}), more.clone(), None).is_err(), "{more}");
        }
    }
}
