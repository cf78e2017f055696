//! The kernels for CUDA and Metal, compiled as C++ and run on the CPU, against the oracles of the
//! CPU's ops. The arithmetic of a GPU and the launches need a GPU: `tests/gpu.sh` tests them.

mod kernels;
#[path = "../ops/oracle.rs"]
mod oracle;
mod parametric;
mod pointwise;

use candle_mish::Activation;
use kernels::{Backend, Program, names};

#[test]
fn every_activation_has_kernels() {
    let mut names = names();
    let mut expected: Vec<_> = Activation::all().map(|a| a.name().to_string()).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

fn all(backend: Backend) {
    let Some(mut program) = Program::start(backend) else {
        return;
    };
    pointwise::mish_is_accurate(&mut program);
    pointwise::halves_of_mish_are_nearest(&mut program);
    pointwise::functions_are_those_of_the_table(&mut program);
    pointwise::limits_are_right(&mut program);
    pointwise::every_length_and_alignment(&mut program);
    pointwise::strided_and_in_place(&mut program);
    pointwise::beyond_2_to_the_32(&mut program);
    parametric::values_and_gradients(&mut program);
    parametric::slopes_of_their_own(&mut program);
}

#[test]
fn cuda_kernels() {
    all(Backend::Cuda);
}

#[test]
fn metal_kernels() {
    all(Backend::Metal);
}
