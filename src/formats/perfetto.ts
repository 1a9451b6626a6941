/**
 * A timeline as a Perfetto trace (TrackEvent protobuf), for ui.perfetto.dev and trace_processor.
 *
 *     Trace { packet: [ TrackDescriptor ... , TrackEvent SLICE_BEGIN | SLICE_END | COUNTER ... ] }
 *
 * Events are in time order, all on one packet sequence; between events of equal time the reader keeps the order of the
 * file. Perfetto counts whole nanoseconds, so begins and ends are rounded to them, each on its own: rounding is
 * monotone, so nothing begins before what ended earlier, but an instruction shorter than 1 ns may look empty.
 * The bytes depend on the timeline alone: the uuid of a track is its position. The viewer chooses the order of
 * top-level tracks; below a parent it is the order given here.
 * see: perfetto.dev/docs/reference/synthetic-track-event, protos/perfetto/trace/{trace_packet,track_event/*}.proto
 */
import { PbfWriter } from 'pbf';
import { expectInteger, show } from '../base/errors.ts';
import type { Picoseconds } from '../base/units.ts';

export interface Track {
  readonly id: string;
  readonly name: string;
  /** Id of a track that stands earlier in the list. */
  readonly parent?: string;
}

/** Something that goes on for a while. Slices of one track follow each other or nest; they never overlap in part. */
export interface Slice {
  /** Id of a track. */
  readonly track: string;
  readonly name: string;
  readonly start: Picoseconds;
  readonly duration: Picoseconds;
  /** Shown when the slice is selected. */
  readonly args?: Readonly<Record<string, string | number>>;
}

/** A quantity over time, drawn as steps on a track of its own; its name should say the unit. */
export interface Counter {
  readonly name: string;
  readonly parent?: string;
  readonly samples: readonly { readonly time: Picoseconds; readonly value: number }[];
}

export interface Timeline {
  readonly tracks: readonly Track[];
  readonly slices: readonly Slice[];
  readonly counters?: readonly Counter[];
}

// Field numbers of the messages, by the names of the .proto files.
const TRACE = { packet: 1 } as const;
const PACKET = { timestamp: 8, sequenceId: 10, trackEvent: 11, sequenceFlags: 13, trackDescriptor: 60 } as const;
const DESCRIPTOR = {
  uuid: 1,
  name: 2,
  parentUuid: 5,
  counter: 8,
  childOrdering: 11,
  siblingOrderRank: 12,
  siblingMergeBehavior: 15,
} as const;
const EVENT = { debugAnnotations: 4, type: 9, trackUuid: 11, name: 23, doubleCounterValue: 44 } as const;
const ANNOTATION = { intValue: 4, doubleValue: 5, stringValue: 6, name: 10 } as const;

const SLICE_BEGIN = 1;
const SLICE_END = 2;
const COUNTER = 4;
const ORDERING_EXPLICIT = 3;
/** By default the viewer draws siblings of one name as one track. */
const MERGE_NONE = 2;
const SEQUENCE_ID = 1;
const INCREMENTAL_STATE_CLEARED = 1;

/** What one TrackEvent packet says. */
interface Event {
  readonly time: Picoseconds;
  readonly uuid: number;
  readonly type: typeof SLICE_BEGIN | typeof SLICE_END | typeof COUNTER;
  /** Of a SLICE_BEGIN. */
  readonly slice?: Slice;
  /** Of a COUNTER. */
  readonly value?: number;
}

function writeAnnotation([name, value]: [string, string | number], pbf: PbfWriter): void {
  if (typeof value === 'string') pbf.writeStringField(ANNOTATION.stringValue, value);
  else if (Number.isSafeInteger(value)) pbf.writeVarintField(ANNOTATION.intValue, value);
  else pbf.writeDoubleField(ANNOTATION.doubleValue, value);
  pbf.writeStringField(ANNOTATION.name, name);
}

