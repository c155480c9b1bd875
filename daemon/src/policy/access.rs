//! Who may do what: rules × caller × socket → what is granted, and whether a method is open.
//!
//! A caller gets the sum of all rules that match it: a thing is allowed when one rule allows the whole of it, so that a
//! rule that hands out one profile's token never hands out another's because a second rule names no profile. Root and
//! the daemon's own user may do everything; the group of the daemon observes, submits and operates; everybody else may do
//! nothing until a rule says so. The socket grants nothing; `submit.sock` only narrows.

use frankd_proto::method::MethodInfo;
use frankd_proto::{Capability, Name, Need};

use crate::domain::settings::{AccessRule, Subject};
use crate::domain::{Caller, SocketKind};

/// What the kernel shows for a user that a user namespace hides (`/proc/sys/kernel/overflowuid`).
pub const HIDDEN_UID: u32 = 65_534;

const GROUP_CAPABILITIES: &[Capability] = &[Capability::Observe, Capability::Submit, Capability::Operate];

/// Who is privileged without a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privileged {
    /// The user that the daemon runs as.
    pub daemon_uid: u32,
    /// The group `frankd`, where there is one.
    pub group: Option<u32>,
}

/// What a caller may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    capabilities: Vec<Capability>,
    profiles: Option<Vec<Name>>,
    from: Option<Vec<String>>,
    rate_per_hour: Option<u32>,
}

impl Part {
    fn unlimited(capabilities: &[Capability]) -> Self {
        Self { capabilities: capabilities.to_vec(), profiles: None, from: None, rate_per_hour: None }
    }
}

/// Adds up what the rules and the defaults give to a caller.
pub fn grant(rules: &[AccessRule], caller: &Caller, privileged: Privileged) -> Grant {
    if caller.uid == 0 || caller.uid == privileged.daemon_uid {
        return Grant { parts: vec![Part::unlimited(Capability::ALL)] };
    }
    let member = privileged.group.filter(|gid| caller.groups.contains(gid));
    let matching = rules.iter().filter(|rule| match rule.subject {
        Subject::Anyone => true,
        Subject::Uid(uid) => uid == caller.uid,
        Subject::Gid(gid) => caller.gid == gid || caller.groups.contains(&gid),
    });
    let mut parts: Vec<Part> = member.iter().map(|_| Part::unlimited(GROUP_CAPABILITIES)).collect();
    parts.extend(matching.map(|rule| Part {
        capabilities: rule.capabilities.clone(),
        profiles: rule.profiles.clone(),
        from: rule.from.clone(),
        rate_per_hour: rule.rate_per_hour,
    }));
    Grant { parts }
}

impl Grant {
    /// Whether any rule gives this capability.
    pub fn has(&self, capability: Capability) -> bool {
        self.parts.iter().any(|part| part.capabilities.contains(&capability))
    }

    /// All capabilities, in the order of the vocabulary.
    pub fn capabilities(&self) -> Vec<Capability> {
        Capability::ALL.iter().copied().filter(|c| self.has(*c)).collect()
    }

    /// Whether one of these capabilities holds for this profile.
    pub fn covers(&self, any: &[Capability], profile: &Name) -> bool {
        self.with(any).any(|part| part.profiles.as_ref().is_none_or(|names| names.contains(profile)))
    }

    /// Profiles for which one of these capabilities holds; `None` means all.
    pub fn profiles(&self, any: &[Capability]) -> Option<Vec<Name>> {
        self.union(any, |part| part.profiles.as_ref())
    }

    /// From addresses for which one of these capabilities holds (`*@example.org` allowed); `None` means all.
    pub fn from(&self, any: &[Capability]) -> Option<Vec<String>> {
        self.union(any, |part| part.from.as_ref())
    }

    /// Messages that the caller may queue in an hour; `None` means no limit. The most generous rule that lets it send
    /// counts.
    pub fn rate_per_hour(&self) -> Option<u32> {
        let mut most = Some(0);
        for part in self.with(SENDING) {
            most = most.and_then(|most| part.rate_per_hour.map(|rate| rate.max(most)));
        }
        most.filter(|_| self.with(SENDING).next().is_some())
    }

    fn with<'a>(&'a self, any: &'a [Capability]) -> impl Iterator<Item = &'a Part> {
        self.parts.iter().filter(move |part| part.capabilities.iter().any(|c| any.contains(c)))
    }

    fn union<T: Clone + Ord>(&self, any: &[Capability], limit: impl Fn(&Part) -> Option<&Vec<T>>) -> Option<Vec<T>> {
        let mut all = Vec::new();
        for part in self.with(any) {
            all.extend(limit(part)?.iter().cloned());
        }
        all.sort();
        all.dedup();
        Some(all)
    }
}

