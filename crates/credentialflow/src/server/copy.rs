//! The gateway's sealed local copy, so that it starts quickly with a million keys, and starts and
//! serves while the database is away.
//!
//! One file of length-prefixed sealed deltas: a whole state first, then what changed since, each
//! written before it is put into force (and to disk, where the database is on another machine), so
//! that a restart never undoes a revocation. Beside it lies what is needed to unseal: wrapped keys
//! and public facts. What is in the copy but not in a reachable database does not count.

use super::delta::Delta;
use anyhow::Context;
use credentialflow_vault::{Sealed, Vault};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// With the number of the form: a copy of another form does not open, and is made anew.
const CONTEXT: &str = "gateway-copy-2";
/// Above so many deltas the file is to be written anew.
const MOST_DELTAS: u32 = 5000;
/// No single sealed delta is larger; a length beyond it is damage.
const MAX_ENTRY: u64 = 4 << 30;

/// An open copy.
pub(super) struct LocalCopy {
    dir: PathBuf,
    file: Option<File>,
    deltas: u32,
    /// Whether a delta must be on disk before it is in force.
    durable: bool,
}

impl LocalCopy {
    /// In this directory, which is made when needed.
    pub fn open(dir: &Path, durable: bool) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), file: None, deltas: 0, durable })
    }

    /// The vault's settings kept beside the copy.
    pub fn vault_settings(&self) -> Option<Vec<u8>> {
        std::fs::read(self.dir.join("vault")).ok()
    }

    /// Hands the deltas to `take`, one after the other. What follows a damaged entry is left out: it
    /// was never acknowledged whole.
    pub fn read(&mut self, vault: &Vault, mut take: impl FnMut(Delta) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let path = self.dir.join("state");
        let mut file = File::open(&path).with_context(|| format!("there is no local copy at {}", path.display()))?;
        let (mut good, mut deltas) = (0u64, 0);
        while let Some(sealed) = read_entry(&mut file)? {
            let length = 8 + sealed.len() as u64;
            let Ok(opened) = Sealed::from_bytes(sealed).and_then(|s| vault.open_blob(CONTEXT, &s)) else { break };
            take(postcard::from_bytes(opened.expose()).context("the local copy is of another version")?)?;
            deltas += 1;
            good += length;
        }
        anyhow::ensure!(deltas > 0, "the local copy at {} is empty or damaged", path.display());
        let file = OpenOptions::new().append(true).open(&path)?;
        file.set_len(good)?;
        self.file = Some(file);
        self.deltas = deltas;
        Ok(())
    }

    /// Whether it should be written anew.
    pub fn is_long(&self) -> bool {
        self.deltas >= MOST_DELTAS
    }

    /// Writes a delta to disk; a whole one replaces everything before it.
    pub fn write(&mut self, delta: &Delta, vault: &Vault) -> anyhow::Result<()> {
        let bytes = credentialflow_model::SecretValue::new(postcard::to_stdvec(delta)?);
        let sealed = vault.seal_blob(CONTEXT, bytes.expose())?;
        let entry = sealed.as_bytes();
        if delta.whole || delta.settings {
            self.replace("vault", &[&vault.settings_copy()?])?;
        }
        if delta.whole {
            self.replace("state", &[&(entry.len() as u64).to_be_bytes(), entry])?;
            self.file = Some(OpenOptions::new().append(true).open(self.dir.join("state"))?);
            self.deltas = 1;
            return Ok(());
        }
        // After it was given up nothing is written until the next whole state.
        let Some(file) = self.file.as_mut() else { return Ok(()) };
        let mut whole = (entry.len() as u64).to_be_bytes().to_vec();
        whole.extend_from_slice(entry);
        file.write_all(&whole)?;
        if self.durable {
            file.sync_data()?;
        }
        self.deltas += 1;
        Ok(())
    }

    /// Removes the copy: the next start reads the database, unless it was written anew before.
    pub fn give_up(&mut self) {
        self.file = None;
        self.deltas = MOST_DELTAS;
        if let Err(error) = std::fs::remove_file(self.dir.join("state")) {
            tracing::error!(%error, "the local copy cannot be removed either; remove it before the next start");
        }
    }

    fn replace(&self, name: &str, parts: &[&[u8]]) -> anyhow::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.as_file().sync_all()?;
        file.persist(self.dir.join(name))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(())
    }
}

/// One entry; `None` at the end or where the last one was cut short.
fn read_entry(file: &mut File) -> anyhow::Result<Option<Vec<u8>>> {
    let mut length = [0u8; 8];
    if read_fully(file, &mut length)? < length.len() {
        return Ok(None);
    }
    let length = u64::from_be_bytes(length);
    if length > MAX_ENTRY {
        return Ok(None);
    }
    let mut sealed = Vec::new();
    file.take(length).read_to_end(&mut sealed)?;
    Ok((sealed.len() as u64 == length).then_some(sealed))
}

fn read_fully(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match file.read(&mut buffer[n..])? {
            0 => break,
            read => n += read,
        }
    }
    Ok(n)
}
