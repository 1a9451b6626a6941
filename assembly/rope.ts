/**
 * Rotary position embedding, in the "rotate half" form of the Hugging Face models: with h = headDim / 2 and the tables
 * cos, sin of [tokens, h],
 *
 *     y[t, j]     = x[t, j] cos[t, j] - x[t, j + h] sin[t, j]
 *     y[t, j + h] = x[t, j + h] cos[t, j] + x[t, j] sin[t, j]        for each head, j < h
 */
import { BF16, bytesOf, F32, load1, load4 } from './element';

function rope<T>(tokens: i32, heads: i32, half: i32, x: usize, cos: usize, sin: usize, y: usize): void {
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

/** `x`: [tokens, heads, 2 half] f32; `cos`, `sin`: [tokens, half] f32; `y`: f32 as `x`, not overlapping it. */
export function rope_f32(tokens: i32, heads: i32, half: i32, x: usize, cos: usize, sin: usize, y: usize): void {
  rope<F32>(tokens, heads, half, x, cos, sin, y);
}

/** As `rope_f32` with `x` in BF16. */
export function rope_bf16(tokens: i32, heads: i32, half: i32, x: usize, cos: usize, sin: usize, y: usize): void {
  rope<BF16>(tokens, heads, half, x, cos, sin, y);
}
