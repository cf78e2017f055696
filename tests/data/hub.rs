//! Data sets from the Hugging Face Hub.
//!
//! The settings of the Hub are environment variables, so each case runs in a process of its own:
//! this test binary, called with the one test [`child`].

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use candle_mish::data::{DataOptions, Dataset, Source, open};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::fixture::{Rows, planar};
use crate::server::{COMMIT, Hub};

const OPTIONS: &str = "CANDLE_MISH_TEST_OPTIONS";

fn cifar100_files() -> HashMap<String, Vec<u8>> {
    HashMap::from([
        ("README.md".to_owned(), b"# CIFAR-100".to_vec()),
        (
            "cifar100/train-00000-of-00001.parquet".to_owned(),
            Rows::cifar100(0, 30).bytes(),
        ),
        (
            "cifar100/test-00000-of-00001.parquet".to_owned(),
            Rows::cifar100(100, 10).bytes(),
        ),
    ])
}

/// The result of [`child`].
#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    Opened {
        name: String,
        source: Source,
        train: usize,
        first_image_is_right: bool,
    },
    Refused(String),
}

/// Opens the data set that the environment names and prints the result; run by the tests below.
#[test]
#[ignore = "run by the other tests of this module in a process of its own"]
fn child() {
    let options: DataOptions =
        serde_json::from_str(&std::env::var(OPTIONS).expect("options of the calling test"))
            .unwrap();
    let opened = |data: Dataset| Outcome::Opened {
        name: data.name,
        train: data.train.len(),
        first_image_is_right: data.train.image(0).unwrap() == planar(0),
        source: data.source,
    };
    let outcome = open(&options).map_or_else(|error| Outcome::Refused(chain(&error)), opened);
    println!("\noutcome {}", serde_json::to_string(&outcome).unwrap());
}

/// The message of an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(|error| error.to_string())
        .collect::<Vec<_>>()
        .join(": ")
}

/// Opens a data set in a process with only `home` and `variables` in its environment.
fn run(home: &Path, variables: &[(&str, &str)], options: &str) -> Outcome {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hub::child", "--ignored", "--nocapture"])
        .env_clear()
        .env("HOME", home)
        .env("HF_HOME", home.join("hf"))
        .env(OPTIONS, options)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let outcome = text
        .lines()
        .find_map(|line| line.strip_prefix("outcome "))
        .unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(outcome).unwrap()
}

