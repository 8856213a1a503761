// A plan as WGSL that stands by itself: a file for each distinct kernel, a launcher in JavaScript that runs them in order on a
// GPUDevice (a browser's, or that of the package `webgpu`), an example for Node and one for a page, and a README that tells
// hosts in other languages what to bind. Kernels, bindings and the order of dispatches are those of the WebGPU device on an
// adapter that has what every one has, so results have the same bits.
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import type { Extent } from "../../../dsl/node.js";
import { type Buffer, type Expr, extentVar, strides } from "../../lower/expr.js";
import type { Blocks, Nest } from "../../lower/nest.js";
import { showNest } from "../../lower/show.js";
import { nestsOf } from "../../lower/turns.js";
import type { Plan } from "../../plan.js";
import {
  type About,
  type Argument,
  argumentsOf,
  describe,
  type ExportedFile,
  field,
  importing,
  JS_KEYWORDS,
  listed,
  loopHead,
  numbered,
  numberText,
  packageText,
  quoted,
} from "../export.js";
import { spellings } from "../js/spell.js";
import type { TargetError } from "../target.js";
import { exampleText, type KernelRow, pageText, readmeText } from "./export-texts.js";
import { wgsl } from "./index.js";
import { guaranteed } from "./limits.js";
import { type IntSource, type Range, SMALL_STATE, type WgslPipeline, type WgslProgram, type WgslStep } from "./program.js";
import { type OwnSegment, type Segments, segmentsOf } from "./segments.js";
import { bytesIn, storageOf } from "./storage.js";
import { support } from "./support.js";

interface File extends ExportedFile {
  readonly pipeline: WgslPipeline;
}
/** What no variable of the launcher may be called: keywords, and what it itself declares. */
const RESERVED = [...JS_KEYWORDS, ..."arrays extents device gpu job kernels memory tables open opened run sized Math Number Boolean".split(" ")];

export function exportWgsl(plan: Plan, about: About): Either<TargetError, readonly ExportedFile[]> {
  const program = wgsl(guaranteed).compile(plan);
  if (isLeft(program)) return program;
  const all = argumentsOf(plan);
  const files = filesOf(plan, program.right, about);
  const segments = segmentsOf(program.right, guaranteed.bufferSize);
  if (isLeft(segments)) return tooLarge(plan, segments.left);
  const launcher = new Launcher(plan, program.right, about, all, files, segments.right);
  const most = Math.max(0, ...launcher.memory.values());
  if (most > guaranteed.bufferSize) return tooLarge(plan, most);
  return right([
    ...files.map(({ name, text }) => ({ name, text })),
    { name: `${about.name}.js`, text: launcher.text() },
    { name: "support.js", text: support },
    { name: "example.js", text: exampleText(plan, about, all) },
    { name: "example.html", text: pageText(about) },
    { name: "package.json", text: packageText(about, { webgpu: "^0.6.2" }) },
    { name: "README.md", text: readmeText(plan, about, all, rowsOf(program.right, files, launcher), launcher.memory) },
  ]);
}

const tooLarge = (plan: Plan, bytes: number): Either<TargetError, never> =>
  left({
    kind: "target",
    target: "wgsl",
    kernel: plan.name,
    nodes: [],
    message: `${bytes} bytes must lie together, and every WebGPU adapter has buffers of ${guaranteed.bufferSize} bytes: export it for smaller axes`,
  });

/** Nests that differ by names alone share a kernel: it is named by the first, and says the others. */
function filesOf(plan: Plan, program: WgslProgram, about: About): readonly File[] {
  const nests = new Map(nestsOf(plan.steps).map(({ nest }) => [nest.name, nest] as [string, Nest]));
  const users = new Map<number, Set<string>>();
  for (const d of dispatchesOf(program.steps)) users.set(d.pipeline, (users.get(d.pipeline) ?? new Set()).add(d.name));
  const sources = new Map(program.kernels.map((k) => [k.name, k.source]));
  const unique = numbered([]);
  return program.pipelines.map((pipeline, i) => {
    const names = [...(users.get(i) ?? [])];
    const head = names.flatMap((name) => {
      const nest = nests.get(name);
      const origin = nest ? about.origin(nest) : "";
      return nest ? [...(origin === "" ? [] : [origin]), ...showNest(nest)] : [name]; // a part of a nest that was divided
    });
    const source = (sources.get(names[0] ?? "") ?? pipeline.source).replace(/^\/\/[^\n]*\n/, "");
    return {
      name: `${unique(field(names[0] ?? pipeline.name))}.wgsl`,
      text: `${head.map((l) => `// ${l}`).join("\n")}\n${source.trimEnd()}\n`,
      pipeline,
    };
  });
}
function rowsOf(program: WgslProgram, files: readonly File[], launcher: Launcher): readonly KernelRow[] {
  const dispatches = dispatchesOf(program.steps);
  return files.map(({ name, pipeline }, i) => {
    const ranges = dispatches.find((d) => d.pipeline === i)?.bindings ?? [];
    const binds = ranges.map((r, b) => `${b}: ${launcher.rangeOf(r).memory} (${pipeline.access[b]})`).join("; ");
    return { file: name, workgroup: pipeline.workgroupSize, binds, ints: pipeline.ints };
  });
}
type Dispatch = Extract<WgslStep, { do: "dispatch" }>;
const dispatchesOf = (steps: readonly WgslStep[]): readonly Dispatch[] => steps.flatMap((s) => (s.do === "dispatch" ? [s] : dispatchesOf(s.body)));

