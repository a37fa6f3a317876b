//! Connection strings as Vault's database engine takes them, read into settings.
//!
//! Known: `postgresql://{{username}}:{{password}}@host:port/db?sslmode=…` and PostgreSQL's `host=…
//! port=… dbname=…` form; Go's `{{username}}:{{password}}@tcp(host:port)/db?tls=…` for MySQL;
//! `http://host:port` of RabbitMQ's management API. A login written into the string itself is taken
//! (not for RabbitMQ); everything else of a string that is not known is an error, so that nothing is
//! silently left out.

use crate::{PasswordForm, Result, Server, TargetError, Tls, TlsMode, mysql, postgresql, rabbitmq};
use credentialflow_egress::Guard;
use credentialflow_model::SecretValue;

/// PostgreSQL's settings. `username` and `password` fill the placeholders; `ca` is PEM.
pub fn postgresql(
    url: &str,
    username: &str,
    password: SecretValue,
    ca: Option<String>,
) -> Result<postgresql::Settings> {
    let parts = match url.strip_prefix("postgresql://").or_else(|| url.strip_prefix("postgres://")) {
        Some(rest) => from_uri(rest)?,
        None => from_keywords(url)?,
    };
    let mode = match parts.get("sslmode").unwrap_or("verify-full") {
        "disable" => TlsMode::Disable,
        // Without authorities to check against, as libpq has it.
        "allow" | "prefer" | "require" if ca.is_none() => TlsMode::Require,
        "allow" | "prefer" | "require" | "verify-ca" | "verify-full" => TlsMode::Verify,
        _ => return Err(bad("sslmode is one of disable, require, verify-ca, verify-full")),
    };
    let known = ["user", "password", "host", "port", "dbname", "sslmode", "application_name", "connect_timeout"];
    parts.only(&known)?;
    let port = parts.get("port").unwrap_or("5432").parse().map_err(|_| bad("the port is no number"))?;
    let (username, password) = parts.login(username, password);
    let mut server = Server::new(parts.get("host").unwrap_or("localhost"), port, &username, password);
    server.tls = Tls { mode, ca, ..Tls::default() };
    let database = parts.get("dbname").map_or_else(|| server.username.clone(), str::to_owned);
    Ok(postgresql::Settings { server, database, passwords: PasswordForm::Hashed })
}

/// MariaDB's and MySQL's settings.
pub fn mysql(dsn: &str, username: &str, password: SecretValue, ca: Option<String>) -> Result<mysql::Settings> {
    let (parts, address, database) = from_dsn(dsn)?;
    parts.only(&["user", "password", "tls", "parseTime", "timeout", "readTimeout", "writeTimeout", "charset"])?;
    let mode = match parts.get("tls") {
        None | Some("false") if ca.is_none() => TlsMode::Disable,
        Some("skip-verify" | "preferred") => TlsMode::Require,
        _ => TlsMode::Verify,
    };
    let (host, port) = host_and_port(address, "3306")?;
    let (username, password) = parts.login(username, password);
    let mut server = Server::new(&host, port.parse().map_err(|_| bad("the port is no number"))?, &username, password);
    server.tls = Tls { mode, ca, ..Tls::default() };
    let database = Some(database).filter(|d| !d.is_empty()).map(decoded).transpose()?;
    Ok(mysql::Settings { server, database, passwords: PasswordForm::Hashed })
}

/// Whether a password stands in a connection string of PostgreSQL or MySQL itself, anywhere where it could be taken
/// from. What cannot be read might hold one.
pub fn holds_password(text: &str) -> bool {
    let uri = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"));
    let parts = match uri {
        Some(rest) => from_uri(rest),
        None if text.contains("tcp(") => from_dsn(text).map(|(parts, _, _)| parts),
        None => from_keywords(text),
    };
    let is_one = |(name, value): &(String, zeroize::Zeroizing<String>)| {
        name == "password" && !value.is_empty() && value.as_str() != "{{password}}"
    };
    parts.map_or(true, |parts| parts.0.iter().any(is_one))
}

