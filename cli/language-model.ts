// The language models that the command trains: decoder, optimizer, loss and schedule of `models`, as a run's
// configuration names them.
import { type Either, right } from "fp-ts/lib/Either.js";
import { each, MallardError, type Optimizer, pace, type Rule } from "../index.js";
import {
  type Architecture,
  adamw,
  clipNorm,
  clipStep,
  interventions,
  lion,
  type Intervention as ModelIntervention,
  muon,
  type Schedule,
  schedules,
  sgd,
} from "../models/index.js";
import {
  type Ingredients,
  type Intervention,
  languageModels,
  type ModelConfig,
  type OptimizerName,
  type Problem,
  type ProgramConfig,
  problem,
  type TrainerConfig,
} from "../trainer.js";

/** Every name that a run may give is in the table. */
const table: Readonly<Record<Intervention, ModelIntervention>> = interventions;
export const interventionOf = (name: Intervention): ModelIntervention => table[name];

function architecture(c: ModelConfig): Architecture {
  const own = { model: c.model, layer: c.layer, head: c.head, dim: c.model / c.head, ff: c.ff, vocab: c.vocab };
  const { attention } = c;
  if (attention.kind === "gqa") return { attention: "gqa", config: { ...own, group: attention.group } };
  if (attention.kind === "mha") return { attention: "mha", config: own };
  const { kind: _, ...sizes } = attention;
  return { attention: "mla", config: { ...own, ...sizes } };
}
const settings = ({ tau, norm, combine, floor, limit }: ProgramConfig) => ({ tau, norm, combine, floor, limit });

const EPS = 1e-8;
/** The matrices of the blocks by one rule; embedding, gains and scalars by another, without decay. */
function rules(c: ProgramConfig): readonly [matrices: Rule, aside: Rule] {
  const { decay, partner, clipStep: limit } = c;
  const made = {
    adamw: () => [adamw({ eps: EPS, decay }), adamw({ eps: EPS })],
    sgd: () => [sgd({ decay }), sgd()],
    lion: () => [lion({ decay }), lion()],
    muon: () => [muon({ decay }), pace(adamw({ eps: EPS }), partner)],
  } as const satisfies Readonly<Record<OptimizerName, () => readonly [Rule, Rule]>>;
  const [matrices, aside] = made[c.optimizer]();
  return [limit === null ? matrices : clipStep(matrices, { limit, norm: c.norm }), aside];
}
function optimizer(c: ProgramConfig): Optimizer {
  const [matrices, aside] = rules(c);
  const plain = each(({ path, to, from }) => (to.length === 0 || from.length === 0 || path === "embed" ? aside : matrices));
  const o = table[c.intervention].optimizer(plain, settings(c));
  return c.clip === null ? o : clipNorm(o, { limit: c.clip });
}

export const ingredients: Ingredients = {
  decoder: (c, p) => table[p.intervention].decoder(architecture(c), settings(p)),
  optimizer,
};
export const createLanguageModel = languageModels(ingredients);

/** The rate of step t, from 1; left where the schedule does not fit the steps. */
export function rateOf({ schedule, lr, warmup, cooldown, steps }: TrainerConfig): Either<Problem, (t: number) => number> {
  const named = {
    constant: () => schedules.warmup(lr, warmup),
    cosine: () => schedules.cosine(lr, warmup, steps),
    wsd: () => schedules.wsd(lr, { warmup, total: steps, decay: cooldown }),
  } as const satisfies Readonly<Record<TrainerConfig["schedule"], () => Schedule>>;
  try {
    const made = named[schedule]();
    return right((t) => made.at(t));
  } catch (thrown) {
    if (!(thrown instanceof MallardError)) throw thrown;
    return problem("usage", `the schedule does not fit ${steps} steps: ${thrown.what}`, "give more --steps, or a shorter --warmup or --cooldown");
  }
}
