//! The kernels of one backend as a program on the CPU, and requests to it.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use half::{bf16, f16};

const KERNELS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/ops/activation/gpu/kernels"
);
const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gpu/shim");

/// The API of the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Cuda,
    Metal,
}

/// The element type of tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    F32,
    F64,
    F16,
    BF16,
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        }
    }

    pub fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// The type of sums.
    pub fn compute(self) -> Self {
        match self {
            Self::F64 => Self::F64,
            _ => Self::F32,
        }
    }

    pub fn bytes(self, values: &[f64]) -> Vec<u8> {
        let bytes = |x: &f64| match self {
            Self::F64 => x.to_le_bytes().to_vec(),
            Self::F32 => (*x as f32).to_le_bytes().to_vec(),
            Self::F16 => f16::from_f64(*x).to_le_bytes().to_vec(),
            Self::BF16 => bf16::from_f64(*x).to_le_bytes().to_vec(),
        };
        values.iter().flat_map(bytes).collect()
    }

    pub fn values(self, bytes: &[u8]) -> Vec<f64> {
        let value = |b: &[u8]| match self {
            Self::F64 => f64::from_le_bytes(b.try_into().unwrap()),
            Self::F32 => f32::from_le_bytes(b.try_into().unwrap()).into(),
            Self::F16 => f16::from_le_bytes(b.try_into().unwrap()).into(),
            Self::BF16 => bf16::from_le_bytes(b.try_into().unwrap()).into(),
        };
        bytes.chunks_exact(self.size()).map(value).collect()
    }

    /// `values` rounded to this type.
    pub fn rounded(self, values: &[f64]) -> Vec<f64> {
        self.values(&self.bytes(values))
    }
}

impl Backend {
    pub fn types(self) -> &'static [Type] {
        match self {
            Self::Cuda => &[Type::F32, Type::F64, Type::F16, Type::BF16],
            Self::Metal => &[Type::F32, Type::F16, Type::BF16],
        }
    }

    /// A program with the kernels of all these activations.
    fn source(self, names: &[&str]) -> String {
        let (main, before, kernels, parametric) = match self {
            Self::Cuda => (
                "cuda_main.h",
                &["cuda_main.h"][..],
                "activation.cu",
                &["parametric.cu"][..],
            ),
            // In the order of the library.
            Self::Metal => (
                "metal_main.h",
                &["prelude.metal", "functions.h", "elementwise.h"][..],
                "activation.metal",
                &["parametric.h", "parametric.metal"][..],
            ),
        };
        let mut source = String::new();
        let mut line = |text: &str| {
            source.push_str(text);
            source.push('\n');
        };
        for file in before {
            line(&format!("#include \"{file}\""));
        }
        for name in names {
            line(&format!("#define FUNCTION {name}"));
            line(&format!("#include \"{kernels}\""));
            line("#undef FUNCTION");
        }
        line("#undef KERNELS");
        for file in parametric {
            line(&format!("#include \"{file}\""));
        }
        line("#undef double");
        line(&format!("#include \"{main}\""));
        line("int main() {\nKernels kernels;");
        for name in names {
            line(&format!("EACH_TYPE(POINTWISE, {name})"));
        }
        line("EACH_TYPE(PARAMETRIC, prelu)\nEACH_TYPE(PARAMETRIC, srelu)");
        line("EACH_NAMELESS(EACH)\nreturn answer(kernels);\n}");
        source
    }
}

/// The names of the rows of functions.h.
pub fn names() -> Vec<String> {
    let functions = fs::read_to_string(Path::new(KERNELS).join("functions.h")).unwrap();
    let name = |line: &str| {
        let (name, _) = line.strip_prefix("ACTIVATION(")?.split_once(',')?;
        Some(name.to_string())
    };
    functions.lines().filter_map(name).collect()
}

