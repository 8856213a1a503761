// Under which conditions a value takes part in a fold at all. A masked score is −∞ where its condition fails, its
// exponential 0 there, a product with it 0, and a fold that meets only zeros (a maximum only −∞) does not change: tiles
// outside the condition need not be computed. The condition is a conjunction of the conditions that the author's arrows
// select by, each with the map it stands in; a sum of differently masked terms keeps what they share, which is less, and
// sound.
import type { MapNode, Node } from "../../dsl/node.js";
import type { Scalar } from "../../dsl/scalar.js";

export interface Condition {
  readonly key: string;
  readonly node: MapNode;
  readonly scalar: Scalar;
  readonly negated: boolean;
}
/** A conjunction by key; `nothing`: the value is its fold's identity everywhere. */
export type Mask = ReadonlyMap<string, Condition> | "nothing";

const always: Mask = new Map();
const both = (a: Mask, b: Mask): Mask => (a === "nothing" || b === "nothing" ? "nothing" : b.size === 0 ? a : new Map([...a, ...b]));
const either = (a: Mask, b: Mask): Mask => (a === "nothing" ? b : b === "nothing" ? a : new Map([...a].filter(([key]) => b.has(key))));

type What = "zero" | "lowest";
export class Masks {
  readonly #known: { readonly [W in What]: Map<Node, Mask> } = { zero: new Map(), lowest: new Map() };
  readonly #scalars = new Map<string, Mask>();
  /** `opaque`: values that a condition must not depend on, since it is wanted before they are computed. */
  constructor(readonly opaque: (n: Node) => boolean) {}

  /** Outside this n is `what`: 0, or −∞. */
  of(n: Node, what: What): Mask {
    // Maps nest as deep as an author writes expressions; their parts come first without recursion over the graph.
    const known = this.#known[what];
    const stack: Node[] = [n];
    for (let x = stack.at(-1); x; x = stack.at(-1)) {
      if (known.has(x)) {
        stack.pop();
        continue;
      }
      const open = this.#parts(x).filter((p) => !this.#known.zero.has(p) || !this.#known.lowest.has(p));
      if (open.length > 0) {
        stack.push(...open);
        continue;
      }
      this.#known.zero.set(x, this.#make(x, "zero"));
      this.#known.lowest.set(x, this.#make(x, "lowest"));
      stack.pop();
    }
    return known.get(n) as Mask;
  }
  #parts(n: Node): readonly Node[] {
    if (n.op === "map" && n.body.kind === "scalar") return n.args;
    return n.op === "label" || n.op === "stop" ? n.args : [];
  }
  #make(n: Node, what: What): Mask {
    if (n.op === "label" || n.op === "stop") return this.#known[what].get(n.args[0]) as Mask;
    if (n.op === "constant") return (what === "zero" ? Number(n.value) === 0 : n.value === -Infinity) ? "nothing" : always;
    if (n.op !== "map" || n.body.kind !== "scalar") return always;
    return this.#scalar(n, n.body.body, what);
  }
  /** Terms are shared: each is met once. */
  #scalar(n: MapNode, s: Scalar, what: What): Mask {
    const key = `${n.id} ${s.id} ${what}`;
    const known = this.#scalars.get(key);
    if (known) return known;
    const made = this.#ofScalar(n, s, what);
    this.#scalars.set(key, made);
    return made;
  }
  #ofScalar(n: MapNode, s: Scalar, what: What): Mask {
    if (s.kind === "const") return (what === "zero" ? Number(s.value) === 0 : s.value === -Infinity) ? "nothing" : always;
    if (s.kind === "arg") return this.#known[what].get(n.args[n.names.indexOf(s.name)] as Node) as Mask;
    if (s.kind !== "call") return always;
    const of = (i: number, w: What = what): Mask => this.#scalar(n, s.args[i] as Scalar, w);
    if (s.prim === "select") {
      const [c] = s.args as readonly [Scalar, Scalar, Scalar];
      return either(both(this.#condition(n, c, false), of(1)), both(this.#condition(n, c, true), of(2)));
    }
    if (what === "zero") {
      switch (s.prim) {
        case "mul":
          return both(of(0), of(1));
        case "add":
        case "sub":
          return either(of(0), of(1));
        case "neg":
        case "abs":
        case "toReal":
          return of(0);
        case "div":
          return of(0);
        case "exp":
          return of(0, "lowest");
        default:
          return always;
      }
    }
    switch (s.prim) {
      case "add":
        return both(of(0), of(1));
      case "sub":
        return of(0);
      case "mul":
        return positive(s.args[1] as Scalar) ? of(0) : positive(s.args[0] as Scalar) ? of(1) : always;
      case "div":
        return positive(s.args[1] as Scalar) ? of(0) : always;
      case "max":
        return either(of(0), of(1));
      case "min":
        return both(of(0), of(1));
      case "log":
        return of(0, "zero");
      default:
        return always;
    }
  }
  #condition(node: MapNode, scalar: Scalar, negated: boolean): Mask {
    if (scalar.kind === "const") return Boolean(scalar.value) !== negated ? always : "nothing";
    if (scalar.kind === "call" && scalar.prim === "not") return this.#condition(node, scalar.args[0] as Scalar, !negated);
    if (scalar.kind === "call" && scalar.prim === (negated ? "or" : "and"))
      return both(this.#condition(node, scalar.args[0] as Scalar, negated), this.#condition(node, scalar.args[1] as Scalar, negated));
    const above = negated ? undefined : aboveLowest(scalar);
    if (above && above.kind !== "const") return this.#scalar(node, above, "lowest");
    if (negated && scalar.kind === "call" && scalar.prim === "eq") {
      const [a, b] = scalar.args as readonly [Scalar, Scalar];
      for (const [x, y] of [
        [a, b],
        [b, a],
      ] as const)
        if (y.kind === "const" && y.value === -Infinity) return this.#scalar(node, x, "lowest");
    }
    const args = argsRead(scalar).map((name) => node.args[node.names.indexOf(name)] as Node);
    if (args.some(this.opaque)) return always;
    // Equal conditions in different maps are one: by the scalar, the values it reads and the axes it stands over.
    const key = `${negated ? "!" : ""}${scalar.id}(${args.map((a) => a.id).join(",")})`;
    return new Map([[key, { key, node, scalar, negated }]]);
  }
}
/** What is greater than some number where the condition holds: −∞ is not. */
function aboveLowest(c: Scalar): Scalar | undefined {
  if (c.kind !== "call") return undefined;
  const [a, b] = c.args as readonly [Scalar, Scalar];
  const finite = (s: Scalar) => s.kind === "const" && Number(s.value) > -Infinity;
  if ((c.prim === "gt" && b.kind === "const") || (c.prim === "ge" && finite(b))) return a;
  if ((c.prim === "lt" && a.kind === "const") || (c.prim === "le" && finite(a))) return b;
  if (c.prim === "ne") return a.kind === "const" && a.value === -Infinity ? b : b.kind === "const" && b.value === -Infinity ? a : undefined;
  return undefined;
}
const positive = (s: Scalar): boolean => s.kind === "const" && Number(s.value) > 0;
function argsRead(root: Scalar): readonly string[] {
  const out = new Set<string>();
  const todo: Scalar[] = [root];
  for (let s = todo.pop(); s; s = todo.pop()) {
    if (s.kind === "arg") out.add(s.name);
    if (s.kind === "call") todo.push(...s.args);
  }
  return [...out];
}
export const keyOf = (m: Mask): string => (m === "nothing" ? "nothing" : [...m.keys()].sort().join("&"));
export const meet = either;
