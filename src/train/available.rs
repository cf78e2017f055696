//! The memory that a process can still use.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Bytes that this process can use in addition, without swapping: the available memory of the
/// computer, or less if a control group of the process has a limit, as in a container or a job of
/// Slurm. `None` on systems other than Linux.
pub(super) fn available_memory() -> Option<usize> {
    let computer = of_meminfo(&read_to_string("/proc/meminfo").ok()?)?;
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = folders(&groups)
        .into_iter()
        .filter_map(|group| group.free());
    limits.chain([computer]).min()
}

/// Bytes of this process in memory. `None` on systems other than Linux.
pub(super) fn resident_memory() -> Option<usize> {
    kilobytes(&read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

fn of_meminfo(text: &str) -> Option<usize> {
    kilobytes(text, "MemAvailable:")
}

/// The bytes in a line such as `VmRSS:  123 kB`.
fn kilobytes(text: &str, name: &str) -> Option<usize> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: usize = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// A control group's folder, and its version.
#[derive(Debug, PartialEq)]
struct Group {
    folder: PathBuf,
    files: &'static Files,
}

/// The names of a version's files and values.
#[derive(Debug, PartialEq)]
struct Files {
    limit: &'static str,
    used: &'static str,
    /// The line of `memory.stat` with the bytes of the page cache that the kernel frees if needed.
    cache: &'static str,
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cache: "total_inactive_file ",
};
const V2: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    cache: "inactive_file ",
};

impl Group {
    /// The bytes up to the limit; `None` without a limit.
    fn free(&self) -> Option<usize> {
        let read = |name: &str| read_to_string(self.folder.join(name)).ok();
        let number = |name: &str| -> Option<usize> { read(name)?.trim().parse().ok() };
        // Without a limit, version 2 has the word `max` here.
        let limit = number(self.files.limit)?;
        let used = number(self.files.used)?;
        let stat = read("memory.stat").unwrap_or_default();
        let cache = stat
            .lines()
            .find_map(|line| line.strip_prefix(self.files.cache));
        let cache = cache
            .and_then(|bytes| bytes.trim().parse().ok())
            .unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(cache)))
    }
}

/// The folders of the groups in the content of `/proc/self/cgroup`, and of the groups above them: each
/// may have a limit. In a container the group's own folder is the root.
fn folders(groups: &str) -> Vec<Group> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, files) = match controllers {
            "" => ("/sys/fs/cgroup", &V2),
            names if names.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", &V1)
            }
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        for part in path.ancestors() {
            found.push(Group {
                folder: Path::new(root).join(part),
                files,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    8192 kB\n";
        assert_eq!(of_meminfo(text), Some(8 << 20));
        assert_eq!(of_meminfo("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn groups_of_both_versions_are_found() {
        let names = |text| -> Vec<_> {
            let groups: Vec<Group> = folders(text);
            let name = |group: &Group| group.folder.display().to_string();
            groups.iter().map(name).collect()
        };
        assert_eq!(
            names("0::/a/b\n"),
            ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"]
        );
        let v1 = "5:cpu:/x\n4:cpuacct,memory:/job\nnonsense\n";
        assert_eq!(
            names(v1),
            ["/sys/fs/cgroup/memory/job", "/sys/fs/cgroup/memory/"]
        );
    }

    #[test]
    fn a_limit_counts_without_the_page_cache() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        let group = Group {
            folder: folder.path().to_path_buf(),
            files: &V2,
        };
        assert_eq!(group.free(), None);
        write("memory.max", "max\n");
        write("memory.current", "700\n");
        assert_eq!(group.free(), None);
        write("memory.max", "1000\n");
        assert_eq!(group.free(), Some(300));
        write(
            "memory.stat",
            "anon 500\nactive_file 5\ninactive_file 200\n",
        );
        assert_eq!(group.free(), Some(500));
        write("memory.max", "100\n");
        assert_eq!(group.free(), Some(0));
    }

    #[test]
    fn this_process_has_memory_on_linux() {
        if cfg!(target_os = "linux") {
            assert!(resident_memory().is_some_and(|bytes| bytes > 1 << 20));
            assert!(available_memory().is_some());
        }
    }
}
