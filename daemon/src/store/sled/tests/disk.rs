//! Files, keys, locks, and disks that fail.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use frankd_proto::{EventType, RecipientState};

use super::*;
use crate::store::conformance::sample;
use crate::store::power::{Disk, Left, Which};
use crate::store::{MessageFilter, Record};

fn put_slot(version: u64) -> Change {
    Change::PutSlot { slot: Box::new(sample::slot(1, version)), expected: (version > 1).then_some(version - 1) }
}

fn with_body(n: u32, size: usize) -> NewMessage {
    let mut new = sample::new_message(sample::message(n, 1));
    new.body = vec![b'x'; size].into();
    new
}

/// Every file with its content, but for the lock.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(content(&path));
        } else if !path.ends_with("lock") {
            all.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    all
}

fn findings(error: OpenError) -> String {
    let text = error.to_string();
    match error {
        OpenError::Unusable { findings, .. } => {
            assert!(text.contains("or recover"), "{text}");
            findings.join("; ")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_engine_makes_no_files_of_its_own() {
    let disk = OnDisk::with_senders().await;
    let accepts = (1..100).map(|n| disk.store.accept(with_body(n, 3000 + 50 * n as usize)));
    futures::future::try_join_all(accepts).await.unwrap();
    for n in 1..20 {
        let mut client = sample::client(n, &format!("client-{n}")).unwrap();
        client.ca_bundle = Some("x".repeat(20_000));
        let client = Box::new(client);
        disk.store.commit(vec![Change::PutClient { client, expected: None }], Vec::new()).await.unwrap();
    }
    let blobs = disk.directory.path().join("store/blobs");
    assert!(!blobs.exists() || fs::read_dir(blobs).unwrap().next().is_none());
    let files = fs::read_dir(disk.directory.path().join("bodies")).unwrap().count();
    let large = (1..100).filter(|n| 3000 + 50 * n > 4096).count();
    assert_eq!(files - 1, large, "each body over 4 KiB has a file");
}

/// The engine's log goes in segments of 512 KiB: what is larger must not stop it.
#[tokio::test]
async fn a_change_larger_than_a_segment_is_made() {
    let mut disk = OnDisk::with_senders().await;
    let mut client = sample::client(1, "provider").unwrap();
    client.ca_bundle = Some("x".repeat(700_000));
    let change = Change::PutClient { client: Box::new(client.clone()), expected: None };
    let accepts = (1..=150).map(|n| disk.store.accept(with_body(n, 4000)));
    let (changed, accepted) =
        futures::future::join(disk.store.commit(vec![change], Vec::new()), futures::future::try_join_all(accepts))
            .await;
    changed.unwrap();
    accepted.unwrap();
    disk.store.accept(with_body(301, 1_000_000)).await.unwrap();
    disk.crash().await.unwrap();
    assert!(disk.store.snapshot().await.unwrap().clients == [client]);
    assert_eq!(disk.store.body(sample::message_id(301)).await.unwrap().map(|body| body.len()), Some(1_000_000));
}

#[tokio::test]
async fn a_second_daemon_is_locked_out() {
    let disk = OnDisk::with_senders().await;
    let refused = SledStore::open(options(disk.directory.path())).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{refused}");
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    disk.store.close().await.unwrap();
    SledStore::open(options(disk.directory.path())).unwrap();
}

#[tokio::test]
async fn a_wrong_key_is_told_apart_from_damage_and_touches_nothing() {
    let disk = OnDisk::with_senders().await;
    disk.store.commit(vec![put_slot(1)], Vec::new()).await.unwrap();
    disk.store.close().await.unwrap();
    let before = content(disk.directory.path());
    let mut wrong = options(disk.directory.path());
    wrong.key = MasterKey::new([8; 32]);
    let refused = SledStore::open(wrong).unwrap_err();
    assert!(matches!(refused, OpenError::WrongKey { .. }), "{refused}");
    assert!(content(disk.directory.path()) == before);
    let store = SledStore::open(options(disk.directory.path())).unwrap();
    assert_eq!(store.snapshot().await.unwrap().slots, [sample::slot(1, 1)]);
}

#[tokio::test]
async fn a_missing_file_is_named_and_nothing_is_made_in_its_place() {
    for (name, finding) in [
        ("store", "the database is missing"),
        ("key-check", "key-check is missing"),
        ("generation", "generation is missing"),
    ] {
        let disk = OnDisk::with_senders().await;
        disk.store.commit(vec![put_slot(1)], Vec::new()).await.unwrap();
        disk.store.close().await.unwrap();
        let path = disk.directory.path().join(name);
        fs::rename(&path, disk.directory.path().join("elsewhere")).unwrap();
        let before = content(disk.directory.path());
        let refused = findings(SledStore::open(options(disk.directory.path())).unwrap_err());
        assert!(refused.contains(finding), "{refused}");
        assert!(content(disk.directory.path()) == before, "{name}");
        fs::rename(disk.directory.path().join("elsewhere"), path).unwrap();
        SledStore::open(options(disk.directory.path())).unwrap();
    }
}

#[tokio::test]
async fn no_receipt_is_given_after_a_failed_sync() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::behind(directory.path());
    let store = SledStore::open(options(directory.path())).unwrap();
    sample::senders(&store).await.unwrap();
    store.accept(with_body(1, 10)).await.unwrap();
    disk.fail(Some(|path| path == "store/db"));
    let seq = store.last_seq().now();
    let refused = store.accept(with_body(2, 10)).await;
    assert!(
        matches!(&refused, Err(StoreError::ReadOnly(cause)) if cause.contains("Input/output error")),
        "{refused:?}"
    );
    // The disk works again, but what it has is not known.
    disk.fail(None);
    let refused = store.commit(vec![put_slot(1)], Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::ReadOnly(_))), "{refused:?}");
    let refused = store.claim(sample::profile_id(1), sample::at(9), 9).await;
    assert!(matches!(refused, Err(StoreError::ReadOnly(_))), "{refused:?}");
    assert!(store.health().read_only.unwrap().contains("Input/output error"));
    assert_eq!(store.last_seq().now(), seq);
    assert!(store.message(sample::message_id(1)).await.unwrap().is_some());
    store.close().await.unwrap();
    let store = SledStore::open(options(directory.path())).unwrap();
    store.commit(vec![put_slot(1)], Vec::new()).await.unwrap();
}

