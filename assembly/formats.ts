/**
 * The conversions of convert.ts for each format: `narrow` to nearest even, `narrowStochastic` by random words. Integers do not use `limit`: they saturate at the ends of their range.
 */
import { narrow, narrowBy, narrowingOf, narrowStochastic, narrowStochasticBy } from './convert';
import { BF16, E2M1, E3M4, E4M3, E4M3FN, E5M2, F16, I8 } from './element';

export function narrow_bf16(n: i32, x: usize, y: usize, limit: f32): void {
  narrow<BF16>(n, x, y, limit);
}

export function narrowStochastic_bf16(n: i32, x: usize, words: usize, y: usize, limit: f32): void {
  narrowStochastic<BF16>(n, x, words, y, limit);
}

export function narrow_f16(n: i32, x: usize, y: usize, limit: f32): void {
  narrow<F16>(n, x, y, limit);
}

export function narrowStochastic_f16(n: i32, x: usize, words: usize, y: usize, limit: f32): void {
  narrowStochastic<F16>(n, x, words, y, limit);
}

// E4M3 and E4M3FN differ in their NaN and, by `limit`, in their largest number: one code serves both.
function narrowE4M3(table: usize, n: i32, x: usize, y: usize, limit: f32): void {
  narrowBy<E4M3>(table, n, x, y, limit);
}

function narrowStochasticE4M3(table: usize, n: i32, x: usize, words: usize, y: usize, limit: f32): void {
  narrowStochasticBy<E4M3>(table, n, x, words, y, limit);
}

export function narrow_f8e4m3(n: i32, x: usize, y: usize, limit: f32): void {
  narrowE4M3(narrowingOf<E4M3>(), n, x, y, limit);
}

export function narrowStochastic_f8e4m3(n: i32, x: usize, words: usize, y: usize, limit: f32): void {
  narrowStochasticE4M3(narrowingOf<E4M3>(), n, x, words, y, limit);
}

export function narrow_f8e4m3fn(n: i32, x: usize, y: usize, limit: f32): void {
  narrowE4M3(narrowingOf<E4M3FN>(), n, x, y, limit);
}

export function narrowStochastic_f8e4m3fn(n: i32, x: usize, words: usize, y: usize, limit: f32): void {
  narrowStochasticE4M3(narrowingOf<E4M3FN>(), n, x, words, y, limit);
}

export function narrow_f8e5m2(n: i32, x: usize, y: usize, limit: f32): void {
  narrow<E5M2>(n, x, y, limit);
}

export function narrowStochastic_f8e5m2(n: i32, x: usize, words: usize, y: usize, limit: f32): void {
  narrowStochastic<E5M2>(n, x, words, y, limit);
}

export function narrow_f8e3m4(n: i32, x: usize, y: usize, limit: f32): void {
  narrow<E3M4>(n, x, y, limit);
}

export function narrowStochastic_f8e3m4(n: i32, x: usize, words: usize, y: usize, limit: f32): void {
  narrowStochastic<E3M4>(n, x, words, y, limit);
}

export function narrow_f4e2m1(n: i32, x: usize, y: usize, limit: f32): void {
  narrow<E2M1>(n, x, y, limit);
}

export function narrowStochastic_f4e2m1(n: i32, x: usize, words: usize, y: usize, limit: f32): void {
  narrowStochastic<E2M1>(n, x, words, y, limit);
}

export function narrow_i8(n: i32, x: usize, y: usize, limit: f32): void {
  narrow<I8>(n, x, y, limit);
}

export function narrowStochastic_i8(n: i32, x: usize, words: usize, y: usize, limit: f32): void {
  narrowStochastic<I8>(n, x, words, y, limit);
}

export function narrow_i32(n: i32, x: usize, y: usize, _limit: f32): void {
  for (let i: usize = 0; i < usize(n) << 2; i += 4) store<i32>(y + i, i32(nearest<f32>(load<f32>(x + i))));
}

export function narrowStochastic_i32(n: i32, x: usize, words: usize, y: usize, _limit: f32): void {
  for (let i: usize = 0; i < usize(n) << 2; i += 4) {
    const value = load<f32>(x + i);
    const whole = trunc<f32>(value);
    const isUp = f32(load<u32>(words + i) >> 8) * f32(5.9604644775390625e-8) < abs<f32>(value - whole); // 2^-24
    store<i32>(y + i, i32(isUp ? whole + copysign<f32>(1, value) : whole));
  }
}
