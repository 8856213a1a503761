// Reads every arrow of a graph: after this pass bodies, indices and combines are scalar expressions, and later passes
// never meet a function. The functions stay in a side table, node by node, so that the oracle can execute what the
// author wrote instead of what was read.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { fold, map, scan, view } from "../../dsl/build.js";
import type { FoldNode, IndexBody, MonoidBody, Node, ScanNode } from "../../dsl/node.js";
import { argsOf } from "../../dsl/node.js";
import { placesOf } from "../../dsl/places.js";
import { type Scalar, terms } from "../../dsl/scalar.js";
import { type CaptureOptions, captureIndex, captureMap, captureMonoid } from "../capture/capture.js";
import type { CaptureError } from "../capture/error.js";
import type { Original } from "../targets/js/kernel.js";
import { GraphError } from "./error.js";
import { rebuild } from "./walk.js";

export interface Read {
  readonly roots: readonly Node[];
  readonly to: ReadonlyMap<Node, Node>;
  /** What the author wrote for a node, where that was a function. */
  readonly originals: ReadonlyMap<Node, Original>;
}

/** All errors, not only the first. */
export function read(roots: readonly Node[], options: CaptureOptions = {}): Either<readonly (CaptureError | GraphError)[], Read> {
  const errors: (CaptureError | GraphError)[] = [];
  const seen = new Set<string>();
  const originals = new Map<Node, Original>();
  const take = <T>(e: Either<CaptureError, T>): T | undefined => {
    if (!isLeft(e)) return e.right;
    // One wrong function in many nodes is one error.
    const key = `${e.left.file}:${e.left.line}:${e.left.column} ${e.left.message}`;
    if (!seen.has(key)) errors.push(e.left);
    seen.add(key);
    return undefined;
  };
  const out = rebuild(roots, (n, was) => {
    const at: CaptureOptions = { ...options, place: options.place ?? placesOf(was)[0] };
    if (n.op === "map" && n.body.kind === "arrow") {
      const { fn, captured, field } = n.body;
      const bare = n.names.length === 1 && n.names[0] === "";
      const inputs = Object.fromEntries(n.names.map((name, i) => [name, n.args[i]!.dtype]));
      const body = take(captureMap({ fn, captured, field, inputs, axes: Object.keys(n.axes) }, at));
      if (!body) return n;
      const made = map(Object.fromEntries(n.names.map((name, i) => [name, n.args[i]!])), { kind: "scalar", body }, n.dtype, n.axes);
      if (!originals.has(made)) originals.set(made, { kind: "map", fn, captured, field, bare });
      return made;
    }
    if (n.op === "view" && n.index.kind === "arrow") {
      const { fn, constants } = n.index;
      const index = take(captureIndex({ fn, constants, fresh: Object.keys(n.fresh), axes: Object.keys(n.args[0].axes) }, at));
      if (!index) return n;
      const body: IndexBody = { kind: "scalar", at: index };
      const made = view(n.args[0], n.fresh, body, n.reads);
      if (!originals.has(made)) originals.set(made, { kind: "view", fn, constants });
      return made;
    }
    if ((n.op === "fold" || n.op === "scan") && n.monoid.combine.kind === "arrow") {
      const { fn } = n.monoid.combine;
      const components = Object.keys(n.monoid.empty);
      const combine = take(captureMonoid({ fn, components }, at));
      if (!combine) return n;
      const wrong = unbound(n, combine);
      if (wrong) {
        errors.push(wrong);
        return n;
      }
      const monoid: MonoidBody = { empty: n.monoid.empty, combine: { kind: "scalar", at: combine } };
      const xs = Object.fromEntries(components.map((c, i) => [c, n.args[i]!]));
      const made = n.op === "fold" ? fold(xs, monoid, n.over) : scan(xs, monoid, n.over, n);
      for (const sibling of Object.values(made)) if (!originals.has(sibling)) originals.set(sibling, { kind: "monoid", fn });
      return made[n.field] as Node;
    }
    return n;
  });
  return errors.length > 0 ? left(errors) : right({ ...out, originals });
}

/** A component may depend on others along their axes only if it has these axes. */
function unbound(n: FoldNode | ScanNode, combine: Readonly<Record<string, Scalar>>): GraphError | undefined {
  const components = Object.keys(n.monoid.empty);
  const axesOf = (c: string) =>
    Object.keys(n.args[components.indexOf(c)]?.axes ?? {}).filter((a) => (n.op === "fold" ? !n.over.includes(a) : a !== n.over));
  for (const c of components) {
    const own = axesOf(c);
    for (const t of terms([combine[c] as Scalar])) {
      if (t.kind !== "arg") continue;
      const other = t.name.slice(2);
      const extra = axesOf(other).find((a) => !own.includes(a));
      if (extra !== undefined)
        return new GraphError(
          "read",
          `${n.op}: component "${c}" depends on "${other}", which has axis "${extra}"; "${c}" has not`,
          `give the input of "${c}" the axis "${extra}", or let its combine not read "${other}"`,
          n,
        );
    }
  }
  return undefined;
}

/** The functions behind the nodes that these became, where they are still the same operation. */
export function follow(originals: ReadonlyMap<Node, Original>, to: ReadonlyMap<Node, Node>): ReadonlyMap<Node, Original> {
  const out = new Map(originals);
  for (const [from, now] of to) {
    const o = originals.get(from);
    if (o && now !== from && now.op === from.op && argsOf(now).length === argsOf(from).length && !out.has(now)) out.set(now, o);
  }
  return out;
}
