/** The additions of a decoder layer, by their formulas. */
import { type Numbers, plain, type Reference, reference } from './reference.ts';

export function addReference(a: Numbers, b: Numbers): Reference {
  return reference(a.length, (i) => plain(a[i]! + b[i]!));
}

export function addBiasReference(bias: Numbers, y: Numbers): Reference {
  return reference(y.length, (i) => plain(y[i]! + bias[i % bias.length]!));
}
