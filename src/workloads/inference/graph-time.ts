/**
 * The time of an operator graph on one rank: two queues, computation and communication, each in the order of the list. An
 * item starts when those that it waits for have ended and its queue is free. What is overlapped follows from that.
 */
import type { Seconds } from '../../base/units.ts';
import type { Graph, GraphItem } from '../../models/graph.ts';

/** Where the time of a step goes. Communication counts only as far as the rank waits for it. */
export interface StepBreakdown {
  /** Products with weights, router and logits included. */
  matmul: Seconds;
  /** Scores, softmax and values. */
  attention: Seconds;
  /** Norms, rotary embedding, activations, sums, gathers. */
  elementwise: Seconds;
  /** Synchronisation of the cores of a rank after each operator. */
  synchronise: Seconds;
  communication: Seconds;
  /** Start of a step by the host, and what it does between steps. */
  host: Seconds;
}

export const BREAKDOWN_KEYS = ['matmul', 'attention', 'elementwise', 'synchronise', 'communication', 'host'] as const;

export function emptyBreakdown(): StepBreakdown {
  return { matmul: 0, attention: 0, elementwise: 0, synchronise: 0, communication: 0, host: 0 };
}

/** Adds `count` times `from` to `to`. */
export function addBreakdown(to: StepBreakdown, from: StepBreakdown, count: number = 1): void {
  for (const key of BREAKDOWN_KEYS) to[key] += count * from[key];
}

const ATTENTION: readonly string[] = [
  'attention',
  'scores',
  'softmax',
  'attention values',
  'latent scores',
  'latent values',
];
const MATMULS: readonly string[] = ['matmul', 'batched-matmul', 'rmsnorm-matmul', 'add-rmsnorm-matmul', 'gated-mlp'];

function partOf(item: GraphItem & { readonly type: 'operator' }): 'matmul' | 'attention' | 'elementwise' {
  if (ATTENTION.includes(item.name)) return 'attention';
  return MATMULS.includes(item.case.op) ? 'matmul' : 'elementwise';
}

/**
 * @param durationOf time of an item alone
 * @param synchronise added to each operator
 * @param breakdown what the graph takes is added to it
 */
export function graphTime(
  graph: Graph,
  durationOf: (item: GraphItem) => Seconds,
  synchronise: Seconds,
  breakdown: StepBreakdown,
): Seconds {
  const ends = new Float64Array(graph.length);
  let compute = 0;
  let communication = 0;
  let busy = 0;
  for (let i = 0; i < graph.length; i++) {
    const item = graph[i]!;
    const isOperator = item.type === 'operator';
    let start = isOperator ? compute : communication;
    for (const before of item.after) start = Math.max(start, ends[before]!);
    const duration = durationOf(item);
    if (isOperator) {
      breakdown[partOf(item)] += duration;
      breakdown.synchronise += synchronise;
      busy += duration + synchronise;
      compute = start + duration + synchronise;
      ends[i] = compute;
    } else {
      communication = start + duration;
      ends[i] = communication;
    }
  }
  const end = Math.max(compute, communication);
  breakdown.communication += end - busy;
  return end;
}
