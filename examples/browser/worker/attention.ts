// What each query takes of each key, for a prompt: the scores that the model's attentions label, found in the model's own
// expression, and the softmax of them, compiled as one more program over the weights that training moves.
import { type AnyTensor, type Axes, compileIn, find, input, type Program, type Tensor } from "@mallard-lang/mallard";
import type { LanguageModelProgram } from "@mallard-lang/mallard/trainer";
import type { Settings } from "../settings.js";
import { ingredients, modelOf, programOf } from "./model.js";
import { variants } from "./variants.js";

/** Weights of one head, row-major [query, key], as long as the prompt. */
export interface HeadMap {
  readonly layer: number;
  readonly head: number;
  readonly weights: Float32Array;
}
export interface AttentionMap {
  /** Of the prompt: no more than the model reads. */
  readonly bytes: Uint8Array;
  /** Whether that is the whole prompt. */
  readonly whole: boolean;
  readonly heads: readonly HeadMap[];
}

type Inputs = { readonly tokens: AnyTensor };
export class AttentionMaps {
  readonly #axes: Axes;
  private constructor(
    readonly program: Program<Inputs, AnyTensor>,
    readonly time: number,
    weights: Tensor<Axes>,
  ) {
    this.#axes = weights.axes;
  }

  static async open({ session }: LanguageModelProgram, s: Settings): Promise<AttentionMaps> {
    const model = modelOf(s);
    const tokens = input({ time: model.time }, "i32");
    const logits = ingredients(s).decoder(model, programOf(s)).bound({ tokens });
    const [scores] = find(logits, "scores");
    if (!scores) throw new Error(`the variant ${s.variant} labels no scores`);
    const weights = variants[s.variant].weights(scores.value);
    return new AttentionMaps(await compileIn<Inputs, AnyTensor>(session, { tokens }, weights, { name: "attention_map" }), model.time, weights);
  }

  /** Attention is causal, so that what stands behind the prompt changes nothing of it. */
  async of(prompt: string): Promise<AttentionMap> {
    const all = new TextEncoder().encode(prompt);
    const bytes = all.slice(0, this.time);
    const tokens = new Int32Array(this.time);
    tokens.set(bytes);
    const values = await this.program.run({ tokens });
    return { bytes, whole: bytes.length === all.length, heads: headsOf(values as Float32Array, this.#axes, bytes.length) }; // a tensor's results are an array
  }
  [Symbol.dispose](): void {
    this.program[Symbol.dispose]();
  }
}

/** Cuts [layer, heads…, query, key], in whatever order the axes lie, into the heads of the layers. */
function headsOf(values: Float32Array, axes: Axes, length: number): readonly HeadMap[] {
  const names = Object.keys(axes);
  const size = (name: string): number => Number(axes[name]);
  const stride = new Map<string, number>();
  names.reduceRight((n, name) => {
    stride.set(name, n);
    return n * size(name);
  }, 1);
  const step = (name: string): number => stride.get(name) ?? 0;
  // One head of keys may serve several query heads: group and member together number the head.
  const heads = ["group", "head", "member"].filter((name) => names.includes(name));
  const layers = names.filter((name) => !heads.includes(name) && name !== "query" && name !== "key");
  const places = (of: readonly string[]): readonly number[] =>
    of.reduce<readonly number[]>((all, name) => all.flatMap((at) => Array.from({ length: size(name) }, (_, i) => at + i * step(name))), [0]);
  return places(layers).flatMap((layerAt, layer) =>
    places(heads).map((headAt, head) => {
      const weights = new Float32Array(length * length);
      for (let i = 0; i < length; i++)
        for (let j = 0; j < length; j++) weights[i * length + j] = values[layerAt + headAt + i * step("query") + j * step("key")] as number;
      return { layer, head, weights };
    }),
  );
}