/// Capabilities that let a caller queue mail.
pub const SENDING: &[Capability] = &[Capability::Submit, Capability::Operate];

/// Whose objects a call reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only those that the caller made.
    Own,
    /// Everybody's.
    All,
}

/// Why a method is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The method is not on this socket.
    WrongSocket,
    /// None of these capabilities is granted.
    Missing(Vec<Capability>),
}

/// Whether a caller may call a method, and how far the call reaches.
pub fn admit(method: &MethodInfo, socket: SocketKind, grant: &Grant) -> Result<Reach, Refusal> {
    if socket == SocketKind::Submit && !method.on_submit_socket {
        return Err(Refusal::WrongSocket);
    }
    let reach = match method.needs {
        Need::Nobody => Reach::Own,
        Need::Any(any) if any.iter().any(|c| grant.has(*c)) => Reach::All,
        Need::Any(any) => return Err(Refusal::Missing(any.to_vec())),
        Need::OwnOr { all, .. } if grant.has(all) => Reach::All,
        Need::OwnOr { own, .. } if grant.has(own) => Reach::Own,
        Need::OwnOr { own, all } => return Err(Refusal::Missing(vec![own, all])),
    };
    let narrowed = socket == SocketKind::Submit && method.name.starts_with("message.");
    Ok(if narrowed { Reach::Own } else { reach })
}

impl Refusal {
    /// What happened, and what the caller or an administrator can do about it.
    pub fn explain(&self, method: &str, caller: &Caller) -> (String, String) {
        match self {
            Self::WrongSocket => (
                format!("`{method}` is not offered on submit.sock"),
                "connect to control.sock instead, which takes membership of the group frankd: submit.sock takes \
                 `message.*` for one's own messages, `token.get`, `token.info`, `system.ping` and `access.whoami`"
                    .to_owned(),
            ),
            Self::Missing(needed) => {
                let words: Vec<String> = needed.iter().map(|c| format!("`{c}`")).collect();
                let rule = rule_for(caller, needed);
                let group = needed.iter().any(|c| GROUP_CAPABILITIES.contains(c));
                let join = if group { "join the group frankd, or " } else { "" };
                (
                    format!("`{method}` needs {}, which this user does not have", words.join(" or ")),
                    format!(
                        "{join}have this line put into a file of its own, such as /etc/frankd/frankd.toml.d/access.toml, \
                         and `frankctl reload`: {rule}"
                    ),
                )
            }
        }
    }
}

/// The rule that would give the first of the needed capabilities: one line of TOML that is a settings file by itself.
fn rule_for(caller: &Caller, needed: &[Capability]) -> String {
    let who = match &caller.user {
        Some(user) => format!("user = \"{}\"", user.escape_default()),
        None => format!("uid = {}", caller.uid),
    };
    let what = needed.first().map_or("observe", |c| c.as_str());
    format!("access = [{{ {who}, capabilities = [\"{what}\"] }}]")
}

#[cfg(test)]
mod tests {
    use frankd_proto::methods::{TABLE, table};

    use super::*;

    const PRIVILEGED: Privileged = Privileged { daemon_uid: 990, group: Some(990) };

    fn caller(uid: u32, groups: &[u32]) -> Caller {
        Caller { uid, gid: uid, pid: Some(1), user: None, groups: groups.to_vec(), socket: SocketKind::Control }
    }

