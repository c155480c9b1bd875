//! Settings files, right and wrong.

use std::time::Duration;

use frankd_proto::Capability;

use super::*;

const NAMES: Names =
    Names { user: |name| (name == "www-data").then_some(33), group: |name| (name == "mail").then_some(8) };

struct Folder {
    folder: tempfile::TempDir,
    paths: Paths,
}

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            config: folder.path().join("frankd.toml"),
            config_named: false,
            secrets_dir: folder.path().join("secrets"),
            state_dir: folder.path().join("state"),
            runtime_dir: folder.path().join("run"),
            credentials_dir: None,
        };
        let folder = Self { folder, paths };
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self) -> Result<Loaded, SettingsError> {
        Loaded::read(&self.paths, &NAMES)
    }

    fn error(&self) -> String {
        let error = self.read().unwrap_err().to_string();
        error.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn error_of(text: &str) -> String {
    Folder::with(&[("frankd.toml", text)]).error()
}

#[test]
fn without_a_file_everything_is_as_by_default_and_a_named_file_must_be_there() {
    let mut folder = Folder::with(&[]);
    let loaded = folder.read().unwrap();
    assert_eq!(*loaded.settings, Settings::default());
    assert!(loaded.show().settings.iter().all(|setting| setting.origin == "default"));
    folder.paths.config_named = true;
    assert!(folder.error().starts_with("cannot read frankd.toml"), "{}", folder.error());
}

#[test]
fn drop_ins_follow_in_the_order_of_their_names_and_each_value_has_its_origin() {
    let folder = Folder::with(&[
        ("frankd.toml", "[limits]\nbatch = 10\ncalls_in_flight = 5\n[queue]\ndrain_s = 7\n"),
        ("frankd.toml.d/20-late.toml", "[limits]\nbatch = 30\n"),
        ("frankd.toml.d/10-early.toml", "[limits]\nbatch = 20\n"),
        ("frankd.toml.d/ignored.toml.bak", "nonsense"),
        ("frankd.toml.d/.hidden.toml", "nonsense"),
    ]);
    let loaded = folder.read().unwrap();
    assert_eq!((loaded.settings.limits.batch, loaded.settings.limits.calls_in_flight), (30, 5));
    assert_eq!(loaded.settings.queue.drain, Duration::from_secs(7));
    let shown = loaded.show().settings;
    assert!(shown.windows(2).all(|pair| pair[0].key < pair[1].key));
    let of = |key: &str| shown.iter().find(|setting| setting.key == key).unwrap();
    assert!(of("limits.batch").origin.ends_with("frankd.toml.d/20-late.toml"));
    assert!(of("queue.drain_s").origin.ends_with("/frankd.toml"));
    assert_eq!((&of("queue.drain_s").value, &*of("retry.jitter").origin), (&Value::from(7), "default"));
    assert_eq!(of("limits.request_timeout_s").value, Value::from(30));
}

#[test]
fn rules_of_all_files_add_up_and_names_become_numbers() {
    let folder = Folder::with(&[
        ("frankd.toml", "[[access]]\nuser = \"www-data\"\ncapabilities = [\"submit\"]\nrate_per_hour = 500\n"),
        ("frankd.toml.d/a.toml", "[[access]]\ngroup = \"mail\"\ncapabilities = [\"observe\", \"read_token\"]\n"),
        ("frankd.toml.d/b.toml", "[[access]]\nuser = \"*\"\ncapabilities = [\"submit\"]\nprofiles = [\"shop\"]\n"),
        ("frankd.toml.d/c.toml", "# a\n\n[[access]]\nuser = \"gone\"\ncapabilities = [\"submit\"]\n"),
    ]);
    let loaded = folder.read().unwrap();
    let access = &loaded.settings.access;
    assert_eq!(access[0].subject, Subject::Uid(33));
    assert_eq!((access[0].rate_per_hour, access[0].profiles.clone()), (Some(500), None));
    assert_eq!(access[1].subject, Subject::Gid(8));
    assert_eq!(access[1].capabilities, [Capability::Observe, Capability::ReadToken]);
    assert_eq!(access[2].subject, Subject::Anyone);
    assert_eq!(access.len(), 3);
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("c.toml:3: there is no user \"gone\""), "{:?}", loaded.warnings);
    assert_eq!(loaded.show().settings[3].key, "access[3]");
}

#[test]
fn what_is_probably_not_meant_is_a_warning_of_every_reload() {
    let folder = Folder::with(&[]);
    let configurator = Configurator::new(folder.paths.clone(), NAMES, folder.read().unwrap(), &[]);
    folder.write(
        "frankd.toml",
        "[limits]\nrequest_bytes = 2000000\nmessage_bytes = 3000000\n[[access]]\nuid = 65534\ncapabilities = [\"submit\"]\n\
         rate_per_hour = 0\n[[access]]\nuser = \"gone\"\ncapabilities = [\"submit\"]\n",
    );
    for _ in 0..2 {
        let warnings = configurator.reload().unwrap().warnings.join("\n");
        for part in
            ["frankd.toml:4: uid 65534", "rate_per_hour = 0", "no user \"gone\"", "limits.message_bytes is more"]
        {
            assert!(warnings.contains(part), "{part}: {warnings}");
        }
    }
}

