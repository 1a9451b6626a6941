/** A collective as a job: one operation at one or several sizes on a cluster, with what the links did, energy and cost. */
import { expectInteger, expectOneOf } from '../base/errors.ts';
import type { Bytes } from '../base/units.ts';
import { CollectiveModel, type CollectiveTiming } from '../collectives/collective-clock.ts';
import type { CollectiveCase, RankGroup } from '../collectives/cost.ts';
import type { Fidelity, ResourceUse } from '../collectives/execute.ts';
import { type Explanation, explainCollective } from '../collectives/explain.ts';
import type { Collective } from '../collectives/schedule.ts';
import type { ScheduleTemplate } from '../collectives/template.ts';
import type { Cluster } from '../fabric/cluster.ts';
import { type Economics, economics } from './economics.ts';

/** Element types by the names of nccom-test, ours as aliases. */
export const ELEMENT_BYTES: Readonly<Record<string, Bytes>> = {
  fp32: 4,
  bf16: 2,
  fp16: 2,
  fp8: 1,
  int32: 4,
  uint32: 4,
  int16: 2,
  uint16: 2,
  int8: 1,
  uint8: 1,
};
const DTYPE_ALIASES: Readonly<Record<string, string>> = { f32: 'fp32', f16: 'fp16', i8: 'int8', i32: 'int32' };

export interface CollectiveOptions {
  readonly cluster: Cluster;
  readonly collective: Collective;
  /** Size column of nccom-test, per rank; at least one. */
  readonly sizes: readonly Bytes[];
  readonly dtype?: string;
  readonly algorithm?: string;
  /** A schedule of the user's (`parseScheduleJson`, `parseMsccl`), in place of any algorithm. */
  readonly template?: ScheduleTemplate;
  readonly fidelity?: Fidelity;
  readonly timing?: 'device' | 'host' | 'framework';
  /** Ranks of a group, and the distance between them: all ranks if left out. Groups run side by side. */
  readonly group?: RankGroup;
}

/** A row of nccom-test's table, by the names of its columns; GB is 10^9 bytes. */
interface NccomRow {
  readonly 'size(B)': Bytes;
  readonly 'count(elems)': number;
  readonly type: string;
  readonly 'time:avg(us)': number;
  readonly 'algbw(GB/s)': number;
  readonly 'busbw(GB/s)': number;
}

interface LinkRow {
  readonly name: string;
  readonly kind: ResourceUse['kind'];
  readonly bytes: Bytes;
  readonly busyNs: number;
  readonly utilization: number;
  readonly peakUtilization: number;
}

export interface CollectiveResult extends Economics {
  readonly schemaVersion: 1;
  readonly collective: Collective;
  readonly system: string;
  readonly nodes: number;
  readonly chips: number;
  readonly ranks: number;
  readonly group: RankGroup;
  readonly dtype: string;
  readonly fidelity: Fidelity;
  /** Of the last size, as all that follows. */
  readonly sizeBytes: Bytes;
  readonly timeNs: number;
  readonly algbwGBps: number;
  readonly busbwGBps: number;
  readonly algorithm: string;
  readonly protocol: string;
  readonly steps: number;
  /** Links of fabric and network, longest busy first; with formula there are none. */
  readonly links: readonly LinkRow[];
  /** As `links`, memories and channels of ranks among them. */
  readonly bottlenecks: readonly LinkRow[];
  readonly results: readonly NccomRow[];
}

export interface TimedCollective {
  readonly result: CollectiveResult;
  readonly explanation: Explanation;
}

/** Rows of `links`, and of `bottlenecks`. A million chips have millions of links. */
const MAX_LINKS = 256;
const MAX_BOTTLENECKS = 10;

/**
 * Times the collective.
 * @throws RangeError for a wrong option, or if no algorithm, or not the one asked for, is defined for the group
 */
export function timeCollective(options: CollectiveOptions): TimedCollective {
  const { cluster, collective, sizes, algorithm = 'auto', template, fidelity = 'formula', timing = 'device' } = options;
  expectOneOf('fidelity', fidelity, ['formula', 'flow', 'event']);
  const named = options.dtype ?? 'bf16';
  const dtype = expectOneOf('dtype', DTYPE_ALIASES[named] ?? named, Object.keys(ELEMENT_BYTES));
  const elementBytes = ELEMENT_BYTES[dtype]!;
  const group = options.group ?? { ranks: cluster.ranks, stride: 1 };
  if (sizes.length === 0) throw new RangeError('"sizes" expected at least one size, got none');
  const model = new CollectiveModel(cluster);
  const requests = sizes.map((bytes): CollectiveCase => {
    expectInteger('size', bytes, 0);
    if (bytes % elementBytes !== 0) {
      throw new RangeError(`"size" expected whole elements of ${elementBytes} bytes (${dtype}), got ${bytes}`);
    }
    return { collective, bytes, elementBytes, group, algorithm, timing, ...(template && { template }) };
  });
  const timings = requests.map((request) => model.time(request, fidelity));
  const last = timings.at(-1)!;
  const resources = last.resources.map(linkRow);
  const { system, nodes, chips, ranks } = cluster;
  const result: CollectiveResult = {
    schemaVersion: 1,
    collective,
    system: system.id,
    nodes,
    chips,
    ranks,
    group,
    dtype,
    fidelity,
    sizeBytes: sizes.at(-1)!,
    timeNs: nanoseconds(last.time),
    algbwGBps: last.algorithmBandwidth / 1e9,
    busbwGBps: last.busBandwidth / 1e9,
    algorithm: last.algorithm,
    protocol: last.protocol,
    steps: last.steps,
    links: resources.filter(({ kind }) => kind === 'link').slice(0, MAX_LINKS),
    bottlenecks: resources.slice(0, MAX_BOTTLENECKS),
    ...economics(system, nodes, last.time),
    results: timings.map((timing, i) => nccomRow(sizes[i]!, sizes[i]! / elementBytes, dtype, timing)),
  };
  return { result, explanation: explainCollective(model, requests.at(-1)!) };
}

/** To a picosecond: more digits would be rounding errors. */
function nanoseconds(seconds: number): number {
  return Math.round(seconds * 1e12) / 1e3;
}

function nccomRow(bytes: Bytes, count: number, type: string, timing: CollectiveTiming): NccomRow {
  return {
    'size(B)': bytes,
    'count(elems)': count,
    type,
    'time:avg(us)': nanoseconds(timing.time) / 1e3,
    'algbw(GB/s)': timing.algorithmBandwidth / 1e9,
    'busbw(GB/s)': timing.busBandwidth / 1e9,
  };
}

function linkRow({ name, kind, bytes, busy, utilization, peak }: ResourceUse): LinkRow {
  return { name, kind, bytes, busyNs: nanoseconds(busy), utilization, peakUtilization: peak };
}
