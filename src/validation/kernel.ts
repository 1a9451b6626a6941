/** A measured kernel as the case that the operator clock times, on the cores that it ran on. */

import { expectOneOf } from '../base/errors.ts';
import type { OperandFormat, OperatorCase, OperatorName } from '../core/operator-case.ts';
import { operatorClock } from '../core/operator-clock.ts';
import { findSystem } from '../hardware/catalog.ts';
import type { Constants } from '../hardware/fitted.ts';
import type { KernelCase, KernelQuestion } from './measurement.ts';
import type { Predict } from './predict.ts';

/** Number formats by the measurements' names. */
const FORMATS: ReadonlyMap<string, OperandFormat> = new Map([
  ['fp32', 'f32'],
  ['tf32', 'tf32'],
  ['fp16', 'f16'],
  ['bf16', 'bf16'],
  ['fp8', 'fp8'],
  ['mxfp8', 'mxfp8'],
  ['mxfp4', 'mxfp4'],
  ['nvfp4', 'nvfp4'],
  ['int8', 'int8'],
  ['uint8', 'uint8'],
  ['int32', 'int32'],
]);

function format(name: string): OperandFormat {
  return FORMATS.get(name) ?? expectOneOf('dtype', name, [...FORMATS.keys()] as OperandFormat[]);
}

/** The operator; a name that the clock doesn't know is its business to refuse. */
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
