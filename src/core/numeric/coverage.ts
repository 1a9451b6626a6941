/**
 * Which elements of a matrix have been written: a list of rectangles, joined where two make one.
 *
 * Programs write tiles whole or block by block, so the list stays at a few entries and a matrix that is full costs one
 * comparison. A write that does not fit the list (thousands of scattered elements) is taken as its bounding rectangle from then on:
 * the check may miss a hole then, but never refuses a program that is right.
 */

const MAX_RECTANGLES = 512;

interface Rectangle {
  top: number;
  bottom: number;
  left: number;
  right: number;
}

export class Coverage {
  readonly #rows: number;
  readonly #columns: number;
  #written: Rectangle[] = [];
  #isFull = false;

  constructor(rows: number, columns: number) {
    this.#rows = rows;
    this.#columns = columns;
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  /** Forgets everything: something else was written over this memory. */
  clear(): void {
    this.#written = [];
    this.#isFull = false;
  }

  /** Rows [top, top + rows), columns [left, left + columns) have been written. */
  add(top: number, rows: number, left: number, columns: number): void {
    if (this.#isFull) return;
    const added: Rectangle = { top, bottom: top + rows, left, right: left + columns };
    if (this.#written.some((other) => contains(other, added))) return;
    // Each join may make the next one possible: a last block completes a row of blocks, that row completes the matrix.
    for (let i = 0; i < this.#written.length; i++) {
      if (!join(added, this.#written[i]!)) continue;
      this.#written.splice(i, 1);
      i = -1;
    }
    this.#written.push(added);
    if (this.#written.length > MAX_RECTANGLES) this.#written = [hull(this.#written)];
    this.#isFull = contains(added, { top: 0, bottom: this.#rows, left: 0, right: this.#columns });
  }

  /** Whether every element of the rectangle has been written. */
  covers(top: number, rows: number, left: number, columns: number): boolean {
    return this.#isFull || this.#coversFrom(0, { top, bottom: top + rows, left, right: left + columns });
  }

  /** Cuts what the first overlapping rectangle covers off `wanted`, and asks the later ones for the pieces around it. */
  #coversFrom(first: number, wanted: Rectangle): boolean {
    const { top, bottom, left, right } = wanted;
    for (let i = first; i < this.#written.length; i++) {
      const known = this.#written[i]!;
      if (known.top >= bottom || known.bottom <= top || known.left >= right || known.right <= left) continue;
      const [from, to] = [Math.max(top, known.top), Math.min(bottom, known.bottom)];
      const pieces = [
        { top, bottom: from, left, right },
        { top: to, bottom, left, right },
        { top: from, bottom: to, left, right: known.left },
        { top: from, bottom: to, left: known.right, right },
      ];
      return pieces.every(
        (piece) => piece.top >= piece.bottom || piece.left >= piece.right || this.#coversFrom(i + 1, piece),
      );
    }
    return false;
  }
}

function contains(outer: Rectangle, inner: Rectangle): boolean {
  return (
    outer.top <= inner.top && outer.bottom >= inner.bottom && outer.left <= inner.left && outer.right >= inner.right
  );
}

/** Extends `a` by `b` if their union is a rectangle. */
function join(a: Rectangle, b: Rectangle): boolean {
  const isBeside = a.top === b.top && a.bottom === b.bottom && a.left <= b.right && b.left <= a.right;
  const isBelow = a.left === b.left && a.right === b.right && a.top <= b.bottom && b.top <= a.bottom;
  if (!isBeside && !isBelow && !contains(a, b)) return false;
  Object.assign(a, hull([a, b]));
  return true;
}

function hull(rectangles: readonly Rectangle[]): Rectangle {
  return rectangles.reduce((a, b) => ({
    top: Math.min(a.top, b.top),
    bottom: Math.max(a.bottom, b.bottom),
    left: Math.min(a.left, b.left),
    right: Math.max(a.right, b.right),
  }));
}