function writeEvent(event: Event, pbf: PbfWriter): void {
  pbf.writeVarintField(EVENT.type, event.type);
  pbf.writeVarintField(EVENT.trackUuid, event.uuid);
  // An end needs no name: it closes the innermost open slice of its track.
  if (event.slice !== undefined) {
    pbf.writeStringField(EVENT.name, event.slice.name);
    for (const arg of Object.entries(event.slice.args ?? {})) {
      pbf.writeMessage(EVENT.debugAnnotations, writeAnnotation, arg);
    }
  }
  if (event.value !== undefined) pbf.writeDoubleField(EVENT.doubleCounterValue, event.value);
}

function writeEventPacket(event: Event, pbf: PbfWriter): void {
  pbf.writeVarintField(PACKET.timestamp, Math.round(event.time / 1000));
  pbf.writeVarintField(PACKET.sequenceId, SEQUENCE_ID);
  pbf.writeMessage(PACKET.trackEvent, writeEvent, event);
}

interface Descriptor {
  readonly uuid: number;
  readonly name: string;
  /** 0: top level. */
  readonly parentUuid: number;
  /** Position among the children of the same parent. */
  readonly rank: number;
  readonly isCounter: boolean;
}

function writeDescriptor(track: Descriptor, pbf: PbfWriter): void {
  pbf.writeVarintField(DESCRIPTOR.uuid, track.uuid);
  pbf.writeStringField(DESCRIPTOR.name, track.name);
  if (track.parentUuid !== 0) pbf.writeVarintField(DESCRIPTOR.parentUuid, track.parentUuid);
  if (track.isCounter) pbf.writeMessage(DESCRIPTOR.counter, () => {}, undefined);
  pbf.writeVarintField(DESCRIPTOR.childOrdering, ORDERING_EXPLICIT);
  pbf.writeVarintField(DESCRIPTOR.siblingOrderRank, track.rank);
  pbf.writeVarintField(DESCRIPTOR.siblingMergeBehavior, MERGE_NONE);
}

function writeDescriptorPacket(track: Descriptor, pbf: PbfWriter): void {
  pbf.writeVarintField(PACKET.sequenceId, SEQUENCE_ID);
  // The reader drops a sequence until it has seen where its state starts.
  if (track.uuid === 1) pbf.writeVarintField(PACKET.sequenceFlags, INCREMENTAL_STATE_CLEARED);
  pbf.writeMessage(PACKET.trackDescriptor, writeDescriptor, track);
}

/** Tracks, then counters, numbered from 1 (0 is Perfetto's implicit global track). `uuids` finds a track by its id. */
function describe(timeline: Timeline): { descriptors: readonly Descriptor[]; uuids: ReadonlyMap<string, number> } {
  const uuids = new Map<string, number>();
  const childCounts = new Map<number, number>();
  const descriptors: Descriptor[] = [];
  const add = (name: string, parent: string | undefined, isCounter: boolean, where: string): number => {
    const parentUuid = parent === undefined ? 0 : uuids.get(parent);
    if (parentUuid === undefined) {
      throw new RangeError(`"${where}.parent" expected the id of an earlier track, got ${show(parent)}`);
    }
    const rank = childCounts.get(parentUuid) ?? 0;
    childCounts.set(parentUuid, rank + 1);
    const uuid = descriptors.length + 1;
    descriptors.push({ uuid, name, parentUuid, rank, isCounter });
    return uuid;
  };
  for (const [i, track] of timeline.tracks.entries()) {
    if (uuids.has(track.id)) throw new RangeError(`"tracks[${i}].id" expected a new id, got ${show(track.id)} again`);
    uuids.set(track.id, add(track.name, track.parent, false, `tracks[${i}]`));
  }
  for (const [i, counter] of (timeline.counters ?? []).entries()) {
    add(counter.name, counter.parent, true, `counters[${i}]`);
  }
  return { descriptors, uuids };
}

const endOf = (slice: Slice): Picoseconds => slice.start + slice.duration;
const showSlice = (slice: Slice): string => `${show(slice.name)} (${slice.start}..${endOf(slice)} ps)`;

