// Walking and rebuilding a graph, loops included. Everything here is iterative and visits a node once, so that a graph
// as deep as a hundred unrolled layers neither overflows the stack nor takes longer than its size.
//
// A loop's body is not marked: it is the nodes that depend on the loop's placeholders. `scopes` computes, for each node,
// the loops whose placeholders it depends on; a node that depends on none of a loop's is outside it, and is evaluated
// once however often the loop runs.

import { carry, emit, label, reloop, withArgs } from "../../dsl/build.js";
import { argsOf, type Leaf, type Loop, type Node } from "../../dsl/node.js";
import { inherit, onBehalfOf, withoutRecording } from "../../dsl/places.js";

export const isLoopNode = (n: Node): n is Extract<Node, { loop: Loop }> => n.op === "carry" || n.op === "emit";

/** What must be known before n: its args and, for a loop's results, what the loop's body gives. */
export function below(n: Node): readonly Node[] {
  if (n.op === "carry") return [...n.args, ...n.loop.next];
  if (n.op === "emit") return [...n.args, ...n.loop.next, n.of];
  return argsOf(n);
}
/** The same with the inputs that a label names, which are no operands: what has to be rewritten along with n. */
const mentioned = (n: Node): readonly Node[] => (n.op === "label" && n.inputs.length > 0 ? [...n.args, ...n.inputs] : below(n));

/** All nodes below the roots, parts before wholes, each once; `parts` says what counts as a part. */
export function order(roots: readonly Node[], parts: (n: Node) => readonly Node[] = below): readonly Node[] {
  const out: Node[] = [];
  const seen = new Set<Node>();
  for (const root of roots) {
    if (seen.has(root)) continue;
    seen.add(root);
    const stack = [{ node: root, parts: parts(root), next: 0 }];
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const part = top.parts[top.next++];
      if (part === undefined) {
        out.push(top.node);
        stack.pop();
      } else if (!seen.has(part)) {
        seen.add(part);
        stack.push({ node: part, parts: parts(part), next: 0 });
      }
    }
  }
  return out;
}
export const orderWithMentions = (roots: readonly Node[]): readonly Node[] => order(roots, mentioned);

export const placeholders = (l: Loop): readonly Leaf[] => [...l.carry, ...l.slices, l.counter];

/** The loop that binds each placeholder. */
export function owners(nodes: readonly Node[]): ReadonlyMap<Leaf, Loop> {
  const out = new Map<Leaf, Loop>();
  for (const n of nodes) {
    if (!isLoopNode(n)) continue;
    for (const p of placeholders(n.loop)) {
      const known = out.get(p);
      if (known && known !== n.loop) throw new Error(`graph: placeholder ${p.name} belongs to two loops`);
      out.set(p, n.loop);
    }
  }
  return out;
}

const nowhere: ReadonlySet<Loop> = new Set();
function union(a: ReadonlySet<Loop>, b: ReadonlySet<Loop>): ReadonlySet<Loop> {
  if (a === b || b.size === 0 || [...b].every((l) => a.has(l))) return a;
  if (a.size === 0) return b;
  return new Set([...a, ...b]);
}
export type Scopes = ReadonlyMap<Node, ReadonlySet<Loop>>;
/** For each node the loops whose placeholders it depends on (a loop's own results do not depend on that loop's).
 *  `extra`: loops whose results are not among the nodes; `known`: nodes whose scopes are known already. */
export function scopes(nodes: readonly Node[], extra: readonly Loop[] = [], known?: Scopes): Scopes {
  const owner = new Map(owners(nodes));
  for (const l of extra) for (const p of placeholders(l)) owner.set(p, l);
  const out = new Map<Node, ReadonlySet<Loop>>(known);
  for (const n of nodes) {
    if (out.has(n)) continue;
    if (n.op === "leaf") {
      const l = n.role === "bound" ? owner.get(n) : undefined;
      out.set(n, l ? new Set([l]) : nowhere);
      continue;
    }
    let free = nowhere;
    for (const part of below(n)) free = union(free, out.get(part) ?? nowhere);
    if (isLoopNode(n) && free.has(n.loop)) free = new Set([...free].filter((l) => l !== n.loop));
    out.set(n, free);
  }
  return out;
}

