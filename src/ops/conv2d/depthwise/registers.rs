//! The number of taps that a pass over the vectors computes.

/// Runs `$run!(n)` for the next `n` of `$left` taps until none are left. `n` is the largest of a few
/// numbers that the registers allow; each number is compiled separately. 9 and 25 taps are whole
/// kernels of 3x3 and 5x5. 25 weights or sums only fit in the 32 registers of AVX-512.
macro_rules! by_registers {
    ($vector:ty, $left:expr, $run:ident) => {
        while $left > 0 {
            if $left >= 25 && size_of::<$vector>() == 64 {
                $run!(25);
            } else if $left >= 9 {
                $run!(9);
            } else if $left >= 5 {
                $run!(5);
            } else if $left >= 3 {
                $run!(3);
            } else {
                $run!(1);
            }
        }
    };
}

pub(super) use by_registers;