/// Each sync that a receipt waits for, and whether one that failed may be followed by others.
#[tokio::test]
async fn every_sync_of_a_receipt_counts() {
    let syncs: [(&str, Which, bool); 5] = [
        ("a body", |path| path.starts_with("bodies/incoming/"), true),
        ("the names of bodies", |path| path == "bodies", false),
        ("the database", |path| path == "store/db", false),
        ("a copy", |path| path.starts_with("mirror/.new-"), true),
        ("the names of copies", |path| path == "mirror", false),
    ];
    for (what, failing, goes_on) in syncs {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::behind(directory.path());
        let store = SledStore::open(options(directory.path())).unwrap();
        sample::senders(&store).await.unwrap();
        store.commit(vec![put_slot(1)], Vec::new()).await.unwrap();
        disk.fail(Some(failing));
        let refused = if what.ends_with("copies") || what == "a copy" {
            store.commit(vec![put_slot(2)], Vec::new()).await.map(drop)
        } else {
            store.accept(with_body(1, 5000)).await.map(drop)
        };
        disk.fail(None);
        let Err(error) = refused else { panic!("{what}: a receipt") };
        assert!(error.to_string().contains("Input/output error"), "{what}: {error}");
        assert_eq!(matches!(error, StoreError::ReadOnly(_)), !goes_on, "{what}: {error}");
        let next = store.accept(with_body(2, 5000)).await;
        assert_eq!(next.is_ok(), goes_on, "{what}: {next:?}");
        store.close().await.unwrap();
        // What was refused is there or not; the next start works with either.
        let left = disk.left(&Left::Nothing);
        let store = SledStore::open(options(left.path())).unwrap();
        store.accept(with_body(3, 5000)).await.unwrap();
        let slots = store.snapshot().await.unwrap().slots;
        assert!(slots == [sample::slot(1, 1)] || slots == [sample::slot(1, 2)], "{what}: {slots:?}");
    }
}

