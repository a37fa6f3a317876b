//! Checks of targets, and of the credentials that live in them.

use super::Checker;
use crate::{
    config::source::ItemId,
    resource::{ApiCall, Credential, DatabaseRule, Engine, Kind, System, SystemKind},
};

impl Checker<'_> {
    pub(super) fn system(&mut self, id: ItemId, target: &System) {
        self.description(id, target.description.as_deref());
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if target.host.is_empty() || target.host.len() > 255 || !target.host.chars().all(plain) {
            let hint = "a name or an address without a port, as in db.internal or 10.0.0.5";
            self.problem(id, "host", "invalid_value", "this is no host", hint);
        }
        if target.port == Some(0) {
            self.problem(id, "port", "out_of_bounds", "a port is 1 to 65535", "leave it out for the usual one");
        }
        let here = target.host == "localhost" || target.host.parse().is_ok_and(|a: std::net::IpAddr| a.is_loopback());
        match (&target.tls, target.plaintext) {
            (None, false) if !here && self.source.find(id, "tls").is_some() => {
                let hint =
                    "write tls: {} (or tls: { ca_file: PATH }), or plaintext: true where the network is protected";
                self.problem(id, "host", "insecure", "this host would be talked to in clear", hint);
            }
            (Some(_), true) => {
                self.problem(id, "plaintext", "contradiction", "there is `tls` as well", "remove one of them");
            }
            _ => {}
        }
        let sql = matches!(target.system, SystemKind::Postgresql | SystemKind::Mysql);
        match &target.database {
            Some(_) if !sql => {
                let detail = "`database` is for postgresql and mysql";
                self.problem(id, "database", "not_here", detail, "remove it");
            }
            // Unless what stands in for an unreadable word is only taken for PostgreSQL.
            None if target.system == SystemKind::Postgresql && self.source.find(id, "system").is_some() => {
                let detail = "a target of postgresql needs the database that logins are tried with";
                self.problem(id, "database", "missing", detail, "as in database: orders");
            }
            Some(name) => self.login(id, "database", name),
            None => {}
        }
        self.api(id, target);
        self.login(id, "username", &target.username);
        self.opens(id, "credential", &target.credential);
    }

    /// What the engine `database` needs, and what only it may have.
    pub(super) fn database(&mut self, id: ItemId, credential: &Credential) {
        let rule = match (&credential.database, credential.engine) {
            (None, Engine::Database) => {
                let hint = "as in database: { target: orders-pg, username: app }";
                return self.problem(id, "database", "missing", "engine database needs `database`", hint);
            }
            (Some(_), _) if credential.engine != Engine::Database => {
                let hint = "write engine: database, or remove it";
                return self.problem(id, "database", "not_here", "`database` is for database credentials", hint);
            }
            (None, _) => return,
            (Some(rule), _) => rule,
        };
        self.refers(id, "database.target", Kind::Targets, &rule.target);
        self.login(id, "database.username", &rule.username);
        self.alternation(id, rule);
        if credential.verify.is_some() {
            let detail = "a database credential is tried by a login at its target";
            self.problem(id, "verify", "not_here", detail, "remove it");
        }
    }

    /// What the engine `provider` needs, and what only it may have.
    pub(super) fn provider(&mut self, id: ItemId, credential: &Credential) {
        match (&credential.provider, credential.engine) {
            (None, Engine::Provider) => {
                let hint = "as in provider: { target: openai }";
                self.problem(id, "provider", "missing", "engine provider needs `provider`", hint);
            }
            (Some(rule), Engine::Provider) => self.refers(id, "provider.target", Kind::Targets, &rule.target),
            (Some(_), _) => {
                let hint = "write engine: provider, or remove it";
                self.problem(id, "provider", "not_here", "`provider` is for provider credentials", hint);
            }
            (None, _) => {}
        }
    }

    fn api(&mut self, id: ItemId, target: &System) {
        let api = match (&target.api, target.system) {
            (None, SystemKind::Http) => {
                let detail = "a target of http needs `api`";
                return self.problem(id, "api", "missing", detail, "say what creates and what deletes a key");
            }
            (Some(_), kind) if kind != SystemKind::Http => {
                return self.problem(id, "api", "not_here", "`api` is for http", "remove it");
            }
            (None, _) => return,
            (Some(api), _) => api,
        };
        if !(api.base_path.is_empty() || api.base_path.starts_with('/')) || api.base_path.contains(['?', '#', '{']) {
            self.problem(id, "api.base_path", "invalid_path", "this is no path", "as in /v1");
        }
        if api.take.handle.is_some() && api.list.is_none() {
            let detail = "without a list, a key whose making is cut short could not be found again";
            self.problem(id, "api.list", "missing", detail, "describe the call that lists keys");
        }
        let calls = [("create", Some(&api.create)), ("delete", Some(&api.delete)), ("test", api.test.as_ref())];
        for (name, call) in calls.into_iter().filter_map(|(name, call)| Some((name, call?))) {
            self.call(id, name, call);
        }
        if let Some(list) = &api.list {
            self.call_path(id, "api.list.path", &list.path);
            for (field, pointer) in [
                ("items", Some(&list.items)),
                ("name", Some(&list.name)),
                ("handle", list.handle.as_ref()),
                ("next", list.next.as_ref()),
            ] {
                if let Some(pointer) = pointer {
                    self.pointer(id, &format!("api.list.{field}"), pointer);
                }
            }
        }
        if let Some(list) = &api.list
            && let Some(cursor) = &list.cursor
        {
            if list.next.is_none() {
                let detail = "without `next` nothing says where the cursor stands in the answer";
                self.problem(id, "api.list.next", "missing", detail, "as in /next_page_token");
            }
            if cursor.is_empty() || cursor.len() > 64 || !cursor.bytes().all(|b| b.is_ascii_graphic()) {
                let hint = "as in page_token";
                self.problem(id, "api.list.cursor", "invalid_value", "this is no name of a query parameter", hint);
            }
        }
        for (field, pointer) in [("handle", &api.take.handle), ("password", &api.take.password)] {
            if let Some(pointer) = pointer {
                self.pointer(id, &format!("api.take.{field}"), pointer);
            }
        }
    }

    fn call(&mut self, id: ItemId, name: &str, call: &ApiCall) {
        let at = |field: &str| format!("api.{name}.{field}");
        if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&call.method.as_str()) {
            let hint = "GET, POST, PUT, PATCH or DELETE";
            self.problem(id, &at("method"), "invalid_value", "this is no method of a call", hint);
        }
        self.call_path(id, &at("path"), &call.path);
        if let Some(json) = &call.json {
            if serde_json::from_str::<serde_json::Value>(json).is_err() {
                let hint = r#"as in '{"name": "{{name}}"}'"#;
                self.problem(id, &at("json"), "invalid_value", "this is no JSON", hint);
            }
            if !call.form.is_empty() {
                self.problem(id, &at("form"), "contradiction", "there is `json` as well", "remove one of them");
            }
        }
    }

    fn call_path(&mut self, id: ItemId, field: &str, path: &str) {
        if !path.starts_with('/') || path.len() > 2048 || !path.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            self.problem(id, field, "invalid_path", "this is no path with query", "as in /keys/{{handle}}");
        } else if ["password", "admin"].iter().any(|secret| path.contains(&format!("{{{{{secret}"))) {
            let hint = "put it into a header or the body";
            self.problem(id, field, "insecure", "a secret never stands in an address", hint);
        }
    }

    /// RFC 6901: empty, or begins with a slash.
    fn pointer(&mut self, id: ItemId, field: &str, pointer: &str) {
        if !(pointer.is_empty() || pointer.starts_with('/')) {
            self.problem(id, field, "invalid_value", "this is no JSON pointer", "as in /data/id");
        }
    }

    fn alternation(&mut self, id: ItemId, rule: &DatabaseRule) {
        let only = "this is for logins that take turns";
        if !rule.alternate && rule.second.is_some() {
            self.problem(id, "database.second", "not_here", only, "write alternate: true, or remove it");
        }
        if !rule.alternate && !rule.create.is_empty() {
            self.problem(id, "database.create", "not_here", only, "write alternate: true, or remove it");
        }
        if let Some(second) = &rule.second {
            self.login(id, "database.second", second);
            if *second == rule.username {
                let hint = "name another login";
                self.problem(id, "database.second", "duplicate", "the two logins are the same", hint);
            }
        }
        if rule.create.iter().map(String::len).sum::<usize>() > 16 * 1024 {
            let detail = "the statements are longer than 16 KiB";
            self.problem(id, "database.create", "too_large", detail, "shorten them");
        }
    }

    fn login(&mut self, id: ItemId, path: &str, name: &str) {
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            let detail = "this has 1 to 128 bytes and no control characters";
            self.problem(id, path, "invalid_value", detail, "write it as the target knows it");
        }
    }
}
