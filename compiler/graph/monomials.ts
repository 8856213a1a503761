// A map's body as a sum of products of its arguments, each a path: what polynomials, divisions by what no weight enters,
// choices by what no weight enters, and maps that are no steeper than the identity make of the arguments' paths.
import { map } from "../../dsl/build.js";
import { scalarOf } from "../../dsl/derivative/rule.js";
import { scalar as body } from "../../dsl/derivative/terms.js";
import type { MapNode, Node, Shape } from "../../dsl/node.js";
import { call, constant, type Scalar, substitute, terms } from "../../dsl/scalar.js";
import { show } from "../../dsl/scalar-show.js";
import { simplify } from "../../dsl/scalar-simplify.js";
import { describeNode, GraphError } from "./error.js";
import { asBounded, factor, jointly, most, noBound, type Path, path, refuse, times, tooMany } from "./path.js";

interface Term {
  readonly scale: number;
  readonly args: readonly string[];
  /** Coefficients without weights that are no numbers: functions of indices and fixed inputs. */
  readonly fixed: readonly Scalar[];
  /** It passed a map of its entries, a choice or a contraction. */
  readonly joint: boolean;
  readonly heuristic: boolean;
}
const unit: Term = { scale: 1, args: [], fixed: [], joint: false, heuristic: false };
type Sum = readonly Term[];

export interface Arguments {
  /** The argument's paths; throws why it has none. */
  of(a: Node): readonly Path[];
  /** A weight enters it. */
  depends(a: Node): boolean;
  /** Known only when the program runs. */
  runs(a: Node): boolean;
  readonly heuristic?: boolean;
}

/** |f(x)| ≤ |x| and |f(x) − f(y)| ≤ |x − y|. */
const contractions: ReadonlySet<string> = new Set(["tanh", "sin", "atan", "asinh", "abs", "toF32", "toBf16", "toF16", "toReal"]);
export const heuristically = "derive it as a heuristic, in which it counts as a map of norm 1: { heuristic: true }";

export function polynomial(n: MapNode, x: Arguments): readonly Path[] {
  const byName = new Map(n.names.map((name, i) => [name, n.args[i] as Node]));
  const root = simplify(
    substitute(scalarOf(n.body), (t) => {
      const e = t.kind === "size" ? n.axes[t.axis] : undefined;
      if (typeof e === "number") return constant(e);
      const a = t.kind === "arg" ? byName.get(t.name) : undefined;
      return a?.op === "constant" ? constant(a.value) : undefined;
    }),
  );
  const depends = new Set<Scalar>();
  const sums = new Map<Scalar, Sum | GraphError>();
  const of = (t: Scalar): Sum => {
    const s = sums.get(t) as Sum | GraphError;
    if (s instanceof GraphError) throw s;
    return s;
  };
  for (const t of terms([root])) {
    if (t.kind === "arg" ? x.depends(byName.get(t.name) as Node) : t.kind === "call" && t.args.some((a) => depends.has(a))) depends.add(t);
    sums.set(
      t,
      depends.has(t)
        ? found(() => (t.kind === "arg" ? argument(t.name, byName, x) : weighted(t, { n, root, of, depends, heuristic: x.heuristic === true })))
        : [fixedTerm(t)],
    );
  }
  const sizes = of(root).map((t) => t.args.reduce((count, a) => count * x.of(byName.get(a) as Node).length, 1));
  if (sizes.reduce((a, b) => a + b, 0) > most) return tooMany(n);
  return of(root)
    .map((t) => {
      const fixed = t.fixed.map((s) => {
        const inputs = Object.fromEntries([...byName].filter(([name]) => terms([s]).some((u) => u.kind === "arg" && u.name === name)));
        return factor(map(inputs, body(s), "f32", indicesIn(s, n.axes)), null, Object.values(inputs).some(x.runs) ? "input" : "constant");
      });
      return { term: t, start: path(fixed, t.scale, t.heuristic ? [n] : []) };
    })
    .flatMap(({ term, start }) =>
      term.args
        .reduce<readonly Path[]>((all, a) => all.flatMap((p) => x.of(byName.get(a) as Node).map((q) => times(p, q))), [start])
        .map((p) => (term.joint ? jointly(p, n) : p)),
    );
}
const found = (f: () => Sum): Sum | GraphError => {
  try {
    return f();
  } catch (e) {
    if (e instanceof GraphError) return e;
    throw e;
  }
};
/** Why an argument has no paths is said only where they are needed. */
function argument(name: string, byName: ReadonlyMap<string, Node>, x: Arguments): Sum {
  x.of(byName.get(name) as Node);
  return [{ ...unit, args: [name] }];
}
const indicesIn = (s: Scalar, axes: Shape): Shape => {
  const used = new Set(terms([s]).flatMap((t) => (t.kind === "index" || t.kind === "size" ? [t.axis] : [])));
  return Object.fromEntries(Object.entries(axes).filter(([a]) => used.has(a)));
};
const fixedTerm = (t: Scalar): Term =>
  t.kind === "const" ? { ...unit, scale: Number(t.value) } : t.kind === "arg" ? { ...unit, args: [t.name] } : { ...unit, fixed: [t] };