/// The engine writes a summary of its database when it opens, and takes a part of one for the newest.
#[tokio::test]
async fn a_summary_that_was_cut_short_is_no_damage() {
    let disk = OnDisk::with_senders().await;
    disk.store.commit(vec![put_slot(1)], Vec::new()).await.unwrap();
    disk.store.close().await.unwrap();
    fs::write(disk.directory.path().join("store/snap.FFFFFFFF00000000.generating"), [0; 9]).unwrap();
    let store = SledStore::open(options(disk.directory.path())).unwrap();
    assert_eq!(store.snapshot().await.unwrap().slots, [sample::slot(1, 1)]);
}

#[tokio::test]
async fn an_engine_that_hangs_is_a_refusal_to_start() {
    let disk = OnDisk::with_senders().await;
    disk.store.commit(vec![put_slot(1)], Vec::new()).await.unwrap();
    disk.store.close().await.unwrap();
    let before = content(disk.directory.path());
    let (go_on, hanging) = mpsc::channel();
    let mut options = options(disk.directory.path());
    options.deadline = Duration::ZERO;
    options.hanging = Some(Arc::new(Mutex::new(hanging)));
    let refused = findings(SledStore::open(options).unwrap_err());
    assert!(refused.contains("its engine hangs"), "{refused}");
    assert!(content(disk.directory.path()) == before);
    drop(go_on);
}

#[tokio::test]
async fn a_store_that_went_back_in_time_is_refused() {
    let mut disk = OnDisk::with_senders().await;
    disk.store.commit(vec![put_slot(1)], Vec::new()).await.unwrap();
    disk.restart().await.unwrap();
    disk.store.close().await.unwrap();
    let old = tempfile::tempdir().unwrap();
    copy_all(&disk.directory.path().join("store"), old.path());
    disk.store = Arc::new(SledStore::open(options(disk.directory.path())).unwrap());
    disk.store.accept(with_body(1, 10)).await.unwrap();
    disk.store.close().await.unwrap();
    let store = disk.directory.path().join("store");
    fs::remove_dir_all(&store).unwrap();
    copy_all(old.path(), &store);
    let refused = findings(SledStore::open(options(disk.directory.path())).unwrap_err());
    assert!(refused.contains("went back in time"), "{refused}");
}

