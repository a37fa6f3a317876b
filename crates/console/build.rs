//! Watches the built console, so that a new build of it is embedded anew. Runs no tool.

use std::{env, fs, path::Path};

fn main() -> std::io::Result<()> {
    let dist = Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../web/dist");
    // A watched path that does not exist would make cargo rebuild every time.
    fs::create_dir_all(&dist)?;
    println!("cargo:rerun-if-changed={}", dist.display());
    println!("cargo:rerun-if-changed=build.rs");
    Ok(())
}
