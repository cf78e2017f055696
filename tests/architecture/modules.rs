//! The modules of a crate and which of them use which, read from their source.
//!
//! A module is a file; modules inside a file belong to it. Code that only tests compile is left out.
//! A path is followed through re-exports to the file that defines the item, and a re-export itself
//! uses nothing: a `mod.rs` may re-export a part that uses an item of the `mod.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::lexer::{Kind, Token, lex};

/// A file of the crate: the path of its module from the root, which is empty itself.
pub type ModulePath = Vec<String>;

/// One module uses another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    pub from: ModulePath,
    pub to: ModulePath,
    /// `file:line: path`, the place in `from`.
    pub place: String,
}

/// Reads a source file; None if there is none.
pub trait Files {
    fn read(&self, path: &Path) -> Option<String>;
}

/// The files of a folder.
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }
}

#[derive(Default)]
struct Module {
    file: PathBuf,
    /// Without `use` items.
    tokens: Vec<Token>,
    /// The module of the file; another one for modules inside a file.
    file_module: ModulePath,
    children: BTreeSet<String>,
    /// The names that are defined here, and not by a child.
    items: BTreeSet<String>,
    /// Name here, and the path that it stands for.
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Names that are re-exported, with their paths.
    re_exports: Vec<(String, Vec<String>)>,
    /// Paths with their lines, in `use` items and elsewhere.
    paths: Vec<(Vec<String>, usize)>,
}

/// All modules of one crate.
pub struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

impl Crate {
    /// Reads the crate whose root is the file `root`.
    pub fn read(root: &Path, files: &impl Files) -> Self {
        let mut modules = BTreeMap::new();
        let folder = root.parent().unwrap_or(Path::new("")).to_path_buf();
        let mut waiting = vec![(ModulePath::new(), root.to_path_buf(), folder)];
        while let Some((path, file, folder)) = waiting.pop() {
            let source = files
                .read(&file)
                .unwrap_or_else(|| panic!("no module file {}", file.display()));
            let tokens = without_tests(lex(&source));
            for (name, inline) in split(&path, &file, tokens, &mut modules) {
                let (mut child, mut below) = (path.clone(), folder.clone());
                child.extend(inline.iter().cloned());
                below.extend(&inline);
                child.push(name.clone());
                let flat = below.join(format!("{name}.rs"));
                let nested = below.join(&name).join("mod.rs");
                let file = if files.read(&flat).is_some() {
                    flat
                } else {
                    nested
                };
                waiting.push((child, file, below.join(&name)));
            }
        }
        Self { modules }
    }

    /// Every use of another file's items, the first place of each pair.
    pub fn uses(&self) -> Vec<Use> {
        let mut found: BTreeMap<(ModulePath, ModulePath), String> = BTreeMap::new();
        for (at, module) in &self.modules {
            for (path, line) in self.all_paths(module) {
                let Some(target) = self.resolve(at, &path) else {
                    continue;
                };
                let to = &self.modules[&target].file_module;
                if *to != module.file_module {
                    let place = format!("{}:{line}: {}", module.file.display(), path.join("::"));
                    let pair = (module.file_module.clone(), to.clone());
                    found.entry(pair).or_insert(place);
                }
            }
        }
        let uses = found
            .into_iter()
            .map(|((from, to), place)| Use { from, to, place });
        uses.collect()
    }

    /// The paths of a module, and those of the names that it uses and has by a glob import or a
    /// re-export.
    fn all_paths(&self, module: &Module) -> Vec<(Vec<String>, usize)> {
        let mut paths = module.paths.clone();
        let mut before = None;
        for token in &module.tokens {
            // `mod part;` declares a name that an item may have as well.
            let declared = before.replace(token).and_then(Token::ident) == Some("mod");
            let Some(name) = token.ident().filter(|_| !declared) else {
                continue;
            };
            if !module.globs.is_empty() {
                paths.push((vec![name.to_string()], token.line));
            }
            let exported = module.re_exports.iter().filter(|(own, _)| own == name);
            paths.extend(exported.map(|(_, path)| (path.clone(), token.line)));
        }
        paths
    }

    /// The module that defines the item at the end of `path`, which is written in the module `at`.
    /// None for items of other crates and for modules themselves: naming a module uses nothing
    /// of it.
    fn resolve(&self, at: &ModulePath, path: &[String]) -> Option<ModulePath> {
        match self.follow(at, path, 0) {
            Target::Item(module) | Target::Unknown(module) => Some(module),
            Target::None => None,
        }
    }

