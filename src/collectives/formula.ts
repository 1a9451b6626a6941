/**
 * Closed forms: the time of a collective where no two transfers share a link, and the bandwidths by which benchmarks
 * report one (`algbw`, `busbw` of nccl-tests and nccom-test).
 *
 *     ring all-reduce   t = 2(p - 1) * (alpha + n / (p * beta))
 *
 * alpha: latency of a hop; beta: bandwidth of a link, one direction. Exact for the schedule of `ring.ts` on a ring of
 * single links when p divides n; otherwise the longest chunk sets each step and the schedule takes a little longer.
 * see: nccl-tests doc/PERFORMANCE.md for the bus factors.
 */
import { expectInteger } from '../base/errors.ts';
import type { Bytes, BytesPerSecond, Seconds } from '../base/units.ts';
import type { LinkRate } from '../fabric/topology.ts';
import type { Collective } from './schedule.ts';

/**
 * Time of a ring all-reduce of `bytes` per rank. 0 where nothing moves: one rank, or no bytes.
 * @throws RangeError if `ranks` < 1, `bytes` < 0, or the link has no positive bandwidth or a negative latency
 */
export function ringAllReduceTime(bytes: Bytes, ranks: number, link: LinkRate): Seconds {
  expectInteger('ranks', ranks, 1);
  expectQuantity('bytes', bytes);
  expectQuantity('link.latency', link.latency);
  expectPositive('link.bandwidth', link.bandwidth);
  if (bytes === 0) return 0;
  return 2 * (ranks - 1) * (link.latency + bytes / (ranks * link.bandwidth));
}

/**
 * `algbw`: bytes of the operation over its time.
 * @throws RangeError if `bytes` < 0 or `time` <= 0
 */
export function algorithmBandwidth(bytes: Bytes, time: Seconds): BytesPerSecond {
  expectQuantity('bytes', bytes);
  expectPositive('time', time);
  return bytes / time;
}

/**
 * `busbw`: `algbw` times the share of the data that the busiest link of an ideal algorithm must carry, so that one
 * figure compares with the link's rate whatever the collective and the number of ranks. `bytes` is the size column of
 * nccl-tests: the larger of a rank's input and output.
 * @throws RangeError if `bytes` < 0, `ranks` < 1 or `time` <= 0
 */
export function busBandwidth(collective: Collective, bytes: Bytes, ranks: number, time: Seconds): BytesPerSecond {
  return algorithmBandwidth(bytes, time) * busFactor(collective, ranks);
}

/**
 * busbw / algbw.
 * @throws RangeError if `ranks` < 1
 */
export function busFactor(collective: Collective, ranks: number): number {
  expectInteger('ranks', ranks, 1);
  switch (collective) {
    case 'all-reduce':
      return (2 * (ranks - 1)) / ranks;
    case 'all-gather':
    case 'reduce-scatter':
    case 'all-to-all':
    case 'gather':
    case 'scatter':
      return (ranks - 1) / ranks;
    case 'broadcast':
    case 'reduce':
    case 'permute':
    case 'send-recv':
    case 'barrier':
      return 1;
  }
}

function expectQuantity(name: string, value: number): void {
  if (!(Number.isFinite(value) && value >= 0)) throw new RangeError(`"${name}" expected a number >= 0, got ${value}`);
}

function expectPositive(name: string, value: number): void {
  if (!(Number.isFinite(value) && value > 0)) throw new RangeError(`"${name}" expected a number > 0, got ${value}`);
}
