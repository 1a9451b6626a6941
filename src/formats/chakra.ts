/**
 * Chakra execution traces (`PREFIX.RANK.et`): the operators of one rank and what each waits for.
 *
 *     file = repeated ( varint length | message ), the first message GlobalMetadata, the rest Node
 *
 * Not one enclosing message, so a file is read in one pass. Attributes keep their kind and 64-bit values stay exact:
 * what is read can be written again without loss. Unknown fields are skipped, as protobuf asks.
 * gzip is the caller's: a compressed file is refused with a sentence, since the library has no inflater of its own.
 * Traces of schema 0.0.1 to 0.0.3 numbered some collectives and node types otherwise; `version` decides, and the
 * reader turns both into today's. Their other message layout (proto2) is left out.
 * see: mlcommons/chakra schema/protobuf/et_def.proto, src/third_party/utils/protolib.py
 */
import { ModelError } from '../base/errors.ts';
import { ProtobufReader, WIRE } from './protobuf.ts';

export const CHAKRA_NODE_TYPES = [
  'INVALID',
  'METADATA',
  'MEM_LOAD',
  'MEM_STORE',
  'COMP',
  'COMM_SEND',
  'COMM_RECV',
  'COMM_COLL',
] as const;
export type ChakraNodeType = (typeof CHAKRA_NODE_TYPES)[number];

export const CHAKRA_COLLECTIVES = [
  'ALL_REDUCE',
  'REDUCE',
  'ALL_GATHER',
  'GATHER',
  'SCATTER',
  'BROADCAST',
  'ALL_TO_ALL',
  'REDUCE_SCATTER',
  'REDUCE_SCATTER_BLOCK',
  'BARRIER',
] as const;
export type ChakraCollective = (typeof CHAKRA_COLLECTIVES)[number];

/** Collectives by `comm_type` before schema 0.0.4; 0.0.1 counted from 1. */
const OLD_COLLECTIVES: readonly ChakraCollective[] = ['ALL_REDUCE', 'ALL_TO_ALL', 'ALL_GATHER', 'REDUCE_SCATTER'];

export type ChakraScalar = number | bigint | boolean | string | Uint8Array;

/** In the order of their field numbers: kind i is field 2i + 3, the list of it 2i + 4. */
export const KINDS = [
  'double',
  'float',
  'int32',
  'int64',
  'uint32',
  'uint64',
  'sint32',
  'sint64',
  'fixed32',
  'fixed64',
  'sfixed32',
  'sfixed64',
  'bool',
  'string',
  'bytes',
] as const;
export type ChakraKind = (typeof KINDS)[number];

export interface ChakraAttribute {
  readonly name: string;
  readonly kind: ChakraKind;
  /** null: only a name, which some writers leave where they had an empty list. */
  readonly value: ChakraScalar | readonly ChakraScalar[] | null;
}

/** Operands as PyTorch writes them: JSON-like text. */
export interface ChakraOperands {
  readonly values: string;
  readonly shapes: string;
  readonly types: string;
}

export interface ChakraNode {
  readonly id: number;
  readonly name: string;
  readonly type: ChakraNodeType;
  readonly controlDependencies: readonly number[];
  readonly dataDependencies: readonly number[];
  readonly startMicros: number;
  readonly durationMicros: number;
  readonly attributes: readonly ChakraAttribute[];
  readonly inputs?: ChakraOperands;
  readonly outputs?: ChakraOperands;
}

export interface ChakraTrace {
  /** Of the schema; '' if the file does not say. */
  readonly version: string;
  readonly attributes: readonly ChakraAttribute[];
  readonly nodes: readonly ChakraNode[];
}

/** The attribute called `name`, the first if there are several. */
export function chakraAttribute(node: ChakraNode, name: string): ChakraAttribute | undefined {
  return node.attributes.find((attribute) => attribute.name === name);
}

