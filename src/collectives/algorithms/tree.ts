/**
 * Trees: log2 p hops instead of p.
 *
 * Binomial tree: in step k of a broadcast every rank that has the data sends it 2^k further on, counted from the root, so
 * that the number of ranks that have it doubles. Reduce, gather and scatter use the same tree; a gather sends what a
 * subtree has collected.
 *
 * Double binary tree: two binary trees over all ranks, each for one half of the data, pipelined in slices. A rank that has
 * children in one tree is a leaf of the other, so nobody sends or receives more than the data once each way, and the full
 * bandwidth is used at a logarithmic latency. Tree 1 is the in-order tree over positions 1 .. p: the parent of v is v with
 * its lowest set bit b replaced by 2b, or only cleared where that is beyond p. Tree 2 is the same, one position further on.
 * Pipelining: a rank at depth d sends slice k up in step k + D - d (D: the largest depth), and down in step k + D + d.
 * see: Sanders, Speck and Traeff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan", 2009; NCCL has
 * used it for all-reduce since 2.4.
 */
import { atOnce, cutPart, emitPart, joinParts, NOTHING, type Part, type Phase } from '../phase.ts';
import { ADD, COPY } from '../schedule.ts';
import type { Algorithm, AlgorithmOptions, Team } from './algorithm.ts';

/** Slices that are in flight if nothing is said: an assumption, deep enough to hide most of the depth. */
export const DEFAULT_SLICES = 8;

/**
 * Away from the root, the range of distances that a rank stands for is halved from step to step, the far half handed over;
 * towards the root the same backwards. `partOf` gives what passes between it and the `behind` ranks from distance `far` on.
 */
function binomial(
  { members }: Team,
  root: number,
  isTowardsRoot: boolean,
  partOf: (positions: readonly number[]) => Part,
  action: typeof COPY | typeof ADD,
): Phase {
  const p = members.length;
  const steps = p === 1 ? 0 : 32 - Math.clz32(p - 1);
  const at = (distance: number): number => (root + distance) % p;
  return {
    steps,
    stepClass: (step) => step,
    emit: (step, emit) => {
      const reach = 1 << (isTowardsRoot ? step : steps - 1 - step);
      for (let near = 0; near + reach < p; near += 2 * reach) {
        const far = near + reach;
        const part = partOf(Array.from({ length: Math.min(reach, p - far) }, (_, i) => at(far + i)));
        const [here, there] = [members[at(near)]!, members[at(far)]!];
        if (isTowardsRoot) emitPart(emit, there, here, part, action);
        else emitPart(emit, here, there, part, action);
      }
    },
  };
}

/** What the given positions contribute or get. */
const partsOf =
  (parts: readonly Part[]) =>
  (positions: readonly number[]): Part =>
    joinParts(positions.map((position) => parts[position]!));

export const binomialTree: Algorithm = {
  name: 'binomial-tree',
  summary: 'the ranks that have the data double with each step: log2 p steps, for small data',
  broadcast: (team, data, root) => binomial(team, root, false, () => data, COPY),
  reduce: (team, data, root) => binomial(team, root, true, () => data, ADD),
  gather: (team, parts, root) => binomial(team, root, true, partsOf(parts), COPY),
  scatter: (team, parts, root) => binomial(team, root, false, partsOf(parts), COPY),
};

interface Tree {
  /** Parent of each node, -1 for the top. */
  readonly parent: Int32Array;
  /** Edges to the top. */
  readonly depth: Int32Array;
}

/** The in-order binary tree over p nodes, turned so that node i plays the part of i + `shift`. */
export function inOrderTree(p: number, shift: number): Tree {
  const nodeOf = (v: number): number => (v - 1 - shift + p) % p;
  const parent = new Int32Array(p).fill(-1);
  for (let v = 1; v <= p; v++) {
    const bit = v & -v;
    const above = (v ^ bit) | (2 * bit);
    const up = above <= p ? above : v ^ bit;
    if (up !== 0) parent[nodeOf(v)] = nodeOf(up);
  }
  return { parent, depth: depths(parent) };
}

function depths(parent: Int32Array): Int32Array {
  return parent.map((_, node) => {
    let depth = 0;
    for (let up = parent[node]!; up >= 0; up = parent[up]!) depth++;
    return depth;
  });
}

/** As `tree`, with a further node above its top: the root of a broadcast, which belongs to neither of the two trees. */
function withRoot({ parent }: Tree): Tree {
  const rooted = Int32Array.of(...parent.map((up) => (up < 0 ? parent.length : up)), -1);
  return { parent: rooted, depth: depths(rooted) };
}

/** One tree on the given ranks: up if `isUp`, then down if `isDown`, slice after slice. */
function pipelined(
  ranks: readonly number[],
  { parent, depth }: Tree,
  slices: readonly Part[],
  isUp: boolean,
  isDown: boolean,
): Phase {
  const height = depth.reduce((most, d) => Math.max(most, d), 0);
  if (slices.length === 0 || height === 0) return NOTHING;
  const upSteps = isUp ? height : 0;
  const lastDelay = upSteps + (isDown ? height : 0) - 1;
  // Children of one parent one after another: what they send up in a step is one reduction.
  const children = ranks.map((_, node) => node).filter((node) => parent[node]! >= 0);
  children.sort((a, b) => parent[a]! - parent[b]! || a - b);
  return {
    steps: lastDelay + slices.length,
    // Which edges are in use follows from which delays have a slice.
    stepClass: (step) => Math.max(0, step - slices.length + 1) * (lastDelay + 1) + Math.min(step, lastDelay),
    emit: (step, emit) => {
      for (const child of children) {
        const [below, above] = [ranks[child]!, ranks[parent[child]!]!];
        const up = isUp ? slices[step - (height - depth[child]!)] : undefined;
        const down = isDown ? slices[step - (upSteps + depth[child]! - 1)] : undefined;
        if (up) emitPart(emit, below, above, up, ADD);
        if (down) emitPart(emit, above, below, down, COPY);
      }
    },
  };
}

/** Both trees, each on a half of the data; with a root, over all the other ranks. */
function twoTrees(
  { members }: Team,
  data: Part,
  { slices = DEFAULT_SLICES }: AlgorithmOptions,
  isUp: boolean,
  isDown: boolean,
  root?: number,
): Phase {
  const p = members.length;
  if (p === 1) return NOTHING;
  const inTrees = root === undefined ? p : p - 1;
  const ranks = Array.from({ length: p }, (_, i) => members[((root ?? -1) + 1 + i) % p]!);
  const halves = cutPart(data, 2);
  return atOnce(
    [0, 1].map((shift) => {
      const tree = inOrderTree(inTrees, shift);
      const pieces = cutPart(halves[shift]!, slices).filter((slice) => slice.length > 0);
      return pipelined(ranks, root === undefined ? tree : withRoot(tree), pieces, isUp, isDown);
    }),
  );
}

export const doubleBinaryTree: Algorithm = {
  name: 'double-binary-tree',
  summary: 'two binary trees, a half of the data on each: logarithmic latency at the full bandwidth of a rank',
  'all-reduce': (team, data, options) => twoTrees(team, data, options, true, true),
  broadcast: (team, data, root, options) => twoTrees(team, data, options, false, true, root),
  reduce: (team, data, root, options) => twoTrees(team, data, options, true, false, root),
};
