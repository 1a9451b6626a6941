/**
 * A profile as a timeline for Perfetto: a track for each engine and each DMA queue, and below each one that ever waited a
 * track of its waits.
 */
import type { NeuronProfile } from './neuron-profile/profile.ts';
import type { Slice, Timeline, Track } from './perfetto.ts';

const ENGINES = ['TensorE', 'VectorE', 'ScalarE', 'GpSimdE', 'SyncE'] as const;

export function profileTimeline(profile: NeuronProfile): Timeline {
  const { name, instructions, transfers } = profile;
  const tracks: Track[] = [{ id: 'core', name: `${name} on ${profile.core.id}` }];
  const slices: Slice[] = [];
  const addTrack = (id: string, trackName: string, events: readonly (Slice & { readonly waitFrom: number })[]) => {
    tracks.push({ id, name: trackName, parent: 'core' });
    const waits = events.filter(({ start, waitFrom }) => start > waitFrom);
    if (waits.length > 0) tracks.push({ id: `${id} waits`, name: 'waits', parent: id });
    for (const { waitFrom, ...slice } of events) slices.push(slice);
    for (const { waitFrom, start, name: next } of waits) {
      slices.push({ track: `${id} waits`, name: `wait for ${next}`, start: waitFrom, duration: start - waitFrom });
    }
  };
  for (const engine of ENGINES) {
    const own = instructions.filter((instruction) => instruction.engine === engine);
    if (own.length === 0) continue;
    const events = own.map(({ opcode, operands, pc, start, end, waitFrom }) => ({
      ...{ track: engine, name: opcode, start, duration: end - start, waitFrom },
      args: { operands, instruction: pc },
    }));
    addTrack(engine, engine, events);
  }
  for (const queue of new Set(transfers.map((transfer) => transfer.queue))) {
    const own = transfers.filter((transfer) => transfer.queue === queue);
    const events = own.map(({ variable, bytes, from, to, pc, start, end, waitFrom }) => ({
      ...{ track: `dma ${queue}`, name: variable, start, duration: end - start, waitFrom },
      args: { from: from.memory, to: to.memory, bytes, instruction: pc },
    }));
    addTrack(`dma ${queue}`, `DMA ${queue}`, events);
  }
  const collectives = profile.collectives.map(({ operation, algorithm, start, end }) => ({
    ...{ track: 'collectives', name: operation, start, duration: end - start, waitFrom: start },
    args: { algorithm },
  }));
  if (collectives.length > 0) addTrack('collectives', 'collectives', collectives);
  return { tracks, slices };
}
