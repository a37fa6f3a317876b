//! `kill -9` of a writing process: what was acknowledged stays, the chain stays whole.

use crate::{Database, block_on, on_both, writes};
use credentialflow_model::resource::Kind;
use credentialflow_store::{Store, audit};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

const URL: &str = "CREDENTIALFLOW_TEST_CRASH_URL";
const ROUND: &str = "CREDENTIALFLOW_TEST_CRASH_ROUND";

on_both!(acknowledged_writes_survive_kill_9);

/// The process that is killed: this test binary, asked for this one test. Without the variable it
/// is not a child and has nothing to do.
#[test]
fn child() {
    let (Ok(url), Ok(round)) = (std::env::var(URL), std::env::var(ROUND)) else { return };
    block_on(async {
        let store = Store::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        for i in 0..100_000 {
            let team = format!("round{round}-{i}");
            writes::put(&store, &team).await;
            // libtest captures println!, not this.
            let mut out = std::io::stdout().lock();
            writeln!(out, "kept {team}").unwrap();
            out.flush().unwrap();
        }
    });
}

/// When a child dies.
enum Death {
    /// So many milliseconds after its start.
    After(u64),
    /// When it has told of so many writes.
    Writing(usize),
}

async fn acknowledged_writes_survive_kill_9(db: Database) {
    use Death::{After, Writing};
    // Not migrated: the first rounds die while migrating.
    let f = db.empty().await;
    let mut kept = Vec::new();
    let deaths = [After(0), After(15), After(40), After(80), After(150), Writing(1), Writing(8), Writing(20)];
    for (round, death) in deaths.into_iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--nocapture"])
            .env(URL, &f.url)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut output, mut line) = (BufReader::new(child.stdout.take().unwrap()), String::new());
        let writes = match death {
            After(pause) => {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                child.kill().unwrap();
                0
            }
            Writing(writes) => kept.len() + writes,
        };
        // A last line without its end was not yet acknowledged.
        while output.read_line(&mut line).is_ok_and(|n| n > 0) && line.ends_with('\n') {
            // libtest writes its own words before the first of ours.
            if let Some((_, team)) = line.trim_end().split_once("kept ") {
                kept.push(team.to_owned());
                if kept.len() == writes {
                    child.kill().unwrap();
                }
            }
            line.clear();
        }
        child.wait().unwrap();
    }
    assert!(kept.len() > 3, "the children wrote next to nothing: {}", kept.len());
    f.store.migrate().await.unwrap();
    // PostgreSQL may still be ending what the last one had asked for.
    let before = f.store.latest_change().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut head = f.store.latest_change().await.unwrap();
    if head != before {
        tokio::time::sleep(Duration::from_secs(10)).await;
        head = f.store.latest_change().await.unwrap();
    }
    let present: std::collections::HashSet<_> =
        f.store.resources(Kind::Teams).await.unwrap().into_iter().map(|r| r.name.to_string()).collect();
    for team in &kept {
        assert!(present.contains(team), "{team} was acknowledged and is gone");
    }
    let report = audit::verify(&f.store, None).await.unwrap();
    // One event a row: none half there.
    assert_eq!(report.events as usize, present.len());
    assert_eq!(head as usize, present.len());
    writes::put(&f.store, "after").await;
}
