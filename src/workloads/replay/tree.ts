/**
 * ASTRA-sim's double binary tree all-reduce: up a tree of all ranks, adding, and down again.
 *
 * Two trees take turns from chunk to chunk, so that the leaves of one are the inner nodes of the other: in-order
 * numbering of a complete tree over N-1 ranks, under a root that is the last rank or the first. Node j = 1 .. N-1 of the
 * complete tree has height h = lowest set bit of j, children j - h/2 and j + h/2, and the parent at j + h or j - h.
 * The ranks of a tree are not alike, so nothing is folded within one.
 * see: astra-sim/astra-sim .../logical_topology/BinaryTree.cc, .../DoubleBinaryTreeAllReduce.cc; Sanders, Speck, Traeff,
 * Two-tree algorithms for full bandwidth broadcast, reduction and scan (2009)
 */
import type { Algorithm, Port } from './algorithms.ts';

interface TreePlace {
  readonly parent: number | undefined;
  readonly children: readonly number[];
}

/** Parent and children of `position` among `ranks` (a power of two); `isRootLast` chooses the tree. */
function treePlace(ranks: number, position: number, isRootLast: boolean): TreePlace {
  const root = isRootLast ? ranks - 1 : 0;
  // Numbers 1 .. N-1 below the root, to positions.
  const shift = isRootLast ? -1 : 0;
  if (position === root) return { parent: undefined, children: [ranks / 2 + shift] };
  const j = position - shift;
  const height = j & -j;
  const isTop = j === ranks / 2;
  const above = (j & (2 * height)) !== 0 ? j - height : j + height;
  return {
    parent: isTop ? root : above + shift,
    children: height === 1 ? [] : [j - height / 2 + shift, j + height / 2 + shift],
  };
}

/** The all-reduce of `bytes` for the rank at `position`. */
export function treeAlgorithm(
  ranks: number,
  bytes: number,
  position: number,
  isRootLast: boolean,
  port: Port,
): Algorithm {
  const { parent, children } = treePlace(ranks, position, isRootLast);
  let arrived = 0;
  let added = 0;
  let isGoingDown = false;
  const offset = (other: number) => other - position;
  const exchangeWithParent = () => {
    port.send(offset(parent!), bytes);
    port.receive(offset(parent!), bytes);
  };
  const sendDown = () => {
    for (const child of children) port.send(offset(child), bytes);
    port.exit();
  };
  return {
    start() {
      if (children.length === 0) port.local(0);
      else for (const child of children) port.receive(offset(child), bytes);
    },
    received() {
      arrived++;
      // From a child or, to an inner node, from the parent: added either way. A leaf only stores what comes down.
      isGoingDown = children.length === 0 || parent === undefined || arrived > children.length;
      port.local(children.length === 0 ? 0 : bytes);
    },
    passed() {
      if (children.length === 0) {
        if (isGoingDown) port.exit();
        else exchangeWithParent();
      } else if (isGoingDown) sendDown();
      else if (++added === children.length) exchangeWithParent();
    },
  };
}
