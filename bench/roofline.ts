// The roofline picture (Williams, Waterman and Patterson, 2009): each kernel at its operations a byte and the GFLOP/s that
// it reached, by axes that both grow by factors, under the roofs of the machine: its peak, OpenBLAS's rate, and the
// bandwidths of memory and of a core's cache. A kernel's disc grows with its share of the time; the most expensive ones are
// numbered, and named in a list beside the picture.
import { attained, type KernelTime, type Roofs, type RunProfile, titleOf } from "../index.js";

export interface RooflineOptions {
  readonly title: string;
  /** OpenBLAS's GFLOP/s, where it is there. */
  readonly blas: number | null;
}
const SIZE = { width: 1240, height: 700 } as const;
const LIST = { left: 800, top: 92, line: 27 } as const;
/** Kernels with a number. */
const NUMBERED = 20;
const COLOURS: Readonly<Record<KernelTime["source"]["half"], string>> = { forward: "#2f6fb0", backward: "#c2571a", update: "#3b8b4a" };
const HALVES = Object.keys(COLOURS) as readonly (keyof typeof COLOURS)[]; // its own keys

type Point = readonly [intensity: number, gflops: number];
/** A stretch of a roof, with what it is called at a point of it. */
interface Roof {
  readonly from: Point;
  readonly to: Point;
  readonly said: string;
  readonly at: Point;
  readonly position: "top" | "left" | "bottom";
  readonly colour: string;
  readonly dashed: boolean;
}

/** As SVG. */
export async function roofline(p: RunProfile, roofs: Roofs, { title, blas }: RooflineOptions): Promise<string> {
  const echarts = await import("echarts"); // half a second, that nothing else needs
  const points = p.kernels
    .map((k) => ({ k, at: attained(k, roofs), share: (k.ms + k.waitMs) / p.bestMs }))
    .filter(({ at }) => at.intensity > 0 && at.gflops > 0 && Number.isFinite(at.gflops))
    .map((x, i) => ({ ...x, number: i < NUMBERED ? i + 1 : null }));
  const decades = (xs: readonly number[]): Point => [10 ** Math.floor(Math.log10(Math.min(...xs))), 10 ** Math.ceil(Math.log10(Math.max(...xs)))];
  const [left, right] = decades([0.1, 200, ...points.map((x) => x.at.intensity)]);
  const [low, high] = decades([1, roofs.gflops * 1.2, ...points.map((x) => x.at.gflops)]);
  const middle = (from: Point, to: Point, share = 0.5): Point => [from[0] ** (1 - share) * to[0] ** share, from[1] ** (1 - share) * to[1] ** share];
  const slope = (name: string, gbs: number, colour: string): Roof => {
    const start = Math.max(left, low / gbs);
    const [from, to] = [[start, start * gbs] as const, [roofs.gflops / gbs, roofs.gflops] as const];
    return { from, to, said: `${name} ${gbs.toFixed(0)} GB/s`, at: middle(from, to, 0.22), position: "left", colour, dashed: true };
  };
  const flat = (said: string, gflops: number, from: number, colour: string, position: "top" | "bottom"): Roof => {
    const ends = [[from, gflops] as const, [right, gflops] as const] as const;
    return { from: ends[0], to: ends[1], said, at: middle(ends[0], ends[1], 0.6), position, colour, dashed: position === "bottom" };
  };
  const lines: readonly Roof[] = [
    slope("memory", roofs.memory, "#666666"),
    slope("cache", roofs.cache, "#999999"),
    flat(`fma of ${roofs.lanes} floats: ${roofs.gflops.toFixed(0)} GFLOP/s`, roofs.gflops, roofs.gflops / roofs.cache, "#222222", "top"),
    ...(blas === null ? [] : [flat(`OpenBLAS: ${blas.toFixed(0)} GFLOP/s`, blas, blas / roofs.memory, "#8a5bb0", "bottom")]),
  ];
  const axis = { type: "log" as const, logBase: 10, nameLocation: "middle" as const, minorTick: { show: true, splitNumber: 9 } };
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, ...SIZE });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: "#ffffff",
      title: { text: `Roofline: ${title}`, subtext: `${p.bestMs.toFixed(1)} ms; a disc's area is the kernel's share of it`, left: 16, top: 8 },
      legend: { data: [...HALVES], left: LIST.left, top: 16, itemGap: 24 },
      grid: { left: 72, right: SIZE.width - LIST.left + 24, top: 84, bottom: 60 },
      xAxis: { ...axis, min: left, max: right, name: "operations a byte (nominal)", nameGap: 34 },
      yAxis: { ...axis, min: low, max: high, name: "GFLOP/s", nameGap: 46 },
      graphic: points
        .filter((x) => x.number !== null)
        .map((x, i) => ({
          type: "text" as const,
          left: LIST.left,
          top: LIST.top + i * LIST.line,
          style: {
            text: `${String(x.number).padStart(2)}  ${(100 * x.share).toFixed(1)} %  ${titleOf(x.k, 40)}`,
            fill: COLOURS[x.k.source.half],
            fontSize: 12,
          },
        })),
      series: [
        ...lines.map((l) => ({
          type: "line" as const,
          data: [[...l.from], [...l.to]],
          showSymbol: false,
          silent: true,
          color: l.colour,
          lineStyle: { color: l.colour, type: l.dashed ? ("dashed" as const) : ("solid" as const), width: 1.5 },
        })),
        ...HALVES.map((half) => ({
          type: "scatter" as const,
          name: half,
          itemStyle: { color: COLOURS[half], opacity: 0.7 },
          data: points
            .filter(({ k }) => k.source.half === half)
            .map(({ number, at, share }) => ({
              value: [at.intensity, at.gflops],
              symbolSize: Math.max(5, 90 * Math.sqrt(share)),
              label: { show: number !== null, formatter: String(number), position: "right" as const, distance: 2, fontSize: 11, color: "#222222" },
            })),
        })),
        {
          type: "scatter" as const,
          symbolSize: 0,
          silent: true,
          data: lines.map((l) => ({
            value: [...l.at],
            label: { show: true, formatter: l.said, position: l.position, color: l.colour, fontSize: 12 },
          })),
        },
      ],
    });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}
