//! PostgreSQL: logins are roles.
//!
//! When to use it: PostgreSQL 11 or newer. The administrator needs `CREATEROLE`, and what the role's
//! statements grant. Statements have no default for creation. Defaults: renewal `ALTER ROLE … VALID
//! UNTIL`; rotation `ALTER ROLE … PASSWORD`; revocation: no new sessions, running ones ended, what the
//! role owns in this database handed to the administrator, its rights dropped, then the role itself.
//! Objects in other databases keep a role from being dropped; that is told, and the role can no
//! longer log in.
//!
//! Posture: passwords travel as SCRAM-SHA-256 verifiers; sqlx's statement log is off, so no statement
//! is ever written to ours.

use crate::{
    BoxFuture, Created, Kind, Login, NewLogin, PasswordForm, Result, Revoked, Server, Statements, Target, TargetError,
    TlsMode, Verdict,
    error::{io, sanitized},
    hash::scram_sha_256,
    kept::Kept,
    server::Access,
    statement::{Dialect, Values, pg_identifier, render},
    target::timestamp,
};
use credentialflow_model::{SecretValue, Timestamp};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor,
    postgres::{PgConnectOptions, PgConnection, PgSslMode},
};
use zeroize::Zeroizing;

/// Creations and revocations in one database go one after the other, over all nodes: PostgreSQL
/// refuses two changes of the same table's rights at the same time.
const LOCK: i64 = 0x6366_7461_7267_6574;

/// Where the server is and which database its objects are in.
#[derive(Debug)]
pub struct Settings {
    /// Address and administrator.
    pub server: Server,
    /// The database; logins are tried with it, and revocation cleans it.
    pub database: String,
    /// How passwords travel.
    pub passwords: PasswordForm,
}

impl Settings {
    /// Passwords hashed.
    pub fn new(server: Server, database: &str) -> Self {
        Self { server, database: database.to_owned(), passwords: PasswordForm::default() }
    }
}

/// A PostgreSQL server.
pub struct Postgresql {
    access: Access,
    database: String,
    passwords: PasswordForm,
    kept: Kept<PgConnection>,
}

impl Postgresql {
    /// Over its settings; connects to nothing.
    pub fn new(settings: Settings) -> Result<Self> {
        settings.server.fits(settings.passwords)?;
        let access = Access::new(settings.server)?;
        Ok(Self { access, database: settings.database, passwords: settings.passwords, kept: Kept::new() })
    }

