/** The transposed matrix, element by element. */
import { type Numbers, type Reference, reference } from './reference.ts';

export function transposeReference(rows: number, cols: number, x: Numbers): Reference {
  return reference(rows * cols, (i) => [x[(i % rows) * cols + Math.floor(i / rows)]!, 0]);
}
