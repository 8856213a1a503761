// The report of `check`, for people and as JSON.
import {
  type Boundary,
  type Checked,
  type Count,
  type Diagnosis,
  type ExtentsByName,
  excerpt,
  type Half,
  type Halves,
  type Quadratic,
  type Verdict,
} from "../index.js";
import { table } from "./table.js";
import { amount, countText, mebibytes, placeText, quadraticJson } from "./verdict-text.js";

export interface Head {
  readonly expression: string;
  /** Of the expression and its gradients. */
  readonly diagnoses: readonly Diagnosis[];
  readonly halves: Halves;
  readonly sequences: readonly string[];
  readonly verdict: Verdict;
  readonly fused: boolean;
}
export interface Run {
  readonly sizes: ExtentsByName;
  readonly extents: ExtentsByName;
  readonly checked: readonly Checked[];
  readonly differences: readonly Checked[];
  readonly undefinedIn: readonly string[];
  /** The device gave up. */
  readonly thrown: string | null;
}
export interface Report extends Head {
  /** "" where nothing ran. */
  readonly device: string;
  readonly seed: number;
  readonly runs: readonly Run[];
  readonly wantsFused: boolean;
}

const shape = (axes: object): string =>
  Object.entries(axes)
    .map(([a, e]) => `${a} ${typeof e === "number" ? e : "(at run time)"}`)
    .join(", ") || "a number";

/** Types and axes, and the verdict on the fusion. */
export function verdictText({ expression, diagnoses, halves, sequences, verdict: v, fused }: Head): string {
  const tensor = ([name, x]: readonly [string, { readonly dtype: string; readonly axes: object }]) => ({ name, dtype: x.dtype, axes: shape(x.axes) });
  const columns = [
    { head: "", cell: (r: { readonly name: string }) => `  ${r.name}`, words: true },
    { head: "", cell: (r: { readonly dtype: string }) => r.dtype, words: true },
    { head: "", cell: (r: { readonly axes: string }) => r.axes, words: true },
  ];
  const list = (rows: readonly ReturnType<typeof tensor>[]) => table(columns, rows).split("\n").slice(1);
  const outputs = outputsOf(halves).map(([name, x]) => tensor([name, x]));
  const rows: readonly (readonly [string, Count, Count])[] = [
    ["forward", v.forward.count, v.dense.forward],
    ["backward", v.backward.count, v.dense.backward],
  ];
  const counts = table<(typeof rows)[number]>(
    [
      { head: "", cell: ([name]) => `  ${name}`, words: true },
      { head: "kernels", cell: ([, c]) => countText(c), words: true },
      { head: "passes", cell: ([, c]) => String(c.passes) },
      { head: "memory", cell: ([, c]) => amount(c.bytes, "B") },
      { head: "work", cell: ([, c]) => amount(c.operations, "FLOP") },
      { head: "dense: kernels", cell: ([, , d]) => countText(d) },
      { head: "passes", cell: ([, , d]) => String(d.passes) },
      { head: "memory", cell: ([, , d]) => amount(d.bytes, "B") },
      { head: "work", cell: ([, , d]) => amount(d.operations, "FLOP") },
    ],
    rows,
  );
  const stopped = diagnoses.filter((d) => d.kind === "stopped");
  const warnings = diagnoses.filter((d) => d.kind === "warning");
  const told = ({ place, message, hint }: Diagnosis): readonly string[] => {
    const at = place ? [place] : [];
    return [`  ${placeText(at)} ${message}`, ...frame(at), `    → ${hint}`];
  };
  const t = v.temporaries.both;
  const growth = t.scales.length > 1 ? `, growing like T^${t.exponent.toFixed(2)} with ${sequences.join(", ")}` : "";
  const scratch = v.scratchBytesPerThread === null ? "" : `, and ${mebibytes(v.scratchBytesPerThread)} MiB for each thread`;
  return [
    expression,
    "",
    "Inputs",
    ...list(Object.entries(halves.forward.inputs).map(tensor)),
    "Outputs",
    ...list(outputs),
    "",
    "Kernels (the work between two barriers)",
    counts,
    `  temporaries: ${mebibytes(t.bytes[0] as number)} MiB${growth}; dense ${mebibytes(v.dense.bytes)} MiB${scratch}`,
    "",
    fused ? fusedText(v) : "Not fused: what is stored grows like the square of the sequences",
    ...stopped.flatMap(told),
    ...v.quadratic.flatMap((q) => storedText("stored", q, stopped.length === 0)),
    ...v.inBlocks.flatMap((q) => storedText("a block of rows at a time", q, true)),
    ...(warnings.length > 0 ? ["", "Warnings", ...warnings.flatMap(told)] : []),
    ...boundaryText("forward", v.forward),
    ...boundaryText("backward", v.backward),
  ].join("\n");
}
function storedText(how: string, q: Quadratic, reasons: boolean): readonly string[] {
  const why = !reasons ? [] : q.stopped.length > 0 ? q.stopped.map((w) => `stopped at ${placeText(w.places)}: ${w.reason}`) : q.readings;
  return [`  ${how}: ${q.value.buffer.name}, ${mebibytes(q.bytes)} MiB ${placeText(q.value.places)}`, ...new Set(why.map((t) => `    ${t}`))];
}
const fusedText = (v: Verdict): string =>
  v.temporaries.both.scales.length > 1
    ? "Fused: no value grows like the square of the sequences in memory"
    : "Sizes are fixed: how memory grows with them is not known (export a formula, or use upTo)";

