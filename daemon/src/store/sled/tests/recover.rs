//! `frankd --recover`: what comes back, and what must not.

use frankd_proto::HoldReason;

use super::damage::copied;
use super::*;
use crate::store::conformance::sample;

/// A store with a client, a profile with a token that was refreshed twice, a pause, and three messages; closed.
async fn filled() -> tempfile::TempDir {
    let disk = OnDisk::new();
    let client = Box::new(sample::client(1, "provider").unwrap());
    let profile = Box::new(sample::profile(1, "alerts").unwrap());
    let changes = vec![
        Change::PutClient { client, expected: None },
        Change::PutProfile { profile, expected: None },
        Change::PutGate(sample::gate(1, HoldReason::Paused)),
        Change::PutGate(sample::gate(1, HoldReason::HostFault)),
        Change::PutGrant { grant: Box::new(sample::grant(1)), expected: None },
    ];
    disk.store.commit(changes, Vec::new()).await.unwrap();
    for version in 1..=3 {
        disk.store.commit(vec![put_slot(version)], Vec::new()).await.unwrap();
    }
    for (n, size) in [(1, 100), (2, 3000), (3, 9000)] {
        let mut new = sample::new_message(sample::message(n, 1));
        new.body = vec![b'x'; size].into();
        disk.store.accept(new).await.unwrap();
    }
    disk.store.claim(sample::profile_id(1), sample::at(1), 1).await.unwrap();
    disk.store.close().await.unwrap();
    disk.directory
}

fn put_slot(version: u64) -> Change {
    Change::PutSlot { slot: Box::new(sample::slot(1, version)), expected: (version > 1).then_some(version - 1) }
}

/// What a new store must have of the registry, whatever was lost.
async fn assert_registry(store: &SledStore, slots: &[crate::domain::TokenSlot]) {
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.clients, [sample::client(1, "provider").unwrap()]);
    assert_eq!(snapshot.profiles, [sample::profile(1, "alerts").unwrap()]);
    assert_eq!(snapshot.gates, [sample::gate(1, HoldReason::Paused)], "an operator's pause comes back");
    assert_eq!(snapshot.slots, slots);
    assert_eq!(snapshot.grants, []);
}

async fn assert_held(store: &SledStore, n: u32, size: usize) {
    let message = store.message(sample::message_id(n)).await.unwrap().unwrap();
    assert!(message.hold.unwrap().reason.unwrap().contains("may have been sent"));
    assert_eq!(message.claim, None);
    assert_eq!(store.body(sample::message_id(n)).await.unwrap(), Some(vec![b'x'; size]));
}

#[tokio::test]
async fn a_whole_store_is_left_alone() {
    let directory = filled().await;
    let refused = recover(&options(directory.path())).unwrap_err();
    assert!(matches!(refused, RecoverError::NotNeeded(_)), "{refused}");
    assert!(!directory.path().join("damaged-1").exists());
    let store = SledStore::open(options(directory.path())).unwrap();
    assert_eq!(store.lanes().await.unwrap().len(), 1);
    let refused = recover(&options(directory.path())).unwrap_err();
    assert!(matches!(refused, RecoverError::Open(OpenError::Locked { .. })), "{refused}");
}

