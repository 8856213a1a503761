// Every stage of the compiler as text: the graph as it was written and after each pass, what has memory and why, the
// nests, the loops that the C target's recipes make of them, and the kernels between barriers. Each line names the
// author's place where it has one.
import type { Node } from "../../dsl/node.js";
import { type Place, placesOf } from "../../dsl/places.js";
import { show } from "../graph/show.js";
import { order } from "../graph/walk.js";
import { showKernel } from "../loop/print.js";
import { scheduled } from "../loop/recipes/index.js";
import type { Interval } from "../loop/terms.js";
import { extentVar } from "../lower/expr.js";
import { bytesOf, touched } from "../lower/memory.js";
import type { Nest } from "../lower/nest.js";
import { showBuffer, showPeak, showSteps } from "../lower/show.js";
import { loopsOf, turnRanges } from "../lower/turns.js";
import type { Plan } from "../plan.js";
import { cLimits } from "../targets/c/limits.js";
import { kernelsIn } from "./kernels.js";
import { readingsOf, valueIn } from "./why.js";

export interface Stage {
  readonly name: string;
  /** One line: what the stage shows. */
  readonly title: string;
  readonly text: string;
}

/** Where the author wrote what stands at a place: source maps are the caller's business. */
export type Authored = (p: Place) => Place;

/** `softcap.ts:7`, or "" for what the compiler made. */
function shortPlace([first]: readonly Place[], authored: Authored): string {
  if (!first) return "";
  const p = authored(first);
  return `${p.file.split(/[/\\]/).at(-1)}:${p.line}`;
}

/** A graph with the place of each node behind its line. */
export function graphText(roots: readonly Node[], authored: Authored): string {
  const nodes = new Map(order(roots).map((n) => [n.id, n]));
  return show(roots)
    .split("\n")
    .map((line) => {
      const id = /^\s*%(\d+) /.exec(line)?.[1];
      const node = id === undefined ? undefined : nodes.get(Number(id));
      const place = node ? shortPlace(placesOf(node), authored) : "";
      return place === "" ? line : `${line}  ← ${place}`;
    })
    .join("\n");
}

/** A nest's values, as the author wrote them. */
export function placesOfNest(plan: Plan, n: Nest): readonly Place[] {
  const all = [...touched(n).writes].flatMap((b) => valueIn(plan, b).places.slice(0, 1));
  return all.filter((p, i) => all.findIndex((q) => q.file === p.file && q.line === p.line && q.column === p.column) === i);
}
const placed = (plan: Plan, n: Nest, authored: Authored): string => {
  const places = [...new Set(placesOfNest(plan, n).map((p) => shortPlace([p], authored)))];
  return places.length > 0 ? `  ← ${places.join(", ")}` : "";
};

/** Texts are made when they are asked for: one stage alone costs that stage. */
export const stage = (name: string, title: string, text: () => string): Stage => ({
  name,
  title,
  get text() {
    return text();
  },
});
export const planStages = (plan: Plan, authored: Authored): readonly Stage[] => [
  stage("memory", "what has memory, and why", () => memoryText(plan, authored)),
  stage("nests", "kernels before they are scheduled", () => nestsText(plan, authored)),
  stage("loops", "the same as loops, as the C target schedules them", () => loopsText(plan)),
  stage("kernels", "what runs between two barriers", () => kernelsText(plan, authored)),
];

function memoryText(plan: Plan, authored: Authored): string {
  const kernels = kernelsIn(plan);
  const lines = plan.buffers.map((b) => {
    const at = plan.offsets.get(b.id);
    const place = shortPlace(valueIn(plan, b).places, authored);
    const why = b.role === "temp" ? [...new Set(kernels.flatMap((k) => readingsOf(b, k)))] : [];
    const head = `${b.role.padEnd(6)} ${showBuffer(b)}  ${bytesOf(b)} B${at === undefined ? "" : ` at ${at}`}${place === "" ? "" : `  ← ${place}`}`;
    return [head, ...why.map((w) => `         ${w}`)].join("\n");
  });
  const peak = showPeak(plan, (b) => {
    const from = shortPlace(valueIn(plan, b).places, authored);
    return from === "" ? "" : `  ← ${from}`;
  });
  const stopped = (plan.why ?? []).map((w) => `${shortPlace(placesOf(w.node), authored) || "a value"}: ${w.reason}`);
  return [
    `temporaries share an arena of ${plan.arenaBytes} B`,
    ...lines,
    ...(peak.length > 0 ? ["", ...peak] : []),
    ...(stopped.length > 0 ? ["", "kept whole", ...stopped] : []),
  ].join("\n");
}

function nestsText(plan: Plan, authored: Authored): string {
  const nests = new Map(kernelsIn(plan).flatMap((k) => k.nests.map((n) => [`${n.name}:`, n] as [string, Nest])));
  return showSteps(plan.steps)
    .map((line) => {
      const n = nests.get(line.trimStart().split(" ", 1)[0] ?? "");
      return n ? line + placed(plan, n, authored) : line;
    })
    .join("\n");
}

function loopsText(plan: Plan): string {
  const outer = new Map<string, Interval>();
  for (const e of plan.extents) {
    const v = extentVar(e);
    if (v.kind === "var") outer.set(v.name, { lo: 0, hi: e.max });
  }
  for (const s of loopsOf(plan.steps)) for (const [v, [lo, hi]] of turnRanges(s)) outer.set(v, { lo, hi });
  return kernelsIn(plan)
    .flatMap((k) => k.nests)
    .map((n) => showKernel(scheduled(n, cLimits, outer)))
    .join("\n\n");
}

function kernelsText(plan: Plan, authored: Authored): string {
  return kernelsIn(plan)
    .map((k, i) => {
      const times = k.times === 1 ? "" : `, ${k.times} times a run`;
      const waits = [...new Set(k.because.map((c) => c.earlier.buffer.name))];
      const head = `kernel ${i + 1}${times}${waits.length > 0 ? `, after a barrier for ${waits.join(", ")}` : ""}`;
      return [head, ...k.nests.map((n) => `  ${n.name}: ${n.form}${placed(plan, n, authored)}`)].join("\n");
    })
    .join("\n");
}
