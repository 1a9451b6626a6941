/**
 * Switch reduction (as NVIDIA's NVLS): the switch between the ranks adds what they send, and copies what one sends to all.
 *
 * Reduce-scatter: all ranks send all their data up, each part's sum comes down to its owner. All-gather: the owner sends
 * its part up, the switch sends it to all. An all-reduce is both, so each port carries (1 + 1/p) of the data each way
 * instead of the ring's 2(p - 1)/p, in slices, so that the four stages run at once. A broadcast goes up once and down to
 * all; a reduce goes up from all and down once. The switch is an endpoint of its own, with a buffer, which models that the
 * sum is rounded once, to the buffers' format, before it comes down.
 * see: Klenk et al., "An in-network architecture for accelerating shared-memory multiprocessor collectives", 2020.
 */
import { cutPart, type Emit, emitPart, type Part, type Phase } from '../phase.ts';
import { ADD, COPY } from '../schedule.ts';
import type { Algorithm, AlgorithmOptions, Team } from './algorithm.ts';
import { DEFAULT_SLICES } from './tree.ts';

/** What happens to one slice of the parts at one stage. */
type Stage = (emit: Emit, slice: readonly Part[]) => void;

/** Slice k is at stage s in step k + s. */
function pipeline(team: Team, slices: readonly (readonly Part[])[], stages: readonly Stage[]): Phase {
  const steps = slices.length + stages.length - 1;
  return {
    steps,
    stepClass: (step) => Math.max(0, step - slices.length + 1) * stages.length + Math.min(step, stages.length - 1),
    endpoints: team.firstSwitch + 1,
    emit: (step, emit) => {
      stages.forEach((stage, s) => {
        const slice = slices[step - s];
        if (slice) stage(emit, slice);
      });
    },
  };
}

/** Slice k of every part. */
function sliced(parts: readonly Part[], { slices = DEFAULT_SLICES }: AlgorithmOptions): Part[][] {
  const cut = parts.map((part) => cutPart(part, slices));
  return Array.from({ length: slices }, (_, k) => cut.map((pieces) => pieces[k]!)).filter((slice) =>
    slice.some((part) => part.length > 0),
  );
}

/** All ranks' addends of one range are one reduction, the first of them a copy: the switch has none of its own. */
const reduceUp =
  ({ members, firstSwitch }: Team): Stage =>
  (emit, slice) => {
    for (const { offset, length } of slice.flat()) {
      for (let i = 0; i < members.length; i++) {
        emit(members[i]!, firstSwitch, offset, offset, length, i === 0 ? COPY : ADD);
      }
    }
  };

const multicastDown =
  ({ members, firstSwitch }: Team): Stage =>
  (emit, slice) => {
    for (const part of slice) {
      for (let i = 0; i < members.length; i++) emitPart(emit, firstSwitch, members[i]!, part, COPY);
    }
  };

/** Part i between its owner and the switch. */
const ownersDown =
  ({ members, firstSwitch }: Team): Stage =>
  (emit, slice) => {
    slice.forEach((part, i) => {
      emitPart(emit, firstSwitch, members[i]!, part, COPY);
    });
  };

const ownersUp =
  ({ members, firstSwitch }: Team): Stage =>
  (emit, slice) => {
    slice.forEach((part, i) => {
      emitPart(emit, members[i]!, firstSwitch, part, COPY);
    });
  };

/** As parts of which all but the root's are empty. */
function rootsPart(team: Team, data: Part, root: number): Part[] {
  return Array.from(team.members, (_, i) => (i === root ? data : []));
}

export const switchReduction: Algorithm = {
  name: 'switch',
  summary: 'the switch adds and multicasts (NVLS): each port carries little more than the data once each way',
  'reduce-scatter': (team, parts, options) =>
    pipeline(team, sliced(parts, options), [reduceUp(team), ownersDown(team)]),
  'all-gather': (team, parts, options) => pipeline(team, sliced(parts, options), [ownersUp(team), multicastDown(team)]),
  'all-reduce': (team, data, options) =>
    pipeline(team, sliced(cutPart(data, team.members.length), options), [
      reduceUp(team),
      ownersDown(team),
      ownersUp(team),
      multicastDown(team),
    ]),
  broadcast: (team, data, root, options) =>
    pipeline(team, sliced(rootsPart(team, data, root), options), [ownersUp(team), multicastDown(team)]),
  reduce: (team, data, root, options) =>
    pipeline(team, sliced(rootsPart(team, data, root), options), [reduceUp(team), ownersDown(team)]),
};
