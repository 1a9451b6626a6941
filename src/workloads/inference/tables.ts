/**
 * What plans on one cluster share: its clocks, which remember what they have timed, and the overheads of its software. A
 * search makes them once.
 */
import type { Seconds } from '../../base/units.ts';
import { collectiveClock } from '../../collectives/collective-clock.ts';
import type { CollectiveClock } from '../../collectives/cost.ts';
import type { OperatorClock } from '../../core/operator-case.ts';
import { operatorClock } from '../../core/operator-clock.ts';
import type { Cluster } from '../../fabric/cluster.ts';
import { type Constants, fittedConstants } from '../../hardware/fitted.ts';
import type { Software } from '../../models/graph.ts';

/** What a level of software adds to the times of operators and collectives. */
export interface Overheads {
  /** Start of an operator of a program. */
  readonly operator: Seconds;
  /** What the host does for a step: it starts the program, reads the tokens, makes the next inputs. */
  readonly step: Seconds;
}

export interface InferenceTables {
  readonly cluster: Cluster;
  readonly collectives: CollectiveClock;
  /** The clock of one rank while `ranks` ranks of its chip do the same. */
  readonly operators: (ranks: number) => OperatorClock;
  readonly overheads: (software: Software) => Overheads;
}

export function inferenceTables(cluster: Cluster, constants: Constants = fittedConstants()): InferenceTables {
  const { chip } = cluster.system;
  const clocks = new Map<number, OperatorClock>();
  const operators = (ranks: number): OperatorClock => {
    let clock = clocks.get(ranks);
    if (clock === undefined) {
      clock = rankClock(cluster, ranks, constants);
      clocks.set(ranks, clock);
    }
    return clock;
  };
  const overheads = (software: Software): Overheads =>
    // The launch of a kernel is in the times of other makers' operators.
    chip.cores === null
      ? { operator: 0, step: 0 }
      : {
          operator: software === 'megakernel' ? 0 : constants.neuronOperatorStart!,
          step: constants.neuronHostStep!,
        };
  return { cluster, collectives: collectiveClock(cluster, constants), operators, overheads };
}

/** Ranks of a chip share its memory: they are timed as copies of one problem on all of their cores. */
function rankClock({ system, rank, lnc }: Cluster, ranks: number, constants: Constants): OperatorClock {
  const { chip } = system;
  if (chip.cores === null) return operatorClock(chip, 1, constants);
  const cores = rank === 'chip' ? chip.cores : lnc * ranks;
  const clock = operatorClock(chip, cores, constants);
  if (ranks === 1) return clock;
  return (operator) => {
    const { flops, hbmBytes, ...cost } = clock({ ...operator, copies: ranks });
    return { ...cost, flops: flops / ranks, hbmBytes: hbmBytes / ranks };
  };
}
