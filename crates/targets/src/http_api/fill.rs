//! Makes a request from a description's call and the facts of one login. Pure.

use super::{Call, Description};
use crate::{
    Result, TargetError,
    rabbitmq::{basic, segment},
};
use bytes::Bytes;
use credentialflow_model::{SecretValue, Timestamp};
use http::{HeaderName, HeaderValue, Request, header};
use http_body_util::Full;
use serde_json::Value;
use zeroize::Zeroizing;

/// What is put in.
#[derive(Clone, Copy, Default)]
pub(super) struct Facts<'a> {
    pub(super) name: &'a str,
    pub(super) handle: &'a str,
    pub(super) password: Option<&'a SecretValue>,
    pub(super) expires: Option<Timestamp>,
}

/// The request of a call.
pub(super) fn request(
    description: &Description,
    call: &Call,
    facts: &Facts<'_>,
    admin_name: &str,
    admin: &SecretValue,
) -> Result<Request<Full<Bytes>>> {
    let value = |name: &str| -> Result<String> {
        let text =
            |secret: &SecretValue| secret.expose_str().map(str::to_owned).ok_or_else(|| bad("the secret is no text"));
        match name {
            "name" => Ok(facts.name.to_owned()),
            "handle" => Ok(facts.handle.to_owned()),
            "expiration" => facts.expires.map(|t| t.to_string()).ok_or_else(|| bad("there is no {{expiration}} here")),
            "password" => text(facts.password.ok_or_else(|| bad("there is no {{password}} here"))?),
            "admin" => text(admin),
            "admin_basic" => encoded_basic(admin_name, admin),
            "login_basic" => {
                encoded_basic(facts.name, facts.password.ok_or_else(|| bad("there is no {{login_basic}} here"))?)
            }
            _ => Err(bad("a placeholder is not known")),
        }
    };
    let path = pieces(&call.path, |name| value(name).map(|v| segment(&v)))?.replace(' ', "%20");
    let base = description.base_url.trim_end_matches('/');
    let mut builder = Request::builder().method(call.method()?).uri(format!("{base}{path}"));
    let headers = builder.headers_mut().ok_or_else(|| bad("the address of a call cannot be used"))?;
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("credentialflow"));
    let body = match (&call.json, &call.form) {
        (Some(json), _) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let mut json = json.clone();
            fill_json(&mut json, &value)?;
            json.to_string().into_bytes()
        }
        (None, Some(form)) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            let pairs = form.iter().map(|(k, v)| Ok(format!("{}={}", segment(k), segment(&pieces(v, value)?))));
            pairs.collect::<Result<Vec<_>>>()?.join("&").into_bytes()
        }
        (None, None) => Vec::new(),
    };
    for (name, template) in description.headers.iter().chain(&call.headers) {
        let text = Zeroizing::new(pieces(template, value)?);
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("a header's name is none"))?;
        if template.is_empty() {
            headers.remove(name);
            continue;
        }
        let mut value = HeaderValue::from_str(&text).map_err(|_| bad("a value cannot stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    builder.body(Full::new(Bytes::from(body))).map_err(|_| bad("a call cannot be made"))
}

/// A template with its placeholders replaced.
pub(super) fn pieces(template: &str, value: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, inside)) = rest.split_once("{{") {
        out.push_str(before);
        let (name, after) = inside.split_once("}}").ok_or_else(|| bad("a placeholder does not end"))?;
        out.push_str(&Zeroizing::new(value(name.trim())?));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn fill_json(json: &mut Value, value: &impl Fn(&str) -> Result<String>) -> Result<()> {
    match json {
        Value::String(text) if text.contains("{{") => {
            *text = pieces(text, value)?;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|i| fill_json(i, value)),
        Value::Object(fields) => fields.values_mut().try_for_each(|i| fill_json(i, value)),
        _ => Ok(()),
    }
}

fn encoded_basic(name: &str, secret: &SecretValue) -> Result<String> {
    let header = basic(name, secret)?;
    header.to_str().map(|h| h.trim_start_matches("Basic ").to_owned()).map_err(|_| bad("the login is no text"))
}

fn bad(words: &str) -> TargetError {
    TargetError::BadTemplate(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn description() -> Description {
        serde_json::from_value(json!({
            "base_url": "https://api.example.com/v1/",
            "headers": { "authorization": "Bearer {{admin}}" },
            "create": { "method": "POST", "path": "/keys?for={{name}}", "json": { "name": "x-{{name}}", "n": [1, "{{password}}"] } },
            "delete": { "method": "DELETE", "path": "/keys/{{handle}}" },
            "renew": { "method": "POST", "path": "/keys", "form": { "a b": "{{name}}&{{expiration}}" } }
        }))
        .unwrap()
    }

    fn made(call: &Call, facts: &Facts<'_>) -> Result<Request<Full<Bytes>>> {
        request(&description(), call, facts, "root", &SecretValue::from("adm1n-secret"))
    }

    async fn body(request: Request<Full<Bytes>>) -> String {
        use http_body_util::BodyExt;
        String::from_utf8(request.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn values_stay_in_their_places() {
        let description = description();
        description.check().unwrap();
        let password = SecretValue::from("p\"w\\");
        let facts = Facts {
            name: "a/b\"}&x=1",
            handle: "../../admin?x",
            password: Some(&password),
            expires: Some(Timestamp::from_secs(0)),
        };
        let create = made(&description.create, &facts).unwrap();
        assert_eq!(create.uri(), "https://api.example.com/v1/keys?for=a%2Fb%22%7D%26x%3D1");
        assert_eq!(create.headers()["authorization"], "Bearer adm1n-secret");
        assert!(!format!("{create:?}").contains("adm1n-secret"));
        let sent: Value = serde_json::from_str(&body(create).await).unwrap();
        assert_eq!(sent, json!({ "name": "x-a/b\"}&x=1", "n": [1, "p\"w\\"] }));
        let delete = made(&description.delete, &facts).unwrap();
        assert_eq!(delete.uri().path(), "/v1/keys/..%2F..%2Fadmin%3Fx");
        let renew = made(description.renew.as_ref().unwrap(), &facts).unwrap();
        assert_eq!(body(renew).await, "a%20b=a%2Fb%22%7D%26x%3D1%261970-01-01T00%3A00%3A00Z");
        // A call can do without a header of all calls.
        let mut call = description.delete.clone();
        call.headers.insert("authorization".into(), String::new());
        assert!(!made(&call, &facts).unwrap().headers().contains_key("authorization"));
        // Control characters cannot begin another header.
        let mut call = description.delete.clone();
        call.headers.insert("x-name".into(), "{{name}}".into());
        assert!(made(&call, &Facts { name: "a\r\nx: y", ..facts }).is_err());
    }

    #[test]
    fn descriptions_are_checked() {
        let refused = |change: &dyn Fn(&mut Description)| {
            let mut d = description();
            change(&mut d);
            assert!(matches!(d.check(), Err(TargetError::BadTemplate(_))));
        };
        refused(&|d| d.create.path = "/keys/{{admin}}".into());
        refused(&|d| d.create.path = "/keys/{{password}}".into());
        refused(&|d| d.create.path = "keys".into());
        refused(&|d| d.create.method = "TRACE".into());
        refused(&|d| d.create.json = Some(json!({ "a": ["{{env}}"] })));
        refused(&|d| d.create.form = Some(Default::default()));
        refused(&|d| drop(d.headers.insert("a b".into(), String::new())));
        refused(&|d| d.delete.path = "/{{handle".into());
        let list = json!({ "method": "GET", "path": "/keys", "items": "/data", "name": "/name" });
        assert!(serde_json::from_value::<super::super::ListCall>(list.clone()).is_ok());
        let mut more = list;
        more["extra"] = json!(1);
        assert!(serde_json::from_value::<super::super::ListCall>(more).is_err());
        let unknown = serde_json::from_value::<Description>(json!({ "base_url": "x", "create": {}, "extra": 1 }));
        assert!(unknown.is_err());
    }
}
