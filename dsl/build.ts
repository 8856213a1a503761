// Makes nodes: the shape rule of every operation, and hash-consing, so that equal expressions are one object. The
// public operations check their arguments for the author; passes of the compiler call these directly.
import type {
  Arrow,
  AtNode,
  Body,
  BoundNode,
  CarryNode,
  CastNode,
  Constant,
  DType,
  EmitNode,
  Extent,
  FoldNode,
  GradNode,
  IndexBody,
  LabelNode,
  Leaf,
  Loop,
  MapNode,
  MonoidBody,
  Node,
  ParamInfo,
  RandomNode,
  RateNode,
  RateRule,
  ScanNode,
  Shape,
  StopNode,
  TopNode,
  ViewNode,
} from "./node.js";
import { argsOf, UpTo } from "./node.js";
import { record } from "./places.js";

/** Axes or sizes that do not fit together. */
export class ShapeError extends Error {
  override readonly name = "ShapeError";
}

export const showExtent = (e: Extent): string => (e instanceof UpTo ? `upTo(${e.max})` : String(e));
export const showShape = (s: Shape): string =>
  `{ ${Object.entries(s)
    .map(([a, e]) => `${a}: ${showExtent(e)}`)
    .join(", ")} }`;

// ── hash-consing ─────────────────────────────────────────────────────────────────────────────────────
// Nodes die with their last user: the table holds them weakly.
const table = new Map<string, WeakRef<Node>>();
const finished = new FinalizationRegistry<string>((key) => {
  if (table.get(key)?.deref() === undefined) table.delete(key);
});
let nextId = 0;

type Made<N extends Node> = Omit<N, "id">;
function cons<N extends Node>(key: string, spec: Made<N>): N {
  const known = table.get(key)?.deref();
  if (known) {
    record(known);
    return known as N; // one key, one op
  }
  const made = { id: nextId++, ...spec } as N; // spec is N without the id
  table.set(key, new WeakRef<Node>(made));
  finished.register(made, key);
  record(made);
  return made;
}

const arrowIds = new WeakMap<Arrow, number>();
let nextArrow = 0;
function arrowId(f: Arrow): number {
  let id = arrowIds.get(f);
  if (id === undefined) {
    id = nextArrow++;
    arrowIds.set(f, id);
  }
  return id;
}
const literal = (v: number | boolean) => (Object.is(v, -0) ? "-0" : String(v));
const extentKey = (e: Extent) => (e instanceof UpTo ? `u${e.id}` : String(e));
const shapeKey = (s: Shape) =>
  Object.entries(s)
    .map(([a, e]) => `${a}:${extentKey(e)}`)
    .join(",");
const captureKey = (c: Readonly<Record<string, number | boolean | Arrow>>) =>
  Object.entries(c)
    .map(([k, v]) => `${k}=${typeof v === "function" ? `f${arrowId(v)}` : literal(v)}`)
    .join(",");
const bodyKey = (b: Body) => (b.kind === "scalar" ? `s${b.body.id}` : `f${arrowId(b.fn)}{${captureKey(b.captured)}}.${b.field ?? ""}`);
const indexKey = (b: IndexBody) =>
  b.kind === "scalar"
    ? Object.entries(b.at)
        .map(([a, s]) => `${a}=s${s.id}`)
        .join(",")
    : `f${arrowId(b.fn)}{${captureKey(b.constants)}}`;
const monoidKey = (m: MonoidBody) =>
  `${Object.entries(m.empty)
    .map(([k, v]) => `${k}=${literal(v)}`)
    .join(",")}|${
    m.combine.kind === "scalar"
      ? Object.entries(m.combine.at)
          .map(([a, s]) => `${a}=s${s.id}`)
          .join(",")
      : `f${arrowId(m.combine.fn)}`
  }`;
const ids = (xs: readonly Node[]) => xs.map((x) => x.id).join(",");

// ── shapes ───────────────────────────────────────────────────────────────────────────────────────────
/** The union of the axes, in order of first appearance; sizes must agree. */
export function unite(shapes: readonly Shape[]): Shape {
  const out: Record<string, Extent> = {};
  for (const shape of shapes)
    for (const [axis, extent] of Object.entries(shape)) {
      const known = out[axis];
      if (known !== undefined && known !== extent)
        throw new ShapeError(`axis sizes differ: "${axis}" is ${showExtent(known)} in one input and ${showExtent(extent)} in another`);
      out[axis] = extent;
    }
  return out;
}
export const without = (s: Shape, axes: readonly string[]): Shape => Object.fromEntries(Object.entries(s).filter(([a]) => !axes.includes(a)));

