/**
 * Chip and NeuronCore files: their schema, and what the package computes with from them.
 *
 * The schema knows more keys than `ChipSpec` has: published facts that no formula reads yet are kept for
 * `trnsim show`, checked like the rest. An engine with an unknown figure is null as a whole, since half an engine can't be timed.
 */
import { z } from 'zod';
import { fact, head, known, quantity, record, text } from './schema.ts';
import type { ChipSpec, CoreSpec, PeakFormat, TensorEngineSpec } from './spec.ts';

const PEAK_FORMATS = [
  'f32',
  'tf32',
  'f16',
  'bf16',
  'fp8',
  'fp6',
  'fp4',
  'mxfp8',
  'mxfp6',
  'mxfp4',
  'int8',
  'sparse',
] as const satisfies readonly PeakFormat[];

/** Peak rate per number format; a format that the chip doesn't have is absent, an unpublished one is null. */
export const peaks: z.ZodType<Partial<Record<PeakFormat, number | null>>> = z.partialRecord(
  z.enum(PEAK_FORMATS),
  quantity('rate'),
);

// Vector and scalar engines. Lanes are elements per cycle over all partitions; `rate` is for cores whose lanes are unknown.
const engine = record({
  clock: quantity('frequency'),
  lanes16: quantity('perCycle'),
  lanes32: quantity('perCycle'),
  rate: z.exactOptional(quantity('perCycle')),
  peak: z.exactOptional(peaks),
  exponentialSpeedup: z.exactOptional(quantity('ratio')),
  quantizePerPartition: z.exactOptional(quantity('perCycle')),
});

/** What every documented TensorE has; a core file says otherwise. */
const TENSOR_DEFAULTS = { multiplyMoving: 64, loadStationary: 128, f32Passes: 4 };

type TensorFile = Readonly<
  Record<'clock' | 'rows' | 'columns', number | null> &
    Partial<
      Record<
        | 'fp8Rows'
        | 'mxRows'
        | 'multiplyMoving'
        | 'loadStationary'
        | 'fastLoadStationary'
        | 'f32Passes'
        | 'rampStart'
        | 'rampTime',
        number | null
      >
    >
>;

/** Null where the clock or the array is unknown. */
function tensorEngine(file: TensorFile): TensorEngineSpec | null {
  const { clock, rows, columns } = file;
  if (clock === null || rows === null || columns === null) return null;
  const { rampStart = null, rampTime = null } = file;
  const loadStationary = file.loadStationary ?? TENSOR_DEFAULTS.loadStationary;
  return {
    clock,
    rows,
    columns,
    fp8Rows: file.fp8Rows ?? null,
    mxRows: file.mxRows ?? null,
    multiplyMoving: file.multiplyMoving ?? TENSOR_DEFAULTS.multiplyMoving,
    loadStationary,
    fastLoadStationary: file.fastLoadStationary ?? loadStationary,
    f32Passes: file.f32Passes ?? TENSOR_DEFAULTS.f32Passes,
    ramp: rampStart === null || rampTime === null ? null : { start: rampStart, time: rampTime },
  };
}

/** A core file: `spec` is null where the core is too little documented to be timed (NeuronCore-v1). */
export interface CoreEntry {
  readonly id: string;
  readonly spec: CoreSpec | null;
}

/** The record if all its figures are known, else null. */
function allKnown<K extends string>(figures: Record<K, number | null>): Record<K, number> | null {
  return Object.values(figures).includes(null) ? null : (figures as Record<K, number>);
}