    fn follow(&self, at: &ModulePath, path: &[String], depth: usize) -> Target {
        // Two modules may import all of each other.
        if depth > 16 {
            return Target::None;
        }
        let mut here = at.clone();
        let mut rest = path;
        let mut inside = false;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => here.clear(),
                "super" => {
                    here.pop();
                }
                "self" => {}
                _ => break,
            }
            inside = true;
            rest = after;
        }
        while let (Some((name, after)), Some(module)) =
            (rest.split_first(), self.modules.get(&here))
        {
            if module.children.contains(name) {
                here.push(name.clone());
                rest = after;
                inside = true;
                continue;
            }
            if module.items.contains(name) {
                return Target::Item(here);
            }
            // An import may have the name of the crate that it is from.
            let import = module
                .imports
                .get(name)
                .filter(|import| import.as_slice() != rest);
            if let Some(import) = import {
                return self.follow(&here, &[import, after].concat(), depth + 1);
            }
            let in_globs = module.globs.iter().map(|glob| [glob, rest].concat());
            let found = in_globs.map(|path| self.follow(&here, &path, depth + 1));
            let mut items = found.filter(|found| matches!(found, Target::Item(_)));
            return match items.next() {
                Some(item) => item,
                None if inside => Target::Unknown(here),
                None => Target::None,
            };
        }
        Target::None
    }
}

/// Where a path leads.
enum Target {
    /// To an item that this module defines.
    Item(ModulePath),
    /// Into this module, where a macro makes the item.
    Unknown(ModulePath),
    /// To a module, or to another crate.
    None,
}

