// A kernel's workgroup loops as one: WebGPU numbers workgroups along up to three dimensions of limited length, and a host that
// knows nothing of a kernel can lay out one number. The innermost loop's iterations are neighbours.
import { type Kernel, letS, loop, type Stmt, statements } from "../../loop/ir.js";
import { freshName } from "../../loop/spans.js";
import { add, ceilDiv, idiv, imod, mul, namesOf, product, sub } from "../../loop/terms.js";
import { type Expr, int, variable } from "../../lower/expr.js";

export interface Grouped {
  /** With one workgroup loop, from 0 by 1, or with none: one workgroup runs it all. */
  readonly kernel: Kernel;
  /** How many workgroups, over run-time extents and counters. */
  readonly workgroups: Expr;
}

export function grouped(kernel: Kernel): Grouped {
  const levels: { readonly before: readonly Stmt[]; readonly v: string; readonly from: Expr; readonly step: number; readonly count: Expr }[] = [];
  const defined = new Set<string>();
  let inner = kernel.body;
  for (;;) {
    const at = inner.findIndex((s) => s.s === "for" && s.bind === "workgroup");
    const s = inner[at];
    if (s?.s !== "for") break;
    if (at !== inner.length - 1) throw new Error(`kernel ${kernel.name}: statements after workgroup loop ${s.v}`);
    const before = inner.slice(0, at);
    for (const b of before) if (b.s === "let" || b.s === "var") defined.add(b.name);
    const own = [...namesOf(s.from, s.to)].find((n) => defined.has(n));
    if (own !== undefined) throw new Error(`kernel ${kernel.name}: how many workgroups ${s.v} has depends on ${own}, which only the kernel knows`);
    defined.add(s.v);
    levels.push({ before, v: s.v, from: s.from, step: s.step, count: ceilDiv(sub(s.to, s.from), s.step) });
    inner = s.body;
  }
  if (statements(inner).some((s) => s.s === "for" && s.bind === "workgroup"))
    throw new Error(`kernel ${kernel.name}: a workgroup loop inside other statements`);
  if (levels.length === 0) return { kernel, workgroups: int(1) };
  const group = freshName("workgroup");
  const workgroups = product(levels.map((l) => l.count));
  const body: Stmt[] = [];
  levels.forEach((l, i) => {
    const part = idiv(variable(group), product(levels.slice(i + 1).map((x) => x.count)));
    const number = i === 0 ? part : imod(part, l.count);
    body.push(...l.before, letS(l.v, add(mul(number, int(l.step)), l.from)));
  });
  return { kernel: { ...kernel, body: [loop(group, int(0), workgroups, [...body, ...inner], "workgroup")] }, workgroups };
}
