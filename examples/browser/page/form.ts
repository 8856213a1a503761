// The form: made from the tables of settings and variants, read back as settings.
import type { Intervention } from "@mallard-lang/mallard/trainer";
import { DEVICE_TITLES, DEVICES, type DeviceName, isWhole, type NumberName, OPTIMIZER_NAMES, RANGES, type Settings } from "../settings.js";
import { element } from "./element.js";

export interface VariantRow {
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly interventions: readonly Intervention[];
}
const INTERVENTION_TEXTS: Readonly<Record<Intervention, readonly [title: string, about: string]>> = {
  none: ["None", "every weight at the same rate"],
  fixed: ["Fixed factor", "weights below the logits at τ times the rate"],
  quack: ["QuacK", "weights below the logits slow down as their partners grow"],
  "qk-norm": ["QK norm", "queries and keys are normed over a head"],
  "qk-clip": ["QK clip", "after a step, heads past the limit are scaled back"],
  "soft-cap": ["Soft cap", "scores are 50·tanh(ℓ/50)"],
  "sigma-reparam": ["σReparam", "every matrix by its spectral norm, times a learned gain"],
  mup: ["muP scale", "logits by 1/d instead of 1/√d"],
};
const OPTIMIZER_TITLES: Readonly<Record<Settings["optimizer"], string>> = { adamw: "AdamW", muon: "Muon", lion: "Lion", sgd: "SGD" };

export class Form {
  readonly form = element("settings", HTMLFormElement);
  readonly #fields = element("choices", HTMLFieldSetElement);
  #variants: readonly VariantRow[] = [];

  constructor(readonly changed: () => void) {
    this.form.addEventListener("change", (e) => {
      if (e.target instanceof HTMLInputElement && e.target.type === "file") return;
      this.#describe();
      this.changed();
    });
  }
  fill(s: Settings, variants: readonly VariantRow[], missing: Readonly<Record<DeviceName, string | null>>): void {
    this.#variants = variants;
    this.#select("variant").replaceChildren(...variants.map(({ name, title }) => new Option(title, name)));
    this.#select("optimizer").replaceChildren(...OPTIMIZER_NAMES.map((name) => new Option(OPTIMIZER_TITLES[name], name)));
    this.#select("device").replaceChildren(
      ...DEVICES.map((name) => {
        const option = new Option(missing[name] === null ? DEVICE_TITLES[name] : `${DEVICE_TITLES[name]} (not here)`, name);
        option.disabled = missing[name] !== null;
        return option;
      }),
    );
    this.#select("variant").value = s.variant;
    this.#describe();
    this.#select("intervention").value = s.intervention;
    this.#select("optimizer").value = s.optimizer;
    this.#select("device").value = s.device;
    for (const [name, [least, most]] of Object.entries(RANGES)) {
      const field = this.#input(name);
      field.min = String(least);
      field.max = String(most);
      field.required = true;
      if (isWhole(name as NumberName)) field.step = "1"; // its own keys
      field.value = String(s[name as NumberName]);
    }
    this.#describe();
  }
  read(): Settings {
    const number = (name: NumberName): number => this.#input(name).valueAsNumber;
    return {
      // The options were made of these very names.
      variant: this.#select("variant").value as Settings["variant"],
      intervention: this.#select("intervention").value as Settings["intervention"],
      optimizer: this.#select("optimizer").value as Settings["optimizer"],
      device: this.#select("device").value as Settings["device"],
      tau: number("tau"),
      lr: number("lr"),
      steps: number("steps"),
      batch: number("batch"),
      time: number("time"),
      layer: number("layer"),
      probeEvery: number("probeEvery"),
      seed: number("seed"),
    };
  }
  set locked(yes: boolean) {
    this.#fields.disabled = yes;
  }

  /** The lines below the choices, and the interventions that go with the variant. */
  #describe(): void {
    const variant = this.#variants.find((v) => v.name === this.#select("variant").value);
    if (!variant) return;
    const field = this.#select("intervention");
    const before = field.value;
    field.replaceChildren(...variant.interventions.map((name) => new Option(INTERVENTION_TEXTS[name][0], name)));
    field.value = variant.interventions.some((i) => i === before) ? before : "quack";
    element("variant-about", HTMLElement).textContent = variant.about;
    element("intervention-about", HTMLElement).textContent = INTERVENTION_TEXTS[field.value as Intervention][1]; // one of the options
    this.#input("tau").disabled = field.value !== "quack" && field.value !== "fixed";
  }
  #select(name: string): HTMLSelectElement {
    const field = this.form.elements.namedItem(name);
    if (!(field instanceof HTMLSelectElement)) throw new Error(`the form has no choice "${name}"`);
    return field;
  }
  #input(name: string): HTMLInputElement {
    const field = this.form.elements.namedItem(name);
    if (!(field instanceof HTMLInputElement)) throw new Error(`the form has no field "${name}"`);
    return field;
  }
}
