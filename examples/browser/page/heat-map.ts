// The attention map of a prompt: one head large, with the prompt's bytes beside it, and all heads small, to choose from.
// A cell's colour is the square root of the weight, so that small ones are seen.
import type { AttentionMap, HeadMap } from "../worker/attention.js";

type Colour = readonly [number, number, number];
/** From nothing to one. */
const RAMPS: Readonly<Record<"light" | "dark", readonly Colour[]>> = {
  light: [
    [246, 248, 246],
    [188, 223, 206],
    [74, 163, 127],
    [11, 107, 79],
    [5, 46, 36],
  ],
  dark: [
    [17, 23, 20],
    [16, 66, 50],
    [24, 128, 93],
    [80, 204, 156],
    [236, 255, 246],
  ],
};
const dark = matchMedia("(prefers-color-scheme: dark)");

function colourOf(weight: number): Colour {
  const ramp = RAMPS[dark.matches ? "dark" : "light"];
  const at = Math.sqrt(Math.min(1, Math.max(0, weight))) * (ramp.length - 1);
  const below = Math.min(ramp.length - 2, Math.floor(at));
  const [a, b] = [ramp[below] as Colour, ramp[below + 1] as Colour];
  return [0, 1, 2].map((i) => Math.round((a[i] as number) + (at - below) * ((b[i] as number) - (a[i] as number)))) as unknown as Colour; // three of them
}

/** One pixel a pair. */
function image({ weights }: HeadMap, length: number): ImageData {
  const pixels = new ImageData(length, length);
  weights.forEach((w, i) => {
    pixels.data.set([...colourOf(w), 255], 4 * i);
  });
  return pixels;
}
const textOf = (byte: number): string =>
  byte === 32 ? "␣" : byte === 10 ? "⏎" : byte > 32 && byte < 127 ? String.fromCharCode(byte) : byte < 32 ? "·" : byte.toString(16);

const MARGIN = 20;
export class HeatMap {
  #map: AttentionMap | undefined;
  #chosen = 0;
  #hovered = false;
  constructor(
    readonly canvas: HTMLCanvasElement,
    readonly heads: HTMLElement,
    readonly about: HTMLElement,
  ) {
    dark.addEventListener("change", () => this.#draw());
    new ResizeObserver(() => this.#large()).observe(canvas);
    canvas.addEventListener("pointermove", (e) => this.#point(e));
    canvas.addEventListener("pointerleave", () => {
      this.#hovered = false;
      this.#describe();
    });
  }
  show(map: AttentionMap): void {
    this.#map = map;
    this.#draw();
  }

  #draw(): void {
    const map = this.#map;
    if (!map) return;
    const { length } = map.bytes;
    if (this.heads.childElementCount !== map.heads.length) this.#buttons(map);
    map.heads.forEach((head, i) => {
      const small = this.heads.querySelectorAll("canvas")[i] as HTMLCanvasElement; // one was made for each head
      small.width = small.height = Math.max(1, length);
      if (length > 0) small.getContext("2d")?.putImageData(image(head, length), 0, 0);
    });
    this.#large();
  }
  #buttons(map: AttentionMap): void {
    this.#chosen = 0;
    this.heads.replaceChildren(
      ...map.heads.map(({ layer, head }, i) => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(document.createElement("canvas"), `layer ${layer + 1}, head ${head + 1}`);
        button.addEventListener("click", () => {
          this.#chosen = i;
          this.#large();
        });
        return button;
      }),
    );
  }
  #large(): void {
    const map = this.#map;
    const head = map?.heads[this.#chosen];
    const context = this.canvas.getContext("2d");
    [...this.heads.children].forEach((b, i) => {
      b.setAttribute("aria-pressed", String(i === this.#chosen));
    });
    if (!map || !head || !context) return;
    const scale = devicePixelRatio;
    const side = this.canvas.clientWidth;
    this.canvas.width = this.canvas.height = Math.round(side * scale);
    context.scale(scale, scale);
    context.clearRect(0, 0, side, side);
    const { length } = map.bytes;
    if (length === 0) return;
    const cell = (side - MARGIN) / length;
    const pixels = new OffscreenCanvas(length, length);
    pixels.getContext("2d")?.putImageData(image(head, length), 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(pixels, MARGIN, MARGIN, side - MARGIN, side - MARGIN);
    const style = getComputedStyle(this.about);
    context.fillStyle = style.color;
    context.font = `${Math.min(12, Math.max(7, cell * 0.85))}px ui-monospace, Menlo, Consolas, monospace`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    map.bytes.forEach((byte, i) => {
      const at = MARGIN + (i + 0.5) * cell;
      context.fillText(textOf(byte), at, MARGIN / 2);
      context.fillText(textOf(byte), MARGIN / 2, at);
    });
    if (!this.#hovered) this.#describe();
  }
  #describe(): void {
    const head = this.#map?.heads[this.#chosen];
    if (!head || !this.#map) return;
    const cut = this.#map.whole ? "" : ` The model reads ${this.#map.bytes.length} bytes: the prompt's first.`;
    this.about.textContent = `Layer ${head.layer + 1}, head ${head.head + 1}. A row is a byte that reads, a column one that is read.${cut}`;
  }
  #point(e: PointerEvent): void {
    const map = this.#map;
    const head = map?.heads[this.#chosen];
    if (!map || !head) return;
    const { length } = map.bytes;
    const cell = (this.canvas.clientWidth - MARGIN) / length;
    const [query, key] = [e.offsetY, e.offsetX].map((at) => Math.floor((at - MARGIN) / cell)) as [number, number];
    const [reads, read] = [map.bytes[query], map.bytes[key]];
    this.#hovered = reads !== undefined && read !== undefined;
    if (reads === undefined || read === undefined) {
      this.#describe();
      return;
    }
    const weight = head.weights[query * length + key] as number;
    this.about.textContent = `“${textOf(reads)}” at ${query} takes ${weight.toFixed(3)} of “${textOf(read)}” at ${key}.`;
  }
}
