//! Routing by agreement on the CPU.
//!
//! Let û be the predictions of one image, `[I, J, E]`, and V the sum of the results of earlier
//! iterations, `[J, E]`. The couplings are c = softmax over j of û·V, so an iteration needs only V
//! of the earlier ones. A pass iterates over the capsules i, in chunks over all threads, and
//! recomputes the û of each image from the matrix of i, which stays in the cache.

use super::vectors::{squash, squash_grad};
use crate::ops::storage::Float;
use crate::parallel;
use crate::simd::dispatch;

/// Capsules of a chunk. Sums are taken by chunk, so they do not depend on the number of threads.
const CHUNK: usize = 64;

pub(super) struct Routing<'a, T> {
    u: &'a [T],
    weight: &'a [T],
    images: usize,
    inputs: usize,
    /// Values of an input capsule.
    depth: usize,
    /// Values of an output capsule.
    width: usize,
    /// Values of all output capsules of an image.
    row: usize,
}

/// V, which determines the couplings; `None` in the first iteration.
type Earlier<T> = Option<Vec<T>>;

impl<'a, T: Float> Routing<'a, T> {
    /// The last argument is the shape of the weight: I, D, J, E.
    pub fn new(
        u: &'a [T],
        weight: &'a [T],
        images: usize,
        (inputs, depth, outputs, width): (usize, usize, usize, usize),
    ) -> Self {
        Self {
            u,
            weight,
            images,
            inputs,
            depth,
            width,
            row: outputs * width,
        }
    }

    /// The resulting capsules, `[N, J, E]`.
    pub fn forward(&self, iterations: usize) -> Vec<T> {
        let mut sums = self.sums(iterations);
        let last = sums.pop().map(|(_, sum)| squash(&sum, self.width));
        last.unwrap_or_default()
    }

    /// V and the weighted sums of predictions of every iteration, `[N, J, E]` each.
    fn sums(&self, iterations: usize) -> Vec<(Earlier<T>, Vec<T>)> {
        let mut found = Vec::with_capacity(iterations);
        let mut earlier: Earlier<T> = None;
        for _ in 0..iterations {
            let sum = self.pass(|n, prediction, scratch, sum| {
                self.couple(n, prediction, &earlier, scratch);
                weigh(prediction, &scratch.couplings, self.width, sum);
            });
            let output = squash(&sum, self.width);
            let next = match &earlier {
                None => output,
                Some(earlier) => added(earlier, &output),
            };
            found.push((earlier.replace(next), sum));
        }
        found
    }

    /// The gradients of u and of the weight, concatenated.
    pub fn backward(&self, grad: &[T], iterations: usize) -> Vec<T> {
        let sums = self.sums(iterations);
        // The gradients of the outputs of each iteration. Only the last output is the op's result.
        let mut of_outputs = vec![vec![T::zero(); grad.len()]; iterations];
        of_outputs[iterations - 1].copy_from_slice(grad);
        let mut of_sums = vec![Vec::new(); iterations];
        for t in (0..iterations).rev() {
            let (earlier, sum) = &sums[t];
            let of_sum = squash_grad(sum, &of_outputs[t], self.width);
            if t > 0 {
                let of_earlier = self.pass(|n, prediction, scratch, result| {
                    self.couple(n, prediction, earlier, scratch);
                    self.agree(prediction, &of_sum[n * self.row..][..self.row], scratch);
                    weigh(prediction, &scratch.of_logits, self.width, result);
                });
                for of_output in &mut of_outputs[..t] {
                    *of_output = added(of_output, &of_earlier);
                }
            }
            of_sums[t] = of_sum;
        }
        self.of_arguments(&sums, &of_sums)
    }

