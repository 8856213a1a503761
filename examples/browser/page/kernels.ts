// The kernels' texts: a list to choose from, and the one chosen, with its syntax in colours.
import Prism from "prismjs";
import "prismjs/components/prism-wgsl.js";
import type { Problem } from "@mallard-lang/mallard/trainer";
import type { Either } from "fp-ts/lib/Either.js";
import type { KernelList, KernelText } from "../worker/kernels.js";

interface KernelPlaces {
  readonly of: HTMLSelectElement;
  readonly about: HTMLElement;
  readonly list: HTMLElement;
  readonly source: HTMLElement;
  readonly copy: HTMLButtonElement;
}
/** The training step, in the list of what can be shown. */
const STEP = "";

export class Kernels {
  #shown: KernelText | undefined;
  constructor(
    readonly places: KernelPlaces,
    readonly read: (of: string) => Promise<Either<Problem, KernelList>>,
  ) {
    places.of.addEventListener("change", () => void this.refresh());
    places.copy.addEventListener("click", () => {
      if (this.#shown) void navigator.clipboard.writeText(this.#shown.source);
    });
  }
  offer(variants: readonly { readonly name: string; readonly title: string }[]): void {
    const group = document.createElement("optgroup");
    group.label = "A variant by itself, with its gradients";
    group.append(...variants.map(({ name, title }) => new Option(title, name)));
    this.places.of.replaceChildren(new Option("The training step", STEP), group);
  }
  /** Of what is chosen: after the model changed, the training step's are others. */
  async refresh(): Promise<void> {
    const wanted = this.places.of.value;
    const found = await this.read(wanted);
    if (wanted !== this.places.of.value) return;
    if (found._tag === "Left") {
      this.places.about.textContent = found.left.message;
      this.#fill([]);
      return;
    }
    const { title, kernels } = found.right;
    this.places.about.textContent = `${kernels.length} in WGSL: ${title}`;
    this.#fill(kernels);
  }
  #fill(kernels: readonly KernelText[]): void {
    this.places.list.replaceChildren(
      ...kernels.map((kernel) => {
        const button = document.createElement("button");
        button.type = "button";
        const name = document.createElement("span");
        name.textContent = kernel.name;
        name.title = kernel.name;
        const lines = document.createElement("small");
        lines.textContent = `${kernel.source.split("\n").length} lines`;
        button.append(name, lines);
        button.addEventListener("click", () => this.#show(kernel, button));
        const item = document.createElement("li");
        item.append(button);
        return item;
      }),
    );
    const [first] = kernels;
    this.#show(first, this.places.list.querySelector("button"));
  }
  #show(kernel: KernelText | undefined, chosen: HTMLElement | null): void {
    this.#shown = kernel;
    this.places.copy.disabled = !kernel;
    for (const button of this.places.list.querySelectorAll("button")) button.setAttribute("aria-current", String(button === chosen));
    const grammar = Prism.languages.wgsl;
    if (kernel && grammar)
      this.places.source.innerHTML = Prism.highlight(kernel.source, grammar, "wgsl"); // which escapes the text
    else this.places.source.textContent = kernel?.source ?? "";
    this.places.source.parentElement?.scrollTo(0, 0);
  }
}
