/**
 * What a collective over a group of ranks costs: the question that a layer of a model, a measurement and the command line
 * ask, and the form of the answer.
 */
import type { Bytes, BytesPerSecond, Seconds } from '../base/units.ts';
import type { Collective } from './schedule.ts';
import type { ScheduleTemplate } from './template.ts';

/**
 * Ranks of a collective, regularly placed: rank `start + i * stride` for i < `ranks`. Tensor parallelism is stride 1; data
 * parallelism over tp = 8 is stride 8. Groups of one shape that lie side by side (all `stride` of them, and all further
 * blocks of the machine) run the same collective at the same time and share the links.
 */
export interface RankGroup {
  readonly ranks: number;
  readonly stride: number;
  /** Ranks of the group in each node, where it leaves others of the node idle; as many as fit if left out. */
  readonly perNode?: number;
}

export interface CollectiveCase {
  readonly collective: Collective;
  /** Size column of nccl-tests and nccom-test, per rank: the larger of a rank's input and output. */
  readonly bytes: Bytes;
  readonly group: RankGroup;
  /** Of one element, 2 if left out: a ring of more ranks than elements has chunks without any. */
  readonly elementBytes?: Bytes;
  /** By its documented name, or `auto` (the default): the one with the least predicted time. */
  readonly algorithm?: string;
  /** A schedule of the user's, in place of any algorithm. */
  readonly template?: ScheduleTemplate;
  /**
   * 'device' if left out. 'host': launched eagerly again and again, so that the launch hides behind the run before unless it
   * is longer. 'framework': dispatched by one, whose time comes before it.
   */
  readonly timing?: 'device' | 'host' | 'framework';
}

export interface CollectiveCost {
  readonly time: Seconds;
  readonly algorithm: string;
  readonly algorithmBandwidth: BytesPerSecond;
  readonly busBandwidth: BytesPerSecond;
}

/** Times collectives on a given cluster by closed forms. Remembers what it has timed. */
export type CollectiveClock = (collective: CollectiveCase) => CollectiveCost;
