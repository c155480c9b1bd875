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
    let page = store
        .messages(MessageFilter {
            limit: 10_000,
            ..MessageFilter::default()
        })
        .await?;
    let mut bodies = Vec::new();
    for message in &page.messages {
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
    let disk = OnDisk::new();
    let store = &disk.store;
    for n in 1..=5 {
        let changes = vec![
            Change::PutClient {
                client: Box::new(sample::client(n, &format!("client-{n}")).unwrap()),
                expected: None,
            },
            Change::PutProfile {
                profile: Box::new(sample::profile(n, &format!("profile-{n}")).unwrap()),
                expected: None,
            },
            Change::PutSlot {
                slot: Box::new(sample::slot(n, 1)),
                expected: None,
            },
            Change::PutGrant {
                grant: Box::new(sample::grant(n)),
                expected: None,
            },
            Change::PutGate(sample::gate(n, HoldReason::HostFault)),
        ];
        store.commit(changes, Vec::new()).await.unwrap();
    }
    for n in 1..=150 {
        let mut new = sample::new_message(sample::message(n, 1 + n % 5));
        new.body = vec![b'x'; 50 * n as usize];
        store.accept(new).await.unwrap();
        let change = Change::PutSlot {
            slot: Box::new(sample::slot(1, u64::from(n) + 1)),
            expected: Some(u64::from(n)),
        };
        store.commit(vec![change], Vec::new()).await.unwrap();
    }
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

/// Opens a copy of the store with a damaged database. Gives why it was refused, if it was.
async fn open_damaged(original: &Path, all: &Told, damage: impl FnOnce(&mut Vec<u8>)) -> Option<String> {
    let copy = tempfile::tempdir().unwrap();
    copy_all(original, copy.path());
    let database = copy.path().join("store/db");
    let mut content = fs::read(&database).unwrap();
    damage(&mut content);
    fs::write(&database, content).unwrap();
    let store = match SledStore::open(options(copy.path())) {
        Ok(store) => store,
        Err(OpenError::Unusable { findings, .. }) => return Some(findings.join("; ")),
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
    let length = fs::metadata(directory.path().join("store/db")).unwrap().len() as usize;
    let mut refused = 0;
    for cut in (0..16).map(|n| length * n / 16).chain([length - 4096, length - 1]) {
        let why = open_damaged(directory.path(), &all, |content| content.truncate(cut)).await;
        refused += usize::from(why.is_some());
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn a_zeroed_page_is_never_opened_over() {
    let (directory, all) = filled().await;
    let length = fs::metadata(directory.path().join("store/db")).unwrap().len() as usize;
    let mut refused = 0;
    for page in (0..length / 4096).step_by(length / 4096 / 40 + 1) {
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
    for _ in 0..40 {
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

#[tokio::test]
async fn what_is_missing_is_named() {
    let (directory, all) = filled().await;
    let empty = |content: &mut Vec<u8>| content.clear();
    let why = open_damaged(directory.path(), &all, empty).await.unwrap();
    assert!(why.contains("missing, with everything else"), "{why}");
}
