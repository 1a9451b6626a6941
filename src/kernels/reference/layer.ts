/** The operators of a decoder layer, by their formulas. */
import { exp } from '../../base/math.ts';
import { type Numbers, plain, type Reference, reference } from './reference.ts';

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
