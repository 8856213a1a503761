// Compiles C units side by side to objects and links them into one shared object, all within a work folder that only
// we can enter. The library carries its cache key as a symbol, so that whoever loads it can tell that it is the one
// that was asked for.
import { closeSync, constants, fsyncSync, openSync, writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import { DeviceError } from "../../errors.js";
import { run, type Toolchain } from "./toolchain.js";

/** The unit that holds the library's key, as a symbol of that name. */
const KEY = "mallard_key";
export interface Unit {
  /** Letters, digits and _ alone; unique among the units. */
  readonly name: string;
  readonly source: string;
}

/** Writes a file that must not exist yet; a link in its place is refused by the kernel. Everything is on the disk on return,
 *  if it is to last. */
export function writeNew(path: string, data: string | Uint8Array, lasting = true): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    if (lasting) fsyncSync(fd);
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
  // The compiler's own temporary files stay in the work folder too.
  const options = { cwd: work, env: { ...process.env, TMPDIR: work, LC_ALL: "C" } };
  const names = new Set<string>();
  for (const u of units) {
    if (!/^\w+$/.test(u.name) || names.has(u.name) || u.name === KEY) throw new Error(`bad unit name ${u.name}`); // ours to get right
    names.add(u.name);
  }
  const failed = (unit: Unit, stderr: string) =>
    new DeviceError({ kind: "CompileFailed", unit: unit.name, file: unit.source === "" ? null : keep(unit), stderr });
  const link: Unit = { name: "link", source: "" };
  writeNew(join(work, `${KEY}.c`), `const char ${KEY}[] = "${key}";\n`, false);
  for (const u of units) writeNew(join(work, `${u.name}.c`), u.source, false);
  const compiler = async (blamed: Unit, ...more: readonly string[]): Promise<DeviceError | null> => {
    const done = await run(tool.program, [...tool.args, ...tool.flags, ...more], options);
    if (E.isLeft(done)) return failed(blamed, done.left);
    return done.right.code === 0 ? null : failed(blamed, done.right.stderr);
  };
  // Starting a process costs about as much as a small unit: one alone is compiled and linked at once, and the key with the link.
  const linking = (blamed: Unit, parts: readonly string[]) => compiler(blamed, "-shared", "-o", "kernels.so", ...parts, `${KEY}.c`, "-lm", "-ldl");
  const [only, ...others] = units;
  let failure: DeviceError | null = null;
  if (only && others.length === 0) failure = await linking(only, [`${only.name}.c`]);
  else {
    let next = 0;
    const worker = async () => {
      for (let unit = units[next++]; unit && !failure; unit = units[next++]) {
        const wrong = await compiler(unit, "-c", `${unit.name}.c`, "-o", `${unit.name}.o`);
        failure ??= wrong;
      }
    };
    await Promise.all(Array.from({ length: Math.max(1, Math.min(jobs, units.length)) }, worker));
    failure ??= await linking(
      link,
      units.map((u) => `${u.name}.o`),
    );
  }
  return failure ? E.left(failure) : E.right(join(work, "kernels.so"));
}
