// The kernel cache against other users, races and damage.
import { execFile, execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import * as E from "fp-ts/lib/Either.js";
import { afterAll, describe, expect, it } from "vitest";
import { keyOf, type Opened, obtain, openEntry } from "../../runtime/devices/native/cache.js";
import { type Look, openFolder, self, unsafe } from "../../runtime/devices/native/folder.js";
import { load } from "../../runtime/devices/native/load.js";
import { findToolchain, type Toolchain } from "../../runtime/devices/native/toolchain.js";
import { needs } from "../require.js";

const temp = realpathSync(mkdtempSync(join(tmpdir(), "mallard-cache-")));
afterAll(() => rmSync(temp, { recursive: true, force: true }));
const fresh = (name: string, mode = 0o700): string => {
  const path = mkdtempSync(join(temp, `${name}-`));
  chmodSync(path, mode);
  return path;
};
const right = <A>(e: E.Either<Error, A>): A => {
  if (E.isLeft(e)) throw e.left;
  return e.right;
};
const as =
  (owners: Record<string, number>): Look =>
  (path) => {
    const s = lstatSync(path);
    if (path in owners) s.uid = owners[path]!;
    return s;
  };

describe("the folder", () => {
  it("is made 0700, missing parents too", () => {
    const dir = join(fresh("new"), "a", "b");
    expect(openFolder({ dir })).toEqual(E.right({ path: dir, notice: null }));
    expect(lstatSync(dir).mode & 0o777).toBe(0o700);
    expect(lstatSync(join(dir, "..")).mode & 0o777).toBe(0o700);
  });
  const faults: [string, () => { dir: string; look?: Look }, RegExp][] = [
    ["world-writable", () => ({ dir: fresh("w", 0o777) }), /can be written by others \(mode 0777\).*chmod go-w/],
    ["group-writable", () => ({ dir: fresh("g", 0o770) }), /can be written by others/],
    ["world-writable and sticky", () => ({ dir: fresh("s", 0o1777) }), /can be written by others/],
    [
      "a symbolic link",
      () => {
        const dir = join(fresh("l"), "link");
        symlinkSync(fresh("target"), dir);
        return { dir };
      },
      /is a symbolic link/,
    ],
    [
      "a file",
      () => {
        const dir = join(fresh("f"), "file");
        writeFileSync(dir, "");
        return { dir };
      },
      /is not a folder/,
    ],
    [
      "below a world-writable folder",
      () => {
        const parent = fresh("p", 0o777);
        mkdirSync(join(parent, "mine"), { mode: 0o700 });
        return { dir: join(parent, "mine") };
      },
      /p-\w+ can be written by others/,
    ],
    [
      "below a link into a folder that is not safe",
      () => {
        const open = fresh("open", 0o777);
        const link = join(fresh("safe"), "link");
        symlinkSync(open, link);
        return { dir: join(link, "cache") };
      },
      /open-\w+ can be written by others/,
    ],
    [
      "another user's",
      () => {
        const dir = fresh("o");
        return { dir, look: as({ [dir]: 4242 }) };
      },
      /belongs to user 4242/,
    ],
    [
      "below another user's",
      () => {
        const parent = fresh("po");
        mkdirSync(join(parent, "mine"), { mode: 0o700 });
        return { dir: join(parent, "mine"), look: as({ [parent]: 4242 }) };
      },
      /po-\w+ belongs to user 4242/,
    ],
  ];
  it.each(faults)("is refused when it is %s", (_, make, reason) => {
    const r = openFolder(make());
    if (E.isRight(r)) throw new Error("accepted");
    expect(r.left.kind).toBe("UnsafeFolder");
    expect(r.left.message).toMatch(reason);
    expect(r.left.message).toContain("MALLARD_CACHE");
  });
  it("may lie below a sticky folder that all may write, and below root's", () => {
    const sticky = fresh("sticky", 0o1777);
    const dir = join(sticky, "mine");
    mkdirSync(dir, { mode: 0o700 });
    expect(unsafe(dir, as({ [sticky]: 0 }))).toBeNull();
  });
  it("is replaced by a private one, with a line that says so, when it is the usual one; by name it is an error", () => {
    const home = fresh("home", 0o777);
    const env = { XDG_CACHE_HOME: home, HOME: home };
    if (process.platform !== "darwin") {
      const r = right(openFolder({ env, temp }));
      expect(r.notice).toMatch(/not safe to load code from.*for this process alone/);
      expect(r.path.startsWith(join(temp, "mallard-"))).toBe(true);
      expect(lstatSync(r.path).mode & 0o777).toBe(0o700);
      rmSync(r.path, { recursive: true });
    }
    expect(E.isLeft(openFolder({ env: { MALLARD_CACHE: home } }))).toBe(true);
  });
  it("is an error when the private place is no safer", () => {
    const home = fresh("home", 0o777);
    const r = openFolder({ env: { XDG_CACHE_HOME: home }, temp: home, look: as({}) });
    if (process.platform !== "darwin") expect(E.isLeft(r) && r.left.kind).toBe("UnsafeFolder");
  });
  it("that cannot be made is reported", () => {
    const file = join(fresh("notdir"), "file");
    writeFileSync(file, "");
    const r = openFolder({ dir: join(file, "below") });
    expect(E.isLeft(r) && r.left.kind).toBe("CacheFailed");
  });
});

describe.skipIf(!(await needs("compiler")))("entries", async () => {
  const found = await findToolchain();
  const tool: Toolchain = E.isRight(found) ? found.right : { program: "", args: [], flags: [], version: "", macros: "" };
  const unit = (value: number) => [{ name: "unit", source: `int f(void) { return ${value}; }\n` }];
  const call = (o: Opened, throughDescriptor?: boolean): number => {
    const library = right(load(o.library, throughDescriptor));
    const f: () => number = library.handle.func("f", "int", []);
    const value = f();
    library.unload();
    return value;
  };
  const get = async (folder: string, value: number, options = {}) => right(await obtain(folder, tool, unit(value), options));

  it("are built once, then found; the folder holds nothing else", async () => {
    const folder = fresh("c");
    const first = await get(folder, 11);
    const second = await get(folder, 11);
    expect([first.built, second.built]).toEqual([true, false]);
    expect([call(first), call(second)]).toEqual([11, 11]);
    expect(readdirSync(folder)).toEqual([keyOf(tool, unit(11))]);
    expect(lstatSync(first.library.path).mode & 0o777).toBe(0o600);
  });
  it("have keys that tell sources, names, flags, arguments and compilers apart", () => {
    const keys = [
      keyOf(tool, unit(1)),
      keyOf(tool, unit(2)),
      keyOf(tool, [{ name: "other", source: unit(1)[0]!.source }]),
      keyOf(tool, [...unit(1), { name: "b", source: "" }]),
      keyOf({ ...tool, flags: [...tool.flags, "-g"] }, unit(1)),
      keyOf({ ...tool, args: ["-m64"] }, unit(1)),
      keyOf({ ...tool, version: "another" }, unit(1)),
      keyOf({ ...tool, macros: `${tool.macros}\n#define __AVX1024__ 1` }, unit(1)),
      keyOf(tool, [{ name: "ab", source: "c" }]),
      keyOf(tool, [{ name: "a", source: "bc" }]),
    ];
    expect(new Set(keys).size).toBe(keys.length);
  });
  it("load through the descriptor, also after their name leads elsewhere, and number by number", async () => {
    const folder = fresh("c");
    const one = await get(folder, 1);
    const two = await get(folder, 2);
    // The attack between check and use: swap the two entries' folders once the first has been verified.
    const [a, b] = [keyOf(tool, unit(1)), keyOf(tool, unit(2))].map((k) => join(folder, k)) as [string, string];
    renameSync(a, join(folder, "x"));
    renameSync(b, a);
    expect(call(one)).toBe(1); // closes its descriptor: the next library gets the same number
    expect(call(two)).toBe(2);
    for (let i = 0; i < 5; i++) expect(call(await get(folder, 100 + i))).toBe(100 + i);
  });
  it("load once for several users; one that leaves takes nothing from the others, nor a later library", async () => {
    const folder = fresh("c");
    const [first, second] = [right(load((await get(folder, 71)).library)), right(load((await get(folder, 71)).library))];
    second.unload();
    second.unload();
    expect(call(await get(folder, 72))).toBe(72);
    const f: () => number = first.handle.func("f", "int", []);
    expect(f()).toBe(71);
    first.unload();
    expect(call(await get(folder, 73))).toBe(73);
    expect(call(await get(folder, 71))).toBe(71);
  });
  it("load from a private copy where descriptors have no names", async () => {
    const folder = fresh("c");
    expect(call(await get(folder, 21), false)).toBe(21);
    expect(call(await get(folder, 21), false)).toBe(21);
  });
  it("say what to do where koffi has no binary", async () => {
    const { library } = await get(fresh("c"), 23);
    const r = load(library, true, () => {
      throw new Error("Cannot find the native Koffi module");
    });
    expect(E.isLeft(r) && r.left.kind).toBe("Unsupported");
    expect(E.isLeft(r) && r.left.message).toContain("without --omit=optional");
    expect(() => closeSync(library.fd)).toThrow(); // it is closed already
  });
  it("under another's key are refused by the key inside", async () => {
    const folder = fresh("c");
    const { library } = await get(folder, 5);
    const r = load({ ...library, key: "f".repeat(64) });
    expect(E.isLeft(r) && r.left.kind).toBe("LoadFailed");
  });

  const entry = (folder: string, value: number) => join(folder, keyOf(tool, unit(value)));
  const attacks: [string, "Foreign" | "Corrupt", (folder: string, value: number) => void][] = [
    ["changed content", "Corrupt", (f, v) => flip(join(entry(f, v), "kernels.so"))],
    ["an empty library", "Corrupt", (f, v) => writeFileSync(join(entry(f, v), "kernels.so"), "")],
    ["no library", "Corrupt", (f, v) => rmSync(join(entry(f, v), "kernels.so"))],
    ["no manifest", "Corrupt", (f, v) => rmSync(join(entry(f, v), "manifest.json"))],
    ["a torn manifest", "Corrupt", (f, v) => writeFileSync(join(entry(f, v), "manifest.json"), '{"key": "')],
    ["a manifest of null", "Corrupt", (f, v) => writeFileSync(join(entry(f, v), "manifest.json"), "null")],
    ["a huge manifest", "Corrupt", (f, v) => writeFileSync(join(entry(f, v), "manifest.json"), " ".repeat(100_000))],
    ["a world-writable library", "Foreign", (f, v) => chmodSync(join(entry(f, v), "kernels.so"), 0o666)],
    ["a world-writable entry", "Foreign", (f, v) => chmodSync(entry(f, v), 0o777)],
    ["a second name of the library", "Foreign", (f, v) => linkSync(join(entry(f, v), "kernels.so"), join(f, "second"))],
    [
      "a link for the library",
      "Foreign",
      (f, v) => {
        renameSync(join(entry(f, v), "kernels.so"), join(f, "moved.so"));
        symlinkSync(join(f, "moved.so"), join(entry(f, v), "kernels.so"));
      },
    ],
    [
      "a link for the entry",
      "Foreign",
      (f, v) => {
        renameSync(entry(f, v), join(f, "moved"));
        symlinkSync(join(f, "moved"), entry(f, v));
      },
    ],
    [
      "a file for the entry",
      "Foreign",
      (f, v) => {
        rmSync(entry(f, v), { recursive: true });
        writeFileSync(entry(f, v), "");
      },
    ],
    [
      "a pipe for the library",
      "Foreign",
      (f, v) => {
        rmSync(join(entry(f, v), "kernels.so"));
        execFileSync("mkfifo", [join(entry(f, v), "kernels.so")]);
      },
    ],
    [
      "another key's library and manifest",
      "Corrupt",
      (f, v) => {
        rmSync(entry(f, v), { recursive: true });
        renameSync(entry(f, v + 1), entry(f, v));
      },
    ],
  ];
  it.each(attacks)("with %s are refused (%s), built again, and right", async (_, fault, attack) => {
    const folder = fresh("a");
    closeSync((await get(folder, 31)).library.fd);
    closeSync((await get(folder, 32)).library.fd);
    attack(folder, 31);
    const seen = openEntry(folder, keyOf(tool, unit(31)));
    expect(E.isLeft(seen) && seen.left?.fault).toBe(fault);
    const again = await get(folder, 31);
    expect(again.built).toBe(true);
    expect(again.refused?.fault).toBe(fault);
    expect(call(again)).toBe(31);
    const third = await get(folder, 31);
    expect(third.built).toBe(false);
    expect(call(third)).toBe(31);
  });
  it("of another owner are refused", async () => {
    const folder = fresh("o");
    closeSync((await get(folder, 41)).library.fd);
    const seen = openEntry(folder, keyOf(tool, unit(41)), { uid: self() + 1 });
    expect(E.isLeft(seen) && seen.left).toMatchObject({ fault: "Foreign", reason: `belongs to user ${self()}` });
  });
  it("are whole after a build that failed, and the refused source stays", async () => {
    const folder = fresh("f");
    const r = await obtain(folder, tool, [{ name: "broken", source: "int f(void) { return }\n" }]);
    if (E.isRight(r)) throw new Error("compiled");
    const { fault } = r.left;
    if (fault.kind !== "CompileFailed" || !fault.file) throw new Error(fault.kind);
    expect(readFileSync(fault.file, "utf8")).toContain("return }");
    expect(readdirSync(folder).filter((n) => !n.startsWith("refused-"))).toEqual([]);
  });
  it("left by killed builders and unused for long are swept away, others stay", async () => {
    const folder = fresh("sweep");
    closeSync((await get(fresh("other"), 50)).library.fd);
    const old = new Date(Date.now() - 100 * 86_400_000);
    const make = (name: string, time: Date) => {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, "manifest.json"), "{}");
      utimesSync(join(folder, name, "manifest.json"), time, time);
      utimesSync(join(folder, name), time, time);
    };
    make(".work-old", old);
    make(".work-new", new Date());
    make("a".repeat(64), old);
    make("b".repeat(64), new Date());
    make("mine", old);
    closeSync((await get(folder, 51)).library.fd);
    expect(readdirSync(folder).sort()).toEqual([".work-new", "b".repeat(64), keyOf(tool, unit(51)), "mine"].sort());
  });
  it("are no more than the cache may hold: those go that were not used for the longest time", async () => {
    const folder = fresh("full");
    for (const [name, days] of [
      ["a", 3],
      ["b", 1],
      ["c", 2],
    ] as const) {
      const path = join(folder, name.repeat(64));
      mkdirSync(path);
      writeFileSync(join(path, "program.bin"), Buffer.alloc(1000));
      writeFileSync(join(path, "manifest.json"), "{}");
      const used = new Date(Date.now() - days * 86_400_000);
      utimesSync(join(path, "manifest.json"), used, used);
    }
    closeSync((await get(folder, 52, { most: 1500 })).library.fd);
    expect(readdirSync(folder).sort()).toEqual(["b".repeat(64), keyOf(tool, unit(52))].sort());
  });
  it("are built by several processes at once, and all succeed", async () => {
    const folder = fresh("race");
    const source = `#include <math.h>\nint f(void) { return 61; }\n`;
    const exec = promisify(execFile);
    const builder = new URL("./builder.ts", import.meta.url).pathname;
    const one = async () => JSON.parse((await exec(process.execPath, ["--import", "tsx", builder, folder, source])).stdout);
    const all = await Promise.all([one(), one(), one()]);
    expect(all.map((r) => r.value)).toEqual([61, 61, 61]);
    expect(all.map((r) => r.refused)).toEqual([null, null, null]);
    expect(await one()).toEqual({ built: false, refused: null, value: 61 });
    expect(readdirSync(folder).filter((n) => n.startsWith("."))).toEqual([]);
    expect(existsSync(join(folder, keyOf(tool, [{ name: "unit", source }])))).toBe(true);
  }, 60_000);
});

function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1] = bytes[bytes.length >> 1]! ^ 1;
  writeFileSync(path, bytes);
}
