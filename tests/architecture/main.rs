//! Rules for the repository as a whole: no import cycles, imports in one direction, no command-line
//! flags in the libraries' texts, plain prose, and the licences and versions of dependencies.

mod dependencies;
mod graph;
mod lexer;
mod modules;
mod prose;
mod texts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use graph::{Cycle, cycles};
use modules::{Crate, Disk, Files, Use};

/// The top-level modules of the library, in layers: a module imports those before it only.
const LAYERS: &[&str] = &[
    "suggest",
    "serde_text",
    "lock",
    "atomic",
    "device",
    "pattern",
    "activation",
    "parallel",
    "simd",
    "rng",
    "propagation",
    "landscape",
    "autograd",
    "ops",
    "nn",
    "pickle",
    "checkpoint",
    "hub",
    "data",
    "eval",
    "tensorboard",
    "page",
    "plot",
    "train",
    "report",
    "swap",
    "study",
    "onnx",
];

/// The root of the workspace.
fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn uses(root: &str) -> Vec<Use> {
    Crate::read(&workspace().join(root), &Disk).uses()
}

fn describe(cycle: &Cycle) -> String {
    let lines = cycle.iter().map(describe_use);
    format!("cycle:\n{}", lines.collect::<String>())
}

fn describe_use(found: &Use) -> String {
    let name = |path: &[String]| match path {
        [] => "the crate's root".to_string(),
        path => path.join("::"),
    };
    let place = found
        .place
        .replace(&format!("{}/", workspace().display()), "");
    format!(
        "  {} uses {} ({place})\n",
        name(&found.from),
        name(&found.to)
    )
}

fn check_cycles(root: &str) {
    let uses = uses(root);
    assert!(uses.len() > 50, "{root}: only {} uses found", uses.len());
    let found: String = cycles(&uses).iter().map(describe).collect();
    assert!(found.is_empty(), "{root}\n{found}");
}

#[test]
fn the_library_has_no_import_cycle() {
    check_cycles("src/lib.rs");
}

#[test]
fn the_models_have_no_import_cycle() {
    check_cycles("models/lib.rs");
}

#[test]
fn the_command_line_has_no_import_cycle() {
    check_cycles("bin/lib.rs");
}

#[test]
fn imports_of_the_library_point_in_one_direction() {
    let found: String = against_layers(&uses("src/lib.rs"), LAYERS)
        .iter()
        .map(describe_use)
        .collect();
    assert!(
        found.is_empty(),
        "imports against the layers, or of a module without one:\n{found}"
    );
}

/// The uses of a top-level module by one that is not in a later layer.
fn against_layers(uses: &[Use], layers: &[&str]) -> Vec<Use> {
    let layer = |module: &str| layers.iter().position(|layer| *layer == module);
    let wrong = uses
        .iter()
        .filter(|found| match (found.from.first(), found.to.first()) {
            // The root re-exports from everywhere; what it defines itself is below everything.
            (None, _) | (_, None) => false,
            (Some(from), Some(to)) if from == to => layer(from).is_none(),
            (Some(from), Some(to)) => match (layer(from), layer(to)) {
                (Some(from), Some(to)) => to >= from,
                _ => true,
            },
        });
    wrong.cloned().collect()
}

#[test]
fn the_library_knows_no_architecture() {
    for (file, text) in rust_files(&workspace().join("src")) {
        assert!(!text.contains("candle_mish_models"), "{}", file.display());
    }
}

#[test]
fn programs_have_kebab_case_names() {
    let path = workspace().join("bin").join("Cargo.toml");
    let manifest = std::fs::read_to_string(path).expect("the manifest of the programs");
    let manifest: toml::Table = toml::from_str(&manifest).expect("TOML");
    let programs = manifest["bin"].as_array().expect("a list of programs");
    assert!(programs.len() > 10, "{}", programs.len());
    for program in programs {
        let name = program["name"].as_str().expect("a name");
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(kebab), "{name}");
    }
}

#[test]
fn texts_of_the_libraries_name_arguments_and_no_flags() {
    let mut found = Vec::new();
    for folder in ["src", "models"] {
        for (file, text) in rust_files(&workspace().join(folder)) {
            for (text, line) in texts::flags(&text) {
                found.push(format!("{}:{line}: {text}", file.display()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "flags in texts of a library:\n{}",
        found.join("\n")
    );
}

/// Every Rust file below `folder` with its text, in order.
fn rust_files(folder: &Path) -> Vec<(PathBuf, String)> {
    files(folder, &["rs"])
}

/// Every file with one of these `extensions` at `place` or below it with its text, in order.
fn files(place: &Path, extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![place.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder of the workspace");
            waiting.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
            let text = std::fs::read_to_string(&path).expect("a text file");
            found.push((path, text));
        }
    }
    found.sort();
    found
}

/// Files in memory, for the tests of the checks.
struct Memory(BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> Option<String> {
        self.0.get(path).cloned()
    }
}

/// The uses among `files`, the first of which is the crate's root.
fn uses_of(files: &[(&str, &str)]) -> Vec<Use> {
    let text = |(path, text): &(&str, &str)| (PathBuf::from(*path), text.to_string());
    let memory = Memory(files.iter().map(text).collect());
    Crate::read(Path::new(files[0].0), &memory).uses()
}

/// From and to of every use, with `::` between the parts of a path.
fn pairs(files: &[(&str, &str)]) -> Vec<(String, String)> {
    let uses = uses_of(files);
    let pair = |found: &Use| (found.from.join("::"), found.to.join("::"));
    uses.iter().map(pair).collect()
}

/// The cycles among `files`, as the modules that each goes through.
fn cycles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let names = |cycle: &Cycle| cycle.iter().map(|found| found.from.join("::")).collect();
    cycles(&uses_of(files)).iter().map(names).collect()
}

#[test]
fn a_cycle_of_two_files_is_found() {
    let found = cycles_of(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "pub struct B; fn f() -> crate::a::A { todo!() }"),
    ]);
    assert_eq!(found, [["a", "b"]]);
}

