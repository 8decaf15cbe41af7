// A whole study in the background: its progress, how to stop it, and what can be taken away in the end.

import { get, send } from "./api.js";
import { decimal } from "./space.js";

const POLL = 400;
const KINDS = { dicom: "DICOM series (.zip)", nifti: "NIfTI (.nii.gz)" };

export class Work {
  /** @param parts the elements: start, stop, bar, text, result, downloads. @param on `done(work)`, `refused(error)`. */
  constructor(parts, on) {
    this.parts = parts;
    this.on = on;
    parts.stop.addEventListener("click", () => this.stop());
    this.reset();
  }

  /** Have no work; what there was is stopped, and its result goes. */
  reset() {
    clearTimeout(this.timer);
    if (this.id) remove(this.id);
    this.turn = {};
    this.id = null;
    this.last = null;
    this.show(null);
  }

  async start(study, ordered) {
    this.reset();
    const { turn } = this;
    this.parts.start.disabled = true;
    try {
      this.began = performance.now();
      const work = await send("POST", `/api/studies/${study}/jobs`, ordered);
      if (this.turn !== turn) return remove(work.id);
      this.id = work.id;
      this.show(work);
      this.poll(work.id);
    } catch (error) {
      if (this.turn !== turn) return;
      this.parts.start.disabled = false;
      this.on.refused(error);
    }
  }

  async stop() {
    if (this.id) await send("POST", `/api/jobs/${this.id}/stop`).catch((error) => this.on.refused(error));
  }

  poll(id) {
    this.timer = setTimeout(async () => {
      let work;
      try {
        work = await get(`/api/jobs/${id}`);
      } catch (error) {
        if (this.id === id) {
          this.reset();
          this.on.refused(error);
        }
        return;
      }
      if (this.id !== id) return;
      this.show(work);
      if (work.state === "waiting" || work.state === "running") this.poll(id);
      else this.end(work);
    }, POLL);
  }

  end(work) {
    if (work.state === "done") {
      this.last = work;
      this.on.done(work);
    } else if (work.error && work.state !== "stopped") {
      this.on.refused(new Error(`${work.error.sentence} ${work.error.fix}`.trim()));
    }
  }

  show(work) {
    const { start, stop, bar, text, result, downloads } = this.parts;
    const running = work !== null && ["waiting", "running"].includes(work.state);
    start.disabled = running;
    stop.hidden = bar.hidden = !running;
    text.textContent = work === null ? "" : this.sentence(work);
    result.hidden = work?.state !== "done";
    if (!running) bar.removeAttribute("value");
    else if (work.done) Object.assign(bar, { max: work.count, value: work.done });
    if (work?.state === "done") downloads.replaceChildren(...work.kinds.map((kind) => download(work, kind)));
  }

  sentence(work) {
    const slices = `${work.count} slice${work.count === 1 ? "" : "s"}`;
    switch (work.state) {
      case "waiting": return "Waiting for its turn.";
      case "running": return `${work.done} of ${slices}${this.left(work)}`;
      case "stopped": return "Stopped. Nothing was written.";
      case "done": {
        const change = work.residual === null || work.residual === undefined ? "" :
          ` Shrunk again it differs from the input by at most ${decimal(work.residual, 1)} ${work.unit}`.trimEnd() + ".";
        return `${slices} at ${work.requested} by ${work.model} in ${decimal(work.seconds, 0)} s.${change}`;
      }
      default: return "";
    }
  }

  left(work) {
    if (!work.done) return "";
    const seconds = (performance.now() - this.began) / 1000 / work.done * (work.count - work.done);
    if (seconds < 5) return "";
    return seconds < 90 ? `, about ${Math.ceil(seconds / 5) * 5} s left` : `, about ${Math.ceil(seconds / 60)} min left`;
  }
}

function remove(id) {
  return send("DELETE", `/api/jobs/${id}`).catch(() => {});
}

function download(work, kind) {
  const link = document.createElement("a");
  link.className = "button";
  link.href = `/api/jobs/${work.id}/${kind}`;
  link.download = "";
  link.dataset.kind = kind;
  link.textContent = KINDS[kind];
  return link;
}
