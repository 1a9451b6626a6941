/** A timed program as a table, equal instructions of all layers together, and as a timeline. */
import { toPicoseconds } from '../../base/units.ts';
import type { Slice, Timeline } from '../../formats/perfetto.ts';
import type { ProgramTiming, TimedInstruction } from './clock.ts';
import type { Pass } from './program.ts';

export interface TrainingRow {
  readonly name: string;
  readonly pass: Pass;
  /** How often it occurs. */
  readonly count: number;
  /** Of all of them. Operators and collectives overlap: the sum is more than the step. */
  readonly timeNs: number;
  /** The engine, or `links`, that the longest waits for. */
  readonly bound: string;
  readonly flops: number;
  readonly hbmBytes: number;
  readonly enginesNs: Readonly<Record<string, number>>;
}

export function trainingBreakdown({ instructions }: ProgramTiming): TrainingRow[] {
  const rows = new Map<string, TimedInstruction[]>();
  for (const timed of instructions) {
    const { name, pass } = timed.instruction;
    // Names of buckets end in the number of the layer.
    const key = `${pass} ${rowName(name)}`;
    rows.set(key, [...(rows.get(key) ?? []), timed]);
  }
  return [...rows.values()].map((group) => {
    const { name, pass } = group[0]!.instruction;
    const costs = group.flatMap((timed) => timed.costs);
    const sum = (of: (cost: (typeof costs)[number]['cost']) => number): number =>
      costs.reduce((total, { cost, repeat }) => total + repeat * of(cost), 0);
    const engines = [...new Set(costs.flatMap(({ cost }) => Object.keys(cost.busy)))];
    const longest = group.reduce((most, timed) => (timed.time > most.time ? timed : most));
    return {
      name: rowName(name),
      pass,
      count: group.length,
      timeNs: group.reduce((total, { time }) => total + time, 0) * 1e9,
      bound: longest.bound,
      flops: sum(({ flops }) => flops),
      hbmBytes: sum(({ hbmBytes }) => hbmBytes),
      enginesNs: Object.fromEntries(engines.map((engine) => [engine, sum(({ busy }) => busy[engine] ?? 0) * 1e9])),
    };
  });
}

function rowName(name: string): string {
  return name.replace(/layer \d+/, 'a layer');
}

/** Ranks are alike: one stands for all, with a track for its engines and one for its collectives. */
export function trainingTimeline({ instructions }: ProgramTiming): Timeline {
  const slices = instructions
    .filter(({ time }) => time > 0)
    .map(({ instruction, start, time, bound }): Slice => {
      const { name, pass, type } = instruction;
      const begin = toPicoseconds(start);
      const duration = toPicoseconds(start + time) - begin;
      return { track: type, name, start: begin, duration, args: { pass, 'bound by': bound } };
    });
  const tracks = [
    { id: 'rank', name: 'every rank' },
    { id: 'operator', name: 'engines', parent: 'rank' },
    { id: 'all-reduce', name: 'collectives', parent: 'rank' },
  ];
  return { tracks, slices };
}