/** Schemas whose numbers differ from 0.0.4's. */
export function isOldChakra(version: string): boolean {
  return ['0.0.1', '0.0.2', '0.0.3'].includes(version);
}

/** An attribute of a trace of an old schema in today's numbers. */
function modernise(attribute: ChakraAttribute, version: string): ChakraAttribute {
  if (attribute.name !== 'comm_type' || !isOldChakra(version)) return attribute;
  const old = OLD_COLLECTIVES[Number(attribute.value) - (version === '0.0.1' ? 1 : 0)];
  return { ...attribute, value: old === undefined ? -1 : CHAKRA_COLLECTIVES.indexOf(old) };
}

// Field numbers of the messages, by the names of et_def.proto.
export const ATTRIBUTE = { name: 1, firstKind: 3 } as const;
export const METADATA = { version: 1, attributes: 2 } as const;
export const NODE = {
  id: 1,
  name: 2,
  type: 3,
  control: 4,
  data: 5,
  start: 6,
  duration: 7,
  inputs: 8,
  outputs: 9,
  attr: 10,
} as const;

/** How the fields of a node are written; dependencies, packed or not, are not listed. */
const NODE_WIRE: Readonly<Record<number, number>> = {
  [NODE.id]: WIRE.varint,
  [NODE.name]: WIRE.bytes,
  [NODE.type]: WIRE.varint,
  [NODE.start]: WIRE.varint,
  [NODE.duration]: WIRE.varint,
  [NODE.inputs]: WIRE.bytes,
  [NODE.outputs]: WIRE.bytes,
  [NODE.attr]: WIRE.bytes,
};

export const KIND_WIRE: Readonly<Record<ChakraKind, number>> = {
  double: WIRE.fixed64,
  float: WIRE.fixed32,
  int32: WIRE.varint,
  int64: WIRE.varint,
  uint32: WIRE.varint,
  uint64: WIRE.varint,
  sint32: WIRE.varint,
  sint64: WIRE.varint,
  fixed32: WIRE.fixed32,
  fixed64: WIRE.fixed64,
  sfixed32: WIRE.fixed32,
  sfixed64: WIRE.fixed64,
  bool: WIRE.varint,
  string: WIRE.bytes,
  bytes: WIRE.bytes,
};

function readScalar(kind: ChakraKind, reader: ProtobufReader): ChakraScalar {
  switch (kind) {
    case 'double':
      return reader.double();
    case 'float':
      return reader.float();
    case 'int32':
    case 'int64':
      return reader.signed();
    case 'uint32':
    case 'uint64':
      return reader.unsigned();
    case 'sint32':
    case 'sint64':
      return reader.zigzag();
    case 'fixed32':
      return reader.fixed32();
    case 'fixed64':
      return reader.fixed64();
    case 'sfixed32':
      return reader.sfixed32();
    case 'sfixed64':
      return reader.sfixed64();
    case 'bool':
      return Number(reader.unsigned()) !== 0;
    case 'string':
      return reader.string();
    case 'bytes':
      return reader.bytes();
  }
}

function readAttribute(reader: ProtobufReader): ChakraAttribute {
  let name = '';
  let kind: ChakraKind = 'bytes';
  let value: ChakraScalar | ChakraScalar[] | null = null;
  reader.message(() => {
    while (reader.next()) {
      const index = reader.field - ATTRIBUTE.firstKind;
      const read = KINDS[index >> 1];
      if (reader.field === ATTRIBUTE.name) name = reader.string();
      else if (read === undefined) reader.skip();
      else {
        kind = read;
        if (index % 2 === 0) {
          reader.expectWire(KIND_WIRE[kind]);
          value = readScalar(kind, reader);
        } else value = readList(kind, reader);
      }
    }
  });
  return { name, kind, value };
}

