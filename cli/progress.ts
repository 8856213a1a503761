// Progress of a training run on stderr: a bar where that is a terminal, else a plain line now and then.
import { SingleBar } from "cli-progress";
import type { Metrics } from "../trainer.js";
import { count, note } from "./output.js";

export interface Progress {
  show(line: Metrics): void;
  /** Removes the bar, so that what follows stands on lines of its own. */
  end(): void;
}

export function trainingProgress(from: number, steps: number): Progress {
  return process.stderr.isTTY ? bar(from, steps) : lines(from, steps);
}

const nats = (x: number): string => x.toFixed(3);

function bar(from: number, steps: number): Progress {
  const single = new SingleBar({
    format: "{bar} {value}/{total}  loss {loss}  validation {validation}  {speed} tokens/s  {eta_formatted} left",
    stream: process.stderr,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 24,
    hideCursor: true,
    forceRedraw: true,
    gracefulExit: false,
  });
  const shown = { loss: "–", validation: "–", speed: "–" };
  single.start(steps, from, shown);
  // A second Ctrl-C ends the process with the bar on the screen and the cursor hidden.
  const showCursor = (): void => void process.stderr.write("\u001b[?25h");
  process.once("exit", showCursor);
  return {
    show(line) {
      if (line.loss !== undefined) shown.loss = nats(line.loss);
      if (line.validationLoss !== undefined) shown.validation = nats(line.validationLoss);
      if (line.tokensPerSecond !== undefined) shown.speed = count(Math.round(line.tokensPerSecond));
      single.update(line.step, shown);
    },
    end() {
      single.stop();
      process.off("exit", showCursor);
    },
  };
}

function lines(from: number, steps: number): Progress {
  const every = Math.max(1, Math.round((steps - from) / 20));
  return {
    show(line) {
      const due = (line.step - from) % every === 0 || line.step === from + 1 || line.step === steps;
      if (!due && line.validationLoss === undefined && line.stopped === undefined) return;
      const parts = [`step ${line.step}/${steps}`];
      if (line.loss !== undefined) parts.push(`loss ${nats(line.loss)}`);
      if (line.validationLoss !== undefined) parts.push(`validation ${nats(line.validationLoss)}`);
      if (line.tokensPerSecond !== undefined) parts.push(`${count(Math.round(line.tokensPerSecond))} tokens/s`);
      if (line.stopped !== undefined) parts.push(line.stopped);
      note(parts.join("  "));
    },
    end() {},
  };
}
