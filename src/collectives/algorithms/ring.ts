/**
 * Ring: every rank sends to its successor only, p - 1 steps, 2(p - 1) for an all-reduce.
 *
 * Reduce-scatter: in step s the rank at ring position i sends part i - s - 1, and its successor adds it; part i ends at
 * position i. All-gather: position i sends part i - s, its own first. Each rank sends (p - 1)/p of the data in a half: the
 * least there is (see: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009).
 * Broadcast, reduce, gather and scatter run along the chain that begins or ends at the root; the first two in slices.
 * All-to-all stores and forwards: in step s a rank passes on what has still to go s or more hops.
 *
 * Several orders are several rings at once, the data split over them. A bidirectional ring is a ring and its reverse.
 * Flat ring: one ring through the ranks of all nodes, which is the ring over the whole group.
 */
import { areEven, atOnce, cutPart, emitPart, inSequence, NOTHING, type Part, type Phase } from '../phase.ts';
import { ADD, COPY } from '../schedule.ts';
import { type Algorithm, type AlgorithmOptions, inOrder, type Team } from './algorithm.ts';
import { ringAllToAll } from './ring-exchange.ts';

/** One ring: ranks in ring order, and what each works on. */
export type MakeRing<T> = (ring: Int32Array, own: T[]) => Phase;

type Orders = (team: Team, options: AlgorithmOptions) => readonly ArrayLike<number>[];

const givenOrders: Orders = ({ members }, { orders }) => orders ?? [inOrder(members.length)];

const bothWays: Orders = (team, options) =>
  givenOrders(team, options).flatMap((order) => [order, Array.from(order).reverse()]);

/** Cuts every part into one piece for each order, and makes a ring of each. */
export function overOrders(
  team: Team,
  parts: readonly Part[],
  orders: readonly ArrayLike<number>[],
  make: MakeRing<Part>,
): Phase {
  if (team.members.length === 1) return NOTHING;
  const pieces = parts.map((part) => cutPart(part, orders.length));
  return atOnce(
    orders.map((order, r) => {
      const positions = Array.from(order);
      return make(
        Int32Array.from(positions, (position) => team.members[position]!),
        positions.map((position) => pieces[position]![r]!),
      );
    }),
  );
}

const reduceScatterRing: MakeRing<Part> = (ring, parts) => rotation(ring, parts, -1, ADD);
const allGatherRing: MakeRing<Part> = (ring, parts) => rotation(ring, parts, 0, COPY);

/** p - 1 steps in which ring position i sends part i + first - s to its successor. */
function rotation(ring: Int32Array, parts: readonly Part[], first: number, action: typeof ADD | typeof COPY): Phase {
  const p = ring.length;
  const isEven = areEven(parts);
  return {
    steps: p - 1,
    stepClass: (step) => (isEven ? 0 : step),
    emit: (step, emit) => {
      for (let i = 0; i < p; i++) {
        emitPart(emit, ring[i]!, ring[(i + 1) % p]!, parts[(i + first - step + p) % p]!, action);
      }
    },
  };
}

/** Slices one after another along the chain, from its first rank to its last. */
function chain(ranks: Int32Array, slices: readonly Part[], action: typeof ADD | typeof COPY): Phase {
  const links = ranks.length - 1;
  const active = (step: number): [number, number] => [Math.max(0, step - slices.length + 1), Math.min(step, links - 1)];
  return {
    steps: slices.length + links - 1,
    stepClass: (step) => {
      const [first, last] = active(step);
      return first * links + last;
    },
    emit: (step, emit) => {
      const [first, last] = active(step);
      for (let i = first; i <= last; i++) emitPart(emit, ranks[i]!, ranks[i + 1]!, slices[step - i]!, action);
    },
  };
}

/** The ranks of a ring from `root` on. */
function fromRoot(ring: Int32Array, root: number): Int32Array {
  const start = ring.indexOf(root);
  return ring.map((_, i) => ring[(start + i) % ring.length]!);
}

function alongChain(ordersOf: Orders, isTowardsRoot: boolean): NonNullable<Algorithm['broadcast']> {
  return (team, data, root, options) => {
    const p = team.members.length;
    const orders = ordersOf(team, options);
    const everyPart = Array.from({ length: p }, () => data);
    return overOrders(team, everyPart, orders, (ring, own) => {
      const slices = cutPart(own[0]!, options.slices ?? p).filter((slice) => slice.length > 0);
      const ranks = fromRoot(ring, team.members[root]!);
      if (slices.length === 0) return NOTHING;
      return isTowardsRoot ? chain(ranks.reverse(), slices, ADD) : chain(ranks, slices, COPY);
    });
  };
}

/** Parts pass through all ranks between their own and the root. */
function parked(ordersOf: Orders, isTowardsRoot: boolean): NonNullable<Algorithm['gather']> {
  return (team, parts, root, options) =>
    overOrders(team, parts, ordersOf(team, options), (ring, own) => {
      const p = ring.length;
      const start = ring.indexOf(team.members[root]!);
      const at = (i: number): number => (start + i) % p;
      return {
        steps: p - 1,
        stepClass: (step) => step,
        emit: (step, emit) => {
          // Gather: rank i of the chain hands part i + step to its predecessor. Scatter is the same film run backwards.
          const ahead = isTowardsRoot ? step : p - 2 - step;
          for (let i = 1; i + ahead < p; i++) {
            const [near, far] = [ring[at(i - 1)]!, ring[at(i)]!];
            const part = own[at(i + ahead)]!;
            if (isTowardsRoot) emitPart(emit, far, near, part, COPY);
            else emitPart(emit, near, far, part, COPY);
          }
        },
      };
    });
}

function ringAlgorithm(name: string, summary: string, ordersOf: Orders): Algorithm {
  return {
    name,
    summary,
    'reduce-scatter': (team, parts, options) => overOrders(team, parts, ordersOf(team, options), reduceScatterRing),
    'all-gather': (team, parts, options) => overOrders(team, parts, ordersOf(team, options), allGatherRing),
    'all-reduce': (team, data, options) => {
      const p = team.members.length;
      const everyPart = Array.from({ length: p }, () => data);
      return overOrders(team, everyPart, ordersOf(team, options), (ring, own) => {
        // Position i starts with chunk i and ends the first half with chunk i + 1, all addends in it.
        const chunks = cutPart(own[0]!, p);
        const ended = chunks.map((_, i) => chunks[(i + 1) % p]!);
        return inSequence(reduceScatterRing(ring, ended), allGatherRing(ring, ended));
      });
    },
    'all-to-all': (team, exchange, options) =>
      ringAllToAll(team, exchange, givenOrders(team, options), ordersOf === bothWays),
    broadcast: alongChain(ordersOf, false),
    reduce: alongChain(ordersOf, true),
    gather: parked(ordersOf, true),
    scatter: parked(ordersOf, false),
  };
}

export const ring: Algorithm = ringAlgorithm(
  'ring',
  'each rank sends to the next one; p - 1 steps with the least traffic: for large data',
  givenOrders,
);

export const bidirectionalRing: Algorithm = ringAlgorithm(
  'bidirectional-ring',
  'two rings in opposite directions, half of the data each, so that both directions of a link work',
  bothWays,
);

export const flatRing: Algorithm = ringAlgorithm(
  'flat-ring',
  'one ring through the ranks of all nodes, without a hierarchy: on Trn1 for large data',
  givenOrders,
);
