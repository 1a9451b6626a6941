/**
 * The links that data takes from one chip to another: one fixed route per pair, as the hardware does it.
 *
 * Torus: dimension order, innermost first, each dimension by its shorter way (half way round: the positive one).
 * Switched: up and down through the innermost level that holds both chips. Across a `direct` level the address decides,
 * upper bits first: the direct link to the same position in the other group, then on inside that group. Trainium3 routes
 * so by PCIe address, and data and its semaphore take the same path
 * (see: AWS Neuron SDK, about-neuron/arch/neuron-hardware/trn3-arch.rst).
 * Leaves out: adaptive and multi-path routing, detours round failed links.
 */
import { expectInteger } from '../base/errors.ts';
import type { SwitchLevel, TorusDimension } from '../hardware/spec.ts';
import { innerGroupSize, onChipLink, portLink, type Topology } from './topology.ts';
import { coordinate, shortestOffset, torusStrides } from './torus.ts';

/**
 * Link ids in travel order. Between two ranks of one chip (`from` = `to`) it is the chip's on-chip link.
 * @throws RangeError if a chip is not in the topology
 */
export function route(topology: Topology, from: number, to: number): Int32Array {
  expectInteger('from', from, 0, topology.chips - 1);
  expectInteger('to', to, 0, topology.chips - 1);
  const { fabric } = topology;
  if (from === to || fabric.type === 'single') return Int32Array.of(onChipLink(topology, from));
  return Int32Array.from(
    fabric.type === 'torus'
      ? torusRoute(topology, fabric.dimensions, from, to)
      : switchedRoute(topology, fabric.levels, from, to),
  );
}

/** Links between two chips; 0 on the same chip. */
export function hops(topology: Topology, from: number, to: number): number {
  const links = route(topology, from, to);
  return from === to ? 0 : links.length;
}

function torusRoute(topology: Topology, dimensions: readonly TorusDimension[], from: number, to: number): number[] {
  const strides = torusStrides(dimensions);
  const links: number[] = [];
  let chip = from;
  dimensions.forEach((dimension, d) => {
    const stride = strides[d]!;
    const start = coordinate(from, stride, dimension.size);
    const offset = shortestOffset(dimension, start, coordinate(to, stride, dimension.size));
    const port = topology.portStart[d]! + (offset < 0 ? 1 : 0);
    for (let i = Math.abs(offset); i > 0; i--) {
      const link = portLink(topology, chip, port);
      links.push(link);
      chip = topology.to[link]!;
    }
  });
  return links;
}

function switchedRoute(topology: Topology, levels: readonly SwitchLevel[], from: number, to: number): number[] {
  const links: number[] = [];
  let chip = from;
  while (chip !== to) {
    const i = levels.findIndex(({ groupSize }) => Math.floor(chip / groupSize) === Math.floor(to / groupSize));
    const level = levels[i]!;
    const port = topology.portStart[i]!;
    if (level.kind === 'switch') {
      links.push(portLink(topology, chip, port), portLink(topology, to, port + 1));
      return links;
    }
    const peer = Math.floor((to % level.groupSize) / innerGroupSize(levels, i));
    const link = portLink(topology, chip, port + peer);
    links.push(link);
    chip = topology.to[link]!;
  }
  return links;
}