/// RabbitMQ's settings: the address of its management API, `https://host:port` or `http://…`, with
/// nothing behind it but slashes. Whoever wrote it need not run this server, so `guard` decides where it may lead.
pub fn rabbitmq(
    uri: &str,
    username: &str,
    password: SecretValue,
    ca: Option<String>,
    guard: Guard,
) -> Result<rabbitmq::Settings> {
    let (mode, rest, port) = match (uri.strip_prefix("http://"), uri.strip_prefix("https://")) {
        (Some(rest), _) => (TlsMode::Disable, rest, "80"),
        (_, Some(rest)) => (TlsMode::Verify, rest, "443"),
        _ => return Err(bad("the management API's address begins with http:// or https://")),
    };
    let address = rest.trim_end_matches('/');
    if address.is_empty() || address.contains(['/', '?', '#', '@']) {
        return Err(bad("the management API's address is a host and a port, without a login or a path"));
    }
    let (host, port) = host_and_port(address, port)?;
    let mut server = Server::new(&host, port.parse().map_err(|_| bad("the port is no number"))?, username, password);
    server.tls = Tls { mode, ca, ..Tls::default() };
    Ok(rabbitmq::Settings { server, guard })
}

#[derive(Default)]
struct Parts(Vec<(String, zeroize::Zeroizing<String>)>);

impl Parts {
    fn add(&mut self, name: &str, value: String) {
        self.0.push((name.to_owned(), value.into()));
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    fn query(&mut self, query: &str) -> Result<()> {
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.add(name, decoded(value)?);
        }
        Ok(())
    }

    fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            // A name could be a piece of a badly written password.
            Some(_) => Err(TargetError::BadSettings(format!("the only parts taken are {}", known.join(", ")))),
        }
    }

    /// Placeholders and absent parts are filled from outside.
    fn login(&self, username: &str, password: SecretValue) -> (String, SecretValue) {
        let user = self.get("user").filter(|u| *u != "{{username}}").map_or_else(|| username.to_owned(), str::to_owned);
        let secret = match self.get("password").filter(|p| *p != "{{password}}") {
            Some(own) => SecretValue::from(own),
            None => password,
        };
        (user, secret)
    }
}

fn from_uri(rest: &str) -> Result<Parts> {
    let mut parts = Parts::default();
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = before_query.split_once('/').unwrap_or((before_query, ""));
    let (login, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (host, port) = host_and_port(address, "5432")?;
    for (name, value) in [
        ("user", decoded(user)?),
        ("password", decoded(password)?),
        ("host", host),
        ("port", port),
        ("dbname", decoded(database)?),
    ] {
        parts.add(name, value);
    }
    parts.query(query)?;
    Ok(parts)
}

/// `user:password@tcp(host:port)/database?name=value`: what it says, the address and the database.
fn from_dsn(dsn: &str) -> Result<(Parts, &str, &str)> {
    // The password may hold anything, so it ends at the last @ before the address.
    let (login, rest) = dsn.rsplit_once('@').unwrap_or(("", dsn));
    let address = rest.strip_prefix("tcp(").and_then(|r| r.split_once(')'));
    let (address, path) = address.ok_or_else(|| bad("the address is written as tcp(host:port)"))?;
    let path = path.strip_prefix('/').ok_or_else(|| bad("the address is followed by a slash"))?;
    let (database, query) = path.split_once('?').unwrap_or((path, ""));
    let mut parts = Parts::default();
    if let Some((user, password)) = login.split_once(':') {
        parts.add("user", user.to_owned());
        parts.add("password", password.to_owned());
    } else if !login.is_empty() {
        parts.add("user", login.to_owned());
    }
    parts.query(query)?;
    Ok((parts, address, database))
}

/// `host=… port=…`, values with white space in single quotes.
fn from_keywords(text: &str) -> Result<Parts> {
    let mut parts = Parts::default();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) =
            rest.split_once('=').ok_or_else(|| bad("a connection string is a URL or name=value pairs"))?;
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').ok_or_else(|| bad("a quoted value does not end"))?,
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        parts.add(name.trim(), value.to_owned());
        rest = after.trim_start();
    }
    Ok(parts)
}

fn host_and_port(address: &str, port: &str) -> Result<(String, String)> {
    if let Some(v6) = address.strip_prefix('[') {
        let (host, after) = v6.split_once(']').ok_or_else(|| bad("an IPv6 address does not end"))?;
        return Ok((host.to_owned(), after.strip_prefix(':').unwrap_or(port).to_owned()));
    }
    let (host, port) = address.split_once(':').unwrap_or((address, port));
    if host.contains(',') {
        return Err(bad("one host is taken, not several"));
    }
    Ok((decoded(host)?, port.to_owned()))
}

fn decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&b, after)) = rest.split_first() {
        let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        rest = match (b, after) {
            (b'%', [high, low, after @ ..]) => {
                let (high, low) = (hex(*high), hex(*low));
                bytes.push(high.zip(low).map(|(h, l)| h * 16 + l).ok_or_else(|| bad("a % is no percent-encoding"))?);
                after
            }
            (b'%', _) => return Err(bad("a % is no percent-encoding")),
            _ => {
                bytes.push(b);
                after
            }
        };
    }
    String::from_utf8(bytes).map_err(|_| bad("the connection string is no UTF-8"))
}

