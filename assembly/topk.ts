/**
 * The k largest elements of each row, largest first, with their columns; equal elements in the order of their columns.
 * A NaN ranks above infinity, as in PyTorch. -0 equals 0.
 *
 * A row's best k so far are kept sorted in the output. Once k are there, four elements at a time are compared with the
 * least of them, and most vectors of a long row end there: about k ln(n / k) elements of n in random order get in.
 */

/** Whether `a` ranks before `b`, which stands in an earlier column. */
function isBetter(a: f32, b: f32): bool {
  return a > b || (isNaN<f32>(a) && !isNaN<f32>(b));
}

/** Puts (value, index) into its place among the `count` sorted entries; the last of k falls out. */
function insert(value: f32, index: i32, count: i32, k: i32, values: usize, indices: usize): void {
  let place = min(count, k - 1);
  while (place > 0) {
    const before = (place - 1) << 2;
    const other = load<f32>(values + before);
    if (!isBetter(value, other)) break;
    store<f32>(values + before, other, 4);
    store<i32>(indices + before, load<i32>(indices + before), 4);
    place--;
  }
  store<f32>(values + (place << 2), value);
  store<i32>(indices + (place << 2), index);
}

/** `x`: [rows, cols] f32; `values`: [rows, k] f32, `indices`: [rows, k] i32, 1 <= k <= cols, not overlapping `x`. */
export function topK_f32(rows: i32, cols: i32, x: usize, k: i32, values: usize, indices: usize): void {
  const last = values + ((k - 1) << 2);
  for (let row = 0; row < rows; row++) {
    const shift = (row * k) << 2;
    for (let i = 0; i < k; i++) insert(load<f32>(x + (i << 2)), i, i, k, values + shift, indices + shift);
    let i = k;
    while (i < cols) {
      const least = load<f32>(last + shift);
      // Not (x <= least) rather than x > least: a NaN has to stop the scan as well.
      const least4 = f32x4.splat(least);
      while (i + 4 <= cols && i32x4.all_true(f32x4.le(v128.load(x + (i << 2)), least4))) i += 4;
      const stop = min(i + 4, cols);
      for (; i < stop; i++) {
        const value = load<f32>(x + (i << 2));
        if (isBetter(value, load<f32>(last + shift))) insert(value, i, k, k, values + shift, indices + shift);
      }
    }
    x += cols << 2;
  }
}
