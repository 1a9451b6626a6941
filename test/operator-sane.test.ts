/**
 * Whatever operator, chip, format, size and number of cores one asks for: an answer that physics allows, or an error that says what
 * is missing. Sizes are tiny, odd and huge, none of them those of a measurement.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import type { OperandFormat, OperatorCase } from '../src/core/operator-case.ts';
import { type OperatorDetail, timeOperator } from '../src/core/operator-clock.ts';
import { OPERATOR_NAMES, operatorDims } from '../src/core/operator-dims.ts';
import { operatorWork } from '../src/core/operator-work.ts';
import { findChip } from '../src/hardware/catalog.ts';
import { fittedConstants } from '../src/hardware/fitted.ts';

const CHIPS = ['trn1', 'trn2', 'trn3'] as const;
const FORMATS: readonly OperandFormat[] = ['f32', 'bf16', 'fp8'];
const LONG = [1, 2, 3, 7, 64, 100, 128, 129, 500, 1000, 2048, 4099, 20000] as const;
const SHORT = [1, 2, 3, 5, 16] as const;
const LONG_NAMES = [
  'm',
  'k',
  'n',
  'rows',
  'cols',
  'hidden',
  'ffn',
  'seqQ',
  'seqKv',
  'channels',
  'seq',
  'length',
  'bytes',
];

interface Question {
  readonly chip: (typeof CHIPS)[number];
  readonly cores: number;
  readonly operator: OperatorCase;
}

const question: fc.Arbitrary<Question> = fc
  .record({
    chip: fc.constantFrom(...CHIPS),
    cores: fc.integer({ min: 1, max: 8 }),
    op: fc.constantFrom(...OPERATOR_NAMES),
    dtype: fc.constantFrom(...FORMATS),
    causal: fc.boolean(),
    long: fc.array(fc.constantFrom(...LONG), { minLength: 3, maxLength: 3 }),
    short: fc.array(fc.constantFrom(...SHORT), { minLength: 4, maxLength: 4 }),
  })
  .map(({ chip, cores, op, dtype, causal, long, short }) => {
    const names = Object.keys(template(op));
    let [l, s] = [0, 0];
    const given: Record<string, number> = {};
    for (const name of names) given[name] = LONG_NAMES.includes(name) ? long[l++ % 3]! : short[s++ % 4]!;
    if (op === 'attention') {
      given.kvHeads = short[0]!;
      given.heads = short[0]! * short[1]!;
      given.headDim = [16, 64, 80, 128, 256][short[2]! % 5]!;
      if (causal) given.seqKv = Math.max(given.seqKv!, given.seqQ!);
      given.seqQ = Math.min(given.seqQ!, given.seqKv!);
    }
    if (op === 'rope') given.cols = 2 * short[0]! * 8;
    return { chip, cores: Math.min(cores, findChip(chip).cores!), operator: { op, dims: given, dtype, causal } };
  });

function template(op: OperatorCase['op']): Readonly<Record<string, number>> {
  const all = Object.fromEntries(
    [...LONG_NAMES, 'batch', 'rank', 'heads', 'kvHeads', 'headDim', 'state', 'taps', 'engines'].map((name) => [
      name,
      1,
    ]),
  );
  for (;;) {
    try {
      return operatorDims(op, all);
    } catch (error) {
      const foreign = /^"(\w+)" is no dimension/.exec((error as Error).message)?.[1];
      if (foreign === undefined) throw error;
      delete all[foreign];
    }
  }
}

/** The time in seconds; null where the chip or the program refuses by name. Anything else that is thrown is a fault. */
function timeOf({ chip, cores, operator }: Question): OperatorDetail | null {
  try {
    return timeOperator(findChip(chip), cores, fittedConstants(), operator);
  } catch (error) {
    if (error instanceof ModelError) return null;
    throw error;
  }
}

/** Operations at the peak of the cores, and operands once over the memory's bandwidth. */
function roofline({ chip: id, cores, operator }: Question): number {
  const { core, memory } = findChip(id);
  const { clock, fp8Rows, f32Passes } = core!.tensor!;
  const { flops, aBytes, bBytes, cBytes } = operatorWork(operator);
  const rows = operator.dtype === 'fp8' ? (fp8Rows ?? 128) : 128;
  // Attention of FP32 operands multiplies in BF16.
  const passes = operator.dtype === 'f32' && operator.op !== 'attention' ? f32Passes : 1;
  const peak = (2 * rows * 128 * clock * cores) / passes;
  return Math.max(flops / peak, (aBytes + bBytes + cBytes) / memory.bandwidth!);
}

/** The same with one dimension twice as large; null where that is not the same question. */
function doubled({ operator, ...rest }: Question, name: string): Question | null {
  if (['kvHeads', 'heads', 'headDim', 'engines'].includes(name)) return null;
  const dims = { ...operator.dims, [name]: 2 * operator.dims[name]! };
  if (operator.op === 'attention' && name === 'seqQ') dims.seqKv = Math.max(dims.seqKv!, dims.seqQ!);
  return { ...rest, operator: { ...operator, dims } };
}

test('is timed above the roofline, or refused by name; and twice the work is not much faster', () => {
  let timed = 0;
  let refused = 0;
  fc.assert(
    fc.property(question, (asked) => {
      const detail = timeOf(asked);
      if (detail === null) {
        refused++;
        return;
      }
      timed++;
      const { time, busy, hbmBytes } = detail.cost;
      expect(Number.isFinite(time)).toBe(true);
      expect(time).toBeGreaterThanOrEqual(roofline(asked) * (1 - 1e-9));
      expect(hbmBytes).toBeGreaterThanOrEqual(0);
      for (const engine of Object.values(busy)) expect(engine).toBeLessThanOrEqual(time * (1 + 1e-9));
      for (const name of Object.keys(asked.operator.dims)) {
        const more = doubled(asked, name);
        const larger = more && timeOf(more);
        // Rows that fill tiles can be a little faster than a few more rows that do not, by some DMAs.
        if (larger) expect(larger.cost.time, name).toBeGreaterThan(0.7 * time - 1e-6);
      }
    }),
    { numRuns: 400, seed: 11 },
  );
  // What SBUF does not hold is rare.
  expect(refused).toBeLessThan(timed / 20);
});
