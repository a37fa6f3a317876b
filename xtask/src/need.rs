//! What must be installed, and how it is: through apt-get as root, otherwise named with the command.

use crate::say;
use anyhow::{Result, bail};
use std::process::{Command, Stdio};

/// Something a command needs from the system.
#[derive(Clone, Copy)]
pub struct Need {
    /// Said when it is missing.
    pub name: &'static str,
    /// The Debian package that brings it; empty when none does well enough.
    pub package: &'static str,
    /// A command that succeeds where it is installed.
    pub check: &'static [&'static str],
}

/// The C and C++ compilers, for SQLite, AWS-LC and libFuzzer.
pub const COMPILER: Need =
    Need { name: "a C and C++ compiler", package: "build-essential", check: &["c++", "--version"] };
/// PostgreSQL's server, for tests that start their own.
pub const POSTGRES: Need = Need {
    name: "PostgreSQL 15",
    package: "postgresql-15",
    check: &["/usr/lib/postgresql/15/bin/postgres", "--version"],
};
/// The systems in which credentials live, for tests that start their own.
pub const TARGETS: &[Need] = &[
    Need { name: "MariaDB", package: "mariadb-server", check: &["mariadbd", "--version"] },
    Need { name: "Redis", package: "redis-server", check: &["redis-server", "--version"] },
    Need {
        name: "RabbitMQ",
        package: "rabbitmq-server",
        check: &["test", "-x", "/usr/lib/rabbitmq/bin/rabbitmq-server"],
    },
];
/// The browser of the end-to-end tests.
pub const CHROMIUM: Need = Need { name: "Chromium", package: "chromium", check: &["chromium", "--version"] };
/// Python's virtual environments, for the official SDKs.
pub const PYTHON_VENV: Need =
    Need { name: "Python's venv", package: "python3-venv", check: &["python3", "-c", "import venv, ensurepip"] };
/// OpenSSL's command line, for certificates that suites make for themselves.
pub const OPENSSL: Need = Need { name: "openssl", package: "openssl", check: &["openssl", "version"] };
/// What the harness compares with.
pub const BENCH: &[Need] = &[
    Need { name: "nginx", package: "nginx", check: &["nginx", "-v"] },
    Need { name: "HAProxy", package: "haproxy", check: &["haproxy", "-v"] },
    Need { name: "wrk", package: "wrk", check: &["sh", "-c", "command -v wrk"] },
];

/// Whether a command runs and succeeds, silently.
pub fn succeeds(command: &[&str]) -> bool {
    let [program, args @ ..] = command else { return false };
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// Node.js 20 or newer with npm. Not installed by us: Debian 12 has an older one.
pub fn node() -> Result<()> {
    let version = Command::new("node").arg("--version").output().ok().filter(|o| o.status.success());
    let version = version.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    let hint = "install Node.js 20 or newer, for example: curl -fsSL https://deb.nodesource.com/setup_20.x | sudo bash - && sudo apt-get install -y nodejs";
    match &version {
        None => bail!("Node.js is missing; {hint}"),
        Some(v) if major(v) < 20 => bail!("Node.js {v} is too old; {hint}"),
        Some(_) if !succeeds(&["npm", "--version"]) => bail!("npm is missing; sudo apt-get install -y npm"),
        Some(_) => Ok(()),
    }
}

fn major(version: &str) -> u32 {
    version.trim_start_matches('v').split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Makes sure that all of these are there: installs the missing ones as root, otherwise names them all.
pub fn all(needs: &[Need]) -> Result<()> {
    let missing = |needs: &[Need]| needs.iter().copied().filter(|n| !succeeds(n.check)).collect::<Vec<_>>();
    let absent = missing(needs);
    if absent.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = absent.iter().map(|n| n.package).collect();
    let names: Vec<&str> = absent.iter().map(|n| n.name).collect();
    let advice = format!("missing: {}; install with: sudo apt-get install -y {}", names.join(", "), packages.join(" "));
    if !is_root() || !succeeds(&["apt-get", "--version"]) {
        bail!(advice);
    }
    say::note(&format!("installing {} ({})", names.join(", "), packages.join(" ")));
    let apt = |args: &[&str]| {
        Command::new("apt-get")
            .args(["-y", "-q", "-o", "Dpkg::Use-Pty=0"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .status()
            .is_ok_and(|s| s.success())
    };
    let mut install = vec!["install", "--no-install-recommends"];
    install.extend(&packages);
    // A list from an earlier run may do; a fresh one is fetched only where it does not.
    let installed = apt(&install) || (apt(&["update"]) && apt(&install));
    if !installed {
        bail!("apt-get failed; {advice}");
    }
    match missing(needs).first() {
        None => Ok(()),
        Some(still) => bail!("{} was installed, but `{}` still fails", still.name, still.check.join(" ")),
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_node_versions() {
        assert_eq!(major("v20.20.2"), 20);
        assert_eq!(major("v9.1"), 9);
        assert_eq!(major("nonsense"), 0);
    }

    #[test]
    fn what_is_there_is_not_installed() {
        all(&[Need { name: "sh", package: "no-such-package", check: &["sh", "-c", "true"] }]).unwrap();
        assert!(!succeeds(&["/nonexistent/program"]));
    }
}
