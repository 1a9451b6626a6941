/** Chakra traces: the bytes by hand, round trips, and what broken files are told. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ChakraAttribute,
  type ChakraKind,
  chakraAttribute,
  ModelError,
  readChakra,
  writeChakra,
} from '../src/replay.ts';
import { chakraNode, chakraTrace } from './fixtures/chakra.ts';

/** Bytes of a file: numbers are bytes, texts their characters. */
function bytes(...parts: (number | string)[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => (typeof part === 'number' ? [part] : [...Buffer.from(part)])));
}

/** A message behind its length, below 128 bytes. */
const framed = (...parts: (number | string)[]) => [bytes(...parts).length, ...bytes(...parts)];
const METADATA = framed(0x0a, 5, '0.0.4');

describe('reading', () => {
  test('a node by hand: id, name, type, packed and unpacked dependencies, an attribute', () => {
    const attribute = framed(0x0a, 9, 'comm_type', 0x48, 7); // name = 1; int64 = field 9
    const node = framed(0x08, 3, 0x12, 2, 'rs', 0x18, 7, 0x22, 2, 1, 2, 0x28, 1, 0x28, 2, 0x52, ...attribute);
    const trace = readChakra(bytes(...METADATA, ...node), 'x.et');
    expect(trace.version).toBe('0.0.4');
    expect(trace.nodes).toEqual([
      {
        ...chakraNode(3, { name: 'rs', type: 'COMM_COLL', controlDependencies: [1, 2], dataDependencies: [1, 2] }),
        attributes: [{ name: 'comm_type', kind: 'int64', value: 7 }],
      },
    ]);
  });

  test('what protobuf leaves out is zero: id, type, name, version', () => {
    const trace = readChakra(bytes(0, 0), 'x.et');
    expect(trace.version).toBe('');
    expect(trace.nodes).toEqual([chakraNode(0, { name: '', type: 'INVALID' })]);
  });

  test('a negative int64 is negative, and 2^63 stays exact', () => {
    const minusOne = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    const large = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    const attributes = [...framed(0x0a, 1, 'a', 0x48, ...minusOne)];
    const other = [...framed(0x0a, 1, 'b', 0x68, ...large)]; // uint64 = field 13
    const { nodes } = readChakra(bytes(...METADATA, ...framed(0x52, ...attributes, 0x52, ...other)), 'x.et');
    expect(chakraAttribute(nodes[0]!, 'a')?.value).toBe(-1);
    expect(chakraAttribute(nodes[0]!, 'b')?.value).toBe(2n ** 63n);
  });

  test('unknown fields of every wire type are skipped', () => {
    const unknown = [0xf8, 0x07, 1, 0xf9, 0x07, 1, 2, 3, 4, 5, 6, 7, 8, 0xfa, 0x07, 1, 9, 0xfd, 0x07, 1, 2, 3, 4];
    const { nodes } = readChakra(bytes(...METADATA, ...framed(...unknown, 0x08, 5)), 'x.et');
    expect(nodes[0]!.id).toBe(5);
  });

  test('old schemas numbered collectives and nodes otherwise', () => {
    const node = (code: number, type: number) => framed(0x18, type, 0x52, ...framed(0x0a, 9, 'comm_type', 0x48, code));
    const read = (version: string, code: number, type: number) => {
      const { nodes } = readChakra(bytes(...framed(0x0a, 5, version), ...node(code, type)), 'x.et');
      return [nodes[0]!.type, chakraAttribute(nodes[0]!, 'comm_type')?.value];
    };
    expect(read('0.0.4', 2, 7)).toEqual(['COMM_COLL', 2]); // all-gather
    expect(read('0.0.3', 2, 7)).toEqual(['COMM_COLL', 2]);
    expect(read('0.0.3', 3, 7)).toEqual(['COMM_COLL', 7]); // reduce-scatter
    expect(read('0.0.1', 2, 6)).toEqual(['COMM_COLL', 6]); // all-to-all
  });

  test('a real trace is written back byte for byte', () => {
    const file = gunzipSync(readFileSync(new URL('../data/validation/astra/gpt_fsdp64_16l.et.gz', import.meta.url)));
    const trace = readChakra(file, 'x.et');
    expect(trace.nodes.length).toBe(558);
    expect(Buffer.compare(writeChakra(trace), file)).toBe(0);
  });
});

