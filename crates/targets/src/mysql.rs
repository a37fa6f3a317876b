//! MariaDB and MySQL: logins are users, each with the hosts it may come from.
//!
//! When to use it: MariaDB 10.4 or newer, MySQL 8. The administrator needs `CREATE USER`, what the
//! role's statements grant with `GRANT OPTION`, and `SELECT` on `mysql.user` to find a user's hosts
//! (without it, `%` is assumed and users cannot be listed). Statements have no default for creation.
//! Defaults: rotation `ALTER USER … IDENTIFIED …` for every host of the user; revocation `DROP USER`
//! for every host, then its sessions are killed where the administrator may (`CONNECTION ADMIN`).
//! These systems know no end date for a user, so renewal does nothing unless it has statements.
//!
//! Posture: passwords travel as the hash of `mysql_native_password`; Vault's usual `IDENTIFIED BY
//! '{{password}}'` is sent as `IDENTIFIED WITH mysql_native_password AS '<hash>'`. A server without
//! that method (MySQL 9, or 8.4 as it comes) needs [`PasswordForm::Clear`], which is taken over TLS
//! only. Our own login uses `mysql_native_password`, or `caching_sha2_password` over TLS; the RSA
//! exchange that MySQL offers without TLS is left out.

use crate::{
    BoxFuture, Created, Kind, Login, NewLogin, PasswordForm, Result, Revoked, Server, Statements, Target, TargetError,
    TlsMode, Verdict,
    error::{io, sanitized},
    hash::mysql_native,
    kept::Kept,
    server::Access,
    statement::{Dialect, Values, mysql_literal, render},
    target::timestamp,
};
use credentialflow_model::{SecretValue, Timestamp};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlSslMode},
};
use zeroize::Zeroizing;

/// Where the server is.
#[derive(Debug)]
pub struct Settings {
    /// Address and administrator.
    pub server: Server,
    /// The database statements run in; none when absent.
    pub database: Option<String>,
    /// How passwords travel.
    pub passwords: PasswordForm,
}

impl Settings {
    /// No database, passwords hashed.
    pub fn new(server: Server) -> Self {
        Self { server, database: None, passwords: PasswordForm::default() }
    }
}

/// A MariaDB or MySQL server.
pub struct Mysql {
    access: Access,
    database: Option<String>,
    passwords: PasswordForm,
    kept: Kept<MySqlConnection>,
}

impl Mysql {
    /// Over its settings; connects to nothing.
    pub fn new(settings: Settings) -> Result<Self> {
        settings.server.fits(settings.passwords)?;
        let access = Access::new(settings.server)?;
        Ok(Self { access, database: settings.database, passwords: settings.passwords, kept: Kept::new() })
    }

