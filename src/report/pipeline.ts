/**
 * A pipeline's run drawn: as text for a terminal, as SVG for a page, as tracks for Perfetto.
 *
 * Text: a line per device, a column per `step` of time; a digit or letter is a forward pass of that micro-batch (lower case: its
 * backward pass, `w`: a weight gradient, `.`: idle).
 */
import { PICOSECONDS_PER_SECOND } from '../base/units.ts';
import type { Timeline } from '../formats/perfetto.ts';
import type { PipelineRun, TimedPass } from '../workloads/pipeline/engine.ts';
import { BACKWARD, FORWARD, WEIGHT } from '../workloads/pipeline/pass.ts';
import { formatTime, significant } from './numbers.ts';

/** Of text, whatever the run takes: a terminal's width. */
const COLUMNS = 120;
const SYMBOLS = '0123456789';

/** The pass that a device is in at a time; undefined: none. Where two run together, the forward one. */
function passAt(passes: readonly TimedPass[], time: number): TimedPass | undefined {
  return passes.find(({ start, end }) => start <= time && time < end);
}

function symbolOf({ kind, microBatch }: TimedPass): string {
  if (kind === FORWARD) return SYMBOLS[microBatch % SYMBOLS.length]!;
  if (kind === WEIGHT) return 'w';
  // Backward passes as letters: a is micro-batch 0.
  return String.fromCharCode(97 + (microBatch % SYMBOLS.length));
}

/** The run in at most 120 columns. */
export function pipelineText({ time, passes, busy }: PipelineRun): string {
  const step = time / COLUMNS;
  const lines = passes.map((ofDevice, device) => {
    const cells = Array.from({ length: COLUMNS }, (_, column) => {
      const pass = passAt(ofDevice, (column + 0.5) * step);
      return pass === undefined ? '.' : symbolOf(pass);
    });
    const idle = time === 0 ? 0 : 100 * (1 - busy[device]! / time);
    return `${String(device).padStart(4)} ${cells.join('')} ${idle.toFixed(1).padStart(5)} % idle\n`;
  });
  const legend = `a column is ${formatTime(1e9 * step)}; 0-9 forward, a-j backward of micro-batches (modulo 10), w weight gradients\n`;
  return `${lines.join('')}${legend}`;
}

const COLOURS: Readonly<Record<TimedPass['kind'], string>> = ['#4c78a8', '#f58518', '#f58518', '#72b7b2'];
/** Pixels of a device's row, and of the drawing. */
const ROW = 22;
const WIDTH = 1200;

/** The run as an SVG document. */
export function pipelineSvg({ time, passes }: PipelineRun, title: string): string {
  const x = (at: number): string => significant((WIDTH * at) / time);
  const boxes = passes.flatMap((ofDevice, device) =>
    ofDevice.map(({ kind, stage, microBatch, start, end }, index) => {
      const other = ofDevice.find((pass, i) => i !== index && pass.start === start && pass.end === end);
      // Passes that run together share the row.
      const half = other === undefined ? 1 : 0.5;
      const y = device * ROW + (half === 0.5 && kind !== FORWARD ? ROW / 2 : 0);
      const name = `${kind === FORWARD ? 'forward' : kind === WEIGHT ? 'weight gradient' : 'backward'} of micro-batch ${microBatch}, stage ${stage}`;
      const width = x(end - start);
      return `<rect x="${x(start)}" y="${y}" width="${width}" height="${half * (ROW - 2)}" fill="${COLOURS[kind]}" stroke="#fff" stroke-width="0.5"><title>${name}</title></rect>`;
    }),
  );
  const height = passes.length * ROW;
  const safe = title.replace(/&/g, '&amp;').replace(/</g, '&lt;');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height + 24}" font-family="sans-serif" font-size="13">\n<title>${safe}</title>\n<rect width="${WIDTH}" height="${height + 24}" fill="#fff"/>\n${boxes.join('\n')}\n<text x="4" y="${height + 17}">${safe}</text>\n</svg>\n`;
}

const KINDS: Readonly<Record<TimedPass['kind'], string>> = ['forward', 'backward', 'input gradient', 'weight gradient'];

/** The run as tracks, one for each device and direction of work, so that passes that run together do not overlap. */
export function pipelineTimeline({ passes }: PipelineRun): Timeline {
  const ps = (seconds: number): number => Math.round(seconds * PICOSECONDS_PER_SECOND);
  return {
    tracks: passes.flatMap((_, device) => [
      { id: `${device} forward`, name: `device ${device}, forward` },
      { id: `${device} backward`, name: `device ${device}, backward` },
    ]),
    slices: passes.flatMap((ofDevice, device) =>
      ofDevice.map(({ kind, stage, microBatch, start, end }) => ({
        track: `${device} ${kind === FORWARD ? 'forward' : 'backward'}`,
        name: `${kind === BACKWARD ? 'backward' : KINDS[kind]} ${microBatch}`,
        start: ps(start),
        duration: ps(end) - ps(start),
        args: { stage, microBatch },
      })),
    ),
  };
}
