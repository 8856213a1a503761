// Which compiler is found, how CC is split, and what its failures say.
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as E from "fp-ts/lib/Either.js";
import { afterAll, describe, expect, it } from "vitest";
import { build } from "../../runtime/devices/native/build.js";
import { findToolchain, parseMacros, splitCommand, unsuitable, which } from "../../runtime/devices/native/toolchain.js";
import { needs } from "../require.js";

const temp = mkdtempSync(join(tmpdir(), "mallard toolchain "));
afterAll(() => rmSync(temp, { recursive: true, force: true }));
const right = <A>(e: E.Either<Error, A>): A => {
  if (E.isLeft(e)) throw e.left;
  return e.right;
};
const script = (name: string, body: string): string => {
  const path = join(temp, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
};

describe("CC is split without a shell", () => {
  it.each<[string, readonly string[]]>([
    ["gcc", ["gcc"]],
    ["  ccache\tgcc -m64 ", ["ccache", "gcc", "-m64"]],
    [`"/opt/my compilers/cc" -O1`, ["/opt/my compilers/cc", "-O1"]],
    [`'/opt/my compilers/cc' -DX="a b"`, ["/opt/my compilers/cc", "-DX=a b"]],
    [String.raw`/opt/my\ compilers/cc`, ["/opt/my compilers/cc"]],
    [String.raw`cc "-DS=\"q\"" '-DT=\n' "\a"`, ["cc", '-DS="q"', String.raw`-DT=\n`, String.raw`\a`]],
    ["cc $(touch /tmp/x) `id` ; rm | & > < * $HOME", ["cc", "$(touch", "/tmp/x)", "`id`", ";", "rm", "|", "&", ">", "<", "*", "$HOME"]],
    [`cc ""`, ["cc", ""]],
  ])("%s", (command, words) => {
    expect(splitCommand(command)).toEqual(E.right(words));
  });
  it.each([`"gcc`, `'gcc`, "gcc \\", "", "  ", `""`, "gcc\0"])("refuses %j", (command) => {
    const r = splitCommand(command);
    expect(E.isLeft(r) && r.left.kind).toBe("BadCommand");
  });
});

describe("what is not a usable compiler", () => {
  it("is named with what to do when CC does not exist, and not replaced", async () => {
    const r = await findToolchain({ cc: "no-such-compiler -O2" });
    if (E.isRight(r)) throw new Error("found");
    expect(r.left.kind).toBe("NoCompiler");
    expect(r.left.message).toContain("no-such-compiler -O2: not found in PATH");
    expect(r.left.message).toContain("apt install gcc");
    expect(r.left.message).toContain("--device gpujs");
  });
  it("is every candidate on an empty PATH, and a relative entry of PATH is not searched", async () => {
    script("cc", "exit 0");
    const r = await findToolchain({ env: { PATH: `.:${join(temp, "nothing")}` } });
    expect(E.isLeft(r) && r.left.fault).toMatchObject({ kind: "NoCompiler", tried: [{ command: "cc" }, { command: "gcc" }, { command: "clang" }] });
    expect(await which("cc", { PATH: "." })).toBeNull();
    expect(await which("cc", { PATH: temp })).toBe(join(temp, "cc"));
  });
  it("is one that fails, and the next candidate is not tried when it was asked for", async () => {
    const r = await findToolchain({ cc: script("broken", "echo 'no licence' >&2; exit 3") });
    expect(E.isLeft(r) && r.left.message).toContain("--version ended with 3: no licence");
  });
  it("is a file that cannot be executed", async () => {
    const path = join(temp, "plain");
    writeFileSync(path, "text");
    const r = await findToolchain({ cc: `'${path}'` });
    expect(E.isLeft(r) && r.left.kind).toBe("NoCompiler");
  });
  it.each<[string, string, RegExp]>([
    ["no vectors", "", /vector extensions/],
    ["old", "#define __GNUC__ 4", /too old/],
    ["32 bits", "#define __GNUC__ 12\n#define __SIZEOF_POINTER__ 4", /64 bits/],
    ["big-endian", "#define __GNUC__ 12\n#define __SIZEOF_POINTER__ 8\n#define __BYTE_ORDER__ __ORDER_BIG_ENDIAN__", /big-endian/],
  ])("is one with macros: %s", (_, macros, reason) => {
    expect(unsuitable(parseMacros(macros))).toMatch(reason);
  });
});

describe.skipIf(!(await needs("compiler")))("the system's compiler", () => {
  it("is identified, with macros resolved for this processor", async () => {
    const t = right(await findToolchain());
    expect(t.program).toMatch(/^\//);
    expect(t.version).not.toBe("");
    const macros = parseMacros(t.macros);
    expect(macros.get("__SIZEOF_FLOAT__")).toBe("4");
    if (process.arch === "x64") expect(macros.has("__SSE2__")).toBe(true);
  });
  it("takes arguments and quoted paths from CC, and macros tell them apart", async () => {
    const plain = right(await findToolchain());
    mkdirSync(join(temp, "with blanks"));
    symlinkSync(plain.program, join(temp, "with blanks", "cc"));
    const t = right(await findToolchain({ cc: `"${join(temp, "with blanks", "cc")}" -DEXTRA=7` }));
    expect(t.args).toEqual(["-DEXTRA=7"]);
    expect(parseMacros(t.macros).get("EXTRA")).toBe("7");
    const unquoted = right(await findToolchain({ cc: join(temp, "with blanks", "cc") }));
    expect(unquoted.program).toBe(join(temp, "with blanks", "cc"));
  });
  it.each(["-ffast-math", "-Ofast", "-ffinite-math-only"])("is refused with %s", async (flag) => {
    const cc = right(await findToolchain()).program;
    // Ours come later on the line, so that what CC adds must show in the macros; -O3 takes -Ofast's place but not its mathematics.
    const r = await findToolchain({ cc: `${cc} ${flag}` });
    if (E.isRight(r)) expect(parseMacros(r.right.macros).has("__FAST_MATH__")).toBe(false);
    else expect(r.left.message).toMatch(/fast-math|finite-math/);
    if (flag !== "-Ofast") expect(E.isLeft(r)).toBe(true);
  });
  it("says which unit it refused, with its words, and keeps the source", async () => {
    const work = mkdtempSync(join(temp, "work-"));
    const kept = join(temp, "kept.c");
    const r = await build(
      right(await findToolchain()),
      [
        { name: "good", source: "int good(void) { return 1; }\n" },
        { name: "attention_forward", source: "int bad(void) { return undeclared_thing; }\n" },
      ],
      "00",
      work,
      (unit) => {
        writeFileSync(kept, unit.source);
        return kept;
      },
    );
    if (E.isRight(r)) throw new Error("compiled");
    expect(r.left.fault).toMatchObject({ kind: "CompileFailed", unit: "attention_forward", file: kept });
    expect(r.left.message).toContain("undeclared_thing");
    expect(r.left.message).toContain(kept);
    expect(readFileSync(kept, "utf8")).toContain("undeclared_thing");
  });
  it("says so when a header is missing", async () => {
    const work = mkdtempSync(join(temp, "work-"));
    const r = await build(right(await findToolchain()), [{ name: "u", source: "#include <nowhere_at_all.h>\n" }], "00", work, () => null);
    expect(E.isLeft(r) && r.left.message).toContain("apt install libc6-dev");
  });
  it("links what one unit takes from another, and reports what is nowhere", async () => {
    const tool = right(await findToolchain({ cc: `${right(await findToolchain()).program} -Wl,-z,defs` }));
    const one = { name: "u", source: "int absent_function(void); int f(void) { return absent_function(); }\n" };
    const other = { name: "v", source: "int g(void) { return 1; }\n" };
    // One alone is compiled and linked at once, and blamed for both.
    for (const [units, unit] of [
      [[one], "u"],
      [[one, other], "link"],
    ] as const) {
      const r = await build(tool, units, "00", mkdtempSync(join(temp, "work-")), () => null);
      expect(E.isLeft(r) && r.left.fault).toMatchObject({ kind: "CompileFailed", unit });
      expect(E.isLeft(r) && r.left.message).toContain("absent_function");
    }
  });
});
