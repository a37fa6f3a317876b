//! Kind `files`: files in a directory of the server, for systems that read their secrets from there.
//!
//! The path is a file's; a field is one of a JSON object in it. Files are written whole: a new file (mode
//! 0600) takes the old one's place, so that a reader finds the old value or the new one. Reading cuts one
//! trailing newline, as `${file:}` does.
//!
//! The directory lies below the one that the server was started with (`store_files`), so that whoever
//! declares stores gets at nothing else of the server's. The kernel sees to it that no link leads out
//! (`openat2` with `RESOLVE_BENEATH`, Linux 5.6).

use crate::{BoxFuture, Declared, ExternalError, ExternalStore, Found, Result, Written, error::unusable, json};
use credentialflow_model::{SecretPlace, SecretValue};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self as sys, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use std::{
    fs::File,
    io::{Read, Write},
    path::{Component, Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

/// No secret is larger than this, in bytes.
const LARGEST: u64 = 64 * 1024;

struct Directory {
    root: PathBuf,
    within: PathBuf,
}

/// Opens a declared store. The directory itself is opened for each call: it may be a mount that comes later.
pub(crate) fn open(declared: &Declared) -> Result<Arc<dyn ExternalStore>> {
    let words = "the server keeps no files for stores: start it with --store-files DIR";
    let root = declared.files.clone().ok_or_else(|| unusable(words))?;
    let given = Path::new(declared.address()?);
    let outside = || unusable(format!("the directory does not lie in the server's {}", root.display()));
    let within = if given.is_absolute() { given.strip_prefix(&root).map_err(|_| outside())? } else { given };
    if within.components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(outside());
    }
    let within = within.to_owned();
    Ok(Arc::new(Directory { root, within }))
}

impl Directory {
    /// The directory and the name of a place.
    fn split(&self, path: &str) -> (PathBuf, String) {
        let path = self.within.join(path);
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        (path.parent().map(Path::to_owned).unwrap_or_default(), name)
    }

    fn root(&self) -> Result<OwnedFd> {
        sys::open(&self.root, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(trouble)
    }

    fn get(&self, path: &str) -> Result<SecretValue> {
        let root = self.root()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let found = sys::openat2(&root, self.within.join(path), flags, Mode::empty(), ResolveFlags::BENEATH);
        let file = File::from(found.map_err(trouble)?);
        let about = file.metadata().map_err(|e| unusable(e.kind().to_string()))?;
        if !about.is_file() {
            return Err(unusable("it is not a regular file"));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST as usize + 1));
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|e| unusable(e.kind().to_string()))?;
        if bytes.len() as u64 > LARGEST {
            return Err(unusable("the file is larger than 64 KiB"));
        }
        Ok(SecretValue::new(std::mem::take(&mut *bytes)))
    }

    /// Opens a directory below the root, and makes what is missing of it.
    fn directory(&self, path: &Path) -> Result<OwnedFd> {
        let mut here = self.root()?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        for part in path.components() {
            let Component::Normal(part) = part else { continue };
            match sys::mkdirat(&here, part, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(other) => return Err(trouble(other)),
            }
            here = sys::openat2(&here, part, flags, Mode::empty(), ResolveFlags::BENEATH).map_err(trouble)?;
        }
        Ok(here)
    }

    fn put(&self, path: &str, value: &SecretValue) -> Result<()> {
        let (directory, name) = self.split(path);
        let directory = self.directory(&directory)?;
        let mut bits = [0u8; 8];
        aws_lc_rs::rand::fill(&mut bits).map_err(|_| unusable("the system gave no random bytes"))?;
        let beside = format!(".{:016x}.new", u64::from_be_bytes(bits));
        let done = replace(&directory, &beside, &name, value);
        if done.is_err() {
            let _ = sys::unlinkat(&directory, &beside, sys::AtFlags::empty());
        }
        done
    }
}

fn replace(directory: &OwnedFd, beside: &str, name: &str, value: &SecretValue) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = sys::openat(directory.as_fd(), beside, flags, Mode::from_raw_mode(0o600)).map_err(trouble)?;
    let mut file = File::from(file);
    let io = |e: std::io::Error| ExternalError::Unreachable(e.kind().to_string());
    file.write_all(value.expose()).map_err(io)?;
    file.sync_all().map_err(io)?;
    sys::renameat(directory, beside, directory, name).map_err(trouble)?;
    sys::fsync(directory).map_err(trouble)
}

