//! Credentials of the engine `provider`: keys that a described HTTP API makes, tries and deletes.
//!
//! A key's name at the provider follows from the credential and the rotation it is made for. So what was
//! made and never arrived here, because the process or the connection died, is found under its name and
//! deleted before another one is made.

use crate::{
    Login, Logins, NewLogin, Statements, Target, Verdict,
    http_api::{self, Call, Description, ListCall, Take},
    logins::Trouble,
    password,
};
use credentialflow_egress::PrivateHosts;
use credentialflow_model::{
    Name, SecretValue,
    resource::{ApiCall, Credential, System, SystemApi},
};
use credentialflow_vault::rotation::ports::{Held, MakeOutcome, VerifyOutcome};
use std::sync::Arc;

/// A credential's provider, and whether it can say what a key is worth.
struct Provider {
    target: Arc<dyn Target>,
    tests: bool,
    lists: bool,
}

impl Logins {
    /// Has the provider make the key of a rotation.
    pub async fn make(&self, credential: &Name, rotation: &str) -> MakeOutcome {
        let made = async {
            let place = self.provider(credential).await?;
            let place = place.ok_or_else(|| Trouble::Refused("it is a key of no provider".to_owned()))?;
            let name = name_of(credential, rotation);
            let login = Login::named(&name);
            if place.lists {
                for left in place.target.list(&name).await?.into_iter().filter(|left| left.name == name) {
                    place.target.revoke(&left, &Statements::default()).await?;
                }
            } else {
                place.target.revoke(&login, &Statements::default()).await?;
            }
            let password = password::generate(48)?;
            let statements = Statements::default();
            let new = NewLogin { name: &name, password: &password, expires: None, statements: &statements };
            let created = place.target.create(&new).await?;
            Ok::<_, Trouble>((created.password.unwrap_or(password), created.handle))
        };
        match made.await {
            Ok((value, handle)) => MakeOutcome::Made { value, handle },
            Err(Trouble::Refused(why)) => MakeOutcome::Refused(why),
            Err(Trouble::Unreachable(why)) => MakeOutcome::Unreachable(why),
        }
    }

    /// Deletes a key at its provider.
    pub async fn delete_key(&self, credential: &Name, held: Held<'_>) -> VerifyOutcome {
        let done = async {
            let Some((place, handle)) = self.provider(credential).await?.zip(held.handle) else { return Ok(false) };
            let login = Login { name: handle.to_owned(), handle: handle.to_owned() };
            place.target.revoke(&login, &Statements::default()).await?;
            Ok(true)
        };
        told(done.await)
    }

    /// Tries a key at its provider, where the provider's description says how.
    pub async fn test_key(&self, credential: &Name, held: Held<'_>) -> VerifyOutcome {
        let done = async {
            let Some((place, handle)) = self.provider(credential).await?.zip(held.handle) else { return Ok(false) };
            if !place.tests {
                return Ok(false);
            }
            let login = Login { name: handle.to_owned(), handle: handle.to_owned() };
            match place.target.verify(&login, held.value).await? {
                Verdict::Accepted => Ok(true),
                Verdict::Refused(why) => Err(Trouble::Refused(why)),
            }
        };
        told(done.await)
    }

    async fn provider(&self, credential: &Name) -> Result<Option<Provider>, Trouble> {
        let Some(credential) = self.declared::<Credential>(credential).await? else { return Ok(None) };
        let Some(rule) = credential.provider else { return Ok(None) };
        let system = self.declared::<System>(&rule.target).await?;
        let system = system.ok_or_else(|| Trouble::Refused(format!("there is no target {}", rule.target)))?;
        let api = system.api.as_ref();
        let (tests, lists) = (api.is_some_and(|a| a.test.is_some()), api.is_some_and(|a| a.list.is_some()));
        Ok(Some(Provider { target: self.target(system).await?, tests, lists }))
    }
}

fn told(done: Result<bool, Trouble>) -> VerifyOutcome {
    match done {
        Ok(true) => VerifyOutcome::Accepted,
        Ok(false) => VerifyOutcome::NotConfigured,
        Err(Trouble::Refused(why)) => VerifyOutcome::Refused(why),
        Err(Trouble::Unreachable(why)) => VerifyOutcome::Unreachable(why),
    }
}

