// Maps by what they mean. A rewrite takes scalar bodies apart and puts them together again; where the result is a map
// that the graph has already under other argument names, it must be that very node, or two folds that could share their
// elements (a softmax's sum and its weighted sum) no longer do.
//
// So a body is written over nodes: the argument that reads node 12 is called #12. Equal bodies over equal nodes are then
// one scalar term, whatever the author called the arguments. Nor does it matter how they were divided into maps: a body is
// looked up with its arguments' bodies put in as well, a few maps deep.
import { map } from "../../dsl/build.js";
import type { Extent, MapNode, Node, Shape } from "../../dsl/node.js";
import { arg, constant, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { simplify } from "../../dsl/scalar-simplify.js";

/** A scalar over nodes and the axes that it varies along. */
export interface Term {
  readonly body: Scalar;
  readonly axes: Shape;
}

const DEEP = 3;

export class Meanings {
  readonly #read = new Map<string, Node>();
  readonly #made = new Map<string, Node>();
  /** `opaque`: maps that are not looked into. */
  constructor(readonly opaque: (n: Node) => boolean = () => false) {}

  /** The value of a node. */
  of(n: Node): Term {
    const name = `#${n.id}`;
    this.#read.set(name, n);
    return { body: arg(name), axes: n.axes };
  }
  /** The node that an argument reads. */
  node(name: string): Node {
    const n = this.#read.get(name);
    if (!n) throw new Error(`graph: no node is called ${name}`);
    return n;
  }
  /** A map's body over nodes, simplified. Known extents are numbers in it. */
  body(n: MapNode): Scalar {
    if (n.body.kind !== "scalar") throw new Error(`graph: map ${n.id} has not been read`);
    return simplify(
      substitute(n.body.body, (t) => {
        if (t.kind === "arg") return this.of(n.args[n.names.indexOf(t.name)] as Node).body;
        const extent = t.kind === "size" ? n.axes[t.axis] : undefined;
        return typeof extent === "number" ? constant(extent) : undefined;
      }),
    );
  }
  /** The axes that each term of a body varies along. Those of indices and run-time sizes are found in `whole`. */
  axes(body: Scalar, whole: Shape): ReadonlyMap<Scalar, Shape> {
    const out = new Map<Scalar, Shape>();
    for (const t of terms([body])) {
      const own: Record<string, Extent> = {};
      if (t.kind === "arg") Object.assign(own, this.node(t.name).axes);
      else if (t.kind === "index" || t.kind === "size") own[t.axis] = whole[t.axis] as Extent;
      else if (t.kind === "call") for (const a of t.args) Object.assign(own, out.get(a));
      out.set(t, own);
    }
    return out;
  }
  /** A map that the graph has from now on. */
  note(n: Node): void {
    if (!isReal(n)) return;
    for (const body of this.#depths(this.body(n))) {
      const key = keyOf({ body, axes: n.axes });
      if (!this.#made.has(key)) this.#made.set(key, n);
    }
  }
  /** The same value as it is, and with its arguments' bodies put in, once and more often. */
  #depths(body: Scalar): readonly Scalar[] {
    const out = [body];
    for (let now = body; out.length <= DEEP; out.push(now)) {
      const before = now;
      now = simplify(substitute(now, (t) => (t.kind === "arg" ? this.#opened(this.node(t.name)) : undefined)));
      if (now === before) break;
    }
    return out;
  }
  #opened(n: Node): Scalar | undefined {
    return isReal(n) && !this.opaque(n) ? this.body(n) : undefined;
  }
  /** A node of the graph with this value. */
  find(t: Term): Node | undefined {
    const body = simplify(t.body);
    if (body.kind === "arg") {
      const n = this.node(body.name);
      if (Object.keys(t.axes).every((a) => a in n.axes)) return n;
    }
    for (const b of this.#depths(body)) {
      const known = this.#made.get(keyOf({ body: b, axes: t.axes }));
      if (known) return known;
    }
    return undefined;
  }
  /** The node with this value: one that is there, or a new map. */
  make(t: Term): Node {
    const known = this.find(t);
    if (known) return known;
    const body = simplify(t.body);
    const names = new Map<string, string>();
    for (const s of terms([body])) if (s.kind === "arg" && !names.has(s.name)) names.set(s.name, letters(names.size));
    const inputs = Object.fromEntries([...names].map(([name, short]) => [short, this.node(name)]));
    const own = substitute(body, (s) => (s.kind === "arg" ? arg(names.get(s.name) as string) : undefined));
    const made = map(inputs, { kind: "scalar", body: own }, "f32", t.axes);
    this.note(made);
    return made;
  }
}
const isReal = (n: Node): n is MapNode => n.op === "map" && n.body.kind === "scalar" && n.dtype === "f32";
const keyOf = (t: Term): string => `${t.body.id} ${Object.keys(t.axes).sort().join(",")}`;
/** a … z, then a1 … */
const letters = (i: number): string => String.fromCharCode(97 + (i % 26)) + (i < 26 ? "" : String(Math.floor(i / 26)));
