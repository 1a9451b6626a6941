/** The trace is read back with a decoder written against the .proto files' field numbers, and compared with bytes by hand. */
import fc from 'fast-check';
import { PbfReader } from 'pbf';
import { describe, expect, test } from 'vitest';
import { type Slice, type Timeline, writePerfetto } from '../src/formats/perfetto.ts';

type Message = Record<string, unknown>;

function read<T extends Message>(pbf: PbfReader, field: (tag: number, message: T, pbf: PbfReader) => void): T {
  return pbf.readMessage(field, {} as T);
}

function annotation(tag: number, out: Message, pbf: PbfReader): void {
  if (tag === 4) out.value = pbf.readVarint(true);
  else if (tag === 5) out.value = pbf.readDouble();
  else if (tag === 6) out.value = pbf.readString();
  else if (tag === 10) out.name = pbf.readString();
  else throw new Error(`DebugAnnotation field ${tag}`);
}

interface TrackEvent extends Message {
  type?: number;
  track?: number;
  name?: string;
  value?: number;
  args?: Record<string, unknown>;
}

function trackEvent(tag: number, out: TrackEvent, pbf: PbfReader): void {
  if (tag === 9) out.type = pbf.readVarint();
  else if (tag === 11) out.track = pbf.readVarint();
  else if (tag === 23) out.name = pbf.readString();
  else if (tag === 44) out.value = pbf.readDouble();
  else if (tag === 4) {
    const { name, value } = read(pbf, annotation);
    out.args = { ...out.args, [name as string]: value };
  } else throw new Error(`TrackEvent field ${tag}`);
}

function trackDescriptor(tag: number, out: Message, pbf: PbfReader): void {
  const keys: Record<number, string> = { 1: 'uuid', 5: 'parent', 11: 'ordering', 12: 'rank', 15: 'merge' };
  if (tag === 2) out.name = pbf.readString();
  else if (tag === 8) out.counter = read(pbf, () => {});
  else if (keys[tag] !== undefined) out[keys[tag]] = pbf.readVarint();
  else throw new Error(`TrackDescriptor field ${tag}`);
}

interface Packet extends Message {
  timestamp?: number;
  sequence?: number;
  flags?: number;
  event?: TrackEvent;
  track?: Message;
}

function packet(tag: number, out: Packet, pbf: PbfReader): void {
  if (tag === 8) out.timestamp = pbf.readVarint();
  else if (tag === 10) out.sequence = pbf.readVarint();
  else if (tag === 13) out.flags = pbf.readVarint();
  else if (tag === 11) out.event = read(pbf, trackEvent);
  else if (tag === 60) out.track = read(pbf, trackDescriptor);
  else throw new Error(`TracePacket field ${tag}`);
}

function decode(bytes: Uint8Array): Packet[] {
  return new PbfReader(bytes).readFields((tag, packets: Packet[], pbf) => {
    if (tag !== 1) throw new Error(`Trace field ${tag}`);
    packets.push(read(pbf, packet));
  }, []);
}

const core: Timeline = {
  tracks: [
    { id: 'core', name: 'NeuronCore 0' },
    { id: 'pe', name: 'TensorE', parent: 'core' },
    { id: 'dma', name: 'DMA', parent: 'core' },
  ],
  slices: [
    {
      track: 'pe',
      name: 'matmul',
      start: 2000,
      duration: 3499,
      args: { k: 128, ratio: 0.5, dtype: 'bf16', delta: -3 },
    },
    { track: 'dma', name: 'load', start: 0, duration: 2000 },
    { track: 'dma', name: 'descriptor', start: 0, duration: 400 },
  ],
  counters: [{ name: 'HBM (GB/s)', parent: 'core', samples: [{ time: 1_000_000_000_000_000, value: 2.5 }] }],
};

describe('packets', () => {
  test('every track has a descriptor with its parent and its place among the siblings', () => {
    expect(decode(writePerfetto(core)).slice(0, 4)).toEqual([
      { sequence: 1, flags: 1, track: { uuid: 1, name: 'NeuronCore 0', ordering: 3, rank: 0, merge: 2 } },
      { sequence: 1, track: { uuid: 2, name: 'TensorE', parent: 1, ordering: 3, rank: 0, merge: 2 } },
      { sequence: 1, track: { uuid: 3, name: 'DMA', parent: 1, ordering: 3, rank: 1, merge: 2 } },
      { sequence: 1, track: { uuid: 4, name: 'HBM (GB/s)', parent: 1, counter: {}, ordering: 3, rank: 2, merge: 2 } },
    ]);
  });

  test('slices are begins and ends in nanoseconds, outer before inner, in time order', () => {
    const events = decode(writePerfetto(core)).slice(4);
    expect(events.map(({ timestamp, event }) => [timestamp, event!.track, event!.type, event!.name])).toEqual([
      [0, 3, 1, 'load'],
      [0, 3, 1, 'descriptor'],
      [0, 3, 2, undefined], // 400 ps is 0 ns
      [2, 2, 1, 'matmul'],
      [2, 3, 2, undefined],
      [5, 2, 2, undefined], // 5499 ps
      [1e12, 4, 4, undefined], // 1000 s: a varint of more than 32 bits
    ]);
    expect(events[3]!.event!.args).toEqual({ k: 128, ratio: 0.5, dtype: 'bf16', delta: -3 });
    expect(events[6]!.event!.value).toBe(2.5);
    expect(events.every((p) => p.sequence === 1)).toBe(true);
  });

  test('the bytes of a small trace are those worked out by hand', () => {
    const bytes = writePerfetto({
      tracks: [{ id: 'a', name: 'A' }],
      slices: [{ track: 'a', name: 'x', start: 1000, duration: 2000, args: { n: 5 } }],
    });
    // A tag is field << 3 | wire type (0 varint, 2 length-delimited); fields from 16 on take two bytes.
    const expected = [
      // Trace.packet: sequence_id (10) 1, sequence_flags (13) 1, track_descriptor (60) = 482 = e2 03
      [0x0a, 0x12, 0x50, 1, 0x68, 1, 0xe2, 0x03, 0x0b],
      // uuid (1) 1, name (2) "A", child_ordering (11) 3, sibling_order_rank (12) 0, sibling_merge_behavior (15) 2
      [0x08, 1, 0x12, 1, 0x41, 0x58, 3, 0x60, 0, 0x78, 2],
      // timestamp (8) 1, sequence_id 1, track_event (11): type (9) 1, track_uuid (11) 1, name (23) "x" = ba 01
      [0x0a, 0x15, 0x40, 1, 0x50, 1, 0x5a, 0x0f, 0x48, 1, 0x58, 1, 0xba, 0x01, 1, 0x78],
      // debug_annotations (4): int_value (4) 5, name (10) "n"
      [0x22, 5, 0x20, 5, 0x52, 1, 0x6e],
      // timestamp 3, sequence_id 1, track_event: type 2, track_uuid 1
      [0x0a, 0x0a, 0x40, 3, 0x50, 1, 0x5a, 4, 0x48, 2, 0x58, 1],
    ].flat();
    expect([...bytes]).toEqual(expected);
  });
});