    async fn connect(
        &self,
        username: &str,
        password: &SecretValue,
        database: Option<&str>,
    ) -> Result<MySqlConnection, sqlx::Error> {
        let text = password.expose_str().ok_or_else(|| sqlx::Error::Protocol("the password is no text".into()))?;
        let tls = &self.access.tls;
        let mut options = MySqlConnectOptions::new()
            .host(&self.access.host)
            .port(self.access.port)
            .username(username)
            .password(text)
            .statement_cache_capacity(0)
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .ssl_mode(match tls.mode {
                TlsMode::Disable => MySqlSslMode::Disabled,
                TlsMode::Require => MySqlSslMode::Required,
                TlsMode::Verify => MySqlSslMode::VerifyIdentity,
            })
            .disable_statement_logging();
        if let Some(database) = database {
            options = options.database(database);
        }
        if let Some(ca) = &tls.ca {
            options = options.ssl_ca_from_pem(ca.as_bytes().to_vec());
        }
        if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
            options = options.ssl_client_cert_from_pem(certificate).ssl_client_key_from_pem(key.expose());
        }
        options.connect().await
    }

    async fn connection(&self) -> Result<MySqlConnection> {
        if let Some(mut kept) = self.kept.take()
            && kept.ping().await.is_ok()
        {
            return Ok(kept);
        }
        let password = self.access.password();
        let connect = async {
            let mut connection = self.connect(&self.access.username, &password, self.database.as_deref()).await?;
            // Quoting stands on the first; without the second, a GRANT could create a user without a password.
            connection
                .execute("SET SESSION sql_mode = REPLACE(REPLACE(@@sql_mode, 'NO_BACKSLASH_ESCAPES', ''), 'ANSI_QUOTES', '')")
                .await?;
            Ok(connection)
        };
        self.access.connecting(async { connect.await.map_err(|e| error(&e, &[&password])) }).await
    }

    fn values<'a>(&self, name: &'a str, password: &'a SecretValue, hash: &'a SecretValue) -> Values<'a> {
        match self.passwords {
            PasswordForm::Hashed => Values {
                name,
                // Elsewhere than in IDENTIFIED BY, the password itself is needed: over TLS only.
                password: password.expose_str().filter(|_| self.access.tls.is_encrypted()),
                native_hash: hash.expose_str(),
                expiration: None,
            },
            PasswordForm::Clear => Values { name, password: password.expose_str(), ..Values::default() },
        }
    }

    async fn create_login(&self, login: &NewLogin<'_>) -> Result<Created> {
        if login.statements.creation.is_empty() {
            return Err(TargetError::BadTemplate("a user of MySQL needs creation statements".to_owned()));
        }
        let hash = mysql_native(login.password);
        let expiration = login.expires.map(timestamp);
        let mut values = self.values(login.name, login.password, &hash);
        values.expiration = expiration.as_deref();
        let creation = render(&login.statements.creation, Dialect::Mysql, &values)?;
        let rollback = render(&login.statements.rollback, Dialect::Mysql, &values)?;
        let secrets = [login.password, &hash];
        let _slot = self.kept.slot().await?;
        let mut connection = self.connection().await?;
        if let Err(e) = run(&mut connection, &creation).await {
            // There is no transaction over users: what was made is taken away, unless it was there before.
            if !matches!(number(&e), Some(ALREADY_THERE)) {
                if rollback.is_empty() {
                    let _ = drop_user(&mut connection, login.name).await;
                } else {
                    let _ = run(&mut connection, &rollback).await;
                }
            }
            return Err(error(&e, &secrets));
        }
        self.kept.give_back(connection);
        Ok(Created { handle: login.name.to_owned(), password: None })
    }

    async fn renew_login(&self, login: &Login, expires: Timestamp, statements: &Statements) -> Result<()> {
        if statements.renewal.is_empty() {
            return Ok(());
        }
        let expiration = timestamp(expires);
        let values = Values { name: &login.name, expiration: Some(&expiration), ..Values::default() };
        let statements = render(&statements.renewal, Dialect::Mysql, &values)?;
        let _slot = self.kept.slot().await?;
        let mut connection = self.connection().await?;
        run(&mut connection, &statements).await.map_err(|e| error(&e, &[]))?;
        self.kept.give_back(connection);
        Ok(())
    }

    async fn rekey_login(&self, login: &Login, password: &SecretValue, statements: &Statements) -> Result<()> {
        let hash = mysql_native(password);
        let values = self.values(&login.name, password, &hash);
        let custom = render(&statements.rotation, Dialect::Mysql, &values)?;
        let _slot = self.kept.slot().await?;
        let mut connection = self.connection().await?;
        let done = async {
            if !custom.is_empty() {
                return run(&mut connection, &custom).await.map_err(|e| error(&e, &[password, &hash]));
            }
            let hosts = hosts(&mut connection, &login.name).await.map_err(|e| error(&e, &[]))?;
            if hosts.is_empty() {
                return Err(TargetError::Refused("there is no such user".to_owned()));
            }
            for host in hosts {
                let user = format!("{}@{}", mysql_literal(&login.name), mysql_literal(&host));
                let identified = match self.passwords {
                    PasswordForm::Hashed => {
                        let hash = mysql_literal(hash.expose_str().unwrap_or_default());
                        format!("IDENTIFIED WITH mysql_native_password AS {hash}")
                    }
                    PasswordForm::Clear => {
                        format!("IDENTIFIED BY {}", mysql_literal(password.expose_str().unwrap_or_default()))
                    }
                };
                let statement = Zeroizing::new(format!("ALTER USER {user} {identified}"));
                execute(&mut connection, &statement).await.map_err(|e| error(&e, &[password, &hash]))?;
            }
            Ok(())
        }
        .await;
        done?;
        self.kept.give_back(connection);
        Ok(())
    }

    async fn revoke_login(&self, login: &Login, statements: &Statements) -> Result<Revoked> {
        self.access.not_administrator(&login.name)?;
        let values = Values { name: &login.name, ..Values::default() };
        let custom = render(&statements.revocation, Dialect::Mysql, &values)?;
        let _slot = self.kept.slot().await?;
        let mut connection = self.connection().await?;
        let existed = if custom.is_empty() {
            drop_user(&mut connection, &login.name).await.map_err(|e| error(&e, &[]))?
        } else {
            match run(&mut connection, &custom).await {
                Ok(()) => true,
                Err(e) if matches!(number(&e), Some(NO_SUCH_USER | NO_SUCH_GRANT)) => {
                    // Statements that begin with REVOKE fail where the user is gone.
                    if !hosts(&mut connection, &login.name).await.map_err(|e| error(&e, &[]))?.is_empty() {
                        return Err(error(&e, &[]));
                    }
                    false
                }
                Err(e) => return Err(error(&e, &[])),
            }
        };
        // After the user, so that no new session slips in; also where a crash fell in between.
        let sessions = end_sessions(&mut connection, &login.name).await;
        self.kept.give_back(connection);
        Ok(Revoked { existed, sessions })
    }

    async fn try_login(&self, login: &Login, password: &SecretValue) -> Result<Verdict> {
        let attempt = async { self.connect(&login.name, password, None).await.map_err(|e| error(&e, &[password])) };
        match self.access.connecting(attempt).await {
            Ok(connection) => {
                let _ = connection.close().await;
                Ok(Verdict::Accepted)
            }
            Err(TargetError::Refused(why)) => Ok(Verdict::Refused(why)),
            Err(other) => Err(other),
        }
    }

    async fn open_sessions(&self, login: &Login) -> Result<Option<u64>> {
        let _slot = self.kept.slot().await?;
        let mut connection = self.connection().await?;
        // Without the right to see all sessions the list silently has our own only.
        let may: Result<i64, _> = sqlx::query_scalar(
            "SELECT COUNT(*) FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE IN ('PROCESS', 'SUPER')",
        )
        .persistent(false)
        .fetch_one(&mut connection)
        .await;
        let sessions: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = ?")
            .bind(&login.name)
            .persistent(false)
            .fetch_one(&mut connection)
            .await
            .map_err(|e| error(&e, &[]))?;
        self.kept.give_back(connection);
        Ok(u64::try_from(sessions).ok().filter(|_| may.is_ok_and(|n| n > 0)))
    }

    async fn names(&self, mark: &str) -> Result<Vec<Login>> {
        let _slot = self.kept.slot().await?;
        let mut connection = self.connection().await?;
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT CONVERT(User USING utf8mb4) FROM mysql.user WHERE LEFT(User, CHAR_LENGTH(?)) = ? ORDER BY 1",
        )
        .bind(mark)
        .bind(mark)
        .persistent(false)
        .fetch_all(&mut connection)
        .await
        .map_err(|e| error(&e, &[]))?;
        self.kept.give_back(connection);
        Ok(names.iter().map(|name| Login::named(name)).collect())
    }

    async fn version(&self) -> Result<String> {
        let _slot = self.kept.slot().await?;
        let mut connection = self.connection().await?;
        let version: String =
            sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection).await.map_err(|e| error(&e, &[]))?;
        self.kept.give_back(connection);
        Ok(version)
    }
}