/** Nodes of a loop's body below `targets`, parts before wholes: those that depend on its placeholders. Inner loops'
 *  bodies are theirs. */
export function bodyOf(l: Loop, targets: readonly Node[], scope: Scopes): readonly Node[] {
  const inside = (n: Node) => scope.get(n)?.has(l) === true;
  const direct = (n: Node) => (isLoopNode(n) ? [...n.args, ...capturedBy(n, scope)] : argsOf(n)).filter(inside);
  return order(targets.filter(inside), direct);
}
/** Nodes from outside that the body of n's loop reads, n's own emitted value included; args are not among them. */
function capturedBy(n: Extract<Node, { loop: Loop }>, scope: Scopes): readonly Node[] {
  return capturedNodes(n.loop, n.op === "emit" ? [...n.loop.next, n.of] : n.loop.next, scope);
}
export function capturedNodes(l: Loop, targets: readonly Node[], scope: Scopes): readonly Node[] {
  // Bodies of inner loops are inside as well, though they may depend on the inner placeholders alone. A body is reached
  // through its loop's results only, so the inner loops are known in time.
  const within = new Set<Loop>([l]);
  const inside = (n: Node) => [...(scope.get(n) ?? nowhere)].some((m) => within.has(m));
  const parts = (n: Node): readonly Node[] => {
    if (!inside(n)) return [];
    if (isLoopNode(n)) within.add(n.loop);
    return below(n);
  };
  return order(targets, parts).filter((n) => !inside(n));
}

/** Parts of n that lie in n's own region: args, and for loops what the body captures from outside. */
export const partsInRegion = (n: Node, scope: Scopes): readonly Node[] => (isLoopNode(n) ? [...n.args, ...capturedBy(n, scope)] : argsOf(n));

export interface Rebuilt {
  readonly roots: readonly Node[];
  /** What every node below the roots became. */
  readonly to: ReadonlyMap<Node, Node>;
}
/** Rewrites bottom-up, each node once: `f` gets the node with its rewritten args (and what it was) and gives what stands
 *  for it, which must have the same axes. A loop any of whose parts changed becomes one new loop, shared by all its
 *  results; its placeholders stay what they are. The new nodes have the origins of the old. `given`: nodes whose replacement is known already; what lies below them is left alone. */
export function rebuild(roots: readonly Node[], f: (n: Node, was: Node) => Node, given?: (n: Node) => Node | undefined): Rebuilt {
  const to = new Map<Node, Node>();
  const loops = new Map<Loop, Loop>();
  const now = (n: Node): Node => {
    const m = to.get(n);
    if (!m) throw new Error(`graph: rebuilt out of order (${n.op} ${n.id})`);
    return m;
  };
  const all = (ns: readonly Node[]): readonly Node[] => {
    const out = ns.map(now);
    return out.every((n, i) => n === ns[i]) ? ns : out;
  };
  const loopOf = (l: Loop): Loop => {
    let made = loops.get(l);
    if (!made) {
      const [init, xs, next] = [all(l.init), all(l.xs), all(l.next)];
      made = init === l.init && xs === l.xs && next === l.next ? l : reloop(l, { init, xs, next });
      loops.set(l, made);
    }
    return made;
  };
  const again = (n: Node): Node => {
    if (n.op === "carry") {
      const l = loopOf(n.loop);
      return l === n.loop ? n : carry(l, n.index);
    }
    if (n.op === "emit") {
      const l = loopOf(n.loop);
      return l === n.loop && now(n.of) === n.of ? n : emit(l, now(n.of));
    }
    if (n.op === "label") {
      const inputs = all(n.inputs);
      const x = now(n.args[0]);
      return x === n.args[0] && inputs === n.inputs ? n : label(x, n.name, n.path, inputs);
    }
    return withArgs(n, all(argsOf(n)));
  };
  withoutRecording(() => {
    for (const n of given ? order(roots, (m) => (given(m) ? [] : mentioned(m))) : orderWithMentions(roots)) {
      const made = given?.(n) ?? onBehalfOf(n, () => f(again(n), n));
      inherit(made, n);
      to.set(n, made);
    }
  });
  return { roots: roots.map(now), to };
}
