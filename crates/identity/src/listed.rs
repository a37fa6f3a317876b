//! What lets somebody in at run time, told for an inventory and without what is presented: roles of AppRole and of
//! JWT and OIDC, secret ids of AppRole, users of userpass, and tokens that are there for long.
//!
//! There may be very many of each, so they are told page by page in the order of their names. Batch tokens are not
//! stored and so in no list; nobody keeps count of the uses of a token.

use crate::{
    Core, Mount, Result, Rights, Token,
    method::{approle, jwt, userpass},
    rights,
    tokens::{TokenParams, holder_of},
};
use credentialflow_model::Timestamp;

/// Tokens that live longer than this are there for long: 32 days, as tokens live at most where nothing else is said.
const LASTING: i64 = 768 * 3600;

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its path, as in `auth/approle/role/web/secret-id/ACCESSOR` or `auth/userpass/users/ada`; of a token its accessor.
    pub name: String,
    /// For people: what it is bound to, where it was made.
    pub description: String,
    /// The application that its tokens are given to.
    pub application: Option<String>,
    /// The policies that its tokens have.
    pub policies: Vec<String>,
    /// When it was made; absent for those of before that was noted.
    pub made: Option<Timestamp>,
    /// Who made it, as the audit log names them.
    pub made_by: Option<String>,
    /// When what is presented was last changed.
    pub since: Option<Timestamp>,
    /// When it ends; absent: never.
    pub expires: Option<Timestamp>,
    /// When somebody last logged in with it: of a secret id to within an hour.
    pub last_used: Option<Timestamp>,
    /// Whether that is known at all.
    pub counted: bool,
    /// Whose grants its tokens use, as uses are kept; empty where others are judged for it.
    pub(crate) holder: String,
    /// The audit event that tells of its policies being written; empty: they stay as they were made.
    pub(crate) set_by: &'static str,
    /// What it may do and does not; absent where nothing is known, and where it does everything that it may.
    pub rights: Option<Rights>,
}

/// A page of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    /// In the order of their names.
    pub items: Vec<Standing>,
    /// After which name to go on; absent: that was all.
    pub next: Option<String>,
}

/// Which sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Roles of AppRole, JWT and OIDC mounts.
    Roles,
    /// Secret ids of AppRole mounts.
    SecretIds,
    /// Users of userpass mounts.
    Users,
    /// Tokens that never end by themselves, that are renewed for ever, or that were given more than 32 days.
    LastingTokens,
}

/// A page of one sort: of what comes after a name, about `most` are looked at. `mounts` are all auth mounts with their
/// kinds, by path.
pub(crate) async fn page(
    core: &Core,
    sort: Sort,
    mounts: &[(String, Mount)],
    after: &str,
    most: u32,
) -> Result<Standings> {
    let mut page = match sort {
        Sort::LastingTokens => lasting(core, after, most).await?,
        _ => of_mounts(core, sort, mounts, after, most).await?,
    };
    rights::judge(core, &mut page.items).await?;
    Ok(page)
}

async fn of_mounts(core: &Core, sort: Sort, mounts: &[(String, Mount)], after: &str, most: u32) -> Result<Standings> {
    let kinds: &[&str] = match sort {
        Sort::Roles => &["approle", "jwt", "oidc"],
        Sort::SecretIds => &["approle"],
        Sort::Users => &["userpass"],
        Sort::LastingTokens => &[],
    };
    let mut page = Standings::default();
    for (kind, mount) in mounts.iter().filter(|(of, _)| kinds.contains(&of.as_str())) {
        let base = format!("auth/{}", mount.path);
        let within = after.strip_prefix(base.as_str());
        if within.is_none() && after > base.as_str() {
            continue;
        }
        let left = most.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
        if left == 0 {
            page.next = page.items.last().map(|last| last.name.clone());
            break;
        }
        let within = within.unwrap_or_default();
        let more = match (sort, kind.as_str()) {
            (Sort::SecretIds, _) => approle::standings(core, mount, within, left).await?,
            (Sort::Roles, "approle") => approle::roles(core, mount, within, left).await?,
            (Sort::Roles, _) => jwt::roles(core, mount, within, left).await?,
            _ => userpass::standings(core, mount, within, left).await?,
        };
        page.items.extend(more.items);
        page.next = more.next;
        if page.next.is_some() {
            break;
        }
    }
    Ok(page)
}

/// Roles below `role/` of a mount after one: what they are for, which event tells that one was set, what their tokens get.
pub(crate) async fn roles<R: serde::de::DeserializeOwned>(
    core: &Core,
    mount: &Mount,
    after: &str,
    most: u32,
    (description, set_by): (&str, &'static str),
    params: fn(&R) -> &TokenParams,
) -> Result<Standings> {
    let page: Vec<(String, R)> = core.shelf(mount).page("role/", after, most).await?;
    let full = u32::try_from(page.len()).is_ok_and(|count| count >= most);
    let next = page.last().filter(|_| full).map(|(place, _)| format!("auth/{}{place}", mount.path));
    let one = |(place, role): &(String, R)| {
        let params = params(role);
        Standing {
            name: format!("auth/{}{place}", mount.path),
            description: description.to_owned(),
            application: Some(params.application.clone()).filter(|name| !name.is_empty()),
            policies: params.given_policies(),
            holder: holder_of(&mount.id, place.strip_prefix("role/").unwrap_or_default()),
            set_by,
            ..Standing::default()
        }
    };
    Ok(Standings { items: page.iter().map(one).collect(), next })
}

async fn lasting(core: &Core, after: &str, most: u32) -> Result<Standings> {
    let rows = core.store.tokens_page(after, most).await?;
    let full = u32::try_from(rows.len()).is_ok_and(|count| count >= most);
    let next = rows.last().filter(|_| full).map(|row| row.accessor.clone());
    let now = core.secs();
    let mut items = Vec::new();
    for row in rows {
        let token = core.token_of(&row)?;
        if !token.is_over(now) && is_lasting(&token) {
            items.push(standing(token));
        }
    }
    Ok(Standings { items, next })
}

fn is_lasting(token: &Token) -> bool {
    token.period > 0 || token.expires.is_none_or(|end| end.saturating_sub(token.issued) > LASTING)
}

fn standing(token: Token) -> Standing {
    let renewed = if token.period > 0 { format!("; renewed by {} s for ever", token.period) } else { String::new() };
    let made = Timestamp::from_secs(token.issued);
    // What a role or user made is judged there.
    let holder = if token.mount.is_some() { String::new() } else { token.holder() };
    Standing {
        description: format!("{}, made at {}{renewed}", token.display_name, token.path),
        application: Some(token.application).filter(|name| !name.is_empty()),
        policies: token.policies,
        made: Some(made),
        made_by: None,
        since: Some(made),
        expires: token.expires.map(Timestamp::from_secs),
        last_used: None,
        counted: false,
        name: token.accessor,
        holder,
        set_by: "",
        rights: None,
    }
}
