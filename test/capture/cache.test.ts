// The cache: a warm start loads no parser, nothing stale or damaged is read, and no disk is no trouble.
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isRight } from "fp-ts/lib/Either.js";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Arrow } from "../../dsl/node.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mallard-cache-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Capture in a process that has just started: fresh modules. */
async function start() {
  vi.resetModules();
  const { captureMap } = await import("../../compiler/capture/capture.js");
  const { parserLoads } = await import("../../compiler/capture/parse.js");
  const { show } = await import("../../dsl/scalar-show.js");
  return {
    parserLoads,
    read: (fn: Arrow, at: string | null = folder, W = 3) => {
      const r = captureMap({ fn, captured: { W }, field: null, inputs: { s: "f32" }, axes: [] }, { folder: at });
      return isRight(r) ? show(r.right) : r.left.message;
    },
  };
}
const scale: Arrow = ({ s, W }) => s * W;
const refused: Arrow = ({ s }) => s * folder.length;
const entries = () => readdirSync(join(folder, "capture")).map((n) => join(folder, "capture", n));

describe("cache", () => {
  test("a second start reads without the parser, other captured values too, and refuses without it", async () => {
    const cold = await start();
    expect(cold.read(scale)).toBe("s * 3");
    const message = cold.read(refused);
    expect(cold.parserLoads()).toBe(1);
    const warm = await start();
    expect(warm.read(scale)).toBe("s * 3");
    expect(warm.read(scale, folder, 5)).toBe("s * 5");
    expect(warm.read(refused)).toBe(message);
    expect(warm.parserLoads()).toBe(0);
  });
  test("in one process, an equal text is parsed once", async () => {
    const { read, parserLoads } = await start();
    read(scale);
    rmSync(folder, { recursive: true });
    expect(read(new Function(`return (${scale})`)() as Arrow)).toBe("s * 3");
    expect(read(scale)).toBe("s * 3");
    expect(parserLoads()).toBe(1);
    expect(() => statSync(folder)).toThrow();
  });
  test("another text is another entry", async () => {
    const { read } = await start();
    const [a, b] = ["({ s, W }) => s + W", "({ s, W }) => s - W"].map((t) => new Function(`return (${t})`)() as Arrow) as [Arrow, Arrow];
    expect([read(a), read(b)]).toEqual(["s + 3", "s - 3"]);
    expect(entries().length).toBe(2);
  });
  test("entries are whole, private, and leave nothing beside them", async () => {
    (await start()).read(scale);
    const [entry] = entries() as [string];
    expect(entries().length).toBe(1);
    expect(entry).toMatch(/[0-9a-f]{64}\.json$/);
    expect(statSync(entry).mode & 0o077).toBe(0);
    expect(statSync(join(folder, "capture")).mode & 0o077).toBe(0);
  });
  const damages: readonly (readonly [string, (entry: string) => void])[] = [
    ["empty", (e) => writeFileSync(e, "")],
    ["cut short", (e) => writeFileSync(e, readFileSync(e, "utf8").slice(0, -5))],
    ["changed", (e) => writeFileSync(e, readFileSync(e, "utf8").replace('"*"', '"+"'))],
    ["no text", (e) => writeFileSync(e, Buffer.from([0, 255, 254, 10, 0]))],
    ["writable for others", (e) => chmodSync(e, 0o666)],
    [
      "a link",
      (e) => {
        const elsewhere = join(folder, "elsewhere.json");
        writeFileSync(elsewhere, readFileSync(e), { mode: 0o600 });
        rmSync(e);
        symlinkSync(elsewhere, e);
      },
    ],
  ];
  for (const [what, damage] of damages) {
    test(`an entry that is ${what} counts as none, and is written again`, async () => {
      (await start()).read(scale);
      for (const e of entries()) damage(e);
      const second = await start();
      expect(second.read(scale)).toBe("s * 3");
      expect(second.parserLoads()).toBe(1);
      const third = await start();
      expect(third.read(scale)).toBe("s * 3");
      expect(third.parserLoads()).toBe(0);
    });
  }
  test("no folder, or one that cannot be, is no trouble", async () => {
    const { read } = await start();
    expect(read(scale, null)).toBe("s * 3");
    const file = join(folder, "file");
    writeFileSync(file, "");
    const again = await start();
    expect(again.read(scale, join(file, "below"))).toBe("s * 3");
  });
  test("the folder is $MALLARD_CACHE, or the user's", async () => {
    const { defaultCacheFolder } = await import("../../compiler/capture/cache.js");
    expect(defaultCacheFolder({ MALLARD_CACHE: "/a/b" }, "linux")).toBe("/a/b");
    expect(defaultCacheFolder({ XDG_CACHE_HOME: "/c" }, "linux")).toBe("/c/mallard");
    expect(defaultCacheFolder({}, "linux")).toMatch(/\.cache\/mallard$/);
    expect(defaultCacheFolder({}, "darwin")).toMatch(/Library\/Caches\/mallard$/);
  });
});