/// A request for one kernel, as `Header` in shim/driver.h.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub name: String,
    pub n: u64,
    /// Whether addresses are aligned (Metal), or whether the result has the layout of x.
    pub flag: u64,
    pub blocks: u64,
    /// The first block that runs.
    pub first_block: u64,
    pub threads: u64,
    pub parts: u64,
    pub x: Vec<u8>,
    pub p: Vec<u8>,
    pub grad: Vec<u8>,
    /// Bytes of the result; 0 if the kernel overwrites x.
    pub y: usize,
    /// Offsets in bytes of the addresses of x, p, grad and y.
    pub shifts: [i64; 4],
    pub strided: [u64; 25],
    pub planes: [u64; 2],
    pub parameters: [f64; 4],
}

impl Request {
    fn header(&self) -> Vec<u8> {
        let mut name = self.name.clone().into_bytes();
        name.resize(64, 0);
        let numbers = [
            self.n,
            self.flag,
            self.blocks,
            self.first_block,
            self.threads,
            self.parts,
            self.x.len() as u64,
            self.p.len() as u64,
            self.grad.len() as u64,
            self.y as u64,
        ];
        let mut bytes = name;
        bytes.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(self.shifts.into_iter().flat_map(i64::to_le_bytes));
        bytes.extend(self.strided.into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(self.planes.into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(self.parameters.into_iter().flat_map(f64::to_le_bytes));
        bytes
    }
}

/// The running program.
pub struct Program {
    pub backend: Backend,
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Program {
    /// Compiles and starts the program; `None`, with a message, without a C++ compiler.
    pub fn start(backend: Backend) -> Option<Self> {
        let names = names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_string());
        if Command::new(&compiler).arg("--version").output().is_err() {
            println!("skipped: no C++ compiler '{compiler}' (set CXX)");
            return None;
        }
        let program = compile(backend, &compiler, &backend.source(&names));
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Some(Self {
            backend,
            child,
            input,
            output,
        })
    }

    /// The bytes that a kernel writes.
    pub fn run(&mut self, request: &Request) -> Vec<u8> {
        let input = self.input.as_mut().unwrap();
        input.write_all(&request.header()).unwrap();
        for bytes in [&request.x, &request.p, &request.grad] {
            input.write_all(bytes).unwrap();
        }
        input.flush().unwrap();
        let mut result = vec![
            0;
            if request.y > 0 {
                request.y
            } else {
                request.x.len()
            }
        ];
        let read = self.output.read_exact(&mut result);
        assert!(read.is_ok(), "the kernel {} did not answer", request.name);
        result
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The program ends with its input.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// The compiled program. It is recompiled only if one of its files has changed.
fn compile(backend: Backend, compiler: &str, source: &str) -> PathBuf {
    let flags = std::env::var("KERNEL_CXXFLAGS").unwrap_or_default();
    let mut contents = format!("{compiler} {flags} {source}");
    for folder in [KERNELS, SHIM] {
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            contents.push_str(&fs::read_to_string(file).unwrap());
        }
    }
    let hash = contents
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let stem = format!("kernels-{backend:?}-{hash:016x}").to_lowercase();
    let program = folder.join(&stem);
    if program.exists() {
        return program;
    }
    // Several tests may compile at once, each in its own folder; the result is moved into place.
    let own = tempfile::tempdir_in(folder).unwrap();
    let file = own.path().join("kernels.cpp");
    fs::write(&file, source).unwrap();
    let mut command = Command::new(compiler);
    command.args(["-std=c++17", "-O0", "-w", "-pthread", "-ffp-contract=off"]);
    if backend == Backend::Metal {
        // Metal's literals without a suffix are f32.
        command.arg("-fsingle-precision-constant");
    }
    let made = own.path().join(&stem);
    let output = command
        .args(flags.split_whitespace())
        .args(["-I", KERNELS, "-I", SHIM])
        .arg(&file)
        .arg("-o")
        .arg(&made)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{compiler} failed:\n{said}");
    fs::rename(made, &program).unwrap();
    program
}
