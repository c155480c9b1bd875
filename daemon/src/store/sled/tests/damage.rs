//! A damaged database: refused by name, or fully right. Never a part of it without a word.

use frankd_proto::{HoldReason, RecipientState};

use super::*;
use crate::entropy::{Entropy as _, SeededEntropy};
use crate::store::MessageFilter;
use crate::store::conformance::sample;

/// Everything that a store can tell.
#[derive(Debug, PartialEq)]
struct Told {
    snapshot: Snapshot,
    lanes: Vec<Lane>,
    counts: Vec<(ProfileId, LaneCount)>,
    messages: Vec<Message>,
    bodies: Vec<Option<Vec<u8>>>,
    events: Vec<StoredEvent>,
}

async fn told(store: &SledStore) -> Result<Told, StoreError> {
    let page = store.messages(MessageFilter { limit: 10_000, ..MessageFilter::default() }).await?;
    let mut bodies = Vec::new();
    for message in page.messages.iter().step_by(5) {
        bodies.push(store.body(message.id).await?);
    }
    Ok(Told {
        snapshot: store.snapshot().await?,
        lanes: store.lanes().await?,
        counts: store.counts().await?,
        messages: page.messages,
        bodies,
        events: store.events(0, 10_000).await?.0,
    })
}

/// A store with some of everything, closed in good order.
async fn filled() -> (tempfile::TempDir, Told) {
    let mut disk = OnDisk::new();
    for n in 1..=5 {
        let changes = vec![
            Change::PutClient { client: Box::new(sample::client(n, &format!("client-{n}")).unwrap()), expected: None },
            Change::PutProfile {
                profile: Box::new(sample::profile(n, &format!("profile-{n}")).unwrap()),
                expected: None,
            },
            Change::PutSlot { slot: Box::new(sample::slot(n, 1)), expected: None },
            Change::PutGrant { grant: Box::new(sample::grant(n)), expected: None },
            Change::PutGate(sample::gate(n, HoldReason::HostFault)),
        ];
        disk.store.commit(changes, Vec::new()).await.unwrap();
    }
    // Several segments of the engine, and two starts in between: then it reads its own summary first, not the whole file.
    for run in 0..3 {
        let numbers = run * 30 + 1..=run * 30 + 30;
        let accepts = numbers.map(|n| {
            let mut new = sample::new_message(sample::message(n, 1 + n % 5));
            new.body = vec![b'x'; 2000].into();
            disk.store.accept(new)
        });
        futures::future::try_join_all(accepts).await.unwrap();
        let change =
            Change::PutSlot { slot: Box::new(sample::slot(1, u64::from(run) + 2)), expected: Some(u64::from(run) + 1) };
        disk.store.commit(vec![change], Vec::new()).await.unwrap();
        disk.restart().await.unwrap();
    }
    let store = &disk.store;
    for message in store.claim(sample::profile_id(1), sample::at(1), 20).await.unwrap() {
        let change = Change::PutMessage {
            expected: message.version,
            message: Box::new(sample::settled(&message, RecipientState::Sent, sample::at(1))),
        };
        store.commit(vec![change], Vec::new()).await.unwrap();
    }
    let all = told(store).await.unwrap();
    store.close().await.unwrap();
    (disk.directory, all)
}

pub(super) fn copied(original: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_all(original, copy.path());
    copy
}

