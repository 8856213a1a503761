// A value as one scalar expression over what no map computed: maps, labels and stops are seen through, as the lowering
// substitutes them later, so that a condition and what it guards stand in one expression however many maps the author
// wrote. Axes align by name, so indices and sizes mean the same on the way.
import type { Node } from "../../dsl/node.js";
import { arg, constant, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { simplify } from "../../dsl/scalar-simplify.js";

export interface Expanded {
  readonly body: Scalar;
  /** What the arguments stand for. */
  readonly args: ReadonlyMap<string, Node>;
}
/** Expressions that grow beyond this stay apart. */
const LARGEST = 400;

/** Seen through without a change of value. Casts between floats round, which no analysis here minds. */
const transparent = (n: Node): boolean => n.op === "label" || n.op === "stop" || (n.op === "cast" && isReal(n) && isReal(n.args[0]));
const isReal = (n: Node): boolean => n.dtype !== "i32" && n.dtype !== "bool";

export class Expander {
  readonly #done = new Map<Node, Expanded>();

  of(n: Node): Expanded {
    const stack: Node[] = [n];
    for (let x = stack.at(-1); x; x = stack.at(-1)) {
      const waiting = this.#done.has(x) ? [] : partsOf(x).filter((p) => !this.#done.has(p));
      if (waiting.length > 0) {
        stack.push(...waiting);
        continue;
      }
      if (!this.#done.has(x)) this.#done.set(x, this.#make(x));
      stack.pop();
    }
    return this.#done.get(n) as Expanded;
  }
  /** A term of a map's own body, with what its arguments are. */
  within(n: Node & { readonly op: "map" }, term: Scalar): Expanded {
    const args = new Map<string, Node>();
    const body = substitute(term, (leaf) => {
      if (leaf.kind !== "arg") return undefined;
      const part = n.args[n.names.indexOf(leaf.name)];
      if (!part) return undefined;
      const e = this.of(part);
      for (const [name, node] of e.args) args.set(name, node);
      return e.body;
    });
    return { body: simplify(body), args };
  }

  #make(n: Node): Expanded {
    if (n.op === "constant") return { body: constant(n.value), args: new Map() };
    if (transparent(n)) return this.#done.get((n as Extract<Node, { op: "label" }>).args[0]) as Expanded;
    if (n.op === "map" && n.body.kind === "scalar") {
      const e = this.within(n, n.body.body);
      if (terms([e.body]).length <= LARGEST) return e;
    }
    const name = `#${n.id}`;
    return { body: arg(name), args: new Map([[name, n]]) };
  }
}
function partsOf(n: Node): readonly Node[] {
  return (n.op === "map" && n.body.kind === "scalar") || transparent(n) ? ("args" in n ? n.args : []) : [];
}
