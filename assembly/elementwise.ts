/**
 * Additions. Operands in their storage format, FP32 out; at the speed of memory.
 *
 *     add       y = a + b
 *     addBias   y[r, c] += b[c]
 */
import { BF16, bytesOf, F32, load1, load4 } from './element';

function add<T>(n: i32, a: usize, b: usize, y: usize): void {
  const size = bytesOf<T>();
  let vectors = n >> 2;
  if (vectors > 0) {
    do {
      v128.store(y, f32x4.add(load4<T>(a), load4<T>(b)));
      a += 4 * size;
      b += 4 * size;
      y += 16;
    } while (--vectors > 0);
  }
  for (let i = n & 3; i > 0; i--) {
    store<f32>(y, load1<T>(a) + load1<T>(b));
    a += size;
    b += size;
    y += 4;
  }
}

function addBias<T>(rows: i32, cols: i32, bias: usize, y: usize): void {
  const size = bytesOf<T>();
  for (let row = 0; row < rows; row++) {
    let b = bias;
    let vectors = cols >> 2;
    if (vectors > 0) {
      do {
        v128.store(y, f32x4.add(v128.load(y), load4<T>(b)));
        b += 4 * size;
        y += 16;
      } while (--vectors > 0);
    }
    for (let i = cols & 3; i > 0; i--) {
      store<f32>(y, load<f32>(y) + load1<T>(b));
      b += size;
      y += 4;
    }
  }
}

/** `a`, `b`, `y`: [n] f32, `y` may be one of them. */
export function add_f32(n: i32, a: usize, b: usize, y: usize): void {
  add<F32>(n, a, b, y);
}

/** As `add_f32` with `a` and `b` in BF16; `y` may not overlap them. */
export function add_bf16(n: i32, a: usize, b: usize, y: usize): void {
  add<BF16>(n, a, b, y);
}

/** `bias`: [cols], `y`: [rows, cols], both f32. */
export function addBias_f32(rows: i32, cols: i32, bias: usize, y: usize): void {
  addBias<F32>(rows, cols, bias, y);
}

/** As `addBias_f32` with `bias` in BF16. */
export function addBias_bf16(rows: i32, cols: i32, bias: usize, y: usize): void {
  addBias<BF16>(rows, cols, bias, y);
}
