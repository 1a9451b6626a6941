/** Registry rows of the reductions of collectives, and of their moves. */
import { gatherRows, type ReduceOperator, reduce, scatterRows, transposeBlocks } from '../collective.ts';
import { moveReference, reduceReference } from '../reference/collective.ts';
import { BOTH, EDGES, type KernelRow } from './row.ts';

function reduction(operator: ReduceOperator, count: number, timed: number): KernelRow {
  return {
    name: `${operator}-${count}`,
    dtypes: BOTH,
    operands: ({ n }) => Array.from({ length: count }, () => ({ shape: [n!] })),
    outShape: ({ n }) => [n!],
    run: (sources, out) => reduce(operator, sources, out),
    reference: (sources) => reduceReference(operator, sources),
    roundings: () => (operator === 'sum' || operator === 'prod' ? count - 1 : 0),
    flops: ({ n }) => (count - 1) * n!,
    bytes: ({ n }, size) => (count + 1) * n! * size,
    tested: EDGES.map((n) => ({ n })),
    timed: [{ n: timed }],
  };
}

/** A permutation that is not its own inverse, so that gather and scatter differ. `rows`: not a multiple of 7. */
function shuffled(rows: number): number[] {
  return Array.from({ length: rows }, (_, i) => (7 * i + 3) % rows);
}

const moved: Pick<KernelRow, 'dtypes' | 'roundings' | 'flops'> = {
  dtypes: ['f32'],
  roundings: () => 0,
  flops: () => 0,
};

export const collectiveRows: readonly KernelRow[] = [
  ...[2, 5, 16, 64].map((count) => reduction('sum', count, 1 << 18)),
  ...(['prod', 'max', 'min'] as const).map((operator) => reduction(operator, 11, 1 << 18)),
  {
    ...moved,
    name: 'gather',
    operands: ({ rows, cols }) => [{ shape: [rows!, cols!] }],
    outShape: ({ rows, cols }) => [rows!, cols!],
    run: ([x], out, { rows }) => gatherRows(x!, shuffled(rows!), out),
    reference: ([x], { rows, cols }) => {
      const indices = shuffled(rows!);
      return moveReference(rows! * cols!, x!, (i) => indices[Math.floor(i / cols!)]! * cols! + (i % cols!));
    },
    bytes: ({ rows, cols }, size) => 2 * rows! * cols! * size,
    tested: EDGES.map((cols) => ({ rows: 5, cols })),
    timed: [{ rows: 4096, cols: 128 }],
  },
  {
    ...moved,
    name: 'scatter',
    operands: ({ rows, cols }) => [{ shape: [rows!, cols!] }],
    outShape: ({ rows, cols }) => [rows!, cols!],
    run: ([x], out, { rows }) => scatterRows(x!, shuffled(rows!), out),
    reference: ([x], { rows, cols }) => {
      const indices = shuffled(rows!);
      return moveReference(rows! * cols!, x!, (i) => indices.indexOf(Math.floor(i / cols!)) * cols! + (i % cols!));
    },
    bytes: ({ rows, cols }, size) => 2 * rows! * cols! * size,
    tested: EDGES.map((cols) => ({ rows: 5, cols })),
    timed: [{ rows: 4096, cols: 128 }],
  },
  {
    ...moved,
    name: 'transposeBlocks',
    operands: ({ p, q, block }) => [{ shape: [p!, q!, block!] }],
    outShape: ({ p, q, block }) => [q!, p!, block!],
    run: ([x], out) => transposeBlocks(x!, out),
    reference: ([x], { p, q, block }) =>
      moveReference(p! * q! * block!, x!, (i) => {
        const [j, row] = [Math.floor(i / (p! * block!)), Math.floor(i / block!) % p!];
        return (row * q! + j) * block! + (i % block!);
      }),
    bytes: ({ p, q, block }, size) => 2 * p! * q! * block! * size,
    tested: [...EDGES.map((block) => ({ p: 3, q: 5, block })), { p: 33, q: 17, block: 1 }, { p: 0, q: 4, block: 2 }],
    timed: [
      { p: 64, q: 64, block: 128 },
      { p: 512, q: 512, block: 1 },
    ],
  },
];