#[test]
fn a_cycle_of_three_and_one_through_folders_are_found() {
    let found = cycles_of(&[
        ("lib.rs", "pub mod a; mod b; mod c;"),
        ("a/mod.rs", "mod inner; pub mod other;"),
        (
            "a/inner.rs",
            "use crate::b::{self, B as Name}; fn f() { b::g() }",
        ),
        ("a/other.rs", "pub fn h() {}"),
        ("b.rs", "pub struct B; pub fn g() { super::c::f() }"),
        ("c.rs", "use super::a::other::h; pub fn f() { h() }"),
    ]);
    assert_eq!(found, [["a::inner", "b", "c"]]);
}

#[test]
fn a_module_and_its_part_that_use_each_other_are_a_cycle() {
    let found = cycles_of(&[
        ("lib.rs", "mod a;"),
        (
            "a/mod.rs",
            "mod part; pub const SIZE: usize = 3; fn f() { part::g() }",
        ),
        ("a/part.rs", "pub fn g() -> usize { super::SIZE }"),
    ]);
    assert_eq!(found, [["a", "a::part"]]);
}

#[test]
fn re_exports_tests_comments_and_texts_make_no_cycle() {
    let root = "mod a; mod b; pub use a::A; pub use b::*;";
    let files = [
        ("lib.rs", root),
        (
            "a.rs",
            "use crate::B; pub struct A; /// See [`crate::b`].\nfn f(_: B) {}",
        ),
        (
            "b.rs",
            r#"pub struct B; // crate::a::A
            const TEXT: &str = "crate::a::A";
            #[cfg(test)]
            mod tests { use crate::A; }
            #[cfg(test)]
            use crate::a::A;"#,
        ),
    ];
    assert_eq!(cycles_of(&files), Vec::<Vec<String>>::new());
    // The path of a re-export leads to the file that defines the item, globs included.
    assert_eq!(pairs(&files), [("a".to_string(), "b".to_string())]);
}

#[test]
fn a_re_export_uses_nothing_until_its_name_is_used() {
    let part = "pub struct Part; pub fn part() -> super::Whole { todo!() }";
    let part = ("a/part.rs", part);
    let re_export = "mod part; pub(crate) use part::{Part, part}; pub struct Whole";
    let of = |text: &str| cycles_of(&[("lib.rs", "mod a;"), ("a/mod.rs", text), part]);
    assert_eq!(of(&format!("{re_export};")), Vec::<Vec<String>>::new());
    assert_eq!(of(&format!("{re_export}(Part);")), [["a", "a::part"]]);
}

#[test]
fn glob_imports_use_what_they_name() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use super::b::*; fn f() { named() }"),
        ("b.rs", "pub fn named() {} pub fn other() {}"),
    ];
    assert_eq!(pairs(&files), [("a".to_string(), "b".to_string())]);
    let unused = [files[0], ("a.rs", "use super::b::*;"), files[2]];
    assert_eq!(pairs(&unused), []);
}

#[test]
fn modules_inside_a_file_belong_to_it() {
    let files = [
        ("lib.rs", "mod a; mod b { pub fn f() { crate::a::g() } }"),
        (
            "a.rs",
            "mod inner { use super::super::b::f; use super::own; } fn own() {} pub fn g() {}",
        ),
    ];
    let expected = [("", "a"), ("a", "")].map(|(from, to)| (from.to_string(), to.to_string()));
    assert_eq!(pairs(&files), expected);
}

#[test]
fn an_import_against_the_layers_is_found() {
    let uses = uses_of(&[
        ("lib.rs", "mod low; mod high; mod unlisted;"),
        ("low.rs", "pub fn f() { crate::high::g() }"),
        ("high.rs", "pub fn g() {} fn h() { crate::low::f() }"),
        ("unlisted.rs", "use crate::low::f;"),
    ]);
    let found = against_layers(&uses, &["low", "high"]);
    let found: Vec<&str> = found.iter().map(|found| found.from[0].as_str()).collect();
    assert_eq!(found, ["low", "unlisted"]);
}
