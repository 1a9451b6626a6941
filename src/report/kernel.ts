/** The text of one operator's time: the totals, then what each engine did. */
import type { KernelResult } from '../workloads/kernel.ts';
import { formatBytes, formatTime, significant } from './numbers.ts';
import { table } from './table.ts';

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Report of `trnsim kernel`. */
export function kernelReport(result: KernelResult): string {
  const { op, dims, dtype, chip, cores, program, engines } = result;
  const shape = Object.entries(dims)
    .map(([name, size]) => `${name} ${size}`)
    .join(', ');
  const where = program === null ? chip : `${cores} core${cores === 1 ? '' : 's'} of ${chip}`;
  // A reader who did not ask for cores should see that the time is not that of the chip.
  const chosen = result.isDefaultCores && program !== null ? ' (one logical core; --cores takes more)' : '';
  const totals: (readonly [string, string])[] = [
    ['time', `${formatTime(result.timeNs)} (model: ${result.fidelity})`],
    ['bound by', result.bound],
    ...(result.tflops > 0 ? [['rate', `${significant(result.tflops)} TFLOP/s`] as const] : []),
    ...(result.tflops > 0 && result.mfu !== null ? [['MFU', percent(result.mfu)] as const] : []),
    ['HBM', `${formatBytes(result.hbmBytes)}${result.mbu === null ? '' : `, ${percent(result.mbu)} of its bandwidth`}`],
  ];
  if (program !== null) {
    const path = Object.entries(program.criticalPathNs)
      .filter(([, ns]) => ns / result.timeNs >= 0.005)
      .sort(([, a], [, b]) => b - a)
      .map(([part, ns]) => `${part} ${percent(ns / result.timeNs)}`);
    totals.push(
      ['critical path', path.join(', ')],
      [
        'program',
        `${program.name}: ${program.instructions} instructions on a core, ${program.folded} of them replayed`,
      ],
      ['on chip', `${formatBytes(program.sbufBytes)} of SBUF, ${program.psumBanks} PSUM banks`],
    );
  }
  const lines = table(totals, [
    { title: '', value: ([name]) => name },
    { title: '', value: ([, text]) => text },
  ]);
  const used = Object.entries(engines).filter(([, { busyNs }]) => busyNs > 0);
  const busy = table(used, [
    { title: 'engine', value: ([name]) => name },
    { title: 'busy', value: ([, { busyNs }]) => formatTime(busyNs), align: 'right' },
    { title: 'utilisation', value: ([, { utilisation }]) => percent(utilisation), align: 'right' },
  ]);
  return `${op} (${shape}) in ${dtype}, on ${where}${chosen}\n\n${lines}\n${busy}`;
}
