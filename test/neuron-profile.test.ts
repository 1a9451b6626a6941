/** Profiles of tile programs: the Parquet tables read back by another library, their sums, and the Perfetto timeline. */
import { parquetMetadata, parquetReadObjects } from 'hyparquet';
import { describe, expect, test } from 'vitest';
import {
  block,
  findChip,
  type NeuronProfile,
  type Program,
  profileProgram,
  profileTables,
  profileTimeline,
  tileProgram,
  writeNeuronProfile,
  writePerfetto,
} from '../src/index.ts';

const core = findChip('trn2').core!;

/** Two tiles of 128 x 256: loaded, multiplied, squared with a sum, stored. */
function sample(): Program {
  return tileProgram('sample', core, (nc) => {
    const [x, w, y] = [
      nc.input('x', 'bf16', [256, 128]),
      nc.input('w', 'bf16', [128, 256]),
      nc.output('y', 'bf16', [256, 256]),
    ];
    const weights = nc.sbuf('weights', 'bf16', 128, 256);
    const tile = nc.sbuf('tile', 'bf16', 128, 128, { slots: 2 });
    const result = nc.sbuf('result', 'bf16', 128, 256, { slots: 2 });
    const sum = nc.psum('sum', 128, 256, { slots: 2 });
    nc.dmaCopy(weights, block(w, [0, 128], [0, 256]));
    nc.loop(2, (i) => {
      nc.dmaCopy(tile.slot(i), block(x, [i.times(128), 128], [0, 128]));
      nc.matmul(sum.slot(i), tile.slot(i), weights);
      nc.activation(result.slot(i), 'square', sum.slot(i));
      nc.dmaCopy(block(y, [i.times(128), 128], [0, 256]), result.slot(i));
    });
  });
}

const profile = profileProgram(sample(), { instanceType: 'trn2.48xlarge' });

async function readBack(name: string, of: NeuronProfile = profile): Promise<Record<string, unknown>[]> {
  const { buffer } = writeNeuronProfile(of)[`${name}.parquet`]!;
  return (await parquetReadObjects({ file: buffer as ArrayBuffer })) as Record<string, unknown>[];
}

