// What a benchmark says, and how it is written down: text on a terminal, a table in Markdown, JSON.
import { cpus, loadavg, platform, release, totalmem } from "node:os";
import type { Showing } from "./contestant.js";
import { median, type Ratio, ratioOf } from "./statistics.js";

export interface Bar {
  /** What the limit is on; upper: the upper end of the ratio's interval. */
  readonly on: "ratio" | "ours" | "upper";
  readonly limit: number;
  readonly met: boolean;
}
/** Figures that are no comparison. */
export interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** The same for programs: what --json shows. */
  readonly data: unknown;
  /** Lines below. */
  readonly notes: readonly string[];
  /** A picture of it, by its path from the document. */
  readonly picture?: string;
}
export interface Row {
  readonly part: string;
  /** Rows of one group stand in one table under its name. */
  readonly group?: string;
  readonly what: string;
  readonly unit: string;
  /** Whether more of the unit is better (GFLOP/s) or less (seconds). */
  readonly better: "more" | "less";
  /** Medians over the pairs. */
  readonly ours: number;
  readonly against: string;
  /** null: there was nobody to compare with. */
  readonly theirs: number | null;
  /** Ours / theirs, pair by pair. */
  readonly ratio: Ratio | null;
  /** The best single figures, and ours over theirs: what other work on the machine disturbs least. */
  readonly best: { readonly ours: number; readonly theirs: number; readonly ratio: number } | null;
  readonly bar: Bar | null;
}
export interface Report {
  readonly machine: string;
  readonly load: string;
  readonly threads: number;
  readonly systems: readonly string[];
  readonly rows: readonly Row[];
  readonly tables: readonly Table[];
  /** Further lines: what was skipped, overheads, conditions. */
  readonly notes: readonly string[];
}

export function row(
  x: Pick<Row, "part" | "group" | "what" | "unit" | "better" | "against"> & {
    readonly ours: Showing;
    readonly theirs: Showing | null;
    readonly bar?: { readonly on: Bar["on"]; readonly limit: number } | undefined;
  },
): Row {
  const { ours, theirs, bar, ...same } = x;
  const ratio = theirs ? ratioOf(ours.medians, theirs.medians) : null;
  const judged = bar && { ours: median(ours.medians), ratio: ratio?.median, upper: ratio?.interval?.high }[bar.on];
  const best = ({ all }: Showing) => all.reduce((a, b) => (x.better === "more" ? Math.max(a, b) : Math.min(a, b)));
  return {
    ...same,
    ours: median(ours.medians),
    theirs: theirs ? median(theirs.medians) : null,
    ratio,
    best: theirs ? { ours: best(ours), theirs: best(theirs), ratio: best(ours) / best(theirs) } : null,
    bar: bar && judged !== undefined ? { ...bar, met: x.better === "more" ? judged >= bar.limit : judged <= bar.limit } : null,
  };
}

export const digits = (x: number): string => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));
/** With enough pairs for a third decimal to mean something, the interval of the median too. */
const ratioText = ({ median, min, max, pairs, interval }: Ratio): string =>
  interval && pairs >= 20
    ? `${median.toFixed(3)} [${interval.low.toFixed(3)}–${interval.high.toFixed(3)}] (${min.toFixed(2)}–${max.toFixed(2)})`
    : `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`;
const cells = (r: Row): readonly string[] => [
  r.what,
  `${digits(r.ours)} ${r.unit}`,
  r.against,
  r.theirs === null ? "" : `${digits(r.theirs)} ${r.unit}`,
  r.ratio ? ratioText(r.ratio) : "",
  r.best ? `${r.best.ratio.toFixed(2)} (${digits(r.best.ours)} / ${digits(r.best.theirs)})` : "",
  r.bar
    ? `${r.bar.on === "upper" ? "interval " : ""}${r.better === "more" ? "≥" : "≤"} ${r.bar.limit}${r.bar.on === "ours" ? ` ${r.unit}` : ""}: ${r.bar.met ? "met" : "missed"}`
    : "",
];
const HEAD = ["", "Mallard", "against", "", "ratio, median (range)", "best/best", "wanted"];

