/**
 * Rings over all chips of a fabric that have no link in common, so that a collective can run on all of them at once.
 *
 * A torus of n closed dimensions has degree 2n and falls apart into n Hamiltonian cycles (two dimensions: Kotzig 1973;
 * three: Foregger 1978; any number: Aubert and Schneider 1982). Here they are found as those proofs build them, by
 * exchanging edges over squares. Start with one factor per closed dimension: all cycles along it. In a square whose
 * parallel sides belong to factor i and the others to factor j, exchange the two pairs: both stay 2-factors (each chip
 * keeps two edges in each), and cycles that were apart are joined. Repeat until each factor is one cycle. Links of chains
 * (dimensions that do not close) are spare edges that any factor may exchange for.
 *
 * Links are full duplex, so each ring also runs backwards: n rings are 2n directed ones.
 * On switched fabrics chips are joined through their ports: there is one ring, in any order.
 * Leaves out: tori of more than 1,024 chips, and sets of chips that are no box; they get the one ring of `ringOrder`.
 */
import type { BytesPerSecond } from '../base/units.ts';
import type { FabricSpec, TorusDimension } from '../hardware/spec.ts';
import { ringOrder } from './rings.ts';
import { appendRoute, longestRoute } from './routes.ts';
import type { Topology } from './topology.ts';
import { coordinate, isClosed, torusStrides } from './torus.ts';

const MOST_CHIPS = 1024;
/** Passes over all squares before giving up: 2-D tori need one or two, 4x4x4 three. */
const MOST_PASSES = 64;
const SPARE = -1;

/**
 * Rings over `chips`, edge-disjoint, as many as the fabric gives; at least one.
 * @throws RangeError if a chip is not in the fabric or is given twice
 */
export function edgeDisjointRings(fabric: FabricSpec, chips: ArrayLike<number>): Int32Array[] {
  const one = ringOrder(fabric, chips);
  if (fabric.type !== 'torus' || one.length > MOST_CHIPS) return [one];
  const box = boxOf(fabric.dimensions, one);
  const rings = box === null ? [] : decompose(box.dimensions).map((ring) => ring.map((chip) => box.chips[chip]!));
  return rings.length === 0 ? [one] : rings;
}

/** The least bandwidth of the links that a ring's hops take. */
export function ringBandwidth(topology: Topology, ring: ArrayLike<number>): BytesPerSecond {
  const links = new Int32Array(longestRoute(topology));
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < ring.length; i++) {
    const end = appendRoute(topology, ring[i]!, ring[(i + 1) % ring.length]!, links, 0);
    for (let l = 0; l < end; l++) least = Math.min(least, topology.bandwidth[links[l]!]!);
  }
  return least;
}

interface Box {
  /** The dimensions of the box by itself: closed where the box goes all round. */
  readonly dimensions: readonly TorusDimension[];
  /** The fabric's chip at each place of the box. */
  readonly chips: readonly number[];
}

/** The chips as a box of their own, or null if they are none. */
function boxOf(dimensions: readonly TorusDimension[], chips: Int32Array): Box | null {
  const strides = torusStrides(dimensions);
  const used = Array.from(chips).sort((a, b) => a - b);
  const own = dimensions.map((dimension, d): TorusDimension => {
    const places = new Set(used.map((chip) => coordinate(chip, strides[d]!, dimension.size)));
    const first = Math.min(...places);
    // Places one after another; a box that runs over the end of the numbering is not looked for.
    const size = Math.max(...places) - first + 1;
    return { ...dimension, size, wrap: dimension.wrap && size === dimension.size };
  });
  return own.reduce((n, { size }) => n * size, 1) === used.length ? { dimensions: own, chips: used } : null;
}

/** Edge e = chip x dimensions + d joins a chip to the next one along dimension d. */
interface Grid {
  readonly chips: number;
  readonly count: number;
  /** Next and previous chip along each dimension, by chip x dimensions + d; -1 where a chain ends. */
  readonly next: Int32Array;
  readonly previous: Int32Array;
  /** Factor that each edge belongs to, or `SPARE`. */
  readonly owner: Int32Array;
  readonly factors: number;
}

