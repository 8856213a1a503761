// Softmax off by one (Miller 2023): a sink logit of 0
import { formula } from "../../dsl/index.js";
import { sinkLogit } from "./16-sink-logit.js";
import { qkv } from "./base.js";

export const offByOne = formula(qkv, ({ q, k, v }) => sinkLogit({ q, k, v, z: 0 }));
