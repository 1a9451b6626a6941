/**
 * What plans on one cluster share: the times of operators and collectives, which are remembered, and the overheads of the
 * software. A search makes them once.
 *
 * A rank of NeuronCores runs one compiled program a step: an operator takes its part of it (`program-time.ts`) and a
 * synchronisation, if the rank has several cores. Other makers' accelerators start a kernel after another: time as the clock
 * says.
 * Constants: data/fitted.json. Leaves out: collectives that run beside the weights of the next operator.
 */
import { ModelError } from '../../base/errors.ts';
import type { Seconds } from '../../base/units.ts';
import { collectiveClock } from '../../collectives/collective-clock.ts';
import type { CollectiveClock } from '../../collectives/cost.ts';
import type { OperatorCase, OperatorClock } from '../../core/operator-case.ts';
import { operatorClock } from '../../core/operator-clock.ts';
import { operatorWork } from '../../core/operator-work.ts';
import type { Cluster } from '../../fabric/cluster.ts';
import { type Constants, fittedConstants } from '../../hardware/fitted.ts';
import type { Software } from '../../models/graph.ts';
import { programTime } from '../program-time.ts';

/** What a level of software makes of the machine. */
export interface ProgramTimes {
  /** An operator as a part of a program. */
  readonly operator: (operator: OperatorCase) => Seconds;
  /** After each operator: the cores of the rank exchange their parts. */
  readonly synchronise: Seconds;
  /** The host's part of a step, and of each sequence in it. */
  readonly hostStep: Seconds;
  readonly hostSequence: Seconds;
}

/** The clocks of a machine. */
export interface MachineClocks {
  readonly cluster: Cluster;
  readonly collectives: CollectiveClock;
  /** Of one rank while `ranks` ranks of its chip do the same. */
  readonly operators: (ranks: number) => OperatorClock;
}

export interface InferenceTables extends Omit<MachineClocks, 'operators'> {
  /** Of a rank while `ranks` ranks of its chip do the same. */
  readonly programs: (software: Software, phase: 'prefill' | 'decode', ranks: number) => ProgramTimes;
}

export function machineClocks(cluster: Cluster, constants: Constants = fittedConstants()): MachineClocks {
  const clocks = new Map<number, OperatorClock>();
  const operators = (ranks: number): OperatorClock => {
    let clock = clocks.get(ranks);
    if (clock === undefined) {
      clock = rankClock(cluster, ranks, constants);
      clocks.set(ranks, clock);
    }
    return clock;
  };
  return { cluster, collectives: collectiveClock(cluster, constants), operators };
}

/**
 * What a fused operator is without fusion, where its tiles don't fit into SBUF: wide activations of a norm beside the weights' tiles,
 * scores of a long context in the latent space.
 */
function partsOf({ op, dims, dtype, resident = [], ...rest }: OperatorCase): OperatorCase[] {
  const { batch = 1, m = 1, k = 1, n = 1 } = dims;
  const pointwise = (name: 'add' | 'rmsnorm' | 'softmax', rows: number, cols: number): OperatorCase => ({
    op: name,
    dims: { rows, cols },
    dtype,
  });
  switch (op) {
    case 'add-rmsnorm-matmul':
      return [pointwise('add', m, k), ...partsOf({ op: 'rmsnorm-matmul', dims, dtype, resident, ...rest })];
    case 'rmsnorm-matmul':
      return [pointwise('rmsnorm', m, k), { op: 'matmul', dims, dtype, resident, ...rest }];
    case 'batched-matmul-softmax': {
      const scores = resident.filter((operand) => operand !== 'c');
      return [{ op: 'batched-matmul', dims, dtype, resident: scores, ...rest }, pointwise('softmax', batch * m, n)];
    }
    default:
      return [];
  }
}

/** Of what an operator loads and stores: all but the weights of a product. */
function activationShare(operator: OperatorCase): number {
  const { aBytes, bBytes, cBytes } = operatorWork(operator);
  return operator.op === 'matmul' ? (aBytes + cBytes) / (aBytes + bBytes + cBytes) : 1;
}

/** Ranks of a chip share its memory: they are timed as copies of one problem on all of their cores. */
function rankClock({ system, rank, lnc }: Cluster, ranks: number, constants: Constants): OperatorClock {
  const { chip } = system;
  if (chip.cores === null) return operatorClock(chip, 1, constants);
  const clock = operatorClock(chip, rank === 'chip' ? chip.cores : lnc * ranks, constants);
  return ranks === 1 ? clock : (operator) => clock({ ...operator, copies: ranks });
}

/** @param clocks what is read of `constants` beside them is the software's overheads */
export function inferenceTables(
  cluster: Cluster,
  constants: Constants = fittedConstants(),
  clocks: MachineClocks = machineClocks(cluster, constants),
): InferenceTables {
  return {
    cluster,
    collectives: clocks.collectives,
    programs: (software, phase, ranks) => programTimes(cluster, software, phase, clocks.operators(ranks), constants),
  };
}

function programTimes(
  { system, rank, lnc }: Cluster,
  software: Software,
  phase: 'prefill' | 'decode',
  clock: OperatorClock,
  constants: Constants,
): ProgramTimes {
  const { cores } = system.chip;
  if (cores === null) {
    return { operator: (operator) => clock(operator).time, synchronise: 0, hostStep: 0, hostSequence: 0 };
  }
  const time = (operator: OperatorCase): Seconds =>
    programTime(clock(operator), software === 'compiler' && phase === 'prefill' ? activationShare(operator) : 0);
  const isOneCore = (rank === 'chip' ? cores : lnc) === 1;
  return {
    operator(operator) {
      try {
        return time(operator);
      } catch (error) {
        const parts = partsOf(operator);
        if (parts.length === 0 || !(error instanceof ModelError && error.code === 'PROGRAM')) throw error;
        return parts.reduce((sum, part) => sum + time(part), 0);
      }
    },
    synchronise: isOneCore || software === 'megakernel' ? 0 : constants.neuronCoreSync!,
    hostStep: constants.neuronHostStep!,
    hostSequence: constants.neuronHostSequence!,
  };
}
