/**
 * Which vertices of a directed graph can be reached: whether a fabric holds together, whole or with dead links.
 * Breadth first over lists of neighbours in two arrays (compressed rows), linear in the links.
 */

/**
 * 1 for each vertex that vertex 0 reaches over the links from `start[l]` to `end[l]` that are not dead. With the two ends
 * exchanged: 1 for each vertex that reaches vertex 0.
 */
export function reach(
  vertices: number,
  start: ArrayLike<number>,
  end: ArrayLike<number>,
  dead: Uint8Array | null = null,
): Uint8Array {
  const first = new Int32Array(vertices + 1);
  for (let link = 0; link < start.length; link++) first[start[link]! + 1]!++;
  for (let v = 0; v < vertices; v++) first[v + 1]! += first[v]!;
  const place = first.slice();
  const links = new Int32Array(start.length);
  for (let link = 0; link < start.length; link++) links[place[start[link]!]!++] = link;

  const reached = new Uint8Array(vertices);
  const queue = new Int32Array(vertices);
  let queued = 1;
  reached[0] = 1;
  for (let i = 0; i < queued; i++) {
    const vertex = queue[i]!;
    for (let l = first[vertex]!; l < first[vertex + 1]!; l++) {
      const next = end[links[l]!]!;
      if (dead?.[links[l]!] === 1 || reached[next] === 1) continue;
      reached[next] = 1;
      queue[queued++] = next;
    }
  }
  return reached;
}
