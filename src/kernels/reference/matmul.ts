/** The matrix product, a sum of products for each element. */
import { type Numbers, type Reference, reference } from './reference.ts';

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