describe('properties', () => {
  /** Slices that follow or nest: cut [0, duration) into pieces, keep some, recurse into some. */
  const nested = (track: string): fc.Arbitrary<Slice[]> =>
    fc
      .array(
        fc.record({ gap: fc.nat(2500), duration: fc.nat(5000), inner: fc.option(fc.tuple(fc.nat(99), fc.nat(99))) }),
      )
      .map((pieces) => {
        let time = 0;
        return pieces.flatMap(({ gap, duration, inner }, i) => {
          const start = time + gap;
          time = start + duration;
          const outer = { track, name: `${i}`, start, duration };
          if (inner === null) return [outer];
          const from = Math.floor((duration * inner[0]) / 100);
          return [
            outer,
            { track, name: `${i}/0`, start: start + from, duration: Math.floor(((duration - from) * inner[1]) / 100) },
          ];
        });
      });

  test('every begin has its end, times never go back, and depth is that of the slices', () => {
    fc.assert(
      fc.property(nested('pe'), nested('dma'), fc.integer(), (a, b, seed) => {
        const slices = [...a, ...b];
        // A deterministic shuffle: the input may be in any order.
        const shuffled = slices.map((slice, i) => ({ slice, key: ((i + 1) * (seed | 1)) % 1009 }));
        shuffled.sort((x, y) => x.key - y.key);
        const packets = decode(writePerfetto({ tracks: core.tracks, slices: shuffled.map(({ slice }) => slice) }));
        const open = new Map<number, number[]>();
        let now = 0;
        let begins = 0;
        for (const { timestamp, event } of packets) {
          if (event === undefined) continue;
          expect(timestamp).toBeGreaterThanOrEqual(now);
          now = timestamp!;
          const stack = open.get(event.track!) ?? [];
          open.set(event.track!, stack);
          if (event.type === 1) {
            begins++;
            stack.push(now);
            expect(stack.length).toBeLessThanOrEqual(2);
          } else {
            expect(stack.pop()).toBeLessThanOrEqual(now);
          }
        }
        expect(begins).toBe(slices.length);
        expect([...open.values()].flat()).toEqual([]);
      }),
      { seed: 5 },
    );
  });

  test('the same timeline gives the same bytes', () => {
    expect(writePerfetto(structuredClone(core))).toEqual(writePerfetto(core));
  });
});

describe('errors', () => {
  const tracks = [{ id: 'a', name: 'A' }];
  const slice = { track: 'a', name: 'x', start: 0, duration: 10 };
  test.each<[Timeline, string]>([
    [{ tracks: [], slices: [] }, '"tracks" expected at least one track, got 0'],
    [{ tracks: [...tracks, ...tracks], slices: [] }, '"tracks[1].id" expected a new id, got "a" again'],
    [
      { tracks: [{ id: 'a', name: 'A', parent: 'a' }], slices: [] },
      '"tracks[0].parent" expected the id of an earlier track',
    ],
    [{ tracks, slices: [{ ...slice, track: 'b' }] }, '"slices[0].track" expected the id of a track, got "b"'],
    [{ tracks, slices: [{ ...slice, start: 0.5 }] }, '"slices[0].start" expected integer >= 0, got 0.5'],
    [{ tracks, slices: [{ ...slice, duration: -1 }] }, '"slices[0].duration" expected integer'],
    [
      { tracks, slices: [{ ...slice, args: { f: Number.NaN } }] },
      '"slices[0].args.f" expected a string or a finite number, got NaN',
    ],
    [
      { tracks, slices: [slice, { ...slice, name: 'y', start: 5 }] },
      '"slices" expected slices of track "a" to nest or follow, got "y" (5..15 ps) across the end of "x" (0..10 ps)',
    ],
    [
      { tracks, slices: [], counters: [{ name: 'c', samples: [{ time: 0, value: Infinity }] }] },
      '"counters[0].samples[0].value" expected a finite number, got Infinity',
    ],
    [
      { tracks, slices: [], counters: [{ name: 'c', parent: 'z', samples: [] }] },
      '"counters[0].parent" expected the id',
    ],
  ])('%j is refused', (timeline, message) => {
    expect(() => writePerfetto(timeline)).toThrow(message);
  });
});
