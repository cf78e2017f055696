//! Downloads of single files from the Hugging Face Hub, and their failures.
//!
//! As in `hub`, each case runs in a process of its own: this test binary, called with the one test
//! [`child`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use candle_mish::hub::{ModelRepository, RetryPolicy};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::server::{COMMIT, Fault, Hub, LATER, Repository, sha256};

const WANTED: &str = "CANDLE_MISH_TEST_FILE";
pub(crate) const FILE: &str = "model.safetensors";
pub(crate) const CACHED: &str = "hf/hub/models--timm--resnet18.a1_in1k";

/// Larger than the buffers of a connection.
pub(crate) fn content() -> Vec<u8> {
    (0..3_000_000u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect()
}

pub(crate) fn repository() -> Repository {
    let files = HashMap::from([
        (FILE.to_owned(), content()),
        ("config.json".to_owned(), b"{}".to_vec()),
    ]);
    ("models/timm/resnet18.a1_in1k", files)
}

/// The file that [`child`] downloads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub owner: String,
    pub name: String,
    pub revision: Option<String>,
    pub file: String,
    /// Milliseconds.
    pub timeout: u64,
    pub retries: usize,
}

impl Wanted {
    pub fn weights() -> Self {
        Self {
            owner: "timm".to_owned(),
            name: "resnet18.a1_in1k".to_owned(),
            revision: None,
            file: FILE.to_owned(),
            timeout: 20_000,
            retries: 2,
        }
    }
}

/// The result: the path and the largest number of bytes reported, or the error.
pub(crate) type Outcome = Result<(PathBuf, u64), String>;

/// Downloads the file that the environment names and prints the result; run by the tests below.
#[test]
#[ignore = "run by the other tests of this module in a process of its own"]
fn child() {
    let wanted = std::env::var(WANTED).expect("the request of the calling test");
    let wanted: Wanted = serde_json::from_str(&wanted).unwrap();
    let retry = RetryPolicy {
        timeout: Duration::from_millis(wanted.timeout),
        retries: wanted.retries,
    };
    let place = (wanted.owner.as_str(), wanted.name.as_str());
    let mut most = 0;
    let outcome =
        ModelRepository::new(place, wanted.revision.as_deref(), retry).and_then(|repository| {
            repository.file(&wanted.file, &mut |bytes, _| most = most.max(bytes))
        });
    let outcome: Outcome = match outcome {
        Ok(path) => Ok((path, most)),
        Err(error) => Err(error.to_string()),
    };
    println!("\noutcome {}", serde_json::to_string(&outcome).unwrap());
}

/// A process with only `home` and `variables` in its environment that downloads a file.
fn process(home: &Path, variables: &[(&str, &str)], wanted: &Wanted) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "download::child", "--ignored", "--nocapture"])
        .env_clear()
        .env("HOME", home)
        .env("HF_HOME", home.join("hf"))
        .env(WANTED, serde_json::to_string(wanted).unwrap())
        .envs(variables.iter().copied());
    command
}

pub(crate) fn get(home: &Path, variables: &[(&str, &str)], wanted: &Wanted) -> Outcome {
    let output = process(home, variables, wanted).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let outcome = text
        .lines()
        .find_map(|line| line.strip_prefix("outcome "))
        .unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(outcome).unwrap()
}

pub(crate) fn get_from(hub: &Hub, home: &Path, wanted: &Wanted) -> Outcome {
    get(home, &[("HF_ENDPOINT", &hub.address)], wanted)
}

/// Every file and link below a folder.
pub(crate) fn all_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let entries = entries.map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| match path.is_dir() && !path.is_symlink() {
        true => all_files(&path),
        false => vec![path],
    });
    below.collect()
}

