// Atomic files and JSON lines, with interruptions.
import { spawn } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import { afterAll, describe, expect, it } from "vitest";
import { JsonLines, readJsonLines, toLine, writeAtomic } from "../../runtime/files.js";

const temp = mkdtempSync(join(tmpdir(), "mallard-files-"));
afterAll(() => rmSync(temp, { recursive: true, force: true }));
const fresh = () => mkdtempSync(join(temp, "d-"));
const right = <A>(e: E.Either<Error, A>): A => {
  if (E.isLeft(e)) throw e.left;
  return e.right;
};

describe("an atomic write", () => {
  it("makes and replaces files, from text, bytes and chunks, and leaves nothing else", async () => {
    const folder = fresh();
    const path = join(folder, "a");
    right(await writeAtomic(path, "text"));
    expect(readFileSync(path, "utf8")).toBe("text");
    chmodSync(path, 0o640);
    right(await writeAtomic(path, new Uint8Array([1, 2, 3])));
    expect([...readFileSync(path)]).toEqual([1, 2, 3]);
    expect(statSync(path).mode & 0o777).toBe(0o640);
    right(
      await writeAtomic(
        path,
        (function* () {
          yield new Uint8Array([4]);
          yield new Uint8Array([5, 6]);
        })(),
      ),
    );
    expect([...readFileSync(path)]).toEqual([4, 5, 6]);
    expect(readdirSync(folder)).toEqual(["a"]);
  });
  it("that fails half-way leaves the old content and no temporary file", async () => {
    const folder = fresh();
    const path = join(folder, "a");
    right(await writeAtomic(path, "old"));
    const r = await writeAtomic(
      path,
      (async function* () {
        yield Buffer.from("new, but");
        throw new Error("the producer stopped");
      })(),
    );
    expect(E.isLeft(r) && r.left.message).toContain("the producer stopped");
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(folder)).toEqual(["a"]);
  });
  it("never shows half a file, also when its process is killed", async () => {
    const folder = fresh();
    const path = join(folder, "a");
    const size = 3_000_000;
    writeFileSync(path, Buffer.alloc(size, 1));
    const code = `import { writeAtomic } from ${JSON.stringify(new URL("../../runtime/files.ts", import.meta.url).href)};
      console.log("ready");
      for (let i = 2; ; i = i === 250 ? 1 : i + 1) await writeAtomic(${JSON.stringify(path)}, Buffer.alloc(${size}, i));`;
    const script = join(folder, "w.mts");
    writeFileSync(script, code);
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, ["--import", "tsx", script], { stdio: ["ignore", "pipe", "inherit"], cwd: process.cwd() });
      await new Promise((r) => child.stdout.once("data", r));
      for (let i = 0; i < 30; i++) {
        await new Promise((r) => setTimeout(r, 3));
        const seen = readFileSync(path);
        expect(seen.length).toBe(size);
        expect(seen.every((b) => b === seen[0])).toBe(true);
      }
      const gone = new Promise((r) => child.once("exit", r));
      child.kill("SIGKILL");
      await gone;
      const seen = readFileSync(path);
      expect([seen.length, seen.every((b) => b === seen[0])]).toEqual([size, true]);
    }
  }, 60_000);
  it("says what is wrong with the place", async () => {
    const missing = await writeAtomic(join(temp, "no", "where"), "x");
    expect(E.isLeft(missing) && missing.left.code).toBe("ENOENT");
    expect(E.isLeft(missing) && missing.left.message).toContain("check the path");
    const folder = fresh();
    const onFolder = await writeAtomic(folder, "x");
    expect(E.isLeft(onFolder) && onFolder.left.code).toBe("EISDIR");
    expect(readdirSync(folder)).toEqual([]);
  });
  it("replaces a link, not what it leads to", async () => {
    const folder = fresh();
    writeFileSync(join(folder, "target"), "mine");
    symlinkSync(join(folder, "target"), join(folder, "link"));
    right(await writeAtomic(join(folder, "link"), "new"));
    expect(readFileSync(join(folder, "target"), "utf8")).toBe("mine");
    expect(readFileSync(join(folder, "link"), "utf8")).toBe("new");
  });
});

describe("JSON lines", () => {
  it("are appended, also over several openings, and read back", async () => {
    const path = join(fresh(), "metrics.jsonl");
    for (let run = 0; run < 2; run++) {
      using lines = right(JsonLines.open(path));
      for (let step = 0; step < 3; step++) right(lines.append({ run, step, loss: 0.1 * step, note: "a\nb" }));
      right(lines.sync());
    }
    const all = right(await readJsonLines(path));
    expect(all.length).toBe(6);
    expect(all[4]).toEqual({ run: 1, step: 1, loss: 0.1, note: "a\nb" });
  });
  it("keep what is no finite number", () => {
    expect(toLine({ a: Number.NaN, b: [Number.NEGATIVE_INFINITY], c: 1e300 })).toBe('{"a":"NaN","b":["-Infinity"],"c":1e+300}\n');
  });
  it("lose a torn last line, and nothing else", async () => {
    for (const torn of ['{"step":2,"lo', "x".repeat(200_000)]) {
      const path = join(fresh(), "m.jsonl");
      writeFileSync(path, '{"step":1}\n');
      appendFileSync(path, torn);
      expect(right(await readJsonLines(path))).toEqual([{ step: 1 }]);
      using lines = right(JsonLines.open(path));
      right(lines.append({ step: 2 }));
      expect(readFileSync(path, "utf8")).toBe('{"step":1}\n{"step":2}\n');
    }
    const path = join(fresh(), "m.jsonl");
    writeFileSync(path, "torn from the start");
    right(JsonLines.open(path)).close();
    expect(readFileSync(path, "utf8")).toBe("");
  });
  it("name a bad line, a bad place, and a closed file", async () => {
    const path = join(fresh(), "m.jsonl");
    writeFileSync(path, '{"a":1}\n{oops}\n{"a":2}\n');
    const r = await readJsonLines(path);
    expect(E.isLeft(r) && r.left.message).toContain("line 2:");
    mkdirSync(`${path}.d`);
    expect(E.isLeft(JsonLines.open(`${path}.d`))).toBe(true);
    expect(E.isLeft(await readJsonLines(join(temp, "none")))).toBe(true);
    const closed = right(JsonLines.open(join(temp, "closed")));
    closed.close();
    closed.close();
    const late = closed.append({});
    expect(E.isLeft(late) && late.left.message).toContain("closed");
  });
  it.skipIf(!existsSync("/dev/full"))("report a full disk", () => {
    const opened = JsonLines.open("/dev/full");
    const r = E.isRight(opened) ? opened.right.append({ a: 1 }) : opened;
    expect(E.isLeft(r) && r.left.code).toBe("ENOSPC");
    if (E.isRight(opened)) opened.right.close();
  });
});
