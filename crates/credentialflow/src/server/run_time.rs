//! What the run-time API keeps and handed out, in the words of the admin API's inventory.

use credentialflow_admin::ports::{
    CredentialKind, LeasedLogin, NotTold, Rights, RunTimeCredential, RunTimeCredentials,
};
use credentialflow_model::Period;
use credentialflow_store::LeaseRow;
use credentialflow_vaultapi::{KeptLogin, KeptSecrets, NotTold as Why, Sort, Standing, VaultApi};

pub(super) async fn credentials(
    api: &VaultApi,
    kind: CredentialKind,
    after: &str,
    most: u32,
) -> Result<RunTimeCredentials, NotTold> {
    let sort = match kind {
        CredentialKind::Login => {
            let page = api.kept_logins(after, most).await.map_err(refusal)?;
            return Ok(RunTimeCredentials { items: page.items.into_iter().map(login).collect(), next: page.next });
        }
        CredentialKind::Secrets => {
            let all = api.kept_secrets().await.map_err(refusal)?;
            return Ok(whole(all.into_iter().map(secrets).collect()));
        }
        CredentialKind::Role => Sort::Roles,
        CredentialKind::SecretId => Sort::SecretIds,
        CredentialKind::User => Sort::Users,
        CredentialKind::Token => Sort::LastingTokens,
        _ => return Ok(RunTimeCredentials::default()),
    };
    let page = api.standings(sort, after, most).await.map_err(refusal)?;
    Ok(RunTimeCredentials { items: page.items.into_iter().map(standing).collect(), next: page.next })
}

pub(super) async fn describe(api: &VaultApi, lease: &LeaseRow) -> Result<LeasedLogin, NotTold> {
    let of = api.describe_lease(lease).await.map_err(refusal)?;
    Ok(LeasedLogin {
        role: of.role,
        login: of.login,
        certificate: of.certificate,
        system: of.system,
        renewed: of.renewed,
        last_moment: of.last_moment,
        problem: of.problem,
    })
}

fn whole(mut items: Vec<RunTimeCredential>) -> RunTimeCredentials {
    items.sort_by(|a, b| a.name.cmp(&b.name));
    RunTimeCredentials { items, next: None }
}

fn refusal(why: Why) -> NotTold {
    match why {
        Why::Sealed => NotTold::Sealed,
        Why::Failed(text) => NotTold::Failed(text),
    }
}

fn login(of: KeptLogin) -> RunTimeCredential {
    let who = match (of.administrator, of.username.as_str()) {
        (true, "") => "the administrator".to_owned(),
        (true, name) => format!("the administrator {name}"),
        (false, name) => name.to_owned(),
    };
    let problem = of.problem.map(|why| format!("; {why}")).unwrap_or_default();
    RunTimeCredential {
        name: of.name,
        description: format!("{who} of {}{problem}", of.system),
        made: of.since,
        since: of.since,
        every: of.every.and_then(|seconds| u64::try_from(seconds).ok()).map(Period::from_secs),
        due: of.due,
        last_used: of.fetched,
        // An administrator's password is used by us alone, and nobody counts that.
        counted: !of.administrator,
        pending: !of.administrator && of.since.is_none(),
        ..RunTimeCredential::default()
    }
}

fn secrets(of: KeptSecrets) -> RunTimeCredential {
    RunTimeCredential {
        name: of.mount,
        made: of.oldest,
        since: of.oldest,
        count: Some(of.count),
        ..RunTimeCredential::default()
    }
}

fn standing(of: Standing) -> RunTimeCredential {
    RunTimeCredential {
        name: of.name,
        description: of.description,
        application: of.application,
        policies: of.policies,
        made: of.made,
        made_by: of.made_by,
        since: of.since,
        expires: of.expires,
        last_used: of.last_used,
        counted: of.counted,
        rights: of.rights.map(|of| Rights { rules: of.rules, unused: of.unused, policy: of.policy, since: of.since }),
        ..RunTimeCredential::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use credentialflow_model::Timestamp;

    fn kept(administrator: bool, username: &str, since: Option<i64>) -> RunTimeCredential {
        login(KeptLogin {
            name: "database/config/orders".into(),
            username: username.into(),
            system: "postgresql at db:5432/orders".into(),
            administrator,
            since: since.map(Timestamp::from_secs),
            every: (!administrator).then_some(60),
            due: None,
            fetched: None,
            problem: None,
        })
    }

    #[test]
    fn a_login_is_told_by_its_name_and_system() {
        let told = kept(true, "admin", None);
        assert_eq!(told.description, "the administrator admin of postgresql at db:5432/orders");
        assert!(!told.pending && !told.counted, "{told:?}");
        assert_eq!(kept(true, "", None).description, "the administrator of postgresql at db:5432/orders");
        let told = kept(false, "app", None);
        assert!(told.pending && told.counted && told.every == Some(Period::from_secs(60)), "{told:?}");
        assert!(!kept(false, "app", Some(1)).pending);
    }
}