#[test]
fn a_file_comes_once_and_lies_where_other_clients_look_for_it() {
    let home = TempDir::new().unwrap();
    let hub = Hub::start(vec![repository()]);
    let (path, bytes) = get_from(&hub, home.path(), &Wanted::weights()).unwrap();
    let cached = home.path().join(CACHED);
    assert_eq!(path, cached.join("snapshots").join(COMMIT).join(FILE));
    assert!(std::fs::read(&path).unwrap() == content());
    assert_eq!(bytes, content().len() as u64);
    let blob = cached.join("blobs").join(sha256(&content()));
    assert!(std::fs::read(&blob).unwrap() == content());
    #[cfg(unix)]
    assert_eq!(
        std::fs::canonicalize(&path).unwrap(),
        std::fs::canonicalize(&blob).unwrap()
    );
    assert_eq!(
        std::fs::read_to_string(cached.join("refs/main")).unwrap(),
        COMMIT
    );
    // The blob, the link to it and the branch, and nothing else.
    let left = all_files(&home.path().join("hf"));
    assert_eq!(left.len(), 3, "{left:?}");

    hub.take_requests();
    assert_eq!(
        get_from(&hub, home.path(), &Wanted::weights()).unwrap().0,
        path
    );
    // The only request is for the commit of the branch.
    let listing = "GET /api/models/timm/resnet18.a1_in1k/revision/main";
    assert_eq!(hub.take_requests(), [listing]);
    let off = [
        ("HF_ENDPOINT", "http://127.0.0.1:9"),
        ("HF_HUB_OFFLINE", "1"),
    ];
    let pinned = Wanted {
        revision: Some(COMMIT.to_owned()),
        ..Wanted::weights()
    };
    for wanted in [&Wanted::weights(), &pinned] {
        assert_eq!(get(home.path(), &off, wanted).unwrap().0, path);
    }
    // A commit never changes, and without an answer the cached file is used.
    let unreachable = &off[..1];
    for wanted in [&pinned, &Wanted::weights()] {
        assert_eq!(get(home.path(), unreachable, wanted).unwrap().0, path);
    }
    assert_eq!(get_from(&hub, home.path(), &pinned).unwrap().0, path);
    assert_eq!(hub.take_requests(), Vec::<String>::new());
    let moved = home.path().join("elsewhere");
    std::fs::rename(home.path().join("hf/hub"), &moved).unwrap();
    let elsewhere = [("HF_HUB_CACHE", moved.to_str().unwrap()), off[1]];
    assert!(get(home.path(), &elsewhere, &Wanted::weights()).is_ok());
    let lacking = get(home.path(), &off, &Wanted::weights()).unwrap_err();
    assert!(lacking.contains("offline mode is on"), "{lacking}");
    assert!(lacking.contains("timm/resnet18.a1_in1k@main"), "{lacking}");
}

#[test]
fn small_files_and_pinned_commits_come_as_well() {
    let home = TempDir::new().unwrap();
    let hub = Hub::start(vec![repository()]);
    let wanted = Wanted {
        file: "config.json".to_owned(),
        revision: Some(COMMIT.to_owned()),
        ..Wanted::weights()
    };
    let (path, _) = get_from(&hub, home.path(), &wanted).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"{}");
    assert!(!home.path().join(CACHED).join("refs").exists());
}

/// Takes twice as long as the timeout, but never pauses for that long.
const SLOW: Fault = Fault::Slow(Duration::from_millis(150));

#[test]
fn temporary_failures_are_retried() {
    for fault in [
        Fault::Busy("503 Service Unavailable", 2),
        Fault::Busy("500 Internal Server Error", 1),
        Fault::Busy("429 Too Many Requests", 1),
        Fault::Storage("503 Service Unavailable", 1),
        Fault::Storage("500 Internal Server Error", 2),
        // More failures than the client itself retries.
        Fault::Storage("503 Slow Down", 4),
        Fault::Truncated(1),
        Fault::Reset(1),
        SLOW,
    ] {
        let home = TempDir::new().unwrap();
        let hub = Hub::failing(vec![repository()], fault);
        let wanted = Wanted {
            timeout: if fault == SLOW { 1_500 } else { 20_000 },
            ..Wanted::weights()
        };
        let outcome = get_from(&hub, home.path(), &wanted);
        let (path, _) = outcome.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(std::fs::read(path).unwrap() == content(), "{fault:?}");
        let left = all_files(&home.path().join("hf"));
        assert_eq!(left.len(), 3, "{fault:?}: {left:?}");
    }
}

