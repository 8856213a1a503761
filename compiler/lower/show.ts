// Plans as text: what `explain` shows of the stage between graph and loops.
import { showExtent } from "../../dsl/build.js";
import type { Plan } from "../plan.js";
import { type Buffer, type Expr, extentVar } from "./expr.js";
import { bytesOf } from "./memory.js";
import type { Axis, Nest, Stage, Step, Store } from "./nest.js";
import { peakOf } from "./peak.js";

const infix: Readonly<Record<string, string>> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
  eq: "==",
  ne: "!=",
  and: "&&",
  or: "||",
  idiv: "div",
  imod: "mod",
  mod: "%",
};

export function showExpr(e: Expr): string {
  switch (e.kind) {
    case "num":
      return e.type === "bool" ? String(e.value !== 0) : String(e.value);
    case "var":
    case "local":
      return e.name;
    case "load": {
      const at = `${e.buffer.name}[${e.index.map(showExpr).join(", ")}]`;
      return e.inside ? `(${showExpr(e.inside)} ? ${at} : 0)` : at;
    }
    case "call": {
      const args = e.args.map(showExpr);
      if (e.prim === "select") return `(${args[0]} ? ${args[1]} : ${args[2]})`;
      if (e.prim === "toReal") return args[0] as string;
      const op = infix[e.prim];
      return op && args.length === 2 ? `(${args[0]} ${op} ${args[1]})` : `${e.prim}(${args.join(", ")})`;
    }
    case "random":
      return `${e.draw}(${[JSON.stringify(e.key), ...e.extend.map(showExpr), showExpr(e.counter)].join(", ")})`;
  }
}

const showAxes = (axes: readonly Axis[]): string => axes.map((a) => `${a.v} < ${showExtent(a.extent)}`).join(", ");
const showStore = (s: Store): string => `${s.buffer.name}[${s.index.map(showExpr).join(", ")}] = ${showExpr(s.value)}`;

function showStage(s: Stage): readonly string[] {
  switch (s.stage) {
    case "fold":
      return [`${s.bind.join(", ")} = ${s.monoid.kind} over ${showAxes(s.over)} of ${s.elements.map(showExpr).join(", ")}`];
    case "map":
      return s.axes.length === 0 ? s.stores.map(showStore) : [`for ${showAxes(s.axes)}`, ...s.stores.map((x) => `  ${showStore(x)}`)];
    case "scan":
      return [
        `for ${s.over.v} < ${showExtent(s.over.extent)}${s.reverse ? " reversed" : ""}: ${s.bind.join(", ")} = ${s.exclusive ? "exclusive " : ""}${s.monoid.kind} prefix of ${s.elements.map(showExpr).join(", ")}`,
        ...s.stores.map((x) => `  ${showStore(x)}`),
      ];
  }
}
export function showNest(n: Nest): readonly string[] {
  const head = (what: string, axes: string) => `${n.name}: ${what}${axes ? ` for ${axes}` : ""}`;
  switch (n.form) {
    case "map":
      return [head("map", showAxes(n.axes)), ...n.stores.map((s) => `  ${showStore(s)}`)];
    case "row":
      return [head("rows", showAxes(n.rows)), ...n.stages.flatMap(showStage).map((l) => `  ${l}`)];
    case "contract": {
      const part = (name: string, axes: readonly Axis[]) => (axes.length > 0 ? ` ${name} (${showAxes(axes)})` : "");
      return [
        `${n.name}: contraction${part("batch", n.batch)}${part("m", n.m)}${part("n", n.n)}${part("k", n.k)}`,
        `  a = ${showExpr(n.a)}`,
        `  b = ${showExpr(n.b)}`,
        ...n.stores.map((s) => `  ${showStore(s)}`),
      ];
    }
    case "tiles":
      return showTiles(n);
    case "scatter":
      return [
        head("scatter", showAxes(n.rows)),
        `  over ${showAxes(n.over)}${n.onto ? ", onto what is there" : ""}: ${n.into.buffer.name}[${n.into.index.map(showExpr).join(", ")}] += ${showExpr(n.value)} where ${n.target.v} = ${showExpr(n.index)}`,
      ];
    case "top":
      return [
        head("top", showAxes(n.rows)),
        `  ${n.slot.v} < ${showExtent(n.slot.extent)} greatest over ${n.over.v} < ${showExtent(n.over.extent)} of ${showExpr(n.element)}`,
        ...n.stores.map((s) => `  ${showStore(s)}`),
      ];
  }
}
function showTiles(n: Nest & { form: "tiles" }): readonly string[] {
  const along = (axes: readonly Axis[]) => (axes.length > 0 ? ` for ${showAxes(axes)}` : "");
  const lines = [
    ...n.sides.map((s) => `${s.name} = ${s.monoid.kind} over ${showAxes(s.fold)} of ${showExpr(s.element)}, once for each of ${s.of}`),
    ...n.dots.map((d) => `${d.name} = sum over ${showAxes(d.k)} of (${showExpr(d.a)}) · (${showExpr(d.b)})`),
    `where ${showExpr(n.mask)}`,
    ...n.folds.map((f) => {
      const what = f.b ? `(${f.elements.map(showExpr).join(", ")}) · (${showExpr(f.b)})` : f.elements.map(showExpr).join(", ");
      const at = f.at ? ` at ${showExpr(f.at)}` : "";
      return `  ${f.bind.join(", ")}${along(f.n)} = ${f.monoid.kind} of ${what}${at}${f.rescale ? `, rescaled by ${showExpr(f.rescale)}` : ""}`;
    }),
    ...n.columns.map((c) => `  column sum${along(c.n)} of (${showExpr(c.element)}) · (${showExpr(c.a)}): ${showStore(c.store)}`),
    ...n.quads.map((s) => `  ${showStore(s)}`),
    ...n.stores.flatMap((s) => (s.n.length === 0 ? s.stores.map(showStore) : [`for ${showAxes(s.n)}`, ...s.stores.map((x) => `  ${showStore(x)}`)])),
  ];
  const head = `${n.name}: tiles${n.batch.length > 0 ? ` batch (${showAxes(n.batch)})` : ""} rows (${showAxes(n.rows)}) over (${showAxes(n.over)})`;
  return [head, ...lines.map((l) => `  ${l}`)];
}
export const showBuffer = (b: Buffer): string => `${b.name}: ${b.dtype} [${b.axes.map((a) => `${a.name}: ${showExtent(a.extent)}`).join(", ")}]`;

