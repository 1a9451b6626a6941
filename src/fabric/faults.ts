/** Faults of a cluster: links that are dead, slow or lossy, chips that are slow, ranks that are late. */
import type { Seconds } from '../base/units.ts';

export type Fault =
  /** A directed link, by the names of its ends. `remaining` is what is left of its bandwidth: 0 is dead. */
  | { readonly type: 'link'; readonly from: string; readonly to: string; readonly remaining: number }
  /** A chip that computes and moves data at `speed` of its rate. */
  | { readonly type: 'chip'; readonly chip: number; readonly speed: number }
  /** A rank that begins `late` after the others. */
  | { readonly type: 'rank'; readonly rank: number; readonly late: Seconds };