/// Opens a copy of the store with a damaged database. Gives why it was refused, if it was.
async fn open_damaged(original: &Path, all: &Told, damage: impl FnOnce(&mut Vec<u8>)) -> Option<String> {
    let copy = copied(original);
    let database = copy.path().join("store/db");
    let mut content = fs::read(&database).unwrap();
    damage(&mut content);
    fs::write(&database, &content).unwrap();
    let store = match SledStore::open(options(copy.path())) {
        Ok(store) => store,
        Err(OpenError::Unusable { findings, .. }) => {
            assert!(fs::read(&database).unwrap() == content, "what is refused is overwritten");
            return Some(findings.join("; "));
        }
        Err(error) => panic!("{error:?}"),
    };
    let result = told(&store).await;
    let _ = store.close().await;
    match result {
        Ok(found) => {
            assert!(found == *all, "something is silently gone");
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

#[tokio::test]
async fn a_truncated_database_is_never_opened_with_a_part_of_it() {
    let (directory, all) = filled().await;
    let length = fs::read(directory.path().join("store/db")).unwrap().len();
    let mut refused = 0;
    for cut in (0..8).map(|n| length * n / 8).chain([length - 4096, length - 1]) {
        let why = open_damaged(directory.path(), &all, |content| content.truncate(cut)).await;
        refused += usize::from(why.is_some());
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn a_zeroed_page_is_never_opened_over() {
    let (directory, all) = filled().await;
    let length = fs::read(directory.path().join("store/db")).unwrap().len();
    let mut refused = 0;
    for page in (0..length / 4096).step_by(length / 4096 / 14 + 1) {
        let zero = |content: &mut Vec<u8>| content[page * 4096..][..4096].fill(0);
        refused += usize::from(open_damaged(directory.path(), &all, zero).await.is_some());
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn a_flipped_bit_is_never_read_as_something_else() {
    let (directory, all) = filled().await;
    let random = SeededEntropy::new(4);
    let mut refused = 0;
    for _ in 0..14 {
        let mut octets = [0; 8];
        random.fill(&mut octets);
        let at = usize::from_le_bytes(octets);
        let flip = |content: &mut Vec<u8>| {
            let used = content.iter().rposition(|octet| *octet != 0).unwrap_or(0);
            content[at % used] ^= 1 << (at % 8);
        };
        refused += usize::from(open_damaged(directory.path(), &all, flip).await.is_some());
    }
    assert!(refused > 0);
}

/// Changes the database behind the store's back, as an engine does that opens over damage. Gives why it is refused then.
fn tampered(original: &Path, tamper: impl FnOnce(&sled::Db)) -> String {
    let copy = copied(original);
    let (database, _file) = start::open_engine(&copy.path().join("store")).unwrap();
    tamper(&database);
    database.flush().unwrap();
    drop(database);
    match SledStore::open(options(copy.path())) {
        Err(OpenError::Unusable { findings, .. }) => findings.join("; "),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whatever_is_missing_is_named() {
    let (directory, _) = filled().await;
    let why = tampered(directory.path(), |database| database.clear().unwrap());
    assert!(why.contains("missing, with everything else"), "{why}");
    let client = sample::client(1, "client-1").unwrap().id;
    for (kind, expected) in [
        (keys::CLIENT, format!("client {client} (client-1) is missing")),
        (keys::PROFILE, format!("profile {} (profile-1) is missing", sample::profile_id(1))),
        (keys::SLOT, format!("token slot of {} is missing", sample::profile_id(1))),
        (keys::GRANT, format!("grant {} is missing", sample::grant(1).id)),
        (keys::GATE, format!("gate host_fault of {} is missing", sample::profile_id(1))),
        (keys::DUE, "the indexes of the queue are not whole".to_owned()),
        (keys::OPEN, "the indexes of the queue are not whole".to_owned()),
        (keys::ACCEPTED, "the messages are not whole".to_owned()),
        (keys::MESSAGE, "the messages are not whole".to_owned()),
        (keys::EVENTS, "event 1 is missing".to_owned()),
        (keys::COUNT, "the counts of the queue are missing or old".to_owned()),
        (keys::USER, "the counts of the queue are missing or old".to_owned()),
    ] {
        let why = tampered(directory.path(), |database| {
            let first = database.scan_prefix([kind]).keys().next().unwrap().unwrap();
            database.remove(first).unwrap();
        });
        assert!(why.contains(&expected), "{expected}: {why}");
    }
}

#[tokio::test]
async fn whatever_is_old_or_misplaced_is_named() {
    let (directory, all) = filled().await;
    let old = copied(directory.path());
    let store = SledStore::open(options(directory.path())).unwrap();
    let mut message = all.messages.iter().find(|message| message.version > 1).unwrap().clone();
    message.version += 1;
    let (id, client) = (message.id, sample::client(5, "client-5").unwrap().id);
    let changes = vec![
        Change::PutSlot { slot: Box::new(sample::slot(2, 2)), expected: Some(1) },
        Change::PutMessage { expected: message.version - 1, message: Box::new(message) },
        Change::DeleteClient { id: client, expected: 1 },
    ];
    store.commit(changes, Vec::new()).await.unwrap();
    store.close().await.unwrap();
    let (old, _file) = start::open_engine(&old.path().join("store")).unwrap();
    let slot = sample::profile_id(2);
    for (key, expected) in [
        (keys::slot(slot), format!("token slot of {slot} is an old version")),
        (keys::message(id), "the messages are not whole".to_owned()),
        (keys::client(client), format!("client {client} was deleted and is there again")),
        (keys::ROSTER.to_vec(), "the roster of clients, profiles and tokens is missing or old".to_owned()),
        (keys::META.to_vec(), "went back in time".to_owned()),
    ] {
        let before = old.get(&key).unwrap().unwrap();
        let why = tampered(directory.path(), |database| drop(database.insert(key, before).unwrap()));
        assert!(why.contains(&expected), "{expected}: {why}");
    }
    let why = tampered(directory.path(), |database| {
        let other = database.get(keys::slot(sample::profile_id(3))).unwrap().unwrap();
        database.insert(keys::slot(slot), other).unwrap();
    });
    assert!(why.contains(&format!("token slot of {slot} is damaged")), "{why}");
}
