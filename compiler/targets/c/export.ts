// A plan as C that stands by itself: readable kernels, a header that documents every array, a launcher with threads, an
// example that runs on random data, a Makefile and a README. Nothing in it needs Mallard. The kernels and the order of
// their calls are those that the native device runs, so results have the same bits.
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import type { DType } from "../../../dsl/node.js";
import { kernelsIn } from "../../explain/kernels.js";
import { type Buffer, elements, strides } from "../../lower/expr.js";
import type { Nest } from "../../lower/nest.js";
import { showNest } from "../../lower/show.js";
import type { Plan } from "../../plan.js";
import { type About, argumentsOf, type ExportedFile, field, numbered, shapeOf } from "../export.js";
import type { TargetError } from "../target.js";
import type { CArgument, Exported } from "./exported.js";
import { exampleOf, launcherOf, makefileOf } from "./launcher.js";
import { prelude } from "./prelude.js";
import { literal } from "./print.js";
import { cFlags, mainFunction, printed, scratchBytes } from "./program.js";
import { cType, storageOf } from "./storage.js";

/** Names that a field of a struct cannot have. */
const KEYWORDS =
  `auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return short
  signed sizeof static struct switch typedef union unsigned void volatile while`.split(/\s+/);

export function exportC(plan: Plan, about: About): Either<TargetError, readonly ExportedFile[]> {
  const made = printed(plan, "readable");
  if (isLeft(made)) return made;
  const unique = numbered(KEYWORDS);
  const e: Exported = {
    about,
    arguments: argumentsOf(plan)
      .filter((a) => a.kind !== "output" || a.buffer.role === "output")
      .map((a) => ({ ...a, field: unique(field(a.name)), type: cType(storageOf(a.buffer)) })),
    extents: plan.extents.map((x) => ({ field: unique(field(x.name)), max: x.max })),
    arenaBytes: Math.ceil(plan.arenaBytes / 64) * 64,
    scratchBytes: Math.ceil(scratchBytes(made.right) / 64) * 64,
    flags: cFlags.filter((f) => f !== "-w"),
  };
  const n = about.name;
  return right([
    { name: `${n}.h`, text: headerOf(e) },
    { name: "kernels.c", text: kernelsOf(plan, made.right, e) },
    { name: "launcher.c", text: launcherOf(e) },
    { name: "example.c", text: exampleOf(e) },
    { name: "Makefile", text: makefileOf(e) },
    { name: "README.md", text: readmeOf(plan, e) },
  ]);
}

const STORED: { readonly [D in DType]: string } = {
  f32: "f32",
  f64: "f64",
  bf16: "bf16, as its upper 16 bits of an f32",
  f16: "f16, as its bits",
  i32: "i32",
  bool: "0 or 1",
};
const describe = ({ buffer }: CArgument): string =>
  buffer.axes.length === 0
    ? `${STORED[buffer.dtype]}, one number`
    : `${STORED[buffer.dtype]} [${shapeOf(buffer)}], strides ${strides(buffer).join(", ")}`;

function headerOf(e: Exported): string {
  const { name, title } = e.about;
  const one = (a: CArgument) =>
    `  ${a.kind === "input" ? "const " : ""}${a.type} *${a.field}; /* ${a.kind === "state" ? "read and written: " : ""}${describe(a)} */`;
  const given = e.arguments.filter((a) => a.kind !== "output");
  const made = e.arguments.filter((a) => a.kind === "output");
  const extents = e.extents.length > 0;
  const type = `const struct ${name}_arrays *arrays${extents ? `, const struct ${name}_extents *extents` : ""}`;
  return `/* ${title}, compiled to C by Mallard ${e.about.version}.
 *
 * Arrays are row-major in the order of their axes; strides are in elements. They need no alignment and must not overlap,
 * but inputs may be the same array.${extents ? " Axes whose size is a run-time extent are laid out at their greatest size:\n * strides stay as they are whatever the extent." : ""}
 * Results do not depend on the number of threads: they have the same bits for any. */
#ifndef MALLARD_${name.toUpperCase()}_H
#define MALLARD_${name.toUpperCase()}_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

struct ${name}_arrays {
${given.map(one).join("\n")}
  /* Results: */
${made.map(one).join("\n")}
};
${
  extents
    ? `/* Sizes of this run. */
struct ${name}_extents {
${e.extents.map((x) => `  int32_t ${x.field}; /* from 0 to ${x.max} */`).join("\n")}
};
`
    : ""
}
/* ── with threads of its own (launcher.c) ── */

typedef struct ${name}_pool ${name}_pool;
/* Starts n_threads − 1 threads, which sleep between runs; the caller is the first. NULL: out of memory or threads. */
${name}_pool *${name}_open(int n_threads);
/* One run at a time on a pool. */
void ${name}_run(${name}_pool *pool, ${type});
void ${name}_close(${name}_pool *pool);

/* ── with threads of yours (kernels.c) ── */

/* Bytes for temporaries, aligned to 64, for that many threads; their content means nothing between runs. */
size_t ${name}_workspace_bytes(int n_threads);
/* Every one of n_threads threads calls this with its number tid, from 0, and the same other arguments; all have returned when
 * the results are there. barrier(barrier_argument) returns when all n_threads are inside it; with one thread it may do
 * nothing. */
void ${name}_thread(${type}, void *workspace, int tid, int n_threads,
    void (*barrier)(void *), void *barrier_argument);

#ifdef __cplusplus
}
#endif
#endif
`;
}

