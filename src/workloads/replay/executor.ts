/**
 * Runs the graph of one rank as ASTRA-sim's workload layer does: which node is issued when.
 *
 * A rank does one CPU operation, one computation and one communication at a time; a receive may always be posted. When
 * something ends, the free nodes are looked at in order of id and those whose resource is free are issued. A node without
 * work (invalid, metadata, a computation that moves no bytes) ends as it is issued, and what it frees waits for the next
 * look: ASTRA-sim's order, kept because it decides what runs first. Only where nothing at all is under way, and
 * ASTRA-sim would stop for good, we look again.
 * With replay-only everything takes the time of a computation: the duration in the trace.
 * see: astra-sim/astra-sim workload/Workload.cc, workload/HardwareResource.cc
 */
import { ModelError } from '../../base/errors.ts';
import type { RankClass } from './classes.ts';
import type { EventQueue } from './events.ts';
import { Timers } from './events.ts';
import type { ReplayNode } from './graph.ts';

/** What a rank asks of the machine around it; `done` is called when the node ends. */
export interface Machine {
  /** Ns of a computation; undefined: no work at all, the node ends as it is issued. */
  computeTime(node: ReplayNode): number | undefined;
  collective(rank: RankExecutor, node: ReplayNode, done: () => void): void;
  send(rank: RankExecutor, node: ReplayNode, done: () => void): void;
  receive(rank: RankExecutor, node: ReplayNode, done: () => void): void;
  memory(rank: RankExecutor, node: ReplayNode, done: () => void): void;
}

type Resource = 'cpu' | 'compute' | 'communication';

function resourceOf(node: ReplayNode): Resource {
  if (node.isCpu) return 'cpu';
  return node.kind === 'compute' ? 'compute' : 'communication';
}

export class RankExecutor {
  readonly class: RankClass;
  readonly timers: Timers;
  readonly queue: EventQueue;
  /** When the last node ended; undefined while nodes are left. */
  finishedAt: number | undefined;
  /** Time in computations, added up: what ASTRA-sim takes from the total as not exposed. */
  computeTime = 0;
  readonly #replayOnly: boolean;
  readonly #machine: Machine;
  readonly #busy: Record<Resource, boolean> = { cpu: false, compute: false, communication: false };
  readonly #waiting: Int32Array;
  /** Free nodes, in order. */
  #free: number[];
  #ongoing = 0;

  constructor(rankClass: RankClass, replayOnly: boolean, machine: Machine, queue: EventQueue) {
    this.class = rankClass;
    this.queue = queue;
    this.timers = new Timers(queue);
    this.#replayOnly = replayOnly;
    this.#machine = machine;
    this.#waiting = Int32Array.from(rankClass.graph.nodes, ({ parents }) => parents);
    this.#free = [...this.#waiting.keys()].filter((node) => this.#waiting[node] === 0);
  }

  start(): void {
    this.#advance();
  }

  /** A node that has not ended, for the error about a run that stopped; the first under way or free. */
  stuck(): ReplayNode | undefined {
    const index = this.#waiting.indexOf(UNDER_WAY);
    return this.class.graph.nodes[index < 0 ? this.#free[0]! : index];
  }

  #advance(): void {
    do this.#issueFree();
    while (this.#ongoing === 0 && this.#free.length > 0);
    if (this.#ongoing === 0 && this.finishedAt === undefined) this.finishedAt = this.queue.now;
  }

  #issueFree(): void {
    const { nodes } = this.class.graph;
    // What becomes free while this runs is left for the next time.
    for (const index of [...this.#free]) {
      const node = nodes[index]!;
      const resource = resourceOf(node);
      const isReceive = node.kind === 'receive' && resource === 'communication';
      if (this.#busy[resource] && !isReceive) continue;
      this.#free.splice(this.#free.indexOf(index), 1);
      this.#waiting[index] = UNDER_WAY;
      this.#ongoing++;
      if (!isReceive) this.#busy[resource] = true;
      this.#issue(node, index);
    }
  }

  #issue(node: ReplayNode, index: number): void {
    const done = () => {
      this.#end(node, index);
      this.#advance();
    };
    const { kind } = node;
    if (this.#replayOnly || kind === 'compute') {
      const time = this.#machine.computeTime(node);
      if (time === undefined) this.#end(node, index);
      else {
        if (!node.isCpu) this.computeTime += time;
        this.timers.after(time, done);
      }
    } else if (kind === 'none') this.#end(node, index);
    else if (node.isCpu) throw new ModelError('WORKLOAD', node.path, 'communication on a CPU');
    else this.#machine[kind](this, node, done);
  }

  #end(node: ReplayNode, index: number): void {
    this.#waiting[index] = ENDED;
    this.#ongoing--;
    const resource = resourceOf(node);
    if (node.kind !== 'receive' || resource === 'cpu') this.#busy[resource] = false;
    for (const child of node.children) {
      if (--this.#waiting[child]! === 0) this.#insertFree(child);
    }
  }

  #insertFree(index: number): void {
    const at = this.#free.findIndex((other) => other > index);
    this.#free.splice(at < 0 ? this.#free.length : at, 0, index);
  }
}

const UNDER_WAY = -1;
const ENDED = -2;

/** @throws ModelError WORKLOAD if the trace leaves out what the node needs */
export function need(
  node: ReplayNode,
  key: 'operations' | 'tensorBytes' | 'bytes' | 'source' | 'destination' | 'tag',
  attribute: string,
): number {
  const value = node[key];
  if (value === undefined) throw new ModelError('WORKLOAD', node.path, `expected the attribute ${attribute}`);
  return value;
}
