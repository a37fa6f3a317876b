//! Tells the owners of credentials what is stored for them: by signed webhook and by e-mail.
//!
//! What is stored is sent until it arrives, again after 10 s, doubled up to 6 h, for three days. It may
//! arrive twice where the process dies in between; its id is then the same. Each is sent for itself: one
//! place that hangs keeps no other waiting.

use credentialflow_model::{
    Actor, Period, Timestamp,
    resource::{Kind, NotifyWebhook, Team},
};
use credentialflow_notify::{Mailer, SendError, Signed, Webhooks};
use credentialflow_store::{Notification, NotificationState, Store};
use credentialflow_vault::Vault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{sync::watch, task::JoinSet};

/// Sent at the same time.
const AT_ONCE: usize = 32;
/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// The first pause after a failed try, and the longest.
const PAUSE: (u64, u64) = (10, 6 * 3600);
/// After this long a notification is given up.
const LIFETIME: Period = Period::from_secs(3 * 24 * 3600);

/// A place where a team is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Channel {
    Webhook(NotifyWebhook),
    Email(String),
}

/// Sends what is stored.
pub(super) struct Notices {
    pub store: Store,
    pub vault: Vault,
    pub webhooks: Webhooks,
    /// Absent where no mail server is configured.
    pub mailer: Option<Mailer>,
    /// The ids that are being sent.
    pub sending: Mutex<HashSet<String>>,
}