const comment = (lines: readonly string[]): string => `/* ${lines.map((l) => l.replaceAll("*/", "* /")).join("\n * ")} */`;

function kernelsOf(plan: Plan, made: Parameters<typeof mainFunction>[1], e: Exported): string {
  const { name, title } = e.about;
  const tables = plan.buffers.filter((b) => b.role === "table");
  const nests = new Map(kernelsIn(plan).flatMap((k) => k.nests.map((n) => [n.name, n] as [string, Nest])));
  const kernel = (k: (typeof made.unique)[number]) => {
    const n = nests.get(k.name);
    const origin = n ? e.about.origin(n) : "";
    const head = n ? [...(origin === "" ? [] : [origin]), ...showNest(n)] : [k.name];
    return `${comment(head)}\nstatic ${k.printed.source.trimEnd()}\n`;
  };
  const place = (b: Buffer): string => {
    const argument = e.arguments.find((a) => a.buffer === b);
    if (argument) return `(void *)a->${argument.field}`;
    return b.role === "table" ? `(void *)${tableName(tables.indexOf(b))}` : `arena + ${plan.offsets.get(b.id) ?? 0}`;
  };
  const extents = e.extents.length > 0;
  return `${comment([`${title}: the kernels, and the order in which every thread runs them.`, `Generated by Mallard ${e.about.version}.`])}
#include "${name}.h"

/* ── what kernels are made of: vectors of eight, selects, functions, the block of a matrix product ── */
${prelude}

/* ── kernels ── */

${made.unique.map(kernel).join("\n")}
/* ── the program ── */

${tables.map((b, i) => tableOf(b, i)).join("\n")}${mainFunction(plan, made).replace("void mallard_main(", "static void mallard_main(")}

enum { ARENA = ${e.arenaBytes}, SCRATCH = ${e.scratchBytes} };

size_t ${name}_workspace_bytes(int n_threads) { return (size_t)ARENA + (size_t)SCRATCH * (size_t)n_threads; }

void ${name}_thread(const struct ${name}_arrays *a${extents ? `, const struct ${name}_extents *e` : ""}, void *workspace, int tid, int n_threads,
    void (*barrier)(void *), void *barrier_argument) {
  char *arena = workspace;
  void *const buffers[] = {${plan.buffers.map(place).join(", ") || "0"}};
  const int32_t extents[] = {${e.extents.map((x) => `e->${x.field}`).join(", ") || "0"}};
  mallard_main(buffers, extents, tid, n_threads, arena + ARENA + (size_t)SCRATCH * (size_t)tid, barrier, barrier_argument);
}
`;
}
const tableName = (i: number): string => `table_${i}`;
/** What was computed at compile time, of indices and constants alone. */
function tableOf(b: Buffer, i: number): string {
  const type = cType(storageOf(b));
  const of = storageOf(b) === "f32" ? "real" : "int";
  const values = Array.from(b.data ?? [], (x) => literal(x, of).replace("NAN_", '__builtin_nanf("")').replace("INF", "__builtin_inff()"));
  const lines = Array.from({ length: Math.ceil(values.length / 16) }, (_, k) => `  ${values.slice(16 * k, 16 * k + 16).join(", ")}`);
  return `/* [${shapeOf(b)}] */\nstatic const ${type} ${tableName(i)}[${Math.max(1, elements(b))}] = {\n${lines.join(",\n")}\n};\n`;
}

function readmeOf(plan: Plan, e: Exported): string {
  const { name, title } = e.about;
  const row = (a: CArgument) => `| \`${a.field}\` | ${a.kind} | ${describe(a)} |`;
  const kernels = kernelsIn(plan).flatMap((k, i) => k.nests.map((n) => `| ${i + 1} | \`k_${n.name}\` | ${n.form} | ${e.about.origin(n)} |`));
  const sizes = e.extents.map((x) => `\`${x.field}\` (up to ${x.max})`).join(", ");
  return `# ${title} in C

Compiled by Mallard ${e.about.version}. Nothing here needs Mallard: GCC or Clang, POSIX threads.

\`\`\`sh
make            # builds example
./example 4     # random data, 4 threads: time of a run and a sum of each result
\`\`\`

| file | what it is |
|---|---|
| \`${name}.h\` | the interface |
| \`kernels.c\` | the kernels, and \`${name}_thread\`, which every thread calls |
| \`launcher.c\` | threads and memory for it: \`${name}_open\`, \`${name}_run\`, \`${name}_close\`; leave it out where you have threads of your own |
| \`example.c\`, \`Makefile\` | an example |

Compile with \`${e.flags.join(" ")}\`: without \`-ffp-contract=off\` results have other bits. No \`-ffast-math\`.

## Arrays

Row-major in the order of the axes; strides in elements.${sizes === "" ? "" : ` Run-time sizes: ${sizes}; the layout is that of the greatest sizes.`}

| field | | |
|---|---|---|
${e.arguments.map(row).join("\n")}

Temporaries: ${e.arenaBytes} bytes, and ${e.scratchBytes} for each thread.

## Kernels

Those of one number run side by side; a barrier stands between numbers.

| | function | form | from |
|---|---|---|---|
${kernels.join("\n")}
`;
}