#[test]
fn permanent_failures_are_one_line_and_leave_no_files() {
    let damaged = "the download of model.safetensors from timm/resnet18.a1_in1k@main is damaged";
    let cases: [(Fault, &[&str]); 13] = [
        (
            Fault::Site("401 Unauthorized", "RepoNotFound"),
            &["timm/resnet18.a1_in1k", "HF_TOKEN"],
        ),
        (
            Fault::File(FILE, "401 Unauthorized"),
            &[
                "the owner of timm/resnet18.a1_in1k grants access to its files",
                "ask for access at http",
                "HF_TOKEN",
            ],
        ),
        (
            Fault::Site("403 Forbidden", "GatedRepo"),
            &[
                "your token may not read timm/resnet18.a1_in1k",
                "ask for access at http",
            ],
        ),
        (
            Fault::Site("404 Not Found", "RepoNotFound"),
            &["there is no timm/resnet18.a1_in1k on http://127.0.0.1"],
        ),
        (
            Fault::Site("404 Not Found", "RevisionNotFound"),
            &["timm/resnet18.a1_in1k has no branch, tag or commit 'main' (any more)"],
        ),
        (
            Fault::Busy("503 Service Unavailable", usize::MAX),
            &[
                "cannot get timm/resnet18.a1_in1k from the Hugging Face Hub",
                "503",
            ],
        ),
        (
            Fault::Storage("403 Forbidden", usize::MAX),
            &[
                "cannot download model.safetensors of timm/resnet18.a1_in1k@main",
                "the server answers 403 Forbidden",
            ],
        ),
        (
            Fault::Storage("503 Service Unavailable", usize::MAX),
            &["the server answers 503 Service Unavailable"],
        ),
        (Fault::Short, &[damaged, "1500000 of 3000000 bytes arrived"]),
        (Fault::Changed, &[damaged, "its SHA-256 is "]),
        (
            Fault::Truncated(usize::MAX),
            &["cannot get timm/resnet18.a1_in1k from the Hugging Face Hub"],
        ),
        (
            Fault::Reset(usize::MAX),
            &["cannot get timm/resnet18.a1_in1k from the Hugging Face Hub"],
        ),
        (Fault::Silent, &["no answer within 1 s"]),
    ];
    for (fault, says) in cases {
        let home = TempDir::new().unwrap();
        let hub = Hub::failing(vec![repository()], fault);
        let wanted = Wanted {
            timeout: if fault == Fault::Silent {
                1_500
            } else {
                20_000
            },
            ..Wanted::weights()
        };
        let error = get_from(&hub, home.path(), &wanted).expect_err("it failed");
        assert!(!error.contains('\n'), "{fault:?}: {error}");
        for part in says {
            assert!(error.contains(part), "{fault:?}: {error}");
        }
        let repository = home.path().join(CACHED);
        assert_eq!(all_files(&repository), Vec::<PathBuf>::new(), "{fault:?}");
        // The Hub works again.
        let hub = Hub::start(vec![self::repository()]);
        let (path, _) = get_from(&hub, home.path(), &wanted).unwrap();
        assert!(std::fs::read(path).unwrap() == content(), "{fault:?}");
    }
}

/// For small files the Hub announces the hash of git.
#[test]
fn a_damaged_small_file_is_found_out() {
    let home = TempDir::new().unwrap();
    let hub = Hub::failing(vec![repository()], Fault::Changed);
    let wanted = Wanted {
        file: "config.json".to_owned(),
        ..Wanted::weights()
    };
    let error = get_from(&hub, home.path(), &wanted).expect_err("it is damaged");
    // The output of `printf '{}' | git hash-object --stdin`.
    let hash = "not 9e26dfeeb6e641a33dae4961196235bdb965b21b";
    for part in ["config.json", "its git SHA-1 is ", hash] {
        assert!(error.contains(part), "{error}");
    }
    let repository = home.path().join(CACHED);
    assert_eq!(all_files(&repository), Vec::<PathBuf>::new());
    let hub = Hub::start(vec![self::repository()]);
    let (path, _) = get_from(&hub, home.path(), &wanted).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"{}");
}

