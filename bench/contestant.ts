// Whoever is measured, ours or a peer: it runs for a short slice when its turn comes and is silent in between.
// Peers are processes of their own that answer a line "TASK SECONDS" with one figure for each repetition.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { median, turns } from "./statistics.js";

export type Task = number | string;
export interface Contestant {
  readonly name: string;
  /** Version, kernels: what a reader of the results needs. */
  readonly detail: string;
  /** A peer's process. */
  readonly pid?: number | undefined;
  /** One figure for each repetition, as many as fit into about this many seconds, one at least. `task`: what of, where it
   *  has several. */
  slice(task: Task, seconds: number): Promise<readonly number[]>;
  close(): void;
}

/** Threads of whoever ran last spin for some milliseconds before they sleep. */
const SETTLE_MS = 60;

/** What a contestant showed: the median of each slice, one a round, and all single figures. */
export interface Showing {
  readonly medians: readonly number[];
  readonly all: readonly number[];
}
/** Rounds in which each runs once, in changing order. The first round warms up. */
export async function rounds(
  contestants: readonly Contestant[],
  o: { readonly size: Task; readonly seconds: number; readonly pairs: number; readonly progress: (line: string) => void },
): Promise<ReadonlyMap<Contestant, Showing>> {
  const figures = new Map(contestants.map((c) => [c, { medians: [] as number[], all: [] as number[] }]));
  for (let round = -1; round < o.pairs; round++) {
    if (round >= 0) o.progress(`round ${round + 1} of ${o.pairs}`);
    for (const i of turns(contestants.length, Math.max(0, round))) {
      const c = contestants[i] as Contestant;
      await sleep(SETTLE_MS);
      const slice = await c.slice(o.size, round < 0 ? Math.min(0.2, o.seconds) : o.seconds);
      if (round < 0) continue;
      figures.get(c)?.medians.push(median(slice));
      figures.get(c)?.all.push(...slice);
    }
  }
  return figures;
}

/** A process spoken to in lines. `left` of a line that does not come is what it said on standard error. */
export class Lines {
  readonly #child: ReturnType<typeof start>;
  readonly #lines: string[] = [];
  readonly #waiting: { readonly give: (line: string) => void; readonly fail: (e: Error) => void }[] = [];
  #errors = "";
  #ended: Error | null = null;

  constructor(
    readonly name: string,
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ) {
    this.#child = start(program, args, env);
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const next = this.#waiting.shift();
      if (next) next.give(line);
      else this.#lines.push(line);
    });
    this.#child.stderr.on("data", (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString("utf8")).slice(-2000);
    });
    this.#child.stdin.on("error", () => undefined); // its end is reported by "close"
    const end = (reason: string) => {
      this.#ended ??= new Error(this.#errors.trim().split("\n").at(-1) || reason);
      for (const w of this.#waiting.splice(0)) w.fail(this.#ended);
    };
    this.#child.on("error", (e) => end(e.message));
    this.#child.on("close", (code, signal) => end(`it ended with ${signal ?? `exit code ${code}`}`));
  }
  get pid(): number | undefined {
    return this.#child.pid;
  }
  line(): Promise<string> {
    const known = this.#lines.shift();
    if (known !== undefined) return Promise.resolve(known);
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((give, fail) => this.#waiting.push({ give, fail }));
  }
  ask(line: string): Promise<string> {
    this.#child.stdin.write(`${line}\n`);
    return this.line();
  }
  close(): void {
    this.#child.stdin.end();
    this.#child.kill();
  }
}
const start = (program: string, args: readonly string[], env: Readonly<Record<string, string>>) =>
  spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...env } });

/** A peer that has said its first line. */
export const peer = (name: string, detail: string, lines: Lines): Contestant => ({
  name,
  detail,
  pid: lines.pid,
  slice: async (task, seconds) => {
    const figures = (await lines.ask(`${task} ${seconds}`)).trim().split(/\s+/).map(Number);
    if (figures.length === 0 || figures.some((x) => !(x > 0))) throw new Error(`${name} answered with no figures`);
    return figures;
  },
  close: () => lines.close(),
});