interface Context {
  readonly n: MapNode;
  /** Its body. */
  readonly root: Scalar;
  of(a: Scalar): Sum;
  readonly depends: ReadonlySet<Scalar>;
  readonly heuristic: boolean;
}
/** A term that a weight enters. */
function weighted(t: Scalar, c: Context): Sum {
  if (t.kind !== "call") throw new Error("rates: a leaf without weights");
  const { n, of } = c;
  const [a, b, d] = t.args as readonly [Scalar, Scalar, Scalar];
  const product = (p: Sum, q: Sum): Sum =>
    p.length * q.length > most
      ? tooMany(n)
      : p.flatMap((x) =>
          q.map((y) => ({
            scale: x.scale * y.scale,
            args: [...x.args, ...y.args],
            fixed: [...x.fixed, ...y.fixed],
            joint: x.joint || y.joint,
            heuristic: x.heuristic || y.heuristic,
          })),
        );
  const negated = (p: Sum): Sum => p.map((x) => ({ ...x, scale: -x.scale }));
  const joint = (p: Sum): Sum => p.map((x) => ({ ...x, joint: true }));
  const heuristic = (p: Sum): Sum => p.map((x) => ({ ...x, joint: true, heuristic: true }));
  /** Masked positions hold a constant: it changes nothing. */
  const finite = (p: Sum): Sum => p.filter((x) => Number.isFinite(x.scale) && x.scale !== 0);
  /** One over what no weight enters. */
  const inverse = (s: Scalar): Sum => {
    const [only] = of(s);
    return only && of(s).length === 1 && only.args.length + only.fixed.length === 0
      ? [{ ...unit, scale: 1 / only.scale }]
      : [{ ...unit, fixed: [call("div", constant(1), s)] }];
  };
  const normalisation = (over: Sum): Sum =>
    c.heuristic
      ? heuristic(over)
      : refuse(
          n,
          `${whatIs(n, c.root)} divides by a value that depends on a weight (a normalisation): its input's norm has no lower bound, so that the change of the logits has none from above`,
          `${heuristically}, or ${asBounded}`,
        );
  switch (t.prim) {
    case "neg":
      return negated(of(a));
    case "add":
      return [...of(a), ...of(b)];
    case "sub":
      return [...of(a), ...negated(of(b))];
    case "mul":
      return product(of(a), of(b));
    case "fma":
      return [...product(of(a), of(b)), ...of(d)];
    case "div":
      return c.depends.has(b) ? normalisation(of(a)) : product(of(a), inverse(b));
    case "recip0":
      return normalisation([unit]);
    case "pow": {
      const power = b.kind === "const" ? Number(b.value) : Number.NaN;
      if (Number.isInteger(power) && power >= 1 && power <= 8) return Array.from({ length: power }, () => of(a)).reduce(product);
      break;
    }
    case "select":
      if (!c.depends.has(a)) return joint(finite([...of(b), ...of(d)]));
      if (c.heuristic) return heuristic(finite([...of(b), ...of(d)]));
      return refuse(n, `${whatIs(n, c.root)} chooses by a value that depends on a weight: ${noBound}`, `${heuristically}, or ${asBounded}`);
    case "max":
    case "min":
      return joint(finite([...of(a), ...of(b)]));
    default:
      if (contractions.has(t.prim)) return joint(of(a));
  }
  if (c.heuristic) return heuristic(t.args.filter((u) => c.depends.has(u)).flatMap(of));
  return refuse(
    n,
    `${whatIs(n, c.root)} takes ${t.prim} of a value that depends on a weight, which is not Lipschitz: ${noBound}`,
    `${heuristically}, or ${asBounded}`,
  );
}
/** The map as it was read, where that is short. */
function whatIs(n: MapNode, root: Scalar): string {
  const text = show(root);
  return text.includes(";") || text.length > 80 ? describeNode(n) : `${text}, a ${describeNode(n)},`;
}
