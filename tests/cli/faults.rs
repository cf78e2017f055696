//! What kills, stops or blocks a run, over the real program: nothing is lost, and the result is that
//! of an undisturbed run, bit for bit.

#![cfg(unix)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use candle_mish::rng::Generator;
use candle_mish::train::{RunFolder, RunState};
use rand::Rng;
use serde_json::Value;

/// Steps between two states.
const INTERVAL: u64 = 3;
/// A network whose steps take about a millisecond: 16 batches, so 8 updates in an epoch.
const SMALL: &[&str] = &[
    "mlp_2x8",
    "--dataset",
    "synthetic",
    "--limit-train",
    "256",
    "--limit-test",
    "32",
    "--batch-size",
    "16",
    "--threads",
    "1",
    "--lr",
    "0.01",
    "--drop",
    "0.1",
    "--no-report",
    "--checkpoint-hist",
    "2",
];
/// Options whose state must survive, together and alone.
const RECIPES: [&[&str]; 4] = [
    &[
        "--mixup",
        "0.2",
        "--grad-accum-steps",
        "2",
        "--opt",
        "lookahead_radam",
        "--model-ema",
        "--model-ema-decay",
        "0.9",
    ],
    &["--opt", "adamw", "--reprob", "0.25", "--swa-start", "1"],
    &["--opt", "rmsprop", "--cutmix", "1", "--sched", "plateau"],
    &["--grad-accum-steps", "3", "--val-split", "0.25"],
];

fn program() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("mish"));
    command.env("HF_HUB_OFFLINE", "1").stdout(Stdio::null());
    command
}

/// A run of `epochs` epochs in a folder of its own.
struct Faulty {
    folder: PathBuf,
    log: PathBuf,
    flags: Vec<String>,
}

impl Faulty {
    fn new(folder: PathBuf, recipe: &[&str], epochs: usize) -> Self {
        let interval = INTERVAL.to_string();
        let (epochs, interval) = (epochs.to_string(), interval.as_str());
        let own = ["--epochs", &epochs, "--recovery-interval", interval];
        let flags = SMALL.iter().chain(recipe).chain(&own);
        Self {
            log: folder.with_extension("log"),
            folder,
            flags: flags.map(ToString::to_string).collect(),
        }
    }

    /// The command that starts the run or continues it.
    fn command(&self) -> Command {
        let mut command = program();
        command.arg("train");
        if self.folder.join("config.toml").exists() {
            command.arg("--resume").arg(&self.folder);
            command.args(["--threads", "1"]);
        } else {
            command.args(&self.flags).arg("--output").arg(&self.folder);
        }
        let log = File::create(&self.log).expect("a log");
        // A line for each step.
        command
            .env("RUST_LOG", "warn,candle_mish::train=trace")
            .stderr(log);
        command
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }

    /// The last step in the log of the process.
    fn last_step(&self) -> Option<u64> {
        let log = self.stderr();
        let mut numbers = log.rsplit("step=").map(|rest| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
            digits.unwrap_or_default().parse().ok()
        });
        // The first part of the text has no number, the last one may be cut off.
        numbers
            .find_map(|number| number)
            .filter(|_| log.contains("step="))
    }

    fn saved_steps(&self) -> u64 {
        let folder = RunFolder::open(&self.folder).expect("a run");
        RunState::newest(&folder).expect("a state").steps()
    }

    fn finish(&self) {
        let status = self.command().status().expect("started");
        assert!(status.success(), "{}", self.stderr());
    }

    fn temporary_files(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.folder).into_iter().flatten();
        let names = names.flatten().map(|entry| entry.file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(".write-")).collect()
    }
}

/// The moment of a kill.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// After a time, in most cases before the first step.
    After(Duration),
    /// After some steps of the process.
    Steps(usize),
    /// While the process writes the n-th of its files.
    Writing(usize),
}

impl Moment {
    fn draw(rng: &mut impl Rng) -> Self {
        match rng.random_range(0..5) {
            0 => Self::After(Duration::from_micros(rng.random_range(0..120_000))),
            1 | 2 => Self::Steps(rng.random_range(1..10)),
            _ => Self::Writing(rng.random_range(1..12)),
        }
    }

    /// Waits for the moment. Returns early if the process has ended.
    fn wait(self, run: &Faulty, process: &mut Child) {
        let mut seen = Vec::new();
        let mut written = 0;
        let mut is_over = || match self {
            Self::After(time) => {
                sleep(time);
                true
            }
            Self::Steps(steps) => run.stderr().matches("step=").count() >= steps,
            Self::Writing(files) => {
                let now = run.temporary_files();
                written += now.iter().filter(|name| !seen.contains(*name)).count();
                seen = now;
                written >= files
            }
        };
        while !is_over() && process.try_wait().expect("a process").is_none() {
            sleep(Duration::from_micros(100));
        }
    }
}

