/**
 * Hypercube order: chips arranged so that two whose places differ in one bit are neighbours, for recursive
 * halving-doubling.
 *
 * A ring of four is a square, the 2-D hypercube: places 0 1 2 3 round the ring are the Gray codes 00 01 11 10. So a torus
 * of dimensions 4 and 2 is a hypercube with two bits, or one, per dimension: 4 x 4 is the 4-D one, 4 x 4 x 4 the 6-D one.
 * Longer rings hold no hypercube. On a switch every order is one.
 * see: SemiAnalysis, "Amazon's AI Self Sufficiency: Trainium2" (the 4 x 4 torus as a 4-D hypercube)
 */
import { ModelError } from '../base/errors.ts';
import { fabricSize } from '../hardware/fabric.ts';
import type { FabricSpec } from '../hardware/spec.ts';
import { isClosed } from './torus.ts';

/**
 * The chip at each place; bits 0 and 1 of a place run through the innermost dimension.
 * @throws ModelError (TOPOLOGY) if the fabric holds no hypercube
 */
export function hypercubeOrder(fabric: FabricSpec): Int32Array {
  const chips = fabricSize(fabric);
  const refuse = (got: string): never => {
    throw new ModelError(
      'TOPOLOGY',
      'fabric',
      `expected a hypercube: a torus of 4s and 2s, or 2^n chips on a switch, got ${got}`,
    );
  };
  if (fabric.type === 'graph') return refuse('a graph');
  const order = Int32Array.from({ length: chips }, (_, place) => place);
  if (fabric.type !== 'torus') return (chips & (chips - 1)) === 0 ? order : refuse(`${chips} chips`);
  for (const dimension of fabric.dimensions) {
    if (dimension.size > 2 && !(dimension.size === 4 && isClosed(dimension))) {
      return refuse(`a ${dimension.wrap ? 'ring' : 'chain'} of ${dimension.size}`);
    }
  }
  return order.map((place) => {
    let chip = 0;
    let stride = 1;
    let rest = place;
    for (const { size } of fabric.dimensions) {
      const code = rest % size;
      chip += (code ^ (code >> 1)) * stride;
      stride *= size;
      rest = Math.floor(rest / size);
    }
    return chip;
  });
}