fn trouble(error: Errno) -> ExternalError {
    match error {
        Errno::NOENT | Errno::NOTDIR => ExternalError::NotFound,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            ExternalError::Refused(std::io::Error::from(error).kind().to_string())
        }
        Errno::XDEV | Errno::LOOP => unusable("a link leads out of the store's directory"),
        Errno::ISDIR => unusable("it is a directory"),
        other => ExternalError::Unreachable(std::io::Error::from(other).kind().to_string()),
    }
}

fn without_last_newline(value: SecretValue) -> SecretValue {
    let bytes = value.expose();
    let cut = bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n"));
    cut.map(|rest| SecretValue::new(rest.to_vec())).unwrap_or(value)
}

impl ExternalStore for Directory {
    fn read<'a>(&'a self, place: &'a SecretPlace) -> BoxFuture<'a, Result<Found>> {
        let (this, place) = (Self { root: self.root.clone(), within: self.within.clone() }, place.clone());
        beside(move || {
            let value = without_last_newline(this.get(&place.path)?);
            Ok(Found { value: json::pick(value, place.field.as_deref())?, version: None })
        })
    }

    fn write<'a>(&'a self, place: &'a SecretPlace, value: &'a SecretValue) -> BoxFuture<'a, Result<Written>> {
        let (this, place) = (Self { root: self.root.clone(), within: self.within.clone() }, place.clone());
        let value = value.duplicate();
        beside(move || {
            let there = match this.get(&place.path) {
                Ok(there) => Some(there),
                Err(ExternalError::NotFound) => None,
                Err(other) => return Err(other),
            };
            let Some(whole) = json::put(there, place.field.as_deref(), &value)? else {
                return Ok(Written { version: None, changed: false });
            };
            this.put(&place.path, &whole)?;
            Ok(Written { version: None, changed: true })
        })
    }
}

/// Files are waited for beside the runtime.
fn beside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> BoxFuture<'static, Result<T>> {
    Box::pin(async move {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_| Err(ExternalError::Unreachable("it was not finished".to_owned())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use credentialflow_model::resource::SecretStore;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn store(root: &Path, address: &str) -> Result<Arc<dyn ExternalStore>> {
        let spec: SecretStore =
            serde_json::from_value(serde_json::json!({ "name": "f", "kind": "files", "address": address })).unwrap();
        open(&Declared { spec, access: None, authorities: None, files: Some(root.to_owned()) })
    }

    fn place(text: &str) -> SecretPlace {
        format!("f/{text}").parse().unwrap()
    }

    #[tokio::test]
    async fn files_are_replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let files = store(dir.path(), dir.path().join("apps").to_str().unwrap()).unwrap();
        let (at, value) = (place("orders/token"), SecretValue::from("one"));
        assert_eq!(files.read(&at).await.map(|_| ()), Err(ExternalError::NotFound));
        assert!(files.write(&at, &value).await.unwrap().changed);
        assert!(!files.write(&at, &value).await.unwrap().changed);
        assert_eq!(files.read(&at).await.unwrap().value.expose(), b"one");
        let path = dir.path().join("apps/orders/token");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
        let fields = place("orders/all#password");
        files.write(&fields, &SecretValue::from("p")).await.unwrap();
        assert_eq!(std::fs::read(dir.path().join("apps/orders/all")).unwrap(), br#"{"password":"p"}"#);
        std::fs::write(dir.path().join("apps/line"), "of a person\n").unwrap();
        assert_eq!(files.read(&place("line")).await.unwrap().value.expose(), b"of a person");
    }

    #[tokio::test]
    async fn nothing_outside_the_servers_directory_is_read_or_written() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
        std::fs::create_dir_all(inside.join("apps")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("key"), "not yours").unwrap();
        for bad in ["/etc", "../outside", outside.to_str().unwrap(), "apps/../../outside"] {
            assert!(store(&inside, bad).is_err(), "{bad}");
        }
        symlink(&outside, inside.join("apps/link")).unwrap();
        symlink(outside.join("key"), inside.join("apps/file")).unwrap();
        let files = store(&inside, "apps").unwrap();
        for path in ["link/key", "file"] {
            let refused = files.read(&place(path)).await.map(|_| ()).unwrap_err();
            assert!(matches!(refused, ExternalError::Unusable(_)), "{path}: {refused}");
        }
        assert!(files.write(&place("link/key"), &SecretValue::from("mine")).await.is_err());
        assert_eq!(std::fs::read(outside.join("key")).unwrap(), b"not yours");
        assert!(files.read(&place("link")).await.is_err());
        assert!(
            open(&Declared {
                spec: serde_json::from_value(serde_json::json!({ "name": "f", "kind": "files", "address": "/" }))
                    .unwrap(),
                access: None,
                authorities: None,
                files: None
            })
            .is_err()
        );
    }
}
