/**
 * The time of one layer: its steps one after another on every rank, operators by the tile programs that compute them, the sums over the
 * ranks by the clock executor on the very schedule that moves the bytes. All ranks are alike, so one is timed.
 */

import { type Picoseconds, toPicoseconds } from '../base/units.ts';
import { type ClockResult, executeClock, type LinkInterval } from '../collectives/clock.ts';
import type { Schedule } from '../collectives/schedule.ts';
import { ENGINES, type Engine } from '../core/instructions.ts';
import type { OperatorCase, OperatorCost } from '../core/operator-case.ts';
import { operatorClock } from '../core/operator-clock.ts';
import { linkName } from '../fabric/topology.ts';
import type { Slice, Timeline, Track } from '../formats/perfetto.ts';
import type { Machine } from '../machine/machine.ts';
import type { LayerStep } from '../models/layer.ts';

type TimedStep =
  | {
      readonly type: 'operator';
      readonly start: Picoseconds;
      readonly duration: Picoseconds;
      readonly name: string;
      readonly operator: OperatorCase;
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
  const clock = operatorClock(machine.system.chip, machine.coresPerRank);
  const timed: TimedStep[] = [];
  let start = 0;
  for (const step of steps) {
    if (step.type === 'operator') {
      const { name, operator } = step;
      const cost = clock(operator);
      timed.push({ type: 'operator', start, duration: toPicoseconds(cost.time), name, operator, cost });
    } else {
      timed.push({ type: 'all-reduce', start, duration: collective.time, name: step.name });
    }
    start += timed.at(-1)!.duration;
  }
  return { time: start, steps: timed, collective, linkIntervals };
}

/** One track for each engine of each rank that works at all, and for each link that is used. */
export function layerTimeline(machine: Machine, layer: LayerTime): Timeline {
  const tracks: Track[] = [];
  const slices: Slice[] = [];
  const engines = ENGINES.filter((engine) =>
    layer.steps.some((step) => step.type === 'operator' && step.cost.busy[engine]! > 0),
  );
  for (let rank = 0; rank < machine.ranks; rank++) {
    const parent = `rank${rank}`;
    tracks.push({ id: parent, name: `rank ${rank} (chip ${machine.chipOf[rank]})` });
    for (const engine of engines) tracks.push({ id: `${parent} ${engine}`, name: engine, parent });
    for (const step of layer.steps) {
      if (step.type === 'operator') slices.push(...engineSlices(parent, step));
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

function engineSlices(parent: string, { start, name, operator, cost }: TimedStep & { type: 'operator' }): Slice[] {
  return ENGINES.filter((engine: Engine) => cost.busy[engine]! > 0).map((engine) => ({
    track: `${parent} ${engine}`,
    name,
    start,
    duration: toPicoseconds(cost.busy[engine]!),
    args: { operator: operator.op, ...operator.dims, 'HBM bytes': cost.hbmBytes, 'bound by': cost.bound },
  }));
}
