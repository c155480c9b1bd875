//! Who is at the other end: the kernel's word (`SO_PEERCRED`), and names and groups from the account database.
//!
//! The account database may be slow or down (LDAP, a domain): a lookup has two seconds, runs once at a time for each uid
//! and never in the way of anybody else. When it gives no answer, only uid and primary group count. Root and the daemon's
//! own user are never looked up, so an administrator gets in whatever the database does.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use nix::unistd::{Gid, Uid, User};

use crate::clock::{ClockExt as _, Instant, SharedClock};
use crate::domain::{Caller, SocketKind};

/// Longest wait for the account database.
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);
/// How long its answer is believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long to get by without an answer before it is asked again.
const RETRY: Duration = Duration::from_secs(5);
/// Users kept in memory; beyond it old ones go.
const KEPT: usize = 4096;

/// A peer as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Process id at the time of the connection.
    pub pid: Option<i32>,
}

impl Peer {
    /// Asks the kernel who connected.
    pub fn of(stream: &tokio::net::UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() })
    }
}

/// What the account database says of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub user: Option<String>,
    /// Ids of all groups.
    pub groups: Vec<u32>,
}

/// The account database.
pub trait Accounts: Send + Sync + 'static {
    /// Looks up a user. May take as long as it likes: nobody waits longer than two seconds.
    fn look_up(&self, uid: u32, gid: u32) -> BoxFuture<'static, Option<Account>>;
}

/// The account database of the host (NSS).
#[derive(Clone, Copy, Debug, Default)]
pub struct HostAccounts;

impl Accounts for HostAccounts {
    fn look_up(&self, uid: u32, gid: u32) -> BoxFuture<'static, Option<Account>> {
        let lookup = tokio::task::spawn_blocking(move || {
            let user = User::from_uid(Uid::from_raw(uid)).ok()?;
            let Some(user) = user else {
                return Some(Account { user: None, groups: vec![gid] });
            };
            let name = CString::new(user.name.clone()).ok()?;
            let groups = nix::unistd::getgrouplist(&name, Gid::from_raw(gid)).ok()?;
            Some(Account { user: Some(user.name), groups: groups.into_iter().map(Gid::as_raw).collect() })
        });
        lookup.map(|answer| answer.ok().flatten()).boxed()
    }
}

type Lookup = Shared<BoxFuture<'static, Option<Account>>>;

#[derive(Debug, Clone)]
struct Known {
    account: Option<Account>,
    at: Instant,
}

#[derive(Default)]
struct Cache {
    known: HashMap<u32, Known>,
    asked: HashMap<u32, Lookup>,
}

/// Callers, with the answers of the account database for a minute.
pub(super) struct Peers {
    accounts: Arc<dyn Accounts>,
    clock: SharedClock,
    daemon_uid: u32,
    cache: Mutex<Cache>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}

impl Peers {
    /// Callers of a daemon that runs as `daemon_uid`.
    pub(super) fn new(accounts: Arc<dyn Accounts>, clock: SharedClock, daemon_uid: u32) -> Self {
        Self { accounts, clock, daemon_uid, cache: Mutex::default() }
    }

    /// Whether what is known of a caller since `at` has to be asked again.
    pub(super) fn is_old(&self, uid: u32, at: Instant) -> bool {
        !self.needs_no_lookup(uid) && self.clock.now().since(at) >= BELIEVED
    }

    /// The caller behind a peer.
    pub(super) async fn caller(&self, peer: Peer, socket: SocketKind) -> Caller {
        let account = if self.needs_no_lookup(peer.uid) { None } else { self.account(peer).await };
        let account = account.unwrap_or_default();
        let mut groups = account.groups;
        if !groups.contains(&peer.gid) {
            groups.push(peer.gid);
        }
        let root = (peer.uid == 0).then(|| "root".to_owned());
        Caller { uid: peer.uid, gid: peer.gid, pid: peer.pid, user: root.or(account.user), groups, socket }
    }

    fn needs_no_lookup(&self, uid: u32) -> bool {
        uid == 0 || uid == self.daemon_uid
    }

