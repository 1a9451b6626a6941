/**
 * Neuron Explorer's profile format: a set of Parquet tables, one file each, which the tool's viewer and any Parquet reader
 * open. A simulated profile says so (`Metadata.is_simulation`) and can be laid beside a captured one.
 *
 * see: Neuron SDK 2.31, tools/neuron-explorer/profile-schema-reference.rst, schema 7.4.0.
 */
import { type BasicType, parquetWriteBuffer } from 'hyparquet-writer/src/index.js';
import type { NeuronProfile } from './neuron-profile/profile.ts';
import { type Field, type FieldType, TABLES, type TableName } from './neuron-profile/schema.ts';
import { type ProfileRow, profileTables } from './neuron-profile/tables.ts';

const PARQUET_TYPES: Readonly<Record<FieldType, BasicType>> = {
  int64: 'INT64',
  int32: 'INT32',
  float: 'FLOAT',
  string: 'STRING',
  boolean: 'BOOLEAN',
};

/** The files of a profile, `Instruction.parquet` and so on, to be written into one folder. */
export function writeNeuronProfile(profile: NeuronProfile): Record<string, Uint8Array> {
  const tables = Object.entries(profileTables(profile)) as [TableName, readonly ProfileRow[]][];
  return Object.fromEntries(tables.map(([name, rows]) => [`${name}.parquet`, writeTable(name, rows)]));
}

function writeTable(name: TableName, rows: readonly ProfileRow[]): Uint8Array {
  const columnData = TABLES[name].fields.map((field) => ({
    name: field.name,
    type: PARQUET_TYPES[field.type],
    nullable: !field.isRequired,
    data: rows.map((row) => cell(field, row[field.name] ?? null)),
  }));
  return new Uint8Array(parquetWriteBuffer({ columnData, createdBy: 'trnsim' }));
}

function cell({ type }: Field, value: string | number | boolean | null): string | number | bigint | boolean | null {
  return type === 'int64' && typeof value === 'number' ? BigInt(Math.round(value)) : value;
}
