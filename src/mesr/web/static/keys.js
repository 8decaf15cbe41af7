// The keyboard: one letter or arrow for each thing that hands do, except while something is typed.

const TYPING = "input:not([type=range]):not([type=radio]):not([type=checkbox]), select, textarea, dialog *";
const MODES = { s: "swipe", b: "side", d: "difference", v: "volume" };
const SWIPE = 0.02;
const CLOSER = 1.25;

/** @param act what keys do: see the names below. `active()` tells whether a study is open. */
export function takeKeys(act) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.(TYPING)) return;
    if (event.key === "?") {
      act.help();
      event.preventDefault();
      return;
    }
    // A focused slider has arrows of its own; so have radio buttons.
    const own = event.target.matches?.("input[type=range], input[type=radio]") && /^(Arrow|Page|Home|End)/.test(event.key);
    if (!act.active() || own) return;
    const done = doing(act, event);
    if (done) event.preventDefault();
  });
}

function doing(act, event) {
  const letter = event.key.toLowerCase();
  const preset = "1234".indexOf(event.key);
  switch (event.key) {
    case "ArrowUp": return act.slice(-1), true;
    case "ArrowDown": return act.slice(1), true;
    case "PageUp": return act.slice(-10), true;
    case "PageDown": return act.slice(10), true;
    case "Home": return act.end(false), true;
    case "End": return act.end(true), true;
    case "ArrowLeft": return act.swipe(-SWIPE), true;
    case "ArrowRight": return act.swipe(SWIPE), true;
    case "[": return act.scale(-0.1), true;
    case "]": return act.scale(0.1), true;
    case "{": return act.scale(-0.01), true;
    case "}": return act.scale(0.01), true;
    case "+": case "=": return act.zoom(CLOSER), true;
    case "-": return act.zoom(1 / CLOSER), true;
    default:
  }
  if (preset >= 0) return act.preset(preset), true;
  if (letter in MODES) return act.mode(MODES[letter]), true;
  if (letter === "f" || letter === "0") return act.fit(), true;
  if (letter === "w") return act.tool("window"), true;
  if (letter === "p") return act.tool("pan"), true;
  if (letter === "i") return act.smooth(), true;
  return false;
}