// ── constructors ─────────────────────────────────────────────────────────────────────────────────────
/** Never shared: two inputs of one shape are two inputs. */
export function leaf(role: Leaf["role"], name: string, axes: Shape, dtype: DType, param?: ParamInfo): Leaf {
  const made: Leaf = { id: nextId++, op: "leaf", role, name, axes, dtype, ...(param ? { param } : {}) };
  record(made);
  return made;
}
export const constant = (value: number | boolean, dtype: DType = typeof value === "boolean" ? "bool" : "f32"): Constant =>
  cons<Constant>(`const ${dtype} ${literal(value)}`, { op: "constant", axes: {}, dtype, value });

/** `extra`: axes of the result that no input has (`grid`). */
export function map(inputs: Readonly<Record<string, Node>>, body: Body, dtype: DType = "f32", extra: Shape = {}): MapNode {
  const names = Object.keys(inputs);
  const args = Object.values(inputs);
  const axes = unite([...args.map((a) => a.axes), extra]);
  return cons<MapNode>(`map ${dtype} ${names.join(",")} ${ids(args)} ${bodyKey(body)} ${shapeKey(axes)}`, {
    op: "map",
    axes,
    dtype,
    names,
    args,
    body,
  });
}
/** `reads`: the axes of x that the index body names. Result axes: x's others stay where they are; as many fresh axes as
 *  read ones take their places one by one (a renaming moves nothing), else all stand where the first read axis stood. */
export function view(x: Node, fresh: Shape, index: IndexBody, reads: readonly string[]): ViewNode {
  for (const r of reads) if (!(r in x.axes)) throw new ShapeError(`no such axis: "${r}" is not in ${showShape(x.axes)}`);
  const entries = Object.entries(fresh);
  for (const [a] of entries) if (a in x.axes && !reads.includes(a)) throw new ShapeError(`axis "${a}" exists already in ${showShape(x.axes)}`);
  const axes: Record<string, Extent> = {};
  const put = (some: readonly (readonly [string, Extent])[]) => {
    for (const [a, e] of some) axes[a] = e;
  };
  const first = Object.keys(x.axes).find((a) => reads.includes(a));
  for (const [a, e] of Object.entries(x.axes)) {
    if (!reads.includes(a)) axes[a] = e;
    else if (entries.length === reads.length) put([entries[reads.indexOf(a)] as [string, Extent]]);
    else if (a === first) put(entries);
  }
  if (first === undefined) put(entries);
  return cons<ViewNode>(`view ${x.id} ${shapeKey(axes)} ${reads.join(",")} ${indexKey(index)}`, {
    op: "view",
    axes,
    dtype: x.dtype,
    args: [x],
    fresh,
    index,
    reads,
  });
}
export function at(x: Node, along: readonly string[], indices: readonly Node[]): AtNode {
  for (const a of along) if (!(a in x.axes)) throw new ShapeError(`no such axis: "${a}" is not in ${showShape(x.axes)}`);
  const axes = unite([...indices.map((i) => i.axes), without(x.axes, along)]);
  return cons<AtNode>(`at ${x.id} ${along.join(",")} ${ids(indices)}`, { op: "at", axes, dtype: x.dtype, args: [x, ...indices], along });
}
/** All components of one fold. */
export function fold(xs: Readonly<Record<string, Node>>, monoid: MonoidBody, over: readonly string[]): Readonly<Record<string, FoldNode>> {
  const args = Object.values(xs);
  unite(args.map((a) => a.axes));
  for (const o of over)
    if (!args.some((a) => o in a.axes)) throw new ShapeError(`no such axis: "${o}" is not in ${showShape(unite(args.map((a) => a.axes)))}`);
  const common = `fold ${ids(args)} ${monoidKey(monoid)} ${over.join(",")}`;
  return Object.fromEntries(
    Object.entries(xs).map(([field, x]) => [
      field,
      cons<FoldNode>(`${common} ${field}`, { op: "fold", axes: without(x.axes, over), dtype: "f32", args, monoid, over, field }),
    ]),
  );
}
export function scan(
  xs: Readonly<Record<string, Node>>,
  monoid: MonoidBody,
  over: string,
  o: { readonly exclusive?: boolean; readonly reverse?: boolean } = {},
): Readonly<Record<string, ScanNode>> {
  const args = Object.values(xs);
  const all = unite(args.map((a) => a.axes));
  const extent = all[over];
  if (extent === undefined) throw new ShapeError(`no such axis: "${over}" is not in ${showShape(all)}`);
  const { exclusive = false, reverse = false } = o;
  const common = `scan ${ids(args)} ${monoidKey(monoid)} ${over} ${exclusive} ${reverse}`;
  return Object.fromEntries(
    Object.entries(xs).map(([field, x]) => [
      field,
      cons<ScanNode>(`${common} ${field}`, {
        op: "scan",
        axes: over in x.axes ? x.axes : { ...x.axes, [over]: extent },
        dtype: "f32",
        args,
        monoid,
        over,
        exclusive,
        reverse,
        field,
      }),
    ]),
  );
}
export function top(x: Node, over: string, slot: string, k: number, field: TopNode["field"]): TopNode {
  if (!(over in x.axes)) throw new ShapeError(`no such axis: "${over}" is not in ${showShape(x.axes)}`);
  const axes = field === "chosen" ? x.axes : Object.fromEntries(Object.entries(x.axes).map(([a, e]) => (a === over ? [slot, k] : [a, e])));
  const dtype = field === "value" ? "f32" : field === "index" ? "i32" : "bool";
  return cons<TopNode>(`top ${x.id} ${over} ${slot} ${k} ${field}`, { op: "top", axes, dtype, args: [x], over, slot, k, field });
}
export const random = (kind: RandomNode["kind"], key: string, extend: readonly Node[], axes: Shape): RandomNode =>
  cons<RandomNode>(`random ${kind} ${JSON.stringify(key)} ${ids(extend)} ${shapeKey(axes)}`, {
    op: "random",
    axes,
    dtype: "f32",
    args: extend,
    kind,
    key,
  });