/// The source of CIFAR-100 from the Hub.
fn from_hub(outcome: Outcome) -> Source {
    match outcome {
        Outcome::Opened {
            name,
            source,
            train: 30,
            first_image_is_right: true,
        } if name == "cifar100" => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_hub_fills_its_cache_and_the_cache_serves_without_it() {
    let home = TempDir::new().unwrap();
    let hub = Hub::start(vec![("datasets/uoft-cs/cifar100", cifar100_files())]);
    let online = [
        ("HF_ENDPOINT", hub.address.as_str()),
        ("HF_TOKEN", "hf_secret"),
    ];
    let source = from_hub(run(home.path(), &online, r#"{"dataset":"cifar100"}"#));
    assert_eq!(source.location, "uoft-cs/cifar100@main");
    assert!(!source.from_cache && source.fallback.is_none());
    let requests = hub.take_requests();
    // Only the Hub itself gets the token.
    let (storage, site): (Vec<&String>, Vec<_>) =
        requests.iter().partition(|line| !line.contains("uoft-cs"));
    assert!(
        site.iter().all(|line| line.ends_with(" Bearer hf_secret")),
        "{requests:?}"
    );
    assert_eq!(storage.len(), 2, "{requests:?}");
    assert!(
        storage.iter().all(|line| !line.contains("hf_secret")),
        "{requests:?}"
    );
    assert!(
        requests.iter().all(|line| !line.contains("README")),
        "{requests:?}"
    );
    let snapshot = home
        .path()
        .join("hf/hub/datasets--uoft-cs--cifar100/snapshots")
        .join(COMMIT);
    assert!(
        snapshot
            .join("cifar100/train-00000-of-00001.parquet")
            .exists()
    );

    // With a warm cache there are no requests, and no network is needed.
    for options in [r#"{"dataset":"cifar100"}"#, r#"{"dataset":"auto"}"#] {
        let source = from_hub(run(home.path(), &online, options));
        assert!(source.from_cache);
        assert_eq!(hub.take_requests(), Vec::<String>::new());
    }
    let gone = [
        ("HF_ENDPOINT", "http://127.0.0.1:9"),
        ("HF_HUB_OFFLINE", "1"),
    ];
    from_hub(run(home.path(), &gone, r#"{"dataset":"auto"}"#));
    let pinned = format!(r#"{{"dataset":"cifar100","offline":true,"revision":"{COMMIT}"}}"#);
    let source = from_hub(run(home.path(), &gone[..1], &pinned));
    assert_eq!(source.location, format!("uoft-cs/cifar100@{COMMIT}"));
    let moved = home.path().join("hf/hub");
    let elsewhere = [
        ("HF_HUB_CACHE", moved.to_str().unwrap()),
        ("HF_HOME", "/nowhere"),
    ];
    from_hub(run(
        home.path(),
        &elsewhere,
        r#"{"dataset":"cifar100","offline":true}"#,
    ));
}

#[test]
fn a_download_that_broke_off_is_completed() {
    let home = TempDir::new().unwrap();
    let hub = Hub::start(vec![("datasets/uoft-cs/cifar100", cifar100_files())]);
    let online = [("HF_ENDPOINT", hub.address.as_str())];
    from_hub(run(home.path(), &online, r#"{"dataset":"cifar100"}"#));
    let repository = home.path().join("hf/hub/datasets--uoft-cs--cifar100");
    let test = "cifar100/test-00000-of-00001.parquet";
    std::fs::remove_file(repository.join("snapshots").join(COMMIT).join(test)).unwrap();
    from_hub(run(home.path(), &online, r#"{"dataset":"cifar100"}"#));
}

#[test]
fn cifar10_comes_from_its_own_repository() {
    let home = TempDir::new().unwrap();
    let files = HashMap::from([
        (
            "plain_text/train-00000-of-00001.parquet".to_owned(),
            Rows::cifar10(0, 30).bytes(),
        ),
        (
            "plain_text/test-00000-of-00001.parquet".to_owned(),
            Rows::cifar10(100, 10).bytes(),
        ),
    ]);
    let hub = Hub::start(vec![("datasets/uoft-cs/cifar10", files)]);
    let online = [("HF_ENDPOINT", hub.address.as_str())];
    match run(home.path(), &online, r#"{"dataset":"cifar10"}"#) {
        Outcome::Opened {
            name,
            train: 30,
            first_image_is_right: true,
            ..
        } => {
            assert_eq!(name, "cifar10");
        }
        other => panic!("{other:?}"),
    }
}

/// The branch `refs/convert/parquet` has a folder for each split.
#[test]
fn the_hubs_conversion_to_parquet_is_read() {
    let home = TempDir::new().unwrap();
    let files = HashMap::from([
        (
            "cifar100/train/0000.parquet".to_owned(),
            Rows::cifar100(0, 30).bytes(),
        ),
        (
            "cifar100/test/0000.parquet".to_owned(),
            Rows::cifar100(100, 10).bytes(),
        ),
    ]);
    let hub = Hub::start(vec![("datasets/uoft-cs/cifar100", files)]);
    let online = [("HF_ENDPOINT", hub.address.as_str())];
    let options = r#"{"dataset":"cifar100","revision":"refs/convert/parquet"}"#;
    let source = from_hub(run(home.path(), &online, options));
    assert_eq!(source.location, "uoft-cs/cifar100@refs/convert/parquet");
    let requests = hub.take_requests();
    let branch = |line: &String| line.contains("refs%2Fconvert%2Fparquet");
    assert!(requests.iter().any(branch), "{requests:?}");
    // The cache serves it without a request.
    let source = from_hub(run(home.path(), &online, options));
    assert!(source.from_cache);
    assert_eq!(hub.take_requests(), Vec::<String>::new());
}

#[test]
fn the_environment_names_the_folder_of_each_data_set() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    for (dataset, variable) in [
        ("cifar100", "CIFAR100_DIR"),
        ("cifar10", "CIFAR10_DIR"),
        ("mnist", "MNIST_DIR"),
        ("fashion-mnist", "FASHION_MNIST_DIR"),
    ] {
        let options = format!(r#"{{"dataset":"{dataset}"}}"#);
        let named = [
            (variable, folder.to_str().unwrap()),
            ("HF_HUB_OFFLINE", "1"),
        ];
        let outcome = run(home.path(), &named, &options);
        let empty = |message: &str| message.contains("the folder is empty");
        assert!(
            matches!(&outcome, Outcome::Refused(m) if empty(m)),
            "{outcome:?}"
        );
        let outcome = run(home.path(), &named[1..], &options);
        let setting = format!("set data_dir or {variable} to its folder");
        assert!(
            matches!(&outcome, Outcome::Refused(m) if m.contains(&setting)),
            "{outcome:?}"
        );
    }
}

#[test]
fn without_data_auto_falls_back_soon_and_cifar100_fails_clearly() {
    let home = TempDir::new().unwrap();
    let refused = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    // A server that accepts and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let stalled = [("HF_ENDPOINT", address.as_str())];
    let offline = [("HF_HUB_OFFLINE", "1")];
    let small = r#"{"dataset":"auto","limit_train":100,"limit_test":100}"#;
    for (variables, says) in [
        (&refused, "Connection refused"),
        (&stalled, "no answer within 4 s"),
        (&offline, "offline mode is on"),
    ] {
        let outcome = run(home.path(), variables, small);
        let Outcome::Opened {
            name,
            source,
            train: 100,
            ..
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!(name, "synthetic");
        let reason = source.fallback.expect("the reason of the fallback");
        assert!(reason.contains(says), "{reason}");
    }
    for variables in [&refused, &offline] {
        let Outcome::Refused(message) = run(home.path(), variables, r#"{"dataset":"cifar100"}"#)
        else {
            panic!("cifar100 must not fall back");
        };
        assert!(message.contains("CIFAR-100 is not available"), "{message}");
        assert!(message.contains("data_dir or CIFAR100_DIR"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_revision_that_does_not_exist_is_named() {
    let home = TempDir::new().unwrap();
    let hub = Hub::start(vec![("datasets/uoft-cs/cifar100", cifar100_files())]);
    let online = [("HF_ENDPOINT", hub.address.as_str())];
    let options = r#"{"dataset":"cifar100","revision":"v9"}"#;
    let Outcome::Refused(message) = run(home.path(), &online, options) else {
        panic!("there is no revision v9");
    };
    assert!(message.contains("v9"), "{message}");
}

#[test]
fn the_environment_names_a_folder_and_a_bad_one_is_never_passed_over() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("data");
    crate::fixture::write_cifar100(&folder);
    let named = [
        ("CIFAR100_DIR", folder.to_str().unwrap()),
        ("HF_HUB_OFFLINE", "1"),
    ];
    for dataset in ["auto", "cifar100"] {
        let options = format!(r#"{{"dataset":"{dataset}"}}"#);
        let source = from_hub(run(home.path(), &named, &options));
        assert_eq!(source.location, folder.display().to_string());
        let bad = [("CIFAR100_DIR", "/nowhere/at/all")];
        let outcome = run(home.path(), &bad, &options);
        assert!(
            matches!(&outcome, Outcome::Refused(m) if m.contains("/nowhere/at/all")),
            "{outcome:?}"
        );
    }
}
