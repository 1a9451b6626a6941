/** A measured kernel as the case that the operator clock times, on the cores that it ran on. */

import type { OperandFormat, OperatorCase, OperatorName } from '../core/operator-case.ts';
import { operatorClock } from '../core/operator-clock.ts';
import { findSystem } from '../hardware/catalog.ts';
import type { Constants } from '../hardware/fitted.ts';
import type { KernelCase, KernelQuestion } from './measurement.ts';
import type { Predict } from './predict.ts';

/** Measurements' names of number formats where they differ from ours. */
const FORMATS: Readonly<Record<string, OperandFormat>> = { fp32: 'f32', fp16: 'f16' };

function format(name: string): OperandFormat {
  return FORMATS[name] ?? (name as OperandFormat);
}

/** The operator; a name or format that no clock knows is its business to refuse. */
export function operatorOf(ran: KernelCase): OperatorCase {
  return {
    op: ran.op as OperatorName,
    dims: ran.dims,
    dtype: format(ran.dtype),
    ...(ran.outDtype !== undefined && { outDtype: format(ran.outDtype) }),
    ...(ran.causal !== undefined && { causal: ran.causal }),
    ...(ran.operandsIn === 'sbuf' && { resident: ['a', 'b'] as const }),
    implementation: ran.implementation,
    copies: ran.copies,
    timing: ran.timing === 'host' ? 'host' : 'device',
  };
}

/** @throws RangeError for a system that is not in the catalogue, or cores that do not divide into the copies. */
export function kernelPredictor({ system, case: ran }: KernelQuestion): Predict {
  const { chip } = findSystem(system.id);
  const operator = operatorOf(ran);
  if (ran.cores % ran.copies !== 0)
    throw new RangeError(`"copies" expected a divisor of cores = ${ran.cores}, got ${ran.copies}`);
  return (constants: Constants) => operatorClock(chip, ran.cores, constants)(operator).time;
}