fn read(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The lines of `metrics.jsonl` without the values that depend on time.
fn metrics(folder: &Path) -> Vec<Value> {
    let text = String::from_utf8(read(folder, "metrics.jsonl")).expect("text");
    let line = |line: &str| {
        let mut record: Value = serde_json::from_str(line).expect("JSON");
        let fields = record.as_object_mut().expect("an object");
        fields.retain(|name, _| !name.contains("second"));
        record
    };
    text.lines().map(line).collect()
}

/// All files of weights.
fn weights(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).expect("a folder").map(|entry| {
        let name = entry.expect("an entry").file_name();
        name.to_string_lossy().into_owned()
    });
    let is_weights = |name: &String| name.ends_with(".safetensors") && !name.starts_with("state");
    let mut names: Vec<String> = names.filter(is_weights).collect();
    names.sort();
    names
}

fn assert_same_result(straight: &Path, faulty: &Path) {
    let files = weights(straight);
    assert_eq!(files, weights(faulty));
    for file in files {
        let same = read(straight, &file) == read(faulty, &file);
        assert!(same, "{file} differs in {}", faulty.display());
    }
    assert_eq!(metrics(straight), metrics(faulty));
}

/// Kills a run `kills` times and lets it end. Returns the number of kills and the most steps that one
/// lost.
fn kill(run: &Faulty, kills: usize, seed: u64) -> (usize, u64) {
    let generator = Generator::named(seed, "kills");
    let mut rng = generator.lock();
    let (mut killed, mut lost) = (0, 0);
    while killed < kills {
        let mut process = run.command().spawn().expect("started");
        let moment = Moment::draw(&mut *rng);
        moment.wait(run, &mut process);
        if let Some(status) = process.try_wait().expect("a process") {
            assert!(status.success(), "{moment:?}: {}", run.stderr());
            return (killed, lost);
        }
        process.kill().expect("killed");
        process.wait().expect("ended");
        killed += 1;
        if let Some(step) = run.last_step() {
            let saved = run.saved_steps();
            let gone = step.saturating_sub(saved);
            assert!(gone <= INTERVAL, "{moment:?}: {gone} steps lost");
            lost = lost.max(gone);
        }
    }
    run.finish();
    assert!(run.temporary_files().is_empty());
    (killed, lost)
}

/// Kills runs of all recipes, each with its own moments, and compares them with undisturbed runs.
fn kill_all(kills: usize, epochs: usize) -> (usize, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut killed, mut lost) = (0, 0);
    for (seed, recipe) in (0..).zip(RECIPES) {
        let run = |name: String| Faulty::new(folder.path().join(name), recipe, epochs);
        let (straight, faulty) = (
            run(format!("{seed}-straight")),
            run(format!("{seed}-faulty")),
        );
        straight.finish();
        let (count, most) = kill(&faulty, kills, seed);
        assert_same_result(&straight.folder, &faulty.folder);
        killed += count;
        lost = lost.max(most);
    }
    (killed, lost)
}

#[test]
fn killed_runs_end_with_the_same_bits() {
    let (killed, _) = kill_all(4, 12);
    assert!(killed >= 8, "{killed}");
}

/// `cargo test --release --workspace --test cli -- --ignored --nocapture a_hundred_kills`
#[test]
#[ignore = "takes minutes"]
fn a_hundred_kills() {
    let (killed, lost) = kill_all(25, 60);
    println!("{killed} kills, at most {lost} of {INTERVAL} steps lost");
    assert_eq!(killed, 100);
}

fn signal(process: &Child, name: &str) {
    let id = process.id().to_string();
    let kill = Command::new("kill")
        .args([&format!("-{name}"), &id])
        .status();
    assert!(kill.expect("kill").success());
}

/// Waits until a file appears.
fn wait_for(path: &Path, process: &mut Child) {
    while !path.exists() {
        let ended = process.try_wait().expect("a process");
        assert!(ended.is_none(), "{ended:?} before {}", path.display());
        sleep(Duration::from_millis(1));
    }
}

/// More epochs than a test waits for.
const ENDLESS: usize = 100_000;

