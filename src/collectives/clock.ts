/**
 * The time of a schedule on a topology, step by step: a step starts when the one before has ended everywhere.
 *
 *     transfer   sum of link latencies on its route + max over those links of (bytes on the link in this step / bandwidth)
 *     step       its slowest transfer, in whole picoseconds
 *
 * Bytes of one step that cross the same link share it, so no link carries more than its rate and contention shows.
 * Data is cut-through: latencies add up, bandwidth does not.
 * Leaves out: ranks that run ahead of each other, the time to start a transfer, and the adding itself.
 */
import { expectInteger } from '../base/errors.ts';
import { type Bytes, type Picoseconds, type Seconds, toPicoseconds } from '../base/units.ts';
import { route } from '../fabric/routes.ts';
import { linkName, type Topology } from '../fabric/topology.ts';
import type { Schedule, Transfers } from './schedule.ts';

export interface ClockResult {
  readonly time: Picoseconds;
  /** One entry per step. */
  readonly stepTimes: Float64Array;
  /** One entry per link of the topology: bytes carried, and picoseconds spent carrying them at the full rate. */
  readonly linkBytes: Float64Array;
  readonly linkBusy: Float64Array;
}

/** What one link carries in one step, drawn from the start of the step; latencies upstream are not shown. */
export interface LinkInterval {
  readonly step: number;
  readonly link: number;
  readonly start: Picoseconds;
  readonly end: Picoseconds;
  readonly bytes: Bytes;
}

export interface BusyLink {
  readonly link: number;
  readonly name: string;
  readonly bytes: Bytes;
  readonly busy: Picoseconds;
  /** Busy time over the time of the whole schedule. */
  readonly utilization: number;
}

/**
 * Time, and the load of every link.
 * @param chipOf chip of each rank; several ranks may share one
 * @param bytesPerElement may be a fraction, for formats below a byte
 * @param observe called once per step and link that is used in it, steps in order
 * @throws RangeError if `chipOf` does not name a chip of the topology for every rank, or `bytesPerElement` is not positive
 */
export function executeClock(
  schedule: Schedule,
  topology: Topology,
  chipOf: ArrayLike<number>,
  bytesPerElement: number,
  observe?: (interval: LinkInterval) => void,
): ClockResult {
  checkPlacement(schedule, topology, chipOf);
  if (!(Number.isFinite(bytesPerElement) && bytesPerElement > 0)) {
    throw new RangeError(`"bytesPerElement" expected a number > 0, got ${bytesPerElement}`);
  }
  const links = topology.from.length;
  const stepTimes = new Float64Array(schedule.steps);
  const linkBytes = new Float64Array(links);
  const linkBusy = new Float64Array(links);
  const traffic = new StepTraffic(topology, chipOf, bytesPerElement);
  let time = 0;
  for (let step = 0; step < schedule.steps; step++) {
    // Most steps of a regular algorithm load the links exactly like the one before.
    if (step === 0 || !sameTransfers(schedule.transfers(step - 1), schedule.transfers(step))) {
      traffic.load(schedule.transfers(step));
    }
    for (const link of traffic.used) {
      const bytes = traffic.bytes[link]!;
      const busy = toPicoseconds(bytes / topology.bandwidth[link]!);
      linkBytes[link]! += bytes;
      linkBusy[link]! += busy;
      observe?.({ step, link, start: time, end: time + busy, bytes });
    }
    stepTimes[step] = toPicoseconds(traffic.duration);
    time += stepTimes[step]!;
  }
  return { time, stepTimes, linkBytes, linkBusy };
}

/**
 * The `count` links that are busy longest, longest first, equal ones by number; idle links are left out.
 * @throws RangeError if `count` is not an integer >= 0
 */
export function busiestLinks(result: ClockResult, topology: Topology, count: number): BusyLink[] {
  expectInteger('count', count);
  return Array.from(result.linkBusy, (busy, link) => ({ link, busy }))
    .filter(({ busy }) => busy > 0)
    .sort((a, b) => b.busy - a.busy || a.link - b.link)
    .slice(0, count)
    .map(({ link, busy }) => ({
      link,
      name: linkName(topology, link),
      bytes: result.linkBytes[link]!,
      busy,
      utilization: busy / result.time,
    }));
}

interface Path {
  readonly links: Int32Array;
  readonly latency: Seconds;
}

/** The load of the links in one step, over routes that are looked up once per pair of chips. */
class StepTraffic {
  readonly #topology: Topology;
  readonly #chipOf: ArrayLike<number>;
  readonly #bytesPerElement: number;
  readonly #paths = new Map<number, Path>();
  /** Bytes on each link; links that are not in `used` are 0. */
  readonly bytes: Float64Array;
  readonly used: number[] = [];
  duration: Seconds = 0;

  constructor(topology: Topology, chipOf: ArrayLike<number>, bytesPerElement: number) {
    this.#topology = topology;
    this.#chipOf = chipOf;
    this.#bytesPerElement = bytesPerElement;
    this.bytes = new Float64Array(topology.from.length);
  }

  load({ source, destination, length }: Transfers): void {
    for (const link of this.used) this.bytes[link] = 0;
    this.used.length = 0;
    for (let t = 0; t < length.length; t++) {
      const bytes = length[t]! * this.#bytesPerElement;
      for (const link of this.#path(source[t]!, destination[t]!).links) {
        if (this.bytes[link] === 0) this.used.push(link);
        this.bytes[link]! += bytes;
      }
    }
    this.duration = 0;
    for (let t = 0; t < length.length; t++) {
      const { links, latency } = this.#path(source[t]!, destination[t]!);
      let slowest = 0;
      for (const link of links) slowest = Math.max(slowest, this.bytes[link]! / this.#topology.bandwidth[link]!);
      this.duration = Math.max(this.duration, latency + slowest);
    }
  }

  #path(source: number, destination: number): Path {
    const from = this.#chipOf[source]!;
    const to = this.#chipOf[destination]!;
    const key = from * this.#topology.chips + to;
    const known = this.#paths.get(key);
    if (known) return known;
    const links = route(this.#topology, from, to);
    const latency = links.reduce((sum, link) => sum + this.#topology.latency[link]!, 0);
    const path = { links, latency };
    this.#paths.set(key, path);
    return path;
  }
}

/** True if two steps send the same lengths between the same ranks, whatever part of the buffer it is. */
function sameTransfers(a: Transfers, b: Transfers): boolean {
  return (
    a.length.length === b.length.length &&
    a.length.every(
      (length, t) => length === b.length[t] && a.source[t] === b.source[t] && a.destination[t] === b.destination[t],
    )
  );
}

function checkPlacement(schedule: Schedule, topology: Topology, chipOf: ArrayLike<number>): void {
  if (chipOf.length !== schedule.ranks) {
    throw new RangeError(`"chipOf" expected ${schedule.ranks} ranks, got ${chipOf.length}`);
  }
  for (let rank = 0; rank < schedule.ranks; rank++) {
    expectInteger(`chipOf[${rank}]`, chipOf[rank], 0, topology.chips - 1);
  }
}
