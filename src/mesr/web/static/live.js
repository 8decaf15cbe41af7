// What is asked of the server while someone looks: the slice as it is, and the part of the result that is seen.
//
// One request is on its way at a time, and always the newest wish follows it, so that a slow machine shows fewer
// pictures and never older ones. While something moves a picture is quick; when it rests the exact one follows.

import { frame, query } from "./api.js";

const REST = 140; // Milliseconds without a change after which something rests.
const KEPT = 48; // Slices kept as they are.
const MARGIN = 0.1; // More than is seen, so that a small pan shows no edge.

export class Live {
  /**
   * @param on `source(frame, k)`, `result(frame, wish)` giving whether it shows it, `settled()` where that is what is
   *   shown already, `busy(whether it computes)`, `refused(error)`.
   */
  constructor(on) {
    this.on = on;
    this.forget();
  }

  forget() {
    this.sources = new Map();
    this.base = null;
    this.wish = null;
    this.flying = null;
    this.shown = "";
    clearTimeout(this.timer);
  }

  /** Look at another series. */
  open(base, modality) {
    this.forget();
    this.base = base;
    this.modality = modality;
  }

  /** The result is shown no more, and is asked for again. */
  dropped() {
    this.shown = "";
  }

  /** The slice as it is, from what was kept or from the server. */
  async source(k) {
    const { base, sources } = this;
    let kept = sources.get(k);
    if (!kept) {
      kept = frame(`${base}/slices/${k}?${query({ modality: this.modality })}`);
      sources.set(k, kept);
      kept.catch(() => sources.delete(k));
      if (sources.size > KEPT) sources.delete(sources.keys().next().value);
    }
    const found = await kept;
    if (this.sources === sources) this.on.source(found, k);
  }

  /**
   * Ask for a part of the result.
   * @param wish k, target (scale or spacing), model, viewport, difference.
   * @param pace "moving" (it will change again at once), "released" (it rests), or "" (it may change again).
   */
  ask(wish, pace) {
    this.wish = wish;
    clearTimeout(this.timer);
    if (pace) this.fly(pace === "moving");
    // A slider that is held still rests too.
    if (pace !== "released") this.timer = setTimeout(() => this.fly(false), REST);
  }

  fly(moving) {
    const { wish, base } = this;
    if (!base || !wish) return;
    if (this.flying) {
      this.flying.next = moving;
      return;
    }
    const address = this.address(wish, moving);
    if (address === this.shown) {
      this.on.settled();
      return;
    }
    const flight = { next: null };
    this.flying = flight;
    this.on.busy(!moving);
    frame(address)
      .then((found) => {
        if (this.flying === flight && this.on.result(found, wish)) this.shown = address;
      })
      .catch((error) => this.flying === flight && this.on.refused(error))
      .finally(() => {
        if (this.flying !== flight) return;
        this.flying = null;
        this.on.busy(false);
        if (flight.next !== null) this.fly(flight.next);
      });
  }

  address(wish, moving) {
    const view = wish.viewport.view(MARGIN);
    const part = Object.fromEntries(Object.entries(view).map(([edge, value]) => [edge, value.toFixed(2)]));
    const asked = { ...wish.target, model: wish.model, modality: this.modality, ...part };
    if (moving) {
      const finest = wish.viewport.zoom * Math.max(1, wish.viewport.aspect) * (window.devicePixelRatio || 1);
      Object.assign(asked, { moving: true, finest: Math.min(32, finest).toFixed(3) });
    }
    if (wish.difference) asked.difference = true;
    return `${this.base}/slices/${wish.k}/result?${query(asked)}`;
  }
}
