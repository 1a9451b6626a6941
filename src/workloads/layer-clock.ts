/**
 * The time of one layer: its steps one after another on every rank, operators by the engine formulas, the sums over the
 * ranks by the clock executor on the very schedule that moves the bytes. All ranks are alike, so one is timed.
 */

import { type Picoseconds, toPicoseconds } from '../base/units.ts';
import { type ClockResult, executeClock, type LinkInterval } from '../collectives/clock.ts';
import type { Schedule } from '../collectives/schedule.ts';
import { ENGINES, type Engine, type OperatorCost, operatorCost } from '../core/engines.ts';
import type { Operator } from '../core/operator.ts';
import { linkName } from '../fabric/topology.ts';
import type { Slice, Timeline, Track } from '../formats/perfetto.ts';
import type { Machine } from '../machine/machine.ts';
import type { LayerStep } from '../models/layer.ts';

type TimedStep =
  | {
      readonly type: 'operator';
      readonly start: Picoseconds;
      readonly duration: Picoseconds;
      readonly operator: Operator;
      readonly cost: OperatorCost;
    }
  | { readonly type: 'all-reduce'; readonly start: Picoseconds; readonly duration: Picoseconds; readonly name: string };

export interface LayerTime {
  readonly time: Picoseconds;
  readonly steps: readonly TimedStep[];
  /** Of one all-reduce: both move the same bytes. */
  readonly collective: ClockResult;
  readonly linkIntervals: readonly LinkInterval[];
}

/** Times the steps on the machine; `schedule` is the all-reduce of the layer. */
export function timeLayer(
  machine: Machine,
  steps: readonly LayerStep[],
  schedule: Schedule,
  elementBytes: number,
): LayerTime {
  const linkIntervals: LinkInterval[] = [];
  const collective = executeClock(schedule, machine.topology, machine.chipOf, elementBytes, (interval) => {
    linkIntervals.push(interval);
  });
  const timed: TimedStep[] = [];
  let start = 0;
  for (const step of steps) {
    if (step.type === 'operator') {
      const { operator } = step;
      const cost = operatorCost(operator, machine.engines, elementBytes === 2);
      timed.push({ type: 'operator', start, duration: toPicoseconds(cost.time), operator, cost });
    } else {
      timed.push({ type: 'all-reduce', start, duration: collective.time, name: step.name });
    }
    start += timed.at(-1)!.duration;
  }
  return { time: start, steps: timed, collective, linkIntervals };
}

/** One track for each engine of each rank and for each link that is used. */
export function layerTimeline(machine: Machine, layer: LayerTime): Timeline {
  const tracks: Track[] = [];
  const slices: Slice[] = [];
  for (let rank = 0; rank < machine.ranks; rank++) {
    const parent = `rank${rank}`;
    tracks.push({ id: parent, name: `rank ${rank} (chip ${machine.chipOf[rank]})` });
    for (const engine of ENGINES) tracks.push({ id: `${parent} ${engine}`, name: engine, parent });
    for (const step of layer.steps) {
      if (step.type === 'operator') slices.push(...engineSlices(parent, step.start, step.operator, step.cost));
    }
  }
  const used = [...new Set(layer.linkIntervals.map(({ link }) => link))].sort((a, b) => a - b);
  if (used.length > 0) tracks.push({ id: 'links', name: 'links' });
  for (const link of used) tracks.push({ id: `link${link}`, name: linkName(machine.topology, link), parent: 'links' });
  for (const step of layer.steps) {
    if (step.type !== 'all-reduce') continue;
    for (const { link, step: round, start, end, bytes } of layer.linkIntervals) {
      slices.push({
        track: `link${link}`,
        name: `${step.name}, step ${round}`,
        start: step.start + start,
        duration: end - start,
        args: { bytes },
      });
    }
  }
  return { tracks, slices };
}

function engineSlices(parent: string, start: Picoseconds, operator: Operator, { busy, bound }: OperatorCost): Slice[] {
  const { name, batch, m, k, n, hbmBytes } = operator;
  return ENGINES.filter((engine: Engine) => busy[engine] > 0).map((engine) => ({
    track: `${parent} ${engine}`,
    name,
    start,
    duration: toPicoseconds(busy[engine]),
    args: { batch, m, k, n, 'HBM bytes': hbmBytes, 'bound by': bound },
  }));
}
