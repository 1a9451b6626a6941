/**
 * What drives a collective on a cluster, apart from the wires: the CC-cores and DMA queues of a NeuronCore, or the copy
 * kernels of a GPU library, with what they cost per call and per step.
 *
 *     start       once per collective: the CC-core reads its program and the ranks meet, or a kernel is launched
 *     step        from the arrival of a step's data to the next step's first byte, beside the latency of the links
 *     message     for each further transfer that a rank starts in the same step: a descriptor, a work request
 *     hold        a message into the network occupies its sender at least so long
 *     channel     bytes that a rank's collective engines move per second, in and out together
 *     efficiency  payload of a link / its rate: headers, acknowledgements, flow control
 *
 * A GPU library has several protocols and takes the fastest: LL and LL128 send a flag with every 4 or 120 bytes of data and
 * so trade bandwidth for latency, Simple synchronises by chunks, NVLS lets a switch add. Their latencies are the tuning
 * constants of NCCL itself, a hop of which includes the link's.
 * see: NVIDIA nccl, src/graph/tuning.cc and topo.h. MSCCL++ is taken as NCCL's protocols without its base latencies, which
 * are those of its proxies and of its scheduler of channels.
 * Leaves out: CC-cores shared with other collectives, and channels that are limited by other work of the chip.
 */
import type { Bytes, BytesPerSecond, Seconds } from '../base/units.ts';
import type { Cluster } from '../fabric/cluster.ts';
import type { Constants } from '../hardware/fitted.ts';

export interface Protocol {
  readonly name: string;
  /** Whether it is that of switches which reduce: those plans have no other, and others never have it. */
  readonly isSwitched: boolean;
  readonly start: Seconds;
  /** Least latency of a step inside a node; longer routes take their own. */
  readonly hop: Seconds;
  /** Between nodes beside the latency of the network, and how often data or its acknowledgement crosses it in a step. */
  readonly networkHop: Seconds;
  readonly networkPasses: number;
  /** Whether it needs a network that delivers blocks of 128 bytes in order. */
  readonly needsOrder: boolean;
  /** Part of the bandwidth that carries data. */
  readonly efficiency: number;
}

/** `neuron-rings`: releases of the Neuron library that had rings only, one through all nodes. */
export type CollectiveLibrary = 'neuron' | 'neuron-rings' | 'nccl' | 'mscclpp';

export interface CollectiveEngine {
  /** The collective library that the constants are of. */
  readonly library: CollectiveLibrary;
  readonly protocols: readonly Protocol[];
  /** Beside the latency of the links, each step. */
  readonly step: Seconds;
  /** For each further message that a rank starts in the same step, inside a node and between nodes. */
  readonly message: Seconds;
  readonly networkMessage: Seconds;
  readonly networkHold: Seconds;
  /** Of a rank, in and out together. */
  readonly channel: BytesPerSecond;
  readonly linkEfficiency: number;
  readonly networkEfficiency: number;
  /** Rate of a switch that reduces on the way / that of its links. */
  readonly switchReduction: number;
  /** Chunk by which the phases of a hierarchical collective overlap; null where one follows the other. */
  readonly pipelineChunk: Bytes | null;
  /** Launch by an eager call and by a framework's dispatch. */
  readonly launch: Seconds;
  readonly dispatch: Seconds;
}

const US = 1e-6;
/**
 * A DMA takes as long for a smaller descriptor as for one of this size. see: facts of aws-neuron-sdk,
 * nki/get-started/about/nki-dma-overview.rst, chart of bandwidth over size: the knee.
 */
const DESCRIPTOR_BYTES = 2500;
/** Of a network adapter; an assumption of the order of 10 million messages a second, not measured. */
const NETWORK_MESSAGE = 0.1 * US;
/**
 * Between two steps of a CC-core, which waits for semaphores and writes descriptors. see: aws-neuron-sdk,
 * neuron-runtime/explore/intranode-collective-comm.rst: 1 to 2 us for a hop, more under load; the upper end, beside the link.
 */
const CC_STEP = 2 * US;

/** NCCL's buffer of 4 MiB has 8 steps, on each of 16 channels. */
const PIPELINE_CHUNK = (16 * 4 * 2 ** 20) / 8;