    async fn connect(&self, username: &str, password: &SecretValue) -> Result<PgConnection, sqlx::Error> {
        let text = password.expose_str().ok_or_else(|| sqlx::Error::Protocol("the password is no text".into()))?;
        let tls = &self.access.tls;
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&self.access.host)
            .port(self.access.port)
            .username(username)
            .password(text)
            .database(&self.database)
            .application_name("credentialflow")
            .statement_cache_capacity(0)
            .ssl_mode(match tls.mode {
                TlsMode::Disable => PgSslMode::Disable,
                TlsMode::Require => PgSslMode::Require,
                TlsMode::Verify => PgSslMode::VerifyFull,
            })
            .disable_statement_logging();
        if let Some(ca) = &tls.ca {
            options = options.ssl_root_cert_from_pem(ca.as_bytes().to_vec());
        }
        if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
            options = options.ssl_client_cert_from_pem(certificate).ssl_client_key_from_pem(key.expose());
        }
        options.connect().await
    }

    /// A connection of the administrator, kept or new.
    async fn connection(&self) -> Result<PgConnection> {
        if let Some(mut kept) = self.kept.take()
            && kept.ping().await.is_ok()
        {
            return Ok(kept);
        }
        let password = self.access.password();
        let connect = async {
            let mut connection = self.connect(&self.access.username, &password).await?;
            // Quoting stands on this; a startup option would be refused by poolers.
            connection.execute("SET standard_conforming_strings = on").await?;
            Ok(connection)
        };
        self.access.connecting(async { connect.await.map_err(|e| error(&e, &[&password])) }).await
    }

    /// What may travel of a password.
    fn form(&self, password: &SecretValue) -> Result<SecretValue> {
        match self.passwords {
            PasswordForm::Hashed => scram_sha_256(password),
            PasswordForm::Clear => Ok(password.duplicate()),
        }
    }

    async fn create_login(&self, login: &NewLogin<'_>) -> Result<Created> {
        if login.statements.creation.is_empty() {
            return Err(TargetError::BadTemplate("a role of PostgreSQL needs creation statements".to_owned()));
        }
        let travelling = self.form(login.password)?;
        let expiration = login.expires.map_or_else(|| "infinity".to_owned(), timestamp);
        let values = Values {
            name: login.name,
            password: travelling.expose_str(),
            native_hash: None,
            expiration: Some(&expiration),
        };
        let creation = render(&login.statements.creation, Dialect::Postgresql, &values)?;
        let rollback = render(&login.statements.rollback, Dialect::Postgresql, &values)?;
        let secrets = [login.password, &travelling];
        let _slot = self.kept.slot().await?;
        let mut connection = self.connection().await?;
        let done = run(&mut connection, &creation).await.map_err(|e| error(&e, &secrets));
        if done.is_err() && !rollback.is_empty() {
            // What the creation did is rolled back by its transaction; this is for what stands outside.
            let _ = run(&mut connection, &rollback).await;
        }
        done?;
        self.kept.give_back(connection);
        Ok(Created { handle: login.name.to_owned(), password: None })
    }

    async fn renew_login(&self, login: &Login, expires: Timestamp, statements: &Statements) -> Result<()> {
        let default = ["ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'".to_owned()];
        let templates = if statements.renewal.is_empty() { &default[..] } else { &statements.renewal };
        let expiration = timestamp(expires);
        let values = Values { name: &login.name, expiration: Some(&expiration), ..Values::default() };
        self.run_statements(&render(templates, Dialect::Postgresql, &values)?, &[]).await
    }

    async fn rekey_login(&self, login: &Login, password: &SecretValue, statements: &Statements) -> Result<()> {
        let default = ["ALTER ROLE \"{{name}}\" WITH PASSWORD '{{password}}'".to_owned()];
        let templates = if statements.rotation.is_empty() { &default[..] } else { &statements.rotation };
        let travelling = self.form(password)?;
        let values = Values { name: &login.name, password: travelling.expose_str(), ..Values::default() };
        self.run_statements(&render(templates, Dialect::Postgresql, &values)?, &[password, &travelling]).await
    }

    async fn run_statements(&self, statements: &[Zeroizing<String>], secrets: &[&SecretValue]) -> Result<()> {
        let _slot = self.kept.slot().await?;
        let mut connection = self.connection().await?;
        run(&mut connection, statements).await.map_err(|e| error(&e, secrets))?;
        self.kept.give_back(connection);
        Ok(())
    }

    async fn revoke_login(&self, login: &Login, statements: &Statements) -> Result<Revoked> {
        self.access.not_administrator(&login.name)?;
        let values = Values { name: &login.name, ..Values::default() };
        let custom = render(&statements.revocation, Dialect::Postgresql, &values)?;
        let _slot = self.kept.slot().await?;
        let mut connection = self.connection().await?;
        let done = match take_away(&mut connection, &login.name, &custom).await {
            Ok(done) => done,
            // Somebody else was faster.
            Err(e) if code(&e).as_deref() == Some("42704") && !exists(&mut connection, &login.name).await? => {
                Revoked { existed: false, sessions: None }
            }
            Err(e) => return Err(error(&e, &[])),
        };
        self.kept.give_back(connection);
        Ok(done)
    }

    async fn try_login(&self, login: &Login, password: &SecretValue) -> Result<Verdict> {
        let attempt = async { self.connect(&login.name, password).await.map_err(|e| error(&e, &[password])) };
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
        let sessions: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE usename::text = $1")
            .bind(&login.name)
            .persistent(false)
            .fetch_one(&mut connection)
            .await
            .map_err(|e| error(&e, &[]))?;
        self.kept.give_back(connection);
        Ok(u64::try_from(sessions).ok())
    }

    async fn names(&self, mark: &str) -> Result<Vec<Login>> {
        let _slot = self.kept.slot().await?;
        let mut connection = self.connection().await?;
        let names: Vec<String> =
            sqlx::query_scalar("SELECT rolname::text FROM pg_roles WHERE starts_with(rolname::text, $1) ORDER BY 1")
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
            sqlx::query_scalar("SHOW server_version").fetch_one(&mut connection).await.map_err(|e| error(&e, &[]))?;
        self.kept.give_back(connection);
        Ok(version)
    }
}

