// An expression's kernels as files that stand by themselves, and writing them: each whole or not at all.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { placesOfNest } from "../compiler/explain/stages.js";
import { exportC } from "../compiler/targets/c/export.js";
import type { About, ExportedFile } from "../compiler/targets/export.js";
import { exportGpujs } from "../compiler/targets/gpujs/export.js";
import type { TargetError } from "../compiler/targets/target.js";
import { exportWgsl } from "../compiler/targets/wgsl/export.js";
import type { CompileError } from "./backend.js";
import { authored } from "./excerpt.js";
import { planOf } from "./explain.js";
import { FileError, writeAtomic } from "./files.js";
import type { Expression } from "./halves.js";
import { cPrinter, gpujsPrinter, wgslPrinter } from "./printers.js";

export type { ExportedFile } from "../compiler/targets/export.js";

/** One line a target. */
const exporters = {
  c: { lowering: cPrinter.lowering, write: exportC },
  gpujs: { lowering: gpujsPrinter.lowering, write: exportGpujs },
  wgsl: { lowering: wgslPrinter.lowering, write: exportWgsl },
} as const;
export type ExportTarget = keyof typeof exporters;
export const exportTargets = Object.keys(exporters) as readonly ExportTarget[];

/** `name`: what functions are called; `title`: what the files are of; `version`: of Mallard. */
export function exportedFiles(
  x: Expression,
  target: ExportTarget,
  about: Omit<About, "origin">,
): Either<CompileError | TargetError, readonly ExportedFile[]> {
  const { lowering, write } = exporters[target];
  const plan = planOf(x, lowering);
  if (isLeft(plan)) return plan;
  const origin: About["origin"] = (n) =>
    placesOfNest(plan.right, n)
      .map(authored)
      .map((p) => `${p.file.split(/[/\\]/).at(-1)}:${p.line}:${p.column}`)
      .join(", ");
  return write(plan.right, { ...about, origin });
}

/** Makes the folder where there is none. */
export async function writeFiles(folder: string, files: readonly ExportedFile[]): Promise<Either<FileError, readonly string[]>> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (thrown) {
    return left(new FileError("write", folder, thrown));
  }
  const paths: string[] = [];
  for (const f of files) {
    const path = join(folder, f.name);
    const written = await writeAtomic(path, f.text);
    if (isLeft(written)) return written;
    paths.push(path);
  }
  return right(paths);
}
