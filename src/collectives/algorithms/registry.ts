/** The algorithms by name. Each is one file or a part of one; this list is what `auto`, the command line and tests go through. */
import { expectOneOf } from '../../base/errors.ts';
import { COLLECTIVES, type Collective } from '../schedule.ts';
import type { Algorithm } from './algorithm.ts';
import { hierarchical } from './hierarchical.ts';
import { kangaRing } from './kangaring.ts';
import { mesh, pairwise, singleStepMesh } from './mesh.ts';
import { direct, dissemination } from './point-to-point.ts';
import { rdh } from './rdh.ts';
import { bidirectionalRing, flatRing, ring } from './ring.ts';
import { switchReduction } from './switch.ts';
import { binomialTree, doubleBinaryTree } from './tree.ts';

// The order is that of listings; `auto` goes by predicted time.
const ALGORITHMS: readonly Algorithm[] = [
  ring,
  bidirectionalRing,
  flatRing,
  mesh,
  singleStepMesh,
  pairwise,
  rdh,
  kangaRing,
  hierarchical,
  doubleBinaryTree,
  binomialTree,
  switchReduction,
  direct,
  dissemination,
];

/** Every algorithm, in a fixed order. */
export function collectiveAlgorithms(): readonly Algorithm[] {
  return ALGORITHMS;
}

/** @throws RangeError if there is no algorithm of that name. */
export function findAlgorithm(name: string, text: string): Algorithm {
  const known = expectOneOf(
    name,
    text,
    ALGORITHMS.map((algorithm) => algorithm.name),
  );
  return ALGORITHMS.find((algorithm) => algorithm.name === known)!;
}

/** The collectives that an algorithm defines. */
export function collectivesOf(algorithm: Algorithm): Collective[] {
  return COLLECTIVES.filter((collective) => algorithm[collective] !== undefined);
}
