//! Unsealing by a key file: 32 random bytes that only their owner can read.
//!
//! `init` creates the file with mode 0600, or uses an existing one that passes the same checks.
//! A file that the group or others may read or write is refused. Posture: as strong as the file's
//! protection; keep it on another disk or in the service manager's credential store.

use super::{Kek, random_key};
use crate::{Result, VaultError};
use credentialflow_model::SecretValue;
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    path::Path,
};
use zeroize::Zeroizing;

/// Makes the file, or sees that an existing one passes the same checks.
pub fn create_or_read(path: &Path) -> Result<()> {
    create(path).map(drop)
}

pub(super) fn create(path: &Path) -> Result<Kek> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => {
            let key = random_key()?;
            file.write_all(&*key).and_then(|()| file.sync_all()).map_err(|e| refused(path, &e.to_string()))?;
            Ok(Kek(key))
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => read(path),
        Err(e) => Err(refused(path, &e.to_string())),
    }
}

pub(super) fn read(path: &Path) -> Result<Kek> {
    let mut file = File::open(path).map_err(|e| refused(path, &e.to_string()))?;
    check(path, &file)?;
    let mut key = Zeroizing::new([0u8; 32]);
    file.read_exact(&mut *key).map_err(|_| refused(path, "it must hold exactly 32 bytes"))?;
    Ok(Kek(key))
}

/// The content of a key file that was read elsewhere.
pub(super) fn from_bytes(key: &SecretValue) -> Result<Kek> {
    let key: [u8; 32] = key.expose().try_into().map_err(|_| VaultError::Unseal)?;
    Ok(Kek(Zeroizing::new(key)))
}

/// Asks the opened file, not the path, so that it cannot be swapped in between.
fn check(path: &Path, file: &File) -> Result<()> {
    let metadata = file.metadata().map_err(|e| refused(path, &e.to_string()))?;
    if !metadata.is_file() || metadata.len() != 32 {
        return Err(refused(path, "it must hold exactly 32 bytes"));
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        return Err(refused(path, "others than its owner may use it; run `chmod 600` on it"));
    }
    Ok(())
}

fn refused(path: &Path, why: &str) -> VaultError {
    VaultError::KeyFile(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn is_created_for_its_owner_only_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("unseal.key");
        let made = create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*read(&path).unwrap().0, *made.0);
        assert_eq!(*create(&path).unwrap().0, *made.0, "an existing file is used, not replaced");
        assert_ne!(*made.0, [0; 32]);
    }

    #[test]
    fn its_content_opens_what_the_file_opens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("unseal.key");
        let made = create(&path).unwrap();
        let sent = SecretValue::new(fs::read(&path).unwrap());
        assert_eq!(*from_bytes(&sent).unwrap().0, *made.0);
        assert!(matches!(from_bytes(&SecretValue::from("short")), Err(VaultError::Unseal)));
    }

    #[test]
    fn files_others_may_use_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("unseal.key");
        create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&path), Err(VaultError::KeyFile(_))), "{mode:o}");
        }
    }

    #[test]
    fn missing_short_and_long_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("unseal.key");
        assert!(matches!(read(&path), Err(VaultError::KeyFile(_))));
        for len in [0usize, 31, 33] {
            fs::write(&path, vec![1u8; len]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(read(&path), Err(VaultError::KeyFile(_))));
        }
        assert!(matches!(read(dir.path()), Err(VaultError::KeyFile(_))));
    }
}
