//! Plain prose: `words.txt` lists expressions that this project does not use, with what to write in
//! their place.

use std::path::{Path, PathBuf};

use regex::{Regex, RegexBuilder};

use super::{files, workspace};

/// Lines of a regular expression, a tab, and what to write instead.
const WORDS: &str = include_str!("words.txt");

/// Where people read prose: documents, sources with their comments, scripts.
const EXTENSIONS: [&str; 6] = ["md", "rs", "py", "sh", "toml", "yml"];
const PLACES: [&str; 13] = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "Cargo.toml",
    "build.rs",
    "deny.toml",
    ".github",
    "bin",
    "docs",
    "examples",
    "models",
    "src",
    "tests",
];

struct Rule {
    pattern: Regex,
    instead: String,
}

fn rules(words: &str) -> Vec<Rule> {
    let rule = |line: &str| {
        let (pattern, instead) = line.split_once('\t').expect("a tab in each line");
        let pattern = RegexBuilder::new(pattern).case_insensitive(true).build();
        Rule {
            pattern: pattern.expect("a regular expression"),
            instead: instead.to_string(),
        }
    };
    words
        .lines()
        .filter(|line| !line.is_empty())
        .map(rule)
        .collect()
}

#[test]
fn prose_is_plain() {
    let rules = rules(WORDS);
    let mut found = Vec::new();
    for (path, text) in prose_files() {
        let path = path
            .strip_prefix(workspace())
            .unwrap_or(&path)
            .display()
            .to_string();
        for (line, expression, instead) in check(&text, &rules) {
            found.push(format!("{path}:{line}: '{expression}': {instead}"));
        }
    }
    let count = found.len();
    assert!(
        found.is_empty(),
        "{count} expressions of words.txt:\n{}",
        found.join("\n")
    );
}

fn prose_files() -> Vec<(PathBuf, String)> {
    let read = |place: &str| files(&workspace().join(place), &EXTENSIONS);
    let mut all: Vec<_> = PLACES.into_iter().flat_map(read).collect();
    // This file's tests quote what they look for.
    let this = Path::new("tests").join("architecture").join("prose.rs");
    all.retain(|(path, _)| !path.ends_with(&this));
    all
}

/// Line, expression, and what to write instead.
fn check(text: &str, rules: &[Rule]) -> Vec<(usize, String, String)> {
    let (joined, starts) = join_lines(text);
    let mut found = Vec::new();
    for rule in rules {
        for hit in rule.pattern.find_iter(&joined) {
            let line = starts.partition_point(|start| *start <= hit.start());
            found.push((line, hit.as_str().to_string(), rule.instead.clone()));
        }
    }
    found.sort();
    found
}

/// The lines of a text in one, without indentation and comment marks, so that an expression is found
/// across the end of a line; and where each line starts in it.
fn join_lines(text: &str) -> (String, Vec<usize>) {
    let mut joined = String::new();
    let mut starts = Vec::new();
    for line in text.lines() {
        starts.push(joined.len());
        let line = line
            .trim()
            .trim_start_matches(['/', '!', '#', '*', '>'])
            .trim_start();
        joined.push_str(line.trim_end_matches('\\').trim_end());
        joined.push(' ');
    }
    (joined, starts)
}

#[test]
fn expressions_are_found_across_lines_and_comments() {
    let rules = rules("\\b(is|are) told\\b\tis reported\n\\banew\\b\tagain\n");
    let text = "//! Nothing here.\n    /// The user is\n    /// Told. Start anew,\nrenewed()";
    let found = check(text, &rules);
    let found: Vec<_> = found
        .iter()
        .map(|(line, text, _)| (*line, text.as_str()))
        .collect();
    assert_eq!(found, [(2, "is Told"), (3, "anew")]);
}
