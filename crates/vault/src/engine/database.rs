//! Engine `database`: the password of a login at a target, changed there by each rotation.
//!
//! When to use it: for an application's login of a database or broker that exists already. Settings:
//! `database: { target, username, alternate }`. A value is a JSON object with `username` and
//! `password`, so that logins can take turns: with `alternate`, each new version is for the login
//! that the version in use is not for. Posture: the password is random and ours alone; what makes
//! the target accept it, and refuse the old one, is a rotation's `Target` port.

use super::{BoxFuture, Engine, EngineError, Generated, Revocation};
use credentialflow_model::{
    SecretValue,
    resource::{Credential, Engine as Kind},
};
use serde::Deserialize;

/// Makes passwords for logins.
pub struct Database;

/// What a value of this engine says.
#[derive(Debug)]
pub struct DatabaseLogin {
    /// Which login.
    pub username: String,
    /// Its password.
    pub password: SecretValue,
}

impl DatabaseLogin {
    /// Reads a value; `None` when it is none of this engine's.
    pub fn read(value: &SecretValue) -> Option<Self> {
        #[derive(Deserialize)]
        struct Form {
            username: String,
            password: String,
        }
        let form: Form = serde_json::from_slice(value.expose()).ok()?;
        Some(Self { username: form.username, password: SecretValue::from(form.password) })
    }

    /// As a value.
    fn write(username: &str, password: &SecretValue) -> SecretValue {
        // The password is letters and digits, so it stands in JSON as it is.
        let name = serde_json::Value::from(username).to_string();
        let parts = [b"{\"username\":", name.as_bytes(), b",\"password\":\"", password.expose(), b"\"}"];
        SecretValue::new(parts.concat())
    }
}

impl Engine for Database {
    fn kind(&self) -> Kind {
        Kind::Database
    }

    fn generate(&self, credential: &Credential, received: Option<SecretValue>) -> Result<SecretValue, EngineError> {
        self.generate_after(credential, received, None)
    }

    fn generate_after(
        &self,
        credential: &Credential,
        received: Option<SecretValue>,
        current: Option<&SecretValue>,
    ) -> Result<SecretValue, EngineError> {
        let Some(rule) = &credential.database else { return Err(EngineError::RuleMissing(credential.name.clone())) };
        let plain = Credential { generate: None, ..credential.clone() };
        let password = Generated.generate(&plain, received)?;
        let in_use = current.and_then(DatabaseLogin::read).map(|login| login.username);
        let names = rule.usernames();
        let free = names.iter().find(|name| Some(*name) != in_use.as_ref());
        Ok(DatabaseLogin::write(free.unwrap_or(&rule.username), &password))
    }

    fn revoke<'a>(
        &'a self,
        _credential: &'a Credential,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Revocation, EngineError>> {
        // The target is outside; only a rotation reaches it, and replaces the password there.
        Box::pin(async { Ok(Revocation::LocalOnly) })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::credential, *};
    use credentialflow_model::resource::DatabaseRule;

    fn of(username: &str, alternate: bool) -> Credential {
        let rule = DatabaseRule {
            target: "orders-pg".parse().unwrap(),
            username: username.to_owned(),
            alternate,
            second: None,
            create: Vec::new(),
        };
        Credential { database: Some(rule), ..credential(Kind::Database) }
    }

    #[test]
    fn logins_take_turns_only_where_there_are_two() {
        for (alternate, expect) in [(true, ["a\"p", "a\"p_alt", "a\"p"]), (false, ["a\"p", "a\"p", "a\"p"])] {
            let credential = of("a\"p", alternate);
            let mut current: Option<SecretValue> = None;
            for name in expect {
                let next = Database.generate_after(&credential, None, current.as_ref()).unwrap();
                let login = DatabaseLogin::read(&next).unwrap();
                assert_eq!((login.username.as_str(), login.password.len()), (name, 32));
                current = Some(next);
            }
        }
    }

    #[test]
    fn without_a_rule_and_with_a_foreign_value_nothing_is_made() {
        let refused = Database.generate(&credential(Kind::Database), None).map(|_| ());
        assert!(matches!(refused, Err(EngineError::RuleMissing(_))));
        let refused = Database.generate(&of("app", false), Some(SecretValue::from("x"))).map(|_| ());
        assert!(matches!(refused, Err(EngineError::ValueUnexpected(_))));
        assert!(DatabaseLogin::read(&SecretValue::from("plain")).is_none());
    }
}