export const cast = (x: Node, dtype: DType): Node =>
  x.dtype === dtype ? x : cons<CastNode>(`cast ${x.id} ${dtype}`, { op: "cast", axes: x.axes, dtype, args: [x] });
export const stop = (x: Node): StopNode => cons<StopNode>(`stop ${x.id}`, { op: "stop", axes: x.axes, dtype: x.dtype, args: [x] });
export const label = (x: Node, name: string, path: string, inputs: readonly Node[]): LabelNode =>
  cons<LabelNode>(`label ${x.id} ${JSON.stringify([name, path])} ${ids(inputs)}`, {
    op: "label",
    axes: x.axes,
    dtype: x.dtype,
    args: [x],
    name,
    path,
    inputs,
  });
export const grad = (loss: Node, wrt: Node): GradNode =>
  cons<GradNode>(`grad ${loss.id} ${wrt.id}`, { op: "grad", axes: wrt.axes, dtype: "f32", args: [loss, wrt] });
/** `axes`: those of the weight that separate rates. */
export const rate = (weight: Node, logits: readonly Node[], rule: RateRule, axes: Shape): RateNode => {
  const { norm, combine, floor, heuristic } = rule; // the rule may be a whole rate node
  return cons<RateNode>(`rate ${weight.id} ${ids(logits)} ${norm} ${combine} ${floor} ${heuristic} ${shapeKey(axes)}`, {
    op: "rate",
    axes,
    dtype: "f32",
    args: [weight, ...logits],
    norm,
    combine,
    floor,
    heuristic,
  });
};
/** `axes`: those of the logits that tell bounds apart. */
export const bound = (args: readonly [Node, ...Node[]], o: Pick<BoundNode, "what" | "roles" | "norm" | "combine">, axes: Shape): BoundNode =>
  cons<BoundNode>(`bound ${ids(args)} ${o.what} ${o.roles.join(",")} ${o.norm} ${o.combine} ${shapeKey(axes)}`, {
    op: "bound",
    axes,
    dtype: "f32",
    args,
    what: o.what, // o may be a whole bound node
    roles: o.roles,
    norm: o.norm,
    combine: o.combine,
  });

