/** Files that the user names: read whole and bounded, written whole or not at all. */
import { accessSync, constants, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ModelError } from '../base/errors.ts';

/** A description of a model or a machine is some kB; a larger file is something else, and is not read. */
const MAX_DESCRIPTION_BYTES = 4 * 2 ** 20;

/** Whether an argument names a file rather than an id of the catalogue. */
export function isPath(text: string): boolean {
  return text.endsWith('.json') || /[/\\]/.test(text);
}

/** @throws ModelError that names the file if it cannot be read or is too large. */
export function readTextFile(path: string, maxBytes: number = MAX_DESCRIPTION_BYTES): string {
  try {
    const { size } = statSync(path);
    if (size > maxBytes) {
      throw new ModelError('CONFIG', path, `expected a file of at most ${maxBytes} bytes, got ${size}`);
    }
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(path, 'to read', error);
  }
}

/** @throws ModelError if a file could not be written there: asked before the work, so that none is done in vain. */
export function checkWritable(path: string): void {
  try {
    accessSync(dirname(path), constants.W_OK);
    // Moving a file into place would replace a folder or a device such as /dev/null.
    if (statSync(path, { throwIfNoEntry: false })?.isFile() === false) throw new Error('something that is no file');
  } catch (error) {
    throw fileError(path, 'to write', error);
  }
}

/** @throws ModelError if files could not be written into this folder, which need not be there yet. */
export function checkFolder(path: string): void {
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory() === false) throw new Error('something that is no folder');
    accessSync(found === undefined ? dirname(path) : path, constants.W_OK);
  } catch (error) {
    throw fileError(path, 'in a folder to write', error);
  }
}

/** Writes files by name into a folder, which is made if it is not there. */
export function writeFolder(path: string, files: Readonly<Record<string, Uint8Array>>): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw fileError(path, 'in a folder to write', error);
  }
  for (const [name, content] of Object.entries(files)) writeWhole(join(path, name), content);
}

/** Writes beside the file and moves it into place: an interrupted run leaves the old file or none. */
export function writeWhole(path: string, content: Uint8Array): void {
  const aside = join(dirname(path), `.${basename(path)}.${process.pid}`);
  try {
    writeFileSync(aside, content);
    renameSync(aside, path);
  } catch (error) {
    rmSync(aside, { force: true });
    throw fileError(path, 'to write', error);
  }
}

function fileError(path: string, purpose: string, cause: unknown): ModelError {
  if (cause instanceof ModelError) return cause;
  const reason = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;
  return new ModelError('CONFIG', path, `expected a file ${purpose}, got ${reason}`, { cause });
}