    fn rule(subject: Subject, capabilities: &[Capability]) -> AccessRule {
        AccessRule { subject, capabilities: capabilities.to_vec(), profiles: None, from: None, rate_per_hour: None }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn without_a_rule_root_the_daemon_and_its_group_have_what_the_design_says_and_others_nothing() {
        let of = |uid, groups: &[u32]| grant(&[], &caller(uid, groups), PRIVILEGED).capabilities();
        assert_eq!(of(0, &[]), Capability::ALL);
        assert_eq!(of(990, &[]), Capability::ALL);
        assert_eq!(of(1000, &[1000, 990]), GROUP_CAPABILITIES);
        assert_eq!(of(1000, &[1000]), []);
        assert_eq!(of(HIDDEN_UID, &[HIDDEN_UID]), []);
    }

    #[test]
    fn every_method_is_open_to_whom_it_needs_and_to_nobody_else() {
        let everything = grant(&[], &caller(0, &[]), PRIVILEGED);
        let nothing = grant(&[], &caller(1000, &[]), PRIVILEGED);
        for row in TABLE {
            assert!(admit(row, SocketKind::Control, &everything).is_ok(), "{}", row.name);
            let open = admit(row, SocketKind::Control, &nothing).is_ok();
            assert_eq!(open, row.needs == Need::Nobody, "{}", row.name);
            for capability in Capability::ALL {
                let one = grant(&[rule(Subject::Uid(7), &[*capability])], &caller(7, &[]), PRIVILEGED);
                let expected = match row.needs {
                    Need::Nobody => true,
                    Need::Any(any) => any.contains(capability),
                    Need::OwnOr { own, all } => *capability == own || *capability == all,
                };
                let open = admit(row, SocketKind::Control, &one).is_ok();
                assert_eq!(open, expected, "{} with {capability}", row.name);
            }
        }
    }

    #[test]
    fn the_submit_socket_offers_its_methods_alone_and_only_ones_own_messages() {
        let everything = grant(&[], &caller(0, &[]), PRIVILEGED);
        for row in TABLE {
            let answer = admit(row, SocketKind::Submit, &everything);
            match (row.on_submit_socket, row.name.starts_with("message.")) {
                (false, _) => assert_eq!(answer, Err(Refusal::WrongSocket), "{}", row.name),
                (true, true) => assert_eq!(answer, Ok(Reach::Own), "{}", row.name),
                (true, false) => assert!(answer.is_ok(), "{}", row.name),
            }
        }
    }

    #[test]
    fn submit_reaches_ones_own_messages_and_observe_those_of_all() {
        let get = table("message.get").unwrap();
        let with = |capability| grant(&[rule(Subject::Anyone, &[capability])], &caller(7, &[]), PRIVILEGED);
        assert_eq!(admit(get, SocketKind::Control, &with(Capability::Submit)), Ok(Reach::Own));
        assert_eq!(admit(get, SocketKind::Control, &with(Capability::Observe)), Ok(Reach::All));
    }

    #[test]
    fn a_rule_without_profiles_does_not_widen_another_rules_capability() {
        let mut tokens = rule(Subject::Uid(7), &[Capability::ReadToken]);
        tokens.profiles = Some(vec![name("shop")]);
        let rules = [tokens, rule(Subject::Gid(50), &[Capability::Submit])];
        let both = grant(&rules, &caller(7, &[50]), PRIVILEGED);
        assert!(both.covers(&[Capability::ReadToken], &name("shop")));
        assert!(!both.covers(&[Capability::ReadToken], &name("alerts")));
        assert!(both.covers(&[Capability::Submit], &name("alerts")));
        assert_eq!(both.profiles(&[Capability::ReadToken]), Some(vec![name("shop")]));
        assert_eq!(both.profiles(SENDING), None);
    }

    #[test]
    fn limits_of_several_rules_add_up() {
        let mut first = rule(Subject::Anyone, &[Capability::Submit]);
        first.from = Some(vec!["*@a.example".to_owned()]);
        first.rate_per_hour = Some(10);
        let mut second = first.clone();
        second.from = Some(vec!["b@b.example".to_owned()]);
        second.rate_per_hour = Some(50);
        let of = |rules: &[AccessRule]| grant(rules, &caller(7, &[]), PRIVILEGED);
        let both = of(&[first.clone(), second]);
        assert_eq!(both.from(SENDING).unwrap(), ["*@a.example", "b@b.example"]);
        assert_eq!(both.rate_per_hour(), Some(50));
        let free = of(&[first, rule(Subject::Anyone, &[Capability::Submit])]);
        assert_eq!(free.from(SENDING), None);
        assert_eq!(free.rate_per_hour(), None);
    }

    #[test]
    fn a_refusal_names_the_capability_the_group_and_the_rule_to_write() {
        let refusal = Refusal::Missing(vec![Capability::Operate, Capability::Administer]);
        let mut who = caller(7, &[]);
        who.user = Some("www-data".to_owned());
        let (message, hint) = refusal.explain("profile.pause", &who);
        assert!(message.contains("`operate` or `administer`"), "{message}");
        assert!(hint.contains("group frankd"), "{hint}");
        let line = &hint[hint.find("access = ").unwrap()..];
        let file: toml::Table = line.parse().unwrap();
        let rule = &file["access"][0];
        assert_eq!((rule["user"].as_str(), rule["capabilities"][0].as_str()), (Some("www-data"), Some("operate")));
        let (_, hint) = Refusal::Missing(vec![Capability::ReadToken]).explain("token.get", &caller(7, &[]));
        assert!(!hint.contains("group frankd") && hint.contains("uid = 7"), "{hint}");
    }
}
