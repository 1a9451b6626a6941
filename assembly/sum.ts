/**
 * The reduction of a collective: y[i] = x_0[i] + x_1[i] + ... in one pass over all sources, so that each source is read
 * once and the result written once. Added in FP32 in the order of the sources; BF16 results are rounded once, to
 * nearest even, by the caller's cast. `y` may be one of the sources if both have the same element size.
 */
import { BF16, bytesOf, F32, load1, load4 } from './element';

/** `sources`: address of `count` >= 1 pointers (u32). A block of 16 elements stays in registers over all sources. */
function sum<T>(count: i32, n: i32, sources: usize, y: usize): void {
  const size = bytesOf<T>();
  let i: usize = 0;
  const whole = usize(n & ~15);
  for (; i < whole; i += 16) {
    const offset = i * size;
    let p = usize(load<u32>(sources)) + offset;
    let a = load4<T>(p);
    let b = load4<T>(p + 4 * size);
    let c = load4<T>(p + 8 * size);
    let d = load4<T>(p + 12 * size);
    for (let s = 1; s < count; s++) {
      p = usize(load<u32>(sources + (s << 2))) + offset;
      a = f32x4.add(a, load4<T>(p));
      b = f32x4.add(b, load4<T>(p + 4 * size));
      c = f32x4.add(c, load4<T>(p + 8 * size));
      d = f32x4.add(d, load4<T>(p + 12 * size));
    }
    const out = y + (i << 2);
    v128.store(out, a);
    v128.store(out, b, 16);
    v128.store(out, c, 32);
    v128.store(out, d, 48);
  }
  for (; i < usize(n); i++) {
    let total = load1<T>(usize(load<u32>(sources)) + i * size);
    for (let s = 1; s < count; s++) total += load1<T>(usize(load<u32>(sources + (s << 2))) + i * size);
    store<f32>(y + (i << 2), total);
  }
}

/** `y`: [n] f32, may be one of the sources. */
export function sum_f32(count: i32, n: i32, sources: usize, y: usize): void {
  sum<F32>(count, n, sources, y);
}

/** As `sum_f32` with BF16 sources; `y`: [n] f32, not overlapping them. */
export function sum_bf16(count: i32, n: i32, sources: usize, y: usize): void {
  sum<BF16>(count, n, sources, y);
}
