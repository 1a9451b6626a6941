/**
 * The order of DualPipe: two pipelines of the same devices in opposite directions. `near` is the one whose first stage is
 * on the device's own half, `far` the other; half the micro-batches go each way. Device r places from the nearer end of
 * p = 2 h, with n = m / 2 micro-batches a direction, runs eight blocks:
 *
 *     2 (h - r - 1) x  F near                     r + 1     x  F near, F far
 *     h - r - 1     x  I far, W, F far            n - p + r + 1 x  (F near & B far), (F far & B near)
 *     h - r - 1     x  B far, (F far & B near)    r + 1     x  B far, B near, the second half of them I only
 *     h - r - 1     x  W, I near                  r + 1     x  W
 *
 * I and W are the halves of a backward pass B; & means at the same time; W is the oldest one put off.
 * see: DeepSeek-V3, arXiv:2412.19437, figure 5 and table 2; github.com/deepseek-ai/DualPipe describes the blocks.
 */
import { BACKWARD, FORWARD, INPUT, type Pass, WEIGHT } from './pass.ts';

/** Of each device; `devices` is even and `microBatches` an even number of at least 2 `devices`. */
export function dualPipePasses(devices: number, microBatches: number): Pass[][] {
  return Array.from({ length: devices }, (_, device) => devicePasses(device, devices, microBatches));
}

function devicePasses(device: number, devices: number, microBatches: number): Pass[] {
  const half = devices / 2;
  const inFirstHalf = device < half;
  const place = Math.min(device, devices - 1 - device);
  const eachWay = microBatches / 2;
  const passes: Pass[] = [];
  const delayed: Pass[] = [];
  const forwards = [0, 0];
  const backwards = [0, 0];

  // Way 0 is near, way 1 far. Down the pipeline of the first half device d is stage d, in the other stage p - 1 - d.
  const target = (way: number, counts: number[]): Pick<Pass, 'stage' | 'microBatch'> => {
    const isDown = (way === 0) === inFirstHalf;
    const microBatch = counts[way]!++ + (isDown ? 0 : eachWay);
    return { stage: isDown ? device : devices - 1 - device, microBatch };
  };
  const forward = (way: number, together = false) =>
    passes.push({ kind: FORWARD, ...target(way, forwards), ...(together ? { together } : {}) });
  const backward = (way: number) => passes.push({ kind: BACKWARD, ...target(way, backwards) });
  const input = (way: number) => {
    const at = target(way, backwards);
    passes.push({ kind: INPUT, ...at });
    delayed.push({ kind: WEIGHT, ...at });
  };
  const weight = () => passes.push(delayed.shift()!);
  const times = (count: number, block: (index: number) => void) => {
    for (let i = 0; i < count; i++) block(i);
  };
  const both = (forwardWay: number) => {
    forward(forwardWay, true);
    backward(1 - forwardWay);
  };

  const inner = half - place - 1;
  times(2 * inner, () => forward(0));
  times(place + 1, () => {
    forward(0);
    forward(1);
  });
  times(inner, () => {
    input(1);
    weight();
    forward(1);
  });
  times(eachWay - devices + place + 1, (i) => {
    // The middle devices send to each other what they need first: no overlap yet.
    if (i === 0 && place === half - 1) {
      forward(0);
      backward(1);
    } else both(0);
    both(1);
  });
  times(inner, () => {
    backward(1);
    both(1);
  });
  // 2 (place + 1) backward passes; the later half leave their weight gradients for the end.
  times(2 * (place + 1), (i) => (i > place ? input : backward)(i % 2 === 0 ? 1 : 0));
  times(inner, () => {
    weight();
    input(0);
  });
  times(place + 1, weight);
  return passes;
}
