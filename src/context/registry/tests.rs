use tokio::{sync::oneshot, task};

use super::*;

#[test]
fn a_statement_is_killed_once_whatever_else_is_asked() {
    let registry = Arc::<Registry>::default();
    let handle = registry.enter("a client".to_owned()).handle.clone();
    // What is asked, and the answers to two questions.
    let cases = [
        (&[Kill::Query][..], [Some(Kill::Query), None]),
        (&[Kill::Drain], [Some(Kill::Drain), Some(Kill::Drain)]),
        (&[Kill::Query], [Some(Kill::Query), Some(Kill::Drain)]),
        (&[Kill::Session], [Some(Kill::Session), Some(Kill::Session)]),
        (&[Kill::Query, Kill::Shutdown, Kill::Drain], [Some(Kill::Shutdown), Some(Kill::Shutdown)]),
    ];
    for (asked, answers) in cases {
        asked.iter().for_each(|what| handle.kill(*what));
        assert_eq!([handle.asked(), handle.asked()], answers, "{asked:?}");
    }
}

#[tokio::test]
async fn every_call_is_heard_whoever_waits_for_it() {
    let registry = Arc::<Registry>::default();
    let entry = registry.enter("a client".to_owned());
    let handle = entry.handle.clone();
    let calls = Calls::new(&entry);
    handle.kill(Kill::Query);
    calls.called().await;
    assert_eq!((calls.asked(), calls.asked()), (Some(Kill::Query), None));
    // One task after the other waits, each with a waker of its own, for calls from another thread.
    let tasks = task::LocalSet::new();
    let calls = std::rc::Rc::new(calls);
    for _ in 0..3 {
        let (waiting, waits) = oneshot::channel();
        let caller = std::thread::spawn({
            let handle = handle.clone();
            move || {
                waits.blocking_recv().unwrap();
                handle.kill(Kill::Query);
            }
        });
        let calls = calls.clone();
        let heard = async move {
            let mut called = std::pin::pin!(calls.called());
            assert!(poll_fn(|cx| Poll::Ready(called.as_mut().poll(cx).is_pending())).await);
            waiting.send(()).unwrap();
            called.await;
            calls.asked()
        };
        let heard = tasks.spawn_local(heard);
        let heard = tasks.run_until(heard).await.unwrap();
        assert_eq!(heard, Some(Kill::Query));
        caller.join().unwrap();
    }
}
