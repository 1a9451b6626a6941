/** Rotary embeddings, by their formulas: an element, its partner, and the sign of the partner's part. */
import { type Numbers, type Reference, reference } from './reference.ts';

function turn(x: Numbers, i: number, partner: number, sign: number, cos: number, sin: number): [number, number] {
  const kept = x[i]! * cos;
  const turned = sign * x[partner]! * sin;
  return [kept + turned, Math.abs(kept) + Math.abs(turned)];
}

export function ropeReference(heads: number, headDim: number, x: Numbers, cos: Numbers, sin: Numbers): Reference {
  const half = headDim / 2;
  return reference(x.length, (i) => {
    const angle = Math.floor(i / (heads * headDim)) * half + ((i % headDim) % half);
    const isFirst = i % headDim < half;
    return turn(x, i, isFirst ? i + half : i - half, isFirst ? -1 : 1, cos[angle]!, sin[angle]!);
  });
}

export function ropeInterleavedReference(
  heads: number,
  headDim: number,
  x: Numbers,
  cos: Numbers,
  sin: Numbers,
): Reference {
  return reference(x.length, (i) => {
    const angle = (Math.floor(i / (heads * headDim)) * headDim) / 2 + Math.floor((i % headDim) / 2);
    const isFirst = i % 2 === 0;
    return turn(x, i, isFirst ? i + 1 : i - 1, isFirst ? -1 : 1, cos[angle]!, sin[angle]!);
  });
}
