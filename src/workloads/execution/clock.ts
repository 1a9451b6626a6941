/**
 * The time of a program on a rank: two queues, the engines and the collectives. Each takes its instructions in program order; one
 * starts when its queue is free and what it reads and changes is ready. So a layer's gradients are summed over the
 * data-parallel ranks while the layer before it computes; sums inside a layer are waited for.
 *
 * All ranks are alike and in lockstep, so one is timed. Leaves out: the host, and engines that slow each other down.
 */
import type { Seconds } from '../../base/units.ts';
import type { OperatorClock, OperatorCost } from '../../core/operator-case.ts';
import type { Exchanges } from '../exchange.ts';
import { allReduceOf, type Instruction, owner, type Program, touched, type Value } from './program.ts';

export interface TimedInstruction {
  readonly instruction: Instruction;
  readonly start: Seconds;
  readonly time: Seconds;
  /** Of the longest of its cases; `links` for a collective. */
  readonly bound: string;
  /** Of its cases, one after another, each as often as it counts. */
  readonly costs: readonly { readonly cost: OperatorCost; readonly repeat: number }[];
}

export interface ProgramTiming {
  readonly time: Seconds;
  readonly instructions: readonly TimedInstruction[];
  /** Time in which no engine works because a collective is waited for. */
  readonly exposed: Seconds;
}

export function timeProgram(program: Program, clock: OperatorClock, exchanges: Exchanges): ProgramTiming {
  const ready = new Map<Value, Seconds>();
  const queues = { operator: 0, 'all-reduce': 0 };
  let exposed = 0;
  const instructions = program.instructions.map((instruction): TimedInstruction => {
    const values = touched(instruction).map(owner);
    const queueFree = queues[instruction.type];
    const start = values.reduce((latest, value) => Math.max(latest, ready.get(value) ?? 0), queueFree);
    const cost =
      instruction.type === 'operator' ? operatorTime(instruction.cases, clock) : exchangeTime(instruction, exchanges);
    if (instruction.type === 'operator') exposed += start - queueFree;
    const end = start + cost.time;
    queues[instruction.type] = end;
    const changed = instruction.type === 'operator' ? instruction.writes : [instruction.value];
    for (const value of changed) ready.set(owner(value), end);
    return { instruction, start, ...cost };
  });
  const time = Math.max(queues.operator, queues['all-reduce']);
  return { time, instructions, exposed: exposed + time - queues.operator };
}

function operatorTime(
  cases: Extract<Instruction, { type: 'operator' }>['cases'],
  clock: OperatorClock,
): Omit<TimedInstruction, 'instruction' | 'start'> {
  const costs = cases.map(({ operator, repeat }) => ({ cost: clock(operator), repeat }));
  const time = costs.reduce((sum, { cost, repeat }) => sum + repeat * cost.time, 0);
  const longest = costs.reduce<OperatorCost | null>(
    (most, { cost }) => (most === null || cost.time > most.time ? cost : most),
    null,
  );
  return { time, bound: longest?.bound ?? 'none', costs };
}

function exchangeTime(
  instruction: Extract<Instruction, { type: 'all-reduce' }>,
  exchanges: Exchanges,
): Omit<TimedInstruction, 'instruction' | 'start'> {
  return { time: exchanges(allReduceOf(instruction)).timing.time, bound: 'links', costs: [] };
}