#[test]
fn what_does_not_exist_is_named() {
    let home = TempDir::new().unwrap();
    let hub = Hub::start(vec![repository()]);
    let gone = Wanted {
        revision: Some("v9".to_owned()),
        ..Wanted::weights()
    };
    let error = get_from(&hub, home.path(), &gone).unwrap_err();
    assert!(error.contains("no branch, tag or commit 'v9'"), "{error}");
    let lacking = Wanted {
        file: "pytorch_model.bin".to_owned(),
        ..Wanted::weights()
    };
    let error = get_from(&hub, home.path(), &lacking).unwrap_err();
    assert!(
        error.contains("has no pytorch_model.bin; it has "),
        "{error}"
    );
    assert!(error.contains(FILE), "{error}");
    let foreign = Wanted {
        owner: "nobody".to_owned(),
        ..Wanted::weights()
    };
    let error = get_from(&hub, home.path(), &foreign).unwrap_err();
    assert!(
        error.contains("there is no nobody/resnet18.a1_in1k"),
        "{error}"
    );
    let refused = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    let error = get(home.path(), &refused, &Wanted::weights()).unwrap_err();
    assert!(error.contains("Connection refused"), "{error}");
    assert_eq!(all_files(&home.path().join("hf")), Vec::<PathBuf>::new());
}

#[test]
fn a_branch_that_has_gone_on_is_followed() {
    let home = TempDir::new().unwrap();
    let hub = Hub::start(vec![repository()]);
    let (old, _) = get_from(&hub, home.path(), &Wanted::weights()).unwrap();
    // Another file has changed: the content of this one is not downloaded again.
    let (place, mut files) = repository();
    files.insert("README.md".to_owned(), b"new".to_vec());
    let hub = Hub::later(vec![(place, files.clone())]);
    let (path, _) = get_from(&hub, home.path(), &Wanted::weights()).unwrap();
    assert_eq!(commit(&path), LATER);
    assert!(std::fs::read(&path).unwrap() == content());
    let requests = hub.take_requests();
    let from_storage = format!("/{}", sha256(&content()));
    assert!(
        !requests.iter().any(|line| line.ends_with(&from_storage)),
        "{requests:?}"
    );
    // The old content stays available by its commit.
    assert!(std::fs::read(&old).unwrap() == content());
    let other: Vec<u8> = content().into_iter().rev().collect();
    files.insert(FILE.to_owned(), other.clone());
    let home = TempDir::new().unwrap();
    let hub = Hub::start(vec![repository()]);
    get_from(&hub, home.path(), &Wanted::weights()).unwrap();
    let hub = Hub::later(vec![(place, files)]);
    let (path, _) = get_from(&hub, home.path(), &Wanted::weights()).unwrap();
    assert!(std::fs::read(&path).unwrap() == other);
    // The cache does not replace a file that was removed from the branch.
    let hub = Hub::start(vec![(place, HashMap::new())]);
    let error = get_from(&hub, home.path(), &Wanted::weights()).unwrap_err();
    assert!(error.contains("has no model.safetensors"), "{error}");
}

/// The commit of a file in the cache.
fn commit(path: &Path) -> String {
    candle_mish::hub::commit(path, FILE).unwrap()
}

#[test]
fn what_a_killed_process_left_is_removed_by_a_later_one() {
    let home = TempDir::new().unwrap();
    let hub = Hub::failing(vec![repository()], Fault::Silent);
    let address = [("HF_ENDPOINT", hub.address.as_str())];
    let mut killed = process(home.path(), &address, &Wanted::weights());
    killed.stdout(std::process::Stdio::null());
    let mut killed = killed.spawn().unwrap();
    let cache = home.path().join("hf/hub");
    let staged = || {
        let entries = std::fs::read_dir(&cache).into_iter().flatten().flatten();
        let mut paths = entries.map(|entry| entry.path());
        paths.find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(".download-")
        })
    };
    let arrived = |folder: PathBuf| all_files(&folder).len() > 1;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !staged().is_some_and(arrived) {
        assert!(std::time::Instant::now() < deadline, "nothing came");
        std::thread::sleep(Duration::from_millis(20));
    }
    let left = staged().unwrap();
    // As after a long download.
    let age = |folder: &Path| {
        let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::open(folder)
            .unwrap()
            .set_modified(hour_ago)
            .unwrap();
    };
    age(&left);
    let well = Hub::start(vec![repository()]);
    get_from(&well, home.path(), &Wanted::weights()).unwrap();
    assert!(left.is_dir(), "a download that goes on was removed");
    killed.kill().unwrap();
    killed.wait().unwrap();
    age(&left);
    let small = Wanted {
        file: "config.json".to_owned(),
        ..Wanted::weights()
    };
    get_from(&well, home.path(), &small).unwrap();
    assert!(!left.exists(), "{:?}", all_files(&left));
}
