//! The description of an API, as people write it.

use super::fill;
use crate::{Result, TargetError};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How an API creates, tests and deletes credentials. `create` and `delete` are all that leases need;
/// `test` is needed for rotation, `list` to find what a crash left behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// `https://api.example.com/v1`; every path is put behind it.
    pub base_url: String,
    /// Headers of every call, such as `authorization: Bearer {{admin}}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Makes a credential.
    pub create: Call,
    /// What is read from the answer to `create`.
    #[serde(default)]
    pub take: Take,
    /// Withdraws a credential. 404 and 410 mean that it is gone already.
    pub delete: Call,
    /// Tries a credential: expected answers mean that it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Call>,
    /// Makes a credential valid for longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew: Option<Call>,
    /// Gives an existing login another password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_password: Option<Call>,
    /// Lists credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListCall>,
    /// Shows that the administrator's secret works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Call>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Path and query, behind the base URL. Takes no secrets.
    pub path: String,
    /// Headers of this call, over those of every call; an empty one takes that away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A JSON body; placeholders in its texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
    /// A form, instead of a JSON body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<BTreeMap<String, String>>,
    /// The statuses that mean success; any of 200 to 299 when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<u16>,
}

/// Where things stand in the answer to `create`, as JSON pointers (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Take {
    /// The API's own id of what it made; the name when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// The secret, where the API makes it; the one handed in when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// A call whose answer lists credentials, all of them or page by page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListCall {
    /// The call; `{{name}}` in it is the beginning of the names that are looked for.
    #[serde(flatten)]
    pub call: Call,
    /// Where the list stands in the answer; empty for the answer itself.
    #[serde(default)]
    pub items: String,
    /// Where an item's name stands.
    pub name: String,
    /// Where an item's id stands; the name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Where the answer says how the list goes on, for an API that answers page by page: with the address of the
    /// next page, which is of the same server, or with a cursor. Absent, the header `Link` (RFC 8288) may say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The query parameter that takes the cursor found at `next`. Absent, an address is found there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl Call {
    pub(super) fn expects(&self, status: StatusCode) -> bool {
        if self.expect.is_empty() { status.is_success() } else { self.expect.contains(&status.as_u16()) }
    }

    pub(super) fn is_gone(&self, status: StatusCode) -> bool {
        matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) && !self.expects(status)
    }

    pub(super) fn method(&self) -> Result<Method> {
        match self.method.as_str() {
            "GET" => Ok(Method::GET),
            "POST" => Ok(Method::POST),
            "PUT" => Ok(Method::PUT),
            "PATCH" => Ok(Method::PATCH),
            "DELETE" => Ok(Method::DELETE),
            _ => Err(bad("a method is GET, POST, PUT, PATCH or DELETE".to_owned())),
        }
    }
}

/// Placeholders that a call may have.
const PUBLIC: [&str; 3] = ["name", "handle", "expiration"];
const SECRET: [&str; 4] = ["password", "admin", "admin_basic", "login_basic"];

impl Description {
    /// Everything that can be seen without calling anybody.
    pub(super) fn check(&self) -> Result<()> {
        let optional = [&self.test, &self.renew, &self.set_password, &self.check];
        let calls = [&self.create, &self.delete].into_iter().chain(optional.into_iter().flatten());
        for call in calls.chain(self.list.as_ref().map(|l| &l.call)) {
            call.method()?;
            if !call.path.starts_with('/') || !call.path.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
                return Err(bad(format!("the path {} does not begin with / or is no ASCII", call.path)));
            }
            if call.json.is_some() && call.form.is_some() {
                return Err(bad(format!("the call of {} has a JSON body and a form", call.path)));
            }
            known(&call.path, &PUBLIC)?;
            for (name, value) in self.headers.iter().chain(&call.headers) {
                if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                    return Err(bad(format!("{name} is no name of a header")));
                }
                known(value, &[&PUBLIC[..], &SECRET].concat())?;
            }
            for value in call.form.iter().flatten().map(|(_, v)| v) {
                known(value, &[&PUBLIC[..], &SECRET].concat())?;
            }
            if let Some(json) = &call.json {
                texts(json, &mut |text| known(text, &[&PUBLIC[..], &SECRET].concat()))?;
            }
        }
        if let Some(ListCall { next, cursor, .. }) = &self.list {
            if next.as_ref().is_some_and(|next| !next.starts_with('/')) {
                return Err(bad("`next` of the list is no JSON pointer, as in /next_page_token".to_owned()));
            }
            if cursor.as_ref().is_some_and(|cursor| cursor.is_empty() || next.is_none()) {
                return Err(bad("`cursor` of the list names a query parameter, and needs `next`".to_owned()));
            }
        }
        Ok(())
    }
}

fn known(template: &str, allowed: &[&str]) -> Result<()> {
    fill::pieces(template, |name| {
        if allowed.contains(&name) {
            Ok(String::new())
        } else if SECRET.contains(&name) {
            Err(bad(format!("{{{{{name}}}}} is a secret, which never stands in an address")))
        } else {
            Err(bad("a placeholder is one of name, handle, expiration, password, admin, admin_basic, login_basic"
                .to_owned()))
        }
    })
    .map(drop)
}

fn texts(json: &serde_json::Value, check: &mut impl FnMut(&str) -> Result<()>) -> Result<()> {
    match json {
        serde_json::Value::String(text) => check(text),
        serde_json::Value::Array(items) => items.iter().try_for_each(|i| texts(i, check)),
        serde_json::Value::Object(fields) => fields.values().try_for_each(|i| texts(i, check)),
        _ => Ok(()),
    }
}

fn bad(words: String) -> TargetError {
    TargetError::BadTemplate(words)
}
