// Maps by what they mean. A rewrite takes scalar bodies apart and puts them together again; where the result is a map
// that the graph has already under other argument names, it must be that very node, or two folds that could share their
// elements (a softmax's sum and its weighted sum) no longer do.
//
// So a body is written over nodes: the argument that reads node 12 is called #12. Equal bodies over equal nodes are then
// one scalar term, whatever the author called the arguments.
import { map } from "../../dsl/build.js";
import type { Extent, MapNode, Node, Shape } from "../../dsl/node.js";
import { arg, constant, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { simplify } from "../../dsl/scalar-simplify.js";

/** A scalar over nodes and the axes that it varies along. */
export interface Term {
  readonly body: Scalar;
  readonly axes: Shape;
}

export class Meanings {
  readonly #read = new Map<string, Node>();
  readonly #made = new Map<string, Node>();

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
    if (n.op !== "map" || n.body.kind !== "scalar" || n.dtype !== "f32") return;
    const key = keyOf({ body: this.body(n), axes: n.axes });
    if (!this.#made.has(key)) this.#made.set(key, n);
  }
  /** The node with this value: one that is there, or a new map. */
  make(t: Term): Node {
    const body = simplify(t.body);
    if (body.kind === "arg") {
      const n = this.node(body.name);
      if (Object.keys(t.axes).every((a) => a in n.axes)) return n;
    }
    const key = keyOf({ body, axes: t.axes });
    const known = this.#made.get(key);
    if (known) return known;
    const names = new Map<string, string>();
    for (const s of terms([body])) if (s.kind === "arg" && !names.has(s.name)) names.set(s.name, letters(names.size));
    const inputs = Object.fromEntries([...names].map(([name, short]) => [short, this.node(name)]));
    const own = substitute(body, (s) => (s.kind === "arg" ? arg(names.get(s.name) as string) : undefined));
    const made = map(inputs, { kind: "scalar", body: own }, "f32", t.axes);
    this.#made.set(key, made);
    return made;
  }
}
const keyOf = (t: Term): string => `${t.body.id} ${Object.keys(t.axes).sort().join(",")}`;
/** a … z, then a1 … */
const letters = (i: number): string => String.fromCharCode(97 + (i % 26)) + (i < 26 ? "" : String(Math.floor(i / 26)));
