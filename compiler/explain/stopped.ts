// Fusions that something in the expression prevents. A contraction with an axis of its own on each side, queries × keys, exists
// tile by tile if only folds over one side read it; the lowering says what else reads it, or why a fold cannot
// (Plan.why). Here that is put in the author's terms: which value is kept in memory, by which expression and where, and
// what could be written instead. Only of values that the plan does keep: a reason may have been got around.
import { isLeft } from "fp-ts/lib/Either.js";
import { argsOf, type Leaf, type Node } from "../../dsl/node.js";
import { isPointwise, quadratics, type Sides } from "../graph/quadratic.js";
import { order } from "../graph/walk.js";
import { lower } from "../lower/lower.js";
import { called, type Diagnosis, diagnosis } from "./words.js";

type Large = ReadonlyMap<Node, readonly Sides[]>;

/** `roots`: a graph that all passes have gone over. Nothing where it cannot be lowered: that is said elsewhere. */
export function stoppedFusions(roots: readonly Node[]): readonly Diagnosis[] {
  const nodes = order(roots);
  const leaves = nodes.filter((n): n is Leaf => n.op === "leaf" && n.role === "input");
  const program = {
    name: "diagnosis",
    inputs: Object.fromEntries(leaves.map((l, i) => [`input${i}`, l])),
    outputs: Object.fromEntries(roots.map((r, i) => [`output${i}`, r])),
    updates: [],
  };
  const plan = lower(program, { tiles: true });
  if (isLeft(plan)) return [];
  const large = quadratics(nodes);
  const inMemory = new Set<Node>();
  for (const b of plan.right.buffers) {
    if (plan.right.inBlocks?.has(b.id)) continue;
    const held = b.role === "temp" || b.role === "output" ? plan.right.holds?.get(b.id) : undefined;
    if (held && large.has(held)) for (const c of contractionsOf(held, large)) inMemory.add(c);
  }
  const readers = new Map<Node, { readonly node: Node; readonly reason: string }[]>();
  for (const { node, reason } of plan.right.why ?? []) {
    const own = large.has(node) && node.op === "fold";
    const value = own ? node : contractionsOf(node, large).find((c) => inMemory.has(c));
    if (value && inMemory.has(value)) readers.set(value, [...(readers.get(value) ?? []), { node, reason }]);
  }
  // A result is stored although its kernel may still work tile by tile.
  for (const root of roots)
    if (large.has(root))
      for (const value of contractionsOf(root, large))
        if (!readers.has(value)) readers.set(value, [{ node: root, reason: "is wanted whole, as a result" }]);
  return [...readers].map(([value, by]) => stopped(value, by));
}

/** The contractions that a value is made of, through point-wise expressions, the nearest first. */
function contractionsOf(n: Node, large: Large): readonly Node[] {
  const out: Node[] = [];
  const seen = new Set<Node>();
  const todo = large.has(n) && n.op === "fold" ? [n] : [...argsOf(n)];
  for (let x = todo.shift(); x; x = todo.shift()) {
    if (seen.has(x)) continue;
    seen.add(x);
    if (large.has(x) && x.op === "fold") out.push(x);
    else if (large.has(x) || isPointwise(x)) todo.push(...argsOf(x));
  }
  return out;
}
/** The label under which the author knows a value: the one nearest to its reader among those that stand between them. */
function labelOf(value: Node, reader: Node): Node {
  const towards = new Map<Node, Node | undefined>([[reader, undefined]]);
  const todo = [reader];
  for (let x = todo.shift(); x && x !== value; x = todo.shift()) {
    if (x !== reader && !isPointwise(x)) continue;
    for (const a of argsOf(x)) {
      if (towards.has(a)) continue;
      towards.set(a, x);
      todo.push(a);
    }
  }
  let label = value;
  if (reader.op === "label") return reader;
  for (let x = towards.get(value); x; x = towards.get(x)) if (x.op === "label" && !x.name.startsWith("bounded:")) label = x;
  return label;
}

function stopped(value: Node, by: readonly { readonly node: Node; readonly reason: string }[]): Diagnosis {
  const [{ node: reader, reason }, ...others] = by as readonly [(typeof by)[0], ...typeof by];
  const own = reader === value || reason.endsWith("as a result");
  const why = own ? `it ${reason}` : `${called(reader)} ${needs[reader.op] ?? reason}`;
  const more = others.filter((o) => o.node.op === reader.op).length;
  return diagnosis(
    "stopped",
    reader,
    `${called(labelOf(value, reader))} is stored whole, and not only computed tile by tile where it is used: ${why}${more > 0 ? `, and so ${more === 1 ? "does one other" : `do ${more} others`}` : ""}`,
    hints[own ? "result" : reader.op] ?? "read it by folds over one of its sides: then it needs no memory",
  );
}
const needs: Readonly<Record<string, string | undefined>> = {
  scan: "takes it in order, and gives a value for each of its elements",
  top: "selects among all of it",
  carry: "keeps it from turn to turn",
  emit: "keeps it for every turn",
};
const hints: Readonly<Record<string, string | undefined>> = {
  result: "return folds of it instead, such as its maximum or its logSumExp along one side, or leave it out of the results",
  scan: "where what is scanned does not depend on the other side (log f of each key), scan it before the two meet",
  top: "select by something smaller first, such as a score for each block of keys, and gather these",
  view: "shift, cut or pick the queries or the keys before their product, where that means the same",
  at: "pick the queries or the keys before their product: at(k, { key: chosen })",
  fold: "fold over one side alone, and what remains in a second fold",
  carry: "let the loop carry folds of it",
  emit: "let the loop give folds of it",
};
