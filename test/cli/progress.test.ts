import { expect, test } from "vitest";
import { commandName } from "../../cli/command-name.js";
import { progressLine } from "../../cli/progress.js";

const shown = { step: 29, steps: 200, loss: 3.1812, validationLoss: 5.5553, tokensPerSecond: 17419.4, secondsLeft: 72.4 };

test("the bar's line fits every width: what is wanted least goes first, the step and the loss never", () => {
  expect([110, 80, 64, 50, 40, 24].map((width) => progressLine(shown, width))).toMatchInlineSnapshot(`
    [
      "███░░░░░░░░░░░░░░░░░░░░░   29/200  loss 3.181  validation 5.555  1:12 left  17,419 tokens/s",
      "█░░░░░░░░░░░   29/200  loss 3.181  validation 5.555  1:12 left  17,419 tokens/s",
      "█░░░░░░░░░░░░   29/200  loss 3.181  validation 5.555  1:12 left",
      "█░░░░░░░░░   29/200  loss 3.181  validation 5.555",
      "██░░░░░░░░░░░░░░░░   29/200  loss 3.181",
      " 29/200  loss 3.181",
    ]
  `);
  for (let width = 1; width < 140; width++) {
    const line = progressLine(shown, width);
    expect(line.length).toBeLessThan(width);
    if (width > 22) expect(line).toContain(" 29/200  loss 3.181");
  }
});
test("before the first step nothing is made up", () => {
  expect(progressLine({ step: 0, steps: 200, secondsLeft: null }, 80)).toBe("░░░░░░░░░░░░░░░░░░░░░░░░    0/200  loss –  validation –");
});
test("hints name the command as it was started", () => {
  expect(commandName("/usr/local/bin/mallard", "/home/me")).toBe("mallard");
  expect(commandName("/home/me/node_modules/.bin/mallard", "/home/me")).toBe("npx mallard");
  expect(commandName("/home/me/node_modules/@mallard-lang/mallard/dist/cli/main.js", "/home/me")).toBe("npx mallard");
  expect(commandName("/home/me/mallard/dist/cli/main.js", "/home/me/mallard")).toBe("node dist/cli/main.js");
  expect(commandName("/home/me/mallard/dist/cli/main.js", "/tmp")).toBe("node /home/me/mallard/dist/cli/main.js");
});
