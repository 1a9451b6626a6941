/** The text of a bring-up: a pass/fail table and the totals. */
import type { SelfTestResult } from '../workloads/selftest/selftest.ts';
import { formatTime, significant } from './numbers.ts';
import { table } from './table.ts';

export function selfTestReport(result: SelfTestResult): string {
  const { system, chips, chip, checks, passed, failed, skipped, timeNs, energyJ, energyReason } = result;
  const rows = table(checks, [
    { title: 'part', value: ({ part }) => part },
    { title: 'check', value: ({ name }) => name },
    { title: '', value: ({ ok }) => (ok === null ? 'skipped' : ok ? 'pass' : 'FAIL') },
    { title: 'time', value: (row) => (row.timeNs === 0 ? '' : formatTime(row.timeNs)), align: 'right' },
    {
      title: 'energy',
      value: (row) => (row.energyJ === null || row.energyJ === 0 ? '' : `${significant(row.energyJ)} J`),
      align: 'right',
    },
    { title: 'error', value: ({ error }) => (error === null ? '' : significant(error)), align: 'right' },
    { title: 'what', value: ({ detail }) => detail },
  ]);
  const energy = energyJ === null ? `energy unknown: ${energyReason}` : `${significant(energyJ)} J (${energyReason})`;
  const verdict = failed === 0 ? 'ok' : 'FAILED';
  return `Bring-up of ${system}: ${chips} x ${chip}\n\n${rows}\n${verdict}: ${passed} passed, ${failed} failed, ${skipped} skipped; ${formatTime(timeNs)} simulated, ${energy}\n`;
}