/// What the key of a rotation is called at its provider. At most 63 characters, as many allow.
fn name_of(credential: &Name, rotation: &str) -> String {
    let short: String = credential.as_str().chars().take(40).collect();
    format!("cf-{short}-{}", rotation.get(..16).unwrap_or(rotation))
}

/// A declared target's description, as the client of described APIs takes it.
pub(crate) fn settings(
    system: &System,
    api: &SystemApi,
    username: &str,
    secret: SecretValue,
    authorities: Option<String>,
) -> Result<http_api::Settings, Trouble> {
    let local = system.host == "localhost" || system.host.parse().is_ok_and(|a: std::net::IpAddr| a.is_loopback());
    let clear = system.tls.is_none() && (local || system.plaintext);
    let (scheme, usual) = if clear { ("http", 80) } else { ("https", 443) };
    let host = if system.host.contains(':') { format!("[{}]", system.host) } else { system.host.clone() };
    let port = system.port.unwrap_or(usual);
    let description = Description {
        base_url: format!("{scheme}://{host}:{port}{}", api.base_path.trim_end_matches('/')),
        headers: api.headers.clone(),
        create: call(&api.create)?,
        take: Take { handle: api.take.handle.clone(), password: api.take.password.clone() },
        delete: call(&api.delete)?,
        test: api.test.as_ref().map(call).transpose()?,
        renew: None,
        set_password: None,
        list: api.list.as_ref().map(|list| ListCall {
            call: Call {
                method: "GET".to_owned(),
                path: list.path.clone(),
                headers: Default::default(),
                json: None,
                form: None,
                expect: Vec::new(),
            },
            items: list.items.clone(),
            name: list.name.clone(),
            handle: list.handle.clone(),
            next: list.next.clone(),
            cursor: list.cursor.clone(),
        }),
        check: None,
    };
    let mut settings = http_api::Settings::new(description, username, secret);
    settings.private_hosts = PrivateHosts::default().and(&system.host);
    settings.ca = authorities;
    Ok(settings)
}

fn call(call: &ApiCall) -> Result<Call, Trouble> {
    let json = call.json.as_deref().map(serde_json::from_str).transpose();
    let json = json.map_err(|_| Trouble::Refused(format!("the body of {} is no JSON", call.path)))?;
    let form = (!call.form.is_empty()).then(|| call.form.clone());
    let (method, path, headers) = (call.method.clone(), call.path.clone(), call.headers.clone());
    Ok(Call { method, path, headers, json, form, expect: call.expect.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_rotations_own_and_not_too_long() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(name_of(&name("orders"), id), "cf-orders-0123456789abcdef");
        assert!(name_of(&name(&"x".repeat(63)), id).len() <= 63);
        assert_ne!(name_of(&name("orders"), id), name_of(&name("orders"), &id[1..]));
    }

    #[test]
    fn a_declared_target_becomes_a_description() {
        let system = |json: serde_json::Value| serde_json::from_value::<System>(json).unwrap();
        let declared = |host: &str, tls: bool| {
            let mut json = serde_json::json!({
                "name": "openai", "system": "http", "host": host, "username": "admin", "credential": "openai-admin",
                "api": {
                    "base_path": "/v1/", "headers": { "authorization": "Bearer {{admin}}" },
                    "create": { "method": "POST", "path": "/keys", "json": "{\"name\": \"{{name}}\"}" },
                    "take": { "handle": "/id", "password": "/value" },
                    "delete": { "method": "DELETE", "path": "/keys/{{handle}}" },
                    "list": { "path": "/keys", "items": "/data", "name": "/name", "handle": "/id" },
                },
            });
            if tls {
                json["tls"] = serde_json::json!({});
            }
            let system = system(json);
            settings(&system, system.api.as_ref().unwrap(), "admin", SecretValue::from("s"), None)
                .ok()
                .unwrap()
                .description
        };
        assert_eq!(declared("127.0.0.1", false).base_url, "http://127.0.0.1:80/v1");
        assert_eq!(declared("api.example.com", true).base_url, "https://api.example.com:443/v1");
        assert_eq!(declared("api.example.com", false).base_url, "https://api.example.com:443/v1");
        let description = declared("::1", true);
        assert_eq!(description.base_url, "https://[::1]:443/v1");
        assert_eq!(description.create.json, Some(serde_json::json!({ "name": "{{name}}" })));
        assert!(description.list.is_some() && description.test.is_none());
    }
}
