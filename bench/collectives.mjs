/**
 * How fast the collective clocks are, warm, on one core: the median of repeated calls. Each answer is checked against
 * another fidelity before it is timed, since a fast wrong answer is worth nothing.
 *
 *     node bench/collectives.mjs [--json]
 */
import { applyFaults, CollectiveModel, createCluster, findSystem, randomDeadLinks } from '../dist/index.js';

const MiB = 2 ** 20;
let sink = 0;

/** Median time of a call in seconds, over at least `least` calls and 0.2 s. */
function median(call, least = 7) {
  const times = [];
  const started = performance.now();
  while (times.length < least || performance.now() - started < 200) {
    const before = performance.now();
    sink += call();
    times.push(performance.now() - before);
  }
  return times.sort((a, b) => a - b)[times.length >> 1] / 1e3;
}

/** Many calls at once: one call is shorter than the clock's step. */
function medianOfMany(call, calls) {
  return (
    median(() => {
      let sum = 0;
      for (let i = 0; i < calls; i++) sum += call(i);
      return sum;
    }) / calls
  );
}

function check(name, a, b, tolerance) {
  if (!(Math.abs(a / b - 1) <= tolerance))
    throw new Error(`${name}: ${a} s and ${b} s differ by more than ${tolerance}`);
}

const rows = [];
function add(name, seconds, target, note = '') {
  rows.push({ name, seconds, targetS: target, ok: seconds <= target, note });
  const show = (s) => (s >= 1e-3 ? `${(s * 1e3).toFixed(3)} ms` : `${(s * 1e6).toFixed(3)} us`);
  if (!process.argv.includes('--json')) {
    console.log(
      `${name.padEnd(66)} ${show(seconds).padStart(12)}  <= ${show(target)}${seconds <= target ? '' : '  MISSED'}  ${note}`,
    );
  }
}

function machine(system, options) {
  const cluster = createCluster(findSystem(system), options);
  return { model: new CollectiveModel(cluster), group: { ranks: cluster.ranks, stride: 1 }, cluster };
}

for (const [system, options, name] of [
  ['trn2.48xlarge', {}, '64 ranks of trn2.48xlarge'],
  ['trn2-ultraserver', { rank: 'chip' }, '64 chips of trn2-ultraserver'],
  ['trn3-ultraserver-gen2', { rank: 'chip' }, '144 chips of trn3-ultraserver-gen2'],
]) {
  const { model, group } = machine(system, options);
  for (const algorithm of ['auto', 'ring']) {
    const request = (bytes) => ({ collective: 'all-reduce', bytes, group, algorithm });
    const formula = model.cost(request(64 * MiB));
    const flow = model.time(request(64 * MiB), 'flow');
    check(name, formula.time, flow.time, 0.25);
    const what = `all-reduce ${algorithm} (${formula.algorithm}), ${name}`;
    add(
      `formula, ${what}`,
      medianOfMany((i) => model.cost(request(64 * MiB + i)).time, 2000),
      5e-6,
    );
    add(
      `flow, ${what}`,
      median(() => model.time(request(64 * MiB), 'flow').time),
      1e-3,
    );
  }
}

{
  const { model, group } = machine('trn3-ultraserver-gen2', { rank: 'chip' });
  const request = { collective: 'all-to-all', bytes: 64 * MiB, group, algorithm: 'mesh' };
  const { time, resources } = model.time(request, 'flow');
  check('144-chip all-to-all', time, model.time(request, 'event').time, 0.1);
  const note = `${resources[0].name} ${(100 * resources[0].utilization).toFixed(0)} % busy`;
  add(
    'flow, all-to-all mesh, 144 chips of trn3-ultraserver-gen2',
    median(() => model.time(request, 'flow').time),
    20e-3,
    note,
  );
}

for (const [system, nodes] of [
  ['trn2.48xlarge', 62_500],
  ['trn3-ultraserver-gen2', 6944],
]) {
  for (const collective of ['all-reduce', 'all-to-all']) {
    const cold = (faults) => {
      const { cluster, group } = machine(system, { nodes, rank: 'chip' });
      const faulty = faults === 0 ? cluster : applyFaults(cluster, randomDeadLinks(cluster, faults, 1));
      return {
        model: new CollectiveModel(faulty),
        request: { collective, bytes: 64 * MiB, group, algorithm: 'hierarchical' },
      };
    };
    const run = ({ model, request }) => model.time(request, 'flow').time;
    const { model, request } = cold(0);
    check('a million chips', model.cost(request).time, run({ model, request }), 0.05);
    const what = `flow, folded, hierarchical ${collective}, ${nodes} x ${system}`;
    add(
      what,
      median(() => run({ model, request })),
      50e-3,
    );
    add(
      '  ... everything prepared anew',
      median(() => run(cold(0)), 3),
      50e-3,
    );
    add(
      '  ... with 100 random dead links, everything prepared anew',
      median(() => run(cold(100)), 1),
      2,
    );
  }
}

add('resident memory of this process, GB', process.memoryUsage.rss() / 1e9, 0.2);
if (process.argv.includes('--json')) console.log(JSON.stringify({ schemaVersion: 1, rows }, null, 2));
if (sink === 0) process.exitCode = 1;
