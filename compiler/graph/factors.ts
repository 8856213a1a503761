// Nodes as products: the factors of a value, seen through maps that multiply, guard (select(c, x, 0)) and divide, and
// through labels and stops. What is no product is one factor. Only axes matter to who asks, so a factor is the axes it has.
import type { Node } from "../../dsl/node.js";
import { type Scalar, terms } from "../../dsl/scalar.js";

export interface Factor {
  readonly axes: ReadonlySet<string>;
  /** The nodes it is computed from: one, or the arguments that a compound scalar reads. */
  readonly nodes: readonly Node[];
}

export const isZero = (s: Scalar): boolean => s.kind === "const" && Number(s.value) === 0;

/** The factors of n; a node for which `whole` holds is not looked into. */
export function factorsOf(n: Node, whole: (n: Node) => boolean = () => false): readonly Factor[] {
  const out: Factor[] = [];
  const todo: Node[] = [n];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (!whole(x) && (x.op === "label" || x.op === "stop")) todo.push(x.args[0]);
    else if (!whole(x) && x.op === "map" && x.body.kind === "scalar") {
      const { names, args } = x;
      const of = (name: string): Node => args[names.indexOf(name)] as Node;
      for (const s of scalarFactors(x.body.body)) {
        if (s.kind === "arg") todo.push(of(s.name));
        else out.push(compound(s, of));
      }
    } else out.push({ axes: new Set(Object.keys(x.axes)), nodes: [x] });
  }
  return out;
}
function compound(s: Scalar, of: (name: string) => Node): Factor {
  const axes = new Set<string>();
  const nodes: Node[] = [];
  for (const t of terms([s])) {
    if (t.kind === "index") axes.add(t.axis);
    if (t.kind !== "arg") continue;
    const n = of(t.name);
    nodes.push(n);
    for (const a of Object.keys(n.axes)) axes.add(a);
  }
  return { axes, nodes };
}
/** Constants are left out. */
function scalarFactors(body: Scalar): readonly Scalar[] {
  const out: Scalar[] = [];
  const todo: Scalar[] = [body];
  for (let s = todo.pop(); s; s = todo.pop()) {
    if (s.kind === "const" || s.kind === "size") continue;
    if (s.kind === "call" && (s.prim === "mul" || s.prim === "neg" || s.prim === "toReal")) todo.push(...s.args);
    else if (s.kind === "call" && s.prim === "select" && isZero(s.args[2] as Scalar)) todo.push(s.args[0] as Scalar, s.args[1] as Scalar);
    else if (s.kind === "call" && s.prim === "select" && isZero(s.args[1] as Scalar)) todo.push(s.args[0] as Scalar, s.args[2] as Scalar);
    else if (s.kind === "call" && s.prim === "div") {
      todo.push(s.args[0] as Scalar);
      if ((s.args[1] as Scalar).kind !== "const") out.push(s.args[1] as Scalar);
    } else out.push(s);
  }
  return out;
}

/** A product's two operands: the widest factor starts one group, the widest with a row that it lacks the other; each of the
 *  rest joins the group that it widens least. */
export function twoGroups<F, R>(factors: readonly F[], rowsOf: (f: F) => readonly R[]): readonly [F[], F[]] | undefined {
  const sorted = [...factors].sort((x, y) => rowsOf(y).length - rowsOf(x).length);
  const first = sorted[0];
  const second = first && sorted.find((f) => rowsOf(f).some((r) => !rowsOf(first).includes(r)));
  if (first === undefined || second === undefined) return undefined;
  const groups: readonly [F[], F[]] = [[first], [second]];
  // One occurrence of each started the groups: expressions are shared, and in x·x·y a factor stands twice.
  const rest = [...factors];
  for (const f of [first, second]) rest.splice(rest.indexOf(f), 1);
  for (const f of rest) {
    const widens = (g: readonly F[]) => {
      const span = new Set(g.flatMap(rowsOf));
      return rowsOf(f).filter((r) => !span.has(r)).length;
    };
    (widens(groups[0]) <= widens(groups[1]) ? groups[0] : groups[1]).push(f);
  }
  return groups;
}