export const coreSchema: z.ZodType<CoreEntry> = record({
  ...head,
  partitions: quantity('count'),
  sbuf: record({
    capacity: quantity('size'),
    perPartition: z.exactOptional(quantity('size')),
    usablePerPartition: z.exactOptional(quantity('size')),
  }),
  psum: record({
    capacity: quantity('size'),
    perPartition: z.exactOptional(quantity('size')),
    banks: z.exactOptional(quantity('count')),
    bankPerPartition: z.exactOptional(quantity('size')),
  }),
  tensor: record({
    clock: quantity('frequency'),
    rows: quantity('count'),
    columns: quantity('count'),
    peak: peaks,
    // Rows of the logical array in the faster formats: a contraction this long takes the time of `rows`.
    fp8Rows: z.exactOptional(quantity('count')),
    mxRows: z.exactOptional(quantity('count')),
    maxStationaryColumns: z.exactOptional(quantity('count')),
    maxMovingColumns: z.exactOptional(quantity('count')),
    // Least cycles of a MultiplyMoving, and those to load 128 stationary columns.
    multiplyMoving: z.exactOptional(quantity('cycles')),
    loadStationary: z.exactOptional(quantity('cycles')),
    fastLoadStationary: z.exactOptional(quantity('cycles')),
    f32Passes: z.exactOptional(quantity('count')),
    // dI/dt throttle: TensorE starts at this share of its rate and reaches all of it after `rampTime`.
    rampStart: z.exactOptional(quantity('ratio')),
    rampTime: z.exactOptional(quantity('time')),
  }),
  vector: engine,
  scalar: engine,
  gpsimd: z.exactOptional(
    record({
      clock: quantity('frequency'),
      lanes: quantity('perCycle'),
      processors: z.exactOptional(quantity('count')),
      localMemory: z.exactOptional(quantity('size')),
      dmaBandwidth: z.exactOptional(quantity('bandwidth')),
    }),
  ),
  dma: record({
    engines: quantity('count'),
    bandwidth: quantity('bandwidth'),
    // Per engine. The sources disagree by up to 1.6 times; `bandwidth` is the core's documented effective rate.
    engineTheoretical: z.exactOptional(quantity('bandwidth')),
    engineEffective: z.exactOptional(quantity('bandwidth')),
    queuesPerEngine: z.exactOptional(quantity('count')),
    partitionsPerEngine: z.exactOptional(quantity('count')),
    priorityClasses: z.exactOptional(quantity('count')),
    start: quantity('time'),
    // However small, a DMA takes this long.
    minimumTime: z.exactOptional(quantity('time')),
    // Descriptor generation in hardware: engines per core, and time per DMA instruction.
    hardwareDge: z.exactOptional(quantity('count')),
    hardwareDgeInstruction: z.exactOptional(quantity('time')),
    packet: z.exactOptional(quantity('size')),
    collectivePacket: z.exactOptional(quantity('size')),
    descriptorLimit: z.exactOptional(quantity('size')),
    saturatingPerPartition: z.exactOptional(quantity('size')),
    // Rates relative to a plain copy.
    transposeFromHbm: z.exactOptional(quantity('ratio')),
    transposeInSbuf: z.exactOptional(quantity('ratio')),
    accumulate: z.exactOptional(quantity('ratio')),
  }),
  issueInterval: quantity('cycles'),
  staticOverhead: quantity('cycles'),
  accessLatency: z.exactOptional(quantity('cycles')),
  dependentScalarInstruction: z.exactOptional(quantity('time')),
  activationTableLoad: z.exactOptional(quantity('cycles')),
}).transform(({ id, partitions, tensor, vector, scalar, gpsimd, dma, ...data }): CoreEntry => {
  if (partitions === null) return { id, spec: null };
  return {
    id,
    spec: {
      id,
      version: Number(/\d+$/.exec(id)?.[0] ?? 0),
      partitions,
      sbuf: data.sbuf.capacity,
      psum: data.psum.capacity,
      psumBanks: data.psum.banks ?? 8,
      tensor: tensorEngine(tensor),
      vector: allKnown({ clock: vector.clock, lanes16: vector.lanes16, lanes32: vector.lanes32 }),
      scalar: allKnown({ clock: scalar.clock, lanes16: scalar.lanes16, lanes32: scalar.lanes32 }),
      gpsimd: gpsimd === undefined ? null : allKnown({ clock: gpsimd.clock, lanes: gpsimd.lanes }),
      dma:
        dma.engines === null || dma.bandwidth === null
          ? null
          : {
              engines: dma.engines,
              bandwidth: dma.bandwidth,
              minimumTime: dma.minimumTime ?? null,
              transposeFromHbm: dma.transposeFromHbm ?? null,
              transposeInSbuf: dma.transposeInSbuf ?? null,
            },
      dmaStart: dma.start,
      issueInterval: data.issueInterval,
      staticOverhead: data.staticOverhead,
      accessLatency: data.accessLatency ?? null,
      exponentialSpeedup: vector.exponentialSpeedup ?? null,
    },
  };
});

