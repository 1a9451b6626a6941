/**
 * What this host can do at most, for benchmarks to compare with: arithmetic from registers, reading from memory.
 */
import { horizontalSum, madd4 } from './element';

/** `steps` times 12 independent products and sums of 4 lanes: 96 operations a step. Returns something that depends on all. */
export function peak_f32(steps: i32, factor: f32): f32 {
  const x = f32x4.splat(factor);
  let s0 = x;
  let s1 = x;
  let s2 = x;
  let s3 = x;
  let s4 = x;
  let s5 = x;
  let s6 = x;
  let s7 = x;
  let s8 = x;
  let s9 = x;
  let s10 = x;
  let s11 = x;
  if (steps > 0) {
    do {
      s0 = madd4(s0, x, x);
      s1 = madd4(s1, x, x);
      s2 = madd4(s2, x, x);
      s3 = madd4(s3, x, x);
      s4 = madd4(s4, x, x);
      s5 = madd4(s5, x, x);
      s6 = madd4(s6, x, x);
      s7 = madd4(s7, x, x);
      s8 = madd4(s8, x, x);
      s9 = madd4(s9, x, x);
      s10 = madd4(s10, x, x);
      s11 = madd4(s11, x, x);
    } while (--steps);
  }
  const a = f32x4.add(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)), f32x4.add(f32x4.add(s4, s5), f32x4.add(s6, s7)));
  return horizontalSum(f32x4.add(a, f32x4.add(f32x4.add(s8, s9), f32x4.add(s10, s11))));
}

/** Reads `bytes` (a multiple of 128, at least 128) from `p`. Returns something that depends on all. */
export function read_f32(bytes: i32, p: usize): f32 {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let s4 = s0;
  let s5 = s0;
  let s6 = s0;
  let s7 = s0;
  if (bytes > 0) {
    do {
      s0 = v128.or(s0, v128.load(p));
      s1 = v128.or(s1, v128.load(p, 16));
      s2 = v128.or(s2, v128.load(p, 32));
      s3 = v128.or(s3, v128.load(p, 48));
      s4 = v128.or(s4, v128.load(p, 64));
      s5 = v128.or(s5, v128.load(p, 80));
      s6 = v128.or(s6, v128.load(p, 96));
      s7 = v128.or(s7, v128.load(p, 112));
      p += 128;
      bytes -= 128;
    } while (bytes > 0);
  }
  const a = v128.or(v128.or(s0, s1), v128.or(s2, s3));
  return horizontalSum(v128.or(a, v128.or(v128.or(s4, s5), v128.or(s6, s7))));
}