let nextLoop = 0;
/** `body` is called once, on placeholders. Carries keep the axes of their initial values; xs must have `axis`. */
export function loop(
  o: { readonly axis: string; readonly count: number; readonly reverse?: boolean; readonly init: readonly Node[]; readonly xs: readonly Node[] },
  body: (carry: readonly Leaf[], slices: readonly Leaf[], counter: Leaf) => readonly Node[],
): Loop {
  const id = nextLoop++;
  for (const x of o.xs)
    if (x.axes[o.axis] !== o.count)
      throw new ShapeError(`repeat: a stacked input needs axis "${o.axis}" of size ${o.count}, it has ${showShape(x.axes)}`);
  const carry = o.init.map((n, i) => leaf("bound", `carry${id}.${i}`, n.axes, n.dtype));
  const slices = o.xs.map((n, i) => leaf("bound", `slice${id}.${i}`, without(n.axes, [o.axis]), n.dtype));
  const counter = leaf("bound", `counter${id}`, {}, "i32");
  const next = body(carry, slices, counter);
  if (next.length !== carry.length) throw new ShapeError(`repeat: the body gives ${next.length} values for ${carry.length} of state`);
  next.forEach((n, i) => {
    const was = (carry[i] as Leaf).axes;
    const same = Object.keys(was).length === Object.keys(n.axes).length && Object.entries(was).every(([a, e]) => n.axes[a] === e);
    if (!same) throw new ShapeError(`repeat: the body turns state ${showShape(was)} into ${showShape(n.axes)}; both must have the same axes`);
  });
  return { id, axis: o.axis, count: o.count, reverse: o.reverse ?? false, init: o.init, xs: o.xs, carry, slices, counter, next };
}
/** The same loop computing other things: how passes rebuild one. It keeps its placeholders, so the old loop must not
 *  live on in the same graph. */
export const reloop = (l: Loop, parts: Pick<Loop, "init" | "xs" | "next">): Loop => ({ ...l, ...parts, id: nextLoop++ });
const loopArgs = (l: Loop): readonly Node[] => [...l.init, ...l.xs];
export const carry = (l: Loop, index: number): CarryNode => {
  const init = l.init[index] as Node;
  return cons<CarryNode>(`carry ${l.id} ${index}`, { op: "carry", axes: init.axes, dtype: init.dtype, args: loopArgs(l), loop: l, index });
};
export const emit = (l: Loop, of: Node): EmitNode => {
  if (l.axis in of.axes) throw new ShapeError(`repeat: a value inside already has the loop's axis "${l.axis}"`);
  return cons<EmitNode>(`emit ${l.id} ${of.id}`, {
    op: "emit",
    axes: { [l.axis]: l.count, ...of.axes },
    dtype: of.dtype,
    args: loopArgs(l),
    loop: l,
    of,
  });
};

/** The same operation on other arguments: how passes rebuild a graph. Loops are rebuilt by `compiler/graph`. */
export function withArgs(n: Node, args: readonly Node[]): Node {
  const old = argsOf(n);
  if (old.length === args.length && old.every((a, i) => a === args[i])) return n;
  const [x] = args as readonly [Node];
  switch (n.op) {
    case "leaf":
    case "constant":
      return n;
    case "map":
      return map(Object.fromEntries(n.names.map((name, i) => [name, args[i] as Node])), n.body, n.dtype, n.axes);
    case "view":
      return view(
        x,
        n.fresh,
        n.index,
        Object.keys(x.axes).filter((a) => a in (n.args[0] as Node).axes && (!(a in n.axes) || a in n.fresh)),
      );
    case "at":
      return at(x, n.along, args.slice(1));
    case "fold":
      return fold(Object.fromEntries(Object.keys(n.monoid.empty).map((c, i) => [c, args[i] as Node])), n.monoid, n.over)[n.field] as Node;
    case "scan":
      return scan(Object.fromEntries(Object.keys(n.monoid.empty).map((c, i) => [c, args[i] as Node])), n.monoid, n.over, n)[n.field] as Node;
    case "top":
      return top(x, n.over, n.slot, n.k, n.field);
    case "random":
      return random(n.kind, n.key, args, n.axes);
    case "cast":
      return cast(x, n.dtype);
    case "stop":
      return stop(x);
    case "label":
      return label(x, n.name, n.path, n.inputs);
    case "grad":
      return grad(x, args[1] as Node);
    case "rate":
      return rate(x, args.slice(1), n, n.axes);
    case "bound":
      return bound([x, ...args.slice(1)], n, n.axes);
    case "carry":
    case "emit":
      throw new Error(`withArgs: ${n.op} is rebuilt with its loop`);
  }
}
