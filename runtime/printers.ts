// The targets whose kernels can be printed: one entry each.
import { type Either, map } from "fp-ts/lib/Either.js";
import { c } from "../compiler/targets/c/program.js";
import { type GpujsProgram, gpujs } from "../compiler/targets/gpujs/index.js";
import type { TargetError } from "../compiler/targets/target.js";
import { lowering, type WgslProgram, wgsl } from "../compiler/targets/wgsl/index.js";
import type { AnyTensor, Tree } from "../dsl/index.js";
import { flatten } from "../dsl/tree.js";
import { type Kernel, kernelsOfProgram, type Printed, type Printer } from "./kernels.js";
import { inputLeaves } from "./program.js";

export const cPrinter: Printer = {
  name: "c",
  lowering: { tiles: true },
  print: (plan) => map(({ kernels }: { readonly kernels: readonly Kernel[] }) => kernels)(c.compile(plan)),
};
export const gpujsPrinter: Printer = {
  name: "gpujs",
  lowering: { tiles: false },
  print: (plan) => map(({ kernels }: GpujsProgram): readonly Kernel[] => kernels)(gpujs("webasm").compile(plan)),
};
export const wgslPrinter: Printer = {
  name: "wgsl",
  lowering,
  print: (plan) => map(({ kernels }: WgslProgram): readonly Kernel[] => kernels)(wgsl().compile(plan)),
};

const printers = { c: cPrinter, gpujs: gpujsPrinter, wgsl: wgslPrinter } as const satisfies Readonly<Record<string, Printer>>;
export type PrintedTarget = keyof typeof printers;
export const printedTargets = /* @__PURE__ */ Object.keys(printers) as readonly PrintedTarget[];

/** The text of every kernel of `out` as a function of `inputs` on a target. Left says which kernel the target cannot print.
 *  Throws CompileError for what is wrong with the expression. */
export function kernelsOf(inputs: Readonly<Record<string, AnyTensor>>, out: Tree, target: PrintedTarget): Either<TargetError, Printed> {
  const outputs = Object.fromEntries(flatten(out).map(({ path, node }) => [path || "out", node]));
  return kernelsOfProgram({ name: "program", inputs: inputLeaves(inputs), outputs }, printers[target]);
}