export function columns(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => (r[i] ?? "").length)));
  const line = (r: readonly string[]) =>
    r
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)))
      .join("  ")
      .trimEnd();
  return [line(head), widths.map((w) => "─".repeat(w)).join("  "), ...rows.map(line)].join("\n");
}
const CONDITIONS = [
  "Ratios are Mallard's figure over the other's, of slices that ran one right after the other in changing order: on a shared machine only they hold.",
  "[…]: 95 % interval of the median ratio, by order statistics (the sign test's); in parentheses the least and greatest ratio.",
  "best/best: of the best single runs. Where other work shares the cores, threads that spin at barriers lose more than others, and this is the fairer ratio.",
  "GFLOP/s: more is better. ms and s: less is better.",
];

/** Tables in the order of their first rows. */
function grouped(rows: readonly Row[]): readonly (readonly [group: string, rows: readonly Row[]])[] {
  const groups = new Map<string, Row[]>();
  for (const r of rows) groups.set(r.group ?? "", [...(groups.get(r.group ?? "") ?? []), r]);
  return [...groups];
}
export const asText = (r: Report): string =>
  [
    `${r.machine}, ${r.threads} thread${r.threads === 1 ? "" : "s"}; ${r.load}`,
    ...r.systems,
    "",
    ...grouped(r.rows).flatMap(([group, rows]) => [...(group === "" ? [] : [group]), columns(HEAD, rows.map(cells)), ""]),
    ...(r.rows.length > 0 ? CONDITIONS : []),
    ...r.tables.flatMap((t) => ["", t.title, "", columns(t.head, t.rows), "", ...t.notes]),
    ...r.notes,
  ].join("\n");

const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] => [
  `| ${head.join(" | ")} |`,
  `|${head.map((_, i) => (i === 0 ? "---" : "---:")).join("|")}|`,
  ...rows.map((cells) => `| ${cells.map((c) => c.replaceAll("|", "\\|")).join(" | ")} |`),
  "",
];
/** A section of the results' document. */
export const asMarkdown = (r: Report, when: Date, command: string): string =>
  [
    `## ${command}`,
    "",
    `${when.toISOString().slice(0, 10)}, ${r.machine}, ${r.threads} thread${r.threads === 1 ? "" : "s"}; ${r.load}.`,
    "",
    ...r.systems.map((s) => `- ${s}`),
    "",
    ...grouped(r.rows).flatMap(([group, rows]) => [...(group === "" ? [] : [`**${group}**`, ""]), ...markdownTable(HEAD, rows.map(cells))]),
    ...(r.rows.length > 0 ? [...CONDITIONS, ""] : []),
    ...r.tables.flatMap((t) => [
      `**${t.title}**`,
      "",
      ...(t.picture === undefined ? [] : [`![${t.title}](${t.picture})`, ""]),
      ...markdownTable(t.head, t.rows),
      ...t.notes.map((n) => `${n}\n`),
    ]),
    ...r.notes.map((n) => `- ${n}`),
    "",
  ].join("\n");

const TITLE = "# Measured speed";
/** The document with this section in place of the one of the same command, or behind the others. */
export function withSection(document: string, section: string): string {
  const sections = document.split(/^(?=## )/m).filter((s) => s.startsWith("## "));
  const heading = (s: string) => s.slice(0, s.indexOf("\n"));
  const at = sections.findIndex((s) => heading(s) === heading(section));
  if (at < 0) sections.push(section);
  else sections[at] = section;
  return [TITLE, "", ...sections.map((s) => `${s.trimEnd()}\n`)].join("\n");
}

/** The load average before anything is measured, and what it means for the figures: more than half a core is busy. */
export function load(average = loadavg()[0] ?? 0): string {
  return `load average before the start ${average.toFixed(1)}${average > 0.5 ? ": OTHER WORK WAS UNDER WAY, do not quote these figures" : ""}`;
}
export function machine(): string {
  const [first] = cpus();
  const kind = (first?.model ?? process.arch).trim();
  return `${kind}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${platform()} ${release()}, Node ${process.version}`;
}
