// Why a program has the kernels it has: for every barrier the values that cross it, with the expression of the author's that
// each one is, and how the later kernel reads it, which is at other places than it was written at. For what is stored whole
// although a fusion was looked for the lowering itself says what stopped it (Plan.why).
import type { Node } from "../../dsl/node.js";
import { type Place, placesOf } from "../../dsl/places.js";
import type { Buffer, Expr } from "../lower/expr.js";
import { partsOf } from "../lower/expr.js";
import { expressionsOf, loadsOf, touched } from "../lower/memory.js";
import type { Axis, Nest } from "../lower/nest.js";
import type { Plan } from "../plan.js";
import type { Kernel } from "./kernels.js";

export interface Value {
  /** As the plan calls it. */
  readonly buffer: Buffer;
  readonly node: Node | undefined;
  /** Where the author wrote it: the first place first; none for what the compiler made. */
  readonly places: readonly Place[];
}
export interface Boundary {
  /** Names of the nests on both sides. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly value: Value;
  readonly reason: string;
}

export function valueIn(plan: Plan, buffer: Buffer): Value {
  const node = plan.holds?.get(buffer.id);
  return { buffer, node, places: node ? placesOf(node) : [] };
}

/** The boundary before each kernel but the first, value by value. `forward`: the nests of the forward half. */
export function boundariesOf(plan: Plan, kernels: readonly Kernel[], forward: ReadonlySet<Nest>): readonly Boundary[] {
  return kernels.flatMap((kernel, i) => {
    const before = kernels[i - 1];
    if (!before) return [];
    const names = { before: before.nests.map((n) => n.name), after: kernel.nests.map((n) => n.name) };
    const needed = kernel.because.filter((c) => c.earlier.buffer === c.now.buffer && c.earlier.access === "written" && c.now.access === "read");
    const values = [...new Set(needed.map((c) => c.now.buffer))];
    const turns = before.nests.some((n) => forward.has(n)) && !kernel.nests.some((n) => forward.has(n));
    const reason = (b: Buffer) => (turns ? "gradients start from it, when all of it is there" : readingsOf(b, kernel).join("; "));
    if (values.length > 0) return values.map((b) => ({ ...names, value: valueIn(plan, b), reason: reason(b) }));
    // No value crosses: a loop's turn ends here, or memory is used again.
    const [again] = kernel.because;
    if (!again) return [];
    return [
      {
        ...names,
        value: valueIn(plan, again.now.buffer),
        reason: `its memory is that of ${again.earlier.buffer.name}, which other threads may still use`,
      },
    ];
  });
}

/** How a kernel reads a value: what keeps it from being computed where it is read. */
export const readingsOf = (b: Buffer, reader: Kernel): readonly string[] =>
  reader.nests.filter((n) => touched(n).reads.has(b)).map((n) => readingOf(n, b));

/** Why a value is stored whole although a fusion was looked for: what the lowering says of it and of its readers. */
export function stoppedAt(plan: Plan, b: Buffer, kernels: readonly Kernel[]): readonly { readonly node: Node; readonly reason: string }[] {
  const own = plan.holds?.get(b.id);
  const ids = new Set(kernels.flatMap((k) => k.nests.filter((n) => touched(n).reads.has(b)).flatMap((n) => n.nodes)));
  const found = (plan.why ?? []).filter((w) => w.node === own || ids.has(w.node.id));
  return found.filter((w, i) => found.findIndex((x) => x.reason === w.reason && x.node === w.node) === i);
}

function readingOf(n: Nest, b: Buffer): string {
  const inner = new Set(innerOf(n).map((a) => a.v));
  const across = new Set<string>();
  for (const l of loadsOf(expressionsOf(n)))
    if (l.buffer === b) for (const [i, e] of l.index.entries()) if (mentions(e, inner)) across.add(b.axes[i]?.name ?? "");
  if (across.size === 0) return `${n.name} reads it in loops of its own`;
  const how = n.form === "row" && n.stages.some((s) => s.stage === "scan") ? "scans it along" : "reads it at every";
  return `${n.name} ${how} ${[...across].join(", ")}`;
}
/** The axes that a nest walks for each of its results. */
function innerOf(n: Nest): readonly Axis[] {
  switch (n.form) {
    case "map":
      return [];
    case "contract":
      return n.k;
    case "row":
      return n.stages.flatMap((s) => (s.stage === "map" ? [] : s.stage === "fold" ? s.over : [s.over]));
    case "tiles":
      return [...n.over, ...n.dots.flatMap((d) => d.k)];
    case "scatter":
      return n.over;
    case "top":
      return [n.over];
  }
}
function mentions(e: Expr, names: ReadonlySet<string>): boolean {
  const todo = [e];
  for (let x = todo.pop(); x; x = todo.pop()) {
    if (x.kind === "var" && names.has(x.name)) return true;
    todo.push(...partsOf(x));
  }
  return false;
}
