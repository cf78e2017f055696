//! Squashed vectors and lengths of vectors of `width` values.

use crate::ops::storage::Float;

/// n / (1 + n²) for the length n: the factor that squashes a vector.
fn factor<T: Float>(length: T) -> T {
    length / (T::one() + length * length)
}

fn norm<T: Float>(x: &[T]) -> T {
    let square = dot(x, x);
    T::from_f64(square.to_f64().sqrt())
}

fn dot<T: Float>(a: &[T], b: &[T]) -> T {
    let products = a.iter().zip(b).map(|(a, b)| *a * *b);
    products.fold(T::zero(), |sum, product| sum + product)
}

pub(super) fn squash<T: Float>(x: &[T], width: usize) -> Vec<T> {
    let squash = |x: &'_ [T]| {
        let factor = factor(norm(x));
        x.iter().map(move |x| *x * factor).collect::<Vec<_>>()
    };
    x.chunks_exact(width).flat_map(squash).collect()
}

/// With f = n / (1 + n²) and n' = x / n: f grad + (x · grad) f'(n) / n x.
pub(super) fn squash_grad<T: Float>(x: &[T], grad: &[T], width: usize) -> Vec<T> {
    let one = T::one();
    let pull = |(x, grad): (&[T], &[T])| {
        let n = norm(x);
        let denominator = one + n * n;
        let slope = if n > T::zero() {
            (one - n * n) / (denominator * denominator * n) * dot(x, grad)
        } else {
            T::zero()
        };
        let factor = factor(n);
        let values = x.iter().zip(grad);
        let values = values.map(|(x, grad)| factor * *grad + slope * *x);
        values.collect::<Vec<_>>()
    };
    let pairs = x.chunks_exact(width).zip(grad.chunks_exact(width));
    pairs.flat_map(pull).collect()
}

pub(super) fn length<T: Float>(x: &[T], width: usize) -> Vec<T> {
    x.chunks_exact(width).map(norm).collect()
}

pub(super) fn length_grad<T: Float>(x: &[T], grad: &[T], width: usize) -> Vec<T> {
    let pull = |(x, grad): (&[T], &T)| {
        let n = norm(x);
        let factor = if n > T::zero() { *grad / n } else { T::zero() };
        x.iter().map(|x| *x * factor).collect::<Vec<_>>()
    };
    x.chunks_exact(width).zip(grad).flat_map(pull).collect()
}
