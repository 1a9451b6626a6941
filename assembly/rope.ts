/**
 * Rotary position embedding. With h = headDim / 2 and the tables cos, sin of [tokens, h], each pair (u, v) of a head turns:
 *
 *     u' = u cos[t, j] - v sin[t, j]
 *     v' = v cos[t, j] + u sin[t, j]          j < h
 *
 *     halves         u = x[j], v = x[j + h]             "rotate half", as the Hugging Face models
 *     interleaved    u = x[2 j], v = x[2 j + 1]         as GPT-J and the original paper
 *
 * see: Su et al.: RoFormer (2021).
 */
import { BF16, bytesOf, F32, load1, load4 } from './element';

function halves<T>(tokens: i32, heads: i32, half: i32, x: usize, cos: usize, sin: usize, y: usize): void {
  const size = bytesOf<T>();
  for (let t = 0; t < tokens; t++) {
    for (let head = 0; head < heads; head++) {
      let j = 0;
      for (; j + 4 <= half; j += 4) {
        const c = v128.load(cos + (j << 2));
        const s = v128.load(sin + (j << 2));
        const low = load4<T>(x + j * size);
        const high = load4<T>(x + (j + half) * size);
        v128.store(y + (j << 2), f32x4.sub(f32x4.mul(low, c), f32x4.mul(high, s)));
        v128.store(y + ((j + half) << 2), f32x4.add(f32x4.mul(high, c), f32x4.mul(low, s)));
      }
      for (; j < half; j++) {
        const c = load<f32>(cos + (j << 2));
        const s = load<f32>(sin + (j << 2));
        const low = load1<T>(x + j * size);
        const high = load1<T>(x + (j + half) * size);
        store<f32>(y + (j << 2), low * c - high * s);
        store<f32>(y + ((j + half) << 2), high * c + low * s);
      }
      x += 2 * half * size;
      y += half << 3;
    }
    cos += half << 2;
    sin += half << 2;
  }
}

function interleaved(tokens: i32, heads: i32, half: i32, x: usize, cos: usize, sin: usize, y: usize): void {
  for (let t = 0; t < tokens; t++) {
    for (let head = 0; head < heads; head++) {
      let j = 0;
      for (; j + 4 <= half; j += 4) {
        const c = v128.load(cos + (j << 2));
        const s = v128.load(sin + (j << 2));
        const first = v128.load(x + (j << 3));
        const second = v128.load(x + (j << 3), 16);
        const u = v128.shuffle<i32>(first, second, 0, 2, 4, 6);
        const v = v128.shuffle<i32>(first, second, 1, 3, 5, 7);
        const turnedU = f32x4.sub(f32x4.mul(u, c), f32x4.mul(v, s));
        const turnedV = f32x4.add(f32x4.mul(v, c), f32x4.mul(u, s));
        v128.store(y + (j << 3), v128.shuffle<i32>(turnedU, turnedV, 0, 4, 1, 5));
        v128.store(y + (j << 3), v128.shuffle<i32>(turnedU, turnedV, 2, 6, 3, 7), 16);
      }
      for (; j < half; j++) {
        const c = load<f32>(cos + (j << 2));
        const s = load<f32>(sin + (j << 2));
        const u = load<f32>(x + (j << 3));
        const v = load<f32>(x + (j << 3), 4);
        store<f32>(y + (j << 3), u * c - v * s);
        store<f32>(y + (j << 3), v * c + u * s, 4);
      }
      x += half << 3;
      y += half << 3;
    }
    cos += half << 2;
    sin += half << 2;
  }
}

/** `x`: [tokens, heads, 2 half] f32; `cos`, `sin`: [tokens, half] f32; `y`: f32 as `x`, not overlapping it. */
export function rope_f32(tokens: i32, heads: i32, half: i32, x: usize, cos: usize, sin: usize, y: usize): void {
  halves<F32>(tokens, heads, half, x, cos, sin, y);
}

/** As `rope_f32` with `x` in BF16. */
export function rope_bf16(tokens: i32, heads: i32, half: i32, x: usize, cos: usize, sin: usize, y: usize): void {
  halves<BF16>(tokens, heads, half, x, cos, sin, y);
}

/** As `rope_f32` with interleaved pairs. */
export function ropePairs_f32(tokens: i32, heads: i32, half: i32, x: usize, cos: usize, sin: usize, y: usize): void {
  interleaved(tokens, heads, half, x, cos, sin, y);
}