/// Puts the module `path` and those inside it into `modules`; returns its child files as name and
/// the inline modules around it.
fn split(
    path: &ModulePath,
    file: &Path,
    tokens: Vec<Token>,
    modules: &mut BTreeMap<ModulePath, Module>,
) -> Vec<(String, Vec<String>)> {
    let mut children = Vec::new();
    let mut waiting = vec![(Vec::new(), tokens)];
    while let Some((inline, mut tokens)) = waiting.pop() {
        let mut module = Module {
            file: file.to_path_buf(),
            file_module: path.clone(),
            ..Module::default()
        };
        let mut depth = 0;
        let mut at = 0;
        let mut uses = Vec::new();
        while let Some(token) = tokens.get(at) {
            let line = token.line;
            match &token.kind {
                Kind::Punct('{' | '(' | '[') => depth += 1,
                Kind::Punct('}' | ')' | ']') => depth -= 1,
                Kind::Ident(word) if word == "mod" => {
                    if let Some(name) = tokens.get(at + 1).and_then(Token::ident) {
                        module.children.insert(name.to_string());
                        if tokens.get(at + 2).is_some_and(|token| token.is('{')) {
                            let end = block_end(&tokens, at + 2);
                            let mut within: Vec<String> = inline.clone();
                            within.push(name.to_string());
                            waiting.push((within, tokens[at + 3..end - 1].to_vec()));
                            at = end;
                            continue;
                        }
                        children.push((name.to_string(), inline.clone()));
                    }
                }
                Kind::Ident(word) if word == "use" => {
                    let end = position(&tokens, at, ';');
                    let tree = &tokens[at + 1..end];
                    module.add_use(tree, line, is_public(&tokens[..at]));
                    uses.push(at..end);
                    at = end;
                }
                Kind::Ident(word) if depth == 0 && DEFINES.contains(&word.as_str()) => {
                    let mut next = at + 1;
                    while tokens
                        .get(next)
                        .is_some_and(|token| token.is('!') || token.ident() == Some("mut"))
                    {
                        next += 1;
                    }
                    if let Some(name) = tokens.get(next).and_then(Token::ident) {
                        module.items.insert(name.to_string());
                    }
                }
                Kind::Ident(word) if starts_path(&tokens, at) => {
                    let mut names = vec![word.clone()];
                    let mut next = at + 1;
                    while tokens
                        .get(next)
                        .is_some_and(|token| token.kind == Kind::PathSep)
                    {
                        let Some(name) = tokens.get(next + 1).and_then(Token::ident) else {
                            break;
                        };
                        names.push(name.to_string());
                        next += 2;
                    }
                    if names.len() > 1 {
                        module.paths.push((names, line));
                        at = next;
                        continue;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        for range in uses.into_iter().rev() {
            tokens.drain(range);
        }
        module.tokens = tokens;
        let mut full = path.clone();
        full.extend(inline);
        modules.insert(full, module);
    }
    children
}

/// The keywords before the name of an item.
const DEFINES: [&str; 9] = [
    "fn",
    "struct",
    "enum",
    "union",
    "trait",
    "type",
    "const",
    "static",
    "macro_rules",
];

/// Whether `tokens` end with a visibility.
fn is_public(tokens: &[Token]) -> bool {
    let open = tokens.iter().rposition(|token| token.is('('));
    let closed = tokens.last().is_some_and(|token| token.is(')'));
    let before = match open {
        Some(open) if closed => &tokens[..open],
        _ => tokens,
    };
    before.last().and_then(Token::ident) == Some("pub")
}

/// Whether a path begins at token `at`: a word after `::` or `.` continues one.
fn starts_path(tokens: &[Token], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|at| tokens.get(at));
    !before.is_some_and(|token| token.kind == Kind::PathSep || token.is('.'))
}

impl Module {
    fn add_use(&mut self, tree: &[Token], line: usize, public: bool) {
        let mut leaves = Vec::new();
        use_leaves(tree, &[], &mut leaves);
        for (path, name) in leaves {
            if name == "*" {
                self.globs.push(path);
                continue;
            }
            self.imports.insert(name.clone(), path.clone());
            if public {
                self.re_exports.push((name, path));
            } else {
                self.paths.push((path, line));
            }
        }
    }
}

/// The paths of a `use` tree with the names that they get here, `*` for a glob.
fn use_leaves(tree: &[Token], prefix: &[String], leaves: &mut Vec<(Vec<String>, String)>) {
    let mut path = prefix.to_vec();
    let mut at = 0;
    let mut alias = None;
    while let Some(token) = tree.get(at) {
        match &token.kind {
            Kind::Ident(word) if word == "as" => {
                alias = tree.get(at + 1).and_then(Token::ident).map(str::to_string);
                at += 1;
            }
            Kind::Ident(word) => path.push(word.clone()),
            Kind::Punct('*') => {
                leaves.push((path, "*".to_string()));
                return;
            }
            Kind::Punct('{') => {
                for branch in branches(&tree[at + 1..block_end(tree, at) - 1]) {
                    use_leaves(branch, &path, leaves);
                }
                return;
            }
            _ => {}
        }
        at += 1;
    }
    if path.len() > prefix.len() && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if let Some(name) = alias.or_else(|| path.last().cloned()) {
        leaves.push((path, name));
    }
}

/// `tokens` cut at the commas outside braces.
fn branches(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0;
    let cut = tokens.split(move |token| {
        depth += i32::from(token.is('{')) - i32::from(token.is('}'));
        depth == 0 && token.is(',')
    });
    cut.filter(|branch| !branch.is_empty()).collect()
}

/// `tokens` without the items under `#[cfg(test)]` and the like.
pub fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Some(end) = attribute_end(&tokens, at) else {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        };
        if !is_test(&tokens[at..end]) {
            kept.extend_from_slice(&tokens[at..end]);
            at = end;
            continue;
        }
        at = end;
        while let Some(end) = attribute_end(&tokens, at) {
            at = end;
        }
        let mut depth = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token.kind {
                Kind::Punct('(' | '[' | '{') => depth += 1,
                Kind::Punct(')' | ']') => depth -= 1,
                Kind::Punct('}') => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                Kind::Punct(';' | ',') if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}

/// The end of the outer attribute that begins at `at`.
fn attribute_end(tokens: &[Token], at: usize) -> Option<usize> {
    let begins = tokens.get(at)?.is('#') && tokens.get(at + 1)?.is('[');
    begins.then(|| block_end(tokens, at + 1))
}

/// Whether an attribute is `cfg(test)` or `cfg(all(test, …))`.
fn is_test(attribute: &[Token]) -> bool {
    let words: Vec<&str> = attribute.iter().filter_map(Token::ident).collect();
    words.first() == Some(&"cfg")
        && words.contains(&"test")
        && !words.contains(&"not")
        && !words.contains(&"any")
}

/// The place after the bracket that closes the one at `open`.
fn block_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Punct('{' | '(' | '[') => depth += 1,
            Kind::Punct('}' | ')' | ']') => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

fn position(tokens: &[Token], from: usize, punct: char) -> usize {
    let found = tokens.iter().skip(from).position(|token| token.is(punct));
    found.map_or(tokens.len(), |found| from + found)
}
