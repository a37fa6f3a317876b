//! What happens where a program is missing: installed through apt-get as root, otherwise named. Played
//! with a PATH that holds only what each case says, so that nothing is really installed.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

/// A machine with a shell, a cargo that does nothing, and this user.
struct Machine(PathBuf);

/// Installs a compiler that does nothing.
const WORKS: &str =
    "case \"$*\" in *build-essential*) echo '#!/bin/sh' > \"$here/c++\"; /bin/chmod +x \"$here/c++\";; esac";
/// Finds no package, as with no list or no network.
const FAILS: &str = "case \"$*\" in *install*) exit 100;; esac";

impl Machine {
    fn new(name: &str, user: u32) -> Self {
        let here = std::env::temp_dir().join(format!("credentialflow-need-{name}-{}", std::process::id()));
        fs::create_dir(&here).unwrap();
        symlink("/bin/sh", here.join("sh")).unwrap();
        let machine = Self(here);
        machine.program("id", &format!("echo {user}"));
        machine.program("cargo", "exit 0");
        machine
    }

    fn program(&self, name: &str, body: &str) {
        let path = self.0.join(name);
        let here = self.0.display();
        fs::write(&path, format!("#!/bin/sh\nhere={here}\necho \"{name} $*\" >> {here}/log\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs one suite; whether it passed, what was said, and what was called.
    fn run(&self, suite: &str) -> (bool, String, Vec<String>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["test", "--only", suite]).env("PATH", &self.0).env("CARGO_TARGET_DIR", self.0.join("target"));
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        let log = fs::read_to_string(self.0.join("log")).unwrap_or_default();
        (output.status.success(), said, log.lines().map(str::to_owned).collect())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}

fn installs(log: &[String]) -> usize {
    log.iter()
        .filter(|line| line.starts_with("apt-get") && line.contains("install --no-install-recommends build-essential"))
        .count()
}

#[test]
fn root_gets_what_is_missing_and_the_suite_runs() {
    let machine = Machine::new("root", 0);
    machine.program("apt-get", WORKS);
    let (passed, said, log) = machine.run("lint");
    assert!(passed, "{said}");
    assert_eq!(installs(&log), 1, "{log:?}");
    assert!(log.iter().any(|line| line.starts_with("cargo clippy")), "{log:?}");
    // Once there, it is not installed again.
    assert_eq!(installs(&machine.run("lint").2), 1);
}

#[test]
fn a_package_that_is_not_found_is_looked_for_in_a_fresh_list_once() {
    let machine = Machine::new("fails", 0);
    machine.program("apt-get", FAILS);
    let (passed, said, log) = machine.run("lint");
    assert!(
        !passed && said.contains("apt-get failed") && said.contains("sudo apt-get install -y build-essential"),
        "{said}"
    );
    assert_eq!((installs(&log), log.iter().filter(|line| line.ends_with(" update")).count()), (2, 1), "{log:?}");
    assert!(!log.iter().any(|line| line.starts_with("cargo")), "{log:?}");
}

#[test]
fn without_root_or_apt_get_the_package_and_its_command_are_named() {
    let user = Machine::new("user", 1000);
    user.program("apt-get", WORKS);
    for machine in [user, Machine::new("bare", 0)] {
        let (passed, said, log) = machine.run("lint");
        assert!(!passed, "{said}");
        let named = "missing: a C and C++ compiler; install with: sudo apt-get install -y build-essential";
        assert!(said.contains(named), "{said}");
        assert_eq!(installs(&log), 0, "{log:?}");
        let (passed, said, _) = machine.run("console");
        assert!(!passed && said.contains("Node.js is missing; install Node.js 20 or newer"), "{said}");
    }
}