describe('what broken files are told', () => {
  const refuses = (file: Uint8Array, message: string) => {
    expect(() => readChakra(file, 'dir/x.0.et')).toThrow(ModelError);
    expect(() => readChakra(file, 'dir/x.0.et')).toThrow(`dir/x.0.et: ${message}`);
  };

  test('an empty file', () => refuses(bytes(), 'expected a Chakra trace, got an empty file'));
  test('gzip', () => refuses(bytes(0x1f, 0x8b, 8), 'expected a Chakra trace, got gzip: decompress it first'));
  test('a varint that the file cuts off', () => refuses(bytes(...METADATA, 0x80), 'truncated varint at byte 8'));
  test('a varint that goes on for ever', () =>
    refuses(bytes(...new Array(20).fill(0x80)), 'expected a varint of at most 10 bytes at byte 0'));
  test('a length of 10 GB', () =>
    refuses(
      bytes(...METADATA, 0x80, 0xc8, 0xaf, 0xa0, 0x25),
      'expected at most 0 more bytes, got a length of 10000000000 at byte 13',
    ));
  test('a node type that is none', () =>
    refuses(bytes(...METADATA, ...framed(0x08, 4, 0x18, 9)), 'expected a node type in 0..7, got 9 in node 4 ("")'));
  test('a length within a message that points beyond it', () =>
    refuses(bytes(...METADATA, 3, 0x12, 50, 0x61, 0x61), 'expected at most 1 more bytes, got a length of 50'));
  test('a field written in another way', () =>
    refuses(bytes(...METADATA, ...framed(0x0a, 1, 0x61)), 'expected wire type 0 of field 1, got 2'));
});

const KIND_VALUES: Record<ChakraKind, fc.Arbitrary<number | bigint | boolean | string | Uint8Array>> = {
  double: fc.double({ noNaN: true }),
  float: fc.float({ noNaN: true }),
  int32: fc.integer(),
  int64: fc.maxSafeInteger(),
  uint32: fc.nat(),
  uint64: fc.maxSafeNat(),
  sint32: fc.integer(),
  sint64: fc.maxSafeInteger(),
  fixed32: fc.nat(),
  fixed64: fc.maxSafeNat(),
  sfixed32: fc.integer(),
  sfixed64: fc.maxSafeInteger(),
  bool: fc.boolean(),
  string: fc.string(),
  bytes: fc.uint8Array(),
};
const attributes = fc.constantFrom(...(Object.keys(KIND_VALUES) as ChakraKind[])).chain((kind) =>
  fc.record({
    name: fc.string(),
    kind: fc.constant(kind),
    value: fc.oneof(KIND_VALUES[kind], fc.array(KIND_VALUES[kind], { minLength: 1, maxLength: 4 })),
  }),
) as fc.Arbitrary<ChakraAttribute>;
const nodes = fc.record({
  id: fc.maxSafeNat(),
  name: fc.string(),
  type: fc.constantFrom('INVALID', 'METADATA', 'MEM_LOAD', 'MEM_STORE', 'COMP', 'COMM_SEND', 'COMM_RECV', 'COMM_COLL'),
  controlDependencies: fc.array(fc.maxSafeNat()),
  dataDependencies: fc.array(fc.maxSafeNat()),
  startMicros: fc.maxSafeNat(),
  durationMicros: fc.maxSafeNat(),
  attributes: fc.array(attributes),
});

describe('properties', () => {
  test('what is written is read again', () => {
    fc.assert(
      fc.property(fc.array(nodes, { maxLength: 5 }), (list) => {
        const trace = chakraTrace(list as Parameters<typeof chakraTrace>[0]);
        expect(readChakra(writeChakra(trace), 'x.et')).toEqual(trace);
      }),
    );
  });

  test('64-bit values that a double cannot hold survive', () => {
    for (const [kind, value] of [
      ['uint64', 2n ** 64n - 1n],
      ['int64', -(2n ** 63n)],
      ['sint64', -(2n ** 63n)],
      ['fixed64', 2n ** 64n - 1n],
    ] as const) {
      const trace = chakraTrace([chakraNode(1, { attributes: [{ name: 'x', kind, value }] })]);
      expect(readChakra(writeChakra(trace), 'x.et')).toEqual(trace);
    }
  });

  test('a file that is cut off or has a bit turned gives a trace or a ModelError, nothing else', () => {
    const file = gunzipSync(readFileSync(new URL('../data/validation/astra/gpt_dp4tp4_8l.et.gz', import.meta.url)));
    const survives = (broken: Uint8Array) => {
      try {
        readChakra(broken, 'x.et');
      } catch (error) {
        if (!(error instanceof ModelError)) throw error;
      }
    };
    fc.assert(
      fc.property(fc.nat(file.length), (length) => survives(file.subarray(0, length))),
      { numRuns: 200 },
    );
    fc.assert(
      fc.property(fc.nat(2000), fc.nat(7), (at, bit) => {
        const broken = Uint8Array.from(file.subarray(0, 4000));
        broken[at]! ^= 1 << bit;
        survives(broken);
      }),
      { numRuns: 500 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), survives), { numRuns: 500 });
  });
});