function readList(kind: ChakraKind, reader: ProtobufReader): ChakraScalar[] {
  const values: ChakraScalar[] = [];
  const one = () => readScalar(kind, reader);
  reader.expectWire(WIRE.bytes);
  reader.message(() => {
    while (reader.next()) {
      if (reader.field === 1) reader.repeated(KIND_WIRE[kind], values, one);
      else reader.skip();
    }
  });
  return values;
}

function readOperands(reader: ProtobufReader): ChakraOperands {
  const texts = ['', '', ''];
  reader.message(() => {
    while (reader.next()) {
      if (reader.field >= 1 && reader.field <= 3) texts[reader.field - 1] = reader.string();
      else reader.skip();
    }
  });
  return { values: texts[0]!, shapes: texts[1]!, types: texts[2]! };
}

/** An id, a time or an enumeration: all of them fit a double in every trace that makes sense. */
function readCount(reader: ProtobufReader): number {
  const value = reader.unsigned();
  return typeof value === 'number' ? value : reader.fail(`expected an integer below 2^53, got ${value}`);
}

function readNode(reader: ProtobufReader, version: string): ChakraNode {
  // Protobuf leaves zeros out: an absent id is 0.
  let id = 0;
  let name = '';
  let type = 0;
  let startMicros = 0;
  let durationMicros = 0;
  let inputs: ChakraOperands | undefined;
  let outputs: ChakraOperands | undefined;
  const controlDependencies: number[] = [];
  const dataDependencies: number[] = [];
  const attributes: ChakraAttribute[] = [];
  const count = () => readCount(reader);
  while (reader.next()) {
    const { field } = reader;
    const wire = NODE_WIRE[field];
    if (wire !== undefined) reader.expectWire(wire);
    if (field === NODE.id) id = count();
    else if (field === NODE.name) name = reader.string();
    else if (field === NODE.type) type = count();
    else if (field === NODE.control) reader.repeated(WIRE.varint, controlDependencies, count);
    else if (field === NODE.data) reader.repeated(WIRE.varint, dataDependencies, count);
    else if (field === NODE.start) startMicros = count();
    else if (field === NODE.duration) durationMicros = count();
    else if (field === NODE.inputs) inputs = readOperands(reader);
    else if (field === NODE.outputs) outputs = readOperands(reader);
    else if (field === NODE.attr) attributes.push(modernise(readAttribute(reader), version));
    else reader.skip();
  }
  // Until 0.0.2 there was no METADATA.
  const shift = type > 0 && (version === '0.0.1' || version === '0.0.2') ? 1 : 0;
  const named = CHAKRA_NODE_TYPES[type + shift];
  if (named === undefined) reader.fail(`expected a node type in 0..7, got ${type} in node ${id} ("${name}")`);
  return {
    id,
    name,
    type: named,
    controlDependencies,
    dataDependencies,
    startMicros,
    durationMicros,
    attributes,
    ...(inputs !== undefined && { inputs }),
    ...(outputs !== undefined && { outputs }),
  };
}

/**
 * The trace in the bytes of one `.et` file. `path` names the file in errors.
 * @throws ModelError CONFIG that says what is wrong at which byte: a truncated varint, a length beyond the end, an
 * unknown node type, a compressed or an empty file
 */
export function readChakra(bytes: Uint8Array, path: string): ChakraTrace {
  if (bytes.length === 0) throw new ModelError('CONFIG', path, 'expected a Chakra trace, got an empty file');
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    throw new ModelError('CONFIG', path, 'expected a Chakra trace, got gzip: decompress it first');
  }
  const reader = new ProtobufReader(bytes, path);
  let version = '';
  const attributes: ChakraAttribute[] = [];
  reader.message(() => {
    while (reader.next()) {
      if (reader.field === METADATA.version) version = reader.string();
      else if (reader.field === METADATA.attributes) attributes.push(readAttribute(reader));
      else reader.skip();
    }
  });
  const nodes: ChakraNode[] = [];
  while (reader.at < reader.end) reader.message(() => nodes.push(readNode(reader, version)));
  return { version, attributes, nodes };
}
