// Compiles C units side by side to objects and links them into one shared object, all within a work folder that only
// we can enter. The library carries its cache key as a symbol, so that whoever loads it can tell that it is the one
// that was asked for.
import { closeSync, constants, fsyncSync, openSync, writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import { DeviceError } from "../../errors.js";
import { run, type Toolchain } from "./toolchain.js";

export interface Unit {
  /** Letters, digits and _ alone; unique among the units. */
  readonly name: string;
  readonly source: string;
}

/** Writes a file that must not exist yet; a link in its place is refused by the kernel. Everything is on the disk on return. */
export function writeNew(path: string, data: string | Uint8Array): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** The shared object's path, or the first unit's failure. `keep` puts a refused source where its reader can find it. */
export async function build(
  tool: Toolchain,
  units: readonly Unit[],
  key: string,
  work: string,
  keep: (unit: Unit) => string | null,
  jobs: number = availableParallelism(),
): Promise<E.Either<DeviceError, string>> {
  const all: readonly Unit[] = [...units, { name: "mallard_key", source: `const char mallard_key[] = "${key}";\n` }];
  // The compiler's own temporary files stay in the work folder too.
  const options = { cwd: work, env: { ...process.env, TMPDIR: work, LC_ALL: "C" } };
  const names = new Set<string>();
  for (const u of all) {
    if (!/^\w+$/.test(u.name) || names.has(u.name)) throw new Error(`bad unit name ${u.name}`); // ours to get right
    names.add(u.name);
  }
  const failed = (unit: Unit, stderr: string) =>
    new DeviceError({ kind: "CompileFailed", unit: unit.name, file: unit.source === "" ? null : keep(unit), stderr });
  let next = 0;
  let failure: DeviceError | null = null;
  const worker = async () => {
    for (let unit = all[next++]; unit && !failure; unit = all[next++]) {
      const file = `${unit.name}.c`;
      writeNew(join(work, file), unit.source);
      const done = await run(tool.program, [...tool.args, ...tool.flags, "-c", file, "-o", `${unit.name}.o`], options);
      if (E.isLeft(done)) failure ??= failed(unit, done.left);
      else if (done.right.code !== 0) failure ??= failed(unit, done.right.stderr);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(jobs, all.length)) }, worker));
  if (failure) return E.left(failure);
  const objects = all.map((u) => `${u.name}.o`);
  const linked = await run(tool.program, [...tool.args, ...tool.flags, "-shared", "-o", "kernels.so", ...objects, "-lm", "-ldl"], options);
  const link: Unit = { name: "link", source: "" };
  if (E.isLeft(linked)) return E.left(failed(link, linked.left));
  if (linked.right.code !== 0) return E.left(failed(link, linked.right.stderr));
  return E.right(join(work, "kernels.so"));
}