function outputsOf(halves: Halves): readonly (readonly [string, { readonly dtype: string; readonly axes: object }])[] {
  const out: (readonly [string, { readonly dtype: string; readonly axes: object }])[] = [];
  const todo: { readonly path: string; readonly tree: unknown }[] = [{ path: "", tree: halves.forward.out }];
  for (let at = todo.shift(); at; at = todo.shift()) {
    const { path, tree } = at;
    if (typeof tree !== "object" || tree === null) continue;
    if ("axes" in tree && "dtype" in tree && typeof tree.axes === "object" && tree.axes !== null)
      out.push([path || "out", { dtype: String(tree.dtype), axes: tree.axes }]);
    else todo.push(...Object.entries(tree).map(([k, t]) => ({ path: path === "" ? k : `${path}.${k}`, tree: t as unknown })));
  }
  return out;
}

/** Each boundary once, with the expressions that stand at it. */
function boundaryText(half: string, { boundaries }: Half): readonly string[] {
  if (boundaries.length === 0) return [];
  const groups = new Map<string, Boundary[]>();
  for (const b of boundaries) {
    const key = `${b.before.join(" + ")} | ${b.after.join(" + ")}`;
    groups.set(key, [...(groups.get(key) ?? []), b]);
  }
  return [
    "",
    `Kernel boundaries, ${half}`,
    ...[...groups].flatMap(([key, values]) => [
      `  ${key}`,
      ...values.flatMap((b, i) => {
        const line = `    ${b.value.buffer.name} ${placeText(b.value.places)}: ${b.reason}`;
        const [p] = b.value.places;
        const known = values.slice(0, i).some((o) => o.value.places[0]?.line === p?.line && o.value.places[0]?.column === p?.column);
        return known ? [line] : [line, ...frame(b.value.places)];
      }),
    ]),
  ];
}
type Places = Verdict["quadratic"][number]["value"]["places"];
function frame([p]: Places): readonly string[] {
  const text = p ? excerpt(p) : null;
  return text === null ? [] : text.split("\n").map((l) => `      ${l}`);
}

