// `mallard kernels … --out DIR`: an expression's kernels as files that stand by themselves.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Either, isLeft } from "fp-ts/lib/Either.js";
import { type ExportTarget, exportedFiles, exportTargets, writeFiles } from "../index.js";
import { type Problem, problem } from "../trainer.js";
import { built, withGradient } from "./print-kernels.js";
import { noProgram, type Subject } from "./subject.js";
import { version } from "./version.js";

export interface ExportOptions {
  readonly target: string;
  readonly gradient: boolean;
  readonly name: string;
  readonly force: boolean;
}

/** The paths that were written. What is wrong with the expression is thrown, as elsewhere. */
export async function exportTo(s: Subject, place: string, folder: string, o: ExportOptions): Promise<Either<Problem, readonly string[]>> {
  const target = exportTargets.find((t): t is ExportTarget => t === o.target);
  if (target === undefined)
    return problem(
      "usage",
      `--out writes files for ${exportTargets.join(", ")}, not yet for ${o.target}`,
      `leave --out out to print the ${o.target} kernels, or choose another --target`,
    );
  if (s.kind === "program") return noProgram(place, "its inputs and outputs are not known here");
  const whole = built(s);
  if (isLeft(whole)) return whole;
  const title = place.split(/[/\\]/).at(-1) ?? place;
  const files = exportedFiles(o.gradient ? withGradient(whole.right) : whole.right, target, { name: o.name, title, version: version() });
  if (isLeft(files)) {
    if (files.left instanceof Error) throw files.left;
    const others = exportTargets.filter((t) => t !== target);
    return problem(
      "expression",
      `the ${target} target cannot print this expression: ${files.left.message}`,
      `try another target: ${others.join(", ")}`,
    );
  }
  const twice = files.right.find((f, i) => files.right.findIndex((other) => other.name === f.name) !== i);
  if (twice)
    return problem(
      "usage",
      `--name ${o.name} would write two files called ${twice.name}`,
      "choose another --name: this one is taken by a file of every export",
    );
  const there = files.right.filter((f) => existsSync(join(folder, f.name))).map((f) => f.name);
  if (there.length > 0 && !o.force)
    return problem("usage", `${folder} has ${there.join(", ")} already`, "name another folder, or replace them with --force");
  const written = await writeFiles(folder, files.right);
  return isLeft(written) ? problem("run", written.left.message, "name a folder you may write with --out") : written;
}
