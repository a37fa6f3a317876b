//! Room for SQLite's write-ahead log, made before the database is opened.
//!
//! A log that grows makes the file system write down the file's new size with every commit, which takes many times as
//! long as the commit itself when others write to the same disk. SQLite writes over a log that is there, and takes one
//! without its header for an empty one (<https://www.sqlite.org/walformat.html>, "WAL Reset" and "Recovery").

use crate::driver::sqlite_path;
use std::{
    ffi::OsStr,
    fs, io,
    io::{Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

/// A log this long is gone through once before it is taken back into the database: a quarter more than
/// `wal_autocheckpoint`, for what is written meanwhile.
const LENGTH: usize = 20 << 20;

/// No start takes so long to write it.
const LEFT: Duration = Duration::from_secs(3600);

/// Makes room for the log of a SQLite database, unless it has one. For a server before it connects; nothing is done for
/// other databases, and where it fails, commits only take longer.
pub fn reserve_log(url: &str) {
    let Some(path) = sqlite_path(url) else { return };
    match reserve(Path::new(path)) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {}
        Err(error) => tracing::debug!(%error, "no room was made for the log of the database"),
    }
}

fn reserve(database: &Path) -> io::Result<()> {
    // The log lies beside the file itself, not beside a link to it.
    let database = fs::canonicalize(database)?;
    let about = fs::metadata(&database)?;
    let (Some(directory), Some(name)) = (database.parent(), database.file_name()) else { return Ok(()) };
    let named = |end: &str| {
        let mut name = name.to_owned();
        name.push(end);
        name
    };
    let (log, fresh) = (directory.join(named("-wal")), named("-wal.new-"));
    if fs::exists(&log)? || !has_log(&database)? {
        return Ok(());
    }
    remove_left(directory, &fresh)?;
    // A name of its own for each: what stands at a name is made room of below, and nobody else may still write to it.
    let mut file = tempfile::Builder::new().prefix(&fresh).tempfile_in(directory)?;
    let own = file.as_file().metadata()?;
    // SQLite gives its log to whom the database belongs.
    if (own.uid(), own.gid()) != (about.uid(), about.gid()) {
        return Ok(());
    }
    file.as_file().set_permissions(about.permissions())?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..LENGTH / zeros.len() {
        file.write_all(&zeros)?;
    }
    file.as_file().sync_data()?;
    // Whole at once, and never in the place of a log: somebody else may have opened the database meanwhile.
    file.persist_noclobber(&log).map_err(|error| error.error)?;
    Ok(())
}

/// Removes what starts that were killed in the middle have left.
fn remove_left(directory: &Path, prefix: &OsStr) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let of_ours = entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes());
        if of_ours && entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > LEFT) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether a database keeps a write-ahead log: both versions in its header are 2
/// (<https://www.sqlite.org/fileformat2.html>, "File format version numbers"). Beside another one a log would be taken
/// for its own.
fn has_log(database: &Path) -> io::Result<bool> {
    let mut head = [0; 20];
    match fs::File::open(database)?.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| head[18..] == [2, 2]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::Store;
    use credentialflow_model::{Actor, ActorKind};
    use serde_json::json;
    use std::time::SystemTime;

    async fn write(store: &Store, action: &str) {
        let actor = Actor { kind: ActorKind::System, name: "test".into(), source: None };
        let mut tx = store.begin(&actor).await.unwrap();
        tx.audit(action, "test", json!({}));
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_log_is_written_into_its_room_and_read_again_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let (file, log) = (dir.path().join("s.db"), dir.path().join("s.db-wal"));
        let url = format!("sqlite:{}", file.display());
        reserve_log(&url);
        assert!(!log.exists(), "there is no database");
        let store = Store::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        store.close().await;
        assert!(!log.exists(), "closed in peace");

        let [left, underway] = ["left", "underway"].map(|name| dir.path().join(format!("s.db-wal.new-{name}")));
        fs::write(&underway, "").unwrap();
        let long_ago = SystemTime::now() - 2 * LEFT;
        fs::File::create(&left).unwrap().set_modified(long_ago).unwrap();
        reserve_log(&url);
        assert!(!left.exists() && underway.exists());
        assert_eq!(fs::metadata(&log).unwrap().len(), LENGTH as u64);
        assert_eq!(fs::metadata(&log).unwrap().permissions(), fs::metadata(&file).unwrap().permissions());
        let store = Store::connect(&url).await.unwrap();
        let before = store.audit_head().await.unwrap().0;
        for n in 0..20 {
            write(&store, &format!("test.{n}")).await;
        }
        assert_eq!(fs::metadata(&log).unwrap().len(), LENGTH as u64, "nothing grew");

        // What a crash leaves: the files as they are.
        let left = tempfile::tempdir().unwrap();
        for name in ["s.db", "s.db-wal"] {
            fs::copy(dir.path().join(name), left.path().join(name)).unwrap();
        }
        store.close().await;
        let url = format!("sqlite:{}", left.path().join("s.db").display());
        reserve_log(&url);
        let store = Store::connect(&url).await.unwrap();
        assert_eq!(store.audit_head().await.unwrap().0, before + 20, "no acknowledged event was lost");
        write(&store, "test.after").await;
        store.close().await;
        assert_eq!(fs::read_dir(left.path()).unwrap().count(), 1, "nothing lies about");

        // Restored by a tool that writes another kind of file.
        let restored = left.path().join("s.db");
        let mut bytes = fs::read(&restored).unwrap();
        bytes[18..20].copy_from_slice(&[1, 1]);
        fs::write(&restored, bytes).unwrap();
        reserve_log(&url);
        assert_eq!(fs::read_dir(left.path()).unwrap().count(), 1, "it has no such log");
    }
}