#[tokio::test]
async fn a_lost_database_is_rebuilt_without_a_new_consent() {
    let directory = filled().await;
    fs::remove_dir_all(directory.path().join("store")).unwrap();
    let recovered = recover(&options(directory.path())).unwrap();
    assert_eq!(recovered.findings, ["the database is missing"]);
    assert_eq!(recovered.clients, ["provider".parse().unwrap()]);
    assert_eq!(recovered.profiles, ["alerts".parse().unwrap()]);
    assert_eq!(recovered.tokens, [sample::profile_id(1)]);
    assert_eq!(recovered.messages, 0);
    assert!(recovered.gone.iter().any(|gone| gone.contains("messages that waited")), "{:?}", recovered.gone);
    assert!(recovered.aside.join("bodies").join(sample::message_id(3).to_string()).exists());
    let store = SledStore::open(options(directory.path())).unwrap();
    assert_registry(&store, &[sample::slot(1, 3)]).await;
    assert_eq!(store.counts().await.unwrap(), []);
    assert!(store.opened().incarnation > 1);
    assert!(store.last_seq().now() > 3, "numbers of events are not given twice");
    store.commit(vec![put_slot(4)], Vec::new()).await.unwrap();
    store.close().await.unwrap();
    SledStore::open(options(directory.path())).unwrap().close().await.unwrap();
    // And once more: what the first one has put aside stays.
    fs::remove_dir_all(directory.path().join("store")).unwrap();
    let again = recover(&options(directory.path())).unwrap();
    assert_ne!(again.aside, recovered.aside);
    let store = SledStore::open(options(directory.path())).unwrap();
    assert_registry(&store, &[sample::slot(1, 4)]).await;
}

#[tokio::test]
async fn what_can_be_read_of_the_queue_comes_back_held() {
    let directory = filled().await;
    // Only the counts are damaged: all messages can be read.
    let (database, _file) = start::open_engine(&directory.path().join("store")).unwrap();
    let key = database.scan_prefix([keys::COUNT]).keys().next().unwrap().unwrap();
    database.remove(key).unwrap();
    database.flush().unwrap();
    drop(database);
    assert!(matches!(SledStore::open(options(directory.path())), Err(OpenError::Unusable { .. })));
    let recovered = recover(&options(directory.path())).unwrap();
    assert_eq!(recovered.messages, 3, "{recovered:?}");
    let store = SledStore::open(options(directory.path())).unwrap();
    assert_registry(&store, &[sample::slot(1, 3)]).await;
    assert_eq!(store.lanes().await.unwrap(), []);
    assert_eq!(store.counts().await.unwrap()[0].1.held, 3);
    for (n, size) in [(1, 100), (2, 3000), (3, 9000)] {
        assert_held(&store, n, size).await;
    }
}

#[tokio::test]
async fn an_old_database_gives_its_messages_but_no_token() {
    let directory = filled().await;
    let old = copied(directory.path());
    let store = SledStore::open(options(directory.path())).unwrap();
    store.commit(vec![put_slot(4)], Vec::new()).await.unwrap();
    store.close().await.unwrap();
    fs::remove_dir_all(directory.path().join("store")).unwrap();
    copy_all(&old.path().join("store"), &directory.path().join("store"));
    let recovered = recover(&options(directory.path())).unwrap();
    assert!(recovered.findings.iter().any(|finding| finding.contains("went back in time")), "{recovered:?}");
    let store = SledStore::open(options(directory.path())).unwrap();
    assert_registry(&store, &[sample::slot(1, 4)]).await;
    assert_held(&store, 2, 3000).await;
}

#[tokio::test]
async fn a_mirror_that_is_newer_within_the_same_second_wins() {
    let disk = OnDisk::open(filled().await).unwrap();
    // As after a crash: the side file is behind, and the database is put back to an earlier moment.
    let crashed = copied(disk.directory.path());
    disk.store.commit(vec![put_slot(4)], Vec::new()).await.unwrap();
    fs::remove_dir_all(crashed.path().join("mirror")).unwrap();
    copy_all(&disk.directory.path().join("mirror"), &crashed.path().join("mirror"));
    assert!(matches!(SledStore::open(options(crashed.path())), Err(OpenError::Unusable { .. })));
    let recovered = recover(&options(crashed.path())).unwrap();
    assert!(recovered.findings[0].contains("went back in time"), "{recovered:?}");
    let store = SledStore::open(options(crashed.path())).unwrap();
    assert_registry(&store, &[sample::slot(1, 4)]).await;
    assert_eq!(recovered.messages, 3);
}

