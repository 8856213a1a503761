// A program's steps as one list of dispatches: loops are laid out turn by turn, for the greatest extents. What a run's extents
// change is the number of workgroups of each dispatch (none, for a turn that there is not) and its integers.
import type { Expr } from "../../../compiler/lower/expr.js";
import { extentVar } from "../../../compiler/lower/expr.js";
import type { Blocks } from "../../../compiler/lower/nest.js";
import type { WgslProgram, WgslStep } from "../../../compiler/targets/wgsl/program.js";
import type { UpTo } from "../../../dsl/node.js";
import { evaluate } from "../../../dsl/primitives.js";

export type Dispatch = Extract<WgslStep, { do: "dispatch" }>;
interface Turn {
  readonly v: string;
  readonly value: number;
  readonly blocks: Blocks | undefined;
}
export interface Scheduled {
  readonly step: Dispatch;
  /** The turns of the loops around it, the outermost first. */
  readonly turns: readonly Turn[];
}

export function schedule(steps: readonly WgslStep[], around: readonly Turn[] = []): readonly Scheduled[] {
  return steps.flatMap((step): readonly Scheduled[] => {
    if (step.do === "dispatch") return [{ step, turns: around }];
    const { v, count, reverse, blocks } = step;
    return Array.from({ length: count }, (_, k) => schedule(step.body, [...around, { v, value: reverse ? count - 1 - k : k, blocks }])).flat();
  });
}

export type Variables = ReadonlyMap<string, number>;
export function extentValues(extents: readonly UpTo[], values: readonly number[]): Variables {
  const out = new Map<string, number>();
  extents.forEach((e, i) => {
    const v = extentVar(e);
    if (v.kind === "var") out.set(v.name, values[i] as number);
  });
  return out;
}

/** The variables that a dispatch sees; null: its turn is beyond the extents. */
export function variablesOf({ turns }: Scheduled, extents: Variables): Variables | null {
  if (turns.length === 0) return extents;
  const out = new Map(extents);
  for (const { v, value, blocks } of turns) {
    out.set(v, value);
    if (!blocks) continue;
    const total = intOf(extentVar(blocks.extent), out);
    if (value > 0 && value * blocks.size >= total) return null;
    for (const { start, skip, rows, lo, hi } of blocks.spans) {
      const first = value * blocks.size + lo;
      const from = skip === null ? first : Math.max(0, first);
      out.set(start, from);
      if (skip !== null) out.set(skip, from - first);
      const own = extentVar(rows);
      if (own.kind === "var") out.set(own.name, Math.min(value * blocks.size + blocks.size + hi, total) - from);
    }
  }
  return out;
}

/** An integer expression over variables. */
export function intOf(e: Expr, of: Variables): number {
  switch (e.kind) {
    case "num":
      return e.value;
    case "var": {
      const value = of.get(e.name);
      if (value === undefined) throw new Error(`variable ${e.name} has no value`); // the compiler's defect
      return value;
    }
    case "call": {
      const args = e.args.map((a) => intOf(a, of));
      const [a, b] = args as [number, number];
      if (e.prim === "idiv") return Math.floor(a / b);
      if (e.prim === "imod") return a - b * Math.floor(a / b);
      return Number(evaluate(e.prim, args));
    }
    default:
      throw new Error(`${e.kind} stands where an integer of the host's is wanted`); // the compiler's defect
  }
}

/** Workgroups along x and y. null: more than two dimensions hold. */
export function groupsOf(count: number, most: number): readonly [number, number] | null {
  if (count <= 0) return [0, 0];
  if (count <= most) return [count, 1];
  const y = Math.ceil(count / most);
  return y <= most ? [most, y] : null;
}

/** Where each dispatch's integers begin in the uniform buffer, and its length. */
export function slotsOf(program: Pick<WgslProgram, "pipelines">, list: readonly Scheduled[]) {
  let bytes = 0;
  const slots = list.map(({ step }) => {
    const ints = program.pipelines[step.pipeline]?.ints ?? 0;
    if (ints === 0) return null;
    const at = bytes;
    bytes += Math.ceil((ints * 4) / 256) * 256;
    return at;
  });
  return { slots, bytes };
}
