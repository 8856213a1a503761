// config.json of a run: everything that is needed to continue it or to generate from it. Read back with every field
// checked, because people edit these files, and a wrong one must be named and not surface as a shape error later. Files of
// older formats lack what runs could not be given then: they are read as what those runs were.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import { FULL, type Precision, storages, UPDATES } from "../precision.js";
import {
  ADAPTERS,
  ATTENTIONS,
  type AttentionConfig,
  COMBINES,
  DEVICES,
  defaultsOf,
  INTERVENTIONS,
  type ModelConfig,
  NORMS,
  namesOf,
  OPTIMIZERS,
  type ProgramConfig,
  SCHEDULES,
  type TrainerConfig,
} from "./config.js";
import type { Problem } from "./problem.js";

export const RUN_FORMAT = 3;
export interface RunConfig {
  readonly format: typeof RUN_FORMAT;
  /** Version of this package that wrote the file. */
  readonly mallard: string;
  readonly name: string;
  readonly created: string;
  readonly model: ModelConfig;
  readonly program: ProgramConfig;
  readonly trainer: TrainerConfig;
  readonly data: { readonly name: string; readonly file: string | null; readonly sha256: string };
}

export function parseRunConfig(text: string, path: string): Either<Problem, RunConfig> {
  try {
    const root = new Fields(JSON.parse(text), "");
    const format = root.integer("format", 1);
    if (format > RUN_FORMAT) throw new Wrong(`"format" is ${format}, this version reads ${RUN_FORMAT} and what came before: use a newer one`);
    /** What the formats before lack had one value then. */
    const since2 = <T>(before: T, read: () => T): T => (format < 2 ? before : read());
    const model = root.object("model");
    const [width, heads] = [model.integer("model", 1), model.integer("head", 1)];
    if (width % heads !== 0 || (width / heads) % 2 !== 0)
      throw new Wrong(`"model.model" is ${width} and should be an even multiple of "model.head", which is ${heads}`);
    const program = root.object("program");
    const trainer = root.object("trainer");
    const data = root.object("data");
    const intervention = program.choice("intervention", INTERVENTIONS);
    const { norm, combine, floor, limit } = defaultsOf(intervention);
    return right({
      format: RUN_FORMAT,
      mallard: root.string("mallard"),
      name: root.string("name"),
      created: root.string("created"),
      model: {
        vocab: model.integer("vocab", 1),
        model: width,
        layer: model.integer("layer", 1),
        head: heads,
        ff: model.integer("ff", 1),
        time: model.integer("time", 1),
        batch: model.integer("batch", 1),
        attention: since2<AttentionConfig>({ kind: "mha" }, () => attentionIn(model.object("attention"), heads)),
      },
      program: {
        optimizer: program.choice("optimizer", namesOf(OPTIMIZERS)),
        partner: since2(1, () => program.positive("partner")),
        decay: since2(0, () => program.atLeastZero("decay")),
        intervention,
        tau: program.positive("tau"),
        norm: since2(norm, () => program.choice("norm", NORMS)),
        combine: since2(combine, () => program.choice("combine", COMBINES)),
        floor: since2(floor, () => program.atLeastZero("floor")),
        limit: since2(limit, () => program.positive("limit")),
        clip: program.value("clip") === null ? null : program.positive("clip"),
        clipStep: since2(null, () => (program.value("clipStep") === null ? null : program.positive("clipStep"))),
        zLoss: since2(0, () => program.atLeastZero("zLoss")),
        bounds: since2(false, () => program.boolean("bounds")),
        accumulate: program.integer("accumulate", 1),
        probeSequences: program.integer("probeSequences", 1),
        precision: format < 3 ? FULL : precisionIn(program.object("precision")),
        device: program.choice("device", DEVICES),
        ...(program.value("adapter") === undefined ? {} : { adapter: program.choice("adapter", ADAPTERS) }),
        threads: program.integer("threads", 1),
        seed: program.integer("seed", 0),
      },
      trainer: {
        steps: trainer.integer("steps", 1),
        lr: trainer.positive("lr"),
        schedule: since2("constant", () => trainer.choice("schedule", namesOf(SCHEDULES))),
        warmup: trainer.integer("warmup", 0),
        cooldown: since2(0, () => trainer.integer("cooldown", 0)),
        evalEvery: trainer.integer("evalEvery", 1),
        evalBatches: trainer.integer("evalBatches", 1),
        probeEvery: trainer.integer("probeEvery", 0),
      },
      data: { name: data.string("name"), file: data.value("file") === null ? null : data.string("file"), sha256: data.string("sha256") },
    });
  } catch (thrown) {
    if (!(thrown instanceof Wrong) && !(thrown instanceof SyntaxError)) throw thrown;
    return left({
      kind: "run",
      message: `${path} is no run's config.json: ${thrown.message}`,
      hint: "restore the file as training wrote it, or start a new run",
    });
  }
}

/** Sizes that the attention's expressions can be built with. */
function attentionIn(fields: Fields, heads: number): AttentionConfig {
  const kind = fields.choice("kind", namesOf(ATTENTIONS));
  if (kind === "mha") return { kind };
  if (kind === "gqa") {
    const group = fields.integer("group", 1);
    if (heads % group !== 0) throw new Wrong(`"model.attention.group" is ${group} and should divide "model.head", which is ${heads}`);
    return { kind, group };
  }
  const rope = fields.integer("rope", 2);
  if (rope % 2 !== 0) throw new Wrong(`"model.attention.rope" is ${rope} and should be even`);
  return {
    kind,
    cq: fields.integer("cq", 1),
    latent: fields.integer("latent", 1),
    nope: fields.integer("nope", 1),
    rope,
    value: fields.integer("value", 1),
  };
}

const precisionIn = (fields: Fields): Precision => ({
  compute: fields.choice("compute", storages),
  params: fields.choice("params", storages),
  state: fields.choice("state", storages),
  update: fields.choice("update", namesOf(UPDATES)),
});

class Wrong extends Error {}

class Fields {
  readonly #fields: Readonly<Record<string, unknown>>;
  constructor(
    value: unknown,
    readonly place: string,
  ) {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new Wrong(`${place === "" ? "the file" : `"${place}"`} is no object`);
    this.#fields = { ...value };
  }
  value(name: string): unknown {
    return this.#fields[name];
  }
  object(name: string): Fields {
    return new Fields(this.value(name), this.#path(name));
  }
  string(name: string): string {
    const value = this.value(name);
    return typeof value === "string" ? value : this.#wrong(name, "a string");
  }
  integer(name: string, least: number): number {
    const value = this.value(name);
    return typeof value === "number" && Number.isSafeInteger(value) && value >= least
      ? value
      : this.#wrong(name, `a whole number of at least ${least}`);
  }
  positive(name: string): number {
    const value = this.value(name);
    return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : this.#wrong(name, "a number above 0");
  }
  atLeastZero(name: string): number {
    const value = this.value(name);
    return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : this.#wrong(name, "a number of at least 0");
  }
  boolean(name: string): boolean {
    const value = this.value(name);
    return typeof value === "boolean" ? value : this.#wrong(name, "true or false");
  }
  choice<T extends string>(name: string, choices: readonly T[]): T {
    return choices.find((choice) => choice === this.value(name)) ?? this.#wrong(name, `one of ${choices.join(", ")}`);
  }
  #path(name: string): string {
    return this.place === "" ? name : `${this.place}.${name}`;
  }
  #wrong(name: string, wanted: string): never {
    throw new Wrong(`"${this.#path(name)}" is ${JSON.stringify(this.value(name)) ?? "missing"} and should be ${wanted}`);
  }
}
