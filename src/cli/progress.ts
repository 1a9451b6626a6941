/** A progress bar on a terminal's stderr, for work of more than a second. Elsewhere it writes nothing. */

const WIDTH = 30;
const SHOW_AFTER_MS = 1000;

export interface Progress {
  update(progress: { done: number; total: number }): void;
  /** Takes the bar away. */
  end(): void;
}

export function progressBar(label: string, isWanted: boolean): Progress {
  const { stderr } = process;
  const isShown = isWanted && stderr.isTTY === true && process.env.CI === undefined;
  const begin = performance.now();
  let isDrawn = false;
  return {
    update({ done, total }) {
      if (!isShown || performance.now() - begin < SHOW_AFTER_MS) return;
      const filled = Math.round((WIDTH * done) / total);
      stderr.write(`\r${label} [${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${done}/${total}`);
      isDrawn = true;
    },
    end() {
      if (isDrawn) stderr.write('\r\x1b[K');
    },
  };
}
