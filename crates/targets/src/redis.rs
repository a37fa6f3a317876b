//! Redis and Valkey: logins are ACL users.
//!
//! When to use it: Redis 6 or newer, Valkey. The administrator needs the `ACL` command, and `CLIENT`
//! to end sessions. Creation statements are ACL rules, as a JSON list (`["~cache:*", "+@read"]`, as
//! Vault's plugin has it) or in one line; default `~* +@read`. Rules that would set passwords or turn
//! a user on or off are refused: that is our part. Revocation is `ACL DELUSER`, which also ends the
//! user's connections. Redis knows no end date for a user, so renewal does nothing.
//!
//! Posture: passwords travel as `#<sha256>`. Users are lost when the server restarts, unless
//! [`Persist`] says how the server keeps them.

use crate::{
    BoxFuture, Created, Kind, Login, NewLogin, Result, Revoked, Server, Statements, Target, TargetError, TlsMode,
    Verdict,
    error::{io, refused},
    hash::redis_sha256,
    kept::Kept,
    resp::{self, Value},
    server::Access,
};
use credentialflow_model::{SecretValue, Timestamp};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use zeroize::Zeroizing;

/// How a changed user outlives a restart of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Persist {
    /// It does not.
    #[default]
    Memory,
    /// `ACL SAVE`, where the server has an `aclfile`.
    AclFile,
    /// `CONFIG REWRITE`, where users stand in the server's own configuration.
    Config,
}

/// Where the server is.
#[derive(Debug)]
pub struct Settings {
    /// Address and administrator; its name may be empty for a server that only has a password.
    pub server: Server,
    /// What happens after each change.
    pub persist: Persist,
}

impl Settings {
    /// Users in memory only.
    pub fn new(server: Server) -> Self {
        Self { server, persist: Persist::default() }
    }
}

/// A Redis or Valkey server.
pub struct Redis {
    access: Access,
    persist: Persist,
    kept: Kept<Session>,
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

struct Session {
    io: Box<dyn Io>,
    buffer: Vec<u8>,
}

impl Redis {
    /// Over its settings; connects to nothing.
    pub fn new(settings: Settings) -> Result<Self> {
        let access = Access::new(settings.server)?;
        if access.tls.mode == TlsMode::Require {
            access.tls.config()?;
        }
        Ok(Self { access, persist: settings.persist, kept: Kept::new() })
    }

    async fn connect(&self, username: &str, password: &SecretValue) -> Result<Session> {
        let tcp = TcpStream::connect((self.access.host.as_str(), self.access.port)).await.map_err(|e| io(&e))?;
        let _ = tcp.set_nodelay(true);
        let io: Box<dyn Io> = if self.access.tls.is_encrypted() {
            let name = ServerName::try_from(self.access.host.clone())
                .map_err(|_| TargetError::BadSettings("the host is no name a certificate can have".to_owned()))?;
            let connector = tokio_rustls::TlsConnector::from(self.access.tls.config()?);
            let untrusted = "no TLS connection stands, or its certificate is not believed";
            let stream = connector.connect(name, tcp).await;
            Box::new(stream.map_err(|_| TargetError::Unreachable(untrusted.to_owned()))?)
        } else {
            Box::new(tcp)
        };
        let mut session = Session { io, buffer: Vec::new() };
        if !password.is_empty() || !username.is_empty() {
            let words: &[&[u8]] = match username {
                "" => &[b"AUTH", password.expose()],
                name => &[b"AUTH", name.as_bytes(), password.expose()],
            };
            session.call(words).await?.ok(&[password])?;
        }
        Ok(session)
    }

    async fn session(&self) -> Result<Session> {
        if let Some(mut kept) = self.kept.take()
            && kept.call(&[b"PING"]).await.is_ok()
        {
            return Ok(kept);
        }
        let password = self.access.password();
        self.access.connecting(self.connect(&self.access.username, &password)).await
    }

    async fn create_login(&self, login: &NewLogin<'_>) -> Result<Created> {
        check_name(login.name)?;
        let rules = rules(&login.statements.creation)?;
        let hash = Zeroizing::new(format!("#{}", redis_sha256(login.password)));
        let mut words: Vec<&[u8]> = vec![b"ACL", b"SETUSER", login.name.as_bytes(), b"reset", b"on", hash.as_bytes()];
        words.extend(rules.iter().map(|r| r.as_bytes()));
        self.change(&words, &[login.password]).await?;
        Ok(Created { handle: login.name.to_owned(), password: None })
    }

