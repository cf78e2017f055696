//! Cycles among modules.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{ModulePath, Use};

/// A cycle: each use leads to the module that the next one starts from.
pub type Cycle = Vec<Use>;

/// The cycles among the parts of each folder, one for each set of parts that reach one another.
///
/// The parts of a folder are its files and its folders, a folder with all that is in it. The
/// folder's own `mod.rs` (the root: `lib.rs`) is a part as well: what it defines itself is used
/// by its other parts or uses them, not both.
pub fn cycles(uses: &[Use]) -> Vec<Cycle> {
    let mut folders: BTreeMap<ModulePath, BTreeMap<(ModulePath, ModulePath), Use>> =
        BTreeMap::new();
    for item in uses {
        // Every folder above both has an edge; only the deepest can differ in its parts.
        let common = item
            .from
            .iter()
            .zip(&item.to)
            .take_while(|(a, b)| a == b)
            .count();
        let part = |path: &ModulePath| path[..path.len().min(common + 1)].to_vec();
        let edge = (part(&item.from), part(&item.to));
        let folder = item.from[..common].to_vec();
        folders
            .entry(folder)
            .or_default()
            .entry(edge)
            .or_insert_with(|| item.clone());
    }
    folders.values().flat_map(cycles_of_parts).collect()
}

/// A shortest cycle through each part that is in one, without those that only repeat parts of an
/// earlier cycle.
fn cycles_of_parts(edges: &BTreeMap<(ModulePath, ModulePath), Use>) -> Vec<Cycle> {
    let mut next: BTreeMap<&ModulePath, Vec<&ModulePath>> = BTreeMap::new();
    for (from, to) in edges.keys() {
        next.entry(from).or_default().push(to);
    }
    let mut seen = BTreeSet::new();
    let mut cycles = Vec::new();
    for start in next.keys() {
        let Some(path) = shortest_way_back(start, &next) else {
            continue;
        };
        let pairs: Vec<_> = path
            .windows(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect();
        if pairs.iter().any(|pair| !seen.contains(pair)) {
            cycles.push(pairs.iter().map(|pair| edges[pair].clone()).collect());
            seen.extend(pairs);
        }
    }
    cycles
}

/// A shortest path from `start` to itself.
fn shortest_way_back<'a>(
    start: &'a ModulePath,
    next: &BTreeMap<&'a ModulePath, Vec<&'a ModulePath>>,
) -> Option<Vec<&'a ModulePath>> {
    let mut paths = vec![vec![start]];
    let mut visited = BTreeSet::new();
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            for to in path
                .last()
                .and_then(|last| next.get(last))
                .into_iter()
                .flatten()
            {
                let mut path = path.clone();
                path.push(to);
                if *to == start {
                    return Some(path);
                }
                if visited.insert(*to) {
                    longer.push(path);
                }
            }
        }
        paths = longer;
    }
    None
}
