/** A measured kernel as the case that the operator clock times, on the cores that it ran on. */

import { expectInteger, expectOneOf } from '../base/errors.ts';
import type { OperandFormat, OperatorCase, OperatorName } from '../core/operator-case.ts';
import { operatorClock } from '../core/operator-clock.ts';
import { operatorDims } from '../core/operator-dims.ts';
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

/** @throws RangeError that lists the formats if `name` is none of them. */
export function formatOf(name: string): OperandFormat {
  return FORMATS.get(name) ?? expectOneOf('dtype', name, [...FORMATS.keys()] as OperandFormat[]);
}

/** @throws RangeError for an operator, a dimension or a format that the clock doesn't know */
export function operatorOf(ran: KernelCase): OperatorCase {
  return {
    op: ran.op as OperatorName,
    dims: operatorDims(ran.op, ran.dims),
    dtype: formatOf(ran.dtype),
    ...(ran.outDtype !== undefined && { outDtype: formatOf(ran.outDtype) }),
    ...(ran.causal !== undefined && { causal: ran.causal }),
    ...(ran.operandsIn === 'sbuf' && { resident: ['a', 'b'] as const }),
    implementation: ran.implementation,
    copies: ran.copies,
    timing: ran.timing === 'host' ? 'host' : 'device',
  };
}

/**
 * Copies that fill several chips share nothing between them: one chip's part is timed.
 * @throws RangeError for a system that is not in the catalogue, more cores than it has, cores that do not divide into the
 * copies, or a copy that is spread over several chips.
 */
export function kernelPredictor({ system, case: ran }: KernelQuestion): Predict {
  const { chip, chips } = findSystem(system.id);
  const coresOfChip = chip.cores ?? 1;
  const cores = expectInteger('cores', ran.cores, 1, coresOfChip * chips * system.nodes);
  const chipsUsed = Math.ceil(cores / coresOfChip);
  if (cores % ran.copies !== 0)
    throw new RangeError(`"copies" expected a divisor of cores = ${cores}, got ${ran.copies}`);
  if (ran.copies % chipsUsed !== 0) {
    throw new RangeError(`"copies" expected a multiple of the ${chipsUsed} chips used, got ${ran.copies}`);
  }
  const operator = { ...operatorOf(ran), copies: ran.copies / chipsUsed };
  return (constants: Constants) => operatorClock(chip, cores / chipsUsed, constants)(operator).time;
}
