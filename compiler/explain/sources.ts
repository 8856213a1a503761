// What each kernel of a plan is of the author's: where what it computes was written, whether it belongs to the forward pass,
// to the gradients or to the update of state, and which state it writes.
import { type Place, placesOf } from "../../dsl/places.js";
import type { Buffer } from "../lower/expr.js";
import { touched } from "../lower/memory.js";
import type { Nest } from "../lower/nest.js";
import type { Plan } from "../plan.js";
import { kernelsIn, neededFor } from "./kernels.js";

/** backward: neither needed for the forward outputs nor writing state. */
export type Half = "forward" | "backward" | "update";
export interface Source {
  /** The first is the value's that the nest stores first. None: the compiler made it, or it moves state that no expression names. */
  readonly places: readonly Place[];
  /** What the author called it with `label`. */
  readonly label: string | null;
  readonly half: Half;
  /** Paths of the state that it writes. */
  readonly state: readonly string[];
  /** Paths of the state that it reads and does not write: weights, mostly. */
  readonly reads: readonly string[];
}

/** `forward`: names of the outputs that the forward half computes; all, where absent. */
export function sourcesOf(plan: Plan, forward: readonly string[] = Object.keys(plan.outputs)): ReadonlyMap<Nest, Source> {
  const isForward = neededFor(
    plan,
    forward.flatMap((name) => plan.outputs[name] ?? []),
  );
  const paths = new Map<Buffer, string>(Object.entries(plan.state).map(([path, b]) => [b, path]));
  const pathsOf = (buffers: Iterable<Buffer>) => [...buffers].flatMap((b) => paths.get(b) ?? []);
  const out = new Map<Nest, Source>();
  for (const n of kernelsIn(plan).flatMap((k) => k.nests)) {
    const { reads, writes } = touched(n);
    const nodes = [...writes].flatMap((b) => plan.holds?.get(b.id) ?? []);
    const places = nodes.flatMap((node) => placesOf(node).slice(0, 1));
    const state = pathsOf(writes);
    out.set(n, {
      places: places.filter((p, i) => places.findIndex((q) => q.file === p.file && q.line === p.line && q.column === p.column) === i),
      label: nodes.flatMap((node) => (node.op === "label" ? [node.name] : []))[0] ?? null,
      half: isForward.has(n) ? "forward" : state.length > 0 ? "update" : "backward",
      state,
      reads: pathsOf([...reads].filter((b) => !writes.has(b))),
    });
  }
  return out;
}
