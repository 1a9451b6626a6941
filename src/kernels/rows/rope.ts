/** Registry rows of the rotary embeddings. */
import { ropeInterleavedReference, ropeReference } from '../reference/rope.ts';
import { rope, ropeInterleaved } from '../rope.ts';
import { BOTH, type KernelRow } from './row.ts';

export const ropeRows: readonly KernelRow[] = [
  { name: 'rope', kernel: rope, formula: ropeReference },
  { name: 'rope-interleaved', kernel: ropeInterleaved, formula: ropeInterleavedReference },
].map(({ name, kernel, formula }) => ({
  name,
  dtypes: BOTH,
  operands: ({ tokens, heads, headDim }) => [
    { shape: [tokens!, heads!, headDim!] },
    { shape: [tokens!, headDim! / 2], dtype: 'f32' },
    { shape: [tokens!, headDim! / 2], dtype: 'f32' },
  ],
  outShape: ({ tokens, heads, headDim }) => [tokens!, heads!, headDim!],
  run: ([x, cos, sin], out) => kernel(x!, cos!, sin!, out),
  reference: ([x, cos, sin], { heads, headDim }) => formula(heads!, headDim!, x!, cos!, sin!),
  roundings: () => 2,
  flops: ({ tokens, heads, headDim }) => 3 * tokens! * heads! * headDim!,
  bytes: ({ tokens, heads, headDim }, size) => 2 * tokens! * heads! * headDim! * size + 4 * tokens! * headDim!,
  tested: [2, 4, 6, 8, 14, 64, 128].map((headDim) => ({ tokens: 5, heads: 3, headDim })),
  timed: [{ tokens: 1024, heads: 8, headDim: 128 }],
}));
