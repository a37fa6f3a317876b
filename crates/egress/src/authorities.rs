//! Files of authorities (PEM) that declarations name: what may be read of them, and how much.
//!
//! A declaration may name any path. Only regular files up to 4 MiB are read: a device may have no end, and a pipe may
//! never answer. Whether the text is a list of certificates is for whoever believes them.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Largest file of authorities that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// Why a file of authorities cannot be used. Tells neither its path nor what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableAuthorities {
    /// The system gives nothing of it.
    #[error("cannot be read: {0}")]
    Unreadable(ErrorKind),
    /// A directory, a device, a pipe or a socket.
    #[error("is no regular file")]
    NotRegular,
    /// Larger than 4 MiB.
    #[error("is larger than 4 MiB")]
    TooLarge,
    /// Not UTF-8, and so no PEM.
    #[error("is no text")]
    NotText,
}

/// Reads a file of authorities. Waits for the disk: see [`load_authorities`] for tasks.
pub fn read_authorities(path: &Path) -> Result<String, UnusableAuthorities> {
    let unreadable = |error: std::io::Error| UnusableAuthorities::Unreadable(error.kind());
    // A pipe opened so does not wait for a writer; on regular files the flag does nothing.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(UnusableAuthorities::NotRegular);
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(UnusableAuthorities::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| UnusableAuthorities::NotText)
}

/// The same away from the tasks of the runtime.
pub async fn load_authorities(path: PathBuf) -> Result<String, UnusableAuthorities> {
    let read = tokio::task::spawn_blocking(move || read_authorities(&path)).await;
    read.unwrap_or(Err(UnusableAuthorities::Unreadable(ErrorKind::Other)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn only_regular_files_of_a_bounded_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("ca.pem"), "certificates").unwrap();
        assert_eq!(load_authorities(at("ca.pem")).await.unwrap(), "certificates");
        std::os::unix::fs::symlink(at("ca.pem"), at("link.pem")).unwrap();
        assert_eq!(read_authorities(&at("link.pem")).unwrap(), "certificates");
        std::fs::write(at("most"), vec![b'a'; 4 << 20]).unwrap();
        assert_eq!(read_authorities(&at("most")).unwrap().len(), 4 << 20);
        std::fs::write(at("more"), vec![b'a'; (4 << 20) + 1]).unwrap();
        std::fs::write(at("binary"), [0xff]).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        for (path, expected) in [
            (at("more"), UnusableAuthorities::TooLarge),
            (at("binary"), UnusableAuthorities::NotText),
            (at("pipe"), UnusableAuthorities::NotRegular),
            (dir.path().to_owned(), UnusableAuthorities::NotRegular),
            ("/dev/zero".into(), UnusableAuthorities::NotRegular),
            (at("missing"), UnusableAuthorities::Unreadable(ErrorKind::NotFound)),
        ] {
            let read = tokio::time::timeout(std::time::Duration::from_secs(5), load_authorities(path.clone())).await;
            assert_eq!(read.unwrap(), Err(expected), "{}", path.display());
        }
    }
}