impl Notices {
    /// Sends while this node is the one that does, until the process ends.
    pub async fn run(self: Arc<Self>, mut mine: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        while mine.wait_for(|mine| *mine).await.is_ok() {
            while tasks.try_join_next().is_some() {}
            if !self.vault.is_sealed()
                && let Err(error) = self.take_up(&mut tasks).await
            {
                tracing::debug!(%error, "notifications cannot be read; trying again");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn take_up(self: &Arc<Self>, tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
        let now = SystemTime::now().into();
        for waiting in self.store.due_notifications(now, 2 * AT_ONCE as u32).await? {
            if tasks.len() >= AT_ONCE {
                break;
            }
            if waiting.channel.is_none() {
                self.spread(&waiting).await?;
            } else if self.sending().insert(waiting.id.clone()) {
                let this = self.clone();
                tasks.spawn(async move {
                    if let Err(error) = this.send(&waiting, now).await {
                        tracing::warn!(%error, "what became of a notification could not be stored");
                    }
                    this.sending().remove(&waiting.id);
                });
            }
        }
        Ok(())
    }

    /// One notification for each place where its owner is told.
    async fn spread(&self, waiting: &Notification) -> anyhow::Result<()> {
        let stored = self.store.resource(Kind::Teams, &waiting.owner).await?;
        let team = stored.and_then(|row| serde_json::from_str::<Team>(&row.body).ok());
        let rule = team.and_then(|team| team.notify).unwrap_or_default();
        let webhooks = rule.webhooks.into_iter().map(Channel::Webhook);
        let channels: Vec<Channel> = webhooks.chain(rule.emails.into_iter().map(Channel::Email)).collect();
        let mut tx = self.store.begin(&Actor::system("notices")).await?;
        if !tx.end_notification(&waiting.id, NotificationState::Done).await? {
            return Ok(());
        }
        for (number, channel) in channels.iter().enumerate() {
            tx.add_notification(&Notification {
                id: format!("{}_{number}", waiting.id),
                same: None,
                channel: Some(serde_json::to_string(channel)?),
                state: NotificationState::Waiting,
                ..waiting.clone()
            })
            .await?;
        }
        tx.audit("notification.spread", &subject(waiting), json!({ "id": waiting.id, "places": channels.len() }));
        tx.commit().await?;
        Ok(())
    }

    async fn send(&self, waiting: &Notification, now: Timestamp) -> anyhow::Result<()> {
        let outcome = match waiting.channel.as_deref().map(serde_json::from_str::<Channel>) {
            Some(Ok(Channel::Webhook(webhook))) => self.post(waiting, &webhook).await,
            Some(Ok(Channel::Email(address))) => self.mail(waiting, &address).await,
            _ => Err(SendError::Unusable("its channel cannot be read".to_owned())),
        };
        let ended = match &outcome {
            Ok(()) => NotificationState::Done,
            Err(_) if waiting.created.plus(LIFETIME) <= now => NotificationState::GivenUp,
            Err(error) => {
                let pause = PAUSE.0.saturating_mul(1 << waiting.attempts.min(20)).min(PAUSE.1);
                let next = now.plus(Period::from_secs(pause));
                self.store.notification_failed(&waiting.id, next, &error.to_string()).await?;
                return Ok(());
            }
        };
        let mut tx = self.store.begin(&Actor::system("notices")).await?;
        if tx.end_notification(&waiting.id, ended).await? {
            let why = outcome.err().map(|error| error.to_string());
            let action = if why.is_none() { "notification.sent" } else { "notification.given_up" };
            if let Some(why) = &why {
                tracing::warn!(id = waiting.id, owner = waiting.owner, why, "a notification is given up");
            }
            tx.audit(action, &subject(waiting), json!({ "id": waiting.id, "error": why }));
            tx.commit().await?;
        }
        Ok(())
    }

    async fn post(&self, waiting: &Notification, webhook: &NotifyWebhook) -> Result<(), SendError> {
        let secret = self.vault.current_value(&webhook.secret).await;
        let secret = secret.map_err(|error| SendError::NotTaken(format!("the secret that signs: {error}")))?;
        let time = SystemTime::now().into();
        let message = Signed { id: &waiting.id, time, body: &waiting.body, secret: &secret };
        self.webhooks.post(&webhook.url, &message).await.map(drop)
    }

    async fn mail(&self, waiting: &Notification, address: &str) -> Result<(), SendError> {
        let Some(mailer) = &self.mailer else {
            return Err(SendError::NotTaken("no mail server is configured (setting smtp)".to_owned()));
        };
        let (subject, text) = letter(&serde_json::from_str(&waiting.body).unwrap_or_default());
        mailer.send(&waiting.id, address, &subject, &text).await
    }

    fn sending(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subject(waiting: &Notification) -> String {
    format!("teams/{}", waiting.owner)
}

/// Subject and text of an e-mail.
fn letter(body: &Value) -> (String, String) {
    let data = |field: &str| match body.pointer(&format!("/data/{field}")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let credential = data("credential");
    let (what, next) = match (body["type"].as_str().unwrap_or_default(), data("step").as_str()) {
        ("rotation.waiting", "approve") => {
            ("its rotation waits for an approval", format!("credentialflow credential approve {credential}"))
        }
        ("rotation.waiting", _) => {
            ("its rotation waits for the next value", format!("credentialflow credential deliver {credential}"))
        }
        ("rotation.due", _) => ("its rotation is due and has begun", String::new()),
        ("rotation.delayed", _) => ("its rotation takes longer", String::new()),
        ("rotation.rolled_back", _) => ("its rotation was taken back", String::new()),
        ("rotation.finished", _) => ("its rotation is finished", String::new()),
        ("credential.expiring", _) => ("it expires soon", String::new()),
        ("credential.token_failing", _) => ("no access token can be fetched with it", String::new()),
        ("credential.token_ended", _) => ("its access token has ended, and there is no other", String::new()),
        ("credential.token_renewed", _) => ("access tokens are fetched with it again", String::new()),
        ("credential.token_returned", _) => ("its access token was given back", String::new()),
        ("credential.token_not_returned", _) => ("its access token could not be given back", String::new()),
        ("budget.running_out", _) => ("it runs out", String::new()),
        ("budget.used_up", _) => ("it is used up", String::new()),
        ("secret.leaked", _) => ("its secret leaked", format!("credentialflow leak show {}", data("leak"))),
        _ => ("something happened", String::new()),
    };
    let (credential, noun) = match (data("budget"), data("kind").as_str()) {
        (budget, _) if !budget.is_empty() => (budget, "Budget"),
        (_, "key") => (credential, "Key"),
        _ => (credential, "Credential"),
    };
    let mut text = format!("{noun} {credential}: {what}.\n");
    for (name, field) in [
        ("Reason", "reason"),
        ("Problem", "problem"),
        ("Node", "node"),
        ("Found at", "url"),
        ("Expires", "expires"),
        ("Old version", "from_version"),
        ("New version", "to_version"),
        ("Rotation", "rotation"),
        ("Window", "window"),
        ("Percent", "percent"),
        ("Spent (US dollars)", "spent_usd"),
        ("Of", "limit_usd"),
    ] {
        let value = data(field);
        if !value.is_empty() {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    if !next.is_empty() {
        text.push_str(&format!("\nWhat to do: {next}\n"));
    }
    (format!("{credential}: {what}"), text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_kind_of_message_says_what_happened() {
        let guide = include_str!("../../../../docs/guides/rotate-a-credential.md");
        let told = guide.split("| `type` | When |").nth(1).unwrap().split("\n\n").next().unwrap();
        let kinds: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next()).collect();
        let kinds: Vec<&str> =
            kinds.iter().flat_map(|cell| cell.split(", ")).map(|kind| kind.trim_matches('`')).collect();
        assert!(kinds.len() >= 12 && kinds.contains(&"credential.token_not_returned"), "{kinds:?}");
        for kind in kinds.into_iter().chain(["budget.running_out", "budget.used_up"]) {
            let (subject, _) = letter(&json!({ "type": kind, "data": { "credential": "entra" } }));
            assert!(!subject.contains("something happened"), "{kind}");
        }
    }

    #[test]
    fn a_letter_says_what_happened_and_what_to_do() {
        let body = json!({ "type": "rotation.waiting", "data": {
            "credential": "orders-token", "step": "approve", "rotation": "abc", "from_version": 3, "reason": null } });
        let (subject, text) = letter(&body);
        assert_eq!(subject, "orders-token: its rotation waits for an approval");
        assert!(text.contains("Old version: 3\n") && text.contains("credential approve orders-token"), "{text}");
        assert!(!text.contains("Reason"));
        let body = json!({ "type": "secret.leaked", "data": { "kind": "key", "credential": "live", "leak": "1f" } });
        let (subject, text) = letter(&body);
        assert_eq!(subject, "live: its secret leaked");
        let body = json!({ "type": "budget.used_up", "data": { "budget": "teams/payments/month", "percent": 100,
            "spent_usd": "201.5", "limit_usd": "200", "window": "2026-11-01T00:00:00Z" } });
        let (used_up, told) = letter(&body);
        assert_eq!(used_up, "teams/payments/month: it is used up");
        assert!(told.starts_with("Budget teams/payments/month: it is used up.\n") && told.contains("201.5"), "{told}");
        let body = json!({ "type": "credential.token_ended", "data": { "credential": "entra", "version": 2, "node": "n1",
            "problem": "the token endpoint cannot be reached: timed out", "expires": "2026-11-01T00:00:00Z" } });
        let (ended, told) = letter(&body);
        assert_eq!(ended, "entra: its access token has ended, and there is no other");
        assert!(told.contains("\nProblem: the token endpoint cannot be reached: timed out\nNode: n1\n"), "{told}");
        assert!(text.starts_with("Key live") && text.contains("credentialflow leak show 1f"), "{text}");
    }
}
