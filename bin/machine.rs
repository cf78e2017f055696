//! The machine that this process runs on.

use std::process::Command;

/// The operating system with its version, such as `Debian GNU/Linux 12 (bookworm), x86_64`.
pub fn system() -> String {
    let name = match std::env::consts::OS {
        "linux" => value_in("/etc/os-release", "PRETTY_NAME="),
        "macos" => {
            output("sw_vers", &["-productVersion"]).map(|version| format!("macOS {version}"))
        }
        _ => None,
    };
    let name = name.unwrap_or_else(|| std::env::consts::OS.to_string());
    format!("{name}, {}", std::env::consts::ARCH)
}

/// The name of the processor, or of its architecture if the system does not say it.
pub fn processor() -> String {
    let name = match std::env::consts::OS {
        "linux" => value_in("/proc/cpuinfo", "model name"),
        "macos" => output("sysctl", &["-n", "machdep.cpu.brand_string"]),
        _ => std::env::var("PROCESSOR_IDENTIFIER").ok(),
    };
    name.unwrap_or_else(|| std::env::consts::ARCH.to_string())
}

/// The number of logical cores of this computer, including those that this process may not use.
pub fn node_cores() -> usize {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok();
    let online = online.and_then(|list| listed(list.trim()));
    online.unwrap_or_else(cores)
}

/// The number of cores in a list such as `0-3,8`.
fn listed(list: &str) -> Option<usize> {
    let count = |range: &str| -> Option<usize> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some((last + 1).checked_sub(first)?.max(1))
    };
    list.split(',').map(count).sum()
}

/// The number of logical cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The value in the first line of a file that starts with `key`, without what separates them.
fn value_in(path: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    let value = value.trim_matches(|c: char| c.is_whitespace() || ":\"".contains(c));
    (!value.is_empty()).then(|| value.to_string())
}

/// What a program prints.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_counted_in_a_list() {
        assert_eq!(listed("0-3"), Some(4));
        assert_eq!(listed("0"), Some(1));
        assert_eq!(listed("0-1,4,6-7"), Some(5));
        assert_eq!(listed("x"), None);
        assert!(node_cores() >= cores());
    }

    #[test]
    fn a_value_is_read_without_its_separator() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(
            &path,
            "ID=x\nPRETTY_NAME=\"Some System 1\"\nmodel name\t: A Chip @ 2 GHz\n",
        )
        .expect("a file");
        let path = path.to_str().expect("text");
        assert_eq!(
            value_in(path, "PRETTY_NAME=").as_deref(),
            Some("Some System 1")
        );
        assert_eq!(
            value_in(path, "model name").as_deref(),
            Some("A Chip @ 2 GHz")
        );
        assert_eq!(value_in(path, "other"), None);
        assert!(!system().is_empty() && !processor().is_empty() && cores() > 0);
    }
}
