//! Silences, and who is to be told of them.

use forge_monitor::StoredSilence;

use crate::*;

pub(crate) async fn conforms<S: MonitorStore>(store: &S) {
    keeps_silences_until_their_end(store).await;
    says_what_nobody_was_told_of(store).await;
}

async fn keeps_silences_until_their_end(store: &dyn AlertStore) {
    let silence = Silence::new("fail*", at(0), at(10))
        .scope("network *")
        .by("583231", "it's planned")
        .told(true);
    store.silence(&silence).await.unwrap();
    let again = store.silence(&silence).await;
    assert!(matches!(again, Err(StoreError::Duplicate)), "{again:?}");
    let silences = store.silences(at(9)).await.unwrap();
    assert_eq!(silences, std::slice::from_ref(&silence));
    assert_eq!(store.silences(at(10)).await.unwrap(), []);
    let end = lift(1);
    assert!(!store.unsilence(Uuid::nil(), &end).await.unwrap());
    let both = tokio::join!(
        store.unsilence(silence.id, &end),
        store.unsilence(silence.id, &end)
    );
    assert!(both.0.unwrap() ^ both.1.unwrap());
    assert_eq!(store.silences(at(1)).await.unwrap(), []);
    assert_eq!(store.untold_silences(9).await.unwrap(), []);
    assert_eq!(store.forget(at(99)).await.unwrap(), 0);
    store.silence(&silence).await.unwrap();
    assert!(store.unsilence(silence.id, &end).await.unwrap());
}

async fn says_what_nobody_was_told_of(store: &dyn AlertStore) {
    let silence = Silence::new("x", at(0), at(10)).by("somebody", "");
    store.silence(&silence).await.unwrap();
    let untold = async || store.untold_silences(9).await.unwrap();
    let told = async |ended| store.silence_told(silence.id, ended).await.unwrap();
    assert_eq!(untold().await, [StoredSilence::new(silence.clone(), None)]);
    assert!(!told(true).await, "it goes on");
    let end = Lift::new(at(2), "somebody else");
    assert!(store.unsilence(silence.id, &end).await.unwrap());
    assert_eq!(store.forget(at(99)).await.unwrap(), 0);
    let mut ended = silence.clone();
    ended.until = end.at;
    let both = StoredSilence::new(ended.clone(), Some(end.clone()));
    assert_eq!(untold().await, [both], "it is not forgotten before");
    let twice = tokio::join!(
        store.silence_told(silence.id, false),
        store.silence_told(silence.id, false)
    );
    assert!(twice.0.unwrap() ^ twice.1.unwrap());
    let one = StoredSilence::new(ended.told(true), Some(end));
    assert_eq!(untold().await, [one]);
    assert!(told(true).await && !told(true).await);
    assert_eq!(untold().await, []);
    assert!(!store.silence_told(Uuid::nil(), false).await.unwrap());
    assert_eq!(store.forget(at(99)).await.unwrap(), 0);
    store.silence(&silence).await.unwrap();
    assert!(store.silence_told(silence.id, false).await.unwrap());
    assert!(store.unsilence(silence.id, &lift(3)).await.unwrap());
}