    /// Sums over the capsules i: `body(n, prediction, scratch, result)` adds to the result of image
    /// n. The result is `[N, J, E]`.
    fn pass(&self, body: impl Fn(usize, &[T], &mut Scratch<T>, &mut [T]) + Sync) -> Vec<T> {
        let chunks = self.inputs.div_ceil(CHUNK);
        let partial = |chunk: usize| {
            let mut result = vec![T::zero(); self.images * self.row];
            let mut scratch = Scratch::new(self.row, self.width);
            let mut prediction = vec![T::zero(); self.row];
            dispatch(
                #[inline(always)]
                || {
                    for i in self.chunk(chunk) {
                        for (n, result) in result.chunks_exact_mut(self.row).enumerate() {
                            self.predict(i, n, &mut prediction);
                            body(n, &prediction, &mut scratch, result);
                        }
                    }
                },
            );
            result
        };
        let partials = parallel::map(chunks, 1, &partial);
        let sum = partials.into_iter().reduce(|a, b| added(&a, &b));
        sum.unwrap_or_else(|| vec![T::zero(); self.images * self.row])
    }

    fn chunk(&self, chunk: usize) -> std::ops::Range<usize> {
        let start = chunk * CHUNK;
        start..(start + CHUNK).min(self.inputs)
    }

    /// The predictions of capsule i of image n.
    #[inline(always)]
    fn predict(&self, i: usize, n: usize, prediction: &mut [T]) {
        prediction.fill(T::zero());
        let u = &self.u[(n * self.inputs + i) * self.depth..][..self.depth];
        let matrix = &self.weight[i * self.depth * self.row..];
        for (u, column) in u.iter().zip(matrix.chunks_exact(self.row)) {
            add_multiple(prediction, *u, column);
        }
    }

    /// The couplings of a capsule of image n.
    #[inline(always)]
    fn couple(&self, n: usize, prediction: &[T], earlier: &Earlier<T>, scratch: &mut Scratch<T>) {
        let couplings = &mut scratch.couplings;
        let Some(earlier) = earlier else {
            let even = 1.0 / couplings.len() as f64;
            couplings.fill(T::from_f64(even));
            return;
        };
        let earlier = &earlier[n * self.row..][..self.row];
        dots(prediction, earlier, self.width, couplings);
        let largest = |a: T, b: &T| if *b > a { *b } else { a };
        let highest = couplings.iter().fold(couplings[0], largest);
        let mut total = T::zero();
        for coupling in couplings.iter_mut() {
            *coupling = (*coupling - highest).exp();
            total += *coupling;
        }
        for coupling in couplings.iter_mut() {
            *coupling /= total;
        }
    }

    /// The gradient of the logits of the couplings, given the gradient of the weighted sum.
    #[inline(always)]
    fn agree(&self, prediction: &[T], of_sum: &[T], scratch: &mut Scratch<T>) {
        let (couplings, of_logits) = (&scratch.couplings, &mut scratch.of_logits);
        dots(prediction, of_sum, self.width, of_logits);
        let products = couplings.iter().zip(of_logits.iter()).map(|(c, d)| *c * *d);
        let mean = products.fold(T::zero(), |sum, product| sum + product);
        for (of_logit, coupling) in of_logits.iter_mut().zip(couplings) {
            *of_logit = *coupling * (*of_logit - mean);
        }
    }

