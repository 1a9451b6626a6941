/**
 * All-to-all on a ring: every rank's blocks travel round as one message, ordered by distance, and each rank on the way
 * keeps the first block, which is its own.
 *
 * In step s = 1, 2, ... position i sends the message that began at i - s + 1, of which the blocks for s and more hops
 * are left: one transfer of sum_{d >= s} blocks, p(p - 1)/2 of equal blocks per rank in all. In both directions, blocks go
 * the shorter way (those to the opposite rank forward): about p^2/8 each way and half the steps.
 */
import { atOnce, NOTHING, type Phase, singleStep } from '../phase.ts';
import { COPY, chunkStart } from '../schedule.ts';
import { type Block, type Exchange, pairTable, type Team } from './algorithm.ts';

/**
 * The exchange over all rings at once, the data split over them.
 * @param isBidirectional each ring also runs in reverse, and a block goes the shorter way
 */
export function ringAllToAll(
  team: Team,
  exchange: Exchange,
  orders: readonly ArrayLike<number>[],
  isBidirectional: boolean,
): Phase {
  const p = team.members.length;
  const phases: Phase[] = [];
  // Rings run at the same time, so each has scratch of its own behind that of the one before.
  let scratch = exchange.scratch;
  orders.forEach((order, r) => {
    const ownPieces = cutExchange(exchange, orders.length, r);
    const forward = isBidirectional ? Math.floor(p / 2) : p - 1;
    for (const [positions, hops] of [
      [Array.from(order), forward],
      [Array.from(order).reverse(), p - 1 - forward],
    ] as const) {
      const phase = travel(team, ownPieces, positions, hops, scratch);
      scratch += phase.scratch ?? 0;
      phases.push(phase);
    }
    phases.push(keepOwn(team, ownPieces));
  });
  return { ...atOnce(phases), scratch: scratch - exchange.scratch };
}

/** Every block's piece `r` of `pieces`. */
function cutExchange(exchange: Exchange, pieces: number, r: number): Exchange {
  if (pieces === 1) return exchange;
  return {
    ...exchange,
    blocks: (i, j) =>
      exchange.blocks(i, j).map(({ from, to, length }) => {
        const skip = chunkStart(length, pieces, r);
        return { from: from + skip, to: to + skip, length: chunkStart(length, pieces, r + 1) - skip };
      }),
  };
}

/** The block that each rank has for itself, moved to its output. */
export function keepOwn({ members }: Team, { blocks }: Exchange): Phase {
  return singleStep((emit) => {
    for (let i = 0; i < members.length; i++) {
      for (const { from, to, length } of blocks(i, i)) emit(members[i]!, members[i]!, from, to, length, COPY);
    }
  });
}

/** The blocks for 1 .. `hops` hops along `positions`. */
function travel(
  { members }: Team,
  exchange: Exchange,
  positions: readonly number[],
  hops: number,
  scratch: number,
): Phase {
  const p = positions.length;
  if (hops === 0) return NOTHING;
  const rank = (i: number): number => members[positions[i % p]!]!;
  const blocks = (origin: number, distance: number): readonly Block[] =>
    exchange.blocks(positions[origin]!, positions[(origin + distance) % p]!);
  // Where the block for `distance` hops begins in the message of `origin`: a row of hops + 2 sums for each.
  const width = hops + 2;
  const starts = pairTable(p, width);
  let longest = 0;
  for (let origin = 0; origin < p; origin++) {
    for (let distance = 1; distance <= hops; distance++) {
      const length = blocks(origin, distance).reduce((sum, block) => sum + block.length, 0);
      starts[origin * width + distance + 1] = starts[origin * width + distance]! + length;
    }
    longest = Math.max(longest, starts[origin * width + hops + 1]!);
  }
  // A message is received into one half of the scratch while the other is being sent.
  const half = (step: number): number => scratch + (step % 2) * longest;
  return {
    steps: hops,
    stepClass: (step) => step,
    scratch: 2 * longest,
    emit: (step, emit) => {
      for (let origin = 0; origin < p; origin++) {
        const [from, to] = [rank(origin + step), rank(origin + step + 1)];
        const row = origin * width;
        // The receiver's own block goes to its output, the others to its scratch.
        let at = half(step + 1) + starts[row + step + 1]!;
        for (const block of blocks(origin, step + 1)) {
          emit(from, to, step === 0 ? block.from : at, block.to, block.length, COPY);
          at += block.length;
        }
        if (step === 0) {
          for (let distance = 2; distance <= hops; distance++) {
            let next = half(0) + starts[row + distance]!;
            for (const block of blocks(origin, distance)) {
              emit(from, to, block.from, next, block.length, COPY);
              next += block.length;
            }
          }
        } else {
          const rest = starts[row + step + 2]!;
          emit(from, to, half(step + 1) + rest, half(step) + rest, starts[row + hops + 1]! - rest, COPY);
        }
      }
    },
  };
}
