//! Matrix products on plain slices.
//!
//! What decides whether this file is right: every element a product touches was checked to lie inside its slice, since
//! the product itself is `unsafe`. One product runs on one thread; the callers divide the rows among threads.

use gemm::Parallelism;

/// A matrix in a slice: element (i, j) is `data[i * down + j * across]`.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    down: usize,
    across: usize,
}

impl<'a> Mat<'a> {
    /// `rows` rows of `cols` numbers, `stride` numbers apart.
    pub(super) fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        let mat = Self { data, rows, cols, down: stride, across: 1 };
        assert!(mat.extent() <= data.len(), "{rows} x {cols} numbers do not fit {}", data.len());
        mat
    }

    /// `rows` rows of `cols` numbers, one after the other.
    pub(super) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Rows become columns.
    pub(super) fn turned(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            down: self.across,
            across: self.down,
            data: self.data,
        }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// `count` rows from `at` on.
    pub(super) fn some_rows(self, at: usize, count: usize) -> Self {
        assert!(at + count <= self.rows, "rows {at}..{} of {}", at + count, self.rows);
        Self { data: self.data.get(at * self.down..).unwrap_or_default(), rows: count, ..self }
    }

    /// One past the last element.
    fn extent(&self) -> usize {
        match (self.rows, self.cols) {
            (0, _) | (_, 0) => 0,
            (r, c) => (r - 1) * self.down + (c - 1) * self.across + 1,
        }
    }
}

/// `out = factor * a b`, or `out += factor * a b` with `add`. Rows of `out` have `b.cols()` numbers and lie `stride`
/// apart; what lies between them is left alone.
pub(super) fn product(
    a: Mat<'_>,
    b: Mat<'_>,
    factor: f32,
    add: bool,
    out: &mut [f32],
    stride: usize,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner sizes of a product");
    if m == 0 || n == 0 {
        return;
    }
    let fits = n <= stride && (m - 1) * stride + n <= out.len();
    assert!(fits && a.extent() <= a.data.len() && b.extent() <= b.data.len());
    // SAFETY: the extents of both factors and of the result were just compared with their slices, and the result is
    // borrowed mutably, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            add,
            a.data.as_ptr(),
            a.across as isize,
            a.down as isize,
            b.data.as_ptr(),
            b.across as isize,
            b.down as isize,
            1.0,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
