// What was measured on a machine, kept in the kernel cache: one JSON file for each machine, a table by kernel of what was
// compared, what was chosen, and both times. A machine is its compiler with every macro it predefines (which name the
// instruction set), its processor's model, cores and threads. A kernel is its text with all that stands before it: another
// version of the compiler finds what is still the same. Files are written beside and renamed into place; what another
// process has added meanwhile stays. A file that cannot be read as such is a fresh start, which the next result replaces.
import { createHash } from "node:crypto";
import { readFileSync, renameSync, rmSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import type { Choice, Choosable } from "../compiler/loop/choices.js";
import { writeNew } from "./devices/native/build.js";
import { isCode, reasonOf } from "./devices/native/folder.js";
import type { Toolchain } from "./devices/native/toolchain.js";
import { DeviceError } from "./errors.js";

const FORMAT = 1;
/** Far more than any program's kernels. */
const MOST_BYTES = 64 << 20;

export interface Measured {
  /** Settings that differ from the recipe's; none where that is best. */
  readonly choice: Choice;
  /** Least seconds of a call, by the recipe and as chosen. */
  readonly own: number;
  readonly chosen: number;
}

const digest = (...parts: readonly string[]): string => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part);
  return hash.digest("hex");
};
/** `before`: what stands before the kernel in its file. A recipe that offers other settings makes another key. */
export const kernelKey = (before: string, kernel: string, settings: Choosable["settings"]): string =>
  digest(before, kernel, JSON.stringify(settings));

export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly threads: number;
  readonly compiler: string;
}
export const machineOf = (tool: Toolchain, threads: number): Machine => ({
  processor: cpus()[0]?.model ?? process.arch,
  cores: availableParallelism(),
  threads,
  compiler: `${tool.version.split("\n")[0]} ${digest(tool.program, tool.args.join("\0"), tool.flags.join("\0"), tool.version, tool.macros).slice(0, 16)}`,
});

export class TuneStore {
  readonly #path: string;
  #known = new Map<string, Measured>();
  /** Why what stood there before is not used. */
  readonly refused: string | null;

  constructor(
    readonly folder: string,
    readonly machine: Machine,
  ) {
    this.#path = join(folder, `tuned-${digest(JSON.stringify(machine)).slice(0, 32)}.json`);
    const found = this.#read();
    this.refused = E.isLeft(found) ? `${this.#path} ${found.left}` : null;
    if (E.isRight(found)) this.#known = found.right;
  }
  get(key: string): Measured | undefined {
    return this.#known.get(key);
  }
  put(key: string, measured: Measured): E.Either<DeviceError, void> {
    // A concurrent process may have added its own.
    const others = this.#read();
    this.#known = new Map([...(E.isRight(others) ? others.right : []), ...this.#known, [key, measured]]);
    const text = JSON.stringify({ format: FORMAT, machine: this.machine, kernels: Object.fromEntries(this.#known) }, null, 1);
    const beside = `${this.#path}.${process.pid}`;
    try {
      rmSync(beside, { force: true }); // a killed process that had our number
      writeNew(beside, text);
      renameSync(beside, this.#path);
      return E.right(undefined);
    } catch (e) {
      return E.left(new DeviceError({ kind: "CacheFailed", folder: this.folder, reason: reasonOf(e) }));
    }
  }
  #read(): E.Either<string, Map<string, Measured>> {
    let text: string;
    try {
      text = readFileSync(this.#path, "utf8");
    } catch (e) {
      return isCode(e, "ENOENT") ? E.right(new Map()) : E.left(reasonOf(e));
    }
    return text.length > MOST_BYTES ? E.left("is larger than such a file can be") : parse(text, this.machine);
  }
}

/** Left says what is wrong with it. */
function parse(text: string, machine: Machine): E.Either<string, Map<string, Measured>> {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return E.left("is not JSON");
  }
  if (!isRecord(file) || file.format !== FORMAT || !isRecord(file.kernels)) return E.left("is not a table of measurements");
  if (JSON.stringify(file.machine) !== JSON.stringify(machine)) return E.left("is of another machine");
  const out = new Map<string, Measured>();
  for (const [key, m] of Object.entries(file.kernels)) {
    if (!isMeasured(m)) return E.left("has an entry that is no measurement");
    out.set(key, m);
  }
  return E.right(out);
}
const isRecord = (x: unknown): x is Readonly<Record<string, unknown>> => typeof x === "object" && x !== null && !Array.isArray(x);
const isMeasured = (x: unknown): x is Measured =>
  isRecord(x) &&
  [x.own, x.chosen].every((t) => typeof t === "number" && t > 0) &&
  isRecord(x.choice) &&
  Object.values(x.choice).every((v) => typeof v === "string" || typeof v === "number" || typeof v === "boolean");
