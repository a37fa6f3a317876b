//! Secrets and files handed to a command: from a file, standard input, a prompt, or a typed reference.
//!
//! Never from a flag: other users of the machine can read a process's arguments.

use crate::command::Usage;
use anyhow::{Context, bail};
use credentialflow_model::{SecretReference, SecretValue};
use credentialflow_vault::engine::{EngineError, ProcessLookup, resolve};
use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcsetattr};
use std::{
    io::{BufRead, IsTerminal, Read, Write},
    path::Path,
};

/// The longest secret taken, in bytes.
const MAX_SECRET: u64 = 64 * 1024;

/// The first line of a file.
pub fn first_line(path: &Path) -> anyhow::Result<SecretValue> {
    let file = std::fs::File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let line = read_line(&mut std::io::BufReader::new(file.take(MAX_SECRET)))
        .with_context(|| format!("{} cannot be read", path.display()))?;
    if line.is_empty() {
        bail!("the first line of {} is empty", path.display());
    }
    Ok(line)
}

/// A whole file's bytes, at most as long as a secret may be.
pub fn bytes(path: &Path) -> anyhow::Result<SecretValue> {
    let file = std::fs::File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut buffer = Vec::with_capacity(4096);
    file.take(MAX_SECRET).read_to_end(&mut buffer).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(SecretValue::new(buffer))
}

/// One line from standard input; from a terminal with a prompt and without echo. With `repeat`, a
/// terminal is asked twice.
pub fn line_or_prompt(what: &str, repeat: bool) -> anyhow::Result<SecretValue> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let line = read_line(&mut stdin.lock().take(MAX_SECRET)).context("standard input cannot be read")?;
        if line.is_empty() {
            return Err(Usage(format!("standard input holds no {what}")).into());
        }
        return Ok(line);
    }
    let first = prompt(&format!("{what}: "))?;
    if first.is_empty() {
        bail!("an empty {what} is not taken");
    }
    if repeat && prompt(&format!("{what} again: "))?.expose() != first.expose() {
        bail!("the two differ; nothing was changed");
    }
    Ok(first)
}

/// A credential's value: whole standard input without its last newline, or a prompt on a terminal.
pub fn value_from_stdin() -> anyhow::Result<SecretValue> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return line_or_prompt("value", false);
    }
    let mut buffer = Vec::with_capacity(4096);
    stdin.lock().take(MAX_SECRET + 1).read_to_end(&mut buffer).context("standard input cannot be read")?;
    if buffer.len() as u64 > MAX_SECRET {
        bail!("the value is longer than 64 KiB");
    }
    let end = buffer.strip_suffix(b"\r\n").or_else(|| buffer.strip_suffix(b"\n")).map_or(buffer.len(), <[u8]>::len);
    let whole = SecretValue::new(buffer);
    let value = SecretValue::new(whole.expose()[..end].to_vec());
    if value.is_empty() {
        return Err(Usage("standard input holds no value".to_owned()).into());
    }
    Ok(value)
}

/// What a typed reference points to, read in this process. `${credential:}` is the server's to resolve.
pub fn value_from(reference: &SecretReference) -> Result<SecretValue, String> {
    match reference {
        SecretReference::Credential(_) => return Err("only the server can look up another credential".to_owned()),
        SecretReference::Store(_) => return Err("only the server can read from a store".to_owned()),
        SecretReference::Env(_) | SecretReference::File(_) => {}
    }
    resolve(reference, &ProcessLookup::default()).map_err(|error| match error {
        EngineError::Unresolved(_, why) => why,
        other => other.to_string(),
    })
}

/// Writes a secret into a new file that only its owner can read.
pub fn write_private(path: &Path, secret: &SecretValue) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(|| format!("{} cannot be created", path.display()))?;
    file.write_all(secret.expose())?;
    file.write_all(b"\n")?;
    Ok(file.sync_all()?)
}

fn read_line(from: &mut impl BufRead) -> std::io::Result<SecretValue> {
    // Room for the whole line at once, so that no shorter copy is left behind unwiped.
    let mut line = Vec::with_capacity(4096);
    from.read_until(b'\n', &mut line)?;
    let end = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).map_or(line.len(), <[u8]>::len);
    let whole = SecretValue::new(line);
    Ok(SecretValue::new(whole.expose()[..end].to_vec()))
}

/// Asks on the terminal without echo. The echo comes back however reading ends.
fn prompt(text: &str) -> anyhow::Result<SecretValue> {
    let stdin = std::io::stdin();
    let mut stderr = std::io::stderr();
    write!(stderr, "{text}")?;
    stderr.flush()?;
    let _quiet = if isatty(&stdin) { Some(Quiet::begin()?) } else { None };
    let line = read_line(&mut stdin.lock().take(MAX_SECRET))?;
    writeln!(stderr)?;
    Ok(line)
}

/// While it lives, the terminal shows nothing that is typed.
struct Quiet(rustix::termios::Termios);

impl Quiet {
    fn begin() -> anyhow::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_loses_its_end_and_nothing_else() {
        let line = |text: &str| read_line(&mut text.as_bytes()).unwrap().expose().to_vec();
        assert_eq!(line("a b \r\nsecond"), b"a b ");
        assert_eq!(line("a"), b"a");
        assert_eq!(line("\n"), b"");
    }

    #[test]
    fn private_files_are_private_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        write_private(&path, &SecretValue::from("x")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_private(&path, &SecretValue::from("y")).is_err());
        assert_eq!(first_line(&path).unwrap().expose(), b"x");
    }

    #[test]
    fn another_credential_is_not_looked_up_here() {
        assert!(value_from(&"${credential:a}".parse().unwrap()).is_err());
    }
}