#[test]
fn a_mistake_names_the_file_the_line_and_the_key() {
    for (text, expected) in [
        ("[limits]\nbatch = \"many\"\n", "frankd.toml:2: limits.batch: invalid type: string \"many\", expected u32"),
        ("\n[limits]\nbatch = -1\n", "frankd.toml:3: limits.batch: invalid value: integer `-1`, expected u32"),
        ("[limits]\nbach = 1\n", "frankd.toml:2: limits.bach: unknown field `bach`, expected one of"),
        ("[limit]\nbatch = 1\n", "frankd.toml:1: limit: unknown field `limit`, expected one of"),
        ("a = \n", "frankd.toml:1: "),
        ("[limits\n", "frankd.toml:1: "),
        ("[[access]]\nuser = \"www-data\"\n", "frankd.toml:1: access[0]: missing field `capabilities`"),
        (
            "[[access]]\ncapabilities = [\"fly\"]\nuid = 1\n",
            "frankd.toml:2: access[0].capabilities[0]: unknown variant",
        ),
        ("\n[[access]]\ncapabilities = [\"submit\"]\n", "frankd.toml:2: access: a rule has exactly one of"),
        (
            "[[access]]\ncapabilities = [\"submit\"]\nuid = 1\ngid = 2\n",
            "frankd.toml:1: access: a rule has exactly one",
        ),
        ("[[access]]\ncapabilities = []\nuid = 1\n", "frankd.toml:1: access: `capabilities` is empty"),
        (
            "[[access]]\ncapabilities = [\"submit\"]\nuid = 1\nprofiles = [\"A b\"]\n",
            "frankd.toml:4: access[0].profiles[0]: a name has",
        ),
        ("[limits]\nrequest_bytes = 100000000\n", "default: limits.large_requests_bytes: must be at least twice"),
        ("[queue]\nuid_percent = 0\n", "frankd.toml: queue.uid_percent: must be from 1 to 100"),
        ("[retry]\njitter = nan\n", "frankd.toml: retry.jitter: must be from 0"),
        ("[retry]\nfirst_s = 60\nlongest_s = 5\n", "frankd.toml: retry.longest_s: must not be less"),
        ("[limits]\nbatch = 0\n", "frankd.toml: limits.batch: must be at least 1"),
    ] {
        let error = error_of(text);
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn a_reload_says_what_changed_and_a_wrong_one_changes_nothing() {
    let folder = Folder::with(&[("frankd.toml", "[limits]\nbatch = 10\n")]);
    let loaded = folder.read().unwrap();
    let configurator = Configurator::new(folder.paths.clone(), NAMES, loaded, &["queue.messages"]);
    let in_force = configurator.settings();
    folder.write("frankd.toml", "[limits]\nbatch = ten\n");
    let refused = RpcError::from(configurator.reload().unwrap_err());
    assert_eq!((refused.kind(), refused.data.field.as_deref()), (Kind::ObjectInvalid, None), "{refused}");
    folder.write("frankd.toml", "[limits]\nbatch = \"ten\"\n");
    let refused = RpcError::from(configurator.reload().unwrap_err());
    assert_eq!(refused.data.field.as_deref(), Some("limits.batch"));
    assert_eq!(in_force.borrow().limits.batch, 10);
    folder.write(
        "frankd.toml",
        "[limits]\nbatch = 11\n[queue]\nmessages = 5\n[[access]]\nuid = 1\ncapabilities = [\"submit\"]\n",
    );
    let reloaded = configurator.reload().unwrap();
    assert_eq!(reloaded.changed, ["access", "limits.batch", "queue.messages"]);
    assert_eq!(reloaded.needs_restart, ["queue.messages"]);
    assert_eq!((in_force.borrow().limits.batch, in_force.borrow().access.len()), (11, 1));
    assert!(configurator.show().settings.iter().any(|setting| setting.key == "access[0]"));
    assert_eq!(configurator.reload().unwrap().changed, Vec::<String>::new());
}

#[test]
fn the_file_that_is_installed_shows_every_key_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/frankd.toml");
    let text = fs::read_to_string(&path).unwrap();
    let mut section = "";
    let mut documented = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = line.trim_start_matches("# ").split_once(" = ") {
            let value = value.split('#').next().unwrap_or_default().trim();
            documented.insert(format!("{section}.{key}"), value.to_owned());
        }
    }
    for (key, value) in schema::show(&Settings::default()) {
        assert_eq!(documented.get(key), Some(&value.to_string()), "{key}");
    }
    assert_eq!(Folder::with(&[("frankd.toml", &text)]).read().unwrap().settings.limits, Settings::default().limits);
}
