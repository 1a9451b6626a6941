/**
 * Elementwise operators of a decoder layer. Operands in their storage format, FP32 inside, FP32 out.
 *
 *     add       y = a + b
 *     addBias   y[r, c] += b[c]
 *     swiglu    y = silu(gate) up,   silu(x) = x / (1 + e^-x)
 */
import { BF16, bytesOf, F32, load1, load4 } from './element';
import { exp4 } from './exp';

function add<T>(n: i32, a: usize, b: usize, y: usize): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    v128.store(y, f32x4.add(load4<T>(a), load4<T>(b)));
    a += 4 * bytesOf<T>();
    b += 4 * bytesOf<T>();
    y += 16;
  }
  for (; i < n; i++) {
    store<f32>(y, load1<T>(a) + load1<T>(b));
    a += bytesOf<T>();
    b += bytesOf<T>();
    y += 4;
  }
}

function addBias<T>(rows: i32, cols: i32, bias: usize, y: usize): void {
  for (let row = 0; row < rows; row++) {
    let b = bias;
    let c = 0;
    for (; c + 4 <= cols; c += 4) {
      v128.store(y, f32x4.add(v128.load(y), load4<T>(b)));
      b += 4 * bytesOf<T>();
      y += 16;
    }
    for (; c < cols; c++) {
      store<f32>(y, load<f32>(y) + load1<T>(b));
      b += bytesOf<T>();
      y += 4;
    }
  }
}

function swiglu4(gate: v128, up: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.mul(f32x4.div(gate, f32x4.add(one, exp4(f32x4.neg(gate)))), up);
}

function swiglu<T>(n: i32, gate: usize, up: usize, y: usize): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    v128.store(y, swiglu4(load4<T>(gate), load4<T>(up)));
    gate += 4 * bytesOf<T>();
    up += 4 * bytesOf<T>();
    y += 16;
  }
  for (; i < n; i++) {
    // The same lanes as above, so that a tail element has the bits it would have in the middle.
    const value = swiglu4(f32x4.splat(load1<T>(gate)), f32x4.splat(load1<T>(up)));
    store<f32>(y, f32x4.extract_lane(value, 0));
    gate += bytesOf<T>();
    up += bytesOf<T>();
    y += 4;
  }
}

export function add_f32(n: i32, a: usize, b: usize, y: usize): void {
  add<F32>(n, a, b, y);
}

export function add_bf16(n: i32, a: usize, b: usize, y: usize): void {
  add<BF16>(n, a, b, y);
}

export function addBias_f32(rows: i32, cols: i32, bias: usize, y: usize): void {
  addBias<F32>(rows, cols, bias, y);
}

export function addBias_bf16(rows: i32, cols: i32, bias: usize, y: usize): void {
  addBias<BF16>(rows, cols, bias, y);
}

export function swiglu_f32(n: i32, gate: usize, up: usize, y: usize): void {
  swiglu<F32>(n, gate, up, y);
}

export function swiglu_bf16(n: i32, gate: usize, up: usize, y: usize): void {
  swiglu<BF16>(n, gate, up, y);
}
