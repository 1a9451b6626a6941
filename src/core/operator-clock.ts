/**
 * Operators of published measurements on the engines of `engines.ts`: matmul only.
 */
import { ModelError } from '../base/errors.ts';
import type { Constants } from '../hardware/fitted.ts';
import type { ChipSpec } from '../hardware/spec.ts';
import { acceleratorClock } from './accelerator.ts';
import { operatorCost, rankEngines } from './engines.ts';
import type { OperatorClock } from './operator-case.ts';

/** The clock of `cores` NeuronCores on `chip`. */
export function operatorClock(chip: ChipSpec, cores: number, constants?: Constants): OperatorClock {
  if (chip.cores === null) return acceleratorClock(chip, constants);
  return ({ op, dims, dtype }) => {
    if (op !== 'matmul') throw new ModelError('UNSUPPORTED', 'op', `${op} is not modelled yet`);
    const engines = rankEngines(chip, cores);
    const { m = 1, k = 1, n = 1 } = dims;
    const is16Bit = dtype !== 'f32';
    const hbmBytes = (m * k + k * n + m * n) * (is16Bit ? 2 : 4);
    const { time, bound, busy, flops } = operatorCost(
      { name: op, kind: 'matmul', batch: 1, m, k, n, hbmBytes },
      engines,
      is16Bit,
    );
    return { time, bound, busy, flops, hbmBytes };
  };
}