/// The one line of an error, after the lines of the run.
fn error_of(run: &Faulty, status: ExitStatus) -> String {
    let stderr = run.stderr();
    assert_eq!(status.code(), Some(1), "{stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|l| l.starts_with("error:")).collect();
    let last = stderr.lines().next_back().unwrap_or_default();
    assert_eq!(errors, [last], "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    last.to_string()
}

#[test]
fn the_signals_of_schedulers_save_the_run() {
    for name in ["TERM", "HUP", "INT"] {
        let folder = tempfile::tempdir().expect("a folder");
        let run = Faulty::new(folder.path().join("run"), RECIPES[0], ENDLESS);
        let mut process = run.command().spawn().expect("started");
        wait_for(&run.folder.join("metrics.jsonl"), &mut process);
        signal(&process, name);
        let status = process.wait().expect("ended");
        assert_eq!(status.code(), Some(130), "{name}: {}", run.stderr());
        assert!(run.stderr().contains("--resume"), "{name}");
        let step = run.last_step().unwrap_or(0);
        assert_eq!(run.saved_steps(), step, "{name}");
    }
}

#[test]
fn a_time_limit_has_an_exit_code_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = Faulty::new(folder.path().join("run"), RECIPES[0], ENDLESS);
    let status = run.command().args(["--time-limit", "10s"]).status();
    assert_eq!(
        status.expect("started").code(),
        Some(75),
        "{}",
        run.stderr()
    );
    assert!(run.stderr().contains("time limit"), "{}", run.stderr());
    assert_eq!(Some(run.saved_steps()), run.last_step());
}

/// A limit on the size of files, which fails as a full disk does.
#[test]
fn a_full_disk_leaves_the_run_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |name: &str| Faulty::new(folder.path().join(name), RECIPES[0], 6);
    let (straight, faulty) = (run("straight"), run("faulty"));
    straight.finish();
    let mut process = faulty.command().spawn().expect("started");
    wait_for(
        &faulty.folder.join("state.previous.safetensors"),
        &mut process,
    );
    signal(&process, "TERM");
    process.wait().expect("ended");
    let files = [
        "state.safetensors",
        "state.previous.safetensors",
        "config.toml",
    ];
    let before = files.map(|file| read(&faulty.folder, file));
    let command = faulty.command();
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "sh"]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.stdout(Stdio::null());
    limited.stderr(File::create(&faulty.log).expect("a log"));
    let status = limited.status().expect("started");
    let error = error_of(&faulty, status);
    assert!(error.contains("cannot write"), "{error}");
    assert_eq!(before, files.map(|file| read(&faulty.folder, file)));
    faulty.finish();
    assert_same_result(&straight.folder, &faulty.folder);
}

#[test]
fn a_folder_that_is_moved_away_ends_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = Faulty::new(folder.path().join("run"), RECIPES[1], ENDLESS);
    let mut process = run.command().spawn().expect("started");
    wait_for(&run.folder.join("state.previous.safetensors"), &mut process);
    let moved = folder.path().join("moved");
    std::fs::rename(&run.folder, &moved).expect("moved");
    let status = process.wait().expect("ended");
    let error = error_of(&run, status);
    assert!(error.contains("cannot write"), "{error}");
    assert!(!run.folder.exists());
    let step = run.last_step().expect("a step");
    let moved = RunFolder::open(&moved).expect("a run");
    let saved = RunState::newest(&moved).expect("a state").steps();
    assert!(step - saved <= INTERVAL, "{saved} of {step} steps");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_in_one_line() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    // A file is no folder.
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    let run = Faulty::new(file.join("run"), RECIPES[1], 1);
    let run = Faulty {
        log: folder.path().join("log"),
        ..run
    };
    let error = error_of(&run, run.command().status().expect("started"));
    assert!(error.contains("cannot write"), "{error}");
    // A run that is read-only. The administrator may write all the same.
    let run = Faulty::new(folder.path().join("run"), RECIPES[1], 2);
    run.finish();
    let before = read(&run.folder, "state.safetensors");
    let permit = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&run.folder, permissions).expect("set");
    };
    permit(0o555);
    let status = run.command().status().expect("started");
    let denied = File::create(run.folder.join("probe")).is_err();
    permit(0o755);
    if denied {
        let error = error_of(&run, status);
        assert!(error.contains("cannot write"), "{error}");
    } else {
        assert!(status.success(), "{}", run.stderr());
    }
    assert!(read(&run.folder, "state.safetensors") == before);
}

#[test]
fn a_diverging_run_says_where_and_what_to_try() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = ["--lr", "1e30", "--opt", "sgd"];
    let run = Faulty::new(folder.path().join("run"), &flags, 3);
    let error = error_of(&run, run.command().status().expect("started"));
    for part in [
        "epoch 1",
        "forward pass",
        "--lr",
        "--clip-grad",
        "--nan skip",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    RunState::read(&run.folder.join("state.safetensors")).expect("a good state");
}

#[test]
fn the_memory_of_a_run_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = Faulty::new(folder.path().join("run"), RECIPES[1], 1);
    run.finish();
    let stderr = run.stderr();
    let line = stderr.lines().find(|line| line.starts_with("memory"));
    assert!(line.is_some_and(|line| line.contains("iB")), "{stderr}");
}
