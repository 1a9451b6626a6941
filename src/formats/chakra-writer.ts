/**
 * Writes Chakra execution traces: the inverse of `readChakra`, with nothing lost (tested both ways).
 *
 * Zeros and empty texts are left out and lists of numbers packed, as proto3 does, so the bytes equal those of the
 * official protobuf library for the same nodes. gzip is the caller's.
 * see: mlcommons/chakra schema/protobuf/et_def.proto, src/third_party/utils/protolib.py
 */
import {
  ATTRIBUTE,
  CHAKRA_NODE_TYPES,
  type ChakraAttribute,
  type ChakraKind,
  type ChakraNode,
  type ChakraOperands,
  type ChakraScalar,
  type ChakraTrace,
  isOldChakra,
  KIND_WIRE,
  KINDS,
  METADATA,
  NODE,
} from './chakra.ts';
import { ProtobufWriter, WIRE } from './protobuf.ts';

const utf8 = new TextEncoder();

function writeScalar(kind: ChakraKind, value: ChakraScalar, writer: ProtobufWriter): void {
  const integer = value as number | bigint;
  switch (kind) {
    case 'double':
      writer.word(8, (view) => view.setFloat64(0, value as number, true));
      break;
    case 'float':
      writer.word(4, (view) => view.setFloat32(0, value as number, true));
      break;
    case 'int32':
    case 'int64':
    case 'uint32':
    case 'uint64':
      writer.varint(integer);
      break;
    case 'sint32':
    case 'sint64': {
      const wide = BigInt(integer);
      writer.varint((wide << 1n) ^ (wide >> 63n));
      break;
    }
    case 'fixed32':
      writer.word(4, (view) => view.setUint32(0, value as number, true));
      break;
    case 'sfixed32':
      writer.word(4, (view) => view.setInt32(0, value as number, true));
      break;
    case 'fixed64':
    case 'sfixed64':
      writer.word(8, (view) => view.setBigInt64(0, BigInt(integer), true));
      break;
    case 'bool':
      writer.varint(value === true ? 1 : 0);
      break;
    case 'string':
      writer.delimited(utf8.encode(value as string));
      break;
    case 'bytes':
      writer.delimited(value as Uint8Array);
      break;
  }
}

function message(write: (writer: ProtobufWriter) => void): Uint8Array {
  const writer = new ProtobufWriter();
  write(writer);
  return writer.finish();
}

function writeBytes(field: number, bytes: Uint8Array, writer: ProtobufWriter): void {
  writer.tag(field, WIRE.bytes);
  writer.delimited(bytes);
}

function writeText(field: number, text: string, writer: ProtobufWriter): void {
  if (text !== '') writeBytes(field, utf8.encode(text), writer);
}

function writeCount(field: number, value: number, writer: ProtobufWriter): void {
  if (value === 0) return;
  writer.tag(field, WIRE.varint);
  writer.varint(value);
}

function writeAttribute({ name, kind, value }: ChakraAttribute, writer: ProtobufWriter): void {
  const field = ATTRIBUTE.firstKind + 2 * KINDS.indexOf(kind);
  const wire = KIND_WIRE[kind];
  writeText(ATTRIBUTE.name, name, writer);
  if (value === null) return;
  if (!Array.isArray(value)) {
    writer.tag(field, wire);
    writeScalar(kind, value as ChakraScalar, writer);
    return;
  }
  const list = message((inner) => {
    if (wire !== WIRE.bytes) {
      const packed = message((values) => {
        for (const one of value) writeScalar(kind, one, values);
      });
      writeBytes(1, packed, inner);
      return;
    }
    for (const one of value) {
      inner.tag(1, wire);
      writeScalar(kind, one, inner);
    }
  });
  writeBytes(field + 1, list, writer);
}

function writeOperands({ values, shapes, types }: ChakraOperands, writer: ProtobufWriter): void {
  writeText(1, values, writer);
  writeText(2, shapes, writer);
  writeText(3, types, writer);
}

function writeNode(node: ChakraNode, writer: ProtobufWriter): void {
  const packed = (ids: readonly number[]) =>
    message((inner) => {
      for (const id of ids) inner.varint(id);
    });
  writeCount(NODE.id, node.id, writer);
  writeText(NODE.name, node.name, writer);
  writeCount(NODE.type, CHAKRA_NODE_TYPES.indexOf(node.type), writer);
  if (node.controlDependencies.length > 0) writeBytes(NODE.control, packed(node.controlDependencies), writer);
  if (node.dataDependencies.length > 0) writeBytes(NODE.data, packed(node.dataDependencies), writer);
  writeCount(NODE.start, node.startMicros, writer);
  writeCount(NODE.duration, node.durationMicros, writer);
  const { inputs, outputs } = node;
  if (inputs !== undefined)
    writeBytes(
      NODE.inputs,
      message((inner) => writeOperands(inputs, inner)),
      writer,
    );
  if (outputs !== undefined)
    writeBytes(
      NODE.outputs,
      message((inner) => writeOperands(outputs, inner)),
      writer,
    );
  for (const attribute of node.attributes) {
    writeBytes(
      NODE.attr,
      message((inner) => writeAttribute(attribute, inner)),
      writer,
    );
  }
}

/** The bytes of an `.et` file; `readChakra` gives the trace back. A trace of an old schema becomes one of 0.0.4. */
export function writeChakra(trace: ChakraTrace): Uint8Array {
  const writer = new ProtobufWriter();
  const metadata = message((inner) => {
    writeText(METADATA.version, isOldChakra(trace.version) ? '0.0.4' : trace.version, inner);
    for (const attribute of trace.attributes) {
      writeBytes(
        METADATA.attributes,
        message((one) => writeAttribute(attribute, one)),
        inner,
      );
    }
  });
  writer.delimited(metadata);
  for (const node of trace.nodes) writer.delimited(message((inner) => writeNode(node, inner)));
  return writer.finish();
}