impl Target for Postgresql {
    fn kind(&self) -> Kind {
        Kind::Postgresql
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

/// Runs statements as one transaction, one such transaction of ours at a time.
async fn run(connection: &mut PgConnection, statements: &[Zeroizing<String>]) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    lock(&mut tx).await?;
    for statement in statements {
        execute(&mut tx, statement).await?;
    }
    tx.commit().await
}

async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).persistent(false).execute(connection).await.map(drop)
}

/// One statement in the simple protocol, as some statements have no other.
async fn execute(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.map(drop)
}

async fn take_away(
    connection: &mut PgConnection,
    name: &str,
    custom: &[Zeroizing<String>],
) -> Result<Revoked, sqlx::Error> {
    if !role_exists(connection, name).await? {
        return Ok(Revoked { existed: false, sessions: None });
    }
    if !custom.is_empty() {
        let pids: Vec<i32> = sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE usename::text = $1")
            .bind(name)
            .persistent(false)
            .fetch_all(&mut *connection)
            .await?;
        run(connection, custom).await?;
        return Ok(Revoked { existed: true, sessions: end_sessions(connection, &pids).await });
    }
    let role = pg_identifier(name);
    // Stands at once and by itself: whatever fails below, nobody gets in any more.
    execute(connection, &format!("ALTER ROLE {role} NOLOGIN")).await?;
    let mut tx = connection.begin().await?;
    lock(&mut tx).await?;
    // An administrator that is no superuser must be a member to hand over what the role owns.
    {
        let mut attempt = tx.begin().await?;
        if execute(&mut attempt, &format!("GRANT {role} TO CURRENT_USER")).await.is_ok() {
            attempt.commit().await?;
        } else {
            attempt.rollback().await?;
        }
    }
    let pids: Vec<i32> = sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE usename::text = $1")
        .bind(name)
        .persistent(false)
        .fetch_all(&mut *tx)
        .await?;
    let sessions = {
        let mut attempt = tx.begin().await?;
        let ended = end_sessions(&mut attempt, &pids).await;
        if ended.is_some() {
            attempt.commit().await?
        } else {
            attempt.rollback().await?
        }
        ended
    };
    execute(&mut tx, &format!("REASSIGN OWNED BY {role} TO CURRENT_USER")).await?;
    execute(&mut tx, &format!("DROP OWNED BY {role}")).await?;
    execute(&mut tx, &format!("DROP ROLE {role}")).await?;
    tx.commit().await?;
    Ok(Revoked { existed: true, sessions })
}

/// How many sessions were ended; `None` when we may not.
async fn end_sessions(connection: &mut PgConnection, pids: &[i32]) -> Option<u64> {
    if pids.is_empty() {
        return Some(0);
    }
    let ended: Result<i64, _> =
        sqlx::query_scalar("SELECT count(*) FROM unnest($1::int4[]) AS s(pid) WHERE pg_terminate_backend(s.pid)")
            .bind(pids)
            .persistent(false)
            .fetch_one(connection)
            .await;
    ended.ok().and_then(|n| u64::try_from(n).ok())
}

async fn role_exists(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname::text = $1)")
        .bind(name)
        .persistent(false)
        .fetch_one(connection)
        .await
}

async fn exists(connection: &mut PgConnection, name: &str) -> Result<bool> {
    role_exists(connection, name).await.map_err(|e| error(&e, &[]))
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|e| e.code()).map(|c| c.into_owned())
}

/// What sqlx tells, in our words.
fn error(error: &sqlx::Error, secrets: &[&SecretValue]) -> TargetError {
    match error {
        sqlx::Error::Io(e) => io(e),
        sqlx::Error::Tls(_) => {
            TargetError::Unreachable("no TLS connection stands, or its certificate is not believed".to_owned())
        }
        sqlx::Error::Configuration(_) => {
            TargetError::BadSettings("the connection's settings do not fit together".to_owned())
        }
        sqlx::Error::Database(e) => {
            let code = e.code().unwrap_or_default();
            let secrets: Vec<&[u8]> = secrets.iter().map(|s| s.expose()).collect();
            match &*code {
                // The server would repeat the statement around the error.
                "42601" => {
                    TargetError::BadTemplate("the server finds a syntax error in a statement (42601)".to_owned())
                }
                c if c.starts_with("08") || c.starts_with("53") || c.starts_with("57P") => {
                    TargetError::Unreachable(format!("{} ({code})", sanitized(e.message(), &secrets)))
                }
                _ => TargetError::Refused(format!("{} ({code})", sanitized(e.message(), &secrets))),
            }
        }
        _ => TargetError::Unreachable("the connection broke off or its answer is not understood".to_owned()),
    }
}
