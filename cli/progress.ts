// Progress of a training run on stderr: a bar where that is a terminal, else a plain line now and then.
//
// The bar stays on one line: parts that a narrow terminal has no room for are left out, least wanted first. What is said
// while it is on the screen (`say`) stands above it.
import { MultiBar } from "cli-progress";
import type { Metrics } from "../trainer.js";
import { count, note } from "./output.js";

export interface Progress {
  show(line: Metrics): void;
  /** A line of text that does not collide with the bar. */
  say(line: string): void;
  /** Ends the bar, so that what follows stands on lines of its own. */
  end(): void;
}

export function trainingProgress(from: number, steps: number): Progress {
  return process.stderr.isTTY ? bar(from, steps) : lines(from, steps);
}

const nats = (x: number): string => x.toFixed(3);

// ─── one line ────────────────────────────────────────────────────────────────────────────────────────

export interface Shown {
  readonly step: number;
  readonly steps: number;
  readonly loss?: number | undefined;
  readonly validationLoss?: number | undefined;
  readonly tokensPerSecond?: number | undefined;
  readonly secondsLeft: number | null;
}
const BAR = { most: 24, least: 8 } as const;

/** The line for a terminal of that width: steps and loss; then, while there is room, a short bar, validation loss, time
 *  left and speed; the bar takes what remains. */
export function progressLine(s: Shown, width: number): string {
  // Some terminals go on to the next line when the last column is written.
  const room = width - 1;
  const digits = `${s.steps}`.length;
  const parts = [`${`${s.step}`.padStart(digits)}/${s.steps}`, `loss ${s.loss === undefined ? "–" : nats(s.loss)}`];
  const optional = [
    `validation ${s.validationLoss === undefined ? "–" : nats(s.validationLoss)}`,
    s.secondsLeft === null ? "" : `${duration(s.secondsLeft)} left`,
    s.tokensPerSecond === undefined ? "" : `${count(Math.round(s.tokensPerSecond))} tokens/s`,
  ];
  const length = (): number => parts.join("  ").length;
  for (const part of optional) if (part !== "" && BAR.least + 2 + length() + 2 + part.length <= room) parts.push(part);
  const cells = Math.min(BAR.most, room - length() - 2);
  if (cells < BAR.least) return parts.join("  ").slice(0, Math.max(0, room));
  const full = s.steps === 0 ? cells : Math.min(cells, Math.floor((s.step / s.steps) * cells));
  return ["█".repeat(full) + "░".repeat(cells - full), ...parts].join("  ");
}

function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  const two = (n: number): string => `${n}`.padStart(2, "0");
  const [h, m] = [Math.floor(s / 3600), Math.floor((s % 3600) / 60)];
  return h === 0 ? `${m}:${two(s % 60)}` : `${h}:${two(m)}:${two(s % 60)}`;
}

function bar(from: number, steps: number): Progress {
  let shown: Shown = { step: from, steps, secondsLeft: null };
  let began = 0;
  // Several bars' container, of which one is used: it alone can print lines above the bar.
  const screen = new MultiBar({
    format: () => progressLine(shown, process.stderr.columns || 80),
    stream: process.stderr,
    hideCursor: true,
    forceRedraw: true,
    gracefulExit: false,
  });
  const single = screen.create(steps, from);
  // A second Ctrl-C ends the process with the bar on the screen, the cursor hidden and long lines cut.
  const restore = (): void => void process.stderr.write("\u001b[?25h\u001b[?7h\n");
  process.once("exit", restore);
  return {
    show(line) {
      const { step } = line;
      const now = performance.now();
      // Time is counted from the first step's end: that one also waits for what is made once.
      if (step > from && began === 0) began = now;
      const done = step - from - 1;
      const secondsLeft = done < 1 ? null : ((now - began) / done / 1000) * (steps - step);
      shown = {
        step,
        steps,
        loss: line.loss ?? shown.loss,
        validationLoss: line.validationLoss ?? shown.validationLoss,
        tokensPerSecond: line.tokensPerSecond ?? shown.tokensPerSecond,
        secondsLeft,
      };
      single.update(step);
    },
    say(line) {
      screen.log(`${line}\n`);
      screen.update();
    },
    end() {
      screen.stop();
      process.off("exit", restore);
    },
  };
}

// ─── plain lines ─────────────────────────────────────────────────────────────────────────────────────

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
    say: note,
    end() {},
  };
}
