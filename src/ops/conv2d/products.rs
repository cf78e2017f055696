//! Products of matrices in registers.
//!
//! ```text
//! for rows of the result by P                  // even parts
//!     acc[P][V]                                // P V registers
//!     for d in depth
//!         b[V] = B[d]                          // V vectors
//!         for p in P
//!             acc[p] += A[p][d] * b            // one broadcast for V multiply-adds
//!     store acc, or the outputs that follow from it
//! ```

use pulp::{Simd, WithSimd};

use super::bounded::{Bounded, Place, whole_vector};

/// The vectors of a result's row that are computed together, and the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterTile {
    pub vectors: usize,
    pub rows: usize,
}

impl RegisterTile {
    /// The tile that leaves the fewest lanes empty for `columns` columns.
    pub fn new<S: Simd>(columns: usize) -> Self {
        let tile = |vectors, rows| Self { vectors, rows };
        // Registers also hold the vectors of B and the value of A.
        let (one, wide): (Self, &[Self]) = match S::F32_LANES {
            8 | 1 => (tile(1, 8), &[tile(2, 6)]),
            _ => (tile(1, 14), &[tile(4, 6), tile(3, 8), tile(2, 12)]),
        };
        if columns <= S::F32_LANES {
            return one;
        }
        let padded = |t: &&Self| columns.next_multiple_of(t.vectors * S::F32_LANES);
        wide.iter().min_by_key(padded).copied().unwrap_or(one)
    }
}

impl RegisterTile {
    /// The tile of `vectors` vectors for a product of pairs with `rows` rows, or parts of them.
    pub fn of_pairs(vectors: usize, rows: usize) -> Self {
        let most = match vectors {
            1 => 14,
            2 => 12,
            3 => 8,
            _ => 6,
        };
        Self {
            vectors,
            rows: rows.min(most),
        }
    }
}

/// Calls the macro `$sizes` with the vectors and the rows of all register tiles and their parts.
macro_rules! register_tiles {
    ($sizes:ident) => {
        $sizes! {
            (1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
            (2: 1 2 3 4 5 6 7 8 9 10 11 12)
            (3: 1 2 3 4 5 6 7 8)
            (4: 1 2 3 4 5 6)
        }
    };
}
pub(super) use register_tiles;

/// The lanes of a vector and the register tile for some columns.
pub struct ChooseTile(pub usize);

impl WithSimd for ChooseTile {
    type Output = (usize, RegisterTile);

    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        (S::F32_LANES, RegisterTile::new::<S>(self.0))
    }
}

/// A product of `[rows, depth]` and `[depth, columns of a register tile]`.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    pub rows: usize,
    pub depth: usize,
    pub a: *const f32,
    /// Distance between rows of A.
    pub a_row: usize,
    /// Distance between neighbouring values of a row of A.
    pub a_step: usize,
    pub b: *const f32,
    /// Distance between rows of B.
    pub b_row: usize,
    pub to: *mut f32,
    /// Distance between rows of the result.
    pub to_row: usize,
    /// Whether to add to the result.
    pub accumulate: bool,
}

/// Outputs that follow from a product in registers.
#[derive(Clone, Copy)]
pub struct Outputs<'a> {
    pub bounded: &'a Bounded<'a>,
    /// A vector of the tile that is added to each row of the product.
    pub bias: &'a [f32],
    /// The place of the first row.
    pub place: Place,
}

impl Product {
    /// Part `part` of `parts` equal ones, but for rounding, and its first row.
    #[inline(always)]
    pub fn part(&self, part: usize, parts: usize) -> (usize, Self) {
        let start = self.rows * part / parts;
        let product = Self {
            rows: self.rows * (part + 1) / parts - start,
            a: self.a.wrapping_add(start * self.a_row),
            to: self.to.wrapping_add(start * self.to_row),
            ..*self
        };
        (start, product)
    }

    /// Computes a product of words that hold two bfloat16 each, in f32.
    ///
    /// # Safety
    /// As for [`Self::compute`].
    #[inline(always)]
    pub unsafe fn compute_words<S: Simd>(&self, simd: S, tile: RegisterTile) {
        let vectors = tile.vectors;
        for row in 0..self.rows {
            for v in 0..vectors {
                // SAFETY: guaranteed by the caller.
                unsafe { self.words(simd, row, v * S::F32_LANES) };
            }
        }
    }