#[tokio::test]
async fn a_stale_copy_of_a_token_is_not_used() {
    let directory = filled().await;
    let name = format!("mirror/slot-{}", sample::profile_id(1));
    let old = fs::read(directory.path().join(&name)).unwrap();
    let store = SledStore::open(options(directory.path())).unwrap();
    store.commit(vec![put_slot(4)], Vec::new()).await.unwrap();
    store.close().await.unwrap();
    fs::write(directory.path().join(name), old).unwrap();
    fs::remove_dir_all(directory.path().join("store")).unwrap();
    let recovered = recover(&options(directory.path())).unwrap();
    assert_eq!(recovered.tokens, []);
    assert!(recovered.gone.iter().any(|gone| gone.contains("grant again")), "{:?}", recovered.gone);
    let store = SledStore::open(options(directory.path())).unwrap();
    assert_registry(&store, &[]).await;
}

#[tokio::test]
async fn a_mirror_that_is_old_as_a_whole_gives_no_token() {
    let directory = filled().await;
    let old = copied(directory.path());
    let store = SledStore::open(options(directory.path())).unwrap();
    store.commit(vec![put_slot(4)], Vec::new()).await.unwrap();
    store.close().await.unwrap();
    for part in ["store", "mirror"] {
        fs::remove_dir_all(directory.path().join(part)).unwrap();
    }
    copy_all(&old.path().join("mirror"), &directory.path().join("mirror"));
    let recovered = recover(&options(directory.path())).unwrap();
    assert_eq!(recovered.tokens, []);
    assert!(recovered.gone.iter().any(|gone| gone.contains("their copy is old")), "{:?}", recovered.gone);
}

#[tokio::test]
async fn the_store_helps_where_the_mirror_fails() {
    let directory = filled().await;
    for entry in fs::read_dir(directory.path().join("mirror")).unwrap() {
        fs::write(entry.unwrap().path(), "damaged").unwrap();
    }
    fs::remove_file(directory.path().join("generation")).unwrap();
    assert!(matches!(SledStore::open(options(directory.path())), Err(OpenError::Unusable { .. })));
    let recovered = recover(&options(directory.path())).unwrap();
    assert_eq!((recovered.tokens.len(), recovered.messages), (1, 3), "{recovered:?}");
    let store = SledStore::open(options(directory.path())).unwrap();
    assert_registry(&store, &[sample::slot(1, 3)]).await;
}

#[tokio::test]
async fn another_key_recovers_nothing_and_moves_nothing() {
    let directory = filled().await;
    fs::remove_dir_all(directory.path().join("store")).unwrap();
    let mut wrong = options(directory.path());
    wrong.key = MasterKey::new([8; 32]);
    let refused = recover(&wrong).unwrap_err();
    assert!(matches!(refused, RecoverError::Open(OpenError::WrongKey { .. })), "{refused}");
    fs::remove_file(directory.path().join("key-check")).unwrap();
    let refused = recover(&wrong).unwrap_err();
    assert!(matches!(refused, RecoverError::Nothing(_)), "{refused}");
    assert!(!directory.path().join("damaged-1").exists());
    recover(&options(directory.path())).unwrap();
    SledStore::open(options(directory.path())).unwrap();
}

#[tokio::test]
async fn a_recovery_that_was_cut_short_goes_on() {
    let directory = filled().await;
    let root = directory.path();
    // As after a crash while the new store took its place: one piece has moved, the others not.
    fs::create_dir(root.join("recovering")).unwrap();
    for piece in ["bodies", "mirror", "generation", "key-check"] {
        fs::rename(root.join(piece), root.join("recovering").join(piece)).unwrap();
    }
    fs::create_dir(root.join("damaged-1")).unwrap();
    fs::write(root.join("generation"), "old").unwrap();
    fs::write(root.join("key-check"), "old").unwrap();
    let refused = SledStore::open(options(root)).unwrap_err();
    assert!(refused.to_string().contains("cut short"), "{refused}");
    let recovered = recover(&options(root)).unwrap();
    assert_eq!(recovered.aside, root.join("damaged-1"));
    assert_eq!(fs::read(root.join("damaged-1/key-check")).unwrap(), b"old");
    let store = SledStore::open(options(root)).unwrap();
    assert_eq!(store.snapshot().await.unwrap().slots, [sample::slot(1, 3)]);
}