const LL = { name: 'LL', isSwitched: false, hop: 0.6 * US, networkHop: 2.3 * US, networkPasses: 1, needsOrder: true };
/**
 * Base latency and hops of a ring on NVLink, and of a tree between nodes, less the network's own latency, which is 2.7 us on
 * the InfiniBand that NCCL's constants are of: once, and with Simple a second time for the flush of the receiver. NVLS is
 * given as a whole. Efficiency: data bytes of a line; LL has no more than 0.41 of what
 * NVLink carries (`llMaxBws`: 87.7 GB/s on Ampere, 141 on Hopper, 282 on Blackwell).
 */
const NCCL_PROTOCOLS: readonly (Protocol & { readonly base: Seconds })[] = [
  { ...LL, start: 0, base: 6.6 * US, efficiency: 0.41 },
  { ...LL, name: 'LL128', start: 0, base: 14 * US, hop: 1.9 * US, networkHop: 5.8 * US, efficiency: 120 / 128 },
  {
    name: 'Simple',
    isSwitched: false,
    start: 0,
    base: 8.4 * US,
    hop: 3.4 * US,
    networkHop: 8.6 * US,
    networkPasses: 2,
    needsOrder: false,
    efficiency: 1,
  },
  {
    name: 'NVLS',
    isSwitched: true,
    start: 0,
    base: 25 * US,
    hop: 0,
    networkHop: 15.5 * US,
    networkPasses: 2,
    needsOrder: false,
    efficiency: 1,
  },
];

/** Of a switch that adds: NCCL's `nvlsEfficiency` for Hopper, and for Blackwell, whose links are twice as fast. */
function nvlsEfficiency({ scaleUp: { fabric } }: Cluster): number {
  return fabric.type === 'switched' && fabric.levels[0]!.bandwidth >= 900e9 ? 0.74 : 0.85;
}

/** The engine of the cluster's ranks; `constants` has the fitted ones by name. */
export function collectiveEngine(
  cluster: Cluster,
  constants: Constants,
  library: CollectiveLibrary = cluster.system.chip.cores === null ? 'nccl' : 'neuron',
): CollectiveEngine {
  const { system, rank, lnc } = cluster;
  const { chip } = system;
  const fitted = (name: string): number => {
    const value = constants[name];
    if (value === undefined) throw new RangeError(`"constants" expected a value of ${name}`);
    return value;
  };
  const networkEfficiency = fitted('networkEfficiency');
  if (chip.cores === null) {
    const launch = fitted('gpuLaunch');
    return {
      library,
      protocols: NCCL_PROTOCOLS.map(({ base, ...protocol }) => ({
        ...protocol,
        start: launch + (library === 'nccl' ? base : 0),
      })),
      step: 0,
      message: 0,
      networkMessage: NETWORK_MESSAGE,
      networkHold: 0,
      channel: fitted('gpuCopyRate'),
      linkEfficiency: fitted('nvlinkEfficiency'),
      networkEfficiency,
      switchReduction: fitted('switchReductionEfficiency') * nvlsEfficiency(cluster),
      pipelineChunk: PIPELINE_CHUNK,
      launch: 0,
      dispatch: 0,
    };
  }
  const cores = rank === 'chip' ? chip.cores : lnc;
  const channel = (cores / chip.cores) * fitted('neuronDmaShare') * (chip.dmaBandwidth ?? 0);
  const hasRings = library === 'neuron-rings';
  const start = fitted(hasRings ? 'neuronRingStart' : 'neuronCollectiveStart');
  return {
    library,
    protocols: [
      {
        name: 'DMA',
        isSwitched: false,
        start,
        hop: 0,
        networkHop: 0,
        networkPasses: 1,
        needsOrder: false,
        efficiency: 1,
      },
    ],
    step: CC_STEP,
    message: DESCRIPTOR_BYTES / channel,
    networkMessage: NETWORK_MESSAGE,
    networkHold: hasRings ? fitted('neuronRingHold') : 0,
    channel,
    linkEfficiency: 1,
    networkEfficiency,
    switchReduction: 1,
    pipelineChunk: null,
    launch: fitted('neuronLaunch'),
    dispatch: fitted('frameworkDispatch'),
  };
}
