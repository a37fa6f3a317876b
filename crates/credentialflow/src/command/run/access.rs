//! What lets us in, from the variables that Vault's own clients know and those of a CI job.

use super::super::Usage;
use anyhow::{Context, bail};
use credentialflow_model::SecretValue;
use credentialflow_stores::vault::Access;
use std::{fs::File, io::Read, path::Path};

/// Variables that let us in. The program has no use for them.
pub(super) const VARIABLES: [&str; 8] = [
    "VAULT_TOKEN",
    "BAO_TOKEN",
    "VAULT_ROLE_ID",
    "VAULT_SECRET_ID",
    "VAULT_JWT",
    "VAULT_JWT_FILE",
    "CREDENTIALFLOW_TOKEN",
    "CREDENTIALFLOW_TOKEN_FILE",
];

/// The largest token in a file, in bytes.
const LARGEST: u64 = 64 * 1024;

/// The access that is given: a token, an AppRole, or another issuer's token, in this order. `get` reads a variable and
/// answers none for an empty one.
pub(super) fn access(get: impl Fn(&str) -> Option<String>) -> anyhow::Result<Access> {
    if let Some(token) = get("VAULT_TOKEN").or_else(|| get("BAO_TOKEN")) {
        return Ok(Access::Token(SecretValue::from(token)));
    }
    if let (Some(role_id), Some(secret_id)) = (get("VAULT_ROLE_ID"), get("VAULT_SECRET_ID")) {
        let mount = get("VAULT_APPROLE_MOUNT").unwrap_or_else(|| "approle".to_owned());
        return Ok(Access::AppRole { mount, role_id, secret_id: SecretValue::from(secret_id) });
    }
    let jwt = match (get("VAULT_JWT"), get("VAULT_JWT_FILE")) {
        (Some(jwt), _) => SecretValue::from(jwt),
        (None, Some(path)) => in_file(Path::new(&path))?,
        (None, None) => {
            let words = "nothing lets us in: set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_JWT or \
                         VAULT_JWT_FILE with VAULT_ROLE";
            return Err(Usage(words.to_owned()).into());
        }
    };
    let mount = get("VAULT_JWT_MOUNT").unwrap_or_else(|| "jwt".to_owned());
    Ok(Access::Jwt { mount, role: get("VAULT_ROLE"), jwt })
}

/// What we are let in by, for an error.
pub(super) const fn word(access: &Access) -> &'static str {
    match access {
        Access::Token(_) => "with the token",
        Access::AppRole { .. } => "by AppRole",
        Access::Jwt { .. } => "with the token of another issuer",
    }
}

fn in_file(path: &Path) -> anyhow::Result<SecretValue> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    let length = read.with_context(|| format!("VAULT_JWT_FILE: {} cannot be read", path.display()))?;
    let whole = SecretValue::new(bytes);
    match whole.expose_str().map(str::trim) {
        Some(token) if length as u64 <= LARGEST && !token.is_empty() => Ok(SecretValue::from(token)),
        _ => bail!("VAULT_JWT_FILE: {} holds no token", path.display()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(variables: &[(&str, &str)]) -> anyhow::Result<String> {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        access(get).map(|access| match access {
            Access::Token(token) => format!("token {}", token.expose_str().unwrap()),
            Access::AppRole { mount, role_id, secret_id } => {
                format!("{mount} {role_id} {}", secret_id.expose_str().unwrap())
            }
            Access::Jwt { mount, role, jwt } => format!("{mount} {role:?} {}", jwt.expose_str().unwrap()),
        })
    }

    #[test]
    fn the_first_that_is_whole_counts() {
        let all = [("VAULT_TOKEN", "t"), ("VAULT_ROLE_ID", "r"), ("VAULT_SECRET_ID", "s"), ("VAULT_JWT", "j")];
        assert_eq!(of(&all).unwrap(), "token t");
        assert_eq!(of(&all[1..]).unwrap(), "approle r s");
        assert_eq!(of(&all[2..]).unwrap(), "jwt None j");
        let ci = [("VAULT_JWT", "j"), ("VAULT_ROLE", "deploy"), ("VAULT_JWT_MOUNT", "gitlab")];
        assert_eq!(of(&ci).unwrap(), "gitlab Some(\"deploy\") j");
        for half in [&all[1..2], &all[2..3], &[("VAULT_ROLE", "deploy")], &[]] {
            assert!(of(half).unwrap_err().is::<Usage>());
        }
    }

    #[test]
    fn a_token_is_read_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let given = [("VAULT_JWT_FILE", path.to_str().unwrap())];
        let missing = of(&given).unwrap_err();
        assert!(format!("{missing:#}").contains("cannot be read"), "{missing:#}");
        for bad in [String::new(), " \n".to_owned(), "x".repeat(70_000)] {
            std::fs::write(&path, bad).unwrap();
            assert!(format!("{:#}", of(&given).unwrap_err()).contains("holds no token"));
        }
        std::fs::write(&path, "a.b.c\n").unwrap();
        assert_eq!(of(&given).unwrap(), "jwt None a.b.c");
    }
}
