//! Downloads with unusual settings in the environment: mirrors, tokens, caches that cannot be written.

use tempfile::TempDir;

use crate::download::{CACHED, FILE, Wanted, all_files, content, get, get_from, repository};
use crate::server::{Fault, Hub};

/// A mirror with a path: the value of `HF_ENDPOINT` may end with a slash.
#[test]
fn a_mirror_may_have_a_path() {
    for (path, ending) in [("/hf", ""), ("/hf", "/"), ("/api/hf-mirror", "//\n")] {
        let home = TempDir::new().unwrap();
        let hub = Hub::below(path, vec![repository()], None);
        let address = format!("{}{ending}", hub.address);
        let token = ("HF_TOKEN", "hf_secret");
        let variables = [("HF_ENDPOINT", address.as_str()), token];
        for file in [FILE, "config.json"] {
            let wanted = Wanted {
                file: file.to_owned(),
                ..Wanted::weights()
            };
            let (downloaded, _) = get(home.path(), &variables, &wanted).unwrap();
            assert!(
                downloaded.starts_with(home.path().join(CACHED)),
                "{downloaded:?}"
            );
        }
        let requests = hub.take_requests();
        for kind in ["HEAD", "GET"] {
            let resolved =
                format!("{kind} {path}/timm/resnet18.a1_in1k/resolve/main/{FILE} Bearer");
            assert!(
                requests.iter().any(|line| line.starts_with(&resolved)),
                "{requests:?}"
            );
        }
        let listed = format!("GET {path}/api/models/timm/resnet18.a1_in1k/revision/main Bearer");
        assert!(
            requests.iter().any(|line| line.starts_with(&listed)),
            "{requests:?}"
        );
        // All other requests are for the storage, which needs no token.
        let (site, storage): (Vec<_>, Vec<_>) = requests
            .iter()
            .partition(|line| line.contains(&format!(" {path}/")));
        assert!(
            site.iter().all(|line| line.ends_with(" Bearer hf_secret")),
            "{requests:?}"
        );
        assert!(
            storage.iter().all(|line| !line.contains("hf_secret")),
            "{requests:?}"
        );
    }
}

/// The Hub redirects the old name of a repository to the new one with a relative address.
#[test]
fn redirects_are_followed_below_the_path_of_a_mirror() {
    for path in ["", "/hf"] {
        let home = TempDir::new().unwrap();
        let hub = Hub::below(path, vec![repository()], Fault::Moved("rwightman"));
        for file in [FILE, "config.json"] {
            let wanted = Wanted {
                owner: "rwightman".to_owned(),
                file: file.to_owned(),
                ..Wanted::weights()
            };
            let (downloaded, _) = get_from(&hub, home.path(), &wanted).unwrap();
            let expected = if file == FILE {
                content()
            } else {
                b"{}".to_vec()
            };
            assert!(std::fs::read(&downloaded).unwrap() == expected, "{file}");
        }
    }
}

#[test]
fn a_bad_address_of_a_mirror_is_named() {
    let home = TempDir::new().unwrap();
    for bad in ["mirror.example/hf", "localhost:8080", "https://"] {
        let error = get(home.path(), &[("HF_ENDPOINT", bad)], &Wanted::weights()).unwrap_err();
        let said = format!("HF_ENDPOINT is '{bad}': expected an address such as");
        assert!(error.starts_with(&said), "{error}");
    }
}

/// The authorisation that the site receives.
fn authorisation(hub: &Hub) -> Option<String> {
    let requests = hub.take_requests();
    let site = requests.iter().filter(|line| line.contains("/timm/"));
    let mut sent = site.map(|line| line.splitn(3, ' ').nth(2).map(str::to_owned));
    let first = sent.next().expect("a request");
    assert!(sent.all(|other| other == first), "{requests:?}");
    first
}