    async fn rekey_login(&self, login: &Login, password: &SecretValue) -> Result<()> {
        check_name(&login.name)?;
        // An empty password would be none at all.
        if password.is_empty() {
            return Err(bad("a Redis user's password is not empty"));
        }
        let hash = Zeroizing::new(format!("#{}", redis_sha256(password)));
        let _slot = self.kept.slot().await?;
        let mut session = self.session().await?;
        // SETUSER would make a user that is not there.
        if !session.has(&login.name).await? {
            return Err(TargetError::Refused("there is no such user".to_owned()));
        }
        let words: [&[u8]; 5] = [b"ACL", b"SETUSER", login.name.as_bytes(), b"resetpass", hash.as_bytes()];
        session.call(&words).await?.ok(&[password])?;
        self.save(&mut session).await?;
        self.kept.give_back(session);
        Ok(())
    }

    async fn revoke_login(&self, login: &Login) -> Result<Revoked> {
        if !self.access.username.is_empty() {
            self.access.not_administrator(&login.name)?;
        }
        let _slot = self.kept.slot().await?;
        let mut session = self.session().await?;
        let name = login.name.as_bytes();
        let sessions = match session.call(&[b"CLIENT", b"KILL", b"USER", name]).await? {
            Value::Integer(ended) => u64::try_from(ended).ok(),
            // Also "No such user", in newer versions.
            _ => None,
        };
        // Ends connections as well, also those made since.
        let existed = match session.call(&[b"ACL", b"DELUSER", name]).await?.ok(&[])? {
            Value::Integer(gone) => gone > 0,
            _ => return Err(not_understood()),
        };
        // Also where it is gone: the try before may have ended between the two, and a restart would bring it back.
        self.save(&mut session).await?;
        self.kept.give_back(session);
        Ok(Revoked { existed, sessions })
    }

    async fn try_login(&self, login: &Login, password: &SecretValue) -> Result<Verdict> {
        match self.access.connecting(self.connect(&login.name, password)).await {
            Ok(_) => Ok(Verdict::Accepted),
            Err(TargetError::Refused(why)) => Ok(Verdict::Refused(why)),
            Err(other) => Err(other),
        }
    }

    async fn open_sessions(&self, login: &Login) -> Result<Option<u64>> {
        let _slot = self.kept.slot().await?;
        let mut session = self.session().await?;
        let list = session.call(&[b"CLIENT", b"LIST"]).await?;
        self.kept.give_back(session);
        let Value::Bulk(Some(list)) = list else { return Ok(None) };
        let list = String::from_utf8_lossy(&list).into_owned();
        let is_theirs = |line: &&str| line.split(' ').any(|f| f.strip_prefix("user=") == Some(&login.name));
        Ok(u64::try_from(list.lines().filter(is_theirs).count()).ok())
    }

    async fn names(&self, mark: &str) -> Result<Vec<Login>> {
        let _slot = self.kept.slot().await?;
        let mut session = self.session().await?;
        let Value::Array(Some(users)) = session.call(&[b"ACL", b"USERS"]).await?.ok(&[])? else {
            return Err(not_understood());
        };
        self.kept.give_back(session);
        let names = users.into_iter().filter_map(|user| match user {
            Value::Bulk(Some(name)) => String::from_utf8(name).ok(),
            _ => None,
        });
        let mut found: Vec<Login> = names.filter(|n| n.starts_with(mark)).map(|n| Login::named(&n)).collect();
        found.sort();
        Ok(found)
    }

    async fn version(&self) -> Result<String> {
        let _slot = self.kept.slot().await?;
        let mut session = self.session().await?;
        let info = session.call(&[b"INFO", b"server"]).await?.ok(&[])?;
        self.kept.give_back(session);
        let Value::Bulk(Some(text)) = info else { return Err(not_understood()) };
        let text = String::from_utf8_lossy(&text);
        let version = text.lines().find_map(|l| l.strip_prefix("valkey_version:").or(l.strip_prefix("redis_version:")));
        version.map(|v| v.trim().to_owned()).ok_or_else(not_understood)
    }

    async fn change(&self, words: &[&[u8]], secrets: &[&SecretValue]) -> Result<()> {
        let _slot = self.kept.slot().await?;
        let mut session = self.session().await?;
        session.call(words).await?.ok(secrets)?;
        self.save(&mut session).await?;
        self.kept.give_back(session);
        Ok(())
    }