#[tokio::test]
async fn a_newer_token_in_the_mirror_shows_an_old_store_at_once() {
    let disk = OnDisk::with_senders().await;
    disk.store.commit(vec![put_slot(1)], Vec::new()).await.unwrap();
    // A crash now, within the second that the side file may be behind.
    let (old, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy_all(&disk.directory.path().join("store"), old.path());
    copy_all(disk.directory.path(), crashed.path());
    disk.store.commit(vec![put_slot(2)], Vec::new()).await.unwrap();
    copy_all(&disk.directory.path().join("mirror"), &crashed.path().join("mirror"));
    let refused = findings(SledStore::open(options(crashed.path())).unwrap_err());
    assert!(refused.contains("the copy of the token slot of prf_"), "{refused}");
}

#[tokio::test]
async fn a_lost_or_old_mirror_is_written_again() {
    let mut disk = OnDisk::with_senders().await;
    let client = Box::new(sample::client(1, "provider").unwrap());
    let changes = vec![put_slot(1), Change::PutClient { client, expected: None }];
    disk.store.commit(changes, Vec::new()).await.unwrap();
    let slot = disk.directory.path().join(format!("mirror/slot-{}", sample::profile_id(1)));
    let old = fs::read(&slot).unwrap();
    disk.store.commit(vec![put_slot(2)], Vec::new()).await.unwrap();
    disk.store.close().await.unwrap();
    let good = |path: &Path| {
        let sealer = super::super::super::seal::Sealer::new(&MasterKey::new([7; 32]), Arc::new(SystemEntropy::new()));
        let mirror = crate::store::mirror::Mirror::open(&path.join("mirror"), sealer);
        let slot = mirror.slot(sample::profile_id(1)).unwrap().unwrap();
        assert_eq!(mirror.index().slots.get(&sample::profile_id(1)), Some(&slot.generation));
        assert_eq!(slot.content, sample::slot(1, 2));
        assert_eq!(mirror.registry().unwrap().unwrap().content.clients.len(), 1);
    };
    good(disk.directory.path());
    fs::write(&slot, old).unwrap();
    disk.store = Arc::new(SledStore::open(options(disk.directory.path())).unwrap());
    good(disk.directory.path());
    disk.store.close().await.unwrap();
    fs::remove_dir_all(disk.directory.path().join("mirror")).unwrap();
    disk.store = Arc::new(SledStore::open(options(disk.directory.path())).unwrap());
    good(disk.directory.path());
    disk.store
        .commit(vec![Change::DeleteSlot { profile: sample::profile_id(1), expected: 2 }], Vec::new())
        .await
        .unwrap();
    assert!(!slot.exists());
}

#[tokio::test]
async fn a_commit_whose_mirror_cannot_be_written_is_not_made() {
    let mut disk = OnDisk::with_senders().await;
    disk.store.commit(vec![put_slot(1)], Vec::new()).await.unwrap();
    let (mirror, away) = (disk.directory.path().join("mirror"), disk.directory.path().join("away"));
    fs::rename(&mirror, &away).unwrap();
    let failed = disk.store.commit(vec![put_slot(2)], Vec::new()).await;
    assert!(matches!(failed, Err(StoreError::Failed(_))), "{failed:?}");
    // Mail goes on.
    disk.store.accept(with_body(1, 10)).await.unwrap();
    assert_eq!(disk.store.snapshot().await.unwrap().slots, [sample::slot(1, 1)]);
    fs::rename(&away, &mirror).unwrap();
    disk.store.commit(vec![put_slot(2)], Vec::new()).await.unwrap();
    disk.crash().await.unwrap();
    assert_eq!(disk.store.snapshot().await.unwrap().slots, [sample::slot(1, 2)]);
}

#[tokio::test]
async fn bodies_without_a_message_are_swept_at_the_start() {
    let mut disk = OnDisk::with_senders().await;
    disk.store.accept(with_body(1, 5000)).await.unwrap();
    disk.store.accept(with_body(2, 5000)).await.unwrap();
    disk.store.close().await.unwrap();
    let bodies = disk.directory.path().join("bodies");
    fs::write(bodies.join(sample::message_id(3).to_string()), "orphan").unwrap();
    fs::write(bodies.join("incoming/0"), "half").unwrap();
    fs::write(bodies.join("README"), "not ours").unwrap();
    disk.store = Arc::new(SledStore::open(options(disk.directory.path())).unwrap());
    let names = |path: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let ids = [1, 2].map(|n| sample::message_id(n).to_string());
    assert_eq!(names(&bodies), [["README", "incoming"].map(str::to_owned), ids.clone()].concat());
    assert!(names(&bodies.join("incoming")).is_empty());
    assert_eq!(disk.store.body(sample::message_id(2)).await.unwrap(), Some(vec![b'x'; 5000]));
    let sent = sample::settled(&sample::message(1, 1), RecipientState::Sent, sample::at(1));
    let change = Change::PutMessage { message: Box::new(sent), expected: 1 };
    disk.store.commit(vec![change], Vec::new()).await.unwrap();
    // The answer comes before the deletion: the next change comes after it.
    disk.store.commit(Vec::new(), vec![sample::event(EventType::DaemonStarted)]).await.unwrap();
    assert!(!bodies.join(&ids[0]).exists());
}

#[tokio::test]
async fn a_lost_or_damaged_body_is_an_error_of_its_message() {
    let disk = OnDisk::with_senders().await;
    for n in [1, 2] {
        disk.store.accept(with_body(n, 70_000)).await.unwrap();
    }
    let path = |n| disk.directory.path().join(format!("bodies/{}", sample::message_id(n)));
    fs::remove_file(path(1)).unwrap();
    let mut damaged = fs::read(path(2)).unwrap();
    damaged[66_000] ^= 1;
    fs::write(path(2), damaged).unwrap();
    for n in [1, 2] {
        let body = disk.store.body(sample::message_id(n)).await;
        let Err(StoreError::Damaged { record, .. }) = body else { panic!("{n}") };
        assert_eq!(record, Record::Body(sample::message_id(n)));
    }
}

#[tokio::test]
async fn nothing_of_a_secret_lies_open_on_the_disk() {
    let disk = OnDisk::with_senders().await;
    let client = Box::new(sample::client(1, "provider").unwrap());
    let grant = Box::new(sample::grant(1));
    let changes =
        vec![put_slot(1), Change::PutClient { client, expected: None }, Change::PutGrant { grant, expected: None }];
    disk.store.commit(changes, Vec::new()).await.unwrap();
    for (n, size) in [(1, 100), (2, 9000)] {
        let mut body = vec![b'x'; size];
        body[..16].copy_from_slice(b"a secret subject");
        let new = NewMessage { body: body.into(), ..with_body(n, size) };
        disk.store.accept(new).await.unwrap();
    }
    disk.store.close().await.unwrap();
    for (path, content) in content(disk.directory.path()) {
        for secret in
            ["refresh-token", "access-token", "client-secret", "code-verifier", "a secret subject", "recipient@"]
        {
            let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {}", path.display());
        }
    }
}

/// Not a test of its own: the process that the next one kills. It says of each receipt which message it is for.
#[tokio::test]
async fn a_process_that_accepts_until_it_is_killed() {
    let Ok(directory) = std::env::var("FRANKD_TEST_STORE") else {
        return;
    };
    let store = SledStore::open(options(Path::new(&directory))).unwrap();
    let first = u32::try_from(store.last_seq().now()).unwrap() * 10 + 1;
    if store.snapshot().await.unwrap().profiles.is_empty() {
        sample::senders(&store).await.unwrap();
    }
    let store = &store;
    let senders = (0..8).map(|sender| async move {
        for n in (0..).map(|n| first + n * 8 + sender) {
            store.accept(with_body(n, if n % 5 == 0 { 6000 } else { 1000 })).await.unwrap();
            println!("receipt {n}");
        }
    });
    futures::future::join_all(senders).await;
}

/// The process kills itself at a place of the store's choice; no receipt it gave before is lost.
#[cfg(feature = "fail-points")]
#[tokio::test]
async fn receipts_survive_every_fail_point() {
    for place in ["store.body_written:7", "store.before_flush:9", "store.after_flush_before_reply:11"] {
        let directory = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "store::sled::tests::disk::a_process_that_accepts_until_it_is_killed"])
            .env("FRANKD_TEST_STORE", directory.path())
            .env("FRANKD_FAIL_POINT", format!("{place}=kill"))
            .output()
            .unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(9), "{place}");
        let text = String::from_utf8_lossy(&output.stdout);
        let receipts = text.lines().filter_map(|line| line.rsplit_once("receipt ")?.1.parse::<u32>().ok());
        let receipts: Vec<u32> = receipts.collect();
        assert!(!receipts.is_empty(), "{place}");
        let store = SledStore::open(options(directory.path())).unwrap();
        for n in receipts {
            assert!(store.message(sample::message_id(n)).await.unwrap().is_some(), "{place}: {n}");
            assert!(store.body(sample::message_id(n)).await.unwrap().is_some(), "{place}: {n}");
        }
    }
}

#[tokio::test]
async fn receipts_survive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut receipts = Vec::new();
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "store::sled::tests::disk::a_process_that_accepts_until_it_is_killed"])
            .env("FRANKD_TEST_STORE", directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut numbers = lines.filter_map(|line| line.rsplit_once("receipt ")?.1.parse::<u32>().ok());
        receipts.extend(numbers.by_ref().take(60 + round * 17));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts too.
        receipts.extend(numbers);
        let store = SledStore::open(options(directory.path())).unwrap();
        for n in &receipts {
            let id = sample::message_id(*n);
            assert!(store.message(id).await.unwrap().is_some(), "{n}");
            assert!(store.body(id).await.unwrap().is_some(), "{n}");
        }
        let page = store.messages(MessageFilter { limit: 10_000, ..MessageFilter::default() }).await.unwrap();
        assert!(page.messages.len() >= receipts.len());
        store.close().await.unwrap();
    }
    assert!(receipts.len() >= 3 * 60);
}