    /// A vector of the result of a product of words.
    ///
    /// # Safety
    /// As for [`Self::compute`].
    #[inline(always)]
    unsafe fn words<S: Simd>(&self, simd: S, row: usize, column: usize) {
        let to = self
            .to
            .wrapping_add(row * self.to_row + column)
            .cast::<S::f32s>();
        let mut sum = match self.accumulate {
            // SAFETY: a vector of the result.
            true => unsafe { to.read_unaligned() },
            false => simd.splat_f32s(0.0),
        };
        let mut a = self.a.wrapping_add(row * self.a_row).cast::<u32>();
        let mut b = self.b.wrapping_add(column).cast::<u32>();
        let (half, upper) = (simd.splat_u32s(16), simd.splat_u32s(0xffff_0000));
        for _ in 0..self.depth {
            // SAFETY: a word of A.
            let word = unsafe { *a };
            // SAFETY: a vector of a row of B.
            let words = unsafe { b.cast::<S::u32s>().read_unaligned() };
            let first = simd.wrapping_dyn_shl_u32s(words, half);
            let second = simd.and_u32s(words, upper);
            let factor = simd.splat_f32s(f32::from_bits(word << 16));
            sum = simd.mul_add_f32s(factor, simd.transmute_f32s_u32s(first), sum);
            let factor = simd.splat_f32s(f32::from_bits(word & 0xffff_0000));
            sum = simd.mul_add_f32s(factor, simd.transmute_f32s_u32s(second), sum);
            a = a.wrapping_add(self.a_step);
            b = b.wrapping_add(self.b_row);
        }
        // SAFETY: a vector of the result.
        unsafe { to.write_unaligned(sum) };
    }

    /// Computes the product.
    ///
    /// # Safety
    /// The values of A and B must be readable and the result writable, by this thread alone.
    #[inline(always)]
    pub unsafe fn compute<S: Simd>(&self, simd: S, tile: RegisterTile) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.compute_outputs(simd, tile, None) };
    }

    /// Computes the product and writes `outputs` instead of it.
    ///
    /// # Safety
    /// As for [`Self::compute`]; with outputs, their places in the result instead of `to`.
    #[inline(always)]
    pub unsafe fn compute_outputs<S: Simd>(
        &self,
        simd: S,
        tile: RegisterTile,
        outputs: Option<Outputs>,
    ) {
        let parts = self.rows.div_ceil(tile.rows);
        for part in 0..parts {
            let (start, part) = self.part(part, parts);
            let outputs = match outputs {
                Some(Outputs {
                    bounded,
                    bias,
                    place,
                }) => {
                    let at = place.at + start * place.pitch;
                    Some(Outputs {
                        bounded,
                        bias,
                        place: Place { at, ..place },
                    })
                }
                None => None,
            };
            macro_rules! sizes {
                ($(($v:literal: $($p:literal)*))*) => {
                    match (tile.vectors, part.rows) {
                        // SAFETY: guaranteed by the caller.
                        $($(($v, $p) => unsafe { part.rows::<S, $p, $v>(simd, outputs) },)*)*
                        (v, p) => unreachable!("no tile of {p} rows by {v} vectors"),
                    }
                };
            }
            register_tiles!(sizes);
        }
    }

    /// `P` rows and `V` vectors of the result.
    ///
    /// # Safety
    /// As for [`Self::compute`].
    #[inline(always)]
    unsafe fn rows<S: Simd, const P: usize, const V: usize>(
        &self,
        simd: S,
        outputs: Option<Outputs>,
    ) {
        let lanes = S::F32_LANES;
        let mut acc = [[simd.splat_f32s(0.0); V]; P];
        let at = |p: usize, v: usize| self.to.wrapping_add(p * self.to_row + v * lanes);
        if let Some(outputs) = outputs {
            let mut bias = acc[0];
            for (v, bias) in bias.iter_mut().enumerate() {
                *bias = whole_vector::<S>(&outputs.bias[v * lanes..]);
            }
            acc = [bias; P];
        } else if self.accumulate {
            for (p, acc) in acc.iter_mut().enumerate() {
                for (v, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: a vector of the result.
                    *acc = unsafe { at(p, v).cast::<S::f32s>().read_unaligned() };
                }
            }
        }
        let (mut a, mut b) = (self.a, self.b);
        for _ in 0..self.depth {
            let mut row = [acc[0][0]; V];
            for (v, vector) in row.iter_mut().enumerate() {
                // SAFETY: a vector of a row of B.
                *vector = unsafe { b.add(v * lanes).cast::<S::f32s>().read_unaligned() };
            }
            for (p, acc) in acc.iter_mut().enumerate() {
                // SAFETY: a value of A.
                let value = simd.splat_f32s(unsafe { *a.wrapping_add(p * self.a_row) });
                for (acc, vector) in acc.iter_mut().zip(row) {
                    *acc = simd.mul_add_f32s(value, vector, *acc);
                }
            }
            a = a.wrapping_add(self.a_step);
            b = b.wrapping_add(self.b_row);
        }
        if let Some(Outputs { bounded, place, .. }) = outputs {
            // SAFETY: guaranteed by the caller.
            unsafe { bounded.store(simd, acc, place) };
            return;
        }
        for (p, acc) in acc.iter().enumerate() {
            for (v, acc) in acc.iter().enumerate() {
                // SAFETY: a vector of the result.
                unsafe { at(p, v).cast::<S::f32s>().write_unaligned(*acc) };
            }
        }
    }
}
