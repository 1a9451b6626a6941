/** The reductions of a collective, and its moves of rows and blocks. */
import type { ReduceOperator } from '../collective.ts';
import { type Numbers, plain, type Reference, reference } from './reference.ts';

export function reduceReference(operator: ReduceOperator, sources: readonly Numbers[]): Reference {
  return reference(sources[0]!.length, (i) => {
    const values = sources.map((source) => source[i]!);
    switch (operator) {
      case 'sum':
        return [values.reduce((total, x) => total + x), values.reduce((size, x) => size + Math.abs(x), 0)];
      case 'prod':
        return plain(values.reduce((product, x) => product * x));
      case 'max':
        return plain(Math.max(...values));
      case 'min':
        return plain(Math.min(...values));
    }
  });
}

/** Element i of the result is element `from(i)` of `x`. */
export function moveReference(length: number, x: Numbers, from: (i: number) => number): Reference {
  return reference(length, (i) => plain(x[from(i)]!));
}
