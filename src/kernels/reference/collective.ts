/** The reductions of a collective. */
import { type Numbers, type Reference, reference } from './reference.ts';

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