impl Target for Mysql {
    fn kind(&self) -> Kind {
        Kind::Mysql
    }
    fn check(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(self.access.within(self.version()))
    }
    fn create<'a>(&'a self, login: &'a NewLogin<'a>) -> BoxFuture<'a, Result<Created>> {
        Box::pin(self.access.within(self.create_login(login)))
    }
    fn renew<'a>(&'a self, login: &'a Login, expires: Timestamp, s: &'a Statements) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.access.within(self.renew_login(login, expires, s)))
    }
    fn revoke<'a>(&'a self, login: &'a Login, statements: &'a Statements) -> BoxFuture<'a, Result<Revoked>> {
        Box::pin(self.access.within(self.revoke_login(login, statements)))
    }
    fn set_password<'a>(
        &'a self,
        login: &'a Login,
        password: &'a SecretValue,
        statements: &'a Statements,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.access.within(self.rekey_login(login, password, statements)))
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

/// "Operation … failed for …": the user is not there, or is there already.
const NO_SUCH_USER: u16 = 1396;
const ALREADY_THERE: u16 = 1396;
/// "There is no such grant defined for user …".
const NO_SUCH_GRANT: u16 = 1141;
/// "… command denied to user …".
const DENIED: [u16; 3] = [1142, 1143, 1044];