const aligned = (bytes: number): number => Math.max(256, Math.ceil(bytes / 256) * 256);

/** A part of one GPU buffer, by the buffer's name. */
interface Place {
  readonly memory: string;
  readonly offset: number;
  readonly bytes: number;
}
/** The steps as JavaScript. */
class Launcher {
  /** Bytes of each GPU buffer. */
  readonly memory = new Map<string, number>();
  /** Names of the segments' pieces. */
  readonly #pieces: string[] = [];
  readonly #places = new Map<Buffer, Place>();
  readonly #byPath = new Map<string, Place>();
  readonly #names = new Map<string, string>();
  readonly #unique = numbered(RESERVED);
  constructor(
    readonly plan: Plan,
    readonly program: WgslProgram,
    readonly about: About,
    readonly all: readonly Argument[],
    readonly files: readonly File[],
    readonly segments: Segments,
  ) {
    const pieces = new Map<OwnSegment, number>();
    for (const { segment, bytes } of segments.pieces) {
      const n = pieces.get(segment) ?? 0;
      pieces.set(segment, n + 1);
      this.#pieces.push(n === 0 ? segment : `${segment}${n}`);
      this.memory.set(this.#pieces.at(-1) as string, bytes);
    }
    for (const [b, p] of program.places) this.#places.set(b, this.#inSegment(p));
    for (const [path, b] of Object.entries(plan.state)) {
      const bytes = bytesIn(b);
      const large = bytes > SMALL_STATE;
      const memory = large ? `state ${path}` : "state";
      const offset = this.memory.get(memory) ?? 0;
      const place = { memory, offset, bytes: Math.max(4, bytes) };
      this.memory.set(memory, offset + aligned(bytes));
      this.#places.set(b, place);
      this.#byPath.set(path, place);
    }
    for (const e of plan.extents) {
      const v = extentVar(e);
      if (v.kind === "var") this.#names.set(v.name, this.#unique(field(e.name)));
    }
  }

  text(): string {
    const { plan, about } = this;
    const extents = plan.extents.map((e) => ({ name: e.name, max: e.max, own: this.#size(e) }));
    const given = this.all.filter((a) => a.kind !== "output");
    const made = this.all.filter((a) => a.kind === "output");
    const tables = plan.buffers.filter((b) => b.role === "table" && this.#places.has(b));
    const arrays = (list: readonly Argument[]) => list.map((a) => this.#array(a, "      ")).join("");
    return `// ${about.title} on WebGPU. Generated by Mallard ${about.version}; nothing here needs Mallard.
//
//   const program = await open(device);        // a GPUDevice: of a browser, or of the package webgpu in Node
//   const { ${made[0]?.name.split(".")[0] ?? "out"} } = await program.run({ … });
//   program.close();
${importing(extents.length > 0 ? "{ opened, sized }" : "{ opened }", "./support.js")}

/** Each kernel's file, what it may do with each storage buffer it binds, and how many 32-bit integers its uniform buffer has. */
const kernels = [
${this.files.map(({ name, pipeline: p }) => `  { file: new URL("${name}", import.meta.url), access: ${listed(p.access.map(quoted))}, ints: ${p.ints} },`).join("\n")}
];
/** GPU buffers, in bytes. */
const memory = { ${[...this.memory].map(([name, bytes]) => `${/^\w+$/.test(name) ? name : quoted(name)}: ${bytes}`).join(", ")} };
/** What was computed once, of indices and constants alone. */
const tables = [${tables.map((b) => this.#table(b)).join("")}${tables.length > 0 ? "\n" : ""}];

/** Arrays are row-major in the order of their axes:
${this.all.map((a) => ` *  ${a.kind} ${quoted(a.name)}: ${describe(a.buffer)}`).join("\n")}${extents.length > 0 ? `\n *  and the sizes of a run, { ${extents.map((e) => `${quoted(e.name)}: 0 to ${e.max}`).join(", ")} }.` : ""}
 *  One encoder and one submit a run; a run may begin before the one before it has ended. */
export async function open(device) {
  const gpu = await opened(device, kernels, memory, tables);
  const run = (arrays${extents.length > 0 ? ", extents" : ""}) => {
${extents.map((e) => `    const ${e.own} = sized(extents, ${quoted(e.name)}, ${e.max});\n`).join("")}    const job = gpu.begin([
${arrays(given)}    ], arrays);
${this.#steps(this.program.steps, "    ")}
    return job.end([
${arrays(made)}    ]);
  };
  return { run, close: gpu.close };
}
`;
  }
  /** Name, type, where it lies, and its layout at this run's sizes. */
  #array(a: Argument, pad: string): string {
    const p = this.#placeOf(a.buffer);
    const counts = listed(a.buffer.axes.map((x) => this.#size(x.extent)));
    return `${pad}{ name: ${quoted(a.name)}, type: ${quoted(a.buffer.dtype)}, memory: ${quoted(p.memory)}, offset: ${p.offset}, counts: ${counts}, strides: ${listed(strides(a.buffer))} },\n`;
  }
  #table(b: Buffer): string {
    const p = this.#placeOf(b);
    const type = storageOf(b);
    const values = Array.from(b.data ?? [], (x) => numberText(type === "f32" ? Math.fround(x) : x)).join(", ");
    return `\n  { type: ${quoted(type)}, memory: ${quoted(p.memory)}, offset: ${p.offset}, values: [${values}] },`;
  }
  #placeOf(b: Buffer): Place {
    const place = this.#places.get(b);
    if (!place) throw new Error(`buffer ${b.name} of ${this.plan.name} has no place`); // the compiler's defect
    return place;
  }
  #inSegment(r: { readonly segment: OwnSegment; readonly offset: number; readonly bytes: number }): Place {
    const { piece, offset } = this.segments.at(r.segment, r.offset);
    return { memory: this.#pieces[piece] as string, offset, bytes: r.bytes };
  }
  rangeOf(r: Range): Place {
    if (r.segment !== "state") return this.#inSegment(r);
    if (r.path === null) return { memory: "state", offset: 0, bytes: this.memory.get("state") ?? 0 };
    const place = this.#byPath.get(r.path);
    if (!place) throw new Error(`state ${r.path} of ${this.plan.name} has no place`); // the compiler's defect
    return place;
  }
  #size(e: Extent): string {
    return typeof e === "number" ? String(e) : this.intText(extentVar(e));
  }
  #variable(name: string): string {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    const made = this.#unique(field(name));
    this.#names.set(name, made);
    return made;
  }
  /** An integer expression of the host's. */
  intText(e: Expr): string {
    switch (e.kind) {
      case "num":
        return String(e.value);
      case "var":
        return this.#variable(e.name);
      case "call": {
        const args = e.args.map((a) => this.intText(a));
        const [a, b] = args;
        if (e.prim === "idiv") return `Math.floor(${a} / ${b})`;
        if (e.prim === "imod") return `(${a} - ${b} * Math.floor(${a} / ${b}))`;
        return spellings[e.prim](...args);
      }
      default:
        throw new Error(`${e.kind} stands where an integer of the host's is wanted`); // the compiler's defect
    }
  }
  /** As deep as the plan's loops are nested. */
  #steps(steps: readonly WgslStep[], pad: string): string {
    return steps.map((s) => this.#step(s, pad)).join("\n");
  }
  #step(s: WgslStep, pad: string): string {
    if (s.do === "dispatch") {
      const bindings = s.bindings.map((r) => this.rangeOf(r)).map((p) => listed([quoted(p.memory), p.offset, p.bytes]));
      return `${pad}job.dispatch(${s.pipeline}, ${listed(bindings)}, ${listed(s.ints.map((i) => this.#int(i, s)))}, ${this.intText(s.workgroups)}); // ${s.name}`;
    }
    const i = this.#variable(s.v);
    return [`${pad}${loopHead(i, s)} {`, ...(s.blocks ? this.#blocks(s.blocks, i, `${pad}  `) : []), this.#steps(s.body, `${pad}  `), `${pad}}`].join(
      "\n",
    );
  }
  #int(source: IntSource, d: Dispatch): string {
    if (source.of === "variable") return this.#variable(source.name);
    return String((this.#placeOf(source.buffer).offset - this.rangeOf(d.bindings[source.binding] as Range).offset) / 4); // one for each binding
  }
  /** Rows of this turn; a turn beyond the run's rows is left out. */
  #blocks({ extent, size, spans }: Blocks, i: string, pad: string): readonly string[] {
    const total = this.#size(extent);
    const plus = (n: number) => (n === 0 ? "" : n < 0 ? ` - ${-n}` : ` + ${n}`);
    return [
      `${pad}if (${i} > 0 && ${i} * ${size} >= ${total}) continue;`,
      ...spans.flatMap(({ start, skip, rows, lo, hi }) => {
        const first = `${i} * ${size}${plus(lo)}`;
        const from = this.#variable(start);
        const own = extentVar(rows);
        return [
          `${pad}const ${from} = ${skip === null ? first : `Math.max(0, ${first})`};`,
          ...(skip === null ? [] : [`${pad}const ${this.#variable(skip)} = ${from} - (${first});`]),
          ...(own.kind === "var"
            ? [`${pad}const ${this.#variable(own.name)} = Math.min(${i} * ${size}${plus(size + hi)}, ${total}) - ${from};`]
            : []),
        ];
      }),
    ];
  }
}
