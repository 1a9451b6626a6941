/**
 * Readable references in double precision, one for each kernel: what the kernels are tested and benchmarked against.
 *
 * Each returns the value of every element and its `magnitude`: the size of the terms that were added up to get it, by
 * which rounding errors scale. A kernel is right if |y - value| <= tolerance * magnitude + (output rounding) * |value|,
 * where the tolerance counts the operator's roundings in units of 2^-24.
 */
import { exp } from '../base/math.ts';

export interface Reference {
  readonly value: Float64Array;
  readonly magnitude: Float64Array;
}

type Numbers = ArrayLike<number>;

function reference(length: number, element: (i: number) => readonly [value: number, magnitude: number]): Reference {
  const value = new Float64Array(length);
  const magnitude = new Float64Array(length);
  for (let i = 0; i < length; i++) [value[i], magnitude[i]] = element(i) as [number, number];
  return { value, magnitude };
}

/** A value whose own size is its magnitude. */
function plain(value: number): readonly [number, number] {
  return [value, Math.abs(value)];
}

export function matmulReference(m: number, n: number, k: number, a: Numbers, b: Numbers): Reference {
  return reference(m * n, (i) => {
    const row = Math.floor(i / n);
    const col = i % n;
    let sum = 0;
    let size = 0;
    for (let p = 0; p < k; p++) {
      const product = a[row * k + p]! * b[p * n + col]!;
      sum += product;
      size += Math.abs(product);
    }
    return [sum, size];
  });
}

export function addReference(a: Numbers, b: Numbers): Reference {
  return reference(a.length, (i) => plain(a[i]! + b[i]!));
}

export function addBiasReference(bias: Numbers, y: Numbers): Reference {
  return reference(y.length, (i) => plain(y[i]! + bias[i % bias.length]!));
}

export function swigluReference(gate: Numbers, up: Numbers): Reference {
  return reference(gate.length, (i) => plain((gate[i]! / (1 + exp(-gate[i]!))) * up[i]!));
}

export function rmsnormReference(cols: number, x: Numbers, gamma: Numbers, epsilon: number): Reference {
  return reference(x.length, (i) => {
    const start = i - (i % cols);
    let squares = 0;
    for (let c = 0; c < cols; c++) squares += x[start + c]! * x[start + c]!;
    return plain((x[i]! * gamma[i % cols]!) / Math.sqrt(squares / cols + epsilon));
  });
}

export function ropeReference(heads: number, headDim: number, x: Numbers, cos: Numbers, sin: Numbers): Reference {
  const half = headDim / 2;
  return reference(x.length, (i) => {
    const token = Math.floor(i / (heads * headDim));
    const j = i % headDim;
    const angle = token * half + (j % half);
    const [other, sign] = j < half ? [i + half, -1] : [i - half, 1];
    const kept = x[i]! * cos[angle]!;
    const turned = sign * x[other]! * sin[angle]!;
    return [kept + turned, Math.abs(kept) + Math.abs(turned)];
  });
}

export function softmaxReference(
  rows: number,
  cols: number,
  x: Numbers,
  { scale, visible, window }: { scale: number; visible: number; window: number },
): Reference {
  const value = new Float64Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    const end = Math.min(cols, row + visible);
    const begin = Math.max(0, Math.min(end, row + visible - window));
    let top = -Infinity;
    for (let c = begin; c < end; c++) top = Math.max(top, x[row * cols + c]!);
    let sum = 0;
    for (let c = begin; c < end; c++) sum += exp(scale * (x[row * cols + c]! - top));
    for (let c = begin; c < end; c++) value[row * cols + c] = exp(scale * (x[row * cols + c]! - top)) / sum;
  }
  return { value, magnitude: value };
}

export function sumReference(sources: readonly Numbers[]): Reference {
  return reference(sources[0]!.length, (i) => {
    let sum = 0;
    let size = 0;
    for (const source of sources) {
      sum += source[i]!;
      size += Math.abs(source[i]!);
    }
    return [sum, size];
  });
}

const words = new Uint32Array(1);
const floats = new Float32Array(words.buffer);

/** The BF16 code nearest to `x`, ties to even; the canonical NaN 0x7fc0 for NaN. By comparing distances, not by bits. */
export function bf16Code(x: number): number {
  if (Number.isNaN(x)) return 0x7fc0;
  floats[0] = x;
  const below = words[0]! >>> 16;
  const exact = bf16Value(below);
  if (exact === x || !Number.isFinite(exact)) return below;
  const above = below + 1;
  // The code after the largest finite one is infinity; for rounding it stands where the next binade would begin.
  const aboveValue = Number.isFinite(bf16Value(above)) ? bf16Value(above) : Math.sign(exact) * 2 ** 128;
  const distance = Math.abs(x - exact) - Math.abs(aboveValue - x);
  if (distance === 0) return below % 2 === 0 ? below : above;
  return distance < 0 ? below : above;
}

/** The value of a BF16 code. */
export function bf16Value(code: number): number {
  words[0] = code << 16;
  return floats[0]!;
}

/** Words 4 c .. 4 c + 3 of the Philox4x32-10 stream. see: Salmon et al., SC 2011, section 3.3. */
export function philox(counter: readonly [number, number, number, number], key: readonly [number, number]): number[] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const p0 = BigInt(c0) * 0xd2511f53n;
    const p1 = BigInt(c2) * 0xcd9e8d57n;
    [c0, c1, c2, c3] = [
      (Number(p1 >> 32n) ^ c1 ^ k0) >>> 0,
      Number(p1 & 0xffffffffn),
      (Number(p0 >> 32n) ^ c3 ^ k1) >>> 0,
      Number(p0 & 0xffffffffn),
    ];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}
