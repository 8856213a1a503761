// One run of the page: a compiled model on a device, trained by the library's own trainer. Checkpoints stay in memory: when
// a device is lost, or a run ends by a fault, the next press of the button goes on from the last one.
import {
  type Arrays,
  type LanguageModelProgram,
  languageModels,
  type Metrics,
  type Problem,
  problem,
  textOf,
  train,
} from "@mallard-lang/mallard/trainer";
import { type Either, isLeft, left, right } from "fp-ts/lib/Either.js";
import { type Settings, sameRun } from "../settings.js";
import { AttentionMaps } from "./attention.js";
import { ingredients, modelOf, programOf, rateOf, trainerOf } from "./model.js";

interface Checkpoint {
  readonly step: number;
  readonly weights: Arrays;
  readonly state: Arrays;
}
export interface Text {
  readonly train: Uint8Array;
  readonly validation: Uint8Array;
}
export class Run {
  #maps: Promise<AttentionMaps> | undefined;
  #saved: Checkpoint | null = null;
  #step = 0;
  private constructor(
    readonly settings: Settings,
    readonly program: LanguageModelProgram,
  ) {}

  static async open(settings: Settings): Promise<Either<Problem, Run>> {
    const made = await languageModels(ingredients(settings))(modelOf(settings), programOf(settings), "training");
    return isLeft(made) ? made : right(new Run(settings, made.right));
  }
  /** The run anew, at its last checkpoint: the way on after a lost device. This one need not live; its checkpoint stays with it. */
  async reopened(): Promise<Either<Problem, Run>> {
    const fresh = await Run.open(this.settings);
    if (isLeft(fresh) || this.#saved === null) return fresh;
    const loaded = await fresh.right.program.load(this.#saved.weights, this.#saved.state);
    if (isLeft(loaded)) {
      fresh.right[Symbol.dispose]();
      return loaded;
    }
    fresh.right.#saved = this.#saved;
    fresh.right.#step = this.#saved.step;
    return fresh;
  }
  get step(): number {
    return this.#step;
  }
  fits(s: Settings): boolean {
    return sameRun(this.settings, s);
  }

  /** `settings.steps` more steps. Left says what ended them; the run is then to be reopened. */
  async train(
    settings: Settings,
    text: Text,
    stop: AbortSignal,
    report: (line: Metrics) => void,
  ): Promise<Either<Problem, { readonly step: number }>> {
    try {
      const done = await train({
        program: this.program,
        corpus: text,
        model: modelOf(settings),
        config: trainerOf(settings, this.#step),
        rate: rateOf(settings),
        accumulate: 1,
        probeSequences: 1,
        seed: settings.seed,
        from: this.#step,
        stop,
        report,
        record: {
          append: (line) => {
            this.#step = line.step;
            return right(undefined);
          },
          save: async (step, weights, state) => {
            this.#saved = { step, weights, state };
            return right(undefined);
          },
        },
      });
      return isLeft(done) ? left(done.left) : right({ step: done.right.steps });
    } catch (thrown) {
      return problem("device", textOf(thrown), "press Train to go on from the last checkpoint");
    }
  }

  maps(): Promise<AttentionMaps> {
    this.#maps ??= AttentionMaps.open(this.program, this.settings);
    return this.#maps;
  }
  [Symbol.dispose](): void {
    this.program[Symbol.dispose]();
  }
}
