/**
 * What a machine is, in SI base units: the types that the rest of the package computes with.
 * Data files say the same things with the units of their sources and with provenance (`schema.ts`); `catalog.ts` converts
 * once. A quantity nobody knows is `null` here, and whoever needs it must say so, never assume 0.
 */
import type { Bytes, BytesPerSecond, FlopsPerSecond, Hertz, Seconds, Watts } from '../base/units.ts';

/** Where a number comes from. `unknown` goes with a null value and says where it was looked for. */
export type Kind = 'official' | 'third-party' | 'derived' | 'fitted' | 'projected' | 'unknown';

/** Number formats that a peak rate is stated for. `fp8` is whatever 8-bit float the chip runs; `mxfp8`/`mxfp4` are block-scaled. */
export type PeakFormat =
  | 'f32'
  | 'tf32'
  | 'f16'
  | 'bf16'
  | 'fp8'
  | 'fp6'
  | 'fp4'
  | 'mxfp8'
  | 'mxfp6'
  | 'mxfp4'
  | 'int8'
  | 'sparse';

/** The systolic array: `rows` is the contraction of one pass, `columns` the stationary columns. */
export interface TensorEngineSpec {
  readonly clock: Hertz;
  readonly rows: number;
  readonly columns: number;
  /** Contraction of one pass in FP8 double row, and in MX formats; null where the core has no such mode. */
  readonly fp8Rows: number | null;
  readonly mxRows: number | null;
  /** Least cycles of a MultiplyMoving, and those that load a stationary tile, at the normal and at the fast rate. */
  readonly multiplyMoving: number;
  readonly loadStationary: number;
  readonly fastLoadStationary: number;
  /** Passes of an FP32 matmul. */
  readonly f32Passes: number;
  /** dI/dt throttle: share of the full rate at the start, and time to reach all of it; null where there is none. */
  readonly ramp: { readonly start: number; readonly time: Seconds } | null;
}

export interface DmaSpec {
  readonly engines: number;
  /** All engines of a core together. */
  readonly bandwidth: BytesPerSecond;
  /** However small, a DMA occupies its queue for this long; null: unknown. */
  readonly minimumTime: Seconds | null;
  /** Rate of a transposing DMA relative to a copy, from HBM and inside SBUF; null: the core has none. */
  readonly transposeFromHbm: number | null;
  readonly transposeInSbuf: number | null;
}

/** One NeuronCore generation. Lanes are elements per cycle over all partitions, for 16-bit and for 32-bit elements. */
export interface CoreSpec {
  readonly id: string;
  /** Generation: 1 to 4. */
  readonly version: number;
  readonly partitions: number;
  readonly sbuf: Bytes | null;
  readonly psum: Bytes | null;
  readonly psumBanks: number;
  readonly tensor: TensorEngineSpec | null;
  readonly vector: { readonly clock: Hertz; readonly lanes16: number; readonly lanes32: number } | null;
  readonly scalar: { readonly clock: Hertz; readonly lanes16: number; readonly lanes32: number } | null;
  readonly gpsimd: { readonly clock: Hertz; readonly lanes: number } | null;
  readonly dma: DmaSpec | null;
  /** Time from a semaphore set by one engine to the start of a DMA that waits on it. */
  readonly dmaStart: Seconds | null;
  /** Shortest time between two instructions of one engine, in its cycles. */
  readonly issueInterval: number | null;
  /** Fixed cost of an instruction that depends on the one before, in its engine's cycles. */
  readonly staticOverhead: number | null;
  /** Access to SBUF or PSUM, in the cycles of the engine. */
  readonly accessLatency: number | null;
  /** VectorE `exponential` relative to ScalarE's exp; null: the core has no such instruction. */
  readonly exponentialSpeedup: number | null;
}

export interface ChipSpec {
  readonly id: string;
  readonly name: string;
  readonly vendor: string;
  readonly aliases: readonly string[];
  readonly status: 'available' | 'announced' | 'preliminary';
  /** The NeuronCore generation; null on other makers' chips, and where it is too little documented (Inferentia1). */
  readonly core: CoreSpec | null;
  /** NeuronCores; null on other makers' chips. */
  readonly cores: number | null;
  /** Units that other makers' libraries deal output tiles to; null where there are none, or nobody prints them. */
  readonly multiprocessors: number | null;
  /** Physical cores that the Neuron SDK joins into one logical core by default (1 or 2). */
  readonly logicalCoreSize: number;
  readonly peak: Readonly<Partial<Record<PeakFormat, FlopsPerSecond | null>>>;
  readonly memory: {
    readonly capacity: Bytes | null;
    readonly bandwidth: BytesPerSecond | null;
    /** Stacks of HBM, each the near one of as many NeuronCores; null: unknown. */
    readonly stacks: number | null;
  };
  /** All DMA engines of the chip together; null on other makers' chips. */
  readonly dmaBandwidth: BytesPerSecond | null;
  /** Chip alone (thermal design power), and its share of a whole server (hosts, fans, switches, conversion). */
  readonly power: { readonly tdp: Watts | null; readonly allIn: Watts | null };
}

