// What the page's form asks for, and what each choice is: one table each, from which the form is made.
import { INTERVENTIONS, type Intervention, MODEL_SIZES, OPTIMIZERS, type OptimizerName } from "@mallard-lang/mallard/trainer";

export const VARIANTS = ["multi-head", "grouped-query", "latent", "window", "alibi", "dilated", "sink-tokens", "soft-cap", "off-by-one"] as const;
export type VariantName = (typeof VARIANTS)[number];

/** Devices that a browser has. */
export const DEVICES = ["webgpu", "gpujs"] as const;
export type DeviceName = (typeof DEVICES)[number];
export const DEVICE_TITLES: Readonly<Record<DeviceName, string>> = { webgpu: "WebGPU", gpujs: "gpu.js" };

export interface Settings {
  readonly variant: VariantName;
  readonly intervention: Intervention;
  readonly optimizer: OptimizerName;
  readonly device: DeviceName;
  /** QuacK's and the fixed rule's factor of the rates of weights below the logits. */
  readonly tau: number;
  readonly lr: number;
  /** Steps of one press of the button. */
  readonly steps: number;
  /** Sequences a step, and bytes a sequence. */
  readonly batch: number;
  readonly time: number;
  readonly layer: number;
  /** Steps between two measurements of the change of the logits. */
  readonly probeEvery: number;
  readonly seed: number;
}

/** Whether another value needs other kernels, and so begins a new run. */
const REBUILDS = [
  "variant",
  "intervention",
  "optimizer",
  "device",
  "tau",
  "batch",
  "time",
  "layer",
  "seed",
] as const satisfies readonly (keyof Settings)[];
export const sameRun = (a: Settings, b: Settings): boolean => REBUILDS.every((k) => a[k] === b[k]);

const { micro } = MODEL_SIZES;
export const DEFAULTS: Settings = {
  variant: "multi-head",
  intervention: "quack",
  optimizer: "adamw",
  device: "webgpu",
  tau: 1,
  lr: OPTIMIZERS.adamw.lr,
  steps: 200,
  batch: micro.batch,
  time: micro.time,
  layer: micro.layer,
  probeEvery: 2,
  seed: 1,
};
const choices: { readonly [K in "variant" | "intervention" | "optimizer" | "device"]: readonly Settings[K][] } = {
  variant: VARIANTS,
  intervention: INTERVENTIONS,
  optimizer: ["adamw", "muon", "lion", "sgd"],
  device: DEVICES,
};
export const OPTIMIZER_NAMES = choices.optimizer;
/** Least and greatest of each number. */
export const RANGES = {
  tau: [0.001, 10],
  lr: [1e-6, 1],
  steps: [1, 100_000],
  batch: [1, 64],
  time: [8, 128],
  layer: [1, 6],
  probeEvery: [1, 1000],
  seed: [0, 2 ** 31 - 1],
} as const satisfies Partial<Readonly<Record<keyof Settings, readonly [number, number]>>>; // the numbers alone
export type NumberName = keyof typeof RANGES;
export const isWhole = (name: NumberName): boolean => name !== "tau" && name !== "lr";

/** What an address asks for, such as ?variant=window&steps=20. What it does not name is the default; so is what it names wrongly,
 *  of which `wrong` says what there is. */
export function settingsOf(query: string): { readonly settings: Settings; readonly wrong: readonly string[] } {
  const settings: Record<string, string | number> = { ...DEFAULTS };
  const wrong: string[] = [];
  const texts = new Map<string, readonly string[]>(Object.entries(choices));
  const ranges = new Map<string, readonly [number, number]>(Object.entries(RANGES));
  for (const [name, value] of new URLSearchParams(query)) {
    const all = texts.get(name);
    const range = ranges.get(name);
    if (all) {
      if (all.includes(value)) settings[name] = value;
      else wrong.push(`${name}=${value}: there are ${all.join(", ")}`);
    } else if (range) {
      const [least, most] = range;
      const whole = isWhole(name as NumberName); // it has a range
      const number = Number(value);
      if (value !== "" && number >= least && number <= most && (!whole || Number.isInteger(number))) settings[name] = number;
      else wrong.push(`${name}=${value}: ${whole ? "a whole number" : "a number"} from ${least} to ${most} is wanted`);
    } else wrong.push(`${name}: there are ${[...texts.keys(), ...ranges.keys()].join(", ")}`);
  }
  return { settings: settings as unknown as Settings, wrong }; // each value was found among those of its name
}
