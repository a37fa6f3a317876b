//! Child processes that never outlive their parent.
//!
//! Each runs in a process group of its own. Beside it a small shell waits on a pipe from us: when we
//! end, in whatever way, the pipe closes and the shell ends the group. This needs no signal handler
//! and therefore no unsafe code.

use anyhow::{Context as _, Result};
use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Asks a process group to end, then, after some seconds, ends it.
const END: &str = r#"trap '' INT TERM HUP; read -r _
kill -s TERM -- "-$0" || exit 0
i=0; while [ $i -lt 100 ] && kill -s 0 -- "-$0"; do sleep 0.1; i=$((i+1)); done
kill -s KILL -- "-$0""#;

/// A running process that ends with us.
pub struct Guarded {
    child: Child,
    watcher: Child,
    left: bool,
}

impl Guarded {
    /// Starts a command in a process group of its own.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        let watcher = Command::new("sh")
            .args(["-c", END, &child.id().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start sh")?;
        Ok(Self { child, watcher, left: false })
    }

    /// Its process id, which is its group's too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end, at most this long; `None` when it took longer and was ended.
    pub fn wait(mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(None)
    }

    /// Lets it live on without us.
    pub fn leave(mut self) -> u32 {
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
        self.left = true;
        self.child.id()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // Also when the process has ended: what it may have left in its group ends now.
        drop(self.watcher.stdin.take());
        let _ = self.child.wait();
        let _ = self.watcher.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_with_its_guard_and_a_left_one_does_not() {
        let alive = |id: u32| std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|s| !s.contains(") Z"));
        let guarded = Guarded::start(Command::new("sleep").arg("60")).unwrap();
        let id = guarded.id();
        assert!(alive(id));
        drop(guarded);
        assert!(!alive(id));

        let left = Guarded::start(Command::new("sleep").arg("60")).unwrap().leave();
        assert!(alive(left));
        Command::new("kill").arg(left.to_string()).status().unwrap();
    }

    #[test]
    fn a_process_that_takes_too_long_is_ended() {
        let guarded = Guarded::start(Command::new("sleep").arg("60")).unwrap();
        assert!(guarded.wait(Duration::from_millis(100)).unwrap().is_none());
    }
}