#[test]
fn a_token_is_sent_without_spaces_and_line_breaks() {
    let hub = Hub::start(vec![repository()]);
    let endpoint = ("HF_ENDPOINT", hub.address.as_str());
    for (text, sent) in [
        ("hf_secret", Some("Bearer hf_secret")),
        ("hf_secret\n", Some("Bearer hf_secret")),
        (" hf_secret\r\n", Some("Bearer hf_secret")),
        ("", None),
        ("  ", None),
        ("\n", None),
        ("hf_s\u{fc}\u{df}", None),
    ] {
        let home = TempDir::new().unwrap();
        get(
            home.path(),
            &[endpoint, ("HF_TOKEN", text)],
            &Wanted::weights(),
        )
        .unwrap();
        assert_eq!(authorisation(&hub).as_deref(), sent, "{text:?} in HF_TOKEN");
        let home = TempDir::new().unwrap();
        std::fs::create_dir(home.path().join("hf")).unwrap();
        std::fs::write(home.path().join("hf/token"), text).unwrap();
        get(home.path(), &[endpoint], &Wanted::weights()).unwrap();
        assert_eq!(authorisation(&hub).as_deref(), sent, "{text:?} in the file");
    }
}

#[test]
fn a_token_that_cannot_be_sent_is_named_where_one_is_needed() {
    for fault in [
        Fault::Site("401 Unauthorized", "RepoNotFound"),
        Fault::Site("401 Unauthorized", "GatedRepo"),
        Fault::File(FILE, "401 Unauthorized"),
    ] {
        let home = TempDir::new().unwrap();
        let hub = Hub::failing(vec![repository()], fault);
        let bad = [
            ("HF_ENDPOINT", hub.address.as_str()),
            ("HF_TOKEN", "hf_secr\u{e9}t"),
        ];
        let error = get(home.path(), &bad, &Wanted::weights()).unwrap_err();
        let said = "it was not sent because the token in HF_TOKEN has a character \\u{e9} at 8";
        assert!(error.contains(said), "{fault:?}: {error}");
        assert!(!error.contains("secr"), "it shows the token: {error}");
        let error = get_from(&hub, home.path(), &Wanted::weights()).unwrap_err();
        assert!(!error.contains("not sent"), "{fault:?}: {error}");
    }
}

/// A folder below a regular file can neither be read nor made, whoever the user is.
#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let home = TempDir::new().unwrap();
    let hub = Hub::start(vec![repository()]);
    let endpoint = ("HF_ENDPOINT", hub.address.as_str());
    let file = home.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let below = file.join("hf");
    for name in ["HF_HOME", "HF_HUB_CACHE"] {
        let variables = [endpoint, (name, below.to_str().unwrap())];
        let error = get(home.path(), &variables, &Wanted::weights()).unwrap_err();
        let said = format!("cannot write to the Hub's cache {}", below.display());
        assert!(error.starts_with(&said), "{error}");
        assert!(
            error.contains("Not a directory") && error.contains("HF_HOME"),
            "{error}"
        );
    }
}

/// A file in the place of the folder of contents lets the cache be read, but takes no new files.
#[test]
fn a_read_only_cache_serves_what_it_has() {
    let home = TempDir::new().unwrap();
    let hub = Hub::start(vec![repository()]);
    let (path, _) = get_from(&hub, home.path(), &Wanted::weights()).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, content()).unwrap();
    let contents = home.path().join(CACHED).join("blobs");
    std::fs::remove_dir_all(&contents).unwrap();
    std::fs::write(&contents, "in the way").unwrap();
    let before = all_files(&home.path().join("hf"));
    // The same commit, and a newer one that cannot be stored.
    let (place, mut files) = repository();
    files.insert(FILE.to_owned(), b"newer".to_vec());
    for hub in [hub, Hub::later(vec![(place, files)])] {
        let (served, _) = get_from(&hub, home.path(), &Wanted::weights()).unwrap();
        assert_eq!(served, path);
        assert!(std::fs::read(&served).unwrap() == content());
        let other = Wanted {
            file: "config.json".to_owned(),
            ..Wanted::weights()
        };
        let error = get_from(&hub, home.path(), &other).unwrap_err();
        let cache = home.path().join("hf/hub");
        let said = format!("cannot write to the Hub's cache {}", cache.display());
        assert!(error.starts_with(&said), "{error}");
        assert_eq!(all_files(&home.path().join("hf")), before);
    }
}
