// A fresh process that compiles the training step and runs it a few times; memory.ts starts it. It says how many parameters there
// are when it is done and keeps still, so that its memory can be read; then, asked by a line, what its plan holds.
import { createInterface } from "node:readline";
import { memoryOf } from "../index.js";
import type { ModelConfig } from "../trainer.js";
import { openStep } from "./model.js";
import { openNative } from "./parts.js";

const STEPS = 3;

// Written by memory.ts.
const config: ModelConfig = JSON.parse(process.argv[2] ?? "");
const session = await openNative(Number(process.argv[3]));
const own = await openStep(session, config);
for (let i = 0; i < STEPS; i++) await own.step();
process.stdout.write(`${JSON.stringify({ parameters: own.parameters })}\n`);
for await (const _ of createInterface({ input: process.stdin })) process.stdout.write(`${JSON.stringify(memoryOf(own.program))}\n`);
session[Symbol.dispose]();
