//! Makes a token: the one place where a new one is written.

use super::{Token, TokenKind, TokenParams, batch, id, params};
use crate::{
    Auth, Call, Core, IdentityError, Response, Result,
    fields::{Cidr, within},
    lifetime::{self, Bounds, Terms},
};
use credentialflow_model::{Actor, ActorKind, SecretValue, Timestamp};
use credentialflow_store::{Expect, Op, TokenRow, Unit};
use serde_json::json;
use std::{collections::BTreeMap, fmt};

/// What a new token is to be like.
#[derive(Default)]
pub struct NewToken {
    /// The token itself, where its maker chooses it.
    pub id: Option<SecretValue>,
    /// Its maker's accessor; `None`: an orphan.
    pub parent: Option<String>,
    /// Where it is made: `auth/approle/login`.
    pub path: String,
    /// For people and logs.
    pub display_name: String,
    /// What it may do, in order and each once.
    pub policies: Vec<String>,
    /// Facts about it.
    pub meta: BTreeMap<String, String>,
    /// Stored or self-contained.
    pub kind: TokenKind,
    /// How often it may be used; 0: no limit.
    pub num_uses: i64,
    /// Its lifetime in seconds; 0: it does not end.
    pub ttl: i64,
    /// No later than this after its making, seconds; 0: not said.
    pub explicit_max_ttl: i64,
    /// Renewed by this much for ever, seconds; 0: no.
    pub period: i64,
    /// The role's limit of its whole life, seconds; 0: the mount's.
    pub max_ttl: i64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// The token role it is made with.
    pub role: Option<String>,
    /// From where it may be used; empty: from everywhere.
    pub bound_cidrs: Vec<Cidr>,
    /// The auth mount that makes it.
    pub mount: Option<String>,
    /// What the method needs to renew it.
    pub internal: BTreeMap<String, String>,
    /// Whom it speaks for; empty: nobody in particular.
    pub entity: String,
    /// The application it is given to; empty: none.
    pub application: String,
    /// The accessor of the token it comes from; empty: from none.
    pub origin: String,
    /// Whose grants it uses; empty: its own, or those of the role that logs in.
    pub holder: String,
    /// What the mount says about lifetimes, kept for renewals.
    pub bounds: Option<Bounds>,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("path", &self.path).field("policies", &self.policies).finish_non_exhaustive()
    }
}

/// A caller that proved who it is, as a method tells it.
pub(crate) struct Login<'a> {
    /// The role's settings.
    pub(crate) params: &'a TokenParams,
    /// Policies beside those of the role.
    pub(crate) policies: Vec<String>,
    /// Added to the mount's name for people and logs; empty: nothing.
    pub(crate) name: String,
    /// What the method knows the caller by, and knows nobody else by.
    pub(crate) alias: String,
    pub(crate) meta: BTreeMap<String, String>,
    /// What the method needs to renew the token.
    pub(crate) internal: BTreeMap<String, String>,
    /// Networks beside those of the role.
    pub(crate) bound_cidrs: Vec<Cidr>,
}

impl Core {
    /// Puts a new token into a unit, without an event: the caller tells why it is made.
    pub(crate) fn issue(&self, unit: &mut Unit, new: NewToken) -> Result<Auth> {
        let now = self.secs();
        let expires = (new.ttl > 0).then(|| now.saturating_add(new.ttl));
        if expires.is_none() && !new.policies.iter().any(|p| p == "root") {
            return Err(IdentityError::internal("only a root token may live for ever"));
        }
        let accessor = if new.kind == TokenKind::Batch { String::new() } else { id::new_accessor()? };
        let renewable = new.renewable && expires.is_some() && new.kind == TokenKind::Service;
        let mut internal = new.internal;
        if let Some(bounds) = new.bounds {
            internal.insert(DEFAULT_TTL.to_owned(), bounds.default_ttl.to_string());
            internal.insert(MAX_TTL.to_owned(), bounds.max_ttl.to_string());
        }
        let token = Token {
            accessor,
            parent: new.parent,
            path: new.path,
            display_name: new.display_name,
            policies: new.policies,
            meta: new.meta,
            kind: new.kind,
            num_uses: new.num_uses,
            issued: now,
            creation_ttl: new.ttl,
            expires,
            explicit_max_ttl: new.explicit_max_ttl,
            period: new.period,
            max_ttl: new.max_ttl,
            renewable,
            role: new.role,
            bound_cidrs: new.bound_cidrs,
            mount: new.mount,
            internal,
            entity: new.entity,
            application: new.application,
            origin: new.origin,
            holder: new.holder,
            last_renewal: None,
        };
        let client_token = if token.kind == TokenKind::Batch {
            batch::seal(self, &token)?
        } else {
            let id = match new.id {
                Some(id) => id,
                None => id::new_token()?,
            };
            let id_hash = id::hash(self, id.expose())?;
            unit.ops.push(Op::PutToken(self.row(&id_hash, &token)?, Expect::Absent));
            id
        };
        Ok(self.auth(client_token, &token))
    }

    /// The answer that hands a token to its holder.
    pub(crate) fn auth(&self, client_token: SecretValue, token: &Token) -> Auth {
        Auth {
            client_token,
            accessor: token.accessor.clone(),
            policies: token.policies.clone(),
            token_policies: token.policies.clone(),
            metadata: (!token.meta.is_empty()).then(|| token.meta.clone()),
            lease_duration: token.ttl(self.secs()),
            renewable: token.renewable,
            entity_id: token.entity.clone(),
            token_type: token.kind.as_str(),
            orphan: token.parent.is_none(),
            num_uses: token.num_uses.max(0),
        }
    }