function makeGrid(dimensions: readonly TorusDimension[]): Grid {
  const strides = torusStrides(dimensions);
  const count = dimensions.length;
  const chips = dimensions.reduce((n, { size }) => n * size, 1);
  const next = new Int32Array(chips * count).fill(-1);
  const previous = next.slice();
  const owner = next.slice().fill(SPARE);
  let factors = 0;
  dimensions.forEach((dimension, d) => {
    const { size } = dimension;
    const closed = isClosed(dimension);
    for (let chip = 0; chip < chips; chip++) {
      const at = coordinate(chip, strides[d]!, size);
      const edge = chip * count + d;
      if (at + 1 < size) next[edge] = chip + strides[d]!;
      else if (closed) next[edge] = chip - at * strides[d]!;
      if (next[edge] !== -1) previous[next[edge]! * count + d] = chip;
      if (closed) owner[edge] = factors;
    }
    if (closed) factors++;
  });
  return { chips, count, next, previous, owner, factors };
}

/** The factors of a torus that could be made one cycle each. */
function decompose(dimensions: readonly TorusDimension[]): Int32Array[] {
  const grid = makeGrid(dimensions);
  const cycles = Array.from({ length: grid.factors }, (_, f) => countCycles(grid, f));
  for (let pass = 0; pass < MOST_PASSES && cycles.some((n) => n > 1); pass++) {
    for (let chip = 0; chip < grid.chips; chip++) {
      for (let d = 0; d < grid.count; d++) {
        for (let e = d + 1; e < grid.count; e++) exchange(grid, cycles, chip, d, e, pass);
      }
    }
  }
  return cycles.flatMap((n, factor) => {
    const ring: number[] = [];
    if (n === 1) walk(grid, factor, 0, (chip) => ring.push(chip));
    return n === 1 ? [Int32Array.from(ring)] : [];
  });
}

/** Exchanges the sides of the square at `chip` along d and e, and undoes it if that makes more cycles. */
function exchange(grid: Grid, cycles: number[], chip: number, d: number, e: number, pass: number): void {
  const { count, next, owner } = grid;
  const alongD = chip * count + d;
  const alongE = chip * count + e;
  const acrossD = next[alongE]! * count + d;
  const acrossE = next[alongD]! * count + e;
  if (next[alongD] === -1 || next[alongE] === -1 || next[acrossD] === -1 || next[acrossE] === -1) return;
  const i = owner[alongD]!;
  const j = owner[alongE]!;
  if (i === j || owner[acrossD] !== i || owner[acrossE] !== j) return;
  const swap = (first: number, second: number): void => {
    owner[alongD] = owner[acrossD] = first;
    owner[alongE] = owner[acrossE] = second;
  };
  swap(j, i);
  const ofI = i === SPARE ? 0 : countCycles(grid, i);
  const ofJ = j === SPARE ? 0 : countCycles(grid, j);
  const before = (cycles[i] ?? 0) + (cycles[j] ?? 0);
  // Every second pass also takes exchanges that change nothing in number: they open the way out of dead ends.
  if (ofI + ofJ < before || (pass % 2 === 1 && ofI + ofJ === before)) {
    if (i !== SPARE) cycles[i] = ofI;
    if (j !== SPARE) cycles[j] = ofJ;
  } else {
    swap(i, j);
  }
}

function countCycles(grid: Grid, factor: number): number {
  const seen = new Uint8Array(grid.chips);
  let cycles = 0;
  for (let chip = 0; chip < grid.chips; chip++) {
    if (seen[chip] === 1) continue;
    cycles++;
    walk(grid, factor, chip, (at) => {
      seen[at] = 1;
    });
  }
  return cycles;
}

/** Visits the chips of the factor's cycle through `start`, in order. */
function walk(grid: Grid, factor: number, start: number, visit: (chip: number) => void): void {
  let last = -1;
  let chip = start;
  do {
    visit(chip);
    const onward = neighbor(grid, factor, chip, last);
    last = chip;
    chip = onward;
  } while (chip !== start);
}

/** The chip that follows `chip` in the factor, coming from `last`. */
function neighbor({ count, next, previous, owner }: Grid, factor: number, chip: number, last: number): number {
  for (let d = 0; d < count; d++) {
    const ahead = next[chip * count + d]!;
    if (ahead !== -1 && ahead !== last && owner[chip * count + d] === factor) return ahead;
    const behind = previous[chip * count + d]!;
    if (behind !== -1 && behind !== last && owner[behind * count + d] === factor) return behind;
  }
  throw new RangeError(`"chip" expected two edges of factor ${factor} at ${chip}`);
}
