//! A token that is logged in for, kept until shortly before it ends, and renewed by one caller at a time.

use crate::Result;
use credentialflow_model::SecretValue;
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// The token at hand.
#[derive(Default)]
pub(crate) struct Bearer(Mutex<Option<Held>>);

struct Held {
    token: Arc<SecretValue>,
    until: Instant,
}

impl Bearer {
    /// The token at hand, or the one that logging in gives, with how long it lasts. `login` is not even
    /// begun where it is not needed.
    pub(crate) async fn get(
        &self,
        login: impl Future<Output = Result<(SecretValue, Duration)>>,
    ) -> Result<Arc<SecretValue>> {
        let mut held = self.0.lock().await;
        if let Some(held) = held.as_ref().filter(|held| held.until > Instant::now()) {
            return Ok(held.token.clone());
        }
        let (token, lasts) = login.await?;
        let token = Arc::new(token);
        // Never used in the last tenth of its life, or its last minute.
        let until = Instant::now() + lasts.saturating_sub((lasts / 10).min(Duration::from_secs(60)));
        *held = Some(Held { token: token.clone(), until });
        Ok(token)
    }

    /// Drops a token that is refused, unless another one took its place already.
    pub(crate) async fn forget(&self, refused: &Arc<SecretValue>) {
        let mut held = self.0.lock().await;
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(&held.token, refused)) {
            *held = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_kept_until_it_ends_or_is_refused() {
        let bearer = Bearer::default();
        let login =
            |name: &'static str, lasts| async move { Ok((SecretValue::from(name), Duration::from_secs(lasts))) };
        let first = bearer.get(login("first", 3600)).await.unwrap();
        assert_eq!(bearer.get(login("second", 3600)).await.unwrap().expose(), b"first");
        bearer.forget(&first).await;
        let brief = bearer.get(login("brief", 0)).await.unwrap();
        assert_eq!(brief.expose(), b"brief");
        bearer.forget(&first).await;
        assert_eq!(bearer.get(login("third", 3600)).await.unwrap().expose(), b"third");
    }
}