/** The links of one chip, all together: as the source prints them, in both directions or in one. */
export const scaleUp: z.ZodType<unknown> = record({
  version: z.exactOptional(fact),
  bidirectional: z.exactOptional(quantity('bandwidth')),
  perDirection: z.exactOptional(quantity('bandwidth')),
  links: z.exactOptional(quantity('count')),
  domain: z.exactOptional(quantity('count')),
});

/** How a file names another entry of the catalogue: undefined where there is none of that id. */
export type Lookup<T> = (id: string) => T | undefined;

/** A chip file, parsed to a `ChipSpec`. Its core is the id of a shipped one, or written out. */
export function chipSchema(findCore: Lookup<CoreEntry>): z.ZodType<ChipSpec> {
  return record({
    ...head,
    vendor: text,
    status: z.enum(['available', 'announced', 'preliminary']),
    core: z.exactOptional(z.union([text, coreSchema])),
    // NeuronCores only: what other makers count as cores can't be compared.
    cores: z.exactOptional(quantity('count')),
    // Other makers: streaming multiprocessors, the units that a library deals output tiles to.
    multiprocessors: z.exactOptional(quantity('count')),
    logicalCoreSize: z.exactOptional(known('count')),
    peak: peaks,
    // Cores x array x clock: AWS prints chip peaks that its own clocks don't reach.
    peakFromClock: z.exactOptional(peaks),
    memory: record({
      type: z.exactOptional(fact),
      stacks: z.exactOptional(quantity('count')),
      capacity: quantity('size'),
      bandwidth: quantity('bandwidth'),
      // By DMA from all cores, in reality well below `bandwidth`.
      measuredRead: z.exactOptional(quantity('bandwidth')),
      measuredWrite: z.exactOptional(quantity('bandwidth')),
      measuredReadOneCore: z.exactOptional(quantity('bandwidth')),
    }),
    power: record({ tdp: quantity('power'), allIn: quantity('power') }),
    onChip: z.exactOptional(record({ sbuf: quantity('size'), psum: quantity('size') })),
    dma: z.exactOptional(
      record({
        engines: quantity('count'),
        queuesPerEngine: z.exactOptional(quantity('count')),
        bandwidth: quantity('bandwidth'),
      }),
    ),
    scaleUp: z.exactOptional(scaleUp),
    // One chip's share of the scale-out network, one direction.
    scaleOut: z.exactOptional(quantity('bandwidth')),
    collectiveCores: z.exactOptional(quantity('count')),
    semaphoresPerCore: z.exactOptional(quantity('count')),
    eventsPerCore: z.exactOptional(quantity('count')),
    dies: z.exactOptional(quantity('count')),
    process: z.exactOptional(fact),
    cooling: z.exactOptional(fact),
    pciDeviceId: z.exactOptional(fact),
  }).transform((data, context): ChipSpec => {
    const core = typeof data.core === 'string' ? findCore(data.core) : data.core;
    if (data.core !== undefined && core === undefined) {
      context.issues.push({
        code: 'custom',
        path: ['core'],
        input: data.core,
        message: 'expected a core of the catalogue',
      });
      return z.NEVER;
    }
    return {
      id: data.id,
      name: data.name,
      vendor: data.vendor,
      aliases: data.aliases,
      status: data.status,
      core: core?.spec ?? null,
      cores: data.cores ?? null,
      multiprocessors: data.multiprocessors ?? null,
      logicalCoreSize: data.logicalCoreSize ?? 1,
      peak: data.peak,
      memory: {
        capacity: data.memory.capacity,
        bandwidth: data.memory.bandwidth,
        stacks: data.memory.stacks ?? null,
      },
      dmaBandwidth: data.dma?.bandwidth ?? null,
      power: data.power,
    };
  });
}
