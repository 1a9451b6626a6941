/**
 * The bandwidths by which benchmarks report a collective: `algbw` and `busbw` of nccl-tests and nccom-test.
 * see: nccl-tests doc/PERFORMANCE.md for the bus factors.
 */
import { expectInteger } from '../base/errors.ts';
import type { Bytes, BytesPerSecond, Seconds } from '../base/units.ts';
import type { Collective } from './schedule.ts';

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