describe('the tables', () => {
  test('are one Parquet file each, with all columns also where there is no row', () => {
    const files = writeNeuronProfile(profile);
    expect(Object.keys(files).sort()).toEqual(
      [
        'ActiveTime',
        'CcOp',
        'DmaPacketAggregated',
        'Flow',
        'HbmUsage',
        'Instruction',
        'Metadata',
        'OpcodeSummary',
        'PsumUsage',
        'SbufUsage',
        'SchemaFields',
        'SemaphoreUpdate',
        'Summary',
        'Throttle',
      ].map((name) => `${name}.parquet`),
    );
    const { schema, num_rows } = parquetMetadata(files['CcOp.parquet']!.buffer as ArrayBuffer);
    expect(num_rows).toBe(0n);
    expect(schema.map(({ name }) => name)).toContain('bus_bandwidth');
    const start = parquetMetadata(files['Instruction.parquet']!.buffer as ArrayBuffer).schema.find(
      ({ name }) => name === 'start_ts',
    );
    expect(start).toMatchObject({ type: 'INT64', repetition_type: 'REQUIRED' });
  });

  test('the same profile gives the same bytes', () => {
    expect(writeNeuronProfile(profileProgram(sample(), { instanceType: 'trn2.48xlarge' }))).toEqual(
      writeNeuronProfile(profile),
    );
  });

  test('what is read back is what was written, in every table', async () => {
    for (const [name, rows] of Object.entries(profileTables(profile))) {
      const read = await readBack(name);
      expect(read.length).toBe(rows.length);
      for (const [i, row] of rows.entries()) {
        for (const [key, value] of Object.entries(row)) {
          const stored = read[i]![key];
          if (typeof value === 'number' && typeof stored === 'bigint') expect(Number(stored)).toBe(value);
          else if (typeof value === 'number') expect(stored).toBe(Math.fround(value));
          else expect(stored ?? null).toBe(value);
        }
      }
    }
  });

  test('say that they are a simulation, and of which core', async () => {
    const [metadata] = await readBack('Metadata');
    expect(metadata).toMatchObject({
      profile_schema_version: '7.4.0',
      is_simulation: true,
      instance_type: 'trn2.48xlarge',
      profile_name: 'sample',
      tensor_engine_num_rows: 128n,
      num_dma_engines_per_neuroncore: 16,
    });
    expect(metadata!.tensor_engine_clock_freq).toBeCloseTo(2.4, 6);
  });

  test('instructions carry their engine, work and bytes', async () => {
    const rows = await readBack('Instruction');
    expect(rows.map(({ engine, opcode }) => `${engine} ${opcode}`)).toEqual([
      'tensor MATMUL',
      'scalar ACTIVATE',
      'tensor MATMUL',
      'scalar ACTIVATE',
    ]);
    const [matmul, activate] = rows;
    expect(matmul).toMatchObject({
      raw_flops: BigInt(2 * 128 * 128 * 256),
      tensor_instruction_type: 'REGULAR',
      sbuf_read_bytes: BigInt(2 * 128 * (128 + 256)),
      psum_write_bytes: BigInt(4 * 128 * 256),
    });
    expect(activate).toMatchObject({
      scalar_activation_fn: 'SQUARE',
      psum_read_sbuf_write_bytes: BigInt(2 * 128 * 256),
    });
    for (const { start_ts, end_ts, duration_ns } of rows)
      expect(duration_ns).toBe((end_ts as bigint) - (start_ts as bigint));
  });

  test('transfers name queue, tensor and both sides', async () => {
    const rows = await readBack('DmaPacketAggregated');
    expect(rows.map(({ variable, op, queue_type }) => `${variable} ${op} ${queue_type}`)).toEqual([
      'w read input',
      'x read input',
      'y write output',
      'x read input',
      'y write output',
    ]);
    expect(rows[0]).toMatchObject({
      transfer_bytes: BigInt(2 * 128 * 256),
      source: '[HBM]',
      dest: '[SB]',
      write_sbuf_partitions: '0-127',
      read_shape: '[128, 256]',
      read_steps: '[512, 2]',
    });
  });

  test('flows join what wrote an operand to what reads it', async () => {
    const flows = (await readBack('Flow')).map(({ in_id, out_id, in_table }) => `${in_id} ${in_table} ${out_id}`);
    // 0: load w; 1, 5: load x; 2, 6: matmul; 3, 7: square; 4, 8: store.
    expect(flows).toEqual([
      '1 dma_block 2',
      '0 dma_block 2',
      '2 instruction 3',
      '3 instruction 4',
      '5 dma_block 6',
      '0 dma_block 6',
      '6 instruction 7',
      '7 instruction 8',
    ]);
  });

  test('semaphores rise by one for each result that another engine or queue reads', async () => {
    const rows = await readBack('SemaphoreUpdate');
    expect(rows.length).toBe(7);
    const tensor = rows.filter(({ update_source }) => update_source === 'Tensor');
    expect(tensor.map(({ value }) => value)).toEqual([1, 2]);
    const times = rows.map(({ timestamp }) => timestamp as bigint);
    expect(times).toEqual([...times].sort((a, b) => Number(a - b)));
  });

  test('the summary follows from the instructions by the formulas of the schema', async () => {
    const [summary] = await readBack('Summary');
    const seconds = profile.time / 1e12;
    const flops = 2 * 2 * 128 * 128 * 256;
    expect(summary!.hardware_flops).toBe(BigInt(flops));
    expect(summary!.mfu_estimated_percent).toBeCloseTo((100 * flops) / (2 * 128 * 128 * 2.4e9 * seconds), 3);
    const bytes = 2 * (128 * 256 + 256 * 128 + 256 * 256);
    expect(summary!.hbm_read_bytes).toBe(BigInt(2 * (128 * 256 + 256 * 128)));
    expect(summary!.mbu_estimated_percent).toBeCloseTo((100 * bytes) / (core.dma!.bandwidth * seconds), 3);
    expect(summary!.tensor_engine_instruction_count).toBe(2n);
    expect(Number(summary!.tensor_engine_active_time)).toBeLessThanOrEqual(Math.fround(seconds));
  });

  test('HBM traffic ends at the bytes moved, SBUF and PSUM fill to what is in use', async () => {
    const hbm = await readBack('HbmUsage');
    expect(hbm.at(-1)).toMatchObject({
      total_transfer_bytes: BigInt(2 * (128 * 256 + 256 * 128 + 256 * 256)),
      current_throughput: 0,
    });
    const sbuf = (await readBack('SbufUsage')).map(
      ({ partition_96_util_percent }) => partition_96_util_percent as number,
    );
    // Weights 512 B, tiles 2 x 256 B, results 2 x 512 B of 196,608 or more bytes per partition.
    const most = (100 * (512 + 512 + 1024)) / (core.sbuf! / 128);
    expect(Math.max(...sbuf)).toBeLessThanOrEqual(Math.fround(most) * (1 + 1e-6));
    expect(Math.max(...sbuf)).toBeGreaterThan(most / 2);
    expect(sbuf.at(-1)).toBeCloseTo(0, 5);
    const psum = await readBack('PsumUsage');
    expect(Math.max(...psum.map(({ bank_0_util_percent }) => bank_0_util_percent as number))).toBe(100);
    expect(psum.every(({ bank_2_util_percent }) => bank_2_util_percent === 0)).toBe(true);
  });

  test('collectives and throttling come from whoever has them', async () => {
    const extended: NeuronProfile = {
      ...profile,
      collectives: [
        {
          ...{ start: 0, end: 2_000_000, operation: 'AllReduce', algorithm: 'Ring', elements: 1024, dtype: 'bf16' },
          ...{
            inputBytes: 2048,
            outputBytes: 2048,
            busBandwidth: 1.5e9,
            replicaGroup: [
              [0, 1],
              [2, 3],
            ],
          },
        },
      ],
      throttles: [{ start: 0, end: 3_000_000, k: 1, n: 2 }],
    };
    const [op] = await readBack('CcOp', extended);
    expect(op).toMatchObject({ duration_ns: 2000n, replica_group: '[[0, 1], [2, 3]]' });
    expect(op!.algorithm_bandwidth).toBeCloseTo(2048 / 2e-6, -3);
    expect(await readBack('Throttle', extended)).toMatchObject([{ duration: 3000n, k: 1, n: 2 }]);
  });

  test('SchemaFields lists every column of every table', async () => {
    const rows = await readBack('SchemaFields');
    const files = writeNeuronProfile(profile);
    for (const [file, { buffer }] of Object.entries(files)) {
      const columns = parquetMetadata(buffer as ArrayBuffer)
        .schema.slice(1)
        .map(({ name }) => name);
      const described = rows
        .filter(({ table_name }) => `${table_name}.parquet` === file)
        .map(({ field_name }) => field_name);
      expect(described).toEqual(columns);
    }
  });

  test('a program of no instructions has a profile too', async () => {
    const empty = profileProgram(tileProgram('empty', core, () => {}));
    expect(await readBack('Summary', empty)).toMatchObject([{ hardware_flops: 0n, mfu_estimated_percent: 0 }]);
  });

  test('a program of too many instructions is refused, not kept', () => {
    const long = tileProgram('long', core, (nc) => {
      const a = nc.sbuf('a', 'f32', 1, 1);
      nc.loop(1e9, () => nc.memset(a, 0));
    });
    expect(() => profileProgram(long, { maxEvents: 1000 })).toThrow('expected at most 1000 instructions in a profile');
  });
});

describe('the timeline', () => {
  test('has a track for each engine, each DMA queue and the waits of those that wait', () => {
    const { tracks, slices } = profileTimeline(profile);
    const names = tracks.map(({ id }) => id);
    for (const id of [
      'core',
      'TensorE',
      'ScalarE',
      'dma load weights',
      'dma load tile',
      'dma store result',
      'TensorE waits',
    ]) {
      expect(names).toContain(id);
    }
    expect(slices.filter(({ track }) => track === 'TensorE').map(({ name }) => name)).toEqual(['MATMUL', 'MATMUL']);
    const busy = slices.filter(({ track }) => track === 'ScalarE');
    for (const wait of slices.filter(({ track }) => track === 'ScalarE waits')) {
      expect(
        busy.every(({ start, duration }) => start + duration <= wait.start || start >= wait.start + wait.duration),
      ).toBe(true);
    }
  });

  test('is one that Perfetto takes', () => {
    expect(writePerfetto(profileTimeline(profile)).length).toBeGreaterThan(500);
  });
});
