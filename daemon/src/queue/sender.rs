//! Which profile sends a message, and whether the caller may send so (pure).

use frankd_proto::Name;

use super::error::SubmitError;
use crate::domain::Profile;
use crate::registry::View;

/// What the caller may send with.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Only these profiles; absent means all.
    pub profiles: Option<Vec<Name>>,
    /// Only these From addresses, each an address or `*@domain`; absent means all.
    pub from: Option<Vec<String>>,
}

impl Allowed {
    fn name(&self, name: &Name) -> bool {
        self.profiles.as_ref().is_none_or(|names| names.contains(name))
    }

    /// Refuses an address that the caller may not send from.
    pub(super) fn check_sender(&self, field: &str, address: &str) -> Result<(), SubmitError> {
        let Some(patterns) = &self.from else { return Ok(()) };
        if patterns.iter().any(|pattern| fit(pattern, address).is_some()) {
            return Ok(());
        }
        Err(SubmitError::SenderNotAllowed { field: field.to_owned(), address: address.to_owned() })
    }
}

/// How well a profile fits a From address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// By `*@domain`.
    Domain,
    /// By the address itself.
    Address,
}

fn fit(pattern: &str, address: &str) -> Option<Fit> {
    if pattern.eq_ignore_ascii_case(address) {
        return Some(Fit::Address);
    }
    let (domain, (_, given)) = (pattern.strip_prefix("*@")?, address.rsplit_once('@')?);
    domain.eq_ignore_ascii_case(given).then_some(Fit::Domain)
}

/// The address that a profile sends from when the message has none.
pub(super) fn own_address(profile: &Profile) -> Option<&str> {
    profile.from.as_deref().or_else(|| profile.username.as_deref().filter(|name| name.contains('@')))
}

/// Chooses: the profile that is named; else the one that fits `from` best, of equals the default and then the first by
/// name; else the default profile; else nobody.
pub(super) fn choose<'a>(
    view: &'a View,
    allowed: &Allowed,
    named: Option<&Name>,
    from: Option<&str>,
) -> Result<&'a Profile, SubmitError> {
    if let Some(name) = named {
        // Whether a profile exists that the caller may not send with is not told.
        if !allowed.name(name) {
            return Err(SubmitError::ProfileNotAllowed(name.clone()));
        }
        let profile = view.profile_named(name).ok_or_else(|| SubmitError::NoSuchProfile(name.clone()))?;
        if profile.smtp.is_none() {
            return Err(SubmitError::NotASender(name.clone()));
        }
        return Ok(profile);
    }
    let usable = || view.profiles().filter(|profile| profile.smtp.is_some() && allowed.name(&profile.name));
    let fitting = usable().filter_map(|profile| {
        let patterns = profile.allowed_from.iter().map(String::as_str).chain(own_address(profile));
        let best = patterns.filter_map(|pattern| fit(pattern, from?)).max()?;
        Some((best, profile))
    });
    let best = fitting.max_by_key(|(fit, profile)| (*fit, profile.default, std::cmp::Reverse(&profile.name)));
    best.map(|(_, profile)| profile).or_else(|| usable().find(|profile| profile.default)).ok_or_else(|| {
        let mut known: Vec<String> = usable().map(described).collect();
        known.sort();
        SubmitError::NoProfile {
            from: from.unwrap_or("a message without From").to_owned(),
            choices: match known.as_slice() {
                [] => "there is no profile that you may use".to_owned(),
                known => format!("there are {}, and none is the default", known.join("; ")),
            },
        }
    })
}

fn described(profile: &Profile) -> String {
    let mut from: Vec<&str> = own_address(profile).into_iter().collect();
    from.extend(profile.allowed_from.iter().map(String::as_str));
    match from.as_slice() {
        [] => profile.name.to_string(),
        from => format!("{} ({})", profile.name, from.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::tests::{profile, view_of};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn view() -> View {
        view_of([
            profile("main", |p| {
                p.default = true;
                p.username = Some("main@a.example".to_owned());
            }),
            profile("alerts", |p| p.allowed_from = vec!["alerts@b.example".to_owned(), "*@c.example".to_owned()]),
            profile("billing", |p| p.allowed_from = vec!["Billing@C.example".to_owned()]),
            profile("calls", |p| p.allowed_from = vec!["*@c.example".to_owned()]),
            profile("tokens", |p| p.smtp = None),
        ])
    }

    #[test]
    fn the_profile_follows_from_the_name_then_the_from_address_then_the_default() {
        let view = view();
        let all = Allowed::default();
        for (named, from, expected) in [
            (Some("calls"), Some("alerts@b.example"), "calls"),
            (None, Some("ALERTS@b.example"), "alerts"),
            (None, Some("billing@c.example"), "billing"),
            (None, Some("anybody@c.example"), "alerts"),
            (None, Some("main@a.example"), "main"),
            (None, Some("x@sub.c.example"), "main"),
            (None, None, "main"),
        ] {
            let chosen = choose(&view, &all, named.map(name).as_ref(), from).unwrap();
            assert_eq!(chosen.name.as_str(), expected, "{named:?} {from:?}");
        }
    }

    #[test]
    fn a_caller_uses_only_what_its_rules_allow() {
        let view = view();
        let only = Allowed { profiles: Some(vec![name("calls")]), from: Some(vec!["*@c.example".to_owned()]) };
        assert_eq!(choose(&view, &only, None, Some("billing@c.example")).unwrap().name, name("calls"));
        let error = choose(&view, &only, Some(&name("main")), None).unwrap_err();
        assert!(matches!(error, SubmitError::ProfileNotAllowed(_)));
        let absent = choose(&view, &only, Some(&name("nowhere")), None).unwrap_err();
        assert!(matches!(absent, SubmitError::ProfileNotAllowed(_)), "{absent:?}");
        assert!(only.check_sender("message.from", "x@c.example").is_ok());
        assert!(only.check_sender("message.from", "x@notc.example").is_err());
        let Err(error) = choose(&view, &only, None, Some("x@z.example")) else { panic!("chosen") };
        assert_eq!(
            error.to_string(),
            "no profile sends for x@z.example: there are calls (*@c.example), and none is the default"
        );
    }

    #[test]
    fn a_profile_that_is_missing_or_sends_no_mail_is_named() {
        let view = view();
        let all = Allowed::default();
        assert!(matches!(choose(&view, &all, Some(&name("x")), None), Err(SubmitError::NoSuchProfile(_))));
        assert!(matches!(choose(&view, &all, Some(&name("tokens")), None), Err(SubmitError::NotASender(_))));
    }
}