    /// One more pass: the gradient of each prediction over all iterations, and from it the
    /// gradients of u and the weight.
    fn of_arguments(&self, sums: &[(Earlier<T>, Vec<T>)], of_sums: &[Vec<T>]) -> Vec<T> {
        let (depth, row, width) = (self.depth, self.row, self.width);
        let chunk = |chunk: usize| {
            let range = self.chunk(chunk);
            let mut of_u = vec![T::zero(); range.len() * self.images * depth];
            let mut of_weight = vec![T::zero(); range.len() * depth * row];
            let mut scratch = Scratch::new(row, width);
            let (mut prediction, mut gradient) = (vec![T::zero(); row], vec![T::zero(); row]);
            dispatch(
                #[inline(always)]
                || {
                    for (at, i) in range.enumerate() {
                        let of_weight = &mut of_weight[at * depth * row..][..depth * row];
                        for n in 0..self.images {
                            self.predict(i, n, &mut prediction);
                            gradient.fill(T::zero());
                            for ((earlier, _), of_sum) in sums.iter().zip(of_sums) {
                                let of_sum = &of_sum[n * row..][..row];
                                self.couple(n, &prediction, earlier, &mut scratch);
                                weigh(of_sum, &scratch.couplings, width, &mut gradient);
                                if let Some(earlier) = earlier {
                                    self.agree(&prediction, of_sum, &mut scratch);
                                    let earlier = &earlier[n * row..][..row];
                                    weigh(earlier, &scratch.of_logits, width, &mut gradient);
                                }
                            }
                            let u = &self.u[(n * self.inputs + i) * depth..][..depth];
                            let matrix = &self.weight[i * depth * row..][..depth * row];
                            let of_u = &mut of_u[(at * self.images + n) * depth..][..depth];
                            for d in 0..depth {
                                let column = d * row..(d + 1) * row;
                                add_multiple(&mut of_weight[column.clone()], u[d], &gradient);
                                of_u[d] = long_dot(&matrix[column], &gradient);
                            }
                        }
                    }
                },
            );
            (of_u, of_weight)
        };
        let parts = parallel::map(self.inputs.div_ceil(CHUNK), 1, &chunk);
        let mut gradients = vec![T::zero(); self.u.len()];
        gradients.reserve_exact(self.weight.len());
        for (chunk, (of_u, of_weight)) in parts.into_iter().enumerate() {
            for (at, i) in self.chunk(chunk).enumerate() {
                for n in 0..self.images {
                    let from = &of_u[(at * self.images + n) * depth..][..depth];
                    gradients[(n * self.inputs + i) * depth..][..depth].copy_from_slice(from);
                }
            }
            gradients.extend_from_slice(&of_weight);
        }
        gradients
    }
}

/// Buffers of one value for each of the J output capsules.
struct Scratch<T> {
    couplings: Vec<T>,
    /// The gradient of the logits of the couplings.
    of_logits: Vec<T>,
}

impl<T: Float> Scratch<T> {
    fn new(row: usize, width: usize) -> Self {
        let zeros = || vec![T::zero(); row / width.max(1)];
        Self {
            couplings: zeros(),
            of_logits: zeros(),
        }
    }
}

fn added<T: Float>(a: &[T], b: &[T]) -> Vec<T> {
    a.iter().zip(b).map(|(a, b)| *a + *b).collect()
}

/// y += a x
#[inline(always)]
fn add_multiple<T: Float>(y: &mut [T], a: T, x: &[T]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * *x;
    }
}

/// y_j += a_j x_j for vectors x_j and y_j of `width` values.
#[inline(always)]
fn weigh<T: Float>(x: &[T], a: &[T], width: usize, y: &mut [T]) {
    let vectors = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
    for ((y, x), a) in vectors.zip(a) {
        add_multiple(y, *a, x);
    }
}

/// y_j = a_j · b_j for vectors of `width` values.
#[inline(always)]
fn dots<T: Float>(a: &[T], b: &[T], width: usize, y: &mut [T]) {
    let vectors = a.chunks_exact(width).zip(b.chunks_exact(width));
    for ((a, b), y) in vectors.zip(y) {
        *y = long_dot(a, b);
    }
}

/// a · b, in eight sums so that it vectorises.
#[inline(always)]
fn long_dot<T: Float>(a: &[T], b: &[T]) -> T {
    let mut sums = [T::zero(); 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a.remainder().iter().zip(b.remainder());
    let mut total = rest.fold(T::zero(), |sum, (a, b)| sum + *a * *b);
    for (a, b) in a.zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += *a * *b;
        }
    }
    for sum in sums {
        total += sum;
    }
    total
}
