import { test } from 'vitest';
import { timeOperator } from '/work/wt/core/src/core/operator-clock.ts';
import { findChip } from '/work/wt/core/src/hardware/catalog.ts';
import { fittedConstants } from '/work/wt/core/src/hardware/fitted.ts';

test('x', () => {
  for (const [chip, d, dtype, causal, heads, s] of [
    ['trn1', 128, 'bf16', false, 1, 4096],
    ['trn1', 64, 'f32', false, 1, 4096],
    ['trn2', 128, 'bf16', true, 4, 8192],
    ['trn2', 128, 'bf16', false, 1, 4096],
    ['trn2', 128, 'bf16', true, 4, 512],
  ] as const) {
    const c = timeOperator(findChip(chip), 1, fittedConstants(), {
      op: 'attention',
      dims: { batch: 1, heads, kvHeads: heads, headDim: d, seqQ: s, seqKv: s },
      dtype,
      causal,
    });
    console.log(
      chip,
      d,
      dtype,
      causal,
      s,
      (c.cost.time * 1e6).toFixed(1),
      JSON.stringify(Object.fromEntries(Object.entries(c.cost.busy).map(([k, v]) => [k, +(v * 1e6).toFixed(0)]))),
      'psum/sbuf',
      c.program.psumBanks,
      c.program.sbufBytes,
    );
  }
});