/** The worst of each output over all runs, the first fault where there is one. */
interface Line {
  readonly name: string;
  readonly runs: number;
  readonly worst: Checked;
  readonly fault: { readonly text: string; readonly at: string } | null;
}
function lines(runs: readonly Run[], of: (r: Run) => readonly Checked[]): readonly Line[] {
  const by = new Map<string, Line>();
  for (const r of runs)
    for (const c of of(r)) {
      const known = by.get(c.name);
      const fault = known?.fault ?? (c.fault === null ? null : { text: c.fault, at: runText(r) });
      const worse = !known || c.error / c.allowed > known.worst.error / known.worst.allowed || (known.worst.allowed === 0 && c.allowed > 0);
      by.set(c.name, { name: c.name, runs: (known?.runs ?? 0) + 1, worst: worse ? c : known.worst, fault });
    }
  return [...by.values()];
}
const runText = (r: Run): string =>
  Object.entries({ ...r.sizes, ...r.extents })
    .map(([a, n]) => `${a} ${n}`)
    .join(", ") || "its own sizes";

export function reportText(r: Report): { readonly text: string; readonly ok: boolean } {
  const compared = lines(r.runs, (x) => x.checked);
  const differences = lines(r.runs, (x) => x.differences);
  const thrown = r.runs.filter((x) => x.thrown !== null);
  const unfused = r.wantsFused && !r.fused;
  const faults = [...compared, ...differences].filter((l) => l.fault !== null);
  const show = (l: Line): readonly string[] => [
    `  ${l.fault === null ? "✓" : "✗"} ${l.name.padEnd(Math.max(...[...compared, ...differences].map((x) => x.name.length)))}  error ${l.worst.error.toExponential(1)}, allowed ${l.worst.allowed.toExponential(1)}  (${l.runs} ${l.runs === 1 ? "run" : "runs"})`,
    ...(l.fault === null ? [] : [`      ${l.fault.text}`, `      with ${l.fault.at}; again with --seed ${r.seed}`]),
  ];
  const undefinedIn = [...new Set(r.runs.flatMap((x) => x.undefinedIn))];
  const text = [
    ...(r.runs.length > 0 ? ["", `Against the oracle, on ${r.device}`, ...compared.flatMap(show)] : []),
    ...thrown.slice(0, 3).map((x) => `  ✗ ${runText(x)}: ${x.thrown}`),
    ...(differences.length > 0 ? ["", "Gradients against central differences", ...differences.flatMap(show)] : []),
    ...(undefinedIn.length > 0
      ? [
          "",
          `The reference itself has NaN in ${undefinedIn.join(", ")}: give values or sizes that the expression is defined for, such as --range 'x=0.1..1' (or --inputs)`,
        ]
      : []),
    "",
    faults.length + thrown.length > 0
      ? `Failed: ${[...faults.map((l) => l.name), ...(thrown.length > 0 ? ["a run"] : [])].join(", ")}`
      : unfused
        ? "Failed: it is not fused"
        : "All is well",
  ];
  return { text: text.join("\n"), ok: faults.length === 0 && thrown.length === 0 && !unfused };
}

export function reportJson(r: Report): object {
  const v = r.verdict;
  const boundary = (b: Boundary) => ({ before: b.before, after: b.after, value: b.value.buffer.name, places: b.value.places, reason: b.reason });
  const half = (h: Half) => ({ ...h.count, boundaries: h.boundaries.map(boundary) });
  return {
    expression: r.expression,
    ok: reportText(r).ok,
    inputs: Object.fromEntries(Object.entries(r.halves.forward.inputs).map(([name, x]) => [name, { dtype: x.dtype, axes: x.axes }])),
    outputs: Object.fromEntries(outputsOf(r.halves)),
    sequences: r.sequences,
    diagnoses: r.diagnoses.map(({ kind, place, message, hint }) => ({ kind, place: place ?? null, message, hint })),
    fused: r.fused,
    forward: half(v.forward),
    backward: half(v.backward),
    dense: v.dense,
    temporaries: v.temporaries,
    scratchBytesPerThread: v.scratchBytesPerThread,
    quadratic: v.quadratic.map(quadraticJson),
    inBlocks: v.inBlocks.map(quadraticJson),
    device: r.device === "" ? null : r.device,
    seed: r.seed,
    runs: r.runs,
  };
}
