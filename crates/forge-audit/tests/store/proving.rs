//! What is proved, and what is signed for.

use crate::support::*;

pub(crate) async fn verifies_as_far_as_it_should_reach(store: Store) {
    let chain = filled(&store, 2500).await;
    let head = chain.head();
    assert_eq!(verify_store(&*store, Head::default()).await.unwrap(), head);
    assert_eq!(verify_store(&*store, head).await.unwrap(), head);
    let fault = |expected| {
        let store = Arc::clone(&store);
        async move {
            match verify_store(&*store, expected).await {
                Err(VerifyError::Broken(Broken { seq, fault, .. })) => (seq, fault),
                other => panic!("{other:?}"),
            }
        }
    };
    let longer = Head { seq: 2501, ..head };
    assert_eq!(fault(longer).await, (2501, Fault::Missing));
    let other = Head {
        hash: [1; 32].into(),
        seq: 1700,
        ..head
    };
    assert_eq!(fault(other).await, (1700, Fault::Replaced));
}

pub(crate) async fn proves_that_a_record_is_in_it_and_that_it_only_grew(store: Store) {
    let mut chain = filled(&store, 300).await;
    let old = tree_of(&*store, 300).await.unwrap();
    store.append(records(&mut chain, 777).into()).await.unwrap();
    let new = tree_of(&*store, 1077).await.unwrap();
    let all = store.scan(0, 2000).await.unwrap();
    for seq in [1, 2, 255, 256, 257, 300, 512, 1024, 1025, 1077] {
        let proof = prove_inclusion(&*store, seq, 1077).await.unwrap().unwrap();
        let leaf = all[seq as usize - 1].hash;
        assert!(proof.includes(seq, leaf, 1077, new.root()), "{seq}");
        assert!(!proof.includes(seq, leaf, 1077, old.root()), "{seq}");
    }
    assert_eq!(prove_inclusion(&*store, 1078, 1077).await.unwrap(), None);
    let proof = prove_consistency(&*store, 300, 1077).await.unwrap();
    assert!(proof.extends((300, old.root()), (1077, new.root())));
    assert!(!proof.extends((301, old.root()), (1077, new.root())));
}

pub(crate) async fn keeps_checkpoints_in_the_order_of_their_size(store: Store) {
    let note = |size: u64, text: &str| SignedNote {
        size,
        text: text.to_owned(),
    };
    for checkpoint in [note(7, "b"), note(3, "a"), note(7, "another")] {
        store.add_checkpoint(checkpoint).await.unwrap();
    }
    assert_eq!(
        store.checkpoints(0, 9).await.unwrap(),
        [note(3, "a"), note(7, "b")]
    );
    assert_eq!(store.checkpoints(3, 9).await.unwrap(), [note(7, "b")]);
    assert_eq!(store.checkpoints(0, 1).await.unwrap(), [note(3, "a")]);
}