async fn run(connection: &mut MySqlConnection, statements: &[Zeroizing<String>]) -> Result<(), sqlx::Error> {
    for statement in statements {
        execute(connection, statement).await?;
    }
    Ok(())
}

/// One statement in the text protocol, as some statements have no other.
async fn execute(connection: &mut MySqlConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.map(drop)
}

/// The hosts a user may come from; `%` where we may not look.
async fn hosts(connection: &mut MySqlConnection, name: &str) -> Result<Vec<String>, sqlx::Error> {
    let found = sqlx::query_scalar("SELECT CONVERT(Host USING utf8mb4) FROM mysql.user WHERE User = ?")
        .bind(name)
        .persistent(false)
        .fetch_all(connection)
        .await;
    match found {
        Err(e) if number(&e).is_some_and(|n| DENIED.contains(&n)) => Ok(vec!["%".to_owned()]),
        other => other,
    }
}

/// Whether there was one.
async fn drop_user(connection: &mut MySqlConnection, name: &str) -> Result<bool, sqlx::Error> {
    let hosts = hosts(connection, name).await?;
    for host in &hosts {
        let user = format!("{}@{}", mysql_literal(name), mysql_literal(host));
        execute(connection, &format!("DROP USER IF EXISTS {user}")).await?;
    }
    Ok(!hosts.is_empty())
}

/// How many sessions were killed; `None` when we may not.
async fn end_sessions(connection: &mut MySqlConnection, name: &str) -> Option<u64> {
    let sessions: Vec<i64> =
        sqlx::query_scalar("SELECT CAST(ID AS SIGNED) FROM information_schema.PROCESSLIST WHERE USER = ?")
            .bind(name)
            .persistent(false)
            .fetch_all(&mut *connection)
            .await
            .ok()?;
    let mut ended = 0;
    for session in sessions {
        match execute(connection, &format!("KILL {session}")).await {
            Ok(()) => ended += 1,
            // "Unknown thread id": it ended by itself.
            Err(e) if number(&e) == Some(1094) => {}
            Err(_) => return None,
        }
    }
    Some(ended)
}

fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error().and_then(|e| e.try_downcast_ref::<MySqlDatabaseError>()).map(MySqlDatabaseError::number)
}

/// What sqlx tells, in our words.
fn error(error: &sqlx::Error, secrets: &[&SecretValue]) -> TargetError {
    match error {
        sqlx::Error::Io(e) => io(e),
        sqlx::Error::Tls(_) => {
            TargetError::Unreachable("no TLS connection stands, or its certificate is not believed".to_owned())
        }
        // Told in words alone: what `caching_sha2_password` does without TLS is left out.
        sqlx::Error::Configuration(e) if e.to_string().starts_with("RSA auth") => TargetError::BadSettings(
            "the server asks for the password itself (caching_sha2_password), which is sent over TLS only".to_owned(),
        ),
        sqlx::Error::Configuration(_) => {
            TargetError::BadSettings("the connection's settings do not fit together".to_owned())
        }
        sqlx::Error::Database(e) => {
            let number = number(error).unwrap_or_default();
            let secrets: Vec<&[u8]> = secrets.iter().map(|s| s.expose()).collect();
            match number {
                // The server would repeat the statement around the error.
                1064 | 1149 => {
                    TargetError::BadTemplate("the server finds a syntax error in a statement (1064)".to_owned())
                }
                // Too many connections, shutting down, locked, deadlock, no resources.
                1040 | 1041 | 1053 | 1077..=1079 | 1135 | 1203 | 1205 | 1213 | 1226 => {
                    TargetError::Unreachable(format!("{} ({number})", sanitized(e.message(), &secrets)))
                }
                _ => TargetError::Refused(format!("{} ({number})", sanitized(e.message(), &secrets))),
            }
        }
        _ => TargetError::Unreachable("the connection broke off or its answer is not understood".to_owned()),
    }
}
