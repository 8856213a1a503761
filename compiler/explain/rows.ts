// Warns of masks that leave rows without a key: for each maximum of a masked score (every softmax has one) the condition is
// read off the score's expression and put to masks.ts, with the sizes that the program fixes, small ones for run-time
// extents, and data for the tensors that the condition reads.
import { kindOf } from "../../dsl/derivative/monoid.js";
import type { Extent, FoldNode, Leaf, Node } from "../../dsl/node.js";
import { UpTo } from "../../dsl/node.js";
import { constant, index, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { compileScalar } from "../../dsl/scalar-eval.js";
import { type Expanded, Expander } from "./expand.js";
import { type Data, type EmptyRows, emptyRows, kept, type Sizes } from "./masks.js";
import { type Diagnosis, diagnosis, shown } from "./words.js";

/** `nodes`: a graph whose arrows are read, parts before wholes. */
export function rowsWithoutKeys(nodes: readonly Node[], expander = new Expander()): readonly Diagnosis[] {
  const out: Diagnosis[] = [];
  for (const n of nodes) {
    if (n.op !== "fold" || n.args.length !== 1 || kindOf(n.monoid) !== "max") continue;
    const score = expander.of(n.args[0] as Node);
    const condition: Expanded = { body: kept(score.body), args: score.args };
    if (condition.body.kind === "const" && condition.body.value === true) continue;
    const found = askedOf(n, condition);
    if (found) out.push(warning(n, condition, found));
  }
  return out;
}

function askedOf(n: FoldNode, { body, args }: Expanded): EmptyRows | undefined {
  const read = new Map([...args].filter(([name]) => terms([body]).some((t) => t.kind === "arg" && t.name === name)));
  const accesses = new Map([...read].map(([name, node]) => [name, accessOf(node)] as const));
  const axes = new Set<string>();
  for (const t of terms([body])) if (t.kind === "index" || t.kind === "size") axes.add(t.axis);
  for (const node of read.values()) for (const a of Object.keys(node.axes)) axes.add(a);
  const whole = (n.args[0] as Node).axes;
  const known = [...accesses.values()].every((a) => a !== null);
  const answer = emptyRows({
    condition: body,
    over: n.over,
    sizes: sizesOf([...axes], whole),
    data: known ? dataFor(accesses as ReadonlyMap<string, Access>) : [], // every one is, just asked
  });
  return answer.kind === "empty" ? answer : undefined;
}
/** Sizes as fixed; run-time extents, together, at 1 to 6 and as large as they may be. */
function sizesOf(axes: readonly string[], shape: Node["axes"]): readonly Sizes[] {
  const extents = axes.map((a) => [a, shape[a]] as const);
  if (!extents.some(([, e]) => e instanceof UpTo)) return [Object.fromEntries(extents.map(([a, e]) => [a, Number(e ?? 1)]))];
  return [1, 2, 3, 4, 5, 6, 64].map((n) => Object.fromEntries(extents.map(([a, e]) => [a, e instanceof UpTo ? Math.min(n, e.max) : (e ?? 1)])));
}

// ── data ─────────────────────────────────────────────────────────────────────────────────────────────
/** Which element of which tensor a value is. */
interface Access {
  readonly leaf: Leaf;
  /** By the leaf's axis, its index over the value's own. */
  readonly at: Readonly<Record<string, Scalar>>;
}
/** null: the value is computed, or drawn. */
function accessOf(n: Node): Access | null {
  const views: Extract<Node, { op: "view" }>[] = [];
  let x = n;
  for (;;) {
    if (x.op === "label" || x.op === "stop" || x.op === "cast") x = x.args[0];
    else if (x.op === "view" && x.index.kind === "scalar") {
      views.push(x);
      x = x.args[0];
    } else break;
  }
  if (x.op !== "leaf" || x.role === "bound") return null;
  let at: Readonly<Record<string, Scalar>> = Object.fromEntries(Object.keys(x.axes).map((a) => [a, index(a)]));
  for (const v of views.reverse()) {
    const by = v.index.kind === "scalar" ? v.index.at : {};
    at = Object.fromEntries(Object.entries(at).map(([a, s]) => [a, substitute(s, (t) => (t.kind === "index" ? by[t.axis] : undefined))]));
    // Sizes of what is viewed, which the result need not have.
    const viewed = v.args[0].axes;
    at = Object.fromEntries(
      Object.entries(at).map(([a, s]) => [
        a,
        substitute(s, (t) => (t.kind === "size" && !(t.axis in v.axes) ? constant(largest(viewed[t.axis])) : undefined)),
      ]),
    );
  }
  return { leaf: x, at };
}
const largest = (e: Extent | undefined): number => (e instanceof UpTo ? e.max : (e ?? 1));

/** What the tensors may hold: the same for equal elements, wherever the condition reads them. */
const contents: readonly { readonly what: (bool: boolean) => string; readonly of: (element: number, leaf: number) => number }[] = [
  { what: (bool) => (bool ? "false throughout" : "0 throughout"), of: () => 0 },
  { what: (bool) => (bool ? "true throughout" : "1 throughout"), of: () => 1 },
  { what: () => "different in every element", of: (element, leaf) => element + leaf * 1_000_003 },
  ...[1, 2, 3].map((seed) => ({ what: () => "such", of: (element: number, leaf: number) => Math.floor(hashed(element, leaf, seed) * 4) })),
];
const hashed = (a: number, b: number, c: number): number => {
  const x = Math.sin(a * 12.9898 + b * 78.233 + c * 37.719) * 43758.5453;
  return x - Math.floor(x);
};
function dataFor(accesses: ReadonlyMap<string, Access>): readonly Data[] {
  if (accesses.size === 0) return [];
  const readers = new Map(
    [...accesses].map(([name, { leaf, at }]) => {
      const axes = [
        ...new Set(Object.values(at).flatMap((s) => terms([s]).flatMap((t) => (t.kind === "index" || t.kind === "size" ? [t.axis] : [])))),
      ];
      const run = Object.entries(at).map(([a, s]) => ({
        size: largest(leaf.axes[a]),
        of: compileScalar(s, { args: [], indices: axes, sizes: axes }),
      }));
      return [name, { leaf, axes, run }] as const;
    }),
  );
  const bool = [...accesses.values()].every(({ leaf }) => leaf.dtype === "bool");
  const order = new Map([...new Set([...accesses.values()].map(({ leaf }) => leaf))].map((leaf, i) => [leaf, i]));
  return contents.map(({ what, of }) => ({
    what: what(bool),
    value: (name, at, sizes) => {
      const reader = readers.get(name);
      if (!reader) throw new Error(`masks: no data for ${name}`);
      const { leaf, axes, run } = reader;
      const [indices, extents] = [axes.map((a) => at[a] ?? 0), axes.map((a) => sizes[a] ?? 1)];
      let element = 0;
      for (const r of run) {
        const i = Number(r.of([], indices, extents));
        if (!(i >= 0 && i < r.size)) return leaf.dtype === "bool" ? false : 0; // outside a view reads 0
        element = element * r.size + i;
      }
      const value = of(element, order.get(leaf) as number);
      return leaf.dtype === "bool" ? value % 2 === 1 : value;
    },
  }));
}
// ── words ────────────────────────────────────────────────────────────────────────────────────────────
const listed = (at: Sizes, join: string): string =>
  Object.entries(at)
    .map(([a, v]) => `${a}${join}${v}`)
    .join(", ");

function warning(n: FoldNode, condition: Expanded, e: EmptyRows): Diagnosis {
  const author = maskOf(n.args[0] as Node);
  const names = namesIn(author);
  const text = shown(condition, names);
  const keys = n.over.join(", ");
  const tensors = [...condition.args]
    .filter(([name]) => terms([condition.body]).some((t) => t.kind === "arg" && t.name === name))
    .map(([, x]) => names(x));
  const data =
    e.data === null ? "" : ` where ${tensors.map((t) => `"${t ?? "a tensor"}"`).join(", ")} ${tensors.length === 1 ? "is" : "are"} ${e.data}`;
  const which =
    e.count >= e.rows
      ? "no row has a key"
      : e.count === 1
        ? `row ${listed(e.row, " = ")} has no key`
        : `${e.count} of ${e.rows} rows have no key, the first is ${listed(e.row, " = ")}`;
  const sizes = Object.keys(e.sizes).length > 0 ? ` (tried with ${listed(e.sizes, " ")})` : "";
  return diagnosis(
    "warning",
    author,
    `this mask can empty rows over "${keys}": under ${text}, ${which}${data}${sizes}`,
    "such a row's softmax is 0, and so are its output and its gradient; if that is not meant, let each row keep a key, its own for one",
  );
}
/** The map that masks: the first one, from the fold down, that has −∞ in its own body. */
function maskOf(score: Node): Node {
  const seen = new Set<Node>();
  const todo: Node[] = [score];
  for (let x = todo.shift(); x; x = todo.shift()) {
    if (seen.has(x)) continue;
    seen.add(x);
    if (x.op === "map" && x.body.kind === "scalar") {
      if (terms([x.body.body]).some((t) => t.kind === "const" && t.value === -Infinity)) return x;
      todo.push(...x.args);
    } else if (x.op === "label" || x.op === "stop" || x.op === "cast") todo.push(x.args[0]);
  }
  return score;
}
/** What the author calls the values in that map. */
function namesIn(author: Node): (n: Node) => string | undefined {
  if (author.op !== "map") return () => undefined;
  const under = (n: Node): Node => {
    let x = n;
    while (x.op === "label" || x.op === "stop" || x.op === "cast") x = x.args[0];
    return x;
  };
  return (n) => author.names[author.args.findIndex((a) => a === n || under(a) === under(n))];
}