/** One dimension of a torus. `wrap` false makes it a chain. */
export interface TorusDimension {
  readonly name: string;
  readonly size: number;
  readonly wrap: boolean;
  /** One link, one direction. */
  readonly bandwidth: BytesPerSecond;
  readonly latency: Seconds;
}

/**
 * One level of a switched fabric, innermost first. Chips are numbered so that each level groups `groupSize` neighbours.
 * `switch`: every chip of the group hangs on one (logical) switch by a link of `bandwidth`.
 * `direct`: chips at the same position in each of the next inner level's groups are linked to each other.
 */
export interface SwitchLevel {
  readonly name: string;
  readonly kind: 'switch' | 'direct';
  readonly groupSize: number;
  /** One chip's port at this level, one direction. */
  readonly bandwidth: BytesPerSecond;
  /** One traversal of this level, chip to chip. */
  readonly latency: Seconds;
  /** Whether its switches add what the chips send and copy what one sends to all (NVLS). */
  readonly reduces: boolean;
}

/** One cable of a graph, one direction. Vertices are numbered from 0, the chips first, then the switches. */
export interface GraphLink {
  readonly from: number;
  readonly to: number;
  readonly bandwidth: BytesPerSecond;
  readonly latency: Seconds;
}

export type FabricSpec =
  | { readonly type: 'single' }
  | { readonly type: 'torus'; readonly dimensions: readonly TorusDimension[] }
  | { readonly type: 'switched'; readonly levels: readonly SwitchLevel[] }
  | {
      readonly type: 'graph';
      readonly chips: number;
      /** Chips and switches. */
      readonly vertices: number;
      readonly links: readonly GraphLink[];
    };

/** One tier of switches of a Clos network (a folded Clos, or fat tree), as a bill of materials. */
export interface NetworkTier {
  readonly name: string;
  /** Ports of one switch, all of the network's port rate. */
  readonly ports: number;
  /** Bandwidth of a switch's ports towards the chips / towards the next tier; 1 is non-blocking. Unused at the top. */
  readonly oversubscription: number;
  /** From one switch to the next or back, its own traversal and the cable: charged on each link above the first tier. */
  readonly latency: Seconds;
}

/**
 * The network between systems: a Clos of `tiers` (next to the chips first), of which a cluster uses as many as it needs.
 */
export interface NetworkSpec {
  readonly id: string;
  readonly name: string;
  readonly aliases: readonly string[];
  /** One port of a switch, one direction. */
  readonly port: BytesPerSecond;
  /** What one chip sends into the network; null: the system's `scaleOut` shared by its chips. */
  readonly bandwidth: BytesPerSecond | null;
  /** Memory to memory of two chips below one switch of the first tier: adapters, software and that switch. */
  readonly latency: Seconds;
  /** Separate networks side by side; a chip has an equal part of its ports in each. */
  readonly planes: number;
  /** How a pair of chips uses equally short ways: its packets over all of them, or all packets over one, by a hash. */
  readonly routing: 'spray' | 'ecmp';
  /** Whether a message's blocks of 128 bytes arrive in order, as protocols need whose flags travel with the data. */
  readonly ordered: boolean;
  readonly tiers: readonly NetworkTier[];
}

export interface SystemSpec {
  readonly id: string;
  readonly name: string;
  readonly vendor: string;
  readonly aliases: readonly string[];
  readonly chip: ChipSpec;
  readonly chips: number;
  /** Null where no source describes the links between the chips. */
  readonly fabric: FabricSpec | null;
  /** Scale-out network of the whole system, one direction. */
  readonly scaleOut: BytesPerSecond | null;
  /** What `scaleOut` is connected to; null where systems of this kind are not joined to clusters. */
  readonly network: NetworkSpec | null;
  /** Whole system under load, without the building's overhead (PUE). Null: unknown. */
  readonly power: Watts | null;
  /** Kind and source of `power`, or where it was looked for. */
  readonly powerSource: string;
  /** How the chips are housed; null where nobody says. A server is a sled on Trainium3. */
  readonly layout: Readonly<Record<'racks' | 'servers' | 'chipsPerServer', number | null>>;
  readonly cooling: 'air' | 'liquid' | null;
}

export interface PriceRow {
  readonly system: string;
  readonly usdPerHour: number | null;
  readonly basis: 'on-demand' | 'capacity-block' | 'reserved' | 'spot' | 'list' | 'unknown';
  readonly region: string | null;
  /** ISO year-month or year-month-day of the reading. */
  readonly date: string | null;
  readonly source: string;
  readonly kind: Kind;
  readonly note?: string;
}

/** What the building adds to the power of its machines, and what it pays for electricity. */
export interface FacilitySpec {
  /** Power usage effectiveness: power of the building / power of the machines. */
  readonly pue: number;
  /** Dollars per joule. */
  readonly electricity: number;
  /** Most that air takes away from one chip. */
  readonly airLimit: Watts;
  /** Kind and source of each. */
  readonly sources: Readonly<Record<'pue' | 'electricity' | 'airLimit', string>>;
}
