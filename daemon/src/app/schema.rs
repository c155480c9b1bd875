//! What a settings file may hold: every key, its type, and the place of its value in [`Settings`].
//!
//! Durations are whole seconds in the file. A file is read strictly: an unknown key is a mistake.

use std::time::Duration;

use frankd_proto::{Capability, Name};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::Settings;

/// One settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) access: Vec<Rule>,
    limits: Limits,
    queue: Queue,
    retry: Retry,
    retention: Retention,
}

/// One `[[access]]` rule. Exactly one of the first four says whom it is for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// A user by name; `*` is everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gid: Option<u32>,
    pub(super) capabilities: Vec<Capability>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) profiles: Option<Vec<Name>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rate_per_hour: Option<u32>,
}

/// A value as the file has it.
trait InFile: Clone {
    type Written: Serialize;

    fn read(written: Self::Written) -> Self;
    fn written(&self) -> Self::Written;
}

macro_rules! as_it_is {
    ($($kind:ty),+) => {$(
        impl InFile for $kind {
            type Written = Self;

            fn read(written: Self) -> Self {
                written
            }

            fn written(&self) -> Self {
                *self
            }
        }
    )+};
}

as_it_is!(u64, u32, f64);

impl InFile for Duration {
    type Written = u64;

    fn read(written: u64) -> Self {
        Self::from_secs(written)
    }

    fn written(&self) -> u64 {
        self.as_secs()
    }
}

/// Declares the sections and keys, how they change the settings, and how they are shown.
macro_rules! sections {
    ($($(#[$lint:meta])? $section:ident $name:ident { $($key:ident => $field:ident: $kind:ty,)+ })+) => {
        $(
            #[derive(Debug, Default, Deserialize)]
            #[serde(deny_unknown_fields, default)]
            $(#[$lint])?
            struct $name {
                $($key: Option<<$kind as InFile>::Written>,)+
            }
        )+

        impl File {
            /// Puts the file's values into the settings, and tells the key of each.
            pub(super) fn apply(self, settings: &mut Settings, mut set: impl FnMut(&'static str)) {
                $($(
                    if let Some(written) = self.$section.$key {
                        settings.$section.$field = <$kind as InFile>::read(written);
                        set(concat!(stringify!($section), ".", stringify!($key)));
                    }
                )+)+
            }
        }

        /// Every key but the access rules, with its value in force, in the order of the file.
        pub(super) fn show(settings: &Settings) -> Vec<(&'static str, Value)> {
            vec![$($(
                (
                    concat!(stringify!($section), ".", stringify!($key)),
                    Value::from(InFile::written(&settings.$section.$field)),
                ),
            )+)+]
        }
    };
}

sections! {
    limits Limits {
        request_bytes => request_bytes: u64,
        message_bytes => message_bytes: u64,
        large_requests_bytes => large_requests_bytes: u64,
        batch => batch: u32,
        calls_in_flight => calls_in_flight: u32,
        connections_per_uid => connections_per_uid: u32,
        subscriptions_per_uid => subscriptions_per_uid: u32,
        request_timeout_s => request_timeout: Duration,
        request_bytes_per_second => request_bytes_per_second: u64,
    }
    queue Queue {
        messages => messages: u64,
        uid_percent => uid_percent: u32,
        min_free_bytes => min_free_bytes: u64,
        expires_after_s => expires_after: Duration,
        longest_gate_s => longest_gate: Duration,
        drain_s => drain: Duration,
    }
    retry Retry {
        first_s => first: Duration,
        longest_s => longest: Duration,
        jitter => jitter: f64,
    }
    #[expect(clippy::struct_field_names, reason = "the keys name their unit")]
    retention Retention {
        body_s => body: Duration,
        message_s => message: Duration,
        event_s => event: Duration,
        idempotency_s => idempotency: Duration,
        grant_s => grant: Duration,
    }
}

/// The first value that cannot be, as its key and what it must be.
pub(super) fn check(settings: &Settings) -> Result<(), (&'static str, String)> {
    const MIB: u64 = 1024 * 1024;
    let limits = &settings.limits;
    let least = |key, value: u64, least: u64| {
        if value < least { Err((key, format!("must be at least {least}"))) } else { Ok(()) }
    };
    least("limits.request_bytes", limits.request_bytes, MIB)?;
    if limits.request_bytes > 1024 * MIB {
        return Err(("limits.request_bytes", "must be at most 1 GiB".to_owned()));
    }
    least("limits.message_bytes", limits.message_bytes, 1024)?;
    if limits.large_requests_bytes / 2 < limits.request_bytes {
        let least = limits.request_bytes * 2;
        let text = format!("must be at least twice limits.request_bytes, that is {least}: one user has half of it");
        return Err(("limits.large_requests_bytes", text));
    }
    for (key, value) in [
        ("limits.batch", u64::from(limits.batch)),
        ("limits.calls_in_flight", u64::from(limits.calls_in_flight)),
        ("limits.connections_per_uid", u64::from(limits.connections_per_uid)),
        ("limits.request_timeout_s", limits.request_timeout.as_secs()),
        ("limits.request_bytes_per_second", limits.request_bytes_per_second),
        ("queue.messages", settings.queue.messages),
        ("queue.expires_after_s", settings.queue.expires_after.as_secs()),
        ("queue.longest_gate_s", settings.queue.longest_gate.as_secs()),
        ("retry.first_s", settings.retry.first.as_secs()),
    ] {
        least(key, value, 1)?;
    }
    if !(1..=100).contains(&settings.queue.uid_percent) {
        return Err(("queue.uid_percent", "must be from 1 to 100".to_owned()));
    }
    if settings.retry.longest < settings.retry.first {
        return Err(("retry.longest_s", "must not be less than retry.first_s".to_owned()));
    }
    if !(0.0..1.0).contains(&settings.retry.jitter) {
        return Err(("retry.jitter", "must be from 0 to less than 1".to_owned()));
    }
    Ok(())
}