function checkSlice(slice: Slice, index: number): void {
  expectInteger(`slices[${index}].start`, slice.start);
  expectInteger(`slices[${index}].duration`, slice.duration, 0, Number.MAX_SAFE_INTEGER - slice.start);
  for (const [name, value] of Object.entries(slice.args ?? {})) {
    if (typeof value !== 'string' && !Number.isFinite(value)) {
      throw new RangeError(`"slices[${index}].args.${name}" expected a string or a finite number, got ${show(value)}`);
    }
  }
}

/** Begins and ends of the slices of one track, in time order, inner slices inside outer ones. */
function nest(slices: readonly Slice[], uuid: number, track: string): Event[] {
  // Of slices that start together, the longest is outside.
  const ordered = [...slices].sort((a, b) => a.start - b.start || b.duration - a.duration);
  const events: Event[] = [];
  const open: Slice[] = [];
  const closeUntil = (time: Picoseconds): void => {
    for (let top = open.at(-1); top !== undefined && endOf(top) <= time; top = open.at(-1)) {
      events.push({ time: endOf(top), uuid, type: SLICE_END });
      open.pop();
    }
  };
  for (const slice of ordered) {
    closeUntil(slice.start);
    const outer = open.at(-1);
    if (outer !== undefined && endOf(slice) > endOf(outer)) {
      throw new RangeError(
        `"slices" expected slices of track ${show(track)} to nest or follow, got ${showSlice(slice)} across the end of ${showSlice(outer)}`,
      );
    }
    events.push({ time: slice.start, uuid, type: SLICE_BEGIN, slice });
    open.push(slice);
  }
  closeUntil(Number.POSITIVE_INFINITY);
  return events;
}

function sliceEvents(timeline: Timeline, uuids: ReadonlyMap<string, number>): Event[] {
  const byTrack = new Map<string, Slice[]>(timeline.tracks.map((track) => [track.id, []]));
  for (const [i, slice] of timeline.slices.entries()) {
    const slices = byTrack.get(slice.track);
    if (slices === undefined) {
      throw new RangeError(`"slices[${i}].track" expected the id of a track, got ${show(slice.track)}`);
    }
    checkSlice(slice, i);
    slices.push(slice);
  }
  return [...byTrack].flatMap(([track, slices]) => nest(slices, uuids.get(track)!, track));
}

function counterEvents(timeline: Timeline): Event[] {
  return (timeline.counters ?? []).flatMap((counter, i) =>
    counter.samples.map(({ time, value }, j): Event => {
      expectInteger(`counters[${i}].samples[${j}].time`, time);
      if (!Number.isFinite(value)) {
        throw new RangeError(`"counters[${i}].samples[${j}].value" expected a finite number, got ${show(value)}`);
      }
      return { time, uuid: timeline.tracks.length + i + 1, type: COUNTER, value };
    }),
  );
}

/**
 * The bytes of a Perfetto trace file (`.pftrace`) of `timeline`; slices, counters and samples may be in any order.
 * @throws TypeError or RangeError that names the entry: no track at all, an id twice, an unknown track or a parent that
 * doesn't precede its child, a time that is not an integer >= 0, a value that is not finite, slices that overlap in part
 */
export function writePerfetto(timeline: Timeline): Uint8Array {
  const { descriptors, uuids } = describe(timeline);
  if (descriptors.length === 0) throw new RangeError('"tracks" expected at least one track, got 0');
  const events = [...sliceEvents(timeline, uuids), ...counterEvents(timeline)];
  // The sort is stable: events of one track keep their order.
  events.sort((a, b) => a.time - b.time);
  const pbf = new PbfWriter();
  for (const descriptor of descriptors) pbf.writeMessage(TRACE.packet, writeDescriptorPacket, descriptor);
  for (const event of events) pbf.writeMessage(TRACE.packet, writeEventPacket, event);
  return pbf.finish().slice();
}
