// The kernels of a training step, and of any variant with its gradients, as text: printed by the compiler, which needs no device.
import { halvesOf, kernelsOf, kernelsOfProgram, wgslPrinter } from "@mallard-lang/mallard";
import { variants as all } from "@mallard-lang/mallard/models";
import { type LanguageModelProgram, type Problem, problem } from "@mallard-lang/mallard/trainer";
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";

export interface KernelText {
  readonly name: string;
  readonly source: string;
}
export interface KernelList {
  readonly title: string;
  readonly kernels: readonly KernelText[];
}
const SIZES = { batch: 1, head: 4, time: 64, dim: 16, value: 16 };

/** The training step's, as the device compiled them where it is WebGPU, else as WebGPU would by its guaranteed limits. */
export function stepKernels(program: LanguageModelProgram): Either<Problem, KernelList> {
  const step = program.training;
  if (!step) return problem("expression", "there is no training step", "start a run");
  if (program.session.device === "webgpu") return right({ title: "the training step", kernels: step.kernels });
  const printed = kernelsOfProgram(step.spec, wgslPrinter);
  if (isLeft(printed)) return problem("expression", printed.left.message, "another variant may be printed");
  return right({ title: "the training step, as WebGPU would run it", kernels: printed.right.kernels });
}

export const VARIANT_TITLES: readonly { readonly name: string; readonly title: string }[] = all.map(({ name, title }) => ({ name, title }));
/** Of one variant by itself, forward and backward. */
export function variantKernels(name: string): Either<Problem, KernelList> {
  const variant = all.find((v) => v.name === name);
  if (!variant) return problem("usage", `there is no variant ${name}`, "choose one of the list");
  const { both } = halvesOf(variant.example(SIZES));
  const printed = kernelsOf(both.inputs, both.out, "wgsl");
  if (isLeft(printed)) return problem("expression", printed.left.message, "another variant may be printed");
  return right({ title: `${variant.title}: forward and gradients`, kernels: printed.right.kernels });
}