/** Spans by the variables that hold where they start, how many rows they have, and what was cut off before. */
function showLoop({ v, count, reverse, blocks }: Extract<Step, { step: "loop" }>): string {
  if (!blocks) return `repeat ${v} < ${count}${reverse ? " reversed" : ""}`;
  const spans = blocks.spans.map(({ start, skip, rows, lo, hi }) => {
    const reach = lo === 0 && hi === 0 ? "" : ` and ${-lo} before, ${hi} behind${skip === null ? "" : ` (${skip}: not there)`}`;
    return `${showExpr(extentVar(rows))} from ${start}${reach}`;
  });
  return `repeat ${v} for blocks of ${blocks.size} rows of ${showExtent(blocks.extent)}: ${spans.join("; ")}`;
}
export function showSteps(steps: readonly Step[], indent = ""): readonly string[] {
  return steps.flatMap((s) =>
    s.step === "nest" ? showNest(s.nest).map((l) => indent + l) : [`${indent}${showLoop(s)}`, ...showSteps(s.body, `${indent}  `)],
  );
}
export function showPlan(p: Plan): string {
  const memory = p.buffers.map(
    (b) => `  ${b.role.padEnd(6)} ${showBuffer(b)}  ${bytesOf(b)} B${p.offsets.has(b.id) ? ` at ${p.offsets.get(b.id)}` : ""}`,
  );
  return [`plan ${p.name}: arena ${p.arenaBytes} B`, ...memory, ...showPeak(p), ...showSteps(p.steps)].join("\n");
}
/** What the arena holds where most of it is needed; `name` adds to a buffer's line. */
export function showPeak(p: Plan, name: (b: Buffer) => string = () => ""): readonly string[] {
  const { bytes, at, held } = peakOf(p);
  if (!at) return [];
  return [
    `at the peak ${bytes} B of the arena are needed, in ${at.name}'s kernel`,
    ...held.map(
      (h) => `  ${h.bytes === bytesOf(h.buffer) ? `${h.bytes} B` : `${h.bytes} of ${bytesOf(h.buffer)} B`}  ${h.buffer.name}${name(h.buffer)}`,
    ),
  ];
}
