//! The nodes as people see them.

use super::{LIFETIME, Nodes, is_live};
use credentialflow_admin::ports::{NodeState, NodeStatus};
use credentialflow_store::NodeRow;
use std::time::Duration;

impl Nodes {
    /// How many other nodes are live, and how many lost.
    pub fn count_others(&self) -> (usize, usize) {
        let known = self.known();
        let others = known.rows.iter().filter(|r| self.is_other(r)).collect::<Vec<_>>();
        let live = others.iter().filter(|r| is_live(r)).count();
        (live, others.len() - live)
    }

    /// Every process on the database as it was last known; this one by what it knows of itself.
    pub fn list(&self) -> Vec<NodeStatus> {
        let place = *self.place.borrow();
        let known = self.known();
        let mine = self.report(place);
        let silent = if self.shared && place.entered { known.heard.elapsed() } else { Duration::ZERO };
        let mine = NodeRow { report: mine, silent };
        let age = known.asked.map_or(Duration::ZERO, |asked| asked.elapsed());
        let others = known.rows.iter().filter(|r| self.is_other(r));
        let others = others.map(|r| NodeRow { silent: r.silent.saturating_add(age), report: r.report.clone() });
        let mut rows: Vec<NodeRow> = others.chain([mine]).collect();
        rows.sort_by(|a, b| (&a.report.name, a.report.started).cmp(&(&b.report.name, b.report.started)));
        let holder = if self.shared { known.holder.clone() } else { Some(self.id.clone()) };
        rows.into_iter().map(|row| self.status(row, holder.as_deref())).collect()
    }

    fn status(&self, NodeRow { report, silent }: NodeRow, holder: Option<&str>) -> NodeStatus {
        let answering = report.id == self.id;
        NodeStatus {
            state: match (silent > LIFETIME, report.leaving) {
                (true, _) => NodeState::Lost,
                (false, true) => NodeState::Leaving,
                (false, false) => NodeState::Live,
            },
            answering,
            runs_jobs: holder == Some(report.id.as_str()),
            started: report.started,
            silent_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX),
            workers: report.workers,
            seq: u64::try_from(report.enforced).unwrap_or(0),
            id: report.id,
            name: report.name,
        }
    }
}
