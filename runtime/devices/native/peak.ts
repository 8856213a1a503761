// The machine's limits, measured: a small C program (peak-source.ts) is compiled for this processor and asked for readings.
// It runs as a process of its own, so that nothing of ours shares its threads or memory.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { DeviceError } from "../../errors.js";
import { writeNew } from "./build.js";
import { PEAK_SOURCE } from "./peak-source.js";
import { findToolchain, run } from "./toolchain.js";

/** fma: vector width in floats, in GFLOP/s. read, triad: KiB a thread, in GB/s. */
export type PeakTask = readonly [what: "fma" | "read" | "triad", size: number];

export interface Peak {
  readonly threads: number;
  /** Floats in a vector, for each width that is an instruction here. */
  readonly widths: readonly number[];
  /** Readings of all threads together, as many as fit into about this many seconds (three at least). */
  measure(task: PeakTask, seconds: number): Promise<readonly number[]>;
  close(): void;
}

/** Left: there is no C compiler, or it does not take the program. */
export async function openPeak(threads: number): Promise<Either<DeviceError, Peak>> {
  const tool = await findToolchain();
  if (isLeft(tool)) return tool;
  const { program, args, flags } = tool.right;
  const folder = mkdtempSync(join(tmpdir(), "mallard-peak-"));
  try {
    const [source, binary] = [join(folder, "peak.c"), join(folder, "peak")];
    writeNew(source, PEAK_SOURCE);
    const own = [...flags.filter((f) => f.startsWith("-m")), "-std=gnu11", "-O2", "-ffp-contract=fast", "-pthread"];
    const built = await run(program, [...args, ...own, source, "-o", binary], { cwd: folder });
    const refused = (stderr: string) => left(new DeviceError({ kind: "CompileFailed", unit: "peak", file: null, stderr }));
    if (isLeft(built)) return refused(built.left);
    if (built.right.code !== 0) return refused(built.right.stderr);
    return await started(binary, threads);
  } finally {
    rmSync(folder, { recursive: true, force: true }); // a program that runs needs its file no more
  }
}

async function started(binary: string, threads: number): Promise<Either<DeviceError, Peak>> {
  const child = spawn(binary, [String(threads)], { stdio: ["pipe", "pipe", "ignore"] });
  const failed = (reason: string) => new DeviceError({ kind: "RunFailed", reason: `measuring the machine's peak: ${reason}` });
  const waiting: { readonly give: (line: string) => void; readonly fail: (e: DeviceError) => void }[] = [];
  let ended: DeviceError | undefined;
  const end = (reason: string) => {
    ended ??= failed(reason);
    for (const w of waiting.splice(0)) w.fail(ended);
  };
  child.on("error", (e) => end(e.message));
  child.on("close", (code, signal) => end(`it ended with ${signal ?? `exit code ${code}`}`));
  child.stdin.on("error", () => undefined); // its end is reported by "close"
  createInterface({ input: child.stdout }).on("line", (line) => waiting.shift()?.give(line));
  const line = (): Promise<string> => (ended ? Promise.reject(ended) : new Promise((give, fail) => waiting.push({ give, fail })));
  try {
    const widths = (await line()).trim().split(" ").map(Number);
    return right({
      threads,
      widths,
      measure: async ([what, size], seconds) => {
        const answer = line();
        child.stdin.write(`${what} ${size} ${seconds}\n`);
        const readings = (await answer).trim().split(/\s+/).map(Number);
        if (readings.some((x) => !(x > 0))) throw failed(`no readings of ${what} ${size}`);
        return readings;
      },
      close: () => {
        child.stdin.end();
        child.kill();
      },
    });
  } catch (e) {
    if (e instanceof DeviceError) return left(e);
    throw e;
  }
}
