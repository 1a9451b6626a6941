/** Normalizations of rows, by their formulas. */
import { type Numbers, plain, type Reference, reference } from './reference.ts';

export function rmsnormReference(cols: number, x: Numbers, gamma: Numbers, epsilon: number): Reference {
  return reference(x.length, (i) => {
    const start = i - (i % cols);
    let squares = 0;
    for (let c = 0; c < cols; c++) squares += x[start + c]! * x[start + c]!;
    return plain((x[i]! * gamma[i % cols]!) / Math.sqrt(squares / cols + epsilon));
  });
}

/** The magnitude: x and the mean are subtracted, then beta is added. */
export function layernormReference(
  cols: number,
  x: Numbers,
  gamma: Numbers,
  beta: Numbers,
  epsilon: number,
): Reference {
  return reference(x.length, (i) => {
    const start = i - (i % cols);
    let mean = 0;
    let size = 0;
    for (let c = 0; c < cols; c++) {
      mean += x[start + c]! / cols;
      size += Math.abs(x[start + c]!) / cols;
    }
    let variance = 0;
    for (let c = 0; c < cols; c++) variance += ((x[start + c]! - mean) * (x[start + c]! - mean)) / cols;
    const factor = gamma[i % cols]! / Math.sqrt(variance + epsilon);
    const b = beta[i % cols]!;
    return [(x[i]! - mean) * factor + b, (Math.abs(x[i]!) + size) * Math.abs(factor) + Math.abs(b)];
  });
}