    /// A token as the store keeps it.
    pub(crate) fn row(&self, id_hash: &[u8], token: &Token) -> Result<TokenRow> {
        let plain = serde_json::to_vec(token).map_err(|e| IdentityError::Internal(Box::new(e)))?;
        // A spent token is due for removal at once, whatever its time.
        let expires =
            if token.num_uses < 0 { Some(token.expires.unwrap_or(0).min(self.secs())) } else { token.expires };
        Ok(TokenRow {
            id_hash: id_hash.to_vec(),
            accessor: token.accessor.clone(),
            parent: token.parent.clone(),
            path: token.path.clone(),
            entity: (!token.entity.is_empty()).then(|| token.entity.clone()),
            application: (!token.application.is_empty()).then(|| token.application.clone()),
            expires_at: expires.map(Timestamp::from_secs),
            sealed: self.vault.seal_blob(&context(&token.accessor), &plain)?.into_bytes(),
            revision: 0,
        })
    }

    /// The token of a row.
    pub(crate) fn token_of(&self, row: &TokenRow) -> Result<Token> {
        let sealed = credentialflow_vault::Sealed::from_bytes(row.sealed.clone())?;
        let mut token = Token::from_bytes(self.vault.open_blob(&context(&row.accessor), &sealed)?.expose())?;
        // The column is changed alone when the token is made an orphan.
        token.parent = row.parent.clone();
        Ok(token)
    }

    /// Finishes a login: checks where it comes from, gives the token its lifetime, writes it with its
    /// audit event in one transaction with whatever the method put into the unit.
    pub(crate) async fn log_in(&self, call: &Call<'_>, mut unit: Unit, login: Login<'_>) -> Result<Response> {
        let params = login.params;
        let who = login.name_for_log(call);
        let mut networks = params.bound_cidrs.clone();
        networks.extend(login.bound_cidrs);
        if !within(&params.bound_cidrs, call.source) || !within(&networks, call.source) {
            return Err(IdentityError::denied());
        }
        // It may have been deleted since the role named it.
        self.known_application(&params.application).await?;
        if params.strictly_bind_ip {
            let own = call.source.and_then(|ip| Cidr::parse(&ip.to_string()));
            networks = vec![own.ok_or_else(IdentityError::denied)?];
        }
        let mut policies = params.policies.clone();
        policies.extend(login.policies);
        let policies = params::with_default(policies, !params.no_default_policy);
        if policies.iter().any(|p| p == "root") {
            return Err(IdentityError::invalid("auth methods cannot create root tokens"));
        }
        let now = self.secs();
        let bounds = Bounds { default_ttl: call.mount.default_ttl, max_ttl: call.mount.max_ttl };
        let terms = Terms {
            increment: 0,
            ttl: params.ttl,
            period: params.period,
            max_ttl: params.max_ttl,
            explicit_max_ttl: params.explicit_max_ttl,
        };
        let lifetime::Given { ttl, capped } = lifetime::ttl(terms, bounds, now, now)
            .ok_or_else(|| IdentityError::invalid("the lifetime of tokens is 0 here; no token can be made"))?;
        let base = call.mount.path.trim_end_matches('/').replace('/', "-");
        let display_name = if login.name.is_empty() { base } else { format!("{base}-{}", login.name) };
        let auth = self.issue(
            &mut unit,
            NewToken {
                path: call.full_path(),
                display_name,
                policies,
                meta: login.meta,
                kind: params.token_kind(),
                num_uses: params.num_uses,
                ttl,
                explicit_max_ttl: params.explicit_max_ttl,
                period: params.period,
                max_ttl: params.max_ttl,
                renewable: true,
                bound_cidrs: networks,
                mount: Some(call.mount.id.clone()),
                internal: login.internal,
                bounds: Some(bounds),
                entity: entity(&call.mount.id, &login.alias),
                application: params.application.clone(),
                ..NewToken::default()
            },
        )?;
        let mut detail =
            json!({ "accessor": auth.accessor, "policies": auth.policies, "metadata": auth.metadata, "ttl": ttl });
        if !params.application.is_empty() {
            detail["application"] = params.application.as_str().into();
        }
        unit.actor = Actor { kind: ActorKind::Client, name: who, source: call.source.map(|ip| ip.to_string()) };
        unit.audit("auth.login", call.full_path(), detail);
        unit.ops.extend(call.rests_on.cloned());
        self.submit(unit).await?;
        let warnings = capped.map(lifetime::Capped::warning).into_iter().collect();
        Ok(Response::auth(auth).with_warnings(warnings))
    }
}

impl Login<'_> {
    fn name_for_log(&self, call: &Call<'_>) -> String {
        let who = self.meta.get("role_name").or_else(|| self.meta.get("username")).unwrap_or(&self.name);
        format!("{}{who}", call.mount.path)
    }
}

/// The id of whoever a mount knows by a name: always the same, and telling neither.
fn entity(mount: &str, alias: &str) -> String {
    let mut text = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in ["entity", mount, alias] {
        text.update(&(part.len() as u64).to_be_bytes());
        text.update(part.as_bytes());
    }
    let hex: String = text.finish().as_ref()[..16].iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Facts kept with a token for its renewals.
pub(super) const DEFAULT_TTL: &str = "default_ttl";
pub(super) const MAX_TTL: &str = "max_ttl";

/// A token's bytes open under its accessor only.
fn context(accessor: &str) -> String {
    token_place(accessor)
}

/// What binds a token's sealed bytes to their place, for sealing them anew under another encryption key.
pub fn token_place(accessor: &str) -> String {
    format!("identity token {accessor}")
}
