// Loss and change of the logits, as they come. Colours follow the page's theme; a plot is drawn at most once a frame.
import type { Metrics } from "@mallard-lang/mallard/trainer";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

interface Line {
  readonly label: string;
  /** A custom property of the style sheet. */
  readonly colour: string;
  readonly of: (m: Metrics) => number | undefined;
  readonly points?: boolean;
  readonly dash?: number[];
}
interface Look {
  readonly lines: readonly Line[];
  /** 3 is logarithmic. */
  readonly distr: 1 | 3;
  /** What the axis spans where there is nothing yet. */
  readonly empty: [number, number];
}
const LOSS: Look = {
  distr: 1,
  empty: [0, 6],
  lines: [
    { label: "training", colour: "--green", of: (m) => m.loss },
    { label: "validation", colour: "--amber", of: (m) => m.validationLoss, points: true },
  ],
};
const DELTA: Look = {
  distr: 3,
  empty: [1e-4, 1],
  lines: [
    { label: "greatest, frozen", colour: "--green", of: (m) => m.maxDeltaLogitFrozen },
    { label: "mean, frozen", colour: "--blue", of: (m) => m.deltaLogitFrozen },
    { label: "greatest, free", colour: "--amber", of: (m) => m.maxDeltaLogitFree, dash: [5, 4] },
  ],
};

/** Of a plot without its legend. */
const HEIGHT = 224;
class Plot {
  readonly #columns: [number[], ...(number | null)[][]];
  #plot: uPlot;
  #due = false;
  constructor(
    readonly place: HTMLElement,
    readonly look: Look,
  ) {
    this.#columns = [[], ...look.lines.map((): (number | null)[] => [])];
    this.#plot = this.#made();
    new ResizeObserver(() => {
      const width = place.clientWidth;
      if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
    }).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#plot.destroy();
      this.#plot = this.#made();
    });
  }
  #made(): uPlot {
    const style = getComputedStyle(document.documentElement);
    const probe = document.createElement("span");
    this.place.append(probe);
    // light-dark() is resolved where a colour is used.
    const colour = (name: string): string => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    const axis = {
      stroke: colour("--quiet"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
      font: `11px ${style.fontFamily}`,
    };
    const { look } = this;
    const { lines, distr } = look;
    const plot = new uPlot(
      {
        width: this.place.clientWidth || 400,
        height: HEIGHT,
        scales: {
          x: { time: false, range: (_, least, most) => [Math.min(0, least ?? 0), Math.max(20, most ?? 0)] },
          y: {
            distr,
            range: (_, least, most) =>
              least === null ? look.empty : distr === 3 ? uPlot.rangeLog(least, most, 10, true) : uPlot.rangeNum(least, most, 0.1, true),
          },
        },
        cursor: { points: { size: 6 }, drag: { x: true, y: false } },
        axes: [
          { ...axis, size: 28, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000] },
          { ...axis, size: 52, values: (_, ticks) => ticks.map((t) => (t === null ? null : short(t))) },
        ],
        series: [
          { label: "step" },
          ...lines.map(({ label, colour: name, points, dash }) => ({
            label,
            stroke: colour(name),
            width: points ? 0 : 1.75,
            spanGaps: true,
            ...(dash ? { dash } : {}),
            points: points ? { show: true, size: 7, fill: colour(name), stroke: colour(name) } : { show: false },
            value: (_: uPlot, v: number | null) => (v === null ? "–" : short(v)),
          })),
        ],
      },
      this.#columns,
      this.place,
    );
    probe.remove();
    return plot;
  }
  push(m: Metrics): void {
    const values = this.look.lines.map(({ of }) => of(m) ?? null);
    if (values.every((v) => v === null)) return;
    const [steps, ...columns] = this.#columns;
    steps.push(m.step);
    columns.forEach((column, i) => {
      const value = values[i] ?? null;
      column.push(this.look.distr === 3 && value !== null && value <= 0 ? null : value); // a logarithm has no place for 0
    });
    this.#draw();
  }
  clear(): void {
    for (const column of this.#columns) column.length = 0;
    this.#draw();
  }
  #draw(): void {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#plot.setData(this.#columns);
    });
  }
}
export const short = (x: number): string =>
  x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5) ? x.toExponential(1) : `${Number(x.toPrecision(3))}`;

export class Plots {
  readonly #all: readonly Plot[];
  constructor(loss: HTMLElement, delta: HTMLElement) {
    this.#all = [new Plot(loss, LOSS), new Plot(delta, DELTA)];
  }
  push(m: Metrics): void {
    for (const plot of this.#all) plot.push(m);
  }
  clear(): void {
    for (const plot of this.#all) plot.clear();
  }
}
