/**
 * The time of one layer: its steps one after another on every rank, operators by the tile programs that compute them, the
 * sums over the ranks by the collective model, for the very schedule that moves the bytes. All ranks are alike, so one is
 * timed.
 */
import { type Picoseconds, toPicoseconds } from '../base/units.ts';
import type { CollectiveTiming } from '../collectives/collective-clock.ts';
import type { OperatorCase, OperatorClock, OperatorCost } from '../core/operator-case.ts';
import type { Cluster } from '../fabric/cluster.ts';
import type { Slice, Timeline, Track } from '../formats/perfetto.ts';
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
}

/** Times the steps; `allReduce` is what each sum over the ranks takes: all move the same bytes. */
export function timeLayer(steps: readonly LayerStep[], clock: OperatorClock, allReduce: CollectiveTiming): LayerTime {
  const timed: TimedStep[] = [];
  let start = 0;
  for (const step of steps) {
    if (step.type === 'operator') {
      const { name, operator } = step;
      const cost = clock(operator);
      timed.push({ type: 'operator', start, duration: toPicoseconds(cost.time), name, operator, cost });
    } else {
      timed.push({ type: 'all-reduce', start, duration: toPicoseconds(allReduce.time), name: step.name });
    }
    start += timed.at(-1)!.duration;
  }
  return { time: start, steps: timed };
}

/** One track for each engine of each rank that works at all, and for each link that is used. */
export function layerTimeline(cluster: Cluster, layer: LayerTime, allReduce: CollectiveTiming): Timeline {
  const tracks: Track[] = [];
  const slices: Slice[] = [];
  const busy = layer.steps.flatMap((step) => (step.type === 'operator' ? [step.cost.busy] : []));
  const engines = [...new Set(busy.flatMap(Object.keys))].filter((engine) => busy.some((of) => of[engine]! > 0));
  for (let rank = 0; rank < cluster.ranks; rank++) {
    const parent = `rank${rank}`;
    tracks.push({ id: parent, name: `rank ${rank} (chip ${cluster.chipOf(rank)})` });
    for (const engine of engines) tracks.push({ id: `${parent} ${engine}`, name: engine, parent });
    for (const step of layer.steps) {
      if (step.type === 'operator') slices.push(...engineSlices(parent, engines, step));
    }
  }
  const links = allReduce.resources.filter(({ kind }) => kind === 'link' || kind === 'network');
  if (links.length > 0) tracks.push({ id: 'links', name: 'links' });
  for (const { name } of links) tracks.push({ id: `link ${name}`, name, parent: 'links' });
  for (const step of layer.steps) {
    if (step.type !== 'all-reduce') continue;
    const { start, duration, name } = step;
    for (const { name: link, bytes, busy: seconds, peak } of links) {
      const args = { bytes, 'busy ns': Math.round(seconds * 1e9), 'peak utilization': peak };
      slices.push({ track: `link ${link}`, name, start, duration, args });
    }
  }
  return { tracks, slices };
}

function engineSlices(
  parent: string,
  engines: readonly string[],
  { start, name, operator, cost }: TimedStep & { type: 'operator' },
): Slice[] {
  return engines
    .filter((engine) => (cost.busy[engine] ?? 0) > 0)
    .map((engine) => ({
      track: `${parent} ${engine}`,
      name,
      start,
      duration: toPicoseconds(cost.busy[engine]!),
      args: { operator: operator.op, ...operator.dims, 'HBM bytes': cost.hbmBytes, 'bound by': cost.bound },
    }));
}
