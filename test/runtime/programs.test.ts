// Compiled programs found again: by another process, after damage, by two processes at once; and by no other program.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import * as E from "fp-ts/lib/Either.js";
import { afterAll, describe, expect, it } from "vitest";
import { Programs } from "../../runtime/devices/native/programs.js";
import { findToolchain } from "../../runtime/devices/native/toolchain.js";
import { digestOf } from "../../runtime/sources.js";
import { needs } from "../require.js";

const temp = realpathSync(mkdtempSync(join(tmpdir(), "mallard-programs-")));
afterAll(() => rmSync(temp, { recursive: true, force: true }));
const fresh = () => mkdtempSync(join(temp, "cache-"));
const child = new URL("./programs-child.ts", import.meta.url).pathname;
/** Standing in for the C compiler: notes each unit that it compiles, and is quick about it. */
const counting = (folder: string): string => {
  const script = join(folder, "cc.sh");
  writeFileSync(script, `#!/bin/sh\ncase "$*" in *" -c "*|*" -shared "*) echo unit >> ${folder}/units;; esac\nexec cc "$@" -O0\n`, { mode: 0o700 });
  return script;
};
async function run(cache: string, cc: string, ...more: readonly string[]) {
  const log = join(cc, "..", "units");
  rmSync(log, { force: true });
  const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", child, cache, ...more], { env: { ...process.env, CC: cc } });
  const units = statSync(log, { throwIfNoEntry: false }) ? readFileSync(log, "utf8").split("\n").length - 1 : 0;
  return { ...JSON.parse(stdout), units };
}
const programs = (cache: string): readonly string[] =>
  readdirSync(cache, { recursive: true, encoding: "utf8" }).filter((n) => n.endsWith("program.bin"));

/** The key of the library that an entry refers to. */
const libraryOf = (path: string): string => {
  const bytes = readFileSync(path);
  return JSON.parse(bytes.subarray(4, 4 + bytes.readUInt32LE(0)).toString()).main.library;
};

describe.skipIf(!(await needs("compiler")))("compiled programs", () => {
  it("are compiled by two processes at once and found by the next with the same bits; compiled anew when damaged; another program is another", async () => {
    const cache = fresh();
    const cc = counting(fresh());
    const [first, beside] = await Promise.all([run(cache, cc), run(cache, cc)]);
    expect({ ...first, units: 0 }).toEqual({ ...beside, units: 0 });
    expect(first.kept).toBeGreaterThan(0);
    const [start, step, ...more] = programs(cache);
    expect([start !== undefined, step !== undefined, more]).toEqual([true, true, []]); // the optimizer's start and the step
    expect(readdirSync(cache).filter((n) => n.startsWith("."))).toEqual([]);
    const again = await run(cache, cc);
    expect(again).toEqual({ ...first, units: 0 });

    writeFileSync(join(cache, start as string), Buffer.from(readFileSync(join(cache, start as string)).map((b, i) => (i === 99 ? b ^ 1 : b))));
    truncateSync(join(cache, step as string, "..", "manifest.json"), 5);
    const damaged = await run(cache, cc);
    expect({ ...damaged, notices: [] }).toEqual(again); // the libraries are as they were
    expect(damaged.notices.map((n: string) => /program\.bin does not have the content|manifest\.json/.test(n))).toEqual([true, true]);

    for (const p of programs(cache)) rmSync(join(cache, libraryOf(join(cache, p))), { recursive: true });
    const lost = await run(cache, cc);
    expect({ ...lost, units: 0 }).toEqual(again);
    expect(lost.units).toBeGreaterThan(0);

    const other = await run(cache, cc, "1e6");
    expect(other.units).toBeGreaterThan(0);
    expect(other.losses[1]).not.toBe(first.losses[1]);
  }, 120_000);
  it("have keys of the code that compiled them, of the machine's compiler and of nothing that names a place", async () => {
    const tool = await findToolchain();
    if (E.isLeft(tool)) throw tool.left;
    const key = (sources: string | null, t = tool.right, identity = "x") =>
      new Programs(
        fresh(),
        t,
        () => expect.fail(),
        () => {},
        sources,
      ).key(identity);
    expect(key("a")).toBe(key("a"));
    const others = [
      key("b"),
      key("a", { ...tool.right, flags: [...tool.right.flags, "-O1"] }),
      key("a", { ...tool.right, version: "9" }),
      key("a", tool.right, "y"),
    ];
    expect(new Set([key("a"), ...others]).size).toBe(5);
    expect(key(null)).toBe(null);
    const [one, two] = [fresh(), fresh()];
    const write = (root: string, text: string) => {
      for (const folder of ["compiler", "dsl", "runtime"]) rmSync(join(root, folder), { recursive: true, force: true });
      for (const folder of ["compiler", "dsl", "runtime/devices"]) {
        mkdirSync(join(root, folder), { recursive: true });
        writeFileSync(join(root, folder, "a.js"), text);
      }
      return digestOf(`file://${root}/runtime/sources.js`);
    };
    expect(write(one, "1;")).toBe(write(two, "1;"));
    expect(write(one, "2;")).not.toBe(write(two, "1;"));
    expect(digestOf("file:///nowhere/runtime/sources.js")).toBe(null);
  });
});