fn bad(words: &str) -> TargetError {
    TargetError::BadSettings(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pg(url: &str) -> Result<postgresql::Settings> {
        postgresql(url, "root", SecretValue::from("s3cret"), None)
    }

    #[test]
    fn reads_what_vaults_documents_show() {
        let s = pg("postgresql://{{username}}:{{password}}@localhost:5433/my-db?sslmode=disable").unwrap();
        assert_eq!((s.server.host.as_str(), s.server.port, s.database.as_str()), ("localhost", 5433, "my-db"));
        assert_eq!((s.server.username.as_str(), s.server.password.expose()), ("root", &b"s3cret"[..]));
        assert_eq!(s.server.tls.mode, TlsMode::Disable);
        let s = pg("postgres://own:p%40ss%2F@[::1]/postgres").unwrap();
        assert_eq!((s.server.host.as_str(), s.server.port, s.server.tls.mode), ("::1", 5432, TlsMode::Verify));
        assert_eq!((s.server.username.as_str(), s.server.password.expose()), ("own", &b"p@ss/"[..]));
        let s =
            pg("host=db.example port=6000 user={{username}} password='{{password}}' dbname=a sslmode=require").unwrap();
        assert_eq!((s.server.host.as_str(), s.server.port, s.server.tls.mode), ("db.example", 6000, TlsMode::Require));
        let s = mysql("{{username}}:{{password}}@tcp(127.0.0.1:3307)/", "root", SecretValue::from("x"), None).unwrap();
        assert_eq!((s.server.host.as_str(), s.server.port, s.database), ("127.0.0.1", 3307, None));
        let s = mysql("own:a@b:c@tcp(db)/shop?tls=true", "root", SecretValue::from("x"), None).unwrap();
        assert_eq!((s.server.port, s.server.tls.mode, s.database.as_deref()), (3306, TlsMode::Verify, Some("shop")));
        assert_eq!(s.server.password.expose(), b"a@b:c");
    }

    #[test]
    fn a_management_api_is_a_host_and_a_port() {
        let read = |uri: &str| rabbitmq(uri, "guest", SecretValue::from("x"), None, Guard::default());
        let s = read("http://127.0.0.1:15672/").unwrap();
        assert_eq!((s.server.host.as_str(), s.server.port, s.server.tls.mode), ("127.0.0.1", 15672, TlsMode::Disable));
        let s = read("https://[::1]").unwrap();
        assert_eq!((s.server.host.as_str(), s.server.port, s.server.tls.mode), ("::1", 443, TlsMode::Verify));
        for bad in ["", "amqp://h", "http://", "http://u:p@h", "http://h/api", "http://h?x", "http://h:x"] {
            assert!(matches!(read(bad), Err(TargetError::BadSettings(_))), "{bad}");
        }
    }

    #[test]
    fn a_password_is_seen_wherever_it_stands() {
        for (text, holds) in [
            ("postgresql://{{username}}:{{password}}@db/orders?sslmode=disable", false),
            ("postgresql://{{username}}@db/orders", false),
            ("host=db user={{username}} password={{password}}", false),
            ("{{username}}:{{password}}@tcp(db:3306)/?tls=true", false),
            ("postgresql://admin:S3cret@db/orders", true),
            ("postgresql://admin:S3@cret@db/orders", true),
            ("postgresql://admin@db/orders?password=S3cret", true),
            ("postgresql://admin:{{password}}@db/orders?password=S3cret", true),
            ("postgresql://admin:S3cret@db/orders?password={{password}}", true),
            ("host=db user=a password=S3@cret", true),
            ("host=db password=S3cret password={{password}}", true),
            ("admin:S3@cret@tcp(db)/orders", true),
            ("admin@tcp(db)/orders?password=S3cret", true),
            ("anything else: S3cret", true),
        ] {
            assert_eq!(holds_password(text), holds, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_without_repeating_it() {
        for bad in [
            "postgres://a/b?sslrootcert=/etc/x",
            "postgres://a,b/c",
            "postgres://h:x/d",
            "postgres://h%zz/d",
            "secret-text",
            "host='a",
        ] {
            let error = pg(bad).unwrap_err();
            assert!(matches!(error, TargetError::BadSettings(_)));
            assert!(!error.to_string().contains("secret-text"), "{error}");
        }
        assert!(mysql("root:x@unix(/tmp/s)/", "root", SecretValue::from("x"), None).is_err());
    }
}