    async fn account(&self, peer: Peer) -> Option<Account> {
        let lookup = {
            let mut cache = self.lock();
            if let Some(known) = cache.known.get(&peer.uid) {
                let believed = if known.account.is_some() { BELIEVED } else { RETRY };
                if self.clock.now().since(known.at) < believed {
                    return known.account.clone();
                }
            }
            let ask = || self.accounts.look_up(peer.uid, peer.gid).shared();
            cache.asked.entry(peer.uid).or_insert_with(ask).clone()
        };
        let answer = self.clock.deadline(LOOKUP_LIMIT, lookup).await;
        let mut cache = self.lock();
        if answer.is_ok() {
            cache.asked.remove(&peer.uid);
        }
        let account = answer.ok().flatten();
        if cache.known.len() >= KEPT {
            let now = self.clock.now();
            cache.known.retain(|_, known| now.since(known.at) < RETRY);
        }
        let known = Known { account: account.clone(), at: self.clock.now() };
        cache.known.insert(peer.uid, known);
        account
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a peer with the uid of hidden users is refused.
pub(super) fn explain_hidden() -> (&'static str, &'static str) {
    // An identity map has the one line `0 0 4294967295`: then nothing is hidden from this process.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let identity = map.split_whitespace().eq(["0", "0", "4294967295"]);
    if identity {
        (
            "uid 65534 is what the kernel shows for users that it cannot tell apart, so it is nobody in particular",
            "run the program as a user of its own",
        )
    } else {
        (
            "this user is hidden from frankd by a user namespace (the kernel shows uid 65534)",
            "run frankd without PrivateUsers= and outside of the user namespace, or the program inside of it",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::{Clock as _, FakeClock};

    struct Database {
        asked: AtomicU32,
        answer: Option<Account>,
    }

    impl Accounts for Database {
        fn look_up(&self, _: u32, _: u32) -> BoxFuture<'static, Option<Account>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            match self.answer.clone() {
                Some(account) => std::future::ready(Some(account)).boxed(),
                None => std::future::pending().boxed(),
            }
        }
    }

    fn peers(answer: Option<Account>) -> (Peers, Arc<Database>, FakeClock) {
        let clock = FakeClock::new();
        let database = Arc::new(Database { asked: AtomicU32::new(0), answer });
        let peers = Peers::new(Arc::clone(&database) as Arc<dyn Accounts>, Arc::new(clock.clone()), 990);
        (peers, database, clock)
    }

    const ALICE: Peer = Peer { uid: 1000, gid: 1000, pid: Some(1) };

    #[tokio::test(start_paused = true)]
    async fn groups_come_from_the_database_and_are_believed_for_a_minute() {
        let account = Account { user: Some("alice".to_owned()), groups: vec![1000, 990] };
        let (peers, database, clock) = peers(Some(account));
        let caller = peers.caller(ALICE, SocketKind::Control).await;
        assert_eq!((caller.user.as_deref(), caller.groups), (Some("alice"), vec![1000, 990]));
        peers.caller(ALICE, SocketKind::Control).await;
        assert_eq!(database.asked.load(Ordering::Relaxed), 1);
        clock.sleep(BELIEVED).await;
        peers.caller(ALICE, SocketKind::Control).await;
        assert_eq!(database.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_database_costs_two_seconds_once_and_the_primary_group_counts() {
        let (peers, database, clock) = peers(None);
        let began = clock.now();
        let caller = peers.caller(ALICE, SocketKind::Control).await;
        assert_eq!(clock.now().since(began), LOOKUP_LIMIT);
        assert_eq!((caller.user, caller.groups), (None, vec![1000]));
        peers.caller(ALICE, SocketKind::Control).await;
        assert_eq!(clock.now().since(began), LOOKUP_LIMIT, "the next call does not wait");
        clock.sleep(RETRY).await;
        peers.caller(ALICE, SocketKind::Control).await;
        assert_eq!(database.asked.load(Ordering::Relaxed), 1, "one hanging lookup, never two");
    }

    #[tokio::test(start_paused = true)]
    async fn root_and_the_daemons_own_user_are_never_looked_up() {
        let (peers, database, _) = peers(None);
        for uid in [0, 990] {
            let peer = Peer { uid, ..ALICE };
            assert_eq!(peers.caller(peer, SocketKind::Submit).await.uid, uid);
        }
        assert_eq!(database.asked.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn the_host_knows_root() {
        let root = HostAccounts.look_up(0, 0).await.unwrap();
        assert_eq!(root.user.as_deref(), Some("root"));
        assert!(root.groups.contains(&0));
    }
}
