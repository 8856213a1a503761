// What is subtracted before an exponential has no gradient where nothing depends on it. An author who writes
// exp(s − m) with m the row's maximum, divides by the sum and perhaps adds m back into a log-sum-exp has a loss that is
// the same for every m; but m depends on s, and a gradient through the maximum would count ties and run a pass of its own,
// for a sum that is 0. `shifts` proves the independence and stops the gradient at m.
//
// Candidates are the terms u of x − u that are a maximum, or computed from one point by point (max(m, z) of a sink,
// max(m, floor)). One pass through the readers of u grades every value as fixed, x + c·t or x·exp(k·t) when u becomes
// u + t, where t is another number at each index of u (dsl/scalar-shift.ts has the rules of the primitives). u is held
// where every value on the way to a loss comes out fixed; a value that changes in no known way, a loss or a loop's state
// that changes refuses it. What is stopped already, by the author or by this pass, counts as constant.
import { map, label as relabel, stop, withArgs } from "../../dsl/build.js";
import { kindOf } from "../../dsl/derivative/monoid.js";
import { isFloat } from "../../dsl/derivative/terms.js";
import { argsOf, type FoldNode, type MapNode, type Node, type ScanNode, type Shape, type ViewNode } from "../../dsl/node.js";
import { inherit } from "../../dsl/places.js";
import { arg, call, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { adds, fixed, type Grade, gradeOf } from "../../dsl/scalar-shift.js";
import { Meanings } from "./meaning.js";
import { below, isLoopNode, order, type Rebuilt, rebuild } from "./walk.js";

export function shifts(roots: readonly Node[]): Rebuilt {
  const all = order(roots);
  const losses = new Set(all.flatMap((n) => (n.op === "grad" ? [n.args[0]] : [])));
  const same = { roots, to: new Map(all.map((n) => [n, n])) };
  if (losses.size === 0) return same;
  const proof = new Proof(order([...losses]), losses);
  // What a gradient is taken of, or with respect to, is read as it stands.
  const asked = new Set(all.flatMap((n) => (n.op === "grad" ? n.args : [])));
  for (const u of proof.candidates()) if (!(u.kind === "arg" && asked.has(proof.meanings.node(u.name))) && proof.free(u)) proof.held.add(u);
  return proof.held.size === 0 ? same : rebuild(roots, (n, was) => proof.stopped(n, was));
}

class Proof {
  readonly meanings = new Meanings();
  /** Terms over nodes at which gradients stop. */
  readonly held = new Set<Scalar>();
  readonly #position: ReadonlyMap<Node, number>;
  readonly #users = new Map<Node, Node[]>();
  constructor(
    readonly region: readonly Node[],
    readonly losses: ReadonlySet<Node>,
  ) {
    this.#position = new Map(region.map((n, i) => [n, i]));
    for (const n of region)
      for (const p of new Set(below(n))) {
        const users = this.#users.get(p);
        if (users) users.push(n);
        else this.#users.set(p, [n]);
      }
  }

  /** What is subtracted and comes from a maximum. */
  candidates(): ReadonlySet<Scalar> {
    const near = new Set<Node>();
    const out = new Set<Scalar>();
    for (const n of this.region) {
      if (isMaximum(n) || ((n.op === "map" || n.op === "label" || n.op === "cast") && isFloat(n) && argsOf(n).some((a) => near.has(a)))) near.add(n);
      if (n.op !== "map" || n.body.kind !== "scalar" || !n.args.some((a) => near.has(a))) continue;
      for (const t of terms([this.meanings.body(n)])) {
        const u = t.kind === "call" && t.prim === "sub" ? (t.args[1] as Scalar) : undefined;
        if (u && this.#read([u]).some((a) => near.has(a))) out.add(u);
      }
    }
    return out;
  }
  #read(of: readonly Scalar[]): readonly Node[] {
    return terms(of).flatMap((t) => (t.kind === "arg" ? [this.meanings.node(t.name)] : []));
  }

  /** Does no loss depend on u, as a variable of its own? */
  free(u: Scalar): boolean {
    const axes: Shape = Object.assign({}, ...this.#read([u]).map((n) => n.axes));
    const grades = new Map<Node, Grade>();
    const pending = new Set(this.#read([u]).flatMap((n) => this.#users.get(n) ?? []));
    // Parts before wholes: what is pending lies close together, so the first is soon found.
    while (pending.size > 0) {
      const n = [...pending].reduce((a, b) => ((this.#position.get(a) as number) < (this.#position.get(b) as number) ? a : b));
      pending.delete(n);
      const g = this.#grade(n, u, axes, grades);
      if (g === null) return false;
      if (g.kind === "fixed") continue;
      if (this.losses.has(n)) return false;
      grades.set(n, g);
      for (const m of this.#users.get(n) ?? []) pending.add(m);
    }
    return true;
  }

  #grade(n: Node, u: Scalar, axes: Shape, grades: ReadonlyMap<Node, Grade>): Grade | null {
    const of = (m: Node): Grade => {
      if (m.op === "constant") return { kind: "fixed", value: m.value };
      const t = this.meanings.of(m).body;
      return this.held.has(t) ? fixed : t === u ? adds(1) : (grades.get(m) ?? fixed);
    };
    if (n.op === "map") {
      const given = (t: Scalar) => (t === u ? adds(1) : this.held.has(t) ? fixed : undefined);
      return gradeOf(this.meanings.body(n), (name) => of(this.meanings.node(name)), given);
    }
    const parts = below(n).map(of);
    if (n.op === "stop" || parts.every((g) => g.kind === "fixed")) return fixed;
    const g = parts[0] as Grade;
    const along = (over: readonly string[]) => over.some((a) => a in axes);
    switch (n.op) {
      case "label":
        return g;
      case "cast": // rounding counts as the identity
        return isFloat(n) && isFloat(n.args[0]) ? g : null;
      case "fold":
      case "scan": {
        if (along(n.op === "fold" ? n.over : [n.over])) return null;
        const kind = kindOf(n.monoid);
        return kind === "max" || kind === "min" || (kind === "sum" && g.kind === "scales") ? g : null;
      }
      case "top":
        return along([n.over]) ? null : n.field === "value" ? g : fixed;
      // Outside they read 0, which scales but does not add.
      case "view":
        return !along(n.reads) && (g.kind === "scales" || inside(n)) ? g : null;
      case "at":
        return !along(n.along) && g.kind === "scales" && parts.slice(1).every((p) => p.kind === "fixed") ? g : null;
      default:
        return null;
    }
  }

  /** The node with the held terms stopped; `n` is what `was` became. */
  stopped(n: Node, was: Node): Node {
    if (isLoopNode(n) || was.op === "stop") return n;
    const made = n.op === "map" && was.op === "map" ? this.#map(n, was) : n;
    const old = argsOf(was);
    const args = argsOf(made).map((a, i) => (i < old.length && this.held.has(this.meanings.of(old[i] as Node).body) ? held(a) : a));
    if (args.every((a, i) => a === argsOf(made)[i])) return made;
    return made.op === "label" ? relabel(args[0] as Node, made.name, made.path, made.inputs) : withArgs(made, args);
  }
  /** Compound terms: their arguments are stopped where they stand in them. */
  #map(n: MapNode, was: MapNode): Node {
    const body = this.meanings.body(was);
    const compound = terms([body]).filter((t) => t.kind === "call" && this.held.has(t));
    if (compound.length === 0) return n;
    const inputs: Record<string, Node> = Object.fromEntries(n.names.map((name, i) => [name, n.args[i] as Node]));
    const nameOf = new Map(was.args.map((a, i) => [this.meanings.of(a).body, n.names[i] as string]));
    const constant = (t: Scalar) =>
      substitute(t, (s) => {
        const name = nameOf.get(s);
        if (name === undefined) return undefined;
        const stoppedName = `${name}_stopped`;
        inputs[stoppedName] = held(inputs[name] as Node);
        return arg(stoppedName);
      });
    const done = new Map<Scalar, Scalar>();
    for (const t of terms([body])) {
      if (compound.includes(t)) done.set(t, constant(t));
      else if (t.kind === "call") done.set(t, call(t.prim, ...t.args.map((a) => done.get(a) as Scalar)));
      else done.set(t, nameOf.has(t) ? arg(nameOf.get(t) as string) : t);
    }
    return map(inputs, { kind: "scalar", body: done.get(body) as Scalar }, n.dtype, n.axes);
  }
}

/** A fold or scan whose own component is a maximum, from whatever it starts. */
function isMaximum(n: Node): n is FoldNode | ScanNode {
  if ((n.op !== "fold" && n.op !== "scan") || n.monoid.combine.kind !== "scalar") return false;
  const t = n.monoid.combine.at[n.field];
  return t?.kind === "call" && t.prim === "max" && [`x.${n.field}`, `y.${n.field}`].every((name) => t.args.includes(arg(name)));
}
/** The same value with no gradient. */
function held(n: Node): Node {
  if (n.op === "stop") return n;
  const made = stop(n);
  inherit(made, n);
  return made;
}
/** Every index that the view reads is one of x's. */
function inside(n: ViewNode): boolean {
  if (n.index.kind !== "scalar") return false;
  return Object.entries(n.index.at).every(([a, s]) => {
    const extent = n.args[0].axes[a];
    if (s.kind === "index") return n.axes[s.axis] === extent;
    return s.kind === "const" && typeof extent === "number" && Number.isInteger(s.value) && Number(s.value) >= 0 && Number(s.value) < extent;
  });
}
