/** Where the time of a step goes. */
import type { Seconds } from '../../base/units.ts';
import type { OperatorItem } from '../../models/graph.ts';

export interface StepBreakdown {
  /** Products with weights, router and logits included. */
  matmul: Seconds;
  /** Scores, softmax and values. */
  attention: Seconds;
  /** Norms, rotary embedding, activations, sums, gathers. */
  elementwise: Seconds;
  /** Synchronisation of the cores of a rank after each operator. */
  synchronise: Seconds;
  /** As far as the rank waits for it. */
  communication: Seconds;
  /** Start of a step by the host, and what it does between steps. */
  host: Seconds;
}

export const BREAKDOWN_KEYS: readonly (keyof StepBreakdown)[] = [
  'matmul',
  'attention',
  'elementwise',
  'synchronise',
  'communication',
  'host',
];

export function emptyBreakdown(): StepBreakdown {
  return { matmul: 0, attention: 0, elementwise: 0, synchronise: 0, communication: 0, host: 0 };
}

/** Adds `count` times `from` to `to`. */
export function addBreakdown(to: StepBreakdown, from: StepBreakdown, count: number = 1): void {
  for (const key of BREAKDOWN_KEYS) to[key] += count * from[key];
}

/** The same shares of another time. Stages of a pipeline work side by side: together they take less than their sum. */
export function scaledTo(breakdown: StepBreakdown, time: Seconds): StepBreakdown {
  const sum = BREAKDOWN_KEYS.reduce((total, key) => total + breakdown[key], 0);
  const scaled = emptyBreakdown();
  if (sum > 0) addBreakdown(scaled, breakdown, time / sum);
  return scaled;
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

export function partOf(item: OperatorItem): 'matmul' | 'attention' | 'elementwise' {
  if (ATTENTION.includes(item.name)) return 'attention';
  return MATMULS.includes(item.case.op) ? 'matmul' : 'elementwise';
}
