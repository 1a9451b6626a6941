/**
 * The time of an operator graph on one rank: a queue that computes and a communication queue for each dimension of
 * parallelism. A queue takes its items in the order of the list; an item starts when its queue is free and the items that it
 * names in `after` have ended. What overlaps is what nothing forbids.
 *
 * The critical path, followed back from the last end, says what the time consists of: an item on it is exposed.
 * Leaves out: that a collective's copies take memory bandwidth and compute units from an operator beside it.
 */
import type { Seconds } from '../../base/units.ts';
import type { CollectiveItem, Dimension, Graph, OperatorItem } from '../../models/graph.ts';

/** What an item takes, its repeats included. */
export interface ItemClock {
  readonly operator: (item: OperatorItem) => Seconds;
  readonly collective: (item: CollectiveItem) => Seconds;
}

/** Seconds of each dimension's collectives. */
export type ByDimension = Readonly<Record<Dimension, Seconds>>;

export interface GraphTime {
  readonly time: Seconds;
  /** All operators together; all collectives together. */
  readonly compute: Seconds;
  readonly communication: Seconds;
  /** On the critical path. What is not, is computing: the path never waits for nothing. */
  readonly exposed: ByDimension;
}

export const NO_TIME: ByDimension = { tp: 0, ep: 0, etp: 0, cp: 0, dp: 0, edp: 0, pp: 0 };

export function graphTime(graph: Graph, clock: ItemClock): GraphTime {
  const lengths = graph.map((item) => (item.type === 'operator' ? clock.operator(item) : clock.collective(item)));
  const ends = new Float64Array(graph.length);
  const before = new Int32Array(graph.length);
  const lastOf = new Map<string, number>();
  let compute = 0;
  let communication = 0;
  let last = -1;
  graph.forEach((item, index) => {
    const queue = item.type === 'operator' ? 'compute' : item.dimension;
    let start = 0;
    before[index] = -1;
    const waitFor = (other: number | undefined): void => {
      if (other === undefined || ends[other]! < start) return;
      start = ends[other]!;
      before[index] = other;
    };
    waitFor(lastOf.get(queue));
    for (const other of item.after) waitFor(other);
    lastOf.set(queue, index);
    ends[index] = start + lengths[index]!;
    if (item.type === 'operator') compute += lengths[index]!;
    else communication += lengths[index]!;
    if (last < 0 || ends[index]! >= ends[last]!) last = index;
  });
  const exposed = { ...NO_TIME };
  for (let index = last; index >= 0; index = before[index]!) {
    const item = graph[index]!;
    if (item.type === 'collective') exposed[item.dimension] += lengths[index]!;
  }
  return { time: last < 0 ? 0 : ends[last]!, compute, communication, exposed };
}
