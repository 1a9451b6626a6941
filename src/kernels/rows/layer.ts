/** Registry rows of the operators of a decoder layer. */
import { add, addBias } from '../layer.ts';
import { addBiasReference, addReference } from '../reference/layer.ts';
import { activationRows, elementwise } from './activation.ts';
import { normRows } from './norm.ts';
import { ropeRows } from './rope.ts';
import { BOTH, EDGES, type KernelRow } from './row.ts';
import { rowReductionRows } from './rowreduce.ts';
import { softmaxRows } from './softmax.ts';
import { topKRow } from './topk.ts';
import { transposeRow } from './transpose.ts';

export const layerRows: readonly KernelRow[] = [
  elementwise('add', 2, 1, 1, ([a, b], out) => add(a!, b!, out), addReference),
  {
    name: 'addBias',
    dtypes: BOTH,
    operands: ({ cols }) => [{ shape: [cols!] }],
    outShape: ({ rows, cols }) => [rows!, cols!],
    isInPlace: true,
    run: ([bias], out) => addBias(bias!, out),
    reference: ([bias], _, initial) => addBiasReference(bias!, initial),
    roundings: () => 1,
    flops: ({ rows, cols }) => rows! * cols!,
    bytes: ({ rows, cols }, size) => 8 * rows! * cols! + cols! * size,
    tested: EDGES.map((cols) => ({ rows: 3, cols })),
    timed: [{ rows: 1024, cols: 1024 }],
  },
  ...activationRows,
  ...normRows,
  ...ropeRows,
  ...softmaxRows,
  ...rowReductionRows,
  transposeRow,
  topKRow,
];
