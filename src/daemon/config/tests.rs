//! The configuration file, line by line.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Config> {
    Config::parse(text, Path::new("config.toml"))
}

fn refusal(text: &str) -> String {
    let error = parse(text).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    error.chain()
}

#[test]
fn an_empty_file_is_all_defaults() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(parse("# only words\n").unwrap(), Config::default());
}

#[test]
fn every_setting_is_read_in_sections_dotted_and_inline() {
    let expected = Config {
        profile: Profile::LowMem,
        log_level: "debug".into(),
        dirty_max: Some(8 << 20),
        cache_max: Some(1 << 30),
        ..Config::default()
    };
    let sections =
        "profile = \"low-mem\"\n[log]\nlevel = \"debug\"\n[dirty]\nmax = \"8MiB\"\n[cache]\nmax = 1073741824\n";
    let dotted = "profile = \"low-mem\"\nlog.level = \"debug\"\ndirty.max = \"8 MiB\"\ncache.max = \"1GiB\"\n";
    let inline = "profile = \"low-mem\"\nlog = {level = \"debug\"}\ndirty = {max = \"8m\"}\ncache = { max = \"1g\" }\n";
    for text in [sections, dotted, inline] {
        assert_eq!(parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn an_unknown_key_names_its_line_and_the_keys_there_are() {
    let message = refusal("# a comment\nprofile = \"default\"\n\nprofil = \"low-mem\"\n");
    assert!(message.contains("line 4: unknown key `profil`"), "{message}");
    assert!(message.contains("dirty.max"), "{message}");
    assert!(refusal("[log]\nlevel = \"info\"\ncolour = true\n").contains("line 3: unknown key `log.colour`"));
    assert!(refusal("\n[nonsense]\nx = 1\n").contains("line 2: unknown key `nonsense`"));
}

#[test]
fn a_bad_value_names_its_line_and_what_the_key_takes() {
    let message = refusal("\nprofile = \"huge\"\n");
    assert!(message.contains("line 2: `profile` takes \"default\" or \"low-mem\", not \"huge\""), "{message}");
    assert!(refusal("[dirty]\nmax = -1\n").contains("line 2: `dirty.max` takes a size"));
    assert!(refusal("[dirty]\nmax = \"1KiB\"\n").contains("at least 4 MiB"));
    assert!(refusal("[log]\n\nlevel = 3\n").contains("line 3"));
    assert!(refusal("log = 3\n").contains("line 1"));
    assert!(refusal("profile = 1\nprofile = 2\n").contains("line 2"));
}

#[test]
fn what_is_not_toml_names_its_line() {
    assert!(refusal("profile = \"default\"\nthis is not toml\n").contains("line 2"));
}

#[test]
fn set_keeps_comments_and_refuses_what_could_not_be_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, "# mine\nprofile = \"default\" # why\n").unwrap();
    set(&path, "dirty.max", "64MiB").unwrap();
    set(&path, "profile", "low-mem").unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("# mine"), "{text}");
    let config = Config::load(&path).unwrap();
    assert_eq!((config.profile, config.dirty_max), (Profile::LowMem, Some(64 << 20)));
    assert!(set(&path, "profile", "tiny").is_err());
    assert!(set(&path, "no.such", "1").is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "a refused change leaves the file alone");
}

#[test]
fn set_makes_the_file_when_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    set(&path, "log.level", "lovage=debug").unwrap();
    assert_eq!(Config::load(&path).unwrap().log_level, "lovage=debug");
}

#[test]
fn every_setting_can_be_shown() {
    for setting in &SETTINGS {
        assert!(Config::default().get(setting.name).is_some(), "{}", setting.name);
    }
    assert_eq!(Config::default().get("no.such"), None);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }
}
