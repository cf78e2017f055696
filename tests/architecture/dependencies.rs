//! Licences and duplicate versions of the dependencies, by the rules of `deny.toml`, and the minimum
//! Rust version.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

use super::workspace;

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Skip {
    /// `name@version`.
    #[serde(rename = "crate")]
    package: String,
    reason: String,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    license: Option<String>,
}

fn read(name: &str) -> String {
    let path = workspace().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rules() -> Rules {
    toml::from_str(&read("deny.toml")).expect("deny.toml")
}

/// The output of a command that has to succeed.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let version = output(Command::new("rustc").arg("-vV"));
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let metadata = output(
        Command::new(cargo)
            .args([
                "metadata",
                "--locked",
                "--format-version=1",
                "--filter-platform",
            ])
            .arg(host.expect("rustc names its host"))
            .current_dir(workspace()),
    );
    let metadata: Metadata = serde_json::from_str(&metadata).expect("cargo's metadata");
    assert!(metadata.packages.len() > 100);
    let rules = rules().licenses;
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let mut allowed = rules.allow.clone();
        let exceptions = rules.exceptions.iter().filter(|e| e.name == package.name);
        allowed.extend(exceptions.flat_map(|exception| exception.allow.clone()));
        let license = package.license.as_deref().unwrap_or("no licence");
        if !is_allowed(license, &allowed) {
            wrong.push(format!("{}: {license}", package.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "licences that deny.toml does not allow:\n{}",
        wrong.join("\n")
    );
}

/// Whether one may use a crate under the SPDX expression `license` with the `allowed` licences only.
fn is_allowed(license: &str, allowed: &BTreeSet<String>) -> bool {
    // `A/B` is how Cargo once wrote `A OR B`.
    let spaced = license
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let value = alternatives(&mut words, allowed);
    value && words.peek().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn alternatives(words: &mut Words, allowed: &BTreeSet<String>) -> bool {
    let mut value = conjunction(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        value |= conjunction(words, allowed);
    }
    value
}

fn conjunction(words: &mut Words, allowed: &BTreeSet<String>) -> bool {
    let mut value = term(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        value &= term(words, allowed);
    }
    value
}

fn term(words: &mut Words, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.next() else {
        return false;
    };
    if word == "(" {
        let value = alternatives(words, allowed);
        return words.next() == Some(")") && value;
    }
    let mut name = word.to_string();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&name)
}

#[test]
fn every_crate_has_one_version_or_a_reason() {
    let lock: Lock = toml::from_str(&read("Cargo.lock")).expect("Cargo.lock");
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &lock.package {
        // Build metadata does not distinguish versions.
        let version = package.version.split('+').next().unwrap_or_default();
        versions.entry(&package.name).or_default().push(version);
    }
    let skip = rules().bans.skip;
    let skipped: BTreeSet<&str> = skip.iter().map(|skip| skip.package.as_str()).collect();
    assert!(skip.iter().all(|skip| !skip.reason.is_empty()));
    let mut wrong = Vec::new();
    for (name, versions) in &versions {
        let counts = |version: &&&str| !skipped.contains(format!("{name}@{version}").as_str());
        let counted: Vec<_> = versions.iter().filter(counts).collect();
        if counted.len() > 1 {
            wrong.push(format!("{name} has the versions {counted:?}"));
        }
    }
    for package in skipped {
        let (name, version) = package.split_once('@').expect("name@version");
        let found = versions.get(name).map_or(&[][..], Vec::as_slice);
        if found.len() < 2 || !found.contains(&version) {
            wrong.push(format!("{package} needs no exception"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn licence_expressions_are_evaluated() {
    let allowed = BTreeSet::from(["MIT".to_string(), "A WITH B".to_string()]);
    for (license, expected) in [
        ("MIT", true),
        ("X", false),
        ("X OR MIT", true),
        ("X/MIT", true),
        ("X AND MIT", false),
        ("MIT AND (X OR A WITH B)", true),
        ("MIT AND (X OR A WITH C)", false),
        ("X AND X OR MIT", true),
        ("(MIT", false),
        ("MIT X", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(license, &allowed), expected, "{license}");
    }
}

#[test]
fn the_minimum_rust_version_is_the_one_that_is_tested_and_documented() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).expect("Cargo.toml");
    let version = manifest["workspace"]["package"]["rust-version"].as_str();
    let version = version.expect("a string");
    let workflow = read(".github/workflows/ci.yml");
    assert!(
        workflow.contains(&format!("toolchain: \"{version}\"")),
        "ci.yml"
    );
    assert!(read("README.md").contains(version), "README.md");
}
