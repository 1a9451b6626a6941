/** Registry rows of softmax and its masks. */
import { logSoftmaxReference, softmaxReference } from '../reference/softmax.ts';
import { logSoftmax, softmax } from '../softmax.ts';
import { BOTH, type Dimensions, EDGES, type KernelRow } from './row.ts';

const SCALE = 0.125;
const NO_WINDOW = 2 ** 30;

/** Scores that the rows see together. */
function seen(rows: number, cols: number, visible: number, window: number): number {
  let count = 0;
  for (let row = 0; row < rows; row++) {
    const end = Math.min(cols, row + visible);
    count += end - Math.min(end, Math.max(0, row + visible - window));
  }
  return count;
}

const shared = {
  dtypes: BOTH,
  operands: ({ rows, cols }: Dimensions) => [{ shape: [rows!, cols!] }],
  outShape: ({ rows, cols }: Dimensions) => [rows!, cols!],
  // The exponent x - max of size t is off by t units in absolute terms; |x| <= 64 in the tests, scaled by 1/8.
  roundings: ({ cols }: Dimensions) => cols! / 16 + 40,
  flops: ({ rows, cols }: Dimensions) => 16 * rows! * cols!,
  bytes: ({ rows, cols }: Dimensions, size: number) => 2 * rows! * cols! * size,
  tested: EDGES.filter((cols) => cols > 0).map((cols) => ({ rows: 9, cols })),
};

export const softmaxRows: readonly KernelRow[] = [
  ...[
    { name: 'softmax', visible: (cols: number) => cols, window: NO_WINDOW },
    { name: 'softmax-causal', visible: () => 1, window: NO_WINDOW },
    { name: 'softmax-window', visible: (cols: number) => Math.min(3, cols), window: 5 },
  ].map(
    ({ name, visible, window }): KernelRow => ({
      ...shared,
      name,
      run: ([x], out, { cols }) => softmax(x!, out, { scale: SCALE, visible: visible(cols!), window }),
      reference: ([x], { rows, cols }) =>
        softmaxReference(rows!, cols!, x!, { scale: SCALE, visible: visible(cols!), window }),
      flops: ({ rows, cols }) => 16 * seen(rows!, cols!, visible(cols!), window),
      bytes: ({ rows, cols }, size) => (seen(rows!, cols!, visible(cols!), window) + rows! * cols!) * size,
      timed:
        name === 'softmax'
          ? [
              { rows: 1024, cols: 1024 },
              { rows: 4096, cols: 4096 },
              { rows: 32, cols: 32000 },
            ]
          : [{ rows: 1024, cols: 1024 }],
    }),
  ),
  {
    ...shared,
    name: 'log-softmax',
    run: ([x], out) => logSoftmax(x!, out, { scale: SCALE }),
    reference: ([x], { rows, cols }) => logSoftmaxReference(rows!, cols!, x!, SCALE),
    timed: [{ rows: 1024, cols: 1024 }],
  },
];
