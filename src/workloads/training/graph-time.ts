/**
 * The time of an operator graph on one rank: a queue that computes and a communication queue for each dimension of
 * parallelism. A queue takes its items in the order of the list; an item starts when its queue is free and the items that it
 * names in `after` have ended. What overlaps is what nothing forbids.
 *
 * Software that cuts the exchanges of tensor parallelism and the products beside them into `pieces` lets an item start when the
 * first piece of the one before is there, and end a piece after it.
 * A hidden collective is not free: its copies take memory bandwidth and compute units from the operators beside it. The share
 * of its time by which these take longer is `contention`.
 *
 * The critical path, followed back from the last end, says what the time consists of: an item on it is exposed.
 */
import type { Seconds } from '../../base/units.ts';
import type { CollectiveItem, Dimension, Graph, GraphItem, OperatorItem } from '../../models/graph.ts';

/** What an item takes, its repeats included. */
export interface ItemClock {
  readonly operator: (item: OperatorItem) => Seconds;
  readonly collective: (item: CollectiveItem) => Seconds;
}

export interface OverlapOptions {
  /** 1: nothing is cut. */
  readonly pieces: number;
  readonly contention: number;
}

/** Seconds of each dimension's collectives. */
export type ByDimension = Readonly<Record<Dimension, Seconds>>;

export interface GraphTime {
  readonly time: Seconds;
  /** All operators together, slowed down by what runs beside them; all collectives together. */
  readonly compute: Seconds;
  readonly communication: Seconds;
  /** On the critical path; the rest of `time` is computing. */
  readonly exposed: ByDimension;
}

export const DIMENSIONS: readonly Dimension[] = ['tp', 'ep', 'etp', 'cp', 'dp', 'edp', 'pp'];

function isStreamed(one: GraphItem, other: GraphItem): boolean {
  const [operator, collective] = one.type === 'operator' ? [one, other] : [other, one];
  if (operator.type !== 'operator' || collective.type !== 'collective') return false;
  return collective.dimension === 'tp' && collective.collective !== 'all-reduce' && operator.case.op === 'matmul';
}

export function graphTime(graph: Graph, clock: ItemClock, { pieces, contention }: OverlapOptions): GraphTime {
  const lengths = graph.map((item) => (item.type === 'operator' ? clock.operator(item) : clock.collective(item)));
  const starts = new Float64Array(graph.length);
  const ends = new Float64Array(graph.length);
  const before = new Int32Array(graph.length);
  const lastOf = new Map<string, number>();
  let compute = 0;
  let communication = 0;
  let last = -1;
  graph.forEach((item, index) => {
    const length = lengths[index]!;
    const queue = item.type === 'operator' ? 'compute' : item.dimension;
    // The end is the latest that anything asks for; what asks for it is before this item on the critical path.
    let end = length;
    let start = 0;
    before[index] = -1;
    const waitFor = (other: number | undefined, isCut: boolean): void => {
      if (other === undefined) return;
      const from = isCut ? starts[other]! + lengths[other]! / pieces : ends[other]!;
      const until = isCut ? Math.max(from + length, ends[other]! + length / pieces) : from + length;
      start = Math.max(start, from);
      if (until < end) return;
      end = until;
      before[index] = other;
    };
    waitFor(lastOf.get(queue), false);
    for (const other of item.after) waitFor(other, pieces > 1 && isStreamed(item, graph[other]!));
    lastOf.set(queue, index);
    starts[index] = start;
    ends[index] = end;
    if (item.type === 'operator') compute += length;
    else communication += length;
    if (last < 0 || end >= ends[last]!) last = index;
  });
  const exposed = { tp: 0, ep: 0, etp: 0, cp: 0, dp: 0, edp: 0, pp: 0 };
  let hidden = communication;
  for (let index = last; index >= 0; index = before[index]!) {
    const item = graph[index]!;
    const begin = before[index]! < 0 ? 0 : ends[before[index]!]!;
    if (item.type !== 'collective') continue;
    exposed[item.dimension] += ends[index]! - begin;
    hidden -= ends[index]! - begin;
  }
  const slowdown = contention * Math.max(0, hidden);
  return { time: (last < 0 ? 0 : ends[last]!) + slowdown, compute: compute + slowdown, communication, exposed };
}
