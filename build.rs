//! Compiles the CUDA kernels to PTX if the feature `cuda` is on. Each activation is a module of its
//! own, so that a program loads only the activations that it uses.
//!
//! The compiler is `NVCC` if set, else the first nvcc in `CUDA_HOME`, `CUDA_PATH`, `PATH` and
//! `/usr/local/cuda`. `CUDA_COMPUTE_CAP` (such as 90 or 9.0) sets the lowest compute capability of
//! the kernels. The default is the lowest capability of this machine's GPUs, as for Candle. The
//! driver compiles PTX for any GPU with that capability or a newer one.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;

/// The compute capability without `CUDA_COMPUTE_CAP` and without a GPU: Turing, the oldest that
/// current toolkits support. It has no bf16 conversions.
const BASE: &str = "75";
/// The default path of the compiler.
const DEFAULT_NVCC: &str = "/usr/local/cuda/bin/nvcc";
const KERNELS: &str = "src/ops/activation/gpu/kernels";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return ExitCode::SUCCESS;
    }
    println!("cargo::rerun-if-changed={KERNELS}");
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH", "CUDA_COMPUTE_CAP"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

/// A module to compile: its name, its source and its macro definition.
struct Module {
    name: String,
    source: &'static str,
    define: Option<String>,
}

fn compile() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let capability = capability()?;
    let nvcc = nvcc();
    let functions = fs::read_to_string(Path::new(KERNELS).join("functions.h"))
        .map_err(|error| format!("{KERNELS}/functions.h: {error}"))?;
    let names: Vec<&str> = functions.lines().filter_map(row).collect();
    let mut modules: Vec<Module> = names
        .iter()
        .map(|name| Module {
            name: (*name).to_string(),
            source: "activation.cu",
            define: Some(format!("-DFUNCTION={name}")),
        })
        .collect();
    modules.push(Module {
        name: "parametric".to_string(),
        source: "parametric.cu",
        define: None,
    });
    let waiting = Mutex::new(modules.into_iter());
    let jobs = env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok());
    let work = || -> Result<(), String> {
        loop {
            let next = waiting.lock().map_err(|error| error.to_string())?.next();
            let Some(module) = next else {
                return Ok(());
            };
            to_ptx(&nvcc, &capability, &module, &out)?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.unwrap_or(1)).map(|_| scope.spawn(work)).collect();
        let mut results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => Err("a thread that runs nvcc has panicked".to_string()),
        });
        results.find(Result::is_err).unwrap_or(Ok(()))
    })?;
    let mut index = String::from("static ACTIVATIONS: &[(&str, &str)] = &[\n");
    for name in names {
        // Writing to a string cannot fail.
        let _ = writeln!(index, "    ({name:?}, include_str!(\"{name}.ptx\")),");
    }
    index.push_str("];\nstatic PARAMETRIC: &str = include_str!(\"parametric.ptx\");\n");
    fs::write(out.join("kernels.rs"), index).map_err(|error| format!("kernels.rs: {error}"))
}

/// The name in a row `ACTIVATION(name, …` of functions.h.
fn row(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("ACTIVATION(")?.split_once(',')?;
    Some(name)
}

fn capability() -> Result<String, String> {
    let Ok(given) = env::var("CUDA_COMPUTE_CAP") else {
        return Ok(capability_of_gpus().unwrap_or_else(|| BASE.to_string()));
    };
    let digits = given.trim().replace('.', "");
    let number = digits.trim_end_matches(|suffix: char| suffix.is_ascii_lowercase());
    match number.parse::<u32>() {
        Ok(50..) => Ok(digits),
        _ => Err(format!(
            "CUDA_COMPUTE_CAP is '{given}', but should be a compute capability such as 90 or 8.6"
        )),
    }
}

/// The lowest compute capability of this machine's GPUs, if it has any.
fn capability_of_gpus() -> Option<String> {
    let query = ["--query-gpu=compute_cap", "--format=csv,noheader"];
    let output = Command::new("nvidia-smi").args(query).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let capabilities = text.lines().map(|line| line.trim().replace('.', ""));
    let least = capabilities.filter_map(|digits| digits.parse::<u32>().ok());
    least.min().map(|capability| capability.to_string())
}

fn nvcc() -> PathBuf {
    if let Some(nvcc) = env::var_os("NVCC") {
        return nvcc.into();
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .filter_map(env::var_os);
    let in_homes = homes.map(|home| Path::new(&home).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = env::split_paths(&path).collect();
    let mut places = in_homes
        .chain(on_path)
        .map(|folder| folder.join("nvcc"))
        .chain([PathBuf::from(DEFAULT_NVCC)]);
    places
        .find(|nvcc| nvcc.exists())
        .unwrap_or_else(|| "nvcc".into())
}

fn to_ptx(nvcc: &Path, capability: &str, module: &Module, out: &Path) -> Result<(), String> {
    let source = Path::new(KERNELS).join(module.source);
    let mut command = Command::new(nvcc);
    command
        .args(["-ptx", "-O3", "-std=c++17"])
        .arg(format!("-arch=compute_{capability}"))
        .args(&module.define)
        .arg(&source)
        .arg("-o")
        .arg(out.join(format!("{}.ptx", module.name)));
    let output = command.output().map_err(|error| {
        format!(
            "the feature cuda needs nvcc, but '{}' does not run ({error}): install the CUDA \
             toolkit and put nvcc on PATH, or set NVCC or CUDA_HOME",
            nvcc.display()
        )
    })?;
    if output.status.success() {
        return Ok(());
    }
    // Cargo reads one line as the error.
    let said = String::from_utf8_lossy(&output.stderr).replace('\n', "; ");
    Err(format!(
        "nvcc failed on {} ({}): {said}",
        source.display(),
        module.name
    ))
}
