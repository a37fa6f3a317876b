//! The switch that interrupts a wait: one per request, flipped by the worker's sweep.
//!
//! Timeouts, revocation and draining all arrive this way, so that waiting costs no timer and no
//! extra task: the sweep runs ten times a second, hence timeouts are accurate to a tenth of a second.

use credentialflow_model::KeyId;
use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

/// Length of one tick of the sweep.
pub const TICK: Duration = Duration::from_millis(100);

/// Why a wait ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// The deadline set before the wait is over.
    Deadline,
    /// The key in use was revoked.
    Revoked,
    /// The gateway is shutting down and this connection was waiting for its next request, or the
    /// time for draining is over.
    Drained,
}

/// The state of one connection (HTTP/1.1) or one request (HTTP/2) that others may need to interrupt.
#[derive(Default)]
pub struct Control {
    interrupt: Cell<Option<Interrupt>>,
    deadline: Cell<u64>,
    idle: Cell<bool>,
    key: Cell<Option<KeyId>>,
    waker: RefCell<Option<Waker>>,
}

impl Control {
    /// Waits for `future`, or until interrupted. An interrupt is delivered once.
    pub async fn wait<F: Future>(&self, future: F) -> Result<F::Output, Interrupt> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Some(interrupt) = self.interrupt.take() {
                return Poll::Ready(Err(interrupt));
            }
            match future.as_mut().poll(cx) {
                Poll::Ready(out) => Poll::Ready(Ok(out)),
                Poll::Pending => {
                    let mut waker = self.waker.borrow_mut();
                    if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                        *waker = Some(cx.waker().clone());
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Interrupts the current or the next wait. A deadline does not hide that the key was revoked.
    pub fn interrupt(&self, why: Interrupt) {
        if why != Interrupt::Deadline || self.interrupt.get().is_none() {
            self.interrupt.set(Some(why));
        }
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Sets the tick at which waits end with [`Interrupt::Deadline`].
    pub fn set_deadline(&self, tick: u64) {
        self.deadline.set(tick);
    }

    /// No deadline from here on.
    pub fn clear_deadline(&self) {
        self.deadline.set(0);
        if self.interrupt.get() == Some(Interrupt::Deadline) {
            self.interrupt.set(None);
        }
    }

    /// Says whether the connection is between two requests.
    pub fn set_idle(&self, idle: bool) {
        self.idle.set(idle);
    }

    /// Says which key the running request was authenticated with.
    pub fn set_key(&self, key: Option<KeyId>) {
        self.key.set(key);
    }
}

/// Lets everything else that is ready run first, once.
pub async fn let_others_go_first() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// All controls of a worker.
#[derive(Default)]
pub struct Controls {
    list: RefCell<Vec<Rc<Control>>>,
}

impl Controls {
    /// A new control; it is forgotten once its last holder lets go.
    pub fn register(&self) -> Rc<Control> {
        let control = Rc::new(Control::default());
        self.list.borrow_mut().push(control.clone());
        control
    }

    /// Interrupts everything whose deadline is over and forgets what has ended.
    pub fn sweep(&self, now: u64) {
        self.list.borrow_mut().retain(|c| {
            if Rc::strong_count(c) == 1 {
                return false;
            }
            let deadline = c.deadline.get();
            if deadline != 0 && deadline <= now {
                c.deadline.set(0);
                c.interrupt(Interrupt::Deadline);
            }
            true
        });
    }

    /// Interrupts every running request of a key.
    pub fn revoke(&self, key: KeyId) {
        self.each(|c| c.key.get() == Some(key), Interrupt::Revoked);
    }

    /// Interrupts connections that wait for their next request.
    pub fn drain_idle(&self) {
        self.each(|c| c.idle.get(), Interrupt::Drained);
    }

    /// Interrupts everything.
    pub fn end_all(&self) {
        self.each(|_| true, Interrupt::Drained);
    }

    /// How many connections or requests are registered and alive.
    pub fn live(&self) -> usize {
        self.list.borrow().iter().filter(|c| Rc::strong_count(c) > 1).count()
    }

    fn each(&self, which: impl Fn(&Control) -> bool, why: Interrupt) {
        for control in self.list.borrow().iter().filter(|c| which(c)) {
            control.interrupt(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn others_that_are_ready_go_first() {
        let order = RefCell::new(Vec::new());
        let patient = async {
            order.borrow_mut().push("begins");
            let_others_go_first().await;
            order.borrow_mut().push("goes on");
        };
        tokio::join!(patient, async { order.borrow_mut().push("another") });
        assert_eq!(order.into_inner(), ["begins", "another", "goes on"]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn waits_end_when_interrupted() {
        let controls = Controls::default();
        let control = controls.register();
        assert_eq!(control.wait(async { 5 }).await, Ok(5));
        control.set_deadline(7);
        let wait = control.wait(std::future::pending::<()>());
        let sweep = async {
            controls.sweep(6);
            tokio::task::yield_now().await;
            controls.sweep(7);
        };
        assert_eq!(tokio::join!(wait, sweep).0, Err(Interrupt::Deadline));
        control.set_key(Some(KeyId::from_bits(9)));
        controls.revoke(KeyId::from_bits(8));
        assert_eq!(control.wait(async { 5 }).await, Ok(5));
        controls.revoke(KeyId::from_bits(9));
        assert_eq!(control.wait(async { 5 }).await, Err(Interrupt::Revoked));
        drop(control);
        controls.sweep(8);
        assert_eq!(controls.live(), 0);
    }
}
