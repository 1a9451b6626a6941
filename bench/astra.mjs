/**
 * Replays the inputs on which ASTRA-sim was timed, and prints the ratio: whole process against whole process, and the
 * replay alone, without the start of Node and the loading of modules.
 *
 *     node bench/astra.mjs [--runs 5]      after npm run build
 *
 * Every answer is checked against ASTRA-sim's before its time counts. Its seconds and peak memory are single runs of the
 * C++ program on a 2-core machine like the one this was written on (data/validation/astra); the last two tori are larger
 * than it was run on. The median of the runs is printed; a busy machine shows in the column of `node -e 0`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parseAstraNetwork, parseAstraSystem, readChakra, replay, writeChakra } from 'trnsim/replay';

const { values: flags } = parseArgs({ options: { runs: { type: 'string', default: '5' } } });
const RUNS = Number(flags.runs);
const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const SIZE = 64 * 2 ** 20;

const torus = (...npus) => npus.map((n) => ({ topology: 'Ring', npus: n, bandwidth: 50, latency: 500 }));
const switched = (second) => [
  { topology: 'Switch', npus: 144, bandwidth: 200, latency: 500 },
  ...(second ? [{ topology: 'Switch', npus: second, bandwidth: 50, latency: 2000 }] : []),
];
/** `timeNs`, `seconds`, `GB`: ASTRA-sim's answer and what it took, where it was run. */
const CASES = [
  {
    name: '144 ranks, ring all-to-all, 64 splits, aware',
    dimensions: switched(),
    code: 6,
    splits: 64,
    congestion: 'aware',
    timeNs: 709024384,
    seconds: 113.5033,
    GB: 0.028,
  },
  { name: '144 x 128 ranks, ring all-reduce', dimensions: switched(128), timeNs: 2070669, seconds: 47.3895, GB: 2.215 },
  {
    name: '144 x 8 ranks, direct all-reduce, 16 splits',
    dimensions: switched(8),
    algorithm: 'direct',
    splits: 16,
    timeNs: 133084,
    seconds: 727.4967,
    GB: 0.421,
  },
  {
    name: 'torus 512, ring all-reduce, 1024 splits',
    dimensions: torus(8, 8, 8),
    splits: 1024,
    timeNs: 9618432,
    seconds: 751.3586,
    GB: 1.009,
  },
  { name: 'torus 64, ring all-reduce', dimensions: torus(4, 4, 4), timeNs: 2594015, seconds: 0.067, GB: 0.013 },
  { name: 'torus 4,096, ring all-reduce', dimensions: torus(16, 16, 16), timeNs: 2671040, seconds: 3.4436, GB: 0.171 },
  { name: 'torus 65,536, ring all-reduce', dimensions: torus(32, 32, 64), seconds: 182, GB: 4.1 },
  { name: 'torus 1,048,576, ring all-reduce', dimensions: torus(64, 128, 128) },
];

function filesOf({ dimensions, algorithm = 'ring', splits = 1, code = 0 }) {
  const list = (key) => `[ ${dimensions.map((dimension) => dimension[key]).join(', ')} ]`;
  const network = `topology: ${list('topology')}\nnpus_count: ${list('npus')}\nbandwidth: ${list('bandwidth')}\nlatency: ${list('latency')}\n`;
  const algorithms = dimensions.map(() => algorithm);
  const system = JSON.stringify({
    'scheduling-policy': 'LIFO',
    'endpoint-delay': 10,
    'active-chunks-per-dimension': 1,
    'preferred-dataset-splits': splits,
    'collective-optimization': 'localBWAware',
    'local-mem-bw': 1600,
    'all-reduce-implementation': algorithms,
    'all-to-all-implementation': algorithms,
  });
  const attributes = [
    { name: 'comm_type', kind: 'int64', value: code },
    { name: 'comm_size', kind: 'int64', value: SIZE },
  ];
  const node = { id: 1, name: 'collective', type: 'COMM_COLL', controlDependencies: [], dataDependencies: [] };
  const nodes = [{ ...node, startMicros: 0, durationMicros: 0, attributes }];
  return { network, system, trace: writeChakra({ version: '0.0.4', attributes: [], nodes }) };
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

async function seconds(run) {
  const times = [];
  for (let i = 0; i < RUNS; i++) {
    const start = performance.now();
    await run();
    times.push((performance.now() - start) / 1000);
  }
  return median(times);
}

const scratch = mkdtempSync(join(os.tmpdir(), 'trnsim-bench-'));
const write = (name, content) => {
  const path = join(scratch, name);
  writeFileSync(path, content);
  return path;
};

process.stdout.write(`node ${process.version}, ${os.cpus()[0].model}, median of ${RUNS}\n\n`);
const titles = ['process ms', 'node -e 0', 'replay ms', 'peak MB', 'ASTRA-sim s', 'GB', 'ratio', 'without start'];
process.stdout.write(`${''.padEnd(48)}${titles.map((title) => title.padStart(14)).join('')}\n`);
let failures = 0;
for (const row of CASES) {
  const { network, system, trace } = filesOf(row);
  const args = ['--network', write('network.yml', network), '--system', write('system.json', system)];
  args.push(
    '--workload',
    write('workload.et', trace),
    '--timing',
    'astra',
    '--congestion',
    row.congestion ?? 'unaware',
  );
  const inProcess = async () => {
    const { value: dimensions } = await parseAstraNetwork(readFileSync(args[1], 'utf8'), 'network.yml');
    const { value } = parseAstraSystem(readFileSync(args[3], 'utf8'), 'system.json');
    const traces = [{ path: 'workload.et', trace: readChakra(readFileSync(args[5]), 'workload.et') }];
    return replay({ traces, network: dimensions, system: value }, { timing: 'astra', congestion: row.congestion });
  };
  const { timeNs } = await inProcess();
  const isRight = row.timeNs === undefined || timeNs === row.timeNs;
  if (!isRight) failures++;
  const spawn = () => spawnSync(process.execPath, [command, 'replay', ...args, '--json'], { encoding: 'utf8' });
  const answer = JSON.parse(spawn().stdout);
  if (answer.timeNs !== timeNs) failures++;
  const whole = await seconds(spawn);
  const empty = await seconds(() => spawnSync(process.execPath, ['-e', '0']));
  const alone = await seconds(inProcess);
  const memory = spawnSync('/usr/bin/time', ['-f', '%M', process.execPath, command, 'replay', ...args], {
    encoding: 'utf8',
  });
  const peak = memory.status === 0 ? (Number(memory.stderr.trim().split('\n').at(-1)) / 1000).toFixed(0) : '?';
  const ratio = (time) => (row.seconds === undefined ? '' : `${(row.seconds / time).toFixed(0)}x`);
  const cells = [
    (whole * 1e3).toFixed(1),
    (empty * 1e3).toFixed(1),
    (alone * 1e3).toFixed(2),
    peak,
    row.seconds ?? '',
    row.GB ?? '',
    ratio(whole),
    ratio(alone),
  ];
  const check = row.timeNs === undefined ? `${timeNs} ns` : isRight ? 'exact' : `WRONG: ${timeNs}, not ${row.timeNs}`;
  process.stdout.write(`${row.name.padEnd(48)}${cells.map((cell) => String(cell).padStart(14)).join('')}  ${check}\n`);
}
rmSync(scratch, { recursive: true });
process.exitCode = failures === 0 ? 0 : 1;