    async fn save(&self, session: &mut Session) -> Result<()> {
        let words: &[&[u8]] = match self.persist {
            Persist::Memory => return Ok(()),
            Persist::AclFile => &[b"ACL", b"SAVE"],
            Persist::Config => &[b"CONFIG", b"REWRITE"],
        };
        session.call(words).await?.ok(&[]).map(drop)
    }
}

impl Target for Redis {
    fn kind(&self) -> Kind {
        Kind::Redis
    }
    fn check(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(self.access.within(self.version()))
    }
    fn create<'a>(&'a self, login: &'a NewLogin<'a>) -> BoxFuture<'a, Result<Created>> {
        Box::pin(self.access.within(self.create_login(login)))
    }
    fn renew<'a>(&'a self, _: &'a Login, _: Timestamp, _: &'a Statements) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
    fn revoke<'a>(&'a self, login: &'a Login, _: &'a Statements) -> BoxFuture<'a, Result<Revoked>> {
        Box::pin(self.access.within(self.revoke_login(login)))
    }
    fn set_password<'a>(
        &'a self,
        login: &'a Login,
        password: &'a SecretValue,
        _: &'a Statements,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.access.within(self.rekey_login(login, password)))
    }
    fn verify<'a>(&'a self, login: &'a Login, password: &'a SecretValue) -> BoxFuture<'a, Result<Verdict>> {
        Box::pin(self.access.within(self.try_login(login, password)))
    }
    fn sessions<'a>(&'a self, login: &'a Login) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(self.access.within(self.open_sessions(login)))
    }
    fn list<'a>(&'a self, mark: &'a str) -> BoxFuture<'a, Result<Vec<Login>>> {
        Box::pin(self.access.within(self.names(mark)))
    }
    fn administrator(&self) -> &str {
        &self.access.username
    }
    fn use_password(&self, password: SecretValue) {
        self.access.use_password(password);
        self.kept.clear();
    }
}

impl Session {
    async fn call(&mut self, words: &[&[u8]]) -> Result<Value> {
        self.io.write_all(&resp::command(words)).await.map_err(|e| io(&e))?;
        self.io.flush().await.map_err(|e| io(&e))?;
        loop {
            match resp::parse(&self.buffer) {
                Ok(Some((value, used))) => {
                    self.buffer.drain(..used);
                    return Ok(value);
                }
                Ok(None) if self.buffer.len() <= resp::LARGEST => {}
                _ => return Err(not_understood()),
            }
            if self.io.read_buf(&mut self.buffer).await.map_err(|e| io(&e))? == 0 {
                return Err(TargetError::Unreachable("the server closed the connection".to_owned()));
            }
        }
    }

    async fn has(&mut self, name: &str) -> Result<bool> {
        let found = self.call(&[b"ACL", b"GETUSER", name.as_bytes()]).await?.ok(&[])?;
        Ok(!matches!(found, Value::Bulk(None) | Value::Array(None)))
    }
}

impl Value {
    /// An error answer as ours: what passes by itself apart from what does not.
    fn ok(self, secrets: &[&SecretValue]) -> Result<Self> {
        match self {
            Self::Error(words)
                if ["LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"]
                    .iter()
                    .any(|w| words.starts_with(w))
                    || words.contains("max number of clients") =>
            {
                Err(TargetError::Unreachable("the server is busy or not ready".to_owned()))
            }
            Self::Error(words) => Err(refused(&words, secrets)),
            other => Ok(other),
        }
    }
}

/// The rules of a user, checked. They are sent each as one argument.
fn rules(statements: &[String]) -> Result<Vec<String>> {
    let mut rules = Vec::new();
    for statement in statements {
        let statement = statement.trim();
        if statement.starts_with('[') {
            let list: Vec<String> = serde_json::from_str(statement)
                .map_err(|_| bad("the rules of a Redis user are a JSON list of texts, or one line"))?;
            rules.extend(list);
        } else {
            rules.extend(statement.split_whitespace().map(str::to_owned));
        }
    }
    if rules.is_empty() {
        rules = vec!["~*".to_owned(), "+@read".to_owned()];
    }
    for rule in &rules {
        let word = rule.trim().to_ascii_lowercase();
        let ours = ["nopass", "resetpass", "reset", "on", "off"];
        if word.is_empty() || word.starts_with(['>', '<', '#', '!']) || ours.contains(&word.as_str()) {
            return Err(bad("a rule of a Redis user sets a password or its state; that is not the role's part"));
        }
    }
    Ok(rules)
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0') {
        return Err(bad("a Redis user's name is not empty and has no white space"));
    }
    Ok(())
}

fn not_understood() -> TargetError {
    TargetError::Unreachable("the server's answer is not understood".to_owned())
}

fn bad(words: &str) -> TargetError {
    TargetError::BadTemplate(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_a_list_or_a_line_and_touch_no_password() {
        let of = |s: &str| rules(&[s.to_owned()]);
        assert_eq!(of(r#"["~a b", "+@read"]"#).unwrap(), ["~a b", "+@read"]);
        assert_eq!(of("~cache:* +get").unwrap(), ["~cache:*", "+get"]);
        assert_eq!(rules(&[]).unwrap(), ["~*", "+@read"]);
        for bad in ["nopass", ">secret", "#00", "<x", "!00", "RESET ~*", "on", r#"["off"]"#, r#"[1]"#, r#"[""]"#, "["] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
